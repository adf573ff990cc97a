//! The obvious program: self-join, count, two joins, reduce. The oracle, the baseline, and the first thing to read.
//!
//! Every pair that ever shares a basket is a record with a count, and one event retracts and inserts whole rows: the
//! price that [`neighbours`](crate::neighbours) avoids. Any type that is ordered as ties are serves as an id.

use crate::{Basket, Counts, Diff, Epoch, ListParams, Neighbour, Sampling};
use differential_dataflow::operators::{CountTotal, ThresholdTotal};
use differential_dataflow::{ExchangeData, VecCollection};
use std::cmp::Reverse;
use std::hash::Hash;

/// Maintains the list of every item that has one, by the obvious program. Work per event follows the whole rows of the
/// items it touches; memory, all pairs that share a basket.
pub fn reference_neighbours<'scope, B, I>(
    interactions: VecCollection<'scope, Epoch, (B, I), Diff>,
    params: ListParams,
) -> VecCollection<'scope, Epoch, (I, Vec<Neighbour<I>>), Diff>
where
    B: ExchangeData + Hash,
    I: ExchangeData + Hash,
{
    reference_core(interactions.clone(), interactions, params, 0)
}

/// The same, where a sample of baskets speaks for an item that is in too many: see [`sampling`](crate::sampling).
/// Interactions lie with the owners of their baskets.
pub fn reference_neighbours_sampled<'scope, I>(
    interactions: VecCollection<'scope, Epoch, (Basket, I), Diff>,
    params: ListParams,
    sampling: Sampling,
) -> VecCollection<'scope, Epoch, (I, Vec<Neighbour<I>>), Diff>
where
    I: ExchangeData + Hash,
{
    let (workers, max) = (interactions.scope().peers() as u32, sampling.max());
    let supports = interactions.clone().map(|(_basket, item)| item).count_total();
    let item_levels = supports.map(move |(item, support)| (item, level(support as u32, max)));
    let over = sampling.clone();
    let over = item_levels.clone().inspect(move |((_item, level), _epoch, diff)| {
        if *level > 0 {
            over.add_over(*diff as i64);
        }
    });
    let baskets_by_item =
        interactions.clone().map(move |(basket, item)| (item, (basket, sampling.level(basket / workers))));
    let kept = baskets_by_item
        .join(over)
        .flat_map(|(item, ((basket, level), least))| (u32::from(level) >= least).then_some((basket, item)));
    reference_core(interactions, kept, params, max)
}

/// The least L for which `support` is at most `max` · 2^L.
fn level(support: u32, max: u32) -> u32 {
    u64::from(support.div_ceil(max)).next_power_of_two().trailing_zeros()
}

/// What a count of kept baskets stands for.
fn scaled(kept: u32, row: u32, other: u32, max: u32) -> u32 {
    let both = u64::from(kept) << level(row, max).max(level(other, max));
    both.min(row.min(other).into()) as u32
}

/// Supports from all interactions, counts from those that are kept; with `max`, as many baskets speak for an item.
fn reference_core<'scope, B, I>(
    interactions: VecCollection<'scope, Epoch, (B, I), Diff>,
    kept: VecCollection<'scope, Epoch, (B, I), Diff>,
    params: ListParams,
    max: u32,
) -> VecCollection<'scope, Epoch, (I, Vec<Neighbour<I>>), Diff>
where
    B: ExchangeData + Hash,
    I: ExchangeData + Hash,
{
    // Used twice, by the self-join.
    let items_by_basket = kept.arrange_by_key_named("ItemsByBasket");
    let cooccurrences = items_by_basket
        .clone()
        .join_core(items_by_basket, |_basket, a, b| (a != b).then(|| (a.clone(), b.clone())))
        .count_total();

    // Used twice: as the support of a, and as that of b.
    let supports =
        interactions.clone().map(|(_basket, item)| item).count_total().arrange_by_key_named("Supports");
    let total = interactions.map(|(basket, _item)| basket).distinct_total().map(|_basket| ()).count_total();

    let pairs = cooccurrences
        .map(|((a, b), both)| (a, (b, both)))
        .arrange_by_key_named("PairsByItem")
        .join_core(supports.clone(), |a, (b, both), row| Some((b.clone(), (a.clone(), *both, *row))))
        .arrange_by_key_named("PairsByOther")
        .join_core(supports, |b, (a, both, row), other| Some((a.clone(), b.clone(), [*both, *row, *other])));

    // The number of baskets joins every pair, so only the measures that ask for it pay.
    let counted = if params.lists_use_total() {
        pairs.map(|pair| ((), pair)).join_map(total, |_unit, (a, b, [both, row, other]), total| {
            (a.clone(), b.clone(), [*both, *row, *other, *total])
        })
    } else {
        pairs.map(|(a, b, [both, row, other])| (a, b, [both, row, other, 0]))
    };

    counted
        .flat_map(move |(a, b, counts)| {
            let [kept, row, other, total] = counts.map(|count| count as u32);
            let both = if max == 0 { kept } else { scaled(kept, row, other, max) };
            let counts = Counts { both, row, other, total };
            // Keys are not negative, so their bits are ordered as they are.
            let key = params.scoring.key(counts).to_bits();
            (key > 0).then(|| (a, (Reverse(key), params.neighbour(b, counts))))
        })
        .reduce_named("TopK", move |_item, ranked, output| {
            let list =
                ranked.iter().take(params.k).map(|((_key, neighbour), _diff)| neighbour.clone()).collect();
            output.push((list, 1));
        })
}
