//! The reference: self-join, count, two joins, reduce. It is the oracle, the baseline, and the first thing to read.
//!
//! ```text
//! interactions ─▶ self-join by basket ─▶ count pairs ─▶ join n(a) ─▶ join n(b) ─▶ (join N) ─▶ score ─▶ k best per item
//! ```
//!
//! Every pair that ever shares a basket is a record with a count, and one event retracts and inserts whole
//! rows. That is the cost which [`neighbours`](crate::neighbours) avoids. An id may be of any type whose
//! order breaks ties.

use crate::{Basket, Counts, Diff, Epoch, Interaction, List, ListParams, Sampling, Weight};
use differential_dataflow::operators::{CountTotal, ThresholdTotal};
use differential_dataflow::{ExchangeData, VecCollection};
use std::cmp::Reverse;
use std::hash::Hash;

/// Maintains the list of every item that has one, by the obvious program.
///
/// Work per event is in proportion to the whole rows of the items it changes. Memory is in proportion to all pairs that
/// share a basket.
///
/// # Examples
/// ```
/// use deltacart_dataflows::{Interaction, ListParams, Measure, Scoring, reference_neighbours};
/// use differential_dataflow::AsCollection;
/// use timely::dataflow::operators::capture::Extract;
/// use timely::dataflow::operators::{Capture, ToStream};
///
/// let params = ListParams { k: 10, scoring: Scoring::new(Measure::Count), scores: true };
/// let lines = [("ann", "milk"), ("ann", "tea")].map(|(basket, item)| {
///     (Interaction::new(basket.to_owned(), item.to_owned()), 0, 1)
/// });
/// let captured = timely::example(move |scope| {
///     reference_neighbours(lines.to_stream(scope).as_collection(), params).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_time, updates)| updates).collect();
/// let ((item, list), _epoch, _diff) = &updates[0];
/// assert_eq!((item.as_str(), list[0].item.as_str(), list[0].count), ("milk", "tea", 1));
/// ```
pub fn reference_neighbours<'scope, B, I>(
    interactions: VecCollection<'scope, Epoch, Interaction<B, I>, Diff>,
    params: ListParams,
) -> VecCollection<'scope, Epoch, (I, List<I>), Diff>
where
    B: ExchangeData + Hash,
    I: ExchangeData + Hash,
{
    let items_by_basket =
        interactions.map(|Interaction { basket, item, weight: Weight::One }| (basket, item));
    reference_core(items_by_basket.clone(), items_by_basket, params, 0)
}

/// Maintains the list of every item that has one, where items in too many baskets are counted from a sample of them.
///
/// Interactions must lie with the owners of their baskets, whose levels `sampling` has.
pub fn reference_neighbours_sampled<'scope, I>(
    interactions: VecCollection<'scope, Epoch, Interaction<Basket, I>, Diff>,
    params: ListParams,
    sampling: Sampling,
) -> VecCollection<'scope, Epoch, (I, List<I>), Diff>
where
    I: ExchangeData + Hash,
{
    let (workers, max) = (interactions.scope().peers() as u32, sampling.max());
    let interactions = interactions.map(|Interaction { basket, item, weight: Weight::One }| (basket, item));
    let supports = interactions.clone().map(|(_basket, item)| item).count_total();
    let item_levels = supports.map(move |(item, support)| (item, level(support as u32, max)));
    let over = sampling.clone();
    let over = item_levels.clone().inspect(move |((_item, level), _epoch, diff)| {
        if *level > 0 {
            over.add_over(*diff as i64);
        }
    });
    let baskets_by_item = interactions
        .clone()
        .map(move |(basket, item)| (item, (basket, sampling.level(basket.local(workers)))));
    let sampled = baskets_by_item
        .join(over)
        .flat_map(|(item, ((basket, level), least))| (u32::from(level) >= least).then_some((basket, item)));
    reference_core(interactions, sampled, params, max)
}

/// The least L for which `support` ≤ `max` · 2^L.
fn level(support: u32, max: u32) -> u32 {
    u64::from(support.div_ceil(max)).next_power_of_two().trailing_zeros()
}

/// The count that a count of sampled baskets is scaled to.
fn scaled(sampled: u32, row: u32, other: u32, max: u32) -> u32 {
    let both = u64::from(sampled) << level(row, max).max(level(other, max));
    both.min(row.min(other).into()) as u32
}

/// Takes supports from all interactions, and counts from those that are sampled: at most `max` baskets per item, or all
/// baskets if `max` is 0.
fn reference_core<'scope, B, I>(
    interactions: VecCollection<'scope, Epoch, (B, I), Diff>,
    sampled: VecCollection<'scope, Epoch, (B, I), Diff>,
    params: ListParams,
    max: u32,
) -> VecCollection<'scope, Epoch, (I, List<I>), Diff>
where
    B: ExchangeData + Hash,
    I: ExchangeData + Hash,
{
    // Used twice, by the self-join.
    let items_by_basket = sampled.arrange_by_key_named("ItemsByBasket");
    let cooccurrences = items_by_basket
        .clone()
        .join_core(items_by_basket, |_basket, a, b| (a != b).then(|| (a.clone(), b.clone())))
        .count_total();

    // Used twice: for n(a), and for n(b).
    let supports =
        interactions.clone().map(|(_basket, item)| item).count_total().arrange_by_key_named("Supports");
    let total = interactions.map(|(basket, _item)| basket).distinct_total().map(|_basket| ()).count_total();

    let pairs = cooccurrences
        .map(|((a, b), both)| (a, (b, both)))
        .arrange_by_key_named("PairsByItem")
        .join_core(supports.clone(), |a, (b, both), row| Some((b.clone(), (a.clone(), *both, *row))))
        .arrange_by_key_named("PairsByOther")
        .join_core(supports, |b, (a, both, row), other| Some((a.clone(), b.clone(), [*both, *row, *other])));

    // N joins every pair, so only the measures that depend on it pay for the join.
    let counted = if params.lists_use_total() {
        pairs.map(|pair| ((), pair)).join_map(total, |_unit, (a, b, [both, row, other]), total| {
            (a.clone(), b.clone(), [*both, *row, *other, *total])
        })
    } else {
        pairs.map(|(a, b, [both, row, other])| (a, b, [both, row, other, 0]))
    };

    counted
        .flat_map(move |(a, b, counts)| {
            let [sampled, row, other, total] = counts.map(|count| count as u32);
            let both = if max == 0 { sampled } else { scaled(sampled, row, other, max) };
            let counts = Counts { both, row, other, total };
            // Keys are not negative, so their bits have the same order.
            let key = params.scoring.key(counts).to_bits();
            (key > 0).then(|| (a, (Reverse(key), params.neighbour(b, counts))))
        })
        .reduce_named("TopK", move |_item, ranked, output| {
            let list =
                ranked.iter().take(params.k).map(|((_key, neighbour), _diff)| neighbour.clone()).collect();
            output.push((list, 1));
        })
}
