//! Accounts: their tree, who may see and change what of it, and what a change does to open sockets.

use serde_json::{Value, json};

use crate::support::{Account, Answer, Caller, Server, World, column};

/// Ids that are nobody's.
const NOBODY: &str = "00000000000000000000000000000000";

#[tokio::test]
async fn made_read_and_changed() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let acme = server.of(&world.acme);
    let (path, parent) = (world.acme.path(), &world.acme.id);

    let above = acme.get(&path).await.data(200)["realm"].clone();
    let above = above.as_str().unwrap();

    // A child with everything that can be said, and with what nobody may say.
    let answer = acme
        .put(
            &path,
            json!({
                "name": "  Support ", "realm": format!("Support.{above}"), "enabled": true,
                "timezone": "Europe/Berlin", "ui_metadata": {"version":"5.0","nested":{"a":[1]}},
                "id": NOBODY, "parent_id": NOBODY, "tree": [], "superduper_admin": true,
                "is_reseller": true, "reseller_id": NOBODY, "created": 1, "api_key": "x",
                "_id": "x", "_rev": "x", "pvt_enabled": false, "pvt_superduper_admin": true,
            }),
        )
        .await;
    let made = answer.data(201);
    let id = made["id"].as_str().unwrap();
    let child = format!("/v2/accounts/{id}");
    assert_eq!(answer.header("location"), child);
    let expected = json!({
        "id": id, "name": "Support", "realm": format!("support.{above}"), "enabled": true,
        "superduper_admin": false, "is_reseller": false, "reseller_id": world.master.id,
        "parent_id": parent, "created": made["created"], "timezone": "Europe/Berlin",
        "ui_metadata": {"version":"5.0","nested":{"a":[1]}},
    });
    assert_eq!(made, expected);
    assert_ne!(id, NOBODY);
    assert!(
        made["created"].as_u64().unwrap() > 63_900_000_000,
        "Gregorian"
    );
    assert_eq!(acme.get(&child).await.data(200), expected);

    // PATCH changes what it names, null removes; POST leaves nothing of the old fields.
    let patched = acme
        .patch(
            &child,
            json!({"timezone":null,"colour":"red","name":"Help","_rev":"y"}),
        )
        .await
        .data(200);
    assert_eq!(
        (&patched["name"], &patched["colour"]),
        (&json!("Help"), &json!("red"))
    );
    assert!(patched.get("timezone").is_none() && patched.get("_rev").is_none());
    assert_eq!(patched["ui_metadata"], made["ui_metadata"]);
    assert_eq!(acme.patch(&child, json!({})).await.data(200), patched);
    let replaced = acme
        .post(&child, json!({"name":"Desk","size":3}))
        .await
        .data(200);
    assert_eq!(
        (&replaced["name"], &replaced["size"]),
        (&json!("Desk"), &json!(3))
    );
    assert!(replaced.get("colour").is_none() && replaced.get("ui_metadata").is_none());
    assert_eq!(replaced["realm"], made["realm"]);
    // What was read can be sent back as it is, also of the own account.
    for (caller, path) in [(&acme, &child), (&acme, &path)] {
        let read = caller.get(path).await.data(200);
        assert_eq!(caller.post(path, read.clone()).await.data(200), read);
    }
    // Without a realm it gets one below its parent's.
    let plain = acme.put(&path, json!({"name":"Support"})).await.data(201);
    let realm = acme.get(&path).await.data(200)["realm"].clone();
    let below = format!(".{}", realm.as_str().unwrap());
    assert!(
        plain["realm"].as_str().unwrap().ends_with(&below),
        "{plain}"
    );

    let own = json!({"name":"x","realm":format!("desk{below}"),"enabled":false});
    let sleeping = acme.put(&path, own).await.data(201);
    assert_eq!(sleeping["enabled"], false);

    // Whose realm it is gets its presence events: only super-duper admins choose freely.
    let foreign = json!({"name":"x","realm":"victim.example.net"});
    for (method, path) in [("PUT", &path), ("PATCH", &path), ("POST", &child)] {
        let body = json!({"data":foreign}).to_string();
        let answer = acme.ask(method, path, &body).await;
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text);
        assert!(answer.json()["data"]["realm"]["forbidden"].is_object());
    }
    let master = server.of(&world.master);
    let chosen = master.put(&path, foreign).await.data(201);
    assert_eq!(chosen["realm"], "victim.example.net");

    for (data, field, rule) in [
        (json!({}), "name", "required"),
        (json!({"name":null}), "name", "required"),
        (json!({"name":7}), "name", "type"),
        (json!({"name":""}), "name", "minLength"),
        (json!({"name":"   "}), "name", "minLength"),
        (json!({"name":"x".repeat(129)}), "name", "maxLength"),
        (json!({"name":"x","realm":"a.b"}), "realm", "minLength"),
        (
            json!({"name":"x","realm":"x".repeat(254)}),
            "realm",
            "maxLength",
        ),
        (
            json!({"name":"x","realm":"a b.example.net"}),
            "realm",
            "pattern",
        ),
        (
            json!({"name":"x","realm":["a.example.net"]}),
            "realm",
            "type",
        ),
        (
            json!({"name":"x","realm":format!("DESK{below}")}),
            "realm",
            "unique",
        ),
        (json!({"name":"x","enabled":"yes"}), "enabled", "type"),
        (
            json!({"name":"x","much":"x".repeat(20_000)}),
            "data",
            "maxLength",
        ),
    ] {
        master
            .put(&path, data.clone())
            .await
            .is_mistake(field, rule);
        master
            .post(&child, data.clone())
            .await
            .is_mistake(field, rule);
        if rule != "required" {
            master.patch(&child, data).await.is_mistake(field, rule);
        }
    }
    assert_eq!(acme.get(&child).await.data(200), replaced);

    // Gone, and its realm is free again.
    assert_eq!(acme.delete(&child).await.data(200), replaced);
    acme.get(&child).await.is_error(403, "forbidden");
    server
        .of(&world.master)
        .get(&child)
        .await
        .is_error(404, "bad_identifier");
    let again = json!({"name":"x","realm":made["realm"]});
    acme.put(&path, again).await.data(201);
}

