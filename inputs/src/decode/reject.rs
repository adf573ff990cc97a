//! Why a record cannot be used: a reason with a stable name, and a bounded sentence for a person.

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
        let detail = detail.to_string();
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

/// Declares [`Reason`] with its names once, so that the list and the names cannot drift apart.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The kinds of defect a record can have. The names are stable: they are in dead letters, summaries and
        /// metrics.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of a record's way through the decoder.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];

            /// The stable name, in kebab case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// No value at all.
    Empty = "empty",
    /// The value is longer than [`Limits::record_bytes_max`](super::Limits::record_bytes_max).
    TooLarge = "too-large",
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
    /// A time that is neither RFC 3339 nor milliseconds since 1970.
    BadTime = "bad-time",
    /// A time outside [`Limits::time_ms_min`](super::Limits::time_ms_min) to
    /// [`Limits::time_ms_max`](super::Limits::time_ms_max).
    TimeOutOfRange = "time-out-of-range",
    /// More items than [`Limits::record_items_max`](super::Limits::record_items_max).
    TooManyItems = "too-many-items",
    /// A row with too few columns.
    MissingColumn = "missing-column",
    /// The header of a file lacks a column that `--columns` names, or has it twice.
    BadHeader = "bad-header",
    /// A row of a file whose header was not read, or was bad.
    MissingHeader = "missing-header",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
