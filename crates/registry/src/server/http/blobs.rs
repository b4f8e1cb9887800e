//! Requests for blobs and their uploads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION, RANGE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use oci::Digest;

use super::answer::{self, Answer, CONTENT_DIGEST, Part};
use super::{Asked, Door, blocking};
use crate::server::failure::{Failure, Outcome};
use crate::server::range::{self, Wanted};
use crate::server::route::{self, Route};
use crate::server::upload::{Shared, Upload};

pub(super) async fn answer(door: &Arc<Door>, asked: Asked) -> Outcome<Answer> {
    let method = asked.request.method().clone();
    let Asked { route, query, request } = asked;
    match (route, method) {
        (Route::Blob { name, digest }, Method::GET) => get(door, name, digest, request.headers()).await,
        (Route::Blob { name, digest }, Method::HEAD) => head(door, name, digest).await,
        (Route::Blob { name, digest }, Method::DELETE) => {
            blocking(door, move |storage| storage.blob_delete(&name, &digest)).await?;
            Ok(answer::empty(StatusCode::ACCEPTED).into())
        }
        (Route::Uploads { name }, Method::POST) => begin(door, name, &query, request).await,
        (Route::Upload { name, id }, Method::PATCH) => {
            let upload = find(door, &id).await?;
            receive(door, &upload, request).await?;
            let size = upload.lock().await.size;
            Ok(progress(StatusCode::ACCEPTED, &name, &id, size).into())
        }
        (Route::Upload { name, id }, Method::PUT) => {
            let digest = digest(&query)?.ok_or_else(|| Failure::digest_invalid("the digest is missing"))?;
            let upload = find(door, &id).await?;
            receive(door, &upload, request).await?;
            finish(door, id, upload, name, digest).await
        }
        (Route::Upload { name, id }, Method::GET | Method::HEAD) => {
            let upload = find(door, &id).await?;
            let upload = upload.lock().await;
            upload.here()?;
            Ok(progress(StatusCode::NO_CONTENT, &name, &id, upload.size).into())
        }
        (Route::Upload { id, .. }, Method::DELETE) => {
            let mut upload = find(door, &id).await?.lock_owned().await;
            blocking(door, move |storage| storage.upload_cancel(&id, &mut upload)).await?;
            Ok(answer::empty(StatusCode::NO_CONTENT).into())
        }
        _ => Err(Failure::method()),
    }
}

async fn get(door: &Arc<Door>, name: String, digest: Digest, headers: &HeaderMap) -> Outcome<Answer> {
    let tag = format!("\"{digest}\"");
    let of = digest.clone();
    let (file, size) = blocking(door, move |storage| storage.blob_open(&name, &of)).await?;
    if headers.get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes()) {
        return Ok(answer::with(answer::empty(StatusCode::NOT_MODIFIED), &[(ETAG, tag)]).into());
    }
    let range = match range::wanted(headers.get(RANGE).and_then(|value| value.to_str().ok()), size) {
        Wanted::All => None,
        Wanted::Part(range) => Some(range),
        Wanted::Outside => return Err(Failure::range()),
    };
    Ok(Answer::File(Part { file, digest, size, range }))
}

async fn head(door: &Arc<Door>, name: String, digest: Digest) -> Outcome<Answer> {
    let of = digest.clone();
    let (file, size) = blocking(door, move |storage| storage.blob_open(&name, &of)).await?;
    let head = Part { file, digest, size, range: None }.head();
    Ok(head.map(|()| answer::empty(StatusCode::OK).into_body()).into())
}

