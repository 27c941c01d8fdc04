//! Users: made, changed, removed; who may do it; and what becomes of their tokens and sockets.

use serde_json::{Value, json};

use crate::support::{Caller, PASSWORD, Server, World, column, md5, sha1};

const NOBODY: &str = "00000000000000000000000000000000";

#[tokio::test]
async fn made_read_and_changed() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let acme = server.of(&world.acme);
    let users = format!("{}/users", world.acme.path());
    let answer = acme
        .put(
            &users,
            json!({
                "username": "  Bob@Acme ", "password": "pass word: Ä", "first_name": "Bob",
                "ui_metadata": {"version":"5"}, "priv_level": "admin", "enabled": true,
                "id": NOBODY, "account_id": world.other.id, "created": 1, "credentials": "hunter2",
                "pvt_md5_auth": "hunter2", "_id": "hunter2",
            }),
        )
        .await;
    let made = answer.data(201);
    let id = made["id"].as_str().unwrap();
    let path = format!("{users}/{id}");
    assert_eq!(answer.header("location"), path);
    let expected = json!({
        "id": id, "account_id": world.acme.id, "username": "bob@acme", "priv_level": "admin",
        "enabled": true, "created": made["created"], "first_name": "Bob", "ui_metadata": {"version":"5"},
    });
    assert_eq!(made, expected);
    assert_eq!(acme.get(&path).await.data(200), expected);
    let log_in = async |name: &str, password: &str| {
        let data = json!({"credentials":md5(name, password),"account_id":world.acme.id});
        server.log_in(data).await.status
    };
    assert_eq!(log_in("bob@acme", "pass word: Ä").await, 201);

    // By default an ordinary user, who may be asleep.
    let data = json!({"username":"ann","password":PASSWORD,"enabled":false});
    let ann = acme.put(&users, data).await.data(201);
    assert_eq!(
        (&ann["priv_level"], &ann["enabled"]),
        (&json!("user"), &json!(false))
    );
    assert_eq!(log_in("ann", PASSWORD).await, 401);
    // The same name is free in another account.
    server.user(&world.other, "ann", "user").await;
    for name in ["Ann", " ann "] {
        let data = json!({"username":name,"password":PASSWORD});
        acme.put(&users, data)
            .await
            .is_mistake("username", "unique");
        let data = json!({"username":name,"password":PASSWORD});
        acme.patch(&path, data)
            .await
            .is_mistake("username", "unique");
    }

    for (data, field, rule) in [
        (json!({"password":PASSWORD}), "username", "required"),
        (json!({"username":"u"}), "password", "required"),
        (
            json!({"username":7,"password":PASSWORD}),
            "username",
            "type",
        ),
        (
            json!({"username":"","password":PASSWORD}),
            "username",
            "minLength",
        ),
        (
            json!({"username":" ","password":PASSWORD}),
            "username",
            "minLength",
        ),
        (
            json!({"username":"u".repeat(129),"password":PASSWORD}),
            "username",
            "maxLength",
        ),
        (
            json!({"username":"a:b","password":PASSWORD}),
            "username",
            "pattern",
        ),
        (
            json!({"username":"u","password":"hunter2"}),
            "password",
            "minLength",
        ),
        (
            json!({"username":"u","password":"hunter2".repeat(200)}),
            "password",
            "maxLength",
        ),
        (
            json!({"username":"u","password":["hunter2"]}),
            "password",
            "type",
        ),
        (
            json!({"username":"u","password":PASSWORD,"priv_level":"root"}),
            "priv_level",
            "enum",
        ),
        (
            json!({"username":"u","password":PASSWORD,"enabled":1}),
            "enabled",
            "type",
        ),
        (
            json!({"username":"u","password":PASSWORD,"x":"x".repeat(20_000)}),
            "data",
            "maxLength",
        ),
    ] {
        let mut answers = vec![acme.put(&users, data.clone()).await];
        if rule != "required" {
            answers.push(acme.post(&path, data.clone()).await);
            answers.push(acme.patch(&path, data).await);
        }
        for answer in answers {
            answer.is_mistake(field, rule);
            assert!(!answer.text.contains("hunter2"), "{}", answer.text);
        }
    }
    acme.post(&path, json!({}))
        .await
        .is_mistake("username", "required");

    let data = json!({"first_name":null,"email":"bob@example.net","priv_level":"user"});
    let patched = acme.patch(&path, data).await.data(200);
    assert!(patched.get("first_name").is_none());
    assert_eq!(
        (&patched["email"], &patched["priv_level"]),
        (&json!("bob@example.net"), &json!("user"))
    );
    assert_eq!(patched["ui_metadata"], made["ui_metadata"]);
    // What was read can be sent back; the password stays.
    assert_eq!(acme.post(&path, patched.clone()).await.data(200), patched);
    assert_eq!(log_in("bob@acme", "pass word: Ä").await, 201);
    let replaced = acme
        .post(&path, json!({"username":"BOB@acme"}))
        .await
        .data(200);
    assert!(replaced.get("email").is_none());
    assert_eq!(
        (&replaced["username"], &replaced["priv_level"]),
        (&json!("bob@acme"), &json!("user"))
    );

    // The stored hashes are of the name, too.
    acme.patch(&path, json!({"username":"robert"}))
        .await
        .is_mistake("password", "required");
    let data = json!({"username":"Robert","password":"secret-2"});
    assert_eq!(
        acme.patch(&path, data).await.data(200)["username"],
        "robert"
    );
    assert_eq!(log_in("bob@acme", "pass word: Ä").await, 401);
    assert_eq!(log_in("robert", "secret-2").await, 201);
    let sha =
        json!({"credentials":sha1("robert", "secret-2"),"method":"sha","account_id":world.acme.id});
    server.log_in(sha).await.data(201);

    assert_eq!(acme.delete(&path).await.data(200)["username"], "robert");
    assert_eq!(log_in("robert", "secret-2").await, 401);
    for answer in [
        acme.get(&path).await,
        acme.delete(&path).await,
        acme.patch(&path, json!({"x":1})).await,
        acme.post(&path, json!({"username":"x"})).await,
        acme.get(&format!("{users}/short")).await,
    ] {
        answer.is_error(404, "bad_identifier");
    }
}

