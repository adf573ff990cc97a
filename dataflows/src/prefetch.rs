//! Prefetching: the processor is asked for memory some steps before it is read.
//!
//! The rows that an epoch concerns lie scattered in memory, and so do the baskets of an item. Their order is known
//! before the loop over them starts. Without prefetching every visit would wait for main memory.

use crate::id_vec::{Id, IdVec};

/// Bytes of a cache line on the processors that matter here.
const CACHE_LINE: usize = 64;

/// How many visits ahead a value is requested.
const VALUES_AHEAD: usize = 12;

/// How many visits ahead the memory is requested that a value points to. Its value has arrived by then.
const CONTENT_AHEAD: usize = 4;

/// Requests `lines` cache lines from `at` on. Does nothing where the processor has no such instruction.
#[inline]
pub(crate) fn prefetch<T>(at: *const T, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = at.cast::<i8>().wrapping_add(line * CACHE_LINE);
        // SAFETY: a prefetch has no effect that a program can see, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, lines, CACHE_LINE);
}

/// Requests all of a value, though not what it points to.
#[inline]
pub(crate) fn prefetch_value<T>(value: &T) {
    prefetch(value, size_of::<T>().div_ceil(CACHE_LINE));
}

/// Prefetches for a loop that visits `values` in this `order` and is `at` this visit. Requests a later value, and calls
/// `prefetch_content` with a nearer one to request what it points to.
#[inline]
pub(crate) fn prefetch_ahead<I: Id, T>(
    values: &IdVec<I, T>,
    order: &[I],
    at: usize,
    prefetch_content: impl Fn(&T),
) {
    let value_at = |at: usize| order.get(at).map(|&id| &values[id]);
    if let Some(later) = value_at(at + VALUES_AHEAD) {
        prefetch_value(later);
    }
    if let Some(soon) = value_at(at + CONTENT_AHEAD) {
        prefetch_content(soon);
    }
}
