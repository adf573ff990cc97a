//! The promises of every store: a folder and, with the feature `object-store`, buckets in memory, in a folder and in
//! a real service. `DELTACART_TEST_STATE` names the service (`s3://bucket/prefix`, with its credentials in the
//! environment).

use super::snapshots::{mark_of, newest, take};
use super::{Memory, shape};
use crate::state::folder::Folder;
use crate::state::snapshot_catalog::SnapshotCatalog;
use crate::state::store::{Store, get_whole, put_whole};
use std::fs;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// In an empty store, objects exist whole or not at all.
fn keeps_what_is_committed(store: &dyn Store) {
    put_whole(store, "a", b"one").unwrap();
    let mut put = store.put("a").unwrap();
    put.write_all(b"two").unwrap();
    assert_eq!(get_whole(store, "a", 9).unwrap(), b"one", "until it is committed");
    assert_eq!(store.list().unwrap(), ["a"]);
    drop(put);
    assert_eq!(get_whole(store, "a", 9).unwrap(), b"one", "what was given up never was");
    put_whole(store, "a", b"two").unwrap();
    assert_eq!(get_whole(store, "a", 9).unwrap(), b"two");
    assert!(get_whole(store, "a", 2).unwrap_err().to_string().contains("longer than 2 bytes"));

    // Larger than one request, in pieces of any size; and one that is abandoned on its way.
    let large: Vec<u8> =
        (0..20_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for commits in [true, false] {
        let mut put = store.put("b").unwrap();
        let mut left = &large[..];
        for piece in [1, 13, 1 << 20, 7 << 20, 9 << 20].into_iter().cycle() {
            let (now, rest) = left.split_at(left.len().min(piece));
            put.write_all(now).unwrap();
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        if commits {
            put.commit().unwrap();
        }
        let mut read = Vec::new();
        store.get("b").unwrap().read_to_end(&mut read).unwrap();
        assert!(read == large, "{} bytes came back", read.len());
    }
    put_whole(store, "empty", b"").unwrap();
    assert_eq!(get_whole(store, "empty", 9).unwrap(), b"");
    assert_eq!(store.list().unwrap(), ["a", "b", "empty"]);

    for name in ["a", "a", "b", "empty", "never"] {
        store.delete(name).unwrap();
    }
    assert!(store.list().unwrap().is_empty());
    let missing = store.get("a").err().unwrap();
    let source = std::error::Error::source(&missing).unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::NotFound, "{missing}: {source}");
}

/// Snapshots are taken, found and pruned. One that lacks a part is skipped.
fn keeps_snapshots(store: &Arc<dyn Store>) {
    assert!(newest(store).unwrap().is_none(), "no snapshot is no error");
    let mut catalog = SnapshotCatalog::new(Arc::clone(store), shape(), 2, None).unwrap();
    for mark in [100, 200, 300] {
        take(&mut catalog, store, mark).unwrap();
        assert_eq!(mark_of(&newest(store).unwrap().unwrap()), mark);
    }
    let names = store.list().unwrap();
    assert_eq!(names.len(), 6, "{names:?}");
    store.delete("snapshot-0000000003.part-0001").unwrap();
    assert_eq!(mark_of(&newest(store).unwrap().unwrap()), 200);
    names.iter().for_each(|name| store.delete(name).unwrap());
}

#[test]
fn a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store: Arc<dyn Store> = Arc::new(Folder::open(&path, true).unwrap());
    keeps_what_is_committed(&*store);
    keeps_snapshots(&store);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "what was given up is gone, the lock is there");

    let second = Folder::open(&path, true).err().unwrap().to_string();
    assert!(second.ends_with("is in use by another job; each needs a folder of its own"), "{second}");
    assert!(Folder::open(&path, false).is_ok(), "a peer of the same job claims nothing");
    fs::write(path.join(".aside-b"), "half").unwrap();
    drop(store);
    Folder::open(&path, true).unwrap();
    assert!(!path.join(".aside-b").exists(), "what a killed run left");
}

/// Removing the file of the lock once let a second job in, which read what the first one pruned.
#[test]
fn a_lock_outlives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let store: Arc<dyn Store> = Arc::new(Folder::open(&path, true).unwrap());
    fs::remove_file(path.join(".lock")).unwrap();
    let second = Folder::open(&path, true).err().unwrap().to_string();
    assert!(second.ends_with("is in use by another job; each needs a folder of its own"), "{second}");
    keeps_what_is_committed(&*store);
    keeps_snapshots(&store);
}

/// A job whose folder was replaced changes nothing in the new one.
#[test]
fn a_folder_that_was_replaced_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let first = Folder::open(&path, true).unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    let second = Folder::open(&path, true).unwrap();
    put_whole(&second, "snapshot", b"of the second").unwrap();
    for failed in [put_whole(&first, "snapshot", b"of the first"), first.delete("snapshot")] {
        let error = format!("{:#}", anyhow::Error::from(failed.unwrap_err()));
        assert!(error.contains("was removed while the job held its lock"), "{error}");
    }
    assert_eq!(second.list().unwrap(), ["snapshot"]);
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/deltacart".into()] {
        let error = Folder::open(&path, true).err().unwrap();
        assert!(error.to_string().contains("for snapshots"), "{error}");
    }
}

#[test]
fn memory() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    keeps_what_is_committed(&*store);
    keeps_snapshots(&store);
}

#[cfg(feature = "object-store")]
mod buckets {
    use super::*;
    use crate::state::bucket::Bucket;
    use object_store::ObjectStore;
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;
    use object_store::path::Path;

    fn open(objects: &Arc<dyn ObjectStore>, claim: bool) -> Bucket {
        Bucket::new(Arc::clone(objects), Path::from("jobs/carts"), "s3://shop/jobs/carts", claim).unwrap()
    }

    fn behaves(objects: Arc<dyn ObjectStore>) {
        let store: Arc<dyn Store> = Arc::new(open(&objects, true));
        keeps_what_is_committed(&*store);
        keeps_snapshots(&store);
        // Another prefix is another store.
        let beside = Bucket::new(Arc::clone(&objects), Path::from("jobs/carts-2"), "beside", true).unwrap();
        put_whole(&beside, "a", b"beside").unwrap();
        assert!(store.list().unwrap().is_empty());
    }

    #[test]
    fn in_memory() {
        behaves(Arc::new(InMemory::new()));
    }

    #[test]
    fn in_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        behaves(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
    }

    #[test]
    fn in_a_service() {
        let Ok(url) = std::env::var("DELTACART_TEST_STATE") else {
            return crate::skipped::skip("DELTACART_TEST_STATE names no object store");
        };
        let store: Arc<dyn Store> = Arc::new(Bucket::open(&url, true).unwrap());
        keeps_what_is_committed(&*store);
        keeps_snapshots(&store);
    }

    /// The later of two runs has the prefix. The earlier one completes and removes nothing any more.
    #[test]
    fn a_later_run_takes_over() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let earlier: Arc<dyn Store> = Arc::new(open(&objects, true));
        let mut catalog = SnapshotCatalog::new(Arc::clone(&earlier), shape(), 2, None).unwrap();
        take(&mut catalog, &earlier, 100).unwrap();
        open(&objects, false);
        take(&mut catalog, &earlier, 200).unwrap();

        let later = open(&objects, true);
        let names = later.list().unwrap();
        let error = take(&mut catalog, &earlier, 300).unwrap_err();
        assert!(error.contains("another run has taken over s3://shop/jobs/carts"), "{error}");
        assert!(earlier.delete(&names[0]).is_err());
        assert_eq!(later.list().unwrap(), names);
    }
}
