//! What is mounted into a container beyond the defaults: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's
//! volumes become one list. Pure; nothing is looked up but the containers whose mounts are taken over.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use api::container::Config;
use api::host_config::{self, HostConfig};
use fault::{Doing, Error, Result};

use crate::path::clean;
use crate::record::{Mount, MountKind};

/// What `--volumes-from` found: the mounts of another container, and whether they become read-only.
#[derive(Clone, Debug)]
pub(super) struct Inherited {
    pub(super) mounts: Vec<Mount>,
    pub(super) read_only: Option<bool>,
}

/// What a request says about mounts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) config: &'a Config,
    pub(super) host: &'a HostConfig,
    /// Read-only binds leave what is mounted beneath them writable.
    pub(super) flat: bool,
}

/// One list, one mount a destination; later kinds win over earlier ones as with Docker, twice in one kind is refused.
pub(super) fn plan(asked: &Asked<'_>, inherited: &[Inherited]) -> Result<Vec<Mount>> {
    let Asked { config, host, flat } = *asked;
    let mut planned: BTreeMap<PathBuf, Mount> = BTreeMap::new();
    for source in inherited {
        for mount in &source.mounts {
            let read_only = source.read_only.unwrap_or(mount.read_only);
            let mount = Mount { read_only, anonymous: false, copy: false, ..mount.clone() };
            planned.insert(mount.destination.clone(), mount);
        }
    }
    let mut asked = BTreeMap::new();
    for text in host.binds.iter().flatten() {
        add(&mut asked, bind(text)?)?;
    }
    for wish in &host.mounts {
        add(&mut asked, long(wish)?)?;
    }
    for (destination, options) in &host.tmpfs {
        add(&mut asked, tmpfs(destination, options)?)?;
    }
    for mount in asked.values_mut().filter(|mount| flat && mount.kind == MountKind::Bind) {
        mount.writable_beneath = mount.read_only;
    }
    planned.extend(asked);
    for destination in config.volumes.iter().flatten().map(|(path, _)| path) {
        // Also of `-v v:/v`, which clients take for a drive of Windows. A relative one begins at the root, as with runc.
        let destination = clean(Path::new(destination));
        planned.entry(destination.clone()).or_insert_with(|| anonymous(destination));
    }
    Ok(planned.into_values().collect())
}

fn add(asked: &mut BTreeMap<PathBuf, Mount>, mount: Mount) -> Result<()> {
    let destination = mount.destination.clone();
    match asked.insert(destination.clone(), mount) {
        Some(_) => Err(Error::invalid(format!("Duplicate mount point: {}", destination.display()))),
        None => Ok(()),
    }
}

fn anonymous(destination: PathBuf) -> Mount {
    Mount { kind: MountKind::Volume, destination, anonymous: true, copy: true, ..Mount::default() }
}

/// `[source:]destination[:mode]`
fn bind(text: &str) -> Result<Mount> {
    let wrong = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, mode) = match parts[..] {
        [destination] => ("", destination, ""),
        [source, destination] if destination.starts_with('/') => (source, destination, ""),
        [destination, mode] => ("", destination, mode),
        [source, destination, mode] => (source, destination, mode),
        _ => return Err(wrong()),
    };
    if parts.len() > 1 && source.is_empty() && parts[0].is_empty() {
        return Err(wrong());
    }
    let destination = absolute(destination).map_err(|error| error.doing(wrong().to_string()))?;
    if destination == Path::new("/") {
        return Err(Error::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"{}\": invalid specification: destination can't be '/'",
            if source.starts_with('/') { "bind" } else { "volume" }
        )));
    }
    let mut mount = if source.starts_with('/') {
        Mount {
            kind: MountKind::Bind,
            source: clean(Path::new(source)),
            propagation: "rprivate".into(),
            create_source: true,
            ..Mount::default()
        }
    } else if source.is_empty() {
        anonymous(PathBuf::new())
    } else {
        volume_name(source)?;
        Mount { kind: MountKind::Volume, name: source.into(), copy: true, ..Mount::default() }
    };
    mount.destination = destination;
    mount.mode = mode.to_owned();
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        apply_mode(&mut mount, word).ok_or_else(|| Error::invalid(format!("invalid mode: {mode}")))?;
    }
    Ok(mount)
}

