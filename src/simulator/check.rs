//! The checks of a simulation: the committed records are a valid history, and end at the lists of the plain model.
//!
//! - No partition has the same list twice in a row, and the epochs of an item ascend there.
//! - Runs of the job publish one after the other, and epochs ascend from each run to the next.
//! - The count of a beacon never falls: no list goes back to less of the input.
//! - An offset is committed only when the lists that follow from the records before it are published.
//! - An offset is committed only when the dead letters of the records before it have arrived. A run writes each dead
//!   letter once, and every record that cannot be used has one at the end.
//! - A run that ends because records are deleted that it has not read publishes nothing.
//! - A consumer that reads partition by partition holds each list once at the end, even if the output grew.
//! - If the input is one partition and the job one worker, every epoch ends with the model's lists at some point of
//!   the input. Each point is not before the last.

use super::broker::{Entry, LISTS, home};
use super::job_run::World;
use super::letters::DeadLetter;
use super::retention::Gaps;
use super::shop::beacon;
use crate::output::{Envelope, ListChange, Lists, OutputOptions, Records, RowKind, encode};
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::{ListParams, Measure, Model, Params, Partition};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A commit of an input offset.
pub(super) struct Commit {
    pub(super) run: usize,
    /// How many transactions had been decided by then, and how many dead letters had arrived.
    pub(super) decided: usize,
    pub(super) letters: usize,
    pub(super) partition: Partition,
    pub(super) offset: u64,
}

/// The settings that may differ from one run of the job to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunSettings {
    pub(super) params: Params,
    pub(super) workers: usize,
    pub(super) envelope: Envelope,
}

/// A published record, parsed without the job's code.
struct PublishedRecord {
    entry: Entry,
    partition: u32,
    envelope: Envelope,
    /// The run of the job, and the place of the transaction in the order of decisions.
    run: usize,
    order: usize,
    /// `None` for a tombstone.
    epoch: Option<u64>,
    /// The value of the key after this record. With `changes` it is a neighbour's rank, score and count, otherwise a
    /// list. It is null if nothing is left.
    shown: Value,
}

impl PublishedRecord {
    fn new(world: &World, runs: &[RunSettings], partition: u32, entry: Entry) -> Result<PublishedRecord> {
        let (run, order) = world.broker.origin(entry.transaction);
        let envelope = runs[run].envelope;
        let value: Value = entry.value.as_deref().map_or(Ok(Value::Null), serde_json::from_slice)?;
        let (epoch, shown) = match envelope {
            Envelope::Upsert => (&value["epoch"], value["recommendations"].clone()),
            Envelope::Debezium => (&value["source"]["epoch"], value["after"]["recommendations"].clone()),
            Envelope::Changes => {
                let is_there = value["rank"].is_u64();
                let shown = serde_json::json!([value["rank"], value["score"], value["count"]]);
                (&value["epoch"], if is_there { shown } else { Value::Null })
            }
        };
        let epoch = epoch.as_u64();
        ensure!(epoch.is_some() || entry.value.is_none(), "there is no epoch in {}", entry.text());
        Ok(PublishedRecord { entry, partition, envelope, run, order, epoch, shown })
    }

    /// The count of a partition's beacon, if this record has it.
    fn beacons(&self, partition: Partition) -> Option<u64> {
        let [item, witness] = beacon(partition);
        let pair = serde_json::json!([item.as_str(), witness.as_str()]).to_string();
        let key = &self.entry.key[..];
        let count = if key == pair.as_bytes() {
            &self.shown[2]
        } else if key == item.as_bytes() {
            &self.shown[0]["count"]
        } else {
            &Value::Null
        };
        count.as_u64()
    }
}

/// The state of a consumer that reads every partition on its own: the last value of each key.
#[derive(Default)]
struct Tables(BTreeMap<(u32, Vec<u8>), Vec<u8>>);

impl Tables {
    fn apply(&mut self, published: &PublishedRecord) {
        let place = (published.partition, published.entry.key.clone());
        match &published.entry.value {
            Some(value) if !published.shown.is_null() => drop(self.0.insert(place, value.clone())),
            _ => drop(self.0.remove(&place)),
        }
    }

    fn lists(&self) -> Result<Lists> {
        let mut lists = Lists::new();
        for ((_partition, key), value) in &self.0 {
            lists.apply(Some(key), Some(value))?;
        }
        Ok(lists)
    }

    fn each_key_is_home(&self, world: &World) -> Result<()> {
        for (partition, key) in self.0.keys() {
            let home = home(key, world.broker.partitions(LISTS));
            let text = String::from_utf8_lossy(key);
            ensure!(*partition == home, "{text} is left in partition {partition}, and belongs to {home}");
        }
        Ok(())
    }
}

