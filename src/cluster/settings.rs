//! What must be the same on every process: a line for each setting, by the name of its flag.
//!
//! The settings are taken apart field by field, without `..`, so that a new one is a compile error here until somebody
//! has said whether processes may differ in it.

use crate::job::{AheadLimits, Cut, Input, Job};
use crate::output::OutputOptions;
use crate::top::escaped;
use deltacart_dataflows::{ListParams, Params, Scoring};
use deltacart_inputs::DecodeOptions;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

/// The longest value as it is; of a longer one, such as a thousand files, a hash stands for the rest.
const VALUE_BYTES_MAX: usize = 400;

/// How many differences a message names.
const DIFFERENCES_SHOWN: usize = 3;

/// The settings of a job that all its processes share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those of a job.
    pub(crate) fn of(job: &Job) -> Settings {
        let mut settings = Settings::default();
        // Each process may reach the brokers by other names, has its own index, and gives up when it thinks fit.
        let Job { input, decode, params, output, records, output_partitions, .. } = job;
        let Job { dead_letters, cut, limits, verify, cluster, kafka: _, .. } = job;
        settings.set("the version", env!("CARGO_PKG_VERSION"));
        settings.set_input(input);
        settings.set_decode(decode);
        settings.set_params(params);
        settings.set("--output", output);
        let OutputOptions { envelope, scores: _, score_digits: _ } = records;
        settings.set("--envelope", envelope);
        settings.set("--output-partitions", output_partitions);
        settings.set("--dead-letter", dead_letters);
        match cut {
            Cut::Tick(tick) => settings.set("--epoch", tick),
            Cut::Records(records) => settings.set("--epoch-events", records),
        }
        let AheadLimits { epochs, epoch_events, epoch_bytes } = limits;
        settings.set("--max-epochs-ahead", epochs);
        settings.set("--max-epoch-events", epoch_events);
        settings.set("--max-epoch-bytes", epoch_bytes);
        settings.set("--verify", verify);
        settings.set("--workers", cluster.threads);
        settings.set("--processes", cluster.processes());
        settings
    }

    fn set_input(&mut self, input: &Input) {
        match input {
            Input::Files(paths) => self.set("--input", paths),
            Input::Topic { name, from, until_end, metadata_refresh } => {
                self.set("--input", format!("kafka:{name}"));
                self.set("--from", from);
                self.set("--until-end", until_end);
                self.set("--metadata-refresh", metadata_refresh);
            }
        }
    }

    fn set_decode(&mut self, decode: &DecodeOptions) {
        let DecodeOptions { format, basket, columns, event_names, limits, duplicate_horizon, delimiter } =
            decode;
        self.set("--format", format);
        self.set("--basket", basket);
        self.set("--columns", columns);
        self.set("--event-names", event_names);
        self.set("--max-record-bytes", limits);
        self.set("--duplicate-horizon", duplicate_horizon);
        self.set("--delimiter", delimiter);
    }

    fn set_params(&mut self, params: &Params) {
        let Params { engine, lists, basket_items_max, item_baskets_max } = params;
        let ListParams { k, scoring, scores } = lists;
        let Scoring { measure, alpha, damping, min_count, digits } = scoring;
        self.set("--engine", engine);
        self.set("--top-k", k);
        self.set("--measure", measure);
        self.set("--alpha", alpha);
        self.set("--damping", damping);
        self.set("--min-count", min_count);
        self.set("--score-digits", digits);
        self.set("--scores", scores);
        self.set("--max-basket-items", basket_items_max);
        self.set("--max-item-baskets", item_baskets_max);
    }

    /// `Debug` text has no line ends of its own, and is the same wherever the same program runs.
    pub(super) fn set(&mut self, name: &str, value: impl Debug) {
        let mut value = format!("{value:?}");
        if value.len() > VALUE_BYTES_MAX {
            let hash = Sha256::digest(value.as_bytes());
            value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
            value.push_str("… sha256:");
            hash.iter().take(8).for_each(|byte| write!(value, "{byte:02x}").unwrap_or_default());
        }
        self.0.insert(name.to_owned(), value);
    }

    /// As they are sent: a line for each, `name`, a tab, `value`.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}\t{value}\n")).collect()
    }

    /// In what the settings of another process differ, for a person; none where they are the same.
    pub(super) fn difference(&self, theirs: &str) -> Option<String> {
        let theirs: BTreeMap<&str, &str> = theirs.lines().filter_map(|line| line.split_once('\t')).collect();
        let mut differences = Vec::new();
        for (name, here) in &self.0 {
            let there = theirs.get(name.as_str()).copied().unwrap_or("not given");
            if there != here {
                differences.push(format!("{name} is {} there and {here} here", shown(there)));
            }
        }
        let more = theirs.iter().filter(|(name, _)| !self.0.contains_key(**name));
        differences.extend(
            more.map(|(name, there)| format!("{} is {} there and not given here", shown(name), shown(there))),
        );
        let rest = differences.len().saturating_sub(DIFFERENCES_SHOWN);
        differences.truncate(DIFFERENCES_SHOWN);
        if rest > 0 {
            differences.push(format!("{rest} more"));
        }
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

/// Text of another process, as it may stand in a log: bounded, on one line, without control characters.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 500;
    escaped(&text.chars().take(CHARS_MAX).collect::<String>()).to_string()
}