fn apply_mode(mount: &mut Mount, word: &str) -> Option<()> {
    let is_bind = mount.kind == MountKind::Bind;
    match word {
        "ro" => mount.read_only = true,
        "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
        "nocopy" | "volume-nocopy" if !is_bind => mount.copy = false,
        _ if is_bind && PROPAGATIONS.contains(&word) => mount.propagation = word.to_owned(),
        _ => return None,
    }
    Some(())
}

/// Where a long mount of a container that is planned goes.
pub(super) fn destination(wish: &host_config::Mount) -> PathBuf {
    clean(Path::new(&wish.target))
}

/// `--mount`
fn long(wish: &host_config::Mount) -> Result<Mount> {
    let kind = wish.kind.as_str();
    let config_of =
        |words: String| Error::invalid(format!("invalid mount config for type \"{kind}\": {words}"));
    if wish.target.is_empty() {
        return Err(config_of("field Target must not be empty".into()));
    }
    let destination = absolute(&wish.target).map_err(|error| config_of(error.to_string()))?;
    if destination == Path::new("/") {
        return Err(config_of("invalid specification: destination can't be '/'".into()));
    }
    let mut mount = Mount { destination, read_only: wish.read_only, from_mounts: true, ..Mount::default() };
    match kind {
        "bind" => long_bind(&mut mount, wish, config_of)?,
        "volume" => long_volume(&mut mount, wish, config_of)?,
        "tmpfs" => long_tmpfs(&mut mount, wish, config_of)?,
        "image" | "npipe" | "cluster" => return Err(Error::unsupported(format!("mounts of type {kind}"))),
        _ => return Err(config_of("mount type unknown".into())),
    }
    Ok(mount)
}

fn long_bind(mount: &mut Mount, wish: &host_config::Mount, refuse: impl Fn(String) -> Error) -> Result<()> {
    if wish.source.is_empty() {
        return Err(refuse("field Source must not be empty".into()));
    }
    if !wish.source.starts_with('/') {
        return Err(refuse(format!("invalid mount path: '{}' mount path must be absolute", wish.source)));
    }
    if wish.volume_options.is_some() {
        return Err(refuse("field VolumeOptions must not be specified".into()));
    }
    let options = wish.bind_options.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
        return Err(refuse(format!("invalid propagation mode: {}", options.propagation)));
    }
    read_only_options(wish.read_only, &options)?;
    mount.kind = MountKind::Bind;
    mount.writable_beneath = options.read_only_non_recursive;
    mount.source = clean(Path::new(&wish.source));
    mount.propagation = if options.propagation.is_empty() { "rprivate".into() } else { options.propagation };
    mount.non_recursive = options.non_recursive;
    mount.create_source = options.create_mountpoint;
    Ok(())
}

