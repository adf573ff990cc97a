//! The shop keeps its promises: ratios, skew, structure, and the same bytes for the same seed.

use super::*;
use crate::{DecodeOptions, Decoder, Format, RawRecord};
use deltacart_dataflows::{Action, Event};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::mem::discriminant;

fn shop(change: impl FnOnce(&mut ShopSettings)) -> Shop {
    let mut settings = ShopSettings::default();
    change(&mut settings);
    Shop::new(settings).unwrap()
}

fn json_of(shop: Shop) -> Vec<u8> {
    let mut text = Vec::new();
    for event in shop {
        event.write_json(&mut text);
        text.push(b'\n');
    }
    text
}

/// How many events of each kind, and how many purchased lines.
fn kinds_of(shop: Shop) -> (BTreeMap<&'static str, f64>, f64) {
    let mut kinds = BTreeMap::new();
    let mut purchased_lines = 0.0;
    for event in shop {
        *kinds.entry(event.action.kind()).or_default() += 1.0;
        if let CartAction::Purchase(lines) = event.action {
            purchased_lines += lines.len() as f64;
        }
    }
    (kinds, purchased_lines)
}

fn assert_near(name: &str, actual: f64, expected: f64) {
    assert!((actual / expected - 1.0).abs() < 0.05, "{name}: {actual} is not within 5 % of {expected}");
}

fn check_ratios(change: impl FnOnce(&mut ShopSettings)) {
    let shop = shop(|settings| {
        settings.events = Some(200_000);
        change(settings);
    });
    let settings = shop.settings().clone();
    let (kinds, purchased_lines) = kinds_of(shop);
    assert_near("removes per add", kinds["remove"] / kinds["add"], settings.removes_per_add);
    assert_near("purchased lines per add", purchased_lines / kinds["add"], settings.purchases_per_add);
    if settings.views_per_add > 0.0 {
        assert_near("views per add", kinds["view"] / kinds["add"], settings.views_per_add);
    }
    for rare in ["set", "clear"] {
        assert!(kinds[rare] < 0.05 * kinds["add"], "{rare}: {}", kinds[rare]);
    }
    assert_eq!(kinds.contains_key("forget"), settings.forget_share > 0.0);
}

#[test]
fn ratios_default() {
    check_ratios(|_| {});
}

#[test]
fn ratios_all_that_can_be_taken() {
    check_ratios(|settings| (settings.removes_per_add, settings.purchases_per_add) = (0.7, 0.27));
}

#[test]
fn ratios_few_removes_many_views() {
    check_ratios(|settings| {
        (settings.removes_per_add, settings.purchases_per_add, settings.views_per_add) = (0.05, 0.6, 5.0);
    });
}

#[test]
fn ratios_large_baskets_forgotten() {
    check_ratios(|settings| {
        (settings.lines_per_basket, settings.open_sessions, settings.forget_share) = (40.0, 100, 0.2);
    });
}

#[test]
fn ratios_a_million_items() {
    check_ratios(|settings| (settings.items, settings.removes_per_add) = (1_000_000, 0.43));
}

/// The share of adds that goes to the most popular `ranks`.
fn share_of_top(ranks: u32, change: impl FnOnce(&mut ShopSettings)) -> f64 {
    let (mut adds, mut top) = (0.0, 0.0);
    for event in shop(|settings| {
        settings.events = Some(200_000);
        change(settings);
    }) {
        if let CartAction::Add(line) = event.action {
            adds += 1.0;
            top += f64::from(u8::from(line.item.rank() <= ranks));
        }
    }
    top / adds
}

fn check_skew(items: u32, zipf_exponent: f64, focus: f64) {
    let top = items / 100;
    let mass = |ranks: u32| (1..=ranks).map(|rank| f64::from(rank).powf(-zipf_exponent)).sum::<f64>();
    let expected = mass(top) / mass(items);
    // No item is picked twice for a cart, so best-sellers have a little less than their due: one line a cart.
    let actual = share_of_top(top, |settings| {
        (settings.items, settings.zipf_exponent, settings.focus) = (items, zipf_exponent, focus);
        settings.lines_per_basket = 2.0;
    });
    assert!(
        (0.85 * expected..1.05 * expected).contains(&actual),
        "{items} {zipf_exponent}: {actual}, not {expected}"
    );
}

