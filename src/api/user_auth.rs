//! `PUT /v2/user_auth`: log in with Kazoo's credentials (kazoo-rest.md B.1).

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::about::about;
use super::envelope::{Answer, ApiError, Success};
use super::fields::Fields;
use super::request::Request;
use super::state::ApiState;
use crate::auth::credentials::{Method, same, slow_hash};
use crate::auth::{AccountRecord, Directory, NewToken, UserRecord, normal_name};
use crate::entropy::random_id;
use crate::model::clock::unix_now;
use crate::model::{AccountId, client_network};

/// Accounts of one name that are tried; each costs a slow hash.
const MAX_ACCOUNTS: usize = 8;

/// The same answer, after the same work, for an unknown account, an unknown user and a wrong
/// password.
pub(super) async fn log_in(request: &Request) -> Answer {
    let state = &request.state;
    let address = request.peer;
    limit_address(state, address)?;
    let (method, credentials, data) = read(request.data()?)?;
    let directory = state.shared.authority.directory();
    let (accounts, named) = accounts(&directory, &data);
    // By what was asked for, whether there is such an account or not: nobody learns which exist.
    limited(state, state.attempts_at.take(named))?;

    let salts: Vec<[u8; 16]> = if accounts.is_empty() {
        vec![[0; 16]]
    } else {
        accounts.iter().map(|account| account.salt).collect()
    };
    let hashing = move || {
        salts
            .iter()
            .map(|salt| slow_hash(&credentials, salt))
            .collect::<Vec<_>>()
    };
    let hashes = state.slowly(hashing).await?;
    let found = accounts.iter().zip(&hashes).find_map(|(account, hash)| {
        let user = user_with(&directory, account, method, hash)?;
        Some((*account, user))
    });
    let Some((account, user)) = found else {
        return Err(failed(state, address));
    };
    check_enabled(account)?;
    let token = issue(state, account, Some(&user.id), "cb_user_auth")?;
    Ok(Success {
        auth_token: Some(token),
        location: Some(format!("/v2/user_auth/{}", user.id)),
        ..Success::created(about(&directory, &account.id, Some(user), Some(&user.id)))
    })
}

/// 429 when an address has tried too often.
pub(super) fn limit_address(state: &ApiState, address: IpAddr) -> Result<(), ApiError> {
    limited(state, state.attempts.take(client_network(address)))
}

fn limited(state: &ApiState, taken: Result<u32, u64>) -> Result<(), ApiError> {
    taken.map(drop).map_err(|seconds| {
        state.shared.metrics.login("limited");
        ApiError::too_many_requests(seconds)
    })
}

/// Counts and logs a log-in that failed.
pub(super) fn failed(state: &ApiState, address: IpAddr) -> ApiError {
    state.shared.metrics.login("failed");
    tracing::info!(%address, "log-in failed");
    ApiError::invalid_credentials()
}

/// Only who knows the password, or the key, is told.
pub(super) fn check_enabled(account: &AccountRecord) -> Result<(), ApiError> {
    if account.enabled {
        return Ok(());
    }
    let details = json!({"message":"account disabled"});
    Err(ApiError::validation("account", "disabled", details))
}

/// A token for whoever logged in.
pub(super) fn issue(
    state: &ApiState,
    account: &AccountRecord,
    owner: Option<&str>,
    method: &str,
) -> Result<crate::model::Token, ApiError> {
    let token = state.shared.authority.issue(NewToken {
        account,
        owner,
        method,
        expires_at: unix_now() + state.settings.token_ttl.as_secs(),
        id: random_id(),
    });
    let token = token.map_err(|_| ApiError::fault())?;
    state.shared.metrics.login("success");
    Ok(token)
}

/// Method, credentials in lower case, and the rest.
fn read(data: Map<String, Value>) -> Result<(Method, String, Map<String, Value>), ApiError> {
    let mut fields = Fields::new(data);
    let credentials = fields.secret("credentials", 1..=64, true);
    let method = fields.choice("method", &["md5", "sha"], |text| match text {
        "md5" => Some(Method::Md5),
        "sha" => Some(Method::Sha1),
        _ => None,
    });
    for field in ["account_name", "account_id"] {
        fields.text(field, 1..=128);
    }
    for field in ["account_realm", "realm"] {
        fields.text(field, 4..=253);
    }
    let data = fields.done()?;
    let credentials = credentials.unwrap_or_default().to_lowercase();
    Ok((method.unwrap_or(Method::Md5), credentials, data))
}

/// By realm, else by id, else by name; each falls through when nothing is found. Also by what it was
/// looked for, the same for all ways to write it.
fn accounts<'d>(
    directory: &'d Directory,
    data: &Map<String, Value>,
) -> (Vec<&'d AccountRecord>, String) {
    let text = |field: &str| data.get(field).and_then(Value::as_str);
    let realm = text("account_realm").or_else(|| text("realm"));
    let name = text("account_name");
    let named = [
        realm.map_or_else(String::new, str::to_lowercase),
        text("account_id").unwrap_or_default().to_owned(),
        name.map_or_else(String::new, normal_name),
    ]
    .join("\n");
    if let Some(account) = realm.and_then(|realm| directory.by_realm(realm)) {
        return (vec![account], named);
    }
    let ids = [text("account_id"), name].into_iter().flatten();
    let mut by_id = ids.filter_map(|id| directory.account(&AccountId::parse(id)?));
    if let Some(account) = by_id.next() {
        return (vec![account], named);
    }
    let by_name = name.into_iter().flat_map(|name| directory.by_name(name));
    (by_name.take(MAX_ACCOUNTS).collect(), named)
}

fn user_with<'d>(
    directory: &'d Directory,
    account: &'d AccountRecord,
    method: Method,
    hash: &[u8],
) -> Option<&'d UserRecord> {
    directory
        .users_of(&account.id)
        .filter(|user| user.enabled)
        .find(|user| same(user.hashes.of(method), hash))
}
