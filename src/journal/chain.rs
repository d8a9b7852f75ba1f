//! The segments of a folder as they are found: which are begun, how they follow each other, where the last one ends.
//! Nothing is changed here; opening a journal and looking at a stopped one both begin with this.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Backend, File, read_full};
use crate::error::Error;
use crate::format::{Class, HeaderFault, SEGMENT_HEADER, SegmentHeader, VERSION};
use crate::root::Root;
use crate::scan::{Reader, Until, Walked, lost_its_header, walk};
use crate::segments::{file_name, parse_file_name};

/// A segment that was begun.
pub(crate) struct Link {
    pub header: SegmentHeader,
    pub name: String,
    pub file: Arc<dyn File>,
}

impl Link {
    pub fn limit(&self) -> u64 {
        self.header.first + self.header.size
    }

    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.file), self.name.clone(), self.header.first, self.limit())
    }

    /// A file is as long as its header says before that is written: one that is shorter has lost its end, and what
    /// was there cannot be told from a torn one.
    fn check_length(&self) -> Result<(), Error> {
        let length = self.file.length().map_err(Error::io("reading", &self.name))?;
        if length >= self.header.size {
            return Ok(());
        }
        let expected = format!("{} bytes in the file", self.header.size);
        Err(Error::Corrupt { file: self.name.clone(), offset: length, expected })
    }
}

/// All segments of a folder.
pub(crate) struct Chain {
    /// Those that were begun, by number.
    pub links: BTreeMap<u64, Link>,
    /// Files without a header of their number.
    pub not_begun: BTreeMap<u64, Arc<dyn File>>,
    /// Of those, the numbers in the headers that they have: of what was in them before they were recycled.
    numbers: BTreeMap<u64, u64>,
    /// What was learned of the last one.
    pub tail: Option<Walked>,
    /// The newest checkpoint; an empty one when there is none.
    pub root: Root,
}

impl Chain {
    /// Read the headers, walk the last segment, load the newest root.
    ///
    /// # Errors
    /// Damage, a newer format, the disk's.
    pub fn read(backend: &dyn Backend) -> Result<Self, Error> {
        let (links, not_begun, numbers) = Default::default();
        let mut chain = Self { links, not_begun, numbers, tail: None, root: Root::default() };
        for name in backend.list().map_err(Error::io("listing", "the folder"))? {
            if let Some(sequence) = parse_file_name(&name) {
                chain.add(backend, sequence, name)?;
            }
        }
        if let Some((_, last)) = chain.links.last_key_value() {
            last.check_length()?;
            let from = last.header.first + SEGMENT_HEADER;
            let epoch = Some(last.header.epoch);
            let tail: Walked = walk(&mut last.reader(), from, epoch, Until::Torn, |_, _| Ok(()))?;
            let root = if tail.root > 0 { tail.root } else { last.header.root };
            chain.tail = Some(tail);
            chain.root = chain.load_root(root)?;
        }
        chain.check_what_is_not_begun()?;
        Ok(chain)
    }

    fn add(&mut self, backend: &dyn Backend, sequence: u64, name: String) -> Result<(), Error> {
        let file = backend.open(&name).map_err(Error::io("opening", &name))?;
        let mut bytes = [0; SEGMENT_HEADER as usize];
        let filled = read_full(&*file, &mut bytes, 0).map_err(Error::io("reading", &name))?;
        match SegmentHeader::decode(&bytes[..filled]) {
            Ok(header) if header.sequence == sequence => {
                self.links.insert(sequence, Link { header, name, file });
            }
            Ok(header) => {
                self.numbers.insert(sequence, header.sequence);
                self.not_begun.insert(sequence, file);
            }
            Err(HeaderFault::None) => {
                self.not_begun.insert(sequence, file);
            }
            Err(HeaderFault::Version(found)) => {
                return Err(Error::Version { file: name, found, known: VERSION });
            }
        }
        Ok(())
    }

    /// The one or two files after the last segment may be prepared ones, unless the first has records that were
    /// durable; any other file without a header is a damaged segment.
    fn check_what_is_not_begun(&self) -> Result<(), Error> {
        let (after, first, epoch) = match (self.links.last_key_value(), &self.tail) {
            (Some((sequence, last)), Some(tail)) => (sequence + 1, last.limit(), tail.epoch),
            _ => (0, 0, 0),
        };
        // The next one is prepared when the last is begun, and removed before it.
        if self.not_begun.contains_key(&(after + 1)) && !self.not_begun.contains_key(&after) {
            let why = format!("{} was prepared behind it", file_name(after + 1));
            return Err(Error::Missing { file: file_name(after), why });
        }
        for (sequence, file) in &self.not_begun {
            let needed = *sequence > after + 1 || (*sequence < after && self.is_needed(*sequence));
            let name = file_name(*sequence);
            // Files are filled before they have their names, and only segments before the last are recycled.
            let cut = file.length().map_err(Error::io("reading", &name))? < SEGMENT_HEADER;
            let renamed = self.numbers.get(sequence).is_some_and(|number| *number >= after);
            let lost = *sequence == after && lost_its_header(Arc::clone(file), &name, first, epoch)?;
            if needed || cut || renamed || lost {
                return Err(without_header(*sequence));
            }
        }
        Ok(())
    }

