//! One batch of records: decodes and counts them, and reports those that cannot be used.

use crate::dead_letter::{DeadLetters, Found, Origin, Rejected};
use crate::job::Stream;
use crate::summary::{Counter, Tally};
use crate::unusable::UnusableReports;
use crate::worker::counts::Counts;
use anyhow::{Result, anyhow};
use deltacart_dataflows::{Event, Millis, Partition};
use deltacart_inputs::registry::Readiness;
use deltacart_inputs::{Decoder, Defects, RawRecord, Reason};

/// Events are sent into the dataflow in chunks of this size: small enough to stay in the cache until they are
/// processed.
const CHUNK_EVENTS: usize = 1024;

/// Decodes the records of one batch.
pub(super) struct Reader<'a> {
    pub(super) stream: &'a Stream,
    pub(super) partition: Partition,
    pub(super) decoder: &'a mut dyn Decoder,
    pub(super) dead_letters: Option<&'a mut DeadLetters>,
    pub(super) tally: &'a mut Tally,
    pub(super) unusable_reports: &'a UnusableReports,
    pub(super) events: &'a mut Vec<Event>,
    pub(super) send: &'a mut dyn FnMut(&mut Vec<Event>),
    pub(super) counts: Counts,
    pub(super) next_offset: u64,
    pub(super) clock: Millis,
    pub(super) failed: Result<()>,
}

impl Reader<'_> {
    /// Decodes a record. Returns false if the record has to wait for its schema; it must be offered again.
    pub(super) fn take(&mut self, record: &RawRecord<'_>) -> bool {
        if self.failed.is_err() {
            return true;
        }
        match self.decoder.prepare(record) {
            Ok(Readiness::Ready) => self.decode(record),
            Ok(Readiness::Waiting) => return false,
            Err(error) => self.failed = Err(error.into()),
        }
        true
    }

    fn decode(&mut self, record: &RawRecord<'_>) {
        // NB: `max`, because a file's header is read again even when reading resumes behind it.
        self.next_offset = self.next_offset.max(record.offset + 1);
        self.counts.records += 1;
        let before = self.events.len();
        match self.decoder.decode(record, self.events) {
            Ok(decoded) => {
                self.counts.add(&decoded);
                for event in &mut self.events[before..] {
                    self.clock = self.clock.max(event.time);
                    event.time = self.clock;
                    event.position.partition = self.partition;
                }
                if let Some(defects) = decoded.defects {
                    self.take_defects(record, &defects);
                }
                if self.events.len() >= CHUNK_EVENTS {
                    (self.send)(self.events);
                    self.events.clear();
                    self.events.reserve(CHUNK_EVENTS);
                }
            }
            Err(reject) => {
                self.counts.rejects += 1;
                self.tally.add(Counter::Rejects(reject.reason.name().to_owned()), 1);
                self.write_letter(record, &Rejected::record(&reject));
                let origin = Origin::of(self.stream, record.partition);
                match (reject.reason, origin.found) {
                    // A file without its columns is useless as a whole. In a topic, other partitions may have a
                    // usable header.
                    (Reason::BadHeader, Found::File(path)) => {
                        self.failed = Err(anyhow!("cannot use the header of {path}: {}", reject.detail));
                    }
                    _ => self.unusable_reports.reject(origin, record, &reject, false),
                }
            }
        }
    }

    /// Counts the defects of a record that was used in part, and writes a dead letter for each line and event it
    /// lost.
    fn take_defects(&mut self, record: &RawRecord<'_>, defects: &Defects) {
        for (reason, count) in defects.rejects() {
            self.tally.add(Counter::PartRejects(reason.name().to_owned()), count.into());
        }
        for (flaw, &count) in &defects.flaws {
            let is_first = self.tally.get(&Counter::Flaws(flaw.name().to_owned())) == 0;
            self.tally.add(Counter::Flaws(flaw.name().to_owned()), count.into());
            if is_first {
                let (input, partition, offset) = (self.stream.name(), record.partition, record.offset);
                let detail = defects.first_flaw.as_deref().unwrap_or_default();
                tracing::warn!(
                    input,
                    partition,
                    offset,
                    "{flaw}: {detail}; such events are used all the same, and counted in deltacart_unreadable_fields_total"
                );
            }
        }
        if self.dead_letters.is_some() {
            self.tally.add(Counter::LettersLeftOut, defects.more.values().copied().map(u64::from).sum());
        }
        for (place, part) in defects.parts.iter().enumerate() {
            self.unusable_reports.reject(
                Origin::of(self.stream, record.partition),
                record,
                &part.reject,
                true,
            );
            let is_last = place + 1 == defects.parts.len();
            let more = if is_last { defects.more.values().sum() } else { 0 };
            let record = RawRecord { value: Some(part.text.as_bytes()), ..*record };
            self.write_letter(&record, &Rejected::part(part, more));
        }
    }

    fn write_letter(&mut self, record: &RawRecord<'_>, rejected: &Rejected<'_>) {
        let Some(dead_letters) = &mut self.dead_letters else { return };
        let origin = Origin::of(self.stream, record.partition);
        if let Err(error) = dead_letters.write(origin, record, rejected) {
            self.failed = Err(error.into());
        }
    }
}
