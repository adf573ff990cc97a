//! What a test does that lacks something here: it says so, and passes. With `DELTACART_TEST_STRICT=1`, as `.ci/run`
//! sets it, it fails instead: a test that did not run must not look like one that passed.
//!
//! The tests of all crates include this file.

use std::fmt::Display;

const STRICT: &str = "DELTACART_TEST_STRICT";

/// Skips a test, or a part of it: `why` says what is missing.
#[track_caller]
pub(crate) fn skip(why: impl Display) {
    assert!(std::env::var(STRICT).as_deref() != Ok("1"), "{STRICT}=1 lets no test be skipped: {why}");
    println!("skipped: {why}");
}
