//! Sockets that do nothing.

use std::time::Duration;

use super::connect::{BINDINGS, bindings};
use super::transport;
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::Crowd;
use crate::interrupt;
use crate::options::Idle;
use crate::process::{most_sockets, resident};
use crate::report::{Row, Section};
use crate::server::{Server, Setup};

/// Made and closed again before the measurement, for what is allocated once.
const WARM_UP: usize = 20;
/// For the server to come to rest.
const REST: Duration = Duration::from_secs(1);
/// Time over which CPU is measured.
const WATCH: Duration = Duration::from_secs(3);

pub(super) fn measure(lab: &Lab, options: &Idle) -> anyhow::Result<Section> {
    let most = most_sockets()?;
    let counts = match options.sockets.as_slice() {
        [] => [2000, 10_000, most].map(|count| count.min(most)).to_vec(),
        given => given.to_vec(),
    };
    let mut section = Section::new(
        "idle",
        "sockets that are subscribed and do nothing",
        &[
            "bytes/socket: growth of VmRSS; the kernel's part of a TCP connection, about 4 KB, is not in it",
            "CPU %: of one core, while nothing happens",
        ],
    );
    for tls in [false, true] {
        if options.tls && !tls {
            continue;
        }
        for &count in &counts {
            lab.say(&format!("idle, {count} sockets, {}", transport(tls)));
            section.push(row(lab, count as usize, tls)?);
        }
    }
    Ok(section)
}

fn row(lab: &Lab, sockets: usize, tls: bool) -> anyhow::Result<Row> {
    let setup = Setup {
        sockets,
        tls,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let hello = Account::master(&server).hello(&server, &bindings());
    let mut crowd = Crowd::new()?;
    crowd.connect(
        &server.target,
        0,
        &vec![hello.clone(); WARM_UP.min(sockets)],
    )?;
    crowd.close_all();
    interrupt::sleep(REST)?;
    let before = resident(server.pid())?;
    crowd.connect(&server.target, 0, &vec![hello; sockets])?;
    interrupt::sleep(REST)?;
    let start = server.watched().mark()?;
    interrupt::sleep(WATCH)?;
    let idling = server.watched().since(&start)?;
    let after = resident(server.pid())?;
    let growth = after.saturating_sub(before) as f64;
    Ok(Row::new()
        .text("transport", "", transport(tls))
        .count("sockets", "sockets", sockets as u64)
        .count("bindings", "bindings", BINDINGS.len() as u64)
        .count("rss_before", "bytes before", before)
        .count("rss_after", "bytes after", after)
        .number(
            "bytes_per_socket",
            "bytes/socket",
            0,
            growth / sockets as f64,
        )
        .number(
            "idle_cpu_percent",
            "CPU %",
            1,
            idling.server * 100.0 / idling.wall.as_secs_f64(),
        ))
}
