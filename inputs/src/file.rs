//! Files and standard input as a source: each path is a partition, each record's number its offset.
//!
//! ```text
//! path ─▶ content (decompressed pieces) ─▶ framer (one record at a time) ─▶ RawRecord
//! ```
//!
//! # Notes
//! - Nothing is allocated per record, and a record longer than the limit is never held whole.
//! - A worker opens its paths one by one, as they are first read.
//! - What holds no records as it is (an archive, a workbook, a web page) is refused by its name before the job begins.

mod read;
mod kind;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
mod tables;
mod utf16;
mod content;
mod frame;
mod progress;

use crate::{Fetched, RawRecord, Share, Source, SourceError};
use content::{Content, Piece};
use frame::Frame;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) use frame::Framer;
pub use frame::Framing;
#[cfg(feature = "parquet")]
pub use parquet::catches_panics;
pub use progress::FileProgress;
pub use tables::Tables;

/// What one call of `fetch` reads at most, so that a record without an end holds nobody up.
const FETCH_BYTES_MAX: usize = 8 << 20;

/// How files are read, and which of them.
#[derive(Clone, Debug)]
pub struct FileParams {
    /// What ends a record.
    pub framing: Framing,
    /// What the rows of a file become that is a table.
    pub tables: Tables,
    /// The longest record handed over whole, in bytes; of a longer one this much of its beginning.
    pub record_bytes_max: usize,
    /// Which of the paths are this worker's.
    pub share: Share,
    /// Counts what is read; shared by the sources of all workers.
    pub progress: FileProgress,
}

/// The files of one worker.
pub struct FileSource {
    files: BTreeMap<u32, Reader>,
    progress: FileProgress,
}

struct Reader {
    path: PathBuf,
    state: State,
    tables: Tables,
    framer: Framer,
    next_offset: u64,
    is_pipe: bool,
    /// Records before this one are passed over.
    skip: u64,
    /// But for the first, which is the header.
    keep_first: bool,
}

enum State {
    /// A regular file that has not been opened.
    Waiting,
    Open(Content),
    Ended,
}

impl FileSource {
    /// The paths of `paths` that are this worker's, each the partition of its place in the list; `-` is standard
    /// input.
    ///
    /// # Errors
    /// When one of them does not exist, is a directory, may not be read, or holds no records as it is (an archive).
    pub fn new(paths: &[PathBuf], params: FileParams) -> Result<FileSource, SourceError> {
        let mut files = BTreeMap::new();
        FileSource::check(paths, params.tables, params.share)?;
        for (partition, path) in (0..).zip(paths) {
            if params.share.owns(partition) {
                let state = begin(path, &params.progress).map_err(|source| file_error(path, source))?;
                let framer = Framer::new(params.framing, params.record_bytes_max);
                let (path, is_pipe) = (path.clone(), matches!(state, State::Open(_)));
                let (skip, keep_first) = (0, false);
                let tables = params.tables;
                let reader =
                    Reader { path, state, tables, framer, next_offset: 0, is_pipe, skip, keep_first };
                files.insert(partition, reader);
            }
        }
        Ok(FileSource { files, progress: params.progress })
    }

    /// Whether the files that a worker with this share reads are there, and may be read. Nothing is read, and what may
    /// make a reader wait is not opened.
    ///
    /// # Errors
    /// When one of them does not exist, is a directory or may not be read, is a table whose rows are no records, or
    /// standard input is named twice.
    pub fn check(paths: &[PathBuf], tables: Tables, share: Share) -> Result<(), SourceError> {
        for (partition, path) in (0..).zip(paths) {
            if is_stdin(path) && paths[..partition as usize].iter().any(|path| is_stdin(path)) {
                let source = io::Error::new(io::ErrorKind::InvalidInput, "standard input is named twice");
                return Err(file_error(path, source));
            }
            if share.owns(partition) && !is_stdin(path) {
                check(path, tables).map_err(|source| file_error(path, source))?;
            }
        }
        Ok(())
    }

    /// Goes on at the offset of each file that is given, before anything is read; with `keep_first`, the first record
    /// of each file is handed over all the same.
    pub fn resume(&mut self, offsets: &BTreeMap<u32, u64>, keep_first: bool) {
        for (partition, reader) in &mut self.files {
            reader.skip = offsets.get(partition).copied().unwrap_or(0);
            reader.keep_first = keep_first;
        }
    }
}

impl Source for FileSource {
    fn partitions(&mut self) -> Result<Vec<u32>, SourceError> {
        Ok(self.files.keys().copied().collect())
    }

