//! Signatures of images, and the policy that asks for them. Ours alone.

use api::trust::Signatures;
use engine::trust;
use fault::Result;

use super::answer::Answer;
use super::distribution::auth;
use super::json;
use super::request::{Request, done};

pub(crate) async fn signatures(request: Request) -> Result<Answer> {
    let found = trust::signatures(&request.door.engine, &request.name, &auth(&request)).await?;
    request.ok(&found)
}

pub(crate) async fn sign(mut request: Request) -> Result<Answer> {
    let wanted: Signatures<::trust::Signature> = api::from_value(json::parse(&request.bytes().await?)?)?;
    trust::sign(&request.door.engine, &request.name, wanted, &auth(&request)).await?;
    done()
}

pub(crate) async fn policy(request: Request) -> Result<Answer> {
    request.ok(&trust::policy(&request.door.engine))
}

pub(crate) async fn check(request: Request) -> Result<Answer> {
    let checked = trust::check(&request.door.engine, request.query.text("image")).await?;
    request.ok(&checked)
}
