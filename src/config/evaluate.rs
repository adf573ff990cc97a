//! From the flags of `evaluate` to its options.

use super::effects;
use super::inputs::{decode_flags, with_own};
use crate::cli::{EvaluateArgs, Place};
use crate::evaluate::methods::{Defaults, USUAL, parse};
use crate::evaluate::metrics::Cutoffs;
use crate::evaluate::protocols::{Cut, Protocol, Sample};
use crate::evaluate::run::RunSettings;
use crate::evaluate::study::Options;
use crate::evaluate::tune::TuneSettings;
use crate::files::{ExistingFile, Written, refuse_lost_files};
use crate::streams::{Input, Stream, Streams};
use anyhow::{Context, Result, anyhow, bail, ensure};
use deltacart_dataflows::{Exclude, ListParams, Scoring, Way};
use std::path::{Path, PathBuf};
use std::thread;

/// Everything that the flags of `evaluate` say.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Where events come from: files.
    pub streams: Streams,
    /// What is evaluated.
    pub options: Options,
    /// What is searched before, if anything is.
    pub tune: Option<TuneSettings>,
    /// The settings of ways that are not named.
    pub defaults: Defaults,
}

/// The evaluation that the flags describe.
///
/// # Errors
/// When flags contradict each other, a value is out of its range, or a file would be lost. The message names the flag.
pub fn evaluate(args: &EvaluateArgs) -> Result<Evaluation> {
    effects::check_evaluate(args)?;
    let streams = streams(args)?;
    let protocol = protocol(args)?;
    ensure!(args.sample > 0.0 && args.sample <= 1.0, "--sample must be above 0 and at most 1");
    ensure!((0.0..=1.0).contains(&args.alpha), "--alpha must be from 0 to 1");
    ensure!(args.damping >= 0.0 && args.damping.is_finite(), "--damping must be at least 0");
    ensure!(args.top_k.get() <= Cutoffs::MAX, "--top-k must be at most {}", Cutoffs::MAX);
    let is_last_basket = matches!(protocol, Protocol::LeaveLastBasket(_));
    let exclude = args.exclude.unwrap_or(if is_last_basket { Exclude::None } else { Exclude::Cart });
    let scoring = Scoring {
        measure: args.measure,
        alpha: args.alpha,
        damping: args.damping,
        min_count: args.min_count.get(),
        digits: SCORE_DIGITS,
    };
    let defaults = Defaults {
        lists: ListParams { k: args.top_k.get(), scoring, scores: true },
        answers: args.answers.params(Way::Baskets, exclude),
        blend: args.answers.blend,
    };
    let usual = || USUAL.map(str::to_owned).to_vec();
    let methods = parse(&if args.answer_by.is_empty() { usual() } else { args.answer_by.clone() }, defaults)?;
    let first = || methods.first().map(|method| method.name.clone()).unwrap_or_default();
    let baseline = args.baseline.clone().unwrap_or_else(first);
    ensure!(
        methods.iter().any(|method| method.name == baseline),
        "--baseline {baseline} is none of the methods: {}",
        methods.iter().map(|method| method.name.as_str()).collect::<Vec<_>>().join(", ")
    );
    check_files(args)?;
    let cores = || thread::available_parallelism().map_or(1, |cores| cores.get());
    let run = RunSettings {
        cutoffs: Cutoffs::new(args.at.clone())?,
        workers: args.workers.map_or_else(cores, |workers| workers.get()),
        seed: args.seed,
    };
    let has_split =
        matches!(protocol, Protocol::CartCompletion(_) | Protocol::NextItem(_) | Protocol::Temporal(_));
    let options = Options {
        split: has_split.then(|| args.split.clone()),
        protocol,
        sample: Sample { seed: args.seed, share: args.sample },
        methods,
        exclude,
        baseline,
        freshness: args.freshness.clone(),
        run,
        resamples: args.resamples,
    };
    let tune = args.tune.map(|way| TuneSettings { way, trials: args.trials.get(), defaults });
    Ok(Evaluation { streams, options, tune, defaults })
}

/// Digits of scores, where they are shown: in an export.
const SCORE_DIGITS: u32 = 6;

fn streams(args: &EvaluateArgs) -> Result<Streams> {
    let stream = |input: &crate::cli::InputArg| {
        let Place::File(path) = &input.place else {
            bail!("--input {input} cannot be evaluated: name files, such as an export of the topic")
        };
        let decode = with_own(decode_flags(&args.decode), input)?;
        Ok(Stream { input: Input::Files(vec![PathBuf::from(path)]), decode })
    };
    Streams::new(args.input.iter().map(stream).collect::<Result<_>>()?)
}

fn protocol(args: &EvaluateArgs) -> Result<Protocol> {
    let split = || args.split().map_err(|error| anyhow!(error));
    Ok(match args.protocol.as_str() {
        "next-item" => Protocol::NextItem(split()?),
        "temporal" => Protocol::Temporal(split()?),
        "leave-last-basket" => Protocol::LeaveLastBasket(args.min_baskets.get()),
        "leave-last-out" => Protocol::LeaveLastOut,
        "prequential" => Protocol::Prequential(Cut::Events(args.epoch_events)),
        "pair" => {
            Protocol::Pair(args.test.clone().context("--protocol pair needs --test, the file of cases")?)
        }
        _ => Protocol::CartCompletion(split()?),
    })
}

/// Refuses to read what is written, and to lose a file.
fn check_files(args: &EvaluateArgs) -> Result<()> {
    let existing = if args.overwrite { ExistingFile::Replace } else { ExistingFile::Refuse };
    let written: Vec<Written> =
        args.outputs().map(|(flag, path)| Written { flag, path: path.to_owned(), existing }).collect();
    let inputs = args.input.iter().filter_map(|input| match &input.place {
        Place::File(path) => Some(("--input", Path::new(path))),
        Place::Topic(_) => None,
    });
    let test = args.test.as_deref().map(|path| ("--test", path));
    let read: Vec<(&'static str, &Path)> = inputs.chain(test).collect();
    refuse_lost_files(&read, &written)
}
