//! Open sockets, listed and closed over REST.

use serde_json::{Value, json};

use crate::support::{Client, Server, World, column, subscribe, until};

/// A subscribed socket's id, by its name.
async fn id_of(server: &Server, world: &World, name: &str) -> String {
    let path = format!("{}/websockets?descendants=true", world.master.path());
    let all = server.of(&world.master).get(&path).await.data(200);
    let mut sockets = all.as_array().unwrap().iter();
    let found = sockets.find(|socket| socket["name"] == name).unwrap();
    found["websocket_session_id"].as_str().unwrap().to_owned()
}

/// Subscribes under a name.
async fn open(server: &Server, token: &str, account: &str, name: &str) -> Client {
    let mut client = server.client().await;
    let mut wanted = subscribe(token, account, "call.CHANNEL_CREATE.*");
    wanted["name"] = name.into();
    let reply = client.ask(wanted).await;
    assert_eq!(reply["status"], "success", "{reply}");
    client
}

#[tokio::test]
async fn listed_with_all_that_is_known() {
    let server = Server::with(&["--set", "node=blackhole@gw1.example.net"]).await;
    let world = World::new(&server).await;
    let acme = server.of(&world.acme);
    let path = format!("{}/websockets", world.acme.path());
    let empty = acme.get(&path).await;
    assert_eq!(empty.data(200), json!([]));
    for member in ["page_size", "start_key", "next_start_key", "missing_nodes"] {
        assert!(empty.json().get(member).is_none(), "{member}");
    }

    let mut client = server.client().await;
    let mut wanted = subscribe(&world.acme.token, &world.acme.id, "call.CHANNEL_CREATE.*");
    wanted["name"] = "desk 1".into();
    wanted["data"]["metadata"] = json!({"browser":"x","tags":[1]});
    let reply = client.ask(wanted).await;
    assert_eq!(reply["status"], "success");
    let wanted = subscribe(&world.acme.token, &world.sales.id, "fax.status.*");
    assert_eq!(client.ask(wanted).await["status"], "success");
    let event = json!({"Event-Name":"CHANNEL_CREATE","Call-ID":"c",
        "Custom-Channel-Vars":{"Account-ID":world.acme.id}});
    let key = "call.CHANNEL_CREATE.c";
    assert!(server.publish(&world.master, "callevt", key, &event).await);
    client.event().await;

    // An event is counted when it has been written, which is when it may be here already.
    let listed = until("the event is counted", async || {
        let listed = acme.get(&path).await;
        (listed.json()["data"][0]["sent"] == 1).then_some(listed)
    })
    .await;
    let list = listed.data(200);
    assert_eq!(list.as_array().unwrap().len(), 1);
    let socket = &list[0];
    let id = socket["websocket_session_id"].as_str().unwrap();
    let now = blackhole::model::clock::gregorian(blackhole::model::clock::unix_now());
    assert!((now - 60..=now).contains(&socket["timestamp"].as_u64().unwrap()));
    let expected = json!({
        "websocket_session_id": id, "account_id": world.acme.id, "name": "desk 1",
        "metadata": {"browser":"x","tags":[1]}, "source": "127.0.0.1",
        "source_port": socket["source_port"], "destination": "gw1.example.net",
        "node": "blackhole@gw1.example.net", "timestamp": socket["timestamp"],
        "bindings": socket["bindings"], "sent": 1, "dropped": 0, "waiting_bytes": 0,
    });
    assert_eq!(*socket, expected);
    assert!(socket["source_port"].as_u64().unwrap() > 0);
    let bindings = socket["bindings"].to_string();
    assert!(
        bindings.contains("CHANNEL_CREATE") && bindings.contains("fax"),
        "{bindings}"
    );
    let one = acme.get(&format!("{path}/{id}")).await;
    assert_eq!(one.data(200), *socket);
    for answer in [listed, one] {
        for secret in [&world.acme.token, "auth_token", "Bearer", "eyJ"] {
            assert!(!answer.text.contains(secret), "{secret}: {}", answer.text);
        }
    }
    client.leave().await;
    until("it is gone", async || {
        let gone = acme.get(&format!("{path}/{id}")).await;
        (gone.status == 404).then_some(())
    })
    .await;
    acme.get(&format!("{path}/{id}"))
        .await
        .is_error(404, "bad_identifier");
}