    fn has_caught_up(&self) -> bool {
        self.files.values().all(|reader| reader.is_pipe || matches!(reader.state, State::Ended))
    }

    fn fetch(
        &mut self,
        partition: u32,
        records_max: usize,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> Result<Fetched, SourceError> {
        let reader =
            self.files.get_mut(&partition).expect("the caller names a partition that `partitions` returned");
        reader
            .fetch(partition, records_max, &self.progress, each)
            .map_err(|source| file_error(&reader.path, source))
    }

    fn first_offset(&self, partition: u32) -> u64 {
        self.files.get(&partition).map_or(0, |reader| reader.skip)
    }
}

impl Reader {
    fn fetch(
        &mut self,
        partition: u32,
        records_max: usize,
        progress: &FileProgress,
        each: &mut dyn FnMut(RawRecord<'_>),
    ) -> io::Result<Fetched> {
        let mut fetched = Fetched::default();
        if matches!(self.state, State::Waiting) {
            self.state = State::Open(Content::of_file(&self.path, self.tables, progress)?);
        }
        let State::Open(content) = &mut self.state else {
            return Ok(Fetched { ended: true, ..fetched });
        };
        let (skip, keep_first) = (self.skip, self.keep_first);
        let next_offset = &mut self.next_offset;
        let mut hand_over = |frame: Frame<'_>, fetched: &mut Fetched| {
            let offset = *next_offset;
            *next_offset += 1;
            if offset < skip && !(keep_first && offset == 0) {
                fetched.skipped = true;
                return;
            }
            each(raw_record(partition, offset, frame));
            fetched.records += 1;
            fetched.bytes += frame.bytes.len();
        };
        let mut scanned = 0;
        while fetched.records < records_max && scanned < FETCH_BYTES_MAX {
            match content.fill()? {
                Piece::Bytes(bytes) => {
                    let (used, frame) = self.framer.next(bytes);
                    if let Some(frame) = frame {
                        hand_over(frame, &mut fetched);
                    }
                    content.consume(used);
                    scanned += used;
                }
                Piece::Nothing => {
                    fetched.at_end = true;
                    break;
                }
                Piece::End => {
                    if let Some(frame) = self.framer.finish() {
                        hand_over(frame, &mut fetched);
                    }
                    self.state = State::Ended;
                    fetched.ended = true;
                    if self.framer.is_cut_off() {
                        let what = "the JSON array it begins with does not end: is the file cut off?";
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                    }
                    if self.next_offset < skip {
                        let found = self.next_offset;
                        let what = format!("it has {found} records, but {skip} of it were read before");
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                    }
                    break;
                }
            }
        }
        Ok(fetched)
    }
}

fn raw_record(partition: u32, offset: u64, frame: Frame<'_>) -> RawRecord<'_> {
    RawRecord {
        partition,
        offset,
        key: None,
        value: Some(frame.bytes),
        headers: &[],
        timestamp: None,
        truncated: frame.truncated,
    }
}

/// Finds out what a path is, and whether it can be read, before the job begins.
fn begin(path: &Path, progress: &FileProgress) -> io::Result<State> {
    if is_stdin(path) {
        progress.add_pipe();
        return Ok(State::Open(Content::of_pipe(None)?));
    }
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        progress.add_pipe();
        return Ok(State::Open(Content::of_pipe(Some(path.to_owned()))?));
    }
    // Kept closed until it is read, for there may be more files than open ones.
    progress.add_file(metadata.len());
    Ok(State::Waiting)
}

/// Whether a path can be read, as far as that can be told without waiting.
fn check(path: &Path, tables: Tables) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name the files in it"));
    }
    if metadata.is_file() {
        // Opened to see whether it may be, and what it is.
        drop(Content::of_file(path, tables, &FileProgress::default())?);
    }
    Ok(())
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn file_error(path: &Path, source: io::Error) -> SourceError {
    SourceError::File { path: path.display().to_string(), source: explained(path, source) }
}

/// Whether a panic of this thread would become an error: none does without the library that reads tables.
#[cfg(not(feature = "parquet"))]
pub fn catches_panics() -> bool {
    false
}

/// What the operating system said about a path; where the folder is missing, that is said instead.
pub fn explained(path: &Path, source: io::Error) -> io::Error {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    match folder {
        Some(folder) if source.kind() == io::ErrorKind::NotFound && !folder.exists() => {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no folder {}", folder.display()))
        }
        _ => source,
    }
}

#[cfg(test)]
mod tests;
