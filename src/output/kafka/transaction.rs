//! Records to a Kafka topic, each epoch as one transaction: who reads committed records sees all of an epoch of this
//! worker, or nothing.
//!
//! ```text
//!          send                  all acknowledged            the broker has it
//! idle ──────────▶ open ──────────────────────▶ committing ────────────────────▶ idle
//!        begins    │  ▲ more of the epoch   (close_epoch, or   on a thread
//!                  └──┘                       large enough)      of its own
//! ```
//!
//! A transactional id is a *slot*. Whoever initialises it takes it over: what an earlier producer of that id still
//! writes is refused, and its open transaction is taken back. A worker has two, which take turns: a broker has answered
//! a commit before it is through with the transaction, and makes the next one of that slot wait.
//!
//! # Notes
//! - An epoch that is too large for one transaction becomes several, each ending with a whole list.
//! - rdkafka's own commit first flushes in slices of 100 ms. Here acknowledgements are collected as they come, by
//!   [`Sink::poll`], and the commit finds nothing left to flush.
//! - What makes a transaction fail ends the job: a restart knows what consumers have, and goes on from there.

use super::partition::Partitions;
use super::{Message, Offered, Producer, SEND_RECORDS_MAX};
use crate::output::{Records, Sent, Sink, SinkError};
use deltacart_dataflows::Epoch;
use deltacart_inputs::kafka::{KafkaSettings, Role, release};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::report::Reports;

/// What one transaction takes before it ends with the next whole list: far less than a broker allows, and the time is
/// well below the default `transaction.timeout.ms` of 60 s.
const RECORDS_MAX: usize = 20_000;
const BYTES_MAX: usize = 32 << 20;
const TIME_MAX: Duration = Duration::from_secs(10);

/// How long a commit is tried again: beyond, the broker has long taken the transaction back.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);

/// How long a failed job tries to take its open transaction back, so that consumers need not wait for its end.
const ABORT_PATIENCE: Duration = Duration::from_secs(3);

/// Slots that are taken over at a time: each mostly waits, for some tenths of a second.
const FENCING_THREADS: usize = 32;

/// The key of the record by which [`Sink::confirm`] asks whether a slot is still its own; no consumer ever sees it.
const PROBE_KEY: &[u8] = b"deltacart";

/// The slots of one worker. With one, librdkafka finds the transaction before it not over yet, and asks again after
/// 20 ms.
pub const WORKER_SLOTS: usize = 2;

/// A Kafka topic as the destination of one worker's records, an epoch a transaction.
pub struct TransactionalSink {
    /// A producer for each slot. One transaction is under way at a time.
    producers: [Producer; WORKER_SLOTS],
    /// Whose turn it is.
    turn: usize,
    committer: Committer,
    state: State,
    patience: Duration,
}

enum State {
    Idle,
    Open { since: Instant, records: usize, bytes: usize, is_closing: bool },
    Committing,
}

impl TransactionalSink {
    /// Connects to `topic`, which must exist, and takes the slots `ids` over, one after the other. Fails within the
    /// settings' start-up timeout if no broker answers.
    pub fn connect(
        settings: &KafkaSettings,
        topic: &str,
        [first, second]: &[String; WORKER_SLOTS],
    ) -> Result<Self, SinkError> {
        let partitions = Partitions::of_topic(settings, topic)?;
        let patience = settings.startup_timeout();
        let connect = |id: &str| -> Result<Producer, SinkError> {
            let producer = Producer::connect_as(settings, topic, partitions, Some(id))?;
            let initialised = initialise(&producer.client, topic, patience);
            initialised.map_err(|error| producer.client.context().explain(&error))?;
            Ok(producer)
        };
        let producers = [connect(first)?, connect(second)?];
        let no_thread = |error| SinkError::Kafka { message: format!("no thread to commit {topic}: {error}") };
        let committer = Committer::new().map_err(no_thread)?;
        Ok(TransactionalSink { producers, turn: 0, committer, state: State::Idle, patience })
    }

    fn producer(&self) -> &Producer {
        &self.producers[self.turn]
    }

    /// Takes the open transaction back, if that is quickly done, and gives the error on.
    fn failed(&mut self, error: SinkError) -> SinkError {
        if !matches!(self.state, State::Idle) {
            // What cannot be taken back now, the next start takes back.
            let _ = self.producer().client.abort_transaction(ABORT_PATIENCE);
            self.state = State::Idle;
        }
        error
    }

    fn explained(&mut self, error: &KafkaError) -> SinkError {
        let error = self.producer().explain(error);
        self.failed(error)
    }

    /// Collects acknowledgements. Records that were thrown away say nothing but that; the transaction says why.
    fn collect(&mut self) -> Result<usize, SinkError> {
        let collected = self.producers[self.turn].collect();
        collected.map_err(|failure| match failure.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                // NB: a transaction that has failed answers whatever it is asked with what it failed of.
                let why = self.producer().client.begin_transaction().err();
                self.explained(&why.unwrap_or(failure))
            }
            _ => self.explained(&failure),
        })
    }

    fn begin(&mut self) -> Result<(), SinkError> {
        self.producer().client.begin_transaction().map_err(|error| self.explained(&error))?;
        self.state = State::Open { since: Instant::now(), records: 0, bytes: 0, is_closing: false };
        Ok(())
    }

    /// Takes records until there is no room, or enough for one transaction.
    fn offer(&mut self, waiting: &mut Records) -> Result<(), SinkError> {
        let State::Open { since, records, bytes, is_closing } = &mut self.state else { return Ok(()) };
        let producer = &mut self.producers[self.turn];
        for _ in 0..SEND_RECORDS_MAX {
            let Some(record) = waiting.front().filter(|_| !*is_closing) else { break };
            let message = producer.message(&record);
            match producer.offer(&message)? {
                Offered::Taken => {}
                Offered::Full => break,
                Offered::TooLarge => return Err(producer.too_large(&message)),
            }
            *records += 1;
            *bytes += record.key.len() + record.value.map_or(0, <[u8]>::len);
            let is_large = *records >= RECORDS_MAX || *bytes >= BYTES_MAX || since.elapsed() >= TIME_MAX;
            *is_closing = is_large && record.is_last;
            waiting.pop();
        }
        Ok(())
    }
}

