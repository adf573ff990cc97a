//! The cluster: how the processes of a job find each other, watch each other, and shut down together.
//!
//! ```text
//!   process 0 ◀═══ process 1         every process listens, and calls those with lower indices
//!       ▲              ▲             ═══ two connections per pair: one for the data (timely's),
//!       ╚═ process 2 ══╝                 one for the heartbeat, a ping each second
//!
//!   join:    connect, prove the secret, compare settings (handshake) ─▶ all connected (bootstrap) ─▶ all ready
//!   run:     a peer is silent or gone (heartbeat) ─┐
//!            a worker stands still (watchdog)     ─┼─▶ one line, the same to every peer; exit code 1 (shutdown)
//!            a worker fails, a thread panics      ─┘
//! ```
//!
//! A cluster fails as a whole and fast. The remaining processes could not finish an epoch, and a restart is safe.
//! Each process ends with one line that names the process where the failure began. A supervisor starts all of them
//! again.
//!
//! # Notes
//! - The secret keeps unknown peers out while the cluster starts, and the listener is closed after that. Data that is
//!   sent later is neither encrypted nor signed. Whoever can change packets between the machines can change the data.
//! - Nothing is written to standard output.

mod shutdown;
mod frame;
#[doc(hidden)]
pub(crate) mod fuzz;
mod handshake;
mod bootstrap;
mod heartbeat;
mod config_fingerprint;
mod secret;
mod settings;
mod unknown_peers;
mod watchdog;
mod wire;

#[cfg(test)]
mod tests;

pub use secret::{Secret, SecretError};

pub(crate) use settings::Settings;
pub(crate) use shutdown::{die, die_on_panic, leave};
pub(crate) use watchdog::{Turns, Watchdog};

use anyhow::{Context, Result, anyhow};
use frame::Frame;
use heartbeat::Heartbeat;
use shutdown::Peers;
use socket2::{SockRef, TcpKeepalive};
use std::any::Any;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use timely::communication::Hooks;
use timely::communication::allocator::zero_copy::initialize::{
    CommsGuard, initialize_networking_from_sockets,
};
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};

/// The processes and workers of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Workers in this process.
    pub threads: usize,
    /// The index of this process, from 0.
    pub process: usize,
    /// The address of every process, `host:port`, as the others reach it. Empty or of one element if there is one
    /// process.
    pub addresses: Vec<String>,
    /// The address to listen on, if it differs from this process's address: `0.0.0.0:2101` in a container.
    pub listen: Option<String>,
    /// The secret that the processes share. Without one they connect on loopback only.
    pub secret: Option<Secret>,
    /// How long the cluster waits for each kind of event.
    pub timeouts: Timeouts,
}

/// How long the cluster waits for each kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the other processes to connect, at the start.
    pub join: Duration,
    /// For a heartbeat of another process.
    pub peer: Duration,
    /// For a turn of a worker of this process.
    pub stall: Duration,
    /// For the reader of a pipe, once the job has been asked to stop.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            join: Duration::from_secs(60),
            peer: Duration::from_secs(8),
            stall: Duration::from_secs(300),
            stop: Duration::from_secs(10),
        }
    }
}

impl Cluster {
    /// A single process with this many workers.
    pub fn of_threads(threads: usize) -> Cluster {
        Cluster {
            threads,
            process: 0,
            addresses: Vec::new(),
            listen: None,
            secret: None,
            timeouts: Timeouts::default(),
        }
    }

    /// The number of processes, at least 1.
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    /// The name of a process in messages.
    fn name(&self, process: usize) -> String {
        match self.addresses.get(process) {
            Some(address) => format!("process {process} ({address})"),
            None => format!("process {process}"),
        }
    }

    fn peers(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.process;
        (0..self.processes()).filter(move |process| *process != me)
    }
}

/// Whether an address `host:port` is a loopback address, which no other machine can reach. A host name other than
/// `localhost` counts as none.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// This process as a member of a complete cluster.
pub(crate) struct Joined {
    threads: usize,
    process: usize,
    /// The data connections, until timely's workers are started with them.
    data: Vec<Option<TcpStream>>,
    /// The heartbeat. Dropping it ends the watch.
    watch: Option<Watch>,
}

/// The builders of timely's workers, and a guard that must be held until the workers are done.
type Workers = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

impl Joined {
    /// The builders of this process's workers. After this call the process cannot leave the cluster early: it ends
    /// when its workers are done, or by [`die`].
    pub(crate) fn workers(&mut self) -> Result<Workers> {
        let threads = self.threads;
        let Some(Watch(heartbeat)) = &self.watch else {
            let alone = match threads {
                1 => timely::CommunicationConfig::Thread,
                threads => timely::CommunicationConfig::Process(threads),
            };
            return alone.try_build().map_err(|error| anyhow!("cannot start the workers: {error}"));
        };
        let hooks = Hooks::default();
        let workers = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), hooks.spill.clone());
        let data = std::mem::take(&mut self.data);
        let (builders, connections) =
            initialize_networking_from_sockets(workers, data, self.process, threads, hooks)
                .context("cannot start the connections of the cluster")?;
        let farewell = Farewell { _goodbye: Goodbye(Arc::clone(heartbeat)), _connections: connections };
        Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(farewell)))
    }

    /// Reports to the other processes why this one is about to end. Their failures are ignored from now on, because
    /// they only follow this one.
    pub(crate) fn tell(&self, failure: &anyhow::Error) {
        if let Some(Watch(heartbeat)) = &self.watch {
            heartbeat.finish();
            heartbeat.tell(&Frame::Failed(format!("{failure:#}")));
        }
    }
}

/// Watches the other processes while it is held.
struct Watch(Arc<Heartbeat>);

impl Drop for Watch {
    fn drop(&mut self) {
        shutdown::set_peers(None);
        self.0.finish();
    }
}

/// The guard of the workers. When they are done, it is dropped in this order: first it says goodbye to the other
/// processes, so that they do not miss this one. Then it sends the data that is still in flight.
struct Farewell {
    _goodbye: Goodbye,
    _connections: CommsGuard,
}

struct Goodbye(Arc<Heartbeat>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.say_goodbye();
    }
}

/// After this time without traffic a connection is probed, and then at the same interval. Firewalls forget quiet
/// connections, and the workers of an idle job send nothing. A lost process is detected by its heartbeat, not by
/// this.
const QUIET: Duration = Duration::from_secs(30);

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(QUIET).with_interval(QUIET);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// Waits until all processes of the cluster are connected. `None` if `stop` was set before that.
///
/// # Errors
/// When a process is still missing after the join time-out, when a process has other settings, or when this process
/// is refused. The message is for the user.
pub(crate) fn join(cluster: &Cluster, settings: Settings, stop: &AtomicBool) -> Result<Option<Joined>> {
    let Cluster { threads, process, .. } = *cluster;
    if cluster.processes() == 1 {
        return Ok(Some(Joined { threads, process, data: Vec::new(), watch: None }));
    }
    let until = Instant::now() + cluster.timeouts.join;
    let Some(connections) = bootstrap::connect(cluster, settings, until, stop)? else { return Ok(None) };
    let Some(heartbeat) = Heartbeat::start(cluster, connections.heartbeats, until, stop)? else {
        return Ok(None);
    };
    connections.data.iter().flatten().try_for_each(keep_alive).context("cannot keep a connection alive")?;
    shutdown::set_peers(Some(Arc::<Heartbeat>::clone(&heartbeat)));
    Ok(Some(Joined { threads, process, data: connections.data, watch: Some(Watch(heartbeat)) }))
}
