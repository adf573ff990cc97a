//! What subjects ask, and what workers reply.
//!
//! ```text
//! owner of the subject ──ask──▶ every worker, for lists and baskets ──reply──▶ owner of the subject
//!                      └─ask──▶ the owner of the user, for own ─────reply──▶
//! ```

use crate::answers::params::AnswerParams;
use crate::{Basket, Item, List, Name, Neighbour, Touch};
use serde::{Deserialize, Serialize};

/// What an answer is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// An open cart, by the id of its basket.
    Cart(Name),
    /// A user, by id.
    User(Name),
    /// A question, by its number.
    Question(u64),
}

/// What would be recommended for these items now? It is answered once, at the end of its epoch.
///
/// It changes nothing: its items are put into no basket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Says which answer is the question's. Questions of one worker and epoch have different numbers.
    pub number: u64,
    /// The items, the most recently touched first. Those that no basket holds count for nothing.
    pub items: Vec<Name>,
    /// The user who asks, for [`Way::Own`](crate::Way::Own).
    pub user: Option<Name>,
    /// The basket that the items come from. It is no neighbour of the question, and does not count as what the user
    /// had before. None: the items are in no basket.
    pub basket: Option<Name>,
    /// The most entries of the answer.
    pub k: usize,
    /// How it is answered. None: as carts are. A way that the dataflow's own settings do not use finds nothing, because
    /// what it needs is not kept.
    pub params: Option<AnswerParams>,
}

/// The answer of a question. The list may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuestionAnswer {
    /// The number of the question.
    pub number: u64,
    /// The best items, best first.
    pub list: List,
}

/// A subject as it is at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The subject.
    pub(crate) subject: Subject,
    /// The worker that owns the subject and merges the replies.
    pub(crate) owner: u32,
    /// The most entries of the answer.
    pub(crate) k: usize,
    /// How it is answered.
    pub(crate) params: AnswerParams,
    /// The items that count, the most recently touched first. None comes twice.
    pub(crate) items: Vec<Item>,
    /// The baskets that the items come from, rising. They are no neighbours of the subject.
    pub(crate) baskets: Vec<Basket>,
    /// The items that are kept out of the answer, rising.
    pub(crate) excluded: Vec<Item>,
    /// The users of the subject, rising by name.
    pub(crate) users: Vec<Name>,
}

/// What one worker knows that concerns a subject.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The lists of some of the subject's items. Each has the place of its item in [`Ask::items`].
    Lists(Vec<(u32, Vec<Neighbour<Item>>)>),
    /// The most similar baskets of those that the worker considers.
    Baskets(Vec<NearBasket>),
    /// The items of the baskets of one of the subject's users.
    Own(Vec<OwnItem>),
}

/// A reply, with the subject that it is for and the worker that owns the subject.
pub(crate) type Replied = (Subject, u32, Reply);

/// A basket that shares items with a subject.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) struct NearBasket {
    /// Its number.
    pub(crate) basket: Basket,
    /// Its similarity to the subject.
    pub(crate) similarity: f64,
    /// When it was touched last.
    pub(crate) touch: Touch,
    /// How far back the most recent shared item is in [`Ask::items`].
    pub(crate) steps: u32,
    /// Its items, rising.
    pub(crate) items: Vec<Item>,
}

/// An item of the baskets of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct OwnItem {
    /// The item.
    pub(crate) item: Item,
    /// The weights of the baskets that hold it, added up.
    pub(crate) weight: u64,
    /// The number of those baskets.
    pub(crate) count: u32,
}
