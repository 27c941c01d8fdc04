//! What is measured, one file a scenario.

mod bindings;
mod broadcast;
mod connect;
mod idle;
mod latency;
mod mixed;
mod selective;
mod slow;
mod soak;
mod storm;

use std::collections::HashSet;

use anyhow::Context;

use crate::Lab;
use crate::crowd::Crowd;
use crate::options::{Options, Scenario};
use crate::process::Spent;
use crate::report::{Row, Section};
use crate::run::Outcome;
use crate::script::Script;
use crate::server::Server;
use crate::socket::Hello;

/// What the columns of [`costs`] mean.
const NOTES: [&str; 3] = [
    "gross, net: deliveries a server CPU second; net is without the requests of PUT /v2/events",
    "broker us: CPU of RabbitMQ an event; others: CPU seconds of all other processes",
    "p50, p99: milliseconds from publishing until the last socket has read the event",
];

/// Runs a scenario, or all; tables are printed as they get ready.
pub(crate) fn run(lab: &Lab, scenario: Scenario) -> anyhow::Result<Vec<Section>> {
    let scenarios = match scenario {
        Scenario::All => all()?,
        one => vec![one],
    };
    if !lab.json {
        println!("server {}, source: {}", lab.server.display(), lab.source());
    }
    let (mut sections, mut told) = (Vec::new(), HashSet::new());
    for scenario in scenarios {
        let section = one(lab, &scenario)?;
        if !lab.json {
            section.print(&mut told);
        }
        sections.push(section);
    }
    Ok(sections)
}

fn one(lab: &Lab, scenario: &Scenario) -> anyhow::Result<Section> {
    match scenario {
        Scenario::Connect(options) => connect::measure(lab, options).context("connect"),
        Scenario::Broadcast(options) => broadcast::measure(lab, options).context("broadcast"),
        Scenario::Selective(options) => selective::measure(lab, options).context("selective"),
        Scenario::Bindings(options) => bindings::measure(lab, options).context("bindings"),
        Scenario::Mixed(options) => mixed::measure(lab, options).context("mixed"),
        Scenario::Idle(options) => idle::measure(lab, options).context("idle"),
        Scenario::Latency(options) => latency::measure(lab, options).context("latency"),
        Scenario::Slow(options) => slow::measure(lab, options).context("slow"),
        Scenario::Storm(options) => storm::measure(lab, options).context("storm"),
        Scenario::Soak(options) => soak::measure(lab, options).context("soak"),
        Scenario::All | Scenario::Bare(_) => unreachable!("not a single scenario"),
    }
}

/// Each scenario as it is without options, broadcast also at a slow pace and over wss.
fn all() -> anyhow::Result<Vec<Scenario>> {
    use clap::Parser;

    let lines = [
        "connect",
        "broadcast",
        "broadcast --sockets 100 --rate 100 --no-limit",
        "broadcast --sockets 1000 --tls",
        "selective",
        "bindings",
        "mixed",
        "idle",
        "latency",
        "slow",
        "storm",
    ];
    let parse = |line: &str| {
        let words = std::iter::once("load").chain(line.split(' '));
        Ok(Options::try_parse_from(words)?.scenario)
    };
    lines.into_iter().map(parse).collect()
}

/// Opens the sockets of a script.
fn seat(crowd: &mut Crowd, server: &Server, script: &Script) -> anyhow::Result<()> {
    let hello = |seat: &crate::script::Seat| {
        script.accounts[seat.account as usize].hello(server, &seat.bindings())
    };
    // Many seats say the same; one copy of it is enough.
    let mut last: Option<(u32, u32, Hello)> = None;
    let mut hellos = Vec::with_capacity(script.seats.len());
    for seat in &script.seats {
        let same = last
            .take()
            .filter(|(account, kinds, _)| (*account, *kinds) == (seat.account, seat.kinds));
        let (.., known) =
            last.insert(same.unwrap_or_else(|| (seat.account, seat.kinds, hello(seat))));
        hellos.push(known.clone());
    }
    crowd.connect(&server.target, 0, &hellos)
}

/// For a run during which there is nothing else to do.
fn nothing(_: &mut Crowd) -> anyhow::Result<()> {
    Ok(())
}

/// The columns that every run has.
fn costs(row: Row, outcome: &Outcome) -> Row {
    let Spent {
        wall,
        server,
        client,
        broker,
        others,
    } = outcome.spent;
    let (events, seconds) = (outcome.events as f64, wall.as_secs_f64());
    row.count("events", "events", outcome.events as u64)
        .count("frame_bytes", "bytes", outcome.frame_bytes as u64)
        .number("seconds", "s", 2, seconds)
        .number(
            "deliveries_per_second",
            "deliv/s",
            0,
            outcome.deliveries as f64 / seconds,
        )
        .number(
            "deliveries_per_cpu_second_gross",
            "gross/CPU s",
            0,
            outcome.gross(),
        )
        .number(
            "deliveries_per_cpu_second_net",
            "net/CPU s",
            0,
            outcome.net(),
        )
        .number(
            "net_us_per_delivery",
            "net us",
            2,
            outcome.net().map(|rate| 1e6 / rate),
        )
        .number("server_cpu_seconds", "server CPU s", 2, server)
        .number("client_cpu_seconds", "client", 2, client)
        .number(
            "broker_cpu_us_per_event",
            "broker us",
            1,
            (broker > 0.0).then_some(broker * 1e6 / events),
        )
        .number("others_cpu_seconds", "others", 2, others)
        .number("latency_p50_ms", "p50", 2, outcome.latency(0.5))
        .number("latency_p99_ms", "p99", 2, outcome.latency(0.99))
}

/// The columns of what went wrong.
fn faults(row: Row, outcome: &Outcome) -> Row {
    row.count("lost", "lost", outcome.lost)
        .count("doubled", "doubled", outcome.doubled)
        .count("misordered", "misordered", outcome.misordered)
        .count("foreign", "foreign", outcome.foreign)
}

fn transport(tls: bool) -> &'static str {
    if tls { "wss" } else { "ws" }
}
