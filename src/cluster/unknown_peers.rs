//! UnknownPeers: connections of unknown peers, which have not proved yet that they belong to the cluster.
//!
//! Their number is bounded, and a new one always gets in. If there is no room, the host with the most strangers loses
//! its oldest one. So a peer that opens many connections and sends nothing cannot keep a process of the cluster out.
//! That process proves itself within milliseconds and then is no stranger.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most strangers at a time.
pub(super) const UNKNOWN_PEERS_MAX: usize = 64;

/// Connections without a proof, oldest first; at most [`UNKNOWN_PEERS_MAX`].
#[derive(Default)]
pub(super) struct UnknownPeers(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    next: u64,
    unknown_peers: VecDeque<Stranger>,
}

struct Stranger {
    number: u64,
    host: IpAddr,
    stream: TcpStream,
}

impl UnknownPeers {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection and returns its number. If there is no room, an older one is closed.
    ///
    /// # Errors
    /// When the process may open no more files.
    pub(super) fn enter(&self, stream: &TcpStream, host: IpAddr) -> io::Result<u64> {
        let stream = stream.try_clone()?;
        let mut waiting = self.waiting();
        if waiting.unknown_peers.len() >= UNKNOWN_PEERS_MAX {
            waiting.close_one();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.unknown_peers.push_back(Stranger { number, host, stream });
        Ok(number)
    }

    /// Removes a connection that has given its proof or has ended. Returns false if it was closed to make room.
    pub(super) fn leave(&self, number: u64) -> bool {
        let unknown_peers = &mut self.waiting().unknown_peers;
        let place = unknown_peers.iter().position(|stranger| stranger.number == number);
        place.and_then(|place| unknown_peers.remove(place)).is_some()
    }
}

impl Waiting {
    /// Closes the oldest connection of the host that has the most. Other hosts keep theirs.
    fn close_one(&mut self) {
        let hosts = self.unknown_peers.iter().map(|stranger| stranger.host);
        let count = |host: IpAddr| self.unknown_peers.iter().filter(|stranger| stranger.host == host).count();
        let Some(host) = hosts.max_by_key(|host| count(*host)) else { return };
        let oldest = self.unknown_peers.iter().position(|stranger| stranger.host == host);
        if let Some(stranger) = oldest.and_then(|place| self.unknown_peers.remove(place)) {
            // The connection's thread sees it closed, whether it reads or writes.
            let _ = stranger.stream.shutdown(Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn the_host_that_has_most_gives_up_its_oldest() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            there.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            (there, listener.accept().unwrap().0)
        };
        let [crowd, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|host| host.parse().unwrap());
        let unknown_peers = UnknownPeers::default();
        let mut held = Vec::new();
        let mut enter = |host| {
            let (there, here) = connect();
            let number = unknown_peers.enter(&here, host).unwrap();
            held.push((there, here));
            number
        };
        let lone = enter(other);
        let first = enter(crowd);
        let rest: Vec<u64> = (0..UNKNOWN_PEERS_MAX - 1).map(|_| enter(crowd)).collect();
        assert!(!unknown_peers.leave(first), "the oldest of the crowd has gone");
        assert!(unknown_peers.leave(lone) && !unknown_peers.leave(lone), "it was there, once");
        assert!(rest.iter().all(|number| unknown_peers.leave(*number)));
        assert_eq!(held[1].0.read(&mut [0]).unwrap(), 0, "its connection is closed");
        assert!(held[0].0.read(&mut [0]).is_err(), "and no other");
    }
}
