//! Methods: ways of answering with their settings, as they are typed and as they are asked.
//!
//! A method is `NAME:SETTING=VALUE:SETTING=VALUE`, where several values with commas between them make a grid:
//! `baskets:neighbours=100,300:idf=0,0.3` is four methods. Names of settings are those of the flags.

use anyhow::{Context, Result, bail, ensure};
use deltacart_dataflows::{AnswerParams, Blend, Exclude, ListParams, Measure, Scoring, Way};
use std::fmt::Display;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A method with the name that reports give it: what was typed, with one value of each grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// The name.
    pub name: String,
    /// How it answers.
    pub by: By,
}

/// How a method answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    /// As the job does.
    Job {
        /// The lists that the job keeps. Of no meaning for ways without lists.
        lists: ListParams,
        /// How carts are answered.
        answers: AnswerParams,
    },
    /// By a simple rule, to compare with.
    Yardstick(Yardstick),
}

/// A simple rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yardstick {
    /// The order of items.
    pub rule: Rule,
    /// What is kept out.
    pub exclude: Exclude,
}

/// What a simple rule goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The number of baskets that hold an item.
    Popularity,
    /// When an item came into a basket last.
    Recency,
    /// How many baskets of the user had an item.
    Frequency {
        /// Whether popularity decides between equal frequencies, or the id alone.
        ties_by_popularity: bool,
        /// Whether popular items follow when the user had too few.
        fills: bool,
        /// Time after which a basket counts half. None: all count alike.
        half_life: Option<NonZeroU64>,
    },
    /// A hash.
    Random,
}

/// The settings of methods that do not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// The lists of the job.
    pub lists: ListParams,
    /// The answers of the job.
    pub answers: AnswerParams,
    /// The weights of a blend.
    pub blend: Blend,
}

/// What is compared when no method is named: all measures, all ways, and all simple rules.
pub const USUAL: [&str; 8] = [
    "popularity",
    "random",
    "recency",
    "frequency",
    "lists:measure=cosine,jaccard,dice,llr,lift,npmi,confidence,count",
    "baskets",
    "own",
    "blend",
];

/// The most methods of one evaluation.
const METHODS_MAX: usize = 256;

/// The methods that are named, without repetitions.
///
/// # Errors
/// If a name, a setting or a value is unknown, or there are more than [`METHODS_MAX`] methods.
pub fn parse(specs: &[String], defaults: Defaults) -> Result<Vec<Method>> {
    let mut methods: Vec<Method> = Vec::new();
    for spec in specs {
        for name in expand(spec)? {
            let by = defaults.by(&name).with_context(|| format!("--answer-by {spec}"))?;
            if !methods.iter().any(|known| known.name == name) {
                methods.push(Method { name, by });
            }
        }
    }
    Ok(methods)
}

/// Each combination of the values of a method: `a:x=1,2` is `a:x=1` and `a:x=2`.
fn expand(spec: &str) -> Result<Vec<String>> {
    let mut parts = spec.split(':');
    let mut names = vec![parts.next().unwrap_or_default().to_owned()];
    for part in parts {
        let (setting, values) = part.split_once('=').with_context(|| {
            format!("--answer-by {spec}: {part:?} is no setting: want NAME=VALUE, such as neighbours=300")
        })?;
        let with = |name: &String| -> Vec<String> {
            values.split(',').map(|value| format!("{name}:{setting}={value}")).collect()
        };
        names = names.iter().flat_map(with).collect();
        ensure!(names.len() <= METHODS_MAX, "--answer-by {spec} is more than {METHODS_MAX} methods");
    }
    Ok(names)
}

impl Defaults {
    /// The method of a name without grids.
    fn by(mut self, name: &str) -> Result<By> {
        let mut parts = name.split(':');
        let kind = parts.next().unwrap_or_default();
        let settings = parts.filter_map(|part| part.split_once('='));
        if let Some(rule) = Rule::named(kind) {
            let mut yardstick = Yardstick { rule, exclude: self.answers.exclude };
            for (setting, value) in settings {
                yardstick.set(setting, value).with_context(|| format!("{setting}={value}"))?;
            }
            return Ok(By::Yardstick(yardstick));
        }
        self.answers.by = match kind.parse::<Way>() {
            Ok(Way::Blend(_)) => Way::Blend(self.blend),
            Ok(way) => way,
            Err(_) => bail!(
                "unknown method {kind:?}; known are lists, baskets, own, blend, popularity, recency, frequency, random"
            ),
        };
        for (setting, value) in settings {
            self.set(setting, value).with_context(|| format!("{setting}={value}"))?;
        }
        if let Way::Blend(Blend { lists, baskets, own }) = self.answers.by {
            ensure!(lists + baskets + own > 0.0, "one way at least needs a weight above 0");
        }
        Ok(By::Job { lists: self.lists, answers: self.answers })
    }

