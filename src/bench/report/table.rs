//! The results as tables, in Markdown so that they can be put into a page as they are.

use super::{Ratio, value};
use crate::measure::Metric;
use crate::runner::{Rounds, Row};

/// Figures with a column of their own; others stand in the last.
const COLUMNS: [(Metric, &str); 5] = [
    (Metric::BrokerCpuPerMillion, "broker CPU per million"),
    (Metric::BrokerCpuShare, "broker CPU"),
    (Metric::GeneratorCpuShare, "generator CPU"),
    (Metric::Resident, "RSS"),
    (Metric::PeakResident, "peak RSS"),
];

/// One line a scenario and target.
pub fn results(rows: &[Row]) -> String {
    let mut head = vec!["scenario".to_owned(), "target".to_owned(), "result".to_owned(), "rounds".to_owned()];
    head.extend(COLUMNS.iter().map(|(_, name)| (*name).to_owned()));
    head.push("also".to_owned());
    let lines = rows.iter().map(|row| {
        let mut cells = vec![row.scenario.name.to_owned(), row.target.clone()];
        match &row.outcome {
            Ok(rounds) => cells.extend(figures(row, rounds)),
            Err(error) => {
                cells.push("failed".to_owned());
                cells.resize(head.len() - 1, String::new());
                cells.push(error.replace('\n', " "));
            }
        }
        cells
    });
    let lines: Vec<_> = lines.collect();
    render(&head, &lines)
}

fn figures(row: &Row, rounds: &Rounds) -> Vec<String> {
    let mut cells = vec![value::main(row.scenario, &rounds.median), spread(row.scenario.main, rounds)];
    cells.extend(COLUMNS.iter().map(|(metric, _)| value::of(*metric, &rounds.median)));
    let others = rounds.median.figures.iter().filter(|(metric, _)| {
        **metric != row.scenario.main && COLUMNS.iter().all(|(column, _)| column != *metric)
    });
    let mut also: Vec<_> = others
        .map(|(metric, figure)| format!("{} {}", short_name(*metric), value::text(*metric, *figure)))
        .collect();
    if let (Some(first), Some(last)) = (rounds.median.growth.first(), rounds.median.growth.last()) {
        let point = |(messages, bytes): &(u64, u64)| format!("{:.0} MB at {messages}", *bytes as f64 / 1e6);
        also.push(format!("RSS {} to {}", point(first), point(last)));
    }
    cells.push(also.join(", "));
    cells
}

fn short_name(metric: Metric) -> &'static str {
    match metric {
        Metric::MessagesPerSecond => "rate",
        Metric::MegabytesPerSecond => "bodies",
        Metric::StoredMegabytesPerSecond => "stored",
        Metric::LatencyP50 => "p50",
        Metric::LatencyP99 => "p99",
        Metric::LatencyP999 => "p99.9",
        Metric::LatencyMax => "max",
        Metric::SyncsPerSecond => "syncs",
        Metric::DiskFlushesPerSecond => "disk flushes",
        Metric::DiskMegabytesPerSecond => "disk writes",
        Metric::DiskLimit => "disk's limit",
        Metric::DiskLimitShare => "share of the disk's limit",
        Metric::DisturbedShare => "disturbed",
        Metric::SlowestShare => "slowest/fastest",
        Metric::BytesEach => "each",
        Metric::BodyCopies => "peak in bodies",
        Metric::StartMilliseconds => "start",
        Metric::StartCpuMilliseconds => "start CPU",
        Metric::HealthMilliseconds => "health ready",
        Metric::StartBytesRead => "read at the start",
        Metric::StartPeakResident => "peak RSS of the start",
        Metric::StartResident => "RSS after the start",
        Metric::ColdStartMilliseconds => "cold start",
        Metric::ColdHealthMilliseconds => "cold health ready",
        Metric::ColdDiskBytesRead => "read from disk",
        Metric::FillRate => "stored",
        Metric::BacklogPeakResident => "peak RSS of the growth",
        Metric::DrainRate => "drained",
        Metric::EmptyQueueRate => "through an empty queue",
        Metric::DrainShare => "drained/through an empty queue",
        Metric::DiskPeak => "peak on disk",
        Metric::DiskUsed => "on disk at the end",
        Metric::BrokerCpuPerMillion => "broker CPU per million",
        Metric::BrokerCpuShare => "broker CPU",
        Metric::GeneratorCpuShare => "generator CPU",
        Metric::Resident => "RSS",
        Metric::PeakResident => "peak RSS",
    }
}

/// From the lowest to the highest round.
fn spread(metric: Metric, rounds: &Rounds) -> String {
    let values = rounds.samples.iter().filter_map(|sample| sample.figures.get(&metric).copied());
    let values: Vec<f64> = values.collect();
    match (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max)) {
        (Some(least), Some(most)) if values.len() > 1 => {
            format!("{} to {}", value::text(metric, least), value::text(metric, most))
        }
        _ => values.len().to_string(),
    }
}

/// One line a ratio.
pub fn ratios(ratios: &[Ratio]) -> String {
    let head = ["scenario", "figure", "target", "beside", "times better"].map(str::to_owned);
    let lines: Vec<_> = ratios
        .iter()
        .map(|ratio| {
            vec![
                ratio.scenario.to_owned(),
                short_name(ratio.metric).to_owned(),
                ratio.target.clone(),
                ratio.against.clone(),
                times(ratio.better),
            ]
        })
        .collect();
    render(&head, &lines)
}

/// Two digits behind the point, more where they would be zeros.
fn times(ratio: f64) -> String {
    let digits = if ratio >= 0.1 { 2 } else { 4 };
    format!("{ratio:.digits$}")
}

/// Cells padded to their column's width.
pub fn render(head: &[String], lines: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column)).chain(head.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    let mut out = line(head);
    out.push_str(&format!("|{rule}\n"));
    lines.iter().for_each(|cells| out.push_str(&line(cells)));
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn small_ratios_keep_their_digits() {
        assert_eq!(times(23.456), "23.46");
        assert_eq!(times(0.0123), "0.0123");
    }

    #[test]
    fn columns_are_aligned() {
        let head = ["a".to_owned(), "bbb".to_owned()];
        let lines = [vec!["1234".to_owned(), "µ".to_owned()]];
        assert_eq!(render(&head, &lines), "| a    | bbb |\n|------|-----|\n| 1234 | µ   |\n");
    }

    #[test]
    fn a_row_shows_its_figures_and_a_failure_its_reason() {
        let good = row(0, "1x1-16b", &[(Metric::MessagesPerSecond, 5e6), (Metric::SlowestShare, 0.5)]);
        let mut bad = row(1, "1x1-16b", &[]);
        bad.outcome = Err("no route\nto host".into());
        let table = results(&[good, bad]);
        assert!(table.contains("5.00 M/s"), "{table}");
        assert!(table.contains("slowest/fastest 0.50"), "{table}");
        assert!(table.contains("no route to host"), "{table}");
        let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
    }
}
