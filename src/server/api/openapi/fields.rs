//! The fields that bodies have, each with an example that the server takes.

use serde_json::{Value, json};

use crate::server::json::put;

/// A member of a body.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Its types, as JSON Schema names them; empty for any.
    types: &'static [&'static str],
    about: &'static str,
    /// As JSON.
    example: &'static str,
    pub(super) is_required: bool,
}

impl Field {
    pub(super) fn schema(&self) -> Value {
        let example = serde_json::from_str::<Value>(self.example).unwrap_or_default();
        let mut schema = json!({ "description": self.about, "examples": [example] });
        if !self.types.is_empty() {
            put(&mut schema, "type", self.types);
        }
        schema
    }
}

const fn field(
    name: &'static str,
    types: &'static [&'static str],
    example: &'static str,
    about: &'static str,
) -> Field {
    Field { name, types, about, example, is_required: false }
}

const fn required(
    name: &'static str,
    types: &'static [&'static str],
    example: &'static str,
    about: &'static str,
) -> Field {
    Field { is_required: true, ..field(name, types, example, about) }
}

const TEXT: &[&str] = &["string"];
const NUMBER: &[&str] = &["number"];
const WHOLE: &[&str] = &["integer"];
const FLAG: &[&str] = &["boolean"];
const LIST: &[&str] = &["array"];
const OBJECT: &[&str] = &["object"];
const TEXT_OR_LIST: &[&str] = &["string", "array"];
const TEXT_OR_OBJECT: &[&str] = &["string", "object"];

const WEATHER: &str = r#"[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object"}}}]"#;
const FLAT_WEATHER: &str = r#"[{"type":"function","name":"get_weather","parameters":{"type":"object"}}]"#;
const INPUT_WEATHER: &str = r#"[{"name":"get_weather","input_schema":{"type":"object"}}]"#;
const HELLO: &str = r#"[{"role":"user","content":"What is 12 + 30?"}]"#;

