//! Measurements in child processes: the program starts itself with a case, and reads the result.

use super::arguments::Arguments;
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::process::{Child, Command, Stdio};

/// The case to measure, if this process is a child.
pub(crate) fn case<C: DeserializeOwned>(arguments: &mut Arguments) -> Result<Option<C>> {
    let text: Option<String> = arguments.option("--case")?;
    text.map(|text| serde_json::from_str(&text).context("the case cannot be read")).transpose()
}

/// Writes the result of a child, as its last line.
pub(crate) fn report<O: Serialize>(outcome: &O) -> Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(())
}

/// Measures a case in a child process.
pub(crate) fn measure<C: Serialize, O: DeserializeOwned>(case: &C) -> Result<O> {
    outcome(start(case)?)
}

/// Starts a child process.
pub(crate) fn start<C: Serialize>(case: &C) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--case", &serde_json::to_string(case)?]).stdout(Stdio::piped());
    command.spawn().context("cannot start a process to measure in")
}

/// Waits for a child process, and reads its result.
pub(crate) fn outcome<O: DeserializeOwned>(child: Child) -> Result<O> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "a measurement failed: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().next_back().context("a measurement said nothing")?;
    serde_json::from_str(last).with_context(|| format!("a measurement said {last:?}"))
}

/// Measures each case `runs` times, in turn: all once, then all again. Returns the outcomes by case.
pub(crate) fn measure_in_turn<C: Serialize, O: DeserializeOwned>(
    cases: &[C],
    runs: usize,
) -> Result<Vec<Vec<O>>> {
    let mut outcomes: Vec<Vec<O>> = cases.iter().map(|_case| Vec::new()).collect();
    for run in 1..=runs {
        for (case, outcomes) in cases.iter().zip(&mut outcomes) {
            eprintln!("run {run} of {runs}: {}", serde_json::to_string(case)?);
            outcomes.push(measure(case)?);
        }
    }
    Ok(outcomes)
}

/// The outcome whose `key` is the median. Of an even number of outcomes, it is the upper of the two in the middle.
pub(crate) fn median<O>(mut outcomes: Vec<O>, key: impl Fn(&O) -> f64) -> O {
    outcomes.sort_by(|x, y| key(x).total_cmp(&key(y)));
    outcomes.swap_remove(outcomes.len() / 2)
}
