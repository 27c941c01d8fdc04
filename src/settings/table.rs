//! Each setting once: its name, default, what is allowed, what it does. The environment variable and
//! the README's table follow from it.

use super::units::{duration, size};
use crate::telemetry::logging::is_filter;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// In the file (`a.b` is key `b` of table `[a]`) and for `--set`.
    pub name: &'static str,
    /// As people write it; empty: not set.
    pub default: &'static str,
    /// What it may be.
    pub(super) kind: Kind,
    /// A flag of its own.
    pub flag: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Ip,
    Port,
    Path,
    OptionalPath,
    Node,
    Name,
    AmqpUrl,
    Duration {
        least: &'static str,
        most: &'static str,
        off: bool,
    },
    Size {
        least: &'static str,
        most: &'static str,
    },
    /// A size, or a part of the machine's memory.
    Memory {
        least: &'static str,
        most: &'static str,
    },
    Count {
        least: u64,
        most: u64,
    },
    Bool,
    Origins,
    SocketUrl,
    LogLevel,
    LogFormat,
}

impl Setting {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("BLACKHOLE_{}", self.name.to_uppercase().replace('.', "_"))
    }

    /// Whether it must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::AmqpUrl)
    }

    /// What is allowed, for people.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Ip => "an IP address".into(),
            Kind::Port => "1 to 65535, 0 for any free port, or off".into(),
            Kind::Path => "a path".into(),
            Kind::OptionalPath => "a path, or nothing".into(),
            Kind::Node => "1 to 100 of letters, digits, '@', '.', '_', '-', or nothing for blackhole@HOST".into(),
            Kind::Name => "1 to 100 of letters, digits, '@', '.', '_', '-'".into(),
            Kind::AmqpUrl => "amqp://USER:PASSWORD@HOST:PORT/VHOST (or amqps://; / is written %2f), or nothing".into(),
            Kind::Duration { least, most, off } => {
                let or_off = if off { ", or off" } else { "" };
                format!("{least} to {most} (units ms, s, m, h, d){or_off}")
            }
            Kind::Size { least, most } => format!("{least} to {most} (units KiB, MiB, GiB)"),
            Kind::Memory { least, most } => {
                format!("{least} to {most} (units KiB, MiB, GiB), or auto for a quarter of the memory")
            }
            Kind::Count { least, most } => format!("{least} to {most}"),
            Kind::Bool => "true or false".into(),
            Kind::Origins => "origins such as https://desk.example.com, with commas between; null (pages from files) or *".into(),
            Kind::SocketUrl => "an address such as wss://gateway.example.com:7777, or nothing".into(),
            Kind::LogLevel => "error, warn, info, debug, trace, or directives such as info,blackhole::session=debug".into(),
            Kind::LogFormat => "text or json".into(),
        }
    }

    /// Whether a text is allowed.
    pub fn accepts(&self, text: &str) -> bool {
        match self.kind {
            Kind::Ip => text.parse::<std::net::IpAddr>().is_ok(),
            Kind::Port => text == "off" || text.parse::<u16>().is_ok(),
            Kind::Path => !text.is_empty(),
            Kind::OptionalPath => true,
            Kind::Name if text.is_empty() => false,
            Kind::Node | Kind::Name => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
                text.len() <= 100 && text.chars().all(plain)
            }
            Kind::AmqpUrl => text.is_empty() || text.parse::<lapin::uri::AMQPUri>().is_ok(),
            Kind::Duration { least, most, off } => {
                let within =
                    |value| duration(least) <= Some(value) && Some(value) <= duration(most);
                (off && text == "off") || duration(text).is_some_and(within)
            }
            Kind::Memory { .. } if text == "auto" => true,
            Kind::Size { least, most } | Kind::Memory { least, most } => {
                let within = |value| size(least) <= Some(value) && Some(value) <= size(most);
                size(text).is_some_and(within)
            }
            Kind::Count { least, most } => text
                .parse()
                .is_ok_and(|value| (least..=most).contains(&value)),
            Kind::Bool => ["true", "false"].contains(&text),
            Kind::Origins => text.split(',').map(str::trim).all(|origin| {
                origin.is_empty()
                    || ["*", "null"].contains(&origin)
                    || origin.starts_with("http://")
                    || origin.starts_with("https://")
            }),
            Kind::SocketUrl => text.is_empty() || is_socket_url(text),
            Kind::LogLevel => !text.is_empty() && is_filter(text),
            Kind::LogFormat => ["text", "json"].contains(&text),
        }
    }
}

/// Plain enough to stand in a page's policy as it is.
fn is_socket_url(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:/[]".contains(&byte);
    let is_socket = |uri: http::Uri| {
        let scheme = ["ws", "wss"].contains(&uri.scheme_str().unwrap_or_default());
        let whole = uri.authority().is_some_and(|authority| {
            // What is no number is no port.
            authority.as_str() == authority.host() || authority.port_u16().is_some()
        });
        scheme && whole && uri.host().is_some_and(|host| !host.is_empty())
    };
    text.bytes().all(plain) && text.parse().is_ok_and(is_socket)
}

