//! SIGHUP: all of the file or nothing of it, in words that people read.

use crate::socket::Socket;
use fairlead_tests::Broker;

#[test]
fn a_file_that_contradicts_what_lives_is_refused_as_a_whole() {
    let before = "topology: {exchanges: [{name: orders, type: topic}]}\n";
    let broker = Broker::start_with(before).expect("a broker");
    let after = "users: [{name: ann, password: s3cret}]\n\
                 topology: {exchanges: [{name: orders, type: direct}], queues: [{name: q}]}\n";
    let told = broker.reload(after).unwrap();
    let line = told.lines().find(|line| line.contains("ERROR")).expect("a line");
    for words in [
        "configuration not reloaded, nothing has changed",
        "exchange 'orders'",
        "exists with the type topic, and the type direct is declared",
    ] {
        assert!(line.contains(words), "{line}");
    }
    // guest is still there, ann is not.
    Socket::open(&broker, 0);
    Socket::new(&broker).log_in("ann", "s3cret");
    broker.await_log(|log| log.contains("no user of that name")).unwrap();
    assert!(!broker.log().contains("reloaded users"), "{}", broker.log());
}

#[test]
fn changes_are_told_as_they_were_written_and_the_level_is_taken() {
    let broker = Broker::start_with("timeouts: {drain: 20 s}\n").expect("a broker");
    let told = broker
        .reload("timeouts: {drain: 0}\nauthentication: {mechanisms: [PLAIN, ANONYMOUS]}\nlogging: {level: warn}\n")
        .unwrap();
    for line in [
        "reloaded authentication.mechanisms: [PLAIN] -> [PLAIN, ANONYMOUS]\n",
        "reloaded logging.level: info -> warn\n",
        "reloaded timeouts.drain: 20 s -> 0\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let before = broker.log().len();
    Socket::open(&broker, 0);
    Socket::new(&broker).log_in("guest", "wrong");
    let log = broker.await_log(|log| log[before..].contains("WARN login refused")).unwrap();
    assert!(!log[before..].contains("INFO"), "{log}");
}
