//! What the simulation needs in the store: accounts at once, their users as fast as passwords can be
//! hashed.

use serde_json::json;

use super::people::{COMPANIES, username};
use super::world::{Known, account_id, user_id};
use crate::auth::credentials::Hashes;
use crate::auth::{AccountRecord, Document, PrivLevel};
use crate::entropy::random_text;
use crate::model::Secret;
use crate::store::{LiveStore, NewAccount, NewUser, Store, StoreError};

/// Makes the accounts that are not there; one of the same realm or name is used as it is.
pub(super) fn accounts(store: &mut Store, seed: u64) -> Result<Vec<Known>, StoreError> {
    let mut found: Vec<AccountRecord> = Vec::new();
    for company in &COMPANIES {
        let there = store.accounts()?.into_iter().find(|account| {
            account.realm.as_deref() == Some(company.realm) || account.name == company.name
        });
        let record = match there {
            Some(record) => record,
            None => {
                let parent = company.parent.and_then(|parent| {
                    let place = COMPANIES.iter().position(|above| above.name == parent)?;
                    Some(found.get(place)?.id.to_string())
                });
                let id = account_id(seed, company);
                store.create_account(&NewAccount {
                    name: company.name,
                    parent: parent.as_deref(),
                    realm: Some(company.realm),
                    id: Some(&id),
                    ..NewAccount::default()
                })?
            }
        };
        found.push(record);
    }
    let users = store.users()?;
    let known = found.into_iter().zip(&COMPANIES).map(|(record, company)| {
        let own = users.iter().filter(|user| user.account == record.id);
        Known {
            users: own
                .map(|user| (user.username.clone(), user.id.clone()))
                .collect(),
            realm: record.realm.unwrap_or_else(|| company.realm.to_owned()),
            id: record.id,
            name: record.name,
        }
    });
    Ok(known.collect())
}

/// Whether some of the people are no users yet.
pub(super) fn are_missing(known: &[Known]) -> bool {
    let wanted = COMPANIES.iter().zip(known);
    wanted
        .flat_map(|(company, known)| company.people.iter().map(move |name| (name, known)))
        .any(|(name, known)| !known.users.contains_key(&username(name)))
}

/// A password for those who will be made.
pub(super) fn password() -> Secret {
    Secret::new(random_text(12))
}

/// Makes the users that are not there, one after the other, all with the same password: each takes a
/// slow hash or two.
pub(super) async fn users(store: LiveStore, seed: u64, known: Vec<Known>, password: Secret) {
    for (company, known) in COMPANIES.iter().zip(known) {
        for (place, name) in company.people.iter().enumerate() {
            if known.users.contains_key(&username(name)) {
                continue;
            }
            let id = user_id(seed, company, place);
            let extension = company.extensions + u32::try_from(place).unwrap_or_default();
            let made = user(&store, &known, (id, name, extension), &password).await;
            if let Err(error) = made {
                tracing::warn!(%error, user = name, "a user of the demo was not made");
            }
        }
    }
}

async fn user(
    store: &LiveStore,
    known: &Known,
    (id, name, extension): (String, &str, u32),
    password: &Secret,
) -> Result<(), StoreError> {
    let account = known.id.clone();
    let directory = store.live().directory();
    // It may have gone since.
    let Some(salt) = directory.account(&account).map(|account| account.salt) else {
        return Ok(());
    };
    let username = username(name);
    let (of, password) = (username.clone(), password.clone());
    let hashing = tokio::task::spawn_blocking(move || Hashes::new(&of, password.expose(), &salt));
    let Ok(hashes) = hashing.await else {
        return Ok(());
    };
    let (first, last) = name.split_once(' ').unwrap_or((name, ""));
    let document = json!({
        "first_name": first,
        "last_name": last,
        "presence_id": extension.to_string(),
        "caller_id": {"internal": {"name": name, "number": extension.to_string()}},
    });
    let document = document.as_object().cloned().unwrap_or_else(Document::new);
    let work = move |store: &mut Store| {
        store.create_user(&NewUser {
            id: Some(&id),
            account: &account,
            username: &username,
            hashes: &hashes,
            priv_level: PrivLevel::User,
            disabled: false,
            document,
        })
    };
    store.run(work).await.map(drop)
}