#[tokio::test]
async fn the_tree_in_pages() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    for name in ["delta", "Alpha", "charlie", "Bravo"] {
        server.child(&world.sales, name).await;
    }
    let sales = server.of(&world.sales);
    let names = ["Alpha", "Bravo", "charlie", "delta"];
    let children = format!("{}/children", world.sales.path());
    let all = sales.get(&children).await;
    assert_eq!(column(&all.data(200), "name"), names);
    assert_eq!(all.json()["page_size"], 4);
    assert!(all.json().get("next_start_key").is_none() && all.json().get("start_key").is_none());
    let first = &all.data(200)[0];
    let tree = json!([world.master.id, world.acme.id, world.sales.id]);
    assert_eq!((&first["tree"], &first["enabled"]), (&tree, &json!(true)));

    // Page after page, each once.
    let mut seen = Vec::new();
    let mut next = None;
    for size in [3, 1] {
        let key = next
            .take()
            .map_or_else(String::new, |key: String| format!("&start_key={key}"));
        let page = sales.get(&format!("{children}?page_size=3{key}")).await;
        seen.extend(column(&page.data(200), "name"));
        let body = page.json();
        assert_eq!(body["page_size"], size);
        assert_eq!(body.get("start_key").is_some(), !key.is_empty());
        next = body["next_start_key"].as_str().map(str::to_owned);
    }
    assert_eq!((seen, next), (names.map(str::to_owned).to_vec(), None));
    let unpaged = sales
        .get(&format!("{children}?paginate=false&page_size=2"))
        .await;
    assert_eq!(column(&unpaged.data(200), "name"), names);
    assert!(unpaged.json().get("page_size").is_none());
    for (query, field) in [
        ("page_size=0", "page_size"),
        ("page_size=1001", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=many", "page_size"),
        ("start_key=%2A", "start_key"),
        ("start_key=_w", "start_key"),
    ] {
        let answer = sales.get(&format!("{children}?{query}")).await;
        answer.is_mistake(field, "invalid");
    }
    sales
        .get(&format!("{children}?paginate=no"))
        .await
        .is_mistake("paginate", "enum");

    let listed = async |caller: &Caller, account: &Account, what: &str| {
        let path = format!("{}/{what}", account.path());
        column(&caller.get(&path).await.data(200), "name")
    };
    let acme = server.of(&world.acme);
    let master = server.of(&world.master);
    assert_eq!(listed(&acme, &world.acme, "children").await, ["Sales"]);
    let below = ["Alpha", "Bravo", "charlie", "delta", "Sales"];
    assert_eq!(listed(&acme, &world.acme, "descendants").await, below);
    assert_eq!(listed(&master, &world.acme, "descendants").await, below);
    assert_eq!(
        listed(&master, &world.master, "children").await,
        ["Acme", "Other"]
    );
    assert!(
        listed(&master, &world.other, "descendants")
            .await
            .is_empty()
    );
    // Of those above, everybody sees as far as the own account.
    let top = master.get(&world.master.path()).await.data(200)["name"].clone();
    let top = top.as_str().unwrap();
    assert_eq!(
        listed(&master, &world.sales, "parents").await,
        [top, "Acme"]
    );
    assert_eq!(listed(&acme, &world.sales, "parents").await, ["Acme"]);
    assert!(listed(&sales, &world.sales, "parents").await.is_empty());
    assert!(listed(&master, &world.master, "parents").await.is_empty());
}

