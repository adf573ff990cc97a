//! Ids and quantities as they are written, checked.
//!
//! JSON fields arrive as [`Raw`]: the token as it stands in the record, so that a number used as an id keeps its
//! decimal text, and nothing is copied that is not used.

use super::reject::quoted;
use super::utf8::{NO_UTF8, NO_UTF8_INSIDE};
use super::{Limits, Reason, Reject};
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

    pub(super) fn reject(self, reason: Reason, what: impl fmt::Display) -> Reject {
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
            write!(f, "{list}[{place}]")?;
            if self.name.is_empty() {
                return Ok(());
            }
            f.write_str(".")?;
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
    let unescaped = serde_json::from_str(raw.get()).map_err(|_| {
        let (reason, what) = match inner.contains(NO_UTF8) {
            true => (Reason::InvalidUtf8, "no UTF-8; is it Latin-1?"),
            false => (Reason::Malformed, "no text: it has half of a surrogate pair"),
        };
        field.reject(reason, format_args!("{} is {what}", quoted(inner)))
    })?;
    Ok(Some(Cow::Owned(unescaped)))
}

/// The text of a JSON string that holds JSON itself. Bytes in it that are no UTF-8 may be where nobody reads.
pub(super) fn inner_text<'a>(field: Field<'_>, raw: &'a RawValue) -> Result<Option<Cow<'a, str>>, Reject> {
    text(field, raw).or_else(|reject| {
        let inside = raw.get().replace(NO_UTF8, NO_UTF8_INSIDE);
        serde_json::from_str(&inside).map(|text: String| Some(Cow::Owned(text))).map_err(|_| reject)
    })
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
            return self.id_text(field, text);
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
        self.id_text(field, Cow::Borrowed(token))
    }

    /// An id as text: not too long, any characters. An empty text is none.
    #[inline]
    pub(super) fn id_text<'a>(
        &self,
        field: Field<'_>,
        text: Cow<'a, str>,
    ) -> Result<Option<Cow<'a, str>>, Reject> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > self.id_bytes_max {
            let what = format!("{} is longer than {} bytes", quoted(&text), self.id_bytes_max);
            return Err(field.reject(Reason::IdTooLong, what));
        }
        Ok(Some(text))
    }

    /// A quantity: a number, or the text of one, as exporters write decimals and 64-bit integers. An empty text is
    /// none.
    pub(super) fn quantity(&self, field: Field<'_>, raw: Raw<'_>) -> Result<Option<Quantity>, Reject> {
        let Some(raw) = raw else { return Ok(None) };
        if let Some(text) = text(field, raw)? {
            return if text.is_empty() { Ok(None) } else { self.quantity_text(field, &text).map(Some) };
        }
        if !raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err(field.wrong_type(raw, "a number"));
        }
        self.quantity_text(field, raw.get()).map(Some)
    }

    /// A quantity as text: an integer, or a decimal number (`6.0`, `.5`), of which [`Limits::quantity_decimals`] are
    /// kept. More decimals make it the next larger quantity: what is above 0 stays above 0.
    pub(super) fn quantity_text(&self, field: Field<'_>, text: &str) -> Result<Quantity, Reject> {
        // Nearly all are a few digits.
        if self.quantity_decimals == 0
            && (1..10).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
        {
            let units = text.bytes().fold(0, |units, digit| units * 10 + i64::from(digit - b'0'));
            if units <= i64::from(self.quantity_max) {
                return Ok(Quantity { units, is_rounded: false });
            }
        }
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let all_digits = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit());
        let is_zero = unsigned.bytes().all(|b| matches!(b, b'0' | b'.'));
        let is_negative = unsigned.len() < text.len();
        let has_digits = !unsigned.is_empty() && !fraction.is_empty();
        let is_number = all_digits(whole) && all_digits(fraction) && has_digits;
        if !is_number || (is_negative && is_zero) {
            return Err(field.reject(Reason::BadQuantity, format_args!("{} is no quantity", quoted(text))));
        }
        let decimals = self.quantity_decimals as usize;
        let kept = whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(decimals));
        let is_rounded = fraction.bytes().skip(decimals).any(|b| b != b'0');
        let digit = |units: u64, b: u8| units.saturating_mul(10).saturating_add(u64::from(b - b'0'));
        let units = kept.fold(0, digit).saturating_add(u64::from(is_rounded));
        let units_max = u64::from(self.quantity_max) * u64::from(self.one());
        let Some(units) = i64::try_from(units).ok().filter(|_| units <= units_max) else {
            let what = format!("{} is beyond {}", quoted(text), self.quantity_max);
            return Err(field.reject(Reason::QuantityOutOfRange, what));
        };
        let units = if is_negative { -units } else { units };
        Ok(Quantity { units, is_rounded })
    }
}

/// How many of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    /// In units of the last decimal that is kept ([`Limits::quantity_decimals`]).
    pub(super) units: i64,
    /// Whether it was written with more decimals than are kept.
    pub(super) is_rounded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_good_bad_and_nearly_good() {
        let read = |decimals: u32, text: &str| {
            let limits = Limits { quantity_decimals: decimals, ..Limits::default() };
            let quantity = limits.quantity_text(Field::named("quantity"), text);
            quantity.map(|quantity| (quantity.units, quantity.is_rounded)).map_err(|reject| reject.reason)
        };
        for (good, units, thousandths) in [
            ("0", (0, false), (0, false)),
            ("1", (1, false), (1000, false)),
            ("6.0", (6, false), (6000, false)),
            ("-12", (-12, false), (-12_000, false)),
            ("1000000", (1_000_000, false), (1_000_000_000, false)),
            ("007", (7, false), (7000, false)),
            ("0.5", (1, true), (500, false)),
            (".5", (1, true), (500, false)),
            ("-0.5", (-1, true), (-500, false)),
            ("1.5", (2, true), (1500, false)),
            ("0.0004", (1, true), (1, true)),
            ("-2.0005", (-3, true), (-2001, true)),
        ] {
            assert_eq!((read(0, good), read(3, good)), (Ok(units), Ok(thousandths)), "{good}");
        }
        for bad in
            ["", "-", "-0", "-0.0", "1.", "1e3", "+1", "NaN", "inf", "0x10", " 1", "1,000", "1.2.3", "½"]
        {
            assert_eq!(read(0, bad), Err(Reason::BadQuantity), "{bad}");
        }
        for far in [
            "1000001",
            "-1000001",
            "1000000.5",
            "9223372036854775807",
            "-9223372036854775808",
            "99999999999999999999",
        ] {
            assert_eq!(read(0, far), Err(Reason::QuantityOutOfRange), "{far}");
            assert_eq!(read(3, far), Err(Reason::QuantityOutOfRange), "{far}");
        }
    }
}
