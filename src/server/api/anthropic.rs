//! Anthropic's `POST /v1/messages` and `/v1/messages/count_tokens`.

mod answer;
mod blocks;
mod request;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::{Map, Value, json};

use self::answer::MessageAnswer;
use self::request::Wish;
use super::{check_model, count, read, turns};
use crate::server::app::App;
use crate::server::fields::missing;
use crate::server::log::Trace;
use crate::server::problem::{Problem, Result};
use crate::server::reply;
use crate::server::respond::{self, Answer};

/// A reply to a conversation.
pub(crate) async fn serve(app: &Arc<App>, trace: &Trace, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    if !fields.has("max_tokens") {
        return Err(missing("max_tokens"));
    }
    let Wish { request, manner, warnings } = Wish::read(app, ready, fields)?;
    let answer = MessageAnswer::new(ready, request.options.stop.clone(), warnings);
    reply::answer(app, trace, vec![request], manner, answer).await.map_err(own_words)
}

/// How many tokens the prompt of such a request has.
pub(crate) async fn count(app: &Arc<App>, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let wish = Wish::read(app, ready, fields)?;
    let tokens = count::tokens(app, wish.request).await.map_err(own_words)?;
    Ok(respond::json(&json!({ "input_tokens": tokens })))
}

fn own_words(problem: Problem) -> Problem {
    turns::renamed(problem, &[("response_format", "output_config.format")])
}

/// A problem as Anthropic's clients read it.
pub(crate) fn words(problem: &Problem, request: &str) -> Value {
    json!({ "type": "error", "error": error(problem), "request_id": request })
}

fn error(problem: &Problem) -> Value {
    let kind = match problem.status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    };
    let mut error = Map::new();
    error.insert("type".into(), kind.into());
    error.insert("message".into(), problem.message.as_str().into());
    error.extend(problem.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::Object(error)
}
