//! How far a replay of files has come, as a bar on the terminal.

use deltacart_inputs::file::FileProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often the bar is drawn.
const REFRESH: Duration = Duration::from_millis(100);

/// A bar that is there until it is dropped.
pub(super) struct Bar {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// Draws a bar from now on.
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
            // A bar that could not be drawn is no reason to fail.
            let _ = thread.join();
        }
    }
}
