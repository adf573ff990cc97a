//! A word to the processor: this memory is wanted soon.
//!
//! The rows that an epoch touches are known before they are visited and lie scattered in memory, so without this each
//! visit waits for them. With it, retail in epochs of 1,000 events takes a sixth less time.

/// The size of a cache line on the processors that matter here, in bytes.
const LINE: usize = 64;

/// Asks for `lines` cache lines from `at` on. Does nothing where the processor has no such instruction.
#[inline]
pub(super) fn prefetch<T>(at: *const T, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = at.cast::<i8>().wrapping_add(line * LINE);
        // SAFETY: a prefetch has no effect that a program can see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, lines, LINE);
}