#[tokio::test]
async fn listed_by_name_in_pages() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    for name in ["cem", "Ann", "bob"] {
        server.user(&world.acme, name, "user").await;
    }
    server.user(&world.sales, "sam", "user").await;
    let users = format!("{}/users", world.acme.path());
    let acme = server.of(&world.acme);
    let all = acme.get(&users).await;
    assert_eq!(column(&all.data(200), "username"), ["ann", "bob", "cem"]);
    for word in ["password", "hash", "secret", "salt", "credentials"] {
        assert!(!all.text.contains(word), "{word}: {}", all.text);
    }
    let first = acme.get(&format!("{users}?page_size=2")).await;
    assert_eq!(column(&first.data(200), "username"), ["ann", "bob"]);
    let next = first.json()["next_start_key"].as_str().unwrap().to_owned();
    let last = acme
        .get(&format!("{users}?page_size=2&start_key={next}"))
        .await;
    assert_eq!(column(&last.data(200), "username"), ["cem"]);
    assert!(last.json().get("next_start_key").is_none());
    let below = format!("{}/users", world.sales.path());
    assert_eq!(
        column(&acme.get(&below).await.data(200), "username"),
        ["sam"]
    );
}

/// Who may do what to whom.
#[tokio::test]
async fn levels_and_accounts() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let admin = server.user(&world.acme, "admin", "admin").await;
    let bob = server.user(&world.acme, "bob", "user").await;
    let ann = server.user(&world.acme, "ann", "user").await;
    let sam = server.user(&world.sales, "sam", "user").await;
    let below = server.user(&world.sales, "below", "admin").await;
    let users = format!("{}/users", world.acme.path());

    // An ordinary user: the own password and free fields, nothing that is a right, nobody else's.
    let as_bob = server.user_caller(&bob);
    let new = json!({"username":"x","password":PASSWORD});
    for answer in [
        as_bob.put(&users, new).await,
        as_bob.delete(&bob.path).await,
        as_bob.delete(&ann.path).await,
        as_bob
            .patch(&ann.path, json!({"password":"secret-2"}))
            .await,
        as_bob.patch(&ann.path, json!({"first_name":"x"})).await,
        as_bob.post(&ann.path, json!({"username":"ann"})).await,
        as_bob
            .patch(&sam.path, json!({"password":"secret-2"}))
            .await,
        as_bob.patch(&bob.path, json!({"priv_level":"admin"})).await,
        as_bob
            .patch(
                &bob.path,
                json!({"priv_level":"admin","password":"secret-2"}),
            )
            .await,
        as_bob
            .post(&bob.path, json!({"username":"bob","priv_level":"admin"}))
            .await,
        as_bob.patch(&bob.path, json!({"enabled":false})).await,
    ] {
        answer.is_error(403, "forbidden");
    }
    assert_eq!(as_bob.get(&ann.path).await.data(200)["username"], "ann");
    let named = as_bob
        .patch(&bob.path, json!({"first_name":"Bob"}))
        .await
        .data(200);
    assert_eq!(
        (&named["first_name"], &named["priv_level"]),
        (&json!("Bob"), &json!("user"))
    );
    // What was read can be sent back, though it names the rights.
    assert_eq!(as_bob.post(&bob.path, named.clone()).await.data(200), named);
    as_bob
        .patch(&bob.path, json!({"password":"secret-2"}))
        .await
        .data(200);
    // With it the own token has ended.
    as_bob
        .get(&bob.path)
        .await
        .is_error(401, "invalid_credentials");
    let data = json!({"credentials":md5("bob", "secret-2"),"account_id":world.acme.id});
    server.log_in(data).await.data(201);

    // Who administers below has nothing to say above, or beside.
    let as_below = server.user_caller(&below);
    let beside = server.user(&world.other, "bea", "user").await;
    for path in [&admin.path, &bob.path, &beside.path] {
        for answer in [
            as_below.get(path).await,
            as_below.patch(path, json!({"password":"secret-3"})).await,
            as_below.post(path, json!({"username":"x"})).await,
            as_below.delete(path).await,
        ] {
            answer.is_error(403, "forbidden");
        }
    }
    // A user is found under its own account only.
    let as_admin = server.user_caller(&admin);
    for (caller, account, user) in [
        (&as_below, &world.sales, &admin),
        (&as_admin, &world.sales, &admin),
        (&as_admin, &world.acme, &sam),
        (&as_admin, &world.acme, &beside),
        (&server.of(&world.master), &world.acme, &beside),
    ] {
        let path = format!("{}/users/{}", account.path(), user.id);
        for answer in [
            caller.get(&path).await,
            caller.patch(&path, json!({"password":"secret-3"})).await,
            caller
                .post(&path, json!({"username":"x","password":"secret-3"}))
                .await,
        ] {
            answer.is_error(404, "bad_identifier");
        }
        // The own id is refused before it is looked for.
        assert!([403, 404].contains(&caller.delete(&path).await.status));
    }
    // Admins may do it all, but lock themselves out.
    for answer in [
        as_admin.delete(&admin.path).await,
        as_admin.patch(&admin.path, json!({"enabled":false})).await,
    ] {
        answer.is_error(403, "forbidden");
        assert_eq!(answer.json()["data"]["cause"], "not one's own user");
    }
    as_admin
        .patch(&sam.path, json!({"priv_level":"admin"}))
        .await
        .data(200);
    as_admin.delete(&below.path).await.data(200);
    as_admin
        .patch(&ann.path, json!({"priv_level":"admin"}))
        .await
        .data(200);
    // What somebody may do counts at once, whatever the token was made with.
    server
        .user_caller(&ann)
        .patch(&admin.path, json!({"priv_level":"user"}))
        .await
        .data(200);
    as_admin.delete(&sam.path).await.is_error(403, "forbidden");
}

