//! The job: flags, workers, cluster, driving and output.

pub mod output;
