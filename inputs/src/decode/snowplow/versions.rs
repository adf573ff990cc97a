//! Enriched events whose columns are named by the whole version of their schema, as loaders of warehouses write them:
//! `contexts_com_snowplowanalytics_snowplow_ecommerce_product_1_0_0`. A table has a column for each version that was
//! ever sent, and of an event all but one are null.

use super::Record;
use crate::decode::fields::{Field, Raw};
use crate::decode::json::object;
use crate::decode::{Limits, Reject};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

const ACTION: &str = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1_";

/// The entities, each with its column's name before the version's minor number.
const ENTITIES: [&str; 5] = [
    "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1_",
    "contexts_com_snowplowanalytics_snowplow_ecommerce_cart_1_",
    "contexts_com_snowplowanalytics_snowplow_ecommerce_transaction_1_",
    "contexts_com_snowplowanalytics_snowplow_ecommerce_refund_1_",
    "contexts_com_snowplowanalytics_snowplow_client_session_1_",
];

/// Whether `text` may have such columns.
pub(super) fn may_be_in(text: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), b"snowplow_ecommerce_action_1_").is_some()
}

/// Fills what `record` lacks from such columns of `text`; the first of several versions counts.
pub(super) fn fill<'a>(record: &mut Record<'a>, text: &'a str, limits: &Limits) -> Result<(), Reject> {
    let Versioned { action, entities } = object(Field::named("value"), text, limits)?;
    record.action = record.action.or(action);
    let [products, carts, transactions, refunds, client_sessions] = entities;
    record.products = record.products.or(products);
    record.carts = record.carts.or(carts);
    record.transactions = record.transactions.or(transactions);
    record.refunds = record.refunds.or(refunds);
    record.client_sessions = record.client_sessions.or(client_sessions);
    Ok(())
}

#[derive(Default)]
struct Versioned<'a> {
    action: Raw<'a>,
    entities: [Raw<'a>; 5],
}

/// Whether `rest` is the end of a version, such as `0_2`.
fn is_version(rest: &str) -> bool {
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

impl<'de> Deserialize<'de> for Versioned<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Versioned<'de>, D::Error> {
        struct VersionedVisitor;

        impl<'de> Visitor<'de> for VersionedVisitor {
            type Value = Versioned<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Versioned<'de>, A::Error> {
                let mut versioned = Versioned::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let value: Raw<'de> = map.next_value()?;
                    let is_of = |column: &str| name.strip_prefix(column).is_some_and(is_version);
                    let place = if is_of(ACTION) {
                        Some(&mut versioned.action)
                    } else {
                        let entity = ENTITIES.iter().position(|column| is_of(column));
                        entity.map(|entity| &mut versioned.entities[entity])
                    };
                    if let Some(place) = place {
                        *place = place.or(value.filter(|value| value.get() != "[]"));
                    }
                }
                Ok(versioned)
            }
        }

        deserializer.deserialize_map(VersionedVisitor)
    }
}
