//! The command line as typed, and which of its flags were given rather than left at their defaults.

use super::{Cli, Command};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// The flags of a command that were typed, by the names of their fields. All others have their defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeSet<String>);

impl Given {
    fn of(matches: &ArgMatches) -> Given {
        let typed = |id: &&clap::Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Given(matches.ids().filter(typed).map(ToString::to_string).collect())
    }

    /// Whether a flag was typed, by the name of its field.
    pub fn has(&self, flag: &str) -> bool {
        self.0.contains(flag)
    }
}

impl Cli {
    /// Parses a command line. The first word is the program's name.
    ///
    /// # Errors
    /// When the command line cannot be parsed, or asks for help. The error has the text to print and the exit code.
    pub fn read(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
        let matches = Cli::command().try_get_matches_from(words)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        let given = matches.subcommand().map(|(_name, matches)| Given::of(matches)).unwrap_or_default();
        match &mut cli.command {
            Command::Run(args) => args.given = given,
            Command::Generate(args) => args.given = given,
            Command::Top(args) => args.given = given,
            Command::Demo(_) | Command::Completions { .. } => {}
        }
        Ok(cli)
    }
}
