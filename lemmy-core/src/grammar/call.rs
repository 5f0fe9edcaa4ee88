//! Tools to a grammar of calls, in the syntax that Gemma 4 was trained to write:
//!
//! ```text
//! call:NAME{KEY:VALUE,…}<tool_call|>
//! VALUE := <|"|>any text<|"|> | true | false | null | number | {KEY:VALUE,…} | [VALUE,…]
//! ```
//!
//! There are no blanks, and the keys of a schema come in the order in which the template prints them: case-insensitive.
//! That is the only order that the model saw, and one order keeps the grammar as large as the schema.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::lark::{Draft, Symbol, literal};
use super::schema::{self, Fault};
use super::{combine, text};
use crate::TokenId;
use crate::chat::Tool;

/// JSON's numbers, with an end to their digits, and none that f64 cannot hold.
const NUMBER: &str = r"/-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE](\+?[0-9]{1,2}|-[0-9]{1,3}))?/";
const INTEGER: &str = "/-?(0|[1-9][0-9]{0,39})/";
/// A key that no schema names.
const FREE_KEY: &str = r"/[A-Za-z_][A-Za-z0-9_.-]{0,63}/";
const TYPES: [&str; 6] = ["null", "boolean", "integer", "number", "string", "array"];
/// Schemas that are looked at, one by one: what a small schema unfolds to may be endless.
const STEPS: usize = 50_000;
/// Levels of values in values; rules that call themselves go deeper.
const DEPTH: usize = 96;

/// The grammar of one call of any of these tools.
pub(super) fn grammar(tools: &[Tool], quote: TokenId, close: TokenId) -> Result<String, Fault> {
    let mut calls = Calls {
        draft: Draft::default(),
        quote,
        any: None,
        known: HashMap::new(),
        root: Value::Null,
        references: HashMap::new(),
        steps: 0,
        depth: 0,
    };
    let mut names = HashSet::new();
    let mut alternatives = Vec::new();
    for tool in tools {
        if tool.name.is_empty() || !tool.name.chars().all(|c| c.is_alphanumeric() || "_-.:/".contains(c)) {
            return Err(format!("found a tool named {:?}, expected letters, digits and `_-.:/`", tool.name));
        }
        if !names.insert(&tool.name) {
            return Err(format!("found two tools named `{}`", tool.name));
        }
        let arguments = calls.arguments(tool).map_err(|fault| format!("tool `{}`: {fault}", tool.name))?;
        alternatives.push(vec![Symbol::Text(tool.name.clone()), arguments]);
    }
    let tool = calls.draft.rule(alternatives);
    let start = calls.draft.declare();
    calls.draft.define(start, vec![vec![Symbol::Text("call:".into()), tool, Symbol::Token(close)]]);
    calls.draft.print(start).ok_or_else(|| "expected at least one tool that can be called".into())
}

struct Calls {
    draft: Draft,
    quote: TokenId,
    /// The rule of a value of which nothing is known.
    any: Option<usize>,
    /// Schemas without references that were translated already, by their text.
    known: HashMap<String, Symbol>,
    /// The schema that references point into, and the rules that stand for them.
    root: Value,
    references: HashMap<String, usize>,
    steps: usize,
    depth: usize,
}

impl Calls {
    fn arguments(&mut self, tool: &Tool) -> Result<Symbol, Fault> {
        let fitting = self.fitting(tool);
        // Without a promise to fit the schema it is enough that the call can be read.
        if fitting.is_err() && !tool.strict { self.object(&Map::new()) } else { fitting }
    }

    /// Arguments that fit the tool's schema.
    fn fitting(&mut self, tool: &Tool) -> Result<Symbol, Fault> {
        let schema = match tool.parameters_json.trim() {
            "" | "{}" | "null" => json!({ "type": "object", "properties": {} }),
            text => schema::parse(text)?,
        };
        self.references.clear();
        self.depth = 0;
        self.root = schema;
        // Whatever the schema leaves open, arguments are an object.
        let object = Map::from_iter([("type".to_string(), json!("object"))]);
        let root = combine::both(&object, &self.root)?;
        let symbol = self.value(&Value::Object(root))?;
        if self.draft.is_barren(&symbol) { Err("no arguments fit the schema".into()) } else { Ok(symbol) }
    }

    fn value(&mut self, schema: &Value) -> Result<Symbol, Fault> {
        let keys = match schema {
            Value::Bool(true) => return Ok(self.any()),
            // Nothing fits.
            Value::Bool(false) => return Ok(Symbol::Rule(self.draft.declare())),
            Value::Object(keys) => keys,
            _ => return Err("expected a schema".into()),
        };
        let text = schema.to_string();
        if let Some(symbol) = self.known.get(&text) {
            return Ok(symbol.clone());
        }
        self.steps += 1;
        self.depth += 1;
        if self.steps > STEPS || self.depth > DEPTH {
            return Err("JSON schema: too large when its references are followed".into());
        }
        let symbol = self.keyed(keys)?;
        self.depth -= 1;
        if !text.contains("\"$ref\"") {
            self.known.insert(text, symbol.clone());
        }
        Ok(symbol)
    }

