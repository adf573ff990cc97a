//! Tables as other programs write them, read as records of the formats; and tables that are damaged.

use crate::file::{FileParams, FileProgress, FileSource, Tables};
use crate::{DecodeOptions, Format, Share, Source};
use arrow_json::ReaderBuilder;
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::path::PathBuf;
use std::sync::Arc;

/// A table of these columns, with rows as lines of JSON, written in row groups of so many rows.
fn parquet(columns: Vec<Field>, rows: &str, group_rows: usize, compression: Compression) -> Vec<u8> {
    let schema = Arc::new(Schema::new(columns));
    let reader = ReaderBuilder::new(Arc::clone(&schema)).build(rows.as_bytes()).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_compression(compression)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    reader.for_each(|batch| writer.write(&batch.unwrap()).unwrap());
    writer.into_inner().unwrap()
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

/// Lines of a shop: what one visitor put into a cart.
fn cart_rows(rows: usize) -> String {
    let row = |row: usize| {
        let (cart, item, quantity) = (row / 2, row % 7, 1 + row % 3);
        format!(
            r#"{{"session":"s{cart}","sku":"i{item}","n":{quantity},"at":"2026-01-31T12:00:{:02}Z"}}"#,
            row % 60
        ) + "\n"
    };
    (0..rows).map(row).collect()
}

fn carts(rows: usize) -> Vec<u8> {
    let columns = vec![text("session"), text("note"), text("sku"), number("n"), time("at")];
    parquet(columns, &cart_rows(rows), 100, Compression::SNAPPY)
}

/// What a file becomes by these options: each event as a line, then rejects; or the error that ends the job.
fn read(bytes: &[u8], options: &DecodeOptions, skip: u64) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    std::fs::write(&path, bytes).unwrap();
    let progress = FileProgress::default();
    let (framing, tables, share) = (options.framing(), options.tables(), Share::WHOLE);
    let params = FileParams { framing, tables, record_bytes_max: 1 << 20, share, progress: progress.clone() };
    let mut source =
        FileSource::new(&[PathBuf::from(&path)], params).map_err(|error| format!("{error:?}"))?;
    let mut decoder = options.decoder().unwrap();
    source.resume(&[(0, skip)].into(), decoder.needs_header());
    let (mut said, mut events) = (Vec::new(), Vec::new());
    loop {
        let fetched = source.fetch(0, 50, &mut |record| {
            if let Err(reject) = decoder.decode(&record, &mut events) {
                said.push(format!("{} {}", reject.reason, reject.detail));
            }
        });
        if fetched.map_err(|error| format!("{error:?}"))?.ended {
            break;
        }
    }
    assert_eq!(Some(progress.bytes_read()), progress.bytes_total(), "all of it was read");
    let event =
        |event: &deltacart_dataflows::Event| format!("{} {} {:?}", event.basket, event.time, event.action);
    Ok(events.iter().map(event).chain(said).collect())
}

fn fields(paths: &str) -> DecodeOptions {
    DecodeOptions { fields: paths.parse().unwrap(), ..DecodeOptions::new(Format::Json) }
}

fn csv(columns: &str) -> DecodeOptions {
    DecodeOptions { columns: columns.parse().unwrap(), ..DecodeOptions::new(Format::Csv) }
}

#[test]
fn rows_are_records_of_json_and_of_csv() {
    let table = carts(1000);
    let expected: Vec<String> = (0..1000)
        .map(|row| {
            let time = 1_769_860_800_000u64 + 1000 * (row as u64 % 60);
            format!("s{} {time} Add(\"i{}\", {})", row / 2, row % 7, 1 + row % 3)
        })
        .collect();
    for options in [
        fields("basket=session,item=sku,quantity=n,time=at"),
        csv("basket=session,item=sku,quantity=n,time=at"),
        csv("basket=#1,item=#3,quantity=#4,time=#5"),
    ] {
        assert_eq!(read(&table, &options, 0).unwrap(), expected, "{options:?}");
    }
    // A run resumes at a row, and knows the columns all the same.
    assert_eq!(
        read(&table, &csv("basket=session,item=sku,quantity=n,time=at"), 901).unwrap(),
        expected[900..]
    );
    assert_eq!(
        read(&table, &fields("basket=session,item=sku,quantity=n,time=at"), 950).unwrap(),
        expected[950..]
    );
}

#[test]
fn every_compression_is_read() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4_RAW,
    ] {
        let table = parquet(
            vec![text("basket"), text("item")],
            "{\"basket\":\"b\",\"item\":\"i\"}\n",
            9,
            compression,
        );
        let plain = DecodeOptions::new(Format::Json);
        assert_eq!(read(&table, &plain, 0).unwrap(), ["b 0 Add(\"i\", 1)"], "{compression}");
    }
}

#[test]
fn an_order_may_hold_its_lines() {
    let line = DataType::Struct(Fields::from(vec![text("sku"), number("count")]));
    let lines = Field::new("lines", DataType::List(Arc::new(Field::new("item", line, true))), true);
    let rows = r#"{"id":1,"lines":[{"sku":"tea","count":2},{"sku":"mug"}],"customer":{"id":"u"}}
{"id":2,"lines":[{"count":1},{"sku":"mug","count":1}]}
{"id":3,"lines":[]}
"#;
    let customer = Field::new("customer", DataType::Struct(Fields::from(vec![text("id")])), true);
    let table = parquet(vec![number("id"), lines, customer], rows, 2, Compression::SNAPPY);
    let options = fields("basket=id,item=lines[].sku,quantity=lines[].count,user=customer.id");
    assert_eq!(
        read(&table, &options, 0).unwrap(),
        ["1 0 Add(\"tea\", 2)", "1 0 Add(\"mug\", 1)", "2 0 Add(\"mug\", 1)", "missing-item no item"]
    );
    // Rows of CSV have no lists.
    let error = read(&table, &csv("basket=id,item=id"), 0).unwrap_err();
    assert!(error.contains("cannot be read as Parquet"), "{error}");
}

#[test]
fn rows_that_are_no_records_are_refused() {
    for format in [Format::Baskets, Format::Fimi] {
        let options = DecodeOptions::new(format);
        assert_eq!(options.tables(), Tables::Refused);
        let error = read(&carts(3), &options, 0).unwrap_err();
        assert!(error.contains("this is Parquet, whose rows are no records here"), "{error}");
    }
}

/// A table that is damaged anywhere ends the job with an error, or is read; no worker panics, and none reads for ever.
#[test]
fn damaged_tables_are_errors() {
    let table = carts(300);
    let options = fields("basket=session,item=sku,quantity=n,time=at");
    let whole = read(&table, &options, 0).unwrap().len();
    for cut in [4, 8, 12, table.len() / 2, table.len() - 9, table.len() - 8, table.len() - 1] {
        let error = read(&table[..cut], &options, 0).unwrap_err();
        assert!(error.contains("cannot be read as Parquet"), "{cut}: {error}");
    }
    let (mut errors, step) = (0, 1 + table.len() / 200);
    for at in (4..table.len()).step_by(step) {
        let mut damaged = table.clone();
        damaged[at] ^= 0xff;
        match read(&damaged, &options, 0) {
            Ok(found) => assert!(found.len() <= whole, "{at}"),
            Err(error) => {
                assert!(error.contains("cannot be read as Parquet"), "{at}: {error}");
                errors += 1;
            }
        }
    }
    assert!(errors > 20, "{errors} of 200 were seen");
}
