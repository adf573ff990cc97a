//! Answers: how good they are at completing a cart, how long one takes, and what they add to the memory.
//!
//! What: the dataflow on one worker. It takes in the orders of a shop up to the last days. Then, for each order of the
//! last days, one of its items is hidden, chosen by a hash, and the others are asked for recommendations, one question
//! an epoch. Afterwards the order is taken in, so each question is answered from all orders before its own. `hr10` is
//! the share of orders whose hidden item is among the ten recommended. Items of the cart are excluded, and all items
//! are ranked.
//!
//! Shapes, one row a workload and way: questions, `hr10`, `mrr10`, microseconds from sending a question to its answer,
//! the step of the dataflow included, and the resident memory beside that of the same job without answers.
//!
//! ```text
//! cargo bench --bench answers -- [--workloads online-retail,journey] [--ways lists,baskets,own,blend]
//!     [--neighbours N] [--recent N] [--items N] [--position-decay X] [--match-decay X] [--match-idf X] [--idf X]
//!     [--own X] [--exclude cart] [--data DIR] [--json FILE]
//! ```

mod common;

use anyhow::{Context, Result, anyhow};
use common::arguments::Arguments;
use common::memory;
use common::orders::{self, Order};
use common::programs::{config, params};
use common::rows::{Figures, Rows, number};
use deltacart_dataflows::{
    AnswerParams, Blend, Event, Params, Question, QuestionAnswer, Requests, Way, recommend_core,
};
use serde_json::json;
use std::cell::RefCell;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use timely::CommunicationConfig;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Inspect, Probe};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    common::exit(run())
}

/// The events of an epoch while the state is made.
const EPOCH: usize = 10_000;

/// Entries of an answer.
const K: usize = 10;

/// How long a basket is open, in milliseconds.
const OPEN_FOR: NonZeroU64 = NonZeroU64::new(30 * 60_000).expect("it is not zero");

fn run() -> Result<()> {
    let mut arguments = Arguments::read();
    let workloads = arguments.list("--workloads", "online-retail,journey")?;
    let ways = arguments.list("--ways", "none,lists,baskets,own,blend")?;
    let defaults = AnswerParams::default();
    let settings = AnswerParams {
        neighbours: arguments.value("--neighbours", defaults.neighbours)?,
        recent: arguments.value("--recent", defaults.recent)?,
        items: arguments.value("--items", defaults.items)?,
        position_decay: arguments.value("--position-decay", 1.0)?,
        match_decay: arguments.value("--match-decay", 1.0)?,
        match_idf: arguments.value("--match-idf", 0.0)?,
        idf: arguments.value("--idf", 0.1)?,
        ..defaults
    };
    let own: f64 = arguments.value("--own", 0.5)?;
    let data = arguments.data()?;
    let json: Option<PathBuf> = arguments.option("--json")?;
    arguments.end()?;
    let mut rows = Rows::default();
    for workload in &workloads {
        let Some((orders, days)) = orders::read(workload, &data)? else { continue };
        let (train, test) = orders::split(orders, days);
        for way in &ways {
            let by = match way.as_str() {
                "none" => None,
                "blend" => Some(Way::Blend(Blend { lists: 0.0, baskets: 1.0, own })),
                way => Some(way.parse().map_err(|error: String| anyhow!(error))?),
            };
            let settings = by.map(|by| AnswerParams { by, ..settings });
            rows.push(format!("answers/{workload}/{way}"), measure(&train, &test, settings)?);
        }
    }
    rows.write(json.as_deref())?;
    print!("{}", rows.table());
    Ok(())
}

/// What the questions of one run showed.
#[derive(Default)]
struct Shown {
    hits: usize,
    reciprocal_ranks: f64,
    times: Vec<Duration>,
    resident: u64,
}

/// Makes the state and asks all questions; without `answers` it only makes the state.
fn measure(train: &[Order], test: &[Order], answers: Option<AnswerParams>) -> Result<Figures> {
    let params = Params { answers, open_for: answers.map(|_answers| OPEN_FOR), ..params() };
    let (train, test) = (train.to_vec(), test.to_vec());
    let threads = timely::execute(config(CommunicationConfig::Thread), move |worker| {
        let before = memory::resident();
        let (mut events, mut questions) = (InputHandle::new(), InputHandle::new());
        let answered: Rc<RefCell<Vec<QuestionAnswer>>> = Rc::default();
        let sink = Rc::clone(&answered);
        let probe = worker.dataflow(|scope| {
            let requests =
                Requests { questions: Some(scope.input_from(&mut questions)), ..Requests::default() };
            let recommendations = recommend_core(scope.input_from(&mut events), params, requests);
            let taken = recommendations
                .question_answers
                .inspect(move |answer| sink.borrow_mut().push(answer.clone()));
            let (probe, _lists) = recommendations.lists.probe();
            taken.probe_with(&probe);
            probe
        });
        let mut epoch = 0;
        let all: Vec<Event> = train.iter().flat_map(Order::events).collect();
        for chunk in all.chunks(EPOCH) {
            chunk.iter().for_each(|event| events.send(event.clone()));
            epoch += 1;
            events.advance_to(epoch);
            questions.advance_to(epoch);
            worker.step_while(|| probe.less_than(&epoch));
        }
        drop(all);
        let mut shown = Shown { resident: memory::resident().saturating_sub(before), ..Shown::default() };
        for order in test.iter().filter(|_order| answers.is_some()) {
            let (hidden, items) = order.hide();
            let start = Instant::now();
            let user = order.user.clone();
            questions.send(Question { number: epoch, items, user, basket: None, k: K, params: None });
            epoch += 1;
            events.advance_to(epoch);
            questions.advance_to(epoch);
            worker.step_while(|| probe.less_than(&epoch));
            shown.times.push(start.elapsed());
            order.events().for_each(|event| events.send(event));
            epoch += 1;
            events.advance_to(epoch);
            questions.advance_to(epoch);
            worker.step_while(|| probe.less_than(&epoch));
            let Some(QuestionAnswer { list, .. }) = answered.borrow_mut().pop() else { continue };
            if let Some(place) = list.iter().position(|entry| entry.item == hidden) {
                shown.hits += 1;
                shown.reciprocal_ranks += 1.0 / (place + 1) as f64;
            }
        }
        shown
    })
    .map_err(|error| anyhow!("cannot start a worker: {error}"))?;
    let shown = threads.join().pop().context("a worker")?;
    Ok(figures(shown.map_err(|error| anyhow!("a worker stopped: {error}"))?))
}

fn figures(mut shown: Shown) -> Figures {
    shown.times.sort_unstable();
    let asked = shown.times.len();
    let micros = |share: f64| {
        let rank = (asked as f64 * share) as usize;
        shown.times.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let share = |sum: f64| if asked == 0 { 0.0 } else { sum / asked as f64 };
    vec![
        ("questions", json!(asked)),
        ("hr10", number(share(shown.hits as f64))),
        ("mrr10", number(share(shown.reciprocal_ranks))),
        ("p50_us", number(micros(0.5))),
        ("p99_us", number(micros(0.99))),
        ("max_us", number(micros(1.0 - 1e-9))),
        ("resident_mb", number(shown.resident as f64 / 1e6)),
    ]
}