#[test]
fn skew_1000_10() {
    check_skew(1_000, 1.0, 0.7);
}

#[test]
fn skew_1000_10_no_focus() {
    check_skew(1_000, 1.0, 0.0);
}

#[test]
fn skew_1000_00() {
    check_skew(1_000, 0.0, 0.7);
}

#[test]
fn skew_100000_12_all_focus() {
    check_skew(100_000, 1.2, 1.0);
}

#[test]
fn skew_1000000_10() {
    check_skew(1_000_000, 1.0, 0.5);
}

#[test]
fn same_seed_same_bytes() {
    let run = |seed| json_of(shop(|settings| (settings.seed, settings.events) = (seed, Some(5_000))));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn bytes_do_not_change_between_releases() {
    // Benchmarks and replays name a seed: a change here is a change of all of them, and belongs in CHANGELOG.md.
    let text = json_of(shop(|settings| {
        settings.events = Some(20_000);
        (settings.views_per_add, settings.forget_share, settings.duplicate_share) = (0.5, 0.1, 0.02);
    }));
    let hash = text.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
    });
    assert_eq!((text.len(), hash), (2_394_072, 12_837_976_052_792_322_779));
}

#[test]
fn first_events_do_not_depend_on_the_limit() {
    let run = |events| shop(|settings| (settings.events, settings.duplicate_share) = (events, 0.1));
    let short: Vec<CartEvent> = run(Some(1_000)).collect();
    assert_eq!(short.len(), 1_000);
    assert_eq!(short, run(Some(10_000)).take(1_000).collect::<Vec<_>>());
    assert_eq!(short, run(None).take(1_000).collect::<Vec<_>>());
    assert_eq!(run(Some(0)).next(), None);
}

#[test]
fn duplicates_repeat_an_event_a_little_later() {
    let events: Vec<CartEvent> =
        shop(|settings| (settings.events, settings.duplicate_share) = (Some(50_000), 0.1)).collect();
    let mut first_at = BTreeMap::new();
    let mut duplicates = 0;
    for (at, event) in events.iter().enumerate() {
        if let Some(&first) = first_at.get(&event.id) {
            assert_eq!(&events[first], event);
            assert!(at - first < 100, "event {at} repeats {first}");
            duplicates += 1;
        } else {
            first_at.insert(event.id, at);
        }
    }
    assert_near("duplicates", f64::from(duplicates) / first_at.len() as f64, 0.1);
}

#[test]
fn carts_add_up() {
    let mut carts: BTreeMap<u64, BTreeMap<ShopItem, u32>> = BTreeMap::new();
    let (mut removes, mut strays) = (0.0, 0.0);
    for event in shop(|settings| (settings.events, settings.forget_share) = (Some(100_000), 0.1)) {
        let cart = carts.entry(event.basket).or_default();
        match event.action {
            CartAction::Add(line) => *cart.entry(line.item).or_default() += line.quantity,
            CartAction::Set(line) => assert!(cart.insert(line.item, line.quantity).is_some()),
            CartAction::Remove { item, quantity: Some(quantity) } => {
                removes += 1.0;
                *cart.get_mut(&item).unwrap() -= quantity;
            }
            CartAction::Remove { item, quantity: None } => {
                removes += 1.0;
                strays += f64::from(u8::from(cart.remove(&item).is_none()));
            }
            CartAction::Purchase(lines) => {
                assert_eq!(
                    lines.iter().map(|line| (line.item, line.quantity)).collect::<BTreeMap<_, _>>(),
                    *cart
                );
                cart.clear();
            }
            CartAction::Clear => {
                assert!(!cart.is_empty());
                cart.clear();
            }
            CartAction::Forget | CartAction::ForgetUser => cart.clear(),
            CartAction::View(_) => {}
        }
        assert!(cart.values().all(|&quantity| quantity > 0));
    }
    assert!((0.05..0.12).contains(&(strays / removes)), "{strays} of {removes} removes are strays");
}

