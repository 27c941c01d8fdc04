//! What is the same for all of the API: who is let in, what is accepted, what every answer carries.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{A, Answer, PATIENCE, ROUTES, Server, World, request, request_from, until};

/// A route's path with ids put into it.
fn filled(path: &str, account: &str) -> String {
    let id = "0".repeat(32);
    path.replace("{A}", account)
        .replace("{U}", &id)
        .replace("{S}", &id)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Whatever else is wrong: without a good token the answer is 401, and always the same.
#[tokio::test]
async fn who_is_nobody_learns_nothing() {
    let server = Server::with(&["--set", "api.rate_burst=100000"]).await;
    let world = World::new(&server).await;
    let expired = server.signer().token_until(&world.acme.id, None, 1);
    let garbage: [&[(&str, &str)]; 7] = [
        &[],
        &[("x-auth-token", "garbage")],
        &[("x-auth-token", "")],
        &[("x-auth-token", &expired)],
        &[("authorization", "Bearer garbage")],
        &[("authorization", &world.acme.token)],
        &[
            ("x-auth-token", &world.acme.token),
            ("x-auth-account-id", &world.other.id),
        ],
    ];
    // Nothing of this is looked at.
    let worse = [("accept", "text/html"), ("content-type", "text/plain")];
    let mut first = None;
    for (method, path, open) in ROUTES {
        for account in [&*world.acme.id, &"0".repeat(32), "short"] {
            let path = filled(path, account);
            for (at, headers) in garbage.iter().enumerate() {
                if *open {
                    // A bad token on an open path is as none.
                    let none = request(server.api, method, &path, &[], "{}").await;
                    let bad = request(server.api, method, &path, headers, "{}").await;
                    assert_eq!(bad.alike(), none.alike(), "{method} {path} {headers:?}");
                    assert_ne!(bad.status, 429);
                    break;
                }
                let headers = [headers, &worse[..]].concat();
                let answer = request(server.api, method, &path, &headers, "{").await;
                answer.is_error(401, "invalid_credentials");
                assert_eq!(answer.header("www-authenticate"), "Bearer");
                assert!(answer.json().get("version").is_none(), "{at}");
                let alike = first.get_or_insert_with(|| answer.alike());
                assert_eq!(answer.alike(), *alike, "{method} {path} {headers:?}");
            }
        }
    }
}

/// Each path knows its methods; others get 405 and are told, as by OPTIONS.
#[tokio::test]
async fn methods() {
    let server = Server::with(&["--set", "api.rate_burst=100000"]).await;
    let world = World::new(&server).await;
    let master = server.of(&world.master);
    let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (method, path, _) in ROUTES {
        paths.entry(path).or_default().push(method);
    }
    for (path, known) in paths {
        let mut allow = vec!["OPTIONS"];
        for method in &known {
            allow.push(method);
            if *method == "GET" {
                allow.push("HEAD");
            }
        }
        let allow = allow.join(", ");
        let path = filled(path, &world.acme.id);
        for method in [
            "GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "TRACE", "FOO",
        ] {
            if allow.split(", ").any(|known| known == method) {
                continue;
            }
            let answer = master.ask(method, &path, "{").await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, &*allow),
                "{method} {path}"
            );
            if method == "HEAD" {
                assert_eq!(answer.text, "");
            } else {
                answer.is_error(405, "invalid_method");
            }
        }
        let options = request(server.api, "OPTIONS", &path, &[("x-auth-token", "bad")], "").await;
        assert_eq!(
            (options.status, options.header("allow"), &*options.text),
            (204, &*allow, "")
        );
        assert!(!options.header("x-request-id").is_empty());
        // A slash at the end makes no difference.
        let slash = request(server.api, "OPTIONS", &format!("{path}/"), &[], "").await;
        assert_eq!(slash.header("allow"), allow);
    }
    for path in [
        "/v2",
        "/v2/nosuch",
        "/v1/websockets",
        "/console",
        "/v2//websockets",
        "/v2/websockets/a",
        "/v2/accounts",
        "/v2/accounts/x/nosuch",
        "/v2/accounts/%ff",
    ] {
        let answer = request(server.api, "OPTIONS", path, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (204, "OPTIONS"),
            "{path}"
        );
        for caller in [&master.token, "garbage"] {
            let answer = server.caller(caller).get(path).await;
            answer.is_error(404, "not_found");
            assert_eq!(answer.header("content-type"), "application/json");
            assert_eq!(answer.json()["data"], json!({"message":"not found"}));
        }
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = request(server.api, "POST", path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    }
    // HEAD is GET without the body.
    for path in ["/v2/websockets", &world.acme.path(), "/healthz", "/metrics"] {
        let get = master.get(path).await;
        let head = master.ask("HEAD", path, "").await;
        assert_eq!((head.status, &*head.text), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        if path != "/metrics" {
            assert_eq!(
                head.header("content-length"),
                get.bytes.len().to_string(),
                "{path}"
            );
        }
    }
}

/// What is sent, and what is wanted back.
#[tokio::test]
async fn bodies_and_negotiation() {
    let server = Server::with(&["--set", "api.rate_burst=100000"]).await;
    let world = World::new(&server).await;
    let path = world.acme.path();
    let ask = async |method: &str, headers: &[(&str, &str)], body: &[u8]| {
        let token = [("x-auth-token", &*world.acme.token)];
        let headers = [&token[..], headers].concat();
        let from = std::net::Ipv4Addr::LOCALHOST.into();
        request_from(from, server.api, method, &path, &headers, body).await
    };
    for (accept, status) in [
        ("application/json", 200),
        ("application/x-json", 200),
        ("text/html, application/*;q=0.1", 200),
        ("*/*", 200),
        ("", 200),
        ("text/html", 406),
        ("text/csv, application/xml", 406),
        ("application/json;q=0", 406),
    ] {
        let answer = ask("GET", &[("accept", accept)], b"").await;
        assert_eq!(answer.status, status, "{accept}");
        if status == 406 {
            answer.is_error(406, "not_acceptable");
        }
    }
    let good = br#"{"data":{"x":1}}"#;
    for (kind, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/x-json", 200),
        ("application/x-www-form-urlencoded", 200),
        ("text/plain", 415),
        ("application/jsonp", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ] {
        let answer = ask("PATCH", &[("content-type", kind)], good).await;
        assert_eq!(answer.status, status, "{kind}: {}", answer.text);
        if status == 415 {
            answer.is_error(415, "unsupported_media_type");
        }
        // Without a body nothing is looked at.
        assert_eq!(ask("GET", &[("content-type", kind)], b"").await.status, 200);
    }
    // The envelope's own keys are taken in any case.
    for body in [
        &b"{\"DATA\":{}}"[..],
        b"{\"Data\":{},\"auth_token\":\"x\",\"more\":1}",
        b"",
        b" {\"data\":{}} ",
    ] {
        assert_eq!(ask("PATCH", &[], body).await.status, 200, "{body:?}");
    }
    let deep = format!("{{\"data\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    for (body, field, rule) in [
        (&b"{"[..], "json", "invalid"),
        (b"zz", "json", "invalid"),
        (b"[1]", "json", "invalid"),
        (b"null", "json", "invalid"),
        (b"{\"data\":{}}x", "json", "invalid"),
        (b"{'data':{}}", "json", "invalid"),
        (b"{\"data\":{\"name\":\"\xff\"}}", "json", "invalid"),
        (b"{\"data\":{\"x\":1e999}}", "json", "invalid"),
        (deep.as_bytes(), "json", "invalid"),
        (b"{}", "data", "required"),
        (b"{\"data\":null}", "data", "required"),
        (b"{\"data\":7}", "data", "type"),
        (b"{\"data\":\"x\"}", "data", "type"),
        (b"{\"data\":[1]}", "data", "type"),
    ] {
        ask("PATCH", &[], body).await.is_mistake(field, rule);
    }
    let event =
        json!({"data":{"exchange":"faxes","routing_key":"k","payload":{"x":"x".repeat(90_000)}}});
    server
        .of(&world.master)
        .put("/v2/events", event["data"].clone())
        .await
        .data(201);
    for length in [64 * 1024 + 1, 2_000_000] {
        let answer = ask("PATCH", &[], &vec![b' '; length]).await;
        answer.is_error(413, "validation error");
        let told = &answer.json()["data"]["file"]["maxSize"];
        assert_eq!(told["target"], 65_536);
    }
    // Exactly as long as it may be.
    let mut longest = good.to_vec();
    longest.resize(64 * 1024, b' ');
    assert_eq!(ask("PATCH", &[], &longest).await.status, 200);
}

/// A length is not needed, and cannot be used to get around the bound.
#[tokio::test]
async fn bodies_in_chunks() {
    let server = Server::start().await;
    for (chunk, times, status) in [
        (r#"{"data":{"credentials":7}}"#.to_owned(), 1, "400"),
        (" ".repeat(10_000), 100, "413"),
    ] {
        let mut stream = TcpStream::connect(server.api).await.unwrap();
        let head = "PUT /v2/user_auth HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..times {
            let chunk = format!("{:x}\r\n{chunk}\r\n", chunk.len());
            // The server may have said enough already.
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
        let mut line = [0; 12];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(&line[9..], status.as_bytes());
    }
}

/// A token that is taken away while its request still comes changes nothing any more.
#[tokio::test]
async fn rights_are_looked_at_when_the_body_is_there() {
    let server = Server::start().await;
    let world = World::new(&server).await;
    let body = json!({"data":{"username":"eve","password":"secret-22"}}).to_string();
    let (begin, rest) = body.split_at(10);
    let head = format!(
        "PUT {}/users HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {}\r\nContent-Length: {}\r\n\r\n{begin}",
        world.acme.path(),
        world.acme.token,
        body.len()
    );
    let mut stream = TcpStream::connect(server.api).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let acme = server.of(&world.acme);
    // Until the request is under way, the answer to which nobody has.
    acme.get("/v2/token_auth").await.data(200);
    let out = acme.delete("/v2/token_auth").await;
    assert_eq!(out.status, 200, "{}", out.text);
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut line))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&line, b"HTTP/1.1 401");
    let users = format!("{}/users", world.acme.path());
    let listed = server.of(&world.master).get(&users).await.data(200);
    assert_eq!(listed, json!([]));
}

