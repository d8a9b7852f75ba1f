//! Telling systemd how far we are: a datagram to the socket it names (`sd_notify(3)`), nothing elsewhere.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// How far the service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Clients can come.
    Ready,
    /// The configuration is being read again; [`Stage::Ready`] follows.
    Reloading {
        /// `CLOCK_MONOTONIC` in microseconds, which systemd wants with it.
        monotonic_microseconds: u64,
    },
    /// Clients are being closed.
    Stopping,
}

/// Tells the service manager, if there is one. A failure is logged: nobody waits for us then.
pub fn notify(stage: Stage) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(Path::new(&path), stage) {
        tracing::warn!(%error, ?stage, "cannot tell the service manager");
    }
}

fn send(path: &Path, stage: Stage) -> io::Result<()> {
    let address = match path.as_os_str().as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let text = match stage {
        Stage::Ready => "READY=1".to_owned(),
        Stage::Reloading { monotonic_microseconds } => {
            format!("RELOADING=1\nMONOTONIC_USEC={monotonic_microseconds}")
        }
        Stage::Stopping => "STOPPING=1".to_owned(),
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_one_datagram() {
        let name = format!("@fairlead-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        for (stage, expect) in [
            (Stage::Ready, "READY=1"),
            (Stage::Reloading { monotonic_microseconds: 7 }, "RELOADING=1\nMONOTONIC_USEC=7"),
            (Stage::Stopping, "STOPPING=1"),
        ] {
            send(Path::new(&name), stage).unwrap();
            let mut buffer = [0; 64];
            let length = manager.recv(&mut buffer).unwrap();
            assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(expect));
        }
    }
}
