//! `fairlead ctl` against a running broker: what it prints, where, and what it ends with.

use crate::closing::await_line;
use crate::socket::Socket;
use fairlead_tests::Broker;

const TOPOLOGY: &str = "topology:\n  vhosts: [{name: other}]\n  queues: [{name: q}, {name: q, vhost: other}]\n  \
                        bindings: [{source: amq.fanout, destination: q}]\n";

#[track_caller]
fn check(broker: &Broker, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = broker.ctl(arguments).unwrap();
    let url = broker.http_url().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr).replace(&url, "URL"), stderr, "{arguments:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{arguments:?}");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
}

#[test]
fn lists_are_of_all_or_of_a_virtual_host() {
    let broker = Broker::start_with(TOPOLOGY).expect("a broker");
    let rows = |arguments: &[&str]| {
        let output = broker.ctl(arguments).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().count() - 1
    };
    assert_eq!(rows(&["list", "queues"]), 2);
    assert_eq!(rows(&["list", "queues", "--vhost", "other"]), 1);
    assert_eq!(rows(&["list", "bindings", "--vhost", "other"]), 0);
    assert_eq!(rows(&["list", "vhosts"]), 2);
    let missing = "error: URL/api/queues/nowhere: 404 Not Found: no virtual host 'nowhere'\n";
    check(&broker, &["list", "queues", "--vhost", "nowhere"], 1, "", missing);
}

#[test]
fn a_purge_says_how_many_went_and_what_is_not_there() {
    let broker = Broker::start_with(TOPOLOGY).expect("a broker");
    let mut socket = Socket::open(&broker, 0);
    socket.publish("q", b"one");
    let purged = "purged 1 message from queue \"q\" in virtual host \"/\"\n";
    check(&broker, &["purge", "q"], 0, purged, "");
    check(&broker, &["purge", "q", "--json"], 0, "{\"messages\":0}\n", "");
    let missing = "error: URL/api/queues/%2F/nosuch/contents: 404 Not Found: \
                   no queue 'nosuch' in virtual host '/'\n";
    check(&broker, &["purge", "nosuch"], 1, "", missing);
}

#[test]
fn a_close_is_told_to_its_client_and_to_the_log() {
    let broker = Broker::start().expect("a broker");
    let mut socket = Socket::open(&broker, 0);
    let name = socket.name();
    check(
        &broker,
        &["close", &name, "--reason", "maintenance"],
        0,
        &format!("closed connection \"{name}\"\n"),
        "",
    );
    let (id, arguments) = socket.next_method();
    assert_eq!(id, (10, 50), "connection.close");
    assert!(String::from_utf8_lossy(&arguments).contains("CONNECTION_FORCED - maintenance"));
    drop(socket);
    await_line(&broker, &["connection closed by the broker", &name, "an operator asked for it: maintenance"]);
    let output = broker.ctl(&["close", "nobody"]).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).ends_with("404 Not Found: no connection 'nobody'\n"));
}
