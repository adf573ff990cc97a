//! The continuation of a workload: endless changes after its data has ended, with new baskets like the old ones.
//!
//! A new basket has the items of an old one. The old baskets come in a random order, and then in the same order
//! again, so that the state keeps its variety as it is replaced. Many baskets are open at once, and a new line goes
//! to any of them. [`Removes`] says which lines are removed. Everything follows from the workload and a fixed seed.

use super::random::Random;
use super::workload::{Change, Lines};
use std::collections::VecDeque;

/// Which lines are removed.
pub(crate) enum Removes {
    /// This share of all changes removes a line that exists, each with the same chance.
    Any(f64),
    /// For every line that is added, the oldest is removed. The state is replaced over time and keeps its size.
    Oldest,
}

/// Baskets that are open at once.
const OPEN: usize = 100;

/// Endless changes, each with an effect.
pub(crate) struct Continuation {
    /// The items of the old baskets, one basket behind the other; and where each basket begins.
    items: Vec<u32>,
    begins: Vec<u32>,
    /// The order in which the old baskets come again, and how many have begun so far.
    order: Vec<u32>,
    begun: usize,
    open: Vec<Open>,
    next_basket: u32,
    leaving: Leaving,
    random: Random,
}

/// A basket that is being filled.
struct Open {
    basket: u32,
    /// The range of its items that have not been added yet.
    next: u32,
    end: u32,
}

/// The lines that exist, as far as it is needed to choose which are removed.
enum Leaving {
    Any { share: f64, lines: Lines },
    Oldest { lines: VecDeque<(u32, u32)>, one_goes: bool },
}

impl Continuation {
    /// The continuation of `changes`.
    pub(crate) fn new(changes: &[Change], removes: Removes) -> Self {
        let held = Lines::after(changes.iter().copied());
        let mut lines = held.all();
        lines.sort_unstable();
        let mut begins: Vec<u32> = Vec::new();
        for (place, line) in (0..).zip(&lines) {
            if place == 0 || lines[place as usize - 1].0 != line.0 {
                begins.push(place);
            }
        }
        begins.push(lines.len() as u32);
        let items = lines.iter().map(|&(_basket, item)| item).collect();
        let next_basket = changes.iter().map(|change| change.basket + 1).max().unwrap_or(0);
        let leaving = match removes {
            Removes::Any(share) => Leaving::Any { share, lines: held },
            Removes::Oldest => Leaving::Oldest { lines: lines.into(), one_goes: false },
        };
        let mut random = Random::new(4);
        let mut order: Vec<u32> = (0..begins.len() as u32 - 1).collect();
        (1..order.len()).for_each(|place| order.swap(place, random.below(place + 1)));
        Continuation { items, begins, order, begun: 0, open: Vec::new(), next_basket, leaving, random }
    }

    /// The bytes that this takes for [`Removes::Oldest`]. The lines of [`Removes::Any`] are not counted.
    pub(crate) fn bytes(&self) -> u64 {
        let numbers = self.items.capacity() + self.begins.capacity() + self.order.capacity();
        let leaving = match &self.leaving {
            Leaving::Oldest { lines, .. } => lines.capacity() * size_of::<(u32, u32)>(),
            Leaving::Any { .. } => 0,
        };
        (numbers * size_of::<u32>() + leaving) as u64
    }

    fn comes(&mut self) -> Change {
        if self.open.len() < OPEN {
            let old = self.order[self.begun % self.order.len()] as usize;
            self.begun += 1;
            self.open.push(Open {
                basket: self.next_basket,
                next: self.begins[old],
                end: self.begins[old + 1],
            });
            self.next_basket += 1;
        }
        let place = self.random.below(self.open.len());
        let open = &mut self.open[place];
        let change = Change { basket: open.basket, item: self.items[open.next as usize], comes: true };
        open.next += 1;
        if open.next == open.end {
            self.open.swap_remove(place);
        }
        change
    }
}

impl Iterator for Continuation {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let gone = match &mut self.leaving {
            Leaving::Any { share, lines } if lines.len() > 0 && self.random.share() < *share => {
                Some(lines.any(&mut self.random))
            }
            Leaving::Oldest { lines, one_goes: true } => lines.pop_front(),
            _ => None,
        };
        let change = match gone {
            Some((basket, item)) => Change { basket, item, comes: false },
            None => self.comes(),
        };
        match &mut self.leaving {
            Leaving::Any { lines, .. } => {
                lines.apply(change);
            }
            Leaving::Oldest { lines, one_goes } => {
                if change.comes {
                    lines.push_back((change.basket, change.item));
                }
                *one_goes = change.comes;
            }
        }
        Some(change)
    }
}
