//! Callbacks of a producer: they count acknowledgements and keep the first failure, which can be explained.
//!
//! All other messages of the client go to the log, as those of the sources' clients do.

use crate::output::SinkError;
use deltacart_inputs::kafka::{ClientLog, KafkaSettings, describe};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The delivery reports of one producer.
pub(super) struct Reports {
    settings: KafkaSettings,
    /// The names of its topics.
    topics: String,
    log: ClientLog,
    /// Messages that have been acknowledged or have failed.
    settled: AtomicU64,
    /// The error of the first message that failed, and the topic of the message.
    failure: Mutex<Option<(KafkaError, String)>>,
}

impl Reports {
    /// No reports yet. `topics` are the names of the producer's topics, for messages.
    pub(super) fn new(settings: &KafkaSettings, topics: &str) -> Self {
        Reports {
            settings: settings.clone(),
            topics: topics.to_owned(),
            log: ClientLog::default(),
            settled: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    pub(super) fn failure(&self) -> Option<KafkaError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().map(|(error, _topic)| error.clone())
    }

    /// The topic that an error concerns, as far as is known: that of the message that failed with it, or all.
    fn topic_of(&self, error: &KafkaError) -> String {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let of_message = failure.as_ref().filter(|(failure, _topic)| failure == error);
        of_message.map_or_else(|| self.topics.clone(), |(_failure, topic)| topic.clone())
    }

    /// Explains an error: what is wrong, and what to change.
    pub(super) fn explain(&self, error: &KafkaError) -> SinkError {
        let topic = &self.topic_of(error);
        let brokers = self.settings.brokers();
        let cause = self.log.cause();
        let message = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => format!(
                "topic {topic} at {brokers} refuses a batch as too large: raise its max.message.bytes, or lower \
                 -X message.max.bytes and batch.size"
            ),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                format!(
                    "no permission to write to topic {topic} at {brokers}: grant WRITE and DESCRIBE on it"
                )
            }
            Some(RDKafkaErrorCode::ClusterAuthorizationFailed) => format!(
                "no permission at {brokers} to write to topic {topic} without duplicates: grant IDEMPOTENT_WRITE \
                 on the cluster"
            ),
            Some(RDKafkaErrorCode::MessageTimedOut) => format!(
                "topic {topic} at {brokers} has not acknowledged a record within -X delivery.timeout.ms or \
                 transaction.timeout.ms{}: has it been deleted, or is the broker that holds it down?",
                cause.map_or(String::new(), |cause| format!(" ({cause})"))
            ),
            Some(RDKafkaErrorCode::InvalidRecord) => {
                format!(
                    "topic {topic} at {brokers} refuses a record: is its cleanup.policy compact, and has it a key?"
                )
            }
            _ => describe(error, &self.settings, Some(topic), cause.as_deref()),
        };
        SinkError::Kafka { message }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.log.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Most errors are temporary: a broker that restarts, an idle connection that was closed. Permanent ones are
        // reported as failed deliveries.
        self.log.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, message)) = result {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| (error.clone(), message.topic().to_owned()));
        }
        self.settled.fetch_add(1, Ordering::Release);
    }
}
