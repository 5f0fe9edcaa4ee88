//! One request from its head to its answer: guards, routes, the right handler, headers that every answer has.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};

use super::api;
use super::app::App;
use super::connection::{Serving, too_long};
use super::guard::Sharing;
use super::ids;
use super::log::Trace;
use super::problem::{Problem, Result};
use super::respond::{self, Answer};
use super::routes::{self, Found, Route};

/// The member of a 405 that names the methods which are allowed.
const ALLOW: &str = "allow";

/// Answers a request, whatever it is.
pub(super) async fn handle(app: Arc<App>, serving: Serving, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let (sharing, found) = (guard(&app, &request), routes::find(request.uri().path()));
    let trace = Trace::new(app.clone(), serving, id.clone(), method.to_string(), request.uri().path().to_owned());
    if let Some(found) = &found {
        trace.set_route(found.name);
    }
    let words = found.as_ref().map(|found| found.words);
    let (sharing, answer) = match sharing {
        Err(problem) => (Sharing::None, Err(problem)),
        Ok(sharing) if method == Method::OPTIONS => (sharing, Ok(preflight(request.headers()))),
        Ok(sharing) => (sharing, unbroken(serve(&app, &trace, request, found)).await),
    };
    let mut answer = answer.unwrap_or_else(|problem| {
        trace.failed(&problem);
        let body = words.map_or_else(|| problem.json(), |words| words(&problem, &id));
        let mut answer = respond::problem(&problem, &body);
        let allowed = problem.more.iter().find(|(name, _)| *name == ALLOW);
        if let Some(methods) = allowed.and_then(|(_, methods)| methods.as_str()) {
            respond::set(&mut answer, header::ALLOW, methods);
        }
        answer
    });
    share(&mut answer, &sharing);
    respond::set(&mut answer, HeaderName::from_static("x-request-id"), &id);
    respond::set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if method == Method::HEAD {
        head_only(&mut answer);
    }
    trace.set_status(answer.status().as_u16());
    answer.body_mut().belongs_to(trace);
    Ok(answer)
}

/// Whether the request is meant for this server and comes from a page that may use it. The body is not read before.
fn guard(app: &App, request: &Request<Incoming>) -> Result<Sharing> {
    if head_bytes(request) > app.options.limits.head {
        return Err(too_long());
    }
    app.options.names.check_host(request.uri(), request.headers())?;
    app.options.names.check_origin(request.method(), request.headers())
}

/// Bytes of a request line and headers, as they are usually written.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let line = request.method().as_str().len() + request.uri().to_string().len() + "  HTTP/1.1\r\n".len();
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    line + headers.sum::<usize>() + "\r\n".len()
}

async fn serve(app: &Arc<App>, trace: &Trace, request: Request<Incoming>, found: Option<Found>) -> Result<Answer> {
    let found = found.ok_or_else(|| Problem::not_found("unknown_url", "there is nothing at this path"))?;
    let is_allowed = |method: &Method| {
        found.methods.contains(method) || method == Method::HEAD && found.methods.contains(&Method::GET)
    };
    if !is_allowed(request.method()) {
        let names: Vec<&str> = found.methods.iter().map(Method::as_str).collect();
        let names = names.join(", ");
        let message = format!("this path is for {names}");
        let problem = Problem::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
        return Err(problem.with(ALLOW, names).closing());
    }
    if found.needs_key {
        trace.set_owner(app.options.keys.check(request.headers())?);
    }
    match found.route {
        Route::Page(file) => api::page::serve(app, &file),
        Route::Health | Route::Readiness => api::health::health(app),
        Route::Live => Ok(api::health::live()),
        Route::Version => Ok(api::health::version()),
        Route::OpenApi => Ok(respond::json(&api::openapi::document())),
        Route::Models => api::models::list(app.ready()?),
        Route::Model(id) => api::models::one(app.ready()?, &id),
        Route::Chat => api::chat::serve(app, trace, request).await,
        Route::ChatTokens => api::chat::count(app, request).await,
        Route::Completions => api::completions::serve(app, trace, request).await,
        Route::Responses => api::responses::serve(app, trace, request).await,
        Route::ResponsesTokens => api::responses::count(app, request).await,
        Route::Messages => api::anthropic::serve(app, trace, request).await,
        Route::MessagesTokens => api::anthropic::count(app, request).await,
        Route::Completion => api::completion::serve(app, trace, request).await,
        Route::OllamaChat => api::ollama::chat(app, trace, request).await,
        Route::OllamaGenerate => api::ollama::generate(app, trace, request).await,
        Route::OllamaTags => api::ollama::tags(app.ready()?),
        Route::OllamaRunning => api::ollama::running(app.ready()?),
        Route::OllamaShow => api::ollama::show(app, request).await,
        Route::Tokenize => api::tokens::tokenize(app, request).await,
        Route::Detokenize => api::tokens::detokenize(app, request).await,
        Route::ApplyTemplate => api::tokens::apply_template(app, request).await,
        Route::Props => api::props::props(app, app.ready()?, request.method()),
        Route::Slots => api::props::slots(app, app.ready()?, request.uri().query()),
        Route::Metrics => api::metrics::serve(app),
        Route::Missing(why) => Err(Problem::not_supported(why)),
    }
}

/// A future that a panic turns into a 500, so that one request is all that it costs.
async fn unbroken(future: impl Future<Output = Result<Answer>>) -> Result<Answer> {
    let mut future = pin!(future);
    poll_fn(move |context| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)))
            .unwrap_or_else(|_| Poll::Ready(Err(Problem::internal("the request could not be served"))))
    })
    .await
}

/// The id that the client gave its request, if it is one to be repeated; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    let is_plain = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    given.filter(is_plain).map_or_else(|| ids::hex("req_"), str::to_owned)
}

/// What a browser asks before a page's request.
fn preflight(headers: &HeaderMap) -> Answer {
    let mut answer = respond::bytes(StatusCode::NO_CONTENT, "text/plain", "");
    answer.headers_mut().remove(header::CONTENT_TYPE);
    respond::set(&mut answer, header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS");
    if let Some(wanted) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    respond::set(&mut answer, header::ACCESS_CONTROL_MAX_AGE, "600");
    answer
}

/// Tells a browser which page may read the answer.
fn share(answer: &mut Answer, sharing: &Sharing) {
    match sharing {
        Sharing::None => {}
        Sharing::With(origin) => {
            respond::set(answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            respond::set(answer, header::VARY, "Origin");
        }
        Sharing::All => respond::set(answer, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    }
}

/// The answer to `HEAD`: that to `GET` without its body.
fn head_only(answer: &mut Answer) {
    if let Some(length) = answer.body_mut().drop_bytes() {
        respond::set(answer, header::CONTENT_LENGTH, &length.to_string());
    }
}
