//! What token checks look at and what changes while the program runs: the directory, and the tokens
//! that somebody logged out with. Whoever holds something that was allowed before waits for the news
//! and looks again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use tokio::sync::watch;

use super::directory::Directory;
use crate::model::TokenDigest;

/// Accounts, users, keys and revoked tokens of this moment.
#[derive(Debug)]
pub struct Live {
    directory: ArcSwap<Directory>,
    /// Until when (Unix seconds) each has to be remembered: then it has expired anyway.
    revoked: DashMap<TokenDigest, u64>,
    generation: AtomicU64,
    news: watch::Sender<u64>,
}

impl Live {
    /// Begins with this directory.
    pub fn new(directory: Directory) -> Self {
        Self {
            directory: ArcSwap::from_pointee(directory),
            revoked: DashMap::new(),
            generation: AtomicU64::new(0),
            news: watch::Sender::new(0),
        }
    }

    /// The directory of this moment. Who holds an old one finishes with it.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// A new directory takes the place of the old one.
    pub fn replace(&self, directory: Directory) {
        self.directory.store(Arc::new(directory));
        self.changed();
    }

    /// These tokens are worth nothing from now on. Those that have expired by `unix` are forgotten.
    pub fn revoke(&self, tokens: impl IntoIterator<Item = (TokenDigest, u64)>, unix: u64) {
        let before = self.revoked.len();
        for (digest, until) in tokens {
            self.revoked.insert(digest, until);
        }
        if self.revoked.len() != before {
            self.revoked.retain(|_, until| *until > unix);
            self.changed();
        }
    }

    /// Whether somebody logged out with this token.
    pub fn is_revoked(&self, token: &TokenDigest) -> bool {
        self.revoked.contains_key(token)
    }

    /// Grows with each change, after it.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells of each change.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn changed(&self) {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        self.news.send_replace(generation);
    }
}
