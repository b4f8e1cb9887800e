//! Between registries and Docker's API: progress becomes lines, and what clients send becomes credentials.

use std::sync::Arc;

use api::progress::{Detail, Message, WIDTH_DEFAULT};
use api::registry::AuthConfig;
use registry::client::{Action, Amount, Credentials, Progress};

use crate::telling::Board;

/// Tells what a pull or push reports.
pub(super) fn report(board: &Arc<Board>) -> impl Fn(Progress) + Send + Sync + use<> {
    let board = Arc::clone(board);
    move |progress| {
        let message = line(&progress);
        match progress.action {
            Action::Downloading(_) | Action::Extracting(_) | Action::Pushing(_) => board.tell_again(message),
            Action::PushedInstead { .. } => board.tell(pushed(&progress.action)),
            Action::PushedManifest { .. } => {
                board.tell(message);
                board.tell(pushed(&progress.action));
            }
            _ => board.tell(message),
        }
    }
}

fn line(progress: &Progress) -> Message {
    let detail = progress.action.detail().map(detail);
    Message {
        id: progress.id.clone(),
        progress: detail.map(|detail| detail.drawn(WIDTH_DEFAULT)).unwrap_or_default(),
        progress_detail: detail,
        ..Message::status(progress.action.to_string())
    }
}

fn detail(amount: Amount) -> Detail {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Detail { current: signed(amount.current), total: signed(amount.total) }
}

/// The same for programs: what signs images reads it.
fn pushed(action: &Action) -> Message {
    let aux = match action {
        Action::PushedManifest { tag, digest, size } => {
            Some(serde_json::json!({ "Tag": tag, "Digest": digest, "Size": size }))
        }
        Action::PushedInstead { index, manifest } => Some(serde_json::json!({
            "manifestPushedInsteadOfIndex": true, "originalIndex": index, "selectedManifest": manifest
        })),
        _ => None,
    };
    Message { progress_detail: Some(Detail::default()), aux, ..Message::default() }
}

/// A token for the registry goes before a refresh token, and that before a password.
pub(crate) fn credentials(auth: &AuthConfig) -> Credentials {
    if !auth.registrytoken.is_empty() {
        return Credentials::Bearer { token: auth.registrytoken.clone() };
    }
    if !auth.identitytoken.is_empty() {
        return Credentials::Identity { token: auth.identitytoken.clone() };
    }
    if !auth.username.is_empty() {
        return Credentials::Basic { user: auth.username.clone(), password: auth.password.clone() };
    }
    Credentials::Anonymous
}

#[cfg(test)]
mod tests {
    use oci::Digest;

    use super::*;

    fn check(id: &str, action: Action, json: &str) {
        let line = line(&Progress { id: id.into(), action });
        assert_eq!(serde_json::to_string(&line).unwrap(), json);
    }

    #[test]
    fn lines_are_dockerd_s() {
        check("1", Action::PullingFrom("verbs/bb".into()), r#"{"status":"Pulling from verbs/bb","id":"1"}"#);
        check(
            "53593ae5fd37",
            Action::PullingLayer,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"53593ae5fd37"}"#,
        );
        check(
            "53593ae5fd37",
            Action::Pushing(Amount { current: 20_992, total: 2_065_231 }),
            r#"{"status":"Pushing","progressDetail":{"current":20992,"total":2065231},"progress":"[>                                                  ]  20.99kB/2.065MB","id":"53593ae5fd37"}"#,
        );
        check(
            "",
            Action::UpToDate("busybox:latest".into()),
            r#"{"status":"Status: Image is up to date for busybox:latest"}"#,
        );
    }

    #[test]
    fn a_pushed_manifest_is_told_to_programs_too() {
        let digest = Digest::sha256(b"");
        let action = Action::PushedManifest { tag: "1".into(), digest: digest.clone(), size: 527 };
        assert_eq!(
            serde_json::to_value(pushed(&action)).unwrap(),
            serde_json::json!({ "progressDetail": {}, "aux": { "Tag": "1", "Digest": digest, "Size": 527 } })
        );
    }

    #[test]
    fn the_strongest_credential_counts() {
        let auth = AuthConfig { username: "me".into(), password: "pw".into(), ..AuthConfig::default() };
        let basic = Credentials::Basic { user: "me".into(), password: "pw".into() };
        assert_eq!(credentials(&auth), basic);
        let auth = AuthConfig { identitytoken: "refresh".into(), ..auth };
        assert_eq!(credentials(&auth), Credentials::Identity { token: "refresh".into() });
        let auth = AuthConfig { registrytoken: "bearer".into(), ..auth };
        assert_eq!(credentials(&auth), Credentials::Bearer { token: "bearer".into() });
        assert_eq!(credentials(&AuthConfig::default()), Credentials::Anonymous);
    }
}
