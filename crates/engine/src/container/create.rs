//! A creation: one hop of blocking work whose point of no return is a rename.
//!
//! ```text
//! creating.json --> snapshot --> volumes --> rename to record.json, fsync --> known to all
//! ```
//!
//! What happens before the rename is undone, by the failing path and by the next engine alike.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::Path;

use api::container::{Create, Created};
use api::network::EndpointSettings;
use fault::{Call, Error, Kind, Result};
use oci::Platform;
use store::{Image, ImageId, MountOptions};
use sys::fs::OpenHow;

use super::mounts::{self, Inherited};
use super::view::View;
use super::{defaults, discard, merge, ports, removal, task, validate};
use crate::exec::Execs;
use crate::record::{self, MountKind};
use crate::system::Limits;
use crate::volume::{self, Hold, Wish};
use crate::{ContainerId, Engine, Record, id, names, resolve};

pub(super) async fn create(
    engine: &Engine,
    name: Option<String>,
    platform: Option<Platform>,
    wanted: Create,
) -> Result<Created> {
    let work = move |engine: &Engine| create_blocking(engine, name.as_deref(), platform.as_ref(), wanted);
    engine.blocking(work).await
}

fn create_blocking(
    engine: &Engine,
    name: Option<&str>,
    platform: Option<&Platform>,
    mut wanted: Create,
) -> Result<Created> {
    let name = name.filter(|name| !name.is_empty()).map(validate::name).transpose()?;
    let limits = Limits::of_this_machine()?;
    let mut warnings = discard::discard(&mut wanted.host_config.resources, limits);
    validate::create(&wanted, limits)?;
    let image_id = engine.store().resolve_for(&wanted.config.image, platform)?;
    let image = engine.store().image(&image_id)?;
    crate::trust::admit(engine, &wanted.config.image, &image)?;
    let odd_platform = if platform.is_none() { foreign_platform(&image.config.platform()) } else { None };
    let (record, odd) = draft(engine, image, wanted).map_err(not_about_images)?;
    warnings.extend(odd);
    warnings.extend(validate::warnings(&record.config, &record.host_config));
    warnings.extend(odd_platform);
    let record = named(engine, name, record)?;
    // Until the container is known to all by its insertion.
    let held = engine.volumes().hold(&record.id);
    if let Err(error) = make(engine, &record, &image_id, &held) {
        drop(held);
        undo(engine, &record);
        engine.containers().release(&record.name);
        return Err(not_about_images(error));
    }
    let id = record.id.to_string();
    let container = task::spawn(engine, View::of(record), None, Execs::default());
    let view = container.view();
    engine.events().publish_container(&view.record, "create", &[]);
    tracing::info!(container = %id, name = view.record.name, "created");
    Ok(Created { id, warnings })
}

/// What dockerd says of an image that was made for another machine, and that nobody asked for.
fn foreign_platform(found: &Platform) -> Option<String> {
    let host = Platform::host_newest();
    let is_foreign = !found.architecture.is_empty() && host.rank(found).is_none();
    is_foreign.then(|| {
        format!(
            "The requested image's platform ({found}) does not match the detected host platform ({host}) and no specific \
             platform was requested"
        )
    })
}

/// "Not found" makes clients pull the image, so nothing else may be told so.
fn not_about_images(error: Error) -> Error {
    if error.kind() == Kind::NotFound { error.with_kind(Kind::Invalid) } else { error }
}

