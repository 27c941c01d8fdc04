//! The gateway's answer as a table.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::text;
use crate::cli::output;

const HEAD: [&str; 9] = [
    "ADDRESS", "UPTIME", "ACCOUNT", "NODE", "BINDINGS", "QUEUE", "SENT", "DROPPED", "ID",
];
/// The column that gives way where the terminal is narrow, and what is left of it.
const BINDINGS: usize = 4;
const LEAST: usize = 12;
/// What is not known.
const NONE: &str = "-";

/// Sockets, sorted.
pub(super) struct Listing {
    sockets: Vec<Value>,
    /// Names of accounts by their ids.
    names: HashMap<String, String>,
    /// When the gateway answered, in Gregorian seconds.
    now: u64,
    /// Nodes that did not answer.
    pub(super) missing: Vec<String>,
}

impl Listing {
    /// From the envelope. By account, those without one last, the oldest first.
    pub(super) fn new(mut answer: Value, names: HashMap<String, String>, now: u64) -> Self {
        let mut sockets = match answer["data"].take() {
            Value::Array(sockets) => sockets,
            _ => Vec::new(),
        };
        sockets.sort_by_cached_key(|socket| {
            let id = text(socket, "account_id");
            let shown = id.map(|id| names.get(id).map_or(id, String::as_str));
            (
                id.is_none(),
                shown.map(str::to_lowercase),
                id.map(str::to_owned),
                socket["timestamp"].as_u64(),
                text(socket, "websocket_session_id").map(str::to_owned),
            )
        });
        let missing = answer["missing_nodes"].as_array().into_iter().flatten();
        Self {
            missing: missing
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect(),
            sockets,
            names,
            now,
        }
    }

    /// The sockets as the gateway described them.
    pub(super) fn json(&self) -> Value {
        json!(self.sockets)
    }

    /// Who did not answer, in words.
    pub(super) fn gap(&self) -> String {
        let silent = self.missing.join(", ");
        format!("no answer from {silent}: its sockets are not in the list")
    }

    /// How many there are, in words.
    pub(super) fn counts(&self) -> String {
        let distinct = |of: &dyn Fn(&Value) -> Option<String>| {
            let found: BTreeSet<String> = self.sockets.iter().filter_map(of).collect();
            found.len()
        };
        let accounts = distinct(&|socket| text(socket, "account_id").map(str::to_owned));
        let nodes = distinct(&|socket| node(socket).map(str::to_owned));
        let count = |number: usize, what: &str| {
            let plural = if number == 1 { "" } else { "s" };
            format!("{number} {what}{plural}")
        };
        format!(
            "{} of {} on {}",
            count(self.sockets.len(), "socket"),
            count(accounts, "account"),
            count(nodes, "node")
        )
    }

    /// A table, no wider than `width` if the bindings can give way so far.
    pub(super) fn lines(&self, width: Option<usize>) -> Vec<String> {
        if self.sockets.is_empty() {
            let place = if self.missing.is_empty() {
                ""
            } else {
                " on the nodes that answered"
            };
            return vec![format!("no open sockets{place}")];
        }
        let rows = |bindings: Option<usize>| -> Vec<Vec<String>> {
            let row = |socket| self.row(socket, bindings);
            self.sockets.iter().map(row).collect()
        };
        let mut table = rows(None);
        if let Some(width) = width {
            let widths = output::widths(&HEAD, &table);
            let needed = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
            let rest = needed - widths[BINDINGS];
            if needed > width {
                table = rows(Some(width.saturating_sub(rest).max(LEAST)));
            }
        }
        output::columns(&HEAD, &table)
    }

    fn row(&self, socket: &Value, bindings: Option<usize>) -> Vec<String> {
        let known = |value: Option<String>| value.unwrap_or_else(|| NONE.into());
        let number = |member: &str| known(socket[member].as_u64().map(|n| n.to_string()));
        let opened = socket["timestamp"].as_u64();
        let account = text(socket, "account_id");
        let name = account.map(|id| self.names.get(id).map_or(id, String::as_str));
        let all = socket["bindings"].as_array().into_iter().flatten();
        let all: Vec<&str> = all.filter_map(Value::as_str).collect();
        vec![
            known(address(socket)),
            known(opened.map(|opened| uptime(self.now.saturating_sub(opened)))),
            known(name.map(str::to_owned)),
            known(node(socket).map(str::to_owned)),
            joined(&all, bindings),
            known(socket["waiting_bytes"].as_u64().map(bytes)),
            number("sent"),
            number("dropped"),
            known(text(socket, "websocket_session_id").map(str::to_owned)),
        ]
    }
}

/// Kazoo's own nodes tell the host only.
fn node(socket: &Value) -> Option<&str> {
    text(socket, "node").or_else(|| text(socket, "destination"))
}

/// Kazoo's own nodes do not tell the port.
fn address(socket: &Value) -> Option<String> {
    let source = text(socket, "source")?;
    let port = socket["source_port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    Some(match (source.parse::<IpAddr>(), port) {
        (Ok(ip), Some(port)) => SocketAddr::new(ip, port).to_string(),
        (Err(_), Some(port)) => format!("{source}:{port}"),
        (_, None) => source.to_owned(),
    })
}

/// The two largest units.
fn uptime(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

/// Rounded up: what waits is not nothing.
fn bytes(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        0 => "0".into(),
        1..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", bytes.div_ceil(KIB)),
        _ => format!("{} MiB", bytes.div_ceil(MIB)),
    }
}