/// `POST`: mounts, takes a whole blob at once, or opens an upload.
async fn begin(
    door: &Arc<Door>,
    name: String,
    query: &[(String, String)],
    request: Request<Incoming>,
) -> Outcome<Answer> {
    if let Some(mount) = value(query, "mount") {
        let digest = route::digest(mount)?;
        let from = value(query, "from").map(str::to_owned);
        let (to, of) = (name.clone(), digest.clone());
        if blocking(door, move |storage| storage.blob_mount(&to, &of, from.as_deref())).await? {
            return Ok(created(&name, &digest).into());
        }
    }
    let digest = digest(query)?;
    let (id, upload) = blocking(door, |storage| Ok(storage.uploads.begin()?)).await?;
    let Some(digest) = digest else { return Ok(progress(StatusCode::ACCEPTED, &name, &id, 0).into()) };
    match receive(door, &upload, request).await {
        Ok(()) => finish(door, id, upload, name, digest).await,
        Err(failure) => {
            let mut upload = upload.lock_owned().await;
            blocking(door, move |storage| storage.upload_cancel(&id, &mut upload)).await?;
            Err(failure)
        }
    }
}

async fn find(door: &Arc<Door>, id: &str) -> Outcome<Shared> {
    let id = id.to_owned();
    blocking(door, move |storage| storage.uploads.find(&id)).await
}

async fn finish(
    door: &Arc<Door>,
    id: String,
    upload: Shared,
    name: String,
    digest: Digest,
) -> Outcome<Answer> {
    let mut upload = upload.lock_owned().await;
    let (to, of) = (name.clone(), digest.clone());
    blocking(door, move |storage| storage.upload_finish(&id, &mut upload, &to, &of)).await?;
    Ok(created(&name, &digest).into())
}

/// Adds a request's body to an upload. What came before a failure stays, for the client to go on behind it.
async fn receive(door: &Arc<Door>, upload: &Shared, request: Request<Incoming>) -> Outcome<()> {
    let promised = promised(request.headers())?;
    let mut body = request.into_body();
    let mut upload = Shared::clone(upload).lock_owned().await;
    upload.here()?;
    if let Some((first, _)) = promised
        && first != upload.size
    {
        return Err(Failure::out_of_order(format!("the chunk begins at {first}, expected {}", upload.size)));
    }
    let begun = upload.size;
    let mut piece = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Failure::body)?;
        piece.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        if piece.len() >= PIECE_BYTES {
            upload = append(door, upload, piece.split()).await?;
        }
    }
    upload = append(door, upload, piece).await?;
    match promised {
        Some((_, length)) if upload.size - begun != length => Err(Failure::size_invalid(format!(
            "the chunk has {} bytes, expected {length}",
            upload.size - begun
        ))),
        _ => Ok(()),
    }
}

type Owned = tokio::sync::OwnedMutexGuard<Upload>;

async fn append(door: &Arc<Door>, mut upload: Owned, piece: BytesMut) -> Outcome<Owned> {
    if piece.is_empty() {
        return Ok(upload);
    }
    door.metrics.bytes_in.fetch_add(piece.len() as u64, Ordering::Relaxed);
    blocking(door, move |_| {
        upload.append(&piece)?;
        Ok(upload)
    })
    .await
}

/// Where the chunk begins and how long it is, as far as the client says.
fn promised(headers: &HeaderMap) -> Outcome<Option<(u64, u64)>> {
    let Some(header) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let chunk = header.to_str().ok().and_then(range::chunk);
    let (first, length) =
        chunk.ok_or_else(|| Failure::out_of_order("the Content-Range is not understood"))?;
    let sent = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if sent.is_some_and(|sent| sent != length) {
        return Err(Failure::size_invalid("Content-Range and Content-Length differ"));
    }
    Ok(Some((first, length)))
}

fn progress(status: StatusCode, name: &str, id: &str, size: u64) -> hyper::Response<answer::Body> {
    let headers = [
        (LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
        (RANGE, format!("0-{}", size.saturating_sub(1))),
        (UPLOAD_ID, id.to_owned()),
    ];
    answer::with(answer::empty(status), &headers)
}

fn created(name: &str, digest: &Digest) -> hyper::Response<answer::Body> {
    let located = answer::located(StatusCode::CREATED, format!("/v2/{name}/blobs/{digest}"));
    answer::with(located, &[(CONTENT_DIGEST, digest.to_string())])
}

fn digest(query: &[(String, String)]) -> Outcome<Option<Digest>> {
    value(query, "digest").map(route::digest).transpose()
}

fn value<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Written at once; a client that sends slowly holds no thread.
const PIECE_BYTES: usize = 1 << 20;
