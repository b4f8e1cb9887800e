//! What the API has and this build has not: told in Docker's error shape, never ignored.

use fault::{Error, Result};

use super::answer::Answer;
use super::request::Request;
use super::router::Pending;

pub(crate) fn unsupported(what: &'static str) -> Pending {
    fail(Error::unsupported(what))
}

/// In the words of a Docker daemon outside of any swarm.
pub(crate) fn no_manager() -> Pending {
    fail(Error::unavailable(
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ))
}

pub(crate) fn no_swarm() -> Pending {
    fail(Error::unavailable("This node is not part of a swarm"))
}

pub(crate) fn cluster_volume() -> Pending {
    fail(Error::unavailable("volume update only valid for cluster volumes, but swarm is unavailable"))
}

pub(crate) async fn no_plugins(request: Request) -> Result<Answer> {
    request.query.filters()?.allow(&["capability", "enabled"])?;
    request.ok(&[(); 0])
}

pub(crate) async fn no_plugin(request: Request) -> Result<Answer> {
    Err(Error::not_found(format!("plugin \"{}\" not found", request.name)))
}

/// There is none as long as nothing is built here, and `docker system prune` asks for it.
pub(crate) async fn no_build_cache(request: Request) -> Result<Answer> {
    request.query.filters()?;
    request.ok(&api::system::BuildPruned::default())
}

fn fail(error: Error) -> Pending {
    Box::pin(std::future::ready(Err(error)))
}
