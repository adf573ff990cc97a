//! FNV-1a, a 64-bit hash of one line that is the same on every machine and in every language.

/// The hash of no bytes, from which hashing starts.
pub const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Extends `hash` by `bytes`. The first call starts with [`FNV_START`].
///
/// ```
/// use deltacart_testing::{FNV_START, fnv1a};
/// assert_eq!(fnv1a(FNV_START, b"foobar"), 0x8594_4171_f739_67e8);
/// ```
pub fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
