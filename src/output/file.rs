//! Records as lines of a file or of standard output: newline-delimited JSON, one value per line.
//!
//! The workers of a process share the file through clones of one sink. Each writes whole lines only. The buffer is
//! flushed when an epoch is closed.
//!
//! # Notes
//!
//! The order of lines of different workers depends on timing. The lines of one item come from one worker, in order.

use super::{Delivery, Records, Sent, Sink, SinkError, StreamNumber};
use crate::files::ExistingFile;
use deltacart_dataflows::Epoch;
use deltacart_inputs::file::explained;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// The size of the buffer, in bytes, in which lines wait until their epoch is closed.
const BUFFER_BYTES: usize = 256 << 10;

type Writer = BufWriter<Box<dyn Write + Send>>;

/// A file or standard output. Clones write to the same one.
#[derive(Clone)]
pub struct FileSink {
    path: String,
    writer: Arc<Mutex<Writer>>,
    sent: Sent,
    /// Records that this clone has written since its last flush.
    unflushed: usize,
}

impl FileSink {
    /// Opens or creates the file `path`. `-` is standard output. `lines` is the kind of content that can be resumed
    /// or replaced.
    ///
    /// # Errors
    /// When the file cannot be opened, or holds something that may be neither replaced nor resumed.
    pub fn open(path: &str, existing: ExistingFile, lines: Lines) -> Result<Self, SinkError> {
        match existing {
            _ if path == "-" => Ok(FileSink::new(path, Box::new(io::stdout()))),
            ExistingFile::Refuse => FileSink::create(path, None),
            ExistingFile::Replace => FileSink::create(path, Some(lines)),
            ExistingFile::Resume => FileSink::resume(path, lines),
        }
    }

    /// Creates the file `path`. The content of an existing file is replaced if it is lines of the kind `replaced`:
    /// with the first write, or at the end. A job that fails before that leaves the file as it was.
    fn create(path: &str, replaced: Option<Lines>) -> Result<Self, SinkError> {
        let open = || {
            let file = File::options().write(true).create(true).truncate(false).open(path)?;
            let metadata = file.metadata()?;
            Ok((file, if metadata.is_file() { metadata.len() } else { 0 }))
        };
        let (file, length) = open().map_err(|error| failed(path, error))?;
        match replaced {
            _ if length == 0 => {}
            None => return Err(SinkError::Exists { path: path.to_owned(), length }),
            Some(lines) => {
                let are_there = File::open(path).and_then(|mut file| lines.are_in(&mut file));
                if !are_there.map_err(|error| failed(path, error))? {
                    return Err(SinkError::Foreign { path: path.to_owned(), lines });
                }
            }
        }
        Ok(FileSink::new(path, Box::new(Replaced { file, is_to_empty: length > 0 })))
    }

    /// Resumes or creates the file `path`. The incomplete last line that a killed run left is cut off.
    fn resume(path: &str, lines: Lines) -> Result<Self, SinkError> {
        let open = || {
            let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
            let is_ours = lines.are_in(&mut file)?;
            if is_ours && file.metadata()?.is_file() {
                let length = whole_lines(&mut file)?;
                file.set_len(length)?;
                file.seek(SeekFrom::Start(length))?;
            }
            Ok((file, is_ours))
        };
        match open().map_err(|error| failed(path, error))? {
            (file, true) => Ok(FileSink::new(path, Box::new(file))),
            (_, false) => Err(SinkError::Foreign { path: path.to_owned(), lines }),
        }
    }

