//! Who asks: tokens, passwords, refresh tokens, and who must not see them.

use fault::Kind;
use registry::client::{Credentials, Login, Mirror, Pull, Registries, Rule, login};

use crate::faulty::double::{Auth, Double, Effect, pairs};
use crate::faulty::make::{
    at, config, docker_io, image, me, name, pull_with, registries, store, tar, wanted,
};

fn bearer(user: Option<(&'static str, &'static str)>) -> Auth {
    Auth::Bearer { user, uses: usize::MAX }
}

fn with_auth(auth: Auth) -> Double {
    let double = Double::start();
    image(&double, "team/app", "latest", &[tar("a", b"1"), tar("b", b"2")]);
    double.state().auth = auth;
    double
}

async fn pull(double: &Double, credentials: Credentials) -> Result<(), (Kind, String)> {
    let (_folder, store) = store();
    let wanted = Pull { credentials, ..wanted(&at(double, "team/app")) };
    let (pulled, _) = pull_with(&registries(), &store, &wanted).await;
    pulled.map(drop).map_err(|error| (error.kind(), error.to_string()))
}

#[tokio::test]
async fn anybody_may_get_a_token() {
    let double = with_auth(bearer(None));
    pull(&double, Credentials::Anonymous).await.unwrap();
    let log = double.take_log();
    let token = "GET /token?service=double&scope=repository%3Ateam%2Fapp%3Apull";
    assert_eq!(log[..3], ["GET /v2/team/app/manifests/latest", token, "GET /v2/team/app/manifests/latest"]);
    // One token serves for all that follows.
    assert_eq!(log.iter().filter(|line| line.starts_with("GET /token")).count(), 1);
}

