//! Log-in by password and by key, what a token is worth, and logging out.

use std::net::{IpAddr, Ipv4Addr};

use blackhole::model::Claims;
use blackhole::model::clock::unix_now;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, Server, World, md5, request, request_from, sha1, until};

fn is_refused(answer: &Answer) {
    answer.is_error(401, "invalid_credentials");
    assert_eq!(
        answer.json()["data"],
        json!({"message":"invalid credentials"})
    );
    assert_eq!(answer.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn by_password() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let acme = server.child(&world.master, "A-C m.E! 7").await;
    let change = json!({"realm":"Acme7.sip.example.net","language":"de-DE"});
    let master = server.of(&world.master);
    master.patch(&acme.path(), change).await.data(200);
    let user = server.user(&acme, "Bob", "user").await;
    let (md5, sha1) = (md5("bob", PASSWORD), sha1("bob", PASSWORD));
    let realm = "ACME7.sip.example.net";

    let answer = server
        .log_in(json!({"credentials":md5,"account_realm":realm,"ui_metadata":{"version":"5"}}))
        .await;
    assert_eq!(
        answer.header("location"),
        format!("/v2/user_auth/{}", user.id)
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let data = answer.data(201);
    let about = json!({
        "account_id": acme.id, "owner_id": user.id, "account_name": "A-C m.E! 7",
        "language": "de-DE", "is_reseller": false, "is_master_account": false,
        "reseller_id": world.master.id, "cluster_id": data["cluster_id"], "ui_config": {}, "apps": [],
        "capabilities": {"voicemail":{"transcription":{"available":false,"default":false}}},
    });
    assert_eq!(data, about);
    assert_eq!(data["cluster_id"].as_str().unwrap().len(), 32);
    // Good for REST and for sockets.
    let token = answer.json()["auth_token"].as_str().unwrap().to_owned();
    let own = server.caller(&token).get("/v2/token_auth").await.data(200);
    assert_eq!(
        (&own["owner_id"], &own["method"]),
        (&json!(user.id), &json!("cb_user_auth"))
    );
    server.subscriber(&token, &acme.id).await;

    for data in [
        json!({"credentials":sha1,"method":"sha","realm":realm}),
        json!({"credentials":md5.to_uppercase(),"method":"md5","account_name":"acme7"}),
        json!({"credentials":md5,"account_name":"ACME 7"}),
        json!({"credentials":md5,"account_name":acme.id}),
        json!({"credentials":md5,"account_id":acme.id}),
        json!({"credentials":md5,"account_realm":"unknown.example.net","account_name":"acme7"}),
    ] {
        let answer = server.log_in(data.clone()).await;
        assert_eq!(answer.status, 201, "{data}: {}", answer.text);
    }
    // Nobody is told which part of it was wrong.
    let wrong = server
        .log_in(json!({"credentials":"0".repeat(32),"account_id":acme.id}))
        .await;
    is_refused(&wrong);
    for data in [
        json!({"credentials":md5,"account_name":"nobody"}),
        json!({"credentials":md5,"account_id":"0".repeat(32)}),
        json!({"credentials":md5,"account_realm":"nobody.example.net"}),
        json!({"credentials":md5,"account_name":"!"}),
        json!({"credentials":md5}),
        json!({"credentials":sha1,"account_id":acme.id}),
        json!({"credentials":md5,"method":"sha","account_id":acme.id}),
        json!({"credentials":md5,"account_id":world.other.id}),
        json!({"credentials":md5,"account_id":world.master.id}),
    ] {
        let answer = server.log_in(data.clone()).await;
        assert_eq!(answer.alike(), wrong.alike(), "{data}");
    }
}

/// Accounts may share a name: the credentials decide. Who is disabled is told so only if the password
/// was right.
#[tokio::test]
async fn same_names_and_the_disabled() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let twin = server.child(&world.master, "a c m e").await;
    let ann = server.user(&world.acme, "ann", "user").await;
    let bob = server.user(&twin, "bob", "user").await;
    let log_in = async |name: &str| {
        server
            .log_in(json!({"credentials":md5(name, PASSWORD),"account_name":"acme"}))
            .await
    };
    for (name, user) in [("ann", &ann), ("bob", &bob)] {
        let data = log_in(name).await.data(201);
        assert_eq!(
            (&data["account_id"], &data["owner_id"]),
            (&json!(user.account), &json!(user.id))
        );
    }
    let master = server.of(&world.master);
    master
        .patch(&bob.path, json!({"enabled":false}))
        .await
        .data(200);
    is_refused(&log_in("bob").await);
    let disabled = json!({"enabled":false});
    master.patch(&world.acme.path(), disabled).await.data(200);
    log_in("ann").await.is_mistake("account", "disabled");
    is_refused(&log_in("eve").await);
    master
        .patch(&world.acme.path(), json!({"enabled":true}))
        .await
        .data(200);
    log_in("ann").await.data(201);
}

#[tokio::test]
async fn mistakes() {
    let server = Server::start().await;
    let secret = "hunter2".repeat(10);
    for (data, field, rule) in [
        (json!({}), "credentials", "required"),
        (json!({"credentials":7_654_321}), "credentials", "type"),
        (json!({"credentials":""}), "credentials", "minLength"),
        (json!({"credentials":secret}), "credentials", "maxLength"),
        (json!({"credentials":"x","method":"sha1"}), "method", "enum"),
        (
            json!({"credentials":"x","account_name":7}),
            "account_name",
            "type",
        ),
        (
            json!({"credentials":"x","account_name":""}),
            "account_name",
            "minLength",
        ),
        (
            json!({"credentials":"x","realm":"abc"}),
            "realm",
            "minLength",
        ),
        (
            json!({"credentials":"x","account_realm":"x".repeat(254)}),
            "account_realm",
            "maxLength",
        ),
    ] {
        let answer = server.log_in(data).await;
        answer.is_mistake(field, rule);
        assert!(!answer.text.contains("hunter2") && !answer.text.contains("7654321"));
        assert!(answer.json().get("auth_token").is_none());
    }
}

#[tokio::test]
async fn by_key() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let acme = server.of(&world.acme);
    let path = format!("{}/api_key", world.acme.path());
    let log_in = async |key: Value| {
        let body = json!({"data":{"api_key":key,"ui_metadata":{}}}).to_string();
        request(server.api, "PUT", "/v2/api_auth", &[], &body).await
    };
    let new_key = async || acme.put(&path, json!({})).await.data(201)["api_key"].clone();
    let first = new_key().await;
    assert_eq!(first.as_str().unwrap().len(), 64);
    let answer = log_in(first.clone()).await;
    let location = format!("/v2/api_auth/{}", world.acme.id);
    assert_eq!(answer.header("location"), location);
    let data = answer.data(201);
    assert_eq!(data["account_id"], world.acme.id);
    assert!(data.get("owner_id").is_none());
    assert!(!answer.text.contains(first.as_str().unwrap()));
    let token = answer.json()["auth_token"].as_str().unwrap().to_owned();
    let own = server.caller(&token).get("/v2/token_auth").await.data(200);
    assert_eq!(own["method"], "cb_api_auth");
    // A key is shown once, nowhere else; a new one ends the old one.
    let shown = acme.get(&world.acme.path()).await;
    assert!(!shown.text.contains("api_key"), "{}", shown.text);
    let second = new_key().await;
    is_refused(&log_in(first).await);
    log_in(second.clone()).await.data(201);

    let unknown = "0123456789abcdef".repeat(4);
    let answer = log_in(json!(unknown)).await;
    is_refused(&answer);
    assert!(!answer.text.contains(&unknown));
    let text = second.as_str().unwrap();
    for (key, rule) in [
        (json!(text[..63]), "minLength"),
        (json!(format!("{text}0")), "maxLength"),
        (json!([text]), "type"),
        (Value::Null, "required"),
    ] {
        let answer = log_in(key).await;
        answer.is_mistake("api_key", rule);
        assert!(!answer.text.contains(&text[..63]), "{}", answer.text);
    }
    // Admins of the account and of those above may make one, nobody else.
    let user = server.user(&world.acme, "bob", "user").await;
    let admin = server.user(&world.acme, "eve", "admin").await;
    for (caller, status) in [
        (server.user_caller(&user), 403),
        (server.of(&world.sales), 403),
        (server.of(&world.other), 403),
        (server.user_caller(&admin), 201),
        (server.of(&world.master), 201),
    ] {
        assert_eq!(caller.put(&path, json!({})).await.status, status);
    }
    let last = new_key().await;
    let disabled = json!({"enabled":false});
    server
        .of(&world.master)
        .patch(&world.acme.path(), disabled)
        .await
        .data(200);
    log_in(last).await.is_mistake("account", "disabled");
    assert!(!server.log().contains(text));
}

