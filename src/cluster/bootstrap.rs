//! Bootstrap: opens both connections to every other process, within the join time-out.
//!
//! ```text
//!   listener ─ a thread for each caller ─── handshake ─▶ slots of the later processes ──┐
//!                                                                                       ├─▶ all filled: done
//!   a thread for each earlier process: call, handshake ─▶ slots of the earlier ones ────┘
//! ```
//!
//! An unknown peer costs one line of the log, and never takes the room of a process ([`UnknownPeers`]). A process that
//! knows the secret and runs another job ends the start on both sides. A process that dies while the others still
//! wait frees its slot for its next start.

use super::Cluster;
use super::handshake::{Caller, Failure, Instance, Member, PATIENCE, Refusal, Role, call, random, receive};
use super::settings::Settings;
use super::unknown_peers::{UNKNOWN_PEERS_MAX, UnknownPeers};
use super::wire;
use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often a process that is not connected yet is called again.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// How often the listener looks for callers.
const ACCEPT_AGAIN: Duration = Duration::from_millis(5);

/// How often the slots and the request to stop are checked.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The most callers that are served at a time. Half of them are unknown peers; the other half have proved themselves
/// or are being closed. Further callers wait until one is done.
const GUESTS_MAX: usize = 2 * UNKNOWN_PEERS_MAX;

/// The most log lines about unknown peers.
const WARNINGS_MAX: usize = 32;

/// The connections to the other processes, by process index. The entry of this process is `None`.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) data: Vec<Option<TcpStream>>,
    pub(super) heartbeats: Vec<Option<TcpStream>>,
}

/// Connects to all other processes. `None` if `stop` was set before that was done.
pub(super) fn connect(
    cluster: &Cluster,
    settings: Settings,
    until: Instant,
    stop: &AtomicBool,
) -> Result<Option<Connections>> {
    let me = cluster.process;
    let listen = cluster.listen.as_ref().unwrap_or(&cluster.addresses[me]);
    let listener = TcpListener::bind(listen)
        .with_context(|| format!("cannot listen on {listen} for the other processes"))?;
    listener.set_nonblocking(true)?;
    if cluster.secret.is_none() && !listener.local_addr()?.ip().is_loopback() {
        bail!("{listen} is no loopback address: other machines need a --cluster-secret-file");
    }
    let secret = cluster.secret.clone();
    let member = Member { process: me, instance: random()?, secret, settings };
    let slots = (0..cluster.processes()).map(|_| PeerSlot::default()).collect();
    let admission = Arc::new(Admission {
        cluster: cluster.clone(),
        member,
        table: Mutex::new(Table { slots, failure: None }),
        changed: Condvar::new(),
        over: AtomicBool::new(false),
        guests: AtomicUsize::new(0),
        unknown_peers: UnknownPeers::default(),
        warnings: AtomicUsize::new(0),
    });
    let mut threads = Vec::new();
    let host = Arc::clone(&admission);
    threads.push(spawn("cluster:listen", move || host.listen(&listener))?);
    for peer in 0..me {
        let caller = Arc::clone(&admission);
        spawn(&format!("cluster:call-{peer}"), move || caller.keep_calling(peer))?;
    }
    let connections = admission.wait(until, stop);
    admission.over.store(true, Ordering::Relaxed);
    // Joining the listener closes the port. Calling threads may hang in the name service, so they are not joined.
    threads.into_iter().for_each(|thread| thread.join().unwrap_or_default());
    connections
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run).context("cannot start a thread")
}

/// The state that the threads of a start share.
struct Admission {
    cluster: Cluster,
    member: Member,
    table: Mutex<Table>,
    changed: Condvar,
    over: AtomicBool,
    guests: AtomicUsize,
    unknown_peers: UnknownPeers,
    warnings: AtomicUsize,
}

struct Table {
    slots: Vec<PeerSlot>,
    /// Why the cluster cannot start.
    failure: Option<String>,
}

/// The connections to one process.
#[derive(Default)]
struct PeerSlot {
    /// The start of the process that filled the slot by calling.
    instance: Option<Instance>,
    data: Option<TcpStream>,
    heartbeat: Option<TcpStream>,
    /// Why the process is not connected, as far as is known.
    note: Option<String>,
    /// Both connections were there at some moment.
    has_connected: bool,
}

