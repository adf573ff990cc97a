//! A word to the processor: this memory is wanted soon.
//!
//! The rows that an epoch touches are known before they are visited and lie scattered in memory, so without this each
//! visit waits for them; and so do the baskets that a pass adds up, and the lists of them that counts intersect.

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

/// Asks for all of a value, though not for what it points to.
#[inline]
pub(super) fn prefetch_value<T>(value: &T) {
    prefetch(value, size_of::<T>().div_ceil(LINE));
}
