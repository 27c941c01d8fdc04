//! The operator console: what is served, with what policy, and the link of the first start.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Answer, Server, request, subscribe};

/// The files of `console/`, with the paths that they are served at.
fn files() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((format!("/console/{name}"), path));
            }
        }
    }
    found.push(("/".into(), root.join("index.html")));
    found
}

fn policy(sockets: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// What every answer of the console carries.
#[track_caller]
fn is_guarded(answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
}

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    request(server.api, "GET", path, headers, "").await
}

#[tokio::test]
async fn files_line_by_line() {
    let server = Server::start().await;
    let (ws, wss) = (server.ws.unwrap().port(), server.wss.unwrap().port());
    let policy = policy(&format!(" ws://127.0.0.1:{ws} wss://127.0.0.1:{wss}"));
    for (path, file) in files() {
        let source = std::fs::read_to_string(&file).unwrap();
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        // Each line in its place, but for comments and indentation.
        let lines: Vec<&str> = answer.text.split('\n').collect();
        assert_eq!(lines.len(), source.split('\n').count(), "{path}");
        for (line, of) in lines.iter().zip(source.split('\n')) {
            let comment = ["//", "/*", "*"]
                .iter()
                .any(|mark| of.trim().starts_with(mark));
            assert!(
                *line == of.trim() || comment && line.is_empty(),
                "{path}: {of}"
            );
        }
        let content = answer.bytes.to_vec();
        let kind = match file.extension().unwrap().to_str().unwrap() {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            other => panic!("{other}"),
        };
        assert_eq!(answer.header("content-type"), kind, "{path}");
        assert_eq!(answer.header("content-security-policy"), policy);
        assert_eq!(answer.header("vary"), "accept-encoding");
        is_guarded(&answer);

        // Who has it already is told so, and no more.
        let tag = answer.header("etag");
        assert!(tag.starts_with('"') && tag.len() > 16, "{tag}");
        for (sent, status) in [
            (tag, 304),
            (&format!("\"x\", W/{tag}"), 304),
            ("*", 304),
            ("\"x\"", 200),
        ] {
            let again = get(&server, &path, &[("if-none-match", sent)]).await;
            assert_eq!(again.status, status, "{path} {sent}");
            assert_eq!(again.header("etag"), tag);
            assert_eq!(again.header("content-security-policy"), policy);
            assert!(status == 200 || again.bytes.is_empty());
            is_guarded(&again);
        }

        let head = request(server.api, "HEAD", &path, &[], "").await;
        assert_eq!((head.status, &*head.text), (200, ""), "{path}");
        if !content.is_empty() {
            let length = content.len().to_string();
            assert_eq!(head.header("content-length"), length, "{path}");
        }
        for name in ["content-type", "etag", "content-security-policy"] {
            assert_eq!(head.header(name), answer.header(name), "{path} {name}");
        }

        let gzip = [("accept-encoding", "br, gzip")];
        let packed = get(&server, &path, &gzip).await;
        assert_eq!(packed.header("vary"), "accept-encoding");
        if content.len() < 300 {
            assert_eq!(packed.header("content-encoding"), "", "{path}");
            continue;
        }
        assert_eq!(packed.header("content-encoding"), "gzip", "{path}");
        assert_ne!(packed.header("etag"), tag, "other bytes, another tag");
        let mut plain = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&packed.bytes[..]);
        decoder.read_to_end(&mut plain).unwrap();
        assert!(plain == content, "{path}");
        let known = [gzip[0], ("if-none-match", packed.header("etag"))];
        assert_eq!(get(&server, &path, &known).await.status, 304, "{path}");
    }
}

