//! Records to Kafka topics in transactions of whole epochs. A consumer that reads committed records sees all of a
//! worker's epoch, in all topics, or nothing of it.
//!
//! ```text
//! slot 0:  ─ records, acknowledged ─┬─ commit ─┬┄ marked ┄
//! slot 1:                           └─ records, acknowledged ─┬─ commit ─┬┄ marked ┄
//! slot 2:                                                     └─ records, …
//! ```
//!
//! Two transactions are active at a time. While one is committed, on its own thread, the next is filled. If an epoch
//! ends before that commit is answered, its transaction stays open and takes the next epoch too. So a broker that
//! takes long for a commit gets fewer and larger ones.
//!
//! Consumers read records in order. A transaction begins when all records of the one before are acknowledged. It is
//! committed when the commit of the one before is answered.
//!
//! A *slot* is a transactional id. Initialising it fences earlier producers with that id: the broker refuses their
//! writes and aborts their open transaction. The slots of a worker take turns. A broker answers a commit before it
//! has completed the transaction, and the next transaction of that slot has to wait for that.
//!
//! # Notes
//! - An epoch that is too large for one transaction becomes several, each ending with a whole list.
//! - rdkafka's own commit first flushes in slices of 100 ms. Here [`Sink::poll`] collects acknowledgements as they
//!   arrive, so the commit has nothing left to flush.
//! - A failed transaction ends the job. A restart reads what consumers have, and resumes from there.

use super::{Message, Offered, Producer, SEND_RECORDS_MAX, Topic, names};
use crate::output::{Delivery, Records, Sent, Sink, SinkError, StreamNumber};
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

/// Limits of one transaction. Beyond any of them it ends with the next whole list. Brokers allow far more, and the
/// time is well below the default `transaction.timeout.ms` of 60 s.
const RECORDS_MAX: usize = 20_000;
const BYTES_MAX: usize = 32 << 20;
const TIME_MAX: Duration = Duration::from_secs(10);

/// How long a commit is retried. After that, the broker has long aborted the transaction.
const COMMIT_PATIENCE: Duration = Duration::from_secs(120);

/// How long a failed job tries to abort its open transaction, so that consumers need not wait for its timeout.
const ABORT_PATIENCE: Duration = Duration::from_secs(3);

/// Slots that are fenced in parallel. Each mostly waits, for some tenths of a second.
const FENCING_THREADS: usize = 32;

/// The key of the record by which [`Sink::check_not_fenced`] finds out. It is never committed.
const PROBE_KEY: &[u8] = b"deltacart";

/// The slots of one worker: one is filled, one is committed, and one is completed by the broker. If a slot is reused
/// too soon, its transaction is not complete, and librdkafka retries after 20 ms.
pub const WORKER_SLOTS: usize = 3;

/// Kafka topics as the destinations of one worker's records, in transactions of whole epochs. The number of a stream
/// is the index of its topic.
pub struct TransactionalSink {
    /// One producer for each slot.
    producers: [Producer; WORKER_SLOTS],
    /// The slot of the open transaction, or of the next one.
    turn: usize,
    open: Option<Open>,
    /// The transaction of the previous slot.
    committing: Option<Committing>,
    committer: Committer,
    patience: Duration,
}

/// A transaction that is being filled.
struct Open {
    since: Instant,
    records: usize,
    bytes: usize,
    /// The number of epochs that end in it.
    epochs: usize,
    /// Its last record is the last one of an epoch.
    is_whole: bool,
    /// It takes no more records.
    is_closing: bool,
}

/// A transaction that is being committed.
struct Committing {
    epochs: usize,
}

