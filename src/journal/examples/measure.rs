//! The journal against the disk's own limit: records of 1 KB by one thread, so many at most unconfirmed; then the
//! same bytes written and synced as many times by a plain loop. They take turns; medians are printed.
//!
//!     cargo run --release -p fairlead-journal --example measure -- FOLDER [ROUNDS [WINDOW...]]

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
const RECORD_OF_ONE: Record =
    Record { stream: StreamId(1), kind: Kind(1), live: true, need: Need::Refusable };
/// Bytes between two checkpoints.
const CHECKPOINT_EVERY: u64 = 64 << 20;
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
    let payload = [7; RECORD];
    let before = journal.statistics();
    let mut waiting = std::collections::VecDeque::with_capacity(window + 1);
    let (mut covered, mut waited, mut records) = (0, Duration::ZERO, 0_u64);
    let began = Instant::now();
    while began.elapsed() < FOR {
        while waiting.len() < window {
            waiting.push_back(journal.append(RECORD_OF_ONE, &[Part::Slice(&payload)])?.0);
            records += 1;
        }
        let pause = Instant::now();
        let mut durable = progress.durable.load(Ordering::Acquire);
        while waiting.front().is_some_and(|first| *first >= durable) {
            std::thread::park();
            durable = progress.durable.load(Ordering::Acquire);
        }
        waited += pause.elapsed();
        // As consumers would: segments are used again.
        let confirmed = waiting.partition_point(|position| *position < durable);
        waiting.drain(..confirmed).all(|position| journal.release(Position(position), 1));
        if journal.next().0 > covered + CHECKPOINT_EVERY
            && let Some(checkpoint) = journal.checkpoint()
        {
            covered = checkpoint.begin().0;
            checkpoint.finish()?;
        }
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

/// Nanoseconds of an append of 1 KB when nobody else runs: the writer is stepped in between.
fn append_alone(folder: &Path) -> Result<f64, Box<dyn std::error::Error>> {
    // Nothing of an earlier run: an error here is one of the next line.
    let _ = std::fs::remove_dir_all(folder);
    let progress = Progress { durable: Arc::default(), appender: std::thread::current() };
    let mut opened =
        Journal::open(Arc::new(Folder::new(folder)?), Options::default(), Box::new(progress), &mut Nothing)?;
    let payload = [7; RECORD];
    let mut rounds = Vec::new();
    for _ in 0..31 {
        let began = Instant::now();
        for _ in 0..2000 {
            opened.journal.append(RECORD_OF_ONE, &[Part::Slice(&payload)])?;
        }
        rounds.push(began.elapsed().as_nanos() as f64 / 2000.0);
        opened.writer.step();
    }
    Ok(median(rounds))
}

/// Seconds to open a journal of a million records of 1 KB that no checkpoint covers.
fn restart(folder: &Path) -> Result<f64, Box<dyn std::error::Error>> {
    // Nothing of an earlier run: an error here is one of the next line.
    let _ = std::fs::remove_dir_all(folder);
    let open = || {
        let progress = Progress { durable: Arc::default(), appender: std::thread::current() };
        let backend = Arc::new(Folder::new(folder)?);
        Journal::open(backend, Options::default(), Box::new(progress), &mut Nothing)
    };
    let mut opened = open()?;
    for number in 1..=1_000_000_u64 {
        opened.journal.append(RECORD_OF_ONE, &[Part::Slice(&[7; RECORD])])?;
        if number.is_multiple_of(5000) {
            opened.writer.step();
        }
    }
    drop(opened);
    let recovered = open()?.recovered;
    println!("{} records, {} bytes read at the start", recovered.records, recovered.bytes);
    Ok(recovered.took.as_secs_f64())
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
    let windows: Vec<usize> = arguments.map(|window| window.parse()).collect::<Result<_, _>>()?;
    let windows = if windows.is_empty() { vec![1, 100, 1000, 10_000] } else { windows };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let path = folder.join("plain");
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
    for megabyte in 0..512_u64 {
        file.write_all_at(&vec![0; 1 << 20], megabyte << 20)?;
    }
    file.sync_all()?;
    println!("{:.0} ns an append alone", append_alone(&folder.join("journal"))?);
    println!("{:.2} s to open a million records of 1 KB", restart(&folder.join("journal"))?);
    for window in windows {
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
