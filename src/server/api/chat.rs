//! OpenAI's `POST /v1/chat/completions`.

mod answer;
mod request;

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use serde_json::json;

use self::answer::ChatAnswer;
use self::request::Wish;
use super::{check_model, count, read};
use crate::server::app::App;
use crate::server::log::Trace;
use crate::server::problem::Result;
use crate::server::reply;
use crate::server::respond::{self, Answer};

/// A reply to a conversation.
pub(crate) async fn serve(app: &Arc<App>, trace: &Trace, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let Wish { request, manner, shape } = Wish::read(app, ready, fields)?;
    reply::answer(app, trace, vec![request], manner, ChatAnswer::new(ready, shape)).await
}

/// How many tokens the prompt of such a request has.
pub(crate) async fn count(app: &Arc<App>, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let wish = Wish::read(app, ready, fields)?.request;
    let tokens = count::tokens(app, wish).await?;
    Ok(respond::json(&json!({ "object": "response.input_tokens", "input_tokens": tokens })))
}
