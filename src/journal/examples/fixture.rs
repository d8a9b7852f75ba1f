//! Writes the data folder of the current format that a test opens for ever after: a checkpoint of one stream, records
//! after it, a second life. To be run once for a new format, never for a released one.
//!
//!     cargo run -p fairlead-journal --example fixture -- src/journal/tests/fixtures/format-N

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fairlead_journal::{
    Error, Events, Folder, Journal, Kind, LiveCounts, Need, Opened, Options, Part, Position, Record,
    Rejected, Replay, Stored, StreamId,
};

struct Nothing;

impl Events for Nothing {
    fn durable(&self, _before: Position) {}

    fn fatal(&self, error: &Error) {
        eprintln!("{error}");
        std::process::abort();
    }
}

impl Replay for Nothing {
    fn checkpoint(&mut self, _stream: StreamId, _part: Bytes) -> Result<(), Rejected> {
        Ok(())
    }

    fn record(&mut self, _record: Stored<'_>, _live: &mut LiveCounts) -> Result<(), Rejected> {
        Ok(())
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn open(folder: &Path) -> Outcome<Opened> {
    let options = Options {
        segment_size: 16 << 10,
        first_segment_size: 4 << 10,
        record_most: 3 << 10,
        batch_bytes: 2 << 10,
        ..Options::default()
    };
    Ok(Journal::open(Arc::new(Folder::new(folder)?), options, Box::new(Nothing), &mut Nothing)?)
}

fn append(opened: &mut Opened, number: u8) -> Outcome<Position> {
    let record = Record { stream: StreamId(1), kind: Kind(1), live: true, need: Need::Refusable };
    let position = opened.journal.append(record, &[Part::Slice(&[number; 150])])?;
    opened.writer.step();
    Ok(position)
}

fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).ok_or("into which folder?")?;
    let folder = Path::new(&folder);
    if folder.exists() {
        return Err("the folder is there already; a released format is never written again".into());
    }
    let mut first = open(folder)?;
    let items = (0..30).map(|number| append(&mut first, number)).collect::<Outcome<Vec<_>>>()?;
    let mut live = first.journal.live_counts();
    items.iter().for_each(|position| live.add(*position, 1));
    let mut checkpoint = first.journal.checkpoint().ok_or("no other checkpoint is being made")?;
    let parts = items.iter().map(|position| position.0.to_le_bytes());
    checkpoint.stream(StreamId(1), first.journal.next(), &live, parts)?;
    checkpoint.finish()?;
    for number in 30..35 {
        append(&mut first, number)?;
    }
    drop(first);
    let mut second = open(folder)?;
    for number in 35..40 {
        append(&mut second, number)?;
    }
    second.writer.rest();
    drop(second);
    std::fs::remove_file(folder.join("lock"))?;
    Ok(())
}
