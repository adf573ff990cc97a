//! The shared secret of a cluster, and the proofs that a peer knows it.
//!
//! # Notes
//! - The secret is never on a command line, which anyone on the machine can list. It is in no message and in no
//!   `Debug` output.

use deltacart_inputs::secrets::warn_of_readers;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use thiserror::Error;

/// The fewest bytes of a secret. A peer that answers in place of a process gets a proof, and can test guesses against
/// it at leisure. So the secret must be one that cannot be guessed.
const BYTES_MIN: usize = 16;

/// The most bytes of a secret, so that a wrong path is not read to its end.
const BYTES_MAX: usize = 4096;

/// A proof that a peer knows the secret: an HMAC-SHA-256.
pub(super) type Proof = [u8; 32];

/// A shared secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a secret cannot be used.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
    /// It is so short that it could be guessed.
    #[error("it has {0} bytes and must have at least {BYTES_MIN}; `openssl rand -hex 32` makes a good one")]
    Short(usize),
    /// It is too long; the file is probably another one.
    #[error("it has more than {BYTES_MAX} bytes: is it the right file?")]
    Long,
}

impl Secret {
    /// The secret in these bytes. White space around them is removed, because editors add it.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn new(bytes: &[u8]) -> Result<Secret, SecretError> {
        let bytes = bytes.trim_ascii();
        match bytes.len() {
            0..BYTES_MIN => Err(SecretError::Short(bytes.len())),
            BYTES_MIN..=BYTES_MAX => Ok(Secret(bytes.to_vec())),
            _ => Err(SecretError::Long),
        }
    }

    /// Reads the secret from a file. Warns if everybody can read the file.
    ///
    /// # Errors
    /// When the file cannot be read, or the secret is too short or too long.
    pub fn from_file(path: &Path) -> Result<Secret, SecretError> {
        warn_of_readers(path);
        let mut bytes = Vec::new();
        File::open(path)?.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > BYTES_MAX { Err(SecretError::Long) } else { Secret::new(&bytes) }
    }

    /// Whether these bytes are the secret. The comparison does not show how near a guess is.
    pub(crate) fn is(&self, guess: &[u8]) -> bool {
        let proof = |bytes: &[u8]| prove(Some(self), "the token of a client", &[bytes]);
        is_proved(Some(self), "the token of a client", &[guess], &proof(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The HMAC of `label` and `parts`, each with its length before it. The label names the purpose. Without a secret the
/// key is empty: the handshake is the same and proves nothing.
fn mac(secret: Option<&Secret>, label: &str, parts: &[&[u8]]) -> Hmac<Sha256> {
    let key = secret.map_or(&[][..], |secret| &secret.0);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in [label.as_bytes()].iter().chain(parts) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

/// The proof that this side knows the secret.
pub(super) fn prove(secret: Option<&Secret>, label: &str, parts: &[&[u8]]) -> Proof {
    mac(secret, label, parts).finalize().into_bytes().into()
}

/// Whether the other side's proof is right. The comparison takes constant time, so it does not show how near a guess
/// is.
pub(super) fn is_proved(secret: Option<&Secret>, label: &str, parts: &[&[u8]], proof: &Proof) -> bool {
    mac(secret, label, parts).verify_slice(proof).is_ok()
}
