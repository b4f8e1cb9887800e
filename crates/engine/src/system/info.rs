//! `docker info`.

use api::system::{Commit, Info, Plugins, Runtime, Swarm};
use fault::Result;

use super::limits::Limits;
use super::{VERSION, id, registries, security};
use crate::stats::Host;
use crate::{Engine, Status};

/// Everything about this engine and its machine.
pub async fn info(engine: &Engine) -> Result<Info> {
    engine.blocking(collect).await
}

/// Blocks.
fn collect(engine: &Engine) -> Result<Info> {
    let limits = Limits::of_this_machine()?;
    let live = engine.live();
    let mut info = Info {
        id: id::ensure(&engine.config().data_root)?,
        images: i64::try_from(engine.store().image_count()).unwrap_or(i64::MAX),
        debug: live.debug,
        n_fd: i64::try_from(sys::fs::read_dir("/proc/self/fd")?.len()).unwrap_or(i64::MAX),
        n_goroutines: i64::try_from(sys::process::thread_count()?).unwrap_or(i64::MAX),
        n_events_listener: i64::try_from(engine.events().listeners()).unwrap_or(i64::MAX),
        system_time: sys::time::now_rfc3339_nano(),
        security_options: security::options(limits.unified)?,
        labels: live.labels.clone(),
        ..ours(engine)
    };
    count_containers(engine, &mut info);
    registries::fill(&engine.registries_config(), &mut info);
    fill_storage(engine, &mut info)?;
    fill_machine(&mut info)?;
    limits.fill(&mut info);
    let warnings = warnings(engine, &info, limits);
    info.warnings = Some(warnings).filter(|warnings| !warnings.is_empty());
    Ok(info)
}

/// What is so with every engine of this version.
fn ours(engine: &Engine) -> Info {
    let runtime = Runtime { path: engine.config().runtime.display().to_string() };
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let built = || Commit { id: VERSION.into() };
    Info {
        plugins: Plugins {
            volume: texts(&["local"]),
            network: texts(&["bridge", "host", "null"]),
            authorization: None,
            log: texts(&["json-file"]),
        },
        logging_driver: engine.live().defaults.log.kind.clone(),
        index_server_address: "https://index.docker.io/v1/".into(),
        docker_root_dir: engine.config().data_root.display().to_string(),
        server_version: VERSION.into(),
        // The names that a container may ask for mean the same program.
        runtimes: ["kogge-runtime", "runc"].map(|name| (name.to_owned(), runtime.clone())).into(),
        default_runtime: engine.live().defaults.runtime.clone(),
        swarm: Swarm { local_node_state: "inactive".into(), ..Swarm::default() },
        live_restore_enabled: true,
        init_binary: "docker-init".into(),
        runc_commit: built(),
        init_commit: built(),
        os_type: "linux".into(),
        architecture: std::env::consts::ARCH.into(),
        ..Info::default()
    }
}

/// As Docker counts: whatever neither runs nor is paused has stopped.
fn count_containers(engine: &Engine, info: &mut Info) {
    for container in engine.containers().all() {
        info.containers += 1;
        match container.view().record.state.status {
            Status::Running => info.containers_running += 1,
            Status::Paused => info.containers_paused += 1,
            _ => info.containers_stopped += 1,
        }
    }
}

fn fill_storage(engine: &Engine, info: &mut Info) -> Result<()> {
    let magic = sys::fs::filesystem_magic(&engine.config().data_root)?;
    let status = [
        ("Backing Filesystem", filesystem(magic)),
        ("Supports d_type", "true"),
        ("Using metacopy", "false"),
        ("Native Overlay Diff", "true"),
        ("userxattr", "false"),
    ];
    info.driver = "overlay2".into();
    info.driver_status = status.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Ok(())
}

/// Docker's name of a file system by its magic number (linux/magic.h).
fn filesystem(magic: u64) -> &'static str {
    let known = FILESYSTEMS.iter().find(|(number, _)| *number == magic);
    known.map_or("<unknown>", |(_, name)| name)
}

const FILESYSTEMS: &[(u64, &str)] = &[
    (0x0102_1994, "tmpfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x5846_5342, "xfs"),
    (0x6969, "nfs"),
    (0x794c_7630, "overlayfs"),
    (0x8584_58f6, "ramfs"),
    (0x9123_683e, "btrfs"),
    (0xef53, "extfs"),
    (0xf2f5_2010, "f2fs"),
];

fn fill_machine(info: &mut Info) -> Result<()> {
    let host = Host::read()?;
    info.n_cpu = host.cpus.into();
    info.mem_total = i64::try_from(host.memory).unwrap_or(i64::MAX);
    info.kernel_version = kernel()?;
    info.name = hostname()?;
    info.ipv4_forwarding = sys::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?.trim() == "1";
    (info.operating_system, info.os_version) = operating_system(&os_release()?);
    Ok(())
}

/// The machine's name. Blocks.
pub(super) fn hostname() -> Result<String> {
    Ok(sys::fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// The kernel's release. Blocks.
pub(super) fn kernel() -> Result<String> {
    Ok(sys::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// os-release(5): the second file where the first is missing.
fn os_release() -> Result<String> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(text) = sys::fs::read_to_string_if_exists(path)? {
            return Ok(text);
        }
    }
    Ok(String::new())
}

/// Name and version of the system.
fn operating_system(os_release: &str) -> (String, String) {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    (value("PRETTY_NAME").unwrap_or_else(|| "Linux".into()), value("VERSION_ID").unwrap_or_default())
}

fn warnings(engine: &Engine, info: &Info, limits: Limits) -> Vec<String> {
    let mut warnings = limits.warnings();
    warnings.extend(engine.live().warnings.iter().map(|text| format!("WARNING: {text}")));
    if !info.ipv4_forwarding {
        warnings.push("WARNING: IPv4 forwarding is disabled".into());
    }
    if let Some(chain) = engine.networks().forward_policy_blocker() {
        warnings.push(format!(
            "WARNING: The policy of {chain} drops forwarded packets: containers may be cut off from the network"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_names_itself() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=x\nVERSION_ID=\"12\"\n";
        assert_eq!(operating_system(debian), ("Debian GNU/Linux 12 (bookworm)".into(), "12".into()));
        assert_eq!(operating_system("ID=arch\n"), ("Linux".into(), String::new()));
    }

    #[test]
    fn file_systems_have_docker_s_names() {
        assert_eq!((filesystem(0xef53), filesystem(1)), ("extfs", "<unknown>"));
    }
}
