//! `GET /openapi.json`: what the server can be asked, as an OpenAPI 3.1 document. Paths, methods and keys are those of
//! `routes.rs`; what a path is for and which fields it reads stand in the tables below.

mod fields;
mod paths;

use serde_json::{Map, Value, json};

use self::fields::Field;
use self::paths::{Dialect, PATHS, Path};
use crate::server::json::put;
use crate::server::routes;

/// The document.
pub(crate) fn document() -> Value {
    let paths: Map<String, Value> = PATHS.iter().map(|path| (path.path.to_owned(), item(path))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lemmy",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A language model on this machine, in the dialects of other servers.",
            "license": { "name": "EUPL-1.2", "identifier": "EUPL-1.2" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
            },
            "schemas": {
                "Error": error(&json!({ "error": { "type": "object", "properties": {
                    "message": { "type": "string" },
                    "type": { "type": "string" },
                    "param": { "type": ["string", "null"] },
                    "code": { "type": ["string", "null"] },
                }, "required": ["message", "type", "param", "code"] } })),
                "AnthropicError": error(&json!({
                    "type": { "const": "error" },
                    "error": { "type": "object", "properties": {
                        "type": { "type": "string" }, "message": { "type": "string" },
                    }, "required": ["type", "message"] },
                    "request_id": { "type": "string" },
                })),
                "OllamaError": error(&json!({ "error": { "type": "string" } })),
            },
        },
    })
}

fn error(properties: &Value) -> Value {
    json!({ "type": "object", "properties": properties, "required": ["error"] })
}

/// The operations of a path.
fn item(path: &Path) -> Value {
    let Some(found) = routes::find(path.path) else { return json!({}) };
    let operations = found.methods.iter().map(|method| {
        let method = method.as_str().to_ascii_lowercase();
        let mut operation = json!({
            "summary": path.about,
            "tags": [path.dialect.name()],
            "responses": responses(path),
            "security": if found.needs_key { json!([{ "bearer": [] }, { "key": [] }]) } else { json!([]) },
        });
        let parameters = path.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters = parameters
            .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
        put(&mut operation, "parameters", parameters.collect::<Vec<_>>());
        if method == "post" && !path.body.is_empty() {
            put(
                &mut operation,
                "requestBody",
                json!({ "required": true, "content": { "application/json": { "schema": schema(path.body) } } }),
            );
        }
        (method, operation)
    });
    Value::Object(operations.collect())
}

/// The object that a body is.
fn schema(groups: &[&[Field]]) -> Value {
    let fields = || groups.iter().copied().flatten();
    let properties: Map<String, Value> = fields().map(|field| (field.name.to_owned(), field.schema())).collect();
    let required: Vec<&str> = fields().filter(|field| field.is_required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn responses(path: &Path) -> Value {
    let wrong = json!({
        "description": "what is wrong, what was expected",
        "content": { "application/json": { "schema": { "$ref": path.dialect.error() } } },
    });
    if path.is_missing {
        return json!({ "501": wrong });
    }
    let mut content = Map::new();
    content.insert(path.media.into(), json!({}));
    if path.body.iter().copied().flatten().any(|field| field.name == "stream") {
        let stream = if path.dialect == Dialect::Ollama { "application/x-ndjson" } else { "text/event-stream" };
        content.insert(stream.into(), json!({}));
    }
    json!({ "200": { "description": path.about, "content": content }, "default": wrong })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::collections::BTreeSet;

    use super::*;

    /// The paths that `routes.rs` spells out.
    fn spelled() -> BTreeSet<&'static str> {
        let source = include_str!("../routes.rs");
        let arms = source.split_once("match path {").unwrap().1.split_once("_ => {").unwrap().0;
        let patterns = arms.lines().map(str::trim).filter(|line| line.starts_with(['"', '|']));
        let patterns = patterns.map(|line| line.split("=>").next().unwrap());
        patterns.flat_map(|pattern| pattern.split('"').filter(|part| part.starts_with('/'))).collect()
    }

    #[test]
    fn every_route_is_told_and_every_told_path_is_a_route() {
        let told: BTreeSet<&str> = PATHS.iter().map(|path| path.path).collect();
        assert_eq!(told.len(), PATHS.len(), "a path is told twice");
        let spelled = spelled();
        assert!(spelled.len() > 30 && spelled.contains("/v1/chat/completions"), "{spelled:?}");
        assert_eq!(spelled.difference(&told).collect::<Vec<_>>(), Vec::<&&str>::new(), "not told");
        for path in PATHS {
            assert!(routes::find(path.path).is_some(), "{} is no route", path.path);
            assert!(spelled.contains(path.path) || path.path.contains('{'), "{}", path.path);
        }
    }

    #[test]
    fn the_document_is_whole() {
        let document = document();
        assert_eq!(serde_json::from_str::<Value>(&document.to_string()).unwrap(), document);
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(["get", "post", "put", "delete", "head"].contains(&method.as_str()), "{method}");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
                let name = operation["responses"].as_object().unwrap().values().find_map(|answer| {
                    answer.pointer("/content/application~1json/schema/$ref")?.as_str()?.strip_prefix('#')
                });
                assert!(document.pointer(name.unwrap()).is_some(), "{path}: {name:?}");
            }
        }
        let keyed = |path: &str| document["paths"][path]["get"]["security"].as_array().unwrap().len();
        assert_eq!((keyed("/health"), keyed("/v1/models")), (0, 2));
    }
}