/// Every request about an account, with bodies that are good.
fn about(id: &str) -> Vec<(&'static str, String, Value)> {
    let account = format!("/v2/accounts/{id}");
    let of = |rest: &str| format!("{account}{rest}");
    let user = json!({"username":"intruder","password":"secret-1"});
    vec![
        ("GET", of(""), json!({})),
        ("PUT", of(""), json!({"name":"x"})),
        ("POST", of(""), json!({"name":"x"})),
        ("PATCH", of(""), json!({"name":"x"})),
        ("DELETE", of(""), json!({})),
        ("POST", of("/move"), json!({ "to": id })),
        ("PUT", of("/api_key"), json!({})),
        ("GET", of("/children"), json!({})),
        ("GET", of("/descendants"), json!({})),
        ("GET", of("/parents"), json!({})),
        ("GET", of("/users"), json!({})),
        ("PUT", of("/users"), user.clone()),
        ("GET", of(&format!("/users/{NOBODY}")), json!({})),
        ("POST", of(&format!("/users/{NOBODY}")), user.clone()),
        (
            "PATCH",
            of(&format!("/users/{NOBODY}")),
            json!({"enabled":false}),
        ),
        ("DELETE", of(&format!("/users/{NOBODY}")), json!({})),
        ("GET", of("/websockets"), json!({})),
        ("GET", of("/websockets/x"), json!({})),
        ("DELETE", of("/websockets/x"), json!({})),
    ]
}

async fn ask(caller: &Caller, (method, path, data): &(&'static str, String, Value)) -> Answer {
    let body = json!({ "data": data }).to_string();
    caller.ask(method, path, &body).await
}

/// Whatever is asked about an account that is not below one's own: 403, whether it exists or not.
#[tokio::test]
async fn nobody_reaches_another_account() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let eve = server.user(&world.acme, "eve", "admin").await;
    let eve = server.user_caller(&eve);
    let acme = server.of(&world.acme);
    for caller in [&acme, &eve] {
        let unknown = about(NOBODY);
        for foreign in [&world.other.id, &world.master.id] {
            for (foreign, unknown) in about(foreign).iter().zip(&unknown) {
                let answer = ask(caller, foreign).await;
                answer.is_error(403, "forbidden");
                let other = ask(caller, unknown).await;
                assert_eq!(answer.alike(), other.alike(), "{foreign:?}");
            }
        }
        for id in [
            "short",
            "A",
            &"z".repeat(32),
            &world.acme.id.to_uppercase(),
            "%2e%2e",
        ] {
            let answer = caller.get(&format!("/v2/accounts/{id}")).await;
            answer.is_error(404, "bad_identifier");
        }
    }
    // From below nothing above can be seen.
    for request in about(&world.acme.id) {
        let answer = ask(&server.of(&world.sales), &request).await;
        answer.is_error(403, "forbidden");
    }
    // A super-duper admin may know what there is.
    for request in about(NOBODY) {
        ask(&server.of(&world.master), &request)
            .await
            .is_error(404, "bad_identifier");
    }
    // Who is no admin may look at the own account, and at those below, and change nothing.
    let bob = server.user(&world.acme, "bob", "user").await;
    let bob = server.user_caller(&bob);
    for id in [&world.acme.id, &world.sales.id] {
        for request in about(id) {
            let answer = ask(&bob, &request).await;
            let read = request.0 == "GET";
            let allowed = if read { [200, 404] } else { [403, 403] };
            assert!(
                allowed.contains(&answer.status),
                "{request:?}: {}",
                answer.text
            );
        }
    }
    let names = acme
        .get(&format!("{}/descendants", world.acme.path()))
        .await
        .data(200);
    assert_eq!(column(&names, "name"), ["Sales"]);
}

