//! The baskets that are most similar to a subject, of those that one worker considers.
//!
//! ```text
//! for each item of the subject that the worker owns: its most recent baskets ─▶ a mask of shared items per basket
//! for each item whose baskets were not all seen:     test every basket found ─▶ more bits of the masks
//! mask ─▶ overlap Σ w(d) · rarity ─▶ similarity overlap / √|B| ─▶ the best, ties to the more recent
//! ```
//!
//! A worker has the postings of every item, for the baskets that hold an item of its own. So it finds the full overlap
//! of every basket that it considers, and the best of all workers are the best there are.
//!
//! # Notes
//! Bit d of a mask is the item that is d steps back. The masks lie in one slot per basket, beside the number of the
//! question that they belong to. So nothing is cleared between questions.

use crate::answers::params::{AnswerParams, length_norm, rarity};
use crate::answers::query::{Ask, NearBasket, Replied, Reply};
use crate::id_vec::IdVec;
use crate::interaction_index::{IndexFollower, InteractionIndex, ItemSupports, LineChange};
use crate::recent_baskets::RecentBaskets;
use crate::state_stats::{Measured, StateStats};
use crate::{Basket, Item, Touch};

/// What is asked of the index on each worker.
#[derive(Clone, Debug)]
pub(crate) enum IndexQuestion {
    /// A basket was touched.
    Touch(Basket, Touch),
    /// A subject asks for near baskets.
    Near(Box<Ask>),
}

/// Keeps the recency of baskets, and replies with near baskets.
pub(crate) struct NearBaskets {
    recent: RecentBaskets,
    search: Search,
}

impl NearBaskets {
    /// Replies to subjects of which at most `recent` baskets of an item count.
    pub(crate) fn new(recent: usize) -> Self {
        NearBaskets { recent: RecentBaskets::new(recent), search: Search::default() }
    }
}

impl IndexFollower for NearBaskets {
    type Question = IndexQuestion;
    type Reply = Replied;

    fn end_epoch(
        &mut self,
        index: &InteractionIndex,
        changes: &[LineChange],
        owns: &dyn Fn(Item) -> bool,
        supports: &dyn ItemSupports,
        questions: &mut Vec<IndexQuestion>,
        reply: &mut dyn FnMut(Replied),
    ) {
        let mut touched: Vec<(Basket, Touch)> = questions.iter().filter_map(IndexQuestion::touch).collect();
        // A number may be given to another basket within an epoch: the last touch counts.
        touched.reverse();
        touched.sort_by_key(|&(basket, _touch)| basket);
        touched.dedup_by_key(|&mut (basket, _touch)| basket);
        self.recent.change(index, changes, &touched, owns);
        for question in questions.drain(..) {
            let IndexQuestion::Near(ask) = question else { continue };
            let near = self.search.of(&ask, index, &self.recent, owns, supports);
            if !near.is_empty() {
                reply((ask.subject, ask.owner, Reply::Baskets(near)));
            }
        }
    }
}

impl Measured for NearBaskets {
    fn add_to(&self, stats: &mut StateStats) {
        stats.index_bytes += self.recent.bytes() + self.search.marks.bytes();
    }
}

impl IndexQuestion {
    /// The basket that was touched, and when.
    fn touch(&self) -> Option<(Basket, Touch)> {
        match self {
            IndexQuestion::Touch(basket, touch) => Some((*basket, *touch)),
            IndexQuestion::Near(_) => None,
        }
    }
}

/// Finds the most similar baskets of one subject after the other.
#[derive(Default)]
struct Search {
    /// A mark for each basket.
    marks: IdVec<Basket, Mark>,
    /// The number of the question in progress, from 1. Marks of other questions count as empty.
    question: u32,
    /// The baskets that have a mark of this question.
    found: Vec<Basket>,
    /// Those of them that may be neighbours.
    candidates: Vec<Candidate>,
    /// [`length_norm`] of each length up to the longest that was met.
    norms: Vec<f64>,
}

/// The items of a subject that a basket shares.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The question that the mask belongs to.
    question: u32,
    /// The shared items, by steps back.
    mask: u64,
}

/// A basket with its similarity.
#[derive(Clone, Copy)]
struct Candidate {
    /// The similarity to the subject.
    similarity: f64,
    /// The basket.
    basket: Basket,
    /// How far back the most recent shared item is.
    steps: u32,
}

