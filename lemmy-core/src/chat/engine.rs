//! Jinja as Python's templates expect it, with bounds on time, memory, depth and output.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};
use serde_json::{Map, Value as Json};

use super::{guard, python};
use crate::error::{Error, Result};
use crate::limits;

/// What the templates' variables are called in error messages.
const NAME: &str = "template";

/// A compiled template.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    environment: Environment<'static>,
}

/// Whose work a template is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// One of the known versions.
    Known,
    /// A stranger's: it gets [guards](guard).
    Unknown,
}

impl Engine {
    /// Compiles a template.
    ///
    /// There is no clock: `strftime_now` is not defined, so that templates take the branch that they have for its absence,
    /// and one conversation is one prompt on every day.
    pub(super) fn new(source: &str, trust: Trust) -> Result<Self> {
        if source.len() > limits::TEMPLATE_BYTES {
            let found = source.len();
            return Err(Error::Template(format!(
                "{found} bytes of source, at most {} are read",
                limits::TEMPLATE_BYTES
            )));
        }
        let mut environment = Environment::new();
        // As `transformers` sets Jinja2 up.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| Error::Internal(error.to_string()))?);
        environment.set_recursion_limit(limits::TEMPLATE_RECURSION);
        environment.set_formatter(python::print);
        environment.set_unknown_method_callback(python::method);
        environment.add_filter("trim", |text: Cow<'_, str>, chars: Option<Cow<'_, str>>| {
            python::trim(&text, chars.as_deref(), true, true)
        });
        environment.add_filter("tojson", python::to_json);
        environment.add_filter(guard::FILTER, guard::shallow);
        environment.add_function("raise_exception", |message: Cow<'_, str>| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message.into_owned()))
        });
        let source = match trust {
            Trust::Known => source.to_owned(),
            Trust::Unknown => guard::guarded(source),
        };
        environment.add_template_owned(NAME, source).map_err(|error| template_error(&error))?;
        Ok(Self { environment })
    }

    /// Renders with these variables, `messages` among them.
    ///
    /// It runs on a thread of its own, since a caller's may have little stack. Steps are bounded by [`limits::TEMPLATE_FUEL`] and what the input allows: the templates of Gemma 4 look from each
    /// message at all later ones. One step pays for 64 bytes, so this bounds memory too.
    pub(super) fn render(&self, variables: &Map<String, Json>) -> Result<String> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(limits::TEMPLATE_STACK_BYTES);
            let thread = thread.spawn_scoped(scope, || self.run(variables));
            let thread =
                thread.map_err(|source| Error::Io { what: "cannot start the template's thread".into(), source })?;
            thread.join().unwrap_or_else(|_| Err(Error::Internal("the template engine panicked".into())))
        })
    }

    fn run(&self, variables: &Map<String, Json>) -> Result<String> {
        let messages = variables.get("messages").and_then(Json::as_array).map_or(0, Vec::len) as u64;
        let input = variables.values().map(text_bytes).sum::<usize>();
        let fuel = limits::TEMPLATE_FUEL + 16 * messages.saturating_mul(messages) + 8 * input as u64;
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let template = environment.get_template(NAME).map_err(|error| template_error(&error))?;

        let mut output = Bounded { bytes: Vec::new(), left: limits::TEMPLATE_OUTPUT_BYTES.saturating_add(4 * input) };
        let rendered = template.render_captured_to(Value::from(Serde(variables)), &mut output);
        if output.left == 0 {
            return Err(Error::Template(format!("it prints more than {} bytes", output.bytes.len())));
        }
        rendered.map_err(|error| match error.kind() {
            ErrorKind::OutOfFuel => Error::Template(format!("it did not end within {fuel} steps")),
            _ => template_error(&error),
        })?;
        String::from_utf8(output.bytes).map_err(|error| Error::Internal(format!("rendered text: {error}")))
    }
}

/// The bytes of all strings and a few for each value.
fn text_bytes(json: &Json) -> usize {
    let inner = match json {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(text_bytes).sum(),
        Json::Object(entries) => entries.iter().map(|(key, value)| key.len() + text_bytes(value)).sum(),
        _ => 0,
    };
    inner + 16
}

fn template_error(error: &minijinja::Error) -> Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Error::Template(text)
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    left: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len()) {
            Some(left) if left > 0 => self.left = left,
            _ => {
                self.left = 0;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        self.bytes.try_reserve(bytes.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
