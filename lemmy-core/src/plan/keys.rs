//! Checked reading of the metadata keys under one prefix.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use crate::error::{Error, GgufError, Result};
use crate::gguf::{Gguf, Value};

/// The keys `prefix.*` of a file.
pub(super) struct Keys<'a> {
    gguf: &'a Gguf,
    prefix: &'a str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(gguf: &'a Gguf, prefix: &'a str) -> Self {
        Self { gguf, prefix }
    }

    pub(super) fn gguf(&self) -> &'a Gguf {
        self.gguf
    }

    /// Full name of a key.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    pub(super) fn error(&self, key: &str, found: String, expected: &str) -> Error {
        self.gguf.error(GgufError::Key { key: self.name(key), found, expected: expected.into() })
    }

    pub(super) fn str(&self, key: &str) -> Result<String> {
        self.str_or_none(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn str_or_none(&self, key: &str) -> Result<Option<String>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.error(key, value.type_name(), "a string"))?;
        Ok(Some(text.into()))
    }

    /// An integer of any type within `range`.
    pub(super) fn usize(&self, key: &str, range: RangeInclusive<u64>) -> Result<usize> {
        let value = self.value(key).ok_or_else(|| self.missing(key))?;
        self.integer(key, value, range)
    }

    pub(super) fn usize_or(&self, key: &str, default: usize, range: RangeInclusive<u64>) -> Result<usize> {
        self.value(key).map_or(Ok(default), |value| self.integer(key, value, range))
    }

    /// One integer per layer: an array of that length, or one number for all.
    pub(super) fn per_layer(&self, key: &str, layers: usize, range: RangeInclusive<u64>) -> Result<Vec<usize>> {
        let value = self.value(key).ok_or_else(|| self.missing(key))?;
        let Some(array) = value.as_array() else { return Ok(vec![self.integer(key, value, range)?; layers]) };
        let numbers = array.integers().filter(|_| array.len() == layers).ok_or_else(|| {
            self.error(key, format!("{} elements, {}", array.len(), value.type_name()), &format!("{layers} integers"))
        })?;
        numbers
            .map(|n| match u64::try_from(n) {
                Ok(n) if range.contains(&n) => Ok(n as usize),
                _ => Err(self.error(key, n.to_string(), &format!("{}..={}", range.start(), range.end()))),
            })
            .collect()
    }

    /// Which layers are sliding: an array of bools, or a period of which the last layer is global.
    pub(super) fn pattern(&self, key: &str, layers: usize, default_period: Option<usize>) -> Result<Vec<bool>> {
        let every = |period: usize| (1..=layers).map(|l| l % period != 0).collect();
        match self.value(key) {
            None => default_period.map(every).ok_or_else(|| self.missing(key)),
            Some(Value::Array(_)) => Ok(self.per_layer(key, layers, 0..=1)?.iter().map(|&s| s == 1).collect()),
            Some(value) => Ok(every(self.integer(key, value, 1..=u64::from(u32::MAX))?)),
        }
    }

    /// A finite number above 0 that an f32 can hold.
    pub(super) fn positive(&self, key: &str) -> Result<f64> {
        self.positive_or_none(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn positive_or_none(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| self.error(key, value.type_name(), "a number"))?;
        if !(number as f32 > 0.0 && (number as f32).is_finite()) {
            return Err(self.error(key, number.to_string(), "a finite number above 0"));
        }
        Ok(Some(number))
    }

    fn integer(&self, key: &str, value: &Value, range: RangeInclusive<u64>) -> Result<usize> {
        let (low, high) = (range.start(), range.end());
        match value.as_u64() {
            Some(n) if range.contains(&n) => Ok(n as usize),
            Some(n) => Err(self.error(key, n.to_string(), &format!("{low}..={high}"))),
            None => {
                let found = value.as_i64().map_or_else(|| value.type_name(), |n| n.to_string());
                Err(self.error(key, found, &format!("an integer in {low}..={high}")))
            }
        }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.gguf.get(&self.name(key))
    }

    fn missing(&self, key: &str) -> Error {
        self.gguf.error(GgufError::MissingKey(self.name(key)))
    }
}
