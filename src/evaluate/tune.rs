//! Tuning: which settings of a way answer best, found on a validation part, so that the test part is asked once.
//!
//! The part that the protocol learns is cut again by the same protocol. Settings are drawn at random and asked with a
//! ninth of the validation cases; the best third with a third of them; the best third of those with all (successive
//! halving: Jamieson, Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016). The
//! best is what has the highest hit rate at the smallest cutoff, ties to what was drawn first. The defaults are among
//! what is drawn.

use crate::evaluate::data::Log;
use crate::evaluate::hash::hash_numbers;
use crate::evaluate::methods::{Defaults, Method, parse};
use crate::evaluate::metrics::Metric;
use crate::evaluate::protocols::{Protocol, Sample, Split, plan};
use crate::evaluate::run::{RunSettings, run};
use anyhow::{Context, Result, bail, ensure};
use deltacart_dataflows::Way;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What is tuned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TuneSettings {
    /// The way whose settings are searched.
    pub way: Way,
    /// How many settings are drawn, at least 1.
    pub trials: usize,
    /// The settings that are not searched.
    pub defaults: Defaults,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Tuned {
    /// The best settings, as a method.
    pub method: String,
    /// The flags of `run` that set them.
    pub flags: String,
    /// Its hit rate on the validation part.
    pub validation: f64,
    /// The cutoff of the hit rate.
    pub at: usize,
    /// Cases of the validation part.
    pub cases: usize,
    /// Everything that was drawn, with the hit rate on the largest part that it was asked, best first.
    pub trials: Vec<Trial>,
}

/// Settings that were drawn.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The settings, as a method.
    pub method: String,
    /// The share of the validation cases that it was asked.
    pub share: f64,
    /// Its hit rate on those.
    pub hit_rate: f64,
}

/// The share of the validation units that each step asks.
const STEPS: [f64; 3] = [1.0 / 9.0, 1.0 / 3.0, 1.0];

/// Of what is asked in a step, one in so many gets to the next.
const KEEP_ONE_IN: usize = 3;

/// Keeps the draws of settings apart from what else the seed decides.
const DRAWS: u64 = 0x7e57;

/// Tunes a way on the part of `log` that `protocol` learns.
///
/// # Errors
/// If the protocol learns no part of its own, or that part is too small to be cut.
pub fn tune(
    log: &mut Log,
    protocol: &Protocol,
    sample: Sample,
    settings: TuneSettings,
    run_settings: &RunSettings,
    on_progress: &mut dyn FnMut(usize, usize),
) -> Result<(Method, Tuned)> {
    let inner = match protocol {
        Protocol::CartCompletion(split) => Protocol::CartCompletion(again(log, *split)),
        Protocol::NextItem(split) => Protocol::NextItem(again(log, *split)),
        Protocol::Temporal(split) => Protocol::Temporal(again(log, *split)),
        Protocol::LeaveLastBasket(baskets) => Protocol::LeaveLastBasket(*baskets),
        Protocol::LeaveLastOut => Protocol::LeaveLastOut,
        Protocol::Prequential(_) | Protocol::Pair(_) => {
            bail!("--tune needs a protocol that holds a part out, not {}", protocol.name())
        }
    };
    let outer = plan(log, protocol, sample)?;
    let mut learned = log.part(&outer.order);
    let mut trials = parse(&draws(settings.way, settings.trials, sample.seed), settings.defaults)?;
    let mut found: BTreeMap<String, (usize, Trial)> = BTreeMap::new();
    let mut cases = 0;
    for (step, share) in STEPS.into_iter().enumerate() {
        let some = Sample { share: sample.share * share, ..sample };
        let Ok(plan) = plan(&mut learned, &inner, some) else {
            ensure!(share < 1.0, "--tune: the part that is learned is too small to hold cases out of it");
            continue;
        };
        cases = plan.cases.len();
        let outcomes = run(&learned, &plan, &trials, run_settings, on_progress)?;
        let mut rated: Vec<(f64, Method)> = Vec::new();
        for (method, outcome) in trials.into_iter().zip(outcomes) {
            let hit_rate = outcome.sums.totals().metric(Metric::Hr, 0);
            let trial = Trial { method: method.name.clone(), share, hit_rate };
            found.insert(method.name.clone(), (step, trial));
            rated.push((hit_rate, method));
        }
        // A stable sort: ties are in the order in which they were drawn.
        rated.sort_by(|x, y| y.0.total_cmp(&x.0));
        let kept = if share < 1.0 { rated.len().div_ceil(KEEP_ONE_IN) } else { rated.len() };
        trials = rated.into_iter().take(kept).map(|(_hit_rate, method)| method).collect();
    }
    let best = trials.into_iter().next().context("--tune: nothing was drawn")?;
    let validation = found.get(&best.name).map_or(0.0, |(_step, trial)| trial.hit_rate);
    let mut all: Vec<(usize, Trial)> = found.into_values().collect();
    all.sort_by(|x, y| Reverse(x.0).cmp(&Reverse(y.0)).then(y.1.hit_rate.total_cmp(&x.1.hit_rate)));
    let tuned = Tuned {
        method: best.name.clone(),
        flags: flags(&best.name),
        validation,
        at: run_settings.cutoffs.smallest(),
        cases,
        trials: all.into_iter().map(|(_step, trial)| trial).collect(),
    };
    Ok((best, tuned))
}

