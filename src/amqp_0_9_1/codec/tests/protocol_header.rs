//! The first eight bytes: which are ours, and how early a stranger is known.

use crate::codec::protocol_header::{Recognised, recognise};

#[test]
fn trap_01_protocol_headers() {
    let check = |input: &[u8], expect| assert_eq!(recognise(input), expect, "{input:?}");
    check(b"AMQP\x00\x00\x09\x01", Recognised::Accepted);
    check(b"AMQP\x01\x01\x00\x09", Recognised::Accepted);
    check(b"AMQP\x01\x01\x08\x00", Recognised::Accepted);
    check(b"AMQP\x01\x01\x09\x01", Recognised::Accepted);
    check(b"AMQP\x00\x00\x09\x01\x01\x00", Recognised::Accepted);
    check(b"", Recognised::Incomplete);
    check(b"AMQ", Recognised::Incomplete);
    check(b"AMQP\x01\x01", Recognised::Incomplete);
    check(b"AMQP\x00\x00\x09\x02", Recognised::Refused);
    check(b"AMQP\x01\x01\x00\x0a", Recognised::Refused);
    check(b"AMQP\x00\x01\x00\x00", Recognised::Refused);
    check(b"AMQP\x03", Recognised::Refused);
    check(b"GET / HTTP/1.1\r\n", Recognised::Refused);
    check(b"G", Recognised::Refused);
}
