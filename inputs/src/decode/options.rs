//! The settings of decoding as a person types them, and the decoder they make.

use super::baskets::Baskets;
use super::choices::{RepeatedOrders, Tombstones};
use super::columns::{Columns, Delimiter};
use super::csv::{Cells, Csv};
use super::duplicates::Duplicates;
use super::json::{Json, Shape};
use super::mapped::Mapped;
use super::nulls::NullWords;
use super::paths::FieldPaths;
use super::shops::{SHOPIFY, WOOCOMMERCE};
use super::sink::{Kind, WithoutBasket};
use super::time_format::TimeFormat;
use super::{Decoder, FormatDecoder, FormatError, FormatKind, Limits, presets};
use crate::file::{Framing, Tables};
use crate::registry::Registry;
use std::str::FromStr;

/// How the bytes of records become events. [`DecodeOptions::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct DecodeOptions {
    /// The shape of the records (`--format`).
    pub format: Format,
    /// What makes the basket (`--basket`).
    pub basket: Basket,
    /// Which column holds what (`--columns`); for [`Format::Csv`] only.
    pub columns: Columns,
    /// Where the fields of a JSON record are (`--fields`); for [`Format::Json`], and in place of those that the
    /// presets of shops have.
    pub fields: FieldPaths,
    /// The shop's own names for kinds of events (`--event-names`), beside those of the format.
    pub event_names: EventNames,
    /// What a record may hold at most.
    pub limits: Limits,
    /// Among how many event ids of its partition, back from the last, a repetition is found; 0 looks for none.
    pub duplicate_horizon: usize,
    /// What stands between the columns of a row (`--delimiter`); for [`Format::Csv`] and [`Format::Baskets`].
    pub delimiter: Delimiter,
    /// What becomes of a purchase that repeats an order (`--repeated-orders`).
    pub repeated_orders: RepeatedOrders,
    /// What a record without a value means (`--tombstones`).
    pub tombstones: Tombstones,
    /// Where the schemas of values are (`--schema-registry`); for the formats of JSON only.
    pub registry: Option<Registry>,
    /// The words that stand for nothing (`--null-words`), in tables and in fields by path.
    pub null_words: NullWords,
    /// How times are written (`--time-format`) in tables and in fields by path, beside the usual ways.
    pub time_format: Option<TimeFormat>,
    /// Whether views are events, because they are evidence (`--evidence view`), instead of being ignored and counted.
    pub views: bool,
}

impl DecodeOptions {
    /// The default of [`DecodeOptions::duplicate_horizon`]: minutes of a busy partition, about 10 MB of it.
    pub const DUPLICATE_HORIZON: usize = 100_000;

