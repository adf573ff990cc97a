//! What has been added, and how much of everything else is owed for it.
//!
//! A plain probability per turn would have to be worked out from how sessions go, and would be wrong again with the
//! next change to them. So the ratios are steered: an event that is owed is the likelier the more of it is owed.

use super::{SETS_PER_ADD, ShopSettings};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The kinds of events that are steered by the number of adds.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) removes: Owed,
    pub(super) purchases: Owed,
    pub(super) views: Owed,
    pub(super) sets: Owed,
}

/// How much of one kind is owed.
#[derive(Debug)]
pub(super) struct Owed {
    per_add: f64,
    /// At so much owed the next one is certain.
    certain_at: f64,
    owed: f64,
}

impl Tally {
    pub(super) fn new(settings: &ShopSettings) -> Tally {
        // A few events' worth: enough for chance to show, too little for any ratio to be off.
        let few = 8.0;
        let owed = |per_add, certain_at| Owed { per_add, certain_at, owed: 0.0 };
        Tally {
            removes: owed(settings.removes_per_add, few),
            purchases: owed(settings.purchases_per_add, few * settings.lines_per_basket),
            views: owed(settings.views_per_add, few),
            sets: owed(SETS_PER_ADD, few),
        }
    }

    pub(super) fn added(&mut self) {
        for owed in [&mut self.removes, &mut self.purchases, &mut self.views, &mut self.sets] {
            owed.owed += owed.per_add;
        }
    }
}

impl Owed {
    /// Whether `many` at once happen now; if so they are paid, also in advance.
    pub(super) fn due(&mut self, many: usize, rng: &mut ChaCha8Rng) -> bool {
        let due = rng.random::<f64>() * self.certain_at < self.owed;
        if due {
            self.owed -= many as f64;
        }
        due
    }
}