    fn keyed(&mut self, keys: &Map<String, Value>) -> Result<Symbol, Fault> {
        if let Some(unknown) = combine::unenforceable(keys) {
            return Err(format!("JSON schema: `{unknown}` cannot be enforced in a tool call"));
        }
        let mut rest = keys.clone();
        if let Some(Value::Array(all)) = rest.shift_remove("allOf") {
            for schema in &all {
                rest = combine::both(&rest, &Value::Object(self.without_reference(schema)?))?;
            }
            return self.value(&Value::Object(rest));
        }
        if let Some(reference) = rest.shift_remove("$ref") {
            let pointer = reference.as_str().unwrap_or_default();
            return match combine::says_nothing(&rest) {
                true => self.reference(pointer),
                false => {
                    let keys = self.without_reference(&Value::Object(keys.clone()))?;
                    self.value(&Value::Object(keys))
                }
            };
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = rest.shift_remove(key) {
                let branches = branches.iter().map(|branch| {
                    let both = combine::both(&rest, branch)?;
                    Ok(vec![self.value(&Value::Object(both))?])
                });
                let branches = branches.collect::<Result<_, Fault>>()?;
                return Ok(self.draft.rule(branches));
            }
        }
        let types = combine::types(keys)?;
        if let Some(values) = combine::values(keys)? {
            let has_type = |value: &Value| types.as_ref().is_none_or(|types| combine::has_type(value, types));
            return Ok(self.one_of(values.into_iter().filter(has_type).collect()));
        }
        let types = match types {
            Some(types) => types,
            None if keys.contains_key("properties") || keys.contains_key("required") => vec!["object".into()],
            None if keys.contains_key("items") || keys.contains_key("prefixItems") => vec!["array".into()],
            None if combine::says_nothing(keys) => return Ok(self.any()),
            None => TYPES.iter().map(|&name| name.into()).chain(["object".into()]).collect(),
        };
        let mut alternatives = Vec::new();
        for name in &types {
            match self.typed(name, keys)? {
                Symbol::Rule(rule) if types.len() == 1 => return Ok(Symbol::Rule(rule)),
                symbol => alternatives.push(vec![symbol]),
            }
        }
        Ok(self.draft.rule(alternatives))
    }

    fn typed(&mut self, name: &str, keys: &Map<String, Value>) -> Result<Symbol, Fault> {
        match name {
            "null" => Ok(Symbol::Text("null".into())),
            "boolean" => Ok(self.draft.terminal("\"true\" | \"false\"".into())),
            "integer" | "number" => Ok(self.number(name, keys)),
            "string" => self.string(keys),
            "array" => self.array(keys),
            "object" => self.object(keys),
            other => Err(format!("JSON schema: `type`: found `{other:.40}`, expected a type of JSON")),
        }
    }

