//! Scores as exact decimals: an integer, and the number of its digits after the decimal point.
//!
//! A score stays an integer from the dataflow to the record and back, so nothing is rounded. Each number has one
//! canonical form, without an exponent, trailing zeros or a trailing point: `0.5`, `1`, `-0.005`.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A decimal number with at most [`Decimal::DIGITS_MAX`] digits after the point, in canonical form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decimal {
    units: i64,
    /// 0, or the last digit of `units` is not 0.
    digits: u32,
}

/// The text is not a decimal number that a score can have: its syntax is wrong, or it is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a decimal of at most {} digits after the point", Decimal::DIGITS_MAX)]
pub struct DecimalError;

impl Decimal {
    /// The maximum number of digits after the point.
    pub const DIGITS_MAX: u32 = 9;

    /// `units` divided by 10 to the power `digits`: 412 with 3 digits is 0.412. More than [`Decimal::DIGITS_MAX`]
    /// digits are treated as that many.
    pub fn new(units: i64, digits: u32) -> Self {
        let mut decimal = Decimal { units, digits: digits.min(Self::DIGITS_MAX) };
        while decimal.digits > 0 && decimal.units % 10 == 0 {
            decimal.units /= 10;
            decimal.digits -= 1;
        }
        decimal
    }

    /// The number of digits after the point in canonical form.
    pub fn digits(self) -> u32 {
        self.digits
    }

    /// The number in units of 10^−9, the last of [`Decimal::DIGITS_MAX`] digits. Saturates at the range of `i64`.
    pub fn units(self) -> i64 {
        self.units.saturating_mul(10_i64.pow(Self::DIGITS_MAX - self.digits))
    }

    /// The number padded with zeros to `digits` digits after the point, for columns. It is never shortened.
    pub fn to_fixed(self, digits: u32) -> String {
        let mut text = self.to_string();
        if digits > self.digits {
            if self.digits == 0 {
                text.push('.');
            }
            text.extend((self.digits..digits).map(|_| '0'));
        }
        text
    }

    /// Appends the canonical form, which is a JSON number.
    pub fn write(self, out: &mut Vec<u8>) {
        let magnitude = self.units.unsigned_abs();
        if self.units < 0 {
            out.push(b'-');
        }
        let mut scale = 10_u64.pow(self.digits);
        push_integer(out, magnitude / scale);
        if scale > 1 {
            out.push(b'.');
        }
        while scale > 1 {
            scale /= 10;
            out.push(b'0' + (magnitude / scale % 10) as u8);
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(24);
        self.write(&mut bytes);
        formatter.pad(std::str::from_utf8(&bytes).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(DecimalError),
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(DecimalError);
        }
        if fraction.len() > Self::DIGITS_MAX as usize {
            return Err(DecimalError);
        }
        let mut units: i64 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() {
                return Err(DecimalError);
            }
            let digit = i64::from(digit - b'0');
            // Accumulate the negative value: the minimum of `i64` has no positive counterpart.
            units = units.checked_mul(10).and_then(|units| units.checked_sub(digit)).ok_or(DecimalError)?;
        }
        let units = if negative { Some(units) } else { units.checked_neg() };
        Ok(Decimal::new(units.ok_or(DecimalError)?, fraction.len() as u32))
    }
}

/// Appends `number` in decimal, without a formatter.
pub(super) fn push_integer(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20]; // `u64::MAX` has 20.
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_form() {
        for (units, digits, text) in [
            (412, 3, "0.412"),
            (500, 3, "0.5"),
            (1000, 3, "1"),
            (0, 3, "0"),
            (7, 0, "7"),
            (100, 0, "100"),
            (-5, 3, "-0.005"),
            (270_720, 3, "270.72"),
            (1, 9, "0.000000001"),
            (i64::MAX, 9, "9223372036.854775807"),
            (i64::MIN, 0, "-9223372036854775808"),
            (1, 12, "0.000000001"),
        ] {
            assert_eq!(Decimal::new(units, digits).to_string(), text);
            assert_eq!(text.parse(), Ok(Decimal::new(units, digits)), "{text}");
        }
        assert_eq!("0.500".parse(), Ok(Decimal::new(5, 1)));
        let fixed =
            [(500, 3), (1000, 2), (412, 1), (7, 0)].map(|(units, to)| Decimal::new(units, 3).to_fixed(to));
        assert_eq!(fixed, ["0.500", "1.00", "0.412", "0.007"]);
        assert_eq!(format!("{:>6}", Decimal::new(5, 1)), "   0.5");
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e3",
            "+1",
            "01",
            "0x1",
            " 1",
            "1 ",
            "NaN",
            "0.1234567890",
            "9223372036854775808",
            "1.2.3",
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read(units: i64, digits in 0..=Decimal::DIGITS_MAX) {
            let decimal = Decimal::new(units, digits);
            prop_assert_eq!(decimal.to_string().parse::<Decimal>(), Ok(decimal));
        }

        #[test]
        fn integers_as_the_formatter_writes_them(number: u64) {
            let mut bytes = Vec::new();
            push_integer(&mut bytes, number);
            prop_assert_eq!(bytes, number.to_string().into_bytes());
        }
    }
}
