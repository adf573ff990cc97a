//! The rows of a Parquet file as the text of records.
//!
//! ```text
//! file ─▶ a few rows of a row group ─▶ lines of JSON, or rows of CSV ─▶ framer
//! ```
//!
//! # Notes
//! - A few rows at a time are held, and the pages that they lie in.
//! - The library that reads the format panics on some files that are damaged. Here that is an error like any other.

use super::FileProgress;
use super::tables::Tables;
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::ChunkReader;
use std::cell::Cell;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a Parquet file begins with.
pub(crate) const MAGIC: &[u8] = b"PAR1";

/// How many rows are read at a time.
const BATCH_ROWS: usize = 256;

/// The text of one file's rows.
pub(crate) struct Rows {
    batches: ParquetRecordBatchReader,
    tables: Tables,
    /// The text of the rows that were read last, and how much of it has been handed over.
    text: Vec<u8>,
    handed_over: usize,
    place: Place,
}

/// How far the file has been read, in rows and in bytes on disk, as if all rows had as many.
struct Place {
    progress: FileProgress,
    rows: u64,
    rows_total: u64,
    bytes: u64,
    bytes_total: u64,
}

impl Rows {
    /// The rows of a file, which begins with [`MAGIC`].
    pub(crate) fn new(
        file: impl ChunkReader + 'static,
        tables: Tables,
        progress: FileProgress,
    ) -> io::Result<Rows> {
        if tables == Tables::Refused {
            let what = "this is Parquet, whose rows are no records here: --format csv, or --format json with --fields";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let bytes_total = file.len();
        // Types that a program notes for itself beside the schema of the file say nothing that is needed here.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = guarded(|| ParquetRecordBatchReaderBuilder::try_new_with_options(file, options))?;
        let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        let batches = guarded(|| builder.with_batch_size(BATCH_ROWS).build())?;
        let place = Place { progress, rows: 0, rows_total, bytes: 0, bytes_total };
        Ok(Rows { batches, tables, text: Vec::new(), handed_over: 0, place })
    }

    /// Reads the next few rows; false when there are none.
    fn fill(&mut self) -> io::Result<bool> {
        let batches = &mut self.batches;
        let Some(batch) = guarded(|| batches.next().transpose())? else {
            self.place.take_rest();
            return Ok(false);
        };
        let is_first = self.place.rows == 0;
        self.text.clear();
        self.handed_over = 0;
        let (text, tables) = (&mut self.text, self.tables);
        guarded(|| write(&batch, tables, is_first, text))?;
        self.place.take(batch.num_rows() as u64);
        Ok(true)
    }
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.handed_over == self.text.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let read = (&self.text[self.handed_over..]).read(buffer)?;
        self.handed_over += read;
        Ok(read)
    }
}

/// Appends rows as lines.
fn write(batch: &RecordBatch, tables: Tables, is_first: bool, text: &mut Vec<u8>) -> Result<(), ArrowError> {
    match tables {
        Tables::Refused => Ok(()),
        Tables::Json => {
            let mut writer = arrow_json::LineDelimitedWriter::new(text);
            writer.write(batch)?;
            writer.finish()
        }
        Tables::Csv { delimiter, has_header } => {
            let builder = arrow_csv::WriterBuilder::new().with_delimiter(delimiter);
            builder.with_header(has_header && is_first).build(text).write(batch)
        }
    }
}

thread_local! {
    static CATCHES_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would become an error. A panic hook that ends the process must return instead.
pub fn catches_panics() -> bool {
    CATCHES_PANICS.get()
}

/// What the library returns, with errors and panics as errors of reading.
fn guarded<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> io::Result<T> {
    let damaged = |what: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("it cannot be read as Parquet: {what}"))
    };
    CATCHES_PANICS.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CATCHES_PANICS.set(false);
    match done {
        Ok(result) => result.map_err(|error| damaged(error.to_string())),
        Err(_) => Err(damaged("it is damaged".to_owned())),
    }
}

impl Place {
    fn take(&mut self, rows: u64) {
        self.rows += rows;
        let bytes = u128::from(self.bytes_total) * u128::from(self.rows.min(self.rows_total));
        let bytes = bytes.checked_div(u128::from(self.rows_total)).unwrap_or_default() as u64;
        self.progress.add_read(bytes - self.bytes);
        self.bytes = bytes;
    }

    fn take_rest(&mut self) {
        self.progress.add_read(self.bytes_total - self.bytes);
        self.bytes = self.bytes_total;
    }
}

#[cfg(test)]
mod tests;
