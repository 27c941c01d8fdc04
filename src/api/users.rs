//! `/v2/accounts/{ACCOUNT_ID}/users`: who may log in (kazoo-rest.md G.3 for the members).

use serde_json::{Map, Value, json};

use super::accounts::own_fields;
use super::envelope::{Answer, ApiError, Success};
use super::fields::Fields;
use super::page::{Entry, page};
use super::request::Request;
use super::routes::Access;
use crate::auth::credentials::Hashes;
use crate::auth::{Directory, Document, PrivLevel, UserRecord};
use crate::model::AccountId;
use crate::model::clock::gregorian;
use crate::store::{
    DocumentChange, NewUser, StoreError, UserChange, check_password, check_username,
};

const OWN: [&str; 8] = [
    "id",
    "account_id",
    "username",
    "password",
    "credentials",
    "priv_level",
    "enabled",
    "created",
];

pub(super) async fn list(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    let users = directory.users_of(&account.id).map(|user| Entry {
        key: format!("{}\n{}", user.username, user.id),
        value: show(user),
    });
    page(&request.query, users.collect(), true)
}

pub(super) async fn get(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.account()?;
    Ok(Success::ok(show(user(request, &directory, &account)?)))
}

pub(super) async fn create(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.known_account(&directory)?;
    let (account, salt) = (account.id.clone(), account.salt);
    let wanted = Wanted::read(request.data()?, true)?;
    let username = wanted.username.unwrap_or_default();
    let password = wanted.password.unwrap_or_default();
    taken(request, &account, &username, None)?;
    let name = username.clone();
    let hashes = hash(request, name, password, salt).await?;
    request.still_allowed(Access::Admin)?;
    let of = account.clone();
    let made = request.state.change(move |store| {
        store.create_user(&NewUser {
            id: None,
            account: &of,
            username: &username,
            hashes: &hashes,
            priv_level: wanted.priv_level.unwrap_or(PrivLevel::User),
            disabled: wanted.enabled == Some(false),
            document: own_fields(wanted.document, &OWN),
        })
    });
    let made = made.await?;
    Ok(Success {
        location: Some(format!("/v2/accounts/{account}/users/{}", made.id)),
        ..Success::created(show(&made))
    })
}

/// `POST`: all fields anew; `username` must be among them, the password stays if it is not.
pub(super) async fn replace(request: &Request) -> Answer {
    let data = request.data()?;
    if data.get("username").is_none_or(Value::is_null) {
        may(request, &mut Wanted::read(data, false)?, None)?;
        return Err(ApiError::required("username"));
    }
    apply(request, data, true).await
}

/// `PATCH`: only what is named; `null` removes a field of the client's own.
pub(super) async fn change(request: &Request) -> Answer {
    apply(request, request.data()?, false).await
}

pub(super) async fn delete(request: &Request) -> Answer {
    let directory = request.directory();
    let account = request.account()?;
    let user = user(request, &directory, &account)?;
    let (id, shown) = (user.id.clone(), show(user));
    not_oneself(request, &id)?;
    request
        .state
        .change(move |store| store.delete_user(&account, &id))
        .await?;
    Ok(Success::ok(shown))
}

async fn apply(request: &Request, data: Map<String, Value>, replace: bool) -> Answer {
    let account = request.account()?;
    let mut wanted = Wanted::read(data, false)?;
    let directory = request.directory();
    let known = user(request, &directory, &account);
    may(request, &mut wanted, known.as_ref().ok().copied())?;
    let known = known?.clone();
    let salt = request.known_account(&directory)?.salt;
    let login = login(request, &wanted, &known, salt).await?;
    request.still_allowed(Access::Account)?;
    may(request, &mut wanted, Some(&known))?;
    let change = UserChange {
        login,
        priv_level: wanted.priv_level,
        enabled: wanted.enabled,
        document: Some(if replace {
            DocumentChange::Replace(own_fields(wanted.document, &OWN))
        } else {
            DocumentChange::Merge(own_fields(wanted.document, &OWN))
        }),
    };
    let changed = request
        .state
        .change(move |store| store.change_user(&account, &known.id, &change))
        .await?;
    Ok(Success::ok(show(&changed)))
}

/// The name and the hashes of the password, when one of them changes.
async fn login(
    request: &Request,
    wanted: &Wanted,
    known: &UserRecord,
    salt: [u8; 16],
) -> Result<Option<(String, Hashes)>, ApiError> {
    let username = wanted.username.as_ref().unwrap_or(&known.username).clone();
    let renamed = username != known.username;
    if renamed {
        taken(request, &known.account, &username, Some(&known.id))?;
    }
    let Some(password) = wanted.password.clone() else {
        if renamed {
            // The stored hashes are of the old name.
            return Err(ApiError::required("password"));
        }
        return Ok(None);
    };
    let name = username.clone();
    let hashes = hash(request, name, password, salt).await?;
    Ok(Some((username, hashes)))
}

