//! The dataflow of the job, asked from outside: events to learn and questions go in, answers come out.
//!
//! ```text
//!            a round: events, questions             ┌──────────┐
//! Engine ───────────────────────────────▶ workers ─▶│ dataflow │
//!    ▲    each round is an epoch                    └────┬─────┘
//!    └──────────── answers of the oldest round ──────────┘
//! ```
//!
//! A question of a round is answered from the state after the events of that round. Rounds may be sent before the
//! answers of earlier ones have been received.

use anyhow::{Result, anyhow, ensure};
use deltacart_dataflows::{
    AnswerParams, Blend, EpochSession, Event, Evidence, ListParams, Params, PerEpoch, Question,
    QuestionAnswer, Requests, Way, recommend_core,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;
use timely::communication::WorkerGuards;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::{Input, Probe};
use timely::worker::Worker;

/// What a worker does next.
struct Order {
    events: Vec<Event>,
    questions: Vec<Question>,
}

/// The answers of one worker to one round.
type Reply = (u64, Vec<QuestionAnswer>);

/// The dataflow on its threads.
pub(super) struct Engine {
    orders: Vec<Sender<Order>>,
    threads: Vec<Thread>,
    replies: Receiver<Reply>,
    /// Answers of rounds that not all workers have answered.
    partial: BTreeMap<u64, (usize, Vec<QuestionAnswer>)>,
    sent: u64,
    received: u64,
    guards: WorkerGuards<()>,
}

/// The longest sleep of a worker that has nothing to do. A round wakes it.
const PARK_MAX: Duration = Duration::from_millis(20);

/// What one worker of a new engine gets.
struct Seat {
    orders: Receiver<Order>,
    replies: Sender<Reply>,
    threads: Sender<(usize, Thread)>,
}

impl Engine {
    /// Starts the dataflow on `workers` threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(params: Params, workers: usize) -> Result<Engine> {
        let (replies, all_replies) = channel();
        let (threads, all_threads) = channel();
        let (orders, seats): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_worker| {
                let (sender, orders) = channel();
                (sender, Some(Seat { orders, replies: replies.clone(), threads: threads.clone() }))
            })
            .unzip();
        drop((replies, threads));
        let seats = Arc::new(Mutex::new(seats));
        let config = timely::Config {
            communication: timely::CommunicationConfig::Process(workers),
            worker: timely::WorkerConfig::default(),
        };
        let guards = timely::execute(config, move |worker| {
            let seat = seats.lock().ok().and_then(|mut seats| seats.get_mut(worker.index())?.take());
            if let Some(seat) = seat {
                serve(worker, params, seat);
            }
        })
        .map_err(|error| anyhow!("cannot start the workers: {error}"))?;
        let mut threads: Vec<(usize, Thread)> = all_threads.iter().take(workers).collect();
        threads.sort_by_key(|(index, _thread)| *index);
        let threads = threads.into_iter().map(|(_index, thread)| thread).collect();
        let (sent, received, partial) = Default::default();
        Ok(Engine { orders, threads, replies: all_replies, partial, sent, received, guards })
    }

    /// Sends a round. Numbers of its questions must differ.
    ///
    /// # Errors
    /// If a worker is gone.
    pub(super) fn send(&mut self, events: Vec<Event>, questions: Vec<Question>) -> Result<()> {
        let workers = self.orders.len();
        let mut shares: Vec<Order> =
            (0..workers).map(|_worker| Order { events: Vec::new(), questions: Vec::new() }).collect();
        for (index, event) in events.into_iter().enumerate() {
            shares[index % workers].events.push(event);
        }
        for (index, question) in questions.into_iter().enumerate() {
            shares[index % workers].questions.push(question);
        }
        for (orders, share) in self.orders.iter().zip(shares) {
            orders.send(share).map_err(|_gone| anyhow!("a worker has stopped"))?;
        }
        self.threads.iter().for_each(Thread::unpark);
        self.sent += 1;
        Ok(())
    }

    /// Waits for the answers of the oldest round that was sent and not received.
    ///
    /// # Errors
    /// If there is none, or a worker is gone.
    pub(super) fn receive(&mut self) -> Result<Vec<QuestionAnswer>> {
        ensure!(self.received < self.sent, "no round is under way");
        let round = self.received;
        loop {
            if let Some((workers, answers)) = self.partial.get_mut(&round)
                && *workers == self.orders.len()
            {
                let answers = std::mem::take(answers);
                self.partial.remove(&round);
                self.received += 1;
                return Ok(answers);
            }
            let (of, mut answers) = self.replies.recv().map_err(|_gone| anyhow!("a worker has stopped"))?;
            let (workers, all) = self.partial.entry(of).or_default();
            *workers += 1;
            all.append(&mut answers);
        }
    }

    /// Rounds that were sent and not received.
    pub(super) fn under_way(&self) -> u64 {
        self.sent - self.received
    }

    /// Ends the workers.
    ///
    /// # Errors
    /// If one of them failed.
    pub(super) fn stop(self) -> Result<()> {
        drop(self.orders);
        self.threads.iter().for_each(Thread::unpark);
        for result in self.guards.join() {
            result.map_err(|error| anyhow!("a worker failed: {error}"))?;
        }
        Ok(())
    }
}

/// The output of an operator that emits nothing.
type Nothing<'a, 'b> = EpochSession<'a, 'b, ()>;

