//! The thread that asks: one schema after the other, and again until there is an answer.

use super::client::{Failure, Found};
use super::schema::Schema;
use super::shared::{Outcome, Place, Shared};
use std::sync::Arc;
use std::time::Duration;

/// The pause after the first question without an answer; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Asks for what is wanted, until nobody wants anything any more.
pub(super) fn run(shared: &Shared) {
    let mut pause = None;
    while let Some(id) = shared.next() {
        let found = match &shared.place {
            Place::Registry(client) => client.find(id),
            Place::Folder(folder) => folder.find(id),
        };
        match found {
            Ok(found) => {
                if pause.take().is_some() {
                    tracing::warn!("the schema registry at {} answers again", shared.name);
                }
                shared.tell(id, outcome(found));
            }
            Err(Failure::Refused(why)) => return shared.refuse(why),
            Err(Failure::Away(why)) => {
                // Said once: whoever looks later sees it in the metrics.
                if pause.is_none() {
                    tracing::warn!("waiting for the schema registry at {}: {why}; trying again", shared.name);
                }
                let next = pause.map_or(PAUSE_MIN, |pause: Duration| (pause * 2).min(PAUSE_MAX));
                pause = Some(next);
                shared.put_off(next);
            }
        }
    }
}

fn outcome(found: Found) -> Outcome {
    match found {
        Found::Missing => Outcome::Missing,
        Found::Unusable(why) => Outcome::Unusable(why.into()),
        Found::Schema(source) => match Schema::new(&source) {
            Ok(schema) => Outcome::Known(Arc::new(schema)),
            Err(why) => Outcome::Unusable(why.into()),
        },
    }
}
