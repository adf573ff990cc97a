//! Settings of decoding that cannot be used.

use super::{Basket, Format};
use thiserror::Error;

/// Settings of decoding that cannot be used, each with what to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// `--format` with a name that no format has.
    #[error(
        "unknown format {0:?}: --format takes json, shopify, woocommerce, ga4, segment, snowplow, csv, online-retail, rees46, baskets or fimi"
    )]
    UnknownFormat(String),
    /// `--format cloudevents`, which is an envelope.
    #[error(
        "cloudevents is an envelope and is recognised by itself: name what is in it, --format json, ga4, segment or snowplow"
    )]
    Envelope,
    /// `--basket` with a name that no id has.
    #[error(
        "unknown basket {0:?}: --basket takes auto, order, cart, session, user or key, or several columns, member+date"
    )]
    UnknownBasket(String),
    /// `--repeated-orders` or `--tombstones` with a name that is none of theirs.
    #[error("unknown {flag} {value:?}: it takes {known}")]
    UnknownChoice {
        /// The flag.
        flag: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        known: &'static str,
    },
    /// `--basket` names an id that the format does not have.
    #[error("records of --format {} have no id for --basket {}: use --basket {known}", format.name(), basket.text())]
    BasketUnknown {
        /// The format as it was given.
        format: Format,
        /// The basket as it was given.
        basket: Basket,
        /// The values that go with the format.
        known: &'static str,
    },
    /// `--columns` for a format whose fields are fixed.
    #[error("--columns goes with --format csv only, not with --format {}", format.name())]
    ColumnsWithoutCsv {
        /// The format as it was given.
        format: Format,
    },
    /// `--fields` for a format whose fields are fixed.
    #[error(
        "--fields goes with --format json, shopify and woocommerce only, not with --format {}",
        format.name()
    )]
    FieldsWithoutJson {
        /// The format as it was given.
        format: Format,
    },
    /// A part of `--fields` that cannot be read, and why.
    #[error(
        "cannot use {part:?} in --fields: {why}; each part is FIELD=PATH, such as item=line_items[].sku, with FIELD one of basket, item, quantity, time, user, event, id, each at most once"
    )]
    BadField {
        /// The part as it was typed.
        part: String,
        /// What is wrong with it.
        why: String,
    },
    /// `--fields` without a field that it cannot do without.
    #[error("--fields does not say where the {0} is: add {0}=PATH")]
    FieldMissing(&'static str),
    /// `--null-words` that cannot be read.
    #[error("cannot use {0:?} as --null-words: it takes words between commas, or nothing at all for none")]
    BadNullWords(String),
    /// `--time-format` that cannot be read.
    #[error(
        "cannot use {0:?} as --time-format: it takes the letters of strftime and must say which day it is, such as '%d.%m.%Y %H:%M'"
    )]
    BadTimeFormat(String),
    /// `--format csv` without a column that it cannot do without.
    #[error("--format csv does not know which column is the {0}: add {0}=NAME or {0}=#1 to --columns")]
    ColumnMissing(&'static str),
    /// A part of `--columns` that cannot be read.
    #[error(
        "cannot use {0:?} in --columns: each part is FIELD=NAME or FIELD=#POSITION (from 1), with FIELD one of basket, item, quantity, time, user, event, id, each at most once; several make a basket together, basket=member+date"
    )]
    BadColumn(String),
    /// A part of `--event-names` that cannot be read.
    #[error(
        "cannot use {0:?} in --event-names: each part is KIND=NAME, with KIND one of add, remove, set, clear, purchase, refund, cancel, update, forget, view, other (and other=* for every name that is not listed), each NAME once"
    )]
    BadEventName(String),
    /// `--delimiter` with something that cannot separate columns.
    #[error(
        "cannot use {0:?} as --delimiter: it takes one ASCII character other than a quote or a line end, or tab"
    )]
    BadDelimiter(String),
}
