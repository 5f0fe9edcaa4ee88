//! `lemmy serve`: the HTTP server.
//!
//! Connections live on a small runtime of their own; one worker thread owns the slots (a slot is one conversation's
//! cache) and the scheduler. Between them: a bounded queue of jobs one way, a channel of updates for each job the other.
//! A client that leaves drops its end, and with it the job.
//!
//! Reading order: `job` (what is asked and told, in no dialect's terms), `engine` (the door to the worker, the slots, the
//! worker), `reply` (a job's updates to an answer), `api` (the dialects; how one is added), `http` and `routes` (one
//! request), `guard` (who may ask), `listen` (connections, from the first to the last).

#![forbid(unsafe_code)]

mod api;
mod app;
mod body;
mod connection;
mod engine;
mod fields;
mod guard;
mod http;
mod ids;
mod job;
mod json;
mod listen;
mod log;
mod metrics;
mod page;
mod problem;
mod reply;
mod respond;
mod routes;
mod signals;
mod sse;

pub(crate) use app::{Address, Compat, Limits, Options, ReasoningNames};
pub(crate) use engine::EngineOptions;
pub(crate) use guard::{Keys, Names};
pub(crate) use listen::{Door, Ended, Server};
pub(crate) use log::Log;
pub(crate) use signals::Signal;
