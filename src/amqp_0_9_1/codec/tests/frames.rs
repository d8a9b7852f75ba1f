//! Frames: envelopes, bounds, and the texts that name a fault.

use super::hex;
use crate::codec::{Frame, FrameError, Payload, PayloadSnippet, frame};
use crate::spec::ReplyCode;

const FRAME_MAX: u32 = 4096;

/// The first frame of `input`, and that nothing before its last byte is one.
fn check(input: &str, channel: u16, payload: Payload<'_>) {
    let bytes = hex(input);
    let expect = Frame { channel, payload };
    assert_eq!(frame::decode(&bytes, FRAME_MAX), Ok(Some((expect, bytes.len()))));
    for length in 0..bytes.len() {
        assert_eq!(frame::decode(&bytes[..length], FRAME_MAX), Ok(None), "{length} of {} bytes", bytes.len());
    }
    let followed = [bytes.as_slice(), b"\x01\x00"].concat();
    assert_eq!(frame::decode(&followed, FRAME_MAX), Ok(Some((expect, bytes.len()))));
}

#[test]
fn frames_of_pika() {
    check("0100000000000400 0a0033ce", 0, Payload::Method(&[0, 10, 0, 51]));
    check("0300010000000568656c6c6fce", 1, Payload::Body(b"hello"));
    check("03000100000000ce", 1, Payload::Body(b""));
    check("08000000000000ce", 0, Payload::Heartbeat);
    check("08000500000000ce", 5, Payload::Heartbeat);
    check(
        "0200010000000f003c00000000000000000010100002ce",
        1,
        Payload::Header { class_id: 60, weight: 0, body_size: 16, properties: &[0x10, 0, 2] },
    );
}

#[test]
fn encoders_write_what_pika_writes() {
    let mut out = Vec::new();
    frame::encode_header(&mut out, 1, 60, 16, &[0x10, 0, 2]);
    assert_eq!(out, hex("0200010000000f003c00000000000000000010100002ce"));
    out.clear();
    frame::encode_body(&mut out, 1, b"hello");
    assert_eq!(out, hex("0300010000000568656c6c6fce"));
    assert_eq!(frame::body_head(1, 5), out[..7]);
    out.clear();
    frame::encode_heartbeat(&mut out);
    assert_eq!(out, hex("08000000000000ce"));
}

#[test]
fn trap_05_faulty_envelopes_are_named_as_rabbitmq_names_them() {
    let check = |bytes: &[u8], expect: FrameError, text: &str| {
        assert_eq!(frame::decode(bytes, FRAME_MAX), Err(expect));
        assert_eq!(expect.to_string(), text);
        assert_eq!(expect.reply_code(), ReplyCode::FrameError);
        assert_eq!(expect.channel(), 1);
    };
    check(
        &[3, 0, 1, 0, 0, 0x23, 0x28],
        FrameError::TooLarge { frame_type: 3, channel: 1, size: 9000, maximum: 4088 },
        "type 3, all octets = <<>>: {frame_too_large,9000,4088}",
    );
    check(
        b"\x03\x00\x01\x00\x00\x00\x02hi\x00",
        FrameError::WrongEnd { frame_type: 3, channel: 1, octet: 0, payload: PayloadSnippet::of(b"hi") },
        "type 3, all octets = <<\"hi\">>: {invalid_frame_end_marker,0}",
    );
    check(
        b"\x03\x00\x01\x00\x00\x00\x12\x00123456789abcdefghi",
        FrameError::WrongEnd {
            frame_type: 3,
            channel: 1,
            octet: b'i',
            payload: PayloadSnippet::of(b"\x00123456789abcdefgh"),
        },
        "type 3, first 16 octets = <<0,49,50,51,52,53,54,55,56,57,97,98,99,100,101,102>>: {invalid_frame_end_marker,105}",
    );
    let unknown = |frame_type, payload| FrameError::Unknown {
        frame_type,
        channel: 1,
        payload: PayloadSnippet::of(payload),
    };
    check(
        b"\x05\x00\x01\x00\x00\x00\x01\"\xce",
        unknown(5, b"\""),
        "type 5, all octets = <<\"\\\"\">>: unknown_frame",
    );
    check(
        b"\x01\x00\x01\x00\x00\x00\x03\x00\x0a\x00\xce",
        unknown(1, &[0, 10, 0]),
        "type 1, all octets = <<0,10,0>>: unknown_frame",
    );
    check(
        b"\x08\x00\x01\x00\x00\x00\x01\x07\xce",
        unknown(8, &[7]),
        "type 8, all octets = <<7>>: unknown_frame",
    );
    check(
        b"\x02\x00\x01\x00\x00\x00\x02\x00\x3c\xce",
        unknown(2, &[0, 60]),
        "type 2, all octets = <<0,60>>: unknown_frame",
    );
}

/// The spec counts the envelope in frame-max; RabbitMQ lets eight bytes more pass, and so do we.
#[test]
fn a_payload_may_be_as_long_as_frame_max() {
    let mut bytes = Vec::new();
    frame::encode_body(&mut bytes, 1, &vec![b'x'; FRAME_MAX as usize]);
    let (found, used) = frame::decode(&bytes, FRAME_MAX).unwrap().unwrap();
    assert_eq!((found.payload, used), (Payload::Body(&vec![b'x'; FRAME_MAX as usize]), bytes.len()));
    bytes.clear();
    frame::encode_body(&mut bytes, 1, &vec![b'x'; FRAME_MAX as usize + 1]);
    assert!(matches!(frame::decode(&bytes, FRAME_MAX), Err(FrameError::TooLarge { size: 4097, .. })));
}
