//! The plain model: baskets in a BTreeMap, lists from scratch in loops. Everything else is compared with it.
//!
//! It shares the measures, the types and the hash of baskets with the dataflow, and nothing else.

use crate::{
    Action, Counts, Event, LineTouch, List, ListParams, Millis, Name, Note, NoteCause, NoteKind, Params,
    Partition, StateLine, Touch, Units, basket_level,
};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::rc::Rc;

/// The baskets of a shop, event by event.
///
/// # Examples
/// ```
/// use deltacart_dataflows::{
///     Action, Algorithm, Event, Evidence, ListParams, Measure, Model, Params, Position, Scoring,
/// };
///
/// let mut model = Model::new(Params {
///     algorithm: Algorithm::Fast,
///     lists: ListParams { k: 10, scoring: Scoring::new(Measure::Cosine), scores: true },
///     basket_items_max: 100,
///     basket_idle: None,
///     item_baskets_max: None,
///     evidence: Evidence::default(),
///     open_for: None,
///     answers: None,
/// });
/// for item in ["tea", "milk"] {
///     let (position, basket) = (Position::default(), "ben".into());
///     model.apply(&Event { position, basket, user: None, time: 0, action: Action::Add(item.into(), 1) });
/// }
/// model.end_epoch();
/// assert_eq!(model.lists()["tea"][0].item, "milk");
/// ```
pub struct Model {
    /// The settings of the lists and of the baskets.
    params: Params,
    /// The baskets with at least one line.
    baskets: BTreeMap<Name, ModelBasket>,
    /// The largest time of each partition's events.
    clocks: BTreeMap<Partition, Millis>,
    /// What was odd about events and baskets, until it is taken.
    notes: Vec<Note>,
}

/// One basket.
#[derive(Default)]
struct ModelBasket {
    /// Items with what the basket holds of them. Oldest first.
    lines: Vec<(Name, Units)>,
    /// When each item was last touched. May have items that are in no line.
    touches: BTreeMap<Name, LineTouch>,
    /// The largest touch of the events that changed it.
    touch: Touch,
    /// The users that had events of it.
    users: BTreeSet<Name>,
    /// The partition of its first event.
    partition: Partition,
    /// Whether it had an event in another partition.
    is_split: bool,
    /// The time of its last event; 0 when unknown.
    last: Millis,
}

/// What a basket of the model holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelBasketState {
    /// The users that had events of it, by name.
    pub users: Vec<Name>,
    /// The largest touch of the events that changed it.
    pub touch: Touch,
    /// Its lines, the most recently touched first.
    pub lines: Vec<StateLine<Name>>,
    /// Whether its last touch is less than [`Params::open_for`] before the clock of its partition.
    pub is_recent: bool,
}

impl Model {
    /// A model without baskets.
    pub fn new(params: Params) -> Self {
        Model { params, baskets: BTreeMap::new(), clocks: BTreeMap::new(), notes: Vec::new() }
    }

