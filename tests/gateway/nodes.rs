//! Several gateway processes on one RabbitMQ: listing, closing, revoking, one of them killed; and as an
//! independent program of Kazoo's sees them.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, Consumer};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{A, Account, Answer, B, PATIENCE, Publisher, Server, Vhost, request, until};

/// Longest time that a change may take to act on another node.
const AT_ONCE: Duration = Duration::from_secs(1);

fn name(node: &str) -> String {
    format!("node=blackhole@{node}.example.net")
}

async fn first(vhost: &Vhost) -> Server {
    Server::with(&["--amqp-url", &vhost.url, "--set", &name("gw1")]).await
}

/// With a copy of the first one's data, as on another machine.
async fn another(first: &Server, vhost: &Vhost, node: &str) -> Server {
    first
        .copied(&["--amqp-url", &vhost.url, "--set", &name(node)])
        .await
}

/// Waits until a node knows this number of others, and is connected.
async fn knows(server: &Server, others: usize) {
    until("the nodes know each other", async || {
        let ready = server.get("/readyz").await.json();
        let nodes = &ready["nodes"];
        let known = nodes["others"].as_array()?.len();
        (known == others && nodes["connected"] == true && ready["ready"] == true).then_some(())
    })
    .await;
}

async fn call(server: &Server, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let headers = [("x-auth-token", token)];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    request(server.api, method, path, &headers, &body).await
}

async fn get(server: &Server, path: &str, token: &str) -> Answer {
    call(server, "GET", path, token, &Value::Null).await
}

