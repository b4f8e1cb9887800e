//! `--cap-add`, `--cap-drop` and `--privileged`: which capabilities a container has.

use std::sync::OnceLock;

use api::host_config::HostConfig;
use fault::{Error, Result};
use runtime::defaults;

/// The names in the kernel's form (`CAP_NET_ADMIN`, or `ALL`); unknown ones are refused, as are those that may be
/// added but that we lack.
fn names(field: &str, list: &Option<Vec<String>>) -> Result<Vec<String>> {
    let known = defaults::all_capabilities();
    list.iter()
        .flatten()
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            if upper == "ALL" {
                return Ok(upper);
            }
            let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            if !known.contains(&full) {
                return Err(Error::invalid(format!("invalid {field}: unknown capability: \"{full}\"")));
            }
            if !available().contains(&full) {
                return Err(Error::invalid(format!(
                    "invalid {field}: capability not supported by your kernel or not available in the current environment: \"{full}\""
                )));
            }
            Ok(full)
        })
        .collect()
}

/// "All" means all that this process has itself: in a nested engine that is less than the kernel knows.
pub(crate) fn available() -> &'static [String] {
    static AVAILABLE: OnceLock<Vec<String>> = OnceLock::new();
    AVAILABLE.get_or_init(|| {
        let all = defaults::all_capabilities();
        let Some(own) = permitted() else { return all };
        all.into_iter()
            .enumerate()
            .filter(|(number, _)| own & (1 << number) != 0)
            .map(|(_, name)| name)
            .collect()
    })
}

/// The mask of the permitted set (proc_pid_status(5), `CapPrm`).
fn permitted() -> Option<u64> {
    let status = sys::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Docker's rules: `ALL` in one list turns the other one into the exceptions.
pub(crate) fn for_container(host: &HostConfig) -> Result<Vec<String>> {
    if host.privileged {
        return Ok(available().to_vec());
    }
    let add = names("CapAdd", &host.cap_add)?;
    let drop = names("CapDrop", &host.cap_drop)?;
    let has_all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let mut given = match (has_all(&add), has_all(&drop)) {
        (true, _) => available().to_vec(),
        (false, true) => Vec::new(),
        (false, false) => defaults::capabilities(),
    };
    given.retain(|name| !drop.contains(name));
    for name in add {
        if name != "ALL" && !given.contains(&name) {
            given.push(name);
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(add: &[&str], drop: &[&str]) -> Result<Vec<String>> {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for_container(&HostConfig { cap_add: list(add), cap_drop: list(drop), ..HostConfig::default() })
    }

    fn given(add: &[&str], drop: &[&str]) -> Vec<String> {
        tried(add, drop).unwrap()
    }

    #[test]
    fn lists_of_additions_and_exceptions() {
        assert_eq!(given(&[], &[]), defaults::capabilities());
        assert_eq!(given(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(given(&["SYS_TIME"], &["CAP_CHOWN"]).last().unwrap(), "CAP_SYS_TIME");
        assert!(!given(&[], &["chown"]).contains(&"CAP_CHOWN".to_owned()));
        assert_eq!(given(&["ALL"], &["CHOWN"]).len(), available().len() - 1);
        let refused = |add: &[&str], drop: &[&str]| tried(add, drop).unwrap_err().to_string();
        assert_eq!(refused(&["foo"], &[]), "invalid CapAdd: unknown capability: \"CAP_FOO\"");
        assert_eq!(refused(&[], &["foo"]), "invalid CapDrop: unknown capability: \"CAP_FOO\"");
    }
}
