//! Requests for blobs and their uploads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, LOCATION, RANGE};
use hyper::{HeaderMap, Method, Request, StatusCode};
use oci::Digest;

use super::answer::{self, Answer, CONTENT_DIGEST, Part};
use super::{Asked, Door, STALL, blocking};
use crate::server::access::Caller;
use crate::server::cache::Had;
use crate::server::events::{Action, BLOB_TYPE, Event, Origin};
use crate::server::failure::{Failure, Outcome};
use crate::server::range::{self, Wanted};
use crate::server::route::{self, Route};
use crate::server::upload::{Algorithm, Shared, Upload};

pub(super) async fn answer(door: &Arc<Door>, asked: Asked) -> Outcome<Answer> {
    let method = asked.request.method().clone();
    let Asked { route, from, query, caller, origin, request } = asked;
    match (route, method) {
        (Route::Blob { name, digest }, Method::GET) => {
            if let (Some(cache), Some(from)) = (&door.cache, &from) {
                let is_part = request.headers().contains_key(RANGE);
                if let Had::Coming(following) = cache.blob(from, &digest, is_part).await? {
                    door.tell(&origin, || event(Action::Pull, &name, &digest, following.size()));
                    return Ok(answer::following(digest, following).into());
                }
            }
            get(door, name, digest, from.is_some(), &origin, request.headers()).await
        }
        (Route::Blob { name, digest }, Method::HEAD) => {
            let size = match (&door.cache, &from) {
                (Some(cache), Some(from)) => cache.blob_size(from, &digest).await?,
                _ => head(door, name, digest.clone()).await?,
            };
            Ok(answer::blob_head(&digest, size).map(|()| answer::empty(StatusCode::OK).into_body()).into())
        }
        (Route::Blob { name, digest }, Method::DELETE) => {
            let (of, gone) = (name.clone(), digest.clone());
            blocking(door, move |storage| storage.blob_delete(&of, &gone)).await?;
            door.tell(&origin, || event(Action::Delete, &name, &digest, 0));
            Ok(answer::empty(StatusCode::ACCEPTED).into())
        }
        (Route::Uploads { name }, Method::POST) => begin(door, name, &query, &caller, &origin, request).await,
        (Route::Upload { name, id }, Method::PATCH) => {
            let upload = find(door, &id).await?;
            let of = Of { name, id, digest: None };
            let size = receive(door, &of, &upload, request).await?;
            Ok(progress(StatusCode::ACCEPTED, &of.name, &of.id, size).into())
        }
        (Route::Upload { name, id }, Method::PUT) => {
            let digest = digest(&query)?.ok_or_else(|| Failure::digest_invalid("the digest is missing"))?;
            let upload = find(door, &id).await?;
            let of = Of { name, id, digest: Some(digest.clone()) };
            receive(door, &of, &upload, request).await?;
            finish(door, of.id, upload, of.name, digest, &origin).await
        }
        (Route::Upload { name, id }, Method::GET | Method::HEAD) => {
            let upload = find(door, &id).await?;
            let upload = upload.lock().await;
            upload.here()?;
            Ok(progress(StatusCode::NO_CONTENT, &name, &id, upload.size).into())
        }
        (Route::Upload { id, .. }, Method::DELETE) => {
            let upload = find(door, &id).await?;
            cancel(door, id, &upload).await?;
            Ok(answer::empty(StatusCode::NO_CONTENT).into())
        }
        _ => Err(Failure::method()),
    }
}

async fn get(
    door: &Arc<Door>,
    name: String,
    digest: Digest,
    is_fetched: bool,
    origin: &Origin,
    headers: &HeaderMap,
) -> Outcome<Answer> {
    let tag = format!("\"{digest}\"");
    let (of, wanted) = (name.clone(), digest.clone());
    let opened = blocking(door, move |storage| {
        let (file, size) = storage.blob_open(&of, &wanted)?;
        if is_fetched {
            storage.used(&file)?;
        }
        Ok((file, size))
    });
    let (file, size) = opened.await?;
    if answer::is_known(headers, &tag) {
        return Ok(answer::with(answer::empty(StatusCode::NOT_MODIFIED), &[(ETAG, tag)]).into());
    }
    // A part of something else is of no use to who has the beginning of that (RFC 9110, 13.1.5).
    let same = headers.get(IF_RANGE).is_none_or(|value| value.as_bytes() == tag.as_bytes());
    let header = headers.get(RANGE).filter(|_| same).and_then(|value| value.to_str().ok());
    let range = match range::wanted(header, size) {
        Wanted::All => None,
        Wanted::Part(range) => Some(range),
        Wanted::Outside => return Err(Failure::range()),
    };
    door.tell(origin, || event(Action::Pull, &name, &digest, size));
    Ok(Answer::File(Part { file, digest, size, range }))
}

