//! Bearer tokens: who has one may do what it says, and nothing else; signatures of all kinds of keys.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use oci::Digest;
use registry::server::{Config, Server, TokenAccess};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use crate::world::World;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn ed25519() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn by_ed25519(message: &[u8]) -> Vec<u8> {
    ed25519().sign(message).as_ref().to_vec()
}

fn claims(access: &Value) -> Value {
    json!({"iss": "issuer", "sub": "ann", "aud": "ours", "exp": now() + 300, "nbf": now() - 10, "access": access})
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// A world that believes one key in JSON.
fn world(folder: &Path) -> World {
    let key = URL_SAFE_NO_PAD.encode(ed25519().public_key());
    let set = json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "x": key},
        {"kty": "oct", "k": "unused"},
    ]});
    std::fs::write(folder.join("keys.json"), set.to_string()).unwrap();
    World::with(Config {
        tokens: Some(access(Vec::new(), vec![folder.join("keys.json")])),
        ..Config::new(folder)
    })
}

fn access(certificates: Vec<PathBuf>, jwks: Vec<PathBuf>) -> TokenAccess {
    let realm = "https://auth.example/token".to_owned();
    TokenAccess { realm, service: "ours".into(), issuer: "issuer".into(), certificates, jwks }
}

fn ask(world: &World, token: &str, method: &str, path: &str, body: &[u8]) -> (u16, String) {
    let reply = world.ask(method, path, &[("Authorization", &format!("Bearer {token}"))], body);
    (reply.status, reply.header("www-authenticate").to_owned())
}

#[test]
fn a_token_opens_what_it_names() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = world(folder.path());
    let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": "one"});
    let of = |name: &str, actions: &[&str]| {
        token(
            &header,
            &claims(&json!([{"type": "repository", "name": name, "actions": actions}])),
            by_ed25519,
        )
    };
    let digest = Digest::sha256(b"content");
    let push = format!("/v2/team/app/blobs/uploads/?digest={digest}");
    let pull = format!("/v2/team/app/blobs/{digest}");

    let challenge = "Bearer realm=\"https://auth.example/token\",service=\"ours\"";
    let nobody = world.ask("POST", &push, &[], b"content");
    let wanted = format!("{challenge},scope=\"repository:team/app:pull,push\"");
    assert_eq!((nobody.status, nobody.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(nobody.header("www-authenticate"), wanted);
    assert_eq!(world.get("/v2/").header("www-authenticate"), challenge);

    let reader = of("team/app", &["pull"]);
    let refused = ask(&world, &reader, "POST", &push, b"content");
    assert_eq!(refused, (401, format!("{wanted},error=\"insufficient_scope\"")));
    assert_eq!(ask(&world, &of("team/app", &["pull", "push"]), "POST", &push, b"content").0, 201);
    assert_eq!(ask(&world, &reader, "GET", &pull, b"").0, 200);
    assert_eq!(ask(&world, &reader, "GET", "/v2/", b"").0, 200);
    assert_eq!(ask(&world, &of("team/other", &["pull"]), "GET", &pull, b"").0, 401);
    assert_eq!(ask(&world, &reader, "DELETE", &pull, b"").0, 401);
    assert_eq!(ask(&world, &reader, "GET", "/v2/_catalog", b"").0, 401);
    assert_eq!(ask(&world, &of("team/app", &["*"]), "DELETE", &pull, b"").0, 202);
    let all = claims(&json!([{"type": "registry", "name": "catalog", "actions": ["*"]}]));
    assert_eq!(ask(&world, &token(&header, &all, by_ed25519), "GET", "/v2/_catalog", b"").0, 200);
}

#[test]
fn a_blob_is_mounted_only_from_where_the_token_may_read() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let digest = World::new(folder.path()).push_blob("secret", b"content");
    let world = world(folder.path());
    let header = json!({"alg": "EdDSA"});
    let grant =
        |name: &str, action: &str| json!({"type": "repository", "name": name, "actions": ["pull", action]});
    let mine = token(&header, &claims(&json!([grant("mine", "push")])), by_ed25519);
    let both = token(&header, &claims(&json!([grant("mine", "push"), grant("secret", "pull")])), by_ed25519);
    let from = format!("/v2/mine/blobs/uploads/?mount={digest}&from=secret");
    // An upload is offered instead: whoever has the bytes may send them.
    assert_eq!(ask(&world, &mine, "POST", &from, b"").0, 202);
    assert_eq!(ask(&world, &mine, "POST", &format!("/v2/mine/blobs/uploads/?mount={digest}"), b"").0, 202);
    assert_eq!(ask(&world, &both, "POST", &from, b"").0, 201);
}

