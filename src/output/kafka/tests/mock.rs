//! librdkafka's mock broker with one topic, and a reader of it, for tests of everything that writes to topics.

use deltacart_inputs::kafka::KafkaSettings;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// A broker and its topic.
pub(crate) struct Mock {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    topic: String,
    partitions: i32,
}

/// A record as a reader finds it.
pub(crate) struct Consumed {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: Option<i64>,
}

impl Mock {
    pub(crate) fn new(topic: &str, partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topic, partitions, 1).unwrap();
        Mock { cluster, topic: topic.to_owned(), partitions }
    }

    pub(crate) fn settings(&self, properties: &[(&str, &str)]) -> KafkaSettings {
        settings(&self.cluster.bootstrap_servers(), properties)
    }

    /// The first `count` records of the topic.
    pub(crate) fn consume(&self, count: usize) -> Vec<Consumed> {
        consume(&self.cluster.bootstrap_servers(), &self.topic, self.partitions, count)
    }
}

pub(crate) fn settings(brokers: &str, properties: &[(&str, &str)]) -> KafkaSettings {
    let mut settings = KafkaSettings::new(brokers).with_startup_timeout(Duration::from_secs(10));
    for (name, value) in properties {
        settings.set(name, value).unwrap();
    }
    settings
}

/// The first `count` records of a topic, those of one partition in order.
pub(crate) fn consume(brokers: &str, topic: &str, partitions: i32, count: usize) -> Vec<Consumed> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("group.id", "test").set("fetch.wait.max.ms", "10");
    let consumer: BaseConsumer = client.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut found = Vec::new();
    while found.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records", found.len());
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        found.push(Consumed {
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp: message.timestamp().to_millis(),
        });
    }
    found
}
