//! `PUT /v2/user_auth`: log in with Kazoo's credentials (kazoo-rest.md B.1).

use std::net::IpAddr;

use axum::body::Body;
use serde_json::{Map, Value, json};

use super::envelope::{Answer, ApiError, Success};
use super::request::{bytes, data, text};
use super::router::ApiState;
use crate::auth::credentials::{Method, same, slow_hash};
use crate::auth::{AccountRecord, Directory, NewToken, UserRecord};
use crate::entropy::random_id;
use crate::model::clock::unix_now;

const MAX_BODY: usize = 64 * 1024;
/// Accounts of one name that are tried; each costs a slow hash.
const MAX_ACCOUNTS: usize = 8;

/// The same answer, after the same work, for an unknown account, an unknown user and a wrong
/// password.
pub(super) async fn log_in(state: &ApiState, address: IpAddr, body: Body) -> Answer {
    if !state.may_try(address) {
        state.shared.metrics.login("limited");
        return Err(ApiError::too_many_requests());
    }
    let data = data(&bytes(body, MAX_BODY).await?)?;
    let method = method(&data)?;
    let credentials = credentials(&data)?.to_lowercase();
    let directory = state.shared.authority.directory();
    let accounts = accounts(&directory, &data)?;

    let salts: Vec<[u8; 16]> = if accounts.is_empty() {
        vec![[0; 16]]
    } else {
        accounts.iter().map(|account| account.salt).collect()
    };
    let Ok(_permit) = state.logins.acquire().await else {
        return Err(ApiError::fault());
    };
    let hashing = move || {
        salts
            .iter()
            .map(|salt| slow_hash(&credentials, salt))
            .collect::<Vec<_>>()
    };
    let hashes = tokio::task::spawn_blocking(hashing)
        .await
        .map_err(|_| ApiError::fault())?;
    let found = accounts.iter().zip(&hashes).find_map(|(account, hash)| {
        let user = user_with(&directory, account, method, hash)?;
        Some((*account, user))
    });
    let Some((account, user)) = found else {
        state.shared.metrics.login("failed");
        tracing::info!(%address, "log-in failed");
        return Err(ApiError::invalid_credentials());
    };
    if !account.enabled {
        let details = json!({"message":"account disabled"});
        return Err(ApiError::validation("account", "disabled", details));
    }
    let expires_at = unix_now() + state.token_ttl.as_secs();
    let token = state
        .shared
        .authority
        .issue(NewToken {
            account,
            owner: Some(&user.id),
            method: "cb_user_auth",
            expires_at,
            id: random_id(),
        })
        .map_err(|_| ApiError::fault())?;
    state.shared.metrics.login("success");
    Ok(Success {
        auth_token: Some(token),
        location: Some(format!("/v2/user_auth/{}", user.id)),
        ..Success::created(about(&directory, account, user))
    })
}

fn method(data: &Map<String, Value>) -> Result<Method, ApiError> {
    match text(data, "method")? {
        None | Some("md5") => Ok(Method::Md5),
        Some("sha") => Ok(Method::Sha1),
        Some(other) => {
            let details = json!({
                "message": "Value not found in enumerated list of values",
                "target": ["md5", "sha"],
                "value": other,
            });
            Err(ApiError::validation("method", "enum", details))
        }
    }
}

/// Never repeated in an error.
fn credentials(data: &Map<String, Value>) -> Result<&str, ApiError> {
    let wrong =
        |rule, message| ApiError::validation("credentials", rule, json!({ "message": message }));
    match data.get("credentials") {
        None | Some(Value::Null) => Err(ApiError::required("credentials")),
        Some(Value::String(text)) if text.is_empty() => {
            Err(wrong("minLength", "String must be at least 1 characters"))
        }
        Some(Value::String(text)) if text.len() > 64 => Err(wrong(
            "maxLength",
            "String must not be more than 64 characters",
        )),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(wrong("type", "Value did not match type(s): string")),
    }
}

/// By realm, else by name; each falls through when nothing is found.
fn accounts<'d>(
    directory: &'d Directory,
    data: &Map<String, Value>,
) -> Result<Vec<&'d AccountRecord>, ApiError> {
    let realm = match text(data, "account_realm")? {
        Some(realm) => Some(realm),
        None => text(data, "realm")?,
    };
    let name = text(data, "account_name")?;
    if let Some(account) = realm.and_then(|realm| directory.by_realm(realm)) {
        return Ok(vec![account]);
    }
    Ok(name
        .into_iter()
        .flat_map(|name| directory.by_name(name))
        .take(MAX_ACCOUNTS)
        .collect())
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

/// What Monster UI reads of a log-in (kazoo-rest.md H).
fn about(directory: &Directory, account: &AccountRecord, user: &UserRecord) -> Value {
    let master = directory.master().map(|master| master.id.as_str());
    json!({
        "account_id": account.id.as_str(),
        "owner_id": user.id,
        "account_name": account.name,
        "language": "en-US",
        "is_reseller": master == Some(account.id.as_str()),
        "reseller_id": master,
        "is_master_account": master == Some(account.id.as_str()),
        "cluster_id": directory.cluster_id,
        "capabilities": {"voicemail":{"transcription":{"available":false,"default":false}}},
        "ui_config": {},
        "apps": [],
    })
}
