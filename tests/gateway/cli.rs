//! The command line: what it prints, what it refuses, its exit codes.

use serde_json::{Value, json};

use crate::support::{A, Server};

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
    crate::support::until("account * is allowed", async || {
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
