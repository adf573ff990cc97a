//! Answers: the replies of all workers become one list for each subject, and the lists that changed are emitted.
//!
//! ```text
//! asked ───────────────┐
//! replies of workers ──┼─▶ scores by each way ─▶ blend ─▶ without what is excluded ─▶ best k ─▶ changed? ─▶ answer
//! supports and N ──────┘
//! ```

use crate::answers::carts::Asked;
use crate::answers::params::log;
use crate::answers::query::{Ask, NearBasket, OwnItem, Replied, Reply, Subject};
use crate::epochs::per_epoch_of_two;
use crate::id_vec::IdVec;
use crate::names::{Names, SharedNames};
use crate::neighbours::SupportChange;
use crate::{Counts, Diff, Epoch, Item, List, ListParams, Neighbour};
use differential_dataflow::{AsCollection, VecCollection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};

/// What comes to the owner of a subject.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum ToOwner {
    /// The subject asks, or is closed.
    Asked(Asked),
    /// A worker replies.
    Replied(Replied),
}

impl ToOwner {
    /// The worker that owns the subject.
    fn owner(&self) -> u32 {
        match self {
            ToOwner::Asked(asked) => asked.owner(),
            ToOwner::Replied((_subject, owner, _reply)) => *owner,
        }
    }
}

/// Maintains the answer of every subject that has one. `supports` must have the changes of all workers.
pub(super) fn merge<'scope>(
    messages: StreamVec<'scope, Epoch, ToOwner>,
    supports: StreamVec<'scope, Epoch, SupportChange>,
    names: SharedNames,
    lists: ListParams,
) -> VecCollection<'scope, Epoch, (Subject, List), Diff> {
    let mut answered: BTreeMap<Subject, List> = BTreeMap::new();
    let mut scorer = Scorer::new(lists);
    let to_owner = Exchange::new(|message: &ToOwner| u64::from(message.owner()));
    let answers = per_epoch_of_two(
        (messages, to_owner),
        (supports, Pipeline),
        "Answers",
        move |epoch, messages, supports, session| {
            supports.drain(..).for_each(|change| scorer.change_support(change));
            let (mut asked, mut replies) = (BTreeMap::new(), BTreeMap::<Subject, Vec<Reply>>::new());
            for message in messages.drain(..) {
                match message {
                    ToOwner::Asked(Asked::Ask(ask)) => drop(asked.insert(ask.subject.clone(), Some(ask))),
                    ToOwner::Asked(Asked::Closed(subject, _owner)) => drop(asked.insert(subject, None)),
                    ToOwner::Replied((subject, _owner, reply)) => {
                        replies.entry(subject).or_default().push(reply);
                    }
                }
            }
            let names = names.borrow();
            for (subject, ask) in asked {
                let replies = replies.remove(&subject).unwrap_or_default();
                let after = ask.map(|ask| scorer.answer(&ask, replies, &names)).unwrap_or_default();
                if let Subject::Question(_) = subject {
                    // It is answered once, also if there is nothing to say.
                    session.give(((subject, after), epoch, 1));
                    continue;
                }
                let before = answered.remove(&subject).unwrap_or_default();
                if before != after {
                    for (list, diff) in [(before, -1), (after.clone(), 1)] {
                        if !list.is_empty() {
                            session.give(((subject.clone(), list), epoch, diff));
                        }
                    }
                }
                if !after.is_empty() {
                    answered.insert(subject, after);
                }
            }
            true
        },
    );
    answers.as_collection()
}

/// Scores the items of one subject after the other.
struct Scorer {
    lists: ListParams,
    /// n(item).
    supports: IdVec<Item, u32>,
    /// N.
    total: u32,
    /// By item: the sum of contributions by the way in progress, and how many there were.
    sums: IdVec<Item, (u64, u32)>,
    /// The items whose sum is not 0.
    met: Vec<Item>,
    /// The logarithm of every support that was met, and NaN for the others. Only small ones, of which most items are.
    logs: Vec<f64>,
}

/// Supports below this have their logarithms in a table.
const LOGS: usize = 1 << 16;

/// An item with its score.
struct Scored {
    item: Item,
    score: f64,
    /// Decides between equal scores, larger first. Equal items are ordered by name.
    tie: u32,
    /// How many lists, baskets or own baskets have the item.
    count: u32,
}

impl Scorer {
    fn new(lists: ListParams) -> Self {
        let (supports, sums, met, logs) = Default::default();
        Scorer { lists, supports, total: 0, sums, met, logs }
    }

    fn change_support(&mut self, change: SupportChange) {
        match change {
            SupportChange::Item(item, diff) => {
                let support = self.supports.get_or_default(item);
                *support = support.checked_add_signed(diff).expect("a support is never negative");
            }
            SupportChange::Total(diff) => {
                self.total = self.total.checked_add_signed(diff).expect("N is never negative");
            }
        }
    }

