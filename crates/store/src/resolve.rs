//! From what people type to an image: a name, a name with tag or digest, an id, or the beginning of an id.
//!
//! The order is Docker's: a name wins over the beginning of an id; a beginning that fits several images fits none.

use fault::Result;
use oci::reference::is_image_id;
use oci::{Digest, Reference};

use crate::catalog::Catalog;
use crate::image::no_such_image;
use crate::{ImageId, Store};

impl Store {
    /// `NotFound` with `No such image: foo:latest`; `Invalid` with `invalid reference format`.
    pub fn resolve(&self, text: &str) -> Result<ImageId> {
        resolve(&self.catalog(), text)
    }

    /// The image that has exactly this name.
    pub fn named(&self, name: &Reference) -> Option<ImageId> {
        self.catalog().names.get(&lookup_key(name)).cloned()
    }
}

pub(crate) fn resolve(catalog: &Catalog, text: &str) -> Result<ImageId> {
    if let Some(digest) = whole_id(text) {
        let id = ImageId(digest);
        return if catalog.images.contains_key(&id) { Ok(id) } else { Err(no_such_image(id)) };
    }
    let name = Reference::parse(text)?;
    if let Some(id) = catalog.names.get(&lookup_key(&name)) {
        return Ok(id.clone());
    }
    by_prefix(catalog, text).ok_or_else(|| no_such_image(name.with_default_tag().familiar()))
}

/// `sha256:` and all digits, or the digits alone.
pub(crate) fn whole_id(text: &str) -> Option<Digest> {
    let digest = if is_image_id(text) { format!("sha256:{text}").parse() } else { text.parse() };
    digest.ok()
}

/// The one image whose id begins so.
pub(crate) fn by_prefix(catalog: &Catalog, text: &str) -> Option<ImageId> {
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    let mut fitting = catalog.images.keys().filter(|id| !prefix.is_empty() && id.0.hex().starts_with(prefix));
    let first = fitting.next()?;
    fitting.next().is_none().then(|| first.clone())
}

/// What the catalog knows a name by: with a digest the tag says nothing.
pub fn lookup_key(name: &Reference) -> Reference {
    match name.digest() {
        Some(digest) => name.with_digest(digest.clone()),
        None => name.clone().with_default_tag(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::{digest, entry};

    /// Three images; two begin alike.
    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for hex in ["abc1", "abc2", "def0"] {
            catalog.add(ImageId(digest(hex)), entry(&[]));
        }
        let name = Reference::parse("abc").unwrap().with_default_tag();
        catalog.tag(name, &ImageId(digest("def0")), "now");
        catalog
    }

    #[test]
    fn finds_by_name_id_and_beginning() {
        let catalog = catalog();
        let check = |text: &str, hex: &str| {
            assert_eq!(resolve(&catalog, text).unwrap(), ImageId(digest(hex)), "{text}");
        };
        check("abc", "def0");
        check("docker.io/library/abc:latest", "def0");
        check("abc1", "abc1");
        check("d", "def0");
        check("sha256:abc2", "abc2");
        check(digest("abc1").as_str(), "abc1");
        check(digest("abc1").hex(), "abc1");
    }

    #[test]
    fn says_what_is_missing_as_docker_does() {
        let catalog = catalog();
        let check =
            |text: &str, words: &str| assert_eq!(resolve(&catalog, text).unwrap_err().to_string(), words);
        check("foo", "No such image: foo:latest");
        check("ghcr.io/a/b:c", "No such image: ghcr.io/a/b:c");
        // Fits two: Docker finds none.
        check("ab", "No such image: ab:latest");
        check("sha256:abc", "No such image: sha256:abc");
        let id = digest("123");
        check(id.as_str(), &format!("No such image: {id}"));
        check(id.hex(), &format!("No such image: {id}"));
        check("Foo", "invalid reference format: repository name (library/Foo) must be lowercase");
        check("", "invalid reference format");
    }
}
