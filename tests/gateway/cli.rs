//! The command line: what it prints, what it refuses, its exit codes.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::support::{A, Account, B, Client, PATIENCE, Server, Vhost, request, until};

#[tokio::test]
async fn the_first_start_tells_once_what_a_newcomer_needs() {
    let server = Server::with(&["--set", "node=blackhole@test"]).await;
    assert!(
        server.greeting[0].starts_with("blackhole "),
        "{:?}",
        server.greeting
    );
    assert!(
        server
            .greeting
            .iter()
            .any(|line| line.contains("development certificate"))
    );
    let master = server.master().await;
    assert_eq!(master.token.split('.').count(), 3);
    // A super-duper admin sees all.
    let mut client = server.client().await;
    let reply = client
        .ask(crate::support::subscribe(&master.token, "*", "call.*.*"))
        .await;
    assert_eq!(reply["status"], "success");
    assert!(server.log().contains("made a development certificate"));
}

#[tokio::test]
async fn accounts_and_users_while_the_server_runs() {
    let server = Server::start().await;
    let made = server
        .run(&["account", "create", "--name", "Acme", "--json"])
        .await;
    let acme: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(acme["name"], "Acme");
    let below = server
        .run(&[
            "account", "create", "--name", "Sales", "--parent", "Acme", "--id", A,
        ])
        .await;
    assert_eq!(below, A);
    let list = server.run(&["account", "list"]).await;
    assert!(
        list.contains("Acme") && list.contains(A) && list.starts_with("ID "),
        "{list}"
    );
    let user = server
        .run(&[
            "user",
            "create",
            "--account",
            "Sales",
            "--username",
            "Ann",
            "--password",
            "secret-1",
            "--priv-level",
            "admin",
            "--json",
        ])
        .await;
    let user: Value = serde_json::from_str(&user).unwrap();
    assert_eq!(
        (&user["username"], &user["priv_level"]),
        (&json!("ann"), &json!("admin"))
    );
    let users = server
        .run(&["user", "list", "--account", A, "--json"])
        .await;
    assert!(users.contains("ann") && !users.contains("secret-1"));
    let kazoo_master = "9".repeat(32);
    let carried = [
        "account",
        "create",
        "--name",
        "kazoo",
        "--id",
        &kazoo_master,
        "--superduper-admin",
    ];
    server.run(&carried).await;
    let token = server.token(&kazoo_master).await;
    until("account * is allowed", async || {
        let mut client = server.client().await;
        let reply = client
            .ask(crate::support::subscribe(&token, "*", "call.*.*"))
            .await;
        (reply["status"] == "success").then_some(())
    })
    .await;
    let token = server
        .run(&["token", "--account", "Sales", "--ttl", "5m"])
        .await;
    assert_eq!(token.lines().count(), 1);
}

#[tokio::test]
async fn wrong_use_is_told() {
    let server = Server::start().await;
    for (arguments, code, part) in [
        (
            &["account", "create", "--name", "x", "--id", "X"][..],
            1,
            "32 lower-case hex digits",
        ),
        (
            &["account", "create", "--name", "x", "--parent", "none"],
            1,
            "\"none\" is not known",
        ),
        (
            &[
                "user",
                "create",
                "--account",
                "master",
                "--username",
                "x",
                "--password",
                "short",
            ],
            1,
            "8 bytes",
        ),
        (&["token", "--account", "none"], 1, "\"none\" is not known"),
        (
            &["token", "--account", "master", "--ttl", "soon"],
            2,
            "allowed is 1s",
        ),
        (&["token"], 2, "--account"),
        (&["dance"], 2, "dance"),
        (
            &[
                "publish",
                "--exchange",
                "x",
                "--routing-key",
                "x",
                "absent.json",
            ],
            1,
            "absent.json",
        ),
        (
            &["publish", "--exchange", "x", "--routing-key", "x"],
            1,
            "not JSON",
        ),
    ] {
        let output = server.command(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
        if code == 1 {
            assert_eq!(error.trim().lines().count(), 1, "{error}");
        }
    }
}

#[tokio::test]
async fn wrong_settings_stop_the_start_all_at_once() {
    let log = Server::try_with(&[
        "--set",
        "socket.login_timeout=soon",
        "--set",
        "colour=red",
        "--amqp-url",
        "http://u:hunter2@h",
    ])
    .await
    .err()
    .unwrap();
    for part in [
        "socket.login_timeout = \"soon\" (flag --set): allowed is 100ms to 1d",
        "colour (flag --set): no such setting",
        "amqp.url = *** (flag --amqp-url): allowed is amqp://",
    ] {
        assert!(log.contains(part), "{log}");
    }
    assert!(!log.contains("hunter2"));

    let running = Server::start().await;
    let port = running.ws.unwrap().port().to_string();
    let log = Server::try_with(&["--ws-port", &port]).await.err().unwrap();
    assert!(
        log.contains(&format!(
            "ws.port = {port}: cannot listen on 127.0.0.1:{port}"
        )),
        "{log}"
    );
}

#[tokio::test]
async fn a_broken_category_stops_the_start_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blackhole.toml");
    std::fs::write(
        &file,
        "[[category]]\nname = \"door\"\n\n[[category.form]]\nbinding = \"door.{x}\"\n",
    )
    .unwrap();
    let log = Server::try_with(&["--config", file.to_str().unwrap()])
        .await
        .err()
        .unwrap();
    let expected = format!(
        "file {}, line 5: binding door.{{x}}: needs either",
        file.display()
    );
    assert!(log.contains(&expected), "{log}");
}

