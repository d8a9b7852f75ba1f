//! The first eight bytes of a connection choose its protocol.
//!
//! A header of a protocol that we do not speak, or anything that is no header at all, is answered with the
//! newest header that we do speak, and the socket closes (0-9-1 spec 4.2.2, 0-10 spec 4.3).

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use fairlead_amqp_0_9_1::codec::protocol_header::{PROTOCOL_HEADER, Recognised, recognise};

/// A protocol that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp091,
}

/// Read the header; `None` when the peer closed, or sent something else and was told so.
///
/// # Errors
/// The socket's.
pub async fn sniff(stream: &mut TcpStream) -> io::Result<Option<Protocol>> {
    let mut header = [0u8; 8];
    let mut filled = 0;
    loop {
        match recognise(&header[..filled]) {
            Recognised::Accepted => return Ok(Some(Protocol::Amqp091)),
            Recognised::Refused => {
                stream.write_all(&PROTOCOL_HEADER).await?;
                stream.shutdown().await?;
                return Ok(None);
            }
            Recognised::Incomplete => {}
        }
        let count = stream.read(&mut header[filled..]).await?;
        if count == 0 {
            return Ok(None);
        }
        filled += count;
    }
}