/// As many as fit, and how many more there are.
fn joined(bindings: &[&str], width: Option<usize>) -> String {
    let whole = bindings.join(", ");
    if bindings.is_empty() {
        return NONE.into();
    }
    let Some(width) = width.filter(|width| whole.chars().count() > *width) else {
        return whole;
    };
    let with_rest = |shown: &str, rest: usize| match rest {
        0 => shown.to_owned(),
        rest => format!("{shown} +{rest}"),
    };
    let fitting = (1..bindings.len()).rev().find_map(|shown| {
        let text = with_rest(&bindings[..shown].join(", "), bindings.len() - shown);
        (text.chars().count() <= width).then_some(text)
    });
    fitting.unwrap_or_else(|| {
        // Not even the first.
        let rest = bindings.len() - 1;
        let room = width.saturating_sub(with_rest("…", rest).chars().count());
        let start: String = bindings[0].chars().take(room).collect();
        with_rest(&format!("{start}…"), rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 63_940_000_000;

    fn listing(data: Value) -> Listing {
        let names = [("a".to_owned(), "Acme".to_owned())];
        let answer = json!({"data": data, "missing_nodes": ["gw2", "gw3"]});
        Listing::new(answer, names.into(), NOW)
    }

    fn sockets() -> Listing {
        listing(json!([
            {"bindings":[],"websocket_session_id":"s1","timestamp":NOW - 5,"source":"127.0.0.1",
             "account_id":null,"node":"gw1","source_port":4000,"sent":0,"dropped":0,"waiting_bytes":0},
            {"bindings":["call.CHANNEL_CREATE.*"],"websocket_session_id":"s2","timestamp":NOW,
             "source":"203.0.113.9","destination":"kazoo.example.net","account_id":"b"},
            {"bindings":["call.*.*","fax.status.*","presence.dialog.*"],"websocket_session_id":"s3",
             "timestamp":NOW - 70,"source":"::1","account_id":"a","node":"gw1","source_port":4001,
             "sent":12,"dropped":3,"waiting_bytes":11_500},
            {"bindings":["call.*.*"],"websocket_session_id":"s4","timestamp":NOW - 7000,
             "source":"127.0.0.1","account_id":"a","node":"gw1","source_port":4002,"sent":1,
             "dropped":0,"waiting_bytes":17},
        ]))
    }

    #[test]
    fn a_table() {
        let listing = sockets();
        assert_eq!(
            listing.lines(None),
            [
                "ADDRESS         UPTIME  ACCOUNT  NODE               BINDINGS                                   QUEUE   SENT  DROPPED  ID",
                "127.0.0.1:4002  1h56m   Acme     gw1                call.*.*                                   17 B    1     0        s4",
                "[::1]:4001      1m10s   Acme     gw1                call.*.*, fax.status.*, presence.dialog.*  12 KiB  12    3        s3",
                "203.0.113.9     0s      b        kazoo.example.net  call.CHANNEL_CREATE.*                      -       -     -        s2",
                "127.0.0.1:4000  5s      -        gw1                -                                          0       0     0        s1",
            ]
        );
        assert_eq!(listing.counts(), "4 sockets of 2 accounts on 2 nodes");
        assert_eq!(listing.missing, ["gw2", "gw3"]);
        let order = listing.json();
        assert_eq!(order[0]["websocket_session_id"], "s4");
    }

    #[test]
    fn a_narrow_table() {
        let listing = sockets();
        for width in [100, 110, 400] {
            for line in listing.lines(Some(width)) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        let lines = listing.lines(Some(20));
        assert!(lines[2].contains("  call.*.* +2 "), "{}", lines[2]);
        assert!(lines[3].contains("  call.CHANNE…  "), "{}", lines[3]);
    }

    #[test]
    fn nothing() {
        for data in [json!([]), json!(null)] {
            let empty = listing(data).lines(Some(9));
            assert_eq!(empty, ["no open sockets on the nodes that answered"]);
        }
        let all = Listing::new(json!({"data":[]}), HashMap::new(), NOW);
        assert_eq!(all.lines(None), ["no open sockets"]);
        assert_eq!(
            listing(json!([])).counts(),
            "0 sockets of 0 accounts on 0 nodes"
        );
    }

    #[test]
    fn times_and_sizes() {
        for (seconds, shown) in [
            (0, "0s"),
            (59, "59s"),
            (192, "3m12s"),
            (3600, "1h0m"),
            (86_399, "23h59m"),
            (2 * 86_400 + 4 * 3600 + 59, "2d4h"),
        ] {
            assert_eq!(uptime(seconds), shown);
        }
        for (number, shown) in [
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (12_001, "12 KiB"),
            (1024 * 1024 - 1, "1024 KiB"),
            (3 * 1024 * 1024, "3 MiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
    }

    #[test]
    fn bindings_give_way() {
        let all = ["call.*.*", "fax.status.*", "x"];
        assert_eq!(joined(&all, None), "call.*.*, fax.status.*, x");
        assert_eq!(joined(&all, Some(25)), "call.*.*, fax.status.*, x");
        assert_eq!(joined(&all, Some(25 - 1)), "call.*.* +2");
        assert_eq!(joined(&all, Some(10)), "call.*… +2");
        assert_eq!(joined(&all, Some(1)), "… +2");
        assert_eq!(joined(&[], Some(1)), "-");
    }
}
