//! The fuzz target of requests.

use super::asking::Asking;
use super::query::{Fallback, N_MAX, Selection};

/// The query of a URL, and the body of a question.
///
/// # Panics
/// If a selection exceeds its limits, or is another one when it is written and read again.
pub(crate) fn request(data: &[u8]) {
    if let Ok(query) = std::str::from_utf8(data)
        && let Ok(selection) = Selection::parse(query)
    {
        check(&selection);
    }
    if let Ok(asking) = serde_json::from_slice::<Asking>(data)
        && let Ok((_items, _user, selection)) = asking.parts()
    {
        check(&selection);
    }
}

fn check(selection: &Selection) {
    assert!((1..=N_MAX).contains(&selection.n) && selection.offset <= N_MAX);
    let again = Selection::parse(&query(selection)).expect("what was read is valid");
    assert_eq!(again, *selection);
}

fn query(selection: &Selection) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("n", &selection.n.to_string()).append_pair("offset", &selection.offset.to_string());
    for id in &selection.exclude {
        query.append_pair("exclude_id", id);
    }
    if let Some(score) = selection.min_score {
        query.append_pair("min_score", &score.to_string());
    }
    if let Some(epoch) = selection.at_least_epoch {
        query.append_pair("at_least_epoch", &epoch.to_string());
    }
    let fallback = if selection.fallback == Fallback::Popular { "popular" } else { "none" };
    query.append_pair("fallback", fallback).finish()
}
