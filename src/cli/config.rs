//! Values for flags that were not typed: from the environment (`LEMMY_CTX_SIZE=8192`), else from the file
//! `config.toml`.
//!
//! They are put in front of what was typed, as if they had been typed first: of a flag that is given twice the last
//! counts. A value whose place is taken, by its own flag or by one that excludes it, is left out.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};
use toml::{Table, Value};

use super::failure::{Failure, Result};

/// Bytes of the file.
const LARGEST: u64 = 1 << 20;

/// The file: keys for all commands, and tables for one.
#[derive(Debug, Default)]
struct Config {
    path: PathBuf,
    table: Table,
}

/// Puts the values that the environment and the file give in front of what was typed.
pub(crate) fn add_defaults(command: &Command, arguments: &mut Vec<OsString>) -> Result<()> {
    let mut command = command.clone();
    command.build();
    let name = arguments.get(1).and_then(|word| word.to_str());
    let Some(subcommand) = name.and_then(|name| command.find_subcommand(name)) else { return Ok(()) };
    let config = Config::read(&command)?;
    let mut given = Vec::new();
    for arg in subcommand.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| !matches!(*long, "help" | "version" | "model")) else { continue };
        let is_taken = is_typed(arg, arguments)
            || subcommand.get_arguments().any(|other| excludes(subcommand, arg, other) && is_typed(other, arguments));
        if is_taken {
            continue;
        }
        for value in values(arg, long, subcommand.get_name(), &config)? {
            given.push(match arg.get_action() {
                ArgAction::SetTrue => format!("--{long}"),
                _ => format!("--{long}={value}"),
            });
        }
    }
    let behind_command = 2;
    arguments.splice(behind_command..behind_command, given.into_iter().map(OsString::from));
    Ok(())
}

/// The values of a flag; none if nobody names one.
fn values(arg: &Arg, long: &str, subcommand: &str, config: &Config) -> Result<Vec<String>> {
    // The model that is taken where none is named; --model would make the first word a part of the prompt.
    let key = if long == "default-model" { "model" } else { long };
    let is_set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    match arg.get_env().and_then(|name| name.to_str()) {
        // The parser reads it by itself.
        Some(name) if is_set(name).is_some() => return Ok(Vec::new()),
        None if takes_value => {
            if let Some(value) = is_set(&format!("LEMMY_{}", key.replace('-', "_").to_uppercase())) {
                return Ok(vec![value]);
            }
        }
        _ => {}
    }
    config.values(subcommand, key, arg)
}

/// Whether two flags exclude each other; only one of them says so.
fn excludes(command: &Command, one: &Arg, other: &Arg) -> bool {
    let names =
        |a: &Arg, b: &Arg| command.get_arg_conflicts_with(a).into_iter().any(|named| named.get_id() == b.get_id());
    names(one, other) || names(other, one)
}

/// Whether a flag stands among the arguments.
fn is_typed(arg: &Arg, arguments: &[OsString]) -> bool {
    let longs: Vec<_> = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten()).collect();
    let words = arguments.iter().take_while(|word| *word != "--").filter_map(|word| word.to_str());
    words.into_iter().any(|word| match word.strip_prefix("--") {
        Some(rest) => longs.iter().any(|long| rest.split('=').next() == Some(long)),
        None => word.strip_prefix('-').is_some_and(|rest| arg.get_short().is_some_and(|short| rest.starts_with(short))),
    })
}

impl Config {
    /// The file of the person who runs the program; nothing if there is none.
    fn read(command: &Command) -> Result<Self> {
        let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
        let Some(path) = folder.map(|folder| folder.join("lemmy").join("config.toml")) else {
            return Ok(Self::default());
        };
        match std::fs::metadata(&path) {
            Ok(facts) if facts.is_file() && facts.len() <= LARGEST => {}
            Ok(_) => {
                return Err(Failure::usage(format!(
                    "{}: found something else (expected a text of at most 1 MiB)",
                    path.display()
                )));
            }
            Err(_) => return Ok(Self::default()),
        }
        let text = std::fs::read_to_string(&path).map_err(|e| Failure::io(path.display(), &e))?;
        let table = text.parse::<Table>().map_err(|e| {
            let line =
                e.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
            Failure::usage(format!("{}: line {line}: {}", path.display(), e.message()))
        })?;
        let config = Self { path, table };
        config.check(command)?;
        Ok(config)
    }

    /// Refuses what no command has, so that a slip of the pen is noticed.
    fn check(&self, command: &Command) -> Result<()> {
        let has = |command: &Command, key: &str| {
            key == "model" || command.get_arguments().any(|arg| arg.get_long() == Some(key))
        };
        let unknown = |key: String| {
            Failure::usage(format!(
                "{}: found `{key}` (expected the name of a flag, as in --help)",
                self.path.display()
            ))
        };
        for (key, value) in &self.table {
            match (value, command.find_subcommand(key)) {
                (Value::Table(table), Some(subcommand)) => {
                    if let Some(key) = table.keys().find(|key| !has(subcommand, key)) {
                        return Err(unknown(format!("[{}] {key}", subcommand.get_name())));
                    }
                }
                _ if command.get_subcommands().any(|subcommand| has(subcommand, key)) => {}
                _ => return Err(unknown(key.to_string())),
            }
        }
        Ok(())
    }

    /// What the file says of a flag; a command's own table goes before.
    fn values(&self, subcommand: &str, key: &str, arg: &Arg) -> Result<Vec<String>> {
        let own = self.table.get(subcommand).and_then(Value::as_table).and_then(|table| table.get(key));
        let Some(value) = own.or_else(|| self.table.get(key)) else { return Ok(Vec::new()) };
        let wrong = |expected: &str| {
            Failure::usage(format!("{}: {key}: found {} (expected {expected})", self.path.display(), value.type_str()))
        };
        if matches!(arg.get_action(), ArgAction::SetTrue) {
            let is_on = value.as_bool().ok_or_else(|| wrong("true or false"))?;
            return Ok(if is_on { vec!["true".into()] } else { Vec::new() });
        }
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            Value::Boolean(is_on) => Some(if *is_on { "on" } else { "off" }.to_owned()),
            _ => None,
        };
        match (value, arg.get_action()) {
            (Value::Array(list), ArgAction::Append) => {
                list.iter().map(|value| text(value).ok_or_else(|| wrong("a list of texts"))).collect()
            }
            (value, _) => Ok(vec![text(value).ok_or_else(|| wrong("a text or a number"))?]),
        }
    }
}
