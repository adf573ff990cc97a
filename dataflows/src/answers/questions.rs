//! Questions as subjects: names become numbers, and the worker that got a question owns it.

use crate::answers::carts::Asked;
use crate::answers::params::AnswerParams;
use crate::answers::query::{Ask, Question, Subject};
use crate::epochs::PerEpoch;
use crate::names::{Names, SharedNames};
use crate::{Epoch, Item};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;

/// The `questions` of this worker as subjects. `params` says how those are answered that do not say so themselves.
///
/// An epoch's frontier must not pass here before the epoch's names have arrived.
pub(super) fn questions<'scope>(
    questions: StreamVec<'scope, Epoch, Question>,
    names: SharedNames,
    params: AnswerParams,
) -> StreamVec<'scope, Epoch, Asked> {
    let owner = questions.scope().index() as u32;
    questions.per_epoch(Pipeline, "Questions", move |_epoch, questions, session| {
        let names = names.borrow();
        for question in questions.drain(..) {
            session.give(Asked::Ask(Box::new(ask(question, &names, owner, params))));
        }
    })
}

/// What a question asks.
fn ask(question: Question, names: &Names, owner: u32, params: AnswerParams) -> Ask {
    let Question { number, items: given, user, k, params: own } = question;
    let params = own.unwrap_or(params);
    let mut items: Vec<Item> = Vec::new();
    for item in given.iter().filter_map(|name| names.item(name)) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    let excluded = params.exclude.of(items.iter().copied(), &items);
    items.truncate(params.items);
    let users = user.into_iter().collect();
    Ask { subject: Subject::Question(number), owner, k, params, items, baskets: Vec::new(), excluded, users }
}
