//! Files with secrets, which are to be read by few.

use std::path::Path;

/// Warns if everybody on this machine can read the file of this path, which holds a secret.
pub fn warn_of_readers(path: &Path) {
    if is_open_to_all(path) {
        let path = path.display();
        tracing::warn!("{path} holds a secret, and everybody on this machine can read it: chmod o-r {path}");
    }
}

/// Whether others may read the file, and enter every folder above it. Where that cannot be told, they may not.
#[cfg(unix)]
fn is_open_to_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    const READ: u32 = 0o004;
    const ENTER: u32 = 0o001;
    let may = |path: &Path, what: u32| {
        path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & what != 0)
    };
    let Ok(path) = path.canonicalize() else { return false };
    may(&path, READ) && path.ancestors().skip(1).all(|folder| may(folder, ENTER))
}

#[cfg(not(unix))]
fn is_open_to_all(_path: &Path) -> bool {
    false
}
