//! What a record may hold at most. Every bound has a name and a default; beyond it the record is rejected.

/// The bounds of one record. The defaults are far above what shops send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest value, in bytes (1 MiB, as much as a broker takes by default).
    pub record_bytes_max: usize,
    /// The longest id of a basket, user, item or event, in bytes of UTF-8 (256).
    pub id_bytes_max: usize,
    /// The most items one event may list (10,000).
    pub record_items_max: usize,
    /// The largest quantity of one line, counted without its sign (1,000,000).
    pub quantity_max: u32,
    /// How many decimals of a quantity are kept (0): with 3, half a kilo is 500 thousandths, and sums are exact. Beyond
    /// them a quantity counts as the next larger one.
    pub quantity_decimals: u32,
    /// The deepest nesting of JSON (128).
    pub nesting_max: usize,
    /// How many lines and events of one record that cannot be used are kept for the dead letters (100); more are
    /// counted. At least 1, since a record is rejected for the first of them where nothing of it can be used.
    pub part_rejects_max: usize,
    /// The earliest time of an event, in milliseconds since 1970 (0: 1970-01-01T00:00:00Z).
    pub time_ms_min: i64,
    /// The latest time of an event, in milliseconds since 1970 (9999-12-31T23:59:59.999Z).
    pub time_ms_max: i64,
}

impl Limits {
    /// The largest value of [`Limits::quantity_decimals`]: with it, the largest quantity still fits 32 bits.
    pub const QUANTITY_DECIMALS_MAX: u32 = 3;

    /// What a quantity of one is, in units of the last decimal that is kept.
    pub(super) fn one(&self) -> u32 {
        10u32.pow(self.quantity_decimals)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            record_bytes_max: 1 << 20,
            id_bytes_max: 256,
            record_items_max: 10_000,
            quantity_max: 1_000_000,
            quantity_decimals: 0,
            nesting_max: 128,
            part_rejects_max: 100,
            time_ms_min: 0,
            time_ms_max: 253_402_300_799_999,
        }
    }
}
