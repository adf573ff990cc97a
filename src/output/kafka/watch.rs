//! Whether the topic of lists is still the one that the job began with: others may delete it, make it anew, or give it
//! more partitions, which moves keys.

use crate::output::{SinkError, Watch};
use deltacart_inputs::kafka::{KafkaSettings, TopicChange, TopicState, TopicWatch};
use std::time::Duration;

/// Looks at the topic from time to time, on a thread of its own.
pub struct OutputWatch {
    watch: TopicWatch,
    topic: String,
    began: TopicState,
}

impl OutputWatch {
    /// Looks at `topic`, which was as `began` says, now and then every `period`.
    ///
    /// # Errors
    /// When it has changed already, or no broker answers within the settings' start-up timeout.
    pub fn start(
        settings: &KafkaSettings,
        topic: &str,
        began: TopicState,
        period: Duration,
    ) -> Result<Self, SinkError> {
        let watch = TopicWatch::start(settings, topic, &began, period)?;
        let mut watch = OutputWatch { watch, topic: topic.to_owned(), began };
        watch.check()?;
        Ok(watch)
    }

    fn explain(&self, change: TopicChange) -> String {
        let OutputWatch { topic, began, .. } = self;
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
                "topic {topic} was deleted and made anew, and not by this job: see that its cleanup.policy is compact \
                 and how many partitions it has, then start the job again, and it publishes every list"
            ),
        }
    }
}

impl Watch for OutputWatch {
    fn check(&mut self) -> Result<(), SinkError> {
        match self.watch.change() {
            None => Ok(()),
            Some(change) => Err(SinkError::Kafka { message: self.explain(change) }),
        }
    }
}
