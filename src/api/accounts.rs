//! `/v2/accounts/{ACCOUNT_ID}`: one account, read and changed (kazoo-rest.md G.2 for its members).

use serde_json::{Map, Value, json};

use super::envelope::{Answer, ApiError, Success};
use super::fields::Fields;
use super::request::Request;
use crate::auth::{AccountRecord, Directory, Document};
use crate::model::AccountId;
use crate::model::clock::gregorian;
use crate::store::{AccountChange, DocumentChange, NewAccount};

/// Fields that are the gateway's: what a client sends of them is no part of its own document.
const OWN: [&str; 11] = [
    "id",
    "name",
    "realm",
    "enabled",
    "superduper_admin",
    "is_reseller",
    "reseller_id",
    "parent_id",
    "tree",
    "created",
    "api_key",
];

pub(super) async fn get(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    Ok(Success::ok(show(&directory, account)))
}

/// `PUT`: a new account below this one.
pub(super) async fn create_child(request: &Request) -> Answer {
    let parent = request.known_id()?;
    let (wanted, document) = read(request.data()?, true)?;
    check_realm(request, &parent, wanted.realm.as_deref())?;
    let made = request.state.change(move |store| {
        store.create_account(&NewAccount {
            name: wanted.name.as_deref().unwrap_or_default(),
            parent: Some(parent.as_str()),
            realm: wanted.realm.as_deref(),
            disabled: wanted.enabled == Some(false),
            document: own_fields(document, &OWN),
            ..NewAccount::default()
        })
    });
    let made = made.await?;
    let directory = request.directory();
    Ok(Success {
        location: Some(format!("/v2/accounts/{}", made.id)),
        ..Success::created(show(&directory, &made))
    })
}

/// `POST`: all fields anew; `name` must be among them.
pub(super) async fn replace(request: &Request) -> Answer {
    let (change, document) = read(request.data()?, true)?;
    let change = AccountChange {
        document: Some(DocumentChange::Replace(own_fields(document, &OWN))),
        ..change
    };
    apply(request, change).await
}

/// `PATCH`: only what is named; `null` removes a field of the client's own.
pub(super) async fn change(request: &Request) -> Answer {
    let (change, document) = read(request.data()?, false)?;
    let change = AccountChange {
        document: Some(DocumentChange::Merge(own_fields(document, &OWN))),
        ..change
    };
    apply(request, change).await
}

/// `DELETE`: with its users. Not one with accounts below it, and not one's own.
pub(super) async fn delete(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    let (shown, id) = (show(&directory, account), account.id.clone());
    not_own(request, &id)?;
    request
        .state
        .change(move |store| store.delete_account(&id))
        .await?;
    Ok(Success::ok(shown))
}

async fn apply(request: &Request, change: AccountChange) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    let id = account.id.clone();
    if change.enabled == Some(false) {
        not_own(request, &id)?;
    }
    // What was read may be sent back.
    let realm = change.realm.as_deref().map(str::to_lowercase);
    if realm != account.realm {
        let above = account.parent.as_ref().unwrap_or(&account.id);
        check_realm(request, above, change.realm.as_deref())?;
    }
    let changed = request
        .state
        .change(move |store| store.change_account(&id, &change))
        .await?;
    let directory = request.directory();
    Ok(Success::ok(show(&directory, &changed)))
}

/// Nobody locks himself out, and nobody removes the master account.
pub(super) fn not_own(request: &Request, account: &AccountId) -> Result<(), ApiError> {
    let directory = request.directory();
    let master = directory.master().map(|master| &master.id);
    if request.caller()?.account == *account || master == Some(account) {
        let cause = "only an account above may do this";
        return Err(ApiError::forbidden_because(cause));
    }
    Ok(())
}

/// Whose realm it is gets the presence events of that realm, whoever else may use it in Kazoo: a free
/// choice is for super-duper admins, all others choose below the realm of the account above.
fn check_realm(request: &Request, parent: &AccountId, realm: Option<&str>) -> Result<(), ApiError> {
    let directory = request.directory();
    let above = directory.account(parent);
    let above = above.and_then(|above| above.realm.as_deref());
    let Some(realm) = realm.filter(|_| !request.caller().is_ok_and(|caller| caller.superduper))
    else {
        return Ok(());
    };
    let below = |above: &str| {
        let name = realm.to_lowercase();
        let label = name.strip_suffix(above);
        label.is_some_and(|label| label.len() > 1 && label.ends_with('.'))
    };
    if above.is_some_and(below) {
        return Ok(());
    }
    let message = "Realm must lie below the realm of the account above";
    let details = json!({"message":message,"target":above,"value":realm});
    Err(ApiError::validation("realm", "forbidden", details))
}

fn read(
    data: Map<String, Value>,
    name_required: bool,
) -> Result<(AccountChange, Document), ApiError> {
    let mut fields = Fields::new(data);
    let name = if name_required {
        Some(fields.required("name", 1..=128))
    } else {
        fields.text("name", 1..=128)
    };
    let change = AccountChange {
        name,
        realm: fields.text("realm", 4..=253),
        enabled: fields.flag("enabled"),
        document: None,
    };
    Ok((change, fields.done()?))
}

/// What is left for the client's own document: no field of ours, and none that could pass for a
/// private one of Kazoo's.
pub(super) fn own_fields(mut data: Document, ours: &[&str]) -> Document {
    data.retain(|key, _| {
        let private = key.starts_with("pvt_") || key.starts_with('_');
        !private && !ours.contains(&key.as_str())
    });
    data
}

/// The account as clients see it: nothing secret.
pub(super) fn show(directory: &Directory, account: &AccountRecord) -> Value {
    let master = directory.master().map(|master| &master.id);
    let mut shown = account.document.clone();
    let parent = account.parent.as_ref().map(AccountId::as_str);
    for (key, value) in [
        ("id", json!(account.id.as_str())),
        ("name", json!(account.name)),
        ("realm", json!(account.realm)),
        ("enabled", json!(account.enabled)),
        ("superduper_admin", json!(account.superduper)),
        ("is_reseller", json!(master == Some(&account.id))),
        ("reseller_id", json!(master.map(AccountId::as_str))),
        ("parent_id", json!(parent)),
        ("created", json!(gregorian(account.created))),
    ] {
        shown.insert(key.to_owned(), value);
    }
    shown.into()
}
