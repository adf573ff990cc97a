//! The fuzz targets by name: what each does with any bytes. Nothing but the folder `fuzz` and a test calls them.
//!
//! A target panics where a law is broken, so it says more than that nothing panics: what is decoded is the same every
//! time, and what is written and read again is what it was.

use crate::{cluster, output, state};
use deltacart_inputs::{Format, fuzz};

/// What runs any bytes through a parser.
pub type Target = fn(&[u8]);

/// All targets, each with a folder of its name in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 16] = [
    ("json", json),
    ("orders", orders),
    ("ga4", ga4),
    ("segment", segment),
    ("snowplow", snowplow),
    ("rows", rows),
    ("baskets", baskets),
    ("framing", fuzz::framing),
    ("wire", wire),
    ("avro", avro),
    ("protobuf", protobuf),
    ("part", part),
    ("manifest", manifest),
    ("handshake", handshake),
    ("heartbeat", heartbeat),
    ("fold", fold),
];

/// Plain JSON events.
pub fn json(data: &[u8]) {
    fuzz::decode(&[Format::Json], data);
}

/// Orders of shops, by the paths of their fields.
pub fn orders(data: &[u8]) {
    fuzz::decode(&[Format::Shopify, Format::WooCommerce], data);
}

/// Google Analytics 4.
pub fn ga4(data: &[u8]) {
    fuzz::decode(&[Format::Ga4], data);
}

/// Segment.
pub fn segment(data: &[u8]) {
    fuzz::decode(&[Format::Segment], data);
}

/// Snowplow.
pub fn snowplow(data: &[u8]) {
    fuzz::decode(&[Format::Snowplow], data);
}

/// Rows of columns, with and without a preset.
pub fn rows(data: &[u8]) {
    fuzz::decode(&[Format::Csv, Format::OnlineRetail, Format::Rees46], data);
}

/// A basket a line.
pub fn baskets(data: &[u8]) {
    fuzz::decode(&[Format::Fimi, Format::Baskets], data);
}

/// What serialisers of schema registries put around a value.
pub fn wire(data: &[u8]) {
    fuzz::wire(data);
}

/// Values of Avro; their frames alone without the feature `schema-registry`.
pub fn avro(data: &[u8]) {
    fuzz::avro(data);
}

/// Values of Protobuf; their frames alone without the feature `schema-registry`.
pub fn protobuf(data: &[u8]) {
    fuzz::protobuf(data);
}

/// Records in a file.
pub fn framing(data: &[u8]) {
    fuzz::framing(data);
}

/// Parts of snapshots.
pub fn part(data: &[u8]) {
    state::fuzz::part(data);
}

/// Manifests of snapshots, and their names.
pub fn manifest(data: &[u8]) {
    state::fuzz::manifest(data);
}

/// The first words between processes.
pub fn handshake(data: &[u8]) {
    cluster::fuzz::handshake(data);
}

/// What processes say while they run.
pub fn heartbeat(data: &[u8]) {
    cluster::fuzz::heartbeat(data);
}

/// What consumers hold, from output records.
pub fn fold(data: &[u8]) {
    output::fuzz::fold(data);
}
