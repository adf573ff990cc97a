//! The HTTP server of `--metrics`: three paths, one thread, and bounded memory whatever clients do.
//!
//! A connection carries one small request and its response, within a time limit. A new connection is always accepted.
//! If too many are open, the server closes the oldest one that has not sent a request yet. So clients that connect
//! and send nothing do not keep a health check out. Connections are accepted at a limited rate, so that fast clients
//! take little of a core from the workers.

use super::Meter;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The most connections that are open at a time. It is enough for a few scrapers, probes and people.
const CONNECTIONS_MAX: usize = 32;

/// The time that a client has to send the head of its request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// The time limit of a connection, from its acceptance to the last byte of its response.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// The most bytes of a request that are buffered. hyper allows no lower limit.
const REQUEST_BYTES_MAX: usize = 8 << 10;

const HEADERS_MAX: usize = 32;

/// The least time between two connections. It limits them to 500 a second, and each costs some 100 µs.
const PACE: Duration = Duration::from_millis(2);

/// The pause after a connection could not be accepted, such as when the process may open no more files.
const AFTER_ERROR: Duration = Duration::from_millis(200);

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why the server cannot be started.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is in use, belongs to another machine, or needs a permission.
    #[error("cannot serve metrics at {address} (--metrics)")]
    Address {
        /// The requested address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The thread or the asynchronous runtime of the server could not be started.
    #[error("cannot start the server of --metrics")]
    Thread(#[from] io::Error),
}

/// Serves the metrics of `meter` at `address` until the process ends, and makes the meter watched.
///
/// Returns the address that is served. If the requested port was 0, it has the port that the system chose.
///
/// # Errors
/// When the address cannot be bound, or the thread cannot be started. Errors after that are logged, and do not affect
/// the job.
pub fn serve(address: SocketAddr, meter: Meter) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError::Address { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    meter.watch();
    thread::Builder::new().name("metrics".into()).spawn(move || run(&runtime, listener, meter))?;
    tracing::info!("metrics at http://{bound}/metrics");
    Ok(bound)
}

fn run(runtime: &Runtime, listener: std::net::TcpListener, meter: Meter) {
    let _entered = runtime.enter();
    match TcpListener::from_std(listener) {
        Ok(listener) => runtime.block_on(accept(&listener, meter)),
        Err(error) => tracing::warn!(%error, "no metrics are served"),
    }
}

async fn accept(listener: &TcpListener, meter: Meter) {
    let mut open = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => open.add(stream, &meter),
            Err(error) => {
                tracing::debug!(%error, "a connection to --metrics could not be taken");
                sleep(AFTER_ERROR).await;
            }
        }
        sleep(PACE).await;
    }
}

/// The open connections, the oldest first; at most [`CONNECTIONS_MAX`].
#[derive(Default)]
struct Connections(VecDeque<Connection>);

struct Connection {
    task: JoinHandle<()>,
    /// Whether its request has come: the response is on its way.
    has_asked: Arc<AtomicBool>,
}

impl Connections {
    /// Serves a new connection. If too many are open, an old one is closed for it.
    fn add(&mut self, stream: TcpStream, meter: &Meter) {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() >= CONNECTIONS_MAX {
            self.close_one();
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(serve_one(stream, meter.clone(), Arc::clone(&has_asked)));
        self.0.push_back(Connection { task, has_asked });
    }

    /// Closes the oldest connection that has sent no request; if all have, the oldest of all.
    fn close_one(&mut self) {
        let idle = self.0.iter().position(|connection| !connection.has_asked.load(Ordering::Relaxed));
        if let Some(connection) = self.0.remove(idle.unwrap_or(0)) {
            tracing::debug!("too many connections to --metrics: the oldest idle one is closed");
            connection.task.abort();
        }
    }
}

async fn serve_one(stream: TcpStream, meter: Meter, has_asked: Arc<AtomicBool>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let response = answer(request.method(), request.uri().path(), &meter);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(REQUEST_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(CONNECTION_TIME_MAX, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request to --metrics that is none"),
        Err(_elapsed) => tracing::debug!("a client of --metrics took too long"),
    }
}

fn answer(method: &Method, path: &str, meter: &Meter) -> Response<String> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let now = Instant::now();
    let verdict = |verdict: Result<(), String>| match verdict {
        Ok(()) => plain(StatusCode::OK, "ok\n".to_owned()),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    match path {
        "/metrics" => {
            let mut response = Response::new(meter.page(now));
            response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
            response
        }
        "/healthz" => verdict(meter.health(now)),
        "/readyz" => verdict(meter.readiness(now)),
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n".to_owned()),
    }
}

fn plain(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
