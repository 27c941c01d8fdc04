//! Measures a gateway: what an idle socket costs, and what it costs to hand every event to every socket.
//!
//! ```text
//! cargo build --release                                    # the server that is measured
//! cargo run --release --example load                       # everything
//! cargo run --release --example load -- idle --sockets 2000
//! cargo run --release --example load -- fanout --sockets 100,1000 --events 4000 --window 64
//! cargo run --release --example load -- fanout --sockets 100 --rate 100 --events 1000
//! ```
//!
//! Every measurement starts a server of its own as a process of its own, on 127.0.0.1 with a data
//! directory that is thrown away, and kills it at the end. Client and server share the machine.
//!
//! - `idle`: sockets of one account that log in with five bindings and then do nothing. Connects a
//!   second, memory of the server (VmRSS; the kernel's part of a TCP connection, about 4 KB, is not in
//!   it) and CPU while nothing happens.
//! - `fanout`: sockets of one account that all get every event, about 2 KB each. At most `--window`
//!   events are published and not yet read by all sockets. Every socket must get every event once,
//!   in the order in which each publisher sent them and in the same order as the other sockets.
//!
//! The main figure is **deliveries per server CPU second**. Events go in through `PUT /v2/events`, so
//! the server also spends CPU on HTTP, a token and JSON parsing for each. That part is measured
//! first, with the same requests while nobody listens, and the figure is shown both with it
//! ("gross") and without it ("net"). With few sockets net is a small difference of large numbers:
//! trust it less. CPU comes from `/proc`, in steps of 10 ms. Linux only.

mod client;
mod fanout;
mod idle;
mod process;
mod publish;
mod report;
mod server;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use report::Report;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Sockets that do nothing
    Idle,
    /// Every event to every socket
    Fanout,
    /// Both
    All,
}

/// Measures a gateway on this machine.
#[derive(Debug, Parser)]
struct Options {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    scenario: Scenario,
    /// The server [default: release/blackhole in the target directory of this program]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Numbers of sockets [default: 2000 for idle, 100,1000 for fanout]
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sockets: Vec<u32>,
    /// Events of a fan-out [default: as many as make 4 million deliveries, 2,000 to 20,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    events: Option<u32>,
    /// Events under way at most: published and not yet read by all sockets
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    window: u32,
    /// HTTP connections that publish, each with one request at a time; too few leave the window empty
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=64))]
    publishers: u32,
    /// Events a second at most [default: as fast as the window allows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// One JSON object in place of tables
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("load: events were lost, doubled or out of order");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything arrived as it should.
fn run(options: &Options) -> anyhow::Result<bool> {
    let server = server_path(options)?;
    if cfg!(debug_assertions) {
        eprintln!("load: a debug build of this program is a slow client; run it with --release");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // Leaving the select drops what runs, and with it the server.
    let report = runtime.block_on(async {
        tokio::select! {
            report = measure(options, server) => report,
            error = interrupted() => Err(error),
        }
    })?;
    report.print(options.json);
    Ok(report.is_sound())
}

fn server_path(options: &Options) -> anyhow::Result<PathBuf> {
    let path = if let Some(path) = &options.server {
        path.clone()
    } else {
        // target/PROFILE/examples/load
        let own = std::env::current_exe()?;
        let target = own.ancestors().nth(3).context("--server is needed")?;
        target.join("release/blackhole")
    };
    if !path.is_file() {
        bail!(
            "no server at {}: run `cargo build --release`, or give --server",
            path.display()
        );
    }
    Ok(path)
}

async fn measure(options: &Options, server: PathBuf) -> anyhow::Result<Report> {
    let counts = |default: &[u32]| match options.sockets.as_slice() {
        [] => default.to_vec(),
        given => given.to_vec(),
    };
    let mut report = Report::new(&server, options);
    if options.scenario != Scenario::Fanout {
        for sockets in counts(&[2000]) {
            eprintln!("load: idle, {sockets} sockets");
            let result = idle::measure(&server, sockets as usize).await;
            let result = result.with_context(|| format!("idle, {sockets} sockets"))?;
            report.idle.push(result);
        }
    }
    if options.scenario != Scenario::Idle {
        for sockets in counts(&[100, 1000]) {
            eprintln!("load: fanout, {sockets} sockets");
            let plan = fanout::Plan::new(options, sockets);
            let result = fanout::measure(&server, &plan).await;
            let result = result.with_context(|| format!("fanout, {sockets} sockets"))?;
            report.fanout.push(result);
        }
    }
    Ok(report)
}

async fn interrupted() -> anyhow::Error {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return anyhow::anyhow!("no signal handler");
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    anyhow::anyhow!("interrupted")
}