/// The record, complete but for its name, and what is odd in it. Nothing is changed yet.
fn draft(engine: &Engine, image: Image, mut wanted: Create) -> Result<(Record, Vec<String>)> {
    let id = ContainerId::random()?;
    let image_config = image.config.config.unwrap_or_default();
    let flat = wanted.read_only_binds_are_flat;
    join_hostname(engine, &mut wanted)?;
    defaults::fill(&mut wanted, &id, &defaults::Host::read()?, &engine.live().defaults);
    validate::default_runtime(&wanted.host_config)?;
    name_peers(engine, &mut wanted)?;
    let odd = networks(&mut wanted)?;
    resolve::check(&wanted.host_config, crate::system::confinement()?)?;
    let mut record = Record::new(id, String::new(), sys::time::now_rfc3339_nano());
    record.image_id = image.id.to_string();
    record.config = merge::merge(wanted.config, &image_config)?;
    record.host_config = wanted.host_config;
    record.endpoints = wanted.networking_config.endpoints_config;
    let asked = mounts::Asked { config: &record.config, host: &record.host_config, flat };
    record.mounts = mounts::plan(&asked, &inherited(engine, &record)?)?;
    record.mounts.iter().try_for_each(check_source)?;
    for mount in record.mounts.iter_mut().filter(|mount| mount.anonymous) {
        mount.name = id::random_hex()?;
    }
    ports::wishes(&record)?;
    Ok((record, odd))
}

/// Who joins another container's network has its host name too.
fn join_hostname(engine: &Engine, wanted: &mut Create) -> Result<()> {
    if let Some(peer) = wanted.host_config.network_mode.strip_prefix("container:")
        && let Ok(peer) = engine.containers().find(peer)
    {
        let peer = peer.view();
        wanted.config.hostname.clone_from(&peer.record.config.hostname);
        wanted.config.domainname.clone_from(&peer.record.config.domainname);
    }
    Ok(())
}

/// Joined containers are remembered by id: names change hands. As with dockerd, the one whose network is joined may
/// come later.
fn name_peers(engine: &Engine, wanted: &mut Create) -> Result<()> {
    let host = &mut wanted.host_config;
    for mode in [&mut host.ipc_mode, &mut host.pid_mode] {
        if let Some(peer) = mode.strip_prefix("container:") {
            *mode = format!("container:{}", engine.containers().find(peer)?.id);
        }
    }
    if let Some(peer) = host.network_mode.strip_prefix("container:")
        && let Ok(peer) = engine.containers().find(peer)
    {
        host.network_mode = format!("container:{}", peer.id);
    }
    Ok(())
}

/// One network, the one that the mode names, without what only user-defined networks have. Who joins another
/// container's has no endpoint, whatever is asked of it.
fn networks(wanted: &mut Create) -> Result<Vec<String>> {
    let mode = wanted.host_config.network_mode.clone();
    let joins = mode.starts_with("container:");
    for (name, settings) in &wanted.networking_config.endpoints_config {
        if *name != mode && !joins {
            return Err(Error::unsupported("more than one network"));
        }
        endpoint(name, settings)?;
    }
    if !joins {
        return Ok(Vec::new());
    }
    let endpoints = std::mem::take(&mut wanted.networking_config.endpoints_config);
    let has_mac = endpoints.values().any(|settings| !settings.mac_address.is_empty());
    Ok(has_mac.then(|| JOINED_MAC.to_owned()).into_iter().collect())
}

const JOINED_MAC: &str = "The MAC address is discarded when joining another container's network";

fn endpoint(network: &str, settings: &EndpointSettings) -> Result<()> {
    let wrong = |words: &str| Error::invalid(format!("invalid config for network {network}: {words}"));
    let asks = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    if let Some(address) = [ipam.ipv4_address, ipam.ipv6_address].iter().find(|text| !text.is_empty()) {
        let user_defined = "user specified IP address is supported on user defined networks only";
        let words = match network {
            "host" | "none" => format!(
                "\n* {user_defined}\n* user specified IP address is supported only when connecting to networks with \
                 user configured subnets"
            ),
            _ if network.starts_with("container:") => format!("\n{user_defined}"),
            _ => format!(
                "\n* {user_defined}\n* no configured subnet or ip-range contain the IP address {address}"
            ),
        };
        return Err(wrong(&format!("invalid endpoint settings:{words}")));
    }
    if asks(&settings.aliases) && network == "bridge" {
        return Err(wrong(
            "invalid endpoint settings:\nnetwork-scoped aliases are only supported for user-defined networks",
        ));
    }
    let mac = &settings.mac_address;
    if !mac.is_empty() && mac.parse::<network::Mac>().is_err() {
        return Err(wrong(&format!("invalid MAC address {mac}")));
    }
    if asks(&settings.links) || settings.driver_opts.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(Error::unsupported("links and driver options of an endpoint"));
    }
    Ok(())
}

