//! The settings of decoding as a person types them, and the decoder they make.

use super::choices::{RepeatedOrders, Tombstones};
use super::csv::Csv;
use super::duplicates::Duplicates;
use super::json::{Json, Shape};
use super::sink::{Kind, WithoutBasket};
use super::{Decoder, FormatDecoder, FormatKind, Limits, presets};
use crate::file::Framing;
use crate::registry::Registry;
use std::str::FromStr;
use thiserror::Error;

/// How the bytes of records become events. [`DecodeOptions::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct DecodeOptions {
    /// The shape of the records (`--format`).
    pub format: Format,
    /// Which of the record's ids makes the basket (`--basket`).
    pub basket: BasketField,
    /// Which column holds what (`--columns`); for [`Format::Csv`] only.
    pub columns: Columns,
    /// The shop's own names for kinds of events (`--event-names`), beside those of the format.
    pub event_names: EventNames,
    /// What a record may hold at most.
    pub limits: Limits,
    /// Among how many event ids of its partition, back from the last, a repetition is found; 0 looks for none.
    pub duplicate_horizon: usize,
    /// What stands between the columns of a row (`--delimiter`); for [`Format::Csv`] only.
    pub delimiter: Delimiter,
    /// What becomes of a purchase that repeats an order (`--repeated-orders`).
    pub repeated_orders: RepeatedOrders,
    /// What a record without a value means (`--tombstones`).
    pub tombstones: Tombstones,
    /// Where the schemas of values are (`--schema-registry`); for the formats of JSON only.
    pub registry: Option<Registry>,
}

impl DecodeOptions {
    /// The default of [`DecodeOptions::duplicate_horizon`]: minutes of a busy partition, about 10 MB of it.
    pub const DUPLICATE_HORIZON: usize = 100_000;

    /// The records of `format`, everything else as it is without a flag.
    pub fn new(format: Format) -> DecodeOptions {
        DecodeOptions {
            format,
            basket: BasketField::Auto,
            columns: Columns::default(),
            event_names: EventNames::default(),
            limits: Limits::default(),
            duplicate_horizon: DecodeOptions::DUPLICATE_HORIZON,
            delimiter: Delimiter::default(),
            repeated_orders: RepeatedOrders::Auto,
            tombstones: Tombstones::Reject,
            registry: None,
        }
    }

    /// Whether a purchase that repeats an order is dropped.
    pub(super) fn drops_repeated_orders(&self) -> bool {
        match self.repeated_orders {
            RepeatedOrders::Auto => matches!(self.format, Format::Ga4 | Format::Segment | Format::Snowplow),
            RepeatedOrders::Drop => true,
            RepeatedOrders::Keep => false,
        }
    }

