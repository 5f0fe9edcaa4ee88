//! The part of Ollama's API that its clients need to talk to a model. Nothing here fetches, writes or deletes one.

mod answer;
mod models;
mod request;

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use self::answer::{LineAnswer, Shape, loaded};
use self::request::Wish;
use super::{check_model, read, turns};
use crate::server::app::App;
use crate::server::log::Trace;
use crate::server::problem::{Problem, Result};
use crate::server::reply;
use crate::server::respond::{self, Answer};

pub(crate) use self::models::{running, show, tags};

/// `POST /api/chat`.
pub(crate) async fn chat(app: &Arc<App>, trace: &Trace, request: Request<Incoming>) -> Result<Answer> {
    serve(app, trace, request, Shape::Chat).await
}

/// `POST /api/generate`.
pub(crate) async fn generate(app: &Arc<App>, trace: &Trace, request: Request<Incoming>) -> Result<Answer> {
    serve(app, trace, request, Shape::Generate).await
}

async fn serve(app: &Arc<App>, trace: &Trace, request: Request<Incoming>, shape: Shape) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let Some(Wish { request, manner, warnings }) = Wish::read(app, ready, fields, shape)? else {
        return Ok(respond::json(&loaded(ready, shape)));
    };
    let answer = LineAnswer::new(ready, shape, warnings);
    reply::answer(app, trace, vec![request], manner, answer).await.map_err(own_words)
}

fn own_words(problem: Problem) -> Problem {
    turns::renamed(problem, &[("response_format", "format")])
}

/// A problem as Ollama's clients read it: a sentence.
pub(crate) fn words(problem: &Problem, _request: &str) -> Value {
    json!({ "error": problem.message })
}
