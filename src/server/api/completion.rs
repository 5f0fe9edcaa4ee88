//! llama-server's own `POST /completion`: a text or tokens that are continued.

mod answer;
mod request;

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use self::answer::NativeAnswer;
use self::request::Wish;
use super::{check_model, read, turns};
use crate::server::app::App;
use crate::server::log::Trace;
use crate::server::problem::Result;
use crate::server::reply;
use crate::server::respond::Answer;

/// Continues one prompt.
pub(crate) async fn serve(app: &Arc<App>, trace: &Trace, request: Request<Incoming>) -> Result<Answer> {
    let ready = app.ready()?;
    let mut fields = read(app, request).await?;
    check_model(app, ready, &mut fields)?;
    let Wish { request, manner, shape } = Wish::read(app, ready, fields)?;
    let answer = NativeAnswer::new(ready, shape);
    let answered = reply::answer(app, trace, vec![request], manner, answer).await;
    answered.map_err(|problem| turns::renamed(problem, &[("response_format", "json_schema")]))
}