    /// Applies one event. Events of one basket must come in order ([`Event::order`]).
    pub fn apply(&mut self, event: &Event) {
        let partition = event.position.partition;
        let clock = self.clocks.entry(partition).or_default();
        if *clock == 0 {
            // Baskets of unknown time get the first known time of their partition.
            let of_partition = self.baskets.values_mut().filter(|basket| basket.partition == partition);
            of_partition.filter(|basket| basket.last == 0).for_each(|basket| basket.last = event.time);
        }
        *clock = event.time.max(*clock);
        if event.action == Action::ForgetUser {
            self.forget_user(event);
            return;
        }
        let basket = self.baskets.entry(event.basket.clone()).or_default();
        if basket.is_expired(self.params, event.time) {
            let cause = match basket.partition == partition {
                true => NoteCause::Idle { partition, last: basket.last },
                false => NoteCause::Event(event.position),
            };
            self.notes.push(Note::of_expired(&event.basket, cause));
            *basket = ModelBasket::default();
        }
        if basket.lines.is_empty() {
            basket.partition = partition;
        }
        let was_split = basket.is_split;
        basket.is_split |= basket.partition != partition;
        let (last, touch, line_touch) = match &event.action {
            Action::Restore(_item, restored) => {
                let unknown = Touch { time: restored.last, ..Touch::default() };
                (restored.last, restored.touch.unwrap_or(unknown), restored.line)
            }
            _ => (event.time, event.into(), LineTouch::At(event.into())),
        };
        basket.last = last.max(basket.last);
        let (lines, users) = (basket.lines.clone(), basket.users.clone());
        basket.users.extend(event.user.clone());
        let evicted = basket.act(&event.action, self.params);
        self.notes.extend((basket.is_split && !was_split).then(|| note(NoteKind::SplitBasket, event)));
        // To look at an item once more is to touch it.
        let is_view = self.params.evidence.has_views() && matches!(event.action, Action::View(_));
        let is_touched = basket.lines != lines || is_view;
        let is_restored = matches!(event.action, Action::Restore(..));
        self.notes.extend((!is_touched && !is_restored).then(|| note(NoteKind::NoEffect, event)));
        let evicted = evicted.map(|item| Note { item: Some(item), ..note(NoteKind::LineEvicted, event) });
        self.notes.extend(evicted);
        if basket.lines.is_empty() {
            self.baskets.remove(&event.basket);
        } else if self.params.open_for.is_some() && (is_touched || users != basket.users) {
            basket.touch = touch.max(basket.touch);
            basket.touch_lines(&lines, event.action.item(), is_view, line_touch);
        }
    }

    /// Deletes all baskets of the event's user. Those of its partition that had no event for too long are noted.
    fn forget_user(&mut self, event: &Event) {
        let Model { params, baskets, notes, .. } = self;
        let (Some(user), partition) = (&event.user, event.position.partition) else { return };
        baskets.retain(|name, basket| {
            let is_theirs = basket.users.contains(user);
            if is_theirs && basket.partition == partition && basket.is_expired(*params, event.time) {
                notes.push(Note::of_expired(name, NoteCause::Idle { partition, last: basket.last }));
            }
            !is_theirs
        });
    }

    /// Ends an epoch: deletes the baskets that had no event for too long. Of those that are recent no more, only the
    /// order of the lines' touches stays.
    pub fn end_epoch(&mut self) {
        let Model { params, baskets, clocks, notes } = self;
        let clock = |basket: &ModelBasket| clocks.get(&basket.partition).copied().unwrap_or_default();
        if params.basket_idle.is_some() {
            baskets.retain(|name, basket| {
                let (partition, last) = (basket.partition, basket.last);
                let is_expired = basket.is_expired(*params, clock(basket));
                notes.extend(is_expired.then(|| Note::of_expired(name, NoteCause::Idle { partition, last })));
                !is_expired
            });
        }
        let is_past =
            |basket: &ModelBasket| params.open_for.is_some() && !basket.is_recent(*params, clock(basket));
        for basket in baskets.values_mut().filter(|basket| is_past(basket)) {
            for (rank, (item, _units)) in (0..).zip(basket.lines_by_touch()) {
                basket.touches.insert(item, LineTouch::Before(rank));
            }
        }
    }

    /// Takes the notes since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// What each basket holds. Empty where [`Params::open_for`] is not set.
    pub fn states(&self) -> BTreeMap<Name, ModelBasketState> {
        let tracked = self.baskets.iter().filter(|_| self.params.open_for.is_some());
        let states = tracked.map(|(name, basket)| {
            let lines = basket.lines_by_touch().into_iter().rev().map(|(item, units)| StateLine {
                item,
                in_cart: units.cart > 0,
                bought: units.bought > 0,
                viewed: units.viewed,
                is_interaction: self.params.evidence.quantity(units) > 0,
            });
            let clock = self.clocks.get(&basket.partition).copied().unwrap_or_default();
            let state = ModelBasketState {
                users: basket.users.iter().cloned().collect(),
                touch: basket.touch,
                lines: lines.collect(),
                is_recent: basket.is_recent(self.params, clock),
            };
            (name.clone(), state)
        });
        states.collect()
    }

