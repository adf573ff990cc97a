//! Whether what a committed reader saw is a valid history, and whether it ends at the model's lists.
//!
//! - No list is told twice in a row, and the epochs of an item rise.
//! - Runs of the job publish one after the other, and epochs rise from each to the next.
//! - The count of a beacon never falls: no list goes back to less of the input.
//! - Offsets are committed of nothing that is not published.
//! - Where the input is one partition and the job one worker, every epoch ends with the model's lists at some point of
//!   the input, each not before the last.

use super::broker::Entry;
use super::life::World;
use super::shop::beacon;
use crate::output::{Envelope, ListChange, Lists, OutputOptions, Records, encode};
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::{ListParams, Measure, Model, Params};
use serde_json::Value;
use std::collections::BTreeMap;

/// Offsets that were committed.
pub(super) struct Commit {
    /// How many transactions had been decided by then.
    pub(super) decided: usize,
    pub(super) partition: u32,
    pub(super) offset: u64,
}

/// What a record tells.
struct Told {
    entry: Entry,
    partition: u32,
    /// The run of the job, and the place of the transaction among all.
    life: usize,
    order: usize,
    /// Those of the record; a tombstone has no epoch.
    epoch: Option<u64>,
    list: Value,
}

/// Checks what was told up to now; says how many records that were.
pub(super) fn history(world: &World, params: &[(Params, usize)], commits: &[Commit]) -> Result<usize> {
    let mut told = Vec::new();
    for partition in 0..world.broker.partitions() {
        for entry in world.broker.committed(partition) {
            let (life, order) = world.broker.origin(entry.transaction);
            let value: Option<Value> = entry.value.as_deref().map(serde_json::from_slice).transpose()?;
            let epoch = value.as_ref().and_then(|value| value["epoch"].as_u64());
            let list = value.map_or(Value::Array(Vec::new()), |value| value["recommendations"].clone());
            told.push(Told { entry, partition, life, order, epoch, list });
        }
    }
    each_list_once(&told)?;
    told.sort_by_key(|told| (told.order, told.partition));
    one_run_after_the_other(&told)?;
    beacons_rise(world, &told)?;
    if params.iter().all(|(params, _)| shows_beacons(params)) {
        commits_follow(world, &told, commits)?;
    }
    if world.shop.partitions() == 1 {
        epochs_are_points_of_the_input(world, &told, params)?;
    }
    Ok(told.len())
}

fn each_list_once(told: &[Told]) -> Result<()> {
    let mut last: BTreeMap<(&[u8], u32), (u64, Value)> = BTreeMap::new();
    for Told { entry, partition, epoch, list, life, .. } in told {
        let text = entry.text();
        let is_gone = list.as_array().is_none_or(Vec::is_empty);
        let before = last.get(&(&entry.key[..], *partition));
        let (epoch_before, list_before) = match before {
            None => {
                ensure!(!is_gone, "life {life} takes away what was not told: {text}");
                (None, None)
            }
            Some((epoch, list)) => (Some(*epoch), Some(list)),
        };
        ensure!(list_before != Some(list), "life {life} tells a list twice: {text}");
        ensure!(
            epoch.is_none() || epoch_before < *epoch,
            "life {life} tells an epoch that is not after {epoch_before:?}: {text}"
        );
        last.insert((&entry.key, *partition), (epoch.or(epoch_before).unwrap_or(0), list.clone()));
    }
    Ok(())
}

fn one_run_after_the_other(told: &[Told]) -> Result<()> {
    let (mut life, mut largest, mut before) = (0, None, None);
    for told in told {
        let text = told.entry.text();
        ensure!(life <= told.life, "life {} publishes after life {life}: {text}", told.life);
        if told.life > life {
            (life, before) = (told.life, largest);
        }
        let rises = told.epoch.is_none() || told.epoch > before;
        ensure!(rises, "life {life} tells an epoch that is not after {before:?}: {text}");
        largest = largest.max(told.epoch);
    }
    Ok(())
}

/// The count of each list that tells how far a partition had been read, and after how many transactions.
fn shown<'a>(told: &'a [Told], partition: u32) -> impl Iterator<Item = (&'a Told, u64)> {
    let [item, _witness] = beacon(partition);
    let of_beacon = told.iter().filter(move |told| told.entry.key == item.as_bytes());
    of_beacon.filter_map(|told| Some((told, told.list[0]["count"].as_u64()?)))
}

fn beacons_rise(world: &World, told: &[Told]) -> Result<()> {
    for partition in 0..world.shop.partitions() {
        let mut largest = 0;
        for (told, count) in shown(told, partition) {
            let text = told.entry.text();
            ensure!(largest <= count, "life {} goes back: {text} after {largest} of it", told.life);
            largest = count;
        }
    }
    Ok(())
}

/// Whether a beacon has a list from its first basket on, and with a count.
fn shows_beacons(params: &Params) -> bool {
    params.lists.scores && !matches!(params.lists.scoring.measure, Measure::Llr | Measure::Npmi)
}

fn commits_follow(world: &World, told: &[Told], commits: &[Commit]) -> Result<()> {
    for Commit { decided, partition, offset } in commits {
        let known = shown(told, *partition).take_while(|(told, _)| told.order <= *decided).last();
        let known = known.map_or(0, |(_, count)| count);
        let read = u64::from(world.shop.beacons_before(*partition, *offset));
        ensure!(read <= known, "offset {offset} of {partition} is committed: {read} beacons, and {known} are told");
    }
    Ok(())
}

fn epochs_are_points_of_the_input(world: &World, told: &[Told], params: &[(Params, usize)]) -> Result<()> {
    let meanings = world.shop.meanings(0);
    let (mut held, mut point) = (Lists::new(), 0);
    let mut rest = told;
    while let Some(first) = rest.first() {
        let (of_life, others) = rest.split_at(rest.iter().take_while(|told| told.life == first.life).count());
        rest = others;
        let (params, workers) = &params[first.life];
        let mut model = Model::new(*params);
        meanings[..point].iter().flatten().for_each(|event| model.apply(event));
        let mut epoch = None;
        for of_transaction in of_life.chunk_by(|told, next| told.order == next.order) {
            let next = of_transaction.iter().find_map(|told| told.epoch);
            // Of a life with more workers, one may have told more epochs than the others.
            if *workers == 1 && next.is_some() && epoch.is_some() && next != epoch {
                let held = canonical(&held)?;
                while canonical(&lists(&model, params)?)? != held {
                    let more = meanings.get(point).with_context(|| {
                        format!("life {}: after epoch {epoch:?} lists are at no point of the input", first.life)
                    })?;
                    more.iter().for_each(|event| model.apply(event));
                    point += 1;
                }
            }
            epoch = next.or(epoch);
            for told in of_transaction {
                held.apply(Some(&told.entry.key), told.entry.value.as_deref())?;
            }
        }
    }
    Ok(())
}

/// Checks that consumers hold the model's lists.
pub(super) fn end(world: &World, params: &Params) -> Result<()> {
    let mut held = Lists::new();
    for partition in 0..world.broker.partitions() {
        for entry in world.broker.committed(partition) {
            held.apply(Some(&entry.key), entry.value.as_deref())?;
        }
    }
    let (held, expected) = (canonical(&held)?, canonical(&lists(&world.shop.model(*params), params)?)?);
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
    let options = OutputOptions { envelope: Envelope::Upsert, scores, score_digits: scoring.digits };
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