    fn set(&mut self, setting: &str, value: &str) -> Result<()> {
        let (uses_lists, uses_baskets, uses_own) = match self.answers.by {
            Way::Lists => (true, false, false),
            Way::Baskets => (false, true, false),
            Way::Own => (false, false, true),
            Way::Blend(_) => (true, true, true),
        };
        let is_blend = matches!(self.answers.by, Way::Blend(_));
        match setting {
            "measure" if uses_lists => self.lists.scoring.measure = parsed(value)?,
            "top-k" if uses_lists => self.lists.k = at_least_1(value)?,
            "alpha" if uses_lists => self.lists.scoring.alpha = ranged(value, 0.0, 1.0)?,
            "damping" if uses_lists => self.lists.scoring.damping = ranged(value, 0.0, f64::MAX)?,
            "min-count" if uses_lists => self.lists.scoring.min_count = at_least_1(value)? as u32,
            "combine" if uses_lists => self.answers.combine = parsed(value)?,
            "answer-items" if uses_lists || uses_baskets => {
                self.answers.items = at_least_1(value)?;
                ensure!(self.answers.items <= AnswerParams::ITEMS_MAX, "at most {}", AnswerParams::ITEMS_MAX);
            }
            "position-decay" if uses_lists || uses_baskets => self.answers.position_decay = share(value)?,
            "recent" if uses_baskets => self.answers.recent = at_least_1(value)?,
            "neighbours" if uses_baskets => self.answers.neighbours = at_least_1(value)?,
            "match-decay" if uses_baskets => self.answers.match_decay = share(value)?,
            "match-idf" if uses_baskets => {
                self.answers.match_idf = ranged(value, 0.0, AnswerParams::MATCH_IDF_MAX)?;
            }
            "idf" if uses_baskets => self.answers.idf = ranged(value, 0.0, f64::MAX)?,
            "own-lines" if uses_own => self.answers.own_lines = at_least_1(value)?,
            "own-half-life" if uses_own => self.answers.own_half_life = half_life(value)?,
            "exclude" => self.answers.exclude = parsed(value)?,
            "lists" | "baskets" | "own" if is_blend => {
                let Way::Blend(mut blend) = self.answers.by else { return Ok(()) };
                let weight = match setting {
                    "lists" => &mut blend.lists,
                    "baskets" => &mut blend.baskets,
                    _ => &mut blend.own,
                };
                *weight = ranged(value, 0.0, f64::MAX)?;
                self.answers.by = Way::Blend(blend);
            }
            _ => bail!("this method has no such setting"),
        }
        Ok(())
    }
}

impl Rule {
    fn named(name: &str) -> Option<Rule> {
        match name {
            "popularity" => Some(Rule::Popularity),
            "recency" => Some(Rule::Recency),
            "frequency" => Some(Rule::Frequency { ties_by_popularity: true, fills: true, half_life: None }),
            "random" => Some(Rule::Random),
            _ => None,
        }
    }
}

impl Yardstick {
    fn set(&mut self, setting: &str, value: &str) -> Result<()> {
        match (setting, &mut self.rule) {
            ("exclude", _) => self.exclude = parsed(value)?,
            ("ties", Rule::Frequency { ties_by_popularity, .. }) => {
                *ties_by_popularity = one_of(value, "popularity", "id")?;
            }
            ("fill", Rule::Frequency { fills, .. }) => *fills = one_of(value, "on", "off")?,
            ("half-life", Rule::Frequency { half_life: old, .. }) => *old = half_life(value)?,
            _ => bail!("this method has no such setting"),
        }
        Ok(())
    }
}

fn parsed<T: FromStr<Err: Display>>(value: &str) -> Result<T> {
    value.parse().map_err(|error: T::Err| anyhow::anyhow!("{error}"))
}

fn at_least_1(value: &str) -> Result<usize> {
    let number: u32 = parsed(value)?;
    ensure!(number > 0, "it must be at least 1");
    Ok(number as usize)
}

fn ranged(value: &str, low: f64, high: f64) -> Result<f64> {
    let number: f64 = parsed(value)?;
    ensure!((low..=high).contains(&number), "it must be from {low} to {high}");
    Ok(number)
}

fn share(value: &str) -> Result<f64> {
    let share = ranged(value, 0.0, 1.0)?;
    ensure!(share > 0.0, "it must be above 0");
    Ok(share)
}

