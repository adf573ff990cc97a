//! A pair filter: the lists have the admitted pairs only, and equal the plain model's of those pairs at every epoch.

use crate::harness::{Lists, Reader, Update, check_lists, params};
use deltacart_dataflows::{
    Algorithm, Basket, Diff, Epoch, Interaction, Item, ListParams, Measure, Name, PairFilter, SharedNames,
    model_lists, name_lists, neighbours_core,
};
use deltacart_testing::{Random, item_name};
use differential_dataflow::input::Input;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use timely::dataflow::operators::{Inspect, Probe};
use timely::worker::Worker;

const ITEMS: u32 = 40;
const BASKETS: u32 = 60;

/// Admits pairs whose numbers differ by a multiple of this, in one direction only: rows of even items have everything.
#[derive(Clone, Copy)]
struct Rule(u32);

impl Rule {
    fn admits_numbers(self, row: u32, other: u32) -> bool {
        row.is_multiple_of(2) || row.abs_diff(other).is_multiple_of(self.0)
    }
}

impl PairFilter for Rule {
    fn admits(&self, row: Item, other: Item) -> bool {
        self.admits_numbers(row.number(), other.number())
    }
}

/// Changes of lines, epoch by epoch: a line is inserted where there is none, and removed where there is one. Two items
/// are in most baskets for a while, so their rows are shared by all workers.
fn changes(seed: u64) -> Vec<Vec<(u32, u32, Diff)>> {
    let mut random = Random::new(seed);
    let mut lines = BTreeSet::new();
    let mut epochs = Vec::new();
    for epoch in 0..40 {
        let mut changed = BTreeSet::new();
        for basket in (0..BASKETS).filter(|_| (5..20).contains(&epoch)) {
            let item = random.below(2) as u32;
            if !lines.contains(&(basket, item)) {
                changed.insert((basket, item));
            }
        }
        for _ in 0..1 + random.below(40) {
            let item = random.below(ITEMS.into()).min(random.below(ITEMS.into())) as u32;
            changed.insert((random.below(BASKETS.into()) as u32, item));
        }
        let mut toggle =
            |line: (u32, u32)| if lines.remove(&line) { -1 } else { isize::from(lines.insert(line)) };
        epochs.push(changed.into_iter().map(|line| (line.0, line.1, toggle(line))).collect());
    }
    epochs
}

/// Runs the boxes behind baskets on so many workers. Returns all updates, sorted.
fn updates(epochs: &[Vec<(u32, u32, Diff)>], lists: ListParams, rule: Rule, workers: usize) -> Vec<Update> {
    let updates: Arc<Mutex<Vec<Update>>> = Arc::default();
    let (shared, epochs) = (Arc::clone(&updates), epochs.to_vec());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        work(worker, &epochs, lists, rule, Arc::clone(&shared));
    });
    guards.unwrap().join().into_iter().for_each(|worker| worker.unwrap());
    let mut updates = std::mem::take(&mut *updates.lock().unwrap());
    updates.sort_unstable();
    updates
}

fn work(
    worker: &mut Worker,
    epochs: &[Vec<(u32, u32, Diff)>],
    lists: ListParams,
    rule: Rule,
    updates: Arc<Mutex<Vec<Update>>>,
) {
    let (index, workers) = (worker.index() as u32, worker.peers() as u32);
    let (mut input, probe) = worker.dataflow(|scope| {
        let (input, interactions) = scope.new_collection();
        let names = SharedNames::default();
        (0..ITEMS).for_each(|item| names.borrow_mut().insert(Item::new(item), &item_name(item.into())));
        let numbered = neighbours_core(interactions, SharedNames::clone(&names), lists, None, rule).lists;
        let published = name_lists(numbered, names).inner.inspect(move |((name, list), epoch, diff)| {
            updates.lock().unwrap().push((*epoch, name.clone(), *diff, list.clone()));
        });
        (input, published.probe().0)
    });
    for (next, changes) in (1..).zip(epochs) {
        for &(basket, item, diff) in changes {
            let interaction = Interaction::new(Basket::new(basket), Item::new(item));
            if interaction.basket.owner(workers) == index {
                input.update(interaction, diff);
            }
        }
        input.advance_to(next as Epoch);
        input.flush();
        worker.step_while(|| probe.less_than(&(next as Epoch)));
    }
}

/// The model's lists after each epoch.
fn expected(epochs: &[Vec<(u32, u32, Diff)>], params: ListParams, rule: Rule) -> Vec<Lists> {
    let numbers: BTreeMap<Name, u32> = (0..ITEMS).map(|item| (item_name(item.into()), item)).collect();
    let mut baskets: BTreeMap<u32, BTreeSet<Name>> = BTreeMap::new();
    let lists_after = |changes: &Vec<(u32, u32, Diff)>| {
        for &(basket, item, diff) in changes {
            let items = baskets.entry(basket).or_default();
            match diff > 0 {
                true => drop(items.insert(item_name(item.into()))),
                false => drop(items.remove(&item_name(item.into()))),
            }
        }
        baskets.retain(|_basket, items| !items.is_empty());
        model_lists(&baskets, params, |row, other| rule.admits_numbers(numbers[row], numbers[other]))
    };
    epochs.iter().map(lists_after).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn lists_have_the_admitted_pairs_only(seed in any::<u64>(), which in 0usize..8, k in 1usize..4, modulus in 2u32..6,
        workers in 1usize..=3) {
        let (epochs, rule) = (changes(seed), Rule(modulus));
        let lists = params(Algorithm::Fast, Measure::ALL[which], k).lists;
        let (updates, mut reader) = (updates(&epochs, lists, rule, workers), Reader::default());
        for (epoch, expected) in expected(&epochs, lists, rule).into_iter().enumerate() {
            let now: Vec<Update> = updates.iter().filter(|update| update.0 == epoch as Epoch).cloned().collect();
            reader.take(&now);
            check_lists(&expected, &reader.lists, &format_args!("{lists:?} on {workers} workers, epoch {epoch}"));
        }
    }
}

/// The filter decides: without it, lists differ.
#[test]
fn a_filter_changes_lists() {
    let (epochs, lists) = (changes(1), params(Algorithm::Fast, Measure::Cosine, 3).lists);
    assert_ne!(updates(&epochs, lists, Rule(1), 1), updates(&epochs, lists, Rule(3), 1));
}
