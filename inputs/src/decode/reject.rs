//! Why a record cannot be used: a reason with a stable name, and a bounded sentence for a person.

use super::utf8::as_shown;
use std::collections::BTreeMap;
use std::fmt;

/// The longest [`Reject::detail`], in characters: a dead letter's header must stay small whatever the record holds.
const DETAIL_CHARS_MAX: usize = 200;

/// How many characters of a record's text a detail quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// A record that cannot be used: data, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Which kind of defect.
    pub reason: Reason,
    /// A sentence for a person: which field, and what was found there, escaped and cut to at most 200 characters.
    pub detail: String,
}

impl Reject {
    /// A reject whose detail is `detail`, with control characters escaped and the end cut off.
    pub fn new(reason: Reason, detail: impl fmt::Display) -> Reject {
        let detail = as_shown(&detail.to_string());
        let escaped = detail.chars().flat_map(|c| {
            // Text is kept readable in every language; only what could disturb a terminal or a log line is escaped.
            let (kept, escape) =
                if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
            kept.into_iter().chain(escape.into_iter().flatten())
        });
        Reject { reason, detail: escaped.take(DETAIL_CHARS_MAX).collect() }
    }
}

/// The beginning of a text from a record, quoted for a detail.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}

/// Declares an enum with its names once, so that the list and the names cannot drift apart.
macro_rules! named {
    ($(#[$about:meta])* $Enum:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $Enum {
            $($(#[$doc])* $variant,)*
        }

        impl $Enum {
            /// Every one, in the order of a record's way through the decoder.
            pub const ALL: &[$Enum] = &[$($Enum::$variant,)*];

            /// The stable name, in kebab case.
            pub fn name(self) -> &'static str {
                match self {
                    $($Enum::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $Enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
/// The kinds of defect a record or a line of it can have. The names are stable: they are in dead letters, summaries
/// and metrics.
Reason {
    /// No value at all.
    Empty = "empty",
    /// The value is longer than [`Limits::record_bytes_max`](super::Limits::record_bytes_max).
    TooLarge = "too-large",
    /// Avro or Protobuf, by the id of a schema before it or in a header, and no schema registry is named.
    NeedsSchema = "needs-schema",
    /// The schema registry has no schema of this id.
    UnknownSchema = "unknown-schema",
    /// A schema that cannot be read, or does not mean what values are written by.
    BadSchema = "bad-schema",
    /// Nested deeper than [`Limits::nesting_max`](super::Limits::nesting_max).
    TooDeep = "too-deep",
    /// Bytes that are not UTF-8 where text is needed.
    InvalidUtf8 = "invalid-utf8",
    /// Not JSON, not one CSV row, or not base64 where that was announced.
    Malformed = "malformed",
    /// Well-formed, but not a record of this format: not an object, a field twice, fields that exclude each other.
    WrongShape = "wrong-shape",
    /// A field that is there, but of the wrong type.
    WrongType = "wrong-type",
    /// A version of the format that this build does not know.
    UnknownVersion = "unknown-version",
    /// Nothing says what happened.
    MissingEvent = "missing-event",
    /// The event's name means nothing here.
    UnknownEvent = "unknown-event",
    /// No id for the basket.
    MissingBasket = "missing-basket",
    /// No id for an item where the kind of event needs one.
    MissingItem = "missing-item",
    /// An id that is empty, or a number that is not an integer.
    BadId = "bad-id",
    /// An id longer than [`Limits::id_bytes_max`](super::Limits::id_bytes_max).
    IdTooLong = "id-too-long",
    /// A quantity that is missing where it is needed, is no integer, or makes no sense for the kind of event.
    BadQuantity = "bad-quantity",
    /// A quantity beyond [`Limits::quantity_max`](super::Limits::quantity_max), either way.
    QuantityOutOfRange = "quantity-out-of-range",
    /// More items than [`Limits::record_items_max`](super::Limits::record_items_max).
    TooManyItems = "too-many-items",
    /// A row with too few columns, of a table without a header.
    MissingColumn = "missing-column",
    /// A row with more or fewer columns than its header.
    WrongColumns = "wrong-columns",
    /// The header of a file lacks a column that `--columns` names, or has it twice.
    BadHeader = "bad-header",
    /// A row of a file whose header was not read, or was bad.
    MissingHeader = "missing-header",
}
}

named! {
/// The kinds of flaw that cost a record nothing: a field that could not be read as it is, and that the event can do
/// without.
/// The names are stable: they are in summaries and metrics.
Flaw {
    /// A time that cannot be read or is out of range: the event has none of its own.
    UnreadableTime = "unreadable-time",
    /// The time of the record itself is out of range: the event has none from there.
    UnreadableRecordTime = "unreadable-record-time",
    /// A user's id that cannot be read: the event has no user.
    UnreadableUser = "unreadable-user",
    /// An event's id that cannot be read: a repetition of the event is not found.
    UnreadableEventId = "unreadable-event-id",
    /// An order's id that cannot be read, and no basket is made of it: a repetition of the order is not found.
    UnreadableOrder = "unreadable-order",
    /// A quantity with more decimals than are kept: it counts as the next larger one.
    RoundedQuantity = "rounded-quantity",
}
}

/// What of a record could not be used, where the rest of it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// Lines and events that could not be used, in their order; at most
    /// [`Limits::part_rejects_max`](super::Limits::part_rejects_max) of them.
    pub parts: Vec<PartReject>,
    /// How many more there were, by their reason.
    pub more: BTreeMap<Reason, u32>,
    /// The flaws, and how often each was met.
    pub flaws: BTreeMap<Flaw, u32>,
    /// What was wrong with the first of them: which field, and what was found there.
    pub first_flaw: Option<String>,
}

impl Defects {
    /// How many lines and events could not be used, by their reason.
    pub fn rejects(&self) -> BTreeMap<Reason, u32> {
        let mut counts = self.more.clone();
        for part in &self.parts {
            *counts.entry(part.reject.reason).or_default() += 1;
        }
        counts
    }
}

/// A part of a record that cannot be used: one line of an event, or one event of several. The rest of the record was
/// used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReject {
    /// Which of the record's events, from 0; `None` where the record is one event.
    pub event: Option<u32>,
    /// Which of the event's lines, from 0; `None` when it is the whole event.
    pub line: Option<u32>,
    /// The part as it stands in the record.
    pub text: String,
    /// Why.
    pub reject: Reject,
}
