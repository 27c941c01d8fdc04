//! How many sockets each account has, and how many subscriptions on all of them.

use std::sync::Arc;

use dashmap::DashMap;

use crate::model::AccountId;

/// The accounts that are logged in.
#[derive(Debug, Default)]
pub struct Quotas {
    held: DashMap<AccountId, Held>,
}

#[derive(Debug, Default)]
struct Held {
    sockets: usize,
    subscriptions: usize,
}

/// One socket's part of what its account has; given back when dropped.
#[derive(Debug)]
pub struct Share {
    quotas: Arc<Quotas>,
    account: AccountId,
    subscriptions: usize,
}

impl Quotas {
    /// A socket logs in. `None`: the account has that many already.
    pub fn enter(self: &Arc<Self>, account: &AccountId, most: usize) -> Option<Share> {
        let mut held = self.held.entry(account.clone()).or_default();
        if held.sockets >= most {
            return None;
        }
        held.sockets += 1;
        Some(Share {
            quotas: self.clone(),
            account: account.clone(),
            subscriptions: 0,
        })
    }
}

impl Share {
    /// Whose it is.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// So many subscriptions more. False: the account would have more than `most`; nothing was taken.
    pub fn take(&mut self, count: usize, most: usize) -> bool {
        let Some(mut held) = self.quotas.held.get_mut(&self.account) else {
            return false;
        };
        if held.subscriptions + count > most {
            return false;
        }
        held.subscriptions += count;
        self.subscriptions += count;
        true
    }

    /// So many subscriptions less.
    pub fn give_back(&mut self, count: usize) {
        let count = count.min(self.subscriptions);
        self.subscriptions -= count;
        if let Some(mut held) = self.quotas.held.get_mut(&self.account) {
            held.subscriptions -= count;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.subscriptions);
        self.quotas.held.remove_if_mut(&self.account, |_, held| {
            held.sockets -= 1;
            held.sockets == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_by_account_and_given_back() {
        let quotas = Arc::new(Quotas::default());
        let account = |digit: &str| AccountId::parse(&digit.repeat(32)).expect("an id");
        let mut one = quotas.enter(&account("a"), 2).expect("room");
        let mut two = quotas.enter(&account("a"), 2).expect("room");
        assert!(quotas.enter(&account("a"), 2).is_none(), "a third");
        assert!(quotas.enter(&account("b"), 2).is_some(), "another account");
        assert!(one.take(60, 100));
        assert!(!two.take(41, 100) && two.take(40, 100));
        one.give_back(10);
        assert!(two.take(10, 100) && !two.take(1, 100));
        drop(one);
        assert!(two.take(50, 100));
        drop(two);
        assert!(quotas.held.is_empty());
    }
}
