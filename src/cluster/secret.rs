//! What the processes of a cluster prove to each other that they know.
//!
//! # Notes
//! - It is never on a command line, which anyone on the machine can list, and in no message and no `Debug` output.

use deltacart_inputs::secrets::warn_of_readers;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use thiserror::Error;

/// The shortest secret: whoever answers in place of a process gets a proof by which secrets can be tried out at
/// leisure, so it must be one that cannot be guessed.
const BYTES_MIN: usize = 16;

/// The longest, so that a wrong path is not read to its end.
const BYTES_MAX: usize = 4096;

/// A proof that somebody knows the secret.
pub(super) type Proof = [u8; 32];

/// A shared secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why there is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
    /// It could be guessed.
    #[error("it has {0} bytes and must have at least {BYTES_MIN}; `openssl rand -hex 32` makes a good one")]
    Short(usize),
    /// It is something else.
    #[error("it has more than {BYTES_MAX} bytes: is it the right file?")]
    Long,
}

impl Secret {
    /// The secret of these bytes, without the white space around them, which editors add.
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

    /// The secret in a file; one that everybody can read is warned of.
    ///
    /// # Errors
    /// When it cannot be read, or is too short or too long.
    pub fn from_file(path: &Path) -> Result<Secret, SecretError> {
        warn_of_readers(path);
        let mut bytes = Vec::new();
        File::open(path)?.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > BYTES_MAX { Err(SecretError::Long) } else { Secret::new(&bytes) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Starts a proof over `parts`, each with its length, for the purpose called `label`. Without a secret the key is
/// empty: the same steps, which prove nothing.
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

/// Whether the other side has proved the same, in a time that does not tell how nearly.
pub(super) fn is_proved(secret: Option<&Secret>, label: &str, parts: &[&[u8]], proof: &Proof) -> bool {
    mac(secret, label, parts).verify_slice(proof).is_ok()
}
