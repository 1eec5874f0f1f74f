//! A mask in the bytes of its message, borrowed, not copied.

pub struct Mask<'a> {
    pub width: u16,
    pub height: u16,
    pub sequence: u64,
    pub fallback: bool,
    pub backend: String,
    bits: u8,
    stride: u16,
    pixels: &'a [u8],
}

impl<'a> Mask<'a> {
    /// The mask in message `m`, or `None` if it is none of version 1.
    pub fn parse(m: &'a [u8]) -> Option<Mask<'a>> {
        if m.len() < 128 || &m[16..20] != b"GSEG" || m[20] != 1 {
            return None;
        }
        let u16_at = |at: usize| u16::from_le_bytes([m[at], m[at + 1]]);
        let header_size = usize::from(u16_at(22));
        let payload_size = u32::from_le_bytes(m[112..116].try_into().ok()?) as usize;
        let backend = m[80..96].split(|&byte| byte == 0).next()?;
        let mask = Mask {
            width: u16_at(30),
            height: u16_at(32),
            sequence: u64::from_le_bytes(m[40..48].try_into().ok()?),
            fallback: m[24] & 1 == 1,
            backend: String::from_utf8_lossy(backend).into_owned(),
            bits: m[28],
            stride: u16_at(34),
            pixels: m.get(header_size..)?,
        };
        let stride = (usize::from(mask.width) * usize::from(mask.bits)).div_ceil(8);
        let good = header_size >= 128
            && [1, 2, 4, 8].contains(&mask.bits)
            && mask.width > 0
            && mask.height > 0
            && usize::from(mask.stride) == stride
            && payload_size == stride * usize::from(mask.height)
            && mask.pixels.len() == payload_size;
        good.then_some(mask)
    }

    /// The label of pixel `x`, `y`, from the top left.
    pub fn label(&self, x: u16, y: u16) -> u8 {
        let bit = usize::from(x) * usize::from(self.bits);
        let byte = self.pixels[usize::from(y) * usize::from(self.stride) + bit / 8];
        let shifted = byte >> (8 - usize::from(self.bits) - bit % 8);
        shifted & (((1u16 << self.bits) - 1) as u8)
    }
}
