//! The examples of docs/formats.md and the files of sample/: what is printed there is what the decoder does.
//!
//! In the document, a block whose info string carries flags is input (a record a line, or one record for `json`;
//! lines before an empty one are headers), and the block `text events` after it is what becomes of it.

use crate::{decoder, options_of, record, shown};
use deltacart_inputs::{BasketField, Flaw, Format, RawRecord, Reason};
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a document: info string and content.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((info.to_string(), content.join("\n")));
        }
    }
    blocks
}

/// What becomes of a block of input.
fn decoded(info: &str, content: &str) -> Vec<String> {
    let mut decoder = decoder(info);
    let (headers, value) = match content.split_once("\n\n") {
        Some((headers, value)) => (headers, value),
        None => ("", content),
    };
    let headers: Vec<(&str, Option<&[u8]>)> = headers
        .lines()
        .map(|line| line.split_once(": ").expect("NAME: VALUE"))
        .map(|(name, value)| (name, Some(value.as_bytes())))
        .collect();
    let records: Vec<&str> = if info.starts_with("json ") { vec![value] } else { value.lines().collect() };
    let records = records.iter().enumerate().flat_map(|(offset, value)| {
        shown(&mut *decoder, &RawRecord { headers: &headers, ..record(offset as u64, value.as_bytes()) })
    });
    records.collect()
}

#[test]
fn the_examples_of_the_specification() {
    let document = read("../docs/formats.md");
    let blocks = blocks(&document);
    let mut formats: Vec<Format> = Vec::new();
    for (place, (info, content)) in
        blocks.iter().enumerate().filter(|(_, (info, _))| info.contains("--format"))
    {
        let (next, expected) = &blocks[place + 1];
        assert_eq!(next, "text events", "what becomes of the block `{info}` must follow it");
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(decoded(info, content), expected, "{info}\n{content}");
        formats.push(options_of(info).format);
    }
    for format in Format::ALL {
        assert!(formats.contains(format), "{} has no example", format.name());
    }
}

#[test]
fn the_specification_lists_what_there_is() {
    let document = read("../docs/formats.md");
    for reason in Reason::ALL {
        assert!(document.contains(&format!("| `{reason}` |")), "{reason} is not documented");
    }
    for flaw in Flaw::ALL {
        assert!(document.contains(&format!("| `{flaw}` |")), "{flaw} is not documented");
    }
    for name in
        Format::ALL.iter().map(|format| format.name()).chain(BasketField::ALL.iter().map(|b| b.name()))
    {
        assert!(document.contains(&format!("`{name}`")), "{name} is not documented");
    }
}

#[test]
fn the_samples() {
    let became = |flags: &str, path: &str| decoded(&format!("text {flags}"), read(path).trim_end());
    let carts = became("--format json", "sample/carts.jsonl");
    let rows = became(
        "--format csv --columns basket=session,item=item,quantity=quantity,event=event",
        "sample/carts.csv",
    );
    assert_eq!(rows[0], "header");
    // The two tell the same story.
    let without_users: Vec<String> = carts
        .iter()
        .map(|line| {
            line.split_once(" (")
                .map_or(line.clone(), |(b, rest)| format!("{b}{}", &rest[rest.find(':').unwrap()..]))
        })
        .collect();
    assert_eq!(rows[1..], without_users[..]);
    assert!(carts.iter().all(|line| !line.starts_with("reject")), "{carts:?}");
}
