//! Passwords, tokens and the operator's rules.

use base64::Engine as _;
use fault::Kind;
use registry::client::{Credentials, Login, Pull, Search, login, pull, search};

use super::double::{Says, Seen};
use super::scene::{Scene, registries, run, wanted};

const TOKEN: &str = "the-token";

/// A registry that wants a bearer token, which its token server gives to `ann` with the password `secret`.
fn guarded() -> Scene {
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("ann:secret"));
    let rule = move |seen: &Seen| {
        if seen.path.starts_with("/token") {
            return Some(match seen.header("authorization") {
                Some(given) if given == basic => Says(
                    "200 OK",
                    vec![("Content-Type", "application/json".to_owned())],
                    format!(r#"{{"token":"{TOKEN}","expires_in":300}}"#).into_bytes(),
                ),
                _ => Says(
                    "401 Unauthorized",
                    Vec::new(),
                    br#"{"details":"incorrect username or password"}"#.to_vec(),
                ),
            });
        }
        if seen.header("authorization") == Some(&format!("Bearer {TOKEN}")) {
            return None;
        }
        let host = seen.header("host").unwrap_or_default();
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="test""#);
        let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Some(Says("401 Unauthorized", vec![("WWW-Authenticate", challenge)], body.to_vec()))
    };
    Scene::new(rule)
}

fn ann(password: &str) -> Credentials {
    Credentials::Basic { user: "ann".into(), password: password.into() }
}

#[test]
fn a_token_is_bought_with_a_password_and_kept() {
    let scene = guarded();
    let id = scene.publish("app:1", 1000);
    let store = scene.store("mine");
    let wanted = Pull { credentials: ann("secret"), ..wanted(&scene.name("app:1")) };
    let pulled = run(pull(&registries(), &store, &wanted, &|_| ())).unwrap();
    assert_eq!(pulled[0].id, id);
    assert_eq!(scene.double.count("GET", "/token"), 1);
    let asked = scene.double.seen().into_iter().find(|seen| seen.path.starts_with("/token")).unwrap();
    assert!(
        asked.path.contains("service=test") && asked.path.contains("repository%3Aapp%3Apull"),
        "{}",
        asked.path
    );
}

#[test]
fn without_the_password_nothing_comes() {
    let scene = guarded();
    scene.publish("app:1", 1000);
    let store = scene.store("mine");
    for credentials in [Credentials::Anonymous, ann("wrong")] {
        let wanted = Pull { credentials, ..wanted(&scene.name("app:1")) };
        let error = run(pull(&registries(), &store, &wanted, &|_| ())).unwrap_err();
        assert!(!matches!(error.kind(), Kind::Internal), "{error}");
    }
    assert!(store.images().unwrap().is_empty());
}

#[test]
fn a_login_tells_whether_the_password_is_right() {
    let scene = guarded();
    let server = scene.double.address.to_string();
    let ask = |password: &str| {
        run(login(&registries(), &Login { server: server.clone(), credentials: ann(password) }))
    };
    assert_eq!(ask("secret").unwrap(), "");
    let error = ask("wrong").unwrap_err().to_string();
    assert!(error.contains("unauthorized") || error.contains("incorrect username or password"), "{error}");
}

#[test]
fn a_registry_without_search_is_searched_by_its_catalogue() {
    let scene = Scene::honest();
    for name in ["team/web:1", "team/db:1", "other:1"] {
        scene.publish(name, 1000);
    }
    let term = format!("{}/team", scene.double.address);
    let wanted = Search { term, limit: 25, credentials: Credentials::Anonymous };
    let found = run(search(&registries(), &wanted)).unwrap();
    let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.contains("team/")), "{names:?}");
}
