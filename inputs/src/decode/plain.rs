//! Plain JSON, version 1: the shape of our own, for shops that can choose.
//!
//! `{"event":"add","basket":"b1","user":"u1","item":"i1","quantity":1,"time":"2026-01-31T12:00:00Z","id":"e1"}`, or
//! with `"items":[{"item":"i1","quantity":1}]` in place of `item` and `quantity`.

use super::fields::{Field, Raw, string};
use super::json::{Settings, object};
use super::list::{List, list};
use super::options::BasketField;
use super::reject::quoted;
use super::sink::{About, Kind, Line, Sink, WithoutBasket};
use super::wrapped::{Change, Op};
use super::{Flaw, Limits, Reason, Reject};
use serde::Deserialize;

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    version: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    event: Raw<'a>,
    #[serde(borrow)]
    time: Raw<'a>,
    #[serde(borrow)]
    basket: Raw<'a>,
    #[serde(borrow)]
    order: Raw<'a>,
    #[serde(borrow)]
    cart: Raw<'a>,
    #[serde(borrow)]
    session: Raw<'a>,
    #[serde(borrow)]
    user: Raw<'a>,
    #[serde(borrow)]
    item: Raw<'a>,
    #[serde(borrow)]
    quantity: Raw<'a>,
    #[serde(borrow)]
    items: Raw<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    item: Raw<'a>,
    #[serde(borrow)]
    quantity: Raw<'a>,
}

pub(super) fn decode(text: &str, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let record: Record<'_> = object(Field::named("value"), text, sink.limits)?;
    decode_record(&record, settings, sink)
}

/// A row that was changed or deleted in a table of lines.
pub(super) fn decode_change(
    change: &Change<'_>,
    settings: &Settings,
    sink: &mut Sink<'_>,
) -> Result<(), Reject> {
    let limits = sink.limits;
    let before = change.before.map(|row| object::<Record<'_>>(Field::named("before"), row, limits));
    let after = change.after.map(|row| object::<Record<'_>>(Field::named("after"), row, limits));
    let (before, after) = (before.transpose()?, after.transpose()?);
    let rows = [&before, &after];
    if rows.into_iter().flatten().any(|row| row.event.is_some()) {
        // An entry of a log counts when it is written.
        sink.counts.others += 1;
        return Ok(());
    }
    if rows.into_iter().flatten().any(|row| row.items.is_some()) {
        let detail = "a row with items was changed or deleted: only rows of one item can be followed";
        return Err(Reject::new(Reason::WrongShape, detail));
    }
    let line = |row: &Record<'_>| {
        [row.basket, row.order, row.cart, row.session, row.user, row.item]
            .map(|raw| raw.map(|raw| raw.get().to_owned()))
    };
    let is_moved =
        before.as_ref().zip(after.as_ref()).is_some_and(|(before, after)| line(before) != line(after));
    let gone = before.filter(|_| change.op == Op::Delete || is_moved);
    if change.op == Op::Delete && gone.is_none() {
        let detail = "before: the row that was deleted is not there (REPLICA IDENTITY FULL writes it)";
        return Err(Reject::new(Reason::MissingItem, detail));
    }
    if let Some(gone) = gone {
        let gone = Record { quantity: None, id: None, ..gone };
        say_of(Kind::Remove, &gone, settings, sink)?;
    }
    match after.filter(|_| change.op == Op::Update) {
        // A row without a quantity is a line of one.
        Some(row) if row.quantity.is_none() => {
            say_of(Kind::Remove, &row, settings, sink)?;
            say_of(Kind::Add, &row, settings, sink)
        }
        Some(row) => say_of(Kind::Set, &row, settings, sink),
        None => Ok(()),
    }
}

fn decode_record(record: &Record<'_>, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let limits = sink.limits;
    if let Some(version) = record.version.filter(|version| version.get() != "1") {
        let detail = format!("version: {} is unknown, this build reads 1", quoted(version.get()));
        return Err(Reject::new(Reason::UnknownVersion, detail));
    }
    let event = Field::named("event");
    let kind = match string(event, record.event)? {
        Some(name) => settings.names.kind(event, &name)?,
        None => Kind::Add,
    };
    if !sink.wants(kind, limits.id(Field::named("id"), record.id)) {
        return Ok(());
    }
    sink.happened(limits.time(Field::named("time"), record.time));
    say_of(kind, record, settings, sink)
}

/// What an event of `kind` says with the fields of `record`.
fn say_of(kind: Kind, record: &Record<'_>, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let limits = sink.limits;
    let (basket_field, basket) = match settings.basket {
        BasketField::Auto => ("basket", record.basket),
        BasketField::Order => ("order", record.order),
        BasketField::Cart => ("cart", record.cart),
        BasketField::Session => ("session", record.session),
        BasketField::User => ("user", record.user),
        BasketField::Key => ("the record's key", None),
    };
    let basket = match settings.basket {
        BasketField::Key => sink.key_id()?,
        _ => limits.id(Field::named(basket_field), basket)?,
    };
    let order = settings.order("order", record.order, sink);
    let about = About {
        basket,
        user: sink.spare(Flaw::UnreadableUser, limits.id(Field::named("user"), record.user)),
        basket_field,
        without_basket: WithoutBasket::Reject,
        order,
    };
    say(kind, &about, record, sink)
}

/// The lines of a record, which stand in a list or beside the event's other fields, not both.
fn say<'a>(kind: Kind, about: &About<'a>, record: &Record<'a>, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let limits = sink.limits;
    match (record.items, record.item) {
        (Some(_), None) if record.quantity.is_none() => {
            let items: List<'_, Item<'_>> = list("items", record.items, limits)?;
            items.say(kind, about, sink, |place, item| {
                let field = |name| Field::listed("items", place, name);
                line(limits, field("item"), item.item, field("quantity"), kind.quantity(item.quantity))
            })
        }
        (Some(_), _) => Err(Reject::new(
            Reason::WrongShape,
            "items stands beside item or quantity: which of them counts?",
        )),
        (None, Some(_)) => {
            let quantity = Field::named("quantity");
            let line =
                line(limits, Field::named("item"), record.item, quantity, kind.quantity(record.quantity));
            sink.say(kind, about, std::iter::once(line), |_| String::new())
        }
        (None, None) if record.quantity.is_some() => {
            Err(Reject::new(Reason::MissingItem, "a quantity, but no item"))
        }
        (None, None) => sink.say(kind, about, std::iter::empty(), |_| String::new()),
    }
}

fn line<'a>(
    limits: &Limits,
    item_field: Field<'a>,
    item: Raw<'a>,
    quantity_field: Field<'a>,
    quantity: Raw<'a>,
) -> Result<Line<'a>, Reject> {
    let Some(item) = limits.id(item_field, item)? else {
        return Err(Reject::new(Reason::MissingItem, format!("{item_field}: the item has no id")));
    };
    Ok(Line { item, quantity: limits.quantity(quantity_field, quantity)?, field: quantity_field })
}