impl Sink for TransactionalSink {
    fn send(&mut self, records: &mut Records) -> Result<(), SinkError> {
        if records.is_empty() {
            return Ok(());
        }
        if matches!(self.state, State::Idle) {
            self.begin()?;
        }
        self.offer(records).map_err(|error| self.failed(error))
    }

    fn poll(&mut self) -> Result<usize, SinkError> {
        let unacknowledged = self.collect()?;
        match &self.state {
            State::Open { is_closing: true, .. } if unacknowledged == 0 => {
                self.committer.commit(&self.producer().client);
                self.state = State::Committing;
                Ok(1)
            }
            State::Committing => match self.committer.answer() {
                None => Ok(1),
                Some(Ok(())) => {
                    self.state = State::Idle;
                    self.turn = (self.turn + 1) % WORKER_SLOTS;
                    Ok(0)
                }
                Some(Err(error)) => Err(self.explained(&error)),
            },
            State::Open { records, .. } => Ok(*records),
            State::Idle => Ok(0),
        }
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        if let State::Open { is_closing, .. } = &mut self.state {
            *is_closing = true;
        }
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), SinkError> {
        let deadline = Instant::now() + self.patience;
        self.begin()?;
        let probe =
            Message { key: Some(PROBE_KEY), value: None, partition: None, headers: &[], timestamp: None };
        self.producers[self.turn].offer(&probe).map_err(|error| self.failed(error))?;
        while self.collect()? > 0 {
            if Instant::now() >= deadline {
                let late = KafkaError::Global(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.explained(&late));
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.state = State::Idle;
        self.producers[self.turn].forget_sent();
        let aborted = until(deadline, |left| self.producer().client.abort_transaction(left));
        aborted.map_err(|error| self.producer().explain(&error))
    }

    fn partition_of(&self, key: &[u8]) -> Option<u32> {
        Some(self.producer().partitions.of(key))
    }

    fn sent(&self) -> Sent {
        self.producers.iter().map(Producer::sent).sum()
    }
}

type Client = Arc<BaseProducer<Reports>>;

/// Commits transactions, which waits for the broker, on a thread of its own.
struct Committer {
    requests: Sender<Client>,
    answers: Receiver<KafkaResult<()>>,
}

impl Committer {
    /// Starts the thread, which ends when this is dropped.
    fn new() -> std::io::Result<Committer> {
        let (requests, requested) = mpsc::channel::<Client>();
        let (answer, answers) = mpsc::channel();
        thread::Builder::new().name("kafka-transaction".into()).spawn(move || {
            // Ends when either side has gone away.
            requested.iter().all(|client| {
                let deadline = Instant::now() + COMMIT_PATIENCE;
                answer.send(until(deadline, |left| client.commit_transaction(left))).is_ok()
            })
        })?;
        Ok(Committer { requests, answers })
    }

    fn commit(&self, client: &Client) {
        // A thread that is gone is found when its answer is asked for.
        let _ = self.requests.send(Arc::clone(client));
    }

    fn answer(&self) -> Option<KafkaResult<()>> {
        match self.answers.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(KafkaError::Canceled)),
        }
    }
}

/// Tries again what may be tried again, until the time is up.
fn until(deadline: Instant, mut attempt: impl FnMut(Duration) -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match attempt(left.max(Duration::from_millis(1))) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {}
            answer => return answer,
        }
    }
}

/// Takes a slot over. What its last owner has begun is taken back first.
fn initialise(client: &BaseProducer<Reports>, topic: &str, patience: Duration) -> KafkaResult<()> {
    let deadline = Instant::now() + patience;
    // NB: librdkafka looks for the slot's coordinator at once, and where there is no connection yet, again after half a
    // second. So there is to be one: the first answer comes over one to a bootstrap address, which is given up then,
    // the second over one that stays. Why there is none, the initialisation says.
    for _ in 0..2 {
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = client.client().fetch_metadata(Some(topic), left);
    }
    until(deadline, |left| client.init_transactions(left))
}

/// Takes slots over, so that no producer of an earlier run that has one of these ids can write any more.
pub fn fence(settings: &KafkaSettings, topic: &str, ids: &[String]) -> Result<(), SinkError> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = fence_one(settings, topic, id) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                next.store(ids.len(), Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        (0..FENCING_THREADS.min(ids.len())).for_each(|_| drop(scope.spawn(work)));
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn fence_one(settings: &KafkaSettings, topic: &str, id: &str) -> Result<(), SinkError> {
    let reports = Reports::new(settings, topic);
    let explained = Reports::new(settings, topic);
    let mut config = settings.client_config(Role::Producer);
    config.set("transactional.id", id);
    let client: BaseProducer<Reports> =
        config.create_with_context(reports).map_err(|error| explained.explain(&error))?;
    let initialised = initialise(&client, topic, settings.startup_timeout());
    let fenced = initialised.map_err(|error| client.context().explain(&error));
    // Nobody waits for it: taking a client down takes longer than the slot.
    release(client, Duration::ZERO);
    fenced
}
