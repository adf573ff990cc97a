//! How a table in a file, such as Parquet, becomes records of a format.

/// What a row of a table is written as, for the decoder of a format to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// Rows are no records of the format: a file that is a table is refused.
    #[default]
    Refused,
    /// An object, each column a field.
    Json,
    /// A row of the same columns.
    Csv {
        /// What stands between them.
        delimiter: u8,
        /// Whether the first record has their names.
        has_header: bool,
    },
}
