//! Values of flags: how each is parsed from the text typed, and the message if it cannot be.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command, ValueEnum};
use deltacart_inputs::{Basket, BasketField, Format};
use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;

/// A parser for one of `names`. The help lists them, the shell completes them, and an error suggests the nearest.
pub(super) fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    typed(names.into_iter().map(PossibleValue::new))
}

/// A parser for the name of a format. `cloudevents` is no format, but is parsed to an error with a hint of its own.
pub(super) fn format_name() -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.iter().map(|format| PossibleValue::new(format.name()));
    typed(names.chain([PossibleValue::new("cloudevents").hide(true)]))
}

fn typed<T>(names: impl Iterator<Item = PossibleValue>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| name.parse::<T>().map_err(|error| error.to_string()))
}

/// A parser for what identifies a basket: the name of an id, which is suggested and completed, or several columns,
/// such as `member+date`.
#[derive(Clone)]
pub(super) struct BasketName;

impl TypedValueParser for BasketName {
    type Value = Basket;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Basket, clap::Error> {
        match value.to_str().map(str::parse) {
            Some(Ok(basket)) => Ok(basket),
            _ => one_of(id_names()).parse_ref(cmd, arg, value),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(id_names().map(PossibleValue::new)))
    }
}

/// The names of the ids that can identify a basket.
fn id_names() -> impl Iterator<Item = &'static str> {
    BasketField::ALL.iter().map(|basket| basket.name())
}

/// Parses a whole number. The least is 1 where `T` has no 0.
pub(super) fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse::<T>().map_err(|_| match text.parse::<u128>() {
        Ok(0) => "it must be at least 1".to_owned(),
        Ok(_) => "it is too large".to_owned(),
        Err(_) => "want a whole number".to_owned(),
    })
}

/// Parses a number.
pub(super) fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "want a number, such as 0.5".to_owned())
}

/// A source or a destination, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A topic, typed `kafka:TOPIC`.
    Topic(String),
    /// The path of a file, or `-` for standard input or output.
    File(String),
}

impl Place {
    /// The name of the topic. `None` for a file.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Place::Topic(name) => Some(name),
            Place::File(_) => None,
        }
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.strip_prefix("kafka:"), scheme(text)) {
            (Some(""), _) => Err("kafka: wants the name of a topic behind it".to_owned()),
            (Some(topic), _) => Ok(Place::Topic(topic.to_owned())),
            (None, Some(scheme)) => Err(format!(
                "{scheme}: is no kind of place: a topic is kafka:TOPIC, a file is its path (with a colon in its name, \
                 ./{text})"
            )),
            (None, None) if text.is_empty() => {
                Err("a file has a name; - is standard input or output".to_owned())
            }
            (None, None) => Ok(Place::File(text.to_owned())),
        }
    }
}

/// The text before a colon, if it looks like a scheme, as in `s3:` or `kafak:`.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let is_word =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'));
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && is_word(scheme)).then_some(scheme)
}

/// An address to listen at: `host:port`, or a port of loopback alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(pub String);

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text.parse::<u16>().is_ok() { format!("127.0.0.1:{text}") } else { text.to_owned() };
        let port = text.rsplit_once(':').filter(|(host, _port)| !host.is_empty()).map(|(_host, port)| port);
        match port.and_then(|port| port.parse::<u16>().ok()) {
            Some(_) => Ok(Listen(text)),
            None => Err("want host:port or a port, such as 0.0.0.0:9464 or 9464".to_owned()),
        }
    }
}

/// A duration above 0, such as 50ms or 10s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub std::time::Duration);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.parse::<jiff::SignedDuration>().ok();
        let span = span.and_then(|span| std::time::Duration::try_from(span).ok());
        span.filter(|span| !span.is_zero())
            .map(Time)
            .ok_or_else(|| "want a time such as 50ms, 10s or 5m".to_owned())
    }
}

/// A period after which something happens again. `0` means never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Option<std::time::Duration>);

impl std::str::FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" | "0s" => Ok(Period(None)),
            _ => text.parse().map(|Time(span)| Period(Some(span))),
        }
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// On.
    On,
    /// Off.
    Off,
}

/// How often a record arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeliveryKind {
    /// Once.
    ExactlyOnce,
    /// Some of them again after a crash.
    AtLeastOnce,
}