/// How far read-only goes. dockerd looks at these at the start, when the container is there already.
fn read_only_options(read_only: bool, options: &host_config::BindOptions) -> Result<()> {
    let (flat, deep) = (options.read_only_non_recursive, options.read_only_force_recursive);
    let table = [
        (!read_only && flat, "!ReadOnly && BindOptions.ReadOnlyNonRecursive"),
        (!read_only && deep, "!ReadOnly && BindOptions.ReadOnlyForceRecursive"),
        (flat && deep, "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
    ];
    match table.iter().find(|(conflict, _)| *conflict) {
        Some((_, what)) => Err(Error::invalid(format!("mount options conflict: {what}"))),
        None => Ok(()),
    }
}

fn long_volume(mount: &mut Mount, wish: &host_config::Mount, refuse: impl Fn(String) -> Error) -> Result<()> {
    if wish.bind_options.is_some() {
        return Err(refuse("field BindOptions must not be specified".into()));
    }
    if wish.source.is_empty() && wish.read_only {
        return Err(refuse("must not set ReadOnly mode when using anonymous volumes".into()));
    }
    let options = wish.volume_options.clone().unwrap_or_default();
    if !options.subpath.is_empty() && wish.source.is_empty() {
        return Err(refuse("must not set Subpath when using anonymous volumes".into()));
    }
    if !stays_inside(Path::new(&options.subpath)) {
        return Err(refuse("subpath must be a relative path within the volume".into()));
    }
    let driver = options.driver_config.unwrap_or_default();
    if !matches!(driver.name.as_str(), "" | "local") {
        return Err(Error::unsupported(format!("volume driver {}", driver.name)));
    }
    if !wish.source.is_empty() {
        volume_name(&wish.source)?;
    }
    mount.kind = MountKind::Volume;
    mount.name.clone_from(&wish.source);
    mount.anonymous = wish.source.is_empty();
    mount.copy = !options.no_copy;
    mount.subpath = options.subpath;
    Ok(())
}

/// Go's `filepath.IsLocal`, links unseen.
fn stays_inside(path: &Path) -> bool {
    let mut depth = 0_i64;
    path.components().all(|part| {
        depth += match part {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            _ => 0,
        };
        depth >= 0 && part != Component::RootDir
    })
}

fn long_tmpfs(mount: &mut Mount, wish: &host_config::Mount, refuse: impl Fn(String) -> Error) -> Result<()> {
    if !wish.source.is_empty() {
        return Err(refuse("field Source must not be specified".into()));
    }
    let options = wish.tmpfs_options.clone().unwrap_or_default();
    mount.kind = MountKind::Tmpfs;
    mount.options = TMPFS_OPTIONS.iter().map(|option| (*option).to_owned()).collect();
    if wish.read_only {
        mount.options.push("ro".into());
    }
    if options.size_bytes > 0 {
        mount.options.push(format!("size={}", options.size_bytes));
    }
    if options.mode != 0 {
        mount.options.push(format!("mode={:o}", options.mode));
    }
    mount.options.extend(options.options.into_iter().flatten().map(|words| words.join("=")));
    Ok(())
}

/// `--tmpfs destination[:options]`
fn tmpfs(destination: &str, options: &str) -> Result<Mount> {
    let mut all: Vec<String> = TMPFS_OPTIONS.iter().map(|option| (*option).to_owned()).collect();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let known = option.split('=').next().is_some_and(|name| TMPFS_KNOWN.contains(&name));
        if !known {
            return Err(Error::invalid(format!("invalid tmpfs option [\"{option}\"]")));
        }
        let opposite = option.strip_prefix("no").map_or(format!("no{option}"), str::to_owned);
        all.retain(|other| *other != opposite);
        all.push(option.to_owned());
    }
    let read_only = all.iter().any(|option| option == "ro");
    let destination = absolute(destination)?;
    if destination == Path::new("/") {
        return Err(Error::invalid("invalid specification: destination can't be '/'"));
    }
    Ok(Mount { kind: MountKind::Tmpfs, destination, options: all, read_only, ..Mount::default() })
}

const TMPFS_OPTIONS: &[&str] = &["noexec", "nosuid", "nodev"];

const TMPFS_KNOWN: &[&str] = &[
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "rw",
    "ro",
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "sync",
    "async",
    "dirsync",
    "mpol",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
];

const PROPAGATIONS: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

fn absolute(text: &str) -> Result<PathBuf> {
    if !text.starts_with('/') {
        return Err(Error::invalid(format!("invalid mount path: '{text}' mount path must be absolute")));
    }
    Ok(clean(Path::new(text)))
}

