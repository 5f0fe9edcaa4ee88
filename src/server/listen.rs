//! From the first connection to the last: binding, accepting within bounds, ending in good order.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lemmy_core::Model;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::app::{Address, App, Options, Ready, now};
use super::connection::{Bytes, Peer, linger, raw};
use super::engine::{Engine, EngineOptions};
use super::http::handle;
use super::log::Log;
use super::metrics::Metrics;
use super::problem::Problem;
use super::signals::{Signal, Signals};

/// Rest between two attempts to accept, when the system has no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(50);
/// Time for streams to say their last words once everything is cancelled.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// A server that listens.
pub(crate) struct Server {
    app: Arc<App>,
    runtime: Runtime,
    /// Where it listens, as a client would write it.
    address: String,
    /// Raised when connections are to end with what they are doing.
    ending: watch::Sender<bool>,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As it was told to.
    InOrder,
    /// By a second signal.
    By(Signal),
}

/// A socket that listens.
enum Listener {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener),
}

impl Server {
    /// Listens; from now on clients are told that the model is loading.
    ///
    /// # Errors
    ///
    /// What the system says, for instance that the port is in use.
    pub(crate) fn start(mut options: Options, log: Log) -> io::Result<Self> {
        let (listener, address) = bind(&mut options)?;
        let metrics = Metrics::new().map_err(io::Error::other)?;
        let app = Arc::new(App::new(options, log, metrics));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(4)
            .thread_name("lemmy-http")
            .enable_all()
            .build()?;
        let (ending, end) = watch::channel(false);
        let accepting = Accepting { app: app.clone(), end, peers: Arc::default() };
        let entered = runtime.enter();
        match listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                runtime.spawn(accepting.tcp(listener));
            }
            #[cfg(unix)]
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                runtime.spawn(accepting.unix(listener));
            }
        }
        drop(entered);
        Ok(Self { app, runtime, address, ending })
    }

    /// Where it listens, as a client would write it.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Serves until a signal comes; `load` runs on a thread of its own and ends with [`Door::open`]. After the first
    /// signal nobody new is served, and what runs goes on until it ends, the grace is over or a second signal comes.
    ///
    /// # Errors
    ///
    /// What `load` fails with, and what makes signals unusable.
    pub(crate) fn run<E: From<io::Error> + Send + 'static>(
        self,
        load: impl FnOnce(Door) -> Result<(), E> + Send + 'static,
    ) -> Result<Ended, E> {
        let app = self.app.clone();
        let (loaded, mut failed) = tokio::sync::oneshot::channel();
        let door = Door(app.clone());
        let loading = std::thread::Builder::new().name("lemmy-load".into()).spawn(move || {
            // Nobody listens when the server has ended before.
            let _ = loaded.send(load(door));
        })?;
        let ended = self.runtime.block_on(async {
            let mut signals = Signals::new(&app)?;
            loop {
                tokio::select! {
                    outcome = &mut failed, if !failed.is_terminated() => match outcome {
                        Ok(Err(error)) => return Err(error),
                        Ok(Ok(())) => {}
                        Err(_) => return Err(io::Error::other("loading stopped in the middle").into()),
                    },
                    _ = signals.next() => break,
                }
            }
            app.stop();
            if let Some(ready) = app.loaded() {
                ready.engine.close_queue();
            }
            let _ = self.ending.send(true);
            let second = tokio::select! {
                () = all_gone(&app) => return Ok(Ended::InOrder),
                () = tokio::time::sleep(app.options.grace) => None,
                signal = signals.next() => Some(signal),
            };
            if let Some(ready) = app.loaded() {
                ready.engine.cancel_all();
            }
            let _ = tokio::time::timeout(LAST_WORDS, all_gone(&app)).await;
            Ok(second.map_or(Ended::InOrder, Ended::By))
        });
        #[cfg(unix)]
        if let Address::Unix(path) = &app.options.address {
            let _ = std::fs::remove_file(path);
        }
        self.runtime.shutdown_background();
        // A load that was told to stop ends by itself.
        drop(loading);
        ended
    }
}

/// How a model comes in.
pub(crate) struct Door(Arc<App>);

impl Door {
    /// Tells clients how far loading is, from 0 to 1.
    pub(crate) fn progress(&self) -> impl Fn(f64) + Send + 'static {
        let app = self.0.clone();
        move |share| app.set_progress(share)
    }

    /// From now on requests are served. The first of the names is the one that answers carry.
    ///
    /// # Errors
    ///
    /// What making the slots can fail with.
    pub(crate) fn open(&self, model: &Model, names: Vec<String>, options: EngineOptions) -> lemmy_core::Result<()> {
        let engine = Engine::start(model, options)?;
        let fingerprint: String = model.fingerprint().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut names = names.into_iter();
        let id = names.next().unwrap_or_else(|| model.info().name.clone());
        self.0.metrics.set_model(&id);
        self.0.set_ready(Ready {
            engine,
            id,
            aliases: names.collect(),
            fingerprint: format!("lemmy-{}-{fingerprint}", env!("CARGO_PKG_VERSION")),
            created: now(),
            file: model.gguf().name().into(),
        });
        Ok(())
    }
}