    /// The decoder of these options.
    ///
    /// # Errors
    /// When the options contradict each other: a basket the format does not know, columns for a format without any.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>, FormatError> {
        if self.format != Format::Csv && self.columns != Columns::default() {
            return Err(FormatError::ColumnsWithoutCsv { format: self.format });
        }
        let names = &self.event_names;
        let json = |shape| Ok(FormatKind::Json(Box::new(Json::new(shape, self))));
        let csv = |preset: presets::Preset| {
            Ok(FormatKind::Csv(Box::new(Csv::new(preset, names, self.csv_delimiter()))))
        };
        let kind = match self.format {
            Format::Json => json(Shape::Plain),
            Format::Ga4 => json(Shape::Ga4),
            Format::Segment => json(Shape::Segment),
            Format::Snowplow => json(Shape::Snowplow),
            Format::Csv => csv(presets::custom(&self.columns, self.basket)?),
            Format::OnlineRetail => csv(presets::online_retail(self.basket)?),
            Format::Rees46 => csv(presets::rees46(self.basket)?),
            Format::Fimi if self.basket == BasketField::Auto => Ok(FormatKind::Fimi),
            Format::Fimi => {
                Err(FormatError::BasketUnknown { format: self.format, basket: self.basket, known: "auto" })
            }
        }?;
        let duplicates = Duplicates::new(self.duplicate_horizon);
        let (limits, tombstones) = (self.limits, self.tombstones);
        Ok(Box::new(FormatDecoder { format: kind, limits, tombstones, duplicates }))
    }

    /// What ends a record in a file of this format.
    pub fn framing(&self) -> Framing {
        match self.format {
            Format::Csv | Format::OnlineRetail | Format::Rees46 => {
                Framing::Csv { delimiter: self.csv_delimiter().0 }
            }
            Format::Json | Format::Ga4 | Format::Segment | Format::Snowplow => Framing::Json,
            Format::Fimi => Framing::Lines,
        }
    }

    /// The presets are files as they were published, with commas.
    fn csv_delimiter(&self) -> Delimiter {
        if self.format == Format::Csv { self.delimiter } else { Delimiter::default() }
    }

    /// Whether records of this format can say when they happened.
    pub fn has_times(&self) -> bool {
        match self.format {
            Format::Csv => self.columns.time.is_some(),
            Format::Fimi => false,
            _ => true,
        }
    }

    /// The settings that say what a record means, by the names of their flags: with others, the same input is
    /// something else. Those that are as usual are left out, but for the format and the basket.
    pub fn meaning(&self) -> Vec<(&'static str, String)> {
        let names = |&(_, kind): &(String, Kind)| {
            Kind::NAMES.iter().find(|known| known.1 == kind).map_or("other", |known| known.0)
        };
        let mut events: Vec<String> =
            self.event_names.names.iter().map(|event| format!("{}={}", names(event), event.0)).collect();
        events.extend(self.event_names.others.then(|| "other=*".to_owned()));
        events.sort();
        let delimiter = char::from(self.csv_delimiter().0).escape_default().to_string();
        let unless = |value: &str, usual: &str| if value == usual { String::new() } else { value.to_owned() };
        let all = [
            ("format", self.format.name().to_owned()),
            ("basket", self.basket.name().to_owned()),
            ("columns", self.columns.text()),
            ("event-names", events.join(",")),
            (
                "delimiter",
                if self.csv_delimiter() == Delimiter::default() { String::new() } else { delimiter },
            ),
            ("repeated-orders", unless(self.repeated_orders.name(), "auto")),
            ("tombstones", unless(self.tombstones.name(), "reject")),
            ("quantity-decimals", unless(&self.limits.quantity_decimals.to_string(), "0")),
            ("schema-registry", unless(if self.registry.is_some() { "yes" } else { "no" }, "no")),
        ];
        all.into_iter().filter(|(_flag, value)| !value.is_empty()).collect()
    }
}

/// Settings of decoding that cannot be used, each with what to change.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// `--format` with a name that no format has.
    #[error(
        "unknown format {0:?}: --format takes json, ga4, segment, snowplow, csv, online-retail, rees46 or fimi"
    )]
    UnknownFormat(String),
    /// `--format cloudevents`, which is an envelope.
    #[error(
        "cloudevents is an envelope and is recognised by itself: name what is in it, --format json, ga4, segment or snowplow"
    )]
    Envelope,
    /// `--basket` with a name that no id has.
    #[error("unknown basket {0:?}: --basket takes auto, order, cart, session, user or key")]
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
    #[error("records of --format {} have no id for --basket {}: use --basket {known}", format.name(), basket.name())]
    BasketUnknown {
        /// The format as it was given.
        format: Format,
        /// The basket as it was given.
        basket: BasketField,
        /// The values that go with the format.
        known: &'static str,
    },
    /// `--columns` for a format whose fields are fixed.
    #[error("--columns goes with --format csv only, not with --format {}", format.name())]
    ColumnsWithoutCsv {
        /// The format as it was given.
        format: Format,
    },
    /// `--format csv` without a column that it cannot do without.
    #[error("--format csv does not know which column is the {0}: add {0}=NAME or {0}=#1 to --columns")]
    ColumnMissing(&'static str),
    /// A part of `--columns` that cannot be read.
    #[error(
        "cannot use {0:?} in --columns: each part is FIELD=NAME or FIELD=#POSITION (from 1), with FIELD one of basket, item, quantity, time, user, event, id, each at most once"
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

/// The shape of records (`--format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Plain JSON, one event a record, of one or many items.
    Json,
    /// Google Analytics 4: one event, a Measurement Protocol request, or a row of the BigQuery export.
    Ga4,
    /// Segment track calls of the e-commerce specification, v2 and v1.
    Segment,
    /// Snowplow e-commerce events, as trackers send them or enriched.
    Snowplow,
    /// Rows of columns, named by `--columns`.
    Csv,
    /// Rows of the Online Retail set of the UCI repository.
    OnlineRetail,
    /// Rows of the REES46 shops' event logs.
    Rees46,
    /// A basket a line, item numbers between blanks, as in the FIMI repository.
    Fimi,
}

