//! `/v2/accounts/{ACCOUNT_ID}/websockets`: open sockets of all nodes (kazoo-rest.md E.2, E.3).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::envelope::{Answer, ApiError, Success};
use super::page::{Entry, page};
use super::request::Request;
use crate::cluster::{Reach, SocketQuestion};
use crate::model::AccountId;

type Socket = Map<String, Value>;

/// The sockets of the account. With `descendants=true` also of the accounts below it; a super-duper
/// admin who asks so for the own account gets all there are, also those without a token yet.
pub(super) async fn list(request: &Request) -> Answer {
    let account = request.account()?;
    let caller = request.caller()?;
    let reach = match request.query.flag("descendants")? {
        false => Reach::Account,
        true if caller.superduper && caller.account == account => Reach::All,
        true => Reach::Tree,
    };
    let ids = match request.query.get("format") {
        None | Some("objects") => false,
        Some("ids") => true,
        Some(other) => return Err(ApiError::not_one_of("format", &["objects", "ids"], other)),
    };
    let (mut sockets, missing) = gather(request, &account, reach).await?;
    if let Some(binding) = request.query.get("binding") {
        let has = |socket: &Socket| {
            let bindings = socket.get("bindings").and_then(Value::as_array);
            bindings.is_some_and(|all| all.iter().any(|found| found == binding))
        };
        sockets.retain(has);
    }
    if let Some(source) = request.query.get("source") {
        sockets.retain(|socket| socket.get("source").is_some_and(|found| found == source));
    }
    let entries = sockets.into_iter().map(|socket| {
        let id = text(&socket, "websocket_session_id").to_owned();
        let opened = socket.get("timestamp").and_then(Value::as_u64);
        Entry {
            key: format!("{:020}\n{id}", opened.unwrap_or_default()),
            value: if ids { id.into() } else { socket.into() },
        }
    });
    let listed = page(&request.query, entries.collect(), false)?;
    Ok(Success {
        missing_nodes: missing,
        ..listed
    })
}

/// One socket, of this account only: the original answers with any account's.
pub(super) async fn get(request: &Request) -> Answer {
    let account = request.account()?;
    let id = request.part("socket_id");
    let own = SocketQuestion {
        socket: Some(id.to_owned()),
        ..question(&account, Reach::Account)
    };
    if let Some(socket) = request.state.this_node.sockets(&own).pop() {
        return Ok(Success::ok(socket.into()));
    }
    // Others are asked for all of the account's, since the original does not compare the account.
    let (sockets, missing) = gather(request, &account, Reach::Account).await?;
    let found = sockets
        .into_iter()
        .find(|socket| text(socket, "websocket_session_id") == id);
    match found {
        Some(socket) => Ok(Success {
            missing_nodes: missing,
            ..Success::ok(socket.into())
        }),
        None => Err(absent(id, &missing)),
    }
}

/// Closes a socket, wherever it is.
pub(super) async fn close(request: &Request) -> Answer {
    let account = request.account()?;
    let id = request.part("socket_id");
    let mut closed = request.state.this_node.close_socket(&account, id);
    let mut missing = Vec::new();
    if !closed {
        (closed, missing) = request.state.cluster.close_socket(&account, id).await;
    }
    if !closed {
        return Err(absent(id, &missing));
    }
    tracing::info!(%account, socket = id, "socket closed by an administrator");
    Ok(Success {
        data: None,
        ..Success::ok(Value::Null)
    })
}

/// Not found; or not known, if some node did not say.
fn absent(id: &str, missing: &[String]) -> ApiError {
    if missing.is_empty() {
        return ApiError::bad_identifier(id);
    }
    let silent = missing.join(", ");
    ApiError::unavailable(&format!(
        "no such socket on the nodes that answered; no answer from {silent}"
    ))
}

fn question(account: &AccountId, reach: Reach) -> SocketQuestion {
    SocketQuestion {
        account: account.clone(),
        auth_account: None,
        socket: None,
        reach,
        details: true,
    }
}

/// From this node and all others, each socket once; and who did not answer.
async fn gather(
    request: &Request,
    account: &AccountId,
    reach: Reach,
) -> Result<(Vec<Socket>, Vec<String>), ApiError> {
    let _place = request.state.listing(&request.caller()?.account).await?;
    let question = question(account, reach);
    let others = request.state.cluster.sockets(&question).await;
    let mut sockets = request.state.this_node.sockets(&question);
    sockets.extend(others.sockets);
    let mut seen = HashSet::new();
    sockets.retain(|socket| seen.insert(text(socket, "websocket_session_id").to_owned()));
    for socket in &mut sockets {
        // Nodes of the original do not say; they answer for this account only.
        let known = socket.entry("account_id");
        known.or_insert_with(|| account.as_str().into());
    }
    // Another node's tree may not be ours.
    let directory = request.directory();
    sockets.retain(|socket| {
        let of = || AccountId::parse(text(socket, "account_id"));
        match reach {
            Reach::All => true,
            Reach::Account => text(socket, "account_id") == account.as_str(),
            Reach::Tree => of().is_some_and(|of| directory.is_within(&of, account)),
        }
    });
    Ok((sockets, others.missing))
}

fn text<'s>(socket: &'s Socket, member: &str) -> &'s str {
    socket
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
