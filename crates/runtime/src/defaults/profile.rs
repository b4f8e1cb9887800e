//! A seccomp profile as users write it for `--security-opt seccomp=FILE`: Docker's form, whose rules may depend on the
//! architecture, the kernel and the container's capabilities. Resolved, it is a plain filter of the runtime
//! specification.

use fault::{Error, Result};
use oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompSyscall};
use serde::Deserialize;

/// Resolves a profile for a container that is given these capabilities. Texts of errors are Docker's.
pub fn seccomp_profile(json: &[u8], capabilities: &[String]) -> Result<Seccomp> {
    let profile: Profile = serde_json::from_slice(json)
        .map_err(|error| Error::invalid("decoding seccomp profile failed").with_source(error))?;
    resolve(profile, &Host { capabilities, kernel: sys_kernel() })
}

/// What conditions of rules are about.
struct Host<'a> {
    capabilities: &'a [String],
    /// Major and minor version.
    kernel: (u32, u32),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: SeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<String>>,
    listener_path: Option<std::path::PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    /// The old form of `names`.
    name: Option<String>,
    names: Option<Vec<String>>,
    action: SeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<SeccompArg>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    arches: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    min_kernel: Option<String>,
}

fn resolve(profile: Profile, host: &Host<'_>) -> Result<Seccomp> {
    let architectures = architectures(profile.architectures, profile.arch_map)?;
    let mut syscalls = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        if applies(&rule, host)? {
            syscalls.push(syscall(rule)?);
        }
    }
    Ok(Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno_ret,
        architectures,
        flags: profile.flags.filter(|flags| !flags.is_empty()),
        listener_path: profile.listener_path.unwrap_or_default(),
        listener_metadata: profile.listener_metadata.unwrap_or_default(),
        syscalls,
    })
}

fn architectures(listed: Option<Vec<String>>, mapped: Option<Vec<ArchMap>>) -> Result<Vec<String>> {
    let (listed, mapped) = (listed.unwrap_or_default(), mapped.unwrap_or_default());
    if !listed.is_empty() && !mapped.is_empty() {
        return Err(Error::invalid(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or \
             'archMap'",
        ));
    }
    let native = super::seccomp::ARCHITECTURES[0];
    let Some(map) = mapped.into_iter().find(|map| map.architecture == native) else {
        return Ok(listed);
    };
    Ok(std::iter::once(map.architecture).chain(map.sub_architectures.unwrap_or_default()).collect())
}

/// An inclusion must match as a whole, an exclusion in one point.
fn applies(rule: &Rule, host: &Host<'_>) -> Result<bool> {
    let has = |capability: &String| host.capabilities.contains(capability);
    let none = Filter::default();
    let includes = rule.includes.as_ref().unwrap_or(&none);
    let excludes = rule.excludes.as_ref().unwrap_or(&none);
    let listed =
        |arches: &Option<Vec<String>>| arches.as_deref().unwrap_or_default().iter().any(|arch| arch == ARCH);
    if is_given(&includes.arches) && !listed(&includes.arches) || listed(&excludes.arches) {
        return Ok(false);
    }
    if !includes.caps.iter().flatten().all(has) || excludes.caps.iter().flatten().any(has) {
        return Ok(false);
    }
    if let Some(version) = &includes.min_kernel
        && host.kernel < kernel_version(version)?
    {
        return Ok(false);
    }
    match &excludes.min_kernel {
        Some(version) => Ok(host.kernel < kernel_version(version)?),
        None => Ok(true),
    }
}

fn is_given(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn syscall(rule: Rule) -> Result<SeccompSyscall> {
    let names = match (rule.name.filter(|name| !name.is_empty()), rule.names.unwrap_or_default()) {
        (Some(_), names) if !names.is_empty() => {
            let text =
                "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'";
            return Err(Error::invalid(text));
        }
        (Some(name), _) => vec![name],
        (None, names) => names,
    };
    Ok(SeccompSyscall {
        names,
        action: rule.action,
        errno_ret: rule.errno_ret,
        args: rule.args.unwrap_or_default(),
    })
}

/// The name in profiles is Go's.
const ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// `4.8`
fn kernel_version(text: &str) -> Result<(u32, u32)> {
    let parse = |(major, minor): (&str, &str)| Some((major.parse().ok()?, minor.parse().ok()?));
    let version = text.split_once('.').and_then(parse);
    version.ok_or_else(|| {
        Error::invalid(format!("invalid kernel version: {text:?}, expected \"<kernel>.<major>\""))
    })
}

/// The running kernel's version; one that cannot be read counts as old.
fn sys_kernel() -> (u32, u32) {
    let release = sys::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str, capabilities: &[&str]) -> Vec<String> {
        let capabilities: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
        let profile = serde_json::from_str(json).unwrap();
        let seccomp = resolve(profile, &Host { capabilities: &capabilities, kernel: (5, 10) }).unwrap();
        seccomp.syscalls.into_iter().flat_map(|rule| rule.names).collect()
    }

    fn message(json: &str) -> String {
        seccomp_profile(json.as_bytes(), &[]).unwrap_err().to_string()
    }

    #[test]
    fn rules_depend_on_capabilities_kernel_and_architecture() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["always"],"action":"SCMP_ACT_ALLOW","includes":{},"excludes":null},
            {"name":"old","action":"SCMP_ACT_ALLOW","args":null},
            {"names":["admin"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN","CAP_CHOWN"]}},
            {"names":["plain"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["new"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"5.11"}},
            {"names":["known"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"names":["gone"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"5.10"}},
            {"names":["mainframe"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}},
            {"names":["pc"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["amd64","arm64"]}}]}"#;
        assert_eq!(names(json, &[]), ["always", "old", "plain", "known", "pc"]);
        assert_eq!(names(json, &["CAP_SYS_ADMIN"]), ["always", "old", "known", "pc"]);
        assert_eq!(names(json, &["CAP_SYS_ADMIN", "CAP_CHOWN"]), ["always", "old", "admin", "known", "pc"]);
    }

    #[test]
    fn an_architecture_brings_its_subordinates() {
        let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[
            {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
            {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}]}"#;
        let seccomp = seccomp_profile(json.as_bytes(), &[]).unwrap();
        assert_eq!(seccomp.architectures, super::super::seccomp::ARCHITECTURES[..2]);
    }

    #[test]
    fn mistakes_are_named_as_docker_names_them() {
        assert!(message("{").starts_with("decoding seccomp profile failed: EOF"));
        let both =
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["a"],"archMap":[{"architecture":"b"}]}"#;
        assert!(message(both).starts_with("both 'architectures' and 'archMap' are specified"));
        let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_LOG"}]}"#;
        assert!(message(both).starts_with("both 'name' and 'names' are specified"));
        let kernel = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["b"],"action":"SCMP_ACT_LOG","includes":{"minKernel":"x"}}]}"#;
        assert_eq!(message(kernel), "invalid kernel version: \"x\", expected \"<kernel>.<major>\"");
    }
}
