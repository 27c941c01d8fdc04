//! This node as others see it: what it answers when other nodes, or the API, ask for its sockets, and
//! what it does when they tell it of changes.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::auth::Directory;
use crate::cluster::{
    self, Answering, ModuleAction, ModuleAnswer, ModuleRequest, Reach, SocketQuestion,
};
use crate::gateway::{CloseReason, Handle, Shared};
use crate::model::AccountId;
use crate::model::clock::gregorian;
use crate::session::Listing;
use crate::store::{LiveStore, News};

/// What Kazoo's names of modules begin with: `bh_fax` is the category `fax`.
const MODULE: &str = "bh_";

/// Its sockets, its database, its name.
#[derive(Debug)]
pub struct Node {
    name: String,
    shared: Arc<Shared>,
    store: LiveStore,
    /// Categories are started and stopped one after the other.
    categories: Mutex<()>,
}

impl Node {
    /// Of this name. What was stopped when it ran before is stopped again.
    pub async fn new(name: String, shared: Arc<Shared>, store: LiveStore) -> Self {
        let own = name.clone();
        match store.run(move |store| store.stopped_categories(&own)).await {
            Ok(stopped) => shared.catalogue.stop(stopped),
            Err(error) => tracing::error!(%error, "stopped categories cannot be read"),
        }
        Self {
            name,
            shared,
            store,
            categories: Mutex::default(),
        }
    }

    /// Sockets of this node that the question covers (kazoo-amqp.md 7.1). A single one is compared
    /// with the account, too, which the original forgets.
    pub fn sockets(&self, question: &SocketQuestion) -> Vec<Map<String, Value>> {
        let directory = self.shared.authority.directory();
        let handles = match &question.socket {
            Some(id) => self.shared.registry.get(id).into_iter().collect(),
            None => self.shared.registry.all(),
        };
        let shown = handles.iter().filter_map(|handle| {
            handle.with_listing(|listing| {
                let account = listing.identity.as_ref().map(|found| &found.account);
                covers(question, account, &directory)
                    .then(|| self.describe(handle, listing, question.details))
            })
        });
        shown.collect()
    }

    /// Closes a socket of this account; false: it is not here.
    pub fn close_socket(&self, account: &AccountId, id: &str) -> bool {
        let Some(handle) = self.shared.registry.get(id) else {
            return false;
        };
        let own = handle.with_listing(|listing| {
            let identity = listing.identity.as_ref();
            identity.is_some_and(|identity| identity.account == *account)
        });
        if own {
            handle.close(CloseReason::Administrator);
        }
        own
    }

    /// Kazoo's socket object, with `details` all that we know.
    fn describe(&self, handle: &Handle, listing: &Listing, details: bool) -> Map<String, Value> {
        let host = self
            .name
            .split_once('@')
            .map_or(&*self.name, |(_, host)| host);
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("bindings", json!(listing.bindings));
        put("websocket_session_id", handle.id.as_str().into());
        put("timestamp", gregorian(handle.opened).into());
        put("destination", host.into());
        put(
            "source",
            handle.source.ip().to_canonical().to_string().into(),
        );
        let notes = [("name", &listing.name), ("metadata", &listing.metadata)];
        for (key, note) in notes {
            if let Some(note) = note {
                put(key, note.clone());
            }
        }
        if details {
            let account = listing.identity.as_ref();
            put(
                "account_id",
                json!(account.map(|found| found.account.as_str())),
            );
            put("node", self.name.as_str().into());
            put("source_port", handle.source.port().into());
            put("sent", handle.sent().into());
            put("dropped", handle.lost().into());
            put("waiting_bytes", handle.waiting().into());
        }
        object
    }

    async fn module(&self, request: ModuleRequest) -> ModuleAnswer {
        let ModuleRequest {
            module,
            action,
            persist,
        } = request;
        let category = module.strip_prefix(MODULE).unwrap_or(&module).to_owned();
        let catalogue = &self.shared.catalogue;
        let start = action == ModuleAction::Start;
        if !catalogue.has(&category) {
            return ModuleAnswer {
                started: false,
                persisted: !start,
                error: start.then(|| "module doesn't exist".into()),
            };
        }
        let _one = self.categories.lock().await;
        let mut stopped = catalogue.stopped().to_vec();
        stopped.retain(|known| *known != category);
        if !start {
            stopped.push(category.clone());
        }
        catalogue.stop(stopped);
        tracing::info!(
            category,
            start,
            persist,
            "a category was started or stopped"
        );
        let persisted = persist && self.persist(category, start).await;
        ModuleAnswer {
            started: start,
            // The original's answer to a stop, whatever was asked for.
            persisted: persisted || !start,
            error: None,
        }
    }

    async fn persist(&self, category: String, start: bool) -> bool {
        let node = self.name.clone();
        let written = self.store.run(move |store| {
            let mut stopped = store.stopped_categories(&node)?;
            stopped.retain(|known| *known != category);
            if !start {
                stopped.push(category);
            }
            store.set_stopped_categories(&node, &stopped)
        });
        let written = written.await;
        if let Err(error) = &written {
            tracing::error!(%error, "stopped categories cannot be written");
        }
        written.is_ok()
    }
}

impl cluster::Node for Node {
    fn sockets(&self, question: &SocketQuestion) -> Vec<Map<String, Value>> {
        Self::sockets(self, question)
    }

    fn close_socket(&self, account: &AccountId, socket: &str) -> bool {
        Self::close_socket(self, account, socket)
    }

    fn module(&self, request: ModuleRequest) -> Answering<'_, ModuleAnswer> {
        Box::pin(Self::module(self, request))
    }

    fn told(&self, notice: Value) {
        let news: News = match serde_json::from_value(notice) {
            Ok(news) => news,
            Err(error) => {
                return tracing::warn!(%error, "a notice of another node is not understood");
            }
        };
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.run(move |store| store.learn(&news)).await {
                tracing::error!(%error, "what another node told cannot be kept");
            }
        });
    }

    fn known(&self) -> Answering<'_, Option<Value>> {
        Box::pin(async {
            let news = self.store.run(|store| store.all_news()).await;
            let news = news.inspect_err(|error| tracing::error!(%error, "changes cannot be read"));
            news.ok()
                .filter(|news| !news.is_empty())
                .and_then(|news| serde_json::to_value(news).ok())
        })
    }
}

/// Whether a question is for a socket of this account; `None`: nobody has logged in on it yet.
fn covers(question: &SocketQuestion, account: Option<&AccountId>, directory: &Directory) -> bool {
    match (question.reach, account) {
        (Reach::All, _) => true,
        (_, None) => false,
        (Reach::Tree, Some(account)) => directory.is_within(account, &question.account),
        (Reach::Account, Some(account)) => {
            *account == question.account
                || (question.socket.is_none() && question.auth_account.as_ref() == Some(account))
        }
    }
}