/// The split of a part that was itself split off. A time is too late for it, so the same length is held out.
fn again(log: &Log, split: Split) -> Split {
    match split {
        Split::At(time) => {
            let last = log.entries.last().map_or(0, |entry| entry.time);
            Split::Last((last + 1).saturating_sub(time).max(1))
        }
        split => split,
    }
}

/// The names of the methods to try: the defaults, then what is drawn.
fn draws(way: Way, trials: usize, seed: u64) -> Vec<String> {
    let (name, space) = space(way);
    let mut methods = vec![name.to_owned()];
    for trial in 1..trials as u64 {
        let settings = (0u64..).zip(&space).map(|(place, (setting, values))| {
            let draw = hash_numbers(hash_numbers(seed ^ DRAWS, trial), place);
            format!(":{setting}={}", values[(draw % values.len() as u64) as usize])
        });
        methods.push(format!("{name}{}", settings.collect::<String>()));
    }
    methods
}

/// A setting and the values that are tried.
type Choice = (&'static str, &'static [&'static str]);

const ITEMS: Choice = ("answer-items", &["5", "10", "15", "32", "64"]);
const POSITION_DECAY: Choice = ("position-decay", &["0.7", "0.8", "0.9", "0.95", "1"]);
const NEIGHBOURS: Choice = ("neighbours", &["50", "100", "200", "300", "500", "1000"]);
const RECENT: Choice = ("recent", &["500", "1000", "2000", "5000"]);
const MATCH_DECAY: Choice = ("match-decay", &["0.7", "0.8", "0.9", "0.95", "1"]);
const MATCH_IDF: Choice = ("match-idf", &["0", "1", "2", "3"]);
const IDF: Choice = ("idf", &["0", "0.1", "0.3", "0.6", "1", "2"]);
const HALF_LIFE: Choice = ("own-half-life", &["none", "7d", "14d", "30d", "60d", "90d", "180d"]);

/// The name of a way, and the settings that are searched.
fn space(way: Way) -> (&'static str, Vec<Choice>) {
    match way {
        Way::Lists => {
            let measures: &[&str] = &["cosine", "jaccard", "llr", "npmi", "confidence"];
            let lists = [("measure", measures), ("top-k", &["10", "100"]), ("min-count", &["1", "2"])];
            (
                "lists",
                lists.into_iter().chain([ITEMS, POSITION_DECAY, ("combine", &["sum", "max"])]).collect(),
            )
        }
        Way::Baskets => {
            ("baskets", vec![NEIGHBOURS, RECENT, ITEMS, POSITION_DECAY, MATCH_DECAY, MATCH_IDF, IDF])
        }
        Way::Own => ("own", vec![HALF_LIFE, ("own-lines", &["200", "1000", "5000"])]),
        Way::Blend(_) => {
            let weights: [Choice; 2] =
                [("lists", &["0", "0.25", "0.5", "1"]), ("own", &["0", "0.25", "0.5", "1", "2"])];
            let of_baskets =
                [NEIGHBOURS, RECENT, ITEMS, POSITION_DECAY, MATCH_DECAY, MATCH_IDF, IDF, HALF_LIFE];
            ("blend", weights.into_iter().chain(of_baskets).collect())
        }
    }
}

/// The flags of `run` that answer as a method does.
fn flags(method: &str) -> String {
    let mut parts = method.split(':');
    let way = parts.next().unwrap_or_default();
    let (mut flags, mut weights) = (format!("--answer-by {way}"), Vec::new());
    for (setting, value) in parts.filter_map(|part| part.split_once('=')) {
        match setting {
            "lists" | "baskets" | "own" => weights.push(format!("{setting}={value}")),
            "own-half-life" if value == "none" => {}
            _ => flags.push_str(&format!(" --{setting} {value}")),
        }
    }
    if !weights.is_empty() {
        if !weights.iter().any(|weight| weight.starts_with("baskets=")) {
            weights.push("baskets=1".to_owned());
        }
        flags.push_str(&format!(" --blend {}", weights.join(",")));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::data::tests::add;
    use crate::evaluate::methods::usual_lists;
    use crate::evaluate::metrics::Cutoffs;
    use deltacart_dataflows::{AnswerParams, Blend, Event, Measure};

    fn defaults() -> Defaults {
        let (lists, answers) = (usual_lists(Measure::Cosine, 10), AnswerParams::default());
        Defaults { lists, answers, blend: Blend::default() }
    }

    /// Every name that can be drawn is a method, and draws follow from the seed.
    #[test]
    fn draws_are_methods() {
        for way in [Way::Lists, Way::Baskets, Way::Own, Way::Blend(Blend::default())] {
            let drawn = draws(way, 200, 1);
            let methods = parse(&drawn, defaults()).unwrap();
            assert!(methods.len() > 10, "{way:?}: {}", methods.len());
            assert_eq!(drawn, draws(way, 200, 1));
            assert_ne!(drawn, draws(way, 200, 2));
        }
    }

    #[test]
    fn flags_are_those_of_run() {
        let method = "baskets:neighbours=300:match-decay=1";
        assert_eq!(flags(method), "--answer-by baskets --neighbours 300 --match-decay 1");
        let blend = "blend:lists=0.5:own=2:own-half-life=none:idf=0";
        assert_eq!(flags(blend), "--answer-by blend --idf 0 --blend lists=0.5,own=2,baskets=1");
        assert_eq!(flags("own"), "--answer-by own");
    }

    /// Users come back to what they had lately, and not to what they had long ago: a short half-life is best.
    #[test]
    fn the_best_half_life_is_found() {
        let day = 86_400_000;
        let mut events: Vec<Event> = Vec::new();
        for user in 0..60u64 {
            for basket in 0..10u64 {
                let taste = if basket < 6 { "old" } else { "new" };
                let item = format!("{taste}{}", user % 7);
                let time = day * (1 + 10 * basket) + user;
                events.push(add(time, &format!("{user}-{basket}"), &format!("u{user}"), &item));
            }
        }
        let mut log = Log::of_events(&events).unwrap();
        let run_settings = RunSettings { cutoffs: Cutoffs::new(vec![1]).unwrap(), workers: 1, seed: 1 };
        let answers = AnswerParams { exclude: deltacart_dataflows::Exclude::None, ..AnswerParams::default() };
        let settings =
            TuneSettings { way: Way::Own, trials: 30, defaults: Defaults { answers, ..defaults() } };
        let sample = Sample { seed: 1, share: 1.0 };
        let protocol = Protocol::LeaveLastBasket(3);
        let (best, tuned) =
            tune(&mut log, &protocol, sample, settings, &run_settings, &mut |_, _| {}).unwrap();
        assert_eq!(tuned.validation, 1.0);
        assert!(
            best.name.contains("own-half-life=7d") || best.name.contains("own-half-life=14d"),
            "{}",
            best.name
        );
        let default = tuned.trials.iter().find(|trial| trial.method == "own").unwrap();
        assert_eq!(default.hit_rate, 0.0);
        // The validation part has each user's last but one basket.
        assert_eq!(tuned.cases, 60);
    }

    #[test]
    fn a_part_must_be_held_out() {
        let mut log = Log::of_events(&[add(1, "a", "u", "x"), add(2, "a", "u", "y")]).unwrap();
        let run_settings = RunSettings { cutoffs: Cutoffs::new(vec![1]).unwrap(), workers: 1, seed: 1 };
        let settings = TuneSettings { way: Way::Own, trials: 2, defaults: defaults() };
        let sample = Sample { seed: 1, share: 1.0 };
        let pair = Protocol::Pair("test.tsv".into());
        let error = tune(&mut log, &pair, sample, settings, &run_settings, &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("holds a part out, not pair"), "{error}");
    }
}
