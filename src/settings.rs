//! Settings: defaults, then the file, then the environment, then flags; later wins, and each value
//! remembers where it came from.
//!
//! - `table`: each setting once, with what is allowed;
//! - `layers`: where values come from;
//! - `units`: durations and sizes as people write them.

mod layers;
mod memory;
mod table;
mod units;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use layers::{Layers, Origin, Shown};
pub use table::{Setting, TABLE};
pub use units::duration;

use crate::auth::IssuerSettings;
use crate::catalogue::Catalogue;
use crate::model::{Secret, reached_at};
use crate::telemetry::logging::Format;

/// Everything in force, checked.
#[derive(Debug)]
pub struct Settings {
    /// Where all ports listen.
    pub listen: IpAddr,
    /// `None`: switched off. 0: any free port.
    pub ws_port: Option<u16>,
    /// As above, TLS.
    pub wss_port: Option<u16>,
    /// As above, HTTP.
    pub api_port: Option<u16>,
    /// The database's directory.
    pub data_dir: PathBuf,
    /// This node's name, in listings and on the broker.
    pub node: String,
    /// Certificate and key; `None`: a development certificate.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Where development certificates are made.
    pub tls_dev_dir: PathBuf,
    /// RabbitMQ; `None`: the embedded bus.
    pub amqp: Option<AmqpChoice>,
    /// What sockets may do.
    pub socket: SocketSettings,
    /// Largest event, in bytes.
    pub event_max_bytes: usize,
    /// Bytes of events that may wait to be routed.
    pub ingress_max_bytes: usize,
    /// `compat.kazoo_listing`.
    pub kazoo_listing: bool,
    /// Life of new tokens.
    pub token_ttl: Duration,
    /// What the API does and allows.
    pub api: ApiSettings,
    /// The page for operators.
    pub console: ConsoleChoice,
    /// Other issuers of tokens.
    pub issuers: Vec<IssuerSettings>,
    /// Paths in the file are taken from here.
    pub base: PathBuf,
    /// How long the closing of all sockets may be spread.
    pub stop_window: Duration,
    /// Close with 1012 in place of 1001.
    pub restart_notice: bool,
    /// The simulated Kazoo; `None`: there is none.
    pub demo: Option<DemoSettings>,
    /// What is logged.
    pub log_level: String,
    /// How it is logged.
    pub log_format: Format,
    /// The bindings that clients can ask for.
    pub catalogue: Catalogue,
}

/// The settings of `amqp.*`.
#[derive(Debug)]
pub struct AmqpChoice {
    /// With user and password.
    pub url: Secret,
    /// The broker's bound for our queue.
    pub queue_max_bytes: u64,
    /// Accounts with a binding of their own.
    pub wide_threshold: usize,
    /// How long an unused binding stays.
    pub unbind_delay: Duration,
    /// Kazoo's zone that this node is in.
    pub zone: String,
}

/// The settings of `demo.*`.
#[derive(Debug, Clone, Copy)]
pub struct DemoSettings {
    /// Calls that begin a minute.
    pub calls_per_minute: u32,
    /// What all chance comes from.
    pub seed: u64,
}

/// The settings of `socket.*`.
#[derive(Debug, Clone)]
pub struct SocketSettings {
    /// For TLS and the websocket handshake together.
    pub handshake_timeout: Duration,
    /// For a token.
    pub login_timeout: Duration,
    /// Without any frame from the client.
    pub idle_timeout: Duration,
    /// `None`: no pings.
    pub ping_interval: Option<Duration>,
    /// For one write.
    pub write_timeout: Duration,
    /// Longest message from a client, in bytes.
    pub max_message_bytes: usize,
    /// Open sockets of one address.
    pub max_per_address: usize,
    /// Messages at once.
    pub rate_burst: u32,
    /// Messages a second after that.
    pub rate_per_second: u32,
    /// Bytes that may wait for one socket.
    pub max_waiting_bytes: usize,
    /// Bytes that may wait for all sockets.
    pub max_waiting_bytes_in_all: usize,
    /// Open sockets in all.
    pub max_open: usize,
    /// Open sockets of one account.
    pub max_per_account: usize,
    /// Pairs of client binding and subscription key.
    pub max_subscriptions: usize,
    /// The same of all sockets of one account.
    pub max_subscriptions_per_account: usize,
    /// Different subscriptions on this node.
    pub max_groups: usize,
    /// Origins allowed beside the same host, none and localhost; `*` allows all.
    pub origins: Vec<String>,
}

/// What the API does and allows.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// This node's name.
    pub node: String,
    /// Life of new tokens.
    pub token_ttl: Duration,
    /// Largest event, in bytes.
    pub event_max_bytes: usize,
    /// Web origins that browsers may call from; `*` allows all.
    pub origins: Vec<String>,
    /// Whether a token may stand in the query.
    pub query_token: bool,
    /// Whether every answer repeats the token of its request.
    pub repeat_token: bool,
    /// Requests without a valid token of one address: at once.
    pub rate_burst: u32,
    /// And a second after that.
    pub rate_per_second: u32,
}

/// The settings of `console.*`.
#[derive(Debug, Clone)]
pub struct ConsoleChoice {
    /// Whether it is served.
    pub enabled: bool,
    /// Where its websocket goes; `None`: to this gateway's own ports.
    pub socket_url: Option<String>,
}