/// Half a request is not waited for for ever.
#[tokio::test]
async fn slow_requests_are_cut() {
    let server = Server::start().await;
    let mut head = TcpStream::connect(server.api).await.unwrap();
    head.write_all(b"GET /healthz HTTP/1.1\r\nHo")
        .await
        .unwrap();
    let mut body = TcpStream::connect(server.api).await.unwrap();
    let half = b"PUT /v2/user_auth HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{";
    body.write_all(half).await.unwrap();
    let mut answer = String::new();
    let reading = async {
        let mut nothing = Vec::new();
        let _ = head.read_to_end(&mut nothing).await;
        let mut some = [0; 4096];
        let length = body.read(&mut some).await.unwrap();
        answer.push_str(&String::from_utf8_lossy(&some[..length]));
    };
    timeout(PATIENCE, reading).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("request_timeout"));
}

fn has_cors(answer: &Answer) -> bool {
    let headers = answer.headers.keys();
    headers
        .into_iter()
        .any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn pages_of_other_origins() {
    let page = "https://desk.example.com";
    let server = Server::start().await;
    let ask = async |server: &Server, method: &str, path: &str, origin: &str| {
        let asked = [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-auth-token"),
        ];
        request(server.api, method, path, &asked, "").await
    };
    for (method, path, status, allow) in [
        ("OPTIONS", "/v2/user_auth", 204, "OPTIONS, PUT"),
        ("OPTIONS", "/v2/nosuch", 204, "OPTIONS"),
        ("GET", "/v2/websockets", 200, "OPTIONS, GET, HEAD"),
        // Errors can be read as well.
        ("GET", "/v2/token_auth", 401, "OPTIONS, GET, HEAD, DELETE"),
        ("GET", "/v2/nosuch", 404, "OPTIONS"),
        ("GET", "/v2/user_auth", 405, "OPTIONS, PUT"),
    ] {
        let answer = ask(&server, method, path, page).await;
        assert_eq!(answer.status, status);
        let header = |name: &str| answer.header(&format!("access-control-{name}")).to_owned();
        assert_eq!(header("allow-origin"), "*");
        assert_eq!(header("allow-methods"), allow, "{method} {path}");
        for name in [
            "content-type",
            "x-auth-token",
            "authorization",
            "x-auth-account-id",
            "x-request-id",
        ] {
            let listed = header("allow-headers");
            assert!(listed.split(", ").any(|found| found == name), "{name}");
        }
        assert!(header("expose-headers").contains("x-request-id"));
        assert_eq!(header("max-age"), "86400");
        assert_eq!(header("allow-credentials"), "");
        assert!(!has_cors(&request(server.api, method, path, &[], "").await));
    }
    let listed = "api.origins=https://a.example, https://desk.example.com";
    let server = Server::with(&["--set", listed]).await;
    for (origin, expected) in [
        (page, page),
        ("https://a.example", "https://a.example"),
        ("https://desk.example.com.evil.example", ""),
        ("http://desk.example.com", ""),
        ("null", ""),
    ] {
        for (method, path) in [("GET", "/v2/websockets"), ("OPTIONS", "/v2/websockets")] {
            let answer = ask(&server, method, path, origin).await;
            assert_eq!(
                answer.header("access-control-allow-origin"),
                expected,
                "{origin}"
            );
            assert_eq!(has_cors(&answer), !expected.is_empty());
            if method == "GET" {
                assert!(answer.header("vary").contains("origin"));
            }
        }
    }
}

#[tokio::test]
async fn large_answers_are_compressed() {
    let server = Server::start().await;
    let plain = server.get("/v2/websockets").await;
    assert_eq!(plain.header("content-encoding"), "");
    for (wanted, zipped) in [
        ("gzip", true),
        ("br, GZIP;q=0.5", true),
        ("*", true),
        ("gzip;q=0", false),
        ("br", false),
    ] {
        let headers = [("accept-encoding", wanted)];
        let answer = request(server.api, "GET", "/v2/websockets", &headers, "").await;
        assert!(answer.header("vary").contains("accept-encoding"));
        if !zipped {
            assert_eq!(answer.header("content-encoding"), "", "{wanted}");
            answer.data(200);
            continue;
        }
        assert_eq!(answer.header("content-encoding"), "gzip", "{wanted}");
        assert!(answer.bytes.len() < plain.bytes.len() / 2);
        assert_eq!(
            answer.header("content-length"),
            answer.bytes.len().to_string()
        );
        let mut text = String::new();
        flate2::read::GzDecoder::new(&answer.bytes[..])
            .read_to_string(&mut text)
            .unwrap();
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["data"], plain.json()["data"]);
    }
    // Small ones are not, and none that holds a token.
    let headers = [("accept-encoding", "gzip")];
    let small = request(server.api, "GET", "/v2/nosuch", &headers, "").await;
    assert_eq!(small.header("content-encoding"), "");
    let account = server.signer().master();
    server.user(&account, "bob", "user").await;
    let credentials = crate::support::md5("bob", crate::support::PASSWORD);
    let data = json!({"data":{"credentials":credentials,"account_id":account.id}}).to_string();
    let answer = request(server.api, "PUT", "/v2/user_auth", &headers, &data).await;
    assert_eq!(answer.header("content-encoding"), "");
    assert!(answer.text.len() > 300 && answer.json()["auth_token"].is_string());
}

