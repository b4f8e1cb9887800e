//! The settings about where the default network lies.

use fault::{Error, Result};
use ipnet::Ipv4Net;

use crate::settings::Settings;

/// `192.168.5.1/24`: the bridge's own address in its network.
pub(crate) fn bip(settings: &mut Settings, value: &str) -> Result<()> {
    if value.is_empty() {
        return Ok(());
    }
    let wrong = || Error::invalid(format!("invalid CIDR address: {value}"));
    let address: Ipv4Net = value.parse().map_err(|_| wrong())?;
    // Room for the network, the bridge, a container and the broadcast; and not more than is kept track of.
    if !(8..=30).contains(&address.prefix_len())
        || [address.network(), address.broadcast()].contains(&address.addr())
    {
        return Err(wrong());
    }
    settings.address = Some(address);
    Ok(())
}

/// `base=10.10.0.0/16,size=24`: networks of a size, one behind the other.
pub(crate) fn pool(settings: &mut Settings, value: &str) -> Result<()> {
    let wrong = || Error::invalid(format!("Invalid default address pool: {value}"));
    let (mut base, mut size) = (None, None);
    for part in value.split(',') {
        match part.trim().split_once('=') {
            Some(("base", text)) => base = Some(text.parse::<Ipv4Net>().map_err(|_| wrong())?),
            Some(("size", text)) => size = Some(text.parse::<u8>().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    let (base, size) = base.zip(size).ok_or_else(wrong)?;
    if !(8..=30).contains(&size) {
        return Err(wrong());
    }
    let networks = base.subnets(size).map_err(|_| wrong())?;
    settings.pools.extend(networks.take(NETWORKS_MAX));
    Ok(())
}

/// One network is made of them all; a host that itself uses the first so many has none to spare.
const NETWORKS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Persona;

    #[test]
    fn pools_are_cut_into_networks() {
        let mut settings = Settings::of(Persona::Dockerd);
        pool(&mut settings, "base=10.10.0.0/16,size=24").unwrap();
        assert_eq!(settings.pools.len(), 256);
        assert_eq!(settings.pools[1].to_string(), "10.10.1.0/24");
        pool(&mut settings, "size=24,base=10.0.0.0/8").unwrap();
        assert_eq!(settings.pools.len(), 512);
        for wrong in
            ["", "base=10.0.0.0/8", "base=10.0.0.0/8,size=31", "base=::/8,size=24", "base=10.0.0.0/8,size=4"]
        {
            assert!(pool(&mut settings, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_bridge_has_an_address_of_its_network() {
        let mut settings = Settings::of(Persona::Dockerd);
        bip(&mut settings, "192.168.5.9/24").unwrap();
        assert_eq!(settings.address.unwrap().to_string(), "192.168.5.9/24");
        for wrong in
            ["192.168.5.0/24", "192.168.5.255/24", "192.168.5.1", "192.168.5.1/31", "1.2.3.4/2", "::1/64"]
        {
            assert!(bip(&mut settings, wrong).is_err(), "{wrong}");
        }
    }
}
