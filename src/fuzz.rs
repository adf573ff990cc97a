//! The fuzz targets by name: each runs a parser on any bytes. Only the folder `fuzz` and a test call them.
//!
//! A target checks more than the absence of panics in the parser. It panics itself if decoding twice gives different
//! results, or if content that is written and read again is not the same.

use crate::{cluster, output, serve, state};
use deltacart_inputs::{Format, fuzz};

/// A function that runs a parser on any bytes.
pub type Target = fn(&[u8]);

/// All targets. Each has a folder of its name in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 20] = [
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
    ("schemas", schemas),
    ("paths", paths),
    ("parquet", parquet),
    ("part", part),
    ("manifest", manifest),
    ("handshake", handshake),
    ("heartbeat", heartbeat),
    ("fold", fold),
    ("request", request),
];

/// Queries of URLs and bodies of questions, as clients of the API send them.
pub fn request(data: &[u8]) {
    serve::fuzz::request(data);
}

/// Plain JSON events.
pub fn json(data: &[u8]) {
    fuzz::decode(&[Format::Json], data);
}

/// Orders of shop systems, whose fields are found by paths.
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

/// Formats with one basket per line.
pub fn baskets(data: &[u8]) {
    fuzz::decode(&[Format::Fimi, Format::Baskets], data);
}

/// The frames that serialisers of schema registries put around a value.
pub fn wire(data: &[u8]) {
    fuzz::wire(data);
}

/// Values of Avro. Without the feature `schema-registry`, only their frames.
pub fn avro(data: &[u8]) {
    fuzz::avro(data);
}

/// Values of Protobuf. Without the feature `schema-registry`, only their frames.
pub fn protobuf(data: &[u8]) {
    fuzz::protobuf(data);
}

/// Schemas of Avro and Protobuf as a registry has them, and a value by each. Without the feature `schema-registry`,
/// only frames.
pub fn schemas(data: &[u8]) {
    fuzz::schemas(data);
}

/// Paths of fields, as in `--fields`, and JSON that is read by them.
pub fn paths(data: &[u8]) {
    fuzz::paths(data);
}

/// Files of Parquet. Without the feature `parquet`, nothing.
pub fn parquet(data: &[u8]) {
    fuzz::parquet(data);
}

/// The framing of records in a file.
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

/// The handshake messages between processes.
pub fn handshake(data: &[u8]) {
    cluster::fuzz::handshake(data);
}

/// The heartbeat messages between processes.
pub fn heartbeat(data: &[u8]) {
    cluster::fuzz::heartbeat(data);
}

/// Output records, folded into lists and into consumer state.
pub fn fold(data: &[u8]) {
    output::fuzz::fold(data);
}
