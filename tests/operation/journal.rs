//! `fairlead journal`, and starts on folders that are in use or damaged.

use crate::closing::await_line;
use crate::socket::Socket;
use fairlead_tests::Broker;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

const TOPOLOGY: &str = "topology: {queues: [{name: orders}, {name: spare}]}";

/// A broker that keeps three messages.
fn broker() -> Broker {
    let broker = Broker::start_with(TOPOLOGY).expect("a broker");
    let mut socket = Socket::open(&broker, 0);
    for body in ["one", "two", "three"] {
        socket.publish_for_good("orders", body.as_bytes());
    }
    broker
}

fn journal(action: &str, folder: &Path, more: &[&str]) -> Output {
    let folder = folder.to_str().unwrap();
    Broker::command(&[&["journal", action, "--data-dir", folder], more].concat()).unwrap()
}

/// What it printed, and on standard error, and its exit code.
fn told(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
}

/// The first file of a data folder.
fn first_file(data: &Path) -> PathBuf {
    data.join("journal/0000000000000000.segment")
}

/// Changes a byte of the first file.
fn damage(data: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(first_file(data)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn a_folder_is_one_brokers() {
    let broker = broker();
    let data = broker.data_dir().to_str().unwrap();
    let second = ["--data-dir", data, "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let (_, error, code) = told(&Broker::command(&second).unwrap());
    let reason = format!("data_dir: {data}: the data folder is in use by process {}", broker.process());
    assert!(code == 1 && error.contains(&reason), "{code}: {error}");
    let (_, error, code) = told(&journal("verify", broker.data_dir(), &[]));
    assert!(code == 2 && error.contains(&format!("in use by process {}", broker.process())), "{error}");
}

#[test]
fn what_is_kept_can_be_verified_listed_and_counted_when_the_broker_has_stopped() {
    let mut broker = broker();
    broker.terminate().unwrap();
    let data = broker.data_dir();
    let (report, error, code) = told(&journal("verify", data, &[]));
    assert!(code == 0 && report.ends_with("no damage\n") && error.is_empty(), "{code}: {report}{error}");

    let (list, _, code) = told(&journal("dump", data, &[]));
    assert_eq!(code, 0);
    let lines =
        |words: &[&str]| list.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert_eq!(lines(&["kind=\"queue declared\"", "name=\"orders\"", "vhost=\"/\""]), 1, "{list}");
    assert_eq!(lines(&["kind=\"message\"", "queue=\"orders\"", "body_bytes=3"]), 2, "{list}");
    assert_eq!(lines(&["kind=\"message\"", "queue=\"orders\"", "body_bytes=5"]), 1, "{list}");
    assert!(!list.contains("three"), "bodies are not shown: {list}");
    let (objects, _, _) = told(&journal("dump", data, &["--json"]));
    assert_eq!(objects.lines().count(), list.lines().count());
    assert!(objects.lines().all(|line| line.starts_with('{') && line.contains("\"position\":")), "{objects}");

    let (counts, _, code) = told(&journal("stats", data, &[]));
    let row = counts.lines().find(|line| line.contains("orders")).unwrap();
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!((code, &words[1..3], words[4]), (0, &["/", "orders"][..], "3"), "{counts}");

    let (_, error, code) = told(&journal("verify", &data.join("nowhere"), &[]));
    assert!(code == 2 && error.contains("nowhere/journal is no folder"), "{code}: {error}");
}

#[test]
fn damage_is_placed_and_a_start_on_it_refused() {
    let mut broker = broker();
    broker.terminate().unwrap();
    let data = broker.data_dir();
    // Within the first message's record: what was written before the end cannot be torn.
    let (list, _, _) = told(&journal("dump", data, &[]));
    let message = list.lines().find(|line| line.contains("kind=\"message\"")).unwrap();
    let offset = message.split("offset=").nth(1).unwrap().split(' ').next().unwrap();
    damage(data, offset.parse::<u64>().unwrap() + 40);
    let before = fs::read(first_file(data)).unwrap();

    let place = format!("0000000000000000.segment is damaged at offset {offset}");
    let (report, _, code) = told(&journal("verify", data, &[]));
    assert!(code == 1 && report.contains(&place), "{code}: {report}");
    let (report, _, code) = told(&journal("verify", data, &["--json"]));
    let fault = format!("\"file\":\"0000000000000000.segment\",\"offset\":{offset}}}]");
    assert!(code == 1 && report.contains(&fault), "{code}: {report}");

    let start = ["--data-dir", data.to_str().unwrap(), "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    let (_, error, code) = told(&Broker::command(&start).unwrap());
    assert!(
        code == 1 && error.contains(&place) && error.contains("`fairlead journal verify`"),
        "{code}: {error}"
    );
    assert_eq!(fs::read(first_file(data)).unwrap(), before, "nothing was changed");
}

#[test]
fn a_snapshot_of_a_running_broker_starts() {
    let broker = broker();
    let url = broker.http_url().unwrap();
    let copy = broker.data_dir().with_file_name("copy");
    let snapshot = |folder: &Path| {
        told(&Broker::command(&["journal", "snapshot", folder.to_str().unwrap(), "--url", &url]).unwrap())
    };
    let (answer, error, code) = snapshot(&copy);
    assert!(code == 0 && answer.starts_with("copied what was on disk"), "{code}: {answer}{error}");
    await_line(&broker, &["INFO", "snapshot made", copy.to_str().unwrap()]);
    let (_, error, code) = snapshot(&copy);
    assert!(code == 1 && error.contains("copy is not empty"), "{code}: {error}");
    // A folder there would be in a segment's place at the next start.
    let inside = broker.data_dir().join("journal/00000000000000ff.segment");
    let (_, error, code) = snapshot(&inside);
    assert!(code == 1 && error.contains("is inside the journal") && !inside.exists(), "{code}: {error}");

    // What comes later is not in it.
    Socket::open(&broker, 0).publish_for_good("orders", b"four");
    let other = Broker::start_on(&copy).expect("a broker on the copy");
    let counts = |broker: &Broker| {
        let output = broker.ctl(&["list", "queues"]).unwrap();
        let table = String::from_utf8(output.stdout).unwrap();
        let row = table.lines().find(|line| line.contains("orders")).unwrap().to_owned();
        row.split_whitespace().nth(4).unwrap().to_owned()
    };
    assert_eq!((counts(&broker).as_str(), counts(&other).as_str()), ("4", "3"));
}