    /// A sink that writes to `writer`. Errors call it `path`.
    pub fn new(path: &str, writer: Box<dyn Write + Send>) -> Self {
        let writer = Arc::new(Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, writer)));
        FileSink { path: path.to_owned(), writer, sent: Sent::default(), unflushed: 0 }
    }

    /// Writes `line` and a line break.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> Result<(), SinkError> {
        let written = write_line(&mut lock(&self.writer), line);
        self.count(line);
        written.map_err(|error| failed(&self.path, error))
    }

    /// Flushes the buffer to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), SinkError> {
        self.unflushed = 0;
        lock(&self.writer).flush().map_err(|error| failed(&self.path, error))
    }

    /// The path of the file, or `-`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether a clone is writing at this moment.
    pub(crate) fn is_being_written(&self) -> bool {
        matches!(self.writer.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn count(&mut self, line: &[u8]) {
        self.sent.records += 1;
        self.sent.bytes += line.len() as u64 + 1;
        self.unflushed += 1;
    }
}

impl Sink for FileSink {
    fn send(&mut self, _stream: StreamNumber, records: &mut Records) -> Result<(), SinkError> {
        let writer = Arc::clone(&self.writer);
        let mut writer = lock(&writer);
        while let Some(record) = records.front() {
            if let Some(line) = record.line {
                write_line(&mut writer, line).map_err(|error| failed(&self.path, error))?;
                self.count(line);
            }
            records.pop();
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Delivery, SinkError> {
        // A closed epoch has been flushed.
        Ok(Delivery { records: self.unflushed, epochs: 0 })
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        if self.unflushed > 0 { self.flush() } else { Ok(()) }
    }

    fn sent(&self) -> Sent {
        self.sent
    }

    fn finish(&mut self, _patience: std::time::Duration) -> Result<(), SinkError> {
        self.flush()
    }
}

/// A kind of records, one a line in a file, recognised by the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// The first bytes of every such line: one of these.
    pub(crate) beginnings: &'static [&'static [u8]],
}

impl Lines {
    /// Records of lists, in any envelope.
    pub const LISTS: Lines = Lines {
        name: "lists",
        beginnings: &[b"{\"version\":1,\"item\":", b"{\"version\":1,\"op\":", b"{\"before\":"],
    };
    /// Records of the answers of carts, in any envelope.
    pub const CARTS: Lines = Lines {
        name: "answers of carts",
        beginnings: &[b"{\"version\":1,\"cart\":", b"{\"version\":1,\"op\":", b"{\"before\":"],
    };
    /// Records of the answers of users, in any envelope.
    pub const USERS: Lines = Lines {
        name: "answers of users",
        beginnings: &[b"{\"version\":1,\"user\":", b"{\"version\":1,\"op\":", b"{\"before\":"],
    };
    /// Dead letters.
    pub const DEAD_LETTERS: Lines = Lines { name: "dead letters", beginnings: &[b"{\"reason\":\""] };
    /// Events of a generated shop.
    pub const EVENTS: Lines = Lines { name: "events", beginnings: &[b"{\"event\":\""] };

    /// Whether a record begins as these do.
    pub(crate) fn has_beginning_of(self, record: &[u8]) -> bool {
        self.beginnings.iter().any(|beginning| record.starts_with(beginning))
    }

    /// Whether a file holds such lines, by its first bytes. An empty file does, and so does one that is not a regular
    /// file.
    fn are_in(self, file: &mut File) -> io::Result<bool> {
        if !file.metadata()?.is_file() {
            return Ok(true);
        }
        let mut found = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(32).read_to_end(&mut found)?;
        let begins = |expected: &&[u8]| {
            let length = expected.len().min(found.len());
            found[..length] == expected[..length]
        };
        Ok(found.is_empty() || self.beginnings.iter().any(begins))
    }
}

/// A file whose old content is removed at the first write, or at the first flush if nothing is written.
struct Replaced {
    file: File,
    is_to_empty: bool,
}

impl Replaced {
    fn empty(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_to_empty) { self.file.set_len(0) } else { Ok(()) }
    }
}

impl Write for Replaced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.empty()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.empty()?;
        self.file.flush()
    }
}

/// The length, in bytes, of the whole lines of a file. The last line break is searched from the end.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BUFFER_BYTES];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(place) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn write_line(writer: &mut Writer, line: &[u8]) -> io::Result<()> {
    writer.write_all(line)?;
    writer.write_all(b"\n")
}

