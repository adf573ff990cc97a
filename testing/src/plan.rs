//! The plan of a shop: how large it is, what its customers do, and what is computed of it. Sizes are drawn on log
//! scales, since faults hide between the toy and the benchmark.

use crate::Random;
use deltacart_dataflows::{Algorithm, ListParams, Measure, Params, Scoring};
use std::num::{NonZeroU32, NonZeroU64};

/// How large a shop may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Up to 40 items and some hundred events: every epoch can be compared with the plain model.
    Small,
    /// Some 20 to 200 items in up to 3,000 baskets, each pair of them together often. Rows are about as long as what
    /// the engine keeps of them, so all that it keeps is left out and taken back again and again.
    Dense,
    /// Up to 5,000 items, 50,000 baskets and 60,000 events.
    Any,
}

/// What a shop is drawn with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Different items, at least 5 but for [`Size::Small`], where 2 are enough.
    pub items: u64,
    /// Different baskets, at least 1.
    pub baskets: u64,
    /// Different users, at least 1.
    pub users: u64,
    /// Events, at least 1.
    pub events: u64,
    /// The exponent of Zipf's law for items: at 0 all are equally frequent.
    pub item_skew: f64,
    /// The exponent of Zipf's law for baskets: at 0 all are equally large.
    pub basket_skew: f64,
    /// The share of events that take something out of a basket.
    pub removes: f64,
    /// The share of events that end or empty a whole basket: clear, checkout, cancel, forget, forget a user.
    pub endings: f64,
    /// Whether item 0 goes into every basket, as a carrier bag does.
    pub carrier_bag: bool,
    /// Whether items and baskets take turns instead of being drawn: event n is about item n mod items.
    pub in_turn: bool,
    /// Events of an epoch, at least 1.
    pub epoch_events: usize,
    /// Workers, 1 to 4.
    pub workers: usize,
    /// What is computed.
    pub params: Params,
}

/// The most pairs of items that the baskets of a shop hold, about: the plain model visits each of them.
const PAIRS_MAX: f64 = 2e6;

impl Plan {
    /// The plan that a generator draws.
    pub fn draw(random: &mut Random, size: Size) -> Plan {
        let (items, baskets, events) = match size {
            Size::Small => (random.log_scaled(2, 40), random.log_scaled(1, 60), random.log_scaled(1, 400)),
            Size::Dense => {
                (random.log_scaled(20, 200), random.log_scaled(10, 3000), random.log_scaled(2000, 20_000))
            }
            Size::Any => {
                (random.log_scaled(5, 5000), random.log_scaled(5, 50_000), random.log_scaled(50, 60_000))
            }
        };
        let item_skew = if random.happens(0.3) { 0.0 } else { 1.3 * random.fraction() };
        let basket_skew = if random.happens(0.5) { 0.0 } else { random.fraction() };
        let in_turn = random.happens(if size == Size::Dense { 0.3 } else { 0.1 });
        let removes = if random.happens(0.4) { 0.0 } else { 0.45 * random.fraction() };
        let mut params = params(random);
        if size == Size::Dense && random.happens(0.7) {
            // Rows of one to four times what is kept of them.
            params.lists.k = (random.log_scaled(1, items) / 3).clamp(1, 25) as usize;
        }
        Plan {
            items,
            baskets,
            users: random.log_scaled(1, baskets),
            events: events.min(affordable_events(items, baskets)),
            item_skew,
            basket_skew,
            removes,
            endings: if random.happens(0.5) { 0.0 } else { 0.05 * random.fraction() },
            carrier_bag: random.happens(0.15),
            in_turn,
            epoch_events: random.log_scaled(1, 5000) as usize,
            workers: random.below(4) as usize + 1,
            params,
        }
    }
}

/// So many events that their baskets hold some [`PAIRS_MAX`] pairs at most, were all baskets of one size.
fn affordable_events(items: u64, baskets: u64) -> u64 {
    let lines_of_basket = (PAIRS_MAX / baskets as f64).sqrt();
    // A basket holds each item once: where it can hold all of them, more events add no pairs.
    match lines_of_basket >= items as f64 {
        true => u64::MAX,
        false => (lines_of_basket * baskets as f64).max(1.0) as u64,
    }
}

/// Settings of the lists: every measure, both cuts, damping, idle baskets.
fn params(random: &mut Random) -> Params {
    let mut scoring = Scoring::new(random.pick(&Measure::ALL));
    if random.happens(0.2) {
        scoring.min_count = 2 + random.below(3) as u32;
    }
    if random.happens(0.3) {
        scoring.damping = 30.0 * random.fraction();
    }
    if random.happens(0.2) {
        scoring.alpha = random.fraction();
    }
    let lists = ListParams { k: random.log_scaled(1, 50) as usize, scoring, scores: random.happens(0.8) };
    let basket_items_max = if random.happens(0.2) { random.log_scaled(1, 50) } else { 10_000 };
    let basket_idle =
        random.happens(0.15).then(|| NonZeroU64::MIN.saturating_add(random.log_scaled(1, 20_000)));
    let sample =
        random.happens(0.2).then(|| NonZeroU32::MIN.saturating_add(random.log_scaled(1, 300) as u32));
    Params {
        algorithm: Algorithm::Fast,
        lists,
        basket_items_max: basket_items_max as usize,
        basket_idle,
        item_baskets_max: sample,
    }
}
