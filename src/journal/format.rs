//! Format 1, byte by byte: segment headers, record headers, the payload of a batch header. All numbers are
//! little-endian. docs/journal-format.md is the prose; this is what it describes.

/// The format that is written. A segment of a newer one is refused.
pub const VERSION: u32 = 1;
/// The first bytes of every segment file.
pub const MAGIC: [u8; 8] = *b"FAIRLEAD";
/// Bytes of a segment header; the first record follows.
pub const SEGMENT_HEADER: u64 = 64;
/// Bytes of a record header; the payload follows, then zeros up to the next multiple of [`ALIGNMENT`].
pub const RECORD_HEADER: usize = 32;
/// Records begin at multiples of this.
pub const ALIGNMENT: u64 = 8;
/// Bytes of a batch header with its record header.
pub const BATCH_HEADER: usize = RECORD_HEADER + 16;
/// The most that one batch may take, its header included: how far damage can hide the next batch.
pub const BATCH_MOST: u64 = 16 << 20;

/// What a record is to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The caller's.
    Owner,
    /// Begins a batch; alone, it is a durable mark.
    Batch,
    /// A part of a stream's checkpoint or of a root.
    Part,
    /// Ends a checkpoint.
    Root,
}

impl Class {
    fn code(self) -> u8 {
        match self {
            Self::Owner => 0,
            Self::Batch => 1,
            Self::Part => 2,
            Self::Root => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Owner, Self::Batch, Self::Part, Self::Root].into_iter().find(|class| class.code() == code)
    }
}

/// A record header without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of payload.
    pub length: u32,
    /// Where the record is.
    pub position: u64,
    /// Whose it is.
    pub stream: u64,
    /// Which life of the journal wrote it.
    pub epoch: u32,
    /// What it is to its owner.
    pub kind: u8,
    /// Whether its owner counts it as live.
    pub live: bool,
    /// What it is to the journal.
    pub class: Class,
}

impl RecordHeader {
    /// The header's bytes, with the checksum over the payload (given as its CRC-32C) and then the header itself.
    #[must_use]
    pub fn encode(&self, payload_checksum: u32) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.stream.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[28] = self.kind;
        bytes[29] = u8::from(self.live);
        bytes[30] = self.class.code();
        let checksum = checksum(payload_checksum, &bytes);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Bytes the record takes in the journal, its padding included.
    #[must_use]
    pub fn space(&self) -> u64 {
        space(self.length as usize)
    }
}

/// Bytes that a record with so much payload takes, its padding included.
#[must_use]
pub fn space(payload: usize) -> u64 {
    (RECORD_HEADER as u64 + payload as u64).next_multiple_of(ALIGNMENT)
}

fn checksum(payload_checksum: u32, header: &[u8; RECORD_HEADER]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(payload_checksum, &header[0..4]), &header[8..])
}

/// Why bytes are not the record that should be there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Fewer bytes are left than the record needs.
    #[error("a record that fits in the {left} bytes that are left, found a length of {needed}")]
    Short {
        /// What it needs.
        needed: u64,
        /// What is there.
        left: u64,
    },
    /// Not a record, or one of another place: a recycled segment's, or none yet.
    #[error("a record of position {expected}, found {found}")]
    Position {
        /// Where we look.
        expected: u64,
        /// What is said there.
        found: u64,
    },
    /// A record of another life of the journal.
    #[error("a record of epoch {expected}, found {found}")]
    Epoch {
        /// The epoch so far.
        expected: u32,
        /// What is said there.
        found: u32,
    },
    /// The bytes are not those that were written.
    #[error("the checksum {expected:#010x} of the record, found {found:#010x}")]
    Checksum {
        /// That of the bytes.
        expected: u32,
        /// What is said there.
        found: u32,
    },
    /// A class or flags of no version that we know; the checksum is right.
    #[error("a class and flags that are known, found {class} and {flags}")]
    Unknown {
        /// The class.
        class: u8,
        /// The flags.
        flags: u8,
    },
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// Payload length that the bytes at `position` claim.
///
/// # Errors
/// When there is no header of that position.
pub fn peek_length(bytes: &[u8], position: u64) -> Result<usize, Fault> {
    if bytes.len() < RECORD_HEADER {
        return Err(Fault::Short { needed: RECORD_HEADER as u64, left: bytes.len() as u64 });
    }
    let found = u64_at(bytes, 8);
    if found != position {
        return Err(Fault::Position { expected: position, found });
    }
    Ok(u32_at(bytes, 0) as usize)
}

