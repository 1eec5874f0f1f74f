//! The newest person mask: cargo run -- [ENDPOINT] [MASKS]
//! docs/messages.md describes the bytes.

mod mask;

use mask::Mask;

const TOPIC: &[u8; 16] = b"mask/cam0\0\0\0\0\0\0\0"; // the NULs belong to it

fn main() -> Result<(), zmq::Error> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or("ipc:///run/gnetsegd/masks.sock".into());
    // How many masks; else for ever.
    let mut left: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);

    let context = zmq::Context::new();
    let socket = context.socket(zmq::SUB)?;
    socket.set_conflate(true)?; // the newest only; before connecting
    socket.set_linger(0)?;
    socket.set_subscribe(TOPIC)?;
    socket.connect(&endpoint)?;
    while left > 0 {
        let message = socket.recv_msg(0)?;
        let Some(mask) = Mask::parse(&message) else { continue };
        let mut person = 0;
        for y in 0..mask.height {
            for x in 0..mask.width {
                person += u32::from(mask.label(x, y) == 1);
            }
        }
        let share = 100.0 * f64::from(person) / (f64::from(mask.width) * f64::from(mask.height));
        let stand_in = if mask.fallback { " (fallback)" } else { "" };
        println!("frame {}: {share:.0}% person, by {}{stand_in}", mask.sequence, mask.backend);
        left -= 1;
    }
    Ok(())
}
