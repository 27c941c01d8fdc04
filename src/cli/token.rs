//! `blackhole token`: a signed token and nothing else.

use std::sync::Arc;

use clap::Args;

use super::output;
use crate::auth::{AccountRecord, Authority, Live, NewToken};
use crate::entropy::random_id;
use crate::model::Token;
use crate::model::clock::unix_now;
use crate::settings::{Settings, duration};
use crate::store::Store;

/// Seconds; long enough for one request.
const ONE_REQUEST: u64 = 60;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The token's account
    #[arg(long, value_name = "ID-OR-NAME")]
    account: String,
    /// How long it is good for, such as 30m or 12h [default: the setting auth.token_ttl]
    #[arg(long, value_parser = parse_ttl)]
    ttl: Option<u64>,
}

fn parse_ttl(text: &str) -> Result<u64, String> {
    let ttl = duration(text)
        .map(|ttl| ttl.as_secs())
        .filter(|ttl| *ttl > 0);
    ttl.ok_or_else(|| "allowed is 1s and more (units s, m, h, d)".into())
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<()> {
    let store = Store::open(&settings.data_dir)?;
    let account = store.find_account(&arguments.account)?;
    let ttl = arguments.ttl.unwrap_or(settings.token_ttl.as_secs());
    output::line(issue(&store, &account, ttl)?.expose());
    Ok(())
}

/// A token of the master account, for one request to the running gateway.
pub(super) fn of_master(store: &Store) -> anyhow::Result<Token> {
    issue(store, &store.master()?, ONE_REQUEST)
}

/// A token of an account, signed with the key of the data directory.
fn issue(store: &Store, account: &AccountRecord, ttl: u64) -> anyhow::Result<Token> {
    let live = Arc::new(Live::new(store.directory()?));
    let authority = Authority::new(live, Vec::new());
    Ok(authority.issue(NewToken {
        account,
        owner: None,
        method: "cb_api_auth",
        expires_at: unix_now().saturating_add(ttl),
        id: random_id(),
    })?)
}