const fn setting(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        default,
        kind,
        flag: None,
        help,
    }
}

const fn flagged(
    name: &'static str,
    flag: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        default,
        kind,
        flag: Some(flag),
        help,
    }
}

const fn time(least: &'static str, most: &'static str) -> Kind {
    Kind::Duration {
        least,
        most,
        off: false,
    }
}

/// All settings, in the order in which people read them.
pub const TABLE: &[Setting] = &[
    flagged(
        "listen",
        "listen",
        "127.0.0.1",
        Kind::Ip,
        "address that all ports listen on",
    ),
    flagged("ws.port", "ws-port", "5555", Kind::Port, "WebSocket"),
    flagged(
        "wss.port",
        "wss-port",
        "7777",
        Kind::Port,
        "WebSocket over TLS",
    ),
    flagged(
        "api.port",
        "api-port",
        "8000",
        Kind::Port,
        "REST, metrics, health, console",
    ),
    flagged(
        "data_dir",
        "data-dir",
        "data",
        Kind::Path,
        "accounts, users, keys",
    ),
    setting(
        "node",
        "",
        Kind::Node,
        "this node's name in listings and on the broker",
    ),
    setting(
        "tls.certificate",
        "",
        Kind::OptionalPath,
        "PEM file with the certificate chain for wss",
    ),
    setting(
        "tls.key",
        "",
        Kind::OptionalPath,
        "PEM file with its private key",
    ),
    setting(
        "tls.development_dir",
        "certs",
        Kind::Path,
        "where a development certificate is made when none is set",
    ),
    flagged(
        "amqp.url",
        "amqp-url",
        "",
        Kind::AmqpUrl,
        "RabbitMQ to take events from; nothing: the embedded bus",
    ),
    setting(
        "amqp.queue_max_bytes",
        "256MiB",
        Kind::Size {
            least: "1MiB",
            most: "64GiB",
        },
        "bound of our queue on the broker",
    ),
    setting(
        "amqp.wide_threshold",
        "64",
        Kind::Count {
            least: 0,
            most: 100_000,
        },
        "accounts with a broker binding of their own before one binding serves all",
    ),
    setting(
        "amqp.unbind_delay",
        "10s",
        time("0s", "1h"),
        "how long a broker binding stays that nobody needs",
    ),
    setting(
        "amqp.zone",
        "local",
        Kind::Name,
        "Kazoo's zone that this node is in",
    ),
    setting(
        "socket.handshake_timeout",
        "10s",
        time("100ms", "10m"),
        "for TLS and the WebSocket handshake",
    ),
    setting(
        "socket.login_timeout",
        "60s",
        time("100ms", "1d"),
        "for the first valid token",
    ),
    setting(
        "socket.idle_timeout",
        "1h",
        time("100ms", "30d"),
        "without any frame from the client",
    ),
    setting(
        "socket.ping_interval",
        "30s",
        Kind::Duration {
            least: "100ms",
            most: "1d",
            off: true,
        },
        "server pings; a socket that does not answer one until the next is cut",
    ),
    setting(
        "socket.write_timeout",
        "30s",
        time("100ms", "1h"),
        "for one write to a socket",
    ),
    setting(
        "socket.max_message_bytes",
        "64KiB",
        Kind::Size {
            least: "1KiB",
            most: "16MiB",
        },
        "longest message from a client",
    ),
    setting(
        "socket.max_per_address",
        "1000",
        Kind::Count {
            least: 1,
            most: 1_000_000,
        },
        "open sockets of one client address",
    ),
    setting(
        "socket.rate_burst",
        "100",
        Kind::Count {
            least: 1,
            most: 1_000_000,
        },
        "messages from a client at once",
    ),
    setting(
        "socket.rate_per_second",
        "10",
        Kind::Count {
            least: 1,
            most: 1_000_000,
        },
        "messages from a client a second after that",
    ),
    setting(
        "socket.max_waiting_bytes",
        "1MiB",
        Kind::Size {
            least: "64KiB",
            most: "1GiB",
        },
        "bytes that may wait for one socket; beyond that it is closed",
    ),
    setting(
        "socket.max_subscriptions",
        "1000",
        Kind::Count {
            least: 1,
            most: 1_000_000,
        },
        "pairs of client binding and subscription key of one socket",
    ),
    setting(
        "socket.max_waiting_bytes_in_all",
        "auto",
        Kind::Memory {
            least: "16MiB",
            most: "1024GiB",
        },
        "bytes that may wait for all sockets; beyond that those with most are closed",
    ),
    setting(
        "socket.max_open",
        "100000",
        Kind::Count {
            least: 1,
            most: 10_000_000,
        },
        "open sockets in all, as far as open files allow",
    ),
    setting(
        "socket.max_per_account",
        "10000",
        Kind::Count {
            least: 1,
            most: 10_000_000,
        },
        "open sockets of one account",
    ),
    setting(
        "socket.max_subscriptions_per_account",
        "100000",
        Kind::Count {
            least: 1,
            most: 100_000_000,
        },
        "subscriptions of all sockets of one account",
    ),
    setting(
        "socket.max_groups",
        "1000000",
        Kind::Count {
            least: 1,
            most: 100_000_000,
        },
        "different subscriptions on this node",
    ),
    setting(
        "socket.origins",
        "",
        Kind::Origins,
        "web origins that may connect beside the same host, localhost and clients that are no browsers",
    ),
    setting(
        "event.max_bytes",
        "1MiB",
        Kind::Size {
            least: "1KiB",
            most: "64MiB",
        },
        "largest event, unpacked",
    ),
    setting(
        "event.max_waiting_bytes",
        "256MiB",
        Kind::Size {
            least: "1MiB",
            most: "64GiB",
        },
        "events that may wait to be routed",
    ),
    setting(
        "api.origins",
        "*",
        Kind::Origins,
        "web origins whose pages may read answers of the API; they need a token all the same",
    ),
    setting(
        "api.query_token",
        "false",
        Kind::Bool,
        "accept a token as ?auth_token= too; it ends up in logs and histories",
    ),
    setting(
        "api.rate_burst",
        "100",
        Kind::Count {
            least: 1,
            most: 1_000_000,
        },
        "requests without a valid token of one address at once",
    ),
    setting(
        "api.rate_per_second",
        "10",
        Kind::Count {
            least: 1,
            most: 1_000_000,
        },
        "requests without a valid token of one address a second after that",
    ),
    setting(
        "console.enabled",
        "true",
        Kind::Bool,
        "serve the operator console at / of api.port",
    ),
    setting(
        "console.socket_url",
        "",
        Kind::SocketUrl,
        "where the console's WebSocket goes; nothing: ws.port or wss.port of the host in the address bar",
    ),
    setting(
        "compat.repeat_auth_token",
        "false",
        Kind::Bool,
        "repeat the token in every answer of the API, as the original does",
    ),
    setting(
        "compat.kazoo_listing",
        "false",
        Kind::Bool,
        "list bindings as the original does: repeated, presence without its prefix",
    ),
    setting(
        "auth.token_ttl",
        "1h",
        time("1s", "3650d"),
        "life of new tokens",
    ),
    setting(
        "stop.window",
        "10s",
        time("0s", "10m"),
        "how long the closing of sockets may be spread at a stop",
    ),
    flagged(
        "stop.restart_notice",
        "restart-notice",
        "false",
        Kind::Bool,
        "close sockets with 1012 (come back) in place of 1001",
    ),
    flagged(
        "demo.enabled",
        "demo",
        "false",
        Kind::Bool,
        "a simulated Kazoo: accounts and calls that are made up",
    ),
    flagged(
        "demo.calls_per_minute",
        "demo-calls-per-minute",
        "12",
        Kind::Count {
            least: 1,
            most: 6_000,
        },
        "calls that the simulation begins a minute",
    ),
    flagged(
        "demo.seed",
        "demo-seed",
        "1",
        Kind::Count {
            least: 0,
            most: u64::MAX,
        },
        "the same seed makes the same accounts and the same calls",
    ),
    setting("log.level", "info", Kind::LogLevel, "what is logged"),
    setting("log.format", "text", Kind::LogFormat, "how it is logged"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_allowed() {
        for setting in TABLE {
            assert!(setting.accepts(setting.default), "{}", setting.name);
        }
    }

    #[test]
    fn socket_urls() {
        for (text, expected) in [
            ("ws://desk", true),
            ("wss://gateway.example.com:7777", true),
            ("wss://[2001:db8::1]:7777/socket", true),
            ("wss:gateway", false),
            ("wss://", false),
            ("wss://gateway:port", false),
            ("https://gateway", false),
            ("wss://gateway; script-src *", false),
            ("wss://user:word@gateway", false),
        ] {
            assert_eq!(
                setting("", "", Kind::SocketUrl, "").accepts(text),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = TABLE.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    /// The README shows this table; it must not lie.
    #[test]
    fn readme_shows_the_table() {
        let readme = include_str!("../../README.md");
        for setting in TABLE {
            let default = if setting.default.is_empty() {
                "-".into()
            } else {
                format!("`{}`", setting.default)
            };
            let flag = setting
                .flag
                .map_or_else(|| "-".into(), |flag| format!("`--{flag}`"));
            let row = format!(
                "| `{}` | {flag} | {default} | {} | {} |",
                setting.name,
                setting.help,
                setting.allowed()
            );
            assert!(readme.contains(&row), "README lacks\n{row}");
        }
        let rows = readme
            .lines()
            .filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 4)
            .count();
        assert_eq!(rows, TABLE.len(), "rows of the README's settings table");
    }
}
