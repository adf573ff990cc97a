//! Segment track calls of the e-commerce specification, v2 with its v1 names; RudderStack and others send the same.
//!
//! Calls that are no `track` (pages, identities), and tracks of other names, are about something else than carts.

use super::fields::{Field, Raw, string};
use super::json::{Settings, line, object, object_or_default, scoped_session};
use super::list::{List, list};
use super::options::BasketField;
use super::sink::{About, Kind, Sink};
use super::{Flaw, Reason, Reject};
use serde::Deserialize;
use std::borrow::Cow;

/// The events that concern carts and orders, the v1 names after those of v2.
pub(super) const NAMES: &[(&str, Kind)] = &[
    ("Product Added", Kind::Add),
    ("Product Removed", Kind::Remove),
    ("Product Viewed", Kind::View),
    ("Cart Viewed", Kind::CartView),
    ("Order Completed", Kind::Purchase),
    ("Order Updated", Kind::Update),
    ("Order Refunded", Kind::Refund),
    ("Order Cancelled", Kind::Cancel),
    ("Added Product", Kind::Add),
    ("Removed Product", Kind::Remove),
    ("Viewed Product", Kind::View),
    ("Viewed Cart", Kind::CartView),
    ("Completed Order", Kind::Purchase),
    ("Updated Order", Kind::Update),
    ("Refunded Order", Kind::Refund),
    ("Cancelled Order", Kind::Cancel),
];

/// Calls as the libraries send them, several in one request.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Raw<'a>,
    #[serde(borrow)]
    context: Raw<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, rename = "type")]
    call: Raw<'a>,
    #[serde(borrow)]
    event: Raw<'a>,
    #[serde(borrow, rename = "messageId")]
    message_id: Raw<'a>,
    #[serde(borrow, rename = "userId")]
    user_id: Raw<'a>,
    #[serde(borrow, rename = "anonymousId")]
    anonymous_id: Raw<'a>,
    #[serde(borrow)]
    timestamp: Raw<'a>,
    #[serde(borrow)]
    context: Raw<'a>,
    #[serde(borrow)]
    properties: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Context<'a> {
    #[serde(borrow, rename = "sessionId")]
    session_id: Raw<'a>,
}

#[derive(Default, Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    cart_id: Raw<'a>,
    #[serde(borrow)]
    order_id: Raw<'a>,
    /// The order's id in v1.
    #[serde(borrow, rename = "orderId")]
    order_id_v1: Raw<'a>,
    #[serde(borrow)]
    session_id: Raw<'a>,
    /// The list of an order.
    #[serde(borrow)]
    products: Raw<'a>,
    // The one product of an add or remove stands here by itself.
    #[serde(borrow)]
    product_id: Raw<'a>,
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    sku: Raw<'a>,
    #[serde(borrow)]
    quantity: Raw<'a>,
}

#[derive(Deserialize)]
struct Product<'a> {
    #[serde(borrow)]
    product_id: Raw<'a>,
    /// The product's id in v1.
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    sku: Raw<'a>,
    #[serde(borrow)]
    quantity: Raw<'a>,
}

pub(super) fn decode(text: &str, settings: &Settings, sink: &mut Sink<'_>) -> Result<(), Reject> {
    let message: Message<'_> = object(Field::named("value"), text, sink.limits)?;
    if message.event.or(message.call).is_none() {
        let batch: Batch<'_> = object(Field::named("value"), text, sink.limits)?;
        if batch.batch.is_some() {
            let calls: List<'_, Message<'_>> = list("batch", batch.batch, sink.limits)?;
            return calls.decode_each(sink, |call, sink| decode_call(call, batch.context, settings, sink));
        }
    }
    decode_call(&message, None, settings, sink)
}

