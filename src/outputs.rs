//! The output of a job: a list of streams. A stream is records of one kind, and the topic or file that they go to.
//!
//! ```text
//! --output kafka:lists ─────▶ stream 0   the lists, a table
//! --notes notes.jsonl ──────▶ stream 1   notes of what was odd, a log
//! --predictions kafka:hits ─▶ stream 2   what answers said about the items that came next, a log
//! ```
//!
//! There are two kinds of streams:
//! - A **table** has keys. The newest record of a key is its value, and a tombstone deletes it. A restart reads back
//!   what consumers hold and publishes the difference. Lists are a table.
//! - A **log** is appended to, and each record stays. A restart reads back how far the log goes, and publishes what
//!   comes after it.
//!
//! All records of an epoch are delivered together, whatever stream they are of. A stream's number is its index in the
//! list.

use crate::files::ExistingFile;
use crate::output::{Lines, OutputOptions, RowKind, StreamNumber};
use crate::parquet_output::is_parquet;
use std::time::Duration;

/// A destination of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file, or `-` for standard output.
    File(String),
    /// A topic.
    Topic(String),
}

/// One stream of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputStream {
    /// What its records are.
    pub content: Content,
    /// Where its records go.
    pub destination: Destination,
}

/// What the records of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The lists of items, of carts or of users, a table.
    Lists(TableSettings),
    /// Notes of odd events and baskets, a log.
    Notes,
    /// What the answers of carts said about the items that came next, a log.
    Predictions,
}

/// How the changes of a table are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSettings {
    /// The layout of the records.
    pub records: OutputOptions,
    /// The shortest interval between two publications. `None` publishes with every epoch.
    pub every: Option<Duration>,
}

impl Content {
    /// The flag that names the destination.
    pub fn flag(self) -> &'static str {
        match self {
            Content::Lists(settings) => match settings.records.rows {
                RowKind::Item => "--output",
                RowKind::Cart => "--output-carts",
                RowKind::User => "--output-users",
            },
            Content::Notes => "--notes",
            Content::Predictions => "--predictions",
        }
    }

    /// The kind of its records.
    pub fn lines(self) -> Lines {
        match self {
            Content::Lists(settings) => match settings.records.rows {
                RowKind::Item => Lines::LISTS,
                RowKind::Cart => Lines::CARTS,
                RowKind::User => Lines::USERS,
            },
            Content::Notes => Lines::NOTES,
            Content::Predictions => Lines::PREDICTIONS,
        }
    }

    /// The settings of a table. `None` for a log.
    pub fn table(self) -> Option<TableSettings> {
        match self {
            Content::Lists(settings) => Some(settings),
            Content::Notes | Content::Predictions => None,
        }
    }
}

impl OutputStream {
    /// The name of its topic. `None` if it goes to a file.
    pub fn topic(&self) -> Option<&str> {
        match &self.destination {
            Destination::Topic(name) => Some(name),
            Destination::File(_) => None,
        }
    }

    /// The path of its file. `None` if it goes to a topic.
    pub fn file(&self) -> Option<&str> {
        match &self.destination {
            Destination::Topic(_) => None,
            Destination::File(path) => Some(path),
        }
    }

    /// Whether publishing resumes from what consumers have. That is always so for a topic, which outlives the job.
    pub fn resumes(&self, existing: ExistingFile) -> bool {
        let can_append = |path: &str| path != "-" && !is_parquet(path);
        self.file().is_none_or(|path| existing == ExistingFile::Resume && can_append(path))
    }

    /// Its place for messages: `topic NAME`, or the path of its file.
    pub(crate) fn place(&self) -> String {
        match &self.destination {
            Destination::Topic(name) => format!("topic {name}"),
            Destination::File(path) => path.clone(),
        }
    }
}

/// The streams of a job's output. The first one is the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs(Vec<OutputStream>);

impl Outputs {
    /// The output of a job that publishes lists only.
    pub fn lists(destination: Destination, records: OutputOptions, every: Option<Duration>) -> Outputs {
        let content = Content::Lists(TableSettings { records, every });
        Outputs(vec![OutputStream { content, destination }])
    }

    /// Adds a stream, if it has a destination.
    #[must_use]
    pub fn with(mut self, content: Content, destination: Option<Destination>) -> Outputs {
        self.0.extend(destination.map(|destination| OutputStream { content, destination }));
        self
    }

    /// The streams with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (StreamNumber, &OutputStream)> {
        self.0.iter().enumerate()
    }

    /// The topics with the numbers of their streams.
    pub fn topics(&self) -> impl Iterator<Item = (StreamNumber, &str)> {
        self.iter().filter_map(|(number, stream)| Some((number, stream.topic()?)))
    }

    /// Whether any stream is a log of which a restart continues with the next record.
    pub fn have_log(&self) -> bool {
        self.0.iter().any(|stream| stream.content == Content::Notes)
    }

    /// The number of streams.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
