//! Notes as records of a log: what was odd about an event or a basket.
//!
//! ```text
//! {"note":"no-effect","basket":"ben","item":"mug","topic":"carts","partition":3,"offset":17,"index":0,"epoch":9,"version":1}
//! ```
//!
//! The notes of one input partition make two lanes. Notes of events lie in the order of the events. Expired baskets lie
//! in the order of their last events, because the clock of a partition passes them in that order wherever epochs end.

use super::file::Lines;
use super::input_place::{InputOrigins, InputPlace, publisher_of};
use super::log_format::LogFormat;
use super::records::Records;
use anyhow::{Context, Result, bail, ensure};
use deltacart_dataflows::{Epoch, Millis, Name, Note, NoteCause, NoteKind, Partition, Position};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

impl Lines {
    /// Notes of odd events and baskets.
    pub const NOTES: Lines = Lines { name: "notes", beginnings: &[b"{\"note\":\""] };
}

/// The version of the shape of notes.
const VERSION: u32 = 1;

/// One note as it is written and read back.
#[derive(Debug, Serialize, Deserialize)]
struct NoteRecord<'a> {
    #[serde(borrow)]
    note: Cow<'a, str>,
    #[serde(borrow)]
    basket: Cow<'a, str>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    item: Option<Cow<'a, str>>,
    #[serde(borrow, flatten)]
    place: InputPlace<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    /// The time of an expired basket's last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Millis>,
    epoch: Epoch,
    version: u32,
}

/// How notes are written: with the names of the input streams that their positions are in.
pub(crate) struct NoteFormat {
    origins: InputOrigins,
}

impl NoteFormat {
    /// The format for a job with these input streams.
    pub(crate) fn new(origins: InputOrigins) -> NoteFormat {
        NoteFormat { origins }
    }

    /// The name of a kind in records.
    pub(crate) fn name(kind: NoteKind) -> &'static str {
        match kind {
            NoteKind::BasketExpired => "basket-expired",
            NoteKind::SplitBasket => "split-basket",
            NoteKind::LineEvicted => "line-evicted",
            NoteKind::NoEffect => "no-effect",
        }
    }
}

/// All kinds.
const KINDS: [NoteKind; 4] =
    [NoteKind::BasketExpired, NoteKind::SplitBasket, NoteKind::LineEvicted, NoteKind::NoEffect];

/// An input partition, and whether this is the lane of its expired baskets.
type Lane = (Partition, bool);

/// The place of a note in its lane: the offset and the index of an event, or the time of a basket's last event; then
/// what tells notes of the same event, or baskets with the same time, apart.
type Place = (u64, u32, NoteKind, Name);

fn place_of_event(position: Position, kind: NoteKind) -> Place {
    (position.offset, position.index, kind, Name::default())
}

fn place_of_expired(last: Millis, basket: Name) -> Place {
    (last, 0, NoteKind::BasketExpired, basket)
}

impl LogFormat for NoteFormat {
    type Record = Note;
    type Lane = Lane;
    type Place = Place;

    const REPEATS: bool = true;

    fn place(&self, note: &Note) -> Option<(Lane, Place)> {
        match note.cause {
            NoteCause::Event(position) => {
                Some(((position.partition, false), place_of_event(position, note.kind)))
            }
            NoteCause::Idle { partition, last } => {
                Some(((partition, true), place_of_expired(last, note.basket.clone())))
            }
            // A restart evicts again what its snapshot still has.
            NoteCause::Restore => None,
        }
    }

    fn route((partition, _is_of_expired): &Lane) -> u64 {
        publisher_of(*partition)
    }

    fn encode(&self, note: &Note, epoch: Epoch, records: &mut Records) {
        let (partition, position, time) = match note.cause {
            NoteCause::Event(position) => (position.partition, Some(position), None),
            NoteCause::Idle { partition, last } => (partition, None, Some(last)),
            NoteCause::Restore => return,
        };
        let record = NoteRecord {
            note: NoteFormat::name(note.kind).into(),
            basket: note.basket.as_str().into(),
            item: note.item.as_deref().map(Into::into),
            place: self.origins.place(partition),
            offset: position.map(|position| position.offset),
            index: position.map(|position| position.index),
            time,
            epoch,
            version: VERSION,
        };
        let value = serde_json::to_vec(&record).expect("texts and numbers are JSON");
        records.push_value(note.basket.as_bytes(), &value);
    }

