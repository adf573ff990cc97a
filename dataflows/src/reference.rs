//! The obvious program: self-join, count, two joins, reduce. The oracle, the baseline, and the first thing to read.
//!
//! Every pair that ever shares a basket is a record with a count, and one event retracts and inserts whole rows: the
//! price that [`neighbours`](crate::neighbours) avoids. Any type that is ordered as ties are serves as an id.

use crate::{Counts, Diff, Epoch, ListParams, Neighbour};
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
    // Used twice, by the self-join.
    let items_by_basket = interactions.clone().arrange_by_key_named("ItemsByBasket");
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
            let [both, row, other, total] = counts.map(|count| count as u32);
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
