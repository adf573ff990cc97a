//! Parquet in and out, from the command line: the lists are those of the same events as lines of JSON.

use crate::support::{Folder, lists_of_file, run, start, wait_until};
use arrow_array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::Arc;

/// The lines of baskets in a small shop, three each: the basket and the item.
fn lines(baskets: std::ops::Range<usize>) -> Vec<(String, String)> {
    let line =
        |basket: usize, line: usize| (format!("b{basket}"), format!("i{}", basket * 7 % 11 + line * line));
    baskets.flat_map(|basket| (0..3).map(move |number| line(basket, number))).collect()
}

/// Two files with the same lines: a Parquet file with a column of baskets and one of items, and lines of JSON.
fn carts(folder: &Folder, name: &str, baskets: std::ops::Range<usize>) -> (String, String) {
    let lines = lines(baskets);
    let json: Vec<String> =
        lines.iter().map(|(basket, item)| format!(r#"{{"basket":"{basket}","item":"{item}"}}"#)).collect();
    let column = |name: &str| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![column("basket"), column("item")]));
    let columns: [ArrayRef; 2] = [
        Arc::new(StringArray::from_iter_values(lines.iter().map(|(basket, _)| basket))),
        Arc::new(StringArray::from_iter_values(lines.iter().map(|(_, item)| item))),
    ];
    let path = folder.path(&format!("{name}.parquet"));
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), Arc::clone(&schema), None).unwrap();
    writer.write(&RecordBatch::try_new(schema, columns.into()).unwrap()).unwrap();
    writer.close().unwrap();
    (path, folder.file(&format!("{name}.jsonl"), json.join("\n")))
}