    fn read(&self, value: &[u8]) -> Result<(Epoch, Option<(Lane, Place)>)> {
        let record: NoteRecord<'_> = serde_json::from_slice(value).context("not a note")?;
        let version = record.version;
        ensure!(version == VERSION, "a note of version {version}; this program reads version {VERSION}");
        let kind = KINDS.into_iter().find(|kind| NoteFormat::name(*kind) == record.note);
        let kind = kind.context("no kind of note")?;
        let partition = self.origins.partition(&record.place);
        let (is_of_expired, place) = match (record.offset.zip(record.index), record.time) {
            (Some((offset, index)), None) => {
                let position = Position { offset, index, ..Position::default() };
                (false, place_of_event(position, kind))
            }
            (None, Some(time)) => (true, place_of_expired(time, record.basket.as_ref().into())),
            _ => bail!("a note with neither an offset nor a time"),
        };
        Ok((record.epoch, partition.map(|partition| ((partition, is_of_expired), place))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::input_place::InputOrigin;
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// A job that reads a topic with this id, and two files.
    fn format(id: Option<&str>) -> NoteFormat {
        let topic = InputOrigin::Topic { name: "carts".to_owned(), id: id.map(str::to_owned) };
        let files = InputOrigin::Files(vec!["a.jsonl".to_owned(), "b.jsonl".to_owned()]);
        NoteFormat::new(InputOrigins::new(vec![topic, files]))
    }

    fn partition(stream: u8, number: u32) -> Partition {
        Partition::new(stream, number).unwrap()
    }

    fn note(kind: NoteKind, item: Option<&str>, cause: NoteCause) -> Note {
        Note { kind, basket: "ben".into(), item: item.map(Name::from), cause }
    }

    fn event(partition: Partition, offset: u64) -> NoteCause {
        NoteCause::Event(Position { partition, offset, index: 1 })
    }

    fn encoded(format: &NoteFormat, note: &Note) -> (Vec<u8>, Vec<u8>) {
        let mut records = Records::new();
        format.encode(note, 9, &mut records);
        let record = records.front().unwrap();
        assert_eq!((record.value, records.len()), (record.line, 1));
        (record.key.to_vec(), record.value.unwrap().to_vec())
    }

    fn schema() -> jsonschema::Validator {
        let schema: Value = serde_json::from_str(include_str!("../../schemas/note.json")).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        jsonschema::validator_for(&schema).unwrap()
    }

    /// The examples of the documentation are what the encoder writes, and match the schema.
    #[test]
    fn the_examples_are_written() {
        let documentation = include_str!("../../docs/output.md");
        let format = format(Some("Zk1pVvd0SdySb-wLdvmZHg"));
        let idle = NoteCause::Idle { partition: partition(1, 1), last: 1_700_000_000_000 };
        for note in [
            note(NoteKind::NoEffect, Some("mug"), event(partition(0, 3), 17)),
            note(NoteKind::BasketExpired, None, idle),
        ] {
            let (key, value) = encoded(&format, &note);
            assert_eq!(key, b"ben");
            let value = String::from_utf8(value).unwrap();
            assert!(documentation.contains(&value), "{value}");
            assert!(Lines::NOTES.has_beginning_of(value.as_bytes()));
        }
    }

    #[test]
    fn the_schema_refuses_other_records() {
        let (schema, format) = (schema(), format(None));
        let (_key, value) = encoded(&format, &note(NoteKind::NoEffect, Some("a"), event(partition(0, 0), 0)));
        let good: Value = serde_json::from_slice(&value).unwrap();
        assert!(schema.is_valid(&good));
        for field in ["note", "basket", "topic", "partition", "offset", "index", "epoch", "version"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(field);
            assert!(!schema.is_valid(&bad), "without {field}");
        }
        let mut bad = good;
        bad["surprise"] = Value::Null;
        assert!(!schema.is_valid(&bad));
    }

    proptest! {
        /// What is written is read back at its place, whatever ids look like.
        #[test]
        fn a_note_is_read_back_at_its_place(basket in ".{1,30}", item in prop::option::of(".{1,30}"),
            kind in 0..4usize, stream in 0u8..2, number in 0u32..2, at in any::<u64>(), index in any::<u32>(),
            is_idle in any::<bool>()) {
            let (format, schema) = (format(Some("id")), schema());
            let partition = partition(stream, number);
            let cause = match is_idle {
                true => NoteCause::Idle { partition, last: at },
                false => NoteCause::Event(Position { partition, offset: at, index }),
            };
            let kind = if is_idle { NoteKind::BasketExpired } else { KINDS[kind] };
            let note = Note { kind, basket: basket.into(), item: item.map(Into::into), cause };
            let (_key, value) = encoded(&format, &note);
            prop_assert!(schema.is_valid(&serde_json::from_slice(&value).unwrap()));
            prop_assert_eq!(format.read(&value).unwrap(), (9, format.place(&note)));
        }

        /// Whatever a topic holds, it is a note or it is refused.
        #[test]
        fn nothing_panics(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = format(None).read(&value);
        }
    }

    /// A note of an input that the job does not read has no place in its log, and neither has one of another topic of
    /// the same name.
    #[test]
    fn notes_of_other_inputs_have_no_place() {
        let (_key, value) =
            encoded(&format(Some("then")), &note(NoteKind::NoEffect, None, event(partition(0, 3), 17)));
        assert!(format(Some("then")).read(&value).unwrap().1.is_some());
        assert!(format(None).read(&value).unwrap().1.is_some(), "ids are not known everywhere");
        assert_eq!(format(Some("now")).read(&value).unwrap(), (9, None));
        let other = String::from_utf8(value).unwrap().replace("carts", "orders");
        assert_eq!(format(Some("then")).read(other.as_bytes()).unwrap(), (9, None));
        for wrong in ["{}", r#"{"version":1,"item":"a","epoch":7,"recommendations":[]}"#, "null", ""] {
            assert!(format(None).read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    /// What a restored snapshot evicts has no place: every restart from it would note it again.
    #[test]
    fn what_a_restart_evicts_is_not_published() {
        let note = note(NoteKind::LineEvicted, Some("a"), NoteCause::Restore);
        assert_eq!(format(None).place(&note), None);
    }
}
