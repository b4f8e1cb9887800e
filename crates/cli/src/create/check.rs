//! Checks of single values, each with the text that Docker answers.

use std::net::IpAddr;

use super::Checked;

pub(crate) fn environment(text: &str) -> Checked<String> {
    let name = text.split('=').next().unwrap_or_default();
    if name.is_empty() {
        return Err(format!("invalid environment variable: {text}"));
    }
    if text.contains('=') {
        return Ok(text.into());
    }
    Ok(match std::env::var(name) {
        Ok(value) => format!("{name}={value}"),
        Err(_) => text.into(),
    })
}

pub(super) fn stream(text: &str) -> Checked<String> {
    let name = text.to_lowercase();
    match name.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(name),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".into()),
    }
}

/// `host:ip` or `host=ip`; the address may be `host-gateway`.
pub(super) fn extra_host(text: &str) -> Checked<String> {
    let bad = || format!("bad format for add-host: {text:?}");
    let (host, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if host.is_empty() || host.contains(':') {
        return Err(bad());
    }
    let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    if address != "host-gateway" && address.trim().parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok(format!("{host}:{address}"))
}

pub(super) fn ip_address(text: &str) -> Checked<String> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

pub(super) fn search_domain(text: &str) -> Checked<String> {
    let domain = text.trim_matches(' ');
    if domain == "." {
        return Ok(domain.into());
    }
    let trimmed = domain.trim_end().trim_end_matches('.');
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let has_letter = trimmed.contains(|c: char| c.is_ascii_alphabetic());
    match has_letter && trimmed.len() < 255 && trimmed.split('.').all(is_label) {
        true => Ok(trimmed.into()),
        false => Err(format!("{domain} is not a valid domain")),
    }
}

pub(crate) fn label(text: &str) -> Checked<String> {
    let key = text.split('=').next().unwrap_or_default().trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(text.into())
}

pub(crate) fn link(text: &str) -> Checked<String> {
    match text {
        "" => Err("empty string specified for links".into()),
        _ if text.matches(':').count() > 1 => Err(format!("bad format for links: {text}")),
        _ => Ok(text.into()),
    }
}

/// Only parameters that belong to a container's own namespaces.
pub(super) fn sysctl(text: &str) -> Checked<String> {
    let refused = || format!("sysctl '{text}' is not allowed");
    let (key, _) = text.split_once('=').ok_or_else(refused)?;
    let is_ipc = matches!(
        key,
        "kernel.msgmax"
            | "kernel.msgmnb"
            | "kernel.msgmni"
            | "kernel.sem"
            | "kernel.shmall"
            | "kernel.shmmax"
            | "kernel.shmmni"
            | "kernel.shm_rmid_forced"
    );
    if is_ipc || key.starts_with("net.") || key.starts_with("fs.mqueue.") {
        return Ok(text.into());
    }
    Err(refused())
}

pub(crate) fn swap(text: &str) -> Checked<String> {
    if text == "-1" {
        return Ok(text.into());
    }
    api::units::bytes(text).map(|bytes| bytes.to_string())
}

pub(crate) fn uint16(text: &str) -> Checked<String> {
    let number = crate::flags::parse_unsigned(text)
        .map_err(|problem| api::units::go_error("ParseUint", text, &problem))?;
    match u16::try_from(number) {
        Ok(number) => Ok(number.to_string()),
        Err(_) => Err(api::units::go_error("ParseUint", text, "value out of range")),
    }
}

pub(super) fn uint64(text: &str) -> Checked<String> {
    crate::flags::parse_unsigned(text)
        .map(|number| number.to_string())
        .map_err(|problem| api::units::go_error("ParseUint", text, &problem))
}

/// Six, eight or twenty bytes, joined by `:`, `-`, or in groups of two by `.`.
pub(super) fn is_mac_address(text: &str) -> bool {
    let text = text.trim();
    let (separator, digits) = match text {
        _ if text.contains('.') => ('.', 4),
        _ if text.contains('-') => ('-', 2),
        _ => (':', 2),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let is_group = |group: &&str| group.len() == digits && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    matches!(groups.len() * digits / 2, 6 | 8 | 20) && groups.iter().all(is_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_domains() {
        assert_eq!(extra_host("a:1.2.3.4").unwrap(), "a:1.2.3.4");
        assert_eq!(extra_host("a=[::1]").unwrap(), "a:::1");
        assert_eq!(extra_host("a:host-gateway").unwrap(), "a:host-gateway");
        assert_eq!(extra_host("a").unwrap_err(), r#"bad format for add-host: "a""#);
        assert_eq!(extra_host("a:b").unwrap_err(), r#"invalid IP address in add-host: "b""#);
        assert_eq!(search_domain("example.com.").unwrap(), "example.com");
        assert_eq!(search_domain("1.2").unwrap_err(), "1.2 is not a valid domain");
        assert_eq!(search_domain("-a").unwrap_err(), "-a is not a valid domain");
    }

    #[test]
    fn parameters_of_the_host_are_refused() {
        assert!(sysctl("net.ipv4.ip_forward=1").is_ok());
        assert!(sysctl("kernel.sem=1 2 3 4").is_ok());
        assert_eq!(sysctl("kernel.hostname=x").unwrap_err(), "sysctl 'kernel.hostname=x' is not allowed");
        assert_eq!(sysctl("net.x").unwrap_err(), "sysctl 'net.x' is not allowed");
    }

    #[test]
    fn hardware_addresses() {
        assert!(is_mac_address("92:d0:c6:0a:29:33") && is_mac_address("92d0.c60a.2933"));
        assert!(!is_mac_address("92:d0:c6:0a:29") && !is_mac_address("xx:d0:c6:0a:29:33"));
    }
}
