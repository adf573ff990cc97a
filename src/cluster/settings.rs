//! The settings that must be the same on every process: a line for each, by the name of its flag.

use crate::top::escaped;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::{Debug, Write};

/// The most bytes of a value that is kept as it is. A longer one, such as a thousand files, is cut and ends in a
/// hash.
const VALUE_BYTES_MAX: usize = 400;

/// The most differences that a message names.
const DIFFERENCES_SHOWN: usize = 3;

/// The settings of a job that all its processes share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Sets a value to its `Debug` text, which has no line ends of its own and is the same wherever the same program
    /// runs.
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

    /// The settings as they are sent: for each a line of `name`, a tab, and `value`.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}\t{value}\n")).collect()
    }

    /// How the settings of another process differ, for messages; `None` if they are the same.
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

/// Text of another process, made safe for a log: bounded, on one line, without control characters.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 500;
    escaped(&text.chars().take(CHARS_MAX).collect::<String>()).to_string()
}