#[test]
fn what_is_wrong_with_a_token_keeps_it_out() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = world(folder.path());
    let (header, good) = (json!({"alg": "EdDSA", "kid": "one"}), claims(&json!(null)));
    let with = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        token(&header, &claims, by_ed25519)
    };
    let enters = |token: &str| ask(&world, token, "GET", "/v2/", b"").0 == 200;
    assert!(enters(&with("aud", json!(["other", "ours"]))));
    assert!(enters(&with("exp", json!(now() - 30))), "clocks differ");
    for (key, value) in [
        ("iss", json!("other")),
        ("aud", json!("other")),
        ("aud", json!(null)),
        ("exp", json!(now() - 100)),
        ("exp", json!(null)),
        ("nbf", json!(now() + 100)),
        ("access", json!("all")),
    ] {
        assert!(!enters(&with(key, value.clone())), "{key}: {value}");
    }
    let unsigned = token(&json!({"alg": "none"}), &good, |_| Vec::new());
    let other_key = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let forged = token(&header, &good, |message| other_key.sign(message).as_ref().to_vec());
    let extended = token(&json!({"alg": "EdDSA", "crit": ["x"]}), &good, by_ed25519);
    let moved = token(&json!({"alg": "RS256", "kid": "one"}), &good, by_ed25519);
    for wrong in [unsigned, forged, extended, moved, "a.b.c".into(), "x".into(), "..".into()] {
        assert_eq!(ask(&world, &wrong, "GET", "/v2/", b"").0, 401, "{wrong}");
    }
}

#[test]
fn keys_come_from_certificates_and_pem_files_too() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let files = vec![data("token-rsa.pub.pem"), data("token-ca.pem")];
    let world = World::with(Config { tokens: Some(access(files, Vec::new())), ..Config::new(folder.path()) });
    let good = claims(&json!([]));
    let enters = |token: &str| ask(&world, token, "GET", "/v2/", b"").0 == 200;
    let random = SystemRandom::new();

    let rsa = RsaKeyPair::from_pkcs8(&std::fs::read(data("token-rsa.pk8")).unwrap()).unwrap();
    let by_rsa = |message: &[u8]| {
        let mut signature = vec![0; rsa.public().modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
        signature
    };
    assert!(enters(&token(&json!({"alg": "RS256"}), &good, by_rsa)));

    let pkcs8 = std::fs::read(data("token-leaf.pk8")).unwrap();
    let leaf = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random).unwrap();
    let by_leaf = |message: &[u8]| leaf.sign(&random, message).unwrap().as_ref().to_vec();
    let chain = STANDARD.encode(std::fs::read(data("token-leaf.der")).unwrap());
    // Vouched for by the authority; without its certificate the key is nobody's.
    assert!(enters(&token(&json!({"alg": "ES256", "x5c": [chain]}), &good, by_leaf)));
    assert!(!enters(&token(&json!({"alg": "ES256"}), &good, by_leaf)));
    assert!(!enters(&token(&json!({"alg": "RS256", "x5c": [chain]}), &good, by_rsa)));
    assert!(!enters(&token(&json!({"alg": "ES256", "x5c": ["AAAA"]}), &good, by_leaf)));

    let bare = folder.path().join("other");
    let no_keys =
        Config { tokens: Some(access(vec![data("token-leaf.der")], Vec::new())), ..Config::new(bare) };
    let error = Server::open(no_keys).unwrap_err().to_string();
    assert!(error.contains("neither a certificate nor a public key"), "{error}");
}
