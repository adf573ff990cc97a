//! A word to the processor: this memory is wanted soon.
//!
//! The rows that an epoch touches are known before they are visited and lie scattered in memory, so without this each
//! visit waits for them; and so do the baskets that a pass adds up, and the lists of them that counts intersect.

/// The size of a cache line on the processors that matter here, in bytes.
const LINE: usize = 64;

/// How far ahead of a loop a place is asked for, and what a place holds.
const PLACES_AHEAD: usize = 12;
const INSIDES_AHEAD: usize = 4;

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

/// A loop visits some of the values in this order and has come to `at`: asks for one that it comes to later, and by
/// `inside` for what a nearer one points to.
#[inline]
pub(super) fn prefetch_ahead<T>(values: &[T], order: &[u32], at: usize, inside: impl Fn(&T)) {
    let value_at = |at: usize| order.get(at).map(|&index| &values[index as usize]);
    if let Some(later) = value_at(at + PLACES_AHEAD) {
        prefetch_value(later);
    }
    if let Some(soon) = value_at(at + INSIDES_AHEAD) {
        inside(soon);
    }
}
