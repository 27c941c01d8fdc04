//! `PUT /v2/api_auth`: log in with an account's API key (kazoo-rest.md B.2), and the making of such
//! keys.

use serde_json::json;

use super::about::about;
use super::envelope::{Answer, Success};
use super::fields::Fields;
use super::request::Request;
use super::user_auth::{check_enabled, failed, issue, limit_address};
use crate::auth::token::sha256;
use crate::store::{API_KEY_LENGTH, Store};

pub(super) async fn log_in(request: &Request) -> Answer {
    let state = &request.state;
    limit_address(state, request.peer)?;
    let mut fields = Fields::new(request.data()?);
    let key = fields.secret("api_key", API_KEY_LENGTH..=API_KEY_LENGTH, true);
    fields.done()?;
    let directory = state.shared.authority.directory();
    let hash = sha256(&key.unwrap_or_default());
    let Some(account) = directory.by_api_key(&hash) else {
        return Err(failed(state, request.peer));
    };
    check_enabled(account)?;
    let token = issue(state, account, None, "cb_api_auth")?;
    Ok(Success {
        auth_token: Some(token),
        location: Some(format!("/v2/api_auth/{}", account.id)),
        ..Success::created(about(&directory, &account.id, None, None))
    })
}

/// Makes a new key and shows it, this once. The old one is worth nothing any more.
pub(super) async fn new_key(request: &Request) -> Answer {
    let account = request.known_id()?;
    let work = move |store: &mut Store| store.new_api_key(&account);
    let key = request.state.change(work).await?;
    Ok(Success {
        secret: true,
        ..Success::created(json!({ "api_key": key.expose() }))
    })
}
