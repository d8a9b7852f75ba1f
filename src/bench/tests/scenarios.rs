//! Each scenario that keeps something on disk, in small, against the real broker: it ends well and tells its figures.

use serde_json::Value;
use std::error::Error;
use std::path::Path;
use std::process::Command;

/// Runs a scenario against a Fairlead; gives whether it ended well, and the first of its results.
fn run(scenario: &str, arguments: &[&str]) -> Result<(bool, Value), Box<dyn Error>> {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{scenario}-{}.json", arguments.len()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead-bench"));
    command.args(["run", "--no-pin", "--warm-up", "0.2", "--duration", "0.5", "--rounds", "1"]);
    command.args(["--scenario", scenario]).arg("--json").arg(&json);
    command.arg("--binary").arg(fairlead_tests::binary()?).args(arguments);
    let output = command.output()?;
    let document: Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    Ok((output.status.success(), document["results"][0].clone()))
}

/// Runs a scenario and checks that each of `figures` is there and above 0; gives them all.
fn check(scenario: &str, arguments: &[&str], figures: &[&str]) -> Value {
    let (well, result) = run(scenario, arguments).unwrap_or_else(|error| panic!("{scenario}: {error}"));
    assert!(well, "{scenario}: {result}");
    for figure in figures {
        let value = result["median"][figure].as_f64();
        assert!(value.is_some_and(|value| value > 0.0), "{scenario}, {figure}: {result}");
    }
    result["median"].clone()
}

const CONFIRMS: [&str; 3] = ["messages_per_second", "latency_p50_microseconds", "latency_p99_microseconds"];

#[test]
fn persistent_messages_are_confirmed_by_one_publisher_and_by_ten() {
    check("persistent-1", &[], &CONFIRMS);
    check("persistent-100", &["--ack"], &CONFIRMS);
    check("persistent-10x10-quorum", &[], &CONFIRMS);
}

#[test]
fn a_backlog_outlives_a_kill_and_is_drained() {
    let figures = [
        "start_milliseconds",
        "start_to_health_ready_milliseconds",
        "start_bytes_read",
        "start_resident_bytes",
        "backlog_peak_resident_bytes",
        "drained_per_second",
        "through_empty_queue_per_second",
        "drain_share_of_empty_queue",
    ];
    let median = check("restart", &["--restart-messages", "5000"], &figures);
    assert_eq!(
        median["messages_and_resident_bytes"].as_array().and_then(|points| points.last()?[0].as_u64()),
        Some(5000)
    );
}

#[test]
fn a_large_message_outlives_a_kill() {
    let figures = ["start_milliseconds", "stored_megabytes_per_second", "megabytes_per_second"];
    check("large-restart", &["--large-size", "3000000"], &figures);
}

#[test]
fn an_old_message_is_held_while_others_pass() {
    let figures = ["data_folder_peak_bytes", "messages_per_second", "start_milliseconds"];
    check("unacked-pin", &["--pin-bytes", "4194304"], &figures);
}

#[test]
fn what_takes_too_long_is_ended_with_its_reason() {
    let (well, result) = run("unacked-pin", &["--at-most", "0.2", "--pin-bytes", "1000000000"]).unwrap();
    assert!(!well);
    let error = result["error"].as_str().unwrap();
    assert!(error.contains("not done in"), "{error}");
}