/// Nobody locks himself out.
#[tokio::test]
async fn what_stays() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let (master, acme) = (server.of(&world.master), server.of(&world.acme));
    let admin = server.user(&world.acme, "eve", "admin").await;
    let admin = server.user_caller(&admin);
    let to = |account: &Account| json!({ "to": account.id });
    for (caller, account) in [
        (&master, &world.master),
        (&acme, &world.acme),
        (&admin, &world.acme),
    ] {
        let path = account.path();
        let refused = [
            caller.delete(&path).await,
            caller.patch(&path, json!({"enabled":false})).await,
            caller
                .post(&path, json!({"name":"x","enabled":false}))
                .await,
            caller.post(&format!("{path}/move"), to(&world.sales)).await,
        ];
        for answer in refused {
            answer.is_error(403, "forbidden");
            assert_eq!(
                answer.json()["data"]["cause"],
                "only an account above may do this"
            );
        }
        let renamed = caller
            .patch(&path, json!({"name":"Renamed"}))
            .await
            .data(200);
        assert_eq!(
            (&renamed["name"], &renamed["enabled"]),
            (&json!("Renamed"), &json!(true))
        );
    }
    // Not while there are accounts below.
    master
        .delete(&world.acme.path())
        .await
        .is_mistake("account", "has_descendants");
    acme.delete(&world.sales.path()).await.data(200);
    master.delete(&world.acme.path()).await.data(200);
    for token in [&acme, &admin] {
        token
            .get(&world.acme.path())
            .await
            .is_error(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn moving() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let (master, acme) = (server.of(&world.master), server.of(&world.acme));
    let team = server.child(&world.sales, "Team").await;
    let path = format!("{}/move", world.sales.path());
    let moved = async |caller: &Caller, to: Value| caller.post(&path, json!({ "to": to })).await;

    for (to, rule) in [
        (Value::Null, "required"),
        (json!(7), "type"),
        (json!("short"), "minLength"),
        (json!(NOBODY), "not_found"),
        (json!("z".repeat(32)), "not_found"),
        (json!(world.sales.id), "forbidden"),
        (json!(team.id), "forbidden"),
    ] {
        moved(&master, to.clone()).await.is_mistake("to", rule);
        moved(&acme, to).await.is_mistake("to", rule);
    }
    // To an account that the caller may not see: as if it were not there.
    for foreign in [&world.other.id, &world.master.id] {
        let answer = moved(&acme, json!(foreign)).await;
        answer.is_mistake("to", "not_found");
        let rule = &answer.json()["data"]["to"]["not_found"];
        assert_eq!(
            rule,
            &json!({"message":"account not found","value":foreign})
        );
    }
    // Within the own tree; with all below it.
    let desk = server.child(&world.acme, "Desk").await;
    let data = moved(&acme, json!(desk.id)).await.data(200);
    assert_eq!(
        (&data["parent_id"], &data["id"]),
        (&json!(desk.id), &json!(world.sales.id))
    );
    let below = acme
        .get(&format!("{}/descendants", desk.path()))
        .await
        .data(200);
    assert_eq!(column(&below, "name"), ["Sales", "Team"]);
    let tree = json!([world.master.id, world.acme.id, desk.id, world.sales.id]);
    assert_eq!(below[1]["tree"], tree);
    // Into another tree: who was above it has lost it, who is now has got it.
    moved(&master, json!(world.other.id)).await.data(200);
    acme.get(&team.path()).await.is_error(403, "forbidden");
    acme.get(&world.sales.path())
        .await
        .is_error(403, "forbidden");
    server.of(&world.other).get(&team.path()).await.data(200);
    server.of(&team).get(&team.path()).await.data(200);
}

const CHANGED: &str = "access to an account changed: subscribe again";

#[tokio::test]
async fn sockets_of_disabled_and_deleted_accounts_close() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let (master, sales) = (server.of(&world.master), server.of(&world.sales));
    let mut above = server.subscriber(&world.acme.token, &world.sales.id).await;
    let mut own = server.subscriber(&world.sales.token, &world.sales.id).await;
    let mut other = server.subscriber(&world.other.token, &world.other.id).await;

    master
        .patch(&world.sales.path(), json!({"enabled":false}))
        .await
        .data(200);
    own.is_closed(4401, "token account or user disabled").await;
    sales
        .get("/v2/token_auth")
        .await
        .is_error(401, "invalid_credentials");
    let error = server
        .subscribe_error(&world.sales.token, &world.sales.id)
        .await;
    let disabled = "failed to authenticate token: account or user disabled";
    assert_eq!(error.as_deref(), Some(disabled));
    // Others see the disabled account as before.
    above.lives().await;
    master
        .patch(&world.sales.path(), json!({"enabled":true}))
        .await
        .data(200);
    let mut own = server.subscriber(&world.sales.token, &world.sales.id).await;
    above.lives().await;

    server
        .of(&world.acme)
        .delete(&world.sales.path())
        .await
        .data(200);
    own.is_closed(4401, "token unknown account or user").await;
    above.is_closed(1008, CHANGED).await;
    sales
        .get("/v2/token_auth")
        .await
        .is_error(401, "invalid_credentials");
    let error = server
        .subscribe_error(&world.acme.token, &world.sales.id)
        .await;
    assert_eq!(error.as_deref(), Some("unauthorized account id"));
    other.lives().await;
}

