//! Appends in whole blocks, held against what they should leave in a file: any lengths, files in turn, a file opened
//! anew, and the end of a file.

#![allow(clippy::expect_used, reason = "a test's helpers fail as its assertions do")]

mod world;

use std::io::IoSlice;
use std::sync::Arc;

use fairlead_journal::backend::File;
use fairlead_journal::{Backend, Folder};
use proptest::prelude::*;
use world::temporary::Temporary;

/// A file of that size that an earlier use has left full of sevens.
fn used(folder: &Folder, name: &str, size: usize) -> Arc<dyn File> {
    let file = folder.create(name).expect("created");
    assert_eq!(file.write_at(&[IoSlice::new(&vec![7; size])], 0).expect("written"), size);
    file.sync_data().expect("synced");
    folder.open(name).expect("opened")
}

/// Append all of it in as many calls as that takes.
fn append(file: &dyn File, parts: &[Vec<u8>], offset: usize) {
    let joined: Vec<u8> = parts.concat();
    let mut done = 0;
    while done < joined.len() {
        let rest = &joined[done..];
        // As the parts are given in the first call, in two halves in those that go on.
        let slices: Vec<IoSlice<'_>> = if done == 0 {
            parts.iter().map(|part| IoSlice::new(part)).collect()
        } else {
            let (left, right) = rest.split_at(rest.len() / 2);
            vec![IoSlice::new(left), IoSlice::new(right)]
        };
        let count = file.append_at(&slices, (offset + done) as u64).expect("appended");
        assert!(count > 0 && count <= rest.len());
        done += count;
    }
}

fn content(file: &dyn File, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let count = file.read_at(&mut bytes[filled..], filled as u64).expect("read");
        assert!(count > 0, "the file is shorter than what was appended");
        filled += count;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_was_appended_is_read(
        steps in prop::collection::vec(
            (0..2_usize, prop::bool::weighted(0.2), prop::collection::vec(0..9_000_usize, 1..6)), 1..24),
    ) {
        const SIZE: usize = 256 << 10;
        let temporary = Temporary::new();
        let folder = temporary.folder();
        let mut files = [used(&folder, "a", SIZE), used(&folder, "b", SIZE)];
        let mut expected = [Vec::new(), Vec::new()];
        for (number, (which, anew, lengths)) in steps.into_iter().enumerate() {
            if anew {
                files[which] = folder.open(["a", "b"][which]).expect("opened");
            }
            let parts: Vec<Vec<u8>> = lengths.iter().map(|length| vec![number as u8 + 10; *length]).collect();
            let length: usize = lengths.iter().sum();
            if length == 0 || expected[which].len() + length > SIZE {
                continue;
            }
            append(&*files[which], &parts, expected[which].len());
            expected[which].extend(parts.concat());
            files[which].sync_data().expect("synced");
            prop_assert_eq!(&content(&*files[which], expected[which].len()), &expected[which]);
            prop_assert_eq!(files[which].length().expect("told"), SIZE as u64, "a segment keeps its size");
        }
    }
}

#[test]
fn more_than_a_call_takes() {
    const SIZE: usize = 9 << 20;
    let temporary = Temporary::new();
    let folder = temporary.folder();
    let file = used(&folder, "a", SIZE);
    let parts: Vec<Vec<u8>> = (0..5).map(|number| vec![number; 1_700_001]).collect();
    append(&*file, &[vec![9; 123]], 0);
    append(&*file, &parts, 123);
    let expected: Vec<u8> = [vec![vec![9; 123]], parts].concat().concat();
    assert!(content(&*file, expected.len()) == expected, "what is read is not what was appended");
}

#[test]
fn a_file_that_does_not_end_with_a_block_keeps_its_length() {
    let temporary = Temporary::new();
    let folder = temporary.folder();
    let file = used(&folder, "a", 10_000);
    append(&*file, &[vec![1; 5_000]], 0);
    append(&*file, &[vec![2; 4_000]], 5_000);
    append(&*file, &[vec![3; 1_000]], 9_000);
    assert_eq!(file.length().expect("told"), 10_000);
    assert_eq!(content(&*file, 10_000), [vec![1; 5_000], vec![2; 4_000], vec![3; 1_000]].concat());
}
