//! The journal against the disk's own limit: records of 1 KB by one thread, so many at most unconfirmed; then the
//! same bytes written and synced as many times by a plain loop. They take turns; medians are printed.
//!
//!     cargo run --release -p fairlead-journal --example measure -- FOLDER [ROUNDS]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_journal::{
    Error, Events, Folder, Journal, Kind, LiveCounts, Need, Opened, Options, Part, Position, Record,
    Rejected, Replay, Stored, StreamId,
};

const RECORD: usize = 1024;
const FOR: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct Progress {
    durable: Arc<AtomicU64>,
    appender: std::thread::Thread,
}

impl Events for Progress {
    fn durable(&self, before: Position) {
        self.durable.store(before.0, Ordering::Release);
        self.appender.unpark();
    }

    fn fatal(&self, error: &Error) {
        eprintln!("{error}");
        std::process::abort();
    }
}

struct Nothing;

impl Replay for Nothing {
    fn checkpoint(&mut self, _stream: StreamId, _part: Bytes) -> Result<(), Rejected> {
        Ok(())
    }

    fn record(&mut self, _record: Stored<'_>, _live: &mut LiveCounts) -> Result<(), Rejected> {
        Ok(())
    }
}

struct Run {
    records: u64,
    seconds: f64,
    bytes: u64,
    syncs: u64,
    /// Nanoseconds of an append, waiting left out.
    append: f64,
}

fn journal(folder: &Path, window: usize) -> Result<Run, Box<dyn std::error::Error>> {
    // Nothing of an earlier run: an error here is one of the next line.
    let _ = std::fs::remove_dir_all(folder);
    let progress = Progress { durable: Arc::default(), appender: std::thread::current() };
    let backend = Arc::new(Folder::new(folder)?);
    let Opened { journal, writer, mut keeper, .. } =
        Journal::open(backend, Options::default(), Box::new(progress.clone()), &mut Nothing)?;
    keeper.step()?;
    let workers = [std::thread::spawn(move || writer.run()), std::thread::spawn(move || keeper.run())];
    let record = Record { stream: StreamId(1), kind: Kind(1), live: true, need: Need::Refusable };
    let payload = [7; RECORD];
    let before = journal.statistics();
    let mut waiting = std::collections::VecDeque::with_capacity(window + 1);
    let (began, mut waited, mut records) = (Instant::now(), Duration::ZERO, 0_u64);
    while began.elapsed() < FOR {
        while waiting.len() < window {
            waiting.push_back(journal.append(record, &[Part::Slice(&payload)])?.0);
            records += 1;
        }
        let pause = Instant::now();
        let mut durable = progress.durable.load(Ordering::Acquire);
        while waiting.front().is_some_and(|first| *first >= durable) {
            std::thread::park();
            durable = progress.durable.load(Ordering::Acquire);
        }
        waiting.drain(..waiting.partition_point(|position| *position < durable));
        waited += pause.elapsed();
    }
    let elapsed = began.elapsed();
    journal.close();
    for worker in workers {
        worker.join().map_err(|_| "a thread panicked")?;
    }
    let after = journal.statistics();
    Ok(Run {
        records,
        seconds: elapsed.as_secs_f64(),
        bytes: after.bytes - before.bytes,
        syncs: after.syncs - before.syncs,
        append: (elapsed - waited).as_nanos() as f64 / records as f64,
    })
}

/// The same bytes in as many equal writes, each followed by a sync, over zeros that were written before.
fn plain(file: &File, run: &Run) -> std::io::Result<f64> {
    let length = (run.bytes / run.syncs.max(1)) as usize;
    let block = vec![7; length];
    let size = file.metadata()?.len();
    let mut offset = 0;
    let began = Instant::now();
    for _ in 0..run.syncs {
        if offset + length as u64 > size {
            offset = 0;
        }
        file.write_all_at(&block, offset)?;
        file.sync_data()?;
        offset += length as u64;
    }
    Ok(began.elapsed().as_secs_f64())
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder? It is emptied.")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let path = folder.join("plain");
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
    for megabyte in 0..512_u64 {
        file.write_all_at(&vec![0; 1 << 20], megabyte << 20)?;
    }
    file.sync_all()?;
    for window in [1, 100, 1000, 10_000] {
        let (mut rates, mut shares, mut appends, mut syncs) = (vec![], vec![], vec![], vec![]);
        for _ in 0..rounds {
            let run = journal(&folder.join("journal"), window)?;
            let limit = plain(&file, &run)?;
            rates.push(run.records as f64 / run.seconds);
            shares.push(limit / run.seconds);
            appends.push(run.append);
            syncs.push(run.syncs as f64 / run.seconds);
        }
        println!(
            "window {window:>6}: {:>8.0} records/s, {:>5.0} syncs/s, {:.2} of the plain loop, {:.0} ns an append",
            median(rates),
            median(syncs),
            median(shares),
            median(appends),
        );
    }
    std::fs::remove_file(path)?;
    std::fs::remove_dir_all(folder.join("journal"))?;
    Ok(())
}