    /// The records of `format`, everything else as it is without a flag.
    pub fn new(format: Format) -> DecodeOptions {
        DecodeOptions {
            format,
            basket: Basket::default(),
            columns: Columns::default(),
            fields: FieldPaths::default(),
            event_names: EventNames::default(),
            limits: Limits::default(),
            duplicate_horizon: DecodeOptions::DUPLICATE_HORIZON,
            delimiter: Delimiter::default(),
            repeated_orders: RepeatedOrders::Auto,
            tombstones: Tombstones::Reject,
            registry: None,
            null_words: NullWords::default(),
            time_format: None,
            views: false,
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
        let takes_fields = matches!(self.format, Format::Json | Format::Shopify | Format::WooCommerce);
        if !takes_fields && self.fields != FieldPaths::default() {
            return Err(FormatError::FieldsWithoutJson { format: self.format });
        }
        let format = match self.format {
            Format::Json if self.fields == FieldPaths::default() => self.shape(Shape::Plain)?,
            Format::Json => self.mapped(Mapped::of_any(self)?),
            Format::Shopify => self.mapped(Mapped::of_shop(&SHOPIFY, self)?),
            Format::WooCommerce => self.mapped(Mapped::of_shop(&WOOCOMMERCE, self)?),
            Format::Ga4 => self.shape(Shape::Ga4)?,
            Format::Segment => self.shape(Shape::Segment)?,
            Format::Snowplow => self.shape(Shape::Snowplow)?,
            Format::Csv => self.rows(presets::custom(&self.columns, &self.basket)?),
            Format::OnlineRetail => self.rows(presets::online_retail(&self.basket)?),
            Format::Rees46 => self.rows(presets::rees46(&self.basket)?),
            Format::Baskets | Format::Fimi if self.basket != Basket::default() => {
                return Err(self.basket_unknown("auto"));
            }
            Format::Baskets => {
                FormatKind::Baskets(Box::new(Baskets::new(self.csv_delimiter(), self.null_words.clone())))
            }
            Format::Fimi => FormatKind::Fimi,
        };
        let duplicates = Duplicates::new(self.duplicate_horizon);
        let (limits, tombstones, views) = (self.limits, self.tombstones, self.views);
        Ok(Box::new(FormatDecoder { format, limits, tombstones, views, duplicates }))
    }

    fn shape(&self, shape: Shape) -> Result<FormatKind, FormatError> {
        let Basket::Id(basket) = self.basket else {
            return Err(self.basket_unknown("one of them, or name the fields with --format json --fields"));
        };
        Ok(FormatKind::Json(Box::new(Json::new(shape, basket, self))))
    }

    fn mapped(&self, mapped: Mapped) -> FormatKind {
        let shape = Shape::Mapped(Box::new(mapped));
        FormatKind::Json(Box::new(Json::new(shape, BasketField::Auto, self)))
    }

    fn rows(&self, preset: presets::Preset) -> FormatKind {
        let cells = Cells { null_words: self.null_words.clone(), time_format: self.time_format.clone() };
        FormatKind::Csv(Box::new(Csv::new(preset, &self.event_names, self.csv_delimiter(), cells)))
    }

    pub(super) fn basket_unknown(&self, known: &'static str) -> FormatError {
        FormatError::BasketUnknown { format: self.format, basket: self.basket.clone(), known }
    }

    /// What ends a record in a file of this format.
    pub fn framing(&self) -> Framing {
        match self.format {
            Format::Csv | Format::OnlineRetail | Format::Rees46 | Format::Baskets => {
                Framing::Csv { delimiter: self.csv_delimiter().0 }
            }
            Format::Json
            | Format::Shopify
            | Format::WooCommerce
            | Format::Ga4
            | Format::Segment
            | Format::Snowplow => Framing::Json,
            Format::Fimi => Framing::Lines,
        }
    }

    /// What the rows of a table become in this format.
    pub fn tables(&self) -> Tables {
        match (self.format, self.framing()) {
            (Format::Baskets, _) | (_, Framing::Lines) => Tables::Refused,
            (_, Framing::Json) => Tables::Json,
            (Format::Csv, Framing::Csv { delimiter }) => {
                let has_header = self.decoder().is_ok_and(|decoder| decoder.needs_header());
                Tables::Csv { delimiter, has_header }
            }
            (_, Framing::Csv { delimiter }) => Tables::Csv { delimiter, has_header: true },
        }
    }

    /// The presets are files as they were published, with commas.
    fn csv_delimiter(&self) -> Delimiter {
        if matches!(self.format, Format::Csv | Format::Baskets) {
            self.delimiter
        } else {
            Delimiter::default()
        }
    }

    /// Whether records of this format can say when they happened.
    pub fn has_times(&self) -> bool {
        match self.format {
            Format::Csv => self.columns.time.is_some(),
            Format::Json if self.fields != FieldPaths::default() => self.fields.has_time(),
            Format::Baskets | Format::Fimi => false,
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
            ("basket", self.basket.text()),
            ("columns", self.columns.text()),
            ("fields", self.fields.text().to_owned()),
            ("event-names", events.join(",")),
            (
                "delimiter",
                if self.csv_delimiter() == Delimiter::default() { String::new() } else { delimiter },
            ),
            ("repeated-orders", unless(self.repeated_orders.name(), "auto")),
            ("tombstones", unless(self.tombstones.name(), "reject")),
            ("quantity-decimals", unless(&self.limits.quantity_decimals.to_string(), "0")),
            ("schema-registry", unless(if self.registry.is_some() { "yes" } else { "no" }, "no")),
            ("null-words", unless(&self.null_words.text(), &NullWords::default().text())),
            ("time-format", self.time_format.as_ref().map_or_else(String::new, |it| it.text().to_owned())),
        ];
        all.into_iter().filter(|(_flag, value)| !value.is_empty()).collect()
    }
}

/// The shape of records (`--format`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Plain JSON, one event a record, of one or many items.
    Json,
    /// Shopify's orders, as its webhooks send them.
    Shopify,
    /// WooCommerce's orders, as its webhooks send them.
    WooCommerce,
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
    /// A basket a line, any ids between delimiters.
    Baskets,
    /// A basket a line, item numbers between blanks, as in the FIMI repository.
    Fimi,
}

impl Format {
    /// Every format.
    pub const ALL: &[Format] = &[
        Format::Json,
        Format::Shopify,
        Format::WooCommerce,
        Format::Ga4,
        Format::Segment,
        Format::Snowplow,
        Format::Csv,
        Format::OnlineRetail,
        Format::Rees46,
        Format::Baskets,
        Format::Fimi,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Shopify => "shopify",
            Format::WooCommerce => "woocommerce",
            Format::Ga4 => "ga4",
            Format::Segment => "segment",
            Format::Snowplow => "snowplow",
            Format::Csv => "csv",
            Format::OnlineRetail => "online-retail",
            Format::Rees46 => "rees46",
            Format::Baskets => "baskets",
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
    /// will become, orders often not the cart they came from, and views neither.
    pub(super) fn without(self, kind: Kind) -> WithoutBasket {
        let is_foreign = match self {
            BasketField::Order => {
                matches!(kind, Kind::View | Kind::Add | Kind::Remove | Kind::Set | Kind::Clear)
            }
            BasketField::Cart => {
                matches!(kind, Kind::View | Kind::Purchase | Kind::Refund | Kind::Cancel | Kind::Update)
            }
            BasketField::Auto => kind == Kind::View,
            BasketField::Session | BasketField::User | BasketField::Key => false,
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

/// What makes the basket (`--basket`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basket {
    /// One of the ids that records have.
    Id(BasketField),
    /// Several columns, or fields by path, together: `member+date`.
    Joined(Vec<String>),
}

impl Basket {
    /// As it may be typed.
    pub(super) fn text(&self) -> String {
        match self {
            Basket::Id(field) => field.name().to_owned(),
            Basket::Joined(parts) => parts.join("+"),
        }
    }
}

impl Default for Basket {
    fn default() -> Basket {
        Basket::Id(BasketField::Auto)
    }
}

impl FromStr for Basket {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Basket, FormatError> {
        if !text.contains('+') {
            return text.parse().map(Basket::Id);
        }
        let parts: Vec<String> = text.split('+').map(str::to_owned).collect();
        if parts.iter().any(String::is_empty) {
            return Err(FormatError::UnknownBasket(text.to_owned()));
        }
        Ok(Basket::Joined(parts))
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
