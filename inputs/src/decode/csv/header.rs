//! Where the columns are, as the first row of a table says.

use super::super::columns::Column;
use super::super::presets::{Preset, Table, Wanted};
use super::super::reject::quoted;
use super::super::{Reason, Reject};
use super::Place;
use super::row::Row;

/// How many names of a header a reject lists.
const NAMES_MAX: usize = 12;

/// Beyond, a column's name is no misspelling of another.
const NAME_BYTES_MAX: usize = 64;

/// How alike two names must be, of 1, for one to be a misspelling of the other.
const ALIKE_MIN: f64 = 0.5;

/// The header of one table.
pub(super) struct Header {
    pub(super) table: Table<Place>,
    /// How many columns every row has.
    pub(super) columns: usize,
}

/// Where the preset's columns are, by the names in the row just read.
pub(super) fn header(preset: &Preset, row: &Row) -> Result<Header, Reject> {
    let table = preset.table.try_map(|wanted| place(wanted, row))?;
    Ok(Header { table, columns: row.len() })
}

/// Where a column is: the first of its names that there is.
fn place(wanted: &Wanted, row: &Row) -> Result<Place, Reject> {
    for column in &wanted.columns {
        let name = match column {
            Column::Position(position) => return Ok(wanted.place(column, *position)),
            Column::Name(name) => name,
        };
        let mut found = (0..row.len()).filter(|&position| row.column(position) == Some(name.as_bytes()));
        match (found.next(), found.next()) {
            (Some(position), None) => return Ok(wanted.place(column, position)),
            (Some(_), Some(_)) => {
                let detail = format!("several columns are called {}", quoted(name));
                return Err(Reject::new(Reason::BadHeader, detail));
            }
            (None, _) => {}
        }
    }
    Err(Reject::new(Reason::BadHeader, missing(wanted, row)))
}

/// What to say of a column that is not there.
fn missing(wanted: &Wanted, row: &Row) -> String {
    let wanted = wanted.columns.iter().filter_map(|column| match column {
        Column::Name(name) => Some(name.as_str()),
        Column::Position(_) => None,
    });
    let wanted: Vec<&str> = wanted.collect();
    let names: Vec<_> = (0..row.len()).filter_map(|position| row.column(position)).collect();
    let names: Vec<_> = names.into_iter().map(String::from_utf8_lossy).collect();
    let what = format!(
        "no column is called {}",
        wanted.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(" or ")
    );
    if let [only] = names.as_slice() {
        if only.starts_with(['{', '[']) {
            return format!("{what}: this is JSON, not a table (--format json)");
        }
        let delimiter = [("\t", "tab"), (";", "';'"), ("|", "'|'"), (",", "','")];
        if let Some((_, flag)) = delimiter.iter().find(|(delimiter, _)| only.contains(delimiter)) {
            return format!("{what}: the header is one column, {} (--delimiter {flag})", quoted(only));
        }
    }
    let alike =
        names.iter().map(|name| (wanted.iter().map(|wanted| alike(wanted, name)).fold(0.0, f64::max), name));
    let nearest = alike.filter(|(alike, _)| *alike >= ALIKE_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
    let nearest = nearest.map(|(_, name)| format!("; the nearest is {}", quoted(name))).unwrap_or_default();
    let more = if names.len() > NAMES_MAX { ", …" } else { "" };
    format!("{what}{nearest}; there are {}{more}", names[..names.len().min(NAMES_MAX)].join(", "))
}

/// How alike two names are, whatever the case of their letters, from 0 to 1.
fn alike(one: &str, other: &str) -> f64 {
    if one.len().max(other.len()) > NAME_BYTES_MAX {
        return 0.0;
    }
    strsim::normalized_damerau_levenshtein(&one.to_lowercase(), &other.to_lowercase())
}
