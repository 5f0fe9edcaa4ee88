//! How long a prompt is, without a reply.

use std::sync::Arc;

use crate::server::app::App;
use crate::server::job::Request;
use crate::server::problem::{Problem, Result};

/// Tokens of a request's prompt. Rendering it is work for a thread that may be busy.
///
/// # Errors
///
/// What is wrong with the request.
pub(crate) async fn tokens(app: &Arc<App>, request: Request) -> Result<usize> {
    let app = app.clone();
    let counted = tokio::task::spawn_blocking(move || app.ready()?.engine.count(request)).await;
    counted.unwrap_or_else(|_| Err(Problem::internal("the prompt could not be counted")))
}
