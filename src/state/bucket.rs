//! A prefix of an object store as a store: S3, Google Cloud Storage, Azure Blob Storage, and compatible services.
//!
//! ```text
//! put ── less than 8 MiB: one request; more: parts, while they are written ──▶ commit: the object exists
//! get ── ranges of 8 MiB, one after the other
//! ```
//!
//! The client crate is asynchronous. It runs on one thread of its own, and callers here wait for it. Each request has
//! a time-out and is retried a few times. All of that ends within about a minute.
//!
//! # Notes
//! - Credentials, region and endpoint come from the environment, by the names that the services' own tools use. They
//!   never come from the URL, which is logged.
//! - There is no lock. The first process of a job writes a random number, the claim. It reads the claim again before
//!   it completes or removes anything. So of two jobs the later one has the prefix, as with the output.

use super::StateError;
use super::store::{Put, Store};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::buffered::BufWriter;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use std::future::Future;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

/// The size, in bytes, of one request for writing or reading.
const CHUNK_BYTES: usize = 8 << 20;

/// Parts of an object that are uploaded at a time.
const PARTS_UNDER_WAY: usize = 2;

/// The number of retries of a failed request, and the time after which there are no more.
const RETRIES: usize = 4;
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// The name of the object with the claim. Listings skip it, as they skip the lock of a folder.
const CLAIM: &str = ".claim";

/// A prefix of an object store. Clones share the connection and the claim.
#[derive(Clone)]
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    place: String,
    runtime: Arc<Runtime>,
    /// The claim, in the process that wrote it.
    claim: Option<Vec<u8>>,
}

impl Bucket {
    /// Opens the prefix in a URL: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`. With
    /// `claim`, this process takes it over.
    ///
    /// # Errors
    /// If the environment lacks the access settings, or if the prefix cannot be listed or written to.
    pub fn open(url: &str, claim: bool) -> Result<Bucket, StateError> {
        let failed = || StateError::store(format!("use {url} for snapshots"));
        let made = connect(url).map_err(io::Error::from).map_err(failed())?;
        Bucket::new(made.0, made.1, url, claim)
    }

    pub(super) fn new(
        objects: Arc<dyn ObjectStore>,
        prefix: Path,
        place: &str,
        claim: bool,
    ) -> Result<Bucket, StateError> {
        let failed = || StateError::store(format!("use {place} for snapshots"));
        let mut runtime = Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("objects").enable_all().build();
        let runtime = Arc::new(runtime.map_err(failed())?);
        let mut bucket = Bucket { objects, prefix, place: place.to_owned(), runtime, claim: None };
        // Every process that will write checks now that it can.
        let mut number = vec![0; 16];
        getrandom::fill(&mut number).map_err(|error| failed()(io::Error::other(error)))?;
        let name = if claim { CLAIM.to_owned() } else { format!(".trial-{}", hex(&number)) };
        bucket.write_now(&name, &number).map_err(failed())?;
        match claim {
            true => bucket.claim = Some(number),
            false => bucket.delete(&name)?,
        }
        bucket.list()?;
        Ok(bucket)
    }

    fn wait<T>(&self, future: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        self.runtime.block_on(future).map_err(io::Error::from)
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    fn range(&self, path: &Path, range: Range<u64>) -> io::Result<Vec<u8>> {
        self.wait(self.objects.get_range(path, range)).map(Vec::from)
    }

    fn write_now(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.wait(self.objects.put(&self.path(name), bytes.to_vec().into())).map(|_| ())
    }

    /// Fails if another run has taken over the prefix. That run needs to find what it found at its start.
    fn check_claim(&self) -> io::Result<()> {
        let Some(claim) = &self.claim else { return Ok(()) };
        if self.range(&self.path(CLAIM), 0..claim.len() as u64)? != *claim {
            let what = format!("another run has taken over {}", self.place);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        Ok(())
    }

    fn failed(&self, verb: &str, name: &str) -> impl FnOnce(io::Error) -> StateError {
        StateError::store(format!("{verb} {}/{name}", self.place.trim_end_matches('/')))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The client of the service, and the prefix.
fn connect(url: &str) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let objects: Arc<dyn ObjectStore> = match scheme {
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
        "az" => {
            let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
            Arc::new(builder.with_retry(retry).build()?)
        }
        _ => Arc::new(AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build()?),
    };
    Ok((objects, Path::parse(prefix)?))
}

impl Store for Bucket {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn list(&self) -> Result<Vec<String>, StateError> {
        let listed = self.wait(self.objects.list_with_delimiter(Some(&self.prefix)));
        let objects = listed.map_err(self.failed("list", ""))?.objects;
        let names = objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + Send>, StateError> {
        let path = self.path(name);
        let left = self.wait(self.objects.head(&path)).map_err(self.failed("read", name))?.size;
        Ok(Box::new(Ranges { bucket: self.clone(), path, left: 0..left, chunk: io::Cursor::default() }))
    }

    fn put(&self, name: &str) -> Result<Box<dyn Put>, StateError> {
        let writer = BufWriter::with_capacity(Arc::clone(&self.objects), self.path(name), CHUNK_BYTES);
        let writer = Some(writer.with_max_concurrency(PARTS_UNDER_WAY));
        Ok(Box::new(Upload { bucket: self.clone(), writer }))
    }

    fn delete(&self, name: &str) -> Result<(), StateError> {
        self.check_claim().map_err(self.failed("remove", name))?;
        match self.wait(self.objects.delete(&self.path(name))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(self.failed("remove", name)),
        }
    }
}

/// An object that is being read.
struct Ranges {
    bucket: Bucket,
    path: Path,
    left: Range<u64>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Read for Ranges {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.chunk.position() == self.chunk.get_ref().len() as u64 && !self.left.is_empty() {
            let end = self.left.end.min(self.left.start + CHUNK_BYTES as u64);
            self.chunk = io::Cursor::new(self.bucket.range(&self.path, self.left.start..end)?);
            self.left.start = end;
        }
        self.chunk.read(bytes)
    }
}

/// An object that is being uploaded.
struct Upload {
    bucket: Bucket,
    /// `None` after a failure.
    writer: Option<BufWriter>,
}

impl Upload {
    fn has_failed() -> io::Error {
        io::Error::other("it has failed before")
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut writer = self.writer.take().ok_or_else(Upload::has_failed)?;
        // A writer that failed cannot be used again.
        self.bucket.runtime.block_on(writer.write_all(bytes))?;
        self.writer = Some(writer);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Put for Upload {
    fn commit(mut self: Box<Self>) -> io::Result<()> {
        self.bucket.check_claim()?;
        let mut writer = self.writer.take().ok_or_else(Upload::has_failed)?;
        self.bucket.runtime.block_on(writer.shutdown())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            // Parts that stay are not visible to anybody. A lifecycle rule of the bucket removes them.
            let _ = self.bucket.runtime.block_on(writer.abort());
        }
    }
}
