//! The log says who closed a connection and why, and what to do about a login that cannot succeed.

use crate::socket::{HEADER, Socket};
use fairlead_tests::Broker;
use rustix::process::Signal;

/// Waits for a line that has all of these.
#[track_caller]
pub fn await_line(broker: &Broker, words: &[&str]) -> String {
    let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
    let log = broker.await_log(|log| log.lines().any(|line| has_all(&line)));
    log.unwrap_or_else(|log| panic!("no line with {words:?}:\n{log}"))
        .lines()
        .find(has_all)
        .unwrap()
        .to_owned()
}

#[test]
fn a_drain_is_the_brokers_doing() {
    let mut broker = Broker::start().expect("a broker");
    let mut socket = Socket::open(&broker, 0);
    broker.signal(Signal::TERM).unwrap();
    assert_eq!(socket.next_method().0, (10, 50), "connection.close");
    let name = socket.name();
    // Without a close-ok: its client just goes.
    drop(socket);
    broker.wait().unwrap();
    await_line(&broker, &["connection closed by the broker", &name, "the broker stops"]);
    assert!(!broker.log().contains("connection lost"));
}

#[test]
fn silence_and_faults_are_told_apart_from_a_client_that_goes() {
    let broker = Broker::start_with("timeouts: {handshake: 1 s}").expect("a broker");
    let silent = Socket::open(&broker, 1);
    await_line(&broker, &["closed by the broker", &silent.name(), "two intervals of its heartbeat"]);

    let mut wrong = Socket::open(&broker, 0);
    wrong.send(&[9, 0, 0, 0, 0, 0, 0, 0xce]);
    assert_eq!(wrong.next_method().0, (10, 50), "connection.close");
    let name = wrong.name();
    drop(wrong);
    await_line(&broker, &["closed by the broker", &name, "FRAME_ERROR"]);

    let mut slow = Socket::new(&broker);
    slow.send(HEADER);
    await_line(&broker, &["closed by the broker", &slow.name(), "timeouts.handshake"]);

    let mut polite = Socket::open(&broker, 0);
    polite.method(10, 50, &[0, 200, 0, 0, 0, 0, 0]);
    assert_eq!(polite.next_method().0, (10, 51), "connection.close-ok");
    await_line(&broker, &["connection closed by its client", &polite.name()]);

    let gone = Socket::open(&broker, 0);
    let name = gone.name();
    drop(gone);
    await_line(&broker, &["connection lost: its client closed the socket", &name]);
}

#[test]
fn a_refused_login_says_why_and_never_the_password() {
    let broker = Broker::start().expect("a broker");
    for (user, password, why) in [
        ("guest", "s3cret-guess", "the password is not the one in users"),
        ("nobody", "s3cret-guess", "no user of that name is in users"),
    ] {
        Socket::new(&broker).log_in(user, password);
        await_line(&broker, &["WARN", "login refused", &format!("user=\"{user}\""), why]);
    }
    assert!(!broker.log().contains("s3cret-guess"));
}

#[test]
fn a_client_from_elsewhere_is_told_the_keys() {
    // Whoever comes through a proxy is not on this machine.
    let proxied = |broker: &Broker| {
        let mut socket = Socket::new(broker);
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        header.extend([192, 0, 2, 7, 192, 0, 2, 1, 0x30, 0x39, 0x16, 0x28]);
        socket.send(&header);
        socket
    };
    let broker = Broker::start_with("listeners: {proxy_protocol: true}").expect("a broker");
    let mut socket = proxied(&broker);
    socket.send(HEADER);
    await_line(&broker, &["WARN", "192.0.2.7:12345", "no way to log in", "authentication.plain_without_tls"]);

    let broker =
        Broker::start_with("listeners: {proxy_protocol: true}\nauthentication: {plain_without_tls: true}")
            .expect("a broker");
    proxied(&broker).log_in("guest", "guest");
    await_line(&broker, &["WARN", "login refused", "192.0.2.7:12345", "authentication.guest_from_anywhere"]);

    // And who comes without it is not left waiting.
    let mut direct = Socket::new(&broker);
    direct.send(HEADER);
    assert_eq!(direct.rest(), b"");
    await_line(
        &broker,
        &["WARN", &direct.address(), "listeners.proxy_protocol is true", "AMQP\\x00\\x00\\t\\x01"],
    );
}

#[test]
fn a_wrong_header_is_logged_as_it_came() {
    let broker = Broker::start().expect("a broker");
    for (sent, shown, hint) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "GET / HT", "listeners.http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "\\x16\\x03\\x01\\x02\\x00\\x01\\x00\\x01", "TLS"),
        (b"AMQP\x03\x01\x00\x00", "AMQP\\x03\\x01\\x00\\x00", "0-9-1"),
    ] {
        let mut socket = Socket::new(&broker);
        socket.send(sent);
        assert_eq!(socket.next_header(), HEADER);
        await_line(&broker, &["WARN", "connection turned away", &socket.address(), shown, hint]);
    }
}

#[test]
fn an_ipv4_client_of_a_listener_for_both_is_shown_as_one_and_is_on_this_machine() {
    let broker = Broker::start_at("[::]:0", "").expect("a broker");
    let socket = Socket::open(&broker, 0);
    await_line(&broker, &["connection opened", &format!("connection=\"{}\"", socket.name())]);
    assert!(!broker.log().contains("::ffff"), "{}", broker.log());
}
