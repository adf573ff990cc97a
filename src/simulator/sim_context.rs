//! What a simulation draws from: one sequence of numbers that follows from the seed, one clock that nothing but the
//! simulation moves, and a count of every fault that has struck.
//!
//! Everything that happens is noted here, and a hash of the notes is what two runs of a seed are compared by.

use deltacart_testing::{FNV_START, fnv1a};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Something that goes wrong, or differs from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Fault {
    /// The job is killed between two steps.
    Killed,
    /// It is killed between two calls to the outside, in the middle of a turn.
    KilledInside,
    /// Its machine loses power: what was not synced is gone, or half there.
    PowerLost,
    /// It hangs while another run begins, and then goes on.
    Zombie,
    /// Its signal to stop comes, and it ends in good order.
    Stopped,
    /// Whoever took over is in the way of somebody's writing.
    Fenced,
    /// A message between workers is late.
    SlowLink,
    /// A partition gives nothing for a while.
    SlowPartition,
    /// The input cannot be read any more.
    ReadFailed,
    /// A partition appears.
    PartitionAdded,
    /// The output gets one, so keys belong to others than before.
    OutputGrown,
    /// A producer tells an event again.
    EventRepeated,
    /// A record makes no sense.
    Garbage,
    /// There is no room for more records.
    SinkFull,
    /// A record cannot be delivered.
    DeliveryFailed,
    /// A commit has to be tried again.
    CommitRetried,
    /// A commit has happened, and nobody says so.
    CommitUnanswered,
    /// A commit has not happened, and nobody says so.
    CommitLost,
    /// A transaction has been open for so long that the broker takes it back.
    TransactionExpired,
    /// What is committed cannot be read yet.
    ReadableLate,
    /// Time stands still, or jumps.
    ClockStood,
    ClockJumped,
    /// The disk is full for a while.
    DiskFull,
    /// Something written when the power went is half there.
    Torn,
    /// A file is not what it was.
    BitFlipped,
    /// The newest snapshot is not used, as it is damaged.
    OlderSnapshot,
    /// No snapshot is good, and the folder is emptied.
    NoneGood,
    /// The job begins without its state.
    WithoutState,
    /// Files of its snapshots were removed before it begins: all of them, or the manifests only.
    SnapshotsRemoved,
    /// It begins with another number of workers, other settings of its lists, or another envelope.
    Rescaled,
    OtherSettings,
    OtherEnvelope,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Fault; 32] = [
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

    /// Of so many occasions it takes one, in a seed that knows it.
    fn one_in(self) -> u64 {
        match self {
            Fault::SlowLink | Fault::SinkFull | Fault::CommitRetried | Fault::ReadableLate => 3,
            Fault::SlowPartition | Fault::ClockStood => 4,
            Fault::EventRepeated | Fault::Garbage => 8,
            Fault::CommitUnanswered | Fault::CommitLost => 30,
            Fault::DeliveryFailed | Fault::DiskFull => 60,
            Fault::ClockJumped | Fault::PartitionAdded => 300,
            Fault::ReadFailed => 1000,
            _ => 2,
        }
    }
}

/// A planted bug, for which the world is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// The job publishes while it computes again what was published.
    PublishDuringReplay,
    /// A snapshot's offsets lie behind what its baskets have seen.
    OffsetsAhead,
    /// Who takes a transactional id over does not lock its last owner out.
    NoFencing,
    /// Files get their names before they are on the disk.
    RenameWithoutSync,
    /// Epochs are counted from the beginning again.
    EpochsStartOver,
    /// Keys stay in the partitions that they had when the output was smaller.
    KeysLeftBehind,
}

impl Bug {
    pub(super) const ALL: [Bug; 6] = [
        Bug::PublishDuringReplay,
        Bug::OffsetsAhead,
        Bug::NoFencing,
        Bug::RenameWithoutSync,
        Bug::EpochsStartOver,
        Bug::KeysLeftBehind,
    ];
}

/// Clones share it.
#[derive(Clone)]
pub(super) struct SimContext(Arc<Mutex<Inner>>);

struct Inner {
    random: u64,
    /// The faults that this seed knows; none when all is calm.
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
        // A seed knows some faults only: with all of them, most runs would end the same few ways.
        let known = Fault::ALL.into_iter().filter(|_| sim.one_in(2)).collect();
        sim.inner().known = known;
        sim
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A number below `end`, or 0.
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

    /// Whether the fault is to strike on this occasion. Whoever makes it strike counts it.
    pub(super) fn wants(&self, fault: Fault) -> bool {
        self.inner().known.contains(&fault) && self.one_in(fault.one_in())
    }

    /// Whether the fault strikes on this occasion, which is counted.
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

    /// From now on nothing strikes.
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

    /// Time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.inner().elapsed
    }

    pub(super) fn pass(&self, time: Duration) {
        self.inner().elapsed += time;
    }

    /// Remembers what happens.
    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        let mut inner = self.inner();
        let elapsed = inner.elapsed;
        let _ = writeln!(inner.trace, "{elapsed:?} {what}");
    }

    /// What has happened, in a number.
    pub(super) fn trace(&self) -> u64 {
        self.inner().trace.hash
    }
}

/// FNV-1a of everything noted.
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