    /// The answer of a subject: its best k items.
    fn answer(&mut self, ask: &Ask, replies: Vec<Reply>, names: &Names) -> List {
        self.sums.make_room(self.supports.len());
        let (mut lists, mut baskets, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for reply in replies {
            match reply {
                Reply::Lists(mut some) => lists.append(&mut some),
                Reply::Baskets(mut some) => baskets.append(&mut some),
                Reply::Own(mut some) => own.append(&mut some),
            }
        }
        let mut scored = match ask.params.weights() {
            [_, 0.0, 0.0] => self.by_lists(&lists, ask),
            [0.0, _, 0.0] => self.by_baskets(baskets, ask),
            [0.0, 0.0, _] => self.by_own(&own, ask),
            weights => {
                let ways =
                    [self.by_lists(&lists, ask), self.by_baskets(baskets, ask), self.by_own(&own, ask)];
                blend(ways, weights)
            }
        };
        best(&mut scored, ask.k, names);
        let published = |&Scored { item, score, count, .. }: &Scored| Neighbour {
            item: names.name(item).clone(),
            score: if self.lists.scores { self.lists.scoring.rounded(score) } else { 0 },
            count: if self.lists.scores { count } else { 0 },
        };
        scored.iter().map(published).collect()
    }

    /// ln n(item).
    fn log_support(&mut self, item: Item) -> f64 {
        let support = self.supports[item];
        let place = support as usize;
        if place >= LOGS {
            return log(support);
        }
        if self.logs.len() <= place {
            self.logs.resize(place + 1, f64::NAN);
        }
        if self.logs[place].is_nan() {
            self.logs[place] = log(support);
        }
        self.logs[place]
    }

    /// Adds a contribution to the sum of an item.
    fn add(&mut self, item: Item, add: impl FnOnce(u64) -> u64, count: u32) {
        let (sum, counted) = &mut self.sums[item];
        if *counted == 0 {
            self.met.push(item);
        }
        *sum = add(*sum);
        *counted += count;
    }

    /// Takes the sums of all items but those that are excluded.
    fn take(&mut self, ask: &Ask, score: impl Fn(&mut Scorer, Item, u64) -> (f64, u32)) -> Vec<Scored> {
        let mut scored = Vec::with_capacity(self.met.len());
        for item in std::mem::take(&mut self.met) {
            let (sum, count) = std::mem::take(&mut self.sums[item]);
            if ask.excluded.binary_search(&item).is_err() {
                let (score, tie) = score(self, item, sum);
                scored.push(Scored { item, score, tie, count });
            }
        }
        scored.retain(|scored| scored.score > 0.0);
        scored
    }

    /// Scores by the lists of the subject's items: Σ w(d) · s(i, j), or the largest.
    fn by_lists(&mut self, lists: &[(u32, Vec<Neighbour<Item>>)], ask: &Ask) -> Vec<Scored> {
        let (params, scoring) = (ask.params, self.lists.scoring);
        for (place, list) in lists {
            let row = self.supports[ask.items[*place as usize]];
            for neighbour in list {
                let other = self.supports[neighbour.item];
                let score = scoring.score(Counts { both: neighbour.count, row, other, total: self.total });
                let contribution = params.list_contribution(score, *place as usize);
                self.add(neighbour.item, |sum| params.add_list_contribution(sum, contribution), 1);
            }
        }
        self.take(ask, |_scorer, _item, sum| (params.score(sum), 0))
    }

    /// Scores by the most similar baskets of all workers.
    fn by_baskets(&mut self, mut baskets: Vec<NearBasket>, ask: &Ask) -> Vec<Scored> {
        let params = ask.params;
        baskets.sort_unstable_by(|x, y| {
            let by_similarity = y.similarity.total_cmp(&x.similarity);
            by_similarity.then_with(|| (y.touch, y.basket).cmp(&(x.touch, x.basket)))
        });
        // A basket comes from each worker that considers it.
        baskets.dedup_by_key(|near| near.basket);
        baskets.truncate(params.neighbours);
        for near in &baskets {
            let contribution = params.basket_contribution(near.similarity, near.steps as usize);
            near.items.iter().for_each(|&item| self.add(item, |sum| sum.saturating_add(contribution), 1));
        }
        let log_total = log(self.total);
        self.take(ask, |scorer, item, sum| (params.basket_score(sum, scorer.log_support(item), log_total), 0))
    }

    /// Scores by what the subject's users had before: the more often the better, ties by overall support.
    fn by_own(&mut self, own: &[OwnItem], ask: &Ask) -> Vec<Scored> {
        own.iter().for_each(|own| self.add(own.item, |sum| sum.saturating_add(own.weight), own.count));
        self.take(ask, |scorer, item, sum| (ask.params.score(sum), scorer.supports[item]))
    }
}

/// The weighted sum of the ways' scores, each divided by its largest.
fn blend(ways: [Vec<Scored>; 3], weights: [f64; 3]) -> Vec<Scored> {
    let mut blended: BTreeMap<Item, Scored> = BTreeMap::new();
    for (scored, weight) in ways.into_iter().zip(weights).filter(|(_scored, weight)| *weight > 0.0) {
        let largest = scored.iter().fold(0.0, |largest: f64, scored| largest.max(scored.score));
        for Scored { item, score, tie, count } in scored {
            let entry = blended.entry(item).or_insert(Scored { item, score: 0.0, tie: 0, count: 0 });
            entry.score += weight * (score / largest);
            entry.tie = entry.tie.max(tie);
            entry.count += count;
        }
    }
    blended.into_values().collect()
}

/// Keeps the best k, best first: by score, then the tie rule of the way, then name.
fn best(scored: &mut Vec<Scored>, k: usize, names: &Names) {
    let order = |x: &Scored, y: &Scored| {
        let by_score = y.score.total_cmp(&x.score).then_with(|| y.tie.cmp(&x.tie));
        by_score.then_with(|| names.cmp(x.item, y.item))
    };
    if scored.len() > k {
        scored.select_nth_unstable_by(k, order);
        scored.truncate(k);
    }
    scored.sort_unstable_by(order);
}