impl PeerSlot {
    /// Empties the slot if its process has gone. Returns whether at least one of its connections is there.
    ///
    /// Nothing is sent on the data connection before the start, so its end shows at once.
    fn is_taken(&mut self) -> bool {
        let is_open = |stream: &TcpStream| {
            let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
            let is_open = match peeked {
                Ok(bytes) => bytes > 0,
                Err(error) => wire::is_timeout(&error),
            };
            is_open && stream.set_nonblocking(false).is_ok()
        };
        let taken = self.data.as_ref().or(self.heartbeat.as_ref()).is_some_and(is_open);
        if !taken {
            let (note, has_connected) = (self.note.take(), self.has_connected);
            *self = PeerSlot { note, has_connected, ..PeerSlot::default() };
        }
        taken
    }

    fn is_complete(&mut self) -> bool {
        self.is_taken() && self.data.is_some() && self.heartbeat.is_some()
    }

    fn put(&mut self, role: Role, stream: TcpStream) {
        match role {
            Role::Data => self.data = Some(stream),
            Role::Heartbeat => self.heartbeat = Some(stream),
        }
        self.has_connected |= self.data.is_some() && self.heartbeat.is_some();
    }
}

impl Admission {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits until every slot is filled.
    fn wait(&self, until: Instant, stop: &AtomicBool) -> Result<Option<Connections>> {
        let mut table = self.table();
        loop {
            if let Some(failure) = table.failure.take() {
                bail!("the cluster cannot start: {failure}");
            }
            let all = self.cluster.peers().all(|peer| table.slots[peer].is_complete());
            if all {
                // NB: under the lock, so nobody fills a slot after this.
                self.over.store(true, Ordering::Relaxed);
                let slots = table.slots.drain(..).map(|slot| (slot.data, slot.heartbeat));
                let (data, heartbeats) = slots.unzip();
                return Ok(Some(Connections { data, heartbeats }));
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if Instant::now() >= until {
                bail!(self.missing(&mut table));
            }
            let waited = self.changed.wait_timeout(table, LOOK_AGAIN);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn missing(&self, table: &mut Table) -> String {
        let mut missing: Vec<usize> =
            self.cluster.peers().filter(|&peer| !table.slots[peer].is_complete()).collect();
        // A process whose time-out ended a moment earlier has left because of those that never came.
        if missing.iter().any(|&peer| !table.slots[peer].has_connected) {
            missing.retain(|&peer| !table.slots[peer].has_connected);
        }
        let (count, processes) = (missing.len(), self.cluster.processes());
        let described = missing.into_iter().map(|peer| {
            let note = table.slots[peer].note.as_deref().unwrap_or("it has not called");
            format!("{}: {note}", self.cluster.name(peer))
        });
        let missing: Vec<String> = described.collect();
        format!(
            "{count} of {processes} processes are missing after {:?} (--join-timeout): {}",
            self.cluster.timeouts.join,
            missing.join("; ")
        )
    }

    /// Ends the start with a failure.
    fn fail(&self, failure: String) {
        self.table().failure.get_or_insert(failure);
        self.changed.notify_all();
    }

    /// Logs a line about an unknown peer, up to [`WARNINGS_MAX`] lines.
    fn warn(&self, line: &str) {
        match self.warnings.fetch_add(1, Ordering::Relaxed) {
            0..WARNINGS_MAX => warn!("{line}"),
            WARNINGS_MAX => warn!("{line}; more of this is not told"),
            _ => {}
        }
    }

    /// Answers callers until the start is over.
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        while !self.is_over() {
            let (stream, address) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !wire::is_timeout(&error) {
                        self.warn(&format!("cannot take a connection: {error}"));
                    }
                    thread::sleep(ACCEPT_AGAIN);
                    continue;
                }
            };
            while self.guests.load(Ordering::Relaxed) >= GUESTS_MAX && !self.is_over() {
                thread::sleep(ACCEPT_AGAIN);
            }
            self.guests.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = self.receive_caller(stream, address) {
                self.guests.fetch_sub(1, Ordering::Relaxed);
                self.warn(&format!("refused a connection from {address}: {error:#}"));
            }
        }
    }

