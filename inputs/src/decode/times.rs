//! Times as producers write them.
//!
//! | written | example |
//! |---|---|
//! | RFC 3339, also with a blank for the `T` or an offset without a colon | `2026-01-31T12:00:00+0100` |
//! | the same without a zone, or with ` UTC`: it is UTC | `2026-01-31 12:00:00.5` |
//! | a number, or the text of one; its size says what it counts | `1769860800.123` |
//! | a list from the year to the nanosecond, in UTC | `[2026,1,31,12,0,0]` |
//!
//! A number counts seconds since 1970 below 10^11, milliseconds below 10^14, microseconds below 10^17, and nanoseconds
//! above: no unit but one makes a time of this century of it.

use super::fields::{Field, Raw, text};
use super::reject::quoted;
use super::{Limits, Reason, Reject};
use deltacart_dataflows::Millis;
use jiff::Timestamp;
use jiff::civil::DateTime;

impl Limits {
    /// A time in JSON, if there is one. An empty text is none.
    pub(super) fn time(&self, field: Field<'_>, raw: Raw<'_>) -> Result<Option<Millis>, Reject> {
        let Some(raw) = raw else { return Ok(None) };
        let token = raw.get();
        match token.as_bytes().first() {
            Some(b'"') => {
                let text = text(field, raw)?.unwrap_or_default();
                if text.is_empty() { Ok(None) } else { self.time_text(field, &text).map(Some) }
            }
            Some(b'-' | b'0'..=b'9') => self.time_text(field, token).map(Some),
            Some(b'[') => self.checked(field, token, listed(token)).map(Some),
            _ => Err(field.reject(Reason::WrongType, format_args!("{} is no time", quoted(token)))),
        }
    }

    /// A time as text.
    pub(super) fn time_text(&self, field: Field<'_>, text: &str) -> Result<Millis, Reject> {
        let is_number =
            text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'e' | b'E' | b'+'));
        // Dates have digits and signs only, too.
        let ms = if is_number && !is_date(text) { counted(text) } else { written(text) };
        self.checked(field, text, ms)
    }

    /// The time of a record itself, in milliseconds since 1970.
    pub(super) fn record_time(&self, ms: i64) -> Result<Millis, Reject> {
        self.checked(Field::named("timestamp of the record"), &ms.to_string(), Some(ms))
    }

    pub(super) fn checked(&self, field: Field<'_>, text: &str, ms: Option<i64>) -> Result<Millis, Reject> {
        let bad = |what: &str| field.reject(Reason::WrongType, format_args!("{} {what}", quoted(text)));
        let ms = ms.ok_or_else(|| bad("is no time this job can read; RFC 3339 is safe"))?;
        let range = self.time_ms_min..=self.time_ms_max;
        let in_range = Millis::try_from(ms).ok().filter(|_| range.contains(&ms));
        in_range.ok_or_else(|| bad("is no time between 1970 and 9999"))
    }
}

/// Whether it begins as a date does: four digits and a sign.
fn is_date(text: &str) -> bool {
    matches!(text.as_bytes(), [y @ .., b'-', _, _, b'-', _, _] if y.len() == 4)
}

/// Milliseconds since 1970 of a number that counts from there, by its size. Beyond 64 bits is out of range.
fn counted(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() || !all_digits(digits) || !all_digits(fraction) || text.ends_with('.') {
        return exponential(text);
    }
    let number = digits.parse::<i64>().unwrap_or(i64::MAX);
    if whole.starts_with('-') {
        // No time before 1970 is in range, whatever the unit.
        return if number == 0 { None } else { Some(-1) };
    }
    Some(match number {
        0..100_000_000_000 => {
            let thousandths = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
            thousandths.fold(number, |ms, digit| ms * 10 + i64::from(digit - b'0'))
        }
        100_000_000_000..100_000_000_000_000 => number,
        100_000_000_000_000..100_000_000_000_000_000 => number / 1_000,
        _ => number / 1_000_000,
    })
}

