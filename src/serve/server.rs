//! The HTTP server of `--serve`: one thread, and bounded memory whatever clients do.
//!
//! All requests are served by one thread, so clients take at most one core from the workers. A new connection is always
//! accepted. If too many are open, the one is closed whose last request is the longest ago, and a stream only if there
//! are nothing but streams. So clients that send nothing, or read nothing, do not keep others out.

use super::api::router;
use super::options::{ServeError, ServeOptions};
use super::service::Service;
use axum::Router;
use axum::http::header;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The time that a client has to send the head of a request, and that a connection may be idle.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

/// The most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

const HEADERS_MAX: usize = 64;

/// The pause after a connection could not be accepted, such as when the process may open no more files.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// Serves the API at the address of `options` until the process ends. Returns the address that is served.
///
/// # Errors
/// When the address cannot be bound, or the thread cannot be started.
pub(super) fn start(service: Service, options: ServeOptions) -> Result<SocketAddr, ServeError> {
    let address = options.address;
    if !address.ip().is_loopback() && options.token.is_none() {
        tracing::warn!("--serve can be reached from outside, and asks for no token: see --serve-token-file");
    }
    let failed = |source| ServeError::Address { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    let runtime = Builder::new_current_thread().max_blocking_threads(1).enable_all().build()?;
    thread::Builder::new().name("serve".into()).spawn(move || run(&runtime, listener, service, options))?;
    tracing::info!("serving at http://{bound}/");
    Ok(bound)
}

fn run(runtime: &Runtime, listener: std::net::TcpListener, service: Service, options: ServeOptions) {
    let _entered = runtime.enter();
    match TcpListener::from_std(listener) {
        Ok(listener) => runtime.block_on(accept(&listener, service, options)),
        Err(error) => tracing::error!(%error, "nothing is served"),
    }
}

async fn accept(listener: &TcpListener, service: Service, options: ServeOptions) {
    let service = Arc::new(service);
    let most = options.connections;
    let router = router(Arc::clone(&service), Arc::new(options));
    let mut open = Connections { open: VecDeque::new(), most, start: Instant::now() };
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => open.add(stream, &router, &service),
            Err(error) => {
                tracing::debug!(%error, "a connection to --serve could not be taken");
                sleep(AFTER_ERROR).await;
            }
        }
    }
}

/// The open connections.
struct Connections {
    open: VecDeque<Connection>,
    most: usize,
    start: Instant,
}

struct Connection {
    task: JoinHandle<()>,
    state: Arc<ConnectionState>,
}

#[derive(Default)]
struct ConnectionState {
    /// When its last request came, in milliseconds since the start of the server.
    asked_at: AtomicU64,
    is_stream: AtomicBool,
}

impl Connections {
    /// Serves a new connection. If too many are open, another one is closed for it.
    fn add(&mut self, stream: TcpStream, router: &Router, service: &Service) {
        self.open.retain(|connection| !connection.task.is_finished());
        if self.open.len() >= self.most {
            self.close_one();
            service.meter.connection_closed();
        }
        let state = Arc::new(ConnectionState::default());
        state.asked_at.store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
        let served = serve_one(stream, router.clone(), Arc::clone(&state), self.start);
        let open = service.meter.connection();
        let task = tokio::spawn(async move {
            let _open = open;
            served.await;
        });
        self.open.push_back(Connection { task, state });
    }

    /// Closes the connection that asked the longest ago; a stream only if there are no others.
    fn close_one(&mut self) {
        let age = |connection: &Connection| {
            let state = &connection.state;
            (state.is_stream.load(Ordering::Relaxed), state.asked_at.load(Ordering::Relaxed))
        };
        let oldest = (0..self.open.len()).min_by_key(|&index| age(&self.open[index]));
        if let Some(connection) = oldest.and_then(|index| self.open.remove(index)) {
            tracing::debug!("too many connections to --serve: one is closed");
            connection.task.abort();
        }
    }
}

async fn serve_one(stream: TcpStream, router: Router, state: Arc<ConnectionState>, start: Instant) {
    // A response is one write, and a client waits for it.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        state.asked_at.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
        let (answer, state) = (hyper::service::Service::call(&router, request), Arc::clone(&state));
        async move {
            let response = answer.await?;
            let kind = response.headers().get(header::CONTENT_TYPE);
            let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            state.is_stream.store(is_stream, Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "a connection to --serve ended");
    }
}
