//! Choices of decoding with few values: what becomes of repeated orders, and what tombstones mean.

use super::FormatError;
use std::str::FromStr;

/// What becomes of a purchase that repeats an order: the same order's id, and the same lines (`--repeated-orders`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatedOrders {
    /// As usual in the format: dropped in the shops' streams, where a page that is loaded again sends its purchase
    /// again; kept in plain JSON, where an order may be a record a line.
    Auto,
    /// It is dropped and counted.
    Drop,
    /// It counts as any other.
    Keep,
}

impl RepeatedOrders {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            RepeatedOrders::Auto => "auto",
            RepeatedOrders::Drop => "drop",
            RepeatedOrders::Keep => "keep",
        }
    }
}

impl FromStr for RepeatedOrders {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<RepeatedOrders, FormatError> {
        let all = [RepeatedOrders::Auto, RepeatedOrders::Drop, RepeatedOrders::Keep];
        let unknown = || FormatError::UnknownChoice {
            flag: "--repeated-orders",
            value: name.into(),
            known: "auto, drop or keep",
        };
        all.into_iter().find(|choice| choice.name() == name).ok_or_else(unknown)
    }
}

/// What a record without a value means (`--tombstones`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tombstones {
    /// A defect: it is rejected as empty.
    Reject,
    /// Nothing: it is counted among the others.
    Ignore,
    /// The basket that its key is was forgotten, as in a compacted topic of whole carts.
    Forget,
}

impl Tombstones {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tombstones::Reject => "reject",
            Tombstones::Ignore => "ignore",
            Tombstones::Forget => "forget",
        }
    }
}

impl FromStr for Tombstones {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Tombstones, FormatError> {
        let all = [Tombstones::Reject, Tombstones::Ignore, Tombstones::Forget];
        let unknown = || FormatError::UnknownChoice {
            flag: "--tombstones",
            value: name.into(),
            known: "reject, ignore or forget",
        };
        all.into_iter().find(|choice| choice.name() == name).ok_or_else(unknown)
    }
}