/// Waits until no connection is left.
async fn all_gone(app: &App) {
    while app.connections.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Opens the socket, and notes what it turned out to be.
fn bind(options: &mut Options) -> io::Result<(Listener, String)> {
    match options.address.clone() {
        Address::Tcp(host, port) => {
            let listener = std::net::TcpListener::bind((host.trim_matches(['[', ']']), port))?;
            let address = listener.local_addr()?;
            options.names.is_loopback = address.ip().is_loopback();
            options.names.bound = host;
            Ok((Listener::Tcp(listener), format!("http://{address}")))
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            // A socket that nobody listens at is what is left of a server that ended without a word.
            if std::os::unix::net::UnixStream::connect(&path)
                .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
            {
                let _ = std::fs::remove_file(&path);
            }
            let listener = std::os::unix::net::UnixListener::bind(&path)?;
            options.names.is_loopback = true;
            Ok((Listener::Unix(listener), format!("unix:{}", path.display())))
        }
    }
}

/// Takes connections in.
#[derive(Clone)]
struct Accepting {
    app: Arc<App>,
    end: watch::Receiver<bool>,
    /// Connections of each address that is not this machine.
    peers: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Accepting {
    async fn tcp(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.end.changed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // An answer's pieces are small and must not wait for each other.
                    let _ = stream.set_nodelay(true);
                    self.take(stream, Some(peer.ip()));
                }
                Err(_) => tokio::time::sleep(BACK_OFF).await,
            }
        }
    }

    #[cfg(unix)]
    async fn unix(mut self, listener: tokio::net::UnixListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = self.end.changed() => return,
            };
            match accepted {
                Ok((stream, _)) => self.take(stream, None),
                Err(_) => tokio::time::sleep(BACK_OFF).await,
            }
        }
    }

    /// Serves a connection, or tells it that there are too many.
    fn take<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: Option<IpAddr>) {
        let this = self.clone();
        match self.enter(peer) {
            Some(place) => drop(tokio::spawn(async move {
                this.serve(stream).await;
                drop(place);
            })),
            None => drop(tokio::spawn(async move {
                let mut stream = stream;
                let problem = Problem::unavailable("too_many_connections", "too many connections are open");
                let _ = stream.write_all(&raw(503, &problem)).await;
                linger(stream).await;
            })),
        }
    }

    /// A place for a connection, if there is one.
    fn enter(&self, peer: Option<IpAddr>) -> Option<Entered> {
        let limits = &self.app.options.limits;
        let peer = peer.filter(|peer| !peer.is_loopback());
        let before = self.app.connections.fetch_add(1, Ordering::SeqCst);
        let mut entered = Entered { accepting: self.clone(), peer: None };
        if before >= limits.connections {
            return None;
        }
        if let Some(peer) = peer {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            let count = peers.entry(peer).or_default();
            if *count >= limits.connections_per_peer {
                return None;
            }
            *count += 1;
            entered.peer = Some(peer);
        }
        Some(entered)
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(mut self, stream: S) {
        let limits = &self.app.options.limits;
        let app = self.app.clone();
        let peer = Arc::new(Peer::new());
        let io = TokioIo::new(Bytes::new(stream, peer.clone(), limits.write_time));
        let service = service_fn(move |request| handle(app.clone(), peer.begin(), request));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_headers(limits.headers)
            // The exact bound is kept once the head is read; this one keeps a head without an end from growing.
            .max_buf_size(2 * limits.head)
            .serve_connection(io, service);
        let mut is_ending = *self.end.borrow();
        let result = loop {
            if is_ending {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                break (&mut connection).await;
            }
            tokio::select! {
                result = &mut connection => break result,
                _ = self.end.changed() => is_ending = true,
            }
        };
        let mut stream = connection.into_parts().io.into_inner().into_inner();
        if result.is_err_and(|error| error.is_timeout()) {
            let message = "the head of the request did not come in time";
            let problem = Problem::refused(hyper::StatusCode::REQUEST_TIMEOUT, "request_timeout", message);
            let _ = stream.write_all(&raw(408, &problem)).await;
        }
        linger(stream).await;
    }
}

/// The place of a connection; given back when it is dropped.
struct Entered {
    accepting: Accepting,
    peer: Option<IpAddr>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.accepting.app.connections.fetch_sub(1, Ordering::SeqCst);
        if let Some(peer) = self.peer {
            let mut peers = self.accepting.peers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = peers.get_mut(&peer) {
                *count -= 1;
                if *count == 0 {
                    peers.remove(&peer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::server::app::{Limits, ReasoningNames};
    use crate::server::guard::{Keys, Names};

    fn accepting(limits: Limits) -> Accepting {
        let options = Options {
            address: Address::Tcp("127.0.0.1".into(), 0),
            keys: Keys::default(),
            names: Names::default(),
            limits,
            ping: Duration::from_secs(15),
            strict_model: false,
            has_page: true,
            has_metrics: true,
            has_slots: true,
            shows_model_path: false,
            grace: Duration::ZERO,
            reasoning: ReasoningNames::One,
            metrics_compat: Vec::new(),
        };
        let app = App::new(options, Log::new(false, None).unwrap(), Metrics::new().unwrap());
        Accepting { app: Arc::new(app), end: watch::channel(false).1, peers: Arc::default() }
    }

    #[test]
    fn one_machine_does_not_take_all_connections() {
        let accepting = accepting(Limits { connections: 4, connections_per_peer: 2, ..Limits::DEFAULT });
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut held: Vec<Entered> = (0..2).map(|_| accepting.enter(Some(one)).unwrap()).collect();
        assert!(accepting.enter(Some(one)).is_none());
        held.push(accepting.enter(Some(other)).unwrap());
        // This machine has no bound of its own, but all together have one.
        held.push(accepting.enter(Some([127, 0, 0, 1].into())).unwrap());
        assert!(accepting.enter(None).is_none());
        held.remove(0);
        held.push(accepting.enter(Some(one)).unwrap());
        assert!(accepting.enter(Some(one)).is_none());
        drop(held);
        assert_eq!(accepting.app.connections.load(Ordering::SeqCst), 0);
        assert!(accepting.peers.lock().unwrap().is_empty());
    }
}
