//! How many partitions a topic has, at the start and ever after.

use super::connection::Connection;
use super::settings::{KafkaSettings, Role};
use crate::SourceError;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How often in a row a topic must be said not to exist before that is believed: a broker that has just started, or
/// just heard of the topic, may be wrong for a moment.
const ABSENCES: u32 = 3;
/// How long such a broker gets between two questions while the job runs.
const ABSENCE_PAUSE: Duration = Duration::from_secs(1);
/// Looking more often would burden the brokers.
const PERIOD_MIN: Duration = Duration::from_millis(100);
/// The longest name that Kafka allows.
const NAME_LENGTH_MAX: usize = 249;

/// How many partitions `topic` has; `None` if there is no such topic. Fails if no broker answers within the settings'
/// start-up timeout, or if a broker refuses to tell.
pub fn topic_partitions(settings: &KafkaSettings, topic: &str) -> Result<Option<usize>, SourceError> {
    let deadline = Instant::now() + settings.startup_timeout();
    Connection::new(settings, Role::Admin, topic)?.partitions(deadline)
}

impl Connection {
    /// How many partitions the topic has; `None` if there is no such topic.
    pub(super) fn partitions(&self, deadline: Instant) -> Result<Option<usize>, SourceError> {
        if !is_name(&self.topic) {
            return Err(self.error(&KafkaError::MetadataFetch(Code::InvalidTopic)));
        }
        let mut absences = 0;
        self.ask(deadline, |patience| match look_up(self, patience)? {
            Found::Partitions(partitions) => Ok(Some(Some(partitions))),
            Found::Absent => {
                absences += 1;
                Ok((absences == ABSENCES).then_some(None))
            }
            Found::NotYet => Ok(None),
        })
    }
}

enum Found {
    Partitions(usize),
    Absent,
    /// It is there, or about to be; a leader is being elected.
    NotYet,
}

fn look_up(connection: &Connection, patience: Duration) -> KafkaResult<Found> {
    let metadata = connection.consumer.fetch_metadata(Some(&connection.topic), patience)?;
    let Some(topic) = metadata.topics().first() else { return Ok(Found::NotYet) };
    match topic.error().map(Code::from) {
        None if topic.partitions().is_empty() => Ok(Found::NotYet),
        None => Ok(Found::Partitions(topic.partitions().len())),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => Ok(Found::Absent),
        Some(Code::LeaderNotAvailable) => Ok(Found::NotYet),
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

/// Whether Kafka allows a topic of this name.
fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_LENGTH_MAX).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(allowed)
}

/// Looks at the topic again and again, on a thread of its own because each look waits for a broker.
pub(super) struct Watch {
    news: Receiver<News>,
    /// Dropped to end the thread.
    _stop: Sender<()>,
}

/// What a watch has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The topic has this many partitions: more than before.
    Grown(usize),
    /// The topic was deleted.
    Deleted,
}

impl Watch {
    /// Begins to look at the topic, which has `partitions` partitions, every `period`.
    pub(super) fn new(
        connection: Arc<Connection>,
        partitions: usize,
        period: Duration,
    ) -> std::io::Result<Watch> {
        let (news_sender, news) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let period = period.max(PERIOD_MIN);
        thread::Builder::new()
            .name("kafka-topic".into())
            .spawn(move || watch(&connection, partitions, period, &news_sender, &stopped))?;
        Ok(Watch { news, _stop: stop })
    }

    /// What has been seen since the last call, oldest first. Never waits.
    pub(super) fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }
}

fn watch(
    connection: &Connection,
    mut partitions: usize,
    period: Duration,
    news: &Sender<News>,
    stopped: &Receiver<()>,
) {
    let mut absences = 0;
    let mut pause = period;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = period;
        match look_up(connection, ABSENCE_PAUSE) {
            Ok(Found::Partitions(now)) => {
                absences = 0;
                if now > partitions {
                    partitions = now;
                    // Nobody may listen any more.
                    let _ = news.send(News::Grown(now));
                }
            }
            Ok(Found::Absent) => {
                absences += 1;
                pause = pause.min(ABSENCE_PAUSE);
                if absences == ABSENCES {
                    let _ = news.send(News::Deleted);
                    return;
                }
            }
            Ok(Found::NotYet) => {}
            // The consumer's own fetches say what is wrong, if it lasts.
            Err(error) => {
                tracing::debug!(topic = connection.topic, %error, "the topic could not be looked at")
            }
        }
    }
}
