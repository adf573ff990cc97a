//! Compression, ends, errors and sharing, over real files and a pipe.

use super::*;
use std::io::Write;

fn params(framing: Framing, share: Share) -> FileParams {
    let (tables, progress) = (Tables::Json, FileProgress::default());
    FileParams { framing, tables, record_bytes_max: 1 << 20, share, progress }
}

/// Everything in the files, as (partition, offset, value), a few records at a time.
fn read_all(source: &mut FileSource) -> Result<Vec<(u32, u64, String)>, SourceError> {
    let mut records = Vec::new();
    for partition in source.partitions()? {
        loop {
            let before = records.len();
            let fetched = source.fetch(partition, 3, &mut |record| {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                records.push((record.partition, record.offset, value));
            })?;
            assert_eq!(fetched.records, records.len() - before);
            assert_eq!(
                fetched.bytes,
                records[before..].iter().map(|(_, _, value)| value.len()).sum::<usize>()
            );
            assert!(fetched.records <= 3);
            if fetched.ended {
                break;
            }
        }
        let again = source.fetch(partition, 3, &mut |_| panic!("a record after the end"))?;
        assert_eq!(again, Fetched { ended: true, ..Fetched::default() });
    }
    Ok(records)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes `contents` to files and reads them with one worker.
fn read_files(contents: &[Vec<u8>]) -> Result<Vec<(u32, u64, String)>, SourceError> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> =
        (0..contents.len()).map(|number| folder.path().join(number.to_string())).collect();
    for (path, content) in paths.iter().zip(contents) {
        fs::write(path, content).unwrap();
    }
    read_all(&mut FileSource::new(&paths, params(Framing::Lines, Share::WHOLE))?)
}

#[test]
fn compressed_files_read_as_plain_ones() {
    let text: String =
        (0..50_000).map(|number| format!("record {number} {}\n", number * 7919 % 10_007)).collect();
    let text = text.as_bytes();
    let half = text.len() / 2;
    let contents = [
        text.to_vec(),
        [b"\xef\xbb\xbf", text].concat(),
        gzip(text),
        [gzip(&text[..half]), gzip(b""), gzip(&text[half..])].concat(),
        zstd::encode_all(text, 1).unwrap(),
        [zstd::encode_all(&text[..half], 1).unwrap(), zstd::encode_all(&text[half..], 1).unwrap()].concat(),
        [b"\x50\x2a\x4d\x18\x02\0\0\0xx".to_vec(), zstd::encode_all(text, 1).unwrap()].concat(),
    ];
    let records = read_files(&contents).unwrap();
    assert_eq!(records.len(), 50_000 * contents.len());
    for (at, (partition, offset, value)) in records.iter().enumerate() {
        let number = at % 50_000;
        assert_eq!((*partition as usize, *offset as usize), (at / 50_000, number));
        assert_eq!(value, &format!("record {number} {}", number * 7919 % 10_007));
    }
}

#[test]
fn empty_and_tiny_files_end() {
    let contents = [&b""[..], b"\n", b"a", b"\xef\xbb\xbf", b"\r\n\r\n", b"ab\r\n\nc"].map(<[u8]>::to_vec);
    let expected = [(2, 0, "a"), (5, 0, "ab"), (5, 1, "c")].map(|(p, o, value)| (p, o, value.to_string()));
    assert_eq!(read_files(&contents).unwrap(), expected);
}

