//! Runs methods on the cases of a plan: one pass for each kind of lists, and one for all simple rules.
//!
//! ```text
//! plan ─▶ batches ─▶ engine ─ answers ─▶ scores
//!             └────▶ observed: supports and what users had, at the same point of the log
//! ```
//!
//! Memory is that of one dataflow, the log, and the sums of each method and unit.

use crate::evaluate::cases::{Case, Plan};
use crate::evaluate::data::{Id, Log};
use crate::evaluate::engine::{Engine, engine_params};
use crate::evaluate::methods::{By, Method, Yardstick};
use crate::evaluate::metrics::{Cutoffs, Recommended, Sums, Truth};
use crate::evaluate::observed::Observed;
use crate::evaluate::yardsticks::{self, Chance};
use anyhow::Result;
use deltacart_dataflows::{AnswerParams, Blend, Event, ListParams, Question, QuestionAnswer, Way};
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

/// How a plan is run.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// How many items of an answer count.
    pub cutoffs: Cutoffs,
    /// The threads of the dataflow.
    pub workers: usize,
    /// The seed of every hash.
    pub seed: u64,
}

/// What became of a method.
#[derive(Debug)]
pub struct Outcome {
    /// The sums of each unit.
    pub sums: Sums,
    /// Whether each case had a hit at the smallest cutoff, in the order of the plan.
    pub hits: Vec<bool>,
}

/// Called with the cases asked so far and all there are, summed over passes.
pub type OnProgress<'a> = &'a mut dyn FnMut(usize, usize);

/// The most events in one epoch.
const LEARN_MAX: usize = 1 << 18;

/// About how many questions are in one epoch.
const ASK_MAX: usize = 2048;

/// The most epochs under way, so that few questions and answers are in memory.
const UNDER_WAY_MAX: u64 = 3;

/// An answer with its entries as the job gave them, best first.
pub(super) type Answers = Vec<Vec<(Id, i64)>>;

/// Some of the log to learn, then cases to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    learn: Range<usize>,
    ask: Range<usize>,
}

/// Asks every method every case. The outcomes are in the order of the methods.
///
/// # Errors
/// If a worker fails.
pub fn run(
    log: &Log,
    plan: &Plan,
    methods: &[Method],
    settings: &RunSettings,
    on_progress: OnProgress<'_>,
) -> Result<Vec<Outcome>> {
    let new = || Outcome {
        sums: Sums::new(settings.cutoffs.clone(), plan.units(), log.items.len()),
        hits: Vec::with_capacity(plan.cases.len()),
    };
    let mut outcomes: Vec<Outcome> = methods.iter().map(|_method| new()).collect();
    let passes = passes(methods);
    let all = passes.len() * plan.cases.len();
    for (number, pass) in passes.iter().enumerate() {
        let done = number * plan.cases.len();
        let mut scorer = |observed: &Observed, index: usize, answers: Answers| {
            let case = &plan.cases.cases[index];
            let given: BTreeSet<Id> = plan.cases.given(case).collect();
            for (answer, &method) in answers.iter().zip(&pass.methods) {
                score(&mut outcomes[method], observed, plan, case, &given, answer);
            }
            on_progress(done + index + 1, all);
        };
        let observed = match &pass.kind {
            Kind::Job(lists, answers) => ask_job(log, plan, *lists, answers, settings, &mut scorer)?,
            Kind::Yardsticks(yardsticks) => ask_yardsticks(log, plan, yardsticks, settings, &mut scorer),
        };
        pass.methods.iter().for_each(|&method| outcomes[method].sums.set_catalogue(observed.items()));
    }
    Ok(outcomes)
}

/// Methods that are asked together.
struct Pass {
    /// Their places in the list of methods.
    methods: Vec<usize>,
    kind: Kind,
}

enum Kind {
    Job(ListParams, Vec<AnswerParams>),
    Yardsticks(Vec<Yardstick>),
}

