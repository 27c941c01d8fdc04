//! What all resources share.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use md5::{Digest, Md5};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::envelope::ApiError;
use super::limits::Buckets;
use crate::cluster::Cluster;
use crate::gateway::Shared;
use crate::node::Node;
use crate::settings::ApiSettings;
use crate::store::{LiveStore, Store, StoreError};

/// Log-ins whose slow hash is computed at a time.
const LOGINS_AT_ONCE: usize = 2;
/// Listings of sockets that are gathered at a time.
const LISTINGS_AT_ONCE: usize = 16;
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
    /// base64url of the MD5 of the node's name.
    pub(super) node: Arc<String>,
    pub(super) logins: Semaphore,
    /// Listings under way: each is work for all nodes.
    pub(super) listings: Semaphore,
    /// Requests without a valid token, by client.
    pub(super) requests: Buckets<IpAddr>,
    /// Log-in attempts, by client and by account.
    pub(super) attempts: Buckets<IpAddr>,
    pub(super) attempts_at: Buckets<String>,
    /// The gateway stops.
    pub(super) stop: CancellationToken,
}

impl ApiState {
    /// `stop` tells when the gateway stops.
    pub fn new(
        shared: Arc<Shared>,
        store: LiveStore,
        this_node: Arc<Node>,
        cluster: Cluster,
        settings: ApiSettings,
        stop: CancellationToken,
    ) -> Self {
        Self {
            shared,
            store,
            this_node,
            cluster,
            node: Arc::new(node_hash(&settings.node)),
            logins: Semaphore::new(LOGINS_AT_ONCE),
            listings: Semaphore::new(LISTINGS_AT_ONCE),
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

    /// Work that takes tens of milliseconds of CPU, such as a password's hash: few at a time.
    pub(super) async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = self.logins.acquire().await;
        let _permit = permit.map_err(|_| ApiError::fault())?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| ApiError::fault())
    }
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
