//! The partition of a key: the one that a Java client would write it to and look for it in.
//!
//! The job computes it itself. A client library uses the current number of partitions. In a topic that grew, the
//! records of a key would suddenly go to another partition, and the old one would keep a list for ever.

use crate::output::SinkError;
use deltacart_inputs::kafka::{KafkaSettings, existing_partitions};

/// The number of partitions by which keys are assigned; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partitions(u32);

impl Partitions {
    /// The topic's current number of partitions.
    pub(super) fn of_topic(settings: &KafkaSettings, topic: &str) -> Result<Self, SinkError> {
        let partitions = u32::try_from(existing_partitions(settings, topic)?).unwrap_or(u32::MAX);
        Ok(Partitions(partitions.max(1)))
    }

    /// The partition of a key.
    pub(super) fn of(self, key: &[u8]) -> u32 {
        (murmur2(key) & 0x7fff_ffff) % self.0
    }
}

/// Austin Appleby's MurmurHash2 with the seed of Kafka's clients.
fn murmur2(bytes: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let (words, rest) = bytes.as_chunks::<4>();
    // Only the lower 32 bits of the length count, as in the original.
    let mut hash = 0x9747_b28c ^ bytes.len() as u32;
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ (word >> 24)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, &byte| (last << 8) | u32::from(byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafka() {
        // The golden values of Kafka's own UtilsTest.testMurmur2, and of lengths that it does not cover.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert_eq!(Partitions(1).of(b"21"), 0);
        assert_eq!(Partitions(7).of(b"21"), (-973_932_308_i32 as u32 & 0x7fff_ffff) % 7);
    }
}
