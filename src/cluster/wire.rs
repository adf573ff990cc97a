//! A connection with a deadline.
//!
//! The deadline holds whatever the other side does: if it sends nothing, sends a byte a second, or never reads.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A connection with one deadline for all reads and writes.
pub(super) struct Wire {
    stream: TcpStream,
    until: Instant,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, until: Instant) -> io::Result<Wire> {
        // On some systems an accepted connection inherits the listener's non-blocking mode.
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, until })
    }

    /// The connection with another deadline.
    pub(super) fn with_deadline(self, until: Instant) -> Wire {
        Wire { until, ..self }
    }

    /// The connection without its deadline.
    pub(super) fn into_stream(self) -> io::Result<TcpStream> {
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(None)?;
        Ok(self.stream)
    }

    fn time_left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(too_late()) } else { Ok(left) }
    }
}

/// Reads exactly `N` bytes.
pub(super) fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// Replaces the socket's own time-out error, whose text differs by system.
fn in_words(error: io::Error) -> io::Error {
    if is_timeout(&error) { too_late() } else { error }
}

/// Whether a read or write of a socket timed out.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.time_left()?))?;
        self.stream.read(bytes).map_err(in_words)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.time_left()?))?;
        self.stream.write(bytes).map_err(in_words)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