impl TransactionalSink {
    /// Connects to `topics`, which must exist, and fences the slots `ids`, one after the other.
    ///
    /// # Errors
    /// When no broker answers within the settings' start-up timeout.
    pub fn connect(
        settings: &KafkaSettings,
        topics: &[&str],
        ids: &[String; WORKER_SLOTS],
    ) -> Result<Self, SinkError> {
        let topics = Topic::find_all(settings, topics)?;
        let patience = settings.startup_timeout();
        let connect = |id: &str| -> Result<Producer, SinkError> {
            let producer = Producer::connect_as(settings, topics.clone(), Some(id))?;
            let initialised = initialise(&producer.client, &topics[0].name, patience);
            initialised.map_err(|error| producer.client.context().explain(&error))?;
            Ok(producer)
        };
        let producers = ids.iter().map(|id| connect(id)).collect::<Result<Vec<_>, _>>()?;
        let producers = producers.try_into().map_err(|_more| ()).expect("there is a producer for each id");
        let no_thread =
            |error| SinkError::Kafka { message: format!("no thread to commit {}: {error}", names(&topics)) };
        let committer = Committer::new().map_err(no_thread)?;
        Ok(TransactionalSink { producers, turn: 0, open: None, committing: None, committer, patience })
    }

    fn producer(&self) -> &Producer {
        &self.producers[self.turn]
    }

    /// Aborts the open transaction, if that is quickly done, and returns the error.
    fn failed(&mut self, error: SinkError) -> SinkError {
        if self.open.take().is_some() {
            // If it cannot be aborted now, the next start aborts it.
            let _ = self.producer().client.abort_transaction(ABORT_PATIENCE);
        }
        error
    }

    fn explained(&mut self, error: &KafkaError) -> SinkError {
        let error = self.producer().explain(error);
        self.failed(error)
    }

    /// Collects acknowledgements. The error of a purged record says only that it was purged; the transaction has the
    /// cause.
    fn collect(&mut self) -> Result<usize, SinkError> {
        let collected = self.producers[self.turn].collect();
        collected.map_err(|failure| match failure.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
                // NB: whatever is called on a failed transaction returns the error that it failed with.
                let why = self.producer().client.begin_transaction().err();
                self.explained(&why.unwrap_or(failure))
            }
            _ => self.explained(&failure),
        })
    }

    /// Aborts the transaction whose commit failed, and the one after it, if that is quickly done.
    fn not_committed(&mut self, error: &KafkaError) -> SinkError {
        let slot = (self.turn + WORKER_SLOTS - 1) % WORKER_SLOTS;
        let error = self.producers[slot].explain(error);
        let error = self.failed(error);
        let _ = self.producers[slot].client.abort_transaction(ABORT_PATIENCE);
        self.committing = None;
        error
    }

    fn begin(&mut self) -> Result<(), SinkError> {
        self.producer().client.begin_transaction().map_err(|error| self.explained(&error))?;
        let since = Instant::now();
        self.open = Some(Open { since, records: 0, bytes: 0, epochs: 0, is_whole: false, is_closing: false });
        Ok(())
    }

    /// Takes records until the queue is full, or the transaction is large enough.
    fn offer(&mut self, stream: StreamNumber, waiting: &mut Records) -> Result<(), SinkError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let producer = &mut self.producers[self.turn];
        for _ in 0..SEND_RECORDS_MAX {
            let Some(record) = waiting.front().filter(|_| !open.is_closing) else { break };
            let message = producer.message(stream, &record);
            match producer.offer_to(stream, &message)? {
                Offered::Taken => {}
                Offered::Full => break,
                Offered::TooLarge => return Err(producer.too_large(stream, &message)),
            }
            open.records += 1;
            open.bytes += record.key.len() + record.value.map_or(0, <[u8]>::len);
            open.is_whole = false;
            open.is_closing = record.is_last && open.is_large();
            waiting.pop();
        }
        Ok(())
    }
}

impl Open {
    fn is_large(&self) -> bool {
        self.records >= RECORDS_MAX || self.bytes >= BYTES_MAX || self.since.elapsed() >= TIME_MAX
    }
}

