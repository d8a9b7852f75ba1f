//! `fairlead journal`: what is kept on the disk. `verify`, `dump` and `stats` look at the data folder of a stopped
//! broker and change nothing; `snapshot` has a running one copy what it keeps.

use super::USAGE;
use super::api::{Api, CtlError, DEFAULT_URL};
use super::table;
use crate::config::{self, Overrides};
use clap::{Args, Subcommand};
use fairlead_amqp_0_9_1::translate::HEAD_READER;
use fairlead_engine::{Described, Describer, Detail, JOURNAL_FOLDER, missing};
use fairlead_journal::{Error, Folder, Report, Stopped, Stored};
use fairlead_kernel::message::HeadReaders;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

/// What the process ends with when something is damaged, or no snapshot was made.
const DAMAGED: u8 = 1;
/// How often a snapshot's progress is asked for.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Look at what is kept, or copy it.
#[derive(Args, Debug)]
pub struct Journal {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read everything that a stopped broker keeps, and check it; exit code 1 if something is damaged
    Verify(Place),
    /// List the records that a stopped broker keeps, one a line, without the contents of messages
    Dump(Place),
    /// Count what a stopped broker keeps, by queue
    Stats(Place),
    /// Have a running broker copy what it keeps to an empty folder, on which another can start
    Snapshot {
        /// The folder, on the broker's machine
        folder: PathBuf,
        /// Where the broker listens for HTTP
        #[arg(long, value_name = "URL", default_value = DEFAULT_URL, env = "FAIRLEAD_URL")]
        url: String,
        /// Print the broker's JSON instead of a sentence
        #[arg(long)]
        json: bool,
    },
}

/// Where to look, and how to show it.
#[derive(Args, Debug)]
struct Place {
    /// The data folder; the configuration's if not given
    #[arg(long = "data-dir", id = "place", value_name = "DIR")]
    data_dir: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// No configuration, and therefore no folder.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// There is nothing to look at.
    #[error("{} is no folder, expected the data folder of a broker, with a folder `{JOURNAL_FOLDER}` in it", .0.display())]
    NoJournal(PathBuf),
    /// It cannot be looked at, or is damaged where it must not be.
    #[error("{}: {source}", folder.display())]
    Journal {
        /// The journal's folder.
        folder: PathBuf,
        /// Why.
        source: Error,
    },
    /// The answer cannot be written.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// The broker was asked and did not do it.
    #[error(transparent)]
    Broker(#[from] CtlError),
    /// The broker could not do it.
    #[error("no snapshot could be made: {0}")]
    Snapshot(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::Journal { source, .. } if is_damage(source) => DAMAGED,
            Failure::Broker(_) | Failure::Snapshot(_) => DAMAGED,
            Failure::Config(_) | Failure::NoJournal(_) | Failure::Journal { .. } | Failure::Output(_) => {
                USAGE
            }
        }
    }
}

fn is_damage(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } | Error::Missing { .. } => true,
        Error::Io { .. }
        | Error::Locked { .. }
        | Error::Version { .. }
        | Error::Options(_)
        | Error::Rejected { .. } => false,
    }
}

impl Journal {
    /// Does it; the answer goes to standard output, what is wrong to standard error.
    pub fn run(self, overrides: Overrides) -> ExitCode {
        let mut out = BufWriter::new(io::stdout().lock());
        let done = match self.action {
            Action::Verify(place) => verify(place, overrides, &mut out),
            Action::Dump(place) => place.opened(overrides).and_then(|stopped| stopped.dump(&mut out)),
            Action::Stats(place) => place.opened(overrides).and_then(|stopped| stopped.stats(&mut out)),
            Action::Snapshot { folder, url, json } => snapshot(&folder, &Api::new(&url), json, &mut out),
        };
        match done.and_then(|code| Ok(out.flush().map(|()| code)?)) {
            Ok(code) => ExitCode::from(code),
            // Whoever read it has seen enough.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("error: {failure}");
                ExitCode::from(failure.code())
            }
        }
    }
}

fn verify(place: Place, overrides: Overrides, out: &mut impl Write) -> Result<u8, Failure> {
    let json = place.json;
    match place.opened(overrides) {
        Ok(looked) => looked.verify(out),
        // Damage at its end or in its checkpoint: nothing else can be told of it.
        Err(Failure::Journal { folder, source }) if is_damage(&source) => {
            if json {
                writeln!(out, "{}", json!({ "folder": folder, "faults": [fault_json(&source)] }))?;
            } else {
                writeln!(out, "damaged: {}: {source}", folder.display())?;
            }
            Ok(DAMAGED)
        }
        Err(failure) => Err(failure),
    }
}

