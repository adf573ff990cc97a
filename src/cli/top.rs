//! The flags of `top`.

use super::values::{one_of, whole};
use super::{Given, KafkaArgs, Place};
use crate::top::Sort;
use clap::Args;
use std::num::NonZeroUsize;

/// Flags of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Which of the flags were typed.
    #[arg(skip)]
    pub given: Given,
    /// The lists: kafka:TOPIC, a file, or - for standard input
    #[arg(long, value_name = "SRC")]
    pub input: Place,
    /// Only the list of this item; of this cart or user, where the source is what --output-carts or --output-users
    /// wrote
    #[arg(long, visible_aliases = ["cart", "user"], value_name = "ID")]
    pub item: Option<String>,
    /// Go on: show each list whose items or their order change, with + before what came and − before what went
    #[arg(long)]
    pub follow: bool,
    /// Which lists come first: those with the most baskets behind a pair (the largest count), or by item id
    #[arg(long, default_value = "support", value_parser = one_of::<Sort>(["support", "item"]))]
    pub sort: Sort,
    /// Write each list as a line of JSON, not as a table
    #[arg(long)]
    pub json: bool,
    /// How many lists to show at most
    #[arg(long, default_value = "20", value_parser = whole::<NonZeroUsize>)]
    pub limit: NonZeroUsize,
    /// Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
}
