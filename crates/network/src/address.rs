//! Which IPv4 addresses of a subnet are in use, and which subnet to use at all.

use std::net::Ipv4Addr;

use fault::{Error, Result};
use ipnet::Ipv4Net;

/// A bitmap of a subnet. The network's own address, the gateway and the broadcast address are never given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    subnet: Ipv4Net,
    /// Its place in the subnet.
    gateway: usize,
    words: Vec<u64>,
}

impl Addresses {
    /// `gateway`: another than the subnet's first address.
    pub(crate) fn new(subnet: Ipv4Net, gateway: Option<Ipv4Addr>) -> Self {
        let count = 1_usize << (32 - u32::from(subnet.prefix_len()).clamp(8, 32));
        let mut addresses = Self { subnet, gateway: 1, words: vec![0; count.div_ceil(64)] };
        addresses.gateway = gateway.and_then(|gateway| addresses.place(gateway)).unwrap_or(1);
        for reserved in [0, addresses.gateway, count - 1] {
            addresses.set(reserved, true);
        }
        for beyond in count..addresses.words.len() * 64 {
            addresses.set(beyond, true);
        }
        addresses
    }

    pub(crate) fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.address(self.gateway)
    }

    /// The lowest free address, as Docker gives them.
    pub(crate) fn take_any(&mut self) -> Result<Ipv4Addr> {
        let word = self.words.iter().position(|word| *word != u64::MAX).ok_or_else(|| {
            Error::unavailable(format!(
                "no available IPv4 addresses on this network's address pools: {}",
                self.subnet
            ))
        })?;
        let place = word * 64 + self.words[word].trailing_ones() as usize;
        self.set(place, true);
        Ok(self.address(place))
    }

    pub(crate) fn take(&mut self, address: Ipv4Addr) -> Result<()> {
        let place = self.place(address).ok_or_else(|| {
            Error::invalid(format!("invalid address {address}: it does not belong to subnet {}", self.subnet))
        })?;
        if self.is_taken(place) {
            return Err(Error::conflict("Address already in use"));
        }
        self.set(place, true);
        Ok(())
    }

    pub(crate) fn free(&mut self, address: Ipv4Addr) {
        if let Some(place) = self.place(address).filter(|place| ![0, self.gateway].contains(place)) {
            self.set(place, false);
        }
    }

    fn place(&self, address: Ipv4Addr) -> Option<usize> {
        let place = || (u32::from(address) - u32::from(self.subnet.network())) as usize;
        self.subnet.contains(&address).then(place).filter(|place| *place < self.words.len() * 64)
    }

    fn address(&self, place: usize) -> Ipv4Addr {
        let place = u32::try_from(place).expect("a subnet has at most 2^32 addresses");
        Ipv4Addr::from(u32::from(self.subnet.network()) + place)
    }

    fn is_taken(&self, place: usize) -> bool {
        self.words[place / 64] & (1 << (place % 64)) != 0
    }

    fn set(&mut self, place: usize, taken: bool) {
        let bit = 1 << (place % 64);
        if taken {
            self.words[place / 64] |= bit;
        } else {
            self.words[place / 64] &= !bit;
        }
    }
}

/// The subnet of the default network: what was stored, if it still fits, else the first pool that does.
pub(crate) fn choose(stored: Option<Ipv4Net>, pools: &[Ipv4Net], occupied: &[Ipv4Net]) -> Result<Ipv4Net> {
    let fits = |pool: &&Ipv4Net| !occupied.iter().any(|other| overlap(pool, other));
    stored
        .iter()
        .chain(pools)
        .find(fits)
        .copied()
        .ok_or_else(|| Error::unavailable("all predefined address pools have been fully subnetted"))
}

fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_gateway_may_stand_anywhere_and_is_never_given() {
        let mut addresses = Addresses::new(net("10.0.0.0/29"), Some(Ipv4Addr::new(10, 0, 0, 3)));
        assert_eq!(addresses.gateway(), Ipv4Addr::new(10, 0, 0, 3));
        addresses.free(addresses.gateway());
        let taken: Vec<u8> = (0..5).map(|_| addresses.take_any().unwrap().octets()[3]).collect();
        assert_eq!(taken, [1, 2, 4, 5, 6]);
        assert!(addresses.take_any().is_err());
    }

    #[test]
    fn the_lowest_free_address_comes_first() {
        let mut addresses = Addresses::new(net("172.17.0.0/16"), None);
        let taken: Vec<_> = (0..100).map(|_| addresses.take_any().unwrap()).collect();
        assert_eq!(taken[0], Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(taken[99], Ipv4Addr::new(172, 17, 0, 101));
        addresses.free(taken[70]);
        addresses.free(taken[7]);
        assert_eq!(addresses.take_any().unwrap(), taken[7]);
        assert_eq!(addresses.take_any().unwrap(), taken[70]);
    }

    #[test]
    fn a_subnet_gives_all_but_three_addresses() {
        for (subnet, usable) in [("10.0.0.0/30", 1), ("10.0.0.0/24", 253), ("10.0.0.0/16", 65_533)] {
            let mut addresses = Addresses::new(net(subnet), None);
            for _ in 0..usable {
                let address = addresses.take_any().unwrap();
                assert!(net(subnet).contains(&address), "{address}");
            }
            assert_eq!(addresses.take_any().unwrap_err().kind(), fault::Kind::Unavailable, "{subnet}");
        }
    }

    #[test]
    fn an_address_of_choice_is_given_once_and_only_inside() {
        let mut addresses = Addresses::new(net("172.17.0.0/16"), None);
        let wanted = Ipv4Addr::new(172, 17, 3, 4);
        addresses.take(wanted).unwrap();
        assert_eq!(addresses.take(wanted).unwrap_err().to_string(), "Address already in use");
        for outside in [Ipv4Addr::new(172, 16, 255, 255), Ipv4Addr::new(172, 18, 0, 0)] {
            assert_eq!(addresses.take(outside).unwrap_err().kind(), fault::Kind::Invalid);
        }
        let mut small = Addresses::new(net("10.0.0.0/29"), None);
        assert_eq!(small.take(Ipv4Addr::new(10, 0, 0, 9)).unwrap_err().kind(), fault::Kind::Invalid);
        addresses.free(Ipv4Addr::new(172, 17, 0, 1));
        assert!(addresses.take(Ipv4Addr::new(172, 17, 0, 1)).is_err(), "the gateway stays taken");
    }

    #[test]
    fn the_first_pool_without_a_route_is_chosen() {
        let pools = [net("172.17.0.0/16"), net("172.18.0.0/16"), net("172.19.0.0/16")];
        let check = |stored: Option<&str>, occupied: &[&str], chosen: Option<&str>| {
            let occupied: Vec<_> = occupied.iter().map(|text| net(text)).collect();
            assert_eq!(choose(stored.map(net), &pools, &occupied).ok(), chosen.map(net), "{occupied:?}");
        };
        check(None, &[], Some("172.17.0.0/16"));
        check(None, &["10.0.0.0/8", "172.17.3.0/24"], Some("172.18.0.0/16"));
        check(None, &["172.16.0.0/12"], None);
        check(Some("172.19.0.0/16"), &["172.17.0.0/16"], Some("172.19.0.0/16"));
        check(Some("172.19.0.0/16"), &["172.19.0.0/16"], Some("172.17.0.0/16"));
    }
}
