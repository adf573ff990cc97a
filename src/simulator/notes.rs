//! The checks of the notes in a simulation: committed readers see each note of the plain model once.
//!
//! - No note is there twice, and the epochs of notes rise from run to run.
//! - An offset is committed only when the notes of the records before it are published.
//! - At the end, all notes of the model are there.
//!
//! # Notes
//! The order of a basket's events in two topics is undefined, and so are its notes. They are seen at most once.

use super::broker::NOTES;
use super::check::Commit;
use super::job_run::World;
use super::letters::TOPICS;
use super::retention::Gaps;
use super::shop::is_shared;
use crate::output::NoteFormat;
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::{Event, Model, Note, NoteCause, Params, Partition, Position};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The position of the event that a note is about, the kind of the note, and its basket and item.
type Place = (Position, String, String, Option<String>);

/// A note in the topic.
struct PublishedNote {
    place: Place,
    epoch: u64,
    run: usize,
    order: usize,
}

fn read(world: &World) -> Result<Vec<PublishedNote>> {
    let mut notes = Vec::new();
    for partition in 0..world.broker.partitions(NOTES) {
        for entry in world.broker.committed(NOTES, partition) {
            let (run, order) = world.broker.origin(entry.transaction);
            let value: Value = serde_json::from_slice(entry.value.as_deref().context("a tombstone")?)?;
            let number = |name: &str| value[name].as_u64().with_context(|| format!("no {name} in {value}"));
            let text = |name: &str| value[name].as_str().map(str::to_owned);
            let topic = TOPICS.iter().position(|name| Some(*name) == value["topic"].as_str());
            let topic = topic.context("a note of no topic")? as u8;
            let partition = Partition::new(topic, number("partition")? as u32).context("no partition")?;
            let position = Position { partition, offset: number("offset")?, index: number("index")? as u32 };
            let basket = text("basket").context("no basket")?;
            ensure!(entry.key == basket.as_bytes(), "the key of {value} is not its basket");
            let place = (position, text("note").context("no kind")?, basket, text("item"));
            notes.push(PublishedNote { place, epoch: number("epoch")?, run, order });
        }
    }
    notes.sort_by_key(|note| (note.order, note.epoch));
    Ok(notes)
}

/// The model's notes of one partition, but for those of baskets in two topics.
fn expected(world: &World, partition: Partition, params: Params) -> Vec<Place> {
    let mut model = Model::new(params);
    for (offset, events) in (0..).zip(world.shop.meanings(partition, &Gaps::default())) {
        for (index, event) in (0..).zip(events) {
            model.apply(&Event { position: Position { partition, offset, index }, ..event });
        }
    }
    let notes = model.take_notes().into_iter().filter(|note| !is_shared(&note.basket));
    notes.filter_map(place).collect()
}

fn place(note: Note) -> Option<Place> {
    let NoteCause::Event(position) = note.cause else { return None };
    let (basket, item) = (note.basket.to_string(), note.item.map(|item| item.to_string()));
    Some((position, NoteFormat::name(note.kind).to_owned(), basket, item))
}

/// Checks all notes committed so far. `is_end` says whether the input has been read to its end. Returns how many there
/// are.
pub(super) fn check(world: &World, params: Params, commits: &[Commit], is_end: bool) -> Result<usize> {
    let notes = read(world)?;
    // Where records are deleted, a later run finds other events odd than an earlier one.
    if !world.retention.is_whole() {
        return Ok(notes.len());
    }
    let (mut seen, mut run, mut largest, mut before) = (BTreeMap::new(), 0, None, None);
    for note in &notes {
        let twice = seen.insert(&note.place, note.order);
        ensure!(twice.is_none(), "run {} notes twice: {:?}", note.run, note.place);
        if note.run > run {
            (run, before) = (note.run, largest);
        }
        ensure!(Some(note.epoch) > before, "run {run} notes in an epoch that is not after {before:?}");
        largest = largest.max(Some(note.epoch));
    }
    for partition in world.shop.partitions() {
        let expected = expected(world, partition, params);
        for Commit { decided, offset, .. } in commits.iter().filter(|commit| commit.partition == partition) {
            let mut before = expected.iter().filter(|place| place.0.offset < *offset);
            let missing = before.find(|place| seen.get(place).is_none_or(|order| order > decided));
            ensure!(missing.is_none(), "offset {offset} of {partition:?} is committed without {missing:?}");
        }
        let all: BTreeSet<&Place> = expected.iter().collect();
        let own = |place: &&&Place| place.0.partition == partition && !is_shared(&place.2);
        let other = seen.keys().filter(own).find(|place| !all.contains(**place));
        ensure!(other.is_none(), "a note that the model has not: {other:?}");
        let missing = expected.iter().find(|place| is_end && !seen.contains_key(place));
        ensure!(missing.is_none(), "the model has a note that is missing: {missing:?}");
    }
    Ok(notes.len())
}
