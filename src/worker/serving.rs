//! A worker's part of `--serve`: it takes questions into its epochs, and keeps the tables of delivered lists.
//!
//! ```text
//! queue ──▶ questions ──▶ dataflow ──▶ answers, at the close of the epoch ──▶ handlers
//!                                 └──▶ changed lists ──▶ kept until delivered ──▶ tables
//! ```
//!
//! Each process of a cluster has all lists: a changed list goes to one worker of each process.

use crate::job::Job;
use crate::output::{Published, RowKind};
use crate::publish::{ListChanges, Update};
use crate::serve::{Asked, ScoreDigits, Serving, Tables, published};
use deltacart_dataflows::{
    Epoch, EpochSession, NamedLists, PerEpoch, Question, QuestionAnswer, Recommendations, route,
};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Input;
use timely::dataflow::operators::core::Concat;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::{InputHandle, Scope, StreamVec};
use tokio::sync::oneshot;

type QuestionInput = InputHandle<Epoch, CapacityContainerBuilder<Vec<Question>>>;

/// The changes of lists that wait for the delivery of their epoch.
type Waiting = Rc<RefCell<BTreeMap<Epoch, Vec<(RowKind, Vec<Update>)>>>>;

/// The handlers that wait for an answer, by the number of the question.
type Askers = Rc<RefCell<HashMap<u64, oneshot::Sender<Published>>>>;

/// The output of an operator that emits nothing.
type Nothing<'a, 'b> = EpochSession<'a, 'b, ()>;

/// The most questions of one worker in one epoch. The others wait in their queue.
const EPOCH_QUESTIONS_MAX: usize = 1024;

/// A worker's part of serving.
pub(super) struct ServingWorker {
    tables: Tables,
    digits: ScoreDigits,
    /// The processes, and the workers of each.
    processes: usize,
    threads: usize,
    /// The index of the worker in its process.
    index: usize,
    /// The questions of the handlers. `None` once none are taken any more.
    queue: Option<Receiver<Asked>>,
    input: Option<QuestionInput>,
    /// The number of the next question.
    number: u64,
    /// Questions taken into the current epoch.
    epoch_questions: usize,
    askers: Askers,
    waiting: Waiting,
    /// Added to an epoch to give the published one.
    base: Rc<Cell<Epoch>>,
    /// The oldest epoch that is not delivered, as it was seen last.
    undelivered: Option<Option<Epoch>>,
    changes: ListChanges,
}

impl ServingWorker {
    /// The part of worker `worker` of the cluster. `None` if the job does not serve.
    pub(super) fn new(job: &Job, worker: usize) -> Option<ServingWorker> {
        let Serving { tables, questions } = job.serving.clone()?;
        let (processes, threads) = (job.cluster.processes(), job.cluster.threads);
        let index = worker % threads;
        let lists = job.params.lists;
        Some(ServingWorker {
            tables,
            digits: lists.scores.then_some(lists.scoring.digits),
            processes,
            threads,
            index,
            queue: questions.take(index),
            input: None,
            number: 0,
            epoch_questions: 0,
            askers: Askers::default(),
            waiting: Waiting::default(),
            base: Rc::default(),
            undelivered: None,
            changes: ListChanges::default(),
        })
    }