/// Its size, if the file is there, too.
async fn head(door: &Arc<Door>, name: String, digest: Digest) -> Outcome<u64> {
    blocking(door, move |storage| storage.blob_open(&name, &digest)).await.map(|(_, size)| size)
}

/// `POST`: mounts, takes a whole blob at once, or opens an upload.
async fn begin(
    door: &Arc<Door>,
    name: String,
    query: &[(String, String)],
    caller: &Caller,
    origin: &Origin,
    request: Request<Incoming>,
) -> Outcome<Answer> {
    if let Some(created) = mounted(door, &name, query, caller, origin).await? {
        return Ok(created);
    }
    let digest = digest(query)?;
    let algorithm = match (&digest, value(query, "digest-algorithm")) {
        (Some(digest), _) => Algorithm::of(digest)?,
        (None, Some(name)) => Algorithm::parse(name)?,
        (None, None) => Algorithm::default(),
    };
    let (id, upload) = blocking(door, move |storage| Ok(storage.uploads.begin(algorithm)?)).await?;
    let Some(digest) = digest else { return Ok(progress(StatusCode::ACCEPTED, &name, &id, 0).into()) };
    let of = Of { name, id, digest: Some(digest.clone()) };
    match receive(door, &of, &upload, request).await {
        Ok(_) => finish(door, of.id, upload, of.name, digest, origin).await,
        Err(failure) => {
            // It may be gone already, with the failure.
            drop(cancel(door, of.id, &upload).await);
            Err(failure)
        }
    }
}

/// Gives a blob of another repository to this one, if the caller may read that. Without a word of where it is, only to
/// who may read all. `None` if it has to be sent.
async fn mounted(
    door: &Arc<Door>,
    name: &str,
    query: &[(String, String)],
    caller: &Caller,
    origin: &Origin,
) -> Outcome<Option<Answer>> {
    let Some(mount) = value(query, "mount") else { return Ok(None) };
    let (digest, from) = (route::digest(mount)?, value(query, "from").map(str::to_owned));
    if !from.as_ref().map_or_else(|| caller.may_all(), |from| caller.may_pull(from)) {
        return Ok(None);
    }
    let (to, of, source) = (name.to_owned(), digest.clone(), from.clone());
    let size = blocking(door, move |storage| storage.blob_mount(&to, &of, source.as_deref())).await?;
    let Some(size) = size else { return Ok(None) };
    door.tell(origin, || Event { from, ..event(Action::Mount, name, &digest, size) });
    Ok(Some(created(name, &digest).into()))
}

fn event(action: Action, name: &str, digest: &Digest, size: u64) -> Event {
    Event {
        action,
        repository: name.into(),
        digest: Some(digest.clone()),
        media_type: BLOB_TYPE.into(),
        size,
        tag: None,
        from: None,
    }
}

async fn find(door: &Arc<Door>, id: &str) -> Outcome<Shared> {
    let id = id.to_owned();
    blocking(door, move |storage| storage.uploads.find(&id)).await
}

async fn cancel(door: &Arc<Door>, id: String, upload: &Shared) -> Outcome<()> {
    let mut upload = Shared::clone(upload).lock_owned().await;
    blocking(door, move |storage| storage.upload_cancel(&id, &mut upload)).await
}

