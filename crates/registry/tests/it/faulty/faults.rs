//! Registries and networks that misbehave: what is cut goes on, what lies is refused, and nothing bad stays.

use fault::Kind;
use registry::client::{Config, Registries};

use crate::faulty::double::{Double, Effect};
use crate::faulty::make::{
    assert_clean, at, config, image, noise, pull_fails, pull_with, pulls, registries, store, tar, wanted,
};

const BLOBS: &str = "GET /v2/app/blobs/";

/// A double with an image of one layer, whose blob is the second that is fetched.
fn with_layer(content: &[u8]) -> (Double, crate::faulty::make::Made, String) {
    let double = Double::start();
    let made = image(&double, "app", "latest", &[tar("a", content)]);
    let layer = format!("{BLOBS}{}", made.layers[0].digest);
    (double, made, layer)
}

fn ranges(double: &Double, layer: &str) -> Vec<Option<String>> {
    let state = double.state();
    let gets = state.log.iter().filter(|seen| seen.line() == layer);
    gets.map(|seen| seen.header("range").map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_cut_blob_goes_on_where_it_was_cut() {
    let content = noise(1000);
    let size = with_layer(&content).1.layers[0].size as usize;
    for at_byte in [0, 1, 5, 6, 7, 100, size - 1] {
        let (double, made, layer) = with_layer(&content);
        double.fault(&layer, 1, Effect::Cut(at_byte));
        let (folder, store) = store();
        assert_eq!(pulls(&store, &at(&double, "app")).await.0.id, made.id);
        let second = (at_byte > 0).then(|| format!("bytes={at_byte}-"));
        assert_eq!(ranges(&double, &layer), [None, second]);
        assert_clean(&folder, &store);
    }
}

#[tokio::test]
async fn several_cuts_and_a_server_that_knows_no_ranges_are_borne() {
    let (double, made, layer) = with_layer(&noise(100_000));
    for cut in [10, 5_000, 20_000] {
        double.fault(&layer, 1, Effect::Cut(cut));
    }
    double.fault(&layer, 1, Effect::IgnoreRange);
    let (folder, store) = store();
    let (pulled, told) = pulls(&store, &at(&double, "app")).await;
    assert_eq!(pulled.id, made.id);
    let from = |bytes: usize| Some(format!("bytes={bytes}-"));
    assert_eq!(ranges(&double, &layer), [None, from(10), from(5_010), from(25_010)]);
    assert_eq!(told.iter().filter(|line| line.ends_with("Verifying Checksum")).count(), 1);
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn a_blob_without_a_length_ends_with_its_connection() {
    let (double, made, layer) = with_layer(&noise(100_000));
    double.fault(&layer, 1, Effect::NoLength);
    let (_folder, store) = store();
    assert_eq!(pulls(&store, &at(&double, "app")).await.0.id, made.id);
}

#[tokio::test]
async fn when_attempts_run_out_the_next_pull_goes_on() {
    let (double, made, layer) = with_layer(&noise(100_000));
    double.fault(&layer, 5, Effect::Cut(1_000));
    let (folder, store) = store();
    let error = pull_fails(&store, &at(&double, "app")).await;
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().ends_with("unexpected EOF"), "{error}");
    double.take_log();
    // Another process.
    drop(store);
    let store = store::Store::open(&folder.path().join("store")).unwrap();
    assert_eq!(pulls(&store, &at(&double, "app")).await.0.id, made.id);
    assert_eq!(ranges(&double, &layer), [Some("bytes=5000-".into())]);
    assert_clean(&folder, &store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_pull_ends_at_once_and_can_be_gone_on_with() {
    let (double, made, layer) = with_layer(&noise(100_000));
    double.fault(&layer, 1, Effect::Hang(30_000));
    let (folder, store) = store();
    let registries = registries();
    let wanted = wanted(&at(&double, "app"));
    let pulling = pull_with(&registries, &store, &wanted);
    let hanging = async {
        // The bytes that were sent have been taken.
        while crate::faulty::make::partial_bytes(&folder) < 30_000 {
            tokio::task::yield_now().await;
        }
    };
    futures_util::future::select(Box::pin(pulling), Box::pin(hanging)).await;
    double.wait_until(|state| state.deserted == 1);
    assert_eq!(store.images().unwrap().len(), 0);
    double.take_log();
    assert_eq!(pull_with(&registries, &store, &wanted).await.0.unwrap()[0].id, made.id);
    assert_eq!(ranges(&double, &layer), [Some("bytes=30000-".into())]);
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn busy_servers_are_asked_again() {
    for (status, headers) in [(503, vec![]), (500, vec![]), (429, vec![("retry-after", "0".to_owned())])] {
        for begins in ["GET /v2/app/manifests/", BLOBS] {
            let (double, made, _) = with_layer(b"1");
            double.fault(begins, 2, Effect::Answer(status, headers.clone(), Vec::new()));
            let (folder, store) = store();
            assert_eq!(pulls(&store, &at(&double, "app")).await.0.id, made.id, "{status} {begins}");
            assert_clean(&folder, &store);
        }
    }
}

#[tokio::test]
async fn who_pulls_too_much_is_told_so_at_once() {
    let (double, ..) = with_layer(b"1");
    let body =
        br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    for headers in [vec![], vec![("retry-after", "3600".to_owned())]] {
        double.fault("GET /v2/app/manifests/", 1, Effect::Answer(429, headers, body.to_vec()));
        let (_folder, store) = store();
        let error = pull_fails(&store, &at(&double, "app")).await;
        assert_eq!(error.to_string(), "toomanyrequests: You have reached your pull rate limit.");
        assert_eq!(double.take_log().len(), 1);
    }
}

#[tokio::test]
async fn retries_are_told_and_end() {
    let (double, _, layer) = with_layer(b"1");
    double.fault(&layer, 9, Effect::Answer(503, vec![], Vec::new()));
    let (_folder, store) = store();
    let registries = Registries::new(Config { attempts_max: 3, ..config() }).unwrap();
    let (pulled, _) = pull_with(&registries, &store, &wanted(&at(&double, "app"))).await;
    assert_eq!(pulled.unwrap_err().to_string(), "received unexpected HTTP status: 503 Service Unavailable");
    assert_eq!(ranges(&double, &layer).len(), 3);
}

#[tokio::test]
async fn a_blob_that_has_not_its_digest_is_refused_and_nothing_stays() {
    let (double, made, layer) = with_layer(&noise(1000));
    double.fault(&layer, 1, Effect::Spoil);
    let (folder, store) = store();
    let error = pull_fails(&store, &at(&double, "app")).await;
    let words = format!("filesystem layer verification failed for digest {}", made.layers[0].digest);
    assert_eq!((error.kind(), error.to_string()), (Kind::Invalid, words));
    assert_clean(&folder, &store);
    assert_eq!(pulls(&store, &at(&double, "app")).await.0.id, made.id);
}

#[tokio::test]
async fn a_rotten_beginning_is_fetched_anew() {
    let (double, made, layer) = with_layer(&noise(1000));
    let (folder, store) = store();
    let partial = folder.path().join("store/partials").join(made.layers[0].digest.hex());
    std::fs::write(partial, [0; 500]).unwrap();
    assert_eq!(pulls(&store, &at(&double, "app")).await.0.id, made.id);
    assert_eq!(ranges(&double, &layer), [Some("bytes=500-".into()), None]);
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn lengths_that_are_not_the_manifest_s_are_refused() {
    let (double, made, layer) = with_layer(&noise(1000));
    let size = made.layers[0].size as usize;
    for length in [size - 1, size + 1] {
        double.fault(&layer, 1, Effect::Length(length));
        let (folder, store) = store();
        let error = pull_fails(&store, &at(&double, "app")).await;
        assert!(error.to_string().ends_with(&format!("has {length} bytes, expected {size}")), "{error}");
        drop((folder, store));
    }
}

#[tokio::test]
async fn manifests_and_configs_have_to_be_those_that_were_asked_for() {
    let (double, made, _) = with_layer(b"1");
    let (folder, store) = store();
    let by_digest = at(&double, "app").with_digest(made.manifest.digest.clone());
    double.fault("GET /v2/app/manifests/", 2, Effect::Spoil);
    for reference in [&by_digest, &at(&double, "app")] {
        let error = pull_fails(&store, reference).await;
        let words = format!("manifest verification failed for digest {}", made.manifest.digest);
        assert_eq!(error.to_string(), words);
    }
    double.fault(&format!("{BLOBS}{}", made.id), 1, Effect::Spoil);
    let error = pull_fails(&store, &by_digest).await;
    let words = format!("error pulling image configuration: blob verification failed for digest {}", made.id);
    assert_eq!(error.to_string(), words);
    assert_clean(&folder, &store);
}

#[tokio::test]
async fn answers_without_end_are_cut_off() {
    let (double, ..) = with_layer(b"1");
    let body = vec![b' '; 9 << 20];
    double.fault("GET /v2/app/manifests/", 1, Effect::Answer(200, vec![], body));
    let (_folder, store) = store();
    let error = pull_fails(&store, &at(&double, "app")).await;
    assert!(error.to_string().contains("the answer has more than"), "{error}");
}

#[tokio::test]
async fn one_bad_layer_fails_the_pull_and_the_good_ones_are_kept_for_the_next() {
    let double = Double::start();
    let made = image(&double, "app", "latest", &[tar("a", &noise(5000)), tar("b", b"2")]);
    let bad = format!("{BLOBS}{}", made.layers[1].digest);
    double.fault(
        &bad,
        1,
        Effect::Answer(
            404,
            vec![],
            br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#.to_vec(),
        ),
    );
    let (folder, store) = store();
    // One at a time, so that the first is through before the second fails.
    let registries = Registries::new(Config { downloads_max: 1, ..config() }).unwrap();
    let wanted = wanted(&at(&double, "app"));
    let order: Vec<_> = {
        let (pulled, told) = pull_with(&registries, &store, &wanted).await;
        assert_eq!(pulled.unwrap_err().to_string(), "blob unknown: blob unknown to registry");
        told.into_iter().filter(|line| line.ends_with("Pull complete")).collect()
    };
    double.take_log();
    pull_with(&registries, &store, &wanted).await.0.unwrap();
    let fetched =
        double.take_log().into_iter().filter(|line| line.contains(made.layers[0].digest.as_str())).count();
    assert_eq!(fetched, if order.is_empty() { 1 } else { 0 });
    assert_clean(&folder, &store);
}
