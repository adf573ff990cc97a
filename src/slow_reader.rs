//! The slow reader: limits how long a job that was asked to stop waits for the reader of its output.
//!
//! ```text
//!  worker ── write ──▶ pipe ──▶ reader, 1 KB/s
//!    ▲ blocked in the write, does not see the request to stop
//!    └─ watched from outside: a thread ends the process when the time is over
//! ```
//!
//! A write to a pipe waits until the reader takes it. An orderly shutdown writes all records that are in flight. So a
//! reader of 1 KB/s held up a job with some hundred kilobytes for minutes. Files and topics have no such reader.

use crate::cluster::die;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the thread looks, and how many looks in a row must find a waiting write.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS: u32 = 10;

/// Watches while it is held.
pub(crate) struct SlowReader(Arc<AtomicBool>);

impl SlowReader {
    /// Ends the process if a write to `path` still waits `patience` after `stop` was set. `is_writing` says whether a
    /// write is in progress. `None` if writes to `path` wait for no reader.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn watch(
        path: &str,
        stop: &Arc<AtomicBool>,
        patience: Duration,
        is_writing: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<Option<SlowReader>> {
        if !has_reader(path) {
            return Ok(None);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, stop) = (Arc::clone(&is_over), Arc::clone(stop));
        let place = if path == "-" { "standard output".to_owned() } else { path.to_owned() };
        let run = move || {
            let (mut stopped, mut waits) = (None, 0);
            while !over.load(Ordering::Relaxed) {
                thread::sleep(LOOK);
                if !stop.load(Ordering::Relaxed) {
                    continue;
                }
                let since = *stopped.get_or_insert_with(Instant::now);
                waits = if is_writing() { waits + 1 } else { 0 };
                if waits >= LOOKS && since.elapsed() >= patience && !over.load(Ordering::Relaxed) {
                    die(&format!(
                        "the reader of {place} has not taken what was written within {patience:?} of the request to stop: \
                         its last line may be torn"
                    ));
                }
            }
        };
        thread::Builder::new().name("slow-reader".to_owned()).spawn(run)?;
        Ok(Some(SlowReader(is_over)))
    }
}

impl Drop for SlowReader {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether writes to the path wait for a reader: it is a pipe, a terminal or a socket.
fn has_reader(path: &str) -> bool {
    path == "-" || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_no_reader() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lists.jsonl");
        assert!(!has_reader(file.to_str().unwrap()), "it will be a file");
        fs::write(&file, "").unwrap();
        assert!(!has_reader(file.to_str().unwrap()));
        assert!(has_reader("-") && has_reader("/dev/null"));
    }
}
