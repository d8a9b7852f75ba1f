//! The eight bytes that open a connection: `AMQP` and four octets of protocol and version.
//!
//! Spec: AMQP 0-9-1, clause 4.2.2 "Protocol Header".

/// What a server answers to a header that it does not speak, before it closes the socket.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// Headers of 0-9-1 clients. The last three are the forms of 0-8, 0-9 and early 0-9-1 clients, which RabbitMQ 3.x
/// has always taken as 0-9-1.
const ACCEPTED: [[u8; 8]; 4] =
    [PROTOCOL_HEADER, *b"AMQP\x01\x01\x00\x09", *b"AMQP\x01\x01\x08\x00", *b"AMQP\x01\x01\x09\x01"];

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// So far a header of ours, but not all of it.
    Incomplete,
    /// A header of ours, eight bytes; frames follow.
    Accepted,
    /// Anything else: answer [`PROTOCOL_HEADER`] and close.
    Refused,
}

/// Looks at the first bytes of a connection. A wrong byte refuses at once, without waiting for the eighth.
#[must_use]
pub fn recognise(input: &[u8]) -> Recognised {
    let seen = &input[..input.len().min(PROTOCOL_HEADER.len())];
    if !ACCEPTED.iter().any(|header| header.starts_with(seen)) {
        Recognised::Refused
    } else if seen.len() == PROTOCOL_HEADER.len() {
        Recognised::Accepted
    } else {
        Recognised::Incomplete
    }
}