#[tokio::test]
async fn request_ids_and_tokens() {
    let server = Server::start().await;
    let account = server.account(A).await;
    let path = account.path();
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        request(server.api, "GET", path, headers, "").await
    };
    for id in ["mine-1", "a.b_c:d@e/f+g=h", &"x".repeat(128)] {
        for path in ["/v2/websockets", "/v2/nosuch", "/v2/token_auth"] {
            let answer = ask(path, &[("x-request-id", id)]).await;
            assert_eq!(
                (answer.header("x-request-id"), &answer.json()["request_id"]),
                (id, &json!(id))
            );
        }
    }
    for id in ["", "a b", "<script>", "ä", &"x".repeat(129)] {
        let answer = ask("/v2/websockets", &[("x-request-id", id)]).await;
        let made = answer.header("x-request-id").to_owned();
        assert!(
            made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()),
            "{made}"
        );
        assert_eq!(answer.json()["request_id"], made);
    }

    let token = &*account.token;
    let in_query = format!("{path}?auth_token={token}");
    for (path, headers, status) in [
        (&path, &[("x-auth-token", token)][..], 200),
        (&path, &[("authorization", &bearer(token))], 200),
        (
            &path,
            &[("authorization", &bearer(token).replace("Bearer", "bEARER"))],
            200,
        ),
        (&path, &[("authorization", &format!("Basic {token}"))], 401),
        (&path, &[("authorization", token)], 401),
        (
            &path,
            &[("x-auth-token", ""), ("authorization", &bearer(token))],
            401,
        ),
        (
            &path,
            &[("x-auth-token", "bad"), ("authorization", &bearer(token))],
            401,
        ),
        (
            &path,
            &[("x-auth-token", token), ("authorization", "Bearer bad")],
            200,
        ),
        (
            &path,
            &[("x-auth-token", token), ("x-auth-account-id", A)],
            200,
        ),
        (
            &path,
            &[("x-auth-token", token), ("x-auth-account-id", "")],
            401,
        ),
        (
            &path,
            &[
                ("x-auth-token", token),
                ("x-auth-account-id", &"0".repeat(32)),
            ],
            401,
        ),
        (&path, &[("cookie", &format!("auth_token={token}"))], 401),
        (&in_query, &[], 401),
    ] {
        let answer = ask(path, headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.json()["version"].is_string(), status == 200);
        assert!(!answer.text.contains(token) && answer.json().get("auth_token").is_none());
    }
    assert!(!server.log().contains(token));
}

