//! Fixed work without sockets, for `cargo xtask instructions` to count: `instructions STAGE ROUNDS`.
//!
//! A round is one read buffer full of publishes of 16 bytes, as a busy client sends them, to one queue with one
//! consumer that does not acknowledge. It prints how many messages all rounds were. What is the same in all rounds
//! is set up before; the caller takes the difference between two numbers of rounds.
//!
//! - `codec`: each publish is decoded, and a delivery encoded.
//! - `kernel`: entries go into a queue and come out as deliveries.
//! - `engine`: bytes in, bytes out: adapter, engine, queue, outbox, adapter. It holds the two others.

#[allow(dead_code, reason = "the broker's own module, of which this drives the hot path")]
#[path = "../../net/amqp_0_9_1.rs"]
mod amqp_0_9_1;
mod codec;
mod engine;
mod kernel;

use fairlead_amqp_0_9_1::codec::frame;
use fairlead_amqp_0_9_1::spec::{CLASS_BASIC, basic};
use std::process::ExitCode;

/// Bytes of a round's publishes, about.
const BUFFER: usize = 64 * 1024;
/// The body of each.
const BODY: &[u8; 16] = b"1 GOOG 616.47...";
/// The queue, and so the routing key.
const QUEUE: &str = "stocks";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [stage, rounds] => {
            rounds.parse().map_err(|_| format!("`{rounds}` is no number")).and_then(|rounds: u32| match stage
            {
                "codec" => Ok(codec::run(rounds)),
                "kernel" => kernel::run(rounds),
                "engine" => engine::run(rounds),
                other => Err(format!("no stage `{other}`; expected codec, kernel or engine")),
            })
        }
        _ => Err("expected a stage and a number of rounds".to_owned()),
    };
    match outcome {
        Ok(messages) => {
            println!("{messages}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// A round's publishes, and how many they are.
fn publishes() -> (Vec<u8>, u64) {
    let mut bytes = Vec::new();
    let mut count = 0;
    while bytes.len() < BUFFER {
        let publish = basic::Publish { routing_key: QUEUE, ..basic::Publish::default() };
        frame::encode_method(&mut bytes, 1, &publish);
        frame::encode_header(&mut bytes, 1, CLASS_BASIC, BODY.len() as u64, &[0, 0]);
        frame::encode_body(&mut bytes, 1, BODY);
        count += 1;
    }
    (bytes, count)
}
