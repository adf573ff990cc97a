//! The job: flags, workers, cluster, driving and output.
//!
//! [`job::run`] runs a [`job::Job`]: workers that read events (`deltacart-inputs`), maintain lists
//! (`deltacart-dataflows`) and publish every changed one ([`output`]). The binary makes a job of its flags.

pub mod cli;

pub mod config;

pub mod commands;

pub mod job;

pub mod streams;

pub mod files;

mod topics;

pub mod cluster;

pub mod state;

mod worker;

mod publish;

mod slow_reader;

mod verify;

mod unusable;

pub mod summary;

pub mod metrics;

pub mod log;

mod words;

pub mod pages;

pub mod output;

pub mod dead_letter;

pub mod top;

pub mod generate;

pub mod demo;

#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod simulator;

#[cfg(test)]
#[path = "../tests/skipped.rs"]
mod skipped;
