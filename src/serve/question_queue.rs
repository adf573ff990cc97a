//! The way of a question from the server to a worker, and of the answer back.
//!
//! ```text
//! handler ── ask ──▶ a bounded queue for each worker ──▶ the worker's dataflow
//!    ▲                                                            │
//!    └──────────────── a channel for each question ◀── answer ────┘
//! ```
//!
//! A question that finds its queue full is refused at once. So questions wait in bounded memory, and a worker never
//! waits for a handler.

use crate::output::Published;
use deltacart_dataflows::Question;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use tokio::sync::oneshot;

/// A question with the channel of its answer. The answer's epoch is that at whose close it was given.
pub(crate) struct Asked {
    /// The question. Its number is given by the worker.
    pub(crate) question: Question,
    /// Takes the answer.
    pub(crate) answer: oneshot::Sender<Published>,
}

/// Why a question is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Too many questions wait.
    Full,
    /// No worker takes questions: the job is being stopped.
    Stopped,
}

/// The queues of all workers of a process. Clones share them.
#[derive(Clone)]
pub(crate) struct QuestionQueue(Arc<Inner>);

struct Inner {
    seats: Vec<Seat>,
    next: AtomicUsize,
}

/// What the server knows of one worker.
struct Seat {
    queue: SyncSender<Asked>,
    /// The other end, until the worker takes it.
    end: Mutex<Option<Receiver<Asked>>>,
    /// The worker's thread, which is woken for a question.
    thread: Mutex<Option<Thread>>,
}

impl QuestionQueue {
    /// Queues for `workers` workers, with room for `questions` in all.
    pub(crate) fn new(workers: usize, questions: usize) -> QuestionQueue {
        let seats = (0..workers).map(|_worker| {
            let (queue, end) = sync_channel(questions.div_ceil(workers).max(1));
            Seat { queue, end: Mutex::new(Some(end)), thread: Mutex::new(None) }
        });
        QuestionQueue(Arc::new(Inner { seats: seats.collect(), next: AtomicUsize::new(0) }))
    }

    /// The questions of a worker, which calls this once, on its own thread. `None` if they have been taken.
    pub(crate) fn take(&self, worker: usize) -> Option<Receiver<Asked>> {
        let seat = self.0.seats.get(worker)?;
        *seat.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(std::thread::current());
        seat.end.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands a question to the next worker.
    ///
    /// # Errors
    /// If the worker's queue is full, or the worker has ended.
    pub(super) fn ask(&self, question: Question) -> Result<oneshot::Receiver<Published>, Refused> {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        let seat = &self.0.seats[turn % self.0.seats.len()];
        let (answer, answered) = oneshot::channel();
        seat.queue.try_send(Asked { question, answer }).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Full,
            TrySendError::Disconnected(_) => Refused::Stopped,
        })?;
        if let Some(thread) = &*seat.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question { number: 0, items: Vec::new(), user: None, basket: None, k: 1, params: None }
    }

    #[test]
    fn a_full_queue_refuses_and_an_ended_worker_too() {
        let queue = QuestionQueue::new(2, 4);
        let first = queue.take(0).unwrap();
        assert!(queue.take(0).is_none());
        let waiting: Vec<_> = (0..4).map(|_| queue.ask(question())).collect();
        assert!(waiting.iter().all(Result::is_ok));
        assert_eq!(queue.ask(question()).unwrap_err(), Refused::Full);
        assert_eq!(first.try_iter().count(), 2, "questions go to the workers in turn");
        drop((first, queue.take(1)));
        assert_eq!(queue.ask(question()).unwrap_err(), Refused::Stopped);
    }
}
