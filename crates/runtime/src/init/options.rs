//! Mount options by name, as mount(8) and the runtime specification have them.

use fault::{Error, Result};
use sys::mount::{Attributes, Propagation};

/// What the options of one mount ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) bind: bool,
    /// Mounts beneath the source come along.
    pub(super) recursive: bool,
    pub(super) attributes: AttributeChange,
    /// For all mounts beneath too (`rro` and so on).
    pub(super) attributes_beneath: AttributeChange,
    /// In the order given; the flag says: beneath too.
    pub(super) propagation: Vec<(Propagation, bool)>,
    /// For the file system itself: `size=64k`, or a flag.
    pub(super) filesystem: Vec<(String, Option<String>)>,
    /// Begin with what the image has at the place.
    pub(super) copy_up: bool,
    /// Ids are mapped, as the mount says or else as the container's are; the flag says: beneath too.
    pub(super) id_map: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AttributeChange {
    pub(super) set: Attributes,
    pub(super) clear: Attributes,
}

impl AttributeChange {
    /// Later options win over earlier ones.
    fn apply(&mut self, change: Self) {
        self.set = self.set.without(change.clear) | change.set;
        self.clear = self.clear.without(change.set) | change.clear;
    }
}

impl Options {
    /// Fitted to what is mounted. A new file system has nothing beneath, and a clone has its settings already: what only
    /// a new one could take is refused.
    pub(super) fn for_source(mut self, is_new: bool) -> Result<Self> {
        if is_new {
            self.attributes.apply(std::mem::take(&mut self.attributes_beneath));
        } else if let Some((name, _)) = self.filesystem.first() {
            return Err(Error::unsupported(format!("mount option {name:?} of a mount that is not new")));
        } else if self.copy_up {
            return Err(Error::unsupported("mount option \"tmpcopyup\" of a mount that is not new"));
        }
        Ok(self)
    }
}

pub(super) fn parse(texts: &[String]) -> Result<Options> {
    let mut options = Options::default();
    for text in texts {
        take(&mut options, text)?;
    }
    Ok(options)
}

fn take(options: &mut Options, text: &str) -> Result<()> {
    if let Some(change) = attribute(text) {
        options.attributes.apply(change);
        return Ok(());
    }
    // "rw" and "ro" have an r of their own, so the recursive forms are looked for second.
    if let Some(change) = text.strip_prefix('r').and_then(attribute) {
        options.attributes_beneath.apply(change);
        return Ok(());
    }
    if let Some(propagation) = propagation(text) {
        options.propagation.push(propagation);
        return Ok(());
    }
    match text {
        "bind" => options.bind = true,
        "rbind" => (options.bind, options.recursive) = (true, true),
        "defaults" | "" => {}
        "tmpcopyup" => options.copy_up = true,
        "idmap" => options.id_map = Some(false),
        "ridmap" => options.id_map = Some(true),
        _ => options.filesystem.push(match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        }),
    }
    Ok(())
}

fn attribute(name: &str) -> Option<AttributeChange> {
    let set = |set| AttributeChange { set, clear: Attributes::NONE };
    let clear = |clear| AttributeChange { set: Attributes::NONE, clear };
    // mount_setattr(2): a new access time mode needs the old one cleared in the same call.
    let time = |set| AttributeChange { set, clear: Attributes::ACCESS_TIME_MASK };
    Some(match name {
        "ro" => set(Attributes::READ_ONLY),
        "rw" => clear(Attributes::READ_ONLY),
        "nosuid" => set(Attributes::NO_SUID),
        "suid" => clear(Attributes::NO_SUID),
        "nodev" => set(Attributes::NO_DEVICES),
        "dev" => clear(Attributes::NO_DEVICES),
        "noexec" => set(Attributes::NO_EXEC),
        "exec" => clear(Attributes::NO_EXEC),
        "nodiratime" => set(Attributes::NO_FOLDER_ACCESS_TIME),
        "diratime" => clear(Attributes::NO_FOLDER_ACCESS_TIME),
        "noatime" => time(Attributes::NO_ACCESS_TIME),
        "strictatime" => time(Attributes::STRICT_ACCESS_TIME),
        "relatime" | "norelatime" | "atime" | "nostrictatime" => time(Attributes::NONE),
        "nosymfollow" => set(Attributes::NO_SYMLINKS),
        "symfollow" => clear(Attributes::NO_SYMLINKS),
        _ => return None,
    })
}

/// The propagation words of `rootfsPropagation` and of mounts.
pub(super) fn propagation(name: &str) -> Option<(Propagation, bool)> {
    Some(match name {
        "private" => (Propagation::Private, false),
        "rprivate" => (Propagation::Private, true),
        "shared" => (Propagation::Shared, false),
        "rshared" => (Propagation::Shared, true),
        "slave" => (Propagation::Slave, false),
        "rslave" => (Propagation::Slave, true),
        "unbindable" => (Propagation::Unbindable, false),
        "runbindable" => (Propagation::Unbindable, true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Options {
        parse(&text.split(',').map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_bind_mount_of_docker() {
        let options = parsed("rbind,ro,rprivate");
        assert!(options.bind && options.recursive);
        assert_eq!(options.attributes.set, Attributes::READ_ONLY);
        assert_eq!(options.propagation, [(Propagation::Private, true)]);
        assert!(options.filesystem.is_empty());
    }

    #[test]
    fn the_last_word_wins() {
        assert_eq!(parsed("ro,rw").attributes.set, Attributes::NONE);
        assert_eq!(parsed("ro,rw").attributes.clear, Attributes::READ_ONLY);
        let time = parsed("noatime,relatime").attributes;
        assert_eq!((time.set, time.clear), (Attributes::NONE, Attributes::ACCESS_TIME_MASK));
    }

    #[test]
    fn an_r_in_front_means_beneath_too() {
        let options = parsed("rbind,rro,rnosuid");
        assert_eq!(options.attributes, AttributeChange::default());
        assert_eq!(options.attributes_beneath.set, Attributes::READ_ONLY | Attributes::NO_SUID);
    }

    #[test]
    fn a_new_file_system_has_nothing_beneath() {
        let options = parsed("nosuid,rro,rnoexec,size=1").for_source(true).unwrap();
        assert_eq!(options.attributes.set, Attributes::READ_ONLY | Attributes::NO_SUID | Attributes::NO_EXEC);
        assert_eq!(options.attributes_beneath, AttributeChange::default());
    }

    #[test]
    fn what_only_a_new_file_system_takes_is_refused_elsewhere() {
        let message = |text| parsed(text).for_source(false).unwrap_err().to_string();
        assert_eq!(
            message("rbind,size=64k"),
            r#"not supported: mount option "size" of a mount that is not new"#
        );
        assert_eq!(
            message("bind,tmpcopyup"),
            r#"not supported: mount option "tmpcopyup" of a mount that is not new"#
        );
        assert!(parsed("rbind,rprivate,rro,nosuid").for_source(false).is_ok());
    }

    #[test]
    fn the_rest_is_for_the_file_system() {
        let options = parsed("nosuid,noexec,newinstance,mode=0620,gid=5");
        let expected = [("newinstance", None), ("mode", Some("0620")), ("gid", Some("5"))];
        let found: Vec<_> = options.filesystem.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        assert_eq!(found, expected);
    }
}