#[test]
fn damaged_compression_is_an_error_that_names_the_file() {
    let text = "some text\n".repeat(10_000);
    let whole = gzip(text.as_bytes());
    let cut = whole[..whole.len() / 2].to_vec();
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0xff;
    let zstd_cut = zstd::encode_all(text.as_bytes(), 1).unwrap()[..20].to_vec();
    for content in [cut, flipped, zstd_cut, b"\x1f\x8bnot gzip at all".to_vec()] {
        match read_files(&[content]).unwrap_err() {
            SourceError::File { path, .. } => assert!(path.ends_with("/0"), "{path}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.csv");
    for (paths, culprit) in [
        (vec![missing.clone()], missing.as_path()),
        (vec![folder.path().to_owned()], folder.path()),
        (vec!["-".into(), "-".into()], Path::new("-")),
    ] {
        match FileSource::new(&paths, params(Framing::Lines, Share::WHOLE)).map(|_| ()).unwrap_err() {
            SourceError::File { path, source } => {
                assert_eq!(path, culprit.display().to_string());
                assert!(!source.to_string().is_empty());
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn workers_share_the_paths_and_the_progress() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..5).map(|number| folder.path().join(format!("{number}.csv"))).collect();
    for (number, path) in paths.iter().enumerate() {
        fs::write(path, format!("a,\"{number}\n\"\nb,{number}")).unwrap();
    }
    let progress = FileProgress::default();
    let mut sources: Vec<FileSource> = (0..2)
        .map(|worker| {
            let share = Share { worker, workers: 2 };
            let params =
                FileParams { progress: progress.clone(), ..params(Framing::Csv { delimiter: b',' }, share) };
            FileSource::new(&paths, params).unwrap()
        })
        .collect();
    assert_eq!(sources[0].partitions().unwrap(), [0, 2, 4]);
    assert_eq!(sources[1].partitions().unwrap(), [1, 3]);
    assert_eq!((progress.bytes_read(), progress.bytes_total()), (0, Some(5 * 10)));
    let records = read_all(&mut sources[1]).unwrap();
    assert_eq!(records[0], (1, 0, "a,\"1\n\"".to_string()));
    assert_eq!(records[3], (3, 1, "b,3".to_string()));
    assert_eq!(progress.bytes_read(), 2 * 10);
    assert!(!sources[0].may_grow());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_without_waiting_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let parameters = params(Framing::Lines, Share::WHOLE);
    let progress = parameters.progress.clone();
    let mut source = FileSource::new(std::slice::from_ref(&path), parameters).unwrap();
    assert_eq!(progress.bytes_total(), None);
    let nothing = source.fetch(0, 10, &mut |_| panic!("nobody has written")).unwrap();
    assert_eq!(nothing, Fetched { at_end: true, ..Fetched::default() });

    let mut writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut values = Vec::new();
    writer.write_all(b"one\ntwo\nthr").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while values.len() < 2 && std::time::Instant::now() < deadline {
        source.fetch(0, 10, &mut |record| values.push(record.value.unwrap().to_vec())).unwrap();
    }
    assert_eq!(values, [b"one", b"two"]);
    writer.write_all(b"ee").unwrap();
    drop(writer);
    while !source.fetch(0, 10, &mut |record| values.push(record.value.unwrap().to_vec())).unwrap().ended {
        assert!(std::time::Instant::now() < deadline, "the pipe does not end");
    }
    assert_eq!(values[2..], [b"three".to_vec()]);
}

#[test]
fn goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    fs::write(&path, "a\nb\nc\nd\n").unwrap();
    let read_from = |offset, keep_first| {
        let params = params(Framing::Lines, Share::WHOLE);
        let mut source = FileSource::new(std::slice::from_ref(&path), params).unwrap();
        source.resume(&[(0, offset)].into(), keep_first);
        assert_eq!(source.first_offset(0), offset);
        let records = read_all(&mut source)?;
        Ok::<_, SourceError>(
            records.into_iter().map(|(_, offset, value)| (offset, value)).collect::<Vec<_>>(),
        )
    };
    let [a, b, c, d] = [(0, "a".to_owned()), (1, "b".into()), (2, "c".into()), (3, "d".into())];
    assert_eq!(read_from(0, false).unwrap(), [a.clone(), b.clone(), c.clone(), d.clone()]);
    assert_eq!(read_from(2, false).unwrap(), [c.clone(), d.clone()]);
    assert_eq!(read_from(3, true).unwrap(), [a.clone(), d.clone()]);
    assert_eq!(read_from(1, true).unwrap(), [a, b, c, d]);
    assert_eq!(read_from(4, false).unwrap(), []);
    let error = read_from(5, false).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "it has 4 records, but 5 of it were read before");
}

#[test]
fn a_file_is_read_in_its_encoding_or_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let read = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let params = params(Framing::Lines, Share::WHOLE);
        let mut source = FileSource::new(std::slice::from_ref(&path), params)?;
        let records = read_all(&mut source)?;
        Ok::<_, SourceError>(records.into_iter().map(|(_, _, value)| value).collect::<Vec<_>>())
    };
    let utf16: Vec<u8> = "\u{feff}s1\tчай\r\ns2\tтея\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&utf16).unwrap();
    for content in [&utf16, &gzip.finish().unwrap()] {
        assert_eq!(read(content).unwrap(), ["s1\tчай", "s2\tтея"]);
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"PK\x03\x04\x14\0\0\0").unwrap();
    for (content, word) in [
        (b"PK\x03\x04\x14\0\0\0".to_vec(), "a zip archive"),
        (gzip.finish().unwrap(), "a zip archive"),
        (utf16[2..].to_vec(), "UTF-16LE without a byte order mark"),
    ] {
        // Before anything is read: at the start of the job.
        fs::write(&path, content).unwrap();
        let error = FileSource::new(std::slice::from_ref(&path), params(Framing::Lines, Share::WHOLE));
        let error = error.map(|_| ()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(word), "{cause}");
    }
}

#[test]
fn an_array_that_is_cut_off_is_not_the_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("array.json");
    let read = |content: &str| {
        fs::write(&path, content).unwrap();
        let mut source =
            FileSource::new(std::slice::from_ref(&path), params(Framing::Json, Share::WHOLE)).unwrap();
        let mut values = Vec::new();
        loop {
            let fetched = source.fetch(0, 10, &mut |record| values.push(record.value.unwrap().to_vec()));
            match fetched {
                Ok(fetched) if fetched.ended => return (values.len(), None),
                Ok(_) => {}
                Err(error) => {
                    return (values.len(), std::error::Error::source(&error).map(ToString::to_string));
                }
            }
        }
    };
    assert_eq!(read("[\n  {\n    \"a\": 1\n  },\n  {}\n]\n"), (2, None));
    let (records, error) = read("[\n  {\n    \"a\": 1\n  },\n");
    assert_eq!((records, error.unwrap().contains("does not end")), (1, true));
}
