//! Addresses: whom limits are for, and where this machine reaches itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The part of an address that one client holds: an IPv4 address, or the /64 network of an IPv6 one,
/// since whoever has one address of it has them all.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        v4 => v4,
    }
}

/// Where programs on this machine reach what listens on `address`.
pub fn reached_at(address: IpAddr) -> IpAddr {
    match address {
        address if !address.is_unspecified() => address,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_a_network() {
        let network = |text: &str| client_network(text.parse().expect("an address")).to_string();
        assert_eq!(network("203.0.113.9"), "203.0.113.9");
        assert_eq!(network("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn all_addresses_are_reached_at_home() {
        let at = |text: &str| reached_at(text.parse().expect("an address")).to_string();
        assert_eq!(at("0.0.0.0"), "127.0.0.1");
        assert_eq!(at("::"), "::1");
        assert_eq!(at("192.0.2.7"), "192.0.2.7");
    }
}