pub(super) const MODEL: &[Field] =
    &[field("model", TEXT, r#""default""#, "the model's name; any, unless --strict-model")];

pub(super) const SAMPLING: &[Field] = &[
    field("temperature", NUMBER, "0", "0 takes the best token; up to 5"),
    field("top_k", WHOLE, "64", "how many tokens may come; 0 all"),
    field("top_p", NUMBER, "0.95", "share of the probability that may come"),
    field("min_p", NUMBER, "0", "least probability, as a share of the best"),
    field("repeat_penalty", NUMBER, "1", "divides the logits of what came before"),
    field("repeat_last_n", WHOLE, "64", "how far back penalties look; -1 all"),
    field("presence_penalty", NUMBER, "0", "from -2 to 2"),
    field("frequency_penalty", NUMBER, "0", "from -2 to 2"),
    field("seed", WHOLE, "7", "the same seed gives the same reply; -1 a random one"),
    field("stop", TEXT_OR_LIST, r#"["\n\n\n"]"#, "texts at which the reply ends"),
    field("logit_bias", &["object", "array"], "{}", "added to logits, by token id"),
];

pub(super) const STREAM: &[Field] = &[
    field("stream", FLAG, "false", "whether the reply comes in pieces"),
    field("sse_ping_interval", NUMBER, "15", "seconds of silence after which a stream says that it lives"),
    field("cache_prompt", FLAG, "true", "whether what was read before may be used"),
    field("id_slot", WHOLE, "-1", "the slot that has to serve it; -1 any"),
];

pub(super) const CHAT: &[Field] = &[
    required("messages", LIST, HELLO, "the conversation, oldest message first"),
    field("max_completion_tokens", WHOLE, "8", "most tokens of the reply; -1 until the context is full"),
    field("max_tokens", WHOLE, "8", "the older name of max_completion_tokens"),
    field("n", WHOLE, "1", "replies to the one prompt"),
    field("stream_options", OBJECT, r#"{"include_usage":true}"#, "include_usage, continuous_usage_stats"),
    field("logprobs", FLAG, "true", "whether tokens come with their probabilities"),
    field("top_logprobs", WHOLE, "2", "how many others beside each"),
    field("response_format", OBJECT, r#"{"type":"text"}"#, "text, json_object or json_schema"),
    field("tools", LIST, WEATHER, "functions that may be called"),
    field("tool_choice", TEXT_OR_OBJECT, r#""auto""#, "auto, none, required, a function, allowed_tools"),
    field("parallel_tool_calls", FLAG, "true", "false: at most one call"),
    field("reasoning_effort", TEXT, r#""none""#, "none, minimal, low, medium, high, xhigh, max"),
    field("thinking_budget_tokens", WHOLE, "0", "most tokens of thought; -1 no bound"),
    field(
        "chat_template_kwargs",
        OBJECT,
        r#"{"enable_thinking":false}"#,
        "enable_thinking, preserve_thinking, thinking_budget",
    ),
    field("reasoning_format", TEXT, r#""auto""#, "none leaves thoughts in the content"),
    field("continue_final_message", FLAG, "false", "goes on with the last message"),
    field("timings_per_token", FLAG, "false", "timings on each chunk"),
    field("return_progress", FLAG, "false", "chunks while the prompt is read"),
];

pub(super) const COMPLETIONS: &[Field] = &[
    required("prompt", TEXT_OR_LIST, r#""What is""#, "a text, several, or token ids"),
    field("max_tokens", WHOLE, "4", "most tokens of the reply"),
    field("n", WHOLE, "1", "replies to each prompt"),
    field("best_of", WHOLE, "1", "has to be n"),
    field("echo", FLAG, "true", "whether the prompt stands before the reply"),
    field("logprobs", WHOLE, "null", "how many tokens beside each, 0 to 5; not with echo"),
    field("stream_options", OBJECT, r#"{"include_usage":true}"#, "include_usage"),
];

pub(super) const RESPONSES: &[Field] = &[
    required("input", TEXT_OR_LIST, r#""What is 12 + 30?""#, "a text, or messages, reasoning, calls and their answers"),
    field("instructions", TEXT, r#""Be brief.""#, "what comes before the conversation"),
    field("max_output_tokens", WHOLE, "8", "most tokens of the reply"),
    field("top_logprobs", WHOLE, "0", "how many tokens beside each"),
    field("include", LIST, r#"["message.output_text.logprobs"]"#, "message.output_text.logprobs"),
    field("tools", LIST, FLAT_WEATHER, "functions that may be called"),
    field("tool_choice", TEXT_OR_OBJECT, r#""auto""#, "auto, none, required, a function, allowed_tools"),
    field("parallel_tool_calls", FLAG, "true", "false: at most one call"),
    field("text", OBJECT, r#"{"format":{"type":"text"}}"#, "format: text, json_object or json_schema"),
    field("reasoning", OBJECT, r#"{"effort":"none"}"#, "effort"),
    field("metadata", OBJECT, "{}", "repeated in the answer"),
    field("truncation", TEXT, r#""disabled""#, "nothing is ever cut off a prompt"),
];

pub(super) const MESSAGES: &[Field] = &[
    required("messages", LIST, HELLO, "the conversation; a last one of the assistant is gone on with"),
    field("system", TEXT_OR_LIST, r#""Be brief.""#, "instructions"),
    field("stop_sequences", LIST, r#"["\n\n\n"]"#, "texts at which the reply ends"),
    field("tools", LIST, INPUT_WEATHER, "tools that may be used"),
    field("tool_choice", OBJECT, r#"{"type":"auto"}"#, "auto, any, tool, none; disable_parallel_tool_use"),
    field("thinking", OBJECT, r#"{"type":"disabled"}"#, "enabled with budget_tokens, adaptive, disabled"),
    field("output_config", OBJECT, r#"{"effort":"low"}"#, "effort, format"),
];

pub(super) const MAX_TOKENS: &[Field] = &[required("max_tokens", WHOLE, "8", "most tokens of the reply")];

pub(super) const NATIVE: &[Field] = &[
    required("prompt", TEXT_OR_LIST, r#""What is""#, "a text, token ids, or both mixed"),
    field("n_predict", WHOLE, "4", "most tokens of the reply; -1 until the context is full"),
    field("n_probs", WHOLE, "2", "how many tokens beside each, with their probabilities"),
    field("return_tokens", FLAG, "true", "whether token ids are told"),
    field("ignore_eos", FLAG, "false", "whether the end token never comes"),
    field("json_schema", OBJECT, "null", "what the reply has to look like"),
    field("t_max_predict_ms", WHOLE, "60000", "milliseconds after which the reply ends"),
    field("response_fields", LIST, "[]", "the only members that are wanted, each as a path"),
];

pub(super) const OLLAMA_CHAT: &[Field] = &[
    field("messages", LIST, HELLO, "role, content, images, thinking, tool_calls, tool_name; none: is the model there?"),
    field("tools", LIST, WEATHER, "functions that may be called"),
];

pub(super) const OLLAMA_GENERATE: &[Field] = &[
    field("prompt", TEXT, r#""What is 12 + 30?""#, "a message; empty: is the model there?"),
    field("system", TEXT, r#""Be brief.""#, "instructions"),
    field("images", LIST, "[]", "pictures as base64"),
    field("raw", FLAG, "false", "whether the prompt is shown to the model as it is"),
];

pub(super) const OLLAMA_BOTH: &[Field] = &[
    field("stream", FLAG, "false", "whether the reply comes in lines; true unless said otherwise"),
    field("think", &["boolean", "string"], "false", "whether to think, or an effort"),
    field("format", TEXT_OR_OBJECT, r#""""#, "json or a JSON schema"),
    field("options", OBJECT, r#"{"temperature":0,"num_predict":8}"#, "sampling, num_predict, num_ctx"),
    field("keep_alive", &[], r#""5m""#, "without effect: the model stays"),
];

pub(super) const TOKENIZE: &[Field] = &[
    required("content", TEXT, r#""Hello""#, "the text"),
    field("add_special", FLAG, "false", "whether the token that begins a text is added"),
    field("parse_special", FLAG, "true", "whether control tokens are read as such"),
    field("with_pieces", FLAG, "false", "whether each token's text is told"),
];

pub(super) const DETOKENIZE: &[Field] = &[required("tokens", LIST, "[1, 2]", "token ids")];

pub(super) const TEMPLATE: &[Field] = &[
    required("messages", LIST, HELLO, "the conversation"),
    field("tools", LIST, WEATHER, "functions that may be called"),
    field("reasoning_effort", TEXT, r#""none""#, "as in chat completions"),
    field("chat_template_kwargs", OBJECT, "{}", "as in chat completions"),
    field("add_generation_prompt", FLAG, "true", "whether the reply's beginning is part of it"),
];
