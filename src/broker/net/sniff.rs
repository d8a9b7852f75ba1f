//! The first eight bytes of a connection choose its protocol.
//!
//! A header of a protocol that we do not speak, or anything that is no header at all, is answered with the
//! newest header that we do speak, and the socket closes (0-9-1 spec 4.2.2, 0-10 spec 4.3).

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use fairlead_amqp_0_9_1::codec::protocol_header::{PROTOCOL_HEADER, Recognised, recognise};

/// Bytes of the protocol's header.
const LENGTH: usize = PROTOCOL_HEADER.len();

/// What a connection began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// The header of AMQP 0-9-1.
    Amqp091,
    /// The peer closed before it had sent a header.
    Closed,
    /// Something else, of which these are the first bytes; the peer was told what we speak.
    Other(Box<[u8]>),
}

/// Read the header.
///
/// # Errors
/// The socket's.
pub async fn sniff(stream: &mut TcpStream) -> io::Result<Sniffed> {
    let mut header = [0u8; LENGTH];
    let mut filled = 0;
    loop {
        match recognise(&header[..filled]) {
            Recognised::Accepted => return Ok(Sniffed::Amqp091),
            Recognised::Refused => {
                stream.write_all(&PROTOCOL_HEADER).await?;
                stream.shutdown().await?;
                return Ok(Sniffed::Other(header[..filled].into()));
            }
            Recognised::Incomplete => {}
        }
        let count = stream.read(&mut header[filled..]).await?;
        if count == 0 {
            return Ok(Sniffed::Closed);
        }
        filled += count;
    }
}

/// What somebody who sent this wants, as far as it shows, and where that is.
pub fn hint(sent: &[u8]) -> &'static str {
    match sent {
        [b'A', b'M', b'Q', b'P', ..] => "a version of AMQP that is not spoken here: only 0-9-1 is",
        [0x16, 3, ..] => "TLS, which there is not here",
        [b'\r', b'\n', b'\r', b'\n', 0, ..] | [b'P', b'R', b'O', b'X', b'Y', ..] => {
            "a PROXY protocol header, which is expected only with listeners.proxy_protocol"
        }
        [b'G', b'E', b'T', b' ', ..] | [b'P', b'O', b'S', b'T', ..] | [b'H', b'E', b'A', b'D', ..] => {
            "HTTP, which is at listeners.http"
        }
        _ => "no header of AMQP 0-9-1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wanted_is_guessed_from_the_first_bytes() {
        for (sent, word) in [
            (&b"AMQP\x03\x01\x00\x00"[..], "0-9-1"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", "TLS"),
            (b"\r\n\r\n\x00\r\nQ", "listeners.proxy_protocol"),
            (b"GET /api", "listeners.http"),
            (b"\xff", "no header"),
        ] {
            assert!(hint(sent).contains(word), "{}", sent.escape_ascii());
        }
    }
}
