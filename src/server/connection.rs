//! The bytes of one connection, below HTTP.
//!
//! Three things that the HTTP library does not do are done here. What it answers by itself to a head that it cannot
//! read has no body; here it gets one, so that every error is JSON. A client that reads nothing for too long is let go.
//! And a client that only ends its own sending is told from one that is gone: both look alike until something is
//! written, so something is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::ids;
use super::problem::Problem;

/// What may be said before any answer, and what every client passes over.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Rest between two looks at a client that sends no more: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What the two ends of a connection tell each other: the one that moves bytes and the one that answers requests.
#[derive(Debug)]
pub(super) struct Peer {
    /// Requests that are being answered.
    serving: AtomicUsize,
    /// Whether the client sends no more.
    ended: watch::Sender<bool>,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self { serving: AtomicUsize::new(0), ended: watch::Sender::new(false) }
    }

    /// A request has begun; until what this returns is dropped, the end of what the client sends is not the end of it.
    pub(super) fn begin(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::SeqCst);
        Serving(self.clone())
    }

    /// Waits until the client sends no more. It may be gone: whoever is talking to it should say something now.
    pub(super) async fn ended(&self) {
        // The sender is here, so it cannot be dropped.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Serving(Arc<Peer>);

impl Serving {
    /// Whose request it is.
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.0
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection's bytes.
pub(super) struct Bytes<S> {
    stream: S,
    peer: Arc<Peer>,
    /// How long the other side may read nothing.
    patience: Duration,
    /// Set while it does not.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is written in place of the library's own words, and how much of it is out.
    instead: Option<(Vec<u8>, usize)>,
    /// Whether anything was written since the last request came.
    has_spoken: bool,
    /// Set once the client sends no more: when to look next whether it is there, and the rest before that.
    looking: Option<(Pin<Box<Sleep>>, Duration)>,
}

impl<S> Bytes<S> {
    pub(super) fn new(stream: S, peer: Arc<Peer>, patience: Duration) -> Self {
        Self { stream, peer, patience, stalled: None, instead: None, has_spoken: false, looking: None }
    }

    /// The connection itself.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bytes<S> {
    /// The client sends no more: the end of the connection once nothing is being answered, or if it is gone.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.peer.serving.load(Ordering::SeqCst) > 0 {
            let Some((look, rest)) = &mut self.looking else { return Poll::Ready(Ok(())) };
            ready!(look.as_mut().poll(context));
            *rest = (*rest * 2).min(LAST_LOOK);
            *look = Box::pin(sleep(*rest));
            let mut scrap = [0];
            if let Poll::Ready(Err(error)) =
                Pin::new(&mut self.stream).poll_read(context, &mut ReadBuf::new(&mut scrap))
            {
                return Poll::Ready(Err(error));
            }
            // An answer that has begun speaks for itself.
            if !self.has_spoken
                && let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_write(context, CONTINUE)
            {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Bytes<S> {
    /// Writes, or finds that nobody has read for too long.
    fn write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(context, bytes) {
            self.stalled = None;
            return Poll::Ready(written);
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Bytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.looking.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
            if buffer.filled().len() > before || buffer.remaining() == 0 {
                self.has_spoken = false;
                return Poll::Ready(Ok(()));
            }
            self.looking = Some((Box::pin(sleep(Duration::ZERO)), FIRST_LOOK / 2));
            self.peer.ended.send_replace(true);
        }
        self.poll_end(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bytes<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.has_spoken = true;
        if self.instead.is_none() {
            self.instead = own_words(bytes).map(|words| (words, 0));
        }
        let Some((words, mut done)) = self.instead.take() else { return self.write(context, bytes) };
        while let Some(rest) = words.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write(context, rest) {
                Poll::Ready(Ok(n)) => done += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.instead = Some((words, done));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The answer for a head that could not be read, if these bytes are the library's: ours all have an id.
fn own_words(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let status = std::str::from_utf8(head.get(..3)?).ok()?;
    let is_ours = bytes.windows(b"\r\nx-request-id: ".len()).any(|line| line == b"\r\nx-request-id: ");
    if is_ours || !status.starts_with('4') {
        return None;
    }
    let (status, problem) = match status {
        "431" | "414" => (431, too_long()),
        _ => (400, Problem::bad("invalid_value", "the request is not well-formed HTTP/1.1")),
    };
    Some(raw(status, &problem))
}

/// What a head that goes beyond its bounds is answered.
pub(super) fn too_long() -> Problem {
    let message = "the request line and headers are too large or too many";
    Problem::refused(hyper::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", message).closing()
}

/// An answer that ends the connection, as bytes.
pub(super) fn raw(status: u16, problem: &Problem) -> Vec<u8> {
    let reason = hyper::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let body = problem.json().to_string();
    let retry = problem.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
    let id = ids::hex("req_");
    format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
         {retry}x-request-id: {id}\r\n\r\n{body}",
        reason.unwrap_or_default(),
        body.len()
    )
    .into_bytes()
}

/// Lets what was written arrive: a connection that is closed while the other side still sends would be reset, and the
/// answer lost.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let _ = stream.shutdown().await;
    let until = Instant::now() + Duration::from_secs(1);
    let mut scrap = [0; 4096];
    while let Ok(Ok(1..)) = tokio::time::timeout_at(until, stream.read(&mut scrap)).await {}
}
