//! Logical types as JSON: times as RFC 3339, decimals with all their digits.
//!
//! What has no such text, a time after the year 9999 for one, is written as the number that it is: whoever reads the
//! field says what is wrong with it, and whoever does not read it is not disturbed.

use super::text::push_text;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Span, Timestamp};

/// The most digits of a number that fit in 16 bytes, sign and all.
const DIGITS_MAX: usize = 38;

/// A moment, in parts of a second since 1970.
pub(super) fn push_moment(text: &mut Vec<u8>, moment: i64, per_second: i64, is_local: bool) {
    let part = moment.rem_euclid(per_second);
    let nanos = part * (1_000_000_000 / per_second);
    let timestamp = Timestamp::new(moment.div_euclid(per_second), nanos as i32);
    let time = timestamp.map(|timestamp| Offset::UTC.to_datetime(timestamp));
    let Some(time) = time.ok().filter(|time| time.year() >= 0) else {
        return push_text(text, format_args!("{moment}"));
    };
    // By hand: nearly every record has a time, and the formatter takes longer than all its other fields.
    text.push(b'"');
    push_digits(text, time.year().unsigned_abs().into(), 4);
    let parts = [
        (b'-', time.month()),
        (b'-', time.day()),
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ];
    for (before, part) in parts {
        text.push(before);
        push_digits(text, part.unsigned_abs().into(), 2);
    }
    text.push(b'.');
    push_digits(text, part.unsigned_abs(), per_second.ilog10());
    text.extend_from_slice(if is_local { b"\"" } else { b"Z\"" });
}

/// A number with so many digits, zeros before it where it has fewer.
fn push_digits(text: &mut Vec<u8>, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        text.push(b'0' + (number / 10u64.pow(place) % 10) as u8);
    }
}

/// A day, counted from 1970-01-01.
pub(super) fn push_date(text: &mut Vec<u8>, days: i64) {
    const FIRST: Date = Date::constant(1970, 1, 1);
    let date = Span::new().try_days(days).and_then(|span| FIRST.checked_add(span));
    match date {
        Ok(date) => push_text(text, format_args!("\"{date}\"")),
        Err(_) => push_text(text, format_args!("{days}")),
    }
}

/// A time of a day, in parts of a second.
pub(super) fn push_time_of_day(text: &mut Vec<u8>, time: i64, per_second: i64) {
    let seconds = time.div_euclid(per_second);
    if !(0..86_400).contains(&seconds) {
        return push_text(text, format_args!("{time}"));
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let width = if per_second == 1_000 { 3 } else { 6 };
    let part = time.rem_euclid(per_second);
    push_text(text, format_args!("\"{hours:02}:{minutes:02}:{seconds:02}.{part:0width$}\""));
}

/// Months, days and milliseconds, as ISO 8601 writes them.
pub(super) fn push_duration(text: &mut Vec<u8>, parts: [u8; 12]) {
    let [months, days, millis] =
        [0, 4, 8].map(|at| u32::from_le_bytes([parts[at], parts[at + 1], parts[at + 2], parts[at + 3]]));
    push_text(text, format_args!("\"P{months}M{days}DT{}.{:03}S\"", millis / 1000, millis % 1000));
}

/// A number with `scale` digits after the point, from its two's complement. One of more than 16 bytes is no number that
/// a shop has: base64, as other bytes are.
pub(super) fn push_decimal(text: &mut Vec<u8>, bytes: &[u8], scale: usize) {
    let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let mut whole = [if is_negative { 0xff } else { 0 }; 16];
    let Some(start) = whole.len().checked_sub(bytes.len()) else {
        return push_text(text, format_args!("\"{}\"", BASE64_STANDARD.encode(bytes)));
    };
    whole[start..].copy_from_slice(bytes);
    let number = i128::from_be_bytes(whole);
    let sign = if is_negative { "-" } else { "" };
    let digits = number.unsigned_abs();
    match u32::try_from(scale).ok().and_then(|scale| 10u128.checked_pow(scale)) {
        _ if scale == 0 => push_text(text, format_args!("{number}")),
        Some(one) => push_text(text, format_args!("{sign}{}.{:0scale$}", digits / one, digits % one)),
        // So far behind the point that nothing stands before it.
        None => push_text(text, format_args!("{number}e-{scale}")),
    }
}

/// A number that says itself how many digits stand after the point.
pub(super) fn push_big_decimal(text: &mut Vec<u8>, bytes: &[u8], scale: i64) {
    match usize::try_from(scale) {
        Ok(scale) if scale <= DIGITS_MAX => push_decimal(text, bytes, scale),
        _ if bytes.len() <= 16 => {
            push_decimal(text, bytes, 0);
            push_text(text, format_args!("e{}", i128::from(scale).saturating_neg()));
        }
        _ => push_decimal(text, bytes, 0),
    }
}
