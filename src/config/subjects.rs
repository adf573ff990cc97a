//! The settings of answers, from the flags about carts and users.

use crate::cli::{OnOff, Place, Recommend, RunArgs};
use crate::output::{OutputOptions, RowKind};
use crate::outputs::{Content, Destination, Outputs, TableSettings};
use anyhow::{Result, ensure};
use deltacart_dataflows::{Algorithm, AnswerParams, Way};
use std::num::NonZeroU64;

/// The most entries of a list or an answer.
pub(super) const K_MAX: usize = 1000;

/// The settings of answers, if carts or users get any.
///
/// # Errors
/// When the flags contradict each other. The message names them.
pub(super) fn answers(args: &RunArgs) -> Result<Option<AnswerParams>> {
    let subjects = &args.subjects;
    let (carts, users) = (subjects.wants(Recommend::Carts), subjects.wants(Recommend::Users));
    let serves = args.server.serve.is_some();
    ensure!(
        !carts || subjects.output_carts.is_some() || serves,
        "--recommend carts wants --output-carts, where the answers of carts go, or --serve"
    );
    ensure!(
        !users || subjects.output_users.is_some() || serves,
        "--recommend users wants --output-users, where the answers of users go, or --serve"
    );
    if !carts && !users && !serves {
        return Ok(None);
    }
    for (k, flag) in [(subjects.k_carts, "--k-carts"), (subjects.k_users, "--k-users")] {
        ensure!(k.get() <= K_MAX, "{flag} must be at most {K_MAX}");
    }
    let answers = AnswerParams {
        carts: if carts { subjects.k_carts.get() } else { 0 },
        users: if users { subjects.k_users.get() } else { 0 },
        refresh: subjects.refresh_millis(),
        refresh_max: subjects.refresh_max.get(),
        ..subjects.answers.params(subjects.answer_by, subjects.exclude)
    };
    ensure!(
        args.engine == Algorithm::Fast,
        "--engine reference has no answers: --recommend items, without --serve"
    );
    let (uses_lists, uses_baskets) = match answers.by {
        Way::Lists => (true, false),
        Way::Baskets => (false, true),
        Way::Own => (false, false),
        Way::Blend(blend) => (blend.lists > 0.0, blend.baskets > 0.0),
    };
    ensure!(
        !uses_lists || args.scores == OnOff::On,
        "answers by lists are sums of their scores: --scores on"
    );
    ensure!(
        !uses_baskets || args.max_item_baskets.is_none(),
        "answers by baskets need every basket of an item: without --max-item-baskets, or --answer-by lists"
    );
    Ok(Some(answers))
}

/// How long a basket is recent, in milliseconds, if answers need that.
///
/// # Errors
/// If the time is 0.
pub(super) fn open_for(args: &RunArgs) -> Result<Option<NonZeroU64>> {
    if answers(args)?.is_none() {
        return Ok(None);
    }
    let millis = u64::try_from(args.subjects.open_for.0.as_millis()).ok().and_then(NonZeroU64::new);
    ensure!(millis.is_some(), "--open-for must be at least a millisecond");
    Ok(millis)
}

/// Adds the streams of carts and of users, if they are published. Their records are laid out like those of lists.
pub(super) fn outputs(
    args: &RunArgs,
    records: OutputOptions,
    lists: Outputs,
    destination: impl Fn(&Place) -> Destination,
) -> Outputs {
    let subjects = &args.subjects;
    let streams = [
        (RowKind::Cart, &subjects.output_carts, subjects.carts_every),
        (RowKind::User, &subjects.output_users, subjects.users_every),
    ];
    streams.into_iter().fold(lists, |outputs, (rows, place, every)| {
        let content =
            Content::Lists(TableSettings { records: OutputOptions { rows, ..records }, every: every.0 });
        outputs.with(content, place.as_ref().map(&destination))
    })
}