impl Format {
    /// Every format.
    pub const ALL: &[Format] = &[
        Format::Json,
        Format::Ga4,
        Format::Segment,
        Format::Snowplow,
        Format::Csv,
        Format::OnlineRetail,
        Format::Rees46,
        Format::Fimi,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Ga4 => "ga4",
            Format::Segment => "segment",
            Format::Snowplow => "snowplow",
            Format::Csv => "csv",
            Format::OnlineRetail => "online-retail",
            Format::Rees46 => "rees46",
            Format::Fimi => "fimi",
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Format, FormatError> {
        if name == "cloudevents" {
            return Err(FormatError::Envelope);
        }
        let found = Format::ALL.iter().find(|format| format.name() == name);
        found.copied().ok_or_else(|| FormatError::UnknownFormat(name.into()))
    }
}

/// Which of a record's ids makes the basket (`--basket`). `docs/formats.md` has the field of each format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BasketField {
    /// The id that is most used in the format.
    Auto,
    /// What was bought together.
    Order,
    /// What lay in one cart.
    Cart,
    /// What one visit touched.
    Session,
    /// What one user touched, over all visits.
    User,
    /// What the records of one key touched.
    Key,
}

impl BasketField {
    /// Every choice.
    pub const ALL: &[BasketField] = &[
        BasketField::Auto,
        BasketField::Order,
        BasketField::Cart,
        BasketField::Session,
        BasketField::User,
        BasketField::Key,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BasketField::Auto => "auto",
            BasketField::Order => "order",
            BasketField::Cart => "cart",
            BasketField::Session => "session",
            BasketField::User => "user",
            BasketField::Key => "key",
        }
    }

    /// Whether the basket is an order or a cart, whose id does not depend on who the visitor is.
    pub(super) fn is_of_a_purchase(self) -> bool {
        matches!(self, BasketField::Order | BasketField::Cart)
    }

    /// What an event of `kind` is in a shop's stream that has no id for this basket: carts do not know the order they
    /// will become, and orders often not the cart they came from.
    pub(super) fn without(self, kind: Kind) -> WithoutBasket {
        let is_foreign = match self {
            BasketField::Order => matches!(kind, Kind::Add | Kind::Remove | Kind::Set | Kind::Clear),
            BasketField::Cart => matches!(kind, Kind::Purchase | Kind::Refund | Kind::Cancel | Kind::Update),
            BasketField::Auto | BasketField::Session | BasketField::User | BasketField::Key => false,
        };
        if is_foreign { WithoutBasket::Other } else { WithoutBasket::Reject }
    }
}

impl FromStr for BasketField {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<BasketField, FormatError> {
        let found = BasketField::ALL.iter().find(|basket| basket.name() == name);
        found.copied().ok_or_else(|| FormatError::UnknownBasket(name.into()))
    }
}

/// Where a column is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// Under this name in the header.
    Name(String),
    /// At this position, from 0.
    Position(usize),
}

/// Which column of a row holds what (`--columns basket=InvoiceNo,item=StockCode,quantity=#4`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The basket's id.
    pub basket: Option<Column>,
    /// The item's id.
    pub item: Option<Column>,
    /// How many; one without such a column, or where it is empty.
    pub quantity: Option<Column>,
    /// When it happened.
    pub time: Option<Column>,
    /// The user's id.
    pub user: Option<Column>,
    /// The event's name; every row is an add without such a column.
    pub event: Option<Column>,
    /// The event's id, by which duplicates are found.
    pub id: Option<Column>,
}

