//! A little HTTP, and a gate before a registry: closed, nothing behind it can be reached.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Asks something at a host and port: the status and the body, or nothing where nobody answers.
pub(super) fn http(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// An address behind which a registry is, as long as the gate is open.
pub(super) struct Gate {
    pub(super) address: String,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn closed(registry: &str) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_open = Arc::new(AtomicBool::new(false));
        let (registry, open) = (registry.to_owned(), Arc::clone(&is_open));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Dropped, the connection is reset: the registry is down.
                if open.load(Ordering::Relaxed) {
                    let behind = TcpStream::connect(&registry).unwrap();
                    pass(stream.try_clone().unwrap(), behind.try_clone().unwrap());
                    pass(behind, stream);
                }
            }
        });
        Gate { address, is_open }
    }

    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}

/// Passes bytes on until there are no more.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
