//! Records of lists, folded, and written as rows of Parquet.
//!
//! ```text
//! records, a line each ─▶ Lists ─ at the end ─▶ rows ─▶ temporary file ─ rename ─▶ output
//! ```

use crate::files::ExistingFile;
use crate::output::{FileSink, Lines, Lists, SinkError};
use anyhow::{Context, Result};
use arrow_array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use deltacart_inputs::file::explained;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of rows that are written at a time.
const BATCH_ROWS: usize = 8192;

/// The key in the file's metadata that marks lists of a job, so that nothing else is replaced.
const METADATA_KEY: &str = "deltacart.lists";

/// The version of the columns, the value of [`METADATA_KEY`].
const METADATA_VERSION: &str = "1";

/// The Parquet file of a run, written at its end.
pub(crate) struct ParquetOutput {
    path: String,
    folded: Arc<Mutex<Folded>>,
}

/// The lists that the records so far result in.
#[derive(Default)]
struct Folded {
    lists: Lists,
    /// The start of a line whose end has not been written yet.
    partial_line: Vec<u8>,
}

/// Folds the lines that are written to it.
struct FoldingWriter(Arc<Mutex<Folded>>);

impl ParquetOutput {
    /// The Parquet file `path`. An existing file stays as it is until the run ends.
    ///
    /// # Errors
    /// If the existing file may not be replaced or holds no lists, or no file can be created beside it.
    pub(crate) fn open(path: &str, existing: ExistingFile) -> Result<ParquetOutput> {
        let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
        if length > 0 && existing == ExistingFile::Refuse {
            return Err(SinkError::Exists { path: path.to_owned(), length }.into());
        }
        if length > 0 && !holds_lists(path) {
            return Err(SinkError::Foreign { path: path.to_owned(), lines: Lines::LISTS }.into());
        }
        // A folder that cannot be written to is an error before the work, not after it.
        let temporary = temporary_path(path);
        let created = File::create_new(&temporary).and_then(|_file| fs::remove_file(&temporary));
        created.map_err(|error| SinkError::File {
            path: path.to_owned(),
            source: explained(&temporary, error),
        })?;
        Ok(ParquetOutput { path: path.to_owned(), folded: Arc::default() })
    }

    /// The sink for the records of lists.
    pub(crate) fn sink(&self) -> FileSink {
        FileSink::new(&self.path, Box::new(FoldingWriter(Arc::clone(&self.folded))))
    }

    /// Writes all lists as they are now, and replaces the existing file.
    ///
    /// # Errors
    /// If they cannot be written. The existing file is then unchanged.
    pub(crate) fn write(self) -> Result<()> {
        let temporary = temporary_path(&self.path);
        let written = File::create_new(&temporary).map_err(ParquetError::from).and_then(|file| {
            let file = write_rows(&lock(&self.folded).lists, file)?;
            file.sync_all()?;
            // The target of a link is replaced, not the link.
            let path = fs::canonicalize(&self.path).unwrap_or_else(|_| PathBuf::from(&self.path));
            Ok(fs::rename(&temporary, path)?)
        });
        if written.is_err() {
            // The error that is returned says more than a second one about the removal.
            let _ = fs::remove_file(&temporary);
        }
        written.with_context(|| format!("cannot write {}", self.path))
    }
}

impl Write for FoldingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Folded { lists, partial_line } = &mut *lock(&self.0);
        partial_line.extend_from_slice(bytes);
        let whole = partial_line.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in partial_line[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            lists.apply(None, Some(line)).map_err(io::Error::other)?;
        }
        partial_line.drain(..whole);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Locks the lists, also after a panic: a worker that panicked ends the process before they are written.
fn lock(folded: &Mutex<Folded>) -> MutexGuard<'_, Folded> {
    folded.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The temporary file of this process, in the folder of the output, so that it can be renamed.
fn temporary_path(path: &str) -> PathBuf {
    let path = fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// Whether a file holds the lists of an earlier run.
fn holds_lists(path: &str) -> bool {
    let read = || SerializedFileReader::new(File::open(Path::new(path))?);
    let Ok(reader) = read() else { return false };
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    metadata.is_some_and(|pairs| pairs.iter().any(|pair| pair.key == METADATA_KEY))
}

/// Writes all lists, by rising item and rank.
fn write_rows(lists: &Lists, file: File) -> Result<File, ParquetError> {
    let version = KeyValue::new(METADATA_KEY.to_owned(), METADATA_VERSION.to_owned());
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![version]))
        .build();
    let schema = Arc::new(Schema::new(vec![
        Field::new("item", DataType::Utf8, false),
        Field::new("rank", DataType::Int32, false),
        Field::new("other", DataType::Utf8, false),
        Field::new("score", DataType::Float64, true),
        Field::new("count", DataType::Int64, true),
    ]));
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let rows = lists.iter().flat_map(|(item, list)| list.entries.iter().map(move |entry| (item, entry)));
    let rows: Vec<_> = rows.collect();
    for rows in rows.chunks(BATCH_ROWS) {
        let score = |score: crate::output::Decimal| score.to_string().parse::<f64>().ok();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(item, _)| item.as_str()))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|(_, entry)| entry.rank.cast_signed()))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, entry)| entry.item.as_str()))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|(_, entry)| entry.score.and_then(score)))),
            Arc::new(Int64Array::from_iter(rows.iter().map(|(_, entry)| entry.count.map(i64::from)))),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.into_inner()
}
