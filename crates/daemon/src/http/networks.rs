//! Networks. There are the three that always are; making others is not built yet.

use engine::network;
use fault::{Error, Result};

use super::answer::Answer;
use super::request::Request;

pub(crate) async fn list(request: Request) -> Result<Answer> {
    request.ok(&network::list(&request.door.engine, request.query.filters()?).await?)
}

pub(crate) async fn inspect(request: Request) -> Result<Answer> {
    let found = network::inspect(&request.door.engine, &request.name).await?;
    match request.query.given("scope") {
        Some(scope) if scope != found.scope => {
            Err(Error::not_found(format!("network {} not found", request.name)))
        }
        _ => request.ok(&found),
    }
}

pub(crate) async fn remove(request: Request) -> Result<Answer> {
    let found = network::inspect(&request.door.engine, &request.name).await?;
    let name = found.name;
    Err(Error::denied(format!("{name} is a pre-defined network and cannot be removed")))
}

/// The pre-defined networks are never pruned, and there are no others.
pub(crate) async fn prune(request: Request) -> Result<Answer> {
    request.query.filters()?.allow(&["label", "label!", "until"])?;
    request.ok(&api::network::Pruned::default())
}
