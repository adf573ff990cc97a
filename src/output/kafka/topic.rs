//! An output topic: created when it is missing, checked when it exists.

use crate::output::SinkError;
use deltacart_inputs::kafka::{
    ClientLog, KafkaSettings, Role, TopicState, describe, existing_partitions, existing_topic,
    topic_partitions,
};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// Asks the broker for its own default number of replicas.
const REPLICATION_DEFAULT: i32 = -1;

/// How long to wait for the topic's properties, which are only used for a warning.
const PROPERTIES_PATIENCE: Duration = Duration::from_secs(3);

/// The policy that keeps the last record of each key.
const POLICY: (&str, &str) = ("cleanup.policy", "compact");

/// Properties for a compacted topic of lists that change often. A broker's defaults are made for logs. The broker never
/// compacts the active segment, which by default lasts until 1 GiB or a week. It then waits until half of the log is
/// outdated. So a topic holds each list a thousand times over, and every start of the job or of a consumer reads all
/// of that.
pub const TABLE_PROPERTIES: [(&str, &str); 3] = [
    // 16 MiB: lists compress well, so this is some 200 MiB of them.
    ("segment.bytes", "16777216"),
    // Ten minutes: a start reads at most the changes since then, and each list once.
    ("segment.ms", "600000"),
    // Compacts once a tenth of the log is outdated, instead of half.
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// The topic that the job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number of partitions of a new topic. An existing topic keeps its own.
    pub partitions: u32,
    /// Whether the topic is compacted, to keep the last record of each key for ever, as lists need. A new topic then
    /// also gets [`TABLE_PROPERTIES`]. Otherwise the broker's defaults hold, and properties of an existing topic are
    /// not checked.
    pub compacted: bool,
}

/// Creates the topic unless it exists, and returns its partitions and, if it is compacted, its id. Logs a warning if
/// a topic that should be compacted deletes records by time, or is compacted too seldom. Several processes may call
/// this at once.
///
/// # Errors
/// Within the settings' start-up timeout: when no broker answers, when a permission is missing, or when the topic
/// does not appear although it was created.
pub fn ensure_topic(settings: &KafkaSettings, topic: &TopicSpec<'_>) -> Result<TopicState, SinkError> {
    let log = ClientLog::default();
    let failed = |error: KafkaError| SinkError::Kafka {
        message: describe(&error, settings, Some(topic.name), log.cause().as_deref()),
    };
    let admin = || settings.client_config(Role::Admin).create_with_context(log.clone()).map_err(failed);
    if topic_partitions(settings, topic.name)?.is_none() {
        make(&admin()?, topic, settings.startup_timeout()).map_err(failed)?;
    }
    // Brokers learn of a new topic one by one, some of them a moment later.
    if !topic.compacted {
        return Ok(TopicState { partitions: existing_partitions(settings, topic.name)?, id: None });
    }
    let state = existing_topic(settings, topic.name)?;
    // A topic created here is checked as well: another process, or a broker that creates topics, may have been
    // faster.
    advise(&admin()?, topic, settings.brokers());
    Ok(state)
}

/// Creates the topic, unless another process is faster. Some brokers do not accept [`TABLE_PROPERTIES`]: then the
/// topic is created without them.
fn make(admin: &AdminClient<ClientLog>, topic: &TopicSpec<'_>, patience: Duration) -> Result<(), KafkaError> {
    if !topic.compacted {
        return make_with(admin, topic, &[], patience);
    }
    let all: Vec<(&str, &str)> = [POLICY].into_iter().chain(TABLE_PROPERTIES).collect();
    match make_with(admin, topic, &all, patience) {
        Err(KafkaError::AdminOp(RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::PolicyViolation)) => {
            make_with(admin, topic, &[POLICY], patience)
        }
        made => made,
    }
}

fn make_with(
    admin: &AdminClient<ClientLog>,
    topic: &TopicSpec<'_>,
    properties: &[(&str, &str)],
    patience: Duration,
) -> Result<(), KafkaError> {
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
    let new = NewTopic::new(topic.name, partitions, TopicReplication::Fixed(REPLICATION_DEFAULT));
    let new = properties.iter().fold(new, |new, (name, value)| new.set(name, value));
    let options = AdminOptions::new().request_timeout(Some(patience)).operation_timeout(Some(patience));
    match block_on(admin.create_topics([&new], &options))?.into_iter().next() {
        Some(Ok(_)) => {
            tracing::info!(topic = topic.name, partitions, compacted = topic.compacted, "made the topic");
            Ok(())
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Unknown)),
    }
}

/// Logs what is wrong with the properties of a compacted topic. If they cannot be read, there is no warning.
fn advise(admin: &AdminClient<ClientLog>, topic: &TopicSpec<'_>, brokers: &str) {
    let options = AdminOptions::new().request_timeout(Some(PROPERTIES_PATIENCE));
    let answer = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic.name)], &options));
    let resource = match &answer {
        Ok(resources) => resources.first().and_then(|resource| resource.as_ref().ok()),
        Err(_) => None,
    };
    let policy = resource.and_then(|resource| resource.get(POLICY.0)?.value.as_deref());
    // Without permission to read them, a topic appears to have no properties.
    let (Some(resource), Some(policy)) = (resource, policy) else {
        tracing::debug!(topic = topic.name, "the topic's properties cannot be seen: {answer:?}");
        return;
    };
    if policy != POLICY.1 {
        tracing::warn!(
            topic = topic.name,
            "the topic's cleanup.policy is {policy}: lists that do not change for long will be lost; set it to compact"
        );
        return;
    }
    let better = better_properties(resource);
    if !better.is_empty() {
        tracing::warn!(
            topic = topic.name,
            "the topic is compacted seldom, and every start reads all of it; better: kafka-configs.sh \
             --bootstrap-server {brokers} --alter --entity-type topics --entity-name {} --add-config {}",
            topic.name,
            better.join(",")
        );
    }
}

/// The properties that would make a topic compact more often. Values that were set on this topic are left alone.
fn better_properties(found: &ConfigResource) -> Vec<String> {
    let is_worse = |name: &str, ours: &str| {
        let entry = found.get(name)?;
        let theirs = entry.value.as_deref()?.parse::<f64>().ok()?;
        let is_chosen = entry.source == ConfigSource::DynamicTopic;
        Some(!is_chosen && theirs > ours.parse::<f64>().ok()?)
    };
    let worse = TABLE_PROPERTIES.iter().filter(|(name, ours)| is_worse(name, ours).unwrap_or(false));
    worse.map(|(name, ours)| format!("{name}={ours}")).collect()
}

/// Blocks this thread until a future is ready.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
