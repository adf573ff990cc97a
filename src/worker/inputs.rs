//! The input streams of one worker: a source and a decoder for each, addressed by partition.
//!
//! ```text
//! partition (stream, number) ──▶ source of the stream ── record ──▶ decoder of the stream ── events ──▶
//! ```

use crate::job::{Job, Stream};
use crate::process::Shared;
use crate::state::load::Snapshot;
use crate::streams::{partition, share_of};
use crate::worker::environment::Environment;
use anyhow::Result;
use deltacart_dataflows::Partition;
use deltacart_inputs::{Decoder, EventIds, Lag, OnExpired, Resume, Share, Source};
use std::time::Duration;

/// The streams, by stream number.
pub(super) struct Inputs<'a>(Vec<StreamInput<'a>>);

/// One input stream.
pub(super) struct StreamInput<'a> {
    pub(super) stream: &'a Stream,
    pub(super) source: Box<dyn Source>,
    pub(super) decoder: Box<dyn Decoder>,
}

impl<'a> Inputs<'a> {
    /// Opens all streams. If the job resumes from a snapshot, each begins at the snapshot's offsets. A stream that
    /// the snapshot does not have is read as at a first start.
    pub(super) fn open(
        job: &'a Job,
        shared: &Shared,
        environment: &dyn Environment,
        share: Share,
    ) -> Result<Self> {
        let snapshot = shared.state.as_ref().and_then(|state| state.snapshot.as_ref());
        let on_expired = job.state.as_ref().map(|state| state.on_expired).unwrap_or_default();
        let open = |(number, stream): (u8, &'a Stream)| {
            let share = share_of(share, number);
            let mut decoder = stream.decode.decoder()?;
            let known = snapshot.filter(|it| usize::from(number) < it.manifest().streams.len());
            let resume = known.map(|it| resume(it, number, share, on_expired, &mut *decoder)).transpose()?;
            let source = environment.source(stream, share, resume.as_ref(), decoder.needs_header())?;
            Ok(StreamInput { stream, source, decoder })
        };
        Ok(Inputs(job.streams.iter().map(open).collect::<Result<_>>()?))
    }

    /// The stream of a partition that [`Inputs::partitions`] returned.
    pub(super) fn of(&mut self, partition: Partition) -> &mut StreamInput<'a> {
        &mut self.0[usize::from(partition.stream())]
    }

    /// The partitions that this worker reads now, in ascending order.
    pub(super) fn partitions(&mut self) -> Result<Vec<Partition>> {
        let mut partitions = Vec::new();
        for (stream, input) in (0..=u8::MAX).zip(&mut self.0) {
            for number in input.source.partitions()? {
                partitions.push(partition(stream, number)?);
            }
        }
        Ok(partitions)
    }

    /// The offset at which reading of a partition began.
    pub(super) fn first_offset(&mut self, partition: Partition) -> u64 {
        self.of(partition).source.first_offset(partition.number())
    }

    /// Whether new partitions may still appear.
    pub(super) fn may_grow(&self) -> bool {
        self.0.iter().any(|input| input.source.may_grow())
    }

    /// Whether all records that were there when the job began have been read.
    pub(super) fn has_caught_up(&self) -> bool {
        self.0.iter().all(|input| input.source.has_caught_up())
    }

    /// How far each partition is behind, with its stream, where the lag is known.
    pub(super) fn lags(&self) -> Vec<(Partition, &Stream, Lag)> {
        let mut lags = Vec::new();
        for (stream, input) in (0..=u8::MAX).zip(&self.0) {
            let known = input.source.lags().into_iter();
            lags.extend(
                known.filter_map(|lag| Some((partition(stream, lag.partition).ok()?, input.stream, lag))),
            );
        }
        lags
    }

    /// The read position of each partition. It may lie further than the offset after the last record.
    pub(super) fn positions(&mut self) -> Result<Vec<(Partition, u64)>> {
        let mut positions = Vec::new();
        for (stream, input) in (0..=u8::MAX).zip(&mut self.0) {
            for (number, offset) in input.source.positions()? {
                positions.push((partition(stream, number)?, offset));
            }
        }
        Ok(positions)
    }

    /// The ids of the streams' topics, by stream number.
    pub(super) fn topic_ids(&self) -> Vec<Option<String>> {
        self.0.iter().map(|input| input.source.identity().map(str::to_owned)).collect()
    }

    /// How many event ids are remembered now.
    pub(super) fn ids_remembered(&self) -> usize {
        self.0.iter().map(|input| input.decoder.ids_remembered()).sum()
    }

    /// The remembered event ids, by partition.
    pub(super) fn remembered(&self) -> Result<Vec<(Partition, EventIds)>> {
        let of = |(stream, input): (u8, &StreamInput<'_>)| {
            let ids = input.decoder.remembered().into_iter();
            ids.map(move |(number, ids)| Ok((partition(stream, number)?, ids))).collect::<Vec<_>>()
        };
        (0..=u8::MAX).zip(&self.0).flat_map(of).collect()
    }

    /// Commits offsets, which must ascend by partition.
    pub(super) fn commit(&mut self, offsets: &[(Partition, u64)]) -> Result<()> {
        for of_stream in offsets.chunk_by(|one, next| one.0.stream() == next.0.stream()) {
            let numbers: Vec<(u32, u64)> =
                of_stream.iter().map(|&(partition, offset)| (partition.number(), offset)).collect();
            self.of(of_stream[0].0).source.commit(&numbers)?;
        }
        Ok(())
    }

    /// Waits at most `patience` for each stream until its committed offsets are safe.
    pub(super) fn close(&mut self, patience: Duration) -> Result<()> {
        self.0.iter_mut().try_for_each(|input| Ok(input.source.close(patience)?))
    }
}

/// Restores the decoder's remembered ids, and returns where the stream resumes.
fn resume(
    snapshot: &Snapshot,
    stream: u8,
    share: Share,
    on_expired: OnExpired,
    decoder: &mut dyn Decoder,
) -> Result<Resume> {
    let partitions = snapshot.manifest().parts.iter().flat_map(|part| &part.partitions);
    let own = partitions.filter(|it| it.stream() == stream && share.owns(it.number()));
    for &partition in own {
        let mut remember = |ids: Vec<_>| decoder.remember(partition.number(), &mut ids.into_iter());
        snapshot.ids(partition, &mut remember)?;
    }
    let identity = snapshot.manifest().streams[usize::from(stream)].topic_id.clone();
    Ok(Resume { offsets: snapshot.offsets(stream), identity, on_expired })
}
