//! Ids, quantities and times as they are written, checked.
//!
//! JSON fields arrive as [`Raw`]: the token as it stands in the record, so that a number used as an id keeps its
//! decimal text, and nothing is copied that is not used.

use super::reject::quoted;
use super::{Limits, Reason, Reject};
use deltacart_dataflows::Millis;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A JSON field as it stands in the record; absent when it is missing or null.
pub(super) type Raw<'a> = Option<&'a RawValue>;

/// Where something stands in a record, for the details of rejects.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// The list it is in, and its place there from 0.
    list: Option<(&'a str, usize)>,
    name: &'a str,
}

impl<'a> Field<'a> {
    pub(super) const fn named(name: &'a str) -> Field<'a> {
        Field { list: None, name }
    }

    pub(super) const fn listed(list: &'a str, place: usize, name: &'a str) -> Field<'a> {
        Field { list: Some((list, place)), name }
    }

    fn reject(self, reason: Reason, what: impl fmt::Display) -> Reject {
        Reject::new(reason, format_args!("{self}: {what}"))
    }

    /// The reject of a field that holds a token of another type.
    pub(super) fn wrong_type(self, raw: &RawValue, wanted: &str) -> Reject {
        self.reject(Reason::WrongType, format_args!("{} is not {wanted}", quoted(raw.get())))
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((list, place)) = self.list {
            write!(f, "{list}[{place}].")?;
        }
        f.write_str(self.name)
    }
}

/// The text of a JSON string; `None` for a token that is no string. Nothing is copied unless it has escapes.
pub(super) fn text<'a>(field: Field<'_>, raw: &'a RawValue) -> Result<Option<Cow<'a, str>>, Reject> {
    let Some(inner) = raw.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Ok(None);
    };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    // Half of a surrogate pair passes as a token but is not text.
    let unescaped = serde_json::from_str(raw.get())
        .map_err(|_| field.reject(Reason::Malformed, format_args!("{} is no text", quoted(raw.get()))))?;
    Ok(Some(Cow::Owned(unescaped)))
}

/// The text of a field that must be a string, such as the name of an event.
pub(super) fn string<'a>(field: Field<'_>, raw: Raw<'a>) -> Result<Option<Cow<'a, str>>, Reject> {
    let Some(raw) = raw else { return Ok(None) };
    text(field, raw)?.map(Some).ok_or_else(|| field.wrong_type(raw, "a string"))
}

impl Limits {
    /// An id: a string, or an integer with its decimal text.
    pub(super) fn id<'a>(&self, field: Field<'_>, raw: Raw<'a>) -> Result<Option<Cow<'a, str>>, Reject> {
        let Some(raw) = raw else { return Ok(None) };
        if let Some(text) = text(field, raw)? {
            return self.id_text(field, text).map(Some);
        }
        let token = raw.get();
        if !token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err(field.wrong_type(raw, "a string or an integer"));
        }
        let digits = token.strip_prefix('-').unwrap_or(token);
        // -0 and fractions have several spellings of the same number: as ids they would be a guess.
        if token == "-0" || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(field.reject(Reason::BadId, format_args!("{} is no integer", quoted(token))));
        }
        self.id_text(field, Cow::Borrowed(token)).map(Some)
    }

    /// An id as text: neither empty nor too long; any characters.
    pub(super) fn id_text<'a>(&self, field: Field<'_>, text: Cow<'a, str>) -> Result<Cow<'a, str>, Reject> {
        if text.is_empty() {
            return Err(field.reject(Reason::BadId, "the id is empty"));
        }
        if text.len() > self.id_bytes_max {
            let what = format!("{} is longer than {} bytes", quoted(&text), self.id_bytes_max);
            return Err(field.reject(Reason::IdTooLong, what));
        }
        Ok(text)
    }

    /// A quantity that must be a JSON number.
    pub(super) fn quantity(&self, field: Field<'_>, raw: Raw<'_>) -> Result<Option<i64>, Reject> {
        let Some(raw) = raw else { return Ok(None) };
        if !raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err(field.wrong_type(raw, "a number"));
        }
        self.quantity_text(field, raw.get()).map(Some)
    }

    /// A quantity that may also be a string, as exporters write 64-bit integers.
    pub(super) fn quantity_or_text(&self, field: Field<'_>, raw: Raw<'_>) -> Result<Option<i64>, Reject> {
        match raw.map(|raw| text(field, raw)).transpose()?.flatten() {
            Some(text) => self.quantity_text(field, &text).map(Some),
            None => self.quantity(field, raw),
        }
    }

    /// A quantity as text: an integer, also one written with an empty fraction (`6.0`).
    pub(super) fn quantity_text(&self, field: Field<'_>, text: &str) -> Result<i64, Reject> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = whole.strip_prefix('-').unwrap_or(whole);
        let is_integer = !digits.is_empty()
            && !fraction.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && fraction.bytes().all(|b| b == b'0');
        let is_negative_zero = whole.starts_with('-') && digits.bytes().all(|b| b == b'0');
        if !is_integer || is_negative_zero {
            return Err(field.reject(Reason::BadQuantity, format_args!("{} is no integer", quoted(text))));
        }
        match whole.parse::<i64>() {
            Ok(quantity) if quantity.unsigned_abs() <= u64::from(self.quantity_max) => Ok(quantity),
            _ => {
                let what = format!("{} is beyond {}", quoted(text), self.quantity_max);
                Err(field.reject(Reason::QuantityOutOfRange, what))
            }
        }
    }

    /// A time, if there is one: a string as [`Limits::time_text`] takes it, or a number of `unit`s since 1970.
    pub(super) fn time(&self, field: Field<'_>, raw: Raw<'_>, unit: TimeUnit) -> Result<Millis, Reject> {
        let Some(raw) = raw else { return Ok(0) };
        match text(field, raw)? {
            Some(text) => self.time_text(field, &text, unit),
            None if raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                self.time_text(field, raw.get(), unit)
            }
            None => Err(field.wrong_type(raw, "a time")),
        }
    }

    /// A time as text: RFC 3339, also with a blank for the T, and UTC where no zone is given or where it is
    /// named so; or a whole number of `unit`s since 1970.
    pub(super) fn time_text(&self, field: Field<'_>, text: &str, unit: TimeUnit) -> Result<Millis, Reject> {
        let is_number = text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit());
        let ms = if is_number && text != "-0" && !text.is_empty() {
            // Beyond 64 bits is out of range whatever the unit.
            text.parse::<i64>().map(|number| unit.ms(number)).unwrap_or(i64::MAX)
        } else {
            let bad = || field.reject(Reason::BadTime, format_args!("{} is no time", quoted(text)));
            parse_rfc3339(text).ok_or_else(bad)?
        };
        if let (true, Ok(ms)) = ((self.time_ms_min..=self.time_ms_max).contains(&ms), Millis::try_from(ms)) {
            return Ok(ms);
        }
        Err(field.reject(Reason::TimeOutOfRange, format_args!("{} is out of range", quoted(text))))
    }
}

