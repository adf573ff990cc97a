//! Rows of columns: one record is one row, and where columns are named, the first record of a partition is the header.
//!
//! Quoted columns may hold delimiters and line ends; the source has framed the rows already. Only the columns that
//! are used are looked at: a description in some other encoding is no defect. An empty column is an absent one, and so
//! is one that holds a word for nothing. A row with more or fewer columns than the header is rejected: some column
//! holds what belongs in another.

mod header;
mod row;

pub(super) use row::Row;

use super::columns::{Column, Delimiter};
use super::fields::Field;
use super::joined::joined;
use super::nulls::NullWords;
use super::options::EventNames;
use super::presets::{Preset, Table, Wanted};
use super::sink::{About, Line, Sink, Vocabulary, WithoutBasket};
use super::time_format::TimeFormat;
use super::{Flaw, Limits, Reason, Reject};
use crate::RawRecord;
use header::{Header, header};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The decoder of rows.
pub(super) struct Csv {
    preset: Preset,
    cells: Cells,
    names: Vocabulary,
    /// Where the columns are when none of them is named.
    fixed: Option<Table<Place>>,
    /// Where the columns are in each partition, as its header says.
    by_header: BTreeMap<u32, Header>,
    row: Row,
}

/// How the text of a column is to be understood.
pub(super) struct Cells {
    pub(super) null_words: NullWords,
    pub(super) time_format: Option<TimeFormat>,
}

/// Where a column is in a row.
pub(super) struct Place {
    /// From 0.
    position: usize,
    /// What the column is called in rejects.
    name: String,
    /// Integers are written with an empty fraction here, which is no part of the id.
    has_float_ids: bool,
}

impl Csv {
    pub(super) fn new(preset: Preset, own: &EventNames, delimiter: Delimiter, cells: Cells) -> Csv {
        let names = Vocabulary::new(own, preset.names, false);
        let fixed = preset.table.try_map(|wanted| match wanted.columns.as_slice() {
            [column @ Column::Position(position)] => Ok(wanted.place(column, *position)),
            _ => Err(()),
        });
        let (fixed, by_header) = (fixed.ok(), BTreeMap::new());
        Csv { names, fixed, by_header, row: Row::new(delimiter), cells, preset }
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
        let value = without_marks(value);
        if self.needs_header() && record.offset == 0 {
            // A header that cannot be used must not leave the one of an earlier topic or file behind.
            self.by_header.remove(&record.partition);
            self.row.read(value)?;
            self.by_header.insert(record.partition, header(&self.preset, &self.row)?);
            sink.counts.header = true;
            return Ok(());
        }
        let header = self.by_header.get(&record.partition);
        let Some(table) = self.fixed.as_ref().or(header.map(|header| &header.table)) else {
            let detail =
                "the header of this partition is bad or was not read; columns given as item=#2 need none";
            return Err(Reject::new(Reason::MissingHeader, detail));
        };
        self.row.read(value)?;
        if let Some(wanted) = header.map(|header| header.columns).filter(|&wanted| wanted != self.row.len()) {
            let found = self.row.len();
            let detail =
                format!("{found} of {wanted} columns: a delimiter too many, too few, or without quotes");
            return Err(Reject::new(Reason::WrongColumns, detail));
        }
        self.decode_row(table, sink)
    }

    fn decode_row(&self, table: &Table<Place>, sink: &mut Sink<'_>) -> Result<(), Reject> {
        let Csv { row, cells, names, .. } = self;
        let limits = sink.limits;
        let kind = match &table.event {
            Some(place) => names.kind(place.field(), row.text(place)?)?,
            None => self.preset.kind,
        };
        let id = |place: &Place| cells.id(row, place, limits);
        let optional = |place: Option<&Place>| place.map(id).transpose().map(Option::flatten);
        if !sink.wants(kind, optional(table.id.as_ref())) {
            return Ok(());
        }
        if let Some(place) = &table.time {
            let (own, other) = (cells.time_format.as_ref(), self.preset.time_format.as_ref());
            let read = |text| limits.time_text_in(place.field(), text, own, other);
            sink.happened(cells.text(row, place).and_then(|text| text.map(read).transpose()));
        }
        let basket = match table.basket.as_slice() {
            [place] => id(place)?,
            places => joined(limits, places.iter().map(id))?,
        };
        let about = About {
            basket,
            user: sink.spare(Flaw::UnreadableUser, optional(table.user.as_ref())),
            basket_field: table.basket.first().map_or("basket", |place| place.name.as_str()),
            without_basket: WithoutBasket::Reject,
            order: None,
        };
        let Some(item) = id(&table.item)? else {
            return sink.say(kind, &about, std::iter::empty(), |_| String::new());
        };
        let mut line = Line { item, quantity: None, field: Field::named("quantity") };
        if let Some(place) = kind.quantity(table.quantity.as_ref()) {
            line.field = place.field();
            let quantity = cells.text(row, place)?;
            line.quantity = quantity.map(|text| limits.quantity_text(line.field, text)).transpose()?;
        }
        sink.say(kind, &about, std::iter::once(Ok(line)), |_| String::new())
    }
}

/// Files from spreadsheets begin with a byte order mark, which is no part of the first column, and files that were put
/// together have one wherever another begins.
pub(super) fn without_marks(mut value: &[u8]) -> &[u8] {
    while let Some(rest) = value.strip_prefix(b"\xEF\xBB\xBF") {
        value = rest;
    }
    value
}

impl Cells {
    /// The text of a column, unless that is empty or a word for nothing.
    fn text<'r>(&self, row: &'r Row, place: &Place) -> Result<Option<&'r str>, Reject> {
        let text = row.text(place)?;
        Ok(Some(text).filter(|text| !text.is_empty() && !self.null_words.has(text)))
    }

    /// The id in a column, if there is one.
    fn id<'r>(&self, row: &'r Row, place: &Place, limits: &Limits) -> Result<Option<Cow<'r, str>>, Reject> {
        let Some(text) = self.text(row, place)? else { return Ok(None) };
        let integer = text.strip_suffix(".0").filter(|integer| integer.bytes().all(|b| b.is_ascii_digit()));
        let id = if place.has_float_ids { integer.unwrap_or(text) } else { text };
        limits.id_text(place.field(), Cow::Borrowed(id))
    }
}

impl Wanted {
    fn place(&self, column: &Column, position: usize) -> Place {
        let name = match column {
            Column::Name(name) => name.clone(),
            Column::Position(_) => format!("column {}", position + 1),
        };
        Place { position, has_float_ids: self.has_float_ids, name }
    }
}

impl Place {
    fn field(&self) -> Field<'_> {
        Field::named(&self.name)
    }
}
