//! The identity of files: no command may read and write the same file, or lose the content of an existing one.
//!
//! Two paths can mean the same file: through a link, a relative path, or a stream that the shell has redirected. So
//! files are compared by device and inode. A file that does not exist yet is compared by its folder and its name.

use anyhow::{Result, bail, ensure};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The identity of a regular file, independent of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FileId {
    There { device: u64, inode: u64 },
    Missing { device: u64, folder: u64, name: OsString },
}

/// A file that a command writes, and the flag that names it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The flag, such as `--output`.
    pub flag: &'static str,
    /// The path, or `-` for standard output.
    pub path: String,
    /// What happens if the file exists.
    pub existing: ExistingFile,
}

/// What happens to an existing file that a command is to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExistingFile {
    /// The command refuses to run, unless the file is empty.
    #[default]
    Refuse,
    /// Its content is replaced with the first write, or at an orderly end.
    Replace,
    /// New content is appended.
    Resume,
}

/// The maximum number of links that a path may lead through.
const LINKS_MAX: usize = 40;

/// Refuses files that are both read and written, or written twice, and existing files whose content would be lost.
///
/// # Errors
/// If a file of `written` is also among `read` (each with its flag), or is there twice. Also if one is not empty and
/// is to be neither replaced nor resumed. The message names the flags.
pub fn refuse_lost_files(read: &[(&'static str, &Path)], written: &[Written]) -> Result<()> {
    for (at, Written { flag, path, existing }) in written.iter().enumerate() {
        if let Some(before) = written[..at].iter().find(|before| before.path == *path) {
            bail!("{} and {flag} cannot both be {path}", before.flag);
        }
        let Some(id) = written_file(path) else { continue };
        for (read_flag, read_path) in read {
            let is_same = read_file(read_path).as_ref() == Some(&id);
            let read_path = read_path.display();
            ensure!(!is_same, "{flag} {path} is the file that {read_flag} {read_path} reads: name another");
        }
        for before in &written[..at] {
            let is_same = written_file(&before.path).as_ref() == Some(&id);
            ensure!(!is_same, "{} {} and {flag} {path} are the same file", before.flag, before.path);
        }
        let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
        // A redirection of standard output is the responsibility of the shell.
        if path != "-" && length > 0 && *existing == ExistingFile::Refuse {
            bail!("{flag} {path} is a file of {length} bytes: --overwrite replaces it, or name another");
        }
    }
    Ok(())
}

/// The identity of a file to write. `None` if nothing can be lost: pipes, devices, and files that cannot be examined.
fn written_file(path: &str) -> Option<FileId> {
    if path == "-" { of_stream(io::stdout().as_fd().try_clone_to_owned()) } else { of_path(path.into()) }
}

fn read_file(path: &Path) -> Option<FileId> {
    let is_stdin = path.as_os_str() == "-";
    if is_stdin { of_stream(io::stdin().as_fd().try_clone_to_owned()) } else { of_path(path.to_owned()) }
}

fn of_stream(stream: io::Result<OwnedFd>) -> Option<FileId> {
    of_metadata(&File::from(stream.ok()?).metadata().ok()?)
}

fn of_metadata(metadata: &Metadata) -> Option<FileId> {
    metadata.is_file().then(|| FileId::There { device: metadata.dev(), inode: metadata.ino() })
}

fn of_path(mut path: PathBuf) -> Option<FileId> {
    for _ in 0..LINKS_MAX {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        match fs::metadata(&path) {
            Ok(metadata) => return of_metadata(&metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
        match fs::read_link(&path) {
            // A link to a file that does not exist yet.
            Ok(target) => path = folder.join(target),
            Err(_) => {
                let (name, folder) = (path.file_name()?.to_owned(), fs::metadata(folder).ok()?);
                return Some(FileId::Missing { device: folder.dev(), folder: folder.ino(), name });
            }
        }
    }
    None
}