    /// Whether a segment that is not there must be: for replay, or because live records or a checkpoint are in it.
    fn is_needed(&self, sequence: u64) -> bool {
        let next = self.links.range((Bound::Excluded(sequence), Bound::Unbounded)).next();
        let its_end = next.map_or(u64::MAX, |(_, link)| link.header.previous_end);
        let listed = self.root.segments.iter().find(|entry| entry.sequence == sequence);
        let in_it = |position: u64| {
            listed.is_some_and(|entry| (entry.first..entry.first + entry.size).contains(&position))
        };
        self.root.replay_start() < its_end
            || self.root.pins().any(in_it)
            || self.root.streams.values().flat_map(|stream| &stream.live).any(|(first, _)| in_it(*first))
    }

    fn load_root(&self, position: u64) -> Result<Root, Error> {
        if position == 0 {
            return Ok(Root::default());
        }
        let (_, record) = self.read_record(position, Class::Root)?;
        let damaged = || self.corrupt(position, "a checkpoint's root");
        let parts = Root::decode_record(&record).ok_or_else(damaged)?;
        let mut bytes = Vec::new();
        for part in &parts {
            bytes.extend_from_slice(&self.read_record(*part, Class::Part)?.1);
        }
        Root::decode(position, parts, &bytes).ok_or_else(damaged)
    }

    fn corrupt(&self, position: u64, expected: &str) -> Error {
        let (file, first) =
            self.find(position).map_or((String::new(), 0), |link| (link.name.clone(), link.header.first));
        Error::Corrupt { file, offset: position - first, expected: expected.to_owned() }
    }

    /// The segment that has a position.
    pub fn find(&self, position: u64) -> Option<&Link> {
        self.links.values().find(|link| (link.header.first..link.limit()).contains(&position))
    }

    /// Why no segment that was begun has a position that the checkpoint needs: the file's header is damaged, or the file
    /// is not there.
    fn lost(&self, position: u64) -> Error {
        let missing = |file: String| Error::Missing {
            file,
            why: format!("the newest checkpoint needs position {position}"),
        };
        let Some(after) = self.links.values().find(|link| link.header.first > position) else {
            return missing("a segment".to_owned());
        };
        let mut first = after.header.first;
        for sequence in (0..after.header.sequence).rev() {
            let Some(file) = self.not_begun.get(&sequence) else { return missing(file_name(sequence)) };
            match file.length() {
                Ok(length) => first = first.saturating_sub(length),
                Err(source) => return Error::io("reading", &file_name(sequence))(source),
            }
            if first <= position {
                return without_header(sequence);
            }
        }
        missing("a segment".to_owned())
    }

    /// The payload of a record of a class, and its stream.
    ///
    /// # Errors
    /// When it is not there.
    pub fn read_record(&self, position: u64, class: Class) -> Result<(u64, Bytes), Error> {
        let link = self.find(position).ok_or_else(|| self.lost(position))?;
        let file = Arc::clone(&link.file);
        let mut reader = Reader::for_one_record(file, link.name.clone(), link.header.first, link.limit());
        let found = reader.record(position).map_err(Error::io("reading", &link.name))?;
        match found {
            Ok((header, payload)) if header.class == class => {
                Ok((header.stream, Bytes::copy_from_slice(payload)))
            }
            Ok(_) => Err(self.corrupt(position, "a part of a checkpoint")),
            Err(fault) => Err(self.corrupt(position, &fault.to_string())),
        }
    }

    /// Where the records of a segment end: what the next one says, or the last checkpoint, or what the walk found.
    pub fn end(&self, sequence: u64) -> Option<u64> {
        if let Some(next) = self.links.get(&(sequence + 1)) {
            return Some(next.header.previous_end);
        }
        if self.links.last_key_value().is_some_and(|(last, _)| *last == sequence) {
            return self.tail.map(|tail| tail.end);
        }
        self.root
            .segments
            .iter()
            .find(|entry| entry.sequence == sequence && entry.end > 0)
            .map(|entry| entry.end)
    }

    /// The segments that replay goes through, in order.
    ///
    /// # Errors
    /// When one is missing.
    pub fn to_replay(&self) -> Result<Vec<&Link>, Error> {
        let start = self.root.replay_start();
        let links: Vec<&Link> = self.links.values().filter(|link| link.limit() > start).collect();
        let missing = |sequence: u64| Error::Missing {
            file: file_name(sequence),
            why: format!("records from position {start} on must be replayed"),
        };
        if let Some(first) = links.first()
            && first.header.first > start
            && first.header.previous_end > start
        {
            return Err(missing(first.header.sequence.saturating_sub(1)));
        }
        for pair in links.windows(2) {
            let (before, after) = (&pair[0].header, &pair[1].header);
            if after.sequence != before.sequence + 1 {
                return Err(missing(before.sequence + 1));
            }
            if after.first != before.first + before.size || after.previous_end <= before.first {
                let expected = format!("a segment that follows {}", pair[0].name);
                return Err(Error::Corrupt { file: pair[1].name.clone(), offset: 0, expected });
            }
        }
        Ok(links)
    }

    /// Walk one segment from its first record, or from a position in it.
    ///
    /// # Errors
    /// Damage, the disk's, the visitor's.
    pub fn walk(
        &self,
        link: &Link,
        from: Option<u64>,
        visit: impl FnMut(&crate::format::RecordHeader, &[u8]) -> Result<(), Error>,
    ) -> Result<Walked, Error> {
        let start = from.unwrap_or(link.header.first + SEGMENT_HEADER);
        let epoch = from.is_none().then_some(link.header.epoch);
        let until = self.end(link.header.sequence).map_or(Until::Torn, Until::End);
        walk(&mut link.reader(), start, epoch, until, visit)
    }
}

/// A segment was in that file, and its header is not there.
fn without_header(sequence: u64) -> Error {
    Error::Corrupt { file: file_name(sequence), offset: 0, expected: HeaderFault::None.to_string() }
}