/// Guessing is limited by address and, from however many addresses it comes, by account.
#[tokio::test]
async fn guessing_is_limited() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let guess = async |from: u8, path: &str, data: Value| {
        let from = IpAddr::from(Ipv4Addr::new(127, 0, 0, from));
        let body = json!({ "data": data }).to_string();
        request_from(from, server.api, "PUT", path, &[], body.as_bytes()).await
    };
    let is_limited = |answer: &Answer| {
        answer.is_error(429, "too_many_requests");
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
    };
    // Attempts that cost nothing count as well.
    let mut tried = 0;
    let limited = until("an address is limited", async || {
        tried += 1;
        let answer = guess(2, "/v2/user_auth", json!({})).await;
        (answer.status != 400).then_some(answer)
    })
    .await;
    is_limited(&limited);
    assert!((21..40).contains(&tried), "{tried}");
    is_limited(&guess(2, "/v2/api_auth", json!({"api_key":"0".repeat(64)})).await);
    // Another address is free, and other paths are.
    assert_eq!(guess(3, "/v2/user_auth", json!({})).await.status, 400);
    assert_eq!(server.get("/v2/websockets").await.status, 200);

    // An account that is not there is limited just the same.
    for (first, target) in [(10, world.acme.id.clone()), (60, "0".repeat(32))] {
        let data = json!({"credentials":"0".repeat(32),"account_id":target});
        let mut tried = 0_u8;
        let limited = until("an account is limited", async || {
            tried += 1;
            let answer = guess(first + tried / 10, "/v2/user_auth", data.clone()).await;
            (answer.status != 401).then_some(answer)
        })
        .await;
        is_limited(&limited);
        assert!(tried > 40, "{tried}");
    }
    let elsewhere = json!({"credentials":"0".repeat(32),"account_id":world.other.id});
    is_refused(&guess(4, "/v2/user_auth", elsewhere).await);
}

