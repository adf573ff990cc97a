//! The context of a simulation: its random numbers, its clock, and the count of every fault that has struck.
//!
//! The random numbers follow from the seed, and only the simulation moves the clock. Every event is added to a trace.
//! The hash of the trace shows whether two runs of a seed were the same.

use deltacart_testing::{FNV_START, fnv1a};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A fault, or a change from one run of the job to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fault {
    /// The job is killed between two steps.
    Killed,
    /// The job is killed between two calls to the environment, in the middle of a turn.
    KilledInside,
    /// The machine loses power. Data that was not synced is lost or damaged.
    PowerLost,
    /// A run hangs while the next one begins, and then continues beside it.
    Zombie,
    /// The job gets a signal to stop, and ends in good order.
    Stopped,
    /// A write is refused because a later run has taken over the transactional id.
    Fenced,
    /// A message between workers is late.
    SlowLink,
    /// A partition gives no records for a while.
    SlowPartition,
    /// Reading the input fails.
    ReadFailed,
    /// A partition is added to an input topic.
    PartitionAdded,
    /// A partition is added to the output topic, so keys move to other partitions.
    OutputGrown,
    /// A producer sends an event a second time.
    EventRepeated,
    /// A producer writes a record that cannot be decoded.
    Garbage,
    /// The broker has deleted records that a run was to read.
    InputExpired,
    /// The broker deletes records while a run is about to read them.
    InputOvertaken,
    /// A dead letter cannot be delivered.
    LetterFailed,
    /// The sink has no room for more records.
    SinkFull,
    /// A record cannot be delivered.
    DeliveryFailed,
    /// A commit has to be retried.
    CommitRetried,
    /// A commit has happened, but its answer is lost.
    CommitUnanswered,
    /// A commit has not happened, and no answer comes.
    CommitLost,
    /// A transaction has been open for so long that the broker aborts it.
    TransactionExpired,
    /// A committed transaction cannot be read yet.
    ReadableLate,
    /// The clock stands still, or jumps.
    ClockStood,
    ClockJumped,
    /// The disk is full for a while.
    DiskFull,
    /// Data that was being written when the power failed is incomplete.
    Torn,
    /// A bit of a file has flipped.
    BitFlipped,
    /// The newest snapshot is damaged, so an older one is used.
    OlderSnapshot,
    /// No snapshot is good, and the folder is emptied.
    NoneGood,
    /// The job begins without its state.
    WithoutState,
    /// Snapshot files were removed before the job begins: all of them, or the manifests only.
    SnapshotsRemoved,
    /// The job begins with another number of workers, other settings of its lists, or another envelope.
    Rescaled,
    OtherSettings,
    OtherEnvelope,
}

impl Fault {
    /// All faults.
    pub(super) const ALL: [Fault; 35] = [
        Fault::Killed,
        Fault::KilledInside,
        Fault::PowerLost,
        Fault::Zombie,
        Fault::Stopped,
        Fault::Fenced,
        Fault::SlowLink,
        Fault::SlowPartition,
        Fault::ReadFailed,
        Fault::PartitionAdded,
        Fault::OutputGrown,
        Fault::EventRepeated,
        Fault::Garbage,
        Fault::InputExpired,
        Fault::InputOvertaken,
        Fault::LetterFailed,
        Fault::SinkFull,
        Fault::DeliveryFailed,
        Fault::CommitRetried,
        Fault::CommitUnanswered,
        Fault::CommitLost,
        Fault::TransactionExpired,
        Fault::ReadableLate,
        Fault::ClockStood,
        Fault::ClockJumped,
        Fault::DiskFull,
        Fault::Torn,
        Fault::BitFlipped,
        Fault::OlderSnapshot,
        Fault::NoneGood,
        Fault::WithoutState,
        Fault::SnapshotsRemoved,
        Fault::Rescaled,
        Fault::OtherSettings,
        Fault::OtherEnvelope,
    ];

    /// The fault strikes on one in this many occasions, if the seed has it enabled.
    fn one_in(self) -> u64 {
        match self {
            Fault::SlowLink | Fault::SinkFull | Fault::CommitRetried | Fault::ReadableLate => 3,
            Fault::SlowPartition | Fault::ClockStood => 4,
            Fault::InputExpired => 5,
            Fault::EventRepeated | Fault::Garbage => 8,
            Fault::CommitUnanswered | Fault::CommitLost => 30,
            Fault::DeliveryFailed | Fault::LetterFailed | Fault::DiskFull => 60,
            Fault::ClockJumped | Fault::PartitionAdded => 300,
            Fault::ReadFailed | Fault::InputOvertaken => 1000,
            _ => 2,
        }
    }
}

