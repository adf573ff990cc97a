//! What the shop sells: how popular each item is, and which items go together.
//!
//! Items are numbered by popularity, from rank 1, and asked for by Zipf's law. Ranks fall into *bands* that double: 1,
//! 2–3, 4–7, 8–15 and so on. Within a band popularity is nearly the same, so there is room for meaning: the items of a
//! band stand side by side on the circle of tastes, and a session takes those that are near its own taste.
//!
//! ```text
//!  taste    0 ─────────────── ½ ─────────────── 1
//!  rank     │                 1                 │   everyone's
//!           │        2        │        3        │   half the customers'
//!           │   4    │   5    │   6    │   7    │
//!           │ 8 │ 9 │10 │11 │12 │13 │14 │15 │16 │   … down to what few want
//! ```
//!
//! So best-sellers are in every kind of basket, and rare items mostly beside their own kind; how often a band is asked
//! for is Zipf's law exactly.

use super::event::{ShopItem, THEMES};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Around how many items a taste is about, beside the best-sellers.
const NEAR_ITEMS: f64 = 24.0;
/// The widest a taste can be: in a small shop, an eighth of it.
const WIDTH_MAX: f64 = 0.125;

/// The items.
#[derive(Debug)]
pub(super) struct Catalogue {
    items: u32,
    exponent: f64,
    /// For each band the share of all picks that fall into it or into one before, rising to 1.
    shares_up_to: Vec<f64>,
    /// How much of the circle a taste covers.
    width: f64,
}

/// A place on the circle of tastes, from 0 to just under 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Taste(f64);

impl Catalogue {
    pub(super) fn new(items: u32, exponent: f64) -> Catalogue {
        let mut sum = 0.0;
        let mut sums_up_to = Vec::new();
        for rank in 1..=items {
            sum += libm::pow(f64::from(rank), -exponent);
            if rank == items || (rank + 1).is_power_of_two() {
                sums_up_to.push(sum);
            }
        }
        let shares_up_to = sums_up_to.into_iter().map(|up_to| up_to / sum).collect();
        Catalogue { items, exponent, shares_up_to, width: (NEAR_ITEMS / f64::from(items)).min(WIDTH_MAX) }
    }

    /// Any item, by Zipf's law.
    pub(super) fn any(&self, rng: &mut ChaCha8Rng) -> ShopItem {
        let (first, size) = self.band(rng);
        loop {
            // Rejection: the last of a band is at worst 2^-exponent as popular as the first.
            let index = rng.random_range(0..size);
            let popularity = libm::pow(f64::from(first) / f64::from(first + index), self.exponent);
            if rng.random::<f64>() < popularity {
                return self.item(first, size, index);
            }
        }
    }

    /// An item that suits the taste; how popular it is follows Zipf's law, band by band.
    pub(super) fn near(&self, taste: Taste, rng: &mut ChaCha8Rng) -> ShopItem {
        let (first, size) = self.band(rng);
        let Taste(place) = taste.moved(self.width * (rng.random::<f64>() - 0.5));
        let index = ((place * f64::from(size)) as u32).min(size - 1);
        self.item(first, size, index)
    }

    /// The first rank and the size of a band, by how often it is asked for.
    fn band(&self, rng: &mut ChaCha8Rng) -> (u32, u32) {
        let draw: f64 = rng.random();
        // The last share is 1 and the draw less, so there is always a band.
        let band = self.shares_up_to.iter().take_while(|&&up_to| up_to <= draw).count();
        let first = 1 << band;
        (first, first.min(self.items - first + 1))
    }

    fn item(&self, first: u32, size: u32, index: u32) -> ShopItem {
        // The middle of the item's place on the circle says what kind of thing it is.
        let place = (f64::from(index) + 0.5) / f64::from(size);
        ShopItem { rank: first + index, theme: (place * THEMES.len() as f64) as u8 }
    }
}

impl Taste {
    pub(super) fn any(rng: &mut ChaCha8Rng) -> Taste {
        Taste(rng.random())
    }

    /// The taste of a user: steps of the golden ratio spread any number of users evenly.
    pub(super) fn of_user(user: u32) -> Taste {
        Taste(f64::from(user.wrapping_mul(0x9E37_79B9)) / (f64::from(u32::MAX) + 1.0))
    }

    fn moved(self, by: f64) -> Taste {
        let Taste(place) = self;
        Taste((place + by).rem_euclid(1.0))
    }
}
