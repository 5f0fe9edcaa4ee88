//! A session as a file.

#![forbid(unsafe_code)]

use std::io::{Read, Write};

use super::Session;
use crate::error::Result;
use crate::model::Model;

impl Session {
    /// Writes the session so that [`Model::restore`] brings it back, in this process or another; bytes written.
    pub fn save(&self, to: &mut dyn Write) -> Result<u64> {
        let _ = to;
        todo!()
    }
}

impl Model {
    /// Brings a saved session back without reading its tokens again.
    pub fn restore(&self, from: &mut dyn Read) -> Result<Session> {
        let _ = from;
        todo!()
    }
}
