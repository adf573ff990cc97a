//! A Kafka broker inside this process: librdkafka's mock broker, which supports producing and consuming.
//!
//! # Notes
//!
//! The mock keeps 5 MB of each partition and drops older records. It answers no admin requests, and knows neither
//! compaction nor permissions. Other processes of this machine can reach it while the demo runs.

use anyhow::{Context, Result};
use deltacart_inputs::kafka::KafkaSettings;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// The topic of cart events.
pub(super) const CARTS: &str = "carts";
/// The topic of lists.
pub(super) const RECOMMENDATIONS: &str = "recommendations";
/// The partitions of each of the two topics.
pub(super) const PARTITIONS: u32 = 4;

/// The mock broker. It must outlive its clients, which would otherwise try to reconnect for ever.
pub(super) struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts a broker with the two topics, both empty.
    pub(super) fn start() -> Result<Broker> {
        let cluster = MockCluster::new(1).context("cannot start the embedded broker")?;
        for topic in [CARTS, RECOMMENDATIONS] {
            let made = cluster.create_topic(topic, PARTITIONS as i32, 1);
            made.with_context(|| format!("cannot make the topic {topic} of the embedded broker"))?;
        }
        Ok(Broker { cluster })
    }

    /// The address of the broker, `host:port`.
    pub(super) fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// The settings with which clients of the demo connect.
    pub(super) fn settings(&self) -> Result<KafkaSettings> {
        let mut settings = KafkaSettings::new(self.address());
        for (name, value) in [
            // A fetch that finds no record waits this long in the mock, even if a record arrives meanwhile.
            ("consumer.fetch.wait.max.ms", "10"),
            // A suspended terminal misses lists, because the mock drops records. That must not fail the demo.
            ("consumer.auto.offset.reset", "earliest"),
        ] {
            settings.set(name, value)?;
        }
        Ok(settings)
    }
}