async fn finish(
    door: &Arc<Door>,
    id: String,
    upload: Shared,
    name: String,
    digest: Digest,
    origin: &Origin,
) -> Outcome<Answer> {
    let upload = upload.lock_owned().await;
    let mut upload = caught_up(door, upload, Some(Algorithm::of(&digest)?)).await?;
    let (to, of, size) = (name.clone(), digest.clone(), upload.size);
    blocking(door, move |storage| storage.upload_finish(&id, &mut upload, &to, &of)).await?;
    door.tell(origin, || event(Action::Push, &name, &digest, size));
    Ok(created(&name, &digest).into())
}

/// Which upload, and what it is to become, as far as that is known yet.
#[derive(Clone)]
struct Of {
    name: String,
    id: String,
    digest: Option<Digest>,
}

/// Adds a request's body to an upload, and says how long that is now. What came before a failure stays, for the client
/// to go on behind it; but what a quota has no room for goes.
async fn receive(door: &Arc<Door>, of: &Of, upload: &Shared, request: Request<Incoming>) -> Outcome<u64> {
    let promised = promised(request.headers())?;
    let length = content_length(request.headers());
    let mut body = request.into_body();
    let upload = Shared::clone(upload).lock_owned().await;
    upload.here()?;
    let mut upload = caught_up(door, upload, None).await?;
    if let Some((first, _)) = promised
        && first != upload.size
    {
        return Err(Failure::out_of_order(format!("the chunk begins at {first}, expected {}", upload.size)));
    }
    let begun = upload.size;
    upload = with_room(door, of, upload, length.unwrap_or(0)).await?;
    let mut piece = BytesMut::new();
    let ended = loop {
        let frame = match next(&mut body).await {
            Ok(Some(frame)) => frame,
            ended => break ended.map(drop),
        };
        piece.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
        if piece.len() >= PIECE_BYTES {
            if length.is_none() {
                upload = with_room(door, of, upload, piece.len() as u64).await?;
            }
            upload = append(door, upload, piece.split()).await?;
        }
    };
    upload = append(door, upload, piece).await?;
    ended?;
    match promised {
        Some((_, length)) if upload.size - begun != length => Err(Failure::size_invalid(format!(
            "the chunk has {} bytes, expected {length}",
            upload.size - begun
        ))),
        _ => Ok(upload.size),
    }
}

async fn next(body: &mut Incoming) -> Outcome<Option<Frame<Bytes>>> {
    let frame = tokio::time::timeout(STALL, body.frame()).await.map_err(|_| Failure::stalled())?;
    frame.transpose().map_err(Failure::body)
}

type Owned = tokio::sync::OwnedMutexGuard<Upload>;

/// Refuses early what no quota has room for, and forgets the upload then.
async fn with_room(door: &Arc<Door>, of: &Of, mut upload: Owned, more: u64) -> Outcome<Owned> {
    if door.config.quotas.is_empty() || more == 0 {
        return Ok(upload);
    }
    let of = of.clone();
    blocking(door, move |storage| {
        let size = upload.size.saturating_add(more);
        let view = storage.catalog.view()?;
        let checked = match &of.digest {
            Some(digest) => storage.check_room(&view, &of.name, digest, size),
            None => storage.check_quotas(&view, &of.name, size),
        };
        if checked.is_err() {
            storage.upload_cancel(&of.id, &mut upload)?;
        }
        checked.map(|()| upload)
    })
    .await
}

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

/// Has hashed everything that is here. Others have a turn at the pool between two slices.
async fn caught_up(door: &Arc<Door>, mut upload: Owned, algorithm: Option<Algorithm>) -> Outcome<Owned> {
    while upload.lags(algorithm) {
        upload = blocking(door, move |_| {
            upload.catch_up(algorithm)?;
            Ok(upload)
        })
        .await?;
    }
    Ok(upload)
}

/// Where the chunk begins and how long it is, as far as the client says.
fn promised(headers: &HeaderMap) -> Outcome<Option<(u64, u64)>> {
    let Some(header) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let chunk = header.to_str().ok().and_then(range::chunk);
    let (first, length) =
        chunk.ok_or_else(|| Failure::out_of_order("the Content-Range is not understood"))?;
    if content_length(headers).is_some_and(|sent| sent != length) {
        return Err(Failure::size_invalid("Content-Range and Content-Length differ"));
    }
    Ok(Some((first, length)))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
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
