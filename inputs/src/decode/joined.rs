//! One id made of several: what is the same in all its parts is the same basket, and nothing else is.

use super::fields::Field;
use super::{Limits, Reject};
use std::borrow::Cow;

/// The parts with a `+` between them. A `+` or a backslash inside of a part has a backslash before it, so that no two
/// lists of parts make the same id. None where a part is absent.
pub(super) fn joined<'a>(
    limits: &Limits,
    mut parts: impl Iterator<Item = Result<Option<Cow<'a, str>>, Reject>>,
) -> Result<Option<Cow<'a, str>>, Reject> {
    let Some(mut id) = parts.next().transpose()?.flatten() else { return Ok(None) };
    for (place, part) in parts.enumerate() {
        let Some(part) = part? else { return Ok(None) };
        if place == 0 {
            id = Cow::Owned(escaped(&id).into_owned());
        }
        let id = id.to_mut();
        id.push('+');
        id.push_str(&escaped(&part));
    }
    limits.id_text(Field::named("basket"), id)
}

fn escaped(part: &str) -> Cow<'_, str> {
    if !part.contains(['+', '\\']) {
        return Cow::Borrowed(part);
    }
    Cow::Owned(part.replace('\\', "\\\\").replace('+', "\\+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[Option<&'static str>]) -> Option<String> {
        let parts = parts.iter().map(|part| Ok(part.map(Cow::Borrowed)));
        joined(&Limits::default(), parts).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn different_parts_make_different_ids() {
        assert_eq!(check(&[Some("m1"), Some("2026-01-31")]).as_deref(), Some("m1+2026-01-31"));
        assert_eq!(check(&[Some("a+b")]).as_deref(), Some("a+b"));
        assert_eq!(check(&[Some("a+b"), Some("c")]).as_deref(), Some("a\\+b+c"));
        assert_eq!(check(&[Some("a"), Some("b+c")]).as_deref(), Some("a+b\\+c"));
        assert_eq!(check(&[Some("a"), None]), None);
        assert_eq!(check(&[None, Some("a")]), None);
        let words = ["", "+", "\\", "a", "+a", "a+", "\\+", "+\\", "\\\\"];
        let mut met = std::collections::BTreeSet::new();
        for first in words {
            for second in words {
                for third in words {
                    assert!(
                        met.insert(check(&[Some(first), Some(second), Some(third)])),
                        "{first} {second} {third}"
                    );
                }
            }
        }
    }
}
