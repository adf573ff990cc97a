//! The heartbeat: each process pings every other process each second, and listens for their pings.
//!
//! The messages are described in `frame`.
//!
//! Silence is counted in reads that found nothing, not by the clock. A process that was suspended, perhaps with its
//! whole machine, did not listen in that time and must blame nobody.

use super::Cluster;
use super::frame::Frame;
use super::settings::shown;
use super::shutdown::{self, Peers};
use super::wire::is_timeout;
use anyhow::{Context, Result, bail};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a process sends a ping.
const PING: Duration = Duration::from_secs(1);

/// How long writing a frame may take. A frame is small.
const WRITE_PATIENCE: Duration = Duration::from_millis(200);

/// How many silent reads make up the time after which a process counts as gone.
const TICKS: u32 = 20;

/// How long a connected process waits for the others beyond the join time-out, because theirs began later.
const READY_PATIENCE: Duration = Duration::from_secs(5);

/// How long a lost heartbeat connection waits for another process to report the cause.
const BETTER_WORDS: Duration = Duration::from_millis(200);

/// Reads frames from another process.
pub(super) struct HeartbeatReader {
    stream: TcpStream,
    /// The bytes of frames that are not complete yet. They are bounded by one frame and one read.
    bytes: Vec<u8>,
}

impl HeartbeatReader {
    fn new(stream: TcpStream) -> HeartbeatReader {
        HeartbeatReader { stream, bytes: Vec::new() }
    }

    /// The next frame; `None` if there was none within `tick`.
    fn next(&mut self, tick: Duration) -> io::Result<Option<Frame>> {
        self.stream.set_read_timeout(Some(tick))?;
        loop {
            if let Some((frame, length)) = Frame::decode(&self.bytes)? {
                self.bytes.drain(..length);
                return Ok(Some(frame));
            }
            let mut bytes = [0; 512];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.bytes.extend_from_slice(&bytes[..read]),
                // This also happens when this process was suspended and continues.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Another process.
struct Peer {
    process: usize,
    /// The name of the process in messages.
    name: String,
    mouth: Mutex<TcpStream>,
}

impl Peer {
    /// Sends a frame, unless that takes long. A process that does not read is detected in other ways.
    fn say(&self, frame: &Frame) {
        let start = Instant::now();
        loop {
            match self.mouth.try_lock() {
                Ok(mut mouth) => {
                    let _ = mouth.write_all(&frame.encode());
                    return;
                }
                // A thread that panicked here has written at most half a frame, which the other side detects.
                Err(TryLockError::Poisoned(_)) => return,
                Err(TryLockError::WouldBlock) if start.elapsed() < WRITE_PATIENCE => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => return,
            }
        }
    }
}

/// The heartbeat between this process and all others.
pub(super) struct Heartbeat {
    peers: Vec<Peer>,
    silence_max: Duration,
    /// Failures of other processes are ignored from now on.
    finished: AtomicBool,
}

impl Heartbeat {
    /// Waits until every process has all its connections, then begins to watch them. `None` if `stop` was set before.
    pub(super) fn start(
        cluster: &Cluster,
        streams: Vec<Option<TcpStream>>,
        until: Instant,
        stop: &AtomicBool,
    ) -> Result<Option<Arc<Heartbeat>>> {
        let (mut peers, mut readers) = (Vec::new(), Vec::new());
        for (process, stream) in streams.into_iter().enumerate() {
            let Some(stream) = stream else { continue };
            stream.set_write_timeout(Some(WRITE_PATIENCE))?;
            let mouth = Mutex::new(stream.try_clone()?);
            readers.push(HeartbeatReader::new(stream));
            peers.push(Peer { process, name: cluster.name(process), mouth });
        }
        peers.iter().for_each(|peer| peer.say(&Frame::Ready));
        for (peer, reader) in peers.iter().zip(&mut readers) {
            if !wait_for(peer, reader, until + READY_PATIENCE, stop)? {
                return Ok(None);
            }
        }
        let finished = AtomicBool::new(false);
        let heartbeat = Arc::new(Heartbeat { peers, silence_max: cluster.timeouts.peer, finished });
        for (index, reader) in readers.into_iter().enumerate() {
            let listener = Arc::clone(&heartbeat);
            let name = format!("cluster:hear-{}", heartbeat.peers[index].process);
            let run = move || listener.listen(&listener.peers[index], reader);
            thread::Builder::new().name(name).spawn(run).context("cannot start a thread")?;
        }
        let speaker = Arc::clone(&heartbeat);
        let run = move || speaker.speak();
        thread::Builder::new().name("cluster:ping".to_owned()).spawn(run).context("cannot start a thread")?;
        Ok(Some(heartbeat))
    }

    /// Reports that this process has finished. It waits for the others, and still ends if one of them fails.
    pub(super) fn say_goodbye(&self) {
        self.tell(&Frame::Goodbye);
    }

    /// Ends the watch: this process is done, or has reported its failure. Failures of others are ignored from now on.
    pub(super) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    fn speak(&self) {
        let pause = PING.min(self.silence_max / 4);
        while !self.is_finished() {
            self.tell(&Frame::Ping);
            thread::sleep(pause);
        }
    }

    /// Listens to one process until it says goodbye. Ends this process if the other one fails or is lost.
    fn listen(&self, peer: &Peer, mut reader: HeartbeatReader) {
        let mut silent = 0;
        loop {
            let heard = reader.next(self.silence_max / TICKS);
            if self.is_finished() {
                return;
            }
            let name = &peer.name;
            match heard {
                Ok(Some(Frame::Ping | Frame::Ready)) => silent = 0,
                Ok(Some(Frame::Goodbye)) => return,
                Ok(Some(Frame::Enough)) => shutdown::leave(),
                Ok(Some(Frame::Failed(why))) => {
                    shutdown::follow(&format!("{name} has ended: {}", shown(&why)));
                }
                Ok(Some(Frame::Follows(message))) => shutdown::follow(&shown(&message)),
                Ok(None) => silent += 1,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    shutdown::die(&format!("the connection to {name} is of no use: {error}"));
                }
                Err(_) => {
                    // Another process may know the cause: if two end, the end of the second may be seen first.
                    thread::sleep(BETTER_WORDS);
                    shutdown::die(&format!("{name} is gone: it was killed, or its machine was"));
                }
            }
            if silent >= TICKS {
                let span = self.silence_max;
                shutdown::die(&format!(
                    "{name} has not been heard for {span:?}: it hangs, or its network does"
                ));
            }
        }
    }
}

impl Peers for Heartbeat {
    fn tell(&self, frame: &Frame) {
        self.peers.iter().for_each(|peer| peer.say(frame));
    }

    fn name_of(&self, process: usize) -> Option<&str> {
        self.peers.iter().find(|peer| peer.process == process).map(|peer| peer.name.as_str())
    }
}

/// Waits until another process is ready. Returns false if `stop` was set before.
fn wait_for(peer: &Peer, reader: &mut HeartbeatReader, until: Instant, stop: &AtomicBool) -> Result<bool> {
    const TICK: Duration = Duration::from_millis(50);
    loop {
        match reader.next(TICK) {
            Ok(Some(Frame::Ready)) => return Ok(true),
            Ok(Some(_)) => bail!("{} says what does not belong to a start", peer.name),
            Ok(None) if stop.load(Ordering::Relaxed) => return Ok(false),
            Ok(None) if Instant::now() < until => {}
            Ok(None) => bail!("{} still waits for others; its log says for whom", peer.name),
            Err(_) => bail!("{} has left while the cluster started; its log says why", peer.name),
        }
    }
}