impl Search {
    /// The most similar baskets that hold an item of the subject that `owns` says, but for the subject's own baskets.
    ///
    /// Time is in proportion to the recent baskets of the items, and to their postings or the logarithm of those for
    /// items in more baskets.
    fn of(
        &mut self,
        ask: &Ask,
        index: &InteractionIndex,
        recent: &RecentBaskets,
        owns: impl Fn(Item) -> bool,
        supports: &dyn ItemSupports,
    ) -> Vec<NearBasket> {
        self.begin(index.baskets_end());
        let wanted = ask.params.recent;
        for (steps, &item) in ask.items.iter().enumerate().filter(|&(_steps, &item)| owns(item)) {
            self.find(steps, &recent.of(item, wanted, index));
        }
        for (steps, &item) in ask.items.iter().enumerate() {
            if !owns(item) || index.baskets(item).len() > wanted {
                self.complete(steps, item, index);
            }
        }
        self.rank(ask, index, supports);
        self.keep_best(ask.params.neighbours, recent);
        let near = |candidate: &Candidate| NearBasket {
            basket: candidate.basket,
            similarity: candidate.similarity,
            touch: recent.touch(candidate.basket),
            steps: candidate.steps,
            items: index.basket(candidate.basket).to_vec(),
        };
        self.candidates.iter().map(near).collect()
    }

    /// Begins a question.
    fn begin(&mut self, baskets: usize) {
        self.marks.make_room(baskets);
        self.found.clear();
        self.question = self.question.wrapping_add(1);
        if self.question == 0 {
            // The numbers of questions begin again: old marks must not be taken for new ones.
            self.marks = IdVec::default();
            self.marks.make_room(baskets);
            self.question = 1;
        }
    }

    /// Marks baskets that hold the item which is `steps` back.
    fn find(&mut self, steps: usize, baskets: &[Basket]) {
        for &basket in baskets {
            let mark = &mut self.marks[basket];
            if mark.question != self.question {
                *mark = Mark { question: self.question, mask: 0 };
                self.found.push(basket);
            }
            mark.mask |= 1_u64 << steps;
        }
    }

    /// Marks the baskets found that hold an item, of which not all baskets were seen.
    fn complete(&mut self, steps: usize, item: Item, index: &InteractionIndex) {
        let bit = 1_u64 << steps;
        if index.baskets(item).len() <= self.found.len() {
            for &basket in index.baskets(item) {
                let mark = &mut self.marks[basket];
                mark.mask |= if mark.question == self.question { bit } else { 0 };
            }
        } else {
            for &basket in &self.found {
                let mark = &mut self.marks[basket];
                if mark.mask & bit == 0 && index.holds(item, basket) {
                    mark.mask |= bit;
                }
            }
        }
    }

    /// Computes the similarities of the baskets found, but for the subject's own.
    fn rank(&mut self, ask: &Ask, index: &InteractionIndex, supports: &dyn ItemSupports) {
        let Search { marks, found, candidates, norms, .. } = self;
        let mut weights = [0; AnswerParams::ITEMS_MAX];
        for ((steps, weight), &item) in weights.iter_mut().enumerate().zip(&ask.items) {
            *weight = ask.params.match_weight(steps, || rarity(supports.of(item), supports.total()));
        }
        candidates.clear();
        for &basket in found.iter().filter(|basket| ask.baskets.binary_search(basket).is_err()) {
            let mut rest = marks[basket].mask;
            let steps = rest.trailing_zeros();
            let mut overlap = 0;
            while rest != 0 {
                overlap += weights[rest.trailing_zeros() as usize];
                rest &= rest - 1;
            }
            let len = index.basket(basket).len();
            if norms.len() <= len {
                norms.extend((norms.len()..=len).map(|len| length_norm(len.max(1))));
            }
            let similarity = ask.params.basket_similarity(overlap, norms[len]);
            candidates.push(Candidate { similarity, basket, steps });
        }
    }

    /// Keeps the most similar candidates, ties to the more recent.
    fn keep_best(&mut self, neighbours: usize, recent: &RecentBaskets) {
        let candidates = &mut self.candidates;
        if candidates.len() > neighbours {
            candidates.select_nth_unstable_by(neighbours, |x, y| {
                let by_similarity = y.similarity.total_cmp(&x.similarity);
                by_similarity
                    .then_with(|| (recent.touch(y.basket), y.basket).cmp(&(recent.touch(x.basket), x.basket)))
            });
            candidates.truncate(neighbours);
        }
    }
}
