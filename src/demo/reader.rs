//! What a consumer of the lists sees: it reads the topic, holds the lists, and can tell what became of each.

use super::broker::RECOMMENDATIONS;
use crate::top::Watched;
use anyhow::Result;
use deltacart_inputs::kafka::{KafkaParams, KafkaSettings, KafkaSource, StartFrom};
use deltacart_inputs::{Share, Source};
use std::time::Duration;

/// Records of a partition that are read before it is the next one's turn.
const BATCH_RECORDS: usize = 1_000;

/// Far more than a list of the demo takes.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// A consumer of the lists.
pub(super) struct Reader {
    source: KafkaSource,
    held: Watched,
}

impl Reader {
    /// Begins at the topic's beginning.
    pub(super) fn connect(settings: &KafkaSettings) -> Result<Reader> {
        let params = KafkaParams {
            topic: RECOMMENDATIONS.to_owned(),
            from: StartFrom::Beginning,
            until_end: false,
            record_bytes_max: RECORD_BYTES_MAX,
            metadata_refresh: Duration::from_secs(60),
            share: Share::WHOLE,
            asks_id: false,
            commits: false,
        };
        Ok(Reader { source: KafkaSource::new(settings, params)?, held: Watched::default() })
    }

    /// Reads a batch of each partition; false if there was nothing.
    pub(super) fn read(&mut self) -> Result<bool> {
        let before = self.held.records();
        for partition in self.source.partitions()? {
            self.source.fetch(partition, BATCH_RECORDS, &mut |record| {
                // Whoever can reach the broker can write to the topic; what is no list of ours is none to show.
                let _ = self.held.take(&record);
            })?;
        }
        Ok(self.held.records() > before)
    }

    pub(super) fn held(&mut self) -> &mut Watched {
        &mut self.held
    }
}