/// The lists in a Parquet file, in the canonical form that `lists_of_file` has, too.
#[track_caller]
fn lists_of_table(path: &str) -> String {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let (mut text, mut item_before) = (String::new(), None);
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap().as_any();
        let items: &StringArray = column("item").downcast_ref().unwrap();
        let others: &StringArray = column("other").downcast_ref().unwrap();
        let ranks: &Int32Array = column("rank").downcast_ref().unwrap();
        let scores: &Float64Array = column("score").downcast_ref().unwrap();
        let counts: &Int64Array = column("count").downcast_ref().unwrap();
        for row in 0..batch.num_rows() {
            let item = items.value(row).to_owned();
            if item_before.as_ref() != Some(&item) {
                text.push_str(if item_before.is_none() { "" } else { "]}\n" });
                write!(text, r#"{{"item":"{item}","recommendations":["#).unwrap();
                assert_eq!(ranks.value(row), 1);
            } else {
                assert_eq!(ranks.value(row), ranks.value(row - 1) + 1);
                text.push(',');
            }
            write!(text, r#"{{"item":"{}""#, others.value(row)).unwrap();
            if scores.is_valid(row) {
                write!(text, r#","score":{},"count":{}"#, scores.value(row), counts.value(row)).unwrap();
            }
            text.push('}');
            item_before = Some(item);
        }
    }
    text + if item_before.is_none() { "" } else { "]}\n" }
}

#[test]
fn parquet_in_and_out() {
    let folder = Folder::new();
    let (table, json) = carts(&folder, "carts", 0..400);
    let (lists, rows) = (folder.path("lists.jsonl"), folder.path("lists.parquet"));
    for flags in ["", "--epoch-events 50", "-k 3 -w 2", "--scores off"] {
        run(&format!("run --input {json} --output {lists} --overwrite {flags}"), &[]).expect(0);
        let done =
            run(&format!("run --input {table} --output {rows} --overwrite --verify {flags}"), &[]).expect(0);
        assert!(done.summary().contains("1200 events of 1200 records, 0 rejects"), "{}", done.summary());
        let expected = lists_of_file(&lists);
        assert!(expected.lines().count() > 5, "{expected}");
        assert_eq!(lists_of_table(&rows), expected, "{flags}");
    }
    // The columns of a table can have any names, and the output of a run can be the input of another.
    let flags = "--format csv --columns basket=basket,item=item";
    run(&format!("run --input {table} --output {lists} --overwrite {flags}"), &[]).expect(0);
    let flags = "--fields basket=item,item=other";
    run(&format!("run --input {rows} --output {lists} --overwrite {flags}"), &[])
        .expect(0)
        .says(", 0 rejects");
}

#[test]
fn flags_of_records_are_refused() {
    let folder = Folder::new();
    let (_, json) = carts(&folder, "carts", 0..20);
    let rows = folder.path("lists.parquet");
    for flag in ["--envelope changes", "--lists-every 1s"] {
        let done = run(&format!("run --input {json} --output {rows} {flag}"), &[]).expect(2);
        done.says(flag.split_once(' ').unwrap().0).says("Parquet");
    }
    assert!(!fs::exists(&rows).unwrap());
}

#[test]
fn no_parquet_file_is_lost() {
    let folder = Folder::new();
    let (table, json) = carts(&folder, "carts", 0..20);
    let rows = folder.path("lists.parquet");
    let before = fs::read(&table).unwrap();
    run(&format!("run --input {table} --output {table} --overwrite"), &[]).expect(2).says("--input");
    run(&format!("run --input {json} --output {table}"), &[]).expect(2).says("--overwrite");
    run(&format!("run --input {json} --output {table} --overwrite"), &[])
        .expect(1)
        .says("is not a file of lists");
    assert_eq!(fs::read(&table).unwrap(), before);
    run(&format!("run --input {json} --output {rows}"), &[]).expect(0);
    let lists = fs::read(&rows).unwrap();
    run(&format!("run --input {json} --output {rows}"), &[]).expect(2).says("--overwrite");
    // A run that fails while it reads, and runs that cannot start.
    let cut = folder.file("cut.json", r#"[{"basket":"b","items":[{"item":"x"},{"item":"y"}]},"#);
    run(&format!("run --input {cut} --output {rows} --overwrite"), &[]).expect(1);
    assert_eq!(fs::read(&rows).unwrap(), lists);
    run(&format!("run --input {json} --output {}", folder.path("no/lists.parquet")), &[])
        .expect(1)
        .says("no folder");
    run(&format!("run --input {json} --dead-letter {}", folder.path("x.parquet")), &[])
        .expect(2)
        .says("lines of JSON");
    run(&format!("generate --events 5 --output {}", folder.path("x.parquet")), &[])
        .expect(2)
        .says("lines of JSON");
    let left: Vec<_> = fs::read_dir(folder.path("")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "nothing is left beside: {left:?}");
}

/// A run that resumes from a snapshot writes all lists, not only those that changed.
#[test]
fn a_resumed_run_writes_all_lists() {
    let folder = Folder::new();
    let (_, some) = carts(&folder, "some", 0..100);
    let (_, all) = carts(&folder, "all", 0..150);
    let (input, rows, lists) =
        (folder.path("in.jsonl"), folder.path("lists.parquet"), folder.path("lists.jsonl"));
    let job = format!("run --input {input} --output {rows} --state {}", folder.path("state"));
    for (file, read) in [(&some, 300), (&all, 150), (&all, 0)] {
        fs::copy(file, &input).unwrap();
        run(&job, &[]).expect(0).says(&format!(" of {read} records"));
        run(&format!("run --input {file} --output {lists} --overwrite"), &[]).expect(0);
        assert_eq!(lists_of_table(&rows), lists_of_file(&lists));
    }
}

/// A job whose input does not end writes its lists when a signal stops it.
#[test]
fn a_signal_writes_the_lists() {
    let folder = Folder::new();
    let (rows, letters) = (folder.path("lists.parquet"), folder.path("letters.jsonl"));
    let mut running = start(&format!("run --input - --output {rows} --dead-letter {letters}"), &[]);
    let mut stdin = running.stdin();
    // The second record is rejected. Its dead letter shows that the first has been read, too.
    let records = b"{\"basket\":1,\"items\":[{\"item\":\"tea\"},{\"item\":\"mug\"}]}\n{}\n";
    stdin.write_all(records).unwrap();
    let length = |path: &str| fs::metadata(path).map_or(0, |metadata| metadata.len());
    wait_until("the records are read", || length(&letters) > 0);
    assert!(!fs::exists(&rows).unwrap());
    running.terminate();
    running.finish();
    drop(stdin);
    assert_eq!(lists_of_table(&rows).lines().count(), 2);
}