/// A stopped journal, and how to show it.
struct Looked {
    folder: PathBuf,
    stopped: Stopped,
    json: bool,
}

impl Place {
    fn opened(self, mut overrides: Overrides) -> Result<Looked, Failure> {
        overrides.data_dir = self.data_dir.or(overrides.data_dir);
        let folder = config::load(&overrides)?.data_dir.join(JOURNAL_FOLDER);
        if !folder.is_dir() {
            return Err(Failure::NoJournal(folder));
        }
        let failed = |source| Failure::Journal { folder: folder.clone(), source };
        let stopped = Folder::new(&folder).and_then(|backend| Stopped::open(&backend)).map_err(failed)?;
        Ok(Looked { folder, stopped, json: self.json })
    }
}

impl Looked {
    fn failed(&self) -> impl Fn(Error) -> Failure {
        let folder = self.folder.clone();
        move |source| Failure::Journal { folder: folder.clone(), source }
    }

    fn verify(&self, out: &mut impl Write) -> Result<u8, Failure> {
        let mut report = self.stopped.verify();
        report.faults.extend(missing(&self.stopped, HeadReaders { amqp_0_9_1: &HEAD_READER }));
        if self.json {
            writeln!(out, "{}", self.report_json(&report))?;
        } else {
            self.write_report(&report, out)?;
            for fault in &report.faults {
                writeln!(out, "damaged: {}: {fault}", self.folder.display())?;
            }
            if report.faults.is_empty() {
                writeln!(out, "no damage")?;
            }
        }
        Ok(if report.faults.is_empty() { 0 } else { DAMAGED })
    }

    fn write_report(&self, report: &Report, out: &mut impl Write) -> io::Result<()> {
        let rows: Vec<Value> = segments_json(report);
        let columns = [
            "file",
            "first",
            "end",
            "batches",
            "records",
            "live_when_appended",
            "payload_bytes",
            "checkpoint_records",
        ];
        write!(out, "{}", table::render(&columns, &rows))?;
        let checkpoint = report.checkpoint.map_or("none".to_owned(), |position| position.to_string());
        writeln!(
            out,
            "{}: life {}, records up to position {}, checkpoint at {checkpoint}, a start reads from {}",
            self.folder.display(),
            report.epoch,
            report.end,
            report.replay_from
        )
    }

    fn report_json(&self, report: &Report) -> Value {
        json!({
            "folder": self.folder,
            "segments": segments_json(report),
            "life": report.epoch,
            "end": report.end.0,
            "checkpoint": report.checkpoint.map(|position| position.0),
            "replay_from": report.replay_from.0,
            "streams_in_checkpoint": report.streams,
            "faults": report.faults.iter().map(fault_json).collect::<Vec<_>>(),
        })
    }

    /// A describer that knows the queues of the newest checkpoint.
    fn describer(&self) -> Result<Describer, Failure> {
        let mut describer = Describer::default();
        self.stopped.checkpoint(|stream, part| describer.learn(stream, &part)).map_err(self.failed())?;
        Ok(describer)
    }