fn volume_name(name: &str) -> Result<()> {
    crate::volume::check_name(name).doing(|| format!("create {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(json: &str) -> Result<Vec<Mount>> {
        let wanted: api::container::Create = api::from_slice(json.as_bytes()).unwrap();
        plan(&Asked { config: &wanted.config, host: &wanted.host_config, flat: false }, &[])
    }

    fn refused(json: &str) -> String {
        planned(json).unwrap_err().to_string()
    }

    #[test]
    fn all_kinds_become_one_list() {
        let mounts = planned(
            r#"{"Volumes":{"/image":{},"/data":{}},"HostConfig":{
            "Binds":["/src/../src:/bind:ro,rslave","data:/data/","/anon","name:/nocopy:nocopy"],
            "Tmpfs":{"/tmp":"exec,size=10m"},
            "Mounts":[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":10,"Mode":448}},
                      {"Type":"bind","Source":"/x","Target":"/y"},
                      {"Type":"volume","Source":"v1","Target":"/v","ReadOnly":true,"VolumeOptions":{"Subpath":"s"}}]}}"#,
        );
        insta::assert_json_snapshot!(mounts.unwrap());
    }

    /// What clients make of a volume's name of one letter.
    #[test]
    fn an_anonymous_volume_may_have_a_relative_path() {
        let mounts = planned(r#"{"Volumes":{"v:/v":{},"data":{}}}"#).unwrap();
        let places: Vec<_> = mounts.iter().map(|mount| mount.destination.to_str().unwrap()).collect();
        assert_eq!(places, ["/data", "/v:/v"]);
        assert!(mounts.iter().all(|mount| mount.anonymous));
    }

    #[test]
    fn taken_over_mounts_yield_to_own_ones() {
        let theirs = vec![
            Mount { kind: MountKind::Volume, name: "a".into(), destination: "/a".into(), ..Mount::default() },
            Mount { kind: MountKind::Volume, name: "b".into(), destination: "/b".into(), ..Mount::default() },
        ];
        let config: Config = api::from_slice(br#"{"Volumes":{"/b":{}}}"#).unwrap();
        let host = HostConfig { binds: Some(vec!["own:/a".into()]), ..HostConfig::default() };
        let inherited = [Inherited { mounts: theirs, read_only: Some(true) }];
        let mounts = plan(&Asked { config: &config, host: &host, flat: true }, &inherited).unwrap();
        let short: Vec<_> = mounts.iter().map(|mount| (mount.name.as_str(), mount.read_only)).collect();
        assert_eq!(short, [("own", false), ("b", true)]);
    }

    #[test]
    fn read_only_leaves_mounts_beneath_writable_only_if_that_is_asked() {
        let json = r#"{"HostConfig":{"Binds":["/a:/plain:ro","/a:/writable","v1:/volume:ro"],"Mounts":[
            {"Type":"bind","Source":"/a","Target":"/flat","ReadOnly":true,"BindOptions":{"ReadOnlyNonRecursive":true}},
            {"Type":"bind","Source":"/a","Target":"/deep","ReadOnly":true,"BindOptions":{"ReadOnlyForceRecursive":true}}]}}"#;
        let wanted: api::container::Create = api::from_slice(json.as_bytes()).unwrap();
        let writable = |flat: bool| -> Vec<String> {
            let asked = Asked { config: &wanted.config, host: &wanted.host_config, flat };
            let mounts = plan(&asked, &[]).unwrap().into_iter().filter(|mount| mount.writable_beneath);
            mounts.map(|mount| mount.destination.display().to_string()).collect()
        };
        assert_eq!(writable(false), ["/flat"]);
        assert_eq!(writable(true), ["/deep", "/flat", "/plain"]);
    }

    #[test]
    fn refusals_have_docker_s_words() {
        let binds = |bind: &str| refused(&format!(r#"{{"HostConfig":{{"Binds":["{bind}"]}}}}"#));
        let mount = |mount: &str| refused(&format!(r#"{{"HostConfig":{{"Mounts":[{mount}]}}}}"#));
        let texts = [
            binds("/a:/b:foo"),
            binds("/a:/b:ro:c"),
            binds("a:b"),
            binds("a/b:/c"),
            binds("/a:/"),
            refused(r#"{"HostConfig":{"Binds":["/a:/b","/c:/b"]}}"#),
            refused(r#"{"HostConfig":{"Tmpfs":{"/t":"foo"}}}"#),
            refused(r#"{"HostConfig":{"Tmpfs":{"t":""}}}"#),
            mount(r#"{"Type":"bind","Source":"/a"}"#),
            mount(r#"{"Type":"bind","Target":"/a"}"#),
            mount(r#"{"Type":"bind","Source":"a","Target":"/a"}"#),
            mount(
                r#"{"Type":"bind","Source":"/a","Target":"/a","BindOptions":{"ReadOnlyNonRecursive":true}}"#,
            ),
            mount(
                r#"{"Type":"bind","Source":"/a","Target":"/a","BindOptions":{"ReadOnlyForceRecursive":true}}"#,
            ),
            mount(
                r#"{"Type":"bind","Source":"/a","Target":"/a","ReadOnly":true,"BindOptions":{"ReadOnlyNonRecursive":true,"ReadOnlyForceRecursive":true}}"#,
            ),
            mount(r#"{"Type":"foo","Source":"/a","Target":"/a"}"#),
            mount(r#"{"Type":"image","Source":"a","Target":"/a"}"#),
            mount(r#"{"Type":"volume","Target":"/a","ReadOnly":true}"#),
            mount(r#"{"Type":"volume","Source":"v","Target":"/a"}"#),
            mount(r#"{"Type":"volume","Target":"/a","VolumeOptions":{"Subpath":"a"}}"#),
            mount(r#"{"Type":"volume","Source":"v1","Target":"/a","VolumeOptions":{"Subpath":"/a"}}"#),
            mount(r#"{"Type":"volume","Source":"v1","Target":"/a","VolumeOptions":{"Subpath":"a/../.."}}"#),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
