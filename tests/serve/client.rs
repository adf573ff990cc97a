//! A plain HTTP client: one request for each connection, and streams of events.

pub(super) use crate::metrics::free_address;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An HTTP response.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The status line and the headers, in lower case.
    pub(super) head: String,
    pub(super) body: String,
}

/// Sends a request with an additional header. `None` if nobody answers.
pub(super) fn send(address: &str, method: &str, target: &str, header: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}");
    // The server may refuse before it has read everything.
    let _ = stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

pub(super) fn get(address: &str, target: &str) -> Option<Answer> {
    send(address, "GET", target, "", "")
}

pub(super) fn get_with(address: &str, target: &str, header: &str) -> Option<Answer> {
    send(address, "GET", target, header, "")
}

pub(super) fn post(address: &str, target: &str, body: &str) -> Option<Answer> {
    send(address, "POST", target, "Content-Type: application/json", body)
}

/// The JSON of a response with status 200.
#[track_caller]
pub(super) fn json(address: &str, target: &str) -> Value {
    let answer = get(address, target).expect("it answers");
    assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// An event of a stream.
pub(super) struct Event {
    pub(super) id: String,
    pub(super) data: Value,
}

/// A stream of events.
pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    /// Opens a stream, as a reader that has the event `last`.
    pub(super) fn open(address: &str, target: &str, last: Option<&str>) -> Events {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\n{last}\r\n").unwrap();
        let mut events = Events(BufReader::new(stream));
        let status = events.line();
        assert!(status.contains(" 200 "), "{status}");
        while !events.line().is_empty() {}
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the stream has ended");
        line.trim_end().to_owned()
    }

    /// Waits for the next event.
    pub(super) fn next(&mut self) -> Event {
        let mut event = Event { id: String::new(), data: Value::Null };
        loop {
            let line = self.line();
            if let Some(id) = line.strip_prefix("id:") {
                event.id = id.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                event.data = serde_json::from_str(data).unwrap();
            }
            if event.data != Value::Null && !event.id.is_empty() || line == "id:" {
                return event;
            }
        }
    }
}