/// `--volumes-from container[:ro|:rw]`
fn inherited(engine: &Engine, record: &Record) -> Result<Vec<Inherited>> {
    let sources = record.host_config.volumes_from.iter().flatten();
    sources
        .map(|text| {
            let (name, read_only) = match text.rsplit_once(':') {
                Some((name, "ro")) => (name, Some(true)),
                Some((name, "rw" | "z" | "Z")) => (name, None),
                Some((_, mode)) => return Err(Error::invalid(format!("invalid mode: {mode}"))),
                None => (text.as_str(), None),
            };
            let source = engine.containers().find(name)?.view();
            let taken = source.record.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs);
            Ok(Inherited { mounts: taken.cloned().collect(), read_only })
        })
        .collect()
}

/// `--mount` makes no folders on the host.
fn check_source(mount: &record::Mount) -> Result<()> {
    if mount.kind == MountKind::Bind
        && mount.from_mounts
        && !mount.create_source
        && !sys::fs::exists(&mount.source)?
    {
        return Err(Error::invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            mount.source.display()
        )));
    }
    Ok(())
}

/// Gives the record its name, an invented one if need be.
fn named(engine: &Engine, name: Option<&str>, mut record: Record) -> Result<Record> {
    if let Some(name) = name {
        engine.containers().reserve(name, &record.id)?;
        record.name = name.to_owned();
        return Ok(record);
    }
    for attempt in 0..NAME_ATTEMPTS {
        let mut name = names::random()?;
        if attempt >= NAME_ATTEMPTS / 2 {
            name += &attempt.to_string();
        }
        if engine.containers().reserve(&name, &record.id).is_ok() {
            record.name = name;
            return Ok(record);
        }
    }
    record.name = record.id.short().to_owned();
    engine.containers().reserve(&record.name, &record.id)?;
    Ok(record)
}

/// There are some 40,000 names; the later half of the attempts adds a number.
const NAME_ATTEMPTS: u32 = 12;

/// Everything on disk. Blocks.
fn make(engine: &Engine, record: &Record, image: &ImageId, held: &Hold<'_>) -> Result<()> {
    let folder = engine.config().folder(&record.id);
    let has_anonymous = record.mounts.iter().any(|mount| mount.anonymous);
    sys::fs::create_dir(&folder, 0o710)?;
    let intent = sys::fs::open(folder.join(record::CREATING), &OpenHow::NEW.with_mode(0o600))?;
    write_intent(&intent, record)?;
    if has_anonymous {
        // Their names are known only here: without this a power loss could leave them without an owner.
        sys::fs::fsync(&intent)?;
    }
    sys::crash::point("container.create.intended");
    engine.store().used(image);
    engine.store().snapshot_create(record.id.as_str(), Some(image))?;
    sys::crash::point("container.create.snapshot");
    volumes(engine, record, held)?;
    sys::crash::point("container.create.volumes");
    commit(engine, &folder, &intent, record)?;
    sys::crash::point("container.create.recorded");
    Ok(())
}

fn write_intent(mut file: &File, record: &Record) -> Result<()> {
    file.write_all(&record.to_json()).call(|| format!("write {}", record::CREATING))
}

/// The rename makes it a container; with the syncs it survives a power loss. Its snapshot may not: the next engine makes it
/// anew from what the record says.
fn commit(engine: &Engine, folder: &Path, intent: &File, record: &Record) -> Result<()> {
    sys::fs::rename(folder.join(record::CREATING), folder.join(record::FILE))?;
    if record.is_volatile() {
        return Ok(());
    }
    sys::fs::fsync(intent)?;
    sys::fs::fsync_dir(folder)?;
    sys::fs::fsync_dir(engine.config().containers())
}

