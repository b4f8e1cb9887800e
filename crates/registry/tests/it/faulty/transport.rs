//! How registries are reached: TLS, plain HTTP, proxies, nobody at home.

use std::net::TcpListener;

use fault::Kind;
use registry::client::{Config, Proxies, Registries};

use crate::faulty::certificates::self_signed;
use crate::faulty::double::Double;
use crate::faulty::make::{config, image, name, pull_fails, pull_with, pulls, store, tar, wanted};

#[tokio::test]
async fn a_registry_of_this_machine_needs_no_valid_certificate() {
    let double = Double::start_with(Some(std::sync::Arc::clone(&self_signed().server)));
    let made = image(&double, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    for host in [double.host(), format!("localhost:{}", double.address.port())] {
        assert_eq!(pulls(&store, &name(&format!("{host}/app"))).await.0.id, made.id);
    }
}

#[tokio::test]
async fn plain_http_is_found_out_once() {
    let double = Double::start();
    let made = image(&double, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let host = format!("localhost:{}", double.address.port());
    assert_eq!(pulls(&store, &name(&format!("{host}/app"))).await.0.id, made.id);
}

#[tokio::test]
async fn nobody_at_home_is_said_as_go_says_it() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_folder, store) = store();
    let error = pull_fails(&store, &name(&format!("{address}/app"))).await;
    let words = format!("Get \"http://{address}/v2/\": dial tcp {address}: connect: connection refused");
    assert_eq!((error.kind(), error.to_string()), (Kind::Unavailable, words));
}

fn proxied(proxy: &Double, insecure: &[&str]) -> Registries {
    let address = Some(format!("http://me:secret@{}", proxy.host()));
    Registries::new(Config {
        proxies: Proxies { http: address.clone(), https: address, none: "direct.test,10.0.0.0/8".into() },
        insecure: insecure.iter().map(|host| (*host).into()).collect(),
        ..config()
    })
    .unwrap()
}

#[tokio::test]
async fn a_proxy_tunnels_tls() {
    let proxy = Double::start();
    let made = image(&proxy, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let registries = proxied(&proxy, &["far.test:5000"]);
    let (pulled, _) = pull_with(&registries, &store, &wanted(&name("far.test:5000/app"))).await;
    assert_eq!(pulled.unwrap()[0].id, made.id);
    let state = proxy.state();
    assert_eq!(state.log[0].line(), "CONNECT far.test:5000");
    assert_eq!(state.log[0].header("proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
    assert!(state.log[1..].iter().all(|seen| seen.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn a_certificate_that_nobody_known_has_signed_is_refused() {
    let proxy = Double::start();
    image(&proxy, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let (pulled, _) = pull_with(&proxied(&proxy, &[]), &store, &wanted(&name("far.test:5000/app"))).await;
    assert_eq!(
        pulled.unwrap_err().to_string(),
        "Get \"https://far.test:5000/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    // And no request came as far as the registry.
    assert_eq!(proxy.take_log(), ["CONNECT far.test:5000"]);
}

#[tokio::test]
async fn a_proxy_passes_plain_http_on() {
    let proxy = Double::start();
    let made = image(&proxy, "app", "latest", &[tar("a", b"1")]);
    // It does not tunnel.
    proxy.fault("CONNECT ", 9, crate::faulty::double::Effect::Answer(405, vec![], Vec::new()));
    let (_folder, store) = store();
    let registries = proxied(&proxy, &["far.test:5000"]);
    let (pulled, _) = pull_with(&registries, &store, &wanted(&name("far.test:5000/app"))).await;
    assert_eq!(pulled.unwrap()[0].id, made.id);
    let state = proxy.state();
    let plain = state.log.iter().find(|seen| seen.method == "GET").unwrap();
    assert_eq!(plain.target, "http://far.test:5000/v2/app/manifests/latest");
    assert_eq!(plain.header("proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
}

#[tokio::test]
async fn this_machine_and_what_is_listed_is_reached_without_a_proxy() {
    let (proxy, double) = (Double::start(), Double::start());
    let made = image(&double, "app", "latest", &[tar("a", b"1")]);
    let (_folder, store) = store();
    let registries = proxied(&proxy, &[]);
    let (pulled, _) = pull_with(&registries, &store, &wanted(&name(&format!("{}/app", double.host())))).await;
    assert_eq!(pulled.unwrap()[0].id, made.id);
    let (pulled, _) = pull_with(&registries, &store, &wanted(&name("direct.test/app"))).await;
    assert!(pulled.unwrap_err().to_string().contains("dial tcp: lookup direct.test"));
    assert_eq!(proxy.take_log(), Vec::<String>::new());
}
