//! Waiting for open transactions of a topic: records after them cannot be read yet.

use crate::output::SinkError;
use deltacart_inputs::Share;
use deltacart_inputs::kafka::{ClientLog, KafkaSettings, Role, describe, topic_partitions};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// How long the job waits before it logs a warning.
const MOMENT: Duration = Duration::from_secs(1);

/// Waits until no transaction is open in this worker's share of the partitions of `topic`. Then everything ever
/// committed can be read. The job's own transactions ended when its slots were fenced. Records that a producer has
/// committed become readable a few milliseconds later.
///
/// # Errors
/// When no broker answers, or a transaction is still open after `patience`.
pub fn wait_for_open_transactions(
    settings: &KafkaSettings,
    topic: &str,
    share: Share,
    patience: Duration,
) -> Result<(), SinkError> {
    let partitions = topic_partitions(settings, topic)?.unwrap_or(0) as u32;
    let log = ClientLog::default();
    let failed = |error: KafkaError| SinkError::Kafka {
        message: describe(&error, settings, Some(topic), log.cause().as_deref()),
    };
    let reader = |isolation: &str| -> Result<BaseConsumer<ClientLog>, SinkError> {
        let mut config = settings.client_config(Role::Consumer);
        config.set("isolation.level", isolation).create_with_context(log.clone()).map_err(failed)
    };
    let (committed, all) = (reader("read_committed")?, reader("read_uncommitted")?);
    let start = Instant::now();
    let mut is_told = false;
    for partition in (0..partitions).filter(|partition| share.owns(*partition)) {
        let end = |consumer: &BaseConsumer<ClientLog>| {
            let ends = consumer
                .fetch_watermarks(topic, partition as i32, settings.startup_timeout())
                .map_err(failed);
            ends.map(|(_low, high)| high)
        };
        let known = end(&all)?;
        while end(&committed)? < known {
            if start.elapsed() >= patience {
                return Err(SinkError::Kafka { message: still_open(topic, partition, patience) });
            }
            if start.elapsed() >= MOMENT && !std::mem::replace(&mut is_told, true) {
                tracing::warn!(topic, partition, "waiting for a transaction of another producer to end");
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn still_open(topic: &str, partition: u32, patience: Duration) -> String {
    format!(
        "topic {topic}, partition {partition}: a transaction of another producer has been open for {} s, and update is \
         behind it cannot be read: end that producer, or give the job an --output of its own",
        patience.as_secs()
    )
}
