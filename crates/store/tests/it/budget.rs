//! A bound on the room of images: what goes, what stays.

use std::time::Duration;

use store::{Budget, ImageId, User};

use crate::make::{import, reopen, store, tar};

fn no_users(_: &ImageId) -> Vec<User> {
    Vec::new()
}

/// Nobody is spared for having been used just now.
fn room(bytes_max: u64) -> Budget {
    Budget { bytes_max, spared_for: Duration::ZERO }
}

/// Three images of some 12,000 bytes that share nothing.
fn three(store: &store::Store) -> [ImageId; 3] {
    ["one", "two", "three"].map(|name| import(store, &tar(&[(name, &[1; 5000])]), name))
}

#[test]
fn the_longest_unused_goes_with_all_its_names() {
    let (_folder, store) = store();
    let [one, two, three] = three(&store);
    store.tag(&two, &crate::make::name("two:again")).unwrap();
    store.used(&one);
    store.used(&three);
    // Room for two of them.
    store.keep_within(&room(30_000), &no_users).unwrap();
    assert!(store.has_image(&one) && !store.has_image(&two) && store.has_image(&three));
    assert!(store.verify().unwrap().is_empty());
}

#[test]
fn a_pinned_image_and_one_in_use_stay() {
    let (folder, store) = store();
    let [one, two, three] = three(&store);
    store.pin(&two, true).unwrap();
    drop(store);
    let store = reopen(folder.path());
    let user = || User { container: "c".repeat(64), running: false };
    let in_use = |id: &ImageId| if *id == three { vec![user()] } else { Vec::new() };
    store.keep_within(&room(0), &in_use).unwrap();
    assert!(!store.has_image(&one) && store.has_image(&two) && store.has_image(&three));
    assert!(store.image(&two).unwrap().pinned);
}

#[test]
fn within_the_bound_nothing_goes() {
    let (_folder, store) = store();
    let ids = three(&store);
    assert!(store.keep_within(&room(1 << 30), &no_users).unwrap().is_empty());
    assert!(ids.iter().all(|id| store.has_image(id)));
}

#[test]
fn what_was_used_just_now_is_spared() {
    let (_folder, store) = store();
    let ids = three(&store);
    let budget = Budget { bytes_max: 0, spared_for: Duration::from_secs(60) };
    assert!(store.keep_within(&budget, &no_users).unwrap().is_empty());
    assert!(ids.iter().all(|id| store.has_image(id)));
}

#[test]
fn a_use_outlives_the_store_once_it_was_swept() {
    let (folder, store) = store();
    let [one, two, three] = three(&store);
    store.used(&one);
    store.sweep().unwrap();
    drop(store);
    let store = reopen(folder.path());
    store.keep_within(&room(15_000), &no_users).unwrap();
    assert!(store.has_image(&one) && !store.has_image(&two) && !store.has_image(&three));
}
