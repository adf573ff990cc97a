//! The flags of a benchmark: `--name value` and `--name`. Unknown flags are refused.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::str::FromStr;

/// The words of the command line behind the program's name.
pub(crate) struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    pub(crate) fn read() -> Self {
        // Cargo adds `--bench` to every benchmark.
        Arguments { words: std::env::args().skip(1).filter(|word| word != "--bench").collect() }
    }

    /// Takes a flag without a value. Returns whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let at = self.words.iter().position(|word| word == name);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// Takes a flag and its value, if the flag is there.
    pub(crate) fn option<T>(&mut self, name: &str) -> Result<Option<T>>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        self.words.remove(at);
        if at == self.words.len() {
            bail!("{name} wants a value");
        }
        let word = self.words.remove(at);
        word.parse().map(Some).with_context(|| format!("{name} {word}"))
    }

    /// Takes a flag and its value. Returns `default` if the flag is not there.
    pub(crate) fn value<T>(&mut self, name: &str, default: T) -> Result<T>
    where
        T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
    {
        Ok(self.option(name)?.unwrap_or(default))
    }

    /// Takes a flag and its values, separated by commas. Returns `defaults` if the flag is not there.
    pub(crate) fn list(&mut self, name: &str, defaults: &str) -> Result<Vec<String>> {
        let text = self.value(name, defaults.to_owned())?;
        Ok(text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    /// The folders in which data is looked for: that of `--data`, else the two default folders.
    pub(crate) fn data(&mut self) -> Result<Vec<PathBuf>> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let named: Option<PathBuf> = self.option("--data")?;
        Ok(named.into_iter().chain([root.join("scratch/data"), root.join("../shared/data")]).collect())
    }

    /// Fails if an unknown word is left.
    pub(crate) fn end(self) -> Result<()> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => bail!("unknown argument {word}: the header of the program lists them"),
        }
    }
}
