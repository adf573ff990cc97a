//! The parameters of requests: how they are parsed, and their limits.

use super::problem::Problem;
use crate::output::Decimal;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use deltacart_dataflows::{Epoch, Name};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

/// The items of an answer, where the request does not say how many it wants.
const N_DEFAULT: usize = 10;

/// The most items of an answer, and the most that it may skip.
pub(super) const N_MAX: usize = 1000;

/// The longest id, in bytes.
const ID_BYTES_MAX: usize = 4096;

/// The most ids that `exclude` takes.
const EXCLUDE_MAX: usize = 1000;

/// What an answer holds where there is nothing to recommend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Fallback {
    /// The most popular items.
    #[default]
    Popular,
    /// Nothing.
    None,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Selection {
    /// The most items of the answer, 1 to 1000.
    #[param(value_type = Option<u32>, default = 10, minimum = 1, maximum = 1000)]
    pub(super) n: usize,
    /// How many items of the list are skipped, for the next page; 0 to 1000.
    #[param(value_type = Option<u32>, default = 0, maximum = 1000)]
    pub(super) offset: usize,
    /// Items that are not wanted: ids with commas between them. The parameter may come several times; an id that has a
    /// comma is given by `exclude_id`.
    #[param(value_type = Option<String>)]
    pub(super) exclude: BTreeSet<Name>,
    /// The least score of an item.
    #[param(value_type = Option<f64>)]
    pub(super) min_score: Option<Decimal>,
    /// What is answered where there is nothing to recommend.
    #[param(value_type = Option<Fallback>, inline)]
    pub(super) fallback: Fallback,
    /// The answer is to be of this epoch or a later one, such as that of an answer before. It is waited for.
    #[param(value_type = Option<u64>)]
    pub(super) at_least_epoch: Option<Epoch>,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection {
            n: N_DEFAULT,
            offset: 0,
            exclude: BTreeSet::new(),
            min_score: None,
            fallback: Fallback::Popular,
            at_least_epoch: None,
        }
    }
}

impl Selection {
    /// Parses the query of a URL.
    ///
    /// # Errors
    /// If a parameter is unknown, comes twice, or has no such value.
    pub(super) fn parse(query: &str) -> Result<Selection, Problem> {
        let mut selection = Selection::default();
        let mut seen = BTreeSet::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let is_list = matches!(&*name, "exclude" | "exclude_id");
            if !is_list && !seen.insert(name.to_string()) {
                return Err(Problem::bad(format!("the parameter {} comes twice", shown(&name))));
            }
            selection.set(&name, &value)?;
        }
        selection.check()
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "n" => self.n = number(name, value)?,
            "offset" => self.offset = number(name, value)?,
            "exclude" => self.exclude.extend(value.split(',').filter(|id| !id.is_empty()).map(Name::from)),
            "exclude_id" => drop(self.exclude.insert(value.into())),
            "min_score" => self.min_score = Some(number(name, value)?),
            "at_least_epoch" => self.at_least_epoch = Some(number(name, value)?),
            "fallback" => {
                self.fallback = match value {
                    "popular" => Fallback::Popular,
                    "none" => Fallback::None,
                    _ => return Err(Problem::bad("fallback is popular or none")),
                }
            }
            _ => {
                let known = "n, offset, exclude, exclude_id, min_score, fallback, at_least_epoch";
                return Err(Problem::bad(format!(
                    "there is no parameter {}; known are {known}",
                    shown(name)
                )));
            }
        }
        Ok(())
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// If one is exceeded.
    pub(super) fn check(self) -> Result<Selection, Problem> {
        if !(1..=N_MAX).contains(&self.n) {
            return Err(Problem::bad(format!("n must be from 1 to {N_MAX}")));
        }
        if self.offset > N_MAX {
            return Err(Problem::bad(format!("offset must be at most {N_MAX}")));
        }
        if self.exclude.len() > EXCLUDE_MAX {
            return Err(Problem::bad(format!("exclude takes at most {EXCLUDE_MAX} ids")));
        }
        Ok(self)
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|_| Problem::bad(format!("{name} is no such number: {}", shown(value))))
}

/// The beginning of a text from outside, for a message.
fn shown(text: &str) -> String {
    let beginning: String = text.chars().take(40).collect();
    if beginning.len() < text.len() { format!("{beginning:?}…") } else { format!("{beginning:?}") }
}

impl<S: Sync> FromRequestParts<S> for Selection {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Selection, Problem> {
        Selection::parse(parts.uri.query().unwrap_or_default())
    }
}

/// An id in a path. It is percent-encoded there, a slash included.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_error| Problem::bad("the id in the path is not percent-encoded UTF-8"))?;
        match id.len() <= ID_BYTES_MAX {
            true => Ok(Id(id)),
            false => Err(Problem::bad(format!("an id has at most {ID_BYTES_MAX} bytes"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_ids_are_unescaped() {
        let query = "n=3&offset=2&exclude=a,b&exclude=c%20d&exclude_id=e%2Cf&min_score=0.25&fallback=none";
        let selection = Selection::parse(query).unwrap();
        let excluded: Vec<&str> = selection.exclude.iter().map(Name::as_str).collect();
        assert_eq!(excluded, ["a", "b", "c d", "e,f"]);
        assert_eq!((selection.n, selection.offset, selection.fallback), (3, 2, Fallback::None));
        assert_eq!(selection.min_score, Some(Decimal::new(25, 2)));
        assert_eq!(Selection::parse("").unwrap(), Selection::default());
    }

    #[test]
    fn what_is_wrong_is_named_in_few_words() {
        for (query, words) in [
            ("n=0", "n must be from 1 to 1000"),
            ("n=1001", "n must be from 1 to 1000"),
            ("n=-1", "n is no such number"),
            ("n=1&n=2", "comes twice"),
            ("offset=1001", "offset must be at most"),
            ("min_score=much", "min_score is no such number"),
            ("fallback=all", "fallback is popular or none"),
            ("explain=true", "there is no parameter \"explain\""),
            ("at_least_epoch=99999999999999999999", "at_least_epoch is no such number"),
        ] {
            let problem = format!("{:?}", Selection::parse(query).unwrap_err());
            assert!(problem.replace("\\\"", "\"").contains(words), "{query}: {problem}");
        }
        let long = format!("{}=1", "x".repeat(100_000));
        assert!(format!("{:?}", Selection::parse(&long).unwrap_err()).len() < 300);
        let many: String = (0..=EXCLUDE_MAX).map(|id| format!("exclude={id}&")).collect();
        assert!(Selection::parse(many.trim_end_matches('&')).is_err());
    }
}