/// The passes that ask all methods. Ways without lists are asked with the first lists.
fn passes(methods: &[Method]) -> Vec<Pass> {
    let mut passes: Vec<Pass> = Vec::new();
    let (mut rules, mut yardsticks) = (Vec::new(), Vec::new());
    let needs_lists = |answers: &AnswerParams| match answers.by {
        Way::Lists => true,
        Way::Blend(Blend { lists, .. }) => lists > 0.0,
        Way::Baskets | Way::Own => false,
    };
    let jobs = methods.iter().enumerate().filter_map(|(place, method)| match method.by {
        By::Job { lists, answers } => Some((place, lists, answers)),
        By::Yardstick(yardstick) => {
            rules.push(place);
            yardsticks.push(yardstick);
            None
        }
    });
    let (with_lists, without): (Vec<_>, Vec<_>) =
        jobs.partition(|(_place, _lists, answers)| needs_lists(answers));
    let free = without.len();
    for (order, (place, lists, answers)) in without.into_iter().chain(with_lists).enumerate() {
        let known = passes.iter_mut().find_map(|pass| match &mut pass.kind {
            Kind::Job(known, all) if *known == lists || order < free => Some((&mut pass.methods, all)),
            _ => None,
        });
        match known {
            Some((methods, all)) => {
                methods.push(place);
                all.push(answers);
            }
            None => passes.push(Pass { methods: vec![place], kind: Kind::Job(lists, vec![answers]) }),
        }
    }
    if !rules.is_empty() {
        passes.push(Pass { methods: rules, kind: Kind::Yardsticks(yardsticks) });
    }
    passes
}

/// The batches of a plan, with at most `ask_max` cases each.
fn batches(plan: &Plan, ask_max: usize) -> Vec<Batch> {
    let mut batches = Vec::new();
    for round in &plan.rounds {
        let (mut learn, mut ask) = (round.learn.clone(), round.ask.clone());
        while !learn.is_empty() || !ask.is_empty() {
            let learned = learn.start..learn.end.min(learn.start + LEARN_MAX);
            learn.start = learned.end;
            // Nothing is asked before all of the round has been learned.
            let end = if learn.is_empty() { ask.end.min(ask.start + ask_max) } else { ask.start };
            let asked = ask.start..end;
            ask.start = asked.end;
            batches.push(Batch { learn: learned, ask: asked });
        }
    }
    batches
}

/// Asks the dataflow, and gives the answers of each case, one for each of `answers`, to `each`.
pub(super) fn ask_job(
    log: &Log,
    plan: &Plan,
    lists: ListParams,
    answers: &[AnswerParams],
    settings: &RunSettings,
    each: &mut dyn FnMut(&Observed, usize, Answers),
) -> Result<Observed> {
    let mut engine = Engine::start(engine_params(lists, answers), settings.workers)?;
    let k = settings.cutoffs.largest();
    let mut observed = Observed::default();
    let mut under_way: VecDeque<Batch> = VecDeque::new();
    let mut receive = |engine: &mut Engine, batch: Batch| -> Result<()> {
        let replies = engine.receive()?;
        plan.order[batch.learn].iter().for_each(|&index| observed.learn(&log.entries[index as usize]));
        let mut by_case: Vec<Answers> =
            batch.ask.clone().map(|_case| vec![Vec::new(); answers.len()]).collect();
        for QuestionAnswer { number, list } in replies {
            let (case, method) = (number as usize / answers.len(), number as usize % answers.len());
            let entries =
                list.into_iter().filter_map(|entry| Some((log.items.find(&entry.item)?, entry.score)));
            by_case[case][method] = entries.collect();
        }
        batch.ask.zip(by_case).for_each(|(case, answers)| each(&observed, case, answers));
        Ok(())
    };
    for batch in batches(plan, (ASK_MAX / answers.len()).max(1)) {
        let events: Vec<Event> =
            plan.order[batch.learn.clone()].iter().map(|&index| log.event(index as usize)).collect();
        let cases = plan.cases.cases[batch.ask.clone()].iter();
        let questions =
            cases.zip(0..).flat_map(|(case, number)| questions(log, plan, case, number, answers, k));
        let questions: Vec<Question> = questions.collect();
        engine.send(events, questions)?;
        under_way.push_back(batch);
        while engine.under_way() >= UNDER_WAY_MAX
            && let Some(oldest) = under_way.pop_front()
        {
            receive(&mut engine, oldest)?;
        }
    }
    while let Some(oldest) = under_way.pop_front() {
        receive(&mut engine, oldest)?;
    }
    engine.stop()?;
    Ok(observed)
}

