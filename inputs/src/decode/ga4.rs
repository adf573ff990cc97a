//! Google Analytics 4: a single event, a Measurement Protocol request around several, or a row of the BigQuery export.
//!
//! The three are told apart by the field that names the event: `name`, `events`, `event_name`. None of them has an
//! id for the event, so a repetition is found by the id of a CloudEvents envelope only.

use super::fields::{Field, Raw, string};
use super::json::{Object, Settings, line, object, object_or_default, scoped_session};
use super::list::{List, list};
use super::options::BasketField;
use super::sink::{About, Kind, Sink, WithoutBasket};
use super::{Flaw, Limits, Reason, Reject};
use serde::Deserialize;
use std::borrow::Cow;

/// The recommended events that concern carts.
pub(super) const NAMES: &[(&str, Kind)] = &[
    ("add_to_cart", Kind::Add),
    ("remove_from_cart", Kind::Remove),
    ("purchase", Kind::Purchase),
    ("refund", Kind::Refund),
    ("view_item", Kind::View),
    ("view_cart", Kind::CartView),
];

/// Any of the three shapes.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    client_id: Raw<'a>,
    #[serde(borrow)]
    app_instance_id: Raw<'a>,
    #[serde(borrow)]
    user_pseudo_id: Raw<'a>,
    #[serde(borrow)]
    user_id: Raw<'a>,
    #[serde(borrow)]
    timestamp_micros: Raw<'a>,
    #[serde(borrow)]
    events: Raw<'a>,
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    params: Raw<'a>,
    #[serde(borrow)]
    event_name: Raw<'a>,
    #[serde(borrow)]
    event_timestamp: Raw<'a>,
    #[serde(borrow)]
    event_params: Raw<'a>,
    #[serde(borrow)]
    ecommerce: Raw<'a>,
    #[serde(borrow)]
    items: Raw<'a>,
    #[serde(borrow)]
    privacy_info: Raw<'a>,
}

/// What the visitor agreed to, in the export.
#[derive(Default, Deserialize)]
struct Privacy<'a> {
    #[serde(borrow)]
    analytics_storage: Raw<'a>,
}

/// An event of a Measurement Protocol request.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    name: Raw<'a>,
    #[serde(borrow)]
    params: Raw<'a>,
    #[serde(borrow)]
    timestamp_micros: Raw<'a>,
}

/// What the parameters of an event say, wherever they stood.
#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    session_id: Raw<'a>,
    #[serde(borrow)]
    ga_session_id: Raw<'a>,
    #[serde(borrow)]
    transaction_id: Raw<'a>,
    #[serde(borrow)]
    cart_id: Raw<'a>,
    #[serde(borrow)]
    items: Raw<'a>,
}

/// A parameter of the export: a key beside one of several typed values.
#[derive(Deserialize)]
struct Param<'a> {
    #[serde(borrow)]
    key: Raw<'a>,
    #[serde(borrow)]
    value: Option<Object<Value<'a>>>,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    string_value: Raw<'a>,
    #[serde(borrow)]
    int_value: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Ecommerce<'a> {
    #[serde(borrow)]
    transaction_id: Raw<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    item_id: Raw<'a>,
    #[serde(borrow)]
    quantity: Raw<'a>,
}

pub(super) fn decode(text: &str, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let limits = sink.limits;
    let record: Record<'_> = object(Field::named("value"), text, limits)?;
    if record.events.is_some() {
        let events: List<'_, Event<'_>> = list("events", record.events, limits)?;
        return events.decode_each(sink, |event, sink| {
            let time = event.timestamp_micros.or(record.timestamp_micros);
            decode_event("name", event.name, time, settings, sink, &record, |limits| {
                object_or_default(Field::named("params"), event.params, limits)
            })
        });
    }
    if record.event_name.is_some() {
        return decode_event(
            "event_name",
            record.event_name,
            record.event_timestamp,
            settings,
            sink,
            &record,
            |limits| exported(&record, limits),
        );
    }
    decode_event("name", record.name, record.timestamp_micros, settings, sink, &record, |limits| {
        object_or_default(Field::named("params"), record.params, limits)
    })
}

/// One event, whose parameters are parsed only if its kind asks for them.
fn decode_event<'a>(
    name_field: &str,
    name: Raw<'_>,
    time: Raw<'_>,
    settings: &Settings,
    sink: &mut Sink<'_>,
    record: &Record<'a>,
    params: impl FnOnce(&Limits) -> Result<Params<'a>, Reject>,
) -> Result<(), Reject> {
    let limits = sink.limits;
    let field = Field::named(name_field);
    let Some(name) = string(field, name)? else {
        return Err(Reject::new(Reason::MissingEvent, format!("{field}: no event is named (--format ga4)")));
    };
    let kind = settings.names.kind(field, &name)?;
    if !sink.wants(kind, Ok(None)) {
        return Ok(());
    }
    sink.happened(limits.time(Field::named("timestamp"), time));
    let params = params(limits)?;
    let about = about(kind, settings, record, &params, sink)?;
    let items: List<'_, Item<'_>> = list("items", params.items, limits)?;
    items.say(kind, &about, sink, |place, item| {
        line(limits, Some(("items", place)), &[("item_id", set(item.item_id))], kind.quantity(item.quantity))
    })
}

