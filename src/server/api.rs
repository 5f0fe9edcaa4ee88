//! The dialects, one file or folder each.
//!
//! A dialect is thin. To add one:
//!
//! 1. Give its paths a [`Route`](super::routes::Route) in `routes.rs`, with the words that it has for problems, and an
//!    arm in `http.rs`.
//! 2. In its own file, read the body with [`read`] into [`Fields`](super::fields::Fields) and make a
//!    [`Request`](super::job::Request) of it: a conversation or tokens, and the options of the reply. What it shares
//!    with others is in `sampling.rs` (names of options, schemas), `messages.rs` and `tools.rs` (OpenAI's messages,
//!    tools and choices) and `turns.rs` (conversations of other forms).
//! 3. Implement [`Dialect`](super::reply::Dialect): how a whole answer looks, and what a stream says for each
//!    [`Update`](super::job::Update).
//! 4. Hand both to [`reply::answer`](super::reply::answer), which queues the request, waits, streams, keeps the
//!    connection alive, notices clients that leave, and counts.

pub(crate) mod anthropic;
pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod completions;
pub(crate) mod count;
pub(crate) mod health;
pub(crate) mod logprobs;
pub(crate) mod messages;
pub(crate) mod metrics;
pub(crate) mod models;
pub(crate) mod ollama;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod props;
pub(crate) mod responses;
pub(crate) mod sampling;
mod schema;
pub(crate) mod tokens;
pub(crate) mod tools;
pub(crate) mod turns;

use hyper::Request;
use hyper::body::Incoming;

use super::app::{App, Ready};
use super::fields::Fields;
use super::problem::{Problem, Result};
use super::{body, json};

/// The members of a request's body.
///
/// # Errors
///
/// As [`body::read`]; 400 if it is no JSON object or goes beyond the bounds of one.
pub(crate) async fn read(app: &App, request: Request<Incoming>) -> Result<Fields> {
    let bytes = body::read(request, &app.options.limits).await?;
    Ok(Fields::new(json::object(&bytes)?))
}

/// Looks at the `model` of a request: it may be anything where one model is served, unless the server is strict.
///
/// # Errors
///
/// 404 for a name that is none of the model's.
pub(crate) fn check_model(app: &App, ready: &Ready, fields: &mut Fields) -> Result<()> {
    let Some(name) = fields.text("model")? else { return Ok(()) };
    let is_known = name.is_empty() || name == "default" || ready.is_called(&name);
    if is_known || !app.options.strict_model {
        return Ok(());
    }
    let message = format!("the model is not served here; GET /v1/models lists what is ({})", ready.id);
    Err(Problem::not_found("model_not_found", message).param("model"))
}
