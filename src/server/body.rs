//! Reading a request's body within its bounds.

use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode};

use super::app::Limits;
use super::problem::{Problem, Result};

/// Reads the body of a request to the API.
///
/// # Errors
///
/// 415 if it does not say that it is JSON (a plain form on a page cannot say so), 411 without a length, 413 if it is
/// too large, as soon as that is known, 408 if it does not come in time.
pub(crate) async fn read(request: Request<Incoming>, limits: &Limits) -> Result<Vec<u8>> {
    let (head, mut body) = request.into_parts();
    check_type(&head.headers)?;
    if !head.headers.contains_key(header::CONTENT_LENGTH) && !head.headers.contains_key(header::TRANSFER_ENCODING) {
        let message = "the request has no body; send one with a Content-Length";
        return Err(Problem::refused(StatusCode::LENGTH_REQUIRED, "length_required", message).closing());
    }
    if body.size_hint().lower() > limits.body as u64 {
        return Err(too_large(limits));
    }
    let began = Instant::now();
    let mut bytes = Vec::new();
    loop {
        let left = limits.body_time.saturating_sub(began.elapsed()).min(limits.idle_time);
        let frame = match tokio::time::timeout(left, body.frame()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(bytes),
            Err(_) => return Err(timed_out("the body did not come in time")),
        };
        let frame =
            frame.map_err(|_| Problem::bad("invalid_value", "the body is broken off or not well framed").closing())?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > limits.body {
                return Err(too_large(limits));
            }
            bytes.extend_from_slice(&data);
        }
    }
}

fn check_type(headers: &HeaderMap) -> Result<()> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "expected Content-Type: application/json";
    Err(Problem::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message).closing())
}

fn too_large(limits: &Limits) -> Problem {
    let message = format!("the body is larger than {} bytes; --max-body sets that", limits.body);
    Problem::refused(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).closing()
}

fn timed_out(message: &str) -> Problem {
    Problem::refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", message).closing()
}
