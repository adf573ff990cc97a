//! Runs the target `parquet` for as long as it is let.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| deltacart_fuzz::fuzz::parquet(data));
