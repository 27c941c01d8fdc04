//! `blackhole user create | list`.

use std::io::{IsTerminal, stdin};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output;
use crate::auth::credentials::Hashes;
use crate::auth::{Document, PrivLevel, UserRecord};
use crate::model::Secret;
use crate::settings::Settings;
use crate::store::{NewUser, Store, check_password, check_username};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a user; works while the gateway runs
    Create(Create),
    /// Show all users
    List {
        /// Of this account only
        #[arg(long, value_name = "ID-OR-NAME")]
        account: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The user's account
    #[arg(long, value_name = "ID-OR-NAME")]
    account: String,
    /// Name to log in with
    #[arg(long)]
    username: String,
    /// Password; better left out: it is then asked for, or read from standard input
    #[arg(long)]
    password: Option<String>,
    /// What the user may administer
    #[arg(long, value_enum, default_value_t = Level::User)]
    priv_level: Level,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Admin,
    User,
}

pub(super) fn run(command: &Command, settings: &Settings) -> anyhow::Result<()> {
    let mut store = Store::open(&settings.data_dir)?;
    match command {
        Command::Create(create) => {
            let account = store.find_account(&create.account)?;
            let password = match &create.password {
                Some(password) => Secret::new(password.as_str()),
                None => ask()?,
            };
            let level = match create.priv_level {
                Level::Admin => PrivLevel::Admin,
                Level::User => PrivLevel::User,
            };
            let username = check_username(&create.username)?;
            check_password(password.expose())?;
            let hashes = Hashes::new(&username, password.expose(), &account.salt);
            let user = store.create_user(&NewUser {
                id: None,
                account: &account.id,
                username: &username,
                hashes: &hashes,
                priv_level: level,
                disabled: false,
                document: Document::default(),
            })?;
            if create.json {
                output::made(&format!("{:#}", as_json(&user)));
            } else {
                output::made(&user.id);
            }
        }
        Command::List { account, json } => {
            let account = account
                .as_deref()
                .map(|account| store.find_account(account))
                .transpose()?;
            let mut users = store.users()?;
            users.retain(|user| {
                account
                    .as_ref()
                    .is_none_or(|account| user.account == account.id)
            });
            if *json {
                output::json(&users.iter().map(as_json).collect());
            } else {
                let rows: Vec<_> = users.iter().map(as_row).collect();
                output::table(&["ID", "USERNAME", "LEVEL", "STATE", "ACCOUNT"], &rows);
            }
        }
    }
    Ok(())
}

fn ask() -> anyhow::Result<Secret> {
    let password = if stdin().is_terminal() {
        rpassword::prompt_password("Password: ").context("no password")?
    } else {
        let mut line = String::new();
        stdin()
            .read_line(&mut line)
            .context("no password on standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    Ok(Secret::new(password))
}

fn as_json(user: &UserRecord) -> Value {
    json!({
        "id": user.id,
        "account_id": user.account.as_str(),
        "username": user.username,
        "priv_level": user.priv_level.as_str(),
        "enabled": user.enabled,
    })
}

fn as_row(user: &UserRecord) -> Vec<String> {
    vec![
        user.id.clone(),
        user.username.clone(),
        user.priv_level.as_str().into(),
        if user.enabled { "enabled" } else { "disabled" }.into(),
        user.account.to_string(),
    ]
}
