//! `blackhole account create | list | api-key`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output;
use crate::auth::AccountRecord;
use crate::settings::Settings;
use crate::store::{NewAccount, Store};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; works while the gateway runs
    Create(Create),
    /// Show all accounts
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a new API key and print it, this once; the old one is worth nothing any more
    #[command(after_help = "Log in with the key; the answer carries a token:\n  \
        curl -X PUT http://localhost:8000/v2/api_auth -H 'Content-Type: application/json' \\\n    \
        -d '{\"data\":{\"api_key\":\"KEY\"}}'")]
    ApiKey {
        /// The key's account
        #[arg(long, value_name = "ID-OR-NAME")]
        account: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name of the account
    #[arg(long)]
    name: String,
    /// Account above it, by id or name [default: the master account]
    #[arg(long, value_name = "ID-OR-NAME")]
    parent: Option<String>,
    /// SIP realm, needed for presence events [default: made up below the parent's]
    #[arg(long)]
    realm: Option<String>,
    /// 32 hex digits, to carry an account over from another system [default: made up]
    #[arg(long)]
    id: Option<String>,
    /// Its users may see account *, as those of Kazoo's own master account
    #[arg(long)]
    superduper_admin: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command, settings: &Settings) -> anyhow::Result<()> {
    let mut store = Store::open(&settings.data_dir)?;
    match command {
        Command::Create(create) => {
            let account = store.create_account(&NewAccount {
                name: &create.name,
                parent: create.parent.as_deref(),
                realm: create.realm.as_deref(),
                id: create.id.as_deref(),
                superduper: create.superduper_admin,
                ..NewAccount::default()
            })?;
            if create.json {
                output::made(&format!("{:#}", as_json(&account)));
            } else {
                output::made(account.id.as_str());
            }
        }
        Command::List { json: true } => {
            output::json(&store.accounts()?.iter().map(as_json).collect());
        }
        Command::List { json: false } => {
            let rows: Vec<_> = store.accounts()?.iter().map(as_row).collect();
            output::table(&["ID", "NAME", "REALM", "PARENT", "STATE"], &rows);
        }
        Command::ApiKey { account, json } => {
            let account = store.find_account(account)?.id;
            let key = store.new_api_key(&account)?;
            if *json {
                let made = json!({"account_id": account.as_str(), "api_key": key.expose()});
                output::made(&format!("{made:#}"));
            } else {
                output::made(key.expose());
            }
        }
    }
    Ok(())
}

fn as_json(account: &AccountRecord) -> Value {
    json!({
        "id": account.id.as_str(),
        "name": account.name,
        "realm": account.realm,
        "parent": account.parent.as_ref().map(|parent| parent.as_str()),
        "enabled": account.enabled,
        "superduper_admin": account.superduper,
    })
}

fn as_row(account: &AccountRecord) -> Vec<String> {
    vec![
        account.id.to_string(),
        account.name.clone(),
        account.realm.clone().unwrap_or_default(),
        account
            .parent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        if account.enabled {
            "enabled"
        } else {
            "disabled"
        }
        .into(),
    ]
}
