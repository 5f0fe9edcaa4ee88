//! The web page: files that are part of the program.

use hyper::StatusCode;
use hyper::header::{self, HeaderName};

use crate::server::app::App;
use crate::server::page::FILES;
use crate::server::problem::{Problem, Result};
use crate::server::respond::{self, Answer};

/// Nothing but our own files; pictures that the person shows; no forms, no frames.
const POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

/// `GET /` and `GET /assets/*`.
///
/// # Errors
///
/// 404 for a file that is not there, and for all with `--no-ui`.
pub(crate) fn serve(app: &App, name: &str) -> Result<Answer> {
    let file = FILES.iter().find(|file| file.name == name && app.options.has_page);
    let file = file.ok_or_else(|| Problem::not_found("unknown_url", "there is nothing at this path"))?;
    let mut answer = respond::bytes(StatusCode::OK, file.media_type, file.bytes);
    respond::set(&mut answer, header::CONTENT_SECURITY_POLICY, POLICY);
    respond::set(&mut answer, header::REFERRER_POLICY, "no-referrer");
    respond::set(&mut answer, header::X_FRAME_OPTIONS, "DENY");
    // The page belongs to this very version of the program.
    respond::set(&mut answer, HeaderName::from_static("cache-control"), "no-cache");
    Ok(answer)
}