/// After a move the account above sees nothing of it any more, and the new one does.
#[tokio::test]
async fn a_move_takes_access_away() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let master = server.of(&world.master);
    let mut above = server.subscriber(&world.acme.token, &world.sales.id).await;
    let mut beside = server.subscriber(&world.acme.token, &world.acme.id).await;
    let mut own = server.subscriber(&world.sales.token, &world.sales.id).await;
    let mut all = server.subscriber(&world.master.token, "*").await;

    let to = json!({"to":world.other.id});
    master
        .post(&format!("{}/move", world.sales.path()), to)
        .await
        .data(200);
    above.is_closed(1008, CHANGED).await;
    let error = server
        .subscribe_error(&world.acme.token, &world.sales.id)
        .await;
    assert_eq!(error.as_deref(), Some("unauthorized account id"));
    let mut new = server.subscriber(&world.other.token, &world.sales.id).await;
    let event = json!({"Event-Name":"CHANNEL_CREATE","Call-ID":"c",
        "Custom-Channel-Vars":{"Account-ID":world.sales.id}});
    let key = "call.CHANNEL_CREATE.x";
    assert!(server.publish(&world.master, "callevt", key, &event).await);
    for client in [&mut own, &mut new, &mut all] {
        assert_eq!(client.event().await["data"]["call_id"], "c");
    }
    // A reply is not overtaken: there was no event before it.
    beside.lives().await;
}

/// The realm is part of what was bound for it.
#[tokio::test]
async fn another_realm_ends_what_was_bound_for_the_old_one() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let mut above = server.subscriber(&world.acme.token, &world.sales.id).await;
    let mut own = server.subscriber(&world.sales.token, &world.sales.id).await;
    let mut other = server.subscriber(&world.acme.token, &world.acme.id).await;
    let acme = server.of(&world.acme);
    // What is none of the subscriptions' business changes nothing.
    acme.patch(
        &world.sales.path(),
        json!({"name":"Sales 2","colour":"red"}),
    )
    .await
    .data(200);
    own.lives().await;

    let realm = json!({"realm":"Sales.example.net"});
    let master = server.of(&world.master);
    master
        .patch(&world.sales.path(), realm.clone())
        .await
        .data(200);
    for client in [&mut above, &mut own] {
        client.is_closed(1008, CHANGED).await;
    }
    other.lives().await;
    let mut own = server.subscriber(&world.sales.token, &world.sales.id).await;
    // The same once more is no change.
    acme.patch(&world.sales.path(), realm).await.data(200);
    own.lives().await;
    let binding = "registration.success";
    let wanted = crate::support::subscribe(&world.sales.token, &world.sales.id, binding);
    assert_eq!(own.ask(wanted).await["status"], "success");
    let event = json!({"Event-Name":"success","Realm":"sales.example.net","Username":"u"});
    let key = "registration.success.sales%2Eexample%2Enet.u";
    assert!(
        server
            .publish(&world.master, "registrar", key, &event)
            .await
    );
    assert_eq!(own.event().await["data"]["username"], "u");
}
