//! A part is read as it was written. Any other bytes are an error, not a panic.

use super::{basket, name, partition};
use crate::state::part::{Block, PartReader, PartWriter, Written};
use deltacart_dataflows::{BasketCopy, Event, LineTouch, Name, Partition, Touch, Units};
use proptest::prelude::*;
use std::io;

type Ids = Vec<(Partition, Vec<Name>)>;

fn write(ids: &Ids, baskets: &[BasketCopy]) -> (Vec<u8>, Written) {
    let mut writer = PartWriter::new(Vec::new()).unwrap();
    for (partition, ids) in ids {
        writer.ids(*partition, ids.iter()).unwrap();
    }
    baskets.iter().for_each(|basket| writer.basket(basket).unwrap());
    writer.finish().unwrap()
}

/// The content of a part: ids by partition, and entries.
fn read(bytes: &[u8]) -> io::Result<(Ids, Vec<BasketCopy>)> {
    let mut reader = PartReader::new(bytes)?;
    let (mut all_ids, mut baskets) = (Ids::new(), Vec::new());
    while let Some(block) = reader.block()? {
        match block {
            Block::Ids(partition, mut ids) => match all_ids.last_mut() {
                Some((last, earlier)) if *last == partition => earlier.append(&mut ids),
                _ => all_ids.push((partition, ids)),
            },
            Block::Baskets(mut more) => baskets.append(&mut more),
        }
    }
    Ok((all_ids, baskets))
}

fn names(length: usize) -> impl Strategy<Value = Vec<Name>> {
    prop::collection::vec("[a-c]{0,2}|\\PC{0,40}", 0..length)
        .prop_map(|names| names.into_iter().map(Name::from).collect())
}

fn partitions() -> impl Strategy<Value = Partition> {
    let number = prop_oneof![0u32..3, 0..=Partition::NUMBER_MAX];
    (prop_oneof![0u8..3, any::<u8>()], number).prop_map(|(stream, number)| partition(stream, number))
}

fn baskets() -> impl Strategy<Value = Vec<BasketCopy>> {
    let touch = || {
        let touch = (any::<u64>(), any::<u64>(), partitions(), any::<u32>());
        touch.prop_map(|(time, offset, partition, index)| Touch { time, offset, partition, index })
    };
    let line_touch = prop_oneof![any::<u32>().prop_map(LineTouch::Before), touch().prop_map(LineTouch::At)];
    let units = (any::<u32>(), any::<u32>(), any::<bool>());
    let units = units.prop_map(|(cart, bought, viewed)| Units { cart, bought, viewed });
    let line = ("[a-z]{1,2}|\\PC{0,30}".prop_map(Name::from), units);
    let lines = (prop::collection::vec((line, line_touch), 1..6), any::<bool>());
    let times = (any::<u64>(), any::<u64>(), prop::option::of(touch()));
    let basket = ("\\PC{0,30}", partitions(), times, names(4), lines);
    let basket = basket.prop_map(|(basket, partition, (clock, last, touch), users, (lines, has_touches))| {
        let (lines, touches): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        let touches = if has_touches { touches } else { Vec::new() };
        BasketCopy { basket: basket.into(), partition, clock, last, touch, users, lines, touches }
    });
    prop::collection::vec(basket, 0..12)
}

fn ids() -> impl Strategy<Value = Ids> {
    let ids = names(6).prop_filter("a partition without ids is not written", |ids| !ids.is_empty());
    prop::collection::btree_map(partitions(), ids, 0..3).prop_map(|ids| ids.into_iter().collect())
}

