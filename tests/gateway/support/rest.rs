//! The API as its users see it: callers with a token, accounts, users, and tokens of every kind.

use std::sync::Arc;

use blackhole::auth::credentials::{Method, credential};
use blackhole::auth::{Authority, Directory, Live, NewToken, token};
use blackhole::model::clock::unix_now;
use blackhole::model::{AccountId, Claims};
use blackhole::store::Store;
use serde_json::{Value, json};

use super::{Account, Answer, Client, Server, request, subscribe};

/// The password of every user of the tests.
pub(crate) const PASSWORD: &str = "secret-1";

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    address: std::net::SocketAddr,
    pub(crate) token: String,
}

impl Caller {
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = [("x-auth-token", self.token.as_str())];
        request(self.address, method, path, &headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, "").await
    }

    pub(crate) async fn put(&self, path: &str, data: Value) -> Answer {
        self.send("PUT", path, data).await
    }

    pub(crate) async fn post(&self, path: &str, data: Value) -> Answer {
        self.send("POST", path, data).await
    }

    pub(crate) async fn patch(&self, path: &str, data: Value) -> Answer {
        self.send("PATCH", path, data).await
    }

    async fn send(&self, method: &str, path: &str, data: Value) -> Answer {
        self.ask(method, path, &json!({ "data": data }).to_string())
            .await
    }
}

/// A user that was made.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) path: String,
}

/// A master account, with Acme and Other below it, and Sales below Acme: each with a token.
pub(crate) struct World {
    pub(crate) master: Account,
    pub(crate) acme: Account,
    pub(crate) sales: Account,
    pub(crate) other: Account,
}

impl World {
    pub(crate) async fn new(server: &Server) -> Self {
        let master = server.signer().master();
        let acme = server.child(&master, "Acme").await;
        let sales = server.child(&acme, "Sales").await;
        let other = server.child(&master, "Other").await;
        Self {
            master,
            acme,
            sales,
            other,
        }
    }
}

impl Account {
    pub(crate) fn path(&self) -> String {
        format!("/v2/accounts/{}", self.id)
    }
}

impl Server {
    pub(crate) fn caller(&self, token: &str) -> Caller {
        Caller {
            address: self.api,
            token: token.to_owned(),
        }
    }

    /// Whoever has the token of an account as such.
    pub(crate) fn of(&self, account: &Account) -> Caller {
        self.caller(&account.token)
    }

    /// An account below one of the tests' own.
    pub(crate) async fn child(&self, parent: &Account, name: &str) -> Account {
        let made = self
            .of(parent)
            .put(&parent.path(), json!({ "name": name }))
            .await
            .data(201);
        let id = made["id"].as_str().unwrap().to_owned();
        let token = self.signer().token(&id, None);
        Account { id, token }
    }

    /// A user with [`PASSWORD`].
    pub(crate) async fn user(&self, account: &Account, name: &str, level: &str) -> User {
        let data = json!({"username":name,"password":PASSWORD,"priv_level":level});
        let users = format!("{}/users", account.path());
        let made = self.of(account).put(&users, data).await.data(201);
        let id = made["id"].as_str().unwrap().to_owned();
        User {
            path: format!("{users}/{id}"),
            account: account.id.clone(),
            id,
        }
    }

    /// A user's token, without a log-in.
    pub(crate) fn user_caller(&self, user: &User) -> Caller {
        let token = self.signer().token(&user.account, Some(&user.id));
        self.caller(&token)
    }

    pub(crate) async fn log_in(&self, data: Value) -> Answer {
        let body = json!({ "data": data }).to_string();
        request(self.api, "PUT", "/v2/user_auth", &[], &body).await
    }

    /// The accounts, users and keys of this moment.
    pub(crate) fn signer(&self) -> Signer {
        let store = Store::open(&self.folder().join("data")).unwrap();
        let live = Arc::new(Live::new(store.directory().unwrap()));
        Signer(Authority::new(live, Vec::new()))
    }

    /// A socket that subscribed to an account's calls with this token.
    pub(crate) async fn subscriber(&self, token: &str, account: &str) -> Client {
        let mut client = self.client().await;
        let wanted = subscribe(token, account, "call.CHANNEL_CREATE.*");
        let reply = client.ask(wanted).await;
        assert_eq!(reply["status"], "success", "{reply}");
        client
    }