/// What a time that is a bare number counts.
#[derive(Clone, Copy)]
pub(super) enum TimeUnit {
    Milliseconds,
    Microseconds,
}

impl TimeUnit {
    fn ms(self, number: i64) -> i64 {
        match self {
            TimeUnit::Milliseconds => number,
            // Rounded down, so that a microsecond before 1970 is before 1970.
            TimeUnit::Microseconds => number.div_euclid(1000),
        }
    }
}

/// Milliseconds since 1970.
fn parse_rfc3339(text: &str) -> Option<i64> {
    // The shortest date has ten bytes; what is behind it says whether an offset is given.
    let clock = text.get(10..)?;
    if clock.contains(['+', '-']) {
        return Some(text.parse::<Timestamp>().ok()?.as_millisecond());
    }
    let civil = text.strip_suffix(['Z', 'z']).or(text.strip_suffix(" UTC")).unwrap_or(text);
    let since = civil.parse::<DateTime>().ok()?.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_good_bad_and_nearly_good() {
        let limits = Limits::default();
        let check = |text: &str| limits.time_text(Field::named("time"), text, TimeUnit::Milliseconds);
        for (good, ms) in [
            ("2026-01-31T12:00:00Z", 1_769_860_800_000),
            ("2026-01-31t12:00:00z", 1_769_860_800_000),
            ("2026-01-31T12:00:00.123456789+05:30", 1_769_841_000_123),
            ("2026-01-31 12:00:00", 1_769_860_800_000),
            ("2026-01-31 12:00:00 UTC", 1_769_860_800_000),
            ("2026-01-31", 1_769_817_600_000),
            ("1970-01-01T00:00:00Z", 0),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("0", 0),
            ("1769860800000", 1_769_860_800_000),
        ] {
            assert_eq!(check(good), Ok(ms), "{good}");
        }
        for (bad, reason) in [
            ("", Reason::BadTime),
            ("-0", Reason::BadTime),
            ("1e12", Reason::BadTime),
            ("1769860800000.5", Reason::BadTime),
            ("NaN", Reason::BadTime),
            ("yesterday", Reason::BadTime),
            ("2026-02-30T00:00:00Z", Reason::BadTime),
            ("2026-01-31T25:00:00Z", Reason::BadTime),
            ("31/01/2026 12:00:00", Reason::BadTime),
            ("2026-01-31 12:00:00 CET", Reason::BadTime),
            ("äöüäöüäöü", Reason::BadTime),
            ("-1", Reason::TimeOutOfRange),
            ("1969-12-31T23:59:59Z", Reason::TimeOutOfRange),
            ("253402300800000", Reason::TimeOutOfRange),
            ("99999999999999999999999", Reason::TimeOutOfRange),
        ] {
            assert_eq!(check(bad).map_err(|reject| reject.reason), Err(reason), "{bad}");
        }
        let micros = |text: &str| limits.time_text(Field::named("time"), text, TimeUnit::Microseconds);
        assert_eq!(micros("253402300799999999"), Ok(253_402_300_799_999));
        assert!(micros("-1").is_err() && micros("253402300800000000").is_err());
    }

    #[test]
    fn quantities_good_bad_and_nearly_good() {
        let limits = Limits::default();
        let check =
            |text: &str| limits.quantity_text(Field::named("quantity"), text).map_err(|reject| reject.reason);
        for (good, quantity) in
            [("0", 0), ("1", 1), ("6.0", 6), ("-12", -12), ("1000000", 1_000_000), ("007", 7)]
        {
            assert_eq!(check(good), Ok(quantity), "{good}");
        }
        for bad in
            ["", "-", "-0", "-0.0", "1.5", "1.", ".5", "1e3", "+1", "NaN", "inf", "0x10", " 1", "1,000", "½"]
        {
            assert_eq!(check(bad), Err(Reason::BadQuantity), "{bad}");
        }
        for far in
            ["1000001", "-1000001", "9223372036854775807", "-9223372036854775808", "99999999999999999999"]
        {
            assert_eq!(check(far), Err(Reason::QuantityOutOfRange), "{far}");
        }
    }
}
