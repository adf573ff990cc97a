//! Times in a way of their own, as a person describes it.

use super::fields::Field;
use super::times::since_1970;
use super::{FormatError, Limits, Reject};
use deltacart_dataflows::Millis;
use jiff::Timestamp;
use jiff::fmt::strtime::{self, BrokenDownTime};
use std::str::FromStr;

/// How times are written that are neither RFC 3339 nor numbers (`--time-format '%d.%m.%Y %H:%M'`), in the letters of
/// `strftime`. Without an offset it is UTC, without a clock midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat(String);

impl TimeFormat {
    /// As spreadsheets of the United States write them. Not checked: it is known to be a format.
    pub(super) fn month_first() -> TimeFormat {
        TimeFormat("%m/%d/%Y %H:%M".to_owned())
    }

    /// As it was typed.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Milliseconds since 1970.
    pub(super) fn read(&self, text: &str) -> Option<i64> {
        let time = strtime::parse(&self.0, text).ok()?;
        match time.offset() {
            Some(_) => Some(time.to_timestamp().ok()?.as_millisecond()),
            None => since_1970(time.to_datetime().ok()?),
        }
    }
}

impl Limits {
    /// A time as text: in the user's `own` way if there is one and it is that; in a usual way; or in the `other` way
    /// that a file of this kind has.
    pub(super) fn time_text_in(
        &self,
        field: Field<'_>,
        text: &str,
        own: Option<&TimeFormat>,
        other: Option<&TimeFormat>,
    ) -> Result<Millis, Reject> {
        // First, since a day without signs between its parts (20101201) is also a number.
        if let Some(ms) = own.and_then(|format| format.read(text)) {
            return self.checked(field, text, Some(ms));
        }
        self.time_text(field, text).or_else(|reject| match other.and_then(|format| format.read(text)) {
            Some(ms) => self.checked(field, text, Some(ms)),
            None => Err(reject),
        })
    }
}

impl FromStr for TimeFormat {
    type Err = FormatError;

    /// A format that says which day it is.
    fn from_str(text: &str) -> Result<TimeFormat, FormatError> {
        let format = TimeFormat(text.to_owned());
        let sample = BrokenDownTime::from(Timestamp::constant(1_769_860_800, 0));
        let written = sample.to_string(text).ok();
        match written.and_then(|written| format.read(&written)) {
            Some(_) => Ok(format),
            None => Err(FormatError::BadTimeFormat(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_described() {
        for (format, text, ms) in [
            ("%m/%d/%Y %H:%M", "12/1/2010 8:26", Some(1_291_191_960_000)),
            ("%m/%d/%Y %H:%M", "12/01/2010 08:26", Some(1_291_191_960_000)),
            ("%d.%m.%Y %H:%M:%S", "01.12.2010 08:26:00", Some(1_291_191_960_000)),
            ("%Y%m%d", "20101201", Some(1_291_161_600_000)),
            ("%d/%b/%Y:%H:%M:%S %z", "01/Dec/2010:09:26:00 +0100", Some(1_291_191_960_000)),
            ("%m/%d/%Y %H:%M", "13/1/2010 8:26", None),
            ("%m/%d/%Y %H:%M", "2/30/2010 8:26", None),
            ("%m/%d/%Y %H:%M", "12/1/2010 8:26 pm", None),
            ("%m/%d/%Y %H:%M", "", None),
        ] {
            assert_eq!(format.parse::<TimeFormat>().unwrap().read(text), ms, "{format}: {text}");
        }
        assert_eq!(TimeFormat::month_first().text().parse(), Ok(TimeFormat::month_first()));
        for format in ["", "noon", "%H:%M", "%Y-%m", "%Y-%m-%d %", "%!"] {
            assert!(format.parse::<TimeFormat>().is_err(), "{format}");
        }
    }
}
