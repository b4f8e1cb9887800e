//! Files in and out of containers: `cp`, `export`, `diff`.

use api::container::PathStat;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::archive;
use fault::{Error, Result};
use futures_util::StreamExt;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};

use super::answer::{self, Answer};
use super::request::Request;

pub(crate) async fn stat(request: Request) -> Result<Answer> {
    let stat = archive::stat(&request.door.engine, &request.name, path(&request)?).await?;
    let mut response = answer::empty(StatusCode::OK);
    response.headers_mut().insert(STAT, header(&stat));
    Ok(response.into())
}

pub(crate) async fn get(request: Request) -> Result<Answer> {
    let (stat, parts) = archive::get(&request.door.engine, &request.name, path(&request)?).await?;
    let mut response = answer::stream(answer::TAR, parts);
    response.headers_mut().insert(STAT, header(&stat));
    Ok(response.into())
}

pub(crate) async fn put(request: Request) -> Result<Answer> {
    let path = path(&request)?.to_owned();
    let how = archive::Put {
        no_overwrite_dir_non_dir: request.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: request.query.flag("copyUIDGID"),
    };
    let (engine, name) = (request.door.engine.clone(), request.name.clone());
    archive::put(&engine, &name, &path, how, request.into_stream().boxed()).await?;
    Ok(answer::empty(StatusCode::OK).into())
}

pub(crate) async fn changes(request: Request) -> Result<Answer> {
    let changes = archive::changes(&request.door.engine, &request.name).await?;
    // Go writes a list that nothing was added to as null.
    request.ok(&Some(changes).filter(|changes| !changes.is_empty()))
}

pub(crate) async fn export(request: Request) -> Result<Answer> {
    let parts = archive::export(&request.door.engine, &request.name).await?;
    Ok(answer::stream(HeaderValue::from_static("application/octet-stream"), parts).into())
}

fn path(request: &Request) -> Result<&str> {
    // Docker's own wording, its missing blank included.
    let missing = |what: &str| Error::invalid(format!("bad parameter: {what}cannot be empty"));
    if request.name.is_empty() {
        return Err(missing("name"));
    }
    request.query.given("path").ok_or_else(|| missing("path"))
}

const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

fn header(stat: &PathStat) -> HeaderValue {
    let json = serde_json::to_vec(stat).expect("a stat is JSON");
    HeaderValue::from_str(&STANDARD.encode(json)).expect("base 64 is plain ASCII")
}
