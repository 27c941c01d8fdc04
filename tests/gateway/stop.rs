//! Stopping: clients are told, what waits goes out, the exit code is right.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;

use crate::support::{A, Server, Vhost, until};

#[tokio::test]
async fn sockets_are_told_and_the_process_ends_well() {
    for (flags, signal, code) in [
        (&[][..], "-TERM", 1001),
        (&["--restart-notice"][..], "-INT", 1012),
    ] {
        let mut server = Server::with(flags).await;
        let account = server.account(A).await;
        let mut clients = Vec::new();
        for _ in 0..5 {
            let mut client = server.client().await;
            client.subscribe(&account, "call.*.*").await;
            clients.push(client);
        }
        let mut secure = server.tls_client().await;
        server.signal(signal);
        for client in &mut clients {
            assert_eq!(client.closed().await.code, code);
        }
        assert_eq!(secure.closed().await.code, code);
        assert_eq!(server.ended().await, Some(0));
    }
}

#[tokio::test]
async fn the_port_is_closed_at_once_and_closes_are_spread() {
    let mut server = Server::with(&["--set", "stop.window=1s"]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.client().await);
    }
    let (ws, start) = (server.ws.unwrap(), tokio::time::Instant::now());
    server.signal("-TERM");
    until("the port is closed", async || {
        TcpStream::connect(ws).await.is_err().then_some(())
    })
    .await;
    for client in &mut clients {
        client.closed().await;
    }
    // Twenty closes, 50 ms apart.
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut server = Server::with(&["--set", "stop.window=10m"]).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(server.client().await);
    }
    server.signal("-TERM");
    clients[0].closed().await;
    until("the stop is under way", async || {
        server.log().contains("closing all sockets").then_some(())
    })
    .await;
    server.signal("-TERM");
    assert_eq!(server.ended().await, Some(1));
}

/// Events that were queued before the stop still reach a client that reads.
#[tokio::test]
async fn what_waits_goes_out_first() {
    let mut server = Server::start().await;
    let master = server.master().await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    for number in 0..50 {
        let event = json!({"Event-Name":"CHANNEL_CREATE","Call-ID":number.to_string(),"Custom-Channel-Vars":{"Account-ID":A}});
        server
            .publish(&master, "callevt", "call.CHANNEL_CREATE.x", &event)
            .await;
    }
    server.signal("-TERM");
    for number in 0..50 {
        assert_eq!(client.event().await["data"]["call_id"], number.to_string());
    }
    assert_eq!(client.closed().await.code, 1001);
    assert_eq!(server.ended().await, Some(0));
}

#[tokio::test]
async fn the_broker_is_left_in_good_order() {
    let vhost = Vhost::new().await;
    let mut server = Server::with(&["--amqp-url", &vhost.url]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.*.*").await;
    assert_eq!(vhost.bindings().await.len(), 9);
    server.signal("-TERM");
    assert_eq!(client.closed().await.code, 1001);
    assert_eq!(server.ended().await, Some(0));
    assert_eq!(vhost.ctl(&["list_queues", "-q", "name"]).await, "");
}

/// A drain that comes in the middle of a large write: a client that reads on gets all of it.
#[tokio::test]
async fn a_write_under_way_is_finished() {
    let mut server = Server::with(&["--set", "socket.max_waiting_bytes=64MiB"]).await;
    let master = server.master().await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    for number in 0..200 {
        let event = json!({
            "Event-Name": "CHANNEL_CREATE",
            "Call-ID": number.to_string(),
            "Custom-Channel-Vars": {"Account-ID": A},
            "Padding": "x".repeat(60_000),
        });
        server
            .publish(&master, "callevt", "call.CHANNEL_CREATE.x", &event)
            .await;
    }
    server.signal("-TERM");
    until("the stop is under way", async || {
        server.log().contains("closing all sockets").then_some(())
    })
    .await;
    for number in 0..200 {
        assert_eq!(client.event().await["data"]["call_id"], number.to_string());
    }
    assert_eq!(client.closed().await.code, 1001);
    assert_eq!(server.ended().await, Some(0));
}

/// A connection that never begins its TLS handshake does not hold up the end.
#[tokio::test]
async fn silent_connections_are_no_hindrance() {
    let mut server = Server::start().await;
    let _silent = TcpStream::connect(server.wss.unwrap()).await.unwrap();
    let _also = TcpStream::connect(server.ws.unwrap()).await.unwrap();
    let start = tokio::time::Instant::now();
    server.signal("-TERM");
    assert_eq!(server.ended().await, Some(0));
    assert!(start.elapsed() < Duration::from_secs(4));
}
