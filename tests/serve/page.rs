//! The page in a real browser: a cart is built by clicking, and lists change while one looks.
//!
//! Pictures of it are written to `target/page`: in light, in dark and narrow.

use super::browser::Browser;
use super::start_small_shop;
use crate::skipped::skip;
use crate::support::{Folder, start, wait_until};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

/// The items of the lists of the page, without those that are only marked as gone.
const CART_LIST: &str = "[...document.querySelectorAll('#cart-list li:not(.went)')].map(e => e.dataset.item)";
const ITEM_LIST: &str = "[...document.querySelectorAll('#item-list li:not(.went)')].map(e => e.dataset.item)";

fn pictures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/page")
}

fn click(selector: &str) -> String {
    format!("document.querySelector(`{selector}`).click()")
}

#[test]
fn a_cart_is_built_by_clicking_and_lists_change() {
    let Some(mut browser) = Browser::start() else { return skip("no Chromium") };
    let folder = Folder::new();
    let (running, mut stdin, address) = start_small_shop(&folder, "--answer-by lists");
    browser.open(&format!("http://{address}/"), (1100, 900), "light");
    browser.wait_for("document.querySelectorAll('#popular button').length", &json!(3));
    // A click puts tea into the cart, and the list is there within a second.
    browser.value(&click("#popular button[data-item=tea]"));
    let took = browser.wait_for(CART_LIST, &json!(["milk", "mug/blue, large"]));
    assert!(took < Duration::from_secs(1), "{took:?}");
    // Milk follows: it leaves the list, and is marked as gone.
    browser.value(&click("#cart-list li[data-item=milk] .add"));
    let took = browser.wait_for(CART_LIST, &json!(["mug/blue, large"]));
    assert!(took < Duration::from_secs(1), "{took:?}");
    browser.wait_for("document.querySelector('#cart-list .went')?.dataset.item", &json!("milk"));
    browser.wait_for("document.getElementById('cart-said').textContent", &json!("milk went"));
    // It is taken out again, and the list goes back.
    browser.value(&click("#cart li[data-item=milk] .out"));
    let took = browser.wait_for(CART_LIST, &json!(["milk", "mug/blue, large"]));
    assert!(took < Duration::from_secs(1), "{took:?}");
    // The list of an item changes with the next event, by its stream.
    browser.value("document.getElementById('item-input').value = 'tea'");
    browser.value("document.getElementById('item-form').requestSubmit()");
    browser.wait_for(ITEM_LIST, &json!(["milk", "mug/blue, large"]));
    let event = |kind: &str| format!(r#"{{"event":"{kind}","basket":"a","user":"ann","item":"spoon"}}"#);
    writeln!(stdin, "{}", event("add")).unwrap();
    let took = browser.wait_for(ITEM_LIST, &json!(["milk", "mug/blue, large", "spoon"]));
    assert!(took < Duration::from_secs(1), "{took:?}");
    browser.wait_for("document.querySelector('#item-list .came')?.dataset.item", &json!("spoon"));
    writeln!(stdin, "{}", event("remove")).unwrap();
    browser.wait_for(ITEM_LIST, &json!(["milk", "mug/blue, large"]));
    // Nothing was asked of another machine, and every control has a name.
    let foreign =
        "performance.getEntriesByType('resource').filter(e => !e.name.startsWith(location.origin)).length";
    assert_eq!(browser.value(foreign), 0);
    let nameless = "[...document.querySelectorAll('button, input')].filter(e => \
                    !e.textContent && !e.ariaLabel && !e.labels?.length).length";
    assert_eq!(browser.value(nameless), 0);
    // The document is rendered.
    browser.open(&format!("http://{address}/docs"), (1100, 900), "light");
    browser.wait_for("document.querySelectorAll('.path .method').length > 10", &json!(true));
    browser.picture(&pictures(), "docs.png");
    drop(stdin);
    running.terminate();
    running.finish().expect(0);
}

#[test]
fn the_demo_is_a_page() {
    let Some(mut browser) = Browser::start() else { return skip("no Chromium") };
    let address = super::free_address();
    let running = start(&format!("demo --serve {address} -k 8"), &[]);
    wait_until("the demo serves", || {
        super::get(&address, "/readyz").is_some_and(|answer| answer.status == 200)
    });
    browser.open(&format!("http://{address}/"), (1100, 900), "light");
    browser.wait_for("document.querySelectorAll('#popular button').length", &json!(24));
    for place in [1, 4, 9] {
        browser.value(&click(&format!("#popular li:nth-child({place}) button")));
    }
    browser.wait_for("document.querySelectorAll('#cart li').length", &json!(3));
    browser.wait_for("document.querySelectorAll('#cart-list li').length >= 8", &json!(true));
    // Some seconds of numbers.
    browser.wait_for("document.querySelector('#rate-line polyline').points.length > 5", &json!(true));
    browser.wait_for("Number(document.getElementById('rate').textContent) > 0", &json!(true));
    for (name, width, scheme) in
        [("light.png", 1100, "light"), ("dark.png", 1100, "dark"), ("narrow.png", 390, "light")]
    {
        browser.look(width, 900, scheme);
        // The page fits its window: nothing is cut off at the side.
        browser.wait_for("document.documentElement.scrollWidth <= window.innerWidth", &json!(true));
        // Colours change slowly.
        thread::sleep(Duration::from_secs(1));
        browser.picture(&pictures(), name);
    }
    running.terminate();
    running.finish().expect(0);
}
