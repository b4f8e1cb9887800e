//! What a specification may ask for and this build does not do: refused by the name of its field, never left out.
//!
//! Limits are refused where they are planned (`cgroup/plan.rs`), and so are mounts (`init/plan.rs`). Fields that the
//! specification does not have are ignored, as it demands (config.md, "Extensibility").

use fault::{Error, Result};
use oci::runtime::{Linux, Process};

/// Of a container.
pub(super) fn refuse_container(linux: &Linux) -> Result<()> {
    refuse(&[
        (linux.intel_rdt.is_some(), "linux.intelRdt"),
        (!linux.mount_label.is_empty(), "linux.mountLabel"),
        (!linux.net_devices.is_empty(), "linux.netDevices"),
    ])
}

/// Of any process, the first one or an exec.
pub(super) fn refuse_process(process: &Process) -> Result<()> {
    refuse(&[
        (!process.apparmor_profile.is_empty(), "process.apparmorProfile"),
        (!process.selinux_label.is_empty(), "process.selinuxLabel"),
    ])
}

fn refuse(fields: &[(bool, &str)]) -> Result<()> {
    match fields.iter().find(|(is_asked, _)| *is_asked) {
        Some((_, field)) => Err(Error::unsupported(field)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn every_field_that_we_do_not_apply_is_named() {
        for (field, value) in
            [("intelRdt", r#"{"closID":"a"}"#), ("mountLabel", r#""a""#), ("netDevices", r#"{"eth0":{}}"#)]
        {
            let linux = serde_json::from_str(&format!(r#"{{"{field}":{value}}}"#)).unwrap();
            assert_eq!(message(refuse_container(&linux)), format!("not supported: linux.{field}"));
        }
        for (field, value) in [("apparmorProfile", r#""a""#), ("selinuxLabel", r#""a""#)] {
            let process = serde_json::from_str(&format!(r#"{{"{field}":{value}}}"#)).unwrap();
            assert_eq!(message(refuse_process(&process)), format!("not supported: process.{field}"));
        }
        assert!(refuse_container(&Linux::default()).is_ok() && refuse_process(&Process::default()).is_ok());
    }
}
