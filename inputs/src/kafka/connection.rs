//! A consumer, and the patience to ask brokers questions with it while a job starts.

use super::client::ClientLog;
use super::describe::describe;
use super::release::Released;
use super::settings::{KafkaSettings, Role};
use crate::SourceError;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// How long the first try of a question may take. Each further one may take twice as long, for far brokers; between
/// two tries it is seen whether a broker has refused us, so that a wrong password is reported at once.
const FIRST_TRY: Duration = Duration::from_millis(250);
/// Between two tries of a question that is answered at once, but not as it should.
const PAUSE: Duration = Duration::from_millis(100);

/// A consumer of one topic, and all that its errors need to be explained.
pub(super) struct Connection {
    pub(super) consumer: Released<Arc<BaseConsumer<ClientLog>>>,
    pub(super) topic: String,
    pub(super) log: ClientLog,
    settings: KafkaSettings,
}

impl Connection {
    /// Makes the client. Nothing is sent yet; what can fail is a property.
    pub(super) fn new(settings: &KafkaSettings, role: Role, topic: &str) -> Result<Connection, SourceError> {
        let log = ClientLog::default();
        let consumer = BaseConsumer::from_config_and_context(&settings.client_config(role), log.clone())
            .map_err(|error| SourceError::Kafka { message: describe(&error, settings, None, None) })?;
        let consumer = Released::new(Arc::new(consumer));
        Ok(Connection { consumer, topic: topic.into(), log, settings: settings.clone() })
    }

    /// Asks until there is an answer, an error that waiting does not cure, or no time left. `question` gets the time
    /// that it may take; it may answer `None` while a leader is being elected.
    pub(super) fn ask<T>(
        &self,
        deadline: Instant,
        mut question: impl FnMut(Duration) -> KafkaResult<Option<T>>,
    ) -> Result<T, SourceError> {
        let mut patience = FIRST_TRY;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = question(patience.min(left.max(PAUSE)));
            let error = match answer {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => KafkaError::MetadataFetch(Code::LeaderNotAvailable),
                Err(error) => error,
            };
            self.serve_log();
            if let Some(refusal) = self.log.refusal() {
                return Err(self.error(&KafkaError::Global(refusal)));
            }
            if is_permanent(&error) || Instant::now() >= deadline {
                return Err(self.error(&error));
            }
            thread::sleep(PAUSE);
            patience *= 2;
        }
    }

    /// `error` in words.
    pub(super) fn error(&self, error: &KafkaError) -> SourceError {
        let cause = self.log.cause();
        SourceError::Kafka { message: describe(error, &self.settings, Some(&self.topic), cause.as_deref()) }
    }

    /// Lets the client's errors and log lines reach its context: librdkafka hands them over only when it is polled.
    /// Only for clients to which no partition has been assigned.
    fn serve_log(&self) {
        for _ in 0..100 {
            // What is an error here has been recorded by the context.
            let _ = self.consumer.poll(Duration::ZERO);
        }
    }
}

/// Whether waiting does not cure `error`: librdkafka itself goes on trying after all others.
pub(super) fn is_permanent(error: &KafkaError) -> bool {
    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
    fatal
        || matches!(
            error.rdkafka_error_code(),
            Some(
                Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::UnknownPartition
                    | Code::InvalidTopic
                    | Code::InvalidGroupId
                    | Code::UnknownMemberId
                    | Code::IllegalGeneration
                    | Code::FencedInstanceId
                    | Code::AutoOffsetReset
                    | Code::OffsetOutOfRange
                    | Code::Authentication
                    | Code::SaslAuthenticationFailed
                    | Code::UnsupportedSASLMechanism
                    | Code::UnsupportedVersion
                    | Code::UnsupportedFeature
                    | Code::UnsupportedCompressionType
                    | Code::BadCompression
                    | Code::BadMessage
                    | Code::InvalidMessage
                    | Code::NotImplemented
                    | Code::Fatal
            )
        )
}
