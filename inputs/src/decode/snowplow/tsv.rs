//! Snowplow's enriched events as the enriched topic has them: 131 columns between tabs, without a header.
//!
//! The columns in use become the JSON that a tracker would have sent. Their order is Snowplow's own: its documentation
//! numbers them from 0.

use crate::decode::utf8::json_string;
use crate::decode::{Reason, Reject};

/// How many columns an enriched event has.
const COLUMNS: usize = 131;

/// Columns in use, and what they become; all of them text.
const TEXTS: [(usize, &str); 6] =
    [(5, "e"), (6, "eid"), (12, "uid"), (15, "duid"), (123, "sid"), (124, "dtm")];

/// Columns that hold JSON, which may stand inside as it is, or as text.
const DOCUMENTS: [(usize, &str); 2] = [(52, "co"), (58, "ue_pr")];

/// Whether `text` is columns between tabs: JSON begins with a bracket.
pub(super) fn is_row(text: &str) -> bool {
    !text.trim_ascii_start().starts_with(['{', '[', '"']) && text.contains('\t')
}

/// The event as a tracker would have sent it.
pub(super) fn to_json(text: &str) -> Result<String, Reject> {
    let columns: Vec<&str> = text.trim_end_matches(['\r', '\n']).split('\t').collect();
    if columns.len() != COLUMNS {
        let detail = format!(
            "{} columns between tabs, where Snowplow's enriched events have {COLUMNS}: was the row cut or edited?",
            columns.len()
        );
        return Err(Reject::new(Reason::WrongShape, detail));
    }
    let fields = TEXTS.iter().chain(&DOCUMENTS).filter(|(place, _)| !columns[*place].is_empty());
    let fields = fields.map(|(place, name)| format!("\"{name}\":{}", json_string(columns[*place])));
    Ok(format!("{{{}}}", fields.collect::<Vec<_>>().join(",")))
}
