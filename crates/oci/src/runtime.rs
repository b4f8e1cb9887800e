//! The configuration of one container: `config.json` of the OCI runtime specification 1.2, as plain data.
//!
//! Names are the specification's without the `linux` prefix. Fields for other systems (windows, solaris, vm, zos) are
//! not represented and dropped when read. Absent, empty and, through [`read`], `null` are the same where the
//! specification says so. Nothing is validated here beyond types; who applies a field checks it. What nobody here applies
//! is kept as it came, so that it can be refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod linux;
mod process;
mod resources;
mod seccomp;
mod skip;

pub use linux::{
    Device, IdMapping, IntelRdt, Linux, MemoryPolicy, Namespace, NamespaceKind, Personality, TimeOffset,
};
pub use process::{Capabilities, ConsoleSize, CpuAffinity, IoPriority, Process, Rlimit, Scheduler, User};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, InterfacePriority, Memory, NetworkPriority, Pids, Rdma,
    Resources, ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};
use skip::{is_false, path_is_empty};

/// The version that we write; every 1.x is read.
pub const VERSION: &str = "1.2.1";

/// Reads a [`Spec`] or a part of one from a file that others wrote. Go takes `null` for absent everywhere and writes it
/// for every empty list, so it is looked for where the plain reading fails.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(json).or_else(|error| {
        let mut value = serde_json::from_slice(json)?;
        forget_nulls(&mut value);
        // The first error knows the line.
        serde_json::from_value(value).map_err(|_| error)
    })
}

/// As deep as `serde_json` reads, which is 128 levels.
fn forget_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(forget_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(forget_nulls),
        _ => {}
    }
}

/// `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    #[serde(rename = "ociVersion")]
    pub version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domainname: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// The container's root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: PathBuf,
    #[serde(skip_serializing_if = "is_false")]
    pub readonly: bool,
}

/// One mount, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    pub destination: PathBuf,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "path_is_empty")]
    pub source: PathBuf,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<IdMapping>,
}

/// Programs of the host that run at fixed points of a container's life, with its state on stdin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated by the specification; runs before `create_runtime`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

/// One program of [`Hooks`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    pub path: PathBuf,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// The state of a container, as `state` prints it and hooks read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    #[serde(rename = "ociVersion")]
    pub version: String,
    pub id: String,
    pub status: Status,
    /// Of the container's first process, seen from the host; 0 when stopped.
    #[serde(default)]
    pub pid: i32,
    pub bundle: PathBuf,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Where a container stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_survives_a_round_trip() {
        let text = r#"{"ociVersion":"1.2.1",
            "process":{"terminal":true,"user":{"uid":1,"gid":2,"additionalGids":[3]},"args":["sh"],"cwd":"/",
              "capabilities":{"bounding":["CAP_CHOWN"]},"rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2}]},
            "root":{"path":"rootfs","readonly":true},
            "mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
            "linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/proc/1/ns/net"}],
              "resources":{"memory":{"limit":-1,"disableOOMKiller":true},"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":5}]}},
              "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW",
                "args":[{"index":0,"value":1,"op":"SCMP_CMP_MASKED_EQ"}]}]},
              "uidMappings":[{"containerID":0,"hostID":1000,"size":1}]}}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let linux = spec.linux.as_ref().unwrap();
        assert_eq!(linux.namespaces[1].kind, NamespaceKind::Network);
        assert_eq!(linux.uid_mappings[0].host_id, 1000);
        assert_eq!(linux.resources.as_ref().unwrap().memory.as_ref().unwrap().limit, Some(-1));
        let again: Spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(spec, again);
    }

    #[test]
    fn null_is_absent_as_in_go() {
        let text = r#"{"ociVersion":"1.2.1","hostname":null,"mounts":[{"destination":"/a","options":null}],
            "process":{"args":["sh"],"env":null,"user":null,"noNewPrivileges":null},
            "linux":{"personality":{"domain":"LINUX","flags":null},"sysctl":{"net.a":"1","net.b":null}}}"#;
        let spec: Spec = read(text.as_bytes()).unwrap();
        let linux = spec.linux.as_ref().unwrap();
        assert_eq!(linux.personality.as_ref().unwrap().domain, "LINUX");
        assert_eq!(linux.sysctl.len(), 1);
        let error = read::<Spec>(b"{\"hostname\":\n7}").unwrap_err();
        assert_eq!(error.to_string(), "invalid type: integer `7`, expected a string at line 2 column 1");
    }

    #[test]
    fn empty_parts_are_not_written() {
        let spec = Spec { version: VERSION.into(), ..Spec::default() };
        assert_eq!(serde_json::to_string(&spec).unwrap(), r#"{"ociVersion":"1.2.1"}"#);
    }
}