/// The life of one worker.
fn serve(worker: &mut Worker, params: Params, seat: Seat) {
    let Seat { orders, replies, threads } = seat;
    // Whoever does not listen any more has failed already.
    let _ = threads.send((worker.index(), std::thread::current()));
    drop(threads);
    let (mut events, mut questions) = (InputHandle::new(), InputHandle::new());
    let answers: Rc<RefCell<BTreeMap<u64, Vec<QuestionAnswer>>>> = Rc::default();
    let collected = Rc::clone(&answers);
    let probe = worker.dataflow(|scope| {
        let requests = Requests { questions: Some(scope.input_from(&mut questions)), ..Requests::default() };
        let recommendations = recommend_core(scope.input_from(&mut events), params, requests);
        let answers = recommendations.question_answers;
        let done = answers.per_epoch(
            Pipeline,
            "CollectAnswers",
            move |epoch, answers, _session: &mut Nothing<'_, '_>| {
                collected.borrow_mut().insert(epoch, std::mem::take(answers));
            },
        );
        done.probe().0
    });
    let (mut round, mut open) = (0, VecDeque::new());
    loop {
        match orders.try_recv() {
            Ok(order) => {
                order.events.into_iter().for_each(|event| events.send(event));
                order.questions.into_iter().for_each(|question| questions.send(question));
                open.push_back(round);
                round += 1;
                events.advance_to(round);
                questions.advance_to(round);
                worker.step();
            }
            Err(TryRecvError::Empty) => drop(worker.step_or_park(Some(PARK_MAX))),
            Err(TryRecvError::Disconnected) => break,
        }
        while let Some(&oldest) = open.front()
            && !probe.less_equal(&oldest)
        {
            open.pop_front();
            let answers = answers.borrow_mut().remove(&oldest).unwrap_or_default();
            let _ = replies.send((oldest, answers));
        }
    }
    drop((events, questions));
    while worker.has_dataflows() {
        worker.step_or_park(Some(PARK_MAX));
    }
}

/// The settings of a dataflow that keeps these lists, and what all of these answers need.
pub(super) fn engine_params(lists: ListParams, answers: &[AnswerParams]) -> Params {
    let weights = |way: Way| match way {
        Way::Lists => [1.0, 0.0, 0.0],
        Way::Baskets => [0.0, 1.0, 0.0],
        Way::Own => [0.0, 0.0, 1.0],
        Way::Blend(Blend { lists, baskets, own }) => [lists, baskets, own],
    };
    let [lists_weight, baskets, own] = answers
        .iter()
        .map(|params| weights(params.by))
        .fold([0.0; 3], |sum, more| std::array::from_fn(|way| f64::max(sum[way], more[way])));
    let recent = answers.iter().map(|params| params.recent).max().unwrap_or(1);
    let by = Way::Blend(Blend { lists: lists_weight, baskets, own });
    let answers = AnswerParams { by, recent, carts: 0, users: 0, ..AnswerParams::default() };
    Params {
        algorithm: deltacart_dataflows::Algorithm::Fast,
        lists,
        basket_items_max: BASKET_ITEMS_MAX,
        basket_idle: None,
        item_baskets_max: None,
        evidence: Evidence::default(),
        open_for: Some(OPEN_FOR),
        answers: Some(answers),
    }
}

/// How long a basket counts as open. Questions are asked of all baskets alike, so it is longer than any input.
const OPEN_FOR: NonZeroU64 = NonZeroU64::new(1 << 45).expect("it is not zero");

/// The most lines of a basket: the default of `run --max-basket-items`.
pub(super) const BASKET_ITEMS_MAX: usize = 10_000;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::evaluate::data::tests::add;
    use crate::evaluate::methods::usual_lists;
    use deltacart_dataflows::{Measure, Position};

    /// The settings of a job without answers by anything but lists.
    pub(in crate::evaluate) fn params() -> Params {
        let by_lists = AnswerParams { by: Way::Lists, ..AnswerParams::default() };
        engine_params(usual_lists(Measure::Count, 10), &[by_lists])
    }

    fn question(number: u64, item: &str) -> Question {
        let params = AnswerParams { by: Way::Lists, ..AnswerParams::default() };
        Question { number, items: vec![item.into()], user: None, basket: None, k: 3, params: Some(params) }
    }

    /// A question is answered from the events of its own round and of those before, and of no later one.
    #[test]
    fn questions_see_the_rounds_before() {
        for workers in [1, 2, 3] {
            let mut engine = Engine::start(params(), workers).unwrap();
            let events = |basket: &str, items: [&str; 2], offset| {
                (offset..)
                    .zip(items)
                    .map(|(offset, item)| Event {
                        position: Position { offset, ..Position::default() },
                        ..add(1, basket, "", item)
                    })
                    .collect::<Vec<_>>()
            };
            engine.send(events("a", ["tea", "milk"], 0), vec![question(7, "tea")]).unwrap();
            engine.send(Vec::new(), vec![question(1, "tea"), question(2, "mug")]).unwrap();
            engine
                .send(events("b", ["tea", "mug"], 2), vec![question(1, "tea"), question(2, "mug")])
                .unwrap();
            assert_eq!(engine.under_way(), 3);
            let mut rounds = Vec::new();
            for _round in 0..3 {
                let mut answers = engine.receive().unwrap();
                answers.sort();
                let names = answers.into_iter().map(|answer| {
                    let items =
                        answer.list.into_iter().map(|entry| entry.item.to_string()).collect::<Vec<_>>();
                    (answer.number, items.join(" "))
                });
                rounds.push(names.collect::<Vec<_>>());
            }
            let answer = |number, items: &str| (number, items.to_owned());
            assert_eq!(rounds[0], [answer(7, "milk")], "{workers} workers");
            assert_eq!(rounds[1], [answer(1, "milk"), answer(2, "")], "{workers} workers");
            assert_eq!(rounds[2], [answer(1, "milk mug"), answer(2, "tea")], "{workers} workers");
            assert!(engine.receive().is_err());
            engine.stop().unwrap();
        }
    }
}
