//! The candidates of each case with their features, to train a model on elsewhere.
//!
//! Each case is asked by lists, by baskets and by what the user had. Every item that one of these ways recommends is a
//! row: whether it was right, and what is known of it at that point. Empty cells say that a way did not recommend it.

use crate::evaluate::cases::Plan;
use crate::evaluate::data::{Id, Log};
use crate::evaluate::methods::Defaults;
use crate::evaluate::observed::Observed;
use crate::evaluate::run::{Answers, RunSettings, ask_job};
use anyhow::Result;
use deltacart_dataflows::{AnswerParams, Way};
use std::collections::BTreeMap;
use std::io::Write;

/// The ways that are asked, with the names of their columns.
const WAYS: [(Way, &str); 3] = [(Way::Lists, "lists"), (Way::Baskets, "baskets"), (Way::Own, "own")];

/// The columns before those of the ways, and those behind them.
const BEFORE: [&str; 6] = ["case", "unit", "user", "time", "item", "label"];
const BEHIND: [&str; 4] = ["support", "baskets", "is_repeat", "given"];

/// The rank, from 1, and the score that a way gives an item.
type Found = [Option<(usize, i64)>; WAYS.len()];

/// Writes the candidates of all cases of a plan as CSV.
///
/// # Errors
/// If a worker fails, or `out` cannot be written.
pub fn export(
    out: &mut dyn Write,
    log: &Log,
    plan: &Plan,
    defaults: Defaults,
    settings: &RunSettings,
) -> Result<()> {
    let mut rows = csv::Writer::from_writer(out);
    let of_ways = WAYS.iter().flat_map(|(_way, name)| [format!("{name}_rank"), format!("{name}_score")]);
    let columns = BEFORE.map(str::to_owned).into_iter().chain(of_ways).chain(BEHIND.map(str::to_owned));
    rows.write_record(columns)?;
    let mut failed = Ok(());
    let digits = defaults.lists.scoring.digits;
    let mut write = |observed: &Observed, index: usize, answers: Answers| {
        if failed.is_ok() {
            failed = write_case(&mut rows, log, plan, observed, index, answers, digits);
        }
    };
    let answers = WAYS.map(|(by, _name)| AnswerParams { by, ..defaults.answers });
    ask_job(log, plan, defaults.lists, &answers, settings, &mut write)?;
    failed?;
    rows.flush()?;
    Ok(())
}

/// Writes the candidates of one case, by their ids.
fn write_case(
    rows: &mut csv::Writer<&mut dyn Write>,
    log: &Log,
    plan: &Plan,
    observed: &Observed,
    index: usize,
    answers: Answers,
    digits: u32,
) -> csv::Result<()> {
    let case = &plan.cases.cases[index];
    let (truth, given) = (plan.cases.truth(case), plan.cases.given(case).collect::<Vec<Id>>());
    let mut candidates: BTreeMap<&str, (Id, Found)> = BTreeMap::new();
    for (way, answer) in answers.into_iter().enumerate() {
        for (rank, (item, score)) in (1..).zip(answer) {
            let (_item, found) = candidates.entry(log.items.name(item)).or_insert((item, [None; WAYS.len()]));
            found[way] = Some((rank, score));
        }
    }
    let unit = 10f64.powi(digits as i32);
    for (name, (item, found)) in candidates {
        let had = given.contains(&item) || case.user.is_some_and(|user| observed.has_seen(user, item));
        let flag = |is: bool| u8::from(is).to_string();
        let before = [
            index.to_string(),
            case.unit.to_string(),
            case.user.map_or(String::new(), |user| log.users.name(user).to_string()),
            case.time.to_string(),
            name.to_owned(),
            flag(truth.contains(&item)),
        ];
        let of_ways = found.into_iter().flat_map(|found| {
            let text = |value: Option<String>| value.unwrap_or_default();
            let rank = found.map(|(rank, _score)| rank.to_string());
            let score = found.map(|(_rank, score)| (score as f64 / unit).to_string());
            [text(rank), text(score)]
        });
        let support = observed.support(item).to_string();
        let behind = [support, observed.baskets().to_string(), flag(had), given.len().to_string()];
        rows.write_record(before.into_iter().chain(of_ways).chain(behind))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::data::tests::add;
    use crate::evaluate::methods::usual_lists;
    use crate::evaluate::metrics::Cutoffs;
    use crate::evaluate::protocols::{Protocol, Sample, Split, plan};
    use deltacart_dataflows::{Blend, Measure};

    /// Two orders hold tea and milk, one tea and a mug. Ann had milk; now she has tea, and takes a mug.
    #[test]
    fn every_candidate_has_its_features() {
        let orders =
            [("a", "", "tea milk"), ("b", "ann", "milk tea"), ("c", "", "tea mug"), ("d", "ann", "tea mug")];
        let events = (1..).zip(orders).flat_map(|(time, (basket, user, items))| {
            items.split(' ').map(move |item| add(time, basket, user, item)).collect::<Vec<_>>()
        });
        let mut log = Log::of_events(&events.collect::<Vec<_>>()).unwrap();
        let plan = plan(&mut log, &Protocol::NextItem(Split::At(4)), Sample { seed: 1, share: 1.0 }).unwrap();
        let mut lists = usual_lists(Measure::Count, 10);
        lists.scoring.digits = 2;
        let defaults = Defaults { lists, answers: AnswerParams::default(), blend: Blend::default() };
        let settings = RunSettings { cutoffs: Cutoffs::new(vec![5]).unwrap(), workers: 2, seed: 1 };
        let mut out = Vec::new();
        export(&mut out, &log, &plan, defaults, &settings).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!(
            rows[0][..8],
            ["case", "unit", "user", "time", "item", "label", "lists_rank", "lists_score"]
        );
        assert_eq!(rows[1][..8], ["0", "0", "ann", "4", "milk", "0", "1", "2"]);
        assert_eq!(rows[2][..8], ["0", "0", "ann", "4", "mug", "1", "2", "1"]);
        // Milk is by own, too; the mug is not.
        assert_eq!(rows[1][10..], ["1", "1", "2", "3", "1", "1"]);
        assert_eq!(rows[2][10..], ["", "", "1", "3", "0", "1"]);
        assert_eq!((rows[1][8], rows[2][8]), ("1", "2"));
    }
}
