//! A consumer of the lists. It reads the topic of lists, folds the records, and knows which lists have changed.

use super::broker::RECOMMENDATIONS;
use crate::top::Watched;
use anyhow::Result;
use deltacart_inputs::Source;
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource};
use std::time::Duration;

/// The most records that are read of a partition before the next one has its turn.
const BATCH_RECORDS: usize = 1_000;

/// The longest record of a list that is read, far above what a list of the demo takes.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// A consumer of the topic of lists.
pub(super) struct Reader {
    source: KafkaSource,
    held: Watched,
}

impl Reader {
    /// A reader from the beginning of the topic.
    pub(super) fn connect(settings: &KafkaSettings) -> Result<Reader> {
        let params = KafkaParams {
            until_end: false,
            metadata_refresh: Duration::from_secs(60),
            ..KafkaParams::whole(RECOMMENDATIONS, RECORD_BYTES_MAX)
        };
        Ok(Reader { source: KafkaSource::new(settings, params)?, held: Watched::default() })
    }

    /// Reads a batch of each partition. Returns false if there were no records.
    pub(super) fn read(&mut self) -> Result<bool> {
        let before = self.held.records();
        for partition in self.source.partitions()? {
            self.source.fetch(partition, BATCH_RECORDS, &mut |record| {
                // Any process that reaches the broker can write to the topic. Records that are no lists are not
                // shown.
                let _ = self.held.take(&record);
            })?;
        }
        Ok(self.held.records() > before)
    }

    pub(super) fn held(&mut self) -> &mut Watched {
        &mut self.held
    }
}