fn jwt(header: &Value, claims: &Value) -> String {
    use base64::Engine;
    let part = |value: &Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(header), part(claims))
}

/// What `tokeninfo` says of each kind of token, asked by GET and by POST.
#[tokio::test]
async fn token_info() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "s".repeat(32);
    std::fs::write(folder.path().join("secret"), &secret).unwrap();
    let config = folder.path().join("blackhole.toml");
    let issuer = "[[issuer]]\nname = \"partner\"\nalgorithms = [\"HS256\"]\nsecret = \"secret\"\n";
    std::fs::write(&config, issuer).unwrap();
    let server = Server::with(&["--config", config.to_str().unwrap()]).await;
    let world = World::new(&server).await;
    let admin = server.of(&world.master);
    let partner = |claims: Value| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
    };
    let info = async |token: &str| {
        let query = format!("/v2/auth/tokeninfo?token={token}");
        let got = server.get(&query).await;
        let body = json!({"data":{"token":token}}).to_string();
        let posted = request(server.api, "POST", "/v2/auth/tokeninfo", &[], &body).await;
        assert_eq!(got.alike(), posted.alike());
        assert!(!got.text.contains(token), "{}", got.text);
        got
    };

    let bob = server.user(&world.acme, "bob", "user").await;
    let token = server.user_caller(&bob).token;
    let data = info(&token).await.data(200);
    assert_eq!(
        (&data["account_id"], &data["owner_id"]),
        (&json!(world.acme.id), &json!(bob.id))
    );
    assert_eq!(data["account_name"], "Acme");
    assert!(data.get("identity_sig").is_none() && data.get("exp").is_none());
    let data = info(&world.master.token).await.data(200);
    assert_eq!(
        (&data["is_master_account"], data.get("owner_id")),
        (&json!(true), None)
    );
    let data = info(&partner(
        json!({"iss":"partner","account_id":world.acme.id}),
    ))
    .await
    .data(200);
    assert_eq!(data["account_id"], world.acme.id);

    let signer = server.signer();
    let claims = |account: Option<&str>| Claims {
        iss: "kazoo".into(),
        account_id: account.map(str::to_owned),
        exp: Some(unix_now() + 60),
        ..Claims::default()
    };
    // The signature's first characters: the last may hold bits that mean nothing.
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let tampered = format!("{signed}.{other}{}", &signature[1..]);
    let gone = server.user(&world.acme, "gone", "user").await;
    let of_gone = server.user_caller(&gone).token;
    admin.delete(&gone.path).await.data(200);
    let changed = server.user(&world.acme, "changed", "user").await;
    let of_changed = server.user_caller(&changed).token;
    admin
        .patch(&changed.path, json!({"password":"secret-2"}))
        .await
        .data(200);
    let out = server.user_caller(&bob);
    out.delete("/v2/token_auth").await.data(200);
    let disabled = server.child(&world.acme, "Disabled").await;
    admin
        .patch(&disabled.path(), json!({"enabled":false}))
        .await
        .data(200);

    let known = json!({"iss":"kazoo","account_id":world.acme.id});
    for (token, status, name) in [
        ("garbage".into(), 401, "invalid_jwt"),
        (jwt(&json!({"typ":"JWT"}), &known), 401, "invalid_jwt"),
        (
            jwt(&json!({"alg":"none"}), &known),
            401,
            "algorithm_not_supported",
        ),
        (
            jwt(&json!({"alg":"HS256"}), &known),
            401,
            "algorithm_not_supported",
        ),
        (
            jwt(&json!({"alg":"RS256"}), &known),
            401,
            "invalid_jwt_signature",
        ),
        (
            jwt(&json!({"alg":"RS256","kid":"x"}), &known),
            401,
            "invalid_jwt_signature",
        ),
        (
            jwt(
                &json!({"alg":"RS256"}),
                &json!({"iss":"https://evil.example"}),
            ),
            401,
            "invalid_jwt_signature",
        ),
        (tampered, 401, "invalid_jwt_signature"),
        (
            signer.token_until(&world.acme.id, None, unix_now()),
            401,
            "token_expired",
        ),
        (
            signer.sign(&claims(Some(&world.acme.id))),
            401,
            "invalid_identity_signature",
        ),
        (of_changed, 401, "invalid_identity_signature"),
        (of_gone, 401, "invalid_identity_provider"),
        (
            signer.sign(&claims(Some(&"0".repeat(32)))),
            401,
            "invalid_identity_provider",
        ),
        (signer.sign(&claims(None)), 403, "no associated account_id"),
        (
            signer.sign(&claims(Some("short"))),
            403,
            "no associated account_id",
        ),
        (disabled.token, 401, "entity_disabled"),
        (out.token, 401, "token_revoked"),
        (
            partner(json!({"iss":"partner","account_id":world.master.id})),
            403,
            "issuer_not_allowed",
        ),
    ] {
        let answer = info(&token).await;
        answer.is_error(status, name);
        assert_eq!(answer.json()["data"], json!({}));
        // Where it counts, all of them are the same.
        is_refused(&server.caller(&token).get("/v2/token_auth").await);
    }
    for path in ["/v2/auth/tokeninfo", "/v2/auth/tokeninfo?token="] {
        server
            .get(path)
            .await
            .is_error(404, "missing token in params");
    }
    let posted = async |body: Value| {
        request(
            server.api,
            "POST",
            "/v2/auth/tokeninfo",
            &[],
            &body.to_string(),
        )
        .await
    };
    for data in [json!({}), json!({"token":null})] {
        posted(json!({ "data": data }))
            .await
            .is_error(404, "missing token in request");
    }
    let listed = posted(json!({"data":{"token":[world.acme.token]}})).await;
    listed.is_mistake("token", "type");
    assert!(!listed.text.contains(&world.acme.token));
}

