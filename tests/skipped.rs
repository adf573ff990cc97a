//! Skipping of tests that lack something, such as a broker. A test that skips itself prints a line and passes.
//!
//! With `DELTACART_TEST_STRICT=1`, which `.ci/run` sets, it fails instead: a test that did not run must not look like
//! one that passed. The tests of all crates include this file.

use std::fmt::Display;

const STRICT: &str = "DELTACART_TEST_STRICT";

/// Skips a test, or a part of it. `why` says what is missing.
///
/// # Panics
/// With `DELTACART_TEST_STRICT=1`.
#[track_caller]
pub(crate) fn skip(why: impl Display) {
    assert!(std::env::var(STRICT).as_deref() != Ok("1"), "{STRICT}=1 lets no test be skipped: {why}");
    println!("skipped: {why}");
}