impl Sink for TransactionalSink {
    fn send(&mut self, stream: StreamNumber, records: &mut Records) -> Result<(), SinkError> {
        if records.is_empty() {
            return Ok(());
        }
        if self.open.is_none() {
            self.begin()?;
        }
        self.offer(stream, records).map_err(|error| self.failed(error))
    }

    fn poll(&mut self) -> Result<Delivery, SinkError> {
        let unacknowledged = self.collect()?;
        if self.committing.is_some() {
            match self.committer.answer() {
                None => {}
                Some(Ok(())) => self.committing = None,
                Some(Err(error)) => return Err(self.not_committed(&error)),
            }
        }
        if self.committing.is_none()
            && let Some(open) = &mut self.open
        {
            open.is_closing |= open.is_whole;
            if open.is_closing && unacknowledged == 0 {
                self.committing = Some(Committing { epochs: open.epochs });
                self.open = None;
                self.committer.commit(&self.producer().client);
                self.turn = (self.turn + 1) % WORKER_SLOTS;
            }
        }
        let (open, committing) = (self.open.as_ref(), self.committing.as_ref());
        Ok(Delivery {
            records: open.map_or(0, |open| open.records) + usize::from(committing.is_some()),
            epochs: open.map_or(0, |open| open.epochs) + committing.map_or(0, |committing| committing.epochs),
        })
    }

    fn close_epoch(&mut self, _epoch: Epoch) -> Result<(), SinkError> {
        match (&mut self.open, &mut self.committing) {
            (Some(open), _) => {
                open.epochs += 1;
                open.is_whole = true;
            }
            // Either the epoch has no records, or its last one is in the transaction that is being committed.
            (None, Some(committing)) => committing.epochs += 1,
            (None, None) => {}
        }
        Ok(())
    }

    fn check_not_fenced(&mut self) -> Result<(), SinkError> {
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
        self.open = None;
        self.producers[self.turn].forget_sent();
        let aborted = until(deadline, |left| self.producer().client.abort_transaction(left));
        aborted.map_err(|error| self.producer().explain(&error))
    }

    fn partition_of(&self, stream: StreamNumber, key: &[u8]) -> Option<u32> {
        Some(self.producer().topics[stream].partitions.of(key))
    }

    fn sent(&self) -> Sent {
        self.producers.iter().map(Producer::sent).sum()
    }
}

type Client = Arc<BaseProducer<Reports>>;

/// A thread that commits transactions, because a commit waits for the broker.
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
            // Ends when either side has been dropped.
            requested.iter().all(|client| {
                let deadline = Instant::now() + COMMIT_PATIENCE;
                answer.send(until(deadline, |left| client.commit_transaction(left))).is_ok()
            })
        })?;
        Ok(Committer { requests, answers })
    }

    fn commit(&self, client: &Client) {
        // If the thread is gone, `answer` returns the error.
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

/// Retries retriable errors until the deadline.
fn until(deadline: Instant, mut attempt: impl FnMut(Duration) -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match attempt(left.max(Duration::from_millis(1))) {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {}
            answer => return answer,
        }
    }
}

/// Initialises a slot: fences its last owner and aborts the transaction that it left open.
fn initialise(client: &BaseProducer<Reports>, topic: &str, patience: Duration) -> KafkaResult<()> {
    let deadline = Instant::now() + patience;
    // NB: librdkafka looks for the slot's coordinator at once. Without a connection, it tries again only after half a
    // second. So connections are made first. The first answer comes over a connection to a bootstrap address, which
    // is then closed; the second comes over one that stays. Errors are ignored here: the initialisation reports them.
    for _ in 0..2 {
        let left = deadline.saturating_duration_since(Instant::now());
        let _ = client.client().fetch_metadata(Some(topic), left);
    }
    until(deadline, |left| client.init_transactions(left))
}

/// Fences slots, so that no producer of an earlier run with one of these ids can write any more.
///
/// # Errors
/// When one slot cannot be fenced within the settings' start-up timeout.
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
    // Does not wait for the client to close: that takes longer than fencing the slot.
    release(client, Duration::ZERO);
    fenced
}