/// Makes the volumes that are missing and fills the empty ones from the image.
fn volumes(engine: &Engine, record: &Record, held: &Hold<'_>) -> Result<()> {
    let mut rootfs = None;
    for mount in record.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
        let wish = wish(record, mount);
        if held.ensure(&wish)? {
            volume::tell(engine, "create", &mount.name);
        }
        if !mount.copy || !mount.subpath.is_empty() {
            continue;
        }
        if rootfs.is_none() {
            let snapshot = engine.store().snapshot(record.id.as_str())?;
            rootfs = Some(snapshot.mount(MountOptions { volatile: false, readonly: true })?);
        }
        if let Some(rootfs) = &rootfs {
            engine.volumes().populate(&mount.name, rootfs.as_fd(), &mount.destination)?;
        }
    }
    Ok(())
}

/// With the labels and options that a long mount has for a volume that is not there yet.
fn wish<'a>(record: &Record, mount: &'a record::Mount) -> Wish<'a> {
    let is_its = |wish: &&api::host_config::Mount| mounts::destination(wish) == mount.destination;
    let long = record.host_config.mounts.iter().filter(|_| mount.from_mounts).find(is_its);
    let options = long.and_then(|wish| wish.volume_options.clone()).unwrap_or_default();
    Wish {
        name: &mount.name,
        anonymous: mount.anonymous,
        labels: options.labels,
        options: options.driver_config.unwrap_or_default().options,
        ..Wish::default()
    }
}

/// Takes back what a creation made before its rename. Blocks; what fails is left to the next engine.
pub(crate) fn undo(engine: &Engine, record: &Record) {
    let undone = removal::remove_volumes(engine, record)
        .and_then(|()| engine.store().snapshot_remove(record.id.as_str()))
        .and_then(|()| sys::fs::remove_tree(engine.config().folder(&record.id)));
    if let Err(error) = undone
        && error.kind() != Kind::NotFound
    {
        tracing::warn!(container = %record.id, %error, "creation not undone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(mode: &str, endpoints: &str) -> Result<(Create, Vec<String>)> {
        let json = format!(
            r#"{{"HostConfig":{{"NetworkMode":"{mode}"}},"NetworkingConfig":{{"EndpointsConfig":{endpoints}}}}}"#
        );
        let mut wanted: Create = api::from_slice(json.as_bytes())?;
        let odd = networks(&mut wanted)?;
        Ok((wanted, odd))
    }

    #[test]
    fn who_joins_a_network_has_no_endpoint() {
        let endpoints = r#"{"container:a":{"MacAddress":"02:00:00:00:00:01"},"bridge":{"MacAddress":"02:00:00:00:00:01"}}"#;
        let (wanted, odd) = joined("container:0123", endpoints).unwrap();
        assert!(wanted.networking_config.endpoints_config.is_empty());
        assert_eq!(odd, [JOINED_MAC]);
        assert!(joined("container:0123", "{}").unwrap().1.is_empty());
    }

    #[test]
    fn endpoints_are_refused_in_docker_s_words() {
        let refused = |mode: &str, settings: &str| {
            joined(mode, &format!(r#"{{"{mode}":{settings}}}"#)).unwrap_err().to_string()
        };
        let texts = [
            refused("bridge", r#"{"MacAddress":"xx"}"#),
            refused("bridge", r#"{"IPAMConfig":{"IPv4Address":"1.2.3.4"}}"#),
            refused("host", r#"{"IPAMConfig":{"IPv4Address":"1.2.3.4"}}"#),
            refused("container:a", r#"{"IPAMConfig":{"IPv4Address":"1.2.3.4"}}"#),
            refused("bridge", r#"{"Aliases":["a"]}"#),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
