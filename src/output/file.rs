//! Records as lines of a file or of standard output: newline-JSON, one value a line.
//!
//! The workers of a process share the file through clones of one sink, and each writes whole lines only. An epoch is
//! written out when it is closed.
//!
//! # Notes
//!
//! Between workers the order of lines depends on timing; the lines of one item come from one worker, in order.

use super::{Records, Sent, Sink, SinkError};
use deltacart_dataflows::Epoch;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Lines wait in a buffer of this size for the epoch to close.
const BUFFER_BYTES: usize = 256 << 10;

type Writer = BufWriter<Box<dyn Write + Send>>;

/// A file or standard output. Clones write to the same one.
#[derive(Clone)]
pub struct FileSink {
    path: String,
    writer: Arc<Mutex<Writer>>,
    sent: Sent,
    /// Records written since the last flush of this clone.
    unflushed: usize,
}

impl FileSink {
    /// Makes the file `path`, emptying the one that is there; `-` is standard output.
    pub fn create(path: &str) -> Result<Self, SinkError> {
        let file: Box<dyn Write + Send> = match path {
            "-" => Box::new(io::stdout()),
            _ => Box::new(File::create(path).map_err(|error| failed(path, error))?),
        };
        Ok(FileSink::new(path, file))
    }

    /// Goes on with the file `path`, or makes it. What follows its last whole line, which a run that was cut off left,
    /// is cut away.
    pub fn resume(path: &str) -> Result<Self, SinkError> {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.and_then(|mut file| {
            let length = whole_lines(&mut file)?;
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        });
        Ok(FileSink::new(path, Box::new(file.map_err(|error| failed(path, error))?)))
    }

    /// Writes to `writer`, which is called `path` in errors.
    pub fn new(path: &str, writer: Box<dyn Write + Send>) -> Self {
        let writer = Arc::new(Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, writer)));
        FileSink { path: path.to_owned(), writer, sent: Sent::default(), unflushed: 0 }
    }

    /// Writes one line, whose end is added.
    pub(crate) fn write_line(&mut self, line: &[u8]) -> Result<(), SinkError> {
        let written = write_line(&mut lock(&self.writer), line);
        self.count(line);
        written.map_err(|error| failed(&self.path, error))
    }

    /// Hands everything written so far to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), SinkError> {
        self.unflushed = 0;
        lock(&self.writer).flush().map_err(|error| failed(&self.path, error))
    }

    /// Where it writes to.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether a clone is writing now.
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
    fn send(&mut self, records: &mut Records) -> Result<(), SinkError> {
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

    fn poll(&mut self) -> Result<usize, SinkError> {
        Ok(self.unflushed)
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

/// How many bytes the whole lines of a file have: the place behind its last line break, looked for from the end.
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

/// A worker that panicked ends the job; until then the others may write on, whole lines as before.
fn lock(writer: &Mutex<Writer>) -> MutexGuard<'_, Writer> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(path: &str, source: io::Error) -> SinkError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::BrokenPipe => SinkError::Closed { path },
        _ => SinkError::File { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Envelope, ListChange, OutputOptions, encode};
    use super::*;
    use deltacart_dataflows::Neighbour;
    use std::time::Duration;

    /// One change to each of `items`: a list of one neighbour that is new, or gone.
    fn records(items: &[&str], gone: bool) -> Records {
        let options = OutputOptions { envelope: Envelope::Upsert, scores: false, score_digits: 3 };
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
        std::fs::write(&path, "what a run before left").unwrap();
        let mut sink = FileSink::create(path.to_str().unwrap()).unwrap();
        let mut other = sink.clone();
        let mut sent = records(&["a", "b"], false);
        sink.send(&mut sent).unwrap();
        assert!(sent.is_empty());
        assert_eq!((sink.poll().unwrap(), std::fs::read_to_string(&path).unwrap().as_str()), (2, ""));
        sink.close_epoch(1).unwrap();
        assert_eq!(sink.poll().unwrap(), 0);
        other.send(&mut records(&["a"], true)).unwrap();
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
            std::fs::write(&path, left).unwrap();
            let mut sink = FileSink::resume(path.to_str().unwrap()).unwrap();
            sink.send(&mut records(&["a"], false)).unwrap();
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
        sink.send(&mut records(&["a"], false)).unwrap();
        assert!(matches!(sink.close_epoch(1), Err(SinkError::Closed { path }) if path == "-"));
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named() {
        let error = FileSink::create("/nowhere/lists.jsonl").err().unwrap();
        assert_eq!(error.to_string(), "cannot write /nowhere/lists.jsonl");
    }
}
