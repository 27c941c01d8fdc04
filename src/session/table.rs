//! The binding table of one session: what it subscribed to, in the order in which it was added.

use std::collections::HashSet;
use std::sync::Arc;

use crate::catalogue::{Account, Subscription};
use crate::model::Scope;

/// A session's subscriptions. A subscription is the pair (client binding, subscription key) for an
/// account; no pair is held twice.
#[derive(Debug, Default)]
pub(super) struct Table {
    bound: Vec<Arc<Subscription>>,
    /// The accounts of what is bound, each once.
    accounts: Vec<Account>,
}

impl Table {
    /// Of these, the ones not held yet, each once.
    pub(super) fn missing(&self, wanted: Vec<Subscription>) -> Vec<Subscription> {
        let mut held: HashSet<&Subscription> = self.bound.iter().map(|held| &**held).collect();
        let new: Vec<bool> = wanted
            .iter()
            .map(|subscription| held.insert(subscription))
            .collect();
        let marked = wanted.into_iter().zip(new);
        marked
            .filter_map(|(subscription, new)| new.then_some(subscription))
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.bound.len()
    }

    /// Adds what was expanded for this account.
    pub(super) fn add(&mut self, account: &Account, subscriptions: &[Arc<Subscription>]) {
        self.bound.reserve_exact(subscriptions.len());
        self.bound.extend_from_slice(subscriptions);
        if !subscriptions.is_empty() && !self.accounts.contains(account) {
            self.accounts.reserve_exact(1);
            self.accounts.push(account.clone());
        }
    }

    pub(super) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Takes out what a client bound under these names for an account.
    pub(super) fn remove(&mut self, scope: &Scope, bindings: &[&str]) -> Vec<Arc<Subscription>> {
        let named: HashSet<&str> = bindings.iter().copied().collect();
        let (removed, kept) = std::mem::take(&mut self.bound)
            .into_iter()
            .partition(|s| s.scope == *scope && named.contains(&*s.binding));
        self.bound = kept;
        if !self.bound.iter().any(|left| left.scope == *scope) {
            self.accounts.retain(|account| account.scope != *scope);
        }
        removed
    }

    pub(super) fn clear(&mut self) -> Vec<Arc<Subscription>> {
        self.accounts.clear();
        std::mem::take(&mut self.bound)
    }

    /// The client bindings in the order in which they were added.
    pub(super) fn listing(&self, kazoo: bool) -> Vec<Arc<str>> {
        listing(&self.bound, kazoo)
    }
}

/// The reported texts of subscriptions: each once, or in the original's way once for each key.
pub(super) fn listing(subscriptions: &[Arc<Subscription>], kazoo: bool) -> Vec<Arc<str>> {
    let mut seen = HashSet::new();
    let texts = subscriptions
        .iter()
        .map(|subscription| &subscription.reported);
    let mut listing: Vec<Arc<str>> = texts
        .filter(|text| kazoo || seen.insert(*text))
        .cloned()
        .collect();
    // Kept for as long as the socket lives.
    listing.shrink_to_fit();
    listing
}
