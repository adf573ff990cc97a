//! A seeded, skewed shop that never was: a stream of cart events for demos, tests and benchmarks.
//!
//! ```text
//!  catalogue: what is popular, what goes together
//!      │ items
//! ┌────▼──────────────────────────────────┐ one turn of one session
//! │ open sessions: a cart, a taste, a user├────────────────────────▶ CartEvent ──▶ JSON record, or dataflow events
//! └───────────────────────────────────────┘
//! ```
//!
//! Many sessions are open at once. An event is a turn of one of them, picked by chance: it looks at something, adds,
//! changes a quantity, removes, or ends (by paying for the cart, by emptying it, or, in silence, by walking away).
//! How often things happen is steered by what is *owed*: each add owes so many removes and purchases, and the more is
//! owed, the likelier the next one is, so that the ratios hold from a few thousand events on.
//!
//! # Notes
//!
//! The output is a pure function of [`ShopSettings`]: no clock, no hash order, and logarithms and powers from `libm`,
//! so also the same bytes on every machine. The limit on events only ends the stream: the first N events are the same
//! whatever it is. Memory is that of the open sessions.

mod catalogue;
mod event;
mod settings;
mod tally;

pub use event::{CartAction, CartEvent, CartLine, ShopItem};
pub use settings::{ShopError, ShopSettings};

use catalogue::{Catalogue, Taste};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;
use std::sync::Arc;
use tally::Tally;

/// Of the sessions of a known user, the share that is about the user's own taste.
const LOYAL_SHARE: f64 = 0.8;
/// The share of sessions that shop for two things at once.
const SECOND_TASTE_SHARE: f64 = 0.25;
/// The share of adds that put more than one in the cart.
const SEVERAL_SHARE: f64 = 0.1;
/// The most of one item that an add or a set asks for.
const QUANTITY_MAX: u32 = 6;
/// Sets of a quantity per add.
const SETS_PER_ADD: f64 = 0.03;
/// The share of sessions that empty their cart at the end.
const CLEAR_SHARE: f64 = 0.01;
/// How often an item that is in the cart already is thrown back before it is taken as one more of the same.
const REDRAWS_MAX: u32 = 8;
/// How many events later a record is delivered again, as a producer that missed an acknowledgement does.
const DUPLICATE_DELAY_EVENTS: u64 = 16;

/// The shop: an iterator over its events, endless unless [`ShopSettings::events`] ends it.
///
/// ```
/// use deltacart_inputs::generate::{Shop, ShopSettings};
///
/// let mut shop = Shop::new(ShopSettings { seed: 7, ..ShopSettings::default() }).expect("the defaults are valid");
/// let first = shop.next().expect("no limit was set");
/// let mut json = Vec::new();
/// first.write_json(&mut json);
/// assert!(json.starts_with(br#"{"event":"add","basket":"b0","#));
/// assert_eq!(first.basket_id(), "b0");
/// ```
#[derive(Debug)]
pub struct Shop {
    settings: Arc<ShopSettings>,
    catalogue: Catalogue,
    rng: ChaCha8Rng,
    /// The open sessions; a slot is empty until its next turn.
    sessions: Vec<Option<Session>>,
    tally: Tally,
    baskets_opened: u64,
    events_made: u64,
    events_given: u64,
    /// Nanoseconds since the Unix epoch.
    now_ns: i64,
    /// Records to be delivered again, each with the number of the event it comes before.
    duplicates: VecDeque<(u64, CartEvent)>,
}

/// One visit to the shop.
#[derive(Debug)]
struct Session {
    basket: u64,
    user: Option<u32>,
    /// What the session is about: two tastes, often the same.
    tastes: [Taste; 2],
    cart: Vec<CartLine>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Shopping,
    /// Nothing more will be added: to the till, or away.
    Leaving,
    /// Left, and about to ask the shop to forget it.
    Forgetting,
    Gone,
}

impl Shop {
    /// Opens the shop.
    pub fn new(settings: ShopSettings) -> Result<Shop, ShopError> {
        settings.validate()?;
        Ok(Shop {
            catalogue: Catalogue::new(settings.items, settings.zipf_exponent),
            rng: ChaCha8Rng::seed_from_u64(settings.seed),
            sessions: (0..settings.open_sessions).map(|_| None).collect(),
            tally: Tally::new(&settings),
            baskets_opened: 0,
            events_made: 0,
            events_given: 0,
            now_ns: settings.start_ms * 1_000_000,
            duplicates: VecDeque::new(),
            settings: Arc::new(settings),
        })
    }

    /// The settings the shop was opened with.
    pub fn settings(&self) -> &ShopSettings {
        &self.settings
    }

    /// The next event that is no duplicate.
    fn make(&mut self) -> CartEvent {
        let (basket, user, action) = loop {
            // A session that walks away in silence makes no event; the next one in its place begins with one.
            let slot = self.rng.random_range(0..self.settings.open_sessions) as usize;
            let mut session = self.sessions[slot].take().unwrap_or_else(|| self.open());
            let action = self.turn(&mut session);
            let (basket, user) = (session.basket, session.user);
            if session.stage != Stage::Gone {
                self.sessions[slot] = Some(session);
            }
            if let Some(action) = action {
                break (basket, user, action);
            }
        };
        // Exponential gaps: events come as independent people make them.
        let gap_events = -libm::log(1.0 - self.rng.random::<f64>());
        self.now_ns = self.now_ns.saturating_add((gap_events * 1e9 / self.settings.events_per_second) as i64);
        let id = self.events_made;
        self.events_made += 1;
        CartEvent { seed: self.settings.seed, id, time_ms: self.now_ns / 1_000_000, basket, user, action }
    }

