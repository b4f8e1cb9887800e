//! New file system instances: fsopen(2), fsconfig(2), fsmount(2).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use fault::{Call, Error, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::Attributes;

/// A new file system instance, detached. An option without a value is a flag.
pub fn new_filesystem(
    kind: &str,
    source: Option<&str>,
    options: &[(&str, Option<&str>)],
    attributes: Attributes,
) -> Result<OwnedFd> {
    let context = Context::open(kind)?;
    if let Some(source) = source {
        context.set("source", Some(source))?;
    }
    for (key, value) in options {
        context.set(key, *value)?;
    }
    context.mount(attributes)
}

/// A file system context, fsopen(2).
pub(super) struct Context {
    fd: OwnedFd,
    kind: String,
}

impl Context {
    pub(super) fn open(kind: &str) -> Result<Self> {
        let fd =
            rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(|| format!("fsopen {kind}"))?;
        Ok(Self { fd, kind: kind.to_owned() })
    }

    pub(super) fn set(&self, key: &str, value: Option<&str>) -> Result<()> {
        let result = match value {
            Some(value) => rustix::mount::fsconfig_set_string(self.fd.as_fd(), key, value),
            None => rustix::mount::fsconfig_set_flag(self.fd.as_fd(), key),
        };
        result.map_err(|errno| {
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            self.explain(format!("fsconfig {} {key}{value}", self.kind), errno.into())
        })
    }

    pub(super) fn mount(&self, attributes: Attributes) -> Result<OwnedFd> {
        rustix::mount::fsconfig_create(self.fd.as_fd())
            .map_err(|errno| self.explain(format!("mount {}", self.kind), errno.into()))?;
        let flags = MountAttrFlags::from_bits_retain(attributes.bits() as u32);
        rustix::mount::fsmount(self.fd.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .call(|| format!("fsmount {}", self.kind))
    }

    /// Adds what the file system has to say about the failure: it is read from the context, a line a message.
    fn explain(&self, what: String, error: io::Error) -> Error {
        let mut text = [0; 1024];
        match rustix::io::read(&self.fd, &mut text) {
            Ok(count) if count > 2 => {
                let message = String::from_utf8_lossy(&text[2..count]);
                Error::io(format!("{what} ({})", message.trim_end()), error)
            }
            _ => Error::io(what, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_explains_itself() {
        let error = new_filesystem("tmpfs", None, &[("size", Some("much"))], Attributes::NONE).unwrap_err();
        assert!(error.to_string().starts_with("fsconfig tmpfs size=much ("), "{error}");
    }
}
