//! What the fuzz targets do with any bytes: see the folder `fuzz`. Nothing else calls it.
//!
//! Each function panics where a law is broken: what is decoded is the same every time, within the limits, and a
//! reject leaves nothing behind.

mod schemas;
pub use schemas::{avro, protobuf, schemas, wire};

#[cfg(feature = "parquet")]
mod tables;
#[cfg(feature = "parquet")]
pub use tables::parquet;

use crate::file::{Framer, Framing};
use crate::{
    Basket, BasketField, Column, DecodeOptions, Decoded, Decoder, FieldPaths, Format, Headers, RawRecord,
    Reject, RepeatedOrders,
};
use deltacart_dataflows::{Action, Event, Position};
use std::sync::OnceLock;

/// Without the library that reads tables, nothing is read.
#[cfg(not(feature = "parquet"))]
pub fn parquet(_data: &[u8]) {}

/// Parts the records of one input.
const BETWEEN_RECORDS: u8 = 0x1e;

/// Plain and in the two modes of CloudEvents, as the binding for Kafka announces them.
const HEADERS: [Headers<'static>; 4] = [
    &[],
    &[
        ("ce_specversion", Some(b"1.0")),
        ("ce_id", Some(b"1")),
        ("ce_source", Some(b"s")),
        ("ce_time", Some(b"2026-01-31T12:00:00Z")),
    ],
    &[("content-type", Some(b"application/cloudevents+json; charset=utf-8"))],
    &[("ce_id", None), ("content-type", Some(b"\xff"))],
];

/// Decodes records of one of `formats`: the first byte chooses the settings, the second the headers.
pub fn decode(formats: &[Format], data: &[u8]) {
    let [which, headers, records @ ..] = data else { return };
    let all: Vec<&DecodeOptions> = options().iter().filter(|it| formats.contains(&it.format)).collect();
    let options = all[usize::from(*which) % all.len()];
    decode_records(options, HEADERS[usize::from(*headers) % HEADERS.len()], records);
}

/// Decodes JSON by any paths of fields, which come first. Paths that are read are written as they were typed.
pub fn paths(data: &[u8]) {
    let [paths, records @ ..] = &*data.splitn(2, |&byte| byte == BETWEEN_RECORDS).collect::<Vec<_>>() else {
        return;
    };
    let Ok(Ok(fields)) = std::str::from_utf8(paths).map(str::parse::<FieldPaths>) else { return };
    let options = DecodeOptions { fields, ..usual(Format::Json) };
    if options.decoder().is_ok() {
        decode_records(&options, HEADERS[0], records.first().unwrap_or(&&[][..]));
    }
}

fn decode_records(options: &DecodeOptions, headers: Headers<'static>, records: &[u8]) {
    let decoder = || options.decoder().expect("only settings that go together are listed");
    let (mut one, mut other) = (decoder(), decoder());
    for (offset, value) in (0..).zip(records.split(|&byte| byte == BETWEEN_RECORDS)) {
        let record = RawRecord {
            partition: 3,
            offset,
            key: value.get(..8),
            value: Some(value),
            headers,
            timestamp: None,
            truncated: false,
        };
        let first = decode_one(&mut *one, &record, options);
        assert_eq!(first, decode_one(&mut *other, &record, options), "the same record is something else");
    }
    assert!(one.ids_remembered() <= options.duplicate_horizon);
    assert_eq!(one.ids_remembered(), other.ids_remembered());
}

fn decode_one(
    decoder: &mut dyn Decoder,
    record: &RawRecord<'_>,
    options: &DecodeOptions,
) -> (Result<Decoded, Reject>, Vec<Event>) {
    let mut events = Vec::new();
    let result = decoder.decode(record, &mut events);
    match &result {
        Ok(decoded) => {
            assert_eq!(decoded.events as usize, events.len());
            check_defects(decoded, value_bytes(record), options);
        }
        Err(reject) => {
            assert!(events.is_empty(), "a rejected record leaves events");
            check_reject(reject);
        }
    }
    for (index, event) in (0..).zip(&events) {
        let position = Position { offset: record.offset, index, ..Position::default() };
        assert_eq!(event.position, position);
        check_event(event, options);
    }
    (result, events)
}

fn value_bytes(record: &RawRecord<'_>) -> usize {
    record.value.map_or(0, <[u8]>::len)
}

fn check_reject(Reject { detail, .. }: &Reject) {
    assert!(detail.chars().count() <= 200 && !detail.contains(char::is_control), "{detail:?}");
}

/// What could not be used is bounded, and no part of it stands for more than the record held.
fn check_defects(decoded: &Decoded, value_bytes: usize, options: &DecodeOptions) {
    let Some(defects) = &decoded.defects else { return };
    assert!(defects.parts.len() <= options.limits.part_rejects_max);
    assert!(defects.more.is_empty() || defects.parts.len() == options.limits.part_rejects_max);
    let used = decoded.events
        + decoded.views
        + decoded.others
        + decoded.anonymous
        + decoded.duplicates
        + decoded.repeated_orders;
    assert!(used > 0 || defects.parts.is_empty(), "nothing was used, and yet it is no reject");
    defects.parts.iter().for_each(|part| check_reject(&part.reject));
    let bytes: usize = defects.parts.iter().map(|part| part.text.len()).sum();
    // A byte that is no UTF-8 is shown as a character of three.
    assert!(bytes <= 3 * value_bytes, "more was rejected than there was");
}

