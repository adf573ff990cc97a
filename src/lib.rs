//! The job: flags, workers, cluster, driving and output.

pub mod output;
pub mod dead_letter;
pub mod top;
