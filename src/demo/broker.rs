//! A Kafka broker inside this process: librdkafka's mock, which is good enough to produce to and consume from.
//!
//! # Notes
//!
//! It keeps 5 MB of each partition and forgets older records, answers no admin requests, and knows neither compaction
//! nor permissions. Other processes of this machine can reach it while the demo runs.

use anyhow::{Context, Result};
use deltacart_inputs::kafka::KafkaSettings;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// The topic of cart events.
pub(super) const CARTS: &str = "carts";
/// The topic of lists.
pub(super) const RECOMMENDATIONS: &str = "recommendations";
/// What each of them has.
pub(super) const PARTITIONS: u32 = 4;

/// The broker. It must outlive its clients: they would try to reach it for ever.
pub(super) struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// A broker with the two topics, both empty.
    pub(super) fn start() -> Result<Broker> {
        let cluster = MockCluster::new(1).context("cannot start the embedded broker")?;
        for topic in [CARTS, RECOMMENDATIONS] {
            let made = cluster.create_topic(topic, PARTITIONS as i32, 1);
            made.with_context(|| format!("cannot make the topic {topic} of the embedded broker"))?;
        }
        Ok(Broker { cluster })
    }

    /// Its address, `host:port`.
    pub(super) fn address(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// How its clients reach it.
    pub(super) fn settings(&self) -> Result<KafkaSettings> {
        let mut settings = KafkaSettings::new(self.address());
        for (name, value) in [
            // The mock lets a fetch that finds nothing wait so long, also when something arrives meanwhile.
            ("consumer.fetch.wait.max.ms", "10"),
            // Who stops the terminal for a while misses lists, as the mock does not keep them: no reason to fail.
            ("consumer.auto.offset.reset", "earliest"),
        ] {
            settings.set(name, value)?;
        }
        Ok(settings)
    }
}