/// Checks all records committed so far. Returns how many there are.
pub(super) fn history(world: &World, runs: &[RunSettings], commits: &[Commit]) -> Result<usize> {
    let mut published = Vec::new();
    for partition in 0..world.broker.partitions(LISTS) {
        let entries = world.broker.committed(LISTS, partition).into_iter();
        published.extend(
            entries
                .map(|entry| PublishedRecord::new(world, runs, partition, entry))
                .collect::<Result<Vec<_>>>()?,
        );
    }
    each_list_once(&published)?;
    published.sort_by_key(|published| (published.order, published.entry.closed, published.partition));
    one_run_after_the_other(&published)?;
    for PublishedRecord { run, entry, .. } in &published {
        let text = entry.text();
        ensure!(!world.retention.has_refused(*run), "run {run} publishes without deleted records: {text}");
    }
    letters_precede_commits(world, commits)?;
    // Where records are deleted, lists may go back.
    if !world.retention.is_whole() {
        return Ok(published.len());
    }
    // Counts of sampled items are estimates, and these may fall.
    if runs.iter().all(|run| run.params.item_baskets_max.is_none()) {
        beacons_rise(world, &published)?;
    }
    if runs.iter().all(|run| shows_beacons(&run.params)) {
        commits_follow(&published, commits, world)?;
    }
    if let [partition] = world.shop.partitions()[..] {
        epochs_are_points_of_the_input(world, &published, runs, partition)?;
    }
    Ok(published.len())
}

fn each_list_once(published: &[PublishedRecord]) -> Result<()> {
    let mut last: BTreeMap<(u32, &[u8]), &PublishedRecord> = BTreeMap::new();
    let mut epochs: BTreeMap<(u32, &[u8]), u64> = BTreeMap::new();
    for published in published {
        let (text, run) = (published.entry.text(), published.run);
        let place = (published.partition, &published.entry.key[..]);
        let before = last.insert(place, published);
        let shown_before = before.map_or(&Value::Null, |before| &before.shown);
        let Some(epoch) = published.epoch else {
            // A tombstone may repeat a deletion: in the envelopes with a record that says that the list is gone, it
            // follows that record. Otherwise it deletes a list that has moved to another partition, or a key that the
            // new envelope does not write.
            let of_same =
                before.filter(|before| before.envelope == published.envelope && before.epoch.is_some());
            let says_it_again = published.envelope != Envelope::Upsert && of_same.is_some();
            ensure!(
                !shown_before.is_null() || says_it_again,
                "run {run} takes away what is not there: {text}"
            );
            continue;
        };
        let is_same = before.is_none_or(|before| before.envelope == published.envelope);
        ensure!(*shown_before != published.shown || !is_same, "run {run} tells a list twice: {text}");
        let before = epochs.insert(place, epoch);
        ensure!(before < Some(epoch), "run {run} tells an epoch that is not after {before:?}: {text}");
    }
    Ok(())
}

fn one_run_after_the_other(published: &[PublishedRecord]) -> Result<()> {
    let (mut run, mut largest, mut before) = (0, None, None);
    for published in published {
        let text = published.entry.text();
        ensure!(run <= published.run, "run {} publishes after run {run}: {text}", published.run);
        if published.run > run {
            (run, before) = (published.run, largest);
        }
        let rises = published.epoch.is_none() || published.epoch > before;
        ensure!(rises, "run {run} tells an epoch that is not after {before:?}: {text}");
        largest = largest.max(published.epoch);
    }
    Ok(())
}

fn beacons_rise(world: &World, published: &[PublishedRecord]) -> Result<()> {
    for partition in world.shop.partitions() {
        let mut largest = 0;
        for published in published {
            let Some(count) = published.beacons(partition) else { continue };
            let text = published.entry.text();
            ensure!(largest <= count, "run {} goes back: {text} after {largest} of it", published.run);
            largest = count;
        }
    }
    Ok(())
}

/// Whether a beacon's list appears with its first basket, and with an exact count.
fn shows_beacons(params: &Params) -> bool {
    params.item_baskets_max.is_none()
        && params.lists.scores
        && !matches!(params.lists.scoring.measure, Measure::Llr | Measure::Npmi)
}

fn commits_follow(published: &[PublishedRecord], commits: &[Commit], world: &World) -> Result<()> {
    for Commit { decided, partition, offset, .. } in commits {
        let by_then = published.iter().take_while(|published| published.order <= *decided);
        let known = by_then.filter_map(|published| published.beacons(*partition)).last().unwrap_or(0);
        let read = u64::from(world.shop.beacons_before(*partition, *offset));
        ensure!(
            read <= known,
            "offset {offset} of {partition:?} is committed: {read} beacons, and {known} are told"
        );
    }
    Ok(())
}

