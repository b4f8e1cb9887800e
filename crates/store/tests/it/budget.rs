//! A bound on the room of images: what goes, what stays.

use store::{ImageId, User};

use crate::make::{import, reopen, store, tar};

fn no_users(_: &ImageId) -> Vec<User> {
    Vec::new()
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
    store.keep_within(30_000, &no_users).unwrap();
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
    store.keep_within(0, &in_use).unwrap();
    assert!(!store.has_image(&one) && store.has_image(&two) && store.has_image(&three));
    assert!(store.image(&two).unwrap().pinned);
}

#[test]
fn within_the_bound_nothing_goes() {
    let (_folder, store) = store();
    let ids = three(&store);
    assert!(store.keep_within(1 << 30, &no_users).unwrap().is_empty());
    assert!(ids.iter().all(|id| store.has_image(id)));
}
