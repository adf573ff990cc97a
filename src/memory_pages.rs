//! Memory pages: the process asks the system for pages of 4 KB instead of huge pages.
//!
//! The allocator asks for huge pages, which do not suit a job. Its state is millions of small vectors that come and
//! go. A huge page is fully resident even if only a part is in use. Each one that is released and requested again is
//! cleared as a whole. With small pages, a job takes about a fifth less memory, starts sooner from a snapshot, and
//! streams as fast.

/// Disables transparent huge pages for this process, on Linux.
pub fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay");
    }
}
