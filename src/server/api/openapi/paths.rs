//! What each path is for.

use super::fields::{self, Field};

/// One path.
pub(super) struct Path {
    pub(super) path: &'static str,
    pub(super) dialect: Dialect,
    pub(super) about: &'static str,
    /// Groups of fields of what is posted.
    pub(super) body: &'static [&'static [Field]],
    /// Media type of an answer that is no stream.
    pub(super) media: &'static str,
    /// Whether it is there only to say that it is not.
    pub(super) is_missing: bool,
}

/// Whose words a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Server,
    OpenAi,
    Anthropic,
    LlamaServer,
    Ollama,
}

impl Dialect {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::OpenAi => "OpenAI",
            Self::Anthropic => "Anthropic",
            Self::LlamaServer => "llama-server",
            Self::Ollama => "Ollama",
        }
    }

    /// Where the document has the shape of its problems.
    pub(super) fn error(self) -> &'static str {
        match self {
            Self::Anthropic => "#/components/schemas/AnthropicError",
            Self::Ollama => "#/components/schemas/OllamaError",
            Self::Server | Self::OpenAi | Self::LlamaServer => "#/components/schemas/Error",
        }
    }
}

use Dialect::{Anthropic, LlamaServer, Ollama, OpenAi, Server};

const fn get(path: &'static str, dialect: Dialect, about: &'static str) -> Path {
    Path { path, dialect, about, body: &[], media: "application/json", is_missing: false }
}

const fn post(path: &'static str, dialect: Dialect, about: &'static str, body: &'static [&'static [Field]]) -> Path {
    Path { body, ..get(path, dialect, about) }
}

const fn other(path: &'static str, about: &'static str, media: &'static str) -> Path {
    Path { media, ..get(path, Server, about) }
}

const fn missing(path: &'static str, dialect: Dialect, about: &'static str) -> Path {
    Path { is_missing: true, ..get(path, dialect, about) }
}

const CHAT: &[&[Field]] = &[fields::MODEL, fields::CHAT, fields::SAMPLING, fields::STREAM];
const RESPONSES: &[&[Field]] = &[fields::MODEL, fields::RESPONSES, fields::SAMPLING, fields::STREAM];
const NATIVE: &[&[Field]] = &[fields::MODEL, fields::NATIVE, fields::SAMPLING, fields::STREAM];
const MESSAGES: &[&[Field]] = &[fields::MODEL, fields::MAX_TOKENS, fields::MESSAGES, fields::SAMPLING, fields::STREAM];

const HEALTH: &str = "whether it can serve";
const MODELS: &str = "the model, its sizes, its names";
const MANAGE: &str = "no model is fetched, written or deleted";

/// All of them.
pub(super) const PATHS: &[Path] = &[
    other("/", "the web page", "text/html"),
    other("/assets/{file}", "what the web page consists of", "text/css"),
    get("/health", Server, HEALTH),
    get("/v1/health", Server, HEALTH),
    get("/healthz", Server, HEALTH),
    get("/readyz", Server, HEALTH),
    get("/livez", Server, "whether it lives"),
    get("/version", Server, "its version"),
    get("/api/version", Ollama, "its version"),
    get("/openapi.json", Server, "this document"),
    other("/metrics", "counters for Prometheus", "text/plain"),
    get("/v1/models", OpenAi, MODELS),
    get("/models", OpenAi, MODELS),
    get("/v1/models/{id}", OpenAi, MODELS),
    post("/v1/chat/completions", OpenAi, "a reply to a conversation", CHAT),
    post("/chat/completions", OpenAi, "a reply to a conversation", CHAT),
    post("/v1/chat/completions/input_tokens", OpenAi, "how long the prompt is", CHAT),
    post(
        "/v1/completions",
        OpenAi,
        "texts that are continued",
        &[fields::MODEL, fields::COMPLETIONS, fields::SAMPLING, fields::STREAM],
    ),
    post("/v1/responses", OpenAi, "a reply to a list of items", RESPONSES),
    post("/responses", OpenAi, "a reply to a list of items", RESPONSES),
    post("/v1/responses/input_tokens", OpenAi, "how long the prompt is", RESPONSES),
    missing("/v1/embeddings", OpenAi, "the model makes none"),
    missing("/embeddings", OpenAi, "the model makes none"),
    post("/v1/messages", Anthropic, "a reply to a conversation", MESSAGES),
    post(
        "/v1/messages/count_tokens",
        Anthropic,
        "how long the prompt is",
        &[fields::MODEL, fields::MESSAGES, fields::SAMPLING, fields::STREAM],
    ),
    post("/completion", LlamaServer, "a text or tokens that are continued", NATIVE),
    post("/completions", LlamaServer, "a text or tokens that are continued", NATIVE),
    post("/tokenize", LlamaServer, "the tokens of a text", &[fields::TOKENIZE]),
    post("/detokenize", LlamaServer, "the text of tokens", &[fields::DETOKENIZE]),
    post("/apply-template", LlamaServer, "what the model is shown of a conversation", &[fields::TEMPLATE]),
    get("/props", LlamaServer, "how the server is set up"),
    get("/slots", LlamaServer, "what the slots are doing"),
    post("/api/chat", Ollama, "a reply to a conversation", &[fields::MODEL, fields::OLLAMA_CHAT, fields::OLLAMA_BOTH]),
    post(
        "/api/generate",
        Ollama,
        "a reply to a message",
        &[fields::MODEL, fields::OLLAMA_GENERATE, fields::OLLAMA_BOTH],
    ),
    get("/api/tags", Ollama, "the model"),
    get("/api/ps", Ollama, "the model, which is always loaded"),
    post("/api/show", Ollama, "the model's facts", &[fields::MODEL]),
    missing("/api/embed", Ollama, "the model makes no embeddings"),
    missing("/api/embeddings", Ollama, "the model makes no embeddings"),
    missing("/api/pull", Ollama, MANAGE),
    missing("/api/push", Ollama, MANAGE),
    missing("/api/create", Ollama, MANAGE),
    missing("/api/copy", Ollama, MANAGE),
    missing("/api/delete", Ollama, MANAGE),
    missing("/api/blobs/{digest}", Ollama, MANAGE),
];
