//! Which columns of a row hold what, as a person types it.

use super::FormatError;
use std::str::FromStr;

/// Where a column is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// Under this name in the header.
    Name(String),
    /// At this position, from 0.
    Position(usize),
}

impl Column {
    /// A column as it is typed: its name, or `#` and its position from 1.
    pub(super) fn typed(text: &str) -> Option<Column> {
        match text.strip_prefix('#').map(usize::from_str) {
            Some(Ok(position)) => Some(Column::Position(position.checked_sub(1)?)),
            _ if text.is_empty() => None,
            _ => Some(Column::Name(text.into())),
        }
    }

    fn text(&self) -> String {
        match self {
            Column::Name(name) => name.clone(),
            Column::Position(position) => format!("#{}", position + 1),
        }
    }
}

/// Which column of a row holds what (`--columns basket=InvoiceNo,item=StockCode,quantity=#4`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The basket's id: one column, or several that make it together (`basket=member+date`).
    pub basket: Vec<Column>,
    /// The item's id.
    pub item: Option<Column>,
    /// How many; one without such a column, or where it is empty.
    pub quantity: Option<Column>,
    /// When it happened.
    pub time: Option<Column>,
    /// The user's id.
    pub user: Option<Column>,
    /// The event's name; every row is an add without such a column.
    pub event: Option<Column>,
    /// The event's id, by which duplicates are found.
    pub id: Option<Column>,
}

impl Columns {
    /// As it may be typed.
    pub(super) fn text(&self) -> String {
        let Columns { basket, item, quantity, time, user, event, id } = self;
        let basket = basket.iter().map(Column::text).collect::<Vec<_>>().join("+");
        let basket = if basket.is_empty() { basket } else { format!("basket={basket}") };
        let all = [
            ("item", item),
            ("quantity", quantity),
            ("time", time),
            ("user", user),
            ("event", event),
            ("id", id),
        ];
        let named = all.into_iter().filter_map(|(field, column)| {
            let column = column.as_ref()?.text();
            Some(format!("{field}={column}"))
        });
        Some(basket)
            .filter(|basket| !basket.is_empty())
            .into_iter()
            .chain(named)
            .collect::<Vec<_>>()
            .join(",")
    }
}

impl FromStr for Columns {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Columns, FormatError> {
        let mut columns = Columns::default();
        for part in text.split(',') {
            let bad = || FormatError::BadColumn(part.into());
            let (field, name) = part.split_once('=').ok_or_else(bad)?;
            if field.trim() == "basket" {
                if !columns.basket.is_empty() {
                    return Err(bad());
                }
                let parts = name.split('+').map(Column::typed).collect::<Option<_>>();
                columns.basket = parts.ok_or_else(bad)?;
                continue;
            }
            let column = Column::typed(name).ok_or_else(bad)?;
            let place = match field.trim() {
                "item" => &mut columns.item,
                "quantity" => &mut columns.quantity,
                "time" => &mut columns.time,
                "user" => &mut columns.user,
                "event" => &mut columns.event,
                "id" => &mut columns.id,
                _ => return Err(bad()),
            };
            if place.replace(column).is_some() {
                return Err(bad());
            }
        }
        Ok(columns)
    }
}

/// What stands between the columns of a row (`--delimiter`); a comma by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiter(pub(super) u8);

impl Default for Delimiter {
    fn default() -> Delimiter {
        Delimiter(b',')
    }
}

impl FromStr for Delimiter {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Delimiter, FormatError> {
        match text.as_bytes() {
            b"tab" | b"\\t" => Ok(Delimiter(b'\t')),
            &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r' | 0) => Ok(Delimiter(byte)),
            _ => Err(FormatError::BadDelimiter(text.into())),
        }
    }
}
