//! How many connections each client has.

use std::net::IpAddr;
use std::sync::Arc;

use dashmap::DashMap;

use crate::model::client_network;

/// Open connections by client network.
#[derive(Debug, Default)]
pub struct Addresses {
    open: DashMap<IpAddr, usize>,
}

/// One connection; counted down when dropped.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    network: IpAddr,
    /// How many the client has, with this one.
    pub open: usize,
}

impl Addresses {
    /// Counts a connection from this address.
    pub fn count(self: &Arc<Self>, address: IpAddr) -> Place {
        let network = client_network(address);
        let mut open = self.open.entry(network).or_insert(0);
        *open += 1;
        Place {
            addresses: self.clone(),
            network,
            open: *open,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.addresses.open.remove_if_mut(&self.network, |_, open| {
            *open -= 1;
            *open == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_up_and_down() {
        let addresses = Arc::new(Addresses::default());
        let address = IpAddr::from([127, 0, 0, 1]);
        let first = addresses.count(address);
        let second = addresses.count(address);
        assert_eq!((first.open, second.open), (1, 2));
        drop(first);
        assert_eq!(addresses.count(address).open, 2);
        drop(second);
        assert!(addresses.open.is_empty());
    }
}