fn about<'a>(
    kind: Kind,
    settings: &Settings,
    record: &Record<'a>,
    params: &Params<'a>,
    sink: &mut Sink<'_>,
) -> Result<About<'a>, Reject> {
    let limits = sink.limits;
    let device = set(record.client_id).or(set(record.app_instance_id)).or(set(record.user_pseudo_id));
    let device = sink.spare(Flaw::UnreadableUser, limits.id(Field::named("client_id"), device));
    let user = sink.spare(Flaw::UnreadableUser, limits.id(Field::named("user_id"), set(record.user_id)));
    let own_user = user.clone();
    let user = user.or_else(|| device.clone());
    let (basket_field, basket) = match settings.basket {
        BasketField::Auto | BasketField::Session => {
            let session = set(params.session_id).or(set(params.ga_session_id));
            let session = limits.id(Field::named("ga_session_id"), session)?.map(session_number);
            // A session's number is the second it began in: two visitors may have the same.
            let session = scoped_session(session, device.as_deref(), own_user.as_deref());
            ("ga_session_id beside a client_id or user_id", session.map(Cow::Owned))
        }
        BasketField::Order => {
            ("transaction_id", limits.id(Field::named("transaction_id"), set(params.transaction_id))?)
        }
        BasketField::Cart => ("cart_id", limits.id(Field::named("cart_id"), params.cart_id)?),
        BasketField::User => ("user_id", user.clone()),
        BasketField::Key => ("the record's key", sink.key_id()?),
    };
    let basket =
        basket.map(|basket| limits.id_text(Field::named(basket_field), basket)).transpose()?.flatten();
    let without_basket = match &basket {
        None if is_cookieless(record, limits) => WithoutBasket::Anonymous,
        _ => settings.basket.without(kind),
    };
    let order = settings.order("transaction_id", set(params.transaction_id), sink);
    Ok(About { basket, user, basket_field, without_basket, order })
}

/// The number of a session, which the cookie wraps in more that changes with every hit:
/// `s1769860800$o2$g1$t1769860830`, also after `GS2.1.`, and before that `GS1.1.1769860800.2.1.1769860830`.
fn session_number(session: Cow<'_, str>) -> Cow<'_, str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let newer = session.strip_prefix("GS2.1.").unwrap_or(&session).strip_prefix('s');
    let newer = newer.and_then(|rest| rest.split_once('$')).map(|(number, _)| number);
    let older = session.strip_prefix("GS1.1.").and_then(|rest| rest.split('.').next());
    match newer.or(older).filter(|number| is_number(number)) {
        Some(number) => Cow::Owned(number.to_owned()),
        None => session,
    }
}

/// Whether the visitor allowed no storage, so that the event has neither a device nor a session.
fn is_cookieless(record: &Record<'_>, limits: &Limits) -> bool {
    let privacy = object_or_default(Field::named("privacy_info"), record.privacy_info, limits);
    let privacy: Privacy<'_> = privacy.unwrap_or_default();
    matches!(privacy.analytics_storage.map(|raw| raw.get()), Some(r#""No""# | "false"))
}

/// The parameters of an exported event.
fn exported<'a>(record: &Record<'a>, limits: &Limits) -> Result<Params<'a>, Reject> {
    // An order's id is needed for a basket of orders only, and missed there.
    let ecommerce = object_or_default(Field::named("ecommerce"), record.ecommerce, limits);
    let ecommerce: Ecommerce<'a> = ecommerce.unwrap_or_default();
    let mut params =
        Params { transaction_id: set(ecommerce.transaction_id), items: record.items, ..Params::default() };
    let event_params: List<'_, Param<'a>> = list("event_params", record.event_params, limits)?;
    for Param { key, value } in event_params.objects() {
        let value = value.as_ref().and_then(|Object(value)| value.int_value.or(value.string_value));
        match key.map(|key| key.get()) {
            Some("\"ga_session_id\"") => params.ga_session_id = value,
            Some("\"transaction_id\"") if params.transaction_id.is_none() => {
                params.transaction_id = set(value)
            }
            Some("\"cart_id\"") => params.cart_id = value,
            _ => {}
        }
    }
    Ok(params)
}

/// The export writes this text where nothing was set.
fn set(raw: Raw<'_>) -> Raw<'_> {
    raw.filter(|raw| raw.get() != "\"(not set)\"")
}
