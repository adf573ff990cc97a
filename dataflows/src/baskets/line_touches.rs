//! The order in which the lines of one basket were last touched.
//!
//! ```text
//! lines, in the order in which they were added     tea        milk       mug
//! while the basket is recent                       At(12:04)  At(12:01)  At(12:07)
//! after it stopped being recent                    1          0          2            ranks
//! after milk is touched again                      Before(1)  At(18:30)  Before(2)
//! ```
//!
//! While a basket is recent, each of its lines has the [`Touch`](crate::Touch) of the last event that named its item
//! and changed it. So the order does not depend on which partition's events arrived first. When the basket stops being
//! recent, only the order is kept: four bytes a line, or nothing where it is the order in which the lines were added. A
//! line that is touched afterwards is newer than all that were not, also where a slow partition gives it an earlier
//! time.

use crate::state_stats::bytes;
use crate::{LineTouch, compact_vec};
use std::cmp::Reverse;

/// When each line of a basket was last touched, parallel to the basket's lines.
pub(super) enum LineTouches {
    /// The ranks of the lines of a basket that is not recent. Empty where they rise as the lines were added.
    Settled(Vec<u32>),
    /// The touches of the lines of a recent basket.
    Recent(Vec<LineTouch>),
}

impl Default for LineTouches {
    fn default() -> LineTouches {
        LineTouches::Settled(Vec::new())
    }
}

impl LineTouches {
    /// The touches of the lines. Empty where their order is that in which they were added.
    pub(super) fn to_vec(&self) -> Vec<LineTouch> {
        match self {
            LineTouches::Settled(ranks) => ranks.iter().copied().map(LineTouch::Before).collect(),
            LineTouches::Recent(touches) => touches.clone(),
        }
    }

    /// The places of `count` lines, the most recently touched first.
    pub(super) fn order(&self, count: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..count).rev().collect();
        // A stable sort: of lines with the same touch, the one that was added later comes first.
        match self {
            LineTouches::Settled(ranks) if ranks.is_empty() => {}
            LineTouches::Settled(ranks) => places.sort_by_key(|&at| Reverse(ranks[at])),
            LineTouches::Recent(touches) => places.sort_by_key(|&at| Reverse(touches[at])),
        }
        places
    }

    /// The line at this place, of `count`, was touched.
    pub(super) fn touch(&mut self, at: usize, touch: LineTouch, count: usize) {
        self.change(count, |touches| touches[at] = touches[at].max(touch));
    }

    /// A line was added behind `count` others.
    pub(super) fn push(&mut self, touch: LineTouch, count: usize) {
        self.change(count, |touches| compact_vec::push(touches, touch));
    }

    /// The line at this place was removed.
    pub(super) fn remove(&mut self, at: usize) {
        match self {
            LineTouches::Settled(ranks) if ranks.is_empty() => {}
            LineTouches::Settled(ranks) => drop(ranks.remove(at)),
            LineTouches::Recent(touches) => drop(touches.remove(at)),
        }
    }

    /// Lines were removed, all but those at the places that `stays` accepts.
    pub(super) fn retain(&mut self, stays: impl Fn(usize) -> bool) {
        let mut places = 0..;
        let mut stays = || places.next().is_some_and(&stays);
        match self {
            LineTouches::Settled(ranks) => ranks.retain(|_rank| stays()),
            LineTouches::Recent(touches) => touches.retain(|_touch| stays()),
        }
    }

    /// The basket is not recent any more: keeps the order alone.
    pub(super) fn end_recent(&mut self) {
        let LineTouches::Recent(touches) = self else { return };
        let mut places: Vec<usize> = (0..touches.len()).collect();
        places.sort_by_key(|&at| touches[at]);
        let mut ranks = vec![0; touches.len()];
        (0..).zip(&places).for_each(|(rank, &at)| ranks[at] = rank);
        *self = LineTouches::Settled(if places.is_sorted() { Vec::new() } else { ranks });
    }

    /// The bytes that it has allocated.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            LineTouches::Settled(ranks) => bytes(ranks),
            LineTouches::Recent(touches) => bytes(touches),
        }
    }

    /// Changes the touches of `count` lines.
    fn change(&mut self, count: usize, change: impl FnOnce(&mut Vec<LineTouch>)) {
        let mut touches = match std::mem::take(self) {
            LineTouches::Recent(touches) => touches,
            LineTouches::Settled(ranks) if ranks.is_empty() => {
                (0..count as u32).map(LineTouch::Before).collect()
            }
            LineTouches::Settled(ranks) => ranks.into_iter().map(LineTouch::Before).collect(),
        };
        change(&mut touches);
        *self = LineTouches::Recent(touches);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Touch;

    fn at(time: u64) -> LineTouch {
        LineTouch::At(Touch { time, ..Touch::default() })
    }

    #[test]
    fn a_basket_keeps_the_order_of_its_lines_when_it_is_recent_no_more() {
        let mut touches = LineTouches::default();
        (0..).zip([4, 1, 7]).for_each(|(count, time)| touches.push(at(time), count));
        assert_eq!(touches.order(3), [2, 0, 1]);
        touches.end_recent();
        assert_eq!(touches.to_vec(), [1, 0, 2].map(LineTouch::Before));
        assert_eq!(touches.order(3), [2, 0, 1]);
        touches.touch(1, at(0), 3);
        assert_eq!(touches.order(3), [1, 2, 0], "a touched line is newer than those that were not");
        touches.touch(0, at(9), 3);
        touches.touch(1, at(2), 3);
        assert_eq!(touches.order(3), [0, 1, 2]);
        touches.touch(1, at(1), 3);
        assert_eq!(touches.order(3), [0, 1, 2], "an earlier touch changes nothing");
        touches.remove(1);
        touches.end_recent();
        assert_eq!(touches.order(2), [0, 1]);
        touches.retain(|at| at == 1);
        assert_eq!(touches.order(1), [0]);
    }

    #[test]
    fn lines_that_were_touched_as_they_were_added_take_no_memory() {
        let mut touches = LineTouches::default();
        (0..9).for_each(|count| touches.push(at(count), count as usize));
        touches.end_recent();
        assert_eq!((touches.bytes(), touches.to_vec()), (0, vec![]));
        touches.retain(|at| at % 2 == 0);
        touches.remove(0);
        assert_eq!(touches.order(4), [3, 2, 1, 0]);
        touches.touch(0, at(0), 4);
        touches.push(at(0), 4);
        assert_eq!(touches.order(5), [4, 0, 3, 2, 1], "of equal touches, the line that was added later");
    }
}