/// A token that somebody logged out with is dead at once and stays dead; others are not touched.
#[tokio::test]
async fn logging_out() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let bob = server.user(&world.acme, "bob", "user").await;
    // Made in the same second.
    let [out, stays] = [server.user_caller(&bob), server.user_caller(&bob)];
    let mut ends = server.subscriber(&out.token, &world.acme.id).await;
    let mut lives = server.subscriber(&stays.token, &world.acme.id).await;
    // A socket that went over to a newer token does not end with the older one.
    let mut renewed = server.subscriber(&out.token, &world.acme.id).await;
    let reply = renewed
        .ask(json!({"action":"ping","auth_token":stays.token}))
        .await;
    assert_eq!(reply["status"], "success");

    let own = out.get("/v2/token_auth").await.data(200);
    assert_eq!(
        (&own["account_id"], &own["owner_id"], &own["iss"]),
        (&json!(world.acme.id), &json!(bob.id), &json!("kazoo"))
    );
    assert!(own["exp"].as_u64().unwrap() > unix_now());
    assert!(own.get("identity_sig").is_none());

    let answer = out.delete("/v2/token_auth").await;
    answer.data(200);
    assert!(answer.json().get("data").is_none() && !answer.text.contains(&out.token));
    let is_out = async |server: &Server| {
        let out = server.caller(&out.token);
        is_refused(&out.get("/v2/token_auth").await);
        is_refused(&out.delete("/v2/token_auth").await);
        let error = server.subscribe_error(&out.token, &world.acme.id).await;
        assert_eq!(
            error.as_deref(),
            Some("failed to authenticate token: revoked")
        );
        // Written in another way it is the same token.
        let padded = server.caller(&format!("{}=", out.token));
        is_refused(&padded.get("/v2/token_auth").await);
        server
            .caller(&stays.token)
            .get("/v2/token_auth")
            .await
            .data(200);
    };
    is_out(&server).await;
    ends.is_closed(4401, "token revoked").await;
    for client in [&mut lives, &mut renewed] {
        client.lives().await;
    }
    is_out(&server.restarted(&[]).await).await;
}
