//! The list of modules: read it to know where a new test goes.

// As clippy.toml says for tests: a panic there is the report. Their helpers are not known to it as tests.
#![allow(clippy::unwrap_used)]

// The habits that can be checked by reading the code: lengths, layers, words.
mod tidy;