    /// The items of each basket that has any, by the evidence that counts.
    pub fn interactions(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let evidence = self.params.evidence;
        let items = |basket: &ModelBasket| -> BTreeSet<Name> {
            let held = basket.lines.iter().filter(|(_item, units)| evidence.quantity(*units) > 0);
            held.map(|(item, _units)| item.clone()).collect()
        };
        let baskets = self.baskets.iter().map(|(name, basket)| (name.clone(), items(basket)));
        baskets.filter(|(_name, items)| !items.is_empty()).collect()
    }

    /// Every list that is not empty, computed from scratch. Takes time in proportion to the pairs of all baskets.
    pub fn lists(&self) -> BTreeMap<Name, List> {
        let Params { lists: params, item_baskets_max, .. } = self.params;
        lists(&self.interactions(), params, item_baskets_max, |name| basket_level(name), |_row, _other| true)
    }
}

/// The note of an event, with the item that it names.
fn note(kind: NoteKind, event: &Event) -> Note {
    let cause = match event.action {
        Action::Restore(..) => NoteCause::Restore,
        _ => NoteCause::Event(event.position),
    };
    Note { kind, basket: event.basket.clone(), item: event.action.item().cloned(), cause }
}

impl ModelBasket {
    /// Whether it had no event for too long at this time. Never, while the time of its last event is unknown.
    fn is_expired(&self, params: Params, time: Millis) -> bool {
        params.basket_idle.is_some_and(|idle| self.last > 0 && self.last + idle.get() <= time)
    }

    /// Whether it was touched lately, at this time.
    fn is_recent(&self, params: Params, time: Millis) -> bool {
        params.open_for.is_some_and(|open_for| self.touch.time + open_for.get() > time)
    }

    /// Applies an action to the lines. Returns the item that a new line of a full basket evicted.
    fn act(&mut self, action: &Action<Name>, params: Params) -> Option<Name> {
        let lines = &mut self.lines;
        if let Action::View(item)
        | Action::Add(item, _)
        | Action::Set(item, _)
        | Action::Purchase(item, _)
        | Action::Restore(item, ..) = action
            && !lines.iter().any(|line| line.0 == *item)
        {
            lines.push((item.clone(), Units::default()));
        }
        for (item, units) in lines.iter_mut() {
            let Units { cart, bought, viewed } = units;
            match action {
                Action::View(looked_at) if looked_at == item => *viewed |= params.evidence.has_views(),
                Action::Add(added, more) if added == item => *cart = cart.saturating_add(*more),
                Action::Remove(gone, None) if gone == item => *cart = 0,
                Action::Remove(gone, Some(fewer)) if gone == item => *cart = cart.saturating_sub(*fewer),
                Action::Set(set, now) if set == item => *cart = *now,
                Action::Purchase(taken, more) if taken == item => {
                    *cart = cart.saturating_sub(*more);
                    *bought = bought.saturating_add(*more);
                }
                Action::Refund(back, None) if back == item => *bought = 0,
                Action::Refund(back, Some(fewer)) if back == item => *bought = bought.saturating_sub(*fewer),
                Action::Clear => *cart = 0,
                Action::Checkout => *bought = bought.saturating_add(std::mem::take(cart)),
                Action::Cancel => *bought = 0,
                Action::Forget => *units = Units::default(),
                Action::Restore(held, was) if held == item => *units = was.units,
                _ => {}
            }
        }
        lines.retain(|(_item, units)| units.cart > 0 || units.bought > 0 || units.viewed);
        (lines.len() > params.basket_items_max).then(|| lines.remove(0).0)
    }

