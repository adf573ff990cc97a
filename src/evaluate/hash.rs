//! The hash that stands for chance: which item of an order is hidden, which sessions are sampled, what random is.
//!
//! It depends on a seed and on ids, so it is the same on every machine and in every language: FNV-1a of 64 bits over
//! the bytes, begun with the seed, and the finaliser of SplitMix64 behind it.

/// The hash of an id.
///
/// ```
/// use deltacart::evaluate::hash::hash;
/// assert_eq!(hash(1, "tea"), hash(1, "tea"));
/// assert_ne!(hash(1, "tea"), hash(2, "tea"));
/// ```
pub fn hash(seed: u64, id: &str) -> u64 {
    let begin = 0xcbf2_9ce4_8422_2325 ^ mix(seed);
    mix(id.bytes().fold(begin, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// The hash of two numbers.
pub fn hash_numbers(seed: u64, number: u64) -> u64 {
    mix(mix(seed).wrapping_add(number))
}

/// Whether an id is in a sample of this share of all ids.
pub fn is_sampled(seed: u64, id: &str, share: f64) -> bool {
    // 53 bits are what a double holds exactly.
    ((hash(seed ^ SAMPLE, id) >> 11) as f64) < share * (1u64 << 53) as f64
}

/// Keeps the sample apart from what else the seed decides.
const SAMPLE: u64 = 0x5eed;

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first output of SplitMix64 with the seed 1234567, as its reference implementation has it.
    #[test]
    fn finaliser_is_that_of_the_reference() {
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
    }

    #[test]
    fn shares_of_samples() {
        let ids: Vec<String> = (0..10_000).map(|id| format!("basket-{id}")).collect();
        let count = |share| ids.iter().filter(|id| is_sampled(1, id, share)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((900..1100).contains(&count(0.1)), "{}", count(0.1));
    }
}
