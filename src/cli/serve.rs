//! `blackhole [serve]`: runs the gateway until a signal.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::output::line;
use crate::app::{self, Running};
use crate::auth::NewToken;
use crate::entropy::random_id;
use crate::model::clock::unix_now;
use crate::model::{Token, reached_at};
use crate::settings::{Settings, SocketSettings};
use crate::store::FirstStart;
use crate::telemetry::logging;

/// Open files that are no sockets of clients: the database, the broker, HTTP. Half of all, if that is less.
const OTHER_FILES: u64 = 1024 + 256;
/// What every process may have.
const FEWEST_FILES: u64 = 1024;

/// The printed link logs in for no longer: it may stay in a terminal's or a browser's history.
const LINK_TTL: Duration = Duration::from_secs(3600);

pub(super) fn run(settings: Settings) -> anyhow::Result<()> {
    logging::start(&settings.log_level, settings.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(settings))
}

async fn serve(mut settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("no signal handler")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signal handler")?;
    // A socket is a file descriptor; the usual soft limit of 1024 is soon reached.
    let files = rlimit::increase_nofile_limit(u64::MAX)
        .or_else(|_| rlimit::getrlimit(rlimit::Resource::NOFILE).map(|(soft, _)| soft))
        .unwrap_or(FEWEST_FILES);
    let fit = usize::try_from(files - OTHER_FILES.min(files / 2)).unwrap_or(usize::MAX);
    settings.socket.max_open = settings.socket.max_open.min(fit.max(1));
    let limits = limits(&settings.socket, files);
    let source = if settings.amqp.is_some() {
        "RabbitMQ"
    } else {
        "embedded event bus"
    };
    let development = settings.tls.is_none();
    let with_console = settings.console.enabled;
    let ttl = settings.token_ttl;
    let mut running = app::start(settings).await?;
    let console = running.api.filter(|_| with_console).map(console_at);
    greet(&running, source, development, console);
    announce(&running);
    line(&limits);
    introduce(&running, ttl, console);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        error = running.failed() => return Err(error),
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = running.stop() => Ok(()),
        _ = terminate.recv() => anyhow::bail!("stopped at once by a second signal"),
        _ = interrupt.recv() => anyhow::bail!("stopped at once by a second signal"),
    }
}

/// The limits in force.
fn limits(socket: &SocketSettings, files: u64) -> String {
    let SocketSettings {
        max_open,
        max_per_address,
        max_per_account,
        max_subscriptions,
        max_subscriptions_per_account,
        max_groups,
        rate_burst,
        rate_per_second,
        max_waiting_bytes,
        max_waiting_bytes_in_all,
        ..
    } = socket;
    let size = |bytes: &usize| mebibytes(*bytes);
    format!(
        "  at most:\n  \
         - sockets        {max_open} in all ({files} open files), {max_per_address} of an address, {max_per_account} of an account\n  \
         - subscriptions  {max_subscriptions} of a socket, {max_subscriptions_per_account} of an account, {max_groups} different ones\n  \
         - messages       {rate_burst} at once of a socket, then {rate_per_second} a second\n  \
         - waiting        {} for a socket, {} for all",
        size(max_waiting_bytes),
        size(max_waiting_bytes_in_all),
    )
}

fn mebibytes(bytes: usize) -> String {
    if bytes < 1 << 20 {
        format!("{} KiB", bytes >> 10)
    } else {
        format!("{} MiB", bytes >> 20)
    }
}

/// For a browser on this machine.
fn console_at(api: SocketAddr) -> SocketAddr {
    SocketAddr::new(reached_at(api.ip()), api.port())
}

fn greet(running: &Running, source: &str, development: bool, console: Option<SocketAddr>) {
    line(&format!(
        "blackhole {} is ready, events from: {source}",
        env!("CARGO_PKG_VERSION")
    ));
    let note = if development {
        "  (development certificate)"
    } else {
        ""
    };
    let show = |name: &str, scheme: &str, address: Option<SocketAddr>, note: &str| match address {
        Some(address) => line(&format!("  {name:<7} {scheme}://{address}{note}")),
        None => line(&format!("  {name:<7} off")),
    };
    show("ws", "ws", running.ws, "");
    show("wss", "wss", running.wss, note);
    show("api", "http", running.api, "");
    show("console", "http", console, "/");
}

/// That what can be seen is made up, and how to log in to it.
fn announce(running: &Running) {
    let Some(demo) = &running.demo else { return };
    line(&format!(
        "  demo: {} calls a minute in {} (simulated)",
        demo.calls_per_minute,
        demo.accounts.join(", "),
    ));
    if let Some(password) = &demo.password {
        line(
            "  demo: its users, such as anna.keller of Northwind Travel, log in with one password,",
        );
        line(&format!(
            "        which is shown once: {}",
            password.expose()
        ));
    }
}

/// What a newcomer needs, once: the password, a link to open and a line to paste.
fn introduce(running: &Running, ttl: Duration, console: Option<SocketAddr>) {
    let Some(first) = &running.first else { return };
    line("");
    line("First start: a master account and its admin were made. This is shown once.");
    line(&format!("  account   {} (master)", first.account));
    line(&format!("  user      {}", first.username));
    line(&format!("  password  {}", first.password.expose()));
    let directory = running.authority().directory();
    let mut users = directory.users_of(&first.account);
    let admin = users.find(|user| user.username == first.username);
    if let (Some(admin), Some(console)) = (admin, console)
        && let Some(token) = issue(running, first, Some(&admin.id), ttl.min(LINK_TTL))
    {
        line("");
        line("The operator console, in a browser (the link logs in, for an hour at most):");
        // Behind the #, which browsers send to nobody.
        line(&format!(
            "  Open http://{console}/#token={}",
            token.expose()
        ));
    }
    let token = issue(running, first, None, ttl);
    if let (Some(token), Some(ws)) = (token, running.ws) {
        let subscribe = serde_json::json!({
            "action": "subscribe",
            "auth_token": token.expose(),
            "data": {"account_id": "*", "binding": "call.*.*"},
        });
        line("");
        line(
            "Watch the calls of all accounts (needs Node.js; `blackhole token --account master` makes a new token):",
        );
        line(&format!(
            "  npx wscat -c ws://{ws} -w 86400 -x '{subscribe}'"
        ));
    }
}

/// A token of the master account, or of its admin.
fn issue(
    running: &Running,
    first: &FirstStart,
    owner: Option<&str>,
    ttl: Duration,
) -> Option<Token> {
    let authority = running.authority();
    let directory = authority.directory();
    let new = NewToken {
        account: directory.account(&first.account)?,
        owner,
        method: owner.map_or("cb_api_auth", |_| "cb_user_auth"),
        expires_at: unix_now().saturating_add(ttl.as_secs()),
        id: random_id(),
    };
    authority.issue(new).ok()
}
