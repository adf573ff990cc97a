//! The input of a job: one or more streams. A stream is a topic or a list of files, with the settings of its decoder.
//!
//! ```text
//! --input kafka:carts ──────────────▶ stream 0   its partitions are those of the topic
//! --input kafka:orders#segment ─────▶ stream 1
//! --input a.csv#csv b.csv#csv ──────▶ stream 2   its partitions are the files
//! ```
//!
//! A stream's number is its index in the list. A job keys its offsets, clocks and event ids by stream and partition.
//! So the list must stay the same from run to run, but new streams may be appended.

use anyhow::{Context, Result, ensure};
use deltacart_dataflows::Partition;
use deltacart_inputs::kafka::StartFrom;
use deltacart_inputs::registry::Registry;
use deltacart_inputs::{DecodeOptions, Share};
use std::path::PathBuf;
use std::time::Duration;

/// The source of a stream's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Files, each of which is a partition. `-` is standard input.
    Files(Vec<PathBuf>),
    /// A topic.
    Topic {
        /// Its name.
        name: String,
        /// The offset at which reading starts.
        from: StartFrom,
        /// Whether to stop at the end that the topic had at the start of the job.
        until_end: bool,
        /// The interval at which the topic is checked for new partitions.
        metadata_refresh: Duration,
    },
}

/// One stream of the input.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The source of its records.
    pub input: Input,
    /// How its records are decoded into events.
    pub decode: DecodeOptions,
}

impl Stream {
    /// Its name in settings and messages: `kafka:TOPIC`, or `files`.
    pub fn name(&self) -> String {
        match &self.input {
            Input::Files(_) => "files".to_owned(),
            Input::Topic { name, .. } => format!("kafka:{name}"),
        }
    }

    /// The name of its topic. `None` if it is files.
    pub fn topic(&self) -> Option<&str> {
        match &self.input {
            Input::Files(_) => None,
            Input::Topic { name, .. } => Some(name),
        }
    }

    /// The path of a partition, by the partition's number. `None` if the stream is a topic.
    pub fn file(&self, number: u32) -> Option<&PathBuf> {
        match &self.input {
            Input::Files(paths) => paths.get(number as usize),
            Input::Topic { .. } => None,
        }
    }

    /// The paths of its files. Empty if it is a topic.
    pub fn files(&self) -> &[PathBuf] {
        match &self.input {
            Input::Files(paths) => paths,
            Input::Topic { .. } => &[],
        }
    }

    /// Whether it ends, and is complete at the start of the job. Standard input is not.
    pub fn is_bounded(&self) -> bool {
        match &self.input {
            Input::Files(paths) => !paths.iter().any(|path| path.as_os_str() == "-"),
            Input::Topic { until_end, .. } => *until_end,
        }
    }
}

/// The streams of a job: at least one, and at most [`Partition::STREAMS_MAX`].
#[derive(Clone, Debug)]
pub struct Streams(Vec<Stream>);

impl Streams {
    /// The input of a job that reads these streams.
    ///
    /// # Errors
    /// If there is none, if there are more than [`Partition::STREAMS_MAX`], or if a topic is named twice.
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

    /// The stream of a partition. `None` if the job has no stream of that number.
    pub fn of(&self, partition: Partition) -> Option<&Stream> {
        self.0.get(usize::from(partition.stream()))
    }

    /// The stream of number 0.
    pub fn first(&self) -> &Stream {
        &self.0[0]
    }

    /// The schema registry. All streams that use one share it.
    pub fn registry(&self) -> Option<&Registry> {
        self.0.iter().find_map(|stream| stream.decode.registry.as_ref())
    }

    /// The number of streams.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether all streams end, and are complete at the start of the job.
    pub fn is_bounded(&self) -> bool {
        self.0.iter().all(Stream::is_bounded)
    }

    /// Whether all streams are files.
    pub fn is_files(&self) -> bool {
        self.0.iter().all(|stream| stream.topic().is_none())
    }
}

/// A worker's share of the partitions of a stream. Each stream starts at another worker, so that streams with few
/// partitions are not all read by the first workers: worker `(s + p) mod workers` reads partition `p` of stream `s`.
pub(crate) fn share_of(share: Share, stream: u8) -> Share {
    let Share { worker, workers } = share;
    Share { worker: (worker + workers - usize::from(stream) % workers) % workers, workers }
}

/// The partition of a stream with the number that its source gives.
///
/// # Errors
/// If the number is beyond [`Partition::NUMBER_MAX`].
pub(crate) fn partition(stream: u8, number: u32) -> Result<Partition> {
    let too_many = || format!("partition {number} of input {} is beyond what is counted", stream + 1);
    Partition::new(stream, number).with_context(too_many)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each partition of each stream has one reader. Streams with one partition have different readers.
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
