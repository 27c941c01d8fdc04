//! Sockets that never read, and what the others notice of them.

use anyhow::bail;

use super::{faults, transport};
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::{Crowd, Target};
use crate::events::{CREATE, KINDS};
use crate::metrics::Metrics;
use crate::options::Slow;
use crate::process::resident;
use crate::report::{Row, Section};
use crate::run::{Pace, run};
use crate::script::Script;
use crate::server::{Server, Setup};

/// Events under way at most: so many that none waits for others.
const UNBOUND: usize = 100_000;
/// What a stopped client's kernel takes; the server's then takes little more.
const RECEIVE_BUFFER: usize = 4096;

pub(super) fn measure(lab: &Lab, options: &Slow) -> anyhow::Result<Section> {
    let Some(readers) = options
        .sockets
        .checked_sub(options.stopped)
        .filter(|count| *count > 0)
    else {
        bail!(
            "of {} sockets, {} cannot be stopped",
            options.sockets,
            options.stopped
        );
    };
    let mut section = Section::new(
        "slow",
        "some sockets never read; times and faults are of the others",
        &[
            "most bytes: VmRSS of the server; each stopped socket may have 1 MiB waiting before it is closed",
        ],
    );
    for stopped in [0, options.stopped] {
        lab.say(&format!("slow, {stopped} sockets do not read"));
        section.push(row(lab, options, readers, stopped)?);
    }
    Ok(section)
}

fn row(lab: &Lab, options: &Slow, readers: u32, stopped: u32) -> anyhow::Result<Row> {
    let (readers, all) = (readers as usize, (readers + stopped) as usize);
    let setup = Setup {
        sockets: all,
        tls: options.tls,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let account = Account::master(&server);
    let hello = account.hello(&server, &[KINDS[usize::from(CREATE)].binding.into()]);
    let mut crowd = Crowd::new()?;
    crowd.connect(&server.target, 0, &vec![hello.clone(); readers])?;
    let narrow = Target {
        receive_buffer: Some(RECEIVE_BUFFER),
        ..server.target.clone()
    };
    crowd.connect(&narrow, readers, &vec![hello; all - readers])?;
    crowd.stop_reading(readers..all)?;
    let before = resident(server.pid())?;
    let mut most = before;
    let events = options.rate as usize * options.seconds as usize;
    let script = Script::broadcast(account, readers, events);
    let pace = Pace {
        window: UNBOUND,
        rate: Some(options.rate),
    };
    let mut look = |_: &mut Crowd| {
        most = most.max(resident(server.pid())?);
        Ok(())
    };
    let outcome = run(lab, &server, &mut crowd, script, pace, &mut look)?;
    lab.note(&outcome);
    let after = resident(server.pid())?;
    let closes = Metrics::read(lab, &server)?.closes();
    let row = Row::new()
        .text("transport", "", transport(options.tls))
        .count("readers", "readers", readers as u64)
        .count("stopped", "stopped", u64::from(stopped))
        .count("events_per_second", "events/s", u64::from(options.rate))
        .number("latency_p50_ms", "p50", 2, outcome.latency(0.5))
        .number("latency_p99_ms", "p99", 2, outcome.latency(0.99))
        .number("latency_max_ms", "max", 2, outcome.latency(1.0))
        .number(
            "server_cpu_seconds",
            "server CPU s",
            2,
            outcome.spent.server,
        )
        .count("rss_before", "bytes before", before)
        .count("rss_most", "most bytes", most)
        .count("rss_after", "bytes after", after);
    let closes = if closes.is_empty() { "none" } else { &closes };
    Ok(faults(row, &outcome).text("closes", "closes", closes))
}
