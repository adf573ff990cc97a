//! The input of a job: one or more streams, each a topic or a list of files, and how their records are read.
//!
//! ```text
//! --input kafka:carts ──────────────▶ stream 0   its partitions are those of the topic
//! --input kafka:orders#segment ─────▶ stream 1
//! --input a.csv#csv b.csv#csv ──────▶ stream 2   its partitions are the files
//! ```
//!
//! A stream's number is its place in the list. Offsets, clocks and event ids of a job are by stream and partition, so
//! the list stays the same from run to run; a stream may come behind those that were there.

use crate::dead_letter::{Found, Origin};
use anyhow::{Context, Result, ensure};
use deltacart_dataflows::Partition;
use deltacart_inputs::kafka::StartFrom;
use deltacart_inputs::registry::Registry;
use deltacart_inputs::{DecodeOptions, Share};
use std::path::PathBuf;
use std::time::Duration;

/// Where the events of a stream come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Files, each a partition; `-` is standard input.
    Files(Vec<PathBuf>),
    /// A topic.
    Topic {
        /// Its name.
        name: String,
        /// Where to begin.
        from: StartFrom,
        /// Whether to end where the topic ended at the start.
        until_end: bool,
        /// How often to look for new partitions.
        metadata_refresh: Duration,
    },
}

/// One stream of the input.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Where its records come from.
    pub input: Input,
    /// How they become events.
    pub decode: DecodeOptions,
}

impl Stream {
    /// What it is called, in settings and messages: `kafka:TOPIC`, or `files`.
    pub fn name(&self) -> String {
        match &self.input {
            Input::Files(_) => "files".to_owned(),
            Input::Topic { name, .. } => format!("kafka:{name}"),
        }
    }

    /// The topic's name, if it is one.
    pub fn topic(&self) -> Option<&str> {
        match &self.input {
            Input::Files(_) => None,
            Input::Topic { name, .. } => Some(name),
        }
    }

    /// The path of the partition of this number, if the stream is made of files.
    pub fn file(&self, number: u32) -> Option<&PathBuf> {
        match &self.input {
            Input::Files(paths) => paths.get(number as usize),
            Input::Topic { .. } => None,
        }
    }

    /// The paths of its files: none, if it is a topic.
    pub fn files(&self) -> &[PathBuf] {
        match &self.input {
            Input::Files(paths) => paths,
            Input::Topic { .. } => &[],
        }
    }

    /// Whether it ends by itself, and is there whole from the beginning.
    pub fn is_bounded(&self) -> bool {
        match &self.input {
            Input::Files(paths) => !paths.iter().any(|path| path.as_os_str() == "-"),
            Input::Topic { until_end, .. } => *until_end,
        }
    }

    /// What a dead letter says about where it was found, and by what it could not be read.
    pub fn origin(&self, number: u32) -> Origin<'_> {
        let path = self.file(number).and_then(|path| path.to_str()).unwrap_or_default();
        let found = self.topic().map_or(Found::File(path), Found::Topic);
        Origin { found, format: self.decode.format.name() }
    }
}

/// The streams of a job: at least one, and at most [`Partition::STREAMS_MAX`].
#[derive(Clone, Debug)]
pub struct Streams(Vec<Stream>);

impl Streams {
    /// The input of a job that reads these.
    ///
    /// # Errors
    /// When there is none, when there are more than [`Partition::STREAMS_MAX`], or when a topic is named twice.
    pub fn new(streams: Vec<Stream>) -> Result<Streams> {
        ensure!(!streams.is_empty(), "--input wants at least one topic or file");
        ensure!(
            streams.len() <= Partition::STREAMS_MAX,
            "--input takes at most {} topics and formats of files, not {}",
            Partition::STREAMS_MAX,
            streams.len()
        );
        for (index, topic) in streams.iter().map(Stream::topic).enumerate() {
            let is_new = topic.is_none() || !streams[..index].iter().any(|other| other.topic() == topic);
            ensure!(is_new, "--input names kafka:{} twice", topic.unwrap_or_default());
        }
        Ok(Streams(streams))
    }

    /// The input of a job that reads one stream.
    pub fn one(input: Input, decode: DecodeOptions) -> Streams {
        Streams(vec![Stream { input, decode }])
    }

    /// The streams with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Stream)> {
        (0..=u8::MAX).zip(&self.0)
    }

    /// The stream that a partition belongs to, if the job has so many.
    pub fn of(&self, partition: Partition) -> Option<&Stream> {
        self.0.get(usize::from(partition.stream()))
    }

    /// The stream of number 0.
    pub fn first(&self) -> &Stream {
        &self.0[0]
    }

    /// The schema registry, which all streams that have one share.
    pub fn registry(&self) -> Option<&Registry> {
        self.0.iter().find_map(|stream| stream.decode.registry.as_ref())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether all of them end by themselves, and are there whole from the beginning.
    pub fn is_bounded(&self) -> bool {
        self.0.iter().all(Stream::is_bounded)
    }

    /// Whether all of them are files.
    pub fn is_files(&self) -> bool {
        self.0.iter().all(|stream| stream.topic().is_none())
    }
}

/// Which partitions of a stream are a worker's. Each stream begins at another worker, so that streams of few
/// partitions do not meet on the first ones: partition `p` of stream `s` is read by worker `(s + p) mod workers`.
pub(crate) fn share_of(share: Share, stream: u8) -> Share {
    let Share { worker, workers } = share;
    Share { worker: (worker + workers - usize::from(stream) % workers) % workers, workers }
}

/// A partition of a stream by its number, as a source gives it.
///
/// # Errors
/// When the number is beyond [`Partition::NUMBER_MAX`].
pub(crate) fn partition(stream: u8, number: u32) -> Result<Partition> {
    let too_many = || format!("partition {number} of input {} is beyond what is counted", stream + 1);
    Partition::new(stream, number).with_context(too_many)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each partition of each stream has one reader, and streams of one partition have different ones.
    #[test]
    fn every_partition_has_one_worker() {
        for workers in 1..6usize {
            for (stream, partition) in (0..9u8).flat_map(|stream| (0..9u32).map(move |it| (stream, it))) {
                let owners = (0..workers)
                    .filter(|&worker| share_of(Share { worker, workers }, stream).owns(partition));
                let expected = (usize::from(stream) + partition as usize) % workers;
                assert_eq!(owners.collect::<Vec<_>>(), [expected]);
            }
        }
    }
}
