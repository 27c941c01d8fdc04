//! What a log-in tells of its account (kazoo-rest.md B.1), as far as Monster UI reads it.

use serde_json::{Value, json};

use crate::auth::{Directory, UserRecord};
use crate::model::AccountId;

/// Accounts and users of other issuers may not be known here.
pub(super) fn about(
    directory: &Directory,
    account: &AccountId,
    user: Option<&UserRecord>,
    owner: Option<&str>,
) -> Value {
    let record = directory.account(account);
    let master = directory.master().map(|master| &master.id);
    let is_master = master == Some(account);
    let of_user = user.and_then(|user| user.document.get("language"));
    let of_account = || record.and_then(|account| account.document.get("language"));
    let language = of_user.or_else(of_account).and_then(Value::as_str);
    let mut about = json!({
        "account_id": account.as_str(),
        "language": language.unwrap_or("en-US"),
        "is_reseller": is_master,
        "reseller_id": master.map(AccountId::as_str),
        "is_master_account": is_master,
        "cluster_id": directory.cluster_id,
        "capabilities": {"voicemail":{"transcription":{"available":false,"default":false}}},
        "ui_config": {},
        "apps": [],
    });
    if let Some(record) = record {
        about["account_name"] = record.name.as_str().into();
    }
    if let Some(owner) = owner {
        about["owner_id"] = owner.into();
    }
    about
}
