//! An `--input` as typed: `kafka:orders`, or with settings of its own, `kafka:orders#csv&columns=basket=#1,item=#2`.

use super::Place;
use deltacart_inputs::Format;
use std::fmt;
use std::str::FromStr;

/// The flags that an input may set for itself, by their names without `--`.
pub const OWN_SETTINGS: [&str; 8] =
    ["format", "basket", "columns", "fields", "event-names", "delimiter", "repeated-orders", "tombstones"];

/// A source of events, with the settings of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputArg {
    /// The topic or the file.
    pub place: Place,
    /// Names of [`OWN_SETTINGS`] with their values as typed.
    pub settings: Vec<(&'static str, String)>,
}

impl FromStr for InputArg {
    type Err = String;

    /// Parses a place and the settings behind `#`.
    ///
    /// No topic has a `#` in its name, but a file may. There, the text behind a `#` is settings only if it parses as
    /// settings.
    fn from_str(text: &str) -> Result<Self, String> {
        let bare = |text: &str| Ok(InputArg { place: text.parse()?, settings: Vec::new() });
        let with = |place: &str, settings| Ok(InputArg { place: place.parse()?, settings });
        if text.starts_with("kafka:") {
            return match text.split_once('#') {
                Some((place, rest)) => with(place, settings(rest)?),
                None => bare(text),
            };
        }
        let marks = text.match_indices('#').map(|(at, _)| (&text[..at], &text[at + 1..]));
        let found = marks.filter_map(|(place, rest)| Some((place, settings(rest).ok()?))).next();
        found.map_or_else(|| bare(text), |(place, settings)| with(place, settings))
    }
}

/// Parses settings that `&` separates. Each is `NAME=VALUE`; the first may be the name of a format alone.
fn settings(text: &str) -> Result<Vec<(&'static str, String)>, String> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (index, part) in text.split('&').enumerate() {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name, value),
            None if index == 0 => ("format", part),
            None => return Err(format!("{part:?} is no setting: want NAME=VALUE, with {}", names())),
        };
        if name == "format" {
            value.parse::<Format>().map_err(|error| error.to_string())?;
        }
        let known = OWN_SETTINGS.into_iter().find(|known| *known == name);
        let name = known.ok_or_else(|| format!("an input has no {name:?} of its own, but {}", names()))?;
        if found.iter().any(|(known, _value)| *known == name) {
            return Err(format!("{name} is there twice"));
        }
        found.push((name, value.to_owned()));
    }
    Ok(found)
}

fn names() -> String {
    OWN_SETTINGS.join(", ")
}

impl fmt::Display for InputArg {
    /// Writes the input as it is typed.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Topic(topic) => write!(formatter, "kafka:{topic}")?,
            Place::File(path) => write!(formatter, "{path}")?,
        }
        for (index, (name, value)) in self.settings.iter().enumerate() {
            write!(formatter, "{}{name}={value}", if index == 0 { '#' } else { '&' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> InputArg {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_stands_behind_the_mark() {
        let topic = |name: &str| Place::Topic(name.to_owned());
        let file = |path: &str| Place::File(path.to_owned());
        let cases = [
            ("kafka:carts", topic("carts"), vec![]),
            ("kafka:carts#ga4", topic("carts"), vec![("format", "ga4")]),
            ("kafka:carts#format=ga4", topic("carts"), vec![("format", "ga4")]),
            ("kafka:carts#basket=user", topic("carts"), vec![("basket", "user")]),
            (
                "kafka:c#csv&columns=basket=#1,item=#2&delimiter=;",
                topic("c"),
                vec![("format", "csv"), ("columns", "basket=#1,item=#2"), ("delimiter", ";")],
            ),
            (
                "-#csv&columns=basket=a,item=b",
                file("-"),
                vec![("format", "csv"), ("columns", "basket=a,item=b")],
            ),
            (
                "a.csv#csv&columns=basket=#1,item=#2",
                file("a.csv"),
                vec![("format", "csv"), ("columns", "basket=#1,item=#2")],
            ),
            // Files whose names contain `#`.
            ("day#1.csv", file("day#1.csv"), vec![]),
            ("day#1.csv#csv", file("day#1.csv"), vec![("format", "csv")]),
            ("#json#json", file("#json"), vec![("format", "json")]),
            ("a#color=red", file("a#color=red"), vec![]),
        ];
        for (text, place, settings) in cases {
            let settings = settings.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
            let expected = InputArg { place, settings };
            assert_eq!(read(text), expected, "{text}");
            assert_eq!(read(&expected.to_string()), expected, "{text} as it is shown");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, says) in [
            ("kafka:carts#", "unknown format \"\""),
            ("kafka:carts#gq4", "unknown format \"gq4\""),
            ("kafka:carts#ga4&user", "\"user\" is no setting"),
            ("kafka:carts#top-k=3", "no \"top-k\" of its own, but format, basket"),
            ("kafka:carts#csv&format=json", "format is there twice"),
            ("kafka:#json", "wants the name of a topic"),
        ] {
            let error = text.parse::<InputArg>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
