//! Fuzz targets: parts and manifests of snapshots made of any bytes. See `crate::fuzz`.

use super::StateError;
use super::frame::write_block;
use super::manifest::{FORMAT, Manifest, part_name, sequence_of, trailer};
use super::part::{Block, PartReader, PartWriter};
use std::io;

/// Reads a part. A fuzzer cannot guess checksums. So where the first byte is odd, the rest is the content of blocks:
/// a kind, a length in two bytes, and that many bytes. The version is half of the first byte modulo 4, plus 1.
pub(crate) fn part(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let bytes = if mode % 2 == 0 { data.to_vec() } else { with_checksums(1 + mode / 2 % 4, data) };
    let Ok(blocks) = read(&bytes) else { return };
    // Content that was read and written once is written identically ever after.
    let once = write(&blocks).expect("what was read can be written");
    let again = read(&once).expect("what was written can be read");
    assert_eq!(flat(&again), flat(&blocks), "something else was written than was read");
    assert!(write(&again).is_ok_and(|twice| twice == once), "the same is written in two ways");
}

fn with_checksums(version: u8, mut data: &[u8]) -> Vec<u8> {
    let mut bytes = [&b"dcpart"[..], &[version, 0]].concat();
    while let [kind, low, high, rest @ ..] = data {
        let (raw, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        write_block(&mut bytes, *kind, raw).expect("a vector takes everything");
        data = rest;
    }
    bytes
}

fn read(bytes: &[u8]) -> io::Result<Vec<Block>> {
    let mut reader = PartReader::new(bytes).map_err(checked)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.block().map_err(checked)? {
        blocks.push(block);
    }
    Ok(blocks)
}

/// Asserts that the bytes, and not the store, are the reason of the error.
fn checked(error: io::Error) -> io::Error {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    error
}

fn write(blocks: &[Block]) -> io::Result<Vec<u8>> {
    let mut writer = PartWriter::new(Vec::new())?;
    for block in blocks {
        match block {
            Block::Ids(partition, ids) => writer.ids(*partition, ids.iter())?,
            Block::Baskets(baskets) => baskets.iter().try_for_each(|basket| writer.basket(basket))?,
        }
    }
    let (bytes, written) = writer.finish()?;
    assert_eq!((written.bytes, written.crc32), (bytes.len() as u64, crc32fast::hash(&bytes)));
    Ok(bytes)
}

/// The ids with their partitions, and the content of the baskets, without the boundaries of blocks and entries.
fn flat(blocks: &[Block]) -> Vec<String> {
    let mut all = Vec::new();
    for block in blocks {
        match block {
            Block::Ids(partition, ids) => all.extend(ids.iter().map(|id| format!("{partition:?} {id:?}"))),
            Block::Baskets(baskets) => {
                for it in baskets {
                    let (basket, partition, touch) = (&it.basket, it.partition, it.touch);
                    let it_says = format!("{basket:?} {partition:?} {} {} {touch:?}", it.clock, it.last);
                    all.extend(it.users.iter().map(|user| format!("{it_says} of {user:?}")));
                    all.extend(it.lines.iter().map(|line| format!("{it_says} {line:?}")));
                    all.extend(it.lines.iter().zip(&it.touches).map(|line| format!("{it_says} {line:?}")));
                }
            }
        }
    }
    // Entries of a large basket alternate users and lines.
    all.sort_unstable();
    all
}

/// Reads a manifest. Where the first byte is odd, the rest gets the right checksum. The bytes are tried as a name as
/// well.
pub(crate) fn manifest(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let mut bytes = data.to_vec();
    if mode % 2 == 1 {
        bytes.extend_from_slice(trailer(data).as_bytes());
    }
    match Manifest::from_bytes("it", &bytes) {
        Ok(manifest) => {
            assert!(manifest.format <= FORMAT);
            let again = Manifest::from_bytes("it", &manifest.to_bytes());
            assert!(again.is_ok_and(|again| again == manifest), "it is something else when it is written");
            let sources = manifest.offsets.first().map(|first| first.source.clone());
            let same = manifest.offsets.iter().all(|offset| Some(&offset.source) == sources.as_ref());
            let of_all = |_| sources.clone().flatten();
            assert_eq!(manifest.differences(&manifest.shape(), &of_all).is_empty(), same);
        }
        Err(StateError::TooNew { format, .. }) => assert!(format > FORMAT),
        Err(StateError::Damaged { .. }) => {}
        Err(error) => panic!("bytes are no reason for this: {error}"),
    }
    if let Some((sequence, is_manifest)) = std::str::from_utf8(data).ok().and_then(sequence_of)
        && !is_manifest
    {
        assert_eq!(sequence_of(&part_name(sequence, 0)), Some((sequence, false)));
    }
}
