//! A real supermarket's baskets: both engines publish the same at every epoch, and what the model has.
//!
//! The file is FIMI's `retail.dat` (Brijs), a basket per line, beside the workspace; without it the tests say that they
//! are skipped.

use crate::harness::{Reader, event, params, updates};
use crate::shop::Random;
use crate::skipped::skip;
use deltacart_dataflows::{Action, Algorithm, Event, Measure, Model, Name, Params};
use std::fs;
use std::num::NonZeroU32;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/retail.dat");

/// So many lines of the file in epochs of 1 to 700 events, a fifth of which take an earlier line back.
fn epochs(lines: usize) -> Option<Vec<Vec<Event>>> {
    let Ok(text) = fs::read_to_string(FILE) else {
        skip(format_args!("there is no {FILE}"));
        return None;
    };
    let mut lines = (0..)
        .zip(text.lines())
        .flat_map(|(basket, items): (u32, &str)| items.split_whitespace().map(move |item| (basket, item)))
        .take(lines)
        .peekable();
    let mut random = Random::new(12);
    let (mut held, mut epochs, mut offset) = (Vec::new(), Vec::new(), 0);
    while lines.peek().is_some() {
        let mut epoch = Vec::new();
        for _ in 0..=random.below(700) {
            let removes = !held.is_empty() && random.below(5) == 0;
            let line = match removes {
                true => Some(held.swap_remove(random.below(held.len() as u64) as usize)),
                false => lines.next().inspect(|&line| held.push(line)),
            };
            let Some((basket, item)) = line else { break };
            let item = Name::from(item);
            let action = if removes { Action::Remove(item, None) } else { Action::Add(item, 1) };
            epoch.push(event(offset, &format!("b{basket}"), None, action));
            offset += 1;
        }
        epochs.push(epoch);
    }
    Some(epochs)
}

/// Compares every update of the fast algorithm, on 1 and 3 workers, with the reference's, and every 25th epoch with the
/// model.
fn check(lines: usize, measure: Measure, k: usize, item_baskets_max: Option<u32>) {
    let Some(epochs) = epochs(lines) else { return };
    let params = |algorithm| {
        let item_baskets_max = item_baskets_max.and_then(NonZeroU32::new);
        Params { item_baskets_max, ..params(algorithm, measure, k) }
    };
    let expected = updates(&epochs, params(Algorithm::Reference), 1);
    for workers in [1, 3] {
        let actual = updates(&epochs, params(Algorithm::Fast), workers);
        let differ = expected.iter().zip(&actual).find(|(expected, actual)| expected != actual);
        assert_eq!(differ, None, "{measure:?} on {workers} workers");
        assert_eq!(expected.len(), actual.len(), "{measure:?} on {workers} workers");
    }
    let mut model = Model::new(params(Algorithm::Fast));
    let (mut reader, mut rest) = (Reader::default(), expected.as_slice());
    for (epoch, events) in (0u64..).zip(&epochs) {
        let (now, later) = rest.split_at(rest.partition_point(|update| update.0 <= epoch));
        rest = later;
        reader.take(now);
        events.iter().for_each(|event| model.apply(event));
        if epoch % 25 == 24 || epoch + 1 == epochs.len() as u64 {
            assert!(reader.lists == model.lists(), "{measure:?}, epoch {epoch}");
        }
    }
    assert!(rest.is_empty(), "nothing comes after the last epoch");
}

#[test]
fn retail_cosine() {
    check(20_000, Measure::Cosine, 10, None);
}

#[test]
fn retail_jaccard() {
    check(20_000, Measure::Jaccard, 10, None);
}

#[test]
fn retail_llr() {
    // The number of baskets changes at every epoch, and with it every pair of the reference.
    check(8_000, Measure::Llr, 10, None);
}

#[test]
fn retail_with_a_limit() {
    check(20_000, Measure::Cosine, 10, Some(60));
}
