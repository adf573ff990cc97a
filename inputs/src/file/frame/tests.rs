//! Framing against a naive model and against the csv crate, over all small inputs.

use super::*;

const CSV: Framing = Framing::Csv { delimiter: b',' };

/// What the framer makes of `pieces`: the records, and whether each was cut.
fn frames(framing: Framing, record_bytes_max: usize, pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
    let mut framer = Framer::new(framing, record_bytes_max);
    let mut found = Vec::new();
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            let (used, frame) = framer.next(piece);
            found.extend(frame.map(|frame| (frame.bytes.to_vec(), frame.truncated)));
            piece = &piece[used..];
        }
    }
    found.extend(framer.finish().map(|frame| (frame.bytes.to_vec(), frame.truncated)));
    found
}

/// The same, a byte at a time, with everything in memory.
fn model(framing: Framing, record_bytes_max: usize, input: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let mut records = vec![Vec::new()];
    let mut quoted = false;
    let mut at_field_start = true;
    let mut bytes = input.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let record = records.last_mut().unwrap();
        match byte {
            b'\n' if !quoted => {
                records.push(Vec::new());
                at_field_start = true;
                continue;
            }
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                record.push(byte);
                bytes.next();
            }
            b'"' if quoted => quoted = false,
            b'"' if at_field_start => quoted = framing == CSV,
            _ => {}
        }
        record.push(byte);
        at_field_start = byte == b',' && !quoted;
    }
    let trimmed =
        records.into_iter().map(|record| record.strip_suffix(b"\r").map(<[u8]>::to_vec).unwrap_or(record));
    let cut = |record: Vec<u8>| {
        let truncated = record.len() > record_bytes_max;
        (record.into_iter().take(record_bytes_max).collect(), truncated)
    };
    trimmed.filter(|record| !record.is_empty()).map(cut).collect()
}

/// Calls `check` with every sequence of at most `length_max` of the `letters`.
fn for_all_strings(letters: &[&str], length_max: u32, mut check: impl FnMut(&str)) {
    for length in 0..=length_max {
        for number in 0..letters.len().pow(length) {
            let mut rest = number;
            let word: String = (0..length)
                .map(|_| {
                    let letter = letters[rest % letters.len()];
                    rest /= letters.len();
                    letter
                })
                .collect();
            check(&word);
        }
    }
}

#[test]
fn all_small_inputs_however_they_are_cut() {
    for framing in [Framing::Lines, CSV] {
        for_all_strings(&["a", "\"", "\n", "\r", ","], 6, |input| {
            let input = input.as_bytes();
            for record_bytes_max in [2, 100] {
                let expected = model(framing, record_bytes_max, input);
                for cut in 0..=input.len() {
                    let pieces = [&input[..cut], &input[cut..]];
                    let found = frames(framing, record_bytes_max, &pieces);
                    assert_eq!(
                        found,
                        expected,
                        "{framing:?}, limit {record_bytes_max}, {:?}",
                        input.escape_ascii()
                    );
                }
                let bytes: Vec<&[u8]> = input.chunks(1).collect();
                assert_eq!(frames(framing, record_bytes_max, &bytes), expected, "{:?}", input.escape_ascii());
            }
        });
    }
}

#[test]
fn csv_records_are_those_of_the_csv_reader() {
    let records = |input: &[u8]| -> Vec<csv::ByteRecord> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
        reader.byte_records().map(|record| record.unwrap()).collect()
    };
    // A lone carriage return ends a record there and does not here: it is left out.
    for_all_strings(&["a", "\"", "\n", "\r\n", ","], 6, |input| {
        let framed = frames(CSV, 100, &[input.as_bytes()]);
        let parsed: Vec<_> = framed.iter().flat_map(|(record, _)| records(record)).collect();
        assert_eq!(parsed, records(input.as_bytes()), "{input:?}");
    });
}

#[test]
fn a_long_record_is_never_held_whole() {
    let mut framer = Framer::new(Framing::Lines, 10);
    for _ in 0..1000 {
        assert_eq!(framer.next(b"0123456789abcdef"), (16, None));
        assert!(framer.held.capacity() <= 16, "{} bytes are held", framer.held.capacity());
    }
    assert_eq!(framer.next(b"\nnext\n"), (1, Some(Frame { bytes: b"0123456789", truncated: true })));
    assert_eq!(framer.next(b"next\n"), (5, Some(Frame { bytes: b"next", truncated: false })));
}

#[test]
fn a_quote_opens_a_field_after_the_delimiter_that_was_chosen() {
    let tabs = Framing::Csv { delimiter: b'\t' };
    let records = |framing, input: &str| frames(framing, 100, &[input.as_bytes()]).len();
    assert_eq!((records(tabs, "a\t\"x\ny\"\n"), records(CSV, "a\t\"x\ny\"\n")), (1, 2));
    assert_eq!((records(tabs, "a,\"x\ny\"\n"), records(CSV, "a,\"x\ny\"\n")), (2, 1));
}

