//! Requests for manifests and their referrers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use oci::{Digest, media_type};

use super::answer::{self, Answer, Body, CONTENT_DIGEST};
use super::{Asked, Door, blocking};
use crate::server::failure::{Failure, Outcome};
use crate::server::manifest::{BYTES_MAX, Sent};
use crate::server::route::{self, Key, Route};

pub(super) async fn answer(door: &Arc<Door>, asked: Asked) -> Outcome<Answer> {
    let method = asked.request.method().clone();
    match (asked.route, method) {
        (Route::Manifest { name, key }, Method::GET | Method::HEAD) => {
            get(door, name, key, &asked.request).await
        }
        (Route::Manifest { name, key }, Method::PUT) => {
            put(door, name, key, tags(asked.query)?, asked.request).await
        }
        (Route::Manifest { name, key }, Method::DELETE) => {
            blocking(door, move |storage| storage.manifest_delete(&name, &key)).await?;
            Ok(answer::empty(StatusCode::ACCEPTED).into())
        }
        (Route::Referrers { name, digest }, Method::GET | Method::HEAD) => {
            let wanted =
                asked.query.into_iter().find(|(key, _)| key == "artifactType").map(|(_, value)| value);
            referrers(door, name, digest, wanted).await
        }
        _ => Err(Failure::method()),
    }
}

async fn get(door: &Arc<Door>, name: String, key: Key, request: &Request<Incoming>) -> Outcome<Answer> {
    let (found, bytes) = blocking(door, move |storage| {
        let found = storage.manifest_find(&name, &key)?;
        let bytes = storage.manifest_bytes(&found.digest)?;
        Ok((found, bytes))
    })
    .await?;
    let tag = format!("\"{}\"", found.digest);
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let headers = [(CONTENT_DIGEST, found.digest.to_string()), (ETAG, tag)];
    if known {
        return Ok(answer::with(answer::empty(StatusCode::NOT_MODIFIED), &headers).into());
    }
    door.metrics.bytes_out.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    let response = answer::bytes(StatusCode::OK, &found.record.media_type, bytes);
    Ok(answer::with(response, &headers).into())
}

async fn put(
    door: &Arc<Door>,
    name: String,
    key: Key,
    tags: Vec<String>,
    request: Request<Incoming>,
) -> Outcome<Answer> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_owned();
    let tagged = tags.join(", ");
    let bytes = document(request).await?;
    door.metrics.bytes_in.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    let (of, sent) = (name.clone(), Sent { key, tags, media_type, bytes });
    let put = blocking(door, move |storage| storage.manifest_put(&of, &sent)).await?;
    let location = format!("/v2/{name}/manifests/{}", put.digest);
    let mut headers = vec![(CONTENT_DIGEST, put.digest.to_string())];
    headers.extend(put.subject.map(|subject| (SUBJECT, subject.to_string())));
    headers.extend((!tagged.is_empty()).then_some((TAG, tagged)));
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
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::manifest_too_large(BYTES_MAX)),
        Err(error) => Err(Failure::body(error)),
    }
}

async fn referrers(
    door: &Arc<Door>,
    name: String,
    digest: Digest,
    wanted: Option<String>,
) -> Outcome<Answer> {
    let filtered = wanted.is_some();
    let index = blocking(door, move |storage| storage.referrers(&name, &digest, wanted.as_deref())).await?;
    let bytes = serde_json::to_vec(&index).expect("an index is always JSON");
    let response: Response<Body> = answer::bytes(StatusCode::OK, media_type::OCI_INDEX, bytes);
    if !filtered {
        return Ok(response.into());
    }
    Ok(answer::with(response, &[(FILTERS_APPLIED, "artifactType".into())]).into())
}

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
