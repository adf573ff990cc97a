//! The plan of a shop: its size, the behaviour of its customers, and the settings of the computation. Sizes are drawn
//! on logarithmic scales, since defects hide between toy inputs and benchmarks.

use crate::Random;
use deltacart_dataflows::{Algorithm, Evidence, ListParams, Measure, Params, Scoring};
use std::num::{NonZeroU32, NonZeroU64};

/// The range of a shop's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Up to 40 items and some hundred events: every epoch can be compared with the plain model.
    Small,
    /// Some 20 to 200 items in up to 3,000 baskets, with every pair of items together often.
    ///
    /// A row is about as long as the engine's reserve for it, so all that the engine keeps enters and leaves the
    /// reserve again and again.
    Dense,
    /// Up to 5,000 items, 50,000 baskets and 60,000 events.
    Any,
}

/// The parameters from which a shop is drawn.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The number of items: at least 5, or 2 for [`Size::Small`].
    pub items: u64,
    /// The number of baskets, at least 1.
    pub baskets: u64,
    /// The number of users, at least 1.
    pub users: u64,
    /// The number of events, at least 1.
    pub events: u64,
    /// The exponent of Zipf's law for items. At 0, all items are equally frequent.
    pub item_skew: f64,
    /// The exponent of Zipf's law for baskets. At 0, all baskets are equally large.
    pub basket_skew: f64,
    /// The share of events that take something out of a basket, from 0 to 1.
    pub removes: f64,
    /// The share of events that end or empty a whole basket: clear, checkout, cancel, forget, forget a user.
    pub endings: f64,
    /// Whether item 0 goes into every basket, as a carrier bag does.
    pub carrier_bag: bool,
    /// Whether items and baskets take turns instead of being drawn. Event n is then about item n mod `items`, and
    /// about basket n mod `baskets`.
    pub in_turn: bool,
    /// The number of events in an epoch, at least 1.
    pub epoch_events: usize,
    /// The number of workers, 1 to 4.
    pub workers: usize,
    /// The settings of the computation.
    pub params: Params,
}

/// The most pairs of items that the baskets of a shop hold, approximately. The plain model visits each of them.
const PAIRS_MAX: f64 = 2e6;

impl Plan {
    /// Draws a plan.
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
            // A row has one to four times as many pairs as its reserve keeps.
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

/// The most events whose baskets hold about [`PAIRS_MAX`] pairs, if all baskets had the same size.
fn affordable_events(items: u64, baskets: u64) -> u64 {
    let lines_of_basket = (PAIRS_MAX / baskets as f64).sqrt();
    // A basket holds each item once. If it can hold all of them, more events add no pairs.
    match lines_of_basket >= items as f64 {
        true => u64::MAX,
        false => (lines_of_basket * baskets as f64).max(1.0) as u64,
    }
}

/// All that may be evidence together.
fn evidences() -> Vec<Evidence> {
    let all = ["view", "add", "purchase", "view,add", "view,purchase", "view,add,purchase"];
    all.map(|kinds| kinds.parse().expect("kinds of evidence")).to_vec()
}

/// Draws the settings of the lists: every measure, both limits (lines of a basket, baskets of an item), damping, idle
/// baskets, evidence.
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
        evidence: if random.happens(0.3) { random.pick(&evidences()) } else { Evidence::default() },
        open_for: None,
        answers: None,
    }
}
