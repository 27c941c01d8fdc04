//! How long an event takes at shares of the highest load.

use super::broadcast::{events, window};
use super::{faults, nothing, seat, transport};
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::Crowd;
use crate::options::Latency;
use crate::report::{Row, Section};
use crate::run::{Outcome, Pace, run};
use crate::script::Script;
use crate::server::{Server, Setup};

/// Events under way at most when the pace is given: so many that none waits for others.
const UNBOUND: usize = 100_000;
const QUANTILES: [(f64, &str, &str); 6] = [
    (0.5, "p50_ms", "p50"),
    (0.9, "p90_ms", "p90"),
    (0.99, "p99_ms", "p99"),
    (0.999, "p99_9_ms", "p99.9"),
    (0.9999, "p99_99_ms", "p99.99"),
    (1.0, "max_ms", "max"),
];

pub(super) fn measure(lab: &Lab, options: &Latency) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "latency",
        "milliseconds from publishing until the last socket has read the event",
        &[
            "the first row is the highest load, with as many events under way as the window allows",
            "an event that its publisher sent late counts from when it was due",
        ],
    );
    lab.say("latency, highest load");
    let highest = one(lab, options, events(options.sockets), None)?;
    let most = highest.events as f64 / highest.spent.wall.as_secs_f64();
    section.push(row(options, None, &highest));
    for &load in &options.load {
        let rate = ((most * f64::from(load) / 100.0) as u32).max(1);
        lab.say(&format!("latency at {load} %, {rate} events/s"));
        let outcome = one(lab, options, rate * options.seconds, Some(rate))?;
        section.push(row(options, Some(load), &outcome));
    }
    Ok(section)
}

fn one(lab: &Lab, options: &Latency, events: u32, rate: Option<u32>) -> anyhow::Result<Outcome> {
    let sockets = options.sockets as usize;
    let window = window(sockets);
    let setup = Setup {
        sockets,
        // Near the highest load events may pile up for a while.
        window: rate.map_or(window, |_| window.max(4096)),
        tls: options.tls,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let script = Script::broadcast(Account::master(&server), sockets, events as usize);
    let mut crowd = Crowd::new()?;
    seat(&mut crowd, &server, &script)?;
    let window = rate.map_or(window, |_| UNBOUND);
    let outcome = run(
        lab,
        &server,
        &mut crowd,
        script,
        Pace { window, rate },
        &mut nothing,
    )?;
    lab.note(&outcome);
    Ok(outcome)
}

fn row(options: &Latency, load: Option<u32>, outcome: &Outcome) -> Row {
    let rate = outcome.events as f64 / outcome.spent.wall.as_secs_f64();
    let mut row = Row::new()
        .text("transport", "", transport(options.tls))
        .count("sockets", "sockets", u64::from(options.sockets))
        .number("load_percent", "load %", 0, load.map(f64::from))
        .number("events_per_second", "events/s", 0, rate);
    for (quantile, name, title) in QUANTILES {
        row = row.number(name, title, 3, outcome.latency(quantile));
    }
    faults(row, outcome)
}
