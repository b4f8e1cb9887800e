//! Requests for manifests and their referrers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use oci::{Descriptor, Digest, Index, media_type};

use super::answer::{self, Answer, Body, CONTENT_DIGEST};
use super::{Asked, Door, STALL, blocking, header};
use crate::server::events::{Action, Event, Origin};
use crate::server::failure::{Failure, Outcome};
use crate::server::manifest::{BYTES_MAX, Sent};
use crate::server::route::{self, Key, Route};

pub(super) async fn answer(door: &Arc<Door>, asked: Asked) -> Outcome<Answer> {
    let method = asked.request.method().clone();
    let Asked { route, from, query, origin, request, .. } = asked;
    match (route, method) {
        (Route::Manifest { name, key }, Method::GET | Method::HEAD) => {
            if let (Some(cache), Some(from)) = (&door.cache, &from) {
                cache.manifest(from, &key).await?;
            }
            get(door, name, key, from.is_some(), &origin, &request).await
        }
        (Route::Manifest { name, key }, Method::PUT) => {
            put(door, name, key, tags(query)?, &origin, request).await
        }
        (Route::Manifest { name, key }, Method::DELETE) => {
            let (of, gone) = (name.clone(), key.clone());
            blocking(door, move |storage| storage.manifest_delete(&of, &gone)).await?;
            door.tell(&origin, || deleted(name, key));
            Ok(answer::empty(StatusCode::ACCEPTED).into())
        }
        (Route::Referrers { name, digest }, Method::GET | Method::HEAD) => {
            let fetched = match (&door.cache, &from) {
                (Some(cache), Some(from)) => cache.referrers(from, &digest).await?,
                _ => None,
            };
            match fetched {
                Some(fetched) => Ok(fetched_referrers(fetched, &query)),
                None => referrers(door, name, digest, &query, request.uri().path()).await,
            }
        }
        _ => Err(Failure::method()),
    }
}

async fn get(
    door: &Arc<Door>,
    name: String,
    key: Key,
    is_fetched: bool,
    origin: &Origin,
    request: &Request<Incoming>,
) -> Outcome<Answer> {
    let (of, wanted, headers) = (name.clone(), key.clone(), request.headers().clone());
    // A list that was fetched is here without its manifests.
    let accepts = move |media_type: &str| is_fetched || answer::is_accepted(&headers, media_type);
    let (found, bytes) =
        blocking(door, move |storage| storage.manifest_read(&of, &wanted, is_fetched, &accepts)).await?;
    let tag = format!("\"{}\"", found.digest);
    let known = answer::is_known(request.headers(), &tag);
    let headers = [(CONTENT_DIGEST, found.digest.to_string()), (ETAG, tag)];
    if known {
        return Ok(answer::with(answer::empty(StatusCode::NOT_MODIFIED), &headers).into());
    }
    if *request.method() == Method::GET {
        door.metrics.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let size = bytes.len() as u64;
        door.tell(origin, || {
            event(Action::Pull, name, found.digest, found.record.media_type.clone(), size, tag_of(key))
        });
    }
    let response = answer::bytes(StatusCode::OK, &found.record.media_type, bytes);
    Ok(answer::with(response, &headers).into())
}

fn event(
    action: Action,
    repository: String,
    digest: Digest,
    media_type: String,
    size: u64,
    tag: Option<String>,
) -> Event {
    Event { action, repository, digest: Some(digest), media_type, size, tag, from: None }
}

fn deleted(repository: String, key: Key) -> Event {
    let (digest, tag) = match key {
        Key::Digest(digest) => (Some(digest), None),
        Key::Tag(tag) => (None, Some(tag)),
    };
    Event { action: Action::Delete, repository, digest, media_type: String::new(), size: 0, tag, from: None }
}

fn tag_of(key: Key) -> Option<String> {
    match key {
        Key::Tag(tag) => Some(tag),
        Key::Digest(_) => None,
    }
}

async fn put(
    door: &Arc<Door>,
    name: String,
    key: Key,
    tags: Vec<String>,
    origin: &Origin,
    request: Request<Incoming>,
) -> Outcome<Answer> {
    let media_type = header(&request, CONTENT_TYPE).to_owned();
    let tagged = tags.join(", ");
    let bytes = document(request).await?;
    let size = bytes.len() as u64;
    door.metrics.bytes_in.fetch_add(size, Ordering::Relaxed);
    let (of, sent) = (name.clone(), Sent { key: key.clone(), tags, media_type, bytes });
    let put = blocking(door, move |storage| storage.manifest_put(&of, &sent)).await?;
    let location = format!("/v2/{name}/manifests/{}", put.digest);
    let mut headers = vec![(CONTENT_DIGEST, put.digest.to_string())];
    headers.extend(put.subject.map(|subject| (SUBJECT, subject.to_string())));
    headers.extend((!tagged.is_empty()).then_some((TAG, tagged)));
    door.tell(origin, || event(Action::Push, name, put.digest, put.media_type, size, tag_of(key)));
    Ok(answer::with(answer::located(StatusCode::CREATED, location), &headers).into())
}

/// `?tag=` of a manifest that is sent to its digest, as the specification's next version has it.
fn tags(query: Vec<(String, String)>) -> Outcome<Vec<String>> {
    let tags: Vec<String> = query.into_iter().filter(|(key, _)| key == "tag").map(|(_, tag)| tag).collect();
    if tags.iter().all(|tag| route::is_tag(tag)) {
        Ok(tags)
    } else {
        Err(Failure::manifest_invalid("invalid tag"))
    }
}

async fn document(request: Request<Incoming>) -> Outcome<Bytes> {
    let limited = Limited::new(request.into_body(), BYTES_MAX as usize);
    match tokio::time::timeout(STALL, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::manifest_too_large(BYTES_MAX)),
        Ok(Err(error)) => Err(Failure::body(error)),
        Err(_) => Err(Failure::stalled()),
    }
}

/// Another registry's, on one page: its client has bounded them.
fn fetched_referrers(mut fetched: Vec<Descriptor>, query: &[(String, String)]) -> Answer {
    let filter = query.iter().find(|(key, _)| key == "artifactType").map(|(_, value)| value);
    if let Some(filter) = filter {
        fetched.retain(|one| one.artifact_type.as_deref() == Some(filter.as_str()));
    }
    let applied = filter.map(|_| (FILTERS_APPLIED, "artifactType".to_owned()));
    answer::with(index(fetched), applied.as_slice()).into()
}

fn index(manifests: Vec<Descriptor>) -> Response<Body> {
    let bytes = serde_json::to_vec(&Index::new(manifests)).expect("an index is always JSON");
    answer::bytes(StatusCode::OK, media_type::OCI_INDEX, bytes)
}

async fn referrers(
    door: &Arc<Door>,
    name: String,
    digest: Digest,
    query: &[(String, String)],
    path: &str,
) -> Outcome<Answer> {
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let (filter, last) = (value("artifactType"), value("last").unwrap_or_default());
    let wanted = filter.clone();
    let (index, next) =
        blocking(door, move |storage| storage.referrers(&name, &digest, wanted.as_deref(), &last)).await?;
    let bytes = serde_json::to_vec(&index).expect("an index is always JSON");
    let response: Response<Body> = answer::bytes(StatusCode::OK, media_type::OCI_INDEX, bytes);
    let applied = filter.as_ref().map(|_| (FILTERS_APPLIED, "artifactType".to_owned()));
    let response = answer::with(response, applied.as_slice());
    let more = filter.map(|filter| ("artifactType", filter));
    Ok(answer::followed(response, path, next.as_ref().map(Digest::as_str), more).into())
}

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
