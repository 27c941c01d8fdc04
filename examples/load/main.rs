//! Measures a gateway: `load --help` tells what, [`options`] how to ask for it.
//!
//! ```text
//! cargo build --release                                    # the server that is measured
//! cargo run --release --example load -- all
//! ```
//!
//! The server runs as a process of its own; so does the bare epoll server that shows what is possible
//! on the same machine at the same hour ([`limit`]). Client, server and broker share the machine:
//! compare CPU, not rates a second. CPU and memory come from `/proc`, so this is for Linux only.
//!
//! A scenario makes a [`script::Script`]: events, and which socket is to get which of them. [`run`]
//! publishes it ([`publish`]: HTTP or AMQP) and reads the sockets ([`crowd`]) at the same time, and
//! [`tally`] sees that every event comes once, in the order of its publisher, and to nobody else.
//!
//! Through the embedded bus the server also spends CPU on HTTP, a token and JSON for each event.
//! What that costs while nobody listens is measured first; figures are shown with it ("gross") and
//! without it ("net"). With few sockets net is a small difference of large numbers: trust it less.

mod accounts;
mod api;
mod crowd;
mod events;

mod interrupt;
mod limit;
mod metrics;
mod options;
mod process;
mod publish;
mod random;
mod report;
mod run;
mod scenarios;
mod script;
mod server;
mod socket;
mod tally;

use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use options::{Common, Options, Scenario};
use run::Outcome;
use server::Server;

/// What all scenarios share.
#[derive(Debug)]
pub(crate) struct Lab {
    server: PathBuf,
    amqp_url: Option<String>,
    /// The process of RabbitMQ, if it is on this machine.
    broker: Option<u32>,
    seed: u64,
    json: bool,
    /// For publishers.
    runtime: Runtime,
    publishing_cost: Cell<Option<f64>>,
    /// Events that were lost, doubled, out of order or at the wrong socket.
    faults: Cell<u64>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("load: events were lost, doubled, out of order or at the wrong socket");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything arrived as it should.
fn run(options: Options) -> anyhow::Result<bool> {
    if let Scenario::Bare(bare) = &options.scenario {
        limit::serve(bare)?;
        return Ok(true);
    }
    if cfg!(debug_assertions) {
        eprintln!("load: a debug build of this program is a slow client; run it with --release");
    }
    let lab = Lab::new(options.common)?;
    let sections = scenarios::run(&lab, options.scenario)?;
    if lab.json {
        let sections: Vec<Value> = sections.iter().map(report::Section::json).collect();
        let all = json!({
            "server": lab.server.display().to_string(),
            "source": lab.source(),
            "faults": lab.faults.get(),
            "scenarios": sections,
        });
        println!("{all}");
    }
    Ok(lab.faults.get() == 0)
}

impl Lab {
    fn new(common: Common) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.block_on(async { interrupt::watch() })?;
        // lapin wants one for the whole process; that there is one already is no harm.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(Self {
            broker: common.amqp_url.as_deref().and_then(broker),
            server: server_path(common.server)?,
            amqp_url: common.amqp_url,
            seed: common.seed,
            json: common.json,
            runtime,
            publishing_cost: Cell::new(None),
            faults: Cell::new(0),
        })
    }

    fn source(&self) -> &'static str {
        if self.amqp_url.is_some() {
            "RabbitMQ"
        } else {
            "embedded bus"
        }
    }

    /// Says what is going on, on standard error.
    fn say(&self, what: &str) {
        eprintln!("load: {what}");
    }

    /// CPU seconds of the server for each request to publish; measured once. 0 with RabbitMQ.
    fn publishing_cost(&self) -> anyhow::Result<f64> {
        if self.amqp_url.is_some() {
            return Ok(0.0);
        }
        if let Some(cost) = self.publishing_cost.get() {
            return Ok(cost);
        }
        // A server of its own: this one may have sockets already, which would hear the events.
        let quiet = Server::start(self, &server::Setup::default())?;
        let cost = run::cost_of_a_request(self, &quiet)?;
        self.publishing_cost.set(Some(cost));
        Ok(cost)
    }

    /// Something is not as it must be.
    fn fault(&self, what: &str) {
        self.say(what);
        self.faults.set(self.faults.get() + 1);
    }

    /// Remembers what went wrong, for the exit code.
    fn note(&self, outcome: &Outcome) {
        self.faults.set(self.faults.get() + outcome.faults());
    }
}

/// The process of the broker at this URL.
fn broker(url: &str) -> Option<u32> {
    let uri: http::Uri = url.parse().ok()?;
    process::listener(uri.port_u16().unwrap_or(5672))
}

fn server_path(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let path = if let Some(path) = given {
        path
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
