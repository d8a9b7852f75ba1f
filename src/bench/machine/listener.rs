//! Which process listens on a TCP port: `/proc/net/tcp` gives the socket, `/proc/<pid>/fd` its owner.

use super::{numbered, of, read};
use crate::error::Error;
use std::path::Path;

/// The kernel's number for a listening socket's state.
const LISTEN: &str = "0A";

/// The process that listens on `port` in this network namespace; `None` if there is none or its files may not be
/// read.
pub fn process_of(port: u16) -> Result<Option<i32>, Error> {
    let mut inodes = listening(&read(Path::new("/proc/net/tcp"))?, port);
    if let Ok(text) = read(Path::new("/proc/net/tcp6")) {
        inodes.extend(listening(&text, port));
    }
    let wanted: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut pids = numbered(Path::new("/proc"))?;
    pids.sort_unstable();
    Ok(pids.into_iter().find(|pid| owns(*pid, &wanted)))
}

/// The inodes of the sockets that listen on `port`, from a table of the kernel.
fn listening(table: &str, port: u16) -> Vec<u64> {
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).filter_map(|line| {
        // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?;
        (state == LISTEN && local.ends_with(&suffix)).then(|| inode.parse().ok())?
    });
    rows.collect()
}

fn owns(pid: i32, sockets: &[String]) -> bool {
    let Ok(entries) = std::fs::read_dir(of(pid, "fd")) else { return false };
    entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_searched_by_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1629 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 0 100 0 0 10 0\n   \
            1: 0100007F:1629 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0 100 0 0 10 0\n   \
            2: 00000000:162A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 43 1 0 100 0 0 10 0\n";
        assert_eq!(listening(table, 0x1629), [41]);
        assert_eq!(listening(table, 0x162A), [43]);
        assert!(listening(table, 0x162B).is_empty());
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(process_of(port).unwrap(), i32::try_from(std::process::id()).ok());
    }
}
