//! An `--output` that is a Parquet file: the lists at the end of the run, as rows.
//!
//! The index of a Parquet file is at its end, so nothing can be appended to one. The records of lists are therefore
//! folded in memory, and all lists are written when the run ends: to a temporary file, which is then renamed. Until
//! then there is no file of that name, or that of an earlier run.

#[cfg(feature = "parquet")]
mod lists;
#[cfg(feature = "parquet")]
pub(crate) use lists::ParquetOutput;

#[cfg(not(feature = "parquet"))]
use crate::{files::ExistingFile, output::FileSink};
use anyhow::{Result, ensure};
use std::path::Path;

/// Whether the name of a file says that it is Parquet.
pub(crate) fn is_parquet(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Checks that this build can write lists to a file of this name.
///
/// # Errors
/// If the name says Parquet, and this build does not have it.
pub(crate) fn check_output(path: &str) -> Result<()> {
    ensure!(
        cfg!(feature = "parquet") || !is_parquet(path),
        "--output {path}: Parquet needs a build with --features parquet"
    );
    Ok(())
}

/// Checks that a file of lines is not called Parquet.
///
/// # Errors
/// If it is. The message names `flag`.
pub(crate) fn check_lines(flag: &str, path: &str) -> Result<()> {
    ensure!(
        !is_parquet(path),
        "{flag} {path}: what it writes is lines of JSON and no Parquet: name it .jsonl"
    );
    Ok(())
}

/// Without the feature, there is none.
#[cfg(not(feature = "parquet"))]
pub(crate) enum ParquetOutput {}

#[cfg(not(feature = "parquet"))]
impl ParquetOutput {
    pub(crate) fn open(path: &str, _existing: ExistingFile) -> Result<ParquetOutput> {
        check_output(path)?;
        anyhow::bail!("--output {path} is not Parquet")
    }

    pub(crate) fn sink(&self) -> FileSink {
        match *self {}
    }

    pub(crate) fn write(self) -> Result<()> {
        match self {}
    }
}
