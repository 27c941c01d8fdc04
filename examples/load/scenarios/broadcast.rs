//! Every event to every socket.

use super::{NOTES, costs, faults, nothing, seat, transport};
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::Crowd;
use crate::limit;
use crate::options::{Bare, Broadcast};
use crate::report::{Row, Section};
use crate::run::{Outcome, Pace, run};
use crate::script::Script;
use crate::server::{Server, Setup};

/// Of a measurement for which no number of events was given.
const DELIVERIES: u32 = 4_000_000;
const PACED_SECONDS: u32 = 10;
/// Events in a write of the bare server, where it gathers them, and the least window for that.
const GATHERED: usize = 16;
const GATHERED_WINDOW: usize = 48;

/// Events under way, so that about as many bytes are under way with any number of sockets.
pub(super) fn window(sockets: usize) -> usize {
    match sockets {
        0..=1 => 512,
        2..=100 => 64,
        101..=1000 => 32,
        _ => 8,
    }
}

/// Events that take about as long with any number of sockets.
pub(super) fn events(sockets: u32) -> u32 {
    (DELIVERIES / sockets).clamp(600, 20_000)
}

pub(super) fn measure(lab: &Lab, options: &Broadcast) -> anyhow::Result<Section> {
    let mut section = Section::new("broadcast", "every event to every socket", &NOTES);
    section.note("limit 1, limit 16: the bare epoll server, an event or 16 events a write; ratio: net to limit 16, with --rate to limit 1 at that rate".into());
    for &sockets in &options.sockets {
        lab.say(&format!("broadcast, {sockets} sockets"));
        section.push(row(lab, options, sockets)?);
    }
    Ok(section)
}

fn row(lab: &Lab, options: &Broadcast, sockets: u32) -> anyhow::Result<Row> {
    let count = sockets as usize;
    let window = options
        .window
        .map_or_else(|| window(count), |window| window as usize);
    let paced = options.rate.map(|rate| rate * PACED_SECONDS);
    let number = options.events.or(paced).unwrap_or_else(|| events(sockets));
    let setup = Setup {
        sockets: count,
        window,
        tls: options.tls,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let script = Script::broadcast(Account::master(&server), count, number as usize);
    let mut crowd = Crowd::new()?;
    seat(&mut crowd, &server, &script)?;
    let pace = Pace {
        window,
        rate: options.rate,
    };
    let outcome = run(lab, &server, &mut crowd, script, pace, &mut nothing)?;
    drop((crowd, server));
    lab.note(&outcome);
    let row = Row::new()
        .text("transport", "", transport(options.tls))
        .count("sockets", "sockets", u64::from(sockets))
        .count("window", "window", window as u64)
        .number("rate", "events/s", 0, options.rate.map(f64::from));
    let mut row = costs(row, &outcome);
    if !options.no_limit {
        row = limits(row, options.rate, count, window, &outcome)?;
    }
    Ok(faults(row, &outcome))
}

/// What the bare server makes of the same frames: as fast as it can, an event or several a write; or
/// at the same rate, where there is nothing to gather.
fn limits(
    row: Row,
    rate: Option<u32>,
    sockets: usize,
    window: usize,
    outcome: &Outcome,
) -> anyhow::Result<Row> {
    // A figure is steady after a second of CPU or two.
    let fast = (DELIVERIES as usize / 8 / sockets).clamp(100, 200_000);
    let single = Bare {
        sockets,
        frame_bytes: outcome.frame_bytes + HEAD,
        events: rate.map_or(fast, |rate| ((rate * PACED_SECONDS) as usize).min(fast)),
        window,
        batch: 1,
        selective: false,
        rate,
    };
    let gathered = Bare {
        events: (DELIVERIES as usize / 2 / sockets).clamp(320, 1_000_000),
        window: window.max(GATHERED_WINDOW),
        batch: GATHERED,
        ..single.clone()
    };
    let single = limit::measure(&single)?;
    let gathered = match rate {
        None => Some(limit::measure(&gathered)?),
        Some(_) => None,
    };
    let limit = gathered.unwrap_or(single);
    Ok(row
        .number("limit_1", "limit 1", 0, single)
        .number("limit_16", "limit 16", 0, gathered)
        .number(
            "ratio_to_limit",
            "ratio",
            2,
            outcome.net().map(|net| net / limit),
        ))
}

/// Bytes before the text in a frame of 126 to 65,535 bytes.
pub(super) const HEAD: usize = 4;