#[test]
fn times_rise_at_the_rate_that_was_set() {
    let events: Vec<CartEvent> =
        shop(|settings| (settings.events, settings.events_per_second) = (Some(20_000), 10.0)).collect();
    assert!(events.is_sorted_by_key(|event| event.time_ms));
    let seconds = (events[19_999].time_ms - events[0].time_ms) as f64 / 1e3;
    assert_near("seconds", seconds, 2_000.0);
}

#[test]
fn the_clock_stops_in_time() {
    let last = shop(|settings| {
        (settings.start_ms, settings.events_per_second) = (7_258_118_400_000, 0.001);
    })
    .nth(3_000_000)
    .unwrap();
    let mut text = Vec::new();
    last.write_json(&mut text);
    assert!(String::from_utf8(text).unwrap().contains("\"time\":\"22"));
}

#[test]
fn what_is_of_one_kind_goes_together() {
    // Of the pairs of rarer items in a basket, most must be of the same or the next kind; by chance 3 in 16 would be.
    let mut baskets: BTreeMap<u64, BTreeSet<ShopItem>> = BTreeMap::new();
    for event in shop(|settings| settings.events = Some(50_000)) {
        if let CartAction::Add(line) = event.action
            && line.item.rank() >= 16
        {
            baskets.entry(event.basket).or_default().insert(line.item);
        }
    }
    let (mut pairs, mut near) = (0, 0);
    for items in baskets.values() {
        for a in items {
            for b in items.iter().filter(|&b| b > a) {
                pairs += 1;
                near += u32::from([0, 1, 15].contains(&((16 + b.theme - a.theme) % 16)));
            }
        }
    }
    assert!(near * 2 > pairs, "{near} of {pairs}");
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = shop(|settings| (settings.items, settings.zipf_exponent) = (500, 0.0))
        .take(100_000)
        .filter_map(|event| match event.action {
            CartAction::Add(line) => Some((line.item.rank(), line.item.name())),
            _ => None,
        })
        .collect();
    assert_eq!(names.len(), 500, "one name for each rank, and every item is sold");
    assert_eq!(names.iter().map(|(_, name)| name).collect::<BTreeSet<_>>().len(), 500);
}

fn check_json(action: CartAction, user: Option<u32>, expected: &str) {
    let event = CartEvent { seed: 42, id: 7, time_ms: 1_769_860_800_005, basket: 17, user, action };
    let mut text = b"kept ".to_vec();
    event.write_json(&mut text);
    assert_eq!(String::from_utf8(text).unwrap(), format!("kept {expected}"));
}

