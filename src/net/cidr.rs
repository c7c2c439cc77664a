//! Sets of addresses as Traefik's `trustedIPs` and `sourceRange` write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

/// An entry that is neither an address nor a CIDR.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is neither an IP address nor a CIDR")]
pub struct CidrError(pub String);

/// Addresses and networks, IPv4 and IPv6. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2)
/// is the IPv4 address, on both sides.
///
/// Kept as sorted, disjoint ranges: a lookup is a binary search however long the list is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpSet {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl IpSet {
    /// Reads a list such as `["10.0.0.0/8", "::1"]`. Host bits of a CIDR may be set, as in Go.
    ///
    /// # Errors
    /// The first entry that cannot be read.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, CidrError> {
        let mut set = Self::default();
        for entry in entries {
            let text = entry.as_ref().trim();
            set.add(network(text).ok_or_else(|| CidrError(text.to_owned()))?);
        }
        set.v4 = merge(std::mem::take(&mut set.v4), |end| end.checked_add(1));
        set.v6 = merge(std::mem::take(&mut set.v6), |end| end.checked_add(1));
        Ok(set)
    }

    /// Whether `address` is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => within(&self.v4, u32::from(v4)),
            IpAddr::V6(v6) => within(&self.v6, u128::from(v6)),
        }
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    fn add(&mut self, network: IpNet) {
        match network {
            IpNet::V4(net) => self.v4.push((net.network().into(), net.broadcast().into())),
            IpNet::V6(net) => {
                match (mapped(net.network()), mapped(net.broadcast())) {
                    (Some(first), Some(last)) => self.v4.push((first.into(), last.into())),
                    _ => {
                        self.v6.push((net.network().into(), net.broadcast().into()));
                        // A network around the mapped addresses, such as ::/0, holds them too.
                        if net.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()) {
                            self.v4.push((0, u32::MAX));
                        }
                    }
                }
            }
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse().ok(),
    }
}

fn mapped(address: Ipv6Addr) -> Option<Ipv4Addr> {
    address.to_ipv4_mapped()
}

fn merge<T: Ord + Copy>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(open) if next(open.1).is_none_or(|after| first <= after) => {
                open.1 = open.1.max(last);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= value);
    after.checked_sub(1).and_then(|i| ranges.get(i)).is_some_and(|(_, last)| value <= *last)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(entries: &[&str]) -> IpSet {
        IpSet::parse(entries).unwrap()
    }

    fn holds(set: &IpSet, address: &str) -> bool {
        set.contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_and_networks() {
        let set = set(&["10.0.0.0/8", " 127.0.0.1", "fe80::/10", "192.168.1.77/24"]);
        for inside in ["10.255.0.1", "127.0.0.1", "fe80::1", "192.168.1.2"] {
            assert!(holds(&set, inside), "{inside}");
        }
        for outside in ["11.0.0.0", "9.255.255.255", "127.0.0.2", "::1", "192.168.2.1"] {
            assert!(!holds(&set, outside), "{outside}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert!(holds(&set(&["10.0.0.0/8"]), "::ffff:10.1.2.3"));
        assert!(holds(&set(&["::ffff:10.0.0.0/104"]), "10.1.2.3"));
        assert!(!holds(&set(&["::ffff:10.0.0.0/104"]), "11.1.2.3"));
        assert!(holds(&set(&["::/0"]), "11.1.2.3"));
        assert!(!holds(&set(&["0.0.0.0/0"]), "2001:db8::1"));
    }

    #[test]
    fn neighbours_merge_up_to_the_end_of_the_space() {
        let both = set(&["0.0.0.0/1", "128.0.0.0/1", "255.255.255.255"]);
        assert_eq!(both.v4, [(0, u32::MAX)]);
        assert!(set(&[]).is_empty());
    }

    #[test]
    fn rubbish_is_named() {
        for bad in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
            assert_eq!(IpSet::parse([bad]), Err(CidrError(bad.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_scan(
            nets in proptest::collection::vec((any::<u32>(), 0_u8..=32), 0..20),
            probes in proptest::collection::vec(any::<u32>(), 0..40),
        ) {
            let nets: Vec<ipnet::Ipv4Net> =
                nets.iter().map(|(a, l)| ipnet::Ipv4Net::new((*a).into(), *l).unwrap()).collect();
            let set = IpSet::parse(nets.iter().map(ToString::to_string)).unwrap();
            let edges = nets.iter().flat_map(|n| [u32::from(n.network()), u32::from(n.broadcast())]);
            for probe in probes.iter().copied().chain(edges) {
                let address = Ipv4Addr::from(probe);
                let expected = nets.iter().any(|n| n.contains(&address));
                prop_assert_eq!(set.contains(address.into()), expected);
            }
        }
    }
}
