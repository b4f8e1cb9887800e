//! The client: pulls images into a store and pushes them out of it.
//!
//! Guarantees: every manifest and every blob has the digest that was asked for; whatever a registry says is bounded
//! before it is held; a future that is dropped ends its network work at once and leaves half-fetched blobs resumable;
//! credentials go to the registry that they were given for and to its token server, to nobody else.
//!
//! ```text
//!   pull, push, resolve, login, search      what Docker's commands need
//!     repository (listing, upload,          manifests, tags, referrers, blobs, signatures of one name
//!       signatures)
//!       speaker (authorization, token)      one place: scheme, challenges, failing answers
//!         exchange                          one request: redirects, patience
//!           dial (names, tls)               one connection: addresses, proxies, TLS
//!   registries                              routes, pools, tokens, limits: shared by everything above
//! ```

mod address;
mod authorization;
mod backoff;
mod challenge;
mod config;
mod credentials;
pub(crate) mod dial;
pub(crate) mod exchange;
mod headers;
mod listing;
mod login;
mod manifest;
mod names;
mod progress;
mod pull;
mod push;
mod refusal;
mod registries;
mod repository;
mod resolve;
pub(crate) mod routes;
mod search;
mod signatures;
pub(crate) mod single;
pub(crate) mod speaker;
mod tls;
mod token;
pub(crate) mod trouble;
mod upload;

use fault::{Error, Result};

pub use config::{Backoff, Config, Mirror, Proxies, Rule};
pub use credentials::Credentials;
pub use login::{Login, login};
pub use progress::{Action, Amount, Progress, Report};
pub use pull::{Pull, Pulled, pull};
pub use push::{Push, Pushed, push};
pub use registries::Registries;
pub use repository::{Access, Key, Manifest, Repository};
pub use resolve::{Resolved, resolve};
pub use search::{Found, Search, search};

/// Readers of foreign bytes, for `fuzz/`.
pub mod foreign {
    pub use super::address::{join, same_place};
    pub use super::challenge::{Challenge, parse as challenges};
    pub use super::headers::{next_page, part_begins, received, retry_after};
    pub use super::names::{Answer, Outcome, Question, read as name_answer};

    /// A registry's manifest, its refusal, and a token server's answer: understood or refused.
    pub fn document(status: u16, content_type: Option<&str>, bytes: &[u8]) {
        let key = super::Key::Tag(String::new());
        let told = super::manifest::Told { content_type, digest: None };
        if let Ok(manifest) = super::Manifest::checked(&key, told, bytes.to_vec()) {
            assert_eq!(manifest.descriptor.digest, oci::Digest::sha256(bytes));
        }
        drop(super::token::Token::read(bytes, std::time::Duration::ZERO));
        let told = challenges(content_type.unwrap_or_default());
        let refusal = super::refusal::Refusal::read(status, &told, bytes);
        drop(fault::Error::from(refusal));
    }
}

/// The store blocks: its finite work goes to the threads that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("work of the image store").with_source(error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: T) {}

    /// Servers drive them on any of their threads; what does not compile here would not there.
    #[test]
    fn futures_go_from_thread_to_thread() {
        let _all: [fn(&Registries, &store::Store, &Repository); 1] = [|registries, store, repository| {
            let (reference, credentials) = ("a".parse().unwrap(), Credentials::Anonymous);
            let policy = std::sync::Arc::default();
            let pulled = Pull { reference, platform: None, all_tags: false, policy, credentials };
            is_send(pull(registries, store, &pulled, &|_| ()));
            is_send(resolve(registries, &pulled.reference, &pulled.credentials));
            let Pull { reference, platform, credentials, .. } = pulled;
            is_send(push(registries, store, &Push { reference, platform, credentials }, &|_| ()));
            let credentials = Credentials::Anonymous;
            is_send(login(registries, &Login { server: String::new(), credentials }));
            let credentials = Credentials::Anonymous;
            is_send(search(registries, &Search { term: String::new(), limit: 1, credentials }));
            is_send(repository.tags());
            is_send(repository.signatures(&oci::Digest::sha256(b"")));
            is_send(repository.sign(&oci::Digest::sha256(b""), &[]));
            is_send(repository.manifest(&Key::Tag(String::new())));
        }];
    }
}