#[test]
fn json_is_as_documented() {
    let tea = ShopItem { rank: 42, theme: 0 };
    let pen = ShopItem { rank: 9, theme: 15 };
    let end = r#""time":"2026-01-31T12:00:00.005Z","id":"s42-7"}"#;
    let (two, one) = (CartLine { item: tea, quantity: 2 }, CartLine { item: pen, quantity: 1 });
    check_json(
        CartAction::Add(two),
        Some(3),
        &format!(r#"{{"event":"add","basket":"b17","user":"u3","item":"tea-42","quantity":2,{end}"#),
    );
    check_json(
        CartAction::Remove { item: tea, quantity: None },
        None,
        &format!(r#"{{"event":"remove","basket":"b17","item":"tea-42",{end}"#),
    );
    check_json(
        CartAction::Purchase(vec![two, one]),
        None,
        &format!(
            r#"{{"event":"purchase","basket":"b17","items":[{{"item":"tea-42","quantity":2}},{{"item":"pen-9","quantity":1}}],{end}"#
        ),
    );
    check_json(CartAction::Clear, None, &format!(r#"{{"event":"clear","basket":"b17",{end}"#));
    check_json(CartAction::ForgetUser, Some(3), &format!(r#"{{"event":"forget","user":"u3",{end}"#));
}

#[test]
fn events_are_one_a_line() {
    let item = ShopItem { rank: 42, theme: 0 };
    let lines =
        vec![CartLine { item, quantity: 2 }, CartLine { item: ShopItem { rank: 43, theme: 1 }, quantity: 1 }];
    let action = CartAction::Purchase(lines);
    let mut events: Vec<Event> = Vec::new();
    CartEvent { seed: 1, id: 0, time_ms: 0, basket: 5, user: None, action }.write_events(99, &mut events);
    assert_eq!(events[0].action, Action::Purchase("tea-42".into(), 2));
    assert_eq!(events[1].action, Action::Purchase("coffee-43".into(), 1));
    let places = |event: &Event| (event.position.offset, event.position.index);
    assert_eq!(events.iter().map(places).collect::<Vec<_>>(), [(99, 0), (99, 1)]);
    assert_eq!(events[0].basket, "b5");
}

/// What the decoder makes of the shop's records, and how many of them it took for duplicates.
fn decoded(shop: Shop, mut decoder: Box<dyn Decoder>) -> (Vec<Event>, u32) {
    let (mut json, mut events, mut duplicates) = (Vec::new(), Vec::new(), 0);
    for (offset, event) in shop.enumerate() {
        json.clear();
        event.write_json(&mut json);
        let key = event.basket_id();
        let record = RawRecord {
            partition: 3,
            offset: offset as u64,
            key: Some(key.as_bytes()),
            value: Some(&json),
            headers: &[],
            timestamp: None,
            truncated: false,
        };
        duplicates += decoder.decode(&record, &mut events).unwrap().duplicates;
    }
    (events, duplicates)
}

#[test]
fn records_decode_to_the_same_events() {
    let open = || {
        shop(|settings| {
            settings.events = Some(20_000);
            (settings.views_per_add, settings.forget_share) = (0.5, 0.2);
        })
    };
    let mut expected = Vec::new();
    open().enumerate().for_each(|(offset, event)| event.write_events(offset as u64, &mut expected));
    let kinds: HashSet<_> = expected.iter().map(|event| discriminant(&event.action)).collect();
    assert_eq!(kinds.len(), 7, "add, remove, set, purchase, clear, forget, forget the user");
    let decoder = DecodeOptions::new(Format::Json).decoder().unwrap();
    assert_eq!(decoded(open(), decoder), (expected, 0));
}

#[test]
fn duplicates_are_dropped_by_the_decoder() {
    let open = || shop(|settings| (settings.events, settings.duplicate_share) = (Some(20_000), 0.1));
    let ids: BTreeSet<u64> = open().map(|event| event.id).collect();
    let decoder = DecodeOptions::new(Format::Json).decoder().unwrap();
    let (_, duplicates) = decoded(open(), decoder);
    assert!(duplicates > 1_000);
    assert_eq!(duplicates as usize, 20_000 - ids.len());
}

fn check_error(change: impl FnOnce(&mut ShopSettings), expected: &str) {
    let mut settings = ShopSettings::default();
    change(&mut settings);
    assert_eq!(Shop::new(settings).unwrap_err().to_string(), expected);
}

#[test]
fn settings_out_of_range() {
    check_error(|settings| settings.items = 0, "items of the shop is 0: it must be from 1 to 16777216");
    check_error(
        |settings| settings.zipf_exponent = f64::NAN,
        "zipf exponent of the shop is NaN: it must be from 0 to 3",
    );
    check_error(
        |settings| settings.duplicate_share = 1.5,
        "duplicate share of the shop is 1.5: it must be from 0 to 1",
    );
    check_error(
        |settings| (settings.removes_per_add, settings.purchases_per_add) = (0.8, 0.4),
        "1.120 lines would leave the carts for each line added, and at most 0.9 can: \
         lower removes per add or purchases per add, or raise the stray share",
    );
}

#[test]
fn shops_of_every_size_sell() {
    for items in [1, 2, 3, 4, 7, 8, 9, 100] {
        for event in shop(|settings| settings.items = items).take(5_000) {
            if let CartAction::Add(line) = event.action {
                assert!((1..=items).contains(&line.item.rank()));
            }
        }
    }
}
