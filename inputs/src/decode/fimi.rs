//! A basket a line, item numbers between blanks, as in the Frequent Itemset Mining repository.
//!
//! Lines have no ids: a basket is called by its line's number from 1, with the number of its file or partition before
//! it except in the first (`17`, and `1:17` in the second file); empty lines are no records and not counted. A line of
//! blanks is an empty basket.

use super::fields::Field;
use super::reject::quoted;
use super::sink::{About, Kind, Line, Sink, WithoutBasket};
use super::utf8::utf8;
use super::{Reason, Reject};
use crate::RawRecord;
use std::borrow::Cow;

/// The basket that a line is, called by its place in the input.
pub(super) fn about_line(record: &RawRecord<'_>) -> About<'static> {
    let number = record.offset.saturating_add(1);
    let basket = match record.partition {
        0 => number.to_string(),
        partition => format!("{partition}:{number}"),
    };
    About {
        basket: Some(Cow::Owned(basket)),
        user: None,
        basket_field: "line",
        without_basket: WithoutBasket::Reject,
        order: None,
    }
}

pub(super) fn decode(record: &RawRecord<'_>, value: &[u8], sink: &mut Sink<'_>) -> Result<(), Reject> {
    let limits = sink.limits;
    let text = utf8(Field::named("line"), value)?;
    let about = about_line(record);
    let items: Vec<&str> = text.split_ascii_whitespace().collect();
    if items.is_empty() {
        return Ok(());
    }
    let field = Field::named("line");
    let lines = items.iter().map(|&item| {
        if !item.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Reject::new(Reason::BadId, format!("{field}: {} is no item number", quoted(item))));
        }
        let item = limits.id_text(field, Cow::Borrowed(item))?;
        let item = item.expect("what stands between blanks is not empty");
        Ok(Line { item, quantity: None, field })
    });
    sink.say(Kind::Purchase, &about, lines, |place| items[place].to_owned())
}
