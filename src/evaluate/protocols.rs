//! Protocols: which events are learned, and what is asked when.
//!
//! | protocol | learned | a case |
//! |---|---|---|
//! | [`Protocol::CartCompletion`] | the events before the split | an order behind it, less an item that a hash picks |
//! | [`Protocol::NextItem`] | the events before the split | each step of a session behind it, from the second on |
//! | [`Protocol::Temporal`] | the events before the split | all that a user adds behind it |
//! | [`Protocol::LeaveLastBasket`] | all but the last basket of each user | the items of that basket |
//! | [`Protocol::LeaveLastOut`] | all but the last item of each user | that item |
//! | [`Protocol::Prequential`] | every event, after it was asked | each event that adds an item, but a basket's first |
//! | [`Protocol::Pair`] | a file | each line of another |
//!
//! A **step** is an add, also of an item that is in the basket, or another event that puts an item into a basket
//! which did not hold it. What a basket held and lost again is not given.

mod settings;
pub use settings::{Cut, Protocol, Sample, Split};

mod replay;

mod held_out;

mod pair;
pub use pair::read_test;

use crate::evaluate::cases::Plan;
use crate::evaluate::data::Log;

/// Makes the plan of a protocol.
///
/// # Errors
/// If the protocol leaves nothing to learn or nothing to ask, or a file cannot be read.
pub fn plan(log: &mut Log, protocol: &Protocol, sample: Sample) -> anyhow::Result<Plan> {
    let plan = match protocol {
        Protocol::CartCompletion(split) => held_out::cart_completion(log, *split, sample)?,
        Protocol::NextItem(split) => held_out::next_item(log, *split, sample)?,
        Protocol::Temporal(split) => held_out::temporal(log, *split, sample)?,
        Protocol::LeaveLastBasket(baskets) => held_out::leave_last_basket(log, *baskets, sample),
        Protocol::LeaveLastOut => held_out::leave_last_out(log, sample),
        Protocol::Prequential(cut) => replay::prequential(log, *cut, sample),
        Protocol::Pair(path) => pair::pair(log, path, sample)?,
    };
    let skipped: Vec<String> =
        plan.skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let skipped = if skipped.is_empty() { String::new() } else { format!(" ({})", skipped.join("; ")) };
    anyhow::ensure!(
        !plan.cases.is_empty(),
        "{} finds nothing to ask in this input{skipped}",
        protocol.name()
    );
    Ok(plan)
}

#[cfg(test)]
mod tests;