/// A bug that the simulated environment plants, to show that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// The job publishes while it recomputes epochs that were published before.
    PublishDuringReplay,
    /// A restart skips records: its offsets are ahead of the events that the snapshot's baskets have seen.
    OffsetsAhead,
    /// A run that takes over a transactional id does not fence the previous owner.
    NoFencing,
    /// Files get their names before their data is on the disk.
    RenameWithoutSync,
    /// A restart counts epochs from zero.
    EpochsStartOver,
    /// Dead letters count as delivered before they are.
    LettersUnconfirmed,
    /// Keys stay in the partitions that they had when the output was smaller.
    KeysLeftBehind,
    /// A restart does not read its notes back.
    NotesForgotten,
}

impl Bug {
    pub(super) const ALL: [Bug; 8] = [
        Bug::PublishDuringReplay,
        Bug::OffsetsAhead,
        Bug::NoFencing,
        Bug::RenameWithoutSync,
        Bug::EpochsStartOver,
        Bug::LettersUnconfirmed,
        Bug::KeysLeftBehind,
        Bug::NotesForgotten,
    ];
}

/// The context. Clones share it.
#[derive(Clone)]
pub(super) struct SimContext(Arc<Mutex<Inner>>);

struct Inner {
    random: u64,
    /// The faults that are enabled in this seed; none after [`SimContext::calm`].
    known: Vec<Fault>,
    bug: Option<Bug>,
    hits: BTreeMap<Fault, u64>,
    start: Instant,
    elapsed: Duration,
    trace: Trace,
}

impl SimContext {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> SimContext {
        let sim = SimContext(Arc::new(Mutex::new(Inner {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            known: Vec::new(),
            bug,
            hits: BTreeMap::new(),
            start: Instant::now(),
            elapsed: Duration::ZERO,
            trace: Trace { hash: FNV_START, is_shown: std::env::var_os("DELTACART_TEST_TRACE").is_some() },
        })));
        // A seed enables some of the faults only. With all of them, most runs would end in the same few ways.
        let known = Fault::ALL.into_iter().filter(|_| sim.one_in(2)).collect();
        sim.inner().known = known;
        sim
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A random number below `end`; 0 if `end` is 0.
    pub(super) fn below(&self, end: u64) -> u64 {
        // SplitMix64.
        let mut inner = self.inner();
        inner.random = inner.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = inner.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(end)) >> 64) as u64
    }

    pub(super) fn one_in(&self, occasions: u64) -> bool {
        self.below(occasions) == 0
    }

    pub(super) fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Whether the fault is to strike on this occasion. The caller counts it with [`SimContext::hit`] if it does.
    pub(super) fn wants(&self, fault: Fault) -> bool {
        self.inner().known.contains(&fault) && self.one_in(fault.one_in())
    }

    /// Whether the fault strikes on this occasion. If so, it is counted.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let strikes = self.wants(fault);
        if strikes {
            self.hit(fault);
        }
        strikes
    }

    /// Counts a fault that has struck.
    pub(super) fn hit(&self, fault: Fault) {
        *self.inner().hits.entry(fault).or_default() += 1;
        self.note(format_args!("{fault:?}"));
    }

    /// Disables all faults from now on.
    pub(super) fn calm(&self) {
        self.inner().known.clear();
    }

    pub(super) fn hits(&self) -> BTreeMap<Fault, u64> {
        self.inner().hits.clone()
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.inner().bug == Some(bug)
    }

    pub(super) fn now(&self) -> Instant {
        let inner = self.inner();
        inner.start + inner.elapsed
    }

    /// The simulated time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.inner().elapsed
    }

    pub(super) fn pass(&self, time: Duration) {
        self.inner().elapsed += time;
    }

    /// Adds an event to the trace.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        let mut inner = self.inner();
        let elapsed = inner.elapsed;
        let _ = writeln!(inner.trace, "{elapsed:?} {what}");
    }

    /// The hash of everything traced.
    pub(super) fn trace(&self) -> u64 {
        self.inner().trace.hash
    }
}

/// The FNV-1a hash of the trace, which can also be printed.
struct Trace {
    hash: u64,
    is_shown: bool,
}

impl Write for Trace {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hash = fnv1a(self.hash, text.as_bytes());
        if self.is_shown {
            print!("{text}");
        }
        Ok(())
    }
}
