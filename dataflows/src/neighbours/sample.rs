//! The cut of items that are in too many baskets: from changes of lines to changes of those that are kept.
//!
//! ```text
//! lines that came or went ──▶ sample ──▶ kept lines that came or went ──▶ store, changes, rows
//! supports that moved ───────▶  └ left: the lines that are not kept, and their baskets
//! ```
//!
//! [`sampling`](crate::sampling) says what is kept. When an item's level moves, the lines that this takes or gives
//! back are changes like any other; so nothing behind knows of the sample but [`ranking`](super::ranking), which scales
//! the counts. What is kept and what is left are all lines together, none of them twice: the cut costs no memory.

use crate::neighbours::changes::Change;
use crate::neighbours::placement::Placement;
use crate::neighbours::store::Store;
use crate::neighbours::supports::Supports;
use crate::sampling::Sampling;
use crate::sizes::bytes;
use crate::{Basket, Item};

/// The lines that are not kept on one worker.
pub(super) struct Sample {
    sampling: Sampling,
    /// By basket.
    levels: Vec<u8>,
    left: Store,
}

/// An item whose level moved.
struct Moved {
    item: Item,
    before: u8,
    after: u8,
}

impl Sample {
    pub(super) fn new(sampling: Sampling) -> Self {
        Sample { sampling, levels: Vec::new(), left: Store::default() }
    }

    /// The bytes it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.levels) + self.left.bytes()
    }

    /// A line of the basket came or went: it says the basket's level.
    pub(super) fn learn(&mut self, basket: Basket, level: u8) {
        let index = basket as usize;
        if self.levels.len() <= index {
            self.levels.resize(index + 1, 0);
        }
        self.levels[index] = level;
    }

    /// The changes of kept lines, sorted, from those of all lines, which are sorted too; and the items whose level
    /// rose. `store` has what was kept before the epoch; `moved` are the items whose support is another, rising.
    pub(super) fn keep(
        &mut self,
        changes: &[Change],
        moved: &[Item],
        supports: &mut Supports,
        store: &Store,
        placement: &Placement,
    ) -> (Vec<Change>, Vec<Item>) {
        let moved = self.move_levels(moved, supports, placement);
        let before = |item: Item| match moved.binary_search_by_key(&item, |moved| moved.item) {
            Ok(at) => moved[at].before,
            Err(_) => supports.level(item),
        };
        let (mut kept, mut left) = (Vec::with_capacity(changes.len()), Vec::new());
        for &(basket, item, more) in changes {
            // What goes is where the item's old level had put it.
            let level = if more { supports.level(item) } else { before(item) };
            let side = if self.levels[basket as usize] >= level { &mut kept } else { &mut left };
            side.push((basket, item, more));
        }
        for &Moved { item, before, after } in &moved {
            let goes = |basket: Basket| changes.binary_search(&(basket, item, false)).is_ok();
            let is_kept = |basket: Basket| self.levels[basket as usize] >= after;
            let comes = after < before;
            let from = if comes { &self.left } else { store };
            for &basket in from.baskets(item) {
                if is_kept(basket) == comes && !goes(basket) {
                    kept.push((basket, item, comes));
                    left.push((basket, item, !comes));
                }
            }
        }
        kept.sort_unstable();
        left.sort_unstable();
        for of_basket in left.chunk_by(|x, y| x.0 == y.0) {
            self.left.change(of_basket[0].0, of_basket);
        }
        let risen = moved.iter().filter(|moved| moved.after > moved.before).map(|moved| moved.item).collect();
        (kept, risen)
    }

    fn move_levels(&self, moved: &[Item], supports: &mut Supports, placement: &Placement) -> Vec<Moved> {
        let move_level = |&item: &Item| {
            let (before, after) = supports.move_level(item);
            if placement.owns(item) {
                self.sampling.add_over(i64::from(after > 0) - i64::from(before > 0));
            }
            (before != after).then_some(Moved { item, before, after })
        };
        moved.iter().filter_map(move_level).collect()
    }

    /// Drops the copies of changed baskets that hold nothing of this worker any more, kept or left: their owners will
    /// not tell of them.
    pub(super) fn forget(&mut self, changes: &[Change], store: &mut Store, placement: &Placement) {
        for of_basket in changes.chunk_by(|x, y| x.0 == y.0) {
            let basket = of_basket[0].0;
            let mut items = store.basket(basket).iter().chain(self.left.basket(basket));
            if !items.any(|&item| placement.owns(item)) {
                store.forget(basket);
                self.left.forget(basket);
            }
        }
    }
}
