//! The codec against bytes that another implementation wrote, against itself, and against damage.

mod damage;
mod frames;
mod golden;
mod methods;
mod properties;
mod protocol_header;
mod tables;

use proptest::test_runner::Config;

/// `cases` of them, or as many as PROPTEST_CASES says. A failure prints its input; no file remembers it.
fn proptest_cases(cases: u32) -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { Config { cases, ..config } }
}

/// Bytes of a hexadecimal text; blanks are left out.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    assert_eq!(digits.len() % 2, 0, "half a byte in {text}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
