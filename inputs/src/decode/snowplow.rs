//! Snowplow e-commerce: a `snowplow_ecommerce_action` with its product, cart, transaction and refund entities.
//!
//! Three shapes: what a tracker sends (`payload_data` around events, or one such event, with the action in
//! `ue_pr`/`ue_px` and the entities in `co`/`cx`); enriched events as the analytics SDKs and the loaders of warehouses
//! make them (`unstruct_event_…_1` and `contexts_…_1` at the top level, or `…_1_0_0`); and enriched events as they are,
//! in columns between tabs. Everything that is no e-commerce action is about
//! something else than carts.

mod tsv;
mod versions;

use super::fields::{Field, Raw, inner_text, string};
use super::json::{Settings, from_base64, line, object};
use super::list::{List, list, texts};
use super::options::BasketField;
use super::sink::{About, Kind, Sink, WithoutBasket};
use super::{Flaw, Limits, Reason, Reject};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The types of action that concern carts.
pub(super) const NAMES: &[(&str, Kind)] = &[
    ("add_to_cart", Kind::Add),
    ("remove_from_cart", Kind::Remove),
    ("transaction", Kind::Purchase),
    ("refund", Kind::Refund),
    ("product_view", Kind::View),
];

/// The schemas of the e-commerce entities, before `NAME/jsonschema/MODEL-…`.
const VENDOR: &str = "iglu:com.snowplowanalytics.snowplow.ecommerce/";

/// The schema of the session of a mobile app, before its minor version.
const CLIENT_SESSION: &str = "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-";

/// An event in either shape, or the `payload_data` around several.
#[derive(Deserialize)]
struct Record<'a> {
    // What a tracker sends.
    #[serde(borrow)]
    data: Raw<'a>,
    #[serde(borrow)]
    e: Raw<'a>,
    #[serde(borrow)]
    eid: Raw<'a>,
    #[serde(borrow)]
    ue_pr: Raw<'a>,
    #[serde(borrow)]
    ue_px: Raw<'a>,
    #[serde(borrow)]
    co: Raw<'a>,
    #[serde(borrow)]
    cx: Raw<'a>,
    #[serde(borrow)]
    uid: Raw<'a>,
    #[serde(borrow)]
    duid: Raw<'a>,
    #[serde(borrow)]
    sid: Raw<'a>,
    #[serde(borrow)]
    dtm: Raw<'a>,
    // What enrichment makes of it.
    #[serde(borrow)]
    event: Raw<'a>,
    #[serde(borrow)]
    event_id: Raw<'a>,
    #[serde(borrow)]
    user_id: Raw<'a>,
    #[serde(borrow)]
    domain_userid: Raw<'a>,
    #[serde(borrow)]
    domain_sessionid: Raw<'a>,
    #[serde(borrow)]
    derived_tstamp: Raw<'a>,
    #[serde(
        borrow,
        rename = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
    )]
    action: Raw<'a>,
    #[serde(borrow, rename = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1")]
    products: Raw<'a>,
    #[serde(borrow, rename = "contexts_com_snowplowanalytics_snowplow_ecommerce_cart_1")]
    carts: Raw<'a>,
    #[serde(borrow, rename = "contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1")]
    transactions: Raw<'a>,
    #[serde(borrow, rename = "contexts_com_snowplowanalytics_snowplow_ecommerce_refund_1")]
    refunds: Raw<'a>,
    #[serde(borrow, rename = "contexts_com_snowplowanalytics_snowplow_client_session_1")]
    client_sessions: Raw<'a>,
}

/// Data with the schema it follows.
#[derive(Deserialize)]
struct SelfDescribing<'a> {
    #[serde(borrow)]
    schema: Raw<'a>,
    #[serde(borrow)]
    data: Raw<'a>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow, rename = "type")]
    action: Raw<'a>,
}

#[derive(Deserialize)]
struct Product<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    quantity: Raw<'a>,
}

/// A cart, transaction or refund entity: its id only.
#[derive(Default, Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    cart_id: Raw<'a>,
    #[serde(borrow)]
    transaction_id: Raw<'a>,
}

