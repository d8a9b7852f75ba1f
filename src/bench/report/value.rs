//! Figures as people read them.

use crate::measure::{Metric, Sample};
use crate::scenario::Scenario;

/// A figure with its unit.
pub fn text(metric: Metric, value: f64) -> String {
    match metric {
        Metric::MessagesPerSecond
        | Metric::DiskLimit
        | Metric::FillRate
        | Metric::DrainRate
        | Metric::EmptyQueueRate
        | Metric::SyncsPerSecond
        | Metric::DiskFlushesPerSecond => format!("{}/s", count(value)),
        Metric::MegabytesPerSecond | Metric::StoredMegabytesPerSecond | Metric::DiskMegabytesPerSecond => {
            format!("{value:.0} MB/s")
        }
        Metric::LatencyP50 | Metric::LatencyP99 | Metric::LatencyP999 | Metric::LatencyMax => {
            if value < 10_000.0 { format!("{value:.0} us") } else { format!("{:.1} ms", value / 1e3) }
        }
        Metric::SlowestShare | Metric::DiskLimitShare | Metric::DrainShare => format!("{value:.2}"),
        Metric::BytesEach => format!("{value:.0} B"),
        Metric::BodyCopies => format!("{value:.2} x"),
        Metric::StartMilliseconds
        | Metric::StartCpuMilliseconds
        | Metric::HealthMilliseconds
        | Metric::ColdStartMilliseconds
        | Metric::ColdHealthMilliseconds => format!("{value:.0} ms"),
        Metric::BrokerCpuPerMillion => format!("{value:.3} s"),
        Metric::DisturbedShare => format!("{:.1} %", value * 100.0),
        Metric::BrokerCpuShare | Metric::GeneratorCpuShare => format!("{:.0} %", value * 100.0),
        Metric::Resident
        | Metric::PeakResident
        | Metric::StartBytesRead
        | Metric::StartResident
        | Metric::StartPeakResident
        | Metric::ColdDiskBytesRead
        | Metric::BacklogPeakResident
        | Metric::DiskPeak
        | Metric::DiskUsed => format!("{:.1} MB", value / 1e6),
    }
}

/// A scenario's main figure; a dash if it is missing.
pub fn main(scenario: &Scenario, sample: &Sample) -> String {
    of(scenario.main, sample)
}

/// A figure of a sample; a dash if it is missing.
pub fn of(metric: Metric, sample: &Sample) -> String {
    sample.figures.get(&metric).map_or_else(|| "-".to_owned(), |value| text(metric, *value))
}

/// Three digits with `k` or `M`.
fn count(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e6 => (v / 1e6, " M"),
        v if v >= 1e3 => (v / 1e3, " k"),
        v => (v, " "),
    };
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let check = |metric, value, expected: &str| assert_eq!(text(metric, value), expected);
        check(Metric::MessagesPerSecond, 3_456_789.0, "3.46 M/s");
        check(Metric::MessagesPerSecond, 82_345.0, "82.3 k/s");
        check(Metric::MessagesPerSecond, 999.4, "999 /s");
        check(Metric::LatencyP99, 94.2, "94 us");
        check(Metric::LatencyP99, 123_456.0, "123.5 ms");
        check(Metric::BrokerCpuShare, 0.987, "99 %");
        check(Metric::Resident, 13_000_000.0, "13.0 MB");
    }
}
