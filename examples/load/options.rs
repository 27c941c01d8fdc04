//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};

/// Measures a gateway on this machine, as a process of its own.
///
/// Every scenario starts the release server with a data directory that is thrown away, drives it over
/// loopback, and kills it. The main figure is deliveries a server CPU second: one event read by one
/// socket is a delivery. It holds on a busy machine, where rates a second do not.
///
/// Exit code 1: events were lost, doubled or out of order, or something failed.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  cargo build --release                                     # the server that is measured
  cargo run --release --example load -- all
  cargo run --release --example load -- broadcast --sockets 1,100,1000
  cargo run --release --example load -- broadcast --sockets 100 --rate 100
  cargo run --release --example load -- --amqp-url $(tests/rabbitmq start /tmp/rmq) all
  cargo run --release --example load -- --json selective | jq .")]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// For every scenario.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The server [default: release/blackhole in the target directory of this program]
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) server: Option<PathBuf>,
    /// Events go through this RabbitMQ [default: through PUT /v2/events and the embedded bus]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) amqp_url: Option<String>,
    /// One JSON object in place of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Of the random choices of `mixed`, `bindings` and `soak`
    #[arg(long, value_name = "N", global = true, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// All but `soak`, with counts that take some minutes
    All,
    /// Rate and CPU of connecting: handshake, log-in and a subscription of five bindings
    Connect(Connect),
    /// Every event to every socket; beside it what a bare epoll server does with the same frames
    Broadcast(Broadcast),
    /// Many accounts with one socket each, every event for one of them
    Selective(Selective),
    /// Ever more subscriptions, events that match two sockets: the cost of an event must not grow
    Bindings(Bindings),
    /// An operator's day: accounts of very different size, all kinds of events
    Mixed(Mixed),
    /// Memory and CPU of sockets that do nothing
    Idle(Idle),
    /// Publish to last socket, at shares of the highest load, as a histogram
    Latency(Latency),
    /// Sockets that never read, and what the others notice of them
    Slow(Slow),
    /// All sockets are dropped and come back at once
    Storm(Storm),
    /// Sockets come and go for minutes while events flow; shows whether memory grows
    Soak(Soak),
    /// The bare epoll server, as a process of its own
    #[command(hide = true)]
    Bare(Bare),
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = value_parser!(u32).range(1..=200_000))]
    pub(crate) sockets: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Broadcast {
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 100, 1000, 5000, 10_000], value_parser = value_parser!(u32).range(1..=200_000))]
    pub(crate) sockets: Vec<u32>,
    /// Events [default: as many as make 4 million deliveries, 600 to 20,000; with --rate: for 10 s]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub(crate) events: Option<u32>,
    /// Events under way at most: published and not yet read by all sockets
    /// [default: 512 for one socket, 64 up to 100, 32 up to 1000, then 8]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=4096))]
    pub(crate) window: Option<u32>,
    /// Events a second [default: as fast as the window allows]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: Option<u32>,
    /// Over wss
    #[arg(long)]
    pub(crate) tls: bool,
    /// Without the bare epoll server
    #[arg(long)]
    pub(crate) no_limit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Selective {
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=20_000))]
    pub(crate) accounts: u32,
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub(crate) events: u32,
    /// Over wss
    #[arg(long)]
    pub(crate) tls: bool,
    /// Without the bare epoll server
    #[arg(long)]
    pub(crate) no_limit: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Bindings {
    /// Subscriptions in the index, over at most 1000 sockets
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [10, 1000, 100_000, 1_000_000], value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) subscriptions: Vec<u32>,
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub(crate) events: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Mixed {
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=20_000))]
    pub(crate) accounts: u32,
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) sockets: u32,
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) events: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// Numbers of sockets [default: 2000, 10000 and as many as the limit of open files allows]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub(crate) sockets: Vec<u32>,
    /// Only wss [default: ws, then wss]
    #[arg(long)]
    pub(crate) tls: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) sockets: u32,
    /// Shares of the highest load, in percent
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [10, 50, 90], value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) load: Vec<u32>,
    /// For each of them
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
    /// Over wss
    #[arg(long)]
    pub(crate) tls: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Slow {
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(2..=100_000))]
    pub(crate) sockets: u32,
    /// Of these, sockets that never read
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) stopped: u32,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,
    /// Over wss
    #[arg(long)]
    pub(crate) tls: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Storm {
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=100_000))]
    pub(crate) sockets: u32,
    /// Over wss
    #[arg(long)]
    pub(crate) tls: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Soak {
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..=1440))]
    pub(crate) minutes: u32,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Over wss
    #[arg(long)]
    pub(crate) tls: bool,
}

/// What the bare server sends.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bare {
    #[arg(long)]
    pub(crate) sockets: usize,
    #[arg(long)]
    pub(crate) frame_bytes: usize,
    #[arg(long)]
    pub(crate) events: usize,
    #[arg(long)]
    pub(crate) window: usize,
    /// Events in a write
    #[arg(long)]
    pub(crate) batch: usize,
    /// Each event to one socket, in turn; otherwise to all
    #[arg(long)]
    pub(crate) selective: bool,
    /// Events a second
    #[arg(long)]
    pub(crate) rate: Option<u32>,
}
