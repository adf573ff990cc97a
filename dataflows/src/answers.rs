//! 5 · Answers: recommendations for open carts and for users.
//!
//! ```text
//!                    ┌───────┐ asked                    ┌────────────┐
//! states of baskets ▶│ carts ├────┬────────────────────▶│ item_lists ├─ lists ────────┐
//!        │           └───────┘    │ to every worker     └────────────┘                │
//!        │                        ├────────────────────▶ neighbours ── near baskets ──┤ replies, to the owner
//!        │           ┌───────┐    │                       (its index)                 │ of the subject
//! questions ──────────────────────┤                                                   │
//!        └──────────▶│ users ├────┘                                                   ▼
//!   to their users   └───┬───┘ own items                                          ┌───────┐
//!                        └───────────────────────────────────────────────────────▶│ merge ├─▶ answers
//!                                             supports and N, of every epoch ────▶└───────┘
//! ```
//!
//! A **subject** is an open cart, a user or a question. Its **answer** is its best k items. A cart or a user is
//! answered in each epoch that changes it, when it is refreshed, and when somebody was forgotten. A question is
//! answered once. The answer is that of the plain model at that epoch.
//!
//! | way | the score of an item j |
//! |---|---|
//! | [`Way::Lists`] | Σ w(d) · s(i, j) over the lists of the subject's items i, d steps back |
//! | [`Way::Baskets`] | Σ sim(B) · decay^d over the nearest baskets B that hold j, times 1 + idf · ln(N / n(j)) |
//! | [`Way::Own`] | the number of the user's other baskets that hold j, perhaps decayed; ties by n(j) |
//! | [`Way::Blend`] | Σ weight · score / largest score, over those ways |
//!
//! # Notes
//! Everything about one epoch is asked, replied and merged at the timestamp of that epoch. So no operator answers from
//! a state that is ahead, whatever the workers do.

mod params;
pub use params::{AnswerParams, Blend, Combine, Exclude, Way};

mod query;
pub use query::{Question, QuestionAnswer, Subject};

mod open_subjects;

mod carts;

mod users;

mod questions;

mod item_lists;

mod near_baskets;
pub(crate) use near_baskets::NearBaskets;

mod merge;

mod model;
pub use model::model_answers;

use crate::names::SharedNames;
use crate::neighbours::SupportChange;
use crate::state_stats::StateCollector;
use crate::{BasketState, Diff, Epoch, Item, List, ListParams, NumberedList};
use carts::Asked;
use differential_dataflow::VecCollection;
use merge::ToOwner;
use near_baskets::IndexQuestion;
use open_subjects::Tick;
use query::Replied;
use timely::dataflow::StreamVec;
use timely::dataflow::operators::core::{Concat, OkErr};
use timely::dataflow::operators::vec::{Broadcast, Filter, Map};
use users::UserOutput;

/// The subjects of an epoch, before anybody replies.
pub(crate) struct Subjects<'scope> {
    /// The subjects that ask, and those that are closed. On every worker.
    asked: StreamVec<'scope, Epoch, Asked>,
    /// What users had before.
    own: StreamVec<'scope, Epoch, Replied>,
}

/// Where subjects come from.
pub(crate) struct Asking<'scope> {
    /// The baskets that changed, on their owners.
    pub(crate) states: StreamVec<'scope, Epoch, BasketState>,
    /// One record for each epoch in which something was forgotten, on any worker.
    pub(crate) forgot: StreamVec<'scope, Epoch, ()>,
    /// One record on each worker for each epoch in which open subjects are answered again.
    pub(crate) refreshes: StreamVec<'scope, Epoch, ()>,
    /// Questions, each on the worker that gets its answer. An epoch's frontier passes after its names have arrived.
    /// None: nobody asks any.
    pub(crate) questions: Option<StreamVec<'scope, Epoch, Question>>,
    /// The settings.
    pub(crate) params: AnswerParams,
}

impl<'scope> Asking<'scope> {
    /// Finds the subjects of each epoch.
    pub(crate) fn subjects(self, names: SharedNames, state_stats: &mut StateCollector) -> Subjects<'scope> {
        let Asking { states, forgot, refreshes, questions, params } = self;
        let ticks = forgot.broadcast().map(|()| Tick::All).concat(refreshes.map(|()| Tick::Oldest));
        let mut asking = carts::carts(states.clone(), ticks.clone(), params, state_stats);
        if let Some(questions) = questions {
            let questions = questions::questions(questions, states.clone(), names, params, state_stats);
            asking = asking.concat(questions);
        }
        let (users, own) =
            users::users(states, asking.clone(), ticks, params, state_stats).ok_err(|output| match output {
                UserOutput::Asked(asked) => Ok(asked),
                UserOutput::Own(own) => Err(own),
            });
        Subjects { asked: asking.concat(users).broadcast(), own }
    }
}

impl<'scope> Subjects<'scope> {
    /// The questions to the index of every worker: touches of baskets, and subjects that want near baskets.
    pub(crate) fn index_questions(
        &self,
        states: StreamVec<'scope, Epoch, BasketState>,
    ) -> StreamVec<'scope, Epoch, IndexQuestion> {
        let touches = states.map(|state| (state.basket, state.touch)).broadcast();
        let touches = touches.map(|(basket, touch)| IndexQuestion::Touch(basket, touch));
        let subjects = self.asked.clone().flat_map(|asked| match asked {
            Asked::Ask(ask) if ask.params.uses_baskets() => Some(IndexQuestion::Near(ask)),
            _ => None,
        });
        touches.concat(subjects)
    }

    /// The answers of all subjects, from the replies of the indexes, the lists and the supports.
    pub(crate) fn answers(
        self,
        near: StreamVec<'scope, Epoch, Replied>,
        lists: VecCollection<'scope, Epoch, (Item, NumberedList), Diff>,
        supports: StreamVec<'scope, Epoch, SupportChange>,
        names: SharedNames,
        list_params: ListParams,
        uses_lists: bool,
    ) -> VecCollection<'scope, Epoch, (Subject, List), Diff> {
        let Subjects { asked, own } = self;
        let index = asked.scope().index() as u32;
        let mut replies = near.concat(own);
        if uses_lists {
            replies = replies.concat(item_lists::item_lists(lists, asked.clone()));
        }
        let asked = asked.filter(move |asked| asked.owner() == index);
        let messages = asked.map(ToOwner::Asked).concat(replies.map(ToOwner::Replied));
        merge::merge(messages, supports, names, list_params)
    }
}
