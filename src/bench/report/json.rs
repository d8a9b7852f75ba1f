//! The results as JSON.

use super::Ratio;
use crate::cli::Common;
use crate::error::Error;
use crate::machine::Machine;
use crate::measure::Sample;
use crate::runner::Row;
use serde_json::{Value, json};
use std::path::Path;

/// Writes everything that was found to a file.
pub fn write(
    path: &Path,
    rows: &[Row],
    ratios: &[Ratio],
    common: &Common,
    machine: &Machine,
) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let text = serde_json::to_string_pretty(&document(rows, ratios, common, machine))
        .map_err(|fault| failed(std::io::Error::other(fault)))?;
    std::fs::write(path, text + "\n").map_err(failed)
}

fn document(rows: &[Row], ratios: &[Ratio], common: &Common, machine: &Machine) -> Value {
    let settings = &common.settings;
    let cores = (!common.no_pin)
        .then(|| json!({ "broker": common.cores.broker, "generator": common.cores.generator }));
    json!({
        "machine": {
            "processors": machine.processors,
            "affinity": machine.affinity,
            "model": machine.model,
        },
        "cores": cores,
        "settings": {
            "warm_up_seconds": settings.warm_up.as_secs_f64(),
            "duration_seconds": settings.duration.as_secs_f64(),
            "rounds": settings.rounds,
            "acknowledge": settings.ack,
            "prefetch": settings.prefetch,
            "latency_rate": settings.rate,
        },
        "results": rows.iter().map(result).collect::<Vec<_>>(),
        "ratios": ratios.iter().map(|ratio| json!({
            "scenario": ratio.scenario,
            "figure": ratio.metric,
            "target": ratio.target,
            "beside": ratio.against,
            "times_better": ratio.better,
        })).collect::<Vec<_>>(),
    })
}

fn result(row: &Row) -> Value {
    let mut result = json!({ "scenario": row.scenario.name, "target": row.target });
    match &row.outcome {
        Ok(rounds) => {
            result["median"] = sample(&rounds.median);
            result["rounds"] = rounds.samples.iter().map(sample).collect();
        }
        Err(error) => result["error"] = json!(error),
    }
    result
}

fn sample(sample: &Sample) -> Value {
    let mut object: serde_json::Map<_, _> =
        sample.figures.iter().map(|(metric, value)| (metric.name().to_owned(), json!(value))).collect();
    if !sample.growth.is_empty() {
        let points = sample.growth.iter().map(|(messages, bytes)| json!([messages, bytes]));
        object.insert("messages_and_resident_bytes".to_owned(), points.collect());
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;
    use crate::measure::Metric;

    #[test]
    fn figures_carry_their_unit_in_their_name() {
        let value = result(&row(0, "1x1-16b", &[(Metric::MessagesPerSecond, 5.0)]));
        assert_eq!(value["median"]["messages_per_second"], json!(5.0));
        assert_eq!(value["rounds"][0]["messages_per_second"], json!(5.0));
        assert_eq!(value["target"], "target 0");
    }
}
