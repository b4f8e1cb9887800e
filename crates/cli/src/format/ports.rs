//! A container's ports in one cell: neighbours joined to ranges, mappings that move a port told apart.

use api::container::PublishedPort;

/// `80/tcp, 0.0.0.0:443->443/tcp, 0.0.0.0:8080->80/tcp`.
pub(crate) fn displayed(ports: &[PublishedPort]) -> String {
    let mut ports: Vec<&PublishedPort> = ports.iter().collect();
    ports.sort_by_key(|port| (port.private_port, &port.ip, port.public_port, &port.protocol));
    let mut groups: Vec<Group<'_>> = Vec::new();
    let (mut done, mut moved) = (Vec::new(), Vec::new());
    for port in ports {
        if !port.ip.is_empty() && port.public_port != port.private_port {
            let host = join(&port.ip, &port.public_port.to_string());
            moved.push(format!("{host}->{}/{}", port.private_port, port.protocol));
            continue;
        }
        match groups.iter_mut().find(|group| group.ip == port.ip && group.protocol == port.protocol) {
            None => groups.push(Group::new(port)),
            Some(group) if group.last.checked_add(1) == Some(port.private_port) => {
                group.last = port.private_port;
            }
            Some(group) => done.push(std::mem::replace(group, Group::new(port)).to_string()),
        }
    }
    done.extend(groups.iter().map(ToString::to_string));
    done.extend(moved);
    done.join(", ")
}

/// `[::1]:80` for IPv6, `127.0.0.1:80` else.
pub(crate) fn join(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

struct Group<'p> {
    ip: &'p str,
    protocol: &'p str,
    first: u16,
    last: u16,
}

impl<'p> Group<'p> {
    fn new(port: &'p PublishedPort) -> Self {
        Self { ip: &port.ip, protocol: &port.protocol, first: port.private_port, last: port.private_port }
    }
}

impl std::fmt::Display for Group<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let range = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        if !self.ip.is_empty() {
            write!(out, "{}->", join(self.ip, &range))?;
        }
        write!(out, "{range}/{}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, public: u16, private: u16, protocol: &str) -> PublishedPort {
        PublishedPort { ip: ip.into(), public_port: public, private_port: private, protocol: protocol.into() }
    }

    #[test]
    fn neighbours_join_and_moved_ports_stand_apart() {
        let ports = [
            port("", 0, 80, "tcp"),
            port("", 0, 81, "tcp"),
            port("0.0.0.0", 8080, 90, "tcp"),
            port("0.0.0.0", 100, 100, "udp"),
            port("0.0.0.0", 101, 101, "udp"),
            port("::", 100, 100, "udp"),
            port("", 0, 85, "tcp"),
        ];
        assert_eq!(
            displayed(&ports),
            "80-81/tcp, 85/tcp, 0.0.0.0:100-101->100-101/udp, [::]:100->100/udp, 0.0.0.0:8080->90/tcp"
        );
    }
}