/// Settings for clients that know the original only.
#[tokio::test]
async fn compatibility() {
    let flags = [
        "--set",
        "api.query_token=true",
        "--set",
        "compat.repeat_auth_token=true",
    ];
    let server = Server::with(&flags).await;
    let account = server.account(A).await;
    let path = account.path();
    let in_query = format!("{path}?auth_token={}", account.token);
    let answer = server.get(&in_query).await;
    answer.data(200);
    assert_eq!(answer.json()["auth_token"], account.token);
    // Not compressed: the token stands beside what the client chose.
    let headers = [
        ("x-auth-token", &*account.token),
        ("accept-encoding", "gzip"),
    ];
    let answer = request(server.api, "GET", &path, &headers, "").await;
    assert_eq!(answer.json()["auth_token"], account.token);
    // A header counts before the query, even if it is wrong; and a bad token is not repeated.
    let headers = [("x-auth-token", "garbage")];
    let answer = request(server.api, "GET", &in_query, &headers, "").await;
    answer.is_error(401, "invalid_credentials");
    assert!(!answer.text.contains("garbage") && answer.json().get("auth_token").is_none());
    let answer = server.get("/v2/websockets?auth_token=garbage").await;
    answer.data(200);
    assert!(answer.json().get("auth_token").is_none());
    assert!(!server.log().contains(&account.token));
}

