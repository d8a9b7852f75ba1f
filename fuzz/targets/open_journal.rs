//! Any records, with right checksums, and then any bytes as the data folder of a journal: it opens or says why not,
//! nothing panics, and a journal that opened takes a record and gives it back when it is opened again.
#![no_main]

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use fairlead_journal::backend::simulated::Disk;
use fairlead_journal::format::{
    BatchState, Class, RecordHeader, SEGMENT_HEADER, SegmentHeader, decode_record,
};
use fairlead_journal::{
    Backend, Error, Events, Journal, Kind, LiveCounts, Need, Options, Part, Position, Record, Rejected,
    Replay, Step, Stopped, Stored, StreamId,
};
use libfuzzer_sys::fuzz_target;

const SIZE: u64 = 16 << 10;
const LAST: &[u8] = b"the last record";

struct Quiet;

impl Events for Quiet {
    fn durable(&self, _before: Position) {}
    fn fatal(&self, error: &Error) {
        panic!("the simulated disk has no faults: {error}");
    }
}

/// Releases what records say, so that counts go down as well.
#[derive(Default)]
struct Last(Vec<u8>);

impl Replay for Last {
    fn checkpoint(&mut self, _stream: StreamId, _part: Bytes) -> Result<(), Rejected> {
        Ok(())
    }

    fn record(&mut self, record: Stored<'_>, live: &mut LiveCounts) -> Result<(), Rejected> {
        if let Some(released) = record.payload.first_chunk::<8>() {
            let _ = live.release(Position(u64::from_le_bytes(*released)), 1);
        }
        self.0 = record.payload.to_vec();
        Ok(())
    }
}

fn open(disk: &Disk, replay: &mut Last) -> Result<fairlead_journal::Opened, Error> {
    let options = Options {
        segment_size: SIZE,
        first_segment_size: SIZE,
        record_most: 2 << 10,
        batch_bytes: 2 << 10,
        keep_free: 0,
        low_below: 0,
        ..Options::default()
    };
    Journal::open(Arc::new(disk.clone()), options, Box::new(Quiet), replay)
}

/// A segment of records that the input describes, and behind them what is left of it.
fn segment(mut data: &[u8]) -> Vec<u8> {
    let header = SegmentHeader { sequence: 0, first: 0, size: SIZE, previous_end: 0, root: 0, epoch: 1 };
    let mut bytes = header.encode().to_vec();
    bytes.extend(BatchState { durable: 0, root: 0 }.encode(SEGMENT_HEADER, 1));
    while let [what, stream, length, rest @ ..] = data {
        if *what >= 0xf0 {
            data = rest;
            break;
        }
        let length = usize::from(*length).min(rest.len());
        let payload = &rest[..length];
        data = &rest[length..];
        let class = [Class::Owner, Class::Batch, Class::Part, Class::Root][usize::from(what % 4)];
        let header = RecordHeader {
            length: length as u32,
            position: bytes.len() as u64,
            stream: u64::from(stream % 4),
            // This life's or an earlier one's: what a later one leaves is behind its own mark.
            epoch: u32::from(what >> 6 != 3),
            kind: 1,
            live: what & 4 != 0,
            class,
        };
        bytes.extend(header.encode(crc32c::crc32c(payload)));
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes.extend_from_slice(data);
    bytes.resize(SIZE as usize, 0);
    bytes
}

fuzz_target!(|data: &[u8]| {
    for position in [0, 64] {
        if let Ok((header, payload)) = decode_record(data, position) {
            assert_eq!(payload.len(), header.length as usize);
        }
    }
    let disk = Disk::new(1, 1 << 20);
    let file = disk.create("0000000000000000.segment").expect("there is room");
    file.write_at(&[IoSlice::new(&segment(data))], 0).expect("there is room");
    if let Ok(stopped) = Stopped::open(&disk) {
        let _ = stopped.verify();
    }
    let Ok(mut opened) = open(&disk, &mut Last::default()) else { return };
    let record = Record { stream: StreamId(9), kind: Kind(1), live: true, need: Need::Refusable };
    let position = opened.journal.append(record, &[Part::Slice(LAST)]).expect("there is room");
    assert!(matches!(opened.writer.step(), Step::Durable(_)));
    assert_eq!(opened.journal.read(position).expect("it is durable"), LAST);
    drop(opened);
    let mut last = Last::default();
    open(&disk, &mut last).expect("what opened once opens again");
    assert_eq!(last.0, LAST);
});