    fn dump(&self, out: &mut impl Write) -> Result<u8, Failure> {
        let mut describer = self.describer()?;
        let mut written = Ok(());
        let walked = self.stopped.dump(|record| {
            let fields = self.fields(&record, describer.describe(&record));
            let line = if self.json { object_of(fields).to_string() } else { line_of(&fields) };
            written = writeln!(out, "{line}");
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        written?;
        walked.map_err(self.failed())?;
        Ok(0)
    }

    /// What is shown of a record, in this order.
    fn fields(&self, record: &Stored<'_>, described: Described) -> Vec<(&'static str, Value)> {
        let mut fields = vec![("position", record.position.0.into())];
        if let Some((file, offset)) = self.stopped.place_of(record.position) {
            fields.extend([("file", file.into()), ("offset", offset.into())]);
        }
        fields.extend([("stream", record.stream.0.into()), ("kind", described.kind.into())]);
        if let Some((vhost, queue)) = described.queue {
            fields.extend([("vhost", (*vhost).into()), ("queue", (*queue).into())]);
        }
        fields.extend([("bytes", record.payload.len().into()), ("live", record.live.into())]);
        fields.extend(described.details.into_iter().map(|(name, detail)| match detail {
            Detail::Number(number) => (name, number.into()),
            Detail::Text(text) => (name, text.into()),
        }));
        fields
    }

    fn stats(&self, out: &mut impl Write) -> Result<u8, Failure> {
        let mut describer = self.describer()?;
        let mut streams: BTreeMap<u64, Counted> = BTreeMap::new();
        let count = |record: Stored<'_>| {
            let described = describer.describe(&record);
            let counted = streams.entry(record.stream.0).or_default();
            counted.queue = described.queue.or(counted.queue.take());
            counted.records += 1;
            counted.live += u64::from(record.live);
            counted.bytes += record.payload.len() as u64;
            ControlFlow::Continue(())
        };
        self.stopped.dump(count).map_err(self.failed())?;
        let rows: Vec<Value> = streams.iter().map(|(stream, counted)| counted.to_json(*stream)).collect();
        let report = self.stopped.verify();
        if self.json {
            let mut value = self.report_json(&report);
            value["streams"] = rows.into();
            writeln!(out, "{value}")?;
        } else {
            let columns = ["stream", "vhost", "queue", "records", "live_when_appended", "payload_bytes"];
            write!(out, "{}", table::render(&columns, &rows))?;
            writeln!(out)?;
            self.write_report(&report, out)?;
        }
        Ok(0)
    }
}

/// What a stream has in the segments that there are.
#[derive(Default)]
struct Counted {
    queue: Option<(std::sync::Arc<str>, std::sync::Arc<str>)>,
    records: u64,
    live: u64,
    bytes: u64,
}

impl Counted {
    fn to_json(&self, stream: u64) -> Value {
        json!({
            "stream": stream,
            "vhost": self.queue.as_ref().map(|(vhost, _)| &**vhost),
            "queue": self.queue.as_ref().map(|(_, name)| &**name),
            "records": self.records,
            "live_when_appended": self.live,
            "payload_bytes": self.bytes,
        })
    }
}

/// `name=value` with two blanks between; texts are quoted, so that no name can look like a field.
fn line_of(fields: &[(&str, Value)]) -> String {
    let words: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.join("  ")
}

fn object_of(fields: Vec<(&str, Value)>) -> Value {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn segments_json(report: &Report) -> Vec<Value> {
    let rows = report.segments.iter().map(|segment| {
        json!({
            "file": segment.file,
            "first": segment.first.0,
            "end": segment.end.0,
            "batches": segment.batches,
            "records": segment.records,
            "live_when_appended": segment.live_when_appended,
            "payload_bytes": segment.payload_bytes,
            "checkpoint_records": segment.checkpoint_records,
        })
    });
    rows.collect()
}

fn fault_json(fault: &Error) -> Value {
    let (file, offset) = match fault {
        Error::Corrupt { file, offset, .. } => (Some(file), Some(*offset)),
        Error::Io { file, .. } | Error::Missing { file, .. } | Error::Version { file, .. } => {
            (Some(file), None)
        }
        Error::Locked { .. } | Error::Options(_) | Error::Rejected { .. } => (None, None),
    };
    json!({ "file": file, "offset": offset, "fault": fault.to_string() })
}

/// Has it made, and waits until it is.
fn snapshot(folder: &Path, api: &Api, json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    const PATH: &str = "journal/snapshot";
    let folder = std::path::absolute(folder)?;
    let mut answer = api.post(PATH, &json!({ "folder": folder }))?;
    while answer["state"] == "running" {
        sleep(ASK_EVERY);
        answer = api.get(PATH)?;
    }
    if answer["folder"].as_str().map(Path::new) != Some(&folder) {
        return Err(api.unexpected("the progress of this snapshot was expected").into());
    }
    match (answer["state"].as_str(), answer["position"].as_u64()) {
        (Some("done"), Some(_)) if json => writeln!(out, "{answer}")?,
        (Some("done"), Some(position)) => {
            writeln!(out, "copied what was on disk, up to position {position}, to {}", folder.display())?;
        }
        (Some("failed"), _) => {
            return Err(Failure::Snapshot(answer["reason"].as_str().unwrap_or_default().to_owned()));
        }
        _ => return Err(api.unexpected("the progress of a snapshot was expected").into()),
    }
    Ok(0)
}