    /// Notes that an event about `item` changed the lines, which were `before`, or viewed it.
    fn touch_lines(
        &mut self,
        before: &[(Name, Units)],
        item: Option<&Name>,
        is_view: bool,
        touch: LineTouch,
    ) {
        let ModelBasket { lines, touches, .. } = self;
        touches.retain(|item, _touch| lines.iter().any(|line| line.0 == *item));
        let is_touched = |line: &&(Name, Units)| item == Some(&line.0) && (is_view || !before.contains(line));
        if let Some(line) = lines.iter().find(is_touched) {
            let touched = touches.entry(line.0.clone()).or_insert(touch);
            *touched = touch.max(*touched);
        }
    }

    /// The lines, the most recently touched last. Lines with the same touch are in the order in which they were added.
    fn lines_by_touch(&self) -> Vec<(Name, Units)> {
        let mut lines = self.lines.clone();
        lines.sort_by_key(|(item, _units)| self.touches[item]);
        lines
    }
}

/// Every list that is not empty, of the pairs that `admits` says. Baskets must not be empty.
///
/// `admits(row, other)` says whether `other` may stand in the list of `row`.
pub fn model_lists<B: Ord, I: Ord + Clone>(
    baskets: &BTreeMap<B, BTreeSet<I>>,
    params: ListParams,
    admits: impl Fn(&I, &I) -> bool,
) -> BTreeMap<I, List<I>> {
    lists(baskets, params, None, |_basket| 0, admits)
}

/// Every list that is not empty. An item is counted from at most `item_baskets_max` baskets: those whose level is not
/// below the item's.
fn lists<B: Ord, I: Ord + Clone>(
    baskets: &BTreeMap<B, BTreeSet<I>>,
    params: ListParams,
    item_baskets_max: Option<NonZeroU32>,
    basket_level: impl Fn(&B) -> u8,
    admits: impl Fn(&I, &I) -> bool,
) -> BTreeMap<I, List<I>> {
    let mut supports: BTreeMap<&I, u32> = BTreeMap::new();
    baskets.values().flatten().for_each(|item| *supports.entry(item).or_default() += 1);
    // The number of doublings of the limit until the item's support is within.
    let item_level = |item: &I| {
        let Some(max) = item_baskets_max else { return 0 };
        (0..=32).find(|level| u64::from(supports[item]) <= u64::from(max.get()) << level).unwrap_or(32)
    };
    let levels: BTreeMap<&I, u8> = supports.keys().map(|&item| (item, item_level(item))).collect();
    let mut baskets_by_item: BTreeMap<&I, Vec<Rc<[&I]>>> = BTreeMap::new();
    for (basket, items) in baskets {
        let level = basket_level(basket);
        let sampled: Rc<[&I]> = items.iter().filter(|item| levels[item] <= level).collect();
        for &item in sampled.iter() {
            baskets_by_item.entry(item).or_default().push(Rc::clone(&sampled));
        }
    }
    let total = baskets.len() as u32;
    let mut lists = BTreeMap::new();
    for (a, baskets) in baskets_by_item {
        let mut together: BTreeMap<&I, u32> = BTreeMap::new();
        for b in baskets.iter().flat_map(|items| items.iter().copied()).filter(|&b| b != a && admits(a, b)) {
            *together.entry(b).or_default() += 1;
        }
        let mut ranked: Vec<(f64, &I, Counts)> = Vec::new();
        for (b, both) in together {
            let (row, other) = (supports[a], supports[b]);
            let scaled = u64::from(both) << levels[a].max(levels[b]);
            let counts = Counts { both: scaled.min(row.min(other).into()) as u32, row, other, total };
            let key = params.scoring.key(counts);
            if key > 0.0 {
                ranked.push((key, b, counts));
            }
        }
        // A stable sort keeps ties in the order of names, in which the candidates are.
        ranked.sort_by(|x, y| y.0.total_cmp(&x.0));
        ranked.truncate(params.k);
        if !ranked.is_empty() {
            let list =
                ranked.into_iter().map(|(_key, b, counts)| params.neighbour(b.clone(), counts)).collect();
            lists.insert(a.clone(), list);
        }
    }
    lists
}
