//! Which flags of a command line were typed rather than left at their defaults.

use clap::ArgMatches;
use clap::parser::ValueSource;
use std::collections::BTreeSet;

/// The flags of a command that were typed, by the names of their fields. All others have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeSet<String>);

impl Given {
    /// The flags that were typed, of the matches of a command.
    pub(super) fn of(matches: &ArgMatches) -> Given {
        let typed = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Given(matches.ids().filter(typed).map(ToString::to_string).collect())
    }

    /// Whether a flag was typed, by the name of its field.
    pub fn has(&self, flag: &str) -> bool {
        self.0.contains(flag)
    }
}