/// Of a new password. An account may not keep the machine busy with them.
async fn hash(
    request: &Request,
    name: String,
    password: String,
    salt: [u8; 16],
) -> Result<Hashes, ApiError> {
    let account = request.caller()?.account.to_string();
    let hashes = &request.state.hashes;
    hashes.take(account).map_err(ApiError::too_many_requests)?;
    let hashing = move || Hashes::new(&name, &password, &salt);
    request.state.slowly(hashing).await
}

/// Admins may do all but lock themselves out; everybody may change the password and the free fields
/// of the own user, and say again, without effect, what its name and rights are.
fn may(request: &Request, wanted: &mut Wanted, known: Option<&UserRecord>) -> Result<(), ApiError> {
    if request.is_admin()? {
        return match wanted.enabled {
            Some(false) => not_oneself(request, request.part("user_id")),
            _ => Ok(()),
        };
    }
    let own = request.caller()?.owner.as_deref() == Some(request.part("user_id"));
    let enabled = wanted.enabled.take().unwrap_or(true);
    let level = wanted.priv_level.take().unwrap_or(PrivLevel::User);
    let renamed = wanted.username.as_ref().zip(known);
    let renamed = renamed.is_some_and(|(name, known)| *name != known.username);
    if own && !renamed && enabled && level == PrivLevel::User {
        return Ok(());
    }
    request.admin()
}

fn not_oneself(request: &Request, user: &str) -> Result<(), ApiError> {
    if request.caller()?.owner.as_deref() == Some(user) {
        return Err(ApiError::forbidden_because("not one's own user"));
    }
    Ok(())
}

/// Before the slow hashes are made.
fn taken(
    request: &Request,
    account: &AccountId,
    username: &str,
    but: Option<&str>,
) -> Result<(), ApiError> {
    let directory = request.directory();
    let mut users = directory.users_of(account);
    let other = users.any(|user| user.username == username && Some(user.id.as_str()) != but);
    if !other {
        return Ok(());
    }
    let details = json!({"message":"username is taken already","value":username});
    Err(ApiError::validation("username", "unique", details))
}

/// The user in the path, of this account.
fn user<'d>(
    request: &Request,
    directory: &'d Directory,
    account: &AccountId,
) -> Result<&'d UserRecord, ApiError> {
    let id = request.part("user_id");
    let found = directory.user(id).filter(|user| user.account == *account);
    found.ok_or_else(|| ApiError::bad_identifier(id))
}

/// What a body asks for.
struct Wanted {
    username: Option<String>,
    password: Option<String>,
    priv_level: Option<PrivLevel>,
    enabled: Option<bool>,
    document: Document,
}

impl Wanted {
    fn read(data: Map<String, Value>, new: bool) -> Result<Self, ApiError> {
        let mut fields = Fields::new(data);
        let username = if new {
            Some(fields.required("username", 1..=128))
        } else {
            fields.text("username", 1..=128)
        };
        let password = fields.secret("password", 8..=1024, new);
        let priv_level = fields.choice("priv_level", &["admin", "user"], PrivLevel::parse);
        let enabled = fields.flag("enabled");
        let username = username.and_then(|name| match check_username(&name) {
            Ok(name) => Some(name),
            Err(error) => {
                note(&mut fields, &error);
                None
            }
        });
        if let Some(password) = &password
            && let Err(error) = check_password(password)
        {
            note(&mut fields, &error);
        }
        Ok(Self {
            username,
            password,
            priv_level,
            enabled,
            document: fields.done()?,
        })
    }
}

fn note(fields: &mut Fields, error: &StoreError) {
    if let StoreError::Refused {
        field,
        rule,
        reason,
    } = error
    {
        fields.mistake(field, rule, json!({ "message": reason }));
    }
}

/// The user as clients see it: nothing of the password.
fn show(user: &UserRecord) -> Value {
    let mut shown = user.document.clone();
    for (key, value) in [
        ("id", json!(user.id)),
        ("account_id", json!(user.account.as_str())),
        ("username", json!(user.username)),
        ("priv_level", json!(user.priv_level.as_str())),
        ("enabled", json!(user.enabled)),
        ("created", json!(gregorian(user.created))),
    ] {
        shown.insert(key.to_owned(), value);
    }
    shown.into()
}