/// Locks the writer, also after a panic. A worker that panicked ends the job; until then the others may go on writing
/// whole lines.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(path: &str, source: io::Error) -> SinkError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::BrokenPipe => SinkError::Closed { path },
        _ => SinkError::File { source: explained(std::path::Path::new(&path), source), path },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Envelope, ListChange, OutputOptions, RowKind, encode};
    use super::*;
    use deltacart_dataflows::Neighbour;
    use std::time::Duration;

    /// One change for each of `items`: a list of one neighbour is added, or removed.
    fn records(items: &[&str], gone: bool) -> Records {
        let options =
            OutputOptions { rows: RowKind::Item, envelope: Envelope::Upsert, scores: false, score_digits: 3 };
        let mut records = Records::new();
        for item in items {
            let list = vec![Neighbour { item: "n".into(), score: 1, count: 1 }];
            let (before, after) = if gone { (list, Vec::new()) } else { (Vec::new(), list) };
            encode(&ListChange { item: (*item).into(), epoch: 1, before, after }, &options, &mut records);
        }
        records
    }

    #[test]
    fn whole_epochs_reach_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.jsonl");
        std::fs::write(&path, r#"{"version":1,"item":"update a run before left"}"#).unwrap();
        let mut sink = FileSink::create(path.to_str().unwrap(), Some(Lines::LISTS)).unwrap();
        let mut other = sink.clone();
        let mut sent = records(&["a", "b"], false);
        sink.send(0, &mut sent).unwrap();
        assert!(sent.is_empty());
        let found = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            (sink.poll().unwrap().records, found.as_str()),
            (2, r#"{"version":1,"item":"update a run before left"}"#)
        );
        sink.close_epoch(1).unwrap();
        assert_eq!(sink.poll().unwrap(), Delivery::default());
        other.send(0, &mut records(&["a"], true)).unwrap();
        other.finish(Duration::ZERO).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[2].starts_with(r#"{"version":1,"item":"a","epoch":1,"recommendations":[],"#),
            "{}",
            lines[2]
        );
        assert_eq!(sink.sent().records + other.sent().records, 3);
        assert_eq!(sink.sent().bytes + other.sent().bytes, text.len() as u64);
    }

    #[test]
    fn a_torn_line_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.jsonl");
        let long = "x".repeat(2 * BUFFER_BYTES);
        for (left, whole) in [
            ("", String::new()),
            ("torn", String::new()),
            ("one\n", "one\n".into()),
            ("one\ntwo\nto", "one\ntwo\n".into()),
            (&format!("one\n{long}"), "one\n".into()),
            (&format!("{long}\n{long}\n{long}"), format!("{long}\n{long}\n")),
        ] {
            let (left, whole) = match whole.as_str() {
                _ if left.is_empty() => (String::new(), whole),
                "" => (r#"{"vers"#.to_owned(), whole),
                _ => (format!(r#"{{"version":1,"item":{left}"#), format!(r#"{{"version":1,"item":{whole}"#)),
            };
            std::fs::write(&path, left).unwrap();
            let mut sink = FileSink::resume(path.to_str().unwrap(), Lines::LISTS).unwrap();
            sink.send(0, &mut records(&["a"], false)).unwrap();
            sink.close_epoch(1).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let added = text.strip_prefix(&whole).expect("what was whole is there");
            assert!(added.starts_with(r#"{"version":1,"item":"a""#) && added.lines().count() == 1, "{added}");
        }
    }

    #[test]
    fn a_reader_that_left_is_told_apart() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut sink = FileSink::new("-", Box::new(writer));
        sink.send(0, &mut records(&["a"], false)).unwrap();
        assert!(matches!(sink.close_epoch(1), Err(SinkError::Closed { path }) if path == "-"));
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = FileSink::create("/nowhere/lists.jsonl", None).err().unwrap();
        assert_eq!(error.to_string(), "cannot write /nowhere/lists.jsonl");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "there is no folder /nowhere");
    }

    #[test]
    fn what_is_no_file_of_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.jsonl");
        let path = path.to_str().unwrap();
        for left in ["a letter without an end", "{\"basket\":1}\n{\"basket\":2", "{\"reason", "\n"] {
            for existing in [ExistingFile::Refuse, ExistingFile::Resume, ExistingFile::Replace] {
                std::fs::write(path, left).unwrap();
                assert!(FileSink::open(path, existing, Lines::LISTS).is_err(), "{left}");
                assert_eq!(std::fs::read_to_string(path).unwrap(), left);
            }
        }
    }

    #[test]
    fn a_file_is_replaced_at_the_end_if_nothing_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.jsonl");
        std::fs::write(&path, r#"{"version":1,"item":"update a run before left"}"#).unwrap();
        let open = || FileSink::open(path.to_str().unwrap(), ExistingFile::Replace, Lines::LISTS).unwrap();
        drop(open());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            r#"{"version":1,"item":"update a run before left"}"#
        );
        open().finish(Duration::ZERO).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }
}