    /// The questions of this worker, as an input of the dataflow.
    pub(super) fn questions<'scope>(
        &mut self,
        scope: Scope<'scope, Epoch>,
    ) -> StreamVec<'scope, Epoch, Question> {
        let mut input = QuestionInput::new();
        let questions = scope.input_from(&mut input);
        self.input = Some(input);
        questions
    }

    /// Follows the answers of questions and the changes of lists. The result has no records.
    pub(super) fn follow<'scope>(
        &self,
        recommendations: &Recommendations<'scope>,
    ) -> StreamVec<'scope, Epoch, ()> {
        let Recommendations { lists, carts, users, question_answers, .. } = recommendations;
        let all = [(RowKind::Item, lists), (RowKind::Cart, carts), (RowKind::User, users)];
        let served = all.into_iter().filter(|(rows, _lists)| self.tables.of(*rows).is_some());
        let kept = served.map(|(rows, lists)| self.keep(rows, lists.clone()));
        kept.fold(self.answer(question_answers.clone()), Concat::concat)
    }

    /// Gives answers to those who wait for them.
    fn answer<'scope>(
        &self,
        answers: StreamVec<'scope, Epoch, QuestionAnswer>,
    ) -> StreamVec<'scope, Epoch, ()> {
        let (askers, base, digits) = (Rc::clone(&self.askers), Rc::clone(&self.base), self.digits);
        answers.per_epoch(Pipeline, "Answer", move |epoch, answers, _: &mut Nothing<'_, '_>| {
            let mut askers = askers.borrow_mut();
            for QuestionAnswer { number, list } in answers.drain(..) {
                if let Some(asker) = askers.remove(&number) {
                    // A handler that has given up waiting wants no answer.
                    let _ = asker.send(published(list, base.get() + epoch, digits));
                }
            }
        })
    }

    /// Keeps the changes of lists until their epoch is delivered.
    fn keep<'scope>(&self, rows: RowKind, lists: NamedLists<'scope>) -> StreamVec<'scope, Epoch, ()> {
        let waiting = Rc::clone(&self.waiting);
        let keep = move |epoch: Epoch, updates: Vec<Update>| {
            waiting.borrow_mut().entry(epoch).or_default().push((rows, updates));
        };
        let (processes, threads) = (self.processes as u64, self.threads as u64);
        if processes == 1 {
            let own: fn(&Update) -> Epoch = |(_list, epoch, _diff)| *epoch;
            let lists = lists.inner;
            return lists.per_epoch_of(
                Some(own),
                Pipeline,
                "Keep",
                move |epoch, updates, _: &mut Nothing<'_, '_>| {
                    keep(epoch, std::mem::take(updates));
                },
            );
        }
        let to_each_process = lists.inner.flat_map(move |update| {
            let place = route(&update.0.0) % threads;
            (0..processes).map(move |process| (process * threads + place, update.clone()))
        });
        let own: fn(&(u64, Update)) -> Epoch = |(_worker, (_list, epoch, _diff))| *epoch;
        let to = Exchange::new(|(worker, _update): &(u64, Update)| *worker);
        to_each_process.per_epoch_of(Some(own), to, "Keep", move |epoch, updates, _: &mut Nothing<'_, '_>| {
            keep(epoch, updates.drain(..).map(|(_worker, update)| update).collect());
        })
    }

    /// Takes questions into the current epoch. Returns whether there were any.
    pub(super) fn take(&mut self) -> bool {
        let (Some(queue), Some(input)) = (&self.queue, &mut self.input) else { return false };
        let before = self.epoch_questions;
        for Asked { question, answer } in queue.try_iter().take(EPOCH_QUESTIONS_MAX - before) {
            self.epoch_questions += 1;
            if answer.is_closed() {
                continue;
            }
            let number = self.number;
            self.number += 1;
            self.askers.borrow_mut().insert(number, answer);
            input.send(Question { number, ..question });
        }
        self.epoch_questions > before
    }

    /// Begins an epoch.
    pub(super) fn advance_to(&mut self, epoch: Epoch) {
        self.epoch_questions = 0;
        if let Some(input) = &mut self.input {
            input.advance_to(epoch);
        }
    }

    /// Takes no more questions.
    pub(super) fn close(&mut self) {
        (self.queue, self.input) = (None, None);
    }

    /// Writes the lists of delivered epochs. `undelivered` is the oldest epoch that is not delivered, and `base` is
    /// added to an epoch to give the published one.
    pub(super) fn deliver(&mut self, undelivered: Option<Epoch>, base: Epoch) {
        if self.undelivered == Some(undelivered) {
            return;
        }
        self.undelivered = Some(undelivered);
        self.base.set(base);
        let mut last = None;
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some(first) = waiting.first_entry() else { break };
            if undelivered.is_some_and(|undelivered| *first.key() >= undelivered) {
                break;
            }
            let (epoch, changed) = first.remove_entry();
            drop(waiting);
            last = Some(epoch);
            for (rows, mut updates) in changed {
                let Some(table) = self.tables.of(rows) else { continue };
                let digits = self.digits;
                self.changes.each(epoch, &mut updates, |change| table.change(change, base + epoch, digits));
            }
        }
        if let Some(end) = undelivered.or(last.map(|last| last + 1)) {
            self.tables.advance(self.index, base + end);
        }
    }
}