/// A number as some producers print large ones: `1.7698608E9`.
fn exponential(text: &str) -> Option<i64> {
    if !text.contains(['e', 'E']) {
        return None;
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    // Exact: the times of this century have fewer than 53 bits in every unit but nanoseconds.
    if number.abs() < 1e18 { counted(&format!("{number:.3}")) } else { Some(i64::MAX) }
}

/// Milliseconds since 1970 of a date with or without a clock.
fn written(text: &str) -> Option<i64> {
    // The shortest date has ten bytes; what is behind it says whether an offset is given.
    let clock = text.get(10..)?;
    if clock.contains(['+', '-']) {
        return Some(text.parse::<Timestamp>().ok()?.as_millisecond());
    }
    let civil = text.strip_suffix(['Z', 'z']).or(text.strip_suffix(" UTC")).unwrap_or(text);
    since_1970(civil.parse::<DateTime>().ok()?)
}

/// Milliseconds since 1970 of a list from the year to the nanosecond, with at least a minute.
fn listed(token: &str) -> Option<i64> {
    let parts: Vec<i64> = serde_json::from_str(token).ok()?;
    let &[year, month, day, hour, minute, ref rest @ ..] = parts.as_slice() else { return None };
    let (second, nanosecond) = match *rest {
        [] => (0, 0),
        [second] => (second, 0),
        [second, nanosecond] => (second, nanosecond),
        _ => return None,
    };
    let small = |part: i64| i8::try_from(part).ok();
    let civil = DateTime::new(
        i16::try_from(year).ok()?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        i32::try_from(nanosecond).ok()?,
    );
    since_1970(civil.ok()?)
}

pub(super) fn since_1970(civil: DateTime) -> Option<i64> {
    let since = civil.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Millis = 1_769_860_800_000;

    fn read(json: &str) -> Result<Option<Millis>, String> {
        let raw: &serde_json::value::RawValue = serde_json::from_str(json).unwrap();
        Limits::default().time(Field::named("time"), Some(raw)).map_err(|reject| reject.detail)
    }

    #[test]
    fn times_that_can_be_read() {
        for (good, ms) in [
            (r#""2026-01-31T12:00:00Z""#, NOON),
            (r#""2026-01-31t12:00:00z""#, NOON),
            (r#""2026-01-31T12:00:00.123456789+05:30""#, 1_769_841_000_123),
            (r#""2026-01-31T12:00:00.000+0000""#, NOON),
            (r#""2026-01-31T12:00:00.000+0100""#, NOON - 3_600_000),
            (r#""2026-01-31 12:00:00.000+01""#, NOON - 3_600_000),
            (r#""2026-01-31T12:00:00+01:00[Europe/Berlin]""#, NOON - 3_600_000),
            (r#""2026-01-31 12:00:00""#, NOON),
            (r#""2026-01-31 12:00:00.5 UTC""#, NOON + 500),
            (r#""2026-01-31""#, 1_769_817_600_000),
            (r#""1970-01-01T00:00:00Z""#, 0),
            (r#""9999-12-31T23:59:59.999Z""#, 253_402_300_799_999),
            ("0", 0),
            // Seconds, milliseconds, microseconds and nanoseconds of the same moment.
            ("1769860800", NOON),
            ("1769860800.123000000", NOON + 123),
            ("1769860800.5", NOON + 500),
            ("1.7698608E9", NOON),
            ("1769860800000", NOON),
            ("1769860800000.5", NOON),
            ("1769860800000000", NOON),
            ("1769860800000000000", NOON),
            (r#""1769860800""#, NOON),
            (r#""1769860800000000""#, NOON),
            // The edges of the units.
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("99999999999999", 99_999_999_999_999),
            ("100000000000000", 100_000_000_000),
            ("99999999999999999", 99_999_999_999_999),
            ("100000000000000000", 100_000_000_000),
            ("[2026,1,31,12,0]", NOON),
            ("[2026,1,31,12,0,0]", NOON),
            ("[2026,1,31,12,0,0,123000000]", NOON + 123),
        ] {
            assert_eq!(read(good), Ok(Some(ms)), "{good}");
        }
        assert_eq!(read(r#""""#), Ok(None));
    }

    #[test]
    fn times_that_cannot_be_read_say_what_was_there() {
        for bad in [
            "-0",
            "true",
            "{}",
            "[]",
            "[2026,1,31]",
            "[2026,2,30,12,0]",
            "[2026,1,31,12,0,0,0,0]",
            "[2026,1,31,12,0,0.5]",
            r#"["2026"]"#,
            r#""NaN""#,
            r#""yesterday""#,
            r#""1e""#,
            r#"".""#,
            r#""5.""#,
            r#""2026-02-30T00:00:00Z""#,
            r#""2026-01-31T25:00:00Z""#,
            r#""31/01/2026 12:00:00""#,
            r#""2026-01-31 12:00:00 CET""#,
            r#""äöüäöüäöü""#,
        ] {
            assert!(read(bad).unwrap_err().starts_with("time: "), "{bad}");
        }
        for far in ["-1", "-1769860800", r#""1969-12-31T23:59:59Z""#, "1e400", "1e30", "[1969,12,31,23,59]"] {
            let detail = read(far).unwrap_err();
            assert!(detail.contains("is no time"), "{far}: {detail}");
        }
        assert!(read("-1").unwrap_err().contains("between 1970 and 9999"));
        assert!(Limits::default().record_time(NOON as i64 * 1000).is_err(), "a stamp in microseconds");
        assert_eq!(Limits::default().record_time(NOON as i64), Ok(NOON));
    }
}