fn one_of(value: &str, yes: &str, no: &str) -> Result<bool> {
    match value {
        _ if value == yes => Ok(true),
        _ if value == no => Ok(false),
        _ => bail!("want {yes} or {no}"),
    }
}

/// Milliseconds of `none`, `12h`, `90d` or `4w`.
fn half_life(value: &str) -> Result<Option<NonZeroU64>> {
    if value == "none" {
        return Ok(None);
    }
    let units = [("h", 3_600_000), ("d", 86_400_000), ("w", 7 * 86_400_000)];
    let millis = units
        .into_iter()
        .find_map(|(unit, millis)| value.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(millis));
    let millis = millis.and_then(NonZeroU64::new);
    Ok(Some(millis.context("want none, or a time such as 12h, 90d or 4w")?))
}

/// The name of an exclusion as the value of a flag.
pub fn exclude_name(exclude: Exclude) -> &'static str {
    match exclude {
        Exclude::Cart => "cart",
        Exclude::Last => "last",
        Exclude::None => "none",
    }
}

/// The lists by a measure, `k` entries each, as a job without other flags keeps them.
pub fn usual_lists(measure: Measure, k: usize) -> ListParams {
    ListParams { k, scoring: Scoring::new(measure), scores: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults {
            lists: usual_lists(Measure::Cosine, 10),
            answers: AnswerParams::default(),
            blend: Blend::default(),
        }
    }

    fn methods(specs: &[&str]) -> Result<Vec<Method>> {
        parse(&specs.iter().map(|&spec| spec.to_owned()).collect::<Vec<_>>(), defaults())
    }

    #[test]
    fn usual_methods_are_all_measures_ways_and_rules() {
        let methods = methods(&USUAL).unwrap();
        assert_eq!(methods.len(), 4 + Measure::ALL.len() + 3);
        assert_eq!(methods[4].name, "lists:measure=cosine");
    }

    #[test]
    fn grids_are_multiplied() {
        let methods =
            methods(&["baskets:neighbours=100,300:idf=0,0.3", "baskets:neighbours=100:idf=0"]).unwrap();
        let names: Vec<_> = methods.iter().map(|method| method.name.as_str()).collect();
        let expected = [
            "baskets:neighbours=100:idf=0",
            "baskets:neighbours=100:idf=0.3",
            "baskets:neighbours=300:idf=0",
            "baskets:neighbours=300:idf=0.3",
        ];
        assert_eq!(names, expected);
        let By::Job { answers, .. } = methods[3].by else { panic!("it is a way of the job") };
        assert_eq!((answers.by, answers.neighbours, answers.idf), (Way::Baskets, 300, 0.3));
    }

    #[test]
    fn settings_of_every_kind() {
        let method = |spec: &str| methods(&[spec]).unwrap().remove(0).by;
        let By::Job { lists, .. } = method("lists:measure=llr:top-k=50:combine=max:min-count=2") else {
            panic!()
        };
        assert_eq!((lists.scoring.measure, lists.k, lists.scoring.min_count), (Measure::Llr, 50, 2));
        let By::Job { answers, .. } = method("blend:lists=0.5:baskets=2:own=0:own-half-life=2w") else {
            panic!()
        };
        assert_eq!(answers.by, Way::Blend(Blend { lists: 0.5, baskets: 2.0, own: 0.0 }));
        assert_eq!(answers.own_half_life, NonZeroU64::new(14 * 86_400_000));
        let rule = Rule::Frequency { ties_by_popularity: false, fills: false, half_life: None };
        let expected = By::Yardstick(Yardstick { rule, exclude: Exclude::None });
        assert_eq!(method("frequency:ties=id:fill=off:half-life=none:exclude=none"), expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (spec, says) in [
            ("basket", "unknown method \"basket\""),
            ("baskets:neighbours", "is no setting"),
            ("baskets:neighbours=0", "at least 1"),
            ("baskets:measure=llr", "no such setting"),
            ("own:idf=1", "no such setting"),
            ("popularity:ties=id", "no such setting"),
            ("lists:measure=cosin", "unknown measure"),
            ("lists:answer-items=65", "at most 64"),
            ("blend:lists=0:baskets=0:own=0", "a weight above 0"),
            ("frequency:half-life=3", "such as 12h"),
            ("baskets:position-decay=0", "above 0"),
        ] {
            let error = format!("{:#}", methods(&[spec]).unwrap_err());
            assert!(error.contains(says), "{spec}: {error}");
        }
        let grid: Vec<String> = (1..=300).map(|n| n.to_string()).collect();
        let error = methods(&[&format!("baskets:neighbours={}", grid.join(","))]).unwrap_err();
        assert!(error.to_string().contains("more than 256 methods"), "{error}");
    }
}
