//! The flags about the log, which every command has.

use super::values::one_of;
use crate::log::{LogFormat, RunLabel};
use clap::Args;

/// Flags of every command.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// What is logged on standard error: off, error, warn, info, debug, trace, or directives such as
    /// warn,librdkafka=debug [default: what RUST_LOG says, or how the job goes and what is wrong; warn is quieter]
    #[arg(long, value_name = "LEVEL", global = true, help_heading = "Log")]
    pub log: Option<String>,
    /// How: for people, or as an object a line
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        value_parser = one_of::<LogFormat>(["text", "json"]),
        global = true,
        help_heading = "Log"
    )]
    pub log_format: LogFormat,
    /// A name of this run, such as blue or 2026-11: every line on standard error and the metrics carry it
    #[arg(long, value_name = "TEXT", global = true, help_heading = "Log")]
    pub run_label: Option<RunLabel>,
}
