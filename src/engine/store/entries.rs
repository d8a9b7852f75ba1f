//! The entries of a queue in its checkpoint: what the queue must know of messages whose records are further back.
//!
//! A part begins with the next sequence (8 bytes); then comes the
//! number of stretches, and each as numbers: first and last sequence, messages, bytes, hash, whether it may have been
//! delivered, page, number of segments, and for each a position and how many messages. Entries follow,
//! each as numbers of seven bits a byte, lowest first, the highest bit set where more follow:
//!
//! ```text
//! sequence, less the one before | position, less the one before, zigzag | length of the body
//! flags: 1 redelivered, 2 expires, 4 delivery count, 8 priority, 16 parts; what they announce:
//! expires | delivery count | priority | number of parts, and each part's position, less the entry's, zigzag
//! ```

use super::fields::Fields;
use fairlead_kernel::queue::{SavedEntry, SavedMessage, Stretch};
use fairlead_kernel::{Sequence, Time};
use std::collections::HashMap;

/// A part is closed when it has so many bytes.
const PART: usize = 1 << 20;

const REDELIVERED: u64 = 1;
const EXPIRES: u64 = 2;
const COUNT: u64 = 4;
const PRIORITY: u64 = 8;
const PARTS: u64 = 16;

/// A page: entries and nothing else. They have no parts.
pub(super) fn encode_page(entries: &[SavedEntry]) -> Vec<u8> {
    let mut page = Vec::new();
    let mut before = (0, 0);
    entries.iter().for_each(|entry| put_entry(&mut page, entry, &mut before, None));
    page
}

/// The entries of a page; `None` if it is none.
pub(super) fn decode_page(page: &[u8]) -> Option<Vec<SavedEntry>> {
    let mut entries = Vec::new();
    decode_entries(Fields(page), |entry, _| entries.push(entry))?;
    Some(entries)
}

/// Parts of a checkpoint; all stretches are in the first.
pub(super) fn encode<'s>(
    next: Sequence,
    stretches: impl Iterator<Item = &'s Stretch>,
    entries: impl Iterator<Item = SavedEntry>,
    parts_of: &HashMap<u64, Box<[u64]>>,
) -> Vec<Vec<u8>> {
    let begin = || next.0.to_le_bytes().to_vec();
    let mut parts = Vec::new();
    let mut part = begin();
    put_stretches(&mut part, stretches);
    let mut before = (0, 0);
    for entry in entries {
        if part.len() >= PART {
            parts.push(std::mem::replace(&mut part, begin()));
            put(&mut part, 0);
            before = (0, 0);
        }
        put_entry(&mut part, &entry, &mut before, parts_of.get(&entry.position).map(|parts| &**parts));
    }
    parts.push(part);
    parts
}

fn put_stretches<'s>(part: &mut Vec<u8>, stretches: impl Iterator<Item = &'s Stretch>) {
    let stretches: Vec<&Stretch> = stretches.collect();
    put(part, stretches.len() as u64);
    for stretch in stretches {
        let Stretch { first, last, messages, bytes, hash, redelivered, page, stored } = stretch;
        for number in [first.0, last.0, *messages, *bytes, *hash, u64::from(*redelivered), *page] {
            put(part, number);
        }
        put(part, stored.len() as u64);
        for (position, count) in stored {
            put(part, *position);
            put(part, *count);
        }
    }
}

fn get_stretches(fields: &mut Fields<'_>, mut each: impl FnMut(Stretch)) -> Option<()> {
    for _ in 0..get(fields)? {
        let mut next = || get(fields);
        let (first, last) = (Sequence(next()?), Sequence(next()?));
        let (messages, bytes, hash, redelivered, page) = (next()?, next()?, next()?, next()? != 0, next()?);
        let stored: Option<Vec<_>> = (0..next()?).map(|_| Some((get(fields)?, get(fields)?))).collect();
        each(Stretch { first, last, messages, bytes, hash, redelivered, page, stored: stored? });
    }
    Some(())
}

fn put_entry(
    part: &mut Vec<u8>,
    entry: &SavedEntry,
    (sequence, position): &mut (u64, u64),
    parts: Option<&[u64]>,
) {
    put(part, entry.sequence.0 - *sequence);
    put_difference(part, entry.position, *position);
    (*sequence, *position) = (entry.sequence.0, entry.position);
    let length = match entry.message {
        SavedMessage::Stored { length } => length,
        SavedMessage::Here(_) => 0,
    };
    put(part, length.into());
    let flags = flag(REDELIVERED, entry.redelivered)
        | flag(EXPIRES, entry.expires.0 != 0)
        | flag(COUNT, entry.delivery_count > 0)
        | flag(PRIORITY, entry.priority > 0)
        | flag(PARTS, parts.is_some());
    put(part, flags);
    for (wanted, number) in
        [(EXPIRES, entry.expires.0), (COUNT, entry.delivery_count.into()), (PRIORITY, entry.priority.into())]
    {
        if flags & wanted != 0 {
            put(part, number);
        }
    }
    if let Some(parts) = parts {
        put(part, parts.len() as u64);
        parts.iter().for_each(|at| put_difference(part, *at, entry.position));
    }
}

