//! The server's own thread for the database: it carries out changes one after the other, and reads
//! the directory again when any process wrote, so that `account create` beside a running server
//! takes effect at once for people.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::changes::{News, RevokedToken};
use super::sqlite::{FirstStart, Store, StoreError};
use crate::auth::Live;
use crate::model::TokenDigest;
use crate::model::clock::unix_now;
use crate::model::id::unhex32;

/// The look is one pragma, some microseconds.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Within this time a running server has seen what another process wrote, unless it is very busy.
pub const SEEN_WITHIN: Duration = Duration::from_millis(100);

/// A piece of work, and the answer to be given when its effects can be seen.
type Job = Box<dyn FnOnce(&mut Store) -> Box<dyn FnOnce() + Send> + Send>;

/// Keeps the directory fresh for as long as one of its clones lives.
#[derive(Debug, Clone)]
pub struct LiveStore {
    live: Arc<Live>,
    /// Its end stops the thread.
    jobs: Sender<Job>,
}

/// A store that runs.
#[derive(Debug)]
pub struct Started {
    /// To read and write.
    pub store: LiveStore,
    /// What was made, if this is the first start.
    pub first: Option<FirstStart>,
    /// What was changed here and other nodes have to be told.
    pub news: mpsc::UnboundedReceiver<News>,
}

impl LiveStore {
    /// Opens the database, makes what the first start needs, and begins to watch.
    pub fn start(data_dir: &Path) -> Result<Started, StoreError> {
        let mut store = Store::open(data_dir)?;
        let first = store.first_start()?;
        // The versions first: what is written after them shows as a change.
        let seen = (store.version()?, store.directory_version()?);
        let live = Arc::new(Live::new(store.directory()?));
        live.revoke(tokens(&store.revoked()?), unix_now());
        let (jobs, mailbox) = channel();
        let (outgoing, news) = mpsc::unbounded_channel();
        let watch = Watch {
            store,
            seen,
            live: live.clone(),
            outgoing,
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || watch.run(&mailbox))
            .map_err(|error| StoreError::File(format!("no thread for the database: {error}")))?;
        Ok(Started {
            store: Self { live, jobs },
            first,
            news,
        })
    }

    /// What tokens are checked against.
    pub fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// Carries out a change (or a question). When it returns, every token check sees it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            let done = work(store);
            // Whoever asked may have gone away.
            Box::new(move || drop(sender.send(done)))
        });
        let gone = || StoreError::File("the database's thread has ended".into());
        self.jobs.send(job).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

struct Watch {
    store: Store,
    seen: (i64, Option<String>),
    live: Arc<Live>,
    outgoing: mpsc::UnboundedSender<News>,
}

impl Watch {
    fn run(mut self, mailbox: &Receiver<Job>) {
        loop {
            match mailbox.recv_timeout(LOOK_EVERY) {
                Ok(job) => {
                    let answer = job(&mut self.store);
                    let news = std::mem::take(&mut self.store.news);
                    self.live.revoke(tokens(&news.revoked), unix_now());
                    self.look(true);
                    if !news.is_empty() {
                        // Nobody listens where there are no other nodes.
                        let _ = self.outgoing.send(news);
                    }
                    answer();
                }
                Err(RecvTimeoutError::Timeout) => self.look(false),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Reads again what has changed. `written`: this connection wrote, which the database's own
    /// counter does not tell.
    fn look(&mut self, written: bool) {
        if let Err(error) = self.try_look(written) {
            tracing::error!(%error, "accounts and users cannot be read; the last state stays");
        }
    }

    fn try_look(&mut self, written: bool) -> Result<(), StoreError> {
        let version = self.store.version()?;
        if version == self.seen.0 && !written {
            return Ok(());
        }
        let directory_version = self.store.directory_version()?;
        if directory_version != self.seen.1 {
            self.live.replace(self.store.directory()?);
            tracing::debug!("accounts and users read again");
        }
        self.live.revoke(tokens(&self.store.revoked()?), unix_now());
        self.seen = (version, directory_version);
        Ok(())
    }
}

/// Those that can be read.
fn tokens(revoked: &[RevokedToken]) -> impl Iterator<Item = (TokenDigest, u64)> {
    revoked.iter().filter_map(|token| {
        let digest = unhex32(&token.digest)?;
        Some((TokenDigest(digest), token.expires))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewAccount;

    #[tokio::test]
    async fn what_another_process_writes_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let started = LiveStore::start(folder.path()).expect("starts");
        assert!(started.first.is_some());
        let live = started.store.live();
        let mut news = live.news();
        let mut beside = Store::open(folder.path()).expect("opens");
        let new = NewAccount {
            name: "Acme",
            ..NewAccount::default()
        };
        let made = beside.create_account(&new).expect("made");
        while live.directory().account(&made.id).is_none() {
            news.changed().await.expect("news");
        }
        let digest = crate::model::TokenDigest([1; 32]);
        beside.revoke(&digest, unix_now() + 60).expect("revoked");
        while !live.is_revoked(&digest) {
            news.changed().await.expect("news");
        }
    }

    #[tokio::test]
    async fn a_change_is_seen_when_it_returns_and_told_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut started = LiveStore::start(folder.path()).expect("starts");
        let new = |store: &mut Store| {
            store.create_account(&NewAccount {
                name: "Acme",
                ..NewAccount::default()
            })
        };
        let id = started.store.run(new).await.expect("made").id;
        let live = started.store.live();
        assert!(live.directory().account(&id).is_some());
        let of = id.clone();
        let disable = move |store: &mut Store| {
            let change = crate::store::AccountChange {
                enabled: Some(false),
                ..Default::default()
            };
            store.change_account(&of, &change)
        };
        started.store.run(disable).await.expect("changed");
        let directory = live.directory();
        assert!(directory.account(&id).is_some_and(|found| !found.enabled));
        let news = started.news.recv().await.expect("news");
        assert_eq!(news.changes[0].id, id.as_str());
        assert!(!news.changes[0].state.enabled);
    }
}
