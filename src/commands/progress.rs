//! Progress of `run`: how far a replay has read, and when the job has caught up.
//!
//! A replay of files shows a progress bar if standard error is a terminal. Otherwise, lines are logged at intervals.

use crate::metrics::InputProgress;
use crate::plural::counted;
use crate::process::Handle;
use deltacart_inputs::file::FileProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two drawings of the bar.
const REFRESH: Duration = Duration::from_millis(100);

/// A progress bar on standard error. It is drawn until this is dropped.
pub(super) struct Bar {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// Starts a thread that draws the bar.
    pub(super) fn start(progress: FileProgress) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let bar = ProgressBar::no_length();
            let template =
                "{bar:40} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            while !until.load(Ordering::Relaxed) {
                if let Some(total) = progress.bytes_total() {
                    bar.set_length(total);
                    bar.set_position(progress.bytes_read());
                }
                thread::sleep(REFRESH);
            }
            bar.finish_and_clear();
        });
        Bar { done, thread: Some(thread) }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A bar that cannot be drawn must not fail the job.
            let _ = thread.join();
        }
    }
}

/// The time between two looks at the progress of the job.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The time between two lines of a job that has not caught up.
const REPLAY_EVERY: Duration = Duration::from_secs(10);

/// The shortest time between two lines of a job that has caught up. It logs a line only if it has read records since.
const LIVE_EVERY: Duration = Duration::from_secs(600);

/// A thread that logs progress. It runs until this is dropped.
pub(super) struct Reporter {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    /// Starts the thread that logs progress.
    ///
    /// `is_live` means that a topic is read without end: there is a moment at which the job has caught up, and more
    /// records may come.
    pub(super) fn start(handle: Handle, is_live: bool) -> Self {
        handle.meter().watch();
        let done = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let mut report =
                Report { start: Instant::now(), said: Instant::now(), before: 0, has_caught_up: false };
            while !until.load(Ordering::Relaxed) {
                thread::sleep(LOOK_EVERY);
                let (records, files) = (handle.meter().progress(), handle.progress());
                let bytes =
                    files.bytes_total().filter(|total| *total > 0).map(|total| (files.bytes_read(), total));
                if let Some(line) = report.line(records, bytes, is_live, Instant::now()) {
                    tracing::info!("{line}");
                }
            }
        });
        Reporter { done, thread: Some(thread) }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Lines that cannot be written must not fail the job.
            let _ = thread.join();
        }
    }
}

/// What the last line reported, and when.
struct Report {
    start: Instant,
    said: Instant,
    /// The records that were read at the last line.
    before: u64,
    has_caught_up: bool,
}

impl Report {
    /// The line that is due now, if any. `bytes` are the bytes read and the total size, which are known of files.
    fn line(
        &mut self,
        now: InputProgress,
        bytes: Option<(u64, u64)>,
        is_live: bool,
        at: Instant,
    ) -> Option<String> {
        let since = at.saturating_duration_since(self.said).as_secs_f64();
        let elapsed = at.saturating_duration_since(self.start).as_secs_f64();
        let rate = now.records.saturating_sub(self.before) as f64 / since.max(0.001);
        let records = now.records;
        if now.waits_for.is_none() && is_live && !self.has_caught_up {
            (self.has_caught_up, self.said, self.before) = (true, at, records);
            let read = counted(records, "record(s)");
            return Some(format!(
                "caught up after {elapsed:.1} s: {read} read, every list is out; waiting for more"
            ));
        }
        let every = if self.has_caught_up { LIVE_EVERY } else { REPLAY_EVERY };
        if since < every.as_secs_f64() {
            return None;
        }
        let has_moved = records > self.before;
        if self.has_caught_up && !has_moved {
            return None;
        }
        (self.said, self.before) = (at, records);
        if !has_moved {
            return now.waits_for;
        }
        let read = counted(records, "record(s)");
        Some(match bytes {
            _ if self.has_caught_up => format!("{read} read, {rate:.0} a second; {} behind", now.left),
            Some((done, total)) => {
                let left = total.saturating_sub(done) as f64 * elapsed / (done.max(1) as f64);
                let percent = done as f64 * 100.0 / total as f64;
                format!("{percent:.0} % of the input, {read}, {rate:.0} a second, about {left:.0} s left")
            }
            None if now.left > 0 => {
                let (all, left) = (records + now.left, now.left as f64 / rate.max(1.0));
                format!("{read} of {all} read, {rate:.0} a second, about {left:.0} s left")
            }
            None => format!("{read} read, {rate:.0} a second"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(records: u64, left: u64, caught_up: bool) -> InputProgress {
        InputProgress { records, left, waits_for: (!caught_up).then(|| "starting".to_owned()) }
    }

    #[test]
    fn a_replay_says_how_far_how_fast_and_how_long_still() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let report = || Report { start, said: start, before: 0, has_caught_up: false };
        let mut topic = report();
        assert_eq!(topic.line(progress(500, 100, false), None, true, at(9)), None);
        let line = topic.line(progress(4000, 12000, false), None, true, at(10)).unwrap();
        assert_eq!(line, "4000 records of 16000 read, 400 a second, about 30 s left");
        let line = topic.line(progress(16000, 0, true), None, true, at(15)).unwrap();
        assert_eq!(line, "caught up after 15.0 s: 16000 records read, every list is out; waiting for more");
        assert_eq!(topic.line(progress(16000, 0, true), None, true, at(3000)), None, "nothing has come");
        let line = topic.line(progress(16600, 3, true), None, true, at(3015)).unwrap();
        assert_eq!(line, "16600 records read, 0 a second; 3 behind");
        let mut waiting = report();
        assert_eq!(waiting.line(progress(0, 0, false), None, true, at(10)).as_deref(), Some("starting"));
        let mut file = report();
        let line = file.line(progress(1000, 0, false), Some((25, 100)), false, at(10)).unwrap();
        assert_eq!(line, "25 % of the input, 1000 records, 100 a second, about 30 s left");
        assert_eq!(file.line(progress(4000, 0, true), Some((100, 100)), false, at(11)), None);
    }
}
