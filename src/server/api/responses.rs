//! OpenAI's `POST /v1/responses`, without what it would have to remember.

mod answer;
mod input;
mod items;
mod request;

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use serde_json::json;

use self::answer::ResponseAnswer;
use self::request::Wish;
use super::{check_model, count, read, turns};
use crate::server::app::App;
use crate::server::log::Trace;
use crate::server::problem::{Problem, Result};
use crate::server::reply;
use crate::server::respond::{self, Answer};

/// A reply to a list of items.
pub(crate) async fn serve(app: &Arc<App>, trace: &Trace, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let Wish { request, manner, echo, warnings } = Wish::read(app, ready, fields)?;
    let answer = ResponseAnswer::new(ready, echo, warnings);
    reply::answer(app, trace, vec![request], manner, answer).await.map_err(own_words)
}

/// How many tokens the prompt of such a request has.
pub(crate) async fn count(app: &Arc<App>, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let wish = Wish::read(app, ready, fields)?;
    let tokens = count::tokens(app, wish.request).await.map_err(own_words)?;
    Ok(respond::json(&json!({ "object": "response.input_tokens", "input_tokens": tokens })))
}

fn own_words(problem: Problem) -> Problem {
    turns::renamed(problem, &[("response_format", "text.format"), ("messages", "input")])
}
