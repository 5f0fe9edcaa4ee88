//! What was checked and how it went.

use std::fmt;

/// One check.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// A figure worth knowing, or what is wrong.
    pub outcome: Result<String, String>,
}

/// All checks of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The checks in order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether every check passed (and there was one).
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.outcome.is_ok())
    }

    /// Adds a check.
    pub fn add(&mut self, name: impl Into<String>, outcome: Result<String, String>) {
        self.checks.push(Check { name: name.into(), outcome });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, outcome } in &self.checks {
            match outcome {
                Ok(figure) => writeln!(f, "ok    {name}: {figure}")?,
                Err(fault) => writeln!(f, "FAULT {name}: {fault}")?,
            }
        }
        Ok(())
    }
}
