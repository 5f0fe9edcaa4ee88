//! Answers as HTTP.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;

use super::log::Trace;
use super::problem::Problem;

/// An answer's body.
pub(crate) struct Body {
    pieces: Pieces,
    /// The request, which is not over before its body is out.
    trace: Option<Trace>,
}

enum Pieces {
    /// All of it.
    Whole(Option<Bytes>),
    /// As they come.
    Stream(mpsc::Receiver<Bytes>),
}

impl Body {
    /// A body that is all there.
    fn whole(bytes: Bytes) -> Self {
        Self { pieces: Pieces::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())), trace: None }
    }

    /// Ties a request to it.
    pub(crate) fn belongs_to(&mut self, trace: Trace) {
        self.trace = Some(trace);
    }

    /// Takes what it says away, and leaves its length, if that is known.
    pub(crate) fn drop_bytes(&mut self) -> Option<usize> {
        match std::mem::replace(&mut self.pieces, Pieces::Whole(None)) {
            Pieces::Whole(bytes) => Some(bytes.map_or(0, |bytes| bytes.len())),
            Pieces::Stream(_) => None,
        }
    }
}

pub(crate) type Answer = Response<Body>;

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().pieces {
            Pieces::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Pieces::Stream(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.pieces, Pieces::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.pieces {
            Pieces::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Pieces::Stream(_) => SizeHint::default(),
        }
    }
}

/// Bytes of a media type.
pub(crate) fn bytes(status: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::whole(bytes.into()));
    *answer.status_mut() = status;
    set(&mut answer, header::CONTENT_TYPE, media_type);
    answer
}

/// A JSON document.
pub(crate) fn json(value: &Value) -> Answer {
    json_with(StatusCode::OK, value)
}

/// A JSON document with a status.
pub(crate) fn json_with(status: StatusCode, value: &Value) -> Answer {
    bytes(status, "application/json", value.to_string())
}

/// Server-sent events as they come.
pub(crate) fn events(pieces: mpsc::Receiver<Bytes>, media_type: &'static str) -> Answer {
    let mut answer = Response::new(Body { pieces: Pieces::Stream(pieces), trace: None });
    set(&mut answer, header::CONTENT_TYPE, media_type);
    set(&mut answer, header::CACHE_CONTROL, "no-cache");
    // Proxies that buffer would hold a stream back.
    set(&mut answer, HeaderName::from_static("x-accel-buffering"), "no");
    answer
}

/// A problem, with the body that a dialect gives it.
pub(crate) fn problem(problem: &Problem, body: &Value) -> Answer {
    let mut answer = json_with(problem.status, body);
    if let Some(seconds) = problem.retry_after {
        set(&mut answer, header::RETRY_AFTER, &seconds.to_string());
    }
    // Clients try again after every 5xx unless they are told that it is of no use.
    if matches!(problem.status, StatusCode::INTERNAL_SERVER_ERROR | StatusCode::NOT_IMPLEMENTED) {
        set(&mut answer, HeaderName::from_static("x-should-retry"), "false");
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        set(&mut answer, header::WWW_AUTHENTICATE, "Bearer");
    }
    if problem.closes {
        set(&mut answer, header::CONNECTION, "close");
    }
    answer
}

/// Sets a header; a value that no header can have is left out.
pub(crate) fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
