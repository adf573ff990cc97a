//! The body of a question.

use super::problem::Problem;
use super::query::{Fallback, Selection};
use deltacart_dataflows::{Epoch, Name};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The most items of a question. Those put in last count; how many, `--answer-items` says.
const ITEMS_MAX: usize = 1000;

/// A question.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asking {
    /// The ids of the items, in the order in which they were put into the cart: the last one counts most.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    items: Vec<TextId>,
    /// The id of the user, for answers by what the user had before.
    #[schema(value_type = Option<String>)]
    user: Option<TextId>,
    /// The most items of the answer, 1 to 1000.
    #[schema(default = 10)]
    n: Option<usize>,
    /// How many items are skipped, 0 to 1000.
    offset: Option<usize>,
    /// Ids of items that are not wanted.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    exclude: Vec<TextId>,
    /// The least score of an item.
    #[schema(value_type = Option<f64>)]
    min_score: Option<Box<RawValue>>,
    /// What is answered where there is nothing to recommend.
    #[serde(default)]
    fallback: Fallback,
    /// The answer is to be of this epoch or a later one.
    #[schema(value_type = Option<u64>)]
    at_least_epoch: Option<Epoch>,
}

impl Asking {
    /// The items, the newest first, the user, and what is wanted of the answer.
    ///
    /// # Errors
    /// If a limit is exceeded, or a number is none.
    pub(super) fn parts(self) -> Result<(Vec<Name>, Option<Name>, Selection), Problem> {
        let Asking { items, user, n, offset, exclude, min_score, fallback, at_least_epoch } = self;
        let least = min_score.map(|score| score.get().parse()).transpose();
        let given = Selection::default();
        let selection = Selection {
            n: n.unwrap_or(given.n),
            offset: offset.unwrap_or(given.offset),
            exclude: exclude.into_iter().map(Name::from).collect(),
            min_score: least.map_err(|_error| Problem::bad("min_score is no decimal number"))?,
            fallback,
            at_least_epoch,
        };
        let selection = selection.check()?;
        let items = newest_first(items.into_iter().map(Name::from).collect())?;
        Ok((items, user.map(Name::from), selection))
    }
}

/// An id, as text or as a whole number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum TextId {
    Text(Name),
    Number(i64),
}

impl From<TextId> for Name {
    fn from(id: TextId) -> Name {
        match id {
            TextId::Text(id) => id,
            TextId::Number(number) => number.to_string().as_str().into(),
        }
    }
}

/// The items as questions have them: the one that was put in last comes first.
pub(super) fn newest_first(mut items: Vec<Name>) -> Result<Vec<Name>, Problem> {
    if items.len() > ITEMS_MAX {
        return Err(Problem::bad(format!("a question has at most {ITEMS_MAX} items")));
    }
    items.reverse();
    Ok(items)
}