    /// Whether a new socket may subscribe: the error, or nothing.
    pub(crate) async fn subscribe_error(&self, token: &str, account: &str) -> Option<String> {
        let mut client = self.client().await;
        let wanted = subscribe(token, account, "call.CHANNEL_CREATE.*");
        let reply = client.ask(wanted).await;
        reply["data"]["errors"][0].as_str().map(str::to_owned)
    }
}

/// Makes tokens with the server's own key, as long as nothing changes.
pub(crate) struct Signer(Authority);

impl Signer {
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.0.directory()
    }

    pub(crate) fn master(&self) -> Account {
        let id = self.directory().master().unwrap().id.to_string();
        Account {
            token: self.token(&id, None),
            id,
        }
    }

    pub(crate) fn token(&self, account: &str, owner: Option<&str>) -> String {
        self.token_until(account, owner, unix_now() + 3600)
    }

    pub(crate) fn token_until(&self, account: &str, owner: Option<&str>, exp: u64) -> String {
        let directory = self.directory();
        let account = AccountId::parse(account).unwrap();
        let token = self.0.issue(NewToken {
            account: directory.account(&account).unwrap(),
            owner,
            method: "cb_api_auth",
            expires_at: exp,
            id: blackhole::entropy::random_id(),
        });
        token.unwrap().expose().to_owned()
    }

    /// Whatever the claims say.
    pub(crate) fn sign(&self, claims: &Claims) -> String {
        let directory = self.directory();
        let key = directory.newest_key().unwrap();
        token::sign(claims, &key.kid, &key.encoding).unwrap()
    }
}

pub(crate) fn md5(username: &str, password: &str) -> String {
    credential(Method::Md5, username, password)
}

pub(crate) fn sha1(username: &str, password: &str) -> String {
    credential(Method::Sha1, username, password)
}

/// The members of a listing's entries.
pub(crate) fn column(listing: &Value, member: &str) -> Vec<String> {
    let entries = listing.as_array().unwrap().iter();
    entries
        .map(|entry| entry[member].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// All routes with a hole for each id, and whether they can be used without a token. Written down here
/// once more: a method that is added to a path, or opened to all, by mistake shows.
pub(crate) const ROUTES: &[(&str, &str, bool)] = &[
    ("PUT", "/v2/user_auth", true),
    ("PUT", "/v2/api_auth", true),
    ("GET", "/v2/auth/tokeninfo", true),
    ("POST", "/v2/auth/tokeninfo", true),
    ("GET", "/v2/token_auth", false),
    ("DELETE", "/v2/token_auth", false),
    ("GET", "/v2/accounts/{A}", false),
    ("PUT", "/v2/accounts/{A}", false),
    ("POST", "/v2/accounts/{A}", false),
    ("PATCH", "/v2/accounts/{A}", false),
    ("DELETE", "/v2/accounts/{A}", false),
    ("POST", "/v2/accounts/{A}/move", false),
    ("PUT", "/v2/accounts/{A}/api_key", false),
    ("GET", "/v2/accounts/{A}/children", false),
    ("GET", "/v2/accounts/{A}/descendants", false),
    ("GET", "/v2/accounts/{A}/parents", false),
    ("GET", "/v2/accounts/{A}/users", false),
    ("PUT", "/v2/accounts/{A}/users", false),
    ("GET", "/v2/accounts/{A}/users/{U}", false),
    ("POST", "/v2/accounts/{A}/users/{U}", false),
    ("PATCH", "/v2/accounts/{A}/users/{U}", false),
    ("DELETE", "/v2/accounts/{A}/users/{U}", false),
    ("GET", "/v2/websockets", true),
    ("GET", "/v2/accounts/{A}/websockets", false),
    ("GET", "/v2/accounts/{A}/websockets/{S}", false),
    ("DELETE", "/v2/accounts/{A}/websockets/{S}", false),
    ("PUT", "/v2/events", false),
    ("GET", "/v2/openapi.json", true),
    ("GET", "/v2/asyncapi.json", true),
];
