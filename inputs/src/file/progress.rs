//! How far the files have been read, for a progress bar that another thread draws.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Counts the bytes of all files that share it: make one, and give a clone to the source of each worker.
#[derive(Clone, Debug, Default)]
pub struct FileProgress {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    read: AtomicU64,
    total: AtomicU64,
    endless: AtomicBool,
}

impl FileProgress {
    /// Bytes read so far, compressed ones where a file is compressed.
    pub fn bytes_read(&self) -> u64 {
        self.counters.read.load(Relaxed)
    }

    /// The sizes of all files together; `None` if one of the inputs is standard input or a pipe.
    pub fn bytes_total(&self) -> Option<u64> {
        let endless = self.counters.endless.load(Relaxed);
        (!endless).then(|| self.counters.total.load(Relaxed))
    }

    pub(super) fn add_read(&self, bytes: u64) {
        self.counters.read.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_file(&self, bytes: u64) {
        self.counters.total.fetch_add(bytes, Relaxed);
    }

    pub(super) fn add_pipe(&self) {
        self.counters.endless.store(true, Relaxed);
    }
}