/// Who has no token pays for each request; who has one does not.
#[tokio::test]
async fn requests_without_a_token_are_limited() {
    let flags = [
        "--set",
        "api.rate_burst=3",
        "--set",
        "api.rate_per_second=1",
    ];
    let server = Server::with(&flags).await;
    let account = server.signer().master();
    let from = async |last: u8, path: &str, headers: &[(&str, &str)]| {
        let from = std::net::Ipv4Addr::new(127, 0, 0, last).into();
        request_from(from, server.api, "GET", path, headers, b"").await
    };
    // Open paths, protected ones and unknown ones count alike, bad tokens as none.
    let bad = [("x-auth-token", "garbage")];
    let first = from(2, "/v2/websockets", &[]).await;
    assert_eq!(first.json()["tokens"], json!({"consumed":1,"remaining":2}));
    assert_eq!(from(2, "/v2/token_auth", &bad).await.status, 401);
    let limited = until("limited", async || {
        let answer = from(2, "/v2/nosuch", &[]).await;
        (answer.status != 404).then_some(answer)
    })
    .await;
    limited.is_error(429, "too_many_requests");
    assert_eq!(
        limited.json()["data"],
        json!({"message":"too many requests"})
    );
    assert_eq!(limited.json()["tokens"]["remaining"], 0);
    assert_eq!(limited.header("retry-after"), "1");
    // Others are not, and neither is who has a token, nor what machines watch, nor a preflight.
    assert_eq!(from(3, "/v2/websockets", &[]).await.status, 200);
    for _ in 0..10 {
        let good = [("x-auth-token", &*account.token)];
        assert_eq!(from(2, "/v2/websockets", &good).await.status, 200);
        assert_eq!(from(2, "/healthz", &[]).await.status, 200);
        let options = request(server.api, "OPTIONS", "/v2/websockets", &[], "").await;
        assert_eq!(options.status, 204);
    }
    until("there is room again", async || {
        (from(2, "/v2/websockets", &[]).await.status == 200).then_some(())
    })
    .await;
}

/// The descriptions for machines are JSON as it is, without an envelope.
#[tokio::test]
async fn documents() {
    let server = Server::start().await;
    for (path, name) in [
        ("/v2/openapi.json", "openapi"),
        ("/v2/asyncapi.json", "asyncapi"),
    ] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json")
        );
        let body = answer.json();
        assert!(body[name].is_string(), "{}", answer.text);
        assert!(body.get("request_id").is_none());
        assert_eq!(answer.header("x-request-id").len(), 32);
    }
}
