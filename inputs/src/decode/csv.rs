//! Rows of columns: one record is one row, and where columns are named, the first record of a partition is the header.
//!
//! Quoted columns may hold delimiters and line ends; the source has framed the rows already. Only the columns that
//! are used are looked at: a description in some other encoding is no defect. An empty column is an absent one.

use super::fields::Field;
use super::json::utf8;
use super::options::{Column, Delimiter, EventNames};
use super::presets::{Preset, Table};
use super::reject::quoted;
use super::sink::{About, Line, Sink, Vocabulary, WithoutBasket};
use super::{Flaw, Limits, Reason, Reject};
use crate::RawRecord;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How many names of a header a reject lists.
const HEADER_NAMES_MAX: usize = 12;

/// The decoder of rows.
pub(super) struct Csv {
    preset: Preset,
    names: Vocabulary,
    /// Where the columns are when none of them is named.
    fixed: Option<Table<Place>>,
    /// Where the columns are in each partition, as its header says.
    by_header: BTreeMap<u32, Table<Place>>,
    row: Row,
}

/// Where a column is in a row.
struct Place {
    /// From 0.
    position: usize,
    /// What the column is called in rejects.
    name: String,
    /// Integers are written with an empty fraction here, which is no part of the id.
    has_float_ids: bool,
}

impl Csv {
    pub(super) fn new(preset: Preset, own: &EventNames, delimiter: Delimiter) -> Csv {
        let names = Vocabulary::new(own, preset.names, false);
        let fixed = preset.table.try_map(|column| match column {
            Column::Position(position) => Ok(preset.place(column, *position)),
            Column::Name(_) => Err(()),
        });
        Csv { names, fixed: fixed.ok(), by_header: BTreeMap::new(), row: Row::new(delimiter), preset }
    }

    pub(super) fn needs_header(&self) -> bool {
        self.fixed.is_none()
    }

    pub(super) fn decode(
        &mut self,
        record: &RawRecord<'_>,
        value: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Reject> {
        // Files from spreadsheets begin with a byte order mark, which is no part of the first column, and files that
        // were put together have one wherever another begins.
        let mut value = value;
        while let Some(rest) = value.strip_prefix(b"\xEF\xBB\xBF") {
            value = rest;
        }
        if self.needs_header() && record.offset == 0 {
            // A header that cannot be used must not leave the one of an earlier topic or file behind.
            self.by_header.remove(&record.partition);
            self.row.read(value)?;
            self.by_header.insert(record.partition, header(&self.preset, &self.row)?);
            sink.counts.header = true;
            return Ok(());
        }
        let Some(table) = self.fixed.as_ref().or_else(|| self.by_header.get(&record.partition)) else {
            let detail =
                "the header of this partition is bad or was not read; columns given as item=#2 need none";
            return Err(Reject::new(Reason::MissingHeader, detail));
        };
        self.row.read(value)?;
        decode_row(&self.row, table, &self.preset, &self.names, sink)
    }
}

/// Where the preset's columns are, by the names in the row just read.
fn header(preset: &Preset, row: &Row) -> Result<Table<Place>, Reject> {
    preset.table.try_map(|column| {
        let name = match column {
            Column::Position(position) => return Ok(preset.place(column, *position)),
            Column::Name(name) => name,
        };
        let mut found = (0..row.ends.len()).filter(|&position| row.column(position) == Some(name.as_bytes()));
        let detail = match (found.next(), found.next()) {
            (Some(position), None) => return Ok(preset.place(column, position)),
            (Some(_), Some(_)) => format!("several columns are called {}", quoted(name)),
            (None, _) => {
                let names =
                    (0..row.ends.len().min(HEADER_NAMES_MAX)).filter_map(|position| row.column(position));
                let names: Vec<_> = names.map(String::from_utf8_lossy).collect();
                format!("no column is called {}; the header begins with {}", quoted(name), names.join(", "))
            }
        };
        Err(Reject::new(Reason::BadHeader, detail))
    })
}

fn decode_row(
    row: &Row,
    table: &Table<Place>,
    preset: &Preset,
    names: &Vocabulary,
    sink: &mut Sink<'_>,
) -> Result<(), Reject> {
    let limits = sink.limits;
    let kind = match &table.event {
        Some(place) => names.kind(place.field(), row.text(place)?)?,
        None => preset.kind,
    };
    let id =
        |place: Option<&Place>| place.map(|place| row.id(place, limits)).transpose().map(Option::flatten);
    if !sink.wants(kind, id(table.id.as_ref())) {
        return Ok(());
    }
    if let Some(place) = &table.time {
        sink.happened(row.text(place).and_then(|time| {
            if time.is_empty() { Ok(None) } else { limits.time_text(place.field(), time).map(Some) }
        }));
    }
    let about = About {
        basket: row.id(&table.basket, limits)?,
        user: sink.spare(Flaw::UnreadableUser, id(table.user.as_ref())),
        basket_field: &table.basket.name,
        without_basket: WithoutBasket::Reject,
        order: None,
    };
    let Some(item) = row.id(&table.item, limits)? else {
        return sink.say(kind, &about, std::iter::empty(), |_| String::new());
    };
    let mut line = Line { item, quantity: None, field: Field::named("quantity") };
    if let Some(place) = &table.quantity {
        let quantity = row.text(place)?;
        line.field = place.field();
        if !quantity.is_empty() {
            line.quantity = Some(limits.quantity_text(line.field, quantity)?);
        }
    }
    sink.say(kind, &about, std::iter::once(Ok(line)), |_| String::new())
}

impl Preset {
    fn place(&self, column: &Column, position: usize) -> Place {
        let name = match column {
            Column::Name(name) => name.clone(),
            Column::Position(_) => format!("column {}", position + 1),
        };
        Place { position, has_float_ids: self.float_ids == Some(name.as_str()), name }
    }
}

impl Place {
    fn field(&self) -> Field<'_> {
        Field::named(&self.name)
    }
}