#[tokio::test]
async fn config_and_bindings() {
    let server = Server::start().await;
    assert_eq!(
        server.run(&["config", "check"]).await,
        "all settings are good"
    );
    let url = "amqp://u:hunter2@host:5672/%2f";
    let shown = server
        .run(&["config", "show", "--amqp-url", url, "--ws-port", "1"])
        .await;
    assert!(!shown.contains("hunter2"), "{shown}");
    let row = shown
        .lines()
        .find(|line| line.starts_with("ws.port"))
        .unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["ws.port", "1", "flag", "--ws-port"]
    );
    let bindings = server.run(&["bindings"]).await;
    assert!(bindings.contains("call.CHANNEL_CREATE.{CALL_ID}"));
    let bindings: Value = serde_json::from_str(&server.run(&["bindings", "--json"]).await).unwrap();
    assert_eq!(bindings["call"][0]["binding"], "call.CHANNEL_CREATE.*");
    let wrong = server
        .command(&["config", "check", "--listen", "here"])
        .await;
    assert_eq!(wrong.status.code(), Some(1));
}

/// A client of this account with this binding.
async fn listener(server: &Server, account: &Account, binding: &str) -> Client {
    let mut client = server.client().await;
    client.subscribe(account, binding).await;
    client
}

/// The rows of a listing without its head, cells split at spaces.
fn rows(listing: &str) -> Vec<Vec<&str>> {
    let rows = listing.lines().skip(1);
    rows.map(|row| row.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn sockets_of_all_accounts_and_of_some() {
    let server = Server::with(&["--set", "node=blackhole@test"]).await;
    assert_eq!(server.run(&["sockets"]).await, "no open sockets");
    assert_eq!(server.run(&["sockets", "--json"]).await, "[]");

    let (a, b) = (server.account(A).await, server.account(B).await);
    let below = [
        "account", "create", "--name", "below", "--parent", A, "--json",
    ];
    let below: Value = serde_json::from_str(&server.run(&below).await).unwrap();
    let below = Account {
        id: below["id"].as_str().unwrap().to_owned(),
        token: server.token("below").await,
    };
    let _nobody = server.client().await;
    let _a = listener(&server, &a, "call.CHANNEL_CREATE.*").await;
    let _below = listener(&server, &below, "fax.status.*").await;
    let mut b = listener(&server, &b, "fax.status.*").await;

    let all = server.run(&["sockets"]).await;
    let head: Vec<&str> = all.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        head,
        [
            "ADDRESS", "UPTIME", "ACCOUNT", "NODE", "BINDINGS", "QUEUE", "SENT", "DROPPED", "ID"
        ]
    );
    let accounts: Vec<_> = rows(&all).iter().map(|row| row[2]).collect();
    assert_eq!(accounts, [B, A, "below", "-"], "{all}");
    let row = &rows(&all)[1];
    assert!(row[0].starts_with("127.0.0.1:"), "{row:?}");
    assert_eq!(
        row[3..8],
        ["blackhole@test", "call.CHANNEL_CREATE.*", "0", "0", "0"]
    );

    for (arguments, expected) in [
        (&["--account", A][..], &[A][..]),
        (&["--account", A, "--descendants"], &[A, "below"]),
        (&["--account", "below", "--ip", "127.0.0.1"], &["below"]),
        (&["--binding", "fax.status.*"], &[B, "below"]),
        (
            &["--ip", "::ffff:127.0.0.1", "--binding", "fax.status.*"],
            &[B, "below"],
        ),
        (&["--ip", "203.0.113.9"], &[]),
        (&["--account", "master"], &[]),
    ] {
        let arguments = [&["sockets"], arguments].concat();
        let listing = server.run(&arguments).await;
        let found: Vec<_> = rows(&listing).iter().map(|row| row[2]).collect();
        assert_eq!(found, expected, "{arguments:?}");
    }

    // The id can be pasted into a DELETE.
    let json: Value =
        serde_json::from_str(&server.run(&["sockets", "--account", B, "--json"]).await).unwrap();
    assert_eq!(json[0]["account_id"], B);
    assert_eq!(json[0]["bindings"], json!(["fax.status.*"]));
    let id = json[0]["websocket_session_id"].as_str().unwrap();
    assert_eq!(rows(&all)[0][8], id);
    let master = server.master().await;
    let path = format!("/v2/accounts/{B}/websockets/{id}");
    let headers = [("x-auth-token", &*master.token)];
    let answer = request(server.api, "DELETE", &path, &headers, "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(b.closed().await.code, 1008);

    for (arguments, code, part) in [
        (&["--account", "none"][..], 1, "\"none\" is not known"),
        (&["--ip", "somewhere"], 2, "--ip"),
        (&["--descendants"], 2, "--account"),
        (&["--every", "1s"], 2, "--watch"),
        (&["--watch", "--every", "1ms"], 2, "allowed is 100ms"),
    ] {
        let mut command = server.prepared(&["sockets"]);
        let output = command.args(arguments).output().await.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}

#[tokio::test]
async fn sockets_of_several_nodes_and_who_does_not_answer() {
    let vhost = Vhost::new().await;
    let one = Server::with(&["--amqp-url", &vhost.url, "--set", "node=gw1"]).await;
    let two = one
        .beside(&["--amqp-url", &vhost.url, "--set", "node=gw2"])
        .await;
    let account = one.account(A).await;
    let _clients = (
        listener(&one, &account, "call.*.*").await,
        listener(&two, &account, "fax.status.*").await,
    );
    until("the nodes know each other", async || {
        let found = one.run(&["sockets"]).await;
        let mut nodes: Vec<_> = rows(&found).iter().map(|row| row[3]).collect();
        nodes.sort_unstable();
        (nodes == ["gw1", "gw2"]).then_some(())
    })
    .await;
    two.signal("-STOP");
    let output = one.command(&["sockets"]).await;
    two.signal("-KILL");
    let (listing, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(rows(&listing).len(), 1, "{listing}");
    assert_eq!(
        error,
        "blackhole: no answer from gw2: its sockets are not in the list\n"
    );
}

/// A watch that runs.
struct Watch {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(server: &Server, flags: &[&str]) -> Self {
        let mut command = server.prepared(&["sockets", "--watch", "--every", "100ms"]);
        command.args(flags).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        line.unwrap().unwrap().unwrap()
    }

    /// Up to the next blank line.
    async fn block(&mut self) -> Vec<String> {
        let mut block = Vec::new();
        loop {
            match self.line().await {
                line if line.is_empty() => return block,
                line => block.push(line),
            }
        }
    }

    /// The first block whose head holds this.
    async fn until(&mut self, head: &str) -> Vec<String> {
        loop {
            let block = self.block().await;
            if block[0].contains(head) {
                return block;
            }
        }
    }
}

#[tokio::test]
async fn sockets_are_watched() {
    let mut server = Server::start().await;
    let a = server.account(A).await;
    let mut watch = Watch::start(&server, &["--account", A]);
    let empty = watch.block().await;
    assert!(empty[0].contains("  0 sockets of 0 accounts on 0 nodes"));
    assert_eq!(empty[1], "no open sockets");
    let client = listener(&server, &a, "call.CHANNEL_CREATE.*").await;
    let one = watch.until("  1 socket of 1 account on 1 node").await;
    assert!(one[2].contains("call.CHANNEL_CREATE.*"), "{one:?}");

    let mut lines = Watch::start(&server, &["--json"]);
    let found: Value = serde_json::from_str(&lines.line().await).unwrap();
    assert_eq!(found[0]["account_id"], A);
    // Nobody reads any more: the end, without a crash.
    drop(lines.lines);
    let ended = timeout(PATIENCE, lines.process.wait()).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(0));

    // The gateway may be away for a while; that it is there at all is found out at once.
    client.leave().await;
    server.signal("-KILL");
    server.ended().await;
    let away = watch.until("is the gateway running?").await;
    assert_eq!(away.len(), 1, "{away:?}");
    let pid = watch.process.id().unwrap().to_string();
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(interrupt.unwrap().success());
    timeout(PATIENCE, watch.process.wait())
        .await
        .unwrap()
        .unwrap();
    let never = server.command(&["sockets", "--watch"]).await;
    assert_eq!(never.status.code(), Some(1));
    assert!(never.stdout.is_empty());
}

#[tokio::test]
async fn an_api_key_of_the_command_logs_in() {
    let server = Server::start().await;
    server.account(A).await;
    let old = server.run(&["account", "api-key", "--account", A]).await;
    let new = server
        .run(&["account", "api-key", "--account", A, "--json"])
        .await;
    let new: Value = serde_json::from_str(&new).unwrap();
    assert_eq!(new["account_id"], A);
    let new = new["api_key"].as_str().unwrap();
    assert_eq!((old.len(), new.len()), (64, 64));
    let log_in = async |key: &str| {
        let body = json!({"data":{"api_key":key}}).to_string();
        request(server.api, "PUT", "/v2/api_auth", &[], &body).await
    };
    let answer = until("the new key is known", async || {
        // Not so often that log-ins of this address are limited.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let answer = log_in(new).await;
        (answer.status == 201).then_some(answer)
    })
    .await;
    assert_eq!(answer.json()["data"]["account_id"], A);
    assert!(answer.json()["auth_token"].is_string());
    assert_eq!(
        log_in(&old).await.status,
        401,
        "it is worth nothing any more"
    );
}
