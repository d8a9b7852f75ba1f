//! The entries of a queue in its checkpoint: what the queue must know of messages whose records are further back.
//!
//! A part begins with the next sequence (8 bytes) and whether messages may have been delivered (1); entries follow,
//! each as numbers of seven bits a byte, lowest first, the highest bit set where more follow:
//!
//! ```text
//! sequence, less the one before | position, less the one before, zigzag | length of the body | digest
//! flags: 1 redelivered, 2 expires, 4 delivery count, 8 priority, 16 parts; what they announce:
//! expires | delivery count | priority | number of parts, and each part's position, less the entry's, zigzag
//! ```

use super::fields::Fields;
use fairlead_kernel::queue::{SavedEntry, SavedMessage};
use fairlead_kernel::{Sequence, Time};
use std::collections::HashMap;

/// A part is closed when it has so many bytes.
const PART: usize = 1 << 20;

const REDELIVERED: u64 = 1;
const EXPIRES: u64 = 2;
const COUNT: u64 = 4;
const PRIORITY: u64 = 8;
const PARTS: u64 = 16;

/// Parts of a checkpoint.
pub(super) fn encode(
    next: Sequence,
    served: bool,
    entries: impl Iterator<Item = SavedEntry>,
    parts_of: &HashMap<u64, Box<[u64]>>,
) -> Vec<Vec<u8>> {
    let begin = || {
        let mut part = next.0.to_le_bytes().to_vec();
        part.push(u8::from(served));
        part
    };
    let mut parts = Vec::new();
    let mut part = begin();
    let (mut sequence, mut position) = (0, 0);
    for entry in entries {
        if part.len() >= PART {
            parts.push(std::mem::replace(&mut part, begin()));
            (sequence, position) = (0, 0);
        }
        put(&mut part, entry.sequence.0 - sequence);
        put_difference(&mut part, entry.position, position);
        (sequence, position) = (entry.sequence.0, entry.position);
        let (digest, length) = match entry.message {
            SavedMessage::Stored { digest, length } => (digest, length),
            SavedMessage::Here(_) => (0, 0),
        };
        put(&mut part, length.into());
        put(&mut part, digest.into());
        let parts = parts_of.get(&entry.position);
        let flags = flag(REDELIVERED, entry.redelivered)
            | flag(EXPIRES, entry.expires.0 != 0)
            | flag(COUNT, entry.delivery_count > 0)
            | flag(PRIORITY, entry.priority > 0)
            | flag(PARTS, parts.is_some());
        put(&mut part, flags);
        for (wanted, number) in [
            (EXPIRES, entry.expires.0),
            (COUNT, entry.delivery_count.into()),
            (PRIORITY, entry.priority.into()),
        ] {
            if flags & wanted != 0 {
                put(&mut part, number);
            }
        }
        if let Some(parts) = parts {
            put(&mut part, parts.len() as u64);
            parts.iter().for_each(|at| put_difference(&mut part, *at, entry.position));
        }
    }
    parts.push(part);
    parts
}

/// What a part says: the next sequence, whether messages may have been delivered, and to `each` an entry with the
/// positions of its body's parts. `None` if it is none.
pub(super) fn decode(part: &[u8], mut each: impl FnMut(SavedEntry, Vec<u64>)) -> Option<(Sequence, bool)> {
    let mut fields = Fields(part);
    let (next, served) = (fields.long()?, fields.byte()? != 0);
    let (mut sequence, mut position) = (0_u64, 0);
    while !fields.0.is_empty() {
        sequence = sequence.checked_add(get(&mut fields)?)?;
        position = get_difference(&mut fields, position)?;
        let length = u32::try_from(get(&mut fields)?).ok()?;
        let digest = u32::try_from(get(&mut fields)?).ok()?;
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
            message: SavedMessage::Stored { digest, length },
        };
        each(entry, parts?);
    }
    Some((Sequence(next), served))
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
            message: SavedMessage::Stored { digest: u32::MAX - number as u32, length: number as u32 * 1000 },
        }
    }

    #[test]
    fn what_is_encoded_is_read_back_and_nothing_cut_short_is_taken_for_it() {
        let entries: Vec<SavedEntry> = (0..200_000).map(entry).collect();
        let parts_of: HashMap<u64, Box<[u64]>> = [(1077, vec![5, u64::MAX, 1077].into())].into();
        let parts = encode(Sequence(1 << 40), true, entries.iter().cloned(), &parts_of);
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() < PART + 200));
        let mut read = Vec::new();
        for part in &parts {
            let head = decode(part, |entry, parts| {
                assert_eq!(parts.as_slice(), parts_of.get(&entry.position).map_or(&[][..], |parts| parts));
                read.push(entry);
            });
            assert_eq!(head, Some((Sequence(1 << 40), true)));
        }
        assert!(read == entries);
        let one = &encode(Sequence(2), false, std::iter::once(entry(0)), &HashMap::new())[0];
        for length in (0..9).chain(10..one.len()) {
            assert_eq!(decode(&one[..length], |_, _| ()), None, "{length} bytes");
        }
    }
}