#[tokio::test]
async fn whose_sockets_are_seen() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let mut open_ones = Vec::new();
    for (account, name) in [
        (&world.master, "m1"),
        (&world.acme, "a1"),
        (&world.acme, "a2"),
        (&world.sales, "s1"),
        (&world.other, "o1"),
    ] {
        open_ones.push(open(&server, &account.token, &account.id, name).await);
    }
    // What counts is whose token it is, not what it looks at.
    open_ones.push(open(&server, &world.acme.token, &world.sales.id, "a3").await);
    let mut stranger = server.client().await;
    stranger.error(json!({"action":"ping"})).await;

    let acme = server.of(&world.acme);
    let names = async |token: &str, account: &str, query: &str| {
        let path = format!("/v2/accounts/{account}/websockets{query}");
        let list = server.caller(token).get(&path).await.data(200);
        let mut names = column(&list, "name");
        names.sort();
        names
    };
    let (m, a) = (&world.master, &world.acme);
    let below = "?descendants=true";
    for (token, account, query, expected) in [
        (&a.token, &a.id, "", &["a1", "a2", "a3"][..]),
        (&a.token, &a.id, "?descendants=false", &["a1", "a2", "a3"]),
        (&a.token, &a.id, below, &["a1", "a2", "a3", "s1"]),
        (&a.token, &world.sales.id, "", &["s1"]),
        (&world.sales.token, &world.sales.id, below, &["s1"]),
        (&world.other.token, &world.other.id, below, &["o1"]),
        (&m.token, &a.id, "", &["a1", "a2", "a3"]),
        (&m.token, &a.id, below, &["a1", "a2", "a3", "s1"]),
        (&m.token, &m.id, "", &["m1"]),
        // With the one that has not logged in, which has no name.
        (
            &m.token,
            &m.id,
            below,
            &["", "a1", "a2", "a3", "m1", "o1", "s1"],
        ),
    ] {
        assert_eq!(
            names(token, account, query).await,
            expected,
            "{account}{query}"
        );
    }
    let path = format!("{}/websockets?descendants=maybe", a.path());
    acme.get(&path).await.is_mistake("descendants", "enum");
    for caller in [server.of(&world.other), server.of(&world.sales)] {
        for query in ["", "?descendants=true", "?format=ids"] {
            let path = format!("{}/websockets{query}", a.path());
            caller.get(&path).await.is_error(403, "forbidden");
        }
    }

    // One by its id: under its own account only.
    for (name, account) in [("a1", a), ("s1", &world.sales), ("o1", &world.other)] {
        let id = id_of(&server, &world, name).await;
        for at in [a, &world.sales, &world.other, m] {
            let path = format!("{}/websockets/{id}", at.path());
            let answer = server.of(m).get(&path).await;
            if at.id == account.id {
                assert_eq!(answer.data(200)["name"], name);
            } else {
                answer.is_error(404, "bad_identifier");
                server
                    .of(m)
                    .delete(&path)
                    .await
                    .is_error(404, "bad_identifier");
            }
        }
    }
    for mut client in open_ones {
        client.lives().await;
    }
}

#[tokio::test]
async fn filters_and_pages() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let acme = server.of(&world.acme);
    let path = format!("{}/websockets", world.acme.path());
    let mut clients = Vec::new();
    for name in ["1", "2", "3", "4", "5"] {
        clients.push(open(&server, &world.acme.token, &world.acme.id, name).await);
    }
    let fax = subscribe(&world.acme.token, &world.acme.id, "fax.status.*");
    assert_eq!(clients[3].ask(fax).await["status"], "success");
    let list = async |query: &str| acme.get(&format!("{path}{query}")).await;
    let names = async |query: &str| {
        let mut names = column(&list(query).await.data(200), "name");
        names.sort();
        names
    };
    let all = ["1", "2", "3", "4", "5"];
    for (query, expected) in [
        ("?binding=fax.status.*", &["4"][..]),
        ("?binding=call.CHANNEL_CREATE.%2A", &all),
        ("?binding=fax", &[]),
        ("?source=127.0.0.1", &all),
        ("?source=203.0.113.9", &[]),
        ("?source=127.0.0.1&binding=fax.status.*", &["4"]),
        ("?format=objects", &all),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    let objects = list("").await.data(200);
    let ids = list("?format=ids").await.data(200);
    assert_eq!(ids, json!(column(&objects, "websocket_session_id")));
    list("?format=xml").await.is_mistake("format", "enum");

    // Pages only where they are asked for.
    let mut seen: Vec<Value> = Vec::new();
    let mut query = "?format=ids&page_size=2".to_owned();
    for size in [2, 2, 1] {
        let page = list(&query).await;
        seen.extend(page.data(200).as_array().unwrap().clone());
        let body = page.json();
        assert_eq!(body["page_size"], size);
        let next = body["next_start_key"].as_str().unwrap_or_default();
        assert_eq!(next.is_empty(), size == 1);
        query = format!("?format=ids&page_size=2&start_key={next}");
    }
    assert_eq!(Value::from(seen), ids);
    assert_eq!(list("?paginate=true").await.json()["page_size"], 5);
    list("?page_size=0")
        .await
        .is_mistake("page_size", "invalid");
}

#[tokio::test]
async fn closed_by_an_administrator() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let path = async |name: &str| {
        let id = id_of(&server, &world, name).await;
        format!("{}/websockets/{id}", world.acme.path())
    };
    let admin = server.user(&world.acme, "eve", "admin").await;
    let bob = server.user(&world.acme, "bob", "user").await;
    let mut stays = open(&server, &world.acme.token, &world.acme.id, "stays").await;
    for (name, closer) in [
        ("by account", server.of(&world.acme)),
        ("by admin", server.user_caller(&admin)),
        ("from above", server.of(&world.master)),
    ] {
        let mut client = open(&server, &world.acme.token, &world.acme.id, name).await;
        let path = path(name).await;
        for caller in [
            server.of(&world.other),
            server.of(&world.sales),
            server.user_caller(&bob),
        ] {
            caller.delete(&path).await.is_error(403, "forbidden");
        }
        let answer = closer.delete(&path).await;
        answer.data(200);
        assert!(answer.json().get("data").is_none());
        client.is_closed(1008, "closed by an administrator").await;
        until("it is gone", async || {
            (closer.delete(&path).await.status == 404).then_some(())
        })
        .await;
        closer.delete(&path).await.is_error(404, "bad_identifier");
    }
    // Who was closed may come again: the token is still good.
    open(&server, &world.acme.token, &world.acme.id, "again").await;
    stays.lives().await;
    let closed = "blackhole_sockets_closed_total{reason=\"administrator\"}";
    assert!((server.metric(closed).await - 3.0).abs() < 0.5);
}
