//! Runs the target `paths` for as long as it is let.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| deltacart_fuzz::fuzz::paths(data));
