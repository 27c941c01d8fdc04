//! `blackhole sockets`: the open sockets of all nodes, asked of the running gateway.
//!
//! - `listing`: what it answered, as a table;
//! - `watch`: again and again.

mod listing;
mod watch;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use super::{http, output, terminal, token};
use crate::model::clock::{GREGORIAN_OFFSET, unix_now};
use crate::settings::{Settings, duration};
use crate::store::Store;
use listing::Listing;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    blackhole sockets --account acme --descendants   acme's, and those of the accounts below it\n  \
    blackhole sockets --binding 'call.*.*' --watch   who listens to all calls, as it changes\n  \
    blackhole sockets --json | jq length             how many\n\n\
    Without --account all sockets are shown, those that have not logged in (ACCOUNT -) too. QUEUE\n\
    is what waits to be written, SENT and DROPPED count events. What Kazoo's own nodes do not tell\n\
    is -; they tell of one account's sockets only: without --account, the master account's.\n\n\
    To close a socket (`blackhole account list` shows the ids of accounts):\n  \
    curl -X DELETE -H \"X-Auth-Token: $(blackhole token --account master)\" \\\n    \
    http://localhost:8000/v2/accounts/ACCOUNT-ID/websockets/ID")]
pub(super) struct Arguments {
    /// Sockets of this account only
    #[arg(long, value_name = "ID-OR-NAME")]
    account: Option<String>,
    /// Also of the accounts below it
    #[arg(long, requires = "account")]
    descendants: bool,
    /// Sockets from this address only
    #[arg(long)]
    ip: Option<IpAddr>,
    /// Sockets with this binding only, exactly as they asked for it
    #[arg(long)]
    binding: Option<String>,
    /// Look again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How often, such as 500ms or 1m
    #[arg(long, requires = "watch", default_value = "2s", value_name = "TIME", value_parser = parse_every)]
    every: Duration,
    /// As JSON, with all that the gateway answers; with --watch one line for each look
    #[arg(long)]
    json: bool,
}

fn parse_every(text: &str) -> Result<Duration, String> {
    let least = Duration::from_millis(100);
    let every = duration(text).filter(|every| *every >= least);
    every.ok_or_else(|| "allowed is 100ms and more (units ms, s, m, h, d)".into())
}

pub(super) fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<()> {
    let question = Question::new(arguments, settings)?;
    if arguments.watch {
        return watch::run(&question, arguments.every, arguments.json);
    }
    let listing = question.ask()?;
    if !listing.missing.is_empty() {
        output::complain(listing.gap());
    }
    if arguments.json {
        output::json(&listing.json());
    } else {
        let width = terminal::size().map(|size| size.columns);
        for line in listing.lines(width) {
            output::line(&line);
        }
    }
    Ok(())
}

/// What to ask, and of whom.
struct Question {
    store: Store,
    address: String,
    path: String,
}

impl Question {
    fn new(arguments: &Arguments, settings: &Settings) -> anyhow::Result<Self> {
        let address = settings
            .api_address()
            .context("api.port is off: there is no way to reach the gateway")?;
        let store = Store::open(&settings.data_dir)?;
        let account = match &arguments.account {
            Some(account) => store.find_account(account)?,
            None => store.master()?,
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        // Below the master account is everything.
        if arguments.descendants || arguments.account.is_none() {
            query.append_pair("descendants", "true");
        }
        if let Some(ip) = arguments.ip {
            query.append_pair("source", &ip.to_canonical().to_string());
        }
        if let Some(binding) = &arguments.binding {
            query.append_pair("binding", binding);
        }
        let path = format!("/v2/accounts/{}/websockets?{}", account.id, query.finish());
        Ok(Self {
            store,
            address,
            path: path.trim_end_matches('?').to_owned(),
        })
    }

    fn ask(&self) -> anyhow::Result<Listing> {
        let token = token::of_master(&self.store)?;
        let (status, answer) = http::call(&self.address, "GET", &self.path, &token, String::new())?;
        if status != 200 {
            bail!("the gateway answered {status}: {}", http::reason(&answer));
        }
        let names = self.store.accounts()?.into_iter();
        let names = names.map(|account| (account.id.to_string(), account.name));
        let now = unix_now() + GREGORIAN_OFFSET;
        Ok(Listing::new(answer, names.collect(), now))
    }
}

/// A text of a JSON object.
fn text<'v>(object: &'v Value, member: &str) -> Option<&'v str> {
    object[member].as_str()
}
