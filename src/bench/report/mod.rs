//! The results for people and for programs.

pub mod json;
pub mod table;
pub mod value;

use crate::measure::Metric;
use crate::runner::Row;

/// How one target did beside another in the same scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// The scenario.
    pub scenario: &'static str,
    /// The figure.
    pub metric: Metric,
    /// Whose.
    pub target: String,
    /// Beside whose.
    pub against: String,
    /// How many times better: above 1, `target` is. For a rate this is also the share.
    pub better: f64,
}

/// The first target beside each other one, by each scenario's main figure and by CPU time a message.
pub fn ratios(rows: &[Row]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    for first in rows.iter().filter(|row| row.source == 0) {
        for other in rows.iter().filter(|row| row.source > 0 && row.scenario.name == first.scenario.name) {
            let metrics = [first.scenario.main, Metric::BrokerCpuPerMillion];
            ratios.extend(metrics.into_iter().filter_map(|metric| ratio(first, other, metric)));
        }
    }
    ratios
}

fn ratio(first: &Row, other: &Row, metric: Metric) -> Option<Ratio> {
    let figure = |row: &Row| row.outcome.as_ref().ok()?.median.figures.get(&metric).copied();
    let (mine, theirs) = (figure(first)?, figure(other)?);
    let better = if metric.more_is_better()? { mine / theirs } else { theirs / mine };
    let ratio = Ratio {
        scenario: first.scenario.name,
        metric,
        target: first.target.clone(),
        against: other.target.clone(),
        better,
    };
    better.is_finite().then_some(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Sample, median};
    use crate::runner::Rounds;
    use crate::scenario::Scenario;

    pub fn row(source: usize, scenario: &str, figures: &[(Metric, f64)]) -> Row {
        let mut sample = Sample::default();
        figures.iter().for_each(|(metric, value)| sample.put(*metric, *value));
        let samples = vec![sample];
        Row {
            scenario: Scenario::select(&[scenario.to_owned()]).unwrap()[0],
            source,
            target: format!("target {source}"),
            outcome: Ok(Rounds { median: median(&samples), samples }),
        }
    }

    #[test]
    fn above_one_is_better_whichever_way_the_figure_goes() {
        let rows = [
            row(0, "1x1-16b", &[(Metric::MessagesPerSecond, 300.0), (Metric::BrokerCpuPerMillion, 2.0)]),
            row(1, "1x1-16b", &[(Metric::MessagesPerSecond, 100.0), (Metric::BrokerCpuPerMillion, 8.0)]),
            row(0, "latency", &[(Metric::LatencyP99, 100.0)]),
            row(1, "latency", &[(Metric::LatencyP99, 50.0)]),
        ];
        let found: Vec<_> = ratios(&rows).iter().map(|r| (r.scenario, r.metric, r.better)).collect();
        let expected = [
            ("1x1-16b", Metric::MessagesPerSecond, 3.0),
            ("1x1-16b", Metric::BrokerCpuPerMillion, 4.0),
            ("latency", Metric::LatencyP99, 0.5),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_failed_has_no_ratio() {
        let mut failed = row(1, "1x1-16b", &[]);
        failed.outcome = Err("gone".into());
        let rows = [row(0, "1x1-16b", &[(Metric::MessagesPerSecond, 1.0)]), failed];
        assert_eq!(ratios(&rows), []);
    }
}