/// The records of a JSON file that comes in pieces of so many bytes, as text.
fn json_records(input: &str, piece_bytes: usize) -> Vec<String> {
    let pieces: Vec<&[u8]> = input.as_bytes().chunks(piece_bytes).collect();
    let found = frames(Framing::Json, 1000, &pieces);
    found.into_iter().map(|(record, _)| String::from_utf8(record).unwrap()).collect()
}

#[test]
fn json_is_read_as_lines_as_an_array_or_as_values_of_many_lines() {
    let values = [
        serde_json::json!({"basket": "b1", "items": [{"item": "a ]}\" \\ {["}, {"item": 7}], "more": {}}),
        serde_json::json!({"basket": "b2\n", "items": []}),
        serde_json::json!({}),
        serde_json::json!({"a": {"b": [[1, 2], [], "x,y"]}}),
    ];
    let pretty = |value| serde_json::to_string_pretty(value).unwrap();
    let lines: Vec<String> = values.iter().map(ToString::to_string).collect();
    let blocks: Vec<String> = values.iter().map(pretty).collect();
    let forms = [
        lines.join("\n"),
        lines.join("\r\n\r\n"),
        blocks.join("\n"),
        blocks.join("\r\n\r\n"),
        serde_json::to_string(&values).unwrap(),
        format!("\n {} \n", serde_json::to_string_pretty(&values).unwrap()),
        format!("[\n{}\n]\n", lines.join(",\n")),
        lines.iter().map(|line| format!("[{line}]\n")).collect::<String>(),
        format!("[{}]\n{}", lines[..2].join(","), lines[2..].join("\n")),
    ];
    for form in forms {
        for piece_bytes in 1..=form.len() {
            let found = json_records(&form, piece_bytes);
            let found: Vec<serde_json::Value> =
                found.iter().map(|record| serde_json::from_str(record).unwrap()).collect();
            assert_eq!(found, values, "{piece_bytes} bytes at once of\n{form}");
        }
    }
}

#[test]
fn damaged_json_spoils_little() {
    for (input, expected) in [
        // Lines, whatever is in them.
        ("{\"a\":1}}\n{\"a\":\n{\"b\":2}", &["{\"a\":1}}", "{\"a\":", "{\"b\":2}"][..]),
        ("session,item\n{\"a\":\n\"x", &["session,item", "{\"a\":", "\"x"]),
        ("{\"a\":\"cut off\n{\"b\":2}\n{\"c\":", &["{\"a\":\"cut off", "{\"b\":2}", "{\"c\":"]),
        // The first line ends where a value of many lines could go on: the next brace tells that it does not.
        ("{\"a\":1,\n{\"b\":2}\n{\"c\":3}", &["{\"a\":1,\n", "{\"b\":2}", "{\"c\":3}"]),
        // An element without its quote, without its comma, with one too many, and what is no object.
        (
            "[{\"a\":\"x},\n{\"b\":2} {\"c\":3},,\n4,\"d\",]",
            &["{\"a\":\"x},\n{\"b\":2} {\"c\":3},,\n4,\"d\",]"],
        ),
        (
            "[{\"a\":\"x\n},{\"b\":2} {\"c\":3},,4,\"d\",]",
            &["{\"a\":\"x\n}", "{\"b\":2}", "{\"c\":3}", "4", "\"d\""],
        ),
        ("[1,2", &["1", "2"]),
        ("[]", &[]),
        ("  \n", &[]),
        ("[]]}\n{}", &["]}", "{}"]),
    ] {
        for piece_bytes in 1..=input.len() {
            assert_eq!(json_records(input, piece_bytes), expected, "{piece_bytes} bytes at once of {input}");
        }
    }
    let is_cut_off = |input: &str| {
        let mut framer = Framer::new(Framing::Json, 100);
        let mut rest = input.as_bytes();
        while !rest.is_empty() {
            rest = &rest[framer.next(rest).0..];
        }
        framer.finish();
        framer.is_cut_off()
    };
    assert!(is_cut_off("[") && is_cut_off("[{\"a\":1},") && is_cut_off("[{\"a\":"));
    assert!(!is_cut_off("") && !is_cut_off("[{}]") && !is_cut_off("{\"a\":["));
}

#[test]
fn pieces_of_json_make_no_difference() {
    for_all_strings(&["a", "\"", "\n", "{", "}", "[", "]", ",", "\\"], 5, |input| {
        let whole = json_records(input, 1000);
        assert_eq!(json_records(input, 1), whole, "{input:?}");
        assert_eq!(json_records(input, 2), whole, "{input:?}");
        // Nothing but blanks and what makes an array stands between records.
        let mut rest = input;
        for record in &whole {
            let at = rest.find(record.as_str()).unwrap();
            assert!(rest[..at].chars().all(|c| "\n[],".contains(c)), "{input:?}: {:?} is lost", &rest[..at]);
            rest = &rest[at + record.len()..];
        }
        assert!(rest.chars().all(|c| "\n[],".contains(c)), "{input:?}: {rest:?} is lost");
    });
}
