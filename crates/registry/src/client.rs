//! The client: pulls images into a store and pushes them out of it.
//!
//! Guarantees: every manifest and every blob has the digest that was asked for; whatever a registry says is bounded
//! before it is held; a future that is dropped ends its network work at once and leaves half-fetched blobs resumable;
//! credentials go to the registry that they were given for and to its token server, to nobody else.
//!
//! ```text
//! pull, push, resolve, login, search      what Docker's commands need
//!   repository                            manifests, tags, referrers, blobs of one name
//!     registries                          routes, pools, tokens, limits: shared by everything above
//! ```

mod config;
mod credentials;
mod login;
mod progress;
mod pull;
mod push;
mod registries;
mod repository;
mod resolve;
mod search;

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
