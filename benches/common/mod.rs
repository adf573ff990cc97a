//! The parts that the benchmark programs share.
//!
//! ```text
//!            ┌ prepare: a workload becomes a file of changes ┐                ┌ rows: medians, one table,
//! parent ────┤                                               ├── children ──┤ one file for machines
//!            └ cases: what is to be measured                 ┘  one a figure  └
//! ```
//!
//! Every figure is measured in its own process, so that its memory is its own and nothing is warm from another
//! measurement. Programs that are compared take turns, so that a slow minute of the machine is slow for all of them.

// Each program uses only some of the parts.
#![allow(dead_code)]

pub(crate) mod arguments;

pub(crate) mod random;
pub(crate) mod workload;
pub(crate) mod sources;
pub(crate) mod orders;
pub(crate) mod continuation;

pub(crate) mod broker;
pub(crate) mod children;
pub(crate) mod memory;

pub(crate) mod counting;
pub(crate) mod observe;
pub(crate) mod intake;
pub(crate) mod programs;

pub(crate) mod rows;
pub(crate) mod latencies;

use std::process::ExitCode;

/// Ends a program, with an error message if it failed.
pub(crate) fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
