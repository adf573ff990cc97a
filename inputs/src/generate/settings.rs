//! What a shop is like: sizes, skew and ratios, each with its range, checked before the first event.

use thiserror::Error;

/// What a shop is like. The defaults are the ratios of a real shop (four months of a cosmetics shop's log).
#[derive(Clone, Debug, PartialEq)]
pub struct ShopSettings {
    /// Which shop of this kind. Two seeds make two shops with nothing in common but the names of their items.
    pub seed: u64,
    /// How many items it sells, 1 to [`ShopSettings::ITEMS_MAX`].
    pub items: u32,
    /// How many users it has, 1 to `u32::MAX`. Some come often: the first hundredth make a tenth of the sessions.
    pub users: u32,
    /// The share of sessions whose user is known, 0 to 1.
    pub user_share: f64,
    /// Zipf's exponent, 0 to 3: the r-th most popular item is asked for in proportion to 1 / r^exponent. 0 is no skew.
    pub zipf_exponent: f64,
    /// The share of picks that suit the taste of the session, 0 to 1; the others are of any item, by popularity. At 0
    /// nothing goes together and neighbour lists are noise.
    pub focus: f64,
    /// How many lines a session adds in the mean (the number is geometric), 1 to 500.
    pub lines_per_basket: f64,
    /// How many sessions are open at the same time, 1 to 1,000,000.
    pub open_sessions: u32,
    /// Remove events per add event, 0 to 1.
    pub removes_per_add: f64,
    /// The share of removes that are about things which were never added, as in every real stream, 0 to 1.
    pub stray_share: f64,
    /// Purchased lines per add event, 0 to 1. A purchase is one event with all lines of the cart.
    pub purchases_per_add: f64,
    /// View events per add event, 0 to 100.
    pub views_per_add: f64,
    /// The share of ended sessions that the shop is asked to forget, 0 to 1: half of those with a user by their user.
    pub forget_share: f64,
    /// The share of events that are delivered twice, with the same id, some events later, 0 to 1.
    pub duplicate_share: f64,
    /// The time of the first event, in milliseconds since the Unix epoch, from 1970 to 2199.
    pub start_ms: i64,
    /// Events per second of the shop's own time, 0.001 to 1,000,000: how far apart the times in the events are, not
    /// how fast they are made.
    pub events_per_second: f64,
    /// After how many events the stream ends, duplicates included; `None` is never.
    pub events: Option<u64>,
}

impl ShopSettings {
    /// The most items a shop can have: 2^24.
    pub const ITEMS_MAX: u32 = 1 << 24;

    /// The most that removes of things in the cart and purchases can together be, per add: what is taken out of carts
    /// must have been added before, and some of it was added twice or is given up.
    pub const TAKEN_PER_ADD_MAX: f64 = 0.9;

    /// Whether there can be such a shop.
    ///
    /// # Errors
    /// When a setting is out of its range, or more is taken out of carts than is added.
    pub fn validate(&self) -> Result<(), ShopError> {
        let ranges = [
            ("items", f64::from(self.items), 1.0, f64::from(Self::ITEMS_MAX)),
            ("users", f64::from(self.users), 1.0, f64::from(u32::MAX)),
            ("user share", self.user_share, 0.0, 1.0),
            ("zipf exponent", self.zipf_exponent, 0.0, 3.0),
            ("focus", self.focus, 0.0, 1.0),
            ("lines per basket", self.lines_per_basket, 1.0, 500.0),
            ("open sessions", f64::from(self.open_sessions), 1.0, 1e6),
            ("removes per add", self.removes_per_add, 0.0, 1.0),
            ("stray share", self.stray_share, 0.0, 1.0),
            ("purchases per add", self.purchases_per_add, 0.0, 1.0),
            ("views per add", self.views_per_add, 0.0, 100.0),
            ("forget share", self.forget_share, 0.0, 1.0),
            ("duplicate share", self.duplicate_share, 0.0, 1.0),
            ("start in milliseconds", self.start_ms as f64, 0.0, START_MS_MAX),
            ("events per second", self.events_per_second, 0.001, 1e6),
        ];
        for (setting, value, least, most) in ranges {
            // Said this way round, so that NaN is out of range too.
            if !(least..=most).contains(&value) {
                return Err(ShopError::OutOfRange { setting, value, least, most });
            }
        }
        let taken_per_add = self.removes_per_add * (1.0 - self.stray_share) + self.purchases_per_add;
        if taken_per_add > Self::TAKEN_PER_ADD_MAX {
            return Err(ShopError::TooMuchTaken { taken_per_add });
        }
        Ok(())
    }
}

/// The beginning of the year 2200.
const START_MS_MAX: f64 = 7_258_118_400_000.0;

impl Default for ShopSettings {
    fn default() -> ShopSettings {
        ShopSettings {
            seed: 1,
            items: 1_000,
            users: 10_000,
            user_share: 0.7,
            zipf_exponent: 1.0,
            focus: 0.85,
            lines_per_basket: 5.0,
            open_sessions: 1_000,
            removes_per_add: 0.686,
            stray_share: 0.1,
            purchases_per_add: 0.226,
            views_per_add: 0.0,
            forget_share: 0.0,
            duplicate_share: 0.0,
            // 2026-01-01T00:00:00Z
            start_ms: 1_767_225_600_000,
            events_per_second: 50.0,
            events: None,
        }
    }
}

/// Why there can be no such shop.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ShopError {
    /// A setting is outside its range.
    #[error("{setting} of the shop is {value}: it must be from {least} to {most}")]
    OutOfRange {
        /// The setting's name.
        setting: &'static str,
        /// What it was set to.
        value: f64,
        /// The least it can be.
        least: f64,
        /// The most it can be.
        most: f64,
    },
    /// More would be removed and bought than is added.
    #[error(
        "{taken_per_add:.3} lines would leave the carts for each line added, and at most {max} can: \
         lower removes per add or purchases per add, or raise the stray share",
        max = ShopSettings::TAKEN_PER_ADD_MAX
    )]
    TooMuchTaken {
        /// Removes of things in the cart, and purchased lines, per add.
        taken_per_add: f64,
    },
}
