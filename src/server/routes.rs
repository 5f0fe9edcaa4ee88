//! From a path to what answers it.

use hyper::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::api::{anthropic, ollama};
use super::problem::Problem;

/// What answers a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Page(String),
    Health,
    Live,
    Readiness,
    Models,
    Model(String),
    Chat,
    ChatTokens,
    Version,
    OpenApi,
    Completions,
    Tokenize,
    Detokenize,
    ApplyTemplate,
    Props,
    Slots,
    Metrics,
    Responses,
    ResponsesTokens,
    Messages,
    MessagesTokens,
    Completion,
    OllamaChat,
    OllamaGenerate,
    OllamaTags,
    OllamaRunning,
    OllamaShow,
    /// What other servers have and this one has not; why.
    Missing(&'static str),
}

/// What is known of a path before anybody looks at the request.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) route: Route,
    /// Its name in metrics.
    pub(crate) name: &'static str,
    /// `GET` (and with it `HEAD`), `POST` or both.
    pub(crate) methods: &'static [Method],
    /// Whether a key is needed where there are keys.
    pub(crate) needs_key: bool,
    /// How its dialect words a problem: the problem and the request's id.
    pub(crate) words: fn(&Problem, &str) -> Value,
}

const GET: &[Method] = &[Method::GET];
const POST: &[Method] = &[Method::POST];
const BOTH: &[Method] = &[Method::GET, Method::POST];
const ANY: &[Method] = &[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
/// What would fetch, write or delete models.
const MANAGED: Route = Route::Missing("this server serves one model and changes none; see `lemmy pull --help`");

/// What answers a path, if anything does.
pub(crate) fn find(path: &str) -> Option<Found> {
    let open = |route, name, methods| Found { route, name, methods, needs_key: false, words: openai };
    let keyed = |route, name, methods| Found { route, name, methods, needs_key: true, words: openai };
    let anthropic = |route, name| Found { words: anthropic::words, ..keyed(route, name, POST) };
    let ollama = |route, name, methods| Found { words: ollama::words, ..keyed(route, name, methods) };
    Some(match path {
        "/" => open(Route::Page("index.html".into()), "/", GET),
        "/health" | "/v1/health" | "/healthz" => open(Route::Health, "/health", GET),
        "/livez" => open(Route::Live, "/health", GET),
        "/readyz" => open(Route::Readiness, "/health", GET),
        "/version" | "/api/version" => open(Route::Version, "/version", GET),
        "/openapi.json" => open(Route::OpenApi, "/openapi.json", GET),
        "/v1/models" | "/models" => keyed(Route::Models, "/v1/models", GET),
        "/v1/chat/completions" | "/chat/completions" => keyed(Route::Chat, "/v1/chat/completions", POST),
        "/v1/chat/completions/input_tokens" => keyed(Route::ChatTokens, "/v1/chat/completions/input_tokens", POST),
        "/v1/completions" => keyed(Route::Completions, "/v1/completions", POST),
        "/v1/responses" | "/responses" => keyed(Route::Responses, "/v1/responses", POST),
        "/v1/responses/input_tokens" => keyed(Route::ResponsesTokens, "/v1/responses/input_tokens", POST),
        "/v1/messages" => anthropic(Route::Messages, "/v1/messages"),
        "/v1/messages/count_tokens" => anthropic(Route::MessagesTokens, "/v1/messages/count_tokens"),
        "/completion" | "/completions" => keyed(Route::Completion, "/completion", POST),
        "/api/chat" => ollama(Route::OllamaChat, "/api/chat", POST),
        "/api/generate" => ollama(Route::OllamaGenerate, "/api/generate", POST),
        "/api/tags" => ollama(Route::OllamaTags, "/api/tags", GET),
        "/api/ps" => ollama(Route::OllamaRunning, "/api/ps", GET),
        "/api/show" => ollama(Route::OllamaShow, "/api/show", POST),
        "/api/embed" | "/api/embeddings" => {
            ollama(Route::Missing("this model makes no embeddings"), "/api/embed", POST)
        }
        "/api/pull" | "/api/push" | "/api/create" | "/api/copy" | "/api/delete" => ollama(MANAGED, "/api/manage", ANY),
        "/tokenize" => keyed(Route::Tokenize, "/tokenize", POST),
        "/detokenize" => keyed(Route::Detokenize, "/detokenize", POST),
        "/apply-template" => keyed(Route::ApplyTemplate, "/apply-template", POST),
        "/props" => keyed(Route::Props, "/props", BOTH),
        "/slots" => keyed(Route::Slots, "/slots", GET),
        "/metrics" => keyed(Route::Metrics, "/metrics", GET),
        "/v1/embeddings" | "/embeddings" => {
            keyed(Route::Missing("this model makes no embeddings"), "/v1/embeddings", POST)
        }
        _ => {
            if path.starts_with("/api/blobs/") {
                return Some(ollama(MANAGED, "/api/manage", ANY));
            }
            if let Some(file) = path.strip_prefix("/assets/") {
                return Some(open(Route::Page(file.into()), "/assets", GET));
            }
            // Ids may hold slashes and colons, as they are or percent-encoded.
            let id = path.strip_prefix("/v1/models/").or_else(|| path.strip_prefix("/models/"))?;
            let id = percent_decode_str(id).decode_utf8().ok()?.into_owned();
            keyed(Route::Model(id), "/v1/models", GET)
        }
    })
}

/// OpenAI's words.
fn openai(problem: &Problem, _request: &str) -> Value {
    problem.json()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ids_of_models_come_raw_or_encoded() {
        for path in ["/v1/models/org/name:Q4", "/v1/models/org%2Fname%3AQ4", "/models/org/name:Q4"] {
            assert_eq!(find(path).unwrap().route, Route::Model("org/name:Q4".into()), "{path}");
        }
        assert!(find("/v1/models/%ff").is_none());
        assert!(find("/v2/models").is_none() && find("/health/").is_none());
    }
}