/// Every bad setting, a line each.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);

impl Settings {
    /// Checks all layers; tells every error, not only the first.
    pub fn from_layers(layers: &Layers) -> Result<Self, SettingsError> {
        let mut errors: Vec<String> = layers.errors().to_vec();
        errors.extend(layers.check());
        let catalogue = Catalogue::with(layers.file_text()).map_err(|error| layers.in_file(&error));
        let issuers = layers.issuers();
        let tls = match (layers.path("tls.certificate"), layers.path("tls.key")) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            _ => Err("tls.certificate and tls.key: set both or neither".to_owned()),
        };
        errors.extend(catalogue.as_ref().err().cloned());
        errors.extend(issuers.as_ref().err().cloned());
        errors.extend(tls.as_ref().err().cloned());
        let (Ok(catalogue), Ok(issuers), Ok(tls), true) =
            (catalogue, issuers, tls, errors.is_empty())
        else {
            return Err(SettingsError(errors));
        };
        Ok(Self {
            listen: layers.parsed("listen"),
            ws_port: layers.port("ws.port"),
            wss_port: layers.port("wss.port"),
            api_port: layers.port("api.port"),
            data_dir: layers.parsed("data_dir"),
            node: layers.node(),
            tls,
            tls_dev_dir: layers.parsed("tls.development_dir"),
            amqp: layers
                .text("amqp.url")
                .filter(|url| !url.is_empty())
                .map(|url| AmqpChoice {
                    url: Secret::new(url),
                    queue_max_bytes: layers.bytes("amqp.queue_max_bytes"),
                    wide_threshold: layers.parsed("amqp.wide_threshold"),
                    unbind_delay: layers.duration("amqp.unbind_delay").unwrap_or_default(),
                    zone: layers.text("amqp.zone").unwrap_or_default().to_owned(),
                }),
            socket: SocketSettings::from_layers(layers),
            event_max_bytes: layers.size("event.max_bytes"),
            ingress_max_bytes: layers.size("event.max_waiting_bytes"),
            kazoo_listing: layers.parsed("compat.kazoo_listing"),
            token_ttl: layers.duration("auth.token_ttl").unwrap_or_default(),
            api: ApiSettings {
                node: layers.node(),
                token_ttl: layers.duration("auth.token_ttl").unwrap_or_default(),
                event_max_bytes: layers.size("event.max_bytes"),
                origins: list(layers.text("api.origins")),
                query_token: layers.parsed("api.query_token"),
                repeat_token: layers.parsed("compat.repeat_auth_token"),
                rate_burst: layers.parsed("api.rate_burst"),
                rate_per_second: layers.parsed("api.rate_per_second"),
            },
            console: ConsoleChoice {
                enabled: layers.parsed("console.enabled"),
                socket_url: layers
                    .text("console.socket_url")
                    .filter(|url| !url.is_empty())
                    .map(str::to_owned),
            },
            issuers,
            base: layers.base(),
            stop_window: layers.duration("stop.window").unwrap_or_default(),
            restart_notice: layers.parsed("stop.restart_notice"),
            demo: layers.parsed::<bool>("demo.enabled").then(|| DemoSettings {
                calls_per_minute: layers.parsed("demo.calls_per_minute"),
                seed: layers.parsed("demo.seed"),
            }),
            log_level: layers.text("log.level").unwrap_or_default().to_owned(),
            log_format: match layers.text("log.format") {
                Some("json") => Format::Json,
                _ => Format::Text,
            },
            catalogue,
        })
    }

    /// The address that commands on this machine reach the API at.
    pub fn api_address(&self) -> Option<String> {
        let host = reached_at(self.listen);
        let port = self.api_port?;
        Some(std::net::SocketAddr::new(host, port).to_string())
    }
}

impl SocketSettings {
    fn from_layers(layers: &Layers) -> Self {
        let duration = |name| layers.duration(name).unwrap_or_default();
        Self {
            handshake_timeout: duration("socket.handshake_timeout"),
            login_timeout: duration("socket.login_timeout"),
            idle_timeout: duration("socket.idle_timeout"),
            ping_interval: layers.duration("socket.ping_interval"),
            write_timeout: duration("socket.write_timeout"),
            max_message_bytes: layers.size("socket.max_message_bytes"),
            max_per_address: layers.parsed("socket.max_per_address"),
            rate_burst: layers.parsed("socket.rate_burst"),
            rate_per_second: layers.parsed("socket.rate_per_second"),
            max_waiting_bytes: layers.size("socket.max_waiting_bytes"),
            max_waiting_bytes_in_all: match layers.text("socket.max_waiting_bytes_in_all") {
                Some("auto") => memory::total() / 4,
                _ => layers.size("socket.max_waiting_bytes_in_all"),
            },
            max_open: layers.parsed("socket.max_open"),
            max_per_account: layers.parsed("socket.max_per_account"),
            max_subscriptions: layers.parsed("socket.max_subscriptions"),
            max_subscriptions_per_account: layers.parsed("socket.max_subscriptions_per_account"),
            max_groups: layers.parsed("socket.max_groups"),
            origins: list(layers.text("socket.origins")),
        }
    }
}

/// What stands between commas.
fn list(text: Option<&str>) -> Vec<String> {
    let items = text.unwrap_or_default().split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}