    /// A new session, for its first turn.
    fn open(&mut self) -> Session {
        let known = self.chance(self.settings.user_share);
        // Squared, so that some users come often: the first hundredth of them make a tenth of the sessions.
        let user = known.then(|| {
            let draw: f64 = self.rng.random();
            ((draw * draw * f64::from(self.settings.users)) as u32).min(self.settings.users - 1)
        });
        let first = match user {
            Some(user) if self.chance(LOYAL_SHARE) => Taste::of_user(user),
            _ => Taste::any(&mut self.rng),
        };
        let second = if self.chance(SECOND_TASTE_SHARE) { Taste::any(&mut self.rng) } else { first };
        let basket = self.baskets_opened;
        self.baskets_opened += 1;
        Session { basket, user, tastes: [first, second], cart: Vec::new(), stage: Stage::Shopping }
    }

    /// What the session does now; `None` when it walks away.
    fn turn(&mut self, session: &mut Session) -> Option<CartAction> {
        if session.stage == Stage::Forgetting {
            session.stage = Stage::Gone;
            let by_user = session.user.is_some() && self.chance(0.5);
            return Some(if by_user { CartAction::ForgetUser } else { CartAction::Forget });
        }
        let stray = self.chance(self.settings.stray_share);
        if (stray || !session.cart.is_empty()) && self.tally.removes.due(1, &mut self.rng) {
            return Some(self.remove(session, stray));
        }
        if session.stage == Stage::Leaving {
            return self.leave(session);
        }
        if self.tally.views.due(1, &mut self.rng) {
            let item = self.pick(session);
            return Some(CartAction::View(item));
        }
        if !session.cart.is_empty() && self.tally.sets.due(1, &mut self.rng) {
            let line = self.rng.random_range(0..session.cart.len() as u32) as usize;
            session.cart[line].quantity = self.rng.random_range(1..=QUANTITY_MAX);
            return Some(CartAction::Set(session.cart[line]));
        }
        Some(self.add(session))
    }

    fn add(&mut self, session: &mut Session) -> CartAction {
        let mut item = self.pick(session);
        for _ in 0..REDRAWS_MAX {
            if session.line_of(item).is_none() {
                break;
            }
            item = self.pick(session);
        }
        let several = self.chance(SEVERAL_SHARE);
        let quantity = if several { self.rng.random_range(2..=QUANTITY_MAX) } else { 1 };
        match session.line_of(item) {
            Some(line) => session.cart[line].quantity += quantity,
            None => session.cart.push(CartLine { item, quantity }),
        }
        self.tally.added();
        if self.chance(1.0 / self.settings.lines_per_basket) {
            session.stage = Stage::Leaving;
        }
        CartAction::Add(CartLine { item, quantity })
    }

    /// Takes a line, or one of several, out of the cart; a stray remove is about something that need not be there.
    fn remove(&mut self, session: &mut Session, stray: bool) -> CartAction {
        if stray {
            let item = self.pick(session);
            // By chance it is there after all.
            if let Some(line) = session.line_of(item) {
                session.cart.swap_remove(line);
            }
            return CartAction::Remove { item, quantity: None };
        }
        let line = self.rng.random_range(0..session.cart.len() as u32) as usize;
        let CartLine { item, quantity } = session.cart[line];
        if quantity > 1 && self.chance(0.5) {
            session.cart[line].quantity -= 1;
            return CartAction::Remove { item, quantity: Some(1) };
        }
        session.cart.swap_remove(line);
        CartAction::Remove { item, quantity: None }
    }

    /// The end of a session: an emptied cart, the till, or nothing at all.
    fn leave(&mut self, session: &mut Session) -> Option<CartAction> {
        let forgetting = self.chance(self.settings.forget_share);
        session.stage = if forgetting { Stage::Forgetting } else { Stage::Gone };
        let cart = std::mem::take(&mut session.cart);
        if cart.is_empty() {
            None
        } else if self.chance(CLEAR_SHARE) {
            Some(CartAction::Clear)
        } else {
            self.tally.purchases.due(cart.len(), &mut self.rng).then_some(CartAction::Purchase(cart))
        }
    }

    /// An item that suits the session, or any item.
    fn pick(&mut self, session: &Session) -> ShopItem {
        if !self.chance(self.settings.focus) {
            return self.catalogue.any(&mut self.rng);
        }
        let [first, second] = session.tastes;
        let taste = if self.chance(0.5) { first } else { second };
        self.catalogue.near(taste, &mut self.rng)
    }

    fn chance(&mut self, probability: f64) -> bool {
        // Always a draw, also for 0 and 1: a setting that is off does not shift what follows.
        self.rng.random::<f64>() < probability
    }
}

impl Session {
    fn line_of(&self, item: ShopItem) -> Option<usize> {
        self.cart.iter().position(|line| line.item == item)
    }
}

impl Iterator for Shop {
    type Item = CartEvent;

    fn next(&mut self) -> Option<CartEvent> {
        if self.settings.events.is_some_and(|events| self.events_given >= events) {
            return None;
        }
        self.events_given += 1;
        if self.duplicates.front().is_some_and(|&(before, _)| before <= self.events_made) {
            return self.duplicates.pop_front().map(|(_, event)| event);
        }
        let event = self.make();
        if self.chance(self.settings.duplicate_share) {
            self.duplicates.push_back((self.events_made + DUPLICATE_DELAY_EVENTS, event.clone()));
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests;
