//! PROXY protocol version 2: a load balancer tells, in front of everything else, whom it speaks for.
//!
//! Source: the PROXY protocol specification, section 2.2. Only version 2 is taken; the addresses of TCP over
//! IPv4 and IPv6 are used, everything else (LOCAL, UNIX, type-length-values) is read and passed over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest address block that is read, in bytes: addresses and a few extensions.
const LONGEST: usize = 1024;

/// Read the header; the peer it names, or `None` where it speaks for itself. The first byte that is not the header's
/// ends it: a client without a proxy waits for us, and sends no more.
///
/// # Errors
/// `InvalidData` naming what is wrong, or the socket's.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut head = [0u8; 16];
    let mut filled = 0;
    while filled < head.len() {
        let count = stream.read(&mut head[filled..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        let seen = filled.min(SIGNATURE.len());
        if head[..seen] != SIGNATURE[..seen] {
            let sent = head[..filled].escape_ascii();
            return Err(invalid(&format!(
                "listeners.proxy_protocol is true, and \"{sent}\" is no PROXY protocol version 2 header"
            )));
        }
    }
    if head[12] >> 4 != 2 {
        return Err(invalid("the PROXY protocol header is not of version 2"));
    }
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > LONGEST {
        return Err(invalid("the PROXY protocol address block is longer than 1024 bytes"));
    }
    let mut block = vec![0u8; length];
    stream.read_exact(&mut block).await?;
    address(head[12] & 0x0f, head[13], &block)
}

fn address(command: u8, family: u8, block: &[u8]) -> io::Result<Option<SocketAddr>> {
    match (command, family) {
        (0, _) => Ok(None),
        (1, 0x11) => {
            let [a, b, c, d] = field(block, 0)?;
            Ok(Some((IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes(field(block, 8)?)).into()))
        }
        (1, 0x21) => {
            let octets: [u8; 16] = field(block, 0)?;
            Ok(Some((IpAddr::V6(Ipv6Addr::from(octets)), u16::from_be_bytes(field(block, 32)?)).into()))
        }
        (1, _) => Ok(None),
        _ => Err(invalid("the PROXY protocol command is neither LOCAL nor PROXY")),
    }
}

fn field<const N: usize>(block: &[u8], at: usize) -> io::Result<[u8; N]> {
    block
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| invalid("the PROXY protocol address block is too short for its family"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_and_what_is_passed_over() {
        let mut v6 = Ipv6Addr::LOCALHOST.octets().repeat(2);
        v6.extend_from_slice(&[0x16, 0x28, 0x16, 0x28]);
        let check = |command, family, block: &[u8], expect: Result<Option<&str>, ()>| {
            let got = address(command, family, block).map_err(|_| ());
            assert_eq!(got, expect.map(|text| text.map(|text| text.parse().unwrap())));
        };
        check(1, 0x11, &[10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0x16, 0x28], Ok(Some("10.0.0.1:12345")));
        check(1, 0x21, &v6, Ok(Some("[::1]:5672")));
        check(0, 0x11, &[], Ok(None));
        check(1, 0x31, &[0; 216], Ok(None));
        check(1, 0x11, &[10, 0, 0], Err(()));
        check(2, 0x11, &[0; 12], Err(()));
    }
}
