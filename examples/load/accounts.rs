//! Accounts of the server, and what sockets of theirs say first.

use std::sync::Arc;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};

use crate::Lab;
use crate::api::Http;
use crate::server::Server;
use crate::socket::{Hello, masked};

/// Bindings in one message; the server takes no more.
const IN_A_MESSAGE: usize = 1000;

/// Whose events.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) realm: String,
}

impl Account {
    /// The master account, for scenarios that need only one.
    pub(crate) fn master(server: &Server) -> Self {
        Self {
            id: server.account.clone(),
            realm: "master.example.com".into(),
        }
    }

    /// What a socket says to get events of this account. The master account's token may do that.
    pub(crate) fn hello(&self, server: &Server, bindings: &[String]) -> Hello {
        let message = |bindings: &[String]| {
            let message = json!({
                "action": "subscribe",
                "auth_token": server.token,
                "data": {"account_id": self.id, "bindings": bindings},
            });
            masked(&message.to_string())
        };
        bindings.chunks(IN_A_MESSAGE).map(message).collect()
    }
}

/// So many new accounts.
pub(crate) fn create(lab: &Lab, server: &Server, count: usize) -> anyhow::Result<Arc<[Account]>> {
    let path = format!("/v2/accounts/{}", server.account);
    let mut http = Http::new(server);
    lab.runtime.block_on(async {
        let mut accounts = Vec::with_capacity(count);
        for number in 0..count {
            let realm = format!("load-{number}.example.com");
            let body = json!({"data": {"name": format!("Load {number}"), "realm": realm}});
            let answer = http.send(Method::PUT, &path, body.to_string()).await?;
            let answer: Value = serde_json::from_slice(&answer)?;
            let id = answer["data"]["id"].as_str();
            let id = id.context("a new account has no id")?.to_owned();
            accounts.push(Account { id, realm });
        }
        Ok(accounts.into())
    })
}
