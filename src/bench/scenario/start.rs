//! Start of a fresh broker until it is ready, and its memory then.

use crate::error::Error;
use crate::machine::process::Process;
use crate::measure::{Metric, Sample};
use crate::target::Target;

/// Takes the figures of a target that has just been started for this round.
pub fn run(target: &Target) -> Result<Sample, Error> {
    let mut sample = Sample::default();
    if let Some(milliseconds) = target.start_milliseconds() {
        sample.put(Metric::StartMilliseconds, milliseconds);
    }
    if let Some(cpu) = target.process.map(Process::cpu_time) {
        sample.put(Metric::StartCpuMilliseconds, cpu?.as_secs_f64() * 1e3);
    }
    sample.put_memory(target.process)?;
    Ok(sample)
}