async fn log_out(server: &Server, account: &Account) {
    let answer = call(
        server,
        "DELETE",
        "/v2/token_auth",
        &account.token,
        &Value::Null,
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn ids(answer: &Answer) -> Vec<String> {
    let answer = answer.json();
    let sockets = answer["data"].as_array().unwrap().iter();
    let mut ids: Vec<String> = sockets
        .map(|socket| socket["websocket_session_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

async fn subscribed(server: &Server, account: &Account) -> crate::support::Client {
    let mut client = server.client().await;
    client.subscribe(account, "call.*.*").await;
    client
}

#[tokio::test]
async fn sockets_of_all_nodes_are_listed_found_and_closed() {
    let vhost = Vhost::new().await;
    let one = first(&vhost).await;
    let account = one.account(A).await;
    let foreign = one.account(B).await;
    let two = another(&one, &vhost, "gw2").await;
    let three = another(&one, &vhost, "gw3").await;
    for server in [&one, &two, &three] {
        knows(server, 2).await;
    }
    let mut clients = Vec::new();
    for server in [&one, &two, &three] {
        clients.push(subscribed(server, &account).await);
        clients.push(subscribed(server, &foreign).await);
    }
    let path = format!("/v2/accounts/{A}/websockets");
    let mut seen = Vec::new();
    for server in [&one, &two, &three] {
        let answer = get(server, &path, &account.token).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.json().get("missing_nodes").is_none());
        seen.push(ids(&answer));
        let mut nodes: Vec<Value> = answer.json()["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|socket| {
                assert_eq!(socket["account_id"], A);
                assert_eq!(socket["bindings"], json!(["call.*.*"]));
                socket["destination"].clone()
            })
            .collect();
        nodes.sort_by_key(ToString::to_string);
        assert_eq!(
            nodes,
            ["gw1.example.net", "gw2.example.net", "gw3.example.net"]
        );
    }
    assert!(seen[0].len() == 3 && seen[0] == seen[1] && seen[1] == seen[2]);
    // Each is found from each node; another account's is not.
    let foreign_ids = ids(&get(
        &one,
        &format!("/v2/accounts/{B}/websockets"),
        &foreign.token,
    )
    .await);
    for id in &seen[0] {
        let answer = get(&two, &format!("{path}/{id}"), &account.token).await;
        assert_eq!(answer.json()["data"]["websocket_session_id"], *id);
    }
    for id in &foreign_ids {
        for (method, server) in [("GET", &one), ("DELETE", &three)] {
            let path = format!("{path}/{id}");
            let answer = call(server, method, &path, &account.token, &Value::Null).await;
            assert_eq!(answer.status, 404, "{}", answer.text);
        }
    }
    // Closed from another node.
    let on_three = get(&one, &path, &account.token).await.json();
    let mut found = on_three["data"].as_array().unwrap().iter();
    let victim = found
        .find(|socket| socket["destination"] == "gw3.example.net")
        .unwrap();
    let id = victim["websocket_session_id"].as_str().unwrap();
    let answer = call(
        &one,
        "DELETE",
        &format!("{path}/{id}"),
        &account.token,
        &Value::Null,
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let closed = clients[4].closed().await;
    assert_eq!(
        (closed.code, closed.reason.as_str()),
        (1008, "closed by an administrator")
    );
    until("it is listed no more", async || {
        (ids(&get(&two, &path, &account.token).await).len() == 2).then_some(())
    })
    .await;
    let answer = get(&one, &format!("{path}/{id}"), &account.token).await;
    assert_eq!(answer.status, 404, "{}", answer.text);
}

#[tokio::test]
async fn a_killed_node_is_missing_and_then_forgotten() {
    let vhost = Vhost::new().await;
    let one = first(&vhost).await;
    let account = one.account(A).await;
    let mut two = another(&one, &vhost, "gw2").await;
    knows(&one, 1).await;
    knows(&two, 1).await;
    let _on_one = subscribed(&one, &account).await;
    let _on_two = subscribed(&two, &account).await;
    let path = format!("/v2/accounts/{A}/websockets");
    assert_eq!(ids(&get(&one, &path, &account.token).await).len(), 2);
    two.signal("-9");
    two.ended().await;
    let answer = get(&one, &path, &account.token).await;
    assert_eq!(answer.status, 200, "what is known is told");
    assert_eq!(ids(&answer).len(), 1);
    assert_eq!(
        answer.json()["missing_nodes"],
        json!(["blackhole@gw2.example.net"])
    );
    let gone = format!("{path}/{}", "0".repeat(32));
    let answer = get(&one, &gone, &account.token).await;
    assert_eq!(answer.status, 503, "it may be on the node that is silent");
    assert!(answer.text.contains("blackhole@gw2.example.net"));
    knows(&one, 0).await;
    let answer = get(&one, &path, &account.token).await;
    assert!(answer.json().get("missing_nodes").is_none());
    assert_eq!(get(&one, &gone, &account.token).await.status, 404);
}

#[tokio::test]
async fn what_one_node_takes_away_is_gone_on_all() {
    let vhost = Vhost::new().await;
    let one = first(&vhost).await;
    let master = one.master().await;
    let account = one.account(A).await;
    one.account(B).await;
    let credentials = ["--username", "bob", "--password", "secret-1"];
    let mut create = vec!["user", "create", "--account", A];
    create.extend(credentials);
    let user = one.run(&create).await;
    let two = another(&one, &vhost, "gw2").await;
    let three = another(&one, &vhost, "gw3").await;
    for server in [&one, &two, &three] {
        knows(server, 2).await;
    }
    let log_in = async |server: &Server| {
        // The md5 of bob:secret-1.
        let credentials = "05d42d7fe1450036033298be15cdadbe";
        let body = json!({"data":{"credentials":credentials,"account_id":A}});
        let answer = call(server, "PUT", "/v2/user_auth", "", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        Account {
            id: A.into(),
            token: answer.json()["auth_token"].as_str().unwrap().to_owned(),
        }
    };

    // Log-out on one node closes what lives by the token on the others, and nothing else.
    let bob = log_in(&one).await;
    let other = log_in(&one).await;
    let mut on_two = subscribed(&two, &bob).await;
    let mut on_three = subscribed(&three, &bob).await;
    let mut stays = subscribed(&two, &other).await;
    let begin = Instant::now();
    log_out(&one, &bob).await;
    for client in [&mut on_two, &mut on_three] {
        let closed = client.closed().await;
        assert_eq!(
            (closed.code, closed.reason.as_str()),
            (4401, "token revoked")
        );
    }
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    for server in [&one, &two, &three] {
        assert_eq!(get(server, "/v2/token_auth", &bob.token).await.status, 401);
    }
    stays.subscribe(&other, "fax.status.*").await;

    // A password changed on one node ends the tokens everywhere.
    let path = format!("/v2/accounts/{A}/users/{user}");
    let body = json!({"data":{"password":"secret-2"}});
    let begin = Instant::now();
    let answer = call(&three, "PATCH", &path, &account.token, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let closed = stays.closed().await;
    assert_eq!(closed.code, 4401, "{closed:?}");
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());

    // A disabled account, and one that moved.
    let mut disabled = subscribed(&one, &account).await;
    let begin = Instant::now();
    let path = format!("/v2/accounts/{A}");
    let disable = json!({"data":{"enabled":false}});
    let answer = call(&two, "PATCH", &path, &master.token, &disable).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(disabled.closed().await.code, 4401);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    until("no node lets it in", async || {
        let answer = get(&three, "/v2/token_auth", &account.token).await;
        (answer.status == 401).then_some(())
    })
    .await;
    let answer = call(
        &two,
        "PATCH",
        &path,
        &master.token,
        &json!({"data":{"enabled":true}}),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let under_b = call(
        &two,
        "POST",
        &format!("{path}/move"),
        &master.token,
        &json!({"data":{"to":B}}),
    )
    .await;
    assert_eq!(under_b.status, 200, "{}", under_b.text);
    until("the first node knows of the move", async || {
        let answer = get(&one, &path, &master.token).await.json();
        (answer["data"]["parent_id"] == B && answer["data"]["enabled"] == true).then_some(())
    })
    .await;
}

/// What a node missed while it was away it is told when it comes.
#[tokio::test]
async fn a_node_that_comes_later_learns_what_it_missed() {
    let vhost = Vhost::new().await;
    let one = first(&vhost).await;
    let master = one.master().await;
    let account = one.account(A).await;
    let spare = one.account(B).await;
    let mut two = another(&one, &vhost, "gw2").await;
    knows(&one, 1).await;
    two.signal("-9");
    two.ended().await;
    log_out(&one, &account).await;
    let disable = json!({"data":{"enabled":false}});
    let path = format!("/v2/accounts/{B}");
    let answer = call(&one, "PATCH", &path, &master.token, &disable).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let again = two
        .beside(&["--amqp-url", &vhost.url, "--set", &name("gw2")])
        .await;
    for token in [&account.token, &spare.token] {
        until("it has learned", async || {
            (get(&again, "/v2/token_auth", token).await.status == 401).then_some(())
        })
        .await;
    }
    let master = get(&again, "/v2/token_auth", &master.token).await;
    assert_eq!(master.status, 200, "{}", master.text);
}

/// An independent program with a queue of its own, as Crossbar has.
struct Kazoo {
    publisher: Publisher,
    answers: Consumer,
    queue: String,
    _connection: Connection,
}

impl Kazoo {
    async fn connect(vhost: &Vhost) -> Self {
        let connection = Connection::connect(&vhost.url, ConnectionProperties::default());
        let connection = connection.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare("".into(), options, FieldTable::default());
        let queue = queue.await.unwrap().name().clone();
        for (exchange, key) in [("targeted", queue.as_str()), ("nodes", "")] {
            let options = QueueBindOptions::default();
            let key = lapin::types::ShortString::try_new(key).unwrap();
            let binding = channel.queue_bind(
                queue.clone(),
                exchange.into(),
                key,
                options,
                FieldTable::default(),
            );
            binding.await.unwrap();
        }
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consuming =
            channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default());
        Self {
            publisher: Publisher::connect(&vhost.url).await,
            answers: consuming.await.unwrap(),
            queue: queue.to_string(),
            _connection: connection,
        }
    }

    async fn ask(&self, exchange: &str, key: &str, mut body: Value) {
        body["Server-ID"] = self.queue.as_str().into();
        body["Msg-ID"] = "question-1".into();
        body["Node"] = "kazoo_apps@apps1.example.net".into();
        body["App-Name"] = "crossbar".into();
        body["App-Version"] = "4.0.0".into();
        self.publisher.json(exchange, key, &body).await;
    }

    /// The next message of this name.
    async fn next(&mut self, name: &str) -> Value {
        let next = async {
            loop {
                let delivery = self.answers.next().await.unwrap().unwrap();
                let body: Value = serde_json::from_slice(&delivery.data).unwrap();
                if body["Event-Name"] == name {
                    return body;
                }
            }
        };
        timeout(PATIENCE, next).await.unwrap()
    }
}

#[tokio::test]
async fn kazoos_own_questions_are_answered_in_kazoos_format() {
    let vhost = Vhost::new().await;
    let server = first(&vhost).await;
    let account = server.account(A).await;
    let foreign = server.account(B).await;
    knows(&server, 0).await;
    let mut client = server.client().await;
    let reply = json!({"action":"subscribe","auth_token":account.token,"name":"desk",
        "data":{"account_id":A,"binding":"call.CHANNEL_CREATE.*"}});
    client.send(reply).await;
    assert_eq!(client.reply().await["status"], "success");
    let _other = subscribed(&server, &foreign).await;
    let mut kazoo = Kazoo::connect(&vhost).await;

    let advertisement = kazoo.next("advertise").await;
    assert_eq!(advertisement["Node"], "blackhole@gw1.example.net");
    assert_eq!(advertisement["Event-Category"], "nodes");
    assert!(advertisement["Expires"].as_u64().unwrap() <= 15_000);
    assert!(advertisement["WhApps"]["blackhole"]["Startup"].is_u64());

    let question = json!({"Account-ID":A,"Auth-Account-ID":A,
        "Event-Category":"websockets","Event-Name":"get_req"});
    kazoo.ask("sysconf", "websockets.get", question).await;
    let answer = kazoo.next("get_resp").await;
    let members: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "App-Name",
            "App-Version",
            "Data",
            "Event-Category",
            "Event-Name",
            "Msg-ID",
            "Node"
        ]
    );
    assert_eq!(answer["Msg-ID"], "question-1");
    assert_eq!(answer["App-Name"], "blackhole");
    assert_eq!(answer["Node"], "blackhole@gw1.example.net");
    let sockets = answer["Data"].as_array().unwrap();
    assert_eq!(sockets.len(), 1, "{answer}");
    let members: Vec<&String> = sockets[0].as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "bindings",
            "destination",
            "name",
            "source",
            "timestamp",
            "websocket_session_id"
        ]
    );
    assert_eq!(sockets[0]["destination"], "gw1.example.net");
    assert_eq!(sockets[0]["source"], "127.0.0.1");
    assert_eq!(sockets[0]["bindings"], json!(["call.CHANNEL_CREATE.*"]));
    assert!(sockets[0]["timestamp"].as_u64().unwrap() > 63_000_000_000);

    // One socket is one object; a foreign account's is not there.
    let id = &sockets[0]["websocket_session_id"];
    for (account, expected) in [(A, sockets[0].clone()), (B, json!([]))] {
        let question = json!({"Account-ID":account,"Socket-ID":id,
            "Event-Category":"websockets","Event-Name":"get_req"});
        kazoo.ask("sysconf", "websockets.get", question).await;
        assert_eq!(kazoo.next("get_resp").await["Data"], expected);
    }
}

#[tokio::test]
async fn a_category_is_stopped_and_started_and_that_lasts() {
    let vhost = Vhost::new().await;
    let mut server = first(&vhost).await;
    let account = server.account(A).await;
    knows(&server, 0).await;
    let mut kazoo = Kazoo::connect(&vhost).await;
    let module = |module: &str, action: &str| {
        json!({"Module":module,"Action":action,
            "Event-Category":"websockets","Event-Name":"module_req"})
    };
    let mut client = server.client().await;
    client.subscribe(&account, "fax.status.*").await;
    kazoo
        .ask("kapps", "ws.module_req", module("bh_nosuch", "start"))
        .await;
    let answer = kazoo.next("module_resp").await;
    assert_eq!(answer["Error"], "module doesn't exist");
    assert_eq!(
        (&answer["Started"], &answer["Persisted"]),
        (&json!(false), &json!(false))
    );
    kazoo
        .ask("kapps", "ws.module_req", module("bh_fax", "stop"))
        .await;
    let answer = kazoo.next("module_resp").await;
    assert_eq!(
        (&answer["Started"], &answer["Persisted"]),
        (&json!(false), &json!(true))
    );

    let subscribe =
        json!({"action":"subscribe","data":{"account_id":A,"binding":"fax.object.doc_edited"}});
    let refused = async |client: &mut crate::support::Client| {
        client.send(subscribe.clone()).await;
        let reply = client.reply().await;
        assert_eq!(
            reply["data"]["errors"],
            json!(["no available subscriptions to requested binding"]),
            "{reply}"
        );
    };
    refused(&mut client).await;
    let listed = async |server: &Server| {
        let catalogue = server.get("/v2/websockets").await.json();
        catalogue["data"].get("fax").is_some()
    };
    assert!(!listed(&server).await);
    // What was subscribed before goes on, and can be taken back.
    let event = json!({"Event-Name":"status","Account-ID":A,"Fax-ID":"x"});
    let key = format!("fax.status.{A}.x");
    kazoo.publisher.json("faxes", &key, &event).await;
    assert_eq!(client.event().await["data"]["account_id"], A);

    server.signal("-TERM");
    server.ended().await;
    let again = server
        .beside(&["--amqp-url", &vhost.url, "--set", &name("gw1")])
        .await;
    assert!(!listed(&again).await, "it lasts");
    knows(&again, 0).await;
    kazoo
        .ask("kapps", "ws.module_req", module("bh_fax", "start"))
        .await;
    let answer = kazoo.next("module_resp").await;
    assert_eq!(
        (&answer["Started"], &answer["Persisted"]),
        (&json!(true), &json!(true))
    );
    assert!(listed(&again).await);
    let mut client = again.client().await;
    client.subscribe(&account, "fax.status.*").await;
}

/// Two processes on one data directory, without a broker: accounts and log-outs are shared.
#[tokio::test]
async fn a_shared_data_directory_shares_log_outs() {
    let one = Server::start().await;
    let account = one.account(A).await;
    let two = one.beside(&[]).await;
    let mut client = subscribed(&two, &account).await;
    let begin = Instant::now();
    log_out(&one, &account).await;
    assert_eq!(client.closed().await.code, 4401);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
}