    /// Serves a caller on a thread of its own.
    fn receive_caller(self: &Arc<Self>, stream: TcpStream, address: SocketAddr) -> Result<()> {
        let number = self.unknown_peers.enter(&stream, address.ip())?;
        let host = Arc::clone(self);
        let started = spawn("cluster:guest", move || {
            host.talk(stream, address, number);
            host.guests.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            self.unknown_peers.leave(number);
        }
        started.map(drop)
    }

    /// Identifies a caller and puts its connection into its slot.
    fn talk(&self, stream: TcpStream, address: SocketAddr, number: u64) {
        let is_proved = Cell::new(false);
        let received = receive(stream, &self.member, || {
            is_proved.set(self.unknown_peers.leave(number));
            is_proved.get()
        });
        let had_to_go = !is_proved.get() && !self.unknown_peers.leave(number);
        let failure = match received {
            Ok(caller) => match self.slot(caller) {
                Ok(()) => return,
                Err((refusal, from)) => (Failure::Refused(refusal), Some(from)),
            },
            Err((_, from)) if had_to_go => {
                (Failure::Stray("others called, and it had proved nothing yet".to_owned()), from)
            }
            Err(failure) => failure,
        };
        if self.is_over() {
            return;
        }
        let (failure, said_to_be) = failure;
        let from = said_to_be.and_then(|from| self.later(from));
        match (failure, from) {
            (failure @ Failure::Settings(_), Some(peer)) => {
                self.fail(format!("{}: {failure}", self.cluster.name(peer)));
            }
            (failure @ Failure::Settings(_), None) => self.fail(format!("a process at {address}: {failure}")),
            (failure, from) => {
                let mut line = format!("a connection from {address} was refused: {}", reason(&failure));
                if let Some(peer) = from {
                    line.push_str(&format!(" (it says that it is process {peer})"));
                    self.table().slots.get_mut(peer).into_iter().for_each(|slot| {
                        slot.note = Some(line.clone());
                    });
                }
                self.warn(&line);
            }
        }
    }

    /// The index as that of a process that may call this one: a later one. `None` for others.
    fn later(&self, index: u32) -> Option<usize> {
        Some(index as usize).filter(|from| (self.member.process + 1..self.cluster.processes()).contains(from))
    }

    fn slot(&self, mut caller: Caller) -> Result<(), (Refusal, u32)> {
        let mut table = self.table();
        let hello = caller.hello;
        let peer = self.later(hello.from);
        let slot = peer.and_then(|peer| table.slots.get_mut(peer));
        // The same start of a process may call again. A new start may call once the old one has gone.
        let is_free = slot.is_some_and(|slot| !slot.is_taken() || slot.instance == Some(hello.instance));
        let refusal = match hello.to as usize == self.member.process {
            false => Some(Refusal::Index),
            true if self.is_over() || !is_free => Some(Refusal::Taken),
            true => None,
        };
        let answered = caller.answer(refusal);
        if let Some(refusal) = refusal {
            return Err((refusal, hello.from));
        }
        if let (Ok(()), Some(peer)) = (answered, peer) {
            let slot = &mut table.slots[peer];
            slot.instance = Some(hello.instance);
            slot.put(hello.role, caller.stream);
            if slot.is_complete() {
                info!("{} is there", self.cluster.name(peer));
            }
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Calls an earlier process until it is connected, and again if it goes before the start is over.
    fn keep_calling(&self, peer: usize) {
        let mut told = String::new();
        while !self.is_over() {
            let is_complete = self.table().slots.get_mut(peer).is_none_or(PeerSlot::is_complete);
            if !is_complete {
                match self.call_both(peer) {
                    Ok(()) => {}
                    Err(failure @ Failure::Stray(_)) => {
                        let why = failure.to_string();
                        if why != told {
                            info!("{} is not there yet: {why}", self.cluster.name(peer));
                            told.clone_from(&why);
                        }
                        self.table().slots.get_mut(peer).into_iter().for_each(|slot| {
                            slot.note = Some(why.clone());
                        });
                    }
                    Err(failure) => self.fail(format!("{}: {failure}", self.cluster.name(peer))),
                }
            }
            thread::sleep(CALL_AGAIN);
        }
    }

    fn call_both(&self, peer: usize) -> Result<(), Failure> {
        for role in [Role::Data, Role::Heartbeat] {
            let stream = call(self.dial(peer)?, &self.member, peer, role)?;
            let mut table = self.table();
            if let (false, Some(slot)) = (self.is_over(), table.slots.get_mut(peer)) {
                slot.put(role, stream);
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Opens a connection to an earlier process.
    fn dial(&self, peer: usize) -> Result<TcpStream, Failure> {
        let address = &self.cluster.addresses[peer];
        let mut last = Failure::Stray("its name has no address".to_owned());
        for address in address.to_socket_addrs()? {
            if self.member.secret.is_none() && !address.ip().is_loopback() {
                return Err(Failure::Stray(format!(
                    "{address} is no loopback address, and there is no secret"
                )));
            }
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// Why this side refused a connection, for the log.
fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Refused(Refusal::Protocol) => "it is of another version of deltacart".to_owned(),
        Failure::Refused(Refusal::Secret) => "it does not know the secret".to_owned(),
        Failure::Refused(Refusal::Index) => "it wanted another process: the host files differ".to_owned(),
        Failure::Refused(Refusal::Taken) => "that process is here already: is a -p given twice?".to_owned(),
        other => other.to_string(),
    }
}