    /// The engine knows how to keep numbers within bounds.
    fn number(&mut self, name: &str, keys: &Map<String, Value>) -> Symbol {
        const BOUNDS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
        let bounds: Map<String, Value> = keys
            .iter()
            .filter(|(key, _)| BOUNDS.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        match (bounds.is_empty(), name) {
            (true, "integer") => self.draft.terminal(INTEGER.into()),
            (true, _) => self.draft.terminal(NUMBER.into()),
            (false, _) => {
                let mut schema = bounds;
                schema.insert("type".into(), name.into());
                schema.insert("x-guidance".into(), json!({ "whitespace_flexible": false }));
                Symbol::Json(Value::Object(schema))
            }
        }
    }

    fn string(&mut self, keys: &Map<String, Value>) -> Result<Symbol, Fault> {
        let texts = text::texts(keys).map_err(|fault| format!("JSON schema: {fault}"))?;
        let quote = Symbol::Token(self.quote);
        let mut alternatives = Vec::new();
        if texts.empty {
            alternatives.push(vec![quote.clone(), quote.clone()]);
        }
        if let Some(definition) = texts.others {
            let text = self.draft.terminal(definition);
            alternatives.push(vec![quote.clone(), text, quote]);
        }
        Ok(self.draft.rule(alternatives))
    }

    fn array(&mut self, keys: &Map<String, Value>) -> Result<Symbol, Fault> {
        let (first, items) = match (keys.get("prefixItems"), keys.get("items")) {
            // A list of schemas under `items` is what older drafts write.
            (None, Some(Value::Array(first))) => (first.clone(), keys.get("additionalItems")),
            (Some(Value::Array(first)), items) => (first.clone(), items),
            (_, items) => (Vec::new(), items),
        };
        let least = text::length(keys, "minItems")?.unwrap_or(0);
        let most = text::length(keys, "maxItems")?;
        let first = first.iter().map(|schema| self.value(schema)).collect::<Result<Vec<_>, Fault>>()?;
        let rest = self.value(items.unwrap_or(&Value::Bool(true)))?;
        let comma = Symbol::Text(",".into());
        // From the last place to the first: what may follow behind so many items.
        let behind = first.len() as u64;
        let repeat = |least: u64| {
            let most = most.map(|most| most.saturating_sub(behind));
            Symbol::Repeat { of: vec![comma.clone(), rest.clone()], least, most }
        };
        let mut tail = vec![repeat(least.saturating_sub(behind))];
        for (place, item) in first.iter().enumerate().skip(1).rev() {
            let mut further = Vec::new();
            if (place as u64) >= least {
                further.push(Vec::new());
            }
            if most.is_none_or(|most| (place as u64) < most) {
                further.push([vec![comma.clone(), item.clone()], tail].concat());
            }
            tail = vec![self.draft.rule(further)];
        }
        let (open, close) = (Symbol::Text("[".into()), Symbol::Text("]".into()));
        let mut alternatives = Vec::new();
        if least == 0 {
            alternatives.push(vec![Symbol::Text("[]".into())]);
        }
        if most.is_none_or(|most| most > 0) && most.is_none_or(|most| least <= most) {
            let start = match first.first() {
                Some(item) => [vec![item.clone()], tail].concat(),
                None => {
                    let most = most.map(|most| most - 1);
                    let of = vec![comma.clone(), rest.clone()];
                    vec![rest.clone(), Symbol::Repeat { of, least: least.saturating_sub(1), most }]
                }
            };
            alternatives.push([vec![open], start, vec![close]].concat());
        }
        Ok(self.draft.rule(alternatives))
    }

    fn object(&mut self, keys: &Map<String, Value>) -> Result<Symbol, Fault> {
        let none = Map::new();
        let properties = keys.get("properties").and_then(Value::as_object);
        let others = match keys.get("additionalProperties") {
            // An object of which the schema names no property may have any; one that names some has these.
            None if properties.is_none() => Some(Value::Bool(true)),
            None | Some(Value::Bool(false)) => None,
            Some(schema) => Some(schema.clone()),
        };
        let properties = properties.unwrap_or(&none);
        let required = keys.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let required: HashSet<&str> = required.collect();
        let mut members: Vec<(&str, Value)> =
            properties.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        for key in required.iter().filter(|key| !properties.contains_key(**key)) {
            // What must come and is not described is one of the other properties, described or not.
            members.push((key, keys.get("additionalProperties").cloned().unwrap_or(Value::Bool(true))));
        }
        members.sort_by_cached_key(|(key, _)| (key.to_lowercase(), key.to_string()));

        let mut items = Vec::new();
        for (key, schema) in &members {
            let value = self.value(schema)?;
            items.push((vec![self.key(key), Symbol::Text(":".into()), value], required.contains(key)));
        }
        let names: Vec<String> = members.iter().map(|(key, _)| literal(key)).collect();
        let other = match others {
            Some(schema) => {
                let taken = if names.is_empty() { String::new() } else { format!(" & ~({})", names.join(" | ")) };
                let key = self.draft.terminal(format!("{FREE_KEY}{taken}"));
                Some(vec![key, Symbol::Text(":".into()), self.value(&schema)?])
            }
            None => None,
        };
        Ok(self.members(items, other))
    }

    /// An object of these members in this order, those that must come and those that may, and of any number of others
    /// behind them.
    fn members(&mut self, items: Vec<(Vec<Symbol>, bool)>, other: Option<Vec<Symbol>>) -> Symbol {
        let comma = || vec![Symbol::Text(",".into())];
        let others = |least_first: Vec<Symbol>| match &other {
            Some(other) => {
                let of = [comma(), other.clone()].concat();
                [least_first, vec![Symbol::Repeat { of, least: 0, most: None }]].concat()
            }
            None => least_first,
        };
        // What may come behind a member, and what the object may begin with, from the last member to the first.
        let mut behind = others(Vec::new());
        let mut starts = match &other {
            Some(other) => vec![others(other.clone()), Vec::new()],
            None => vec![Vec::new()],
        };
        for (item, must) in items.into_iter().rev() {
            let start = [item.clone(), behind.clone()].concat();
            let next = [comma(), item].concat();
            match must {
                true => {
                    starts = vec![start];
                    behind = [next, behind].concat();
                }
                false => {
                    starts.insert(0, start);
                    behind.insert(0, Symbol::Repeat { of: next, least: 0, most: Some(1) });
                }
            }
            // One rule for the rest, or its text would grow with the square of the members.
            behind = vec![self.draft.rule(vec![behind])];
        }
        let inner = self.draft.rule(starts);
        self.draft.rule(vec![vec![Symbol::Text("{".into()), inner, Symbol::Text("}".into())]])
    }

    fn key(&mut self, key: &str) -> Symbol {
        let is_bare = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.$@/".contains(c));
        match is_bare {
            true => Symbol::Text(key.into()),
            false => self.quoted(key),
        }
    }

    fn quoted(&mut self, text: &str) -> Symbol {
        let quote = Symbol::Token(self.quote);
        let text = if text.is_empty() { Vec::new() } else { vec![Symbol::Text(text.into())] };
        self.draft.rule(vec![[vec![quote.clone()], text, vec![quote]].concat()])
    }

    /// One of these values.
    fn one_of(&mut self, values: Vec<Value>) -> Symbol {
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let (texts, others): (Vec<Value>, Vec<Value>) = values.into_iter().partition(is_text);
        let mut alternatives: Vec<_> = others.iter().map(|value| self.exactly(value)).collect();
        if !texts.is_empty() {
            let texts: Vec<String> = texts.iter().filter_map(Value::as_str).map(literal).collect();
            let text = self.draft.terminal(texts.join(" | "));
            alternatives.push(vec![Symbol::Token(self.quote), text, Symbol::Token(self.quote)]);
        }
        self.draft.rule(alternatives)
    }

    /// This value and no other.
    fn exactly(&mut self, value: &Value) -> Vec<Symbol> {
        match value {
            Value::String(text) => vec![self.quoted(text)],
            Value::Array(items) => {
                let mut sequence = vec![Symbol::Text("[".into())];
                for (i, item) in items.iter().enumerate() {
                    sequence.extend((i > 0).then(|| Symbol::Text(",".into())));
                    sequence.extend(self.exactly(item));
                }
                sequence.push(Symbol::Text("]".into()));
                sequence
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_cached_key(|(key, _)| (key.to_lowercase(), key.to_string()));
                let items = members.into_iter().map(|(key, value)| {
                    let start = vec![self.key(key), Symbol::Text(":".into())];
                    ([start, self.exactly(value)].concat(), true)
                });
                let items = items.collect();
                vec![self.members(items, None)]
            }
            other => vec![Symbol::Text(other.to_string())],
        }
    }

    /// A value of which nothing is known.
    fn any(&mut self) -> Symbol {
        if let Some(rule) = self.any {
            return Symbol::Rule(rule);
        }
        let rule = self.draft.declare();
        self.any = Some(rule);
        let quote = Symbol::Token(self.quote);
        let text = self.draft.terminal("/(?s:.+)/".into());
        let key = self.draft.terminal(FREE_KEY.into());
        let any = Symbol::Rule(rule);
        let comma = Symbol::Text(",".into());
        let items = Symbol::Repeat { of: vec![comma, any.clone()], least: 0, most: None };
        let object = self.members(Vec::new(), Some(vec![key, Symbol::Text(":".into()), any.clone()]));
        let alternatives = vec![
            vec![quote.clone(), quote.clone()],
            vec![quote.clone(), text, quote],
            vec![self.draft.terminal(NUMBER.into())],
            vec![self.draft.terminal("\"true\" | \"false\" | \"null\"".into())],
            vec![Symbol::Text("[]".into())],
            vec![Symbol::Text("[".into()), any, items, Symbol::Text("]".into())],
            vec![object],
        ];
        self.draft.define(rule, alternatives);
        Symbol::Rule(rule)
    }

    /// The rule of what a reference points to. It may use itself.
    fn reference(&mut self, pointer: &str) -> Result<Symbol, Fault> {
        if let Some(&rule) = self.references.get(pointer) {
            return Ok(Symbol::Rule(rule));
        }
        let rule = self.draft.declare();
        self.references.insert(pointer.into(), rule);
        let target = self.target(pointer)?;
        let symbol = self.value(&target)?;
        self.draft.define(rule, vec![vec![symbol]]);
        Ok(Symbol::Rule(rule))
    }

    /// The schema with what its reference points to in it.
    fn without_reference(&self, schema: &Value) -> Result<Map<String, Value>, Fault> {
        let mut keys = combine::both(&Map::new(), schema)?;
        match keys.shift_remove("$ref") {
            Some(reference) => combine::both(&keys, &self.target(reference.as_str().unwrap_or_default())?),
            None => Ok(keys),
        }
    }

    fn target(&self, pointer: &str) -> Result<Value, Fault> {
        let path = pointer.strip_prefix('#').unwrap_or(pointer);
        let target = if path == "/" { Some(&self.root) } else { self.root.pointer(path) };
        target
            .cloned()
            .ok_or_else(|| format!("JSON schema: `$ref`: found `{pointer:.200}`, which the schema does not hold"))
    }
}
