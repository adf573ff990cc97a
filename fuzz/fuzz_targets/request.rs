//! Runs the target `request` for as long as it is let.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| deltacart_fuzz::fuzz::request(data));
