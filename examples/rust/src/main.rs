//! The newest person mask: cargo run -- [ENDPOINT] [MASKS]
//! docs/messages.md describes the bytes.

mod mask;

use mask::Mask;

const TOPIC: &[u8; 16] = b"mask/cam0\0\0\0\0\0\0\0"; // the NULs belong to it
const INFO: &[u8; 16] = b"info/cam0\0\0\0\0\0\0\0";

/// A socket for one topic that holds the newest message only.
fn subscriber(context: &zmq::Context, endpoint: &str, topic: &[u8]) -> Result<zmq::Socket, zmq::Error> {
    let socket = context.socket(zmq::SUB)?;
    socket.set_conflate(true)?; // before connecting
    socket.set_linger(0)?;
    socket.set_rcvtimeo(3000)?; // no mask for so long is an error: it does not go on blindly
    socket.set_subscribe(topic)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

/// Which labels are persons, from the JSON of info: never a guess, since label 1 may be a building.
fn persons(info: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(info.get(16..)?).ok()?;
    // JSON escapes a quote in a text: this is the key.
    let (_, rest) = text.split_once("\"persons\"")?;
    let (list, _) = rest.split_once('[')?.1.split_once(']')?;
    Some(list.split(',').filter_map(|label| label.trim().parse().ok()).collect())
}

fn main() -> Result<(), zmq::Error> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or("ipc:///run/gnetsegd/masks.sock".into());
    // How many masks; else for ever.
    let mut left: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);

    let context = zmq::Context::new();
    let infos = subscriber(&context, &endpoint, INFO)?;
    let socket = subscriber(&context, &endpoint, TOPIC)?;
    let mut known = None;
    while left > 0 {
        if let Ok(info) = infos.recv_msg(zmq::DONTWAIT) {
            known = persons(&info);
        }
        let message = socket.recv_msg(0)?;
        let (Some(mask), Some(persons)) = (Mask::parse(&message), &known) else { continue };
        let mut person = 0;
        for y in 0..mask.height {
            for x in 0..mask.width {
                person += u32::from(persons.contains(&mask.label(x, y)));
            }
        }
        let share = 100.0 * f64::from(person) / (f64::from(mask.width) * f64::from(mask.height));
        let stand_in = if mask.fallback { " (fallback)" } else { "" };
        println!("frame {}: {share:.0}% person, by {}{stand_in}", mask.sequence, mask.backend);
        left -= 1;
    }
    Ok(())
}