#[tokio::test]
async fn other_paths_and_methods() {
    let server = Server::start().await;
    for path in [
        "/console",
        "/console/",
        "/console/nosuch.js",
        "/console/lib",
        "/console//index.html",
        "/console/../Cargo.toml",
        "/console/%69ndex.html",
        "/index.html",
    ] {
        server.get(path).await.is_error(404, "not_found");
    }
    for path in ["/", "/console/index.html", "/console/config.json"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = request(server.api, method, path, &[], "").await;
            let got = (answer.status, answer.header("allow"));
            assert_eq!(got, (405, "GET, HEAD"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_page_knows_where_its_socket_goes() {
    let server = Server::with(&["--set", "node=desk@test"]).await;
    let (ws, wss) = (server.ws.unwrap().port(), server.wss.unwrap().port());
    // Whatever could end a directive of the policy is no host.
    for (called, host) in [
        ("gateway.example.com:8000", "gateway.example.com"),
        ("[::1]:8000", "[::1]"),
        ("desk; script-src *", "localhost"),
        ("a,b", "localhost"),
        ("desk' 'unsafe-inline", "localhost"),
        ("", "localhost"),
    ] {
        let answer = hosted(&server, "/console/config.json", called).await;
        assert_eq!(answer.status, 200, "{called}");
        let kind = "application/json; charset=utf-8";
        assert_eq!(answer.header("content-type"), kind);
        is_guarded(&answer);
        let (ws, wss) = (format!("ws://{host}:{ws}"), format!("wss://{host}:{wss}"));
        let told = json!({
            "ws": ws,
            "wss": wss,
            "version": env!("CARGO_PKG_VERSION"),
            "node": "desk@test",
            "demo": false,
        });
        assert_eq!(answer.json(), told, "{called}");
        let page = hosted(&server, "/", called).await;
        // A policy cannot name an IPv6 address.
        let sockets = format!(" {ws} {wss}").replace("[::1]", "*");
        let policy = policy(&sockets);
        assert_eq!(page.header("content-security-policy"), policy, "{called}");
    }

    let server = Server::with(&["--wss-port", "off"]).await;
    let told = server.get("/console/config.json").await.json();
    let ws = format!("ws://{}", server.ws.unwrap());
    assert_eq!((&told["ws"], &told["wss"]), (&json!(ws), &json!(null)));
    let page = server.get("/").await;
    assert_eq!(
        page.header("content-security-policy"),
        policy(&format!(" {ws}"))
    );

    let url = "wss://gateway.example.com:7777";
    let server = Server::with(&["--set", &format!("console.socket_url={url}")]).await;
    let told = server.get("/console/config.json").await.json();
    assert_eq!((&told["ws"], &told["wss"]), (&json!(null), &json!(url)));
    let page = server.get("/").await;
    assert_eq!(
        page.header("content-security-policy"),
        policy(&format!(" {url}"))
    );
}

/// With this `Host`.
async fn hosted(server: &Server, path: &str, host: &str) -> Answer {
    get(server, path, &[("host", host)]).await
}

#[tokio::test]
async fn switched_off() {
    let server = Server::with(&["--set", "console.enabled=false"]).await;
    for path in ["/", "/console/index.html", "/console/config.json"] {
        server.get(path).await.is_error(404, "not_found");
    }
    assert!(server.greeting.contains(&"  console off".to_owned()));
    // The last thing that a first start prints.
    server.introduction("npx wscat").await;
    assert!(!server.printed().contains("Open http"));
}

#[tokio::test]
async fn the_link_of_the_first_start_logs_in() {
    let server = Server::start().await;
    let console = format!("  console http://{}/", server.api);
    assert!(server.greeting.contains(&console), "{:?}", server.greeting);
    let link = server.introduction("Open http://").await;
    let (address, token) = link.split_once("/#token=").unwrap();
    assert_eq!(address, server.api.to_string());

    let who = server.caller(token).get("/v2/token_auth").await.data(200);
    let master = server.master().await;
    assert_eq!(who["account_id"], master.id);
    assert_eq!(who["method"], "cb_user_auth");
    let users = format!("/v2/accounts/{}/users", master.id);
    let users = server.caller(token).get(&users).await.data(200);
    assert_eq!(users[0]["username"], "admin");
    assert_eq!(who["owner_id"], users[0]["id"]);
    let left = who["exp"].as_u64().unwrap() - blackhole::model::clock::unix_now();
    assert!((3500..=3600).contains(&left), "{left} s");

    let mut client = server.client().await;
    let reply = client.ask(subscribe(token, "*", "call.*.*")).await;
    assert_eq!(reply["status"], "success", "{reply}");
    assert!(!server.log().contains(token), "a token in the log");

    // Only the first start has one.
    let server = server.restarted(&[]).await;
    assert!(server.greeting.iter().any(|line| line.contains("console")));
    assert_eq!(server.get("/healthz").await.status, 200);
    assert!(!server.printed().contains("#token="));
}

/// A link does not live longer than other tokens may.
#[tokio::test]
async fn the_link_keeps_to_the_setting() {
    let server = Server::with(&["--set", "auth.token_ttl=10m"]).await;
    let link = server.introduction("Open http://").await;
    let (_, token) = link.split_once("/#token=").unwrap();
    let who = server.caller(token).get("/v2/token_auth").await.data(200);
    let left = who["exp"].as_u64().unwrap() - blackhole::model::clock::unix_now();
    assert!((500..=600).contains(&left), "{left} s");
}
