//! The recommender as pure functions of collections.

mod types;
pub use types::*;

mod epochs;
pub use epochs::{EpochSession, PerEpoch};

mod numbers;

mod names;
pub use names::{Names, SharedNames, number_items};

mod baskets;
pub use baskets::{Baskets, Line, Note, baskets};

mod measure;
pub use measure::{Counts, Measure, Scoring};
