//! Images that are here under a policy: who may be made into a container.

use api::filters::Filters;
use api::image::ListOptions;
use engine::{image, trust as verbs};
use fault::Kind;
use oci::Digest;
use store::Signed;
use trust::{Policy, PrivateKey, Signature};

use crate::house::House;
use crate::{house, in_house};

fn policy(rules: &str, key: &PrivateKey) -> Policy {
    let text = format!(r#"{{"version":1,"rules":[{rules}]}}"#);
    Policy::parse(&text, &mut |_| Ok(key.public().to_pem())).unwrap()
}

const SIGNED: &str = r#"{"prefix":"a.example/prod","require":"signature","keys":["k"]}"#;

impl House {
    async fn named(&self, name: &str) -> fault::Result<String> {
        self.try_create(None, &serde_json::json!({ "Image": name }).to_string()).await
    }

    async fn refused(&self, name: &str) -> String {
        let error = self.named(name).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        assert!(self.engine.containers().all().is_empty());
        error.to_string()
    }

    /// What a pull would have found: signatures of the image's manifest.
    async fn vouch(&self, name: &str, key: &PrivateKey) -> Digest {
        let (store, name) = (self.engine.store().clone(), name.parse().unwrap());
        let signed = move |key: &PrivateKey| {
            let id = store.named(&name).unwrap();
            let digest = store.image(&id).unwrap().manifest.digest;
            let signatures = Signature::create(key, &name, &digest).unwrap().to_vec();
            store.vouch(&name, &Signed { digests: vec![digest.clone()], signatures }).unwrap();
            digest
        };
        tokio::task::block_in_place(|| signed(key))
    }
}

#[test]
fn a_tagged_image_needs_the_signatures_that_its_name_asks_for() {
    in_house(async |house| {
        let (engine, key) = (&house.engine, PrivateKey::generate().unwrap());
        image::tag(engine, "busybox", &"a.example/prod/app:1".parse().unwrap()).await.unwrap();
        engine.set_policy(policy(SIGNED, &key));
        let words = house.refused("a.example/prod/app:1").await;
        assert_eq!(
            words,
            "image a.example/prod/app:1: not signed, and the policy asks for a signature\n\
             hint: signatures come with a `pull` of the name that was signed"
        );
        // By its id an image has to do for all its names; by another name for that one alone.
        let id = image::inspect(engine, "busybox").await.unwrap().id;
        assert!(house.refused(&id).await.contains("a.example/prod/app:1: not signed"));
        let made = house.named("busybox").await.unwrap();
        engine::container::remove(engine, &made, api::container::Remove::default()).await.unwrap();

        house.vouch("busybox", &PrivateKey::generate().unwrap()).await;
        let words = house.refused("a.example/prod/app:1").await;
        assert!(words.ends_with("signed, but by none of the keys that the policy accepts"), "{words}");
        house.vouch("busybox", &key).await;
        for name in ["a.example/prod/app:1", &id] {
            let made = house.named(name).await.unwrap();
            engine::container::remove(engine, &made, api::container::Remove::default()).await.unwrap();
        }
        // Keys come and go: what was accepted yesterday is judged anew.
        engine.set_policy(policy(SIGNED, &PrivateKey::generate().unwrap()));
        assert!(house.refused("a.example/prod/app:1").await.contains("none of the keys"));
    });
}

#[test]
fn a_policy_for_everything_pins_and_rejects() {
    in_house(async |house| {
        let (engine, key) = (&house.engine, PrivateKey::generate().unwrap());
        engine.set_policy(policy(r#"{"prefix":"","require":"digest"}"#, &key));
        assert!(house.refused("busybox").await.contains("is not named by its digest"));
        let id = image::inspect(engine, "busybox").await.unwrap().id;
        let made = house.named(&id).await.unwrap();
        engine::container::remove(engine, &made, api::container::Remove::default()).await.unwrap();
        engine.set_policy(policy(r#"{"prefix":"","require":"reject","reason":"closed"}"#, &key));
        assert_eq!(house.refused(&id).await, "image busybox:latest is rejected by the policy: closed");
    });
}

#[test]
fn what_speaks_for_an_image_is_shown_and_outlives_the_engine() {
    house::in_house(async move |house| {
        let key = PrivateKey::generate().unwrap();
        let shown = async |house: &House| image::inspect(&house.engine, "busybox").await.unwrap().trust;
        assert_eq!(shown(&house).await, None);
        let digest = house.vouch("busybox", &key).await;
        let rule = policy(r#"{"prefix":"docker.io","require":"signature","keys":["k"]}"#, &key);
        let house = house.reopen_with(|config| config.policy = rule).await;
        let trust = shown(&house).await.unwrap();
        assert_eq!(trust.verdict, "signed");
        let fingerprint = key.public().fingerprint().to_string();
        for vouched in &trust.signatures {
            assert_eq!((vouched.digest.as_str(), &vouched.key), (digest.as_str(), &fingerprint));
        }
        assert_eq!(trust.signatures[0].repository, "docker.io/library/busybox");
        let options = ListOptions { filters: Filters::default(), ..ListOptions::default() };
        assert_eq!(image::list(&house.engine, options).await.unwrap()[0].trust, "signed");
        assert_eq!(verbs::policy(&house.engine).rules[0].keys, [fingerprint]);
        assert_eq!(verbs::check(&house.engine, "busybox").await.unwrap(), trust);
        house
    });
}

#[test]
fn names_with_digests_are_proofs_and_not_given_away() {
    in_house(async |house| {
        let name = oci::Reference::parse("a.example/app").unwrap().with_digest(Digest::sha256(b"any"));
        let error = image::tag(&house.engine, "busybox", &name).await.unwrap_err();
        assert_eq!(error.to_string(), "refusing to create a tag with a digest reference");
    });
}

const REJECTED: &str = r#"{"prefix":"docker.io/library/busybox","require":"reject","reason":"ticket 7"}"#;
const REJECTION: &str = "image busybox:latest is rejected by the policy: ticket 7";

#[test]
fn no_process_of_a_refused_image_is_begun_and_what_runs_stays() {
    in_house(async |house| {
        let (engine, key) = (&house.engine, PrivateKey::generate().unwrap());
        let id = house.create(r#"{"Image":"busybox:latest","Cmd":["sleep","600"]}"#).await;
        let start = async || engine::container::start(engine, &id).await.map_err(|error| error.to_string());
        engine.set_policy(policy(REJECTED, &key));
        assert_eq!(start().await.unwrap_err(), REJECTION);
        let state = house.inspect(&id).await.state;
        assert_eq!((state.status.as_str(), state.error.as_str()), ("created", REJECTION));
        engine.set_policy(Policy::default());
        start().await.unwrap();
        let pid = house.inspect(&id).await.state.pid;
        engine.set_policy(policy(REJECTED, &key));
        let error = engine::container::restart(engine, &id, Some(0), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().ends_with(REJECTION), "{error}");
        assert_eq!(house.inspect(&id).await.state.pid, pid);
        engine::container::stop(engine, &id, Some(0), None).await.unwrap();
        // The name counts even if it is gone, and means nothing or another image.
        image::tag(engine, "busybox", &"other:1".parse().unwrap()).await.unwrap();
        image::remove(engine, "busybox", false, true, vec![]).await.unwrap();
        assert_eq!(start().await.unwrap_err(), REJECTION);
    });
}

#[test]
fn a_restart_policy_begins_no_refused_image() {
    house::in_house(async move |house| {
        let key = PrivateKey::generate().unwrap();
        let wanted = r#"{"Image":"busybox:latest","Cmd":["sleep","600"],"HostConfig":{"RestartPolicy":{"Name":"always"}}}"#;
        let id = house.create(wanted).await;
        house.start(&id).await;
        let rejected = policy(REJECTED, &key);
        let house = house.reopen_with(|config| config.policy = rejected).await;
        assert_eq!(house.inspect(&id).await.state.status, "running");
        let pid = i32::try_from(house.inspect(&id).await.state.pid).unwrap();
        sys::process::PidFd::open(pid).unwrap().send_signal(sys::signal::SIGKILL).unwrap();
        house::until(async || house.inspect(&id).await.state.status == "exited").await;
        assert_eq!(house.inspect(&id).await.state.error, REJECTION);
        let house = house.reopen().await;
        assert_eq!(house.inspect(&id).await.state.status, "exited");
        let house = house.reopen_with(|config| config.policy = Policy::default()).await;
        house::until(async || house.inspect(&id).await.state.status == "running").await;
        house
    });
}
