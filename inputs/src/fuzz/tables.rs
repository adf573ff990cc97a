//! Files that are tables.

use crate::file::parquet::Rows;
use crate::file::{FileProgress, Tables, catches_panics};
use bytes::Bytes;
use std::io::Read;
use std::panic;
use std::sync::Once;

/// How much of the text is looked at, in bytes: a few bytes of a file may stand for rows without end.
const TEXT_BYTES_MAX: usize = 100_000;

/// A Parquet file, whose rows are written as JSON or as CSV by the first byte. Its text is the same every time.
pub fn parquet(data: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(leave_caught_panics_alone);
    let [which, file @ ..] = data else { return };
    let tables =
        if which % 2 == 0 { Tables::Json } else { Tables::Csv { delimiter: b',', has_header: true } };
    let text = text(file, tables);
    assert_eq!(text, self::text(file, tables), "the same file is something else");
    if tables == Tables::Json && text.len() < TEXT_BYTES_MAX {
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            serde_json::from_slice::<serde::de::IgnoredAny>(line).expect("a row is an object");
        }
    }
}

/// libFuzzer's hook ends the process. A panic of the library that reads the file is an error like any other.
fn leave_caught_panics_alone() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !catches_panics() {
            report(panic);
        }
    }));
}

/// The text of the rows, up to an error.
fn text(file: &[u8], tables: Tables) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(rows) = Rows::new(Bytes::copy_from_slice(file), tables, FileProgress::default()) {
        // An error ends the text; what came before it counts.
        let _ = rows.take(TEXT_BYTES_MAX as u64).read_to_end(&mut text);
    }
    text
}
