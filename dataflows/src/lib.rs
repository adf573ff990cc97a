//! The recommender as pure functions of collections.

mod types;
pub use types::*;
