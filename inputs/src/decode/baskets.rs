//! A basket a line, any ids between delimiters: `bread, whole milk`.
//!
//! Blanks around an id are no part of it. Where nothing stands between two delimiters, or a word for nothing, there is
//! no item: spreadsheets fill short lines up. Lines are called as in `--format fimi`.

use super::columns::Delimiter;
use super::csv::{Row, without_marks};
use super::fields::Field;
use super::fimi::about_line;
use super::nulls::NullWords;
use super::reject::quoted;
use super::sink::{Kind, Line, Sink};
use super::utf8::utf8;
use super::{Reason, Reject};
use crate::RawRecord;
use std::borrow::Cow;

/// The decoder of lines.
pub(super) struct Baskets {
    row: Row,
    null_words: NullWords,
}

impl Baskets {
    pub(super) fn new(delimiter: Delimiter, null_words: NullWords) -> Baskets {
        Baskets { row: Row::new(delimiter), null_words }
    }

    pub(super) fn decode(
        &mut self,
        record: &RawRecord<'_>,
        value: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Reject> {
        self.row.read(without_marks(value))?;
        let field = Field::named("line");
        let cells = (0..self.row.len()).filter_map(|position| self.row.column(position));
        let mut items = Vec::new();
        for cell in cells {
            let item = utf8(field, cell).map(str::trim);
            if item.as_ref().is_ok_and(|item| item.is_empty() || self.null_words.has(item)) {
                continue;
            }
            if let Some(item) = item.as_ref().ok().filter(|item| item.starts_with('"')) {
                let detail = format!("{field}: {} has blanks before its quote", quoted(item));
                return Err(Reject::new(Reason::Malformed, detail));
            }
            items.push((item, cell));
        }
        if items.is_empty() {
            return Ok(());
        }
        let limits = sink.limits;
        let lines = items.iter().map(|(item, _)| {
            let item = limits.id_text(field, Cow::Borrowed(item.clone()?))?;
            let item = item.expect("empty ones are left out above");
            Ok(Line { item, quantity: None, field })
        });
        let text = |place: usize| String::from_utf8_lossy(items[place].1).into_owned();
        sink.say(Kind::Purchase, &about_line(record), lines, text)
    }
}
