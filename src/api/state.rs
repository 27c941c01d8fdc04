//! What all resources share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use md5::{Digest, Md5};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::console::Console;
use super::envelope::ApiError;
use super::limits::Buckets;
use crate::cluster::Cluster;
use crate::gateway::Shared;
use crate::model::AccountId;
use crate::node::Node;
use crate::settings::ApiSettings;
use crate::store::{LiveStore, Store, StoreError};

/// Log-ins whose slow hash is computed at a time.
const LOGINS_AT_ONCE: usize = 2;
/// Listings of sockets that are gathered at a time.
const LISTINGS_AT_ONCE: usize = 16;
/// For a place among those.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Listings for the users of one account: at once, and a second after that.
const LISTINGS_OF_ACCOUNT: (u32, u32) = (100, 20);
/// New passwords that the users of one account make, the same.
const HASHES_OF_ACCOUNT: (u32, u32) = (40, 2);
/// Log-in attempts of one address: at once, and a second after that (kazoo-rest.md A.11, narrower,
/// for each costs tens of milliseconds of CPU).
const LOGINS_OF_ADDRESS: (u32, u32) = (20, 2);
/// Log-in attempts at one account, from wherever they come.
const LOGINS_OF_ACCOUNT: (u32, u32) = (40, 2);

/// What the resources need.
#[derive(Debug)]
pub struct ApiState {
    pub(super) shared: Arc<Shared>,
    pub(super) store: LiveStore,
    /// This node, as others see it too.
    pub(super) this_node: Arc<Node>,
    /// The other nodes.
    pub(super) cluster: Cluster,
    pub(super) settings: ApiSettings,
    /// `None`: switched off.
    pub(super) console: Option<Console>,
    /// base64url of the MD5 of the node's name.
    pub(super) node: Arc<String>,
    pub(super) logins: Arc<Semaphore>,
    /// Listings under way: each is work for all nodes.
    pub(super) listings: Arc<Semaphore>,
    pub(super) listings_of: Buckets<String>,
    /// New passwords, by the caller's account.
    pub(super) hashes: Buckets<String>,
    /// Requests without a valid token, by client.
    pub(super) requests: Buckets<IpAddr>,
    /// Log-in attempts, by client and by account.
    pub(super) attempts: Buckets<IpAddr>,
    pub(super) attempts_at: Buckets<String>,
    /// The gateway stops.
    pub(super) stop: CancellationToken,
}

impl ApiState {
    /// Without a console `/` is no path; `stop` tells when the gateway stops.
    pub fn new(
        shared: Arc<Shared>,
        store: LiveStore,
        this_node: Arc<Node>,
        cluster: Cluster,
        settings: ApiSettings,
        console: Option<Console>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            shared,
            store,
            this_node,
            cluster,
            console,
            node: Arc::new(node_hash(&settings.node)),
            logins: Arc::new(Semaphore::new(LOGINS_AT_ONCE)),
            listings: Arc::new(Semaphore::new(LISTINGS_AT_ONCE)),
            listings_of: Buckets::new(LISTINGS_OF_ACCOUNT.0, LISTINGS_OF_ACCOUNT.1),
            hashes: Buckets::new(HASHES_OF_ACCOUNT.0, HASHES_OF_ACCOUNT.1),
            requests: Buckets::new(settings.rate_burst, settings.rate_per_second),
            attempts: Buckets::new(LOGINS_OF_ADDRESS.0, LOGINS_OF_ADDRESS.1),
            attempts_at: Buckets::new(LOGINS_OF_ACCOUNT.0, LOGINS_OF_ACCOUNT.1),
            settings,
            stop,
        }
    }

    /// A change of accounts or users; what the store refuses is the client's mistake.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.store.run(work).await.map_err(|error| match error {
            StoreError::Refused {
                rule: "not_found", ..
            } => ApiError::not_found(),
            StoreError::Refused {
                field,
                rule,
                reason,
            } => ApiError::validation(field, rule, serde_json::json!({ "message": reason })),
            error => {
                tracing::error!(%error, "the database cannot be written");
                ApiError::unavailable("datastore fatal error")
            }
        })
    }

    /// Work that takes tens of milliseconds of CPU, such as a password's hash: few at a time, and 503
    /// for whoever would wait too long.
    pub(super) async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = place(self.logins.clone()).await?;
        let working = move || {
            // Held to the end of the work, also when nobody waits for it any more.
            let _permit = permit;
            work()
        };
        let done = tokio::task::spawn_blocking(working).await;
        done.map_err(|_| ApiError::fault())
    }

    /// A place among those who gather a listing of sockets for this account.
    pub(super) async fn listing(
        &self,
        caller: &AccountId,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let taken = self.listings_of.take(caller.to_string());
        taken.map_err(ApiError::too_many_requests)?;
        place(self.listings.clone()).await
    }
}

async fn place(places: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ApiError> {
    let waiting = timeout(LONGEST_WAIT, places.acquire_owned()).await;
    let permit = waiting.map_err(|_| ApiError::unavailable("too much to do, try again"))?;
    permit.map_err(|_| ApiError::fault())
}

fn node_hash(node: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Md5::digest(node.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_as_kazoo_names_it() {
        assert_eq!(node_hash("gw@127.0.0.1"), "F_EHiC4EzTqGlaYru2S_RQ");
    }
}
