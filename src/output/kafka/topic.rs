//! An output topic: made when it is missing, looked at when it is there.

use crate::output::SinkError;
use deltacart_inputs::kafka::{ClientLog, KafkaSettings, Role, describe, topic_partitions};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

/// The broker's own default for the number of replicas.
const REPLICATION_DEFAULT: i32 = -1;

/// How long is waited for the topic's policy, which is only for a warning.
const POLICY_PATIENCE: Duration = Duration::from_secs(3);

/// A topic as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// How many partitions it gets if it is made; one that exists keeps its own.
    pub partitions: u32,
    /// Whether the last record of each key is to be kept for ever: what tables of lists need. If not, the broker's
    /// default retention holds, and the policy of a topic that exists is not looked at.
    pub compacted: bool,
}

/// Makes the topic unless it exists. Warns in the log when one that exists forgets by time what it should keep by
/// key. Several processes may do so at once. Fails within the settings' start-up timeout if no broker answers.
pub fn ensure_topic(settings: &KafkaSettings, topic: &TopicSpec<'_>) -> Result<(), SinkError> {
    let exists = topic_partitions(settings, topic.name)?.is_some();
    if exists && !topic.compacted {
        return Ok(());
    }
    let log = ClientLog::default();
    let failed = |error: KafkaError| SinkError::Kafka {
        message: describe(&error, settings, Some(topic.name), log.cause().as_deref()),
    };
    let admin = settings.client_config(Role::Admin).create_with_context(log.clone()).map_err(failed)?;
    let made = !exists && make(&admin, topic, settings.startup_timeout()).map_err(failed)?;
    if topic.compacted && !made {
        warn_unless_compacted(&admin, topic);
    }
    Ok(())
}

/// Makes the topic; `false` if another process was faster.
fn make(
    admin: &AdminClient<ClientLog>,
    topic: &TopicSpec<'_>,
    patience: Duration,
) -> Result<bool, KafkaError> {
    let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
    let mut new = NewTopic::new(topic.name, partitions, TopicReplication::Fixed(REPLICATION_DEFAULT));
    if topic.compacted {
        new = new.set("cleanup.policy", "compact");
    }
    let options = AdminOptions::new().request_timeout(Some(patience)).operation_timeout(Some(patience));
    match block_on(admin.create_topics([&new], &options))?.into_iter().next() {
        Some(Ok(_)) => {
            tracing::info!(topic = topic.name, partitions, compacted = topic.compacted, "made the topic");
            Ok(true)
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        None => Err(KafkaError::AdminOp(RDKafkaErrorCode::Unknown)),
    }
}

/// A topic whose policy cannot be seen is taken as it is.
fn warn_unless_compacted(admin: &AdminClient<ClientLog>, topic: &TopicSpec<'_>) {
    let options = AdminOptions::new().request_timeout(Some(POLICY_PATIENCE));
    let answer = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic.name)], &options));
    let policy = match &answer {
        // Without the permission to see them a topic seems to have no properties.
        Ok(resources) => match resources.first() {
            Some(Ok(resource)) => resource.get("cleanup.policy").and_then(|entry| entry.value.as_deref()),
            _ => None,
        },
        Err(_) => None,
    };
    match policy {
        Some("compact") => {}
        Some(policy) => tracing::warn!(
            topic = topic.name,
            "the topic's cleanup.policy is {policy}: lists that do not change for long will be lost; set it to compact"
        ),
        None => tracing::debug!(topic = topic.name, "the topic's cleanup.policy cannot be seen: {answer:?}"),
    }
}

/// Waits for a future on this thread.
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
