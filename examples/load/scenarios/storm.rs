//! All sockets are dropped and come back at once.

use std::time::{Duration, Instant};

use anyhow::bail;

use super::connect::bindings;
use super::transport;
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::Crowd;
use crate::interrupt;
use crate::metrics::Metrics;
use crate::options::Storm;
use crate::process::{most_sockets, resident};
use crate::report::{Row, Section};
use crate::server::{Server, Setup};

/// Sockets that come at a time.
const AT_ONCE: usize = 1024;
const ROUNDS: [&str; 3] = ["first", "again", "again"];
/// For the server to have noticed every socket that went.
const SETTLE: Duration = Duration::from_secs(20);

pub(super) fn measure(lab: &Lab, options: &Storm) -> anyhow::Result<Section> {
    let sockets = options.sockets as usize;
    lab.say(&format!("storm, {sockets} sockets"));
    let setup = Setup {
        // Old ones may still be there when the new ones come.
        sockets: (2 * sockets).min(most_sockets()? as usize),
        tls: options.tls,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let hellos = vec![Account::master(&server).hello(&server, &bindings()); sockets];
    let mut crowd = Crowd::new()?;
    crowd.at_once = AT_ONCE;
    let mut section = Section::new(
        "storm",
        "all sockets subscribe, are dropped, and come back at once",
        &["broker bindings: blackhole_source_bindings, which must stay what it was"],
    );
    let mut bound = None;
    for round in ROUNDS {
        let start = server.watched().mark()?;
        crowd.close_all();
        crowd.connect(&server.target, 0, &hellos)?;
        let spent = server.watched().since(&start)?;
        let metrics = settled(lab, &server, sockets as u64)?;
        let bindings = metrics.sum("blackhole_source_bindings")?;
        if *bound.get_or_insert(bindings) != bindings {
            lab.fault("storm: the number of bindings on the broker changed");
        }
        let count = sockets as f64;
        section.push(
            Row::new()
                .text("transport", "", transport(options.tls))
                .text("round", "round", round)
                .count("sockets", "sockets", sockets as u64)
                .number(
                    "connects_per_second",
                    "connects/s",
                    0,
                    count / spent.wall.as_secs_f64(),
                )
                .number(
                    "server_cpu_us_per_connect",
                    "server CPU us",
                    0,
                    spent.server * 1e6 / count,
                )
                .number(
                    "client_cpu_us_per_connect",
                    "client CPU us",
                    0,
                    spent.client * 1e6 / count,
                )
                .count("rss", "bytes", resident(server.pid())?)
                .count("source_bindings", "broker bindings", bindings)
                .count(
                    "subscriptions",
                    "subscriptions",
                    metrics.sum("blackhole_subscriptions")?,
                ),
        );
    }
    Ok(section)
}

/// The metrics once there are just so many sockets.
fn settled(lab: &Lab, server: &Server, sockets: u64) -> anyhow::Result<Metrics> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let metrics = Metrics::read(lab, server)?;
        let open = metrics.sum("blackhole_sockets")?;
        if open == sockets {
            return Ok(metrics);
        }
        if Instant::now() > deadline {
            bail!("the server counts {open} sockets, {sockets} are open");
        }
        interrupt::sleep(Duration::from_millis(100))?;
    }
}
