//! What a client reads when something went wrong, before a dialect puts it into its own words.

use std::fmt::Display;

use hyper::StatusCode;
use lemmy_core::{Error, ErrorKind};
use serde_json::{Map, Value, json};

pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// Why a request was not served: what was found, what was expected, the next step. Never a path of this machine, never
/// the client's own text.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The `type` that clients tell errors apart by.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// The field that is wrong.
    pub(crate) param: Option<String>,
    pub(crate) code: Option<&'static str>,
    /// More members of the error object.
    pub(crate) more: Vec<(&'static str, Value)>,
    /// Seconds after which it is worth trying again.
    pub(crate) retry_after: Option<u32>,
    /// Whether the connection cannot go on, for instance because a body was not read.
    pub(crate) closes: bool,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Display) -> Self {
        Self {
            status,
            kind,
            message: message.to_string(),
            param: None,
            code: Some(code),
            more: Vec::new(),
            retry_after: None,
            closes: false,
        }
    }

    /// 400: the request is wrong.
    pub(crate) fn bad(code: &'static str, message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, code, message)
    }

    /// 400: this field has a value that it cannot have.
    pub(crate) fn value(param: impl Into<String>, message: impl Display) -> Self {
        let param = param.into();
        Self::bad("invalid_value", format!("{param}: {message}")).param(param)
    }

    /// 400: this field is not supported, or not with this value.
    pub(crate) fn unsupported(param: impl Into<String>, message: impl Display) -> Self {
        let param = param.into();
        Self::bad("unsupported_parameter", format!("{param}: {message}")).param(param)
    }

    /// A status that says it all, of the kind that blames the request.
    pub(crate) fn refused(status: StatusCode, code: &'static str, message: impl Display) -> Self {
        Self::new(status, INVALID, code, message)
    }

    /// 404.
    pub(crate) fn not_found(code: &'static str, message: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", code, message)
    }

    /// 501.
    pub(crate) fn not_supported(message: impl Display) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not_supported_error", "not_supported", message)
    }

    /// 503: not now.
    pub(crate) fn unavailable(code: &'static str, message: impl Display) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", code, message);
        Self { retry_after: Some(1), ..problem }
    }

    /// 429: more requests wait than the server lets wait.
    pub(crate) fn queue_full(waiting: usize, seconds: u32) -> Self {
        let message =
            format!("{waiting} requests wait already; come back in {seconds} s, or start with a larger --queue");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "queue_full", message);
        Self { retry_after: Some(seconds), ..problem }
    }

    /// 500: a fault of ours.
    pub(crate) fn internal(message: impl Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error", message)
    }

    pub(crate) fn param(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// Adds a member to the error object.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    /// The connection ends with the answer.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The error as OpenAI's clients read it.
    pub(crate) fn json(&self) -> Value {
        let mut error = Map::new();
        error.insert("message".into(), self.message.as_str().into());
        error.insert("type".into(), self.kind.into());
        error.insert("param".into(), self.param.as_deref().into());
        error.insert("code".into(), self.code.into());
        error.extend(self.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        json!({ "error": error })
    }
}

/// The type of every error that the client can mend by another request.
const INVALID: &str = "invalid_request_error";

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::ContextFull { used, requested, capacity } => {
                let tokens = used.saturating_add(requested);
                let message = format!(
                    "the prompt has {tokens} tokens, the context {capacity}; shorten it, or start with more --ctx-size"
                );
                Self::new(StatusCode::BAD_REQUEST, "exceed_context_size_error", "context_length_exceeded", message)
                    .with("n_prompt_tokens", tokens)
                    .with("n_ctx", capacity)
            }
            Error::Argument { name: "constraint", reason } => {
                Self::bad("invalid_schema", format!("response_format: {reason}")).param("response_format")
            }
            Error::Argument { name: "tools", reason } if !reason.starts_with("tools") => {
                Self::bad("invalid_schema", format!("tools: {reason}")).param("tools")
            }
            Error::Argument { name, reason } => {
                let place = reason.split(": ").next().filter(|place| place.starts_with(name)).unwrap_or(name);
                let param = place.to_owned();
                let named = if reason.starts_with(name) { reason } else { format!("{name}: {reason}") };
                Self::bad("invalid_value", named).param(param)
            }
            Error::Image(reason) => Self::bad("invalid_image", format!("picture: {reason}")).param("messages"),
            Error::Unsupported(reason) => Self::bad("unsupported_parameter", format!("not supported: {reason}")),
            Error::Template(reason) => {
                Self::bad("invalid_value", format!("messages: the chat template refuses them: {reason}"))
                    .param("messages")
            }
            Error::OutOfMemory { needed, .. } => {
                Self::unavailable("out_of_memory", format!("no memory: {needed} bytes were needed"))
            }
            Error::Cancelled => Self::unavailable("shutting_down", "the request was cancelled"),
            Error::FileChanged(_) => {
                Self::internal("the model's file changed while it was in use; start the server again")
            }
            // The rest may name files.
            other => Self::internal(match other.kind() {
                ErrorKind::Numeric => "the model's numbers became infinite",
                _ => "something went wrong inside",
            }),
        }
    }
}
