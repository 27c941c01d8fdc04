//! The server's own thread for the database. It reloads the directory when any process wrote, so
//! that `account create` beside a running server takes effect at once for people.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::sqlite::{FirstStart, Store, StoreError};
use crate::auth::Directory;

/// The look is one pragma, some microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Keeps a directory fresh for as long as it lives.
#[derive(Debug)]
pub struct LiveStore {
    directory: Arc<ArcSwap<Directory>>,
    /// Its end stops the thread.
    _alive: Sender<()>,
}

impl LiveStore {
    /// Opens the database, makes what the first start needs, and begins to watch.
    pub fn start(data_dir: &Path) -> Result<(Self, Option<FirstStart>), StoreError> {
        let mut store = Store::open(data_dir)?;
        let first = store.first_start()?;
        // The version first: what is written after it shows as a change.
        let seen = store.version()?;
        let directory = Arc::new(ArcSwap::from_pointee(store.directory()?));
        let (alive, ended) = channel();
        let shared = directory.clone();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || watch(&store, seen, &shared, &ended))
            .map_err(|error| StoreError::File(format!("no thread for the database: {error}")))?;
        Ok((
            Self {
                directory,
                _alive: alive,
            },
            first,
        ))
    }

    /// The directory, replaced whenever it changes.
    pub fn directory(&self) -> Arc<ArcSwap<Directory>> {
        self.directory.clone()
    }
}

fn watch(store: &Store, mut seen: i64, shared: &ArcSwap<Directory>, ended: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
        let fresh = store.version().and_then(|version| {
            if version == seen {
                return Ok(None);
            }
            store
                .directory()
                .map(|directory| Some((version, directory)))
        });
        match fresh {
            Ok(None) => {}
            Ok(Some((version, directory))) => {
                seen = version;
                shared.store(Arc::new(directory));
                tracing::debug!("accounts and users read again");
            }
            Err(error) => {
                tracing::error!(%error, "accounts and users cannot be read; the last state stays")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewAccount;

    #[test]
    fn what_another_process_writes_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let (live, first) = LiveStore::start(folder.path()).expect("starts");
        assert!(first.is_some());
        let mut beside = Store::open(folder.path()).expect("opens");
        let new = NewAccount {
            name: "Acme",
            ..NewAccount::default()
        };
        let made = beside.create_account(&new).expect("made");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while live.directory().load().account(&made.id).is_none() {
            assert!(std::time::Instant::now() < deadline, "not seen");
            std::thread::yield_now();
        }
    }
}
