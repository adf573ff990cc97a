//! A fixed pair of files: the log is learned, and each line of the other file is a case.
//!
//! A line is `given TAB truth`, or `given TAB truth TAB user`. Items stand between blanks, the given ones in the order
//! in which they came: `tea milk TAB mug`. Lines may end with CR LF; a line that begins with `#` is passed over.

use super::settings::Sample;
use crate::evaluate::cases::{Asker, Plan, Round};
use crate::evaluate::data::{Id, Log};
use crate::evaluate::hash::is_sampled;
use anyhow::{Context, Result};
use deltacart_dataflows::Name;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Why a line is not asked.
const NOT_A_CASE: &str = "lines that are not items, a tab and items";

/// A line of a test file: what is given, what is to be found, and the user.
type TestLine<'a> = (Vec<&'a str>, Vec<&'a str>, Option<&'a str>);

/// Reads one line of a test file. None if it is no case.
///
/// ```
/// use deltacart::evaluate::protocols::read_test;
/// let case = read_test("tea milk\tmug\tann");
/// assert_eq!(case, Some((vec!["tea", "milk"], vec!["mug"], Some("ann"))));
/// assert_eq!(read_test("tea milk"), None);
/// ```
pub fn read_test(line: &str) -> Option<TestLine<'_>> {
    let mut columns = line.split('\t');
    let (given, truth) = (words(columns.next()?), words(columns.next()?));
    let user = columns.next().map(str::trim).filter(|user| !user.is_empty());
    (columns.next().is_none() && !given.is_empty() && !truth.is_empty()).then_some((given, truth, user))
}

fn words(text: &str) -> Vec<&str> {
    text.split([' ', '\r']).filter(|word| !word.is_empty()).collect()
}

/// Learns the log, and asks each line of the file.
pub(super) fn pair(log: &mut Log, path: &Path, sample: Sample) -> Result<Plan> {
    let cannot = || format!("cannot read --test {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut plan = Plan { unit: "line", ..Plan::default() };
    plan.order = (0..log.entries.len() as u32).collect();
    let time = log.entries.last().map_or(0, |entry| entry.time);
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(cannot)?;
        if line.starts_with('#') || !is_sampled(sample.seed, &number.to_string(), sample.share) {
            continue;
        }
        let Some((given, truth, user)) = read_test(&line) else {
            plan.skip(NOT_A_CASE);
            continue;
        };
        let mut ids = |items: Vec<&str>| -> Vec<Id> {
            items.into_iter().map(|item| log.items.number(&Name::from(item))).collect()
        };
        let (given, truth) = (ids(given), ids(truth));
        let user = user.map(|user| log.users.number(&Name::from(user)));
        let asker = Asker { unit: plan.cases.new_unit(), user, basket: None, time };
        let length = given.len() as u32;
        let sequence = plan.cases.new_sequence(given);
        plan.cases.push(asker, sequence, length, None, &truth);
    }
    plan.rounds = vec![Round { learn: 0..plan.order.len(), ask: 0..plan.cases.len() }];
    Ok(plan)
}
