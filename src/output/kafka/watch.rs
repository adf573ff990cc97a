//! A check that the output topic is still the one that the job began with. Others may delete it, create it again, or
//! add partitions, which moves keys.

use crate::output::{SinkError, Watch};
use deltacart_inputs::kafka::{KafkaSettings, TopicChange, TopicState, TopicWatch};
use std::time::Duration;

/// Checks the topic periodically, on its own thread.
pub struct OutputWatch {
    watch: TopicWatch,
    topic: String,
    /// Whether it is a table, in which every key has its partition. Records of a log stay where they are.
    is_table: bool,
    began: TopicState,
}

impl OutputWatch {
    /// Compares `topic`, a table or a log, with `began`, its state at the start: now, and then every `period`.
    ///
    /// # Errors
    /// When it has changed already, or no broker answers within the settings' start-up timeout.
    pub fn start(
        settings: &KafkaSettings,
        (topic, is_table): (&str, bool),
        began: TopicState,
        period: Duration,
    ) -> Result<Self, SinkError> {
        let watch = TopicWatch::start(settings, topic, &began, period)?;
        let mut watch = OutputWatch { watch, topic: topic.to_owned(), is_table, began };
        watch.check()?;
        Ok(watch)
    }

    fn explain(&self, change: TopicChange) -> String {
        let OutputWatch { topic, is_table, began, .. } = self;
        if !is_table {
            return format!(
                "topic {topic} was deleted while the job wrote to it: start the job again, and it publishes the records \
                 that follow from what it reads again"
            );
        }
        match change {
            TopicChange::Grown(partitions) => format!(
                "topic {topic} has grown from {} to {partitions} partitions, and keys belong to others than before: \
                 start the job again, and it moves every list to the partition of its key",
                began.partitions
            ),
            TopicChange::Deleted => format!(
                "topic {topic} was deleted: start the job again, and it makes the topic and publishes every list"
            ),
            TopicChange::Replaced => format!(
                "topic {topic} was deleted and created again, and not by this job: see that its cleanup.policy is compact \
                 and how many partitions it has, then start the job again, and it publishes every list"
            ),
        }
    }
}

impl Watch for OutputWatch {
    fn check(&mut self) -> Result<(), SinkError> {
        match self.watch.change() {
            None => Ok(()),
            Some(TopicChange::Grown(_)) if !self.is_table => Ok(()),
            Some(change) => Err(SinkError::Kafka { message: self.explain(change) }),
        }
    }
}
