//! How many partitions a topic has, at the start and ever after.

use super::connection::Connection;
use super::identity::topic_id;
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

/// A topic as brokers describe it at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// How many partitions it has; at least 1.
    pub partitions: usize,
    /// What tells it from another topic of that name, before or after it; `None` where brokers give topics no ids, as
    /// before Kafka 2.8.
    pub id: Option<String>,
}

/// How many partitions a topic has that exists: one that was seen a moment ago, or made. A broker that has not heard of
/// it yet is asked again.
///
/// # Errors
/// When it is still unknown at the end of the settings' start-up timeout, when no broker answers, or when one refuses
/// to tell.
pub fn existing_partitions(settings: &KafkaSettings, topic: &str) -> Result<usize, SourceError> {
    let deadline = Instant::now() + settings.startup_timeout();
    Connection::new(settings, Role::Admin, topic)?.existing_partitions(deadline)
}

/// How a topic is described that exists, in the same way.
///
/// # Errors
/// Those of [`existing_partitions`].
pub fn existing_topic(settings: &KafkaSettings, topic: &str) -> Result<TopicState, SourceError> {
    let deadline = Instant::now() + settings.startup_timeout();
    let connection = Connection::new(settings, Role::Admin, topic)?;
    let partitions = connection.existing_partitions(deadline)?;
    Ok(TopicState { partitions, id: connection.topic_id(deadline)? })
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

    /// How many partitions a topic has that is known to be there, if not to every broker.
    fn existing_partitions(&self, deadline: Instant) -> Result<usize, SourceError> {
        loop {
            match self.partitions(deadline)? {
                Some(partitions) => return Ok(partitions),
                None if Instant::now() < deadline => {}
                None => return Err(self.absent()),
            }
        }
    }

    /// What is said where there is no such topic.
    pub(super) fn absent(&self) -> SourceError {
        self.error(&KafkaError::MetadataFetch(Code::UnknownTopicOrPartition))
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
    news: Receiver<TopicChange>,
    /// Dropped to end the thread.
    _stop: Sender<()>,
}

/// What may happen to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicChange {
    /// It has this many partitions: more than before.
    Grown(usize),
    /// It was deleted.
    Deleted,
    /// It was deleted, and there is another one of that name.
    Replaced,
}

/// Looks at a topic that nothing is read from.
pub struct TopicWatch(Watch);

impl TopicWatch {
    /// Looks at the topic, which was as `began` says, now and then every `period`; at least every 0.1 s.
    ///
    /// # Errors
    /// When no broker answers within the settings' start-up timeout, or there is no thread to be had.
    pub fn start(
        settings: &KafkaSettings,
        topic: &str,
        began: &TopicState,
        period: Duration,
    ) -> Result<TopicWatch, SourceError> {
        let deadline = Instant::now() + settings.startup_timeout();
        let connection = Connection::new(settings, Role::Admin, topic)?;
        let (first_news, news) = mpsc::channel();
        let now = match connection.partitions(deadline)? {
            None => Some(TopicChange::Deleted),
            Some(_) if began.is_replaced_by(connection.topic_id(deadline)?.as_deref()) => {
                Some(TopicChange::Replaced)
            }
            Some(partitions) => (partitions > began.partitions).then_some(TopicChange::Grown(partitions)),
        };
        if let Some(change) = now {
            // Its receiver is here.
            let _ = first_news.send(change);
        }
        let watch = Watch::spawn(Arc::new(connection), began.clone(), period, (first_news, news));
        let no_thread =
            |error| SourceError::Kafka { message: format!("no thread to look at topic {topic}: {error}") };
        Ok(TopicWatch(watch.map_err(no_thread)?))
    }

    /// The next thing that has happened to it, if something has. Never waits.
    pub fn change(&self) -> Option<TopicChange> {
        self.0.news().next()
    }
}

impl TopicState {
    /// Whether a topic of this id, if it has one, is another one.
    fn is_replaced_by(&self, id: Option<&str>) -> bool {
        matches!((self.id.as_deref(), id), (Some(then), Some(now)) if then != now)
    }
}

impl Watch {
    /// Begins to look at the topic, which has `partitions` partitions, every `period`.
    pub(super) fn new(
        connection: Arc<Connection>,
        partitions: usize,
        period: Duration,
    ) -> std::io::Result<Watch> {
        // Which topic it is, is known at the next start: it matters to those who resume from offsets.
        let began = TopicState { partitions, id: None };
        Watch::spawn(connection, began, period, mpsc::channel())
    }

    fn spawn(
        connection: Arc<Connection>,
        began: TopicState,
        period: Duration,
        (news_sender, news): (Sender<TopicChange>, Receiver<TopicChange>),
    ) -> std::io::Result<Watch> {
        let (stop, stopped) = mpsc::channel();
        let period = period.max(PERIOD_MIN);
        thread::Builder::new()
            .name("kafka-topic".into())
            .spawn(move || watch(&connection, began, period, &news_sender, &stopped))?;
        Ok(Watch { news, _stop: stop })
    }

    /// What has been seen since the last call, oldest first. Never waits.
    pub(super) fn news(&self) -> impl Iterator<Item = TopicChange> {
        self.news.try_iter()
    }
}

fn watch(
    connection: &Connection,
    mut known: TopicState,
    period: Duration,
    news: &Sender<TopicChange>,
    stopped: &Receiver<()>,
) {
    let mut absences = 0;
    let mut pause = period;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = period;
        match look_up(connection, ABSENCE_PAUSE) {
            Ok(Found::Partitions(now)) => {
                absences = 0;
                // Where the id does not matter it is not asked for. Nobody may listen any more.
                let id = known.id.as_ref().and_then(|_id| topic_id(connection, ABSENCE_PAUSE).ok());
                if known.is_replaced_by(id.as_deref()) {
                    let _ = news.send(TopicChange::Replaced);
                    return;
                }
                if now > known.partitions {
                    known.partitions = now;
                    let _ = news.send(TopicChange::Grown(now));
                }
            }
            Ok(Found::Absent) => {
                absences += 1;
                pause = pause.min(ABSENCE_PAUSE);
                if absences == ABSENCES {
                    let _ = news.send(TopicChange::Deleted);
                    return;
                }
            }
            Ok(Found::NotYet) => {}
            // Whoever reads from it, or writes to it, says what is wrong, if it lasts.
            Err(error) => {
                tracing::debug!(topic = connection.topic, %error, "the topic could not be looked at")
            }
        }
    }
}
