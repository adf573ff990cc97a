//! The cluster: how the processes of a job find each other, watch each other, and end together.
//!
//! ```text
//!   process 0 ◀═══ process 1         every process listens, and calls those before it
//!       ▲              ▲             ═══ two connections of each pair: one carries the data (timely's),
//!       ╚═ process 2 ══╝                 one the pulse, a ping each second
//!
//!   join:    connect, prove the secret, compare settings (handshake) ─▶ all are there (links) ─▶ all say so ─▶ start
//!   run:     a peer is silent or gone (pulse) ─┐
//!            a worker stands still (watchdog) ─┼─▶ last words here, the same to every peer, exit code 1 (ending)
//!            a worker fails, a thread panics  ─┘
//! ```
//!
//! A cluster fails whole and fast: what is left of it could not finish an epoch anyway, and a restart is safe. So each
//! process ends with one line that names the process where it began, and a supervisor starts all of them again.
//!
//! # Notes
//! - The secret keeps strangers out while the cluster starts; the listener is closed after that. What is sent later is
//!   neither encrypted nor signed: whoever can change packets between the machines can change the data.
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
mod strangers;
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

/// The workers of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Workers of this process.
    pub threads: usize,
    /// Which process this is.
    pub process: usize,
    /// The address of every process, `host:port`, as the others reach it; none or one where there is one process.
    pub addresses: Vec<String>,
    /// Where this process listens, if not at its address: `0.0.0.0:2101` in a container.
    pub listen: Option<String>,
    /// What the processes prove to each other that they know. Without one they meet on loopback only.
    pub secret: Option<Secret>,
    /// How long is waited for what.
    pub timeouts: Timeouts,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the other processes, at the start.
    pub join: Duration,
    /// For a sign of life of another process.
    pub peer: Duration,
    /// For a turn of a worker of this process.
    pub stall: Duration,
    /// For the reader of a pipe, once the job is asked to stop.
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
    /// So many workers in this process, and no other process.
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

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    /// How a process is named to a person.
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

/// Whether an address `host:port` is of this machine, and no other can reach it.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A process of a cluster that is complete.
pub(crate) struct Joined {
    threads: usize,
    process: usize,
    /// The connections of timely, until its workers are started.
    data: Vec<Option<TcpStream>>,
    /// Ends with this.
    watch: Option<Watch>,
}

/// What timely needs to start its workers, and what is to be held until they are done.
type Workers = (Vec<AllocatorBuilder>, Box<dyn Any + Send>);

impl Joined {
    /// What the workers of this process are started with. Once they have it, this process cannot go back: it is done
    /// when they are, or ends by [`die`].
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

    /// Tells the other processes why this one is about to end. What they say from now on is no news here: that they
    /// end, too, and of this.
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
        shutdown::set_heartbeat(None);
        self.0.finish();
    }
}

/// What is dropped when the workers of this process are done, in this order: the other processes are told not to miss
/// this one, and what is on its way to them is sent.
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

/// A connection over which nothing went for so long is asked whether it is there, and again that often: firewalls
/// forget quiet ones, and the workers of an idle job have nothing to say. That a process is gone is found by its pulse.
const QUIET: Duration = Duration::from_secs(30);

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(QUIET).with_interval(QUIET);
    SockRef::from(stream).set_tcp_keepalive(&probes)
}

/// Waits until all processes of the cluster are connected. None if `stop` was set before they were.
///
/// # Errors
/// With a message for a person, when a process is missing after the time for it, when one runs with other settings, or
/// when this one is refused.
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
    shutdown::set_heartbeat(Some(Arc::clone(&heartbeat)));
    Ok(Some(Joined { threads, process, data: connections.data, watch: Some(Watch(heartbeat)) }))
}