fn check_event(event: &Event, options: &DecodeOptions) {
    let limits = &options.limits;
    let is_forgotten_user = matches!(event.action, Action::ForgetUser);
    assert_eq!(event.basket.is_empty(), is_forgotten_user, "{event:?}");
    assert!(!is_forgotten_user || event.user.is_some(), "{event:?}");
    let ids = [Some(&event.basket), event.user.as_ref(), event.action.item()];
    assert!(ids.into_iter().flatten().all(|id| id.len() <= limits.id_bytes_max), "{event:?}");
    assert!(event.action.item().is_none_or(|item| !item.is_empty()), "{event:?}");
    let quantity = match &event.action {
        Action::Add(_, quantity) | Action::Set(_, quantity) | Action::Purchase(_, quantity) => *quantity,
        Action::Remove(_, quantity) | Action::Refund(_, quantity) => quantity.unwrap_or_default(),
        Action::Restore(..) => panic!("no shop says this: {event:?}"),
        Action::View(_) => 0,
        Action::Clear | Action::Checkout | Action::Cancel | Action::Forget | Action::ForgetUser => 0,
    };
    assert!(quantity <= limits.quantity_max * 10u32.pow(limits.quantity_decimals), "{event:?}");
}

/// Every format with every basket that it knows, and variants of the rest.
fn options() -> &'static [DecodeOptions] {
    static OPTIONS: OnceLock<Vec<DecodeOptions>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let mut all = Vec::new();
        for &format in Format::ALL {
            for &basket in BasketField::ALL {
                let basket = Basket::Id(basket);
                all.extend(variants(DecodeOptions { basket, ..usual(format) }));
            }
        }
        let joined = Basket::Joined(vec!["b".into(), "u".into()]);
        for format in [Format::Json, Format::Csv, Format::OnlineRetail] {
            all.extend(variants(DecodeOptions { basket: joined.clone(), ..usual(format) }));
        }
        all.retain(|options| options.decoder().is_ok());
        all
    })
}

fn usual(format: Format) -> DecodeOptions {
    DecodeOptions { duplicate_horizon: 4, ..DecodeOptions::new(format) }
}

fn variants(usual: DecodeOptions) -> Vec<DecodeOptions> {
    let names = "add=in,remove=out,set=exactly,purchase=sold,refund=back,clear=away,cancel=off,update=now";
    let mut other = usual.clone();
    other.views = true;
    other.event_names = format!("{names},forget=gone,view=seen,other=*").parse().expect("all are kinds");
    other.repeated_orders = RepeatedOrders::Drop;
    other.limits.quantity_decimals = 2;
    other.limits.id_bytes_max = 8;
    other.limits.record_items_max = 3;
    other.limits.quantity_max = 100;
    other.limits.nesting_max = 6;
    let mut mapped = usual.clone();
    mapped.fields = "basket=b,item=l[].i|l[].j,quantity=l[].q,time=t,user=u.n,event=e,id=k[1]"
        .parse()
        .expect("each is a path, once");
    match usual.format {
        Format::Csv => {}
        Format::Json | Format::Shopify | Format::WooCommerce => return vec![usual, other, mapped],
        _ => return vec![usual, other],
    }
    let mut named = usual.clone();
    named.columns =
        "basket=b,item=i,quantity=q,time=t,user=u,event=e,id=n".parse().expect("each is a column, once");
    let mut fixed = other;
    fixed.columns =
        "basket=#1,item=#2,quantity=#3,event=#4,time=#5,id=#6".parse().expect("each is a column, once");
    fixed.delimiter = "tab".parse().expect("it is one character");
    fixed.null_words = "x,none".parse().expect("they are two words");
    fixed.time_format = Some("%d.%m.%Y".parse().expect("it says which day it is"));
    let mut mixed = named.clone();
    mixed.columns.item = Some(Column::Position(0));
    mixed.columns.quantity = None;
    vec![named, fixed, mixed]
}

/// Cuts bytes into records: whole, and in pieces of a size that the third byte says; the first two are the framing
/// and the limit.
pub fn framing(data: &[u8]) {
    let [kind, limit, piece, input @ ..] = data else { return };
    let framing = match kind % 4 {
        0 => Framing::Lines,
        1 => Framing::Csv { delimiter: b',' },
        2 => Framing::Json,
        _ => Framing::Csv { delimiter: b'\t' },
    };
    let limit = usize::from(*limit);
    let whole = records(framing, limit, input, input.len().max(1));
    let pieces = records(framing, limit, input, usize::from(*piece).max(1));
    assert_eq!(whole, pieces, "where the pieces end makes a difference");
    let mut rest = input;
    for (bytes, is_truncated) in &whole {
        assert!(bytes.len() <= limit && (!bytes.is_empty() || limit == 0));
        assert!(!is_truncated || bytes.len() == limit);
        // Records come in their order, and none holds what another did.
        let at = if bytes.is_empty() { Some(0) } else { memchr::memmem::find(rest, bytes) };
        rest = &rest[at.expect("what is in a record is in the input") + bytes.len()..];
    }
}

fn records(framing: Framing, limit: usize, input: &[u8], piece_bytes: usize) -> Vec<(Vec<u8>, bool)> {
    let mut framer = Framer::new(framing, limit);
    let mut found = Vec::new();
    for mut piece in input.chunks(piece_bytes) {
        while !piece.is_empty() {
            let (used, frame) = framer.next(piece);
            assert!(used > 0 || frame.is_some(), "it does not come to an end");
            found.extend(frame.map(|frame| (frame.bytes.to_vec(), frame.truncated)));
            assert!(used <= piece.len());
            piece = &piece[used..];
        }
    }
    found.extend(framer.finish().map(|frame| (frame.bytes.to_vec(), frame.truncated)));
    found
}
