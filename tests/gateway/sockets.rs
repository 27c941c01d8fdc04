//! Sockets: handshakes, limits, deadlines, closes.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

use crate::support::{A, Closed, Server, until};

/// Sends a raw request and gives the whole answer.
async fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.ws.unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn handshake(headers: &str) -> String {
    format!(
        "GET /anything HTTP/1.1\r\nHost: gw.example.net:5555\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// The status line of a handshake that the server does not close.
async fn status(server: &Server, headers: &str) -> String {
    let mut stream = TcpStream::connect(server.ws.unwrap()).await.unwrap();
    stream
        .write_all(handshake(headers).as_bytes())
        .await
        .unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

#[tokio::test]
async fn handshakes() {
    let server = Server::with(&["--set", "socket.origins=https://desk.example.com"]).await;
    for (headers, expected) in [
        ("", "101 Switching Protocols"),
        (
            "Sec-WebSocket-Protocol: something\r\n",
            "101 Switching Protocols",
        ),
        (
            "Origin: http://gw.example.net:8000\r\n",
            "101 Switching Protocols",
        ),
        (
            "Origin: http://localhost:3000\r\n",
            "101 Switching Protocols",
        ),
        (
            "Origin: https://desk.example.com\r\n",
            "101 Switching Protocols",
        ),
        ("Origin: https://evil.example\r\n", "403 Forbidden"),
        ("Origin: null\r\n", "403 Forbidden"),
    ] {
        assert_eq!(
            status(&server, headers).await,
            format!("HTTP/1.1 {expected}"),
            "{headers}"
        );
    }
    let plain = raw(&server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(
        plain.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
        "{plain}"
    );
    let nonsense = raw(&server, "\u{16}\u{3}\u{1} what\r\n\r\n").await;
    assert!(
        nonsense.starts_with("HTTP/1.1 400 Bad Request\r\n"),
        "{nonsense}"
    );
    let long = raw(
        &server,
        &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9000)),
    )
    .await;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut() {
    let server = Server::with(&["--set", "socket.handshake_timeout=200ms"]).await;
    // The first byte of a request, and of a TLS record.
    for (address, first) in [(server.ws.unwrap(), b"G"), (server.wss.unwrap(), b"\x16")] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).await.unwrap_or(0), 0);
    }
    let refused = "blackhole_handshakes_refused_total{reason=\"timeout\"}";
    until("both are counted", async || {
        (server.metric(refused).await >= 2.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sockets_of_an_address_are_limited() {
    let server = Server::with(&["--set", "socket.max_per_address=2"]).await;
    let first = server.client().await;
    let _second = server.client().await;
    let refused = raw(&server, &handshake("")).await;
    assert!(
        refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{refused}"
    );
    first.leave().await;
    until("a place is free again", async || {
        (status(&server, "").await == "HTTP/1.1 101 Switching Protocols").then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_token_a_socket_is_closed() {
    let server = Server::with(&["--set", "socket.login_timeout=300ms"]).await;
    let mut client = server.client().await;
    let closed = client.closed().await;
    assert_eq!(
        (closed.code, &*closed.reason),
        (1008, "no valid token within 300ms")
    );
}

#[tokio::test]
async fn an_idle_socket_is_closed() {
    let server = Server::with(&[
        "--set",
        "socket.idle_timeout=1s",
        "--set",
        "socket.ping_interval=off",
    ])
    .await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.*.*").await;
    assert_eq!(client.closed().await.code, 1000);
}

#[tokio::test]
async fn pings_keep_the_living_and_find_the_dead() {
    let server = Server::with(&["--set", "socket.ping_interval=500ms"]).await;
    let mut living = server.client().await;
    // Handshaken, then never read nor answered.
    let mut dead = TcpStream::connect(server.ws.unwrap()).await.unwrap();
    dead.write_all(handshake("").as_bytes()).await.unwrap();
    for _ in 0..3 {
        // Reading answers it.
        assert_eq!(living.next().await, Some(Message::Ping("".into())));
    }
    until("the dead one is found", async || {
        (server
            .metric("blackhole_sockets_closed_total{reason=\"dead\"}")
            .await
            >= 1.0)
            .then_some(())
    })
    .await;
    assert!((server.metric("blackhole_sockets{transport=\"ws\"}").await - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn a_clients_close_is_answered() {
    let server = Server::start().await;
    for mut client in [server.client().await, server.tls_client().await] {
        client.say_goodbye().await;
        assert_eq!(client.closed().await.code, 1000);
        assert_eq!(client.next().await, None);
    }
}

#[tokio::test]
async fn broken_frames_close_with_their_code() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.send_text(&"x".repeat(70_000)).await;
    let closed = client.closed().await;
    assert_eq!(
        (closed.code, &*closed.reason),
        (1009, "message too long: at most 65536 bytes")
    );

    let text = |payload: &[u8]| {
        let header = FrameHeader {
            opcode: OpCode::Data(Data::Text),
            ..FrameHeader::default()
        };
        Message::Frame(Frame::from_payload(header, payload.to_vec().into()))
    };
    let mut client = server.client().await;
    client.send_raw(text(b"\xff\xfe")).await;
    assert_eq!(client.closed().await.code, 1007);

    let mut client = server.client().await;
    let mut header = FrameHeader {
        opcode: OpCode::Data(Data::Reserved(3)),
        ..FrameHeader::default()
    };
    header.rsv1 = true;
    client
        .send_raw(Message::Frame(Frame::from_payload(header, "x".into())))
        .await;
    assert_eq!(client.closed().await.code, 1002);
}

#[tokio::test]
async fn who_never_stops_is_closed() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut limited = 0;
    let closed = loop {
        if client.try_send_text("{}").await.is_err() {
            break client.closed().await;
        }
        match client.next().await {
            Some(Message::Text(text)) => {
                limited += usize::from(text.contains("rate limiting threshold hit for"))
            }
            Some(Message::Close(Some(frame))) => {
                break Closed {
                    code: frame.code.into(),
                    reason: frame.reason.to_string(),
                };
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((closed.code, &*closed.reason), (1008, "rate limit ignored"));
    assert!(limited >= 99, "{limited} errors first");
}

#[tokio::test]
async fn an_expired_token_ends_the_socket_and_a_newer_one_extends_it() {
    let server = Server::start().await;
    let account = server.account(A).await;
    let short = async || server.run(&["token", "--account", A, "--ttl", "4s"]).await;
    let mut ends = server.client().await;
    let mut extended = server.client().await;
    for client in [&mut ends, &mut extended] {
        let reply = client
            .ask(json!({"action":"ping","auth_token":short().await}))
            .await;
        assert_eq!(reply["status"], "success");
    }
    let reply = extended
        .ask(json!({"action":"ping","auth_token":account.token}))
        .await;
    assert_eq!(reply["status"], "success");
    let closed = ends.closed().await;
    assert_eq!((closed.code, &*closed.reason), (4401, "token expired"));
    assert_eq!(
        extended.ask(json!({"action":"ping"})).await["status"],
        "success"
    );
    let expired = short().await;
    until("the token has expired", async || {
        let mut client = server.client().await;
        let reply = client
            .ask(json!({"action":"ping","auth_token":expired}))
            .await;
        (reply["data"]["errors"][0] == "failed to authenticate token: expired").then_some(())
    })
    .await;
}

/// A reader that stops is closed with a reason; whoever reads gets everything.
#[tokio::test]
async fn a_slow_consumer_is_closed_and_harms_nobody() {
    let server = Server::with(&["--set", "socket.max_waiting_bytes=64KiB"]).await;
    let master = server.master().await;
    let account = server.account(A).await;
    let mut slow = server.client().await;
    let mut quick = server.client().await;
    for client in [&mut slow, &mut quick] {
        client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    }
    let event = |number: usize| {
        json!({
            "Event-Name": "CHANNEL_CREATE",
            "Call-ID": number.to_string(),
            "Custom-Channel-Vars": {"Account-ID": A},
            "Padding": "x".repeat(30_000),
        })
    };
    // The kernel's buffers take some megabytes before anything waits in the gateway.
    let mut number = 0;
    until("the slow one is closed", async || {
        server
            .publish(&master, "callevt", "call.CHANNEL_CREATE.x", &event(number))
            .await;
        assert_eq!(quick.event().await["data"]["call_id"], number.to_string());
        number += 1;
        (server
            .metric("blackhole_sockets_closed_total{reason=\"slow_consumer\"}")
            .await
            >= 1.0)
            .then_some(())
    })
    .await;
    assert_eq!(
        quick.ask(json!({"action":"ping"})).await["status"],
        "success"
    );
}

/// Far more than the kernel takes at once, of all sizes: nothing is lost, doubled, torn or out of
/// order, on a plain socket nor on one with TLS, and who sends meanwhile is answered.
#[tokio::test]
async fn whoever_reads_late_gets_everything_in_order() {
    const EVENTS: usize = 1000;
    let server = Server::with(&["--set", "socket.max_waiting_bytes=64MiB"]).await;
    let master = server.master().await;
    let account = server.account(A).await;
    let mut clients = [server.client().await, server.tls_client().await];
    for client in &mut clients {
        client.subscribe(&account, "fax.status.*").await;
    }
    let pad = |number: usize| "x".repeat([0, 2_000, 16_384, 70_000][number % 4]);
    let key = format!("fax.status.{A}.x");
    for number in 0..EVENTS {
        let event = json!({"Account-ID":A,"N":number,"Pad":pad(number)});
        assert!(server.publish(&master, "faxes", &key, &event).await);
    }
    let waiting = server.metric("blackhole_frames_written_total").await;
    assert!(waiting < 2.0 * EVENTS as f64, "nothing waits: {waiting}");
    for client in &mut clients {
        client.send(json!({"action":"ping"})).await;
        let (mut number, mut answered) = (0, false);
        while number < EVENTS || !answered {
            let frame: Value = serde_json::from_str(&client.text().await).unwrap();
            if frame["action"] == "reply" {
                answered = true;
                continue;
            }
            assert_eq!(frame["data"]["n"], number);
            assert_eq!(frame["data"]["pad"], pad(number));
            number += 1;
        }
    }
    let everything = "blackhole_frames_written_total";
    assert!(server.metric(everything).await >= 2.0 * EVENTS as f64);
}

#[tokio::test]
async fn a_gone_socket_leaves_nothing_behind() {
    let server = Server::start().await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.*.*").await;
    client.subscribe(&account, "fax.status.*").await;
    assert!((server.metric("blackhole_subscriptions").await - 10.0).abs() < 0.5);
    assert!((server.metric("blackhole_source_bindings").await - 10.0).abs() < 0.5);
    drop(client);
    until("nothing is left", async || {
        let left = server.metric("blackhole_subscriptions").await
            + server.metric("blackhole_source_bindings").await;
        (left < 0.5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn tokens_are_in_no_log_and_no_error() {
    let server = Server::with(&["--set", "log.level=trace"]).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    let error = client
        .error(json!({"action":"ping","auth_token":"hunter2.hunter2.hunter2"}))
        .await;
    assert_eq!(error, "failed to authenticate token: malformed");
    client.subscribe(&account, "call.*.*").await;
    client.leave().await;
    let log = server.log();
    assert!(log.contains("socket opened"), "{log}");
    assert!(!log.contains("hunter2") && !log.contains(&account.token));
}
