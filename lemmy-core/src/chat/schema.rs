//! Tool schemas in the words that the templates of Gemma 4 can print.
//!
//! For a property they print `description`, `type`, `enum` (of strings), `items`, `nullable`, `properties` and `required`;
//! the rest of JSON Schema disappears or prints as something else. So references are followed, alternatives become one
//! type, `null` among them becomes `nullable`, and what cannot be said is named in a warning.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::limits;

/// Keywords that constrain a value and that no template shows.
const SILENT: [&str; 21] = [
    "const",
    "contains",
    "default",
    "dependentRequired",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "pattern",
    "prefixItems",
    "uniqueItems",
];
const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];

/// A tool's parameters as a template prints them, and what is lost by that.
///
/// `Err` says what is wrong with the schema.
pub(super) fn parameters(schema: &Value) -> Result<(Value, Vec<String>), String> {
    if !schema.is_object() {
        return Err("found no JSON object".into());
    }
    let mut reader = Reader { root: schema, left: limits::SCHEMA_WORK_BYTES, open: Vec::new(), lost: BTreeSet::new() };
    let mut parameters = reader.property(schema, 0)?;
    // The template leaves a brace open where the type is missing.
    parameters.insert("type".into(), "object".into());
    parameters.remove("nullable");
    parameters.entry("properties").or_insert_with(|| Map::new().into());
    Ok((Value::Object(parameters), reader.lost.into_iter().collect()))
}