proptest! {
    #[test]
    fn what_was_written_is_read(ids in ids(), baskets in baskets()) {
        let (bytes, written) = write(&ids, &baskets);
        prop_assert_eq!((written.bytes, written.crc32), (bytes.len() as u64, crc32fast::hash(&bytes)));
        prop_assert_eq!(written.lines, baskets.iter().map(|basket| basket.lines.len() as u64).sum::<u64>());
        prop_assert_eq!(read(&bytes).unwrap(), (ids, baskets));
    }

    #[test]
    fn what_was_not_written_is_an_error(
        ids in ids(),
        baskets in baskets(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let (bytes, _written) = write(&ids, &baskets);
        let mut flipped = bytes.clone();
        flips.iter().for_each(|(at, bits)| flipped[at.index(bytes.len())] ^= bits);
        if flipped != bytes {
            prop_assert_eq!(read(&flipped).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let torn = &bytes[..end.index(bytes.len())];
        prop_assert_eq!(read(torn).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let longer = [&bytes[..], &bytes[8..]].concat();
        prop_assert_eq!(read(&longer).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    /// Blocks of any content, with right checksums.
    #[test]
    fn any_blocks_are_read_or_refused(
        blocks in prop::collection::vec((0u8..5, prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..40)), 0..4),
    ) {
        let mut bytes = write(&Ids::new(), &[]).0[..8].to_vec();
        for (kind, raw) in &blocks {
            crate::state::frame::write_block(&mut bytes, *kind, raw).unwrap();
        }
        if let Err(error) = read(&bytes) {
            prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), begins_well in any::<bool>()) {
        let magic = write(&Ids::new(), &[]).0[..8].to_vec();
        let bytes = if begins_well { [magic, bytes].concat() } else { bytes };
        prop_assert!(read(&bytes).is_err());
    }
}

/// A part of an earlier version, without users: a basket `b` of partition 7 with two of item `i`, one of them bought.
/// `partition` are the bytes of the partition of an event id, `between` those between the basket's name and its lines.
fn earlier(version: u8, partition: &[u8], between: &[u8]) -> (Ids, Vec<BasketCopy>) {
    let mut bytes = [b"dcpart", &[version, 0][..]].concat();
    crate::state::frame::write_block(&mut bytes, 1, &[partition, b"\x01\x01e"].concat()).unwrap();
    let basket = [b"\x01\x01i\x01\x01b", between, b"\x00\x01\x00\x01\x01"].concat();
    crate::state::frame::write_block(&mut bytes, 2, &basket).unwrap();
    crate::state::frame::write_block(&mut bytes, 3, &[1, 1, 1]).unwrap();
    read(&bytes).unwrap()
}

#[test]
fn earlier_versions_are_read() {
    let of = |last| {
        let (basket, partition) = (name("b"), partition(0, 7));
        let lines = vec![(name("i"), Units { cart: 1, bought: 1, viewed: false })];
        let read = BasketCopy { basket, partition, clock: last, last, lines, ..BasketCopy::default() };
        (vec![(partition, vec![name("e")])], vec![read])
    };
    assert_eq!(earlier(1, b"\x07", &[7]), of(0));
    assert_eq!(earlier(2, b"\x07", &[7, 9]), of(9));
    assert_eq!(earlier(3, b"\x00\x07", &[0, 7, 9]), of(9));
}

/// A stream has a maximum number of partitions, whatever the bytes say.
#[test]
fn what_is_no_partition_is_refused() {
    for (stream, number) in [(256, 0), (0, Partition::NUMBER_MAX + 1)] {
        let mut block = crate::state::fields::Packing::default();
        [stream, number, 0].into_iter().for_each(|it| block.number(it.into()));
        let mut bytes = b"dcpart\x04\x00".to_vec();
        block.write(&mut bytes, 1).unwrap();
        assert_eq!(read(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData, "{stream} {number}");
    }
}

/// A basket has a touch or none, and as many touches of lines as lines or none.
#[test]
fn what_is_no_touch_is_refused() {
    let refused = |touches: &[u8], line_touches: &[u8]| {
        let mut bytes = b"dcpart\x04\x00".to_vec();
        let basket =
            [b"\x01\x01i\x01\x01b\x00\x07\x09\x09", touches, b"\x00\x01\x00\x01\x01", line_touches].concat();
        crate::state::frame::write_block(&mut bytes, 2, &basket).unwrap();
        crate::state::frame::write_block(&mut bytes, 3, &[1, 1, 0]).unwrap();
        read(&bytes).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&[1, 9, 2, 0, 7, 0], &[1, 1, 9, 2, 0, 7, 0]), None);
    let two = [2, 9, 2, 0, 7, 0, 9, 2, 0, 7, 1];
    assert_eq!(refused(&two, &[0]).unwrap(), "a basket has more than one touch");
    assert_eq!(refused(&[0], &[2, 0, 0, 0, 1]).unwrap(), "a basket has more or fewer touches than lines");
    assert_eq!(refused(&[0], &[1, 2, 0]).unwrap(), "a line has a touch of an unknown kind");
}

#[test]
fn large_baskets_go_in_pieces_that_make_the_same_events() {
    let events = |baskets: Vec<BasketCopy>| -> Vec<Event> {
        let events: Vec<Event> =
            (0..).zip(baskets).flat_map(|(number, basket)| basket.into_events(number)).collect();
        assert!(events.is_sorted_by_key(|event| (event.position.offset, event.position.index)));
        events
    };
    for (lines, users) in [(1, 3000), (1024, 1024), (1025, 0), (5000, 2), (2100, 2047)] {
        let whole = basket(4, lines, users);
        let (bytes, written) = write(&Ids::new(), std::slice::from_ref(&whole));
        let (_ids, pieces) = read(&bytes).unwrap();
        assert_eq!(pieces.len() as u64, written.baskets);
        assert!(pieces.iter().all(|piece| piece.lines.len() <= 1024 && piece.users.len() <= 1024));
        let events = events(pieces);
        let mut users_again: Vec<Name> = events.iter().filter_map(|event| event.user.clone()).collect();
        users_again.dedup();
        assert_eq!(users_again, whole.users);
        let mut lines_again: Vec<_> = events.iter().map(|event| event.action.clone()).collect();
        lines_again.dedup();
        let expected = whole.into_events(0).map(|event| event.action);
        let mut expected: Vec<_> = expected.collect();
        expected.dedup();
        assert_eq!(lines_again, expected, "{lines} lines, {users} users");
    }
}

#[test]
fn many_blocks_share_their_items() {
    let baskets: Vec<BasketCopy> = (0..40_000).map(|number| basket(number, 4 + number % 9, 1)).collect();
    let ids = vec![(
        partition(2, 7),
        (0..100_000).map(|number| name(format_args!("a long event id {number}"))).collect(),
    )];
    let (bytes, written) = write(&ids, &baskets);
    assert_eq!(written.ids, 100_000);
    // Uncompressed blocks are as large as what they hold: names, numbers, and the touch of each of 320,000 lines.
    let bytes_max = if cfg!(feature = "abomonation") { 10_000_000 } else { 2_000_000 };
    assert!(bytes.len() < bytes_max, "{} bytes", bytes.len());
    assert!(read(&bytes).unwrap() == (ids, baskets));
}

/// A wrong length must not allocate as much as it states.
#[test]
fn lies_are_cheap() {
    let magic = write(&Ids::new(), &[]).0[..8].to_vec();
    let mut header = vec![2u8];
    header.extend((15u32 << 20).to_le_bytes());
    header.extend((15u32 << 20).to_le_bytes());
    header.extend(0u32.to_le_bytes());
    let error = read(&[magic.clone(), header].concat()).unwrap_err();
    assert_eq!(error.to_string(), "it ends in the middle of a block");
    let mut huge = vec![2u8];
    huge.extend([0xff; 12]);
    let error = read(&[magic, huge].concat()).unwrap_err();
    assert_eq!(error.to_string(), "a block has an impossible length");
}

#[test]
fn what_cannot_be_read_again_is_not_written() {
    let mut writer = PartWriter::new(Vec::new()).unwrap();
    assert!(writer.basket(&basket(0, 0, 1)).is_err());
    let long = BasketCopy { basket: name("x".repeat(5000)), ..basket(0, 1, 0) };
    assert!(writer.basket(&long).is_err());
}
