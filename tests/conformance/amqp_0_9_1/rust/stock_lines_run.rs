//! The first program of a new user, run as they would run it.

use std::process::Command;

use crate::steps::Client;

const LINES: &str = "1 GOOG 616.47\n2 RHT 42.46\n3 VMW 78.25\n4 CSCO 23.29\n5 IBM 141.43\n";

#[tokio::test(flavor = "multi_thread")]
async fn five_stock_lines() {
    let client = Client::start().await;
    // `cargo test` has built the examples beside the tests.
    let this_test = std::env::current_exe().unwrap();
    let program = this_test.ancestors().nth(2).unwrap().join("examples/stock_lines");
    for kind in ["direct", "topic", "fanout", "headers"] {
        let output = Command::new(&program).arg(kind).env("AMQP_URL", &client.url).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), LINES, "{kind}: {output:?}");
        assert!(output.status.success());
    }
    for words in [&[][..], &["sideways"]] {
        let output = Command::new(&program).args(words).output().unwrap();
        let usage = "usage: cargo run -p fairlead-tests --example stock_lines direct|topic|fanout|headers\n";
        assert_eq!(
            (String::from_utf8_lossy(&output.stderr).as_ref(), output.status.code()),
            (usage, Some(2))
        );
    }
}