/// The questions of one case, the `number`-th of its batch.
fn questions<'a>(
    log: &'a Log,
    plan: &'a Plan,
    case: &'a Case,
    number: u64,
    answers: &'a [AnswerParams],
    k: usize,
) -> impl Iterator<Item = Question> + 'a {
    let items: Vec<_> = plan.cases.given(case).map(|item| log.items.name(item).clone()).collect();
    let user = case.user.map(|user| log.users.name(user).clone());
    let basket = case.basket.map(|basket| log.baskets.name(basket).clone());
    let first = number * answers.len() as u64;
    (first..).zip(answers).map(move |(number, &params)| Question {
        number,
        items: items.clone(),
        user: user.clone(),
        basket: basket.clone(),
        k,
        params: Some(params),
    })
}

/// Asks simple rules.
fn ask_yardsticks(
    log: &Log,
    plan: &Plan,
    yardsticks: &[Yardstick],
    settings: &RunSettings,
    each: &mut dyn FnMut(&Observed, usize, Answers),
) -> Observed {
    let mut observed = Observed::default();
    let k = settings.cutoffs.largest();
    for round in &plan.rounds {
        let learned = &plan.order[round.learn.clone()];
        learned.iter().for_each(|&index| observed.learn(&log.entries[index as usize]));
        for index in round.ask.clone() {
            let case = &plan.cases.cases[index];
            let chance = Chance { seed: settings.seed, case: index as u64 };
            let answer = |&yardstick: &Yardstick| {
                let items = yardsticks::answer(yardstick, log, &observed, &plan.cases, case, chance, k);
                items.into_iter().map(|item| (item, 0)).collect()
            };
            let answers = yardsticks.iter().map(answer).collect();
            each(&observed, index, answers);
        }
    }
    observed
}

/// Adds an answer to the sums of its unit.
fn score(
    outcome: &mut Outcome,
    observed: &Observed,
    plan: &Plan,
    case: &Case,
    given: &BTreeSet<Id>,
    answer: &[(Id, i64)],
) {
    let truth = plan.cases.truth(case);
    let had = |item: Id| given.contains(&item) || case.user.is_some_and(|user| observed.has_seen(user, item));
    let baskets = observed.baskets().max(1) as f64;
    let recommended = answer.iter().map(|&(item, _score)| Recommended {
        item,
        is_hit: truth.contains(&item),
        is_repeat: had(item),
        popularity: f64::from(observed.support(item).max(1)) / baskets,
    });
    let recommended: Vec<Recommended> = recommended.collect();
    let repeats = truth.iter().filter(|&&item| had(item)).count();
    outcome.sums.add(case.unit, &recommended, Truth { items: truth.len(), repeats });
    let first = outcome.sums.cutoffs().smallest();
    outcome.hits.push(recommended.iter().take(first).any(|it| it.is_hit));
}

/// The cases whose truth no basket held when they were asked: no method that learned can find them.
pub fn unknown_truths(log: &Log, plan: &Plan) -> usize {
    let mut observed = Observed::default();
    let mut unknown = 0;
    for round in &plan.rounds {
        let learned = &plan.order[round.learn.clone()];
        learned.iter().for_each(|&index| observed.learn(&log.entries[index as usize]));
        let cases = &plan.cases.cases[round.ask.clone()];
        let is_unknown =
            |case: &&Case| plan.cases.truth(case).iter().all(|&item| observed.support(item) == 0);
        unknown += cases.iter().filter(is_unknown).count();
    }
    unknown
}

#[cfg(test)]
mod tests;
