//! The operator console: the files of `console/`, in the binary, at `/` and below `/console/`.
//!
//! They are for everybody: whoever opens the page logs in over REST, and gets no right that another
//! program would not have. The page's policy (CSP) lets it load nothing but these files and talk to
//! nobody but this gateway.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::Full;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::negotiation;
use super::pipeline::Response;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../console/", $path)))),*]
    };
}

/// Every file of the page: its path below `console/`, and its bytes.
const FILES: &[(&str, &[u8])] = files![
    "app.js",
    "index.html",
    "style.css",
    "views.css",
    "gateway/metrics.js",
    "gateway/rest.js",
    "gateway/socket.js",
    "lib/chart.js",
    "lib/dom.js",
    "lib/format.js",
    "lib/later.js",
    "lib/md5.js",
    "lib/parts.js",
    "lib/table.js",
    "model/calls.js",
    "model/conferences.js",
    "model/faxes.js",
    "model/model.js",
    "model/presence.js",
    "views/alerts.js",
    "views/calls.js",
    "views/conferences.js",
    "views/events.js",
    "views/faxes.js",
    "views/health.js",
    "views/help.js",
    "views/login.js",
    "views/presence.js",
    "views/shell.js",
    "views/sockets.js",
];

/// On every answer.
const GUARDS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    // Kept, but asked for each time: after an update nobody sees the old page with the new API.
    (CACHE_CONTROL, "no-cache"),
];

/// What the page is told before anybody has logged in.
#[derive(Debug, Default)]
pub struct ConsoleSettings {
    /// Where its websocket goes, in place of the ports below.
    pub socket_url: Option<String>,
    /// The port of ws; `None`: switched off.
    pub ws_port: Option<u16>,
    /// As above, TLS.
    pub wss_port: Option<u16>,
    /// This node's name.
    pub node: String,
    /// Whether what it shows is made up.
    pub demo: bool,
}

/// The console, ready to be served.
#[derive(Debug)]
pub struct Console {
    settings: ConsoleSettings,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: &'static str,
    kind: HeaderValue,
    plain: Content,
    packed: Content,
}

/// Bytes as they are sent, and the tag that changes with them.
#[derive(Debug)]
struct Content {
    bytes: Bytes,
    tag: HeaderValue,
}

/// Where the page's websocket may go.
struct Sockets {
    ws: Option<String>,
    wss: Option<String>,
}

impl Console {
    /// Packs all files once.
    pub fn new(settings: ConsoleSettings) -> Self {
        let file = |&(path, bytes): &(&'static str, &'static [u8])| {
            let lean = lean(bytes);
            File {
                path,
                kind: HeaderValue::from_static(kind(path)),
                packed: Content::new(negotiation::gzip(&lean).into()),
                plain: Content::new(lean.into()),
            }
        };
        let files = FILES.iter().map(file).collect();
        Self { settings, files }
    }

    /// The answer to a `GET`, or `None` for a path that is not the console's. `path` has no slash at
    /// its end.
    pub(super) fn answer(&self, path: &str, request: &HeaderMap) -> Option<Response> {
        let name = match path {
            "" => "index.html",
            path => path.strip_prefix("/console/")?,
        };
        let sockets = self.sockets(host(request));
        let mut response = if name == "config.json" {
            json_response(&self.config(&sockets))
        } else {
            let file = self.files.iter().find(|file| file.path == name)?;
            file.answer(request)
        };
        let headers = response.headers_mut();
        for (name, value) in GUARDS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let policy = HeaderValue::try_from(policy(&sockets));
        let nothing = HeaderValue::from_static("default-src 'none'");
        headers.insert(CONTENT_SECURITY_POLICY, policy.unwrap_or(nothing));
        Some(response)
    }

    /// The ports in force of the host that the page came from, or what is set in their place.
    fn sockets(&self, host: &str) -> Sockets {
        let settings = &self.settings;
        if let Some(url) = settings.socket_url.clone() {
            let (ws, wss) = if url.starts_with("wss:") {
                (None, Some(url))
            } else {
                (Some(url), None)
            };
            return Sockets { ws, wss };
        }
        let at = |scheme, port: Option<u16>| port.map(|port| format!("{scheme}://{host}:{port}"));
        Sockets {
            ws: at("ws", settings.ws_port),
            wss: at("wss", settings.wss_port),
        }
    }

    fn config(&self, sockets: &Sockets) -> Value {
        json!({
            "ws": sockets.ws,
            "wss": sockets.wss,
            "version": env!("CARGO_PKG_VERSION"),
            "node": self.settings.node,
            "demo": self.settings.demo,
        })
    }
}

