//! Random shops of any size, each from a seed. The tests of all crates draw their input here, so a kind of shop that
//! is added here reaches every test.
//!
//! ```
//! use deltacart_testing::{Shop, Size};
//!
//! let shop = Shop::draw(7, Size::Any);
//! assert!(!shop.events.is_empty() && shop.epochs().count() >= 1);
//! assert_eq!(shop.events, Shop::draw(7, Size::Any).events);
//! ```

mod random;
pub use random::Random;
mod fnv;
pub use fnv::{FNV_START, fnv1a};
mod plan;
pub use plan::{Plan, Size};
mod shop;
pub use shop::{Shop, Zipf, item_name};
