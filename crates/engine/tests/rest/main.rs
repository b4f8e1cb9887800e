//! Images, volumes, networks, files, logs, events and the engine itself, through the engine's public face.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../house/mod.rs"]
mod house;

mod disk;
mod events;
mod files;
mod images;
mod looks;
mod platforms;
mod trust;
mod volumes;

use house::House;

/// Runs a test inside a fresh house, which is torn down afterwards.
fn in_house(test: impl AsyncFnOnce(&House) + Send + 'static) {
    house::in_house(async move |house| {
        test(&house).await;
        house
    });
}