/// The columns of one row, in buffers that are used again for the next.
struct Row {
    reader: Reader,
    delimiter: u8,
    /// The columns one behind the other, without quotes and delimiters.
    text: Vec<u8>,
    /// Where each column ends in `text`.
    ends: Vec<usize>,
}

impl Row {
    fn new(delimiter: Delimiter) -> Row {
        let reader = ReaderBuilder::new().delimiter(delimiter.0).build();
        Row { reader, delimiter: delimiter.0, text: Vec::new(), ends: Vec::new() }
    }

    /// Reads the one row that `value` holds.
    fn read(&mut self, value: &[u8]) -> Result<(), Reject> {
        let malformed = |what: &str| Err(Reject::new(Reason::Malformed, what));
        if is_unclosed(value, self.delimiter) {
            return malformed("a quoted column does not end");
        }
        self.reader.reset();
        // Columns are never longer than the row, and there are at most as many as bytes, and one more.
        self.text.resize(value.len() + 1, 0);
        self.ends.resize(self.ends.capacity().max(16), 0);
        let (mut read, mut written, mut columns) = (0, 0, 0);
        loop {
            let (result, bytes_in, bytes_out, ends_out) =
                self.reader.read_record(&value[read..], &mut self.text[written..], &mut self.ends[columns..]);
            read += bytes_in;
            written += bytes_out;
            columns += ends_out;
            match result {
                // The next round has no input, which ends the row.
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.text.resize(2 * self.text.len(), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * self.ends.len(), 0),
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return malformed("no row, only line ends"),
            }
        }
        self.text.truncate(written);
        self.ends.truncate(columns);
        if value[read..].iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
            return malformed("more than one row");
        }
        Ok(())
    }

    /// The bytes of the column at `position` from 0.
    fn column(&self, position: usize) -> Option<&[u8]> {
        let end = *self.ends.get(position)?;
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.text[start..end])
    }

    /// The text of a column, which must be there but may be empty.
    fn text(&self, place: &Place) -> Result<&str, Reject> {
        let Some(bytes) = self.column(place.position) else {
            let detail =
                format!("{}: column {} of {} columns", place.name, place.position + 1, self.ends.len());
            return Err(Reject::new(Reason::MissingColumn, detail));
        };
        utf8(place.field(), bytes)
    }

    /// The id in a column, unless that is empty.
    fn id(&self, place: &Place, limits: &Limits) -> Result<Option<Cow<'_, str>>, Reject> {
        let text = self.text(place)?;
        let integer = text.strip_suffix(".0").filter(|integer| integer.bytes().all(|b| b.is_ascii_digit()));
        let id = if place.has_float_ids { integer.unwrap_or(text) } else { text };
        limits.id_text(place.field(), Cow::Borrowed(id))
    }
}

/// Whether the row ends inside quotes, which the reader would let pass. As there, a quote opens a column at its
/// beginning only: `12" pipe` is a plain column.
fn is_unclosed(row: &[u8], delimiter: u8) -> bool {
    let mut at = 0;
    while let Some(quote) = memchr::memchr(b'"', &row[at..]) {
        let opening = at + quote;
        at = opening + 1;
        if opening > 0 && row[opening - 1] != delimiter {
            continue;
        }
        loop {
            let Some(quote) = memchr::memchr(b'"', &row[at..]) else { return true };
            at += quote + 1;
            // A doubled quote stands for one, and the column goes on.
            if row.get(at) != Some(&b'"') {
                break;
            }
            at += 1;
        }
    }
    false
}