impl File {
    fn answer(&self, request: &HeaderMap) -> Response {
        let packs = negotiation::wants_gzip(request, self.plain.bytes.len());
        let content = if packs { &self.packed } else { &self.plain };
        let mut response = if content.is_known(request) {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(Full::new(content.bytes.clone()))
        };
        let unchanged = response.status() == StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.kind.clone());
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(ETAG, content.tag.clone());
        if packs && !unchanged {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

impl Content {
    fn new(bytes: Bytes) -> Self {
        let digest = u128::from_be_bytes(Md5::digest(&bytes).into());
        let tag = HeaderValue::try_from(format!("\"{digest:032x}\""));
        Self {
            bytes,
            tag: tag.unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    /// Whether the client has it already (RFC 9110, 13.1.2).
    fn is_known(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(IF_NONE_MATCH).into_iter();
        let mut tags = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .map(str::trim);
        tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.tag)
    }
}

/// What a browser needs of a file: no indentation, no lines that are comments. Every line stays on its
/// line, so that an error's place is that of the source. No text of the page goes over several lines,
/// which a test watches.
fn lean(bytes: &[u8]) -> Vec<u8> {
    let mut comment = false;
    let mut lines: Vec<&[u8]> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        comment |= line.starts_with(b"/*");
        let ends = line.ends_with(b"*/");
        let kept = !comment && !line.starts_with(b"//");
        lines.push(if kept { line } else { b"" });
        comment &= !ends;
    }
    lines.join(&b'\n')
}

fn json_response(body: &Value) -> Response {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// An address as a policy can name it: it knows no IPv6 addresses, so any host must do for one.
fn source(url: &str) -> String {
    match (url.split_once('['), url.split_once(']')) {
        (Some((scheme, _)), Some((_, port))) => format!("{scheme}*{port}"),
        _ => url.to_owned(),
    }
}

fn policy(Sockets { ws, wss }: &Sockets) -> String {
    let sockets: String = [ws, wss]
        .into_iter()
        .flatten()
        .map(|url| format!(" {}", source(url)))
        .collect();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// The host that the client called, without its port. It goes into the policy, so whatever could end a
/// directive there is no host.
fn host(request: &HeaderMap) -> &str {
    let called = request.get(HOST).and_then(|host| host.to_str().ok());
    let called = called.unwrap_or_default();
    let name = match called.rsplit_once(':') {
        // A colon within brackets is an IPv6 address's own.
        Some((name, port)) if !port.contains(']') => name,
        _ => called,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    if !name.is_empty() && name.bytes().all(plain) {
        name
    } else {
        "localhost"
    }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Bytes of the whole page as a browser loads it, before it is packed.
    const HEAVIEST: usize = 150_000;

    fn collect(folder: &Path, below: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                collect(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }

    #[test]
    fn every_file_is_in_the_table() {
        let mut found = Vec::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
        collect(&folder, "", &mut found);
        found.sort();
        let mut served: Vec<_> = FILES.iter().map(|(path, _)| *path).collect();
        served.sort_unstable();
        assert_eq!(served, found, "FILES, and the files of console/");
    }

    #[test]
    fn every_file_has_a_type() {
        for (path, _) in FILES {
            assert!(kind(path).ends_with("; charset=utf-8"), "{path}");
        }
    }

    #[test]
    fn the_page_is_light() {
        let console = Console::new(ConsoleSettings::default());
        let sizes = console.files.iter().map(|file| file.plain.bytes.len());
        let weight: usize = sizes.sum();
        assert!(weight <= HEAVIEST, "{weight} bytes");
    }

    #[test]
    fn comments_and_indentation_stay_at_home() {
        let source = "// why\nlet a = 1; // here\n\t/** What\n\t * it is. */\n\tb();\n/* c */\nd";
        let expected = "\nlet a = 1; // here\n\n\nb();\n\nd";
        assert_eq!(lean(source.as_bytes()), expected.as_bytes());
        for (path, bytes) in FILES {
            let text = std::str::from_utf8(bytes).expect("text");
            for (number, line) in text.lines().enumerate() {
                let open = line.matches('`').count() % 2 == 1;
                assert!(
                    !open,
                    "{path}:{}: a text goes over several lines",
                    number + 1
                );
                let cut = line.contains("/*") && !line.trim_start().starts_with("/*");
                assert!(
                    !cut,
                    "{path}:{}: a comment begins within a line",
                    number + 1
                );
            }
        }
    }

    #[test]
    fn whom_the_client_called() {
        for (called, expected) in [
            ("localhost:8000", "localhost"),
            ("gateway.example.com", "gateway.example.com"),
            ("192.0.2.7:80", "192.0.2.7"),
            ("[::1]:8000", "[::1]"),
            ("[::1]", "[::1]"),
            ("desk; script-src *", "localhost"),
            ("desk,ws:", "localhost"),
            ("'unsafe-inline'", "localhost"),
            ("a/b:1", "localhost"),
            (":8000", "localhost"),
            ("", "localhost"),
        ] {
            let request = HeaderMap::from_iter([(HOST, called.parse().expect("a value"))]);
            assert_eq!(host(&request), expected, "{called}");
        }
        assert_eq!(host(&HeaderMap::new()), "localhost");
    }

    #[test]
    fn where_the_socket_goes() {
        let told = |settings: ConsoleSettings| {
            let console = Console::new(settings);
            let sockets = console.sockets("desk");
            let policy = policy(&sockets);
            let (_, rest) = policy.split_once("connect-src 'self'").expect("there");
            let (allowed, _) = rest.split_once(';').expect("an end");
            let config = console.config(&sockets);
            (
                allowed.to_owned(),
                config["ws"].clone(),
                config["wss"].clone(),
            )
        };
        let ports = |ws_port, wss_port, url: &str| ConsoleSettings {
            socket_url: (!url.is_empty()).then(|| url.to_owned()),
            ws_port,
            wss_port,
            ..ConsoleSettings::default()
        };
        let (ws, wss) = ("ws://desk:1", "wss://desk:2");
        assert_eq!(
            told(ports(Some(1), Some(2), "")),
            (format!(" {ws} {wss}"), ws.into(), wss.into())
        );
        assert_eq!(
            told(ports(Some(1), None, "")),
            (format!(" {ws}"), ws.into(), Value::Null)
        );
        let url = "wss://gw.example.com:7777";
        assert_eq!(
            told(ports(Some(1), Some(2), url)),
            (format!(" {url}"), Value::Null, url.into())
        );
        let url = "wss://[2001:db8::1]:7777";
        assert_eq!(
            told(ports(Some(1), Some(2), url)),
            (" wss://*:7777".into(), Value::Null, url.into())
        );
        let url = "ws://gw.example.com/socket";
        assert_eq!(
            told(ports(None, Some(2), url)),
            (format!(" {url}"), url.into(), Value::Null)
        );
    }
}
