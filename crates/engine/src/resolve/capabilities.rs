//! `--cap-add`, `--cap-drop` and `--privileged`: which capabilities a container has.

use api::host_config::HostConfig;
use fault::{Error, Result};
use runtime::defaults;

/// The names in the kernel's form (`CAP_NET_ADMIN`, or `ALL`); unknown ones are refused.
pub(crate) fn capability_names<'a>(names: impl Iterator<Item = &'a String>) -> Result<Vec<String>> {
    let known = defaults::all_capabilities();
    names
        .map(|name| {
            let upper = name.to_ascii_uppercase();
            if upper == "ALL" {
                return Ok(upper);
            }
            let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            match known.contains(&full) {
                true => Ok(full),
                false => Err(Error::invalid(format!("invalid capability: \"{full}\""))),
            }
        })
        .collect()
}

/// Docker's rules: `ALL` in one list turns the other one into the exceptions.
pub(crate) fn for_container(host: &HostConfig) -> Result<Vec<String>> {
    if host.privileged {
        return Ok(defaults::all_capabilities());
    }
    let add = capability_names(host.cap_add.iter().flatten())?;
    let drop = capability_names(host.cap_drop.iter().flatten())?;
    let has_all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let mut names = match (has_all(&add), has_all(&drop)) {
        (true, _) => defaults::all_capabilities(),
        (false, true) => Vec::new(),
        (false, false) => defaults::capabilities(),
    };
    names.retain(|name| !drop.contains(name));
    for name in add {
        if name != "ALL" && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(add: &[&str], drop: &[&str]) -> Vec<String> {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for_container(&HostConfig { cap_add: list(add), cap_drop: list(drop), ..HostConfig::default() })
            .unwrap()
    }

    #[test]
    fn lists_of_additions_and_exceptions() {
        assert_eq!(given(&[], &[]), defaults::capabilities());
        assert_eq!(given(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(given(&["SYS_TIME"], &["CAP_CHOWN"]).last().unwrap(), "CAP_SYS_TIME");
        assert!(!given(&[], &["chown"]).contains(&"CAP_CHOWN".to_owned()));
        assert_eq!(given(&["ALL"], &["SYS_ADMIN"]).len(), defaults::all_capabilities().len() - 1);
        let unknown = vec!["foo".to_owned()];
        let error = capability_names(unknown.iter()).unwrap_err();
        assert_eq!(error.to_string(), "invalid capability: \"CAP_FOO\"");
    }
}
