//! Sizes and durations as people write them: a whole number and a unit, with or without a space between.

use std::time::Duration;

const KIB: u64 = 1 << 10;

/// Units of size, in bytes; of those that divide a number, the first is used to show it.
const SIZES: [(&str, u64); 9] = [
    ("TiB", KIB * KIB * KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("MiB", KIB * KIB),
    ("KiB", KIB),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("", 1),
];

/// Units of duration, in milliseconds.
const DURATIONS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1000), ("h", 60 * 60 * 1000), ("min", 60 * 1000), ("s", 1000), ("ms", 1)];

/// Bytes, from `128 MiB`, `10kB` or `512`.
pub fn bytes(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// A duration, from `60 s`, `30min` or `250 ms`; the unit is wanted.
pub fn duration(text: &str) -> Option<Duration> {
    scaled(text, &DURATIONS).map(Duration::from_millis)
}

/// Hundredths, from `40%` or `40 %`; 1 to 100.
pub fn percent(text: &str) -> Option<u8> {
    let hundredths = scaled(text, &[("%", 1)])?;
    u8::try_from(hundredths).ok().filter(|percent| (1..=100).contains(percent))
}

/// A size as a whole number of the largest binary unit that divides it.
pub fn show_bytes(bytes: u64) -> String {
    let unit = SIZES[..4].iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// A duration as a whole number of the largest unit that divides it; what is finer than a millisecond is left out.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let unit = DURATIONS.iter().find(|(_, unit)| milliseconds.is_multiple_of(u128::from(*unit)));
    match unit {
        Some((name, unit)) if milliseconds > 0 => format!("{} {name}", milliseconds / u128::from(*unit)),
        _ => "0".to_owned(),
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expect) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("1KiB", Some(1024)),
            ("128 MiB", Some(128 << 20)),
            ("3 GB", Some(3_000_000_000)),
            ("16777216 TiB", None),
            ("128 mib", None),
            ("1.5 GiB", None),
            ("-1", None),
            ("MiB", None),
            ("", None),
            ("12 MiB or so", None),
        ] {
            assert_eq!(bytes(text), expect, "{text:?}");
        }
        for (bytes, expect) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1 << 20, "1 MiB"), (1536 << 10, "1536 KiB")]
        {
            assert_eq!(show_bytes(bytes), expect);
        }
    }

    #[test]
    fn durations_and_percentages() {
        for (text, expect) in [
            ("250 ms", Some(250)),
            ("60 s", Some(60_000)),
            ("30min", Some(1_800_000)),
            ("2 h", Some(7_200_000)),
            ("1 d", Some(86_400_000)),
            ("60", None),
            ("60 seconds", None),
            ("s", None),
        ] {
            assert_eq!(duration(text), expect.map(Duration::from_millis), "{text:?}");
        }
        for (milliseconds, expect) in
            [(0, "0"), (250, "250 ms"), (60_000, "1 min"), (65_535_000, "65535 s"), (86_400_000, "1 d")]
        {
            assert_eq!(show_duration(Duration::from_millis(milliseconds)), expect);
        }
        for (text, expect) in
            [("1%", Some(1)), ("100 %", Some(100)), ("0%", None), ("101%", None), ("40", None)]
        {
            assert_eq!(percent(text), expect, "{text:?}");
        }
    }
}
