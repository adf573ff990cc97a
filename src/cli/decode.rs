//! The flags that say how records are decoded. `run` and `evaluate` have the same.

use super::values::{BasketName, format_name};
use clap::Args;
use deltacart_inputs::{Basket, Columns, Delimiter, EventNames, FieldPaths, Format, NullWords, TimeFormat};

/// Flags of decoding.
#[derive(Clone, Debug, Args)]
pub struct DecodeArgs {
    /// The shape of the events. CloudEvents around JSON are recognised. docs/formats.md has every field
    #[arg(long, default_value = "json", value_parser = format_name(), help_heading = "Input")]
    pub format: Format,
    /// What makes the basket, the unit in which items are together: an id, where key is the record's own, or several
    /// columns, such as member+date
    #[arg(long, default_value = "auto", value_parser = BasketName, help_heading = "Input")]
    pub basket: Basket,
    /// For --format csv, which column is what: basket=NAME,item=NAME and perhaps quantity, time, user, event, id. NAME
    /// is in the file's header, or #1, #2, … for a file without one
    #[arg(long, value_name = "FIELD=NAME,…", help_heading = "Input")]
    pub columns: Option<Columns>,
    /// For any JSON, which field is where: basket=id,item=line_items[].sku and perhaps quantity, time, user, event, id
    #[arg(long, value_name = "FIELD=PATH,…", help_heading = "Input")]
    pub fields: Option<FieldPaths>,
    /// The shop's own names of events: add=cart,remove=remove_from_cart,… other=* ignores names that are not listed
    #[arg(long, value_name = "KIND=NAME,…", help_heading = "Input")]
    pub event_names: Option<EventNames>,
    /// What stands between the columns of a CSV file, or the items of a basket: a character, or tab
    #[arg(long, default_value = ",", value_name = "CHAR", help_heading = "Input")]
    pub delimiter: Delimiter,
    /// Words that stand for no value, in columns and in --fields, in any case; '' for none
    #[arg(long, default_value = "NULL,\\N,nan", value_name = "WORD,…", help_heading = "Input")]
    pub null_words: NullWords,
    /// How times are written that are neither RFC 3339 nor numbers, in the letters of strftime: '%d.%m.%Y %H:%M'
    #[arg(long, value_name = "FORMAT", help_heading = "Input")]
    pub time_format: Option<TimeFormat>,
}