/// The record that `bytes` begin with, which should be at `position`, and its payload.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn decode_record(bytes: &[u8], position: u64) -> Result<(RecordHeader, &[u8]), Fault> {
    let length = peek_length(bytes, position)?;
    let needed = RECORD_HEADER + length;
    if bytes.len() < needed {
        return Err(Fault::Short { needed: needed as u64, left: bytes.len() as u64 });
    }
    let payload = &bytes[RECORD_HEADER..needed];
    let mut header = [0; RECORD_HEADER];
    header.copy_from_slice(&bytes[..RECORD_HEADER]);
    let expected = checksum(crc32c::crc32c(payload), &header);
    let found = u32_at(bytes, 4);
    if expected != found {
        return Err(Fault::Checksum { expected, found });
    }
    let (flags, class) = (bytes[29], bytes[30]);
    let unknown = Fault::Unknown { class, flags };
    if flags > 1 || bytes[31] != 0 {
        return Err(unknown);
    }
    let class = Class::of(class).ok_or(unknown)?;
    let header = RecordHeader {
        length: u32_at(bytes, 0),
        position,
        stream: u64_at(bytes, 16),
        epoch: u32_at(bytes, 24),
        kind: bytes[28],
        live: flags & 1 == 1,
        class,
    };
    Ok((header, payload))
}

/// What a batch header says of what came before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchState {
    /// Everything before this position was on disk when the batch was written.
    pub durable: u64,
    /// The newest durable root's position; 0 is none.
    pub root: u64,
}

impl BatchState {
    /// A whole batch header.
    #[must_use]
    pub fn encode(&self, position: u64, epoch: u32) -> [u8; BATCH_HEADER] {
        let mut bytes = [0; BATCH_HEADER];
        bytes[RECORD_HEADER..RECORD_HEADER + 8].copy_from_slice(&self.durable.to_le_bytes());
        bytes[RECORD_HEADER + 8..].copy_from_slice(&self.root.to_le_bytes());
        let header = RecordHeader {
            length: 16,
            position,
            stream: 0,
            epoch,
            kind: 0,
            live: false,
            class: Class::Batch,
        };
        let header = header.encode(crc32c::crc32c(&bytes[RECORD_HEADER..]));
        bytes[..RECORD_HEADER].copy_from_slice(&header);
        bytes
    }

    /// Of a batch header's payload.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        (payload.len() == 16).then(|| Self { durable: u64_at(payload, 0), root: u64_at(payload, 8) })
    }
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number.
    pub sequence: u64,
    /// The position of the file's first byte.
    pub first: u64,
    /// Bytes of the file: the next segment's first position is `first + size`.
    pub size: u64,
    /// Where the records of the segment before end, exactly; all of them were on disk before this was written.
    pub previous_end: u64,
    /// The newest durable root's position when the segment was begun; 0 is none.
    pub root: u64,
    /// The epoch that began it.
    pub epoch: u32,
}

/// Why a file does not begin with the header of the segment that it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Never begun, or damaged.
    #[error("a segment header")]
    None,
    /// Written by a newer program.
    #[error("format {VERSION} or older, found format {0}")]
    Version(u32),
}

impl SegmentHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut bytes = [0; SEGMENT_HEADER as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        for (index, number) in
            [self.sequence, self.first, self.size, self.previous_end, self.root].into_iter().enumerate()
        {
            bytes[16 + index * 8..24 + index * 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes[56..60].copy_from_slice(&self.epoch.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Of a file's first bytes.
    ///
    /// # Errors
    /// When they are no header of a format that we know.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        if bytes.len() < SEGMENT_HEADER as usize || bytes[0..8] != MAGIC {
            return Err(HeaderFault::None);
        }
        let checksum =
            crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..SEGMENT_HEADER as usize]);
        if checksum != u32_at(bytes, 12) {
            return Err(HeaderFault::None);
        }
        let version = u32_at(bytes, 8);
        if version == 0 || version > VERSION {
            return Err(HeaderFault::Version(version));
        }
        let header = Self {
            sequence: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            size: u64_at(bytes, 32),
            previous_end: u64_at(bytes, 40),
            root: u64_at(bytes, 48),
            epoch: u32_at(bytes, 56),
        };
        let possible = header.size >= SEGMENT_HEADER
            && header.first.checked_add(header.size).is_some()
            && header.previous_end <= header.first
            && header.root < header.first.max(1)
            && header.first.is_multiple_of(ALIGNMENT);
        if possible { Ok(header) } else { Err(HeaderFault::None) }
    }
}