fn epochs_are_points_of_the_input(
    world: &World,
    published: &[PublishedRecord],
    runs: &[RunSettings],
    partition: Partition,
) -> Result<()> {
    let meanings = world.shop.meanings(partition, &Gaps::default());
    let (mut held, mut point) = (Tables::default(), 0);
    let mut rest = published;
    while let Some(first) = rest.first() {
        let (of_run, others) =
            rest.split_at(rest.iter().take_while(|published| published.run == first.run).count());
        rest = others;
        let RunSettings { params, workers, .. } = &runs[first.run];
        let mut model = Model::new(*params);
        meanings[..point].iter().flatten().for_each(|event| model.apply(event));
        let mut closed = None;
        for of_transaction in of_run.chunk_by(|published, next| published.order == next.order) {
            // With several workers, one may have published more epochs than the others when the run ended.
            let begins_epoch = closed.is_some_and(|closed| closed != of_transaction[0].entry.closed);
            if *workers == 1 && begins_epoch {
                let held = canonical(&held.lists()?)?;
                while canonical(&lists(&model, params)?)? != held {
                    let more = meanings.get(point).with_context(|| {
                        let (run, text) = (first.run, of_transaction[0].entry.text());
                        format!("run {run}: before {text} lists are at no point of the input")
                    })?;
                    more.iter().for_each(|event| model.apply(event));
                    point += 1;
                }
            }
            closed = of_transaction.last().map(|published| published.entry.closed);
            of_transaction.iter().for_each(|published| held.apply(published));
        }
    }
    Ok(())
}

fn letters_precede_commits(world: &World, commits: &[Commit]) -> Result<()> {
    let letters = world.letters.all();
    for Commit { run, letters: arrived, partition, offset, .. } in commits {
        let gaps = world.retention.gaps(*run);
        let before =
            world.shop.letters(*partition).into_iter().filter(|(rejected, _value)| rejected < offset);
        for (rejected, _value) in before.filter(|(rejected, _value)| !gaps.has(*partition, *rejected)) {
            let has_arrived = letters[..*arrived].iter().any(|it| it.place == (*partition, rejected));
            ensure!(has_arrived, "run {run} commits {partition:?}:{offset} before the letter of {rejected}");
        }
    }
    Ok(())
}

/// Checks that every record that cannot be used has its dead letter, no other record has one, and no run wrote one
/// twice.
fn letters(world: &World, last: usize) -> Result<()> {
    let gaps = world.retention.gaps(last);
    let mut expected = BTreeMap::new();
    for partition in world.shop.partitions() {
        let letters = world.shop.letters(partition).into_iter();
        expected.extend(letters.map(|(offset, value)| ((partition, offset), value)));
    }
    let mut written: BTreeSet<(usize, (Partition, u64))> = BTreeSet::new();
    for letter in world.letters.all() {
        let DeadLetter { run, place, value } = &letter;
        ensure!(expected.get(place) == value.as_ref(), "a letter of a record that can be used: {letter:?}");
        ensure!(written.insert((*run, *place)), "run {run} writes a letter twice: {letter:?}");
    }
    let places: BTreeSet<(Partition, u64)> = written.into_iter().map(|(_run, place)| place).collect();
    let missing = expected.keys().find(|place| !places.contains(place) && !gaps.has(place.0, place.1));
    ensure!(missing.is_none(), "{missing:?} has no dead letter");
    Ok(())
}

/// Checks that consumers hold the model's lists, with the parameters of the last run.
pub(super) fn end(world: &World, runs: &[RunSettings]) -> Result<()> {
    let mut held = Tables::default();
    for partition in 0..world.broker.partitions(LISTS) {
        for entry in world.broker.committed(LISTS, partition) {
            held.apply(&PublishedRecord::new(world, runs, partition, entry)?);
        }
    }
    held.each_key_is_home(world)?;
    let held = held.lists()?;
    let params = &runs.last().context("there was a last run")?.params;
    let last = runs.len() - 1;
    self::letters(world, last)?;
    let model = world.shop.model(*params, &world.retention.gaps(last));
    let (held, expected) = (canonical(&held)?, canonical(&lists(&model, params)?)?);
    if held != expected {
        let difference = held.lines().zip(expected.lines()).find(|(held, expected)| held != expected);
        let (held, expected) = difference.context("some lists are missing, or too many")?;
        anyhow::bail!("the lists at the end are others: {held} instead of {expected}");
    }
    Ok(())
}

/// The model's lists as a consumer would hold them.
fn lists(model: &Model, params: &Params) -> Result<Lists> {
    let ListParams { scores, scoring, .. } = params.lists;
    let options = OutputOptions {
        rows: RowKind::Item,
        envelope: Envelope::Upsert,
        scores,
        score_digits: scoring.digits,
    };
    let mut lists = Lists::new();
    for (item, after) in model.lists() {
        let mut records = Records::new();
        encode(&ListChange { item, epoch: 0, before: Vec::new(), after }, &options, &mut records);
        for record in records.iter() {
            lists.apply(Some(record.key), record.value)?;
        }
    }
    Ok(lists)
}

fn canonical(lists: &Lists) -> Result<String> {
    let mut bytes = Vec::new();
    lists.write_canonical(&mut bytes)?;
    Ok(String::from_utf8(bytes)?)
}