/// What ends a user's tokens closes its sockets, and nobody else's.
#[tokio::test]
async fn sockets_of_changed_users_close() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let acme = server.of(&world.acme);
    let account = &world.acme.id;
    let bystander = server.user(&world.acme, "bystander", "user").await;
    let bystander = server.user_caller(&bystander);
    let mut other = server.subscriber(&bystander.token, account).await;
    let mut of_account = server.subscriber(&world.acme.token, account).await;

    type Change = (&'static str, Option<Value>, &'static str);
    let cases: [Change; 4] = [
        (
            "password",
            Some(json!({"password":"secret-2"})),
            "token bad identity signature",
        ),
        (
            "name",
            Some(json!({"username":"n","password":PASSWORD})),
            "token bad identity signature",
        ),
        (
            "disabled",
            Some(json!({"enabled":false})),
            "token account or user disabled",
        ),
        ("deleted", None, "token unknown account or user"),
    ];
    for (name, change, reason) in cases {
        let user = server.user(&world.acme, name, "user").await;
        let caller = server.user_caller(&user);
        let mut socket = server.subscriber(&caller.token, account).await;
        // What is no right and no password leaves it alone.
        acme.patch(&user.path, json!({"first_name":"x","priv_level":"admin"}))
            .await
            .data(200);
        socket.lives().await;

        match &change {
            Some(change) => acme.patch(&user.path, change.clone()).await.data(200),
            None => acme.delete(&user.path).await.data(200),
        };
        socket.is_closed(4401, reason).await;
        is_worth_nothing(&server, &caller, account, reason).await;
        if name == "disabled" {
            // The token did not end with it.
            acme.patch(&user.path, json!({"enabled":true}))
                .await
                .data(200);
            caller.get(&user.path).await.data(200);
        }
    }
    for client in [&mut other, &mut of_account] {
        client.lives().await;
    }
    bystander.get("/v2/token_auth").await.data(200);
}

async fn is_worth_nothing(server: &Server, caller: &Caller, account: &str, reason: &str) {
    let answer = caller.get("/v2/token_auth").await;
    answer.is_error(401, "invalid_credentials");
    let error = server
        .subscribe_error(&caller.token, account)
        .await
        .unwrap();
    let why = reason.strip_prefix("token ").unwrap();
    assert_eq!(error, format!("failed to authenticate token: {why}"));
}