#[tokio::test]
async fn a_password_buys_a_token_and_goes_nowhere_else() {
    let double = with_auth(bearer(Some(("me", "secret"))));
    pull(&double, me()).await.unwrap();
    for seen in &double.state().log {
        let given = seen.header("authorization").unwrap_or_default();
        assert_eq!(given.starts_with("Basic "), seen.target.starts_with("/token"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_in_docker_s_words() {
    let double = with_auth(bearer(Some(("me", "other"))));
    let url = format!("http://{}/v2/team/app/manifests/latest", double.host());
    let words = format!("Get \"{url}\": unauthorized: incorrect username or password");
    assert_eq!(pull(&double, me()).await.unwrap_err(), (Kind::Unauthorized, words));
}

#[tokio::test]
async fn an_identity_token_is_posted() {
    let double = with_auth(bearer(Some(("me", "secret"))));
    pull(&double, Credentials::Identity { token: "identity".into() }).await.unwrap();
    let state = double.state();
    let posted = state.log.iter().find(|seen| seen.method == "POST").unwrap();
    let form = pairs(&String::from_utf8_lossy(&posted.body));
    let expected = [
        ("grant_type", "refresh_token"),
        ("service", "double"),
        ("client_id", "docker"),
        ("scope", "repository:team/app:pull"),
        ("refresh_token", "identity"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn a_token_that_runs_out_is_bought_anew() {
    let double = Double::start();
    // One layer: of two that are fetched side by side one would use up what the other has bought.
    image(&double, "team/app", "latest", &[tar("a", b"1")]);
    double.state().auth = Auth::Bearer { user: None, uses: 1 };
    pull(&double, Credentials::Anonymous).await.unwrap();
    let bought = double.take_log().iter().filter(|line| line.starts_with("GET /token")).count();
    assert_eq!(bought, 3);
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let double = with_auth(bearer(None));
    let error = pull(&double, Credentials::Bearer { token: "mine".into() }).await.unwrap_err();
    assert_eq!(error, (Kind::Unauthorized, "unauthorized: authentication required".into()));
    let state = double.state();
    assert!(state.log.iter().all(|seen| seen.header("authorization") == Some("Bearer mine")));
}

#[tokio::test]
async fn basic_is_answered_where_it_is_asked_for() {
    let double = with_auth(Auth::Basic { user: "me", password: "secret" });
    pull(&double, me()).await.unwrap();
    let url = format!("http://{}/v2/team/app/manifests/latest", double.host());
    let words = format!("Get \"{url}\": no basic auth credentials");
    assert_eq!(pull(&double, Credentials::Anonymous).await.unwrap_err(), (Kind::Unauthorized, words));
    let wrong = Credentials::Basic { user: "me".into(), password: "wrong".into() };
    assert_eq!(
        pull(&double, wrong).await.unwrap_err(),
        (Kind::Unauthorized, "unauthorized: authentication required".into())
    );
}

#[tokio::test]
async fn what_is_denied_may_as_well_not_exist() {
    let double = with_auth(bearer(None));
    let scope = r#"Bearer realm="http://HOST/token",service="double",error="insufficient_scope""#;
    let headers = vec![("www-authenticate", scope.replace("HOST", &double.host()))];
    double.fault("GET /v2/team/app/manifests/", 2, Effect::Answer(401, headers, Vec::new()));
    let words = format!(
        "pull access denied for {}/team/app, repository does not exist or may require 'docker login': denied: requested \
         access to the resource is denied",
        double.host()
    );
    assert_eq!(pull(&double, Credentials::Anonymous).await.unwrap_err(), (Kind::NotFound, words));
}

#[tokio::test]
async fn scopes_that_a_registry_names_itself_are_asked_for_too() {
    let double = with_auth(bearer(None));
    let challenge =
        r#"Bearer realm="http://HOST/token",service="double",scope="repository:cache/team/app:pull""#;
    let headers = vec![("www-authenticate", challenge.replace("HOST", &double.host()))];
    double.fault("GET /v2/team/app/manifests/", 1, Effect::Answer(401, headers, Vec::new()));
    pull(&double, Credentials::Anonymous).await.unwrap();
    let log = double.take_log();
    assert_eq!(
        log[1],
        "GET /token?service=double&scope=repository%3Acache%2Fteam%2Fapp%3Apull&scope=repository%3Ateam%2Fapp%3Apull"
    );
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_no_credentials() {
    let double = with_auth(bearer(Some(("me", "secret"))));
    let storage = Double::start();
    let made = image(&storage, "team/app", "latest", &[tar("a", b"1"), tar("b", b"2")]);
    for layer in &made.layers {
        let path = format!("/v2/team/app/blobs/{}", layer.digest);
        let to = vec![("location", format!("http://{}{path}", storage.host()))];
        double.fault(&format!("GET {path}"), 1, Effect::Answer(307, to, Vec::new()));
        // And what is cut there goes on, by way of the registry.
        storage.fault(&format!("GET {path}"), 1, Effect::Cut(10));
    }
    pull(&double, me()).await.unwrap();
    let state = storage.state();
    assert_eq!(state.log.len(), 2);
    assert!(state.log.iter().all(|seen| seen.header("authorization").is_none()), "{:?}", state.log);
}

#[tokio::test]
async fn mirrors_come_first_and_what_they_lack_comes_from_the_origin() {
    let (origin, mirror) = (Double::start(), Double::start());
    let made = image(&origin, "library/app", "latest", &[tar("a", b"1")]);
    origin.state().auth = Auth::Basic { user: "me", password: "secret" };
    let mirrors = vec![format!("http://{}", mirror.host())];
    let registries = Registries::new(registry::client::Config { mirrors, ..docker_io(&origin) }).unwrap();
    let pull = async || {
        let (_folder, store) = store();
        let wanted = Pull { credentials: me(), ..wanted(&name("app")) };
        pull_with(&registries, &store, &wanted).await.0
    };
    // A rule's location has credentials of its own: the user's are for docker.io.
    let error = pull().await.unwrap_err();
    assert!(error.to_string().ends_with("no basic auth credentials"), "{error}");
    origin.state().auth = Auth::Open;
    assert_eq!(pull().await.unwrap()[0].id, made.id);
    assert_eq!(mirror.take_log(), ["GET /v2/library/app/manifests/latest"; 2]);
    image(&mirror, "library/app", "latest", &[tar("a", b"1")]);
    origin.take_log();
    assert_eq!(pull().await.unwrap()[0].id, made.id);
    assert_eq!(origin.take_log(), Vec::<String>::new());
    assert!(mirror.state().log.iter().all(|seen| seen.header("authorization").is_none()));
    // A mirror that breaks in the middle.
    mirror.fault("GET /v2/library/app/blobs/", 9, Effect::Cut(0));
    assert_eq!(pull().await.unwrap()[0].id, made.id);
}

#[tokio::test]
async fn rules_give_any_registry_mirrors_with_credentials_of_their_own() {
    let (origin, mirror) = (Double::start(), Double::start());
    let made = image(&mirror, "cache/team/app", "latest", &[tar("a", b"1")]);
    mirror.state().auth = Auth::Basic { user: "me", password: "secret" };
    let rule = Rule {
        prefix: format!("{}/team", origin.host()),
        mirrors: vec![Mirror { location: format!("http://{}/cache/team", mirror.host()), credentials: me() }],
        ..Rule::default()
    };
    let registries = Registries::new(registry::client::Config { rules: vec![rule], ..config() }).unwrap();
    let (_folder, store) = store();
    let pulled = pull_with(&registries, &store, &wanted(&at(&origin, "team/app"))).await.0.unwrap().remove(0);
    assert_eq!((pulled.id, pulled.reference), (made.id, at(&origin, "team/app:latest")));
    assert_eq!(origin.take_log(), Vec::<String>::new());
}

#[tokio::test]
async fn blocked_names_are_refused_before_anybody_is_asked() {
    let double = with_auth(Auth::Open);
    let rule = Rule { prefix: double.host(), blocked: true, ..Rule::default() };
    let registries = Registries::new(registry::client::Config { rules: vec![rule], ..config() }).unwrap();
    let (_folder, store) = store();
    let error = pull_with(&registries, &store, &wanted(&at(&double, "team/app"))).await.0.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
    assert_eq!(double.take_log(), Vec::<String>::new());
}

#[tokio::test]
async fn login_checks_and_answers_an_identity_token() {
    let check = async |auth: Auth, credentials: Credentials| {
        let double = with_auth(auth);
        let wanted = Login { server: format!("http://{}/v1/", double.host()), credentials };
        let result = login(&registries(), &wanted).await;
        result.map_err(|error| (error.kind(), error.to_string().replace(&double.host(), "HOST")))
    };
    assert_eq!(check(Auth::Open, me()).await.unwrap(), "");
    assert_eq!(check(Auth::Basic { user: "me", password: "secret" }, me()).await.unwrap(), "");
    assert_eq!(check(bearer(Some(("me", "secret"))), me()).await.unwrap(), "identity");
    assert_eq!(
        check(bearer(Some(("me", "secret"))), Credentials::Identity { token: "identity".into() })
            .await
            .unwrap(),
        ""
    );
    assert_eq!(
        check(Auth::Basic { user: "me", password: "other" }, me()).await.unwrap_err(),
        (Kind::Unauthorized, "login attempt to http://HOST/v2/ failed with status: 401 Unauthorized".into())
    );
    assert_eq!(
        check(bearer(Some(("me", "other"))), me()).await.unwrap_err(),
        (Kind::Unauthorized, "Get \"http://HOST/v2/\": unauthorized: incorrect username or password".into())
    );
}

#[tokio::test]
async fn a_redirect_s_target_cannot_send_credentials_to_a_token_server_of_its_own() {
    let double = with_auth(Auth::Open);
    let (evil, thief) = (Double::start(), Double::start());
    let to = vec![("location", format!("http://{}/elsewhere", evil.host()))];
    double.fault("GET /v2/team/app/blobs/", 9, Effect::Answer(307, to.clone(), Vec::new()));
    double.fault("GET /v2/", 9, Effect::Answer(307, to, Vec::new()));
    let challenge = format!(r#"Bearer realm="http://{}/token",service="x""#, thief.host());
    evil.fault("GET ", 9, Effect::Answer(401, vec![("www-authenticate", challenge)], Vec::new()));
    pull(&double, me()).await.unwrap_err();
    login(&registries(), &Login { server: double.host(), credentials: me() }).await.unwrap_err();
    assert_eq!(thief.take_log(), Vec::<String>::new());
    assert!(evil.state().log.iter().all(|seen| seen.header("authorization").is_none()));
}
