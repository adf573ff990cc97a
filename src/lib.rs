//! The job: command line, settings, workers, cluster and output.
//!
//! [`launch::run`] runs a [`job::Job`]. Its workers read events (`deltacart-inputs`), maintain lists
//! (`deltacart-dataflows`) and publish every changed list ([`output`]). The binary builds a job from its flags.

pub mod cli;

pub mod config;

pub mod commands;

pub mod job;

pub mod streams;

pub mod outputs;

pub mod launch;

pub mod process;

pub mod files;

mod topics;

mod parquet_output;

pub mod cluster;

pub mod state;

mod first_error;

mod worker;

mod publish;

mod slow_reader;

mod verify;

mod unusable;

pub mod summary;

pub mod serve;

pub mod metrics;

pub mod log;

mod plural;

pub mod memory_pages;

pub mod output;

pub mod dead_letter;

pub mod top;

pub mod generate;

pub mod evaluate;

pub mod demo;

#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod simulator;

#[cfg(test)]
#[path = "../tests/skipped.rs"]
mod skipped;