/// The entities of one event, wherever they stood.
#[derive(Default)]
struct Entities<'a> {
    /// Each as it is written.
    products: Vec<&'a RawValue>,
    cart: Raw<'a>,
    transaction: Raw<'a>,
    client_session: ClientSession<'a>,
}

/// The session of a mobile app, and its user, which is the app on one device.
#[derive(Clone, Copy, Default, Deserialize)]
struct ClientSession<'a> {
    #[serde(borrow, rename = "sessionId")]
    session: Raw<'a>,
    #[serde(borrow, rename = "userId")]
    user: Raw<'a>,
}

pub(super) fn decode(text: &str, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    if tsv::is_row(text) {
        return decode_json(&tsv::to_json(text)?, settings, sink);
    }
    decode_json(text, settings, sink)
}

fn decode_json(text: &str, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let limits = sink.limits;
    let mut record: Record<'_> = object(Field::named("value"), text, limits)?;
    if record.data.is_none() {
        if record.event.is_some() && record.action.is_none() && versions::may_be_in(text) {
            versions::fill(&mut record, text, limits)?;
        }
        return decode_event(&record, settings, sink);
    }
    let events: List<'_, Record<'_>> = list("data", record.data, limits)?;
    events.decode_each(sink, |event, sink| decode_event(event, settings, sink))
}

fn decode_event(record: &Record<'_>, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let limits = sink.limits;
    if record.e.or(record.event).is_none() && record.action.is_none() {
        return Err(Reject::new(Reason::MissingEvent, "neither e nor event is there (--format snowplow)"));
    }
    let sent = embedded("ue_pr", record.ue_pr, "ue_px", record.ue_px)?;
    let Some(name) = action_type(record, sent.as_deref(), limits)? else {
        sink.counts.others += 1;
        return Ok(());
    };
    let kind = settings.names.kind(Field::named("type"), &name)?;
    if !sink.wants(kind, limits.id(Field::named("event_id"), record.eid.or(record.event_id))) {
        return Ok(());
    }
    sink.happened(limits.time(Field::named("time"), record.dtm.or(record.derived_tstamp)));
    let contexts = embedded("co", record.co, "cx", record.cx)?;
    let entities = match &contexts {
        Some(contexts) => sent_entities(contexts, limits)?,
        None => enriched_entities(record, limits)?,
    };
    let about = about(kind, settings, record, &entities, sink)?;
    let lines = entities.products.iter().enumerate().map(|(place, product)| {
        let product: Product<'_> = object(Field::listed("product", place, "data"), product.get(), limits)?;
        line(limits, Some(("product", place)), &[("id", product.id)], kind.quantity(product.quantity))
    });
    sink.say(kind, &about, lines, |place| entities.products[place].get().to_owned())
}

/// JSON inside of JSON: as a string, in base64, or, where somebody unpacked it already, as it is.
fn embedded<'a>(
    plain_name: &str,
    plain: Raw<'a>,
    encoded_name: &str,
    encoded: Raw<'a>,
) -> Result<Option<Cow<'a, str>>, Reject> {
    if let Some(raw) = plain {
        let unpacked = Cow::Borrowed(raw.get());
        return Ok(Some(inner_text(Field::named(plain_name), raw)?.unwrap_or(unpacked)));
    }
    let field = Field::named(encoded_name);
    string(field, encoded)?.map(|encoded| from_base64(field, &encoded).map(Cow::Owned)).transpose()
}

/// The type of the e-commerce action that the event is, if it is one.
fn action_type<'a>(
    record: &Record<'a>,
    sent: Option<&'a str>,
    limits: &Limits,
) -> Result<Option<Cow<'a, str>>, Reject> {
    let data = match sent {
        Some(sent) => {
            let field = Field::named("ue_pr");
            let outer: SelfDescribing<'_> = object(field, sent, limits)?;
            let Some(inner) = outer.data else { return Ok(None) };
            let inner: SelfDescribing<'_> = object(field, inner.get(), limits)?;
            inner.data.filter(|_| entity(inner.schema) == Some("snowplow_ecommerce_action"))
        }
        None => record.action,
    };
    let Some(data) = data else { return Ok(None) };
    let action: Action<'_> = object(Field::named("snowplow_ecommerce_action"), data.get(), limits)?;
    string(Field::named("type"), action.action)
}

