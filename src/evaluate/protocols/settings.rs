//! The settings of protocols: what is learned, what is asked, and when.

use deltacart_dataflows::Millis;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

/// A way to cut a log into what is learned and what is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Protocol {
    /// Completes orders behind the split.
    CartCompletion(Split),
    /// Predicts each step of the sessions behind the split.
    NextItem(Split),
    /// Predicts what each user adds behind the split.
    Temporal(Split),
    /// Predicts the last basket of each user who has at least so many baskets.
    LeaveLastBasket(usize),
    /// Predicts the last step of each user.
    LeaveLastOut,
    /// Predicts each step, then learns it.
    Prequential(Cut),
    /// Learns the log and predicts the lines of this file.
    Pair(PathBuf),
}

impl Protocol {
    /// The protocol as the value of a flag.
    pub fn name(&self) -> &'static str {
        match self {
            Protocol::CartCompletion(_) => "cart-completion",
            Protocol::NextItem(_) => "next-item",
            Protocol::Temporal(_) => "temporal",
            Protocol::LeaveLastBasket(_) => "leave-last-basket",
            Protocol::LeaveLastOut => "leave-last-out",
            Protocol::Prequential(_) => "prequential",
            Protocol::Pair(_) => "pair",
        }
    }
}

/// Where the part begins that is not learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Split {
    /// So that this share of all baskets begins behind it, above 0 and below 1.
    Share(f64),
    /// So long before the last event, in milliseconds.
    Last(Millis),
    /// At this time.
    At(Millis),
}

/// The length of a day in milliseconds.
const DAY: Millis = 86_400_000;

impl FromStr for Split {
    type Err = String;

    /// Parses a share (`0.2`), a length (`14d`) or a date or time (`2011-11-25`).
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(share) = text.parse::<f64>() {
            let is_share = share > 0.0 && share < 1.0;
            return if is_share {
                Ok(Split::Share(share))
            } else {
                Err("a share is above 0 and below 1".to_owned())
            };
        }
        let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()?.checked_mul(DAY));
        if let Some(last) = days.filter(|&last| last > 0) {
            return Ok(Split::Last(last));
        }
        let date = text.parse::<jiff::civil::Date>().ok();
        let date =
            date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok()).map(|date| date.timestamp());
        let time = date.or_else(|| text.parse::<jiff::Timestamp>().ok());
        let millis = time.and_then(|time| Millis::try_from(time.as_millisecond()).ok());
        millis.map(Split::At).ok_or_else(|| {
            "want a share such as 0.2, days such as 14d, a date such as 2011-11-25 or a time in RFC 3339"
                .to_owned()
        })
    }
}

/// When a prequential model learns what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// After so many events: as a job does whose epochs have so many.
    Events(NonZeroU64),
    /// When a period of so many milliseconds ends: as a model does that is made again so often.
    Period(NonZeroU64),
}

/// Which units are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The seed of every hash of an evaluation.
    pub seed: u64,
    /// The share of the units, by a hash of their ids.
    pub share: f64,
}
