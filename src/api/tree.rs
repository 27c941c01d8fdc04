//! The accounts around one: children, descendants, parents, and moving it.

use serde_json::{Value, json};

use super::accounts::{not_own, show};
use super::envelope::{Answer, ApiError, Success};
use super::fields::Fields;
use super::page::{Entry, page};
use super::request::Request;
use crate::auth::{AccountRecord, Directory};
use crate::model::AccountId;

pub(super) async fn children(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    let found = directory.children(&account.id);
    listing(request, &directory, found)
}

pub(super) async fn descendants(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    let found = directory.descendants(&account.id);
    listing(request, &directory, found)
}

/// Those above it, as far as the caller may see them; the highest first, never in pages.
pub(super) async fn parents(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    let above = directory.ancestors(&account.id).into_iter();
    let seen = above
        .filter(|above| request.sees(&directory, &above.id))
        .map(|above| json!({"id": above.id.as_str(), "name": above.name}));
    Ok(Success::ok(seen.collect()))
}

/// `POST .../move` with `to`: under another account, with all below it.
pub(super) async fn move_to(request: &Request) -> Answer {
    let id = request.known_id()?;
    not_own(request, &id)?;
    let mut fields = Fields::new(request.data()?);
    let to = fields.required("to", 32..=32);
    fields.done()?;
    let to = target(request, &to)?;
    let moved = request
        .state
        .change(move |store| store.move_account(&id, &to))
        .await?;
    let directory = request.directory();
    Ok(Success::ok(show(request, &directory, &moved)))
}

/// The new parent, which must be in the caller's reach as well.
fn target(request: &Request, to: &str) -> Result<AccountId, ApiError> {
    let directory = request.directory();
    let seen = |to: &AccountId| directory.account(to).is_some() && request.sees(&directory, to);
    AccountId::parse(to).filter(seen).ok_or_else(|| {
        let details = json!({"message":"account not found","value":to});
        ApiError::validation("to", "not_found", details)
    })
}

/// Kazoo's entries (kazoo-rest.md G.5), by name.
fn listing<'d>(
    request: &Request,
    directory: &Directory,
    accounts: impl IntoIterator<Item = &'d AccountRecord>,
) -> Answer {
    let entries = accounts.into_iter().map(|account| Entry {
        key: format!("{}\n{}", account.name.to_lowercase(), account.id),
        value: entry(request, directory, account),
    });
    page(&request.query, entries.collect(), true)
}

/// `tree` begins with the highest account that the caller may see.
fn entry(request: &Request, directory: &Directory, account: &AccountRecord) -> Value {
    let above = directory.ancestors(&account.id).into_iter();
    let seen = above.filter(|above| request.sees(directory, &above.id));
    let tree: Vec<&str> = seen.map(|above| above.id.as_str()).collect();
    json!({
        "id": account.id.as_str(),
        "name": account.name,
        "realm": account.realm,
        "enabled": account.enabled,
        "tree": tree,
    })
}