/// What a part of a checkpoint has.
pub(super) enum Saved {
    /// Entries in a page.
    Stretch(Stretch),
    /// An entry, with the positions of its body's parts.
    Entry(SavedEntry, Vec<u64>),
}

/// What a part says: the next sequence, and to `each` what it has, stretches first. `None` if it is none.
pub(super) fn decode(part: &[u8], mut each: impl FnMut(Saved)) -> Option<Sequence> {
    let mut fields = Fields(part);
    let next = fields.long()?;
    get_stretches(&mut fields, |stretch| each(Saved::Stretch(stretch)))?;
    decode_entries(fields, |entry, parts| each(Saved::Entry(entry, parts)))?;
    Some(Sequence(next))
}

fn decode_entries(mut fields: Fields<'_>, mut each: impl FnMut(SavedEntry, Vec<u64>)) -> Option<()> {
    let (mut sequence, mut position) = (0_u64, 0);
    while !fields.0.is_empty() {
        sequence = sequence.checked_add(get(&mut fields)?)?;
        position = get_difference(&mut fields, position)?;
        let length = u32::try_from(get(&mut fields)?).ok()?;
        let flags = get(&mut fields)?;
        let mut announced = |flag| if flags & flag == 0 { Some(0) } else { get(&mut fields) };
        let [expires, count, priority] = [announced(EXPIRES)?, announced(COUNT)?, announced(PRIORITY)?];
        let parts = announced(PARTS)?;
        let parts: Option<Vec<u64>> = (0..parts).map(|_| get_difference(&mut fields, position)).collect();
        let entry = SavedEntry {
            sequence: Sequence(sequence),
            expires: Time(expires),
            priority: u8::try_from(priority).ok()?,
            delivery_count: u16::try_from(count).ok()?,
            redelivered: flags & REDELIVERED != 0,
            position,
            message: SavedMessage::Stored { length },
        };
        each(entry, parts?);
    }
    Some(())
}

fn flag(bit: u64, set: bool) -> u64 {
    if set { bit } else { 0 }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn get(fields: &mut Fields<'_>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = fields.byte()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_difference(out: &mut Vec<u8>, number: u64, base: u64) {
    let difference = number.wrapping_sub(base).cast_signed();
    put(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

fn get_difference(fields: &mut Fields<'_>, base: u64) -> Option<u64> {
    let zigzag = get(fields)?;
    let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
    Some(base.wrapping_add(difference.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64) -> SavedEntry {
        SavedEntry {
            sequence: Sequence(number * 3 + 1),
            expires: Time(if number.is_multiple_of(3) { u64::MAX - number } else { 0 }),
            priority: if number.is_multiple_of(5) { 9 } else { 0 },
            delivery_count: if number.is_multiple_of(7) { 300 } else { 0 },
            redelivered: number.is_multiple_of(2),
            position: if number.is_multiple_of(11) { 1 << 50 } else { 1000 + number * 77 },
            message: SavedMessage::Stored { length: number as u32 * 1000 },
        }
    }

    #[test]
    fn what_is_encoded_is_read_back_and_nothing_cut_short_is_taken_for_it() {
        let entries: Vec<SavedEntry> = (0..200_000).map(entry).collect();
        let parts_of: HashMap<u64, Box<[u64]>> = [(1077, vec![5, u64::MAX, 1077].into())].into();
        let stretch = |first: u64| Stretch {
            first: Sequence(first),
            last: Sequence(first + 9),
            messages: 10,
            bytes: 1 << 40,
            hash: u64::MAX - first,
            redelivered: first > 100,
            page: 77 * first,
            stored: vec![(first, 3), (first << 20, 7)],
        };
        let stretches = [stretch(1), stretch(200)];
        let parts = encode(Sequence(1 << 40), stretches.iter(), entries.iter().cloned(), &parts_of);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() < PART + 200));
        let (mut read, mut cold) = (Vec::new(), Vec::new());
        for part in &parts {
            let head = decode(part, |saved| match saved {
                Saved::Stretch(stretch) => cold.push(stretch),
                Saved::Entry(entry, parts) => {
                    assert_eq!(
                        parts.as_slice(),
                        parts_of.get(&entry.position).map_or(&[][..], |parts| parts)
                    );
                    read.push(entry);
                }
            });
            assert_eq!(head, Some(Sequence(1 << 40)));
        }
        assert!(read == entries);
        assert_eq!(cold, stretches);
        assert!(decode_page(&encode_page(&entries)).is_some_and(|read| read == entries));
        let one = &encode(Sequence(2), stretches.iter(), std::iter::once(entry(0)), &HashMap::new())[0];
        let without_entry = encode(Sequence(2), stretches.iter(), std::iter::empty(), &HashMap::new());
        for length in (0..one.len()).filter(|length| *length != without_entry[0].len()) {
            assert_eq!(decode(&one[..length], |_| ()), None, "{length} bytes");
        }
    }
}
