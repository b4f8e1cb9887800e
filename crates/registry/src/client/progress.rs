//! What a pull or push is doing, as data; Docker's words are its `Display`.

use std::fmt;
use std::time::Duration;

use oci::{Descriptor, Digest};

/// One step. The id is a layer's (short), or the tag, or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub id: String,
    pub action: Action,
}

/// Takes progress. It is called from several threads and must not block: whoever has a slow listener may leave out
/// [`Action::Downloading`], [`Action::Extracting`] and [`Action::Pushing`], which come again; all others come once.
pub type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// What is being done. `to_string()` is the `status` that dockerd sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Id: the tag or digest. The repository without its registry: `library/busybox`.
    PullingFrom(String),
    /// Id, here and below: the first twelve digits of the layer's blob.
    PullingLayer,
    Waiting,
    Downloading(Amount),
    VerifyingChecksum,
    DownloadComplete,
    Extracting(Amount),
    PullComplete,
    AlreadyExists,
    /// In whole seconds; counted down once a second. Of pushes too.
    Retrying(Duration),
    /// Id: empty, here and for the next three.
    Digest(Digest),
    /// The name as it was asked for, in its familiar form.
    Downloaded(String),
    UpToDate(String),
    /// The image is for another platform than was asked for.
    Warning(String),

    /// Id: empty. The canonical name of the repository.
    PushRefersTo(String),
    /// Id, here and below: the first twelve digits of the layer's diffID.
    Preparing,
    Pushing(Amount),
    Pushed,
    LayerAlreadyExists,
    /// The other repository without its registry.
    MountedFrom(String),
    /// Id: empty. dockerd lets `{"progressDetail":{},"aux":{"Tag":…,"Digest":…,"Size":…}}` follow.
    PushedManifest {
        tag: String,
        digest: Digest,
        size: u64,
    },
    /// Id: empty. What spoke for a manifest and was not there yet went along with it.
    PushedSignatures {
        digest: Digest,
        count: usize,
    },
    /// Not all that the index names is here, so only one of its images was pushed. dockerd tells it as `aux` alone:
    /// `{"manifestPushedInsteadOfIndex":true,"originalIndex":…,"selectedManifest":…}`.
    PushedInstead {
        index: Box<Descriptor>,
        manifest: Box<Descriptor>,
    },
}

/// Bytes done, of all; zero when that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub current: u64,
    pub total: u64,
}

impl Action {
    /// The content of `progressDetail`: `None` where dockerd leaves the field out, zeros where it writes `{}`.
    pub fn detail(&self) -> Option<Amount> {
        match self {
            Self::PullingFrom(_)
            | Self::Digest(_)
            | Self::Downloaded(_)
            | Self::UpToDate(_)
            | Self::Warning(_)
            | Self::PushRefersTo(_)
            | Self::PushedManifest { .. }
            | Self::PushedSignatures { .. }
            | Self::PushedInstead { .. } => None,
            Self::Downloading(amount) | Self::Extracting(amount) | Self::Pushing(amount) => Some(*amount),
            _ => Some(Amount::default()),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullingFrom(repository) => write!(out, "Pulling from {repository}"),
            Self::PullingLayer => out.write_str("Pulling fs layer"),
            Self::Waiting => out.write_str("Waiting"),
            Self::Downloading(_) => out.write_str("Downloading"),
            Self::VerifyingChecksum => out.write_str("Verifying Checksum"),
            Self::DownloadComplete => out.write_str("Download complete"),
            Self::Extracting(_) => out.write_str("Extracting"),
            Self::PullComplete => out.write_str("Pull complete"),
            Self::AlreadyExists => out.write_str("Already exists"),
            Self::Retrying(rest) => {
                let seconds = rest.as_secs();
                write!(out, "Retrying in {seconds} second{}", if seconds == 1 { "" } else { "s" })
            }
            Self::Digest(digest) => write!(out, "Digest: {digest}"),
            Self::Downloaded(name) => write!(out, "Status: Downloaded newer image for {name}"),
            Self::UpToDate(name) => write!(out, "Status: Image is up to date for {name}"),
            Self::Warning(words) => write!(out, "WARNING: {words}"),
            Self::PushRefersTo(name) => write!(out, "The push refers to repository [{name}]"),
            Self::Preparing => out.write_str("Preparing"),
            Self::Pushing(_) => out.write_str("Pushing"),
            Self::Pushed => out.write_str("Pushed"),
            Self::LayerAlreadyExists => out.write_str("Layer already exists"),
            Self::MountedFrom(repository) => write!(out, "Mounted from {repository}"),
            Self::PushedSignatures { digest, count } => {
                write!(out, "{digest}: {count} signature{} pushed", if *count == 1 { "" } else { "s" })
            }
            Self::PushedInstead { .. } => Ok(()),
            Self::PushedManifest { tag, digest, size } => write!(out, "{tag}: digest: {digest} size: {size}"),
        }
    }
}