struct Reader<'a> {
    root: &'a Value,
    /// Bytes that may still be made: references multiply what they name.
    left: usize,
    /// References that are being read: one that comes again is a cycle.
    open: Vec<&'a str>,
    lost: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    /// A schema where templates print known keywords only.
    fn property(&mut self, schema: &'a Value, depth: usize) -> Result<Map<String, Value>, String> {
        let opened = self.open.len();
        let flat = self.flat(schema, depth)?;
        let mut property = Map::new();
        if let Some(text @ Value::String(_)) = flat.get("description") {
            property.insert("description".into(), self.copy(text)?);
        }
        let (kind, nullable) = self.kind(&flat);
        if nullable || flat.get("nullable") == Some(&Value::Bool(true)) {
            property.insert("nullable".into(), true.into());
        }
        match kind.as_str() {
            "string" => {
                let choices = flat.get("const").map(std::slice::from_ref);
                let choices = choices.or_else(|| as_list(flat.get("enum"))).unwrap_or_default();
                let choices = choices.iter().filter(|choice| choice.is_string());
                let choices = choices.map(|choice| self.copy(choice)).collect::<Result<Vec<_>, _>>()?;
                if !choices.is_empty() {
                    property.insert("enum".into(), choices.into());
                }
            }
            "array" => {
                if let Some(items) = flat.get("items").filter(|items| items.is_object()) {
                    property.insert("items".into(), self.items(items, depth + 1)?.into());
                }
            }
            "object" => {
                let required = self.required(&flat)?;
                // An object that says nothing of its properties would print its other keywords as such.
                property.insert("properties".into(), self.properties(&flat, depth + 1)?.into());
                if !required.is_empty() {
                    property.insert("required".into(), required.into());
                }
            }
            _ => {}
        }
        let shown = property.contains_key("enum");
        for (name, _) in &flat.keywords {
            if SILENT.contains(name) && !(*name == "const" && shown) || (*name == "enum" && !shown) {
                self.lost.insert(format!("`{name}`"));
            }
        }
        property.insert("type".into(), kind.into());
        self.open.truncate(opened);
        Ok(property)
    }

    fn properties(&mut self, flat: &Flat<'a>, depth: usize) -> Result<Map<String, Value>, String> {
        let mut properties = Map::new();
        for (name, schema) in flat.all("properties").filter_map(Value::as_object).flatten() {
            self.charge(name.len())?;
            let property = self.property(schema, depth)?;
            properties.entry(name.as_str()).or_insert(property.into());
        }
        Ok(properties)
    }

    fn required(&mut self, flat: &Flat<'a>) -> Result<Vec<Value>, String> {
        let names = flat.all("required").filter_map(Value::as_array).flatten();
        names.filter(|name| name.is_string()).map(|name| self.copy(name)).collect()
    }

    /// The schema of a list's items: templates print every keyword of it, so what is plain stays as it is.
    fn items(&mut self, schema: &'a Value, depth: usize) -> Result<Map<String, Value>, String> {
        let opened = self.open.len();
        let flat = self.flat(schema, depth)?;
        let mut items = Map::new();
        for &(name, value) in &flat.keywords {
            if items.contains_key(name) || ["$defs", "definitions", "$schema", "$id", "$comment"].contains(&name) {
                continue;
            }
            let value = match name {
                "type" => match value {
                    Value::String(_) => value.clone(),
                    Value::Array(names) if names.iter().all(Value::is_string) => self.copy(value)?,
                    _ => continue,
                },
                "properties" => self.properties(&flat, depth + 1)?.into(),
                "required" => self.required(&flat)?.into(),
                "items" if value.is_object() => self.items(value, depth + 1)?.into(),
                _ => self.copy(value)?,
            };
            self.charge(name.len())?;
            items.insert(name.into(), value);
        }
        if !items.contains_key("type") {
            items.insert("type".into(), self.kind(&flat).0.into());
        }
        if flat.null {
            items.insert("nullable".into(), true.into());
        }
        self.open.truncate(opened);
        Ok(items)
    }

    fn copy(&mut self, value: &Value) -> Result<Value, String> {
        self.charge(size(value))?;
        Ok(value.clone())
    }

    fn charge(&mut self, bytes: usize) -> Result<(), String> {
        let left = self.left.checked_sub(bytes);
        self.left =
            left.ok_or_else(|| format!("more than {} bytes once references are followed", limits::SCHEMA_WORK_BYTES))?;
        Ok(())
    }

    /// A schema's keywords with its references followed and one alternative taken. References stay open: the caller
    /// closes them when it is done with the children.
    fn flat(&mut self, schema: &'a Value, depth: usize) -> Result<Flat<'a>, String> {
        let mut flat = Flat::default();
        self.gather(schema, depth, &mut flat)?;
        Ok(flat)
    }

    fn gather(&mut self, schema: &'a Value, depth: usize, flat: &mut Flat<'a>) -> Result<(), String> {
        self.charge(64)?;
        if depth > limits::SCHEMA_DEPTH {
            return Err(format!("nested deeper than {}", limits::SCHEMA_DEPTH));
        }
        let Value::Object(keywords) = schema else { return Ok(()) };
        for (name, value) in keywords {
            match (name.as_str(), value) {
                ("$ref" | "allOf" | "anyOf" | "oneOf", _) => {}
                // What stands beside a reference or comes first counts.
                (name, value) => flat.keywords.push((name, value)),
            }
        }
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            match self.target(reference) {
                _ if self.open.contains(&reference.as_str()) => {
                    self.lost.insert("a $ref to itself".into());
                }
                Some(target) => {
                    self.open.push(reference);
                    self.gather(target, depth + 1, flat)?;
                }
                None => return Err(format!("`$ref` `{reference:.200}` names nothing in this schema")),
            }
        }
        for part in as_list(keywords.get("allOf")).unwrap_or_default() {
            self.gather(part, depth + 1, flat)?;
        }
        for name in ["anyOf", "oneOf"] {
            let alternatives = as_list(keywords.get(name)).unwrap_or_default();
            let is_null = |schema: &&Value| schema.get("type") == Some(&Value::from("null"));
            flat.null |= alternatives.iter().any(|schema| is_null(&schema));
            let mut rest = alternatives.iter().filter(|schema| !is_null(schema));
            if let Some(first) = rest.next() {
                self.gather(first, depth + 1, flat)?;
            }
            if rest.next().is_some() {
                self.lost.insert(format!("all but the first of {name}"));
            }
        }
        Ok(())
    }

    /// The one type that is shown, and whether null is allowed too.
    fn kind(&mut self, flat: &Flat<'a>) -> (String, bool) {
        let known = |name: &Value| {
            let name = name.as_str()?.to_ascii_lowercase();
            TYPES.contains(&name.as_str()).then_some(name)
        };
        let named: Vec<String> = match flat.get("type") {
            Some(Value::Array(names)) => names.iter().filter_map(known).collect(),
            Some(name) => known(name).into_iter().collect(),
            None => Vec::new(),
        };
        let nullable = flat.null || (named.len() > 1 && named.iter().any(|name| name == "null"));
        let mut others = named.iter().filter(|name| *name != "null" || named.len() == 1);
        let first = others.next().cloned();
        if others.next().is_some() {
            self.lost.insert("all but the first type".into());
        }
        (first.unwrap_or_else(|| flat.guess().into()), nullable)
    }

    fn target(&self, reference: &str) -> Option<&'a Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }
}

/// Keywords of one place, from all schemas that apply there, nearest first.
#[derive(Default)]
struct Flat<'a> {
    keywords: Vec<(&'a str, &'a Value)>,
    /// Null was one of the alternatives.
    null: bool,
}

impl<'a> Flat<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.all(name).next()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a Value> {
        self.keywords.iter().filter(move |(keyword, _)| *keyword == name).map(|(_, value)| *value)
    }

    /// The type of a schema that names none.
    fn guess(&self) -> &'static str {
        let example = self.get("const").or_else(|| as_list(self.get("enum"))?.first());
        match example {
            Some(Value::String(_)) => "string",
            Some(Value::Bool(_)) => "boolean",
            Some(Value::Number(number)) if number.is_f64() => "number",
            Some(Value::Number(_)) => "integer",
            _ if self.get("properties").is_some() => "object",
            _ if self.get("items").is_some() => "array",
            // What a person would read as "any value".
            _ => "any",
        }
    }
}

fn as_list(value: Option<&Value>) -> Option<&[Value]> {
    value.and_then(Value::as_array).map(Vec::as_slice)
}

/// Bytes of a value's texts, and some for each value in it.
fn size(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(entries) => entries.iter().map(|(name, value)| name.len() + size(value)).sum(),
        _ => 0,
    };
    inner + 16
}

#[cfg(test)]
mod tests;
