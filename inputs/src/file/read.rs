//! Reading once, whatever the system does between.

use std::io::{self, Read};

/// Reads once, however often a signal comes between; 0 is the end.
pub(super) fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