impl Columns {
    /// As it may be typed.
    fn text(&self) -> String {
        let Columns { basket, item, quantity, time, user, event, id } = self;
        let all = [
            ("basket", basket),
            ("item", item),
            ("quantity", quantity),
            ("time", time),
            ("user", user),
            ("event", event),
            ("id", id),
        ];
        let named = all.into_iter().filter_map(|(field, column)| {
            Some(match column.as_ref()? {
                Column::Name(name) => format!("{field}={name}"),
                Column::Position(position) => format!("{field}=#{}", position + 1),
            })
        });
        named.collect::<Vec<_>>().join(",")
    }
}

impl FromStr for Columns {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Columns, FormatError> {
        let mut columns = Columns::default();
        for part in text.split(',') {
            let bad = || FormatError::BadColumn(part.into());
            let (field, name) = part.split_once('=').ok_or_else(bad)?;
            let column = match name.strip_prefix('#').map(usize::from_str) {
                Some(Ok(position)) => Column::Position(position.checked_sub(1).ok_or_else(bad)?),
                _ if name.is_empty() => return Err(bad()),
                _ => Column::Name(name.into()),
            };
            let place = match field.trim() {
                "basket" => &mut columns.basket,
                "item" => &mut columns.item,
                "quantity" => &mut columns.quantity,
                "time" => &mut columns.time,
                "user" => &mut columns.user,
                "event" => &mut columns.event,
                "id" => &mut columns.id,
                _ => return Err(bad()),
            };
            if place.replace(column).is_some() {
                return Err(bad());
            }
        }
        Ok(columns)
    }
}

/// A shop's own names for kinds of events (`--event-names add=cart,remove=remove_from_cart,other=*`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventNames {
    /// Names with their kinds; each name at most once.
    pub(super) names: Vec<(String, Kind)>,
    /// Every name that is not listed, here or by the format, is of a kind that does not concern carts.
    pub(super) others: bool,
}

impl FromStr for EventNames {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<EventNames, FormatError> {
        let mut event_names = EventNames::default();
        for part in text.split(',') {
            let bad = || FormatError::BadEventName(part.into());
            let (kind, name) = part.split_once('=').ok_or_else(bad)?;
            let kind = Kind::named(kind.trim()).ok_or_else(bad)?;
            let is_known = event_names.names.iter().any(|(known, _)| known == name);
            match name {
                "" => return Err(bad()),
                "*" if kind == Kind::Other => event_names.others = true,
                "*" => return Err(bad()),
                _ if is_known => return Err(bad()),
                _ => event_names.names.push((name.into(), kind)),
            }
        }
        Ok(event_names)
    }
}

/// What stands between the columns of a row (`--delimiter`); a comma by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiter(pub(super) u8);

impl Default for Delimiter {
    fn default() -> Delimiter {
        Delimiter(b',')
    }
}

impl FromStr for Delimiter {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Delimiter, FormatError> {
        match text.as_bytes() {
            b"tab" | b"\\t" => Ok(Delimiter(b'\t')),
            &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Ok(Delimiter(byte)),
            _ => Err(FormatError::BadDelimiter(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_records_mean_is_said_in_one_way() {
        let mut options = DecodeOptions::new(Format::Csv);
        options.columns = "item=sku,basket=#2,id=row id".parse().unwrap();
        options.event_names = "remove=out,add=in,other=*".parse().unwrap();
        options.delimiter = "tab".parse().unwrap();
        let expected = [
            ("format", "csv"),
            ("basket", "auto"),
            ("columns", "basket=#2,item=sku,id=row id"),
            ("event-names", "add=in,other=*,remove=out"),
            ("delimiter", r"\t"),
        ];
        assert_eq!(options.meaning(), expected.map(|(flag, value)| (flag, value.to_owned())));
        let usual = DecodeOptions::new(Format::Json).meaning();
        assert_eq!(usual, [("format", "json".to_owned()), ("basket", "auto".to_owned())]);
    }
}