/// The name of an e-commerce schema of model 1, which is what we read.
fn entity(schema: Raw<'_>) -> Option<&str> {
    let path = schema?.get().strip_prefix('"')?.strip_suffix('"')?.strip_prefix(VENDOR)?;
    let (name, version) = path.split_once("/jsonschema/")?;
    version.starts_with("1-").then_some(name)
}

fn sent_entities<'a>(contexts: &'a str, limits: &Limits) -> Result<Entities<'a>, Reject> {
    let field = Field::named("co");
    let outer: SelfDescribing<'a> = object(field, contexts, limits)?;
    let contexts: List<'a, SelfDescribing<'a>> = list("co", outer.data, limits)?;
    let mut entities = Entities::default();
    for &SelfDescribing { schema, data } in contexts.objects() {
        let Some(data) = data else { continue };
        match entity(schema) {
            Some("product") => entities.products.push(data),
            Some("cart" | "transaction" | "refund") => entities.add(data, limits),
            None if is_client_session(schema) => entities.add_client_session(data, limits),
            _ => {}
        }
    }
    Ok(entities)
}

fn enriched_entities<'a>(record: &Record<'a>, limits: &Limits) -> Result<Entities<'a>, Reject> {
    let products = texts("product", record.products, limits)?;
    let mut entities = Entities { products, ..Entities::default() };
    for (name, raw) in
        [("cart", record.carts), ("transaction", record.transactions), ("refund", record.refunds)]
    {
        // Where nothing needs their ids, it does not matter what they are.
        for whole in texts(name, raw, limits).unwrap_or_default() {
            entities.add(whole, limits);
        }
    }
    for session in texts("client_session", record.client_sessions, limits).unwrap_or_default() {
        entities.add_client_session(session, limits);
    }
    Ok(entities)
}

fn is_client_session(schema: Raw<'_>) -> bool {
    schema.is_some_and(|schema| schema.get().trim_start_matches('"').starts_with(CLIENT_SESSION))
}

impl<'a> Entities<'a> {
    /// Takes the session of a mobile app.
    fn add_client_session(&mut self, session: &'a RawValue, limits: &Limits) {
        let session = object(Field::named("client_session"), session.get(), limits);
        self.client_session = session.unwrap_or_default();
    }

    /// Takes the ids of a cart, transaction or refund.
    fn add(&mut self, whole: &'a RawValue, limits: &Limits) {
        let whole: Whole<'a> = object(Field::named("entity"), whole.get(), limits).unwrap_or_default();
        self.cart = self.cart.or(whole.cart_id);
        self.transaction = self.transaction.or(whole.transaction_id);
    }
}

fn about<'a>(
    kind: Kind,
    settings: &Settings,
    record: &Record<'a>,
    entities: &Entities<'a>,
    sink: &mut Sink<'_>,
) -> Result<About<'a>, Reject> {
    let limits = sink.limits;
    let ClientSession { session: app_session, user: app_user } = entities.client_session;
    let user = record.uid.or(record.user_id).or(record.duid).or(record.domain_userid).or(app_user);
    let session = record.sid.or(record.domain_sessionid).or(app_session);
    let (basket_field, basket) = match settings.basket {
        BasketField::Auto | BasketField::Session => ("domain_sessionid", session),
        BasketField::Order => ("transaction_id", entities.transaction),
        BasketField::Cart => ("cart_id", entities.cart),
        BasketField::User => ("user_id", user),
        BasketField::Key => ("the record's key", None),
    };
    let basket = match settings.basket {
        BasketField::Key => sink.key_id()?,
        _ => limits.id(Field::named(basket_field), basket)?,
    };
    // A tracker that may not know anybody sends neither.
    let is_anonymous = session.is_none() && user.is_none();
    let order = settings.order("transaction_id", entities.transaction, sink);
    Ok(About {
        basket,
        user: sink.spare(Flaw::UnreadableUser, limits.id(Field::named("user_id"), user)),
        basket_field,
        without_basket: if is_anonymous && !settings.basket.is_of_a_purchase() {
            WithoutBasket::Anonymous
        } else {
            settings.basket.without(kind)
        },
        order,
    })
}
