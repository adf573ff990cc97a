//! What librdkafka says in passing: kept for the error message it explains, instead of on standard error.

use super::open_transactions::{End, OpenTransactions};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The context of a client. Clones share what they have heard: keep one, give the other to the client. A producer's
/// own context hands its `log` and `error` on to one.
#[derive(Clone, Debug, Default)]
pub struct ClientLog {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug, Default)]
struct Heard {
    /// Why the last connection failed.
    cause: Option<String>,
    /// A broker was reached and will not have us: waiting does not help.
    refusal: Option<RDKafkaErrorCode>,
    /// When somebody was last told that no broker can be reached.
    warned: Option<Instant>,
    /// Where each partition of a consumer's topic ends, as its last fetch said.
    ends: BTreeMap<u32, End>,
    open: OpenTransactions,
}

/// The part of librdkafka's statistics that is wanted.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: BTreeMap<String, Topic>,
}

#[derive(Deserialize)]
struct Topic {
    #[serde(default)]
    partitions: BTreeMap<i32, Watermarks>,
}

/// Below 0 where they are not known.
#[derive(Deserialize)]
struct Watermarks {
    hi_offset: i64,
    ls_offset: i64,
}

impl Watermarks {
    fn end(&self) -> Option<End> {
        let high_watermark = u64::try_from(self.hi_offset).ok()?;
        // Below 0 for those who read everything.
        let stable = u64::try_from(self.ls_offset).unwrap_or(high_watermark).min(high_watermark);
        Some(End { high_watermark, stable })
    }
}

/// Says that a partition cannot be read to its end, and since when, if that is known.
pub(super) fn warn_of_open_transaction(topic: &str, partition: u32, end: End, open: Option<Duration>) {
    let (offset, hidden) = (end.stable, end.hidden());
    let since = open.map_or(String::new(), |open| format!(" for {} s", open.as_secs()));
    tracing::warn!(
        topic,
        partition,
        offset,
        hidden,
        "a transaction has been open{since}: what is behind it cannot be read until its producer, or the broker, ends it"
    );
}

/// librdkafka says many times a second that no broker can be reached; once in this time is enough.
const WARN_EVERY: Duration = Duration::from_secs(30);

impl ClientLog {
    /// Why the last connection failed, in librdkafka's words without its decoration.
    pub fn cause(&self) -> Option<String> {
        self.heard().cause.clone()
    }

    /// The error of a login or a TLS handshake that failed, or of a permission that is missing.
    pub fn refusal(&self) -> Option<RDKafkaErrorCode> {
        self.heard().refusal
    }

    /// Where each partition ends, from time to time.
    pub(super) fn ends(&self) -> BTreeMap<u32, End> {
        self.heard().ends.clone()
    }

    /// Keeps where partitions end, and warns of those that cannot be read to their end.
    fn take(&self, statistics: Statistics, now: Instant) {
        let mut heard = self.heard();
        // A consumer has one topic.
        for (topic, Topic { partitions }) in statistics.topics {
            let ends = partitions
                .into_iter()
                .filter_map(|(number, marks)| Some((number.try_into().ok()?, marks.end()?)));
            for (partition, end) in ends {
                heard.ends.insert(partition, end);
                if let Some(open) = heard.open.follow(partition, end, now) {
                    warn_of_open_transaction(&topic, partition, end, Some(open));
                }
            }
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // What is kept is valid after every assignment, so a panic elsewhere spoils nothing.
        self.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let line = message.trim();
        match level {
            // What happens to a connection, and to a transaction, comes as an error too.
            _ if ["FAIL", "TXNERR", "ADDPARTS"].contains(&facility) => {
                tracing::debug!(target: "librdkafka", facility, "{line}")
            }
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => tracing::warn!(target: "librdkafka", facility, "{line}"),
            _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice::<Statistics>(statistics) {
            Ok(statistics) => self.take(statistics, Instant::now()),
            Err(error) => tracing::debug!(target: "librdkafka", %error, "statistics that cannot be read"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, PartitionEOF};
        match error.rdkafka_error_code() {
            Some(PartitionEOF) => {}
            // Says less than the error before it.
            Some(AllBrokersDown) => {
                let mut heard = self.heard();
                let told = heard.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY);
                if let Some(cause) = heard.cause.as_ref().filter(|_| !told) {
                    tracing::warn!("no broker can be reached: {cause}; trying again");
                    heard.warned = Some(Instant::now());
                }
            }
            Some(code) => {
                tracing::debug!(target: "librdkafka", "{reason}");
                let mut heard = self.heard();
                let refused = is_refusal(code);
                // A refusal explains more than the broken connections around it.
                if refused || heard.refusal.is_none() {
                    heard.cause = Some(undecorated(reason).to_string());
                    heard.refusal = refused.then_some(code);
                }
            }
            None => tracing::debug!(target: "librdkafka", "{error}: {reason}"),
        }
    }
}

impl ConsumerContext for ClientLog {}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        Authentication, ClusterAuthorizationFailed, GroupAuthorizationFailed, SSL, SaslAuthenticationFailed,
        TopicAuthorizationFailed, TransactionalIdAuthorizationFailed,
    };
    let login = matches!(code, Authentication | SaslAuthenticationFailed | SSL);
    login
        || matches!(
            code,
            ClusterAuthorizationFailed
                | GroupAuthorizationFailed
                | TopicAuthorizationFailed
                | TransactionalIdAuthorizationFailed
        )
}

/// `sasl_plaintext://host:9092/bootstrap: what happened (after 3ms in state CONNECT, …)` without what stands around it.
fn undecorated(reason: &str) -> &str {
    let reason = reason.split_once(" (after ").map_or(reason, |(what, _)| what);
    let named = reason.split_once(": ").filter(|(name, _)| name.contains('/') || name.contains(':'));
    named.map_or(reason, |(_, what)| what).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_lose_their_decoration() {
        for (reason, what) in [
            (
                "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
                "Connect to ipv4#127.0.0.1:1 failed: Connection refused",
            ),
            (
                "sasl_plaintext://127.0.0.1:9092/1: SASL authentication error: no (after 3ms in state AUTH_REQ)",
                "SASL authentication error: no",
            ),
            ("Topic carts: unknown", "Topic carts: unknown"),
            ("", ""),
        ] {
            assert_eq!(undecorated(reason), what);
        }
    }

    #[test]
    fn a_refusal_is_not_covered_by_what_follows() {
        let log = ClientLog::default();
        let error = |code, reason: &str| log.error(KafkaError::Global(code), reason);
        error(RDKafkaErrorCode::BrokerTransportFailure, "h:1/1: refused");
        assert_eq!((log.cause().as_deref(), log.refusal()), (Some("refused"), None));
        error(RDKafkaErrorCode::Authentication, "h:1/1: wrong password");
        error(RDKafkaErrorCode::BrokerTransportFailure, "h:1/1: closed");
        error(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        error(RDKafkaErrorCode::PartitionEOF, "end");
        assert_eq!(log.cause().as_deref(), Some("wrong password"));
        assert_eq!(log.refusal(), Some(RDKafkaErrorCode::Authentication));
    }
}
