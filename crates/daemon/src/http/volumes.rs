//! Volumes of the local driver.

use engine::volume;
use fault::{Doing, Error, Result};
use hyper::StatusCode;

use super::answer::Answer;
use super::request::{Request, done};

pub(crate) async fn list(request: Request) -> Result<Answer> {
    let filters = request.query.filters().doing(|| "error reading volume filters")?;
    request.ok(&volume::list(&request.door.engine, filters).await?)
}

pub(crate) async fn create(mut request: Request) -> Result<Answer> {
    let wanted: api::volume::Create = request.json().await?;
    if wanted.cluster_volume_spec.is_some() {
        return Err(Error::unsupported("cluster volumes"));
    }
    let volume = volume::create(&request.door.engine, wanted).await?;
    Ok(request.answer(StatusCode::CREATED, &volume))
}

pub(crate) async fn inspect(request: Request) -> Result<Answer> {
    request.ok(&volume::inspect(&request.door.engine, &request.name).await?)
}

pub(crate) async fn remove(request: Request) -> Result<Answer> {
    volume::remove(&request.door.engine, &request.name, request.query.flag("force")).await?;
    done()
}

pub(crate) async fn prune(request: Request) -> Result<Answer> {
    request.ok(&engine::prune::volumes(&request.door.engine, request.query.filters()?).await?)
}