/// One call; `context` is that of the batch around it.
fn decode_call<'a>(
    message: &Message<'a>,
    context: Raw<'a>,
    settings: &Settings,
    sink: &mut Sink<'_>,
) -> Result<(), Reject> {
    let limits = sink.limits;
    let call = string(Field::named("type"), message.call)?;
    if call.as_deref().is_some_and(|call| call != "track") {
        sink.counts.others += 1;
        return Ok(());
    }
    let field = Field::named("event");
    let Some(name) = string(field, message.event)? else {
        return Err(Reject::new(Reason::MissingEvent, "event: no event is named (--format segment)"));
    };
    let kind = settings.names.kind(field, &name)?;
    if !sink.wants(kind, limits.id(Field::named("messageId"), message.message_id)) {
        return Ok(());
    }
    sink.happened(limits.time(Field::named("timestamp"), message.timestamp));
    let properties: Properties<'_> =
        object_or_default(Field::named("properties"), message.properties, limits)?;
    let about = about(kind, settings, message, context, &properties, sink)?;
    say(kind, &about, &properties, sink)
}

fn about<'a>(
    kind: Kind,
    settings: &Settings,
    message: &Message<'a>,
    context: Raw<'a>,
    properties: &Properties<'a>,
    sink: &mut Sink<'_>,
) -> Result<About<'a>, Reject> {
    let limits = sink.limits;
    let cart = ("cart_id", properties.cart_id);
    let order = ("order_id", properties.order_id.or(properties.order_id_v1));
    let user = match message.user_id {
        Some(_) => ("userId", message.user_id),
        None => ("anonymousId", message.anonymous_id),
    };
    let about_order = settings.order(order.0, order.1, sink);
    let user_id = sink.spare(Flaw::UnreadableUser, limits.id(Field::named(user.0), user.1));
    let (basket_field, basket) = match settings.basket {
        BasketField::Auto if properties.cart_id.is_none() && order.1.is_some() => order,
        BasketField::Auto | BasketField::Cart => cart,
        BasketField::Order => order,
        BasketField::User => user,
        BasketField::Session => {
            let context = message.context.or(context);
            let context: Context<'a> = object_or_default(Field::named("context"), context, limits)?;
            let session = properties.session_id.or(context.session_id);
            let session = limits.id(Field::named("session_id"), session)?;
            // Many libraries number sessions by the second they begin in: two visitors may have the same.
            let device = limits.id(Field::named("anonymousId"), message.anonymous_id);
            let device = sink.spare(Flaw::UnreadableUser, device);
            let session = scoped_session(session, device.as_deref(), user_id.as_deref());
            return Ok(About {
                basket: session.map(Cow::Owned),
                user: user_id,
                basket_field: "session_id beside an anonymousId or userId",
                without_basket: settings.basket.without(kind),
                order: about_order,
            });
        }
        BasketField::Key => ("key", None),
    };
    let basket = match settings.basket {
        BasketField::Key => sink.key_id()?,
        _ => limits.id(Field::named(basket_field), basket)?,
    };
    Ok(About {
        basket,
        user: user_id,
        basket_field,
        without_basket: settings.basket.without(kind),
        order: about_order,
    })
}

fn say<'a>(
    kind: Kind,
    about: &About<'a>,
    properties: &Properties<'a>,
    sink: &mut Sink<'_>,
) -> Result<(), Reject> {
    let limits = sink.limits;
    let own = [("product_id", properties.product_id), ("id", properties.id), ("sku", properties.sku)];
    if properties.products.is_none() && own.iter().any(|(_, raw)| raw.is_some()) {
        let line = line(limits, None, &own, properties.quantity);
        return sink.say(kind, about, std::iter::once(line), |_| String::new());
    }
    let products: List<'_, Product<'_>> = list("products", properties.products, limits)?;
    products.say(kind, about, sink, |place, product| {
        let ids = [("product_id", product.product_id), ("id", product.id), ("sku", product.sku)];
        line(limits, Some(("products", place)), &ids, kind.quantity(product.quantity))
    })
}
