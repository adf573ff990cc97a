//! The report of an evaluation, and the shapes in which it is written.

pub mod table;

pub mod csv;

pub mod html;

use crate::evaluate::data::ReadCounts;
use crate::evaluate::intervals::Interval;
use crate::evaluate::mcnemar::Point;
use crate::evaluate::tune::Tuned;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// What an evaluation found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How it was made.
    pub header: Header,
    /// What `--tune` found before the test part was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuned: Option<Tuned>,
    /// What each method is worth, in the order in which they were named.
    pub rows: Vec<Row>,
}

/// Everything that figures depend on, beside the methods.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// The protocol.
    pub protocol: &'static str,
    /// Where the held-out part begins, as it was typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Events after which a live model learns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// What is kept out of answers.
    pub exclusion: &'static str,
    /// What decides between equal scores.
    pub ties: &'static str,
    /// What competes.
    pub ranking: &'static str,
    /// The seed of all hashes and samples.
    pub seed: u64,
    /// The share of units that are asked.
    pub sample: f64,
    /// What intervals are.
    pub intervals: String,
    /// The method that others are compared with.
    pub baseline: String,
    /// How many items of an answer count.
    pub cutoffs: Vec<usize>,
    /// What was read.
    pub read: ReadCounts,
    /// Different items, baskets and users of the input.
    pub items: usize,
    /// Different baskets.
    pub baskets: usize,
    /// Different users.
    pub users: usize,
    /// Events that were learned.
    pub learned: usize,
    /// What was asked.
    pub cases: usize,
    /// What cases belong to.
    pub unit: &'static str,
    /// How many of them have cases.
    pub units: usize,
    /// Cases of which no item of the truth was known when they were asked. They count, as misses.
    pub unknown_truths: usize,
    /// What could not be asked, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

/// What one method is worth.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The method.
    pub method: String,
    /// The method that it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<String>,
    /// Its metrics.
    pub scores: Vec<Score>,
    /// Of a stream: the hit rate at the smallest cutoff of each slice, with the last case of the slice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<(usize, f64)>,
    /// Of a stream: McNemar's test against the method that it is compared with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mcnemar: Vec<Point>,
}

/// One metric at one cutoff.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// The metric.
    pub metric: &'static str,
    /// The cutoff.
    pub at: usize,
    /// Its value.
    pub value: f64,
    /// Its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// What this method has more than the one it is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<f64>,
    /// The interval of the difference, on the same samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference_interval: Option<Interval>,
}

impl Row {
    /// A metric at a cutoff.
    pub fn score(&self, metric: &str, at: usize) -> Option<&Score> {
        self.scores.iter().find(|score| score.metric == metric && score.at == at)
    }
}

impl Header {
    /// What a reader must know to compare figures, line by line.
    pub fn lines(&self) -> Vec<String> {
        let Header { read, skipped, .. } = self;
        let split = self.split.as_ref().map_or(String::new(), |split| format!(", split {split}"));
        let epoch = self.epoch.map_or(String::new(), |events| format!(", epochs of {events} events"));
        let sample = if self.sample < 1.0 { format!(", a sample of {}", self.sample) } else { String::new() };
        let mut lines = vec![
            format!("protocol {}{split}{epoch}{sample}, seed {}", self.protocol, self.seed),
            format!("excluded: {}; ranked: {}", self.exclusion, self.ranking),
            format!("ties: {}", self.ties),
            format!("intervals: {}", self.intervals),
            format!(
                "read: {} records, {} events, {} items, {} baskets, {} users; learned: {} events",
                read.records, read.events, self.items, self.baskets, self.users, self.learned
            ),
            format!(
                "asked: {} cases of {} {}s; in {} of them nothing of the truth was known",
                self.cases, self.units, self.unit, self.unknown_truths
            ),
        ];
        if read.rejected + read.rejected_parts > 0 {
            let first = read.first_reject.as_deref().unwrap_or("a part of a record");
            lines.push(format!(
                "rejected: {} records and {} parts of others, the first as {first}",
                read.rejected, read.rejected_parts
            ));
        }
        if !skipped.is_empty() {
            let skipped: Vec<String> =
                skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            lines.push(format!("not asked: {}", skipped.join("; ")));
        }
        lines
    }
}

/// Writes a report as JSON.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_json(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}
