//! How fast sockets come, and what that costs.

use super::transport;
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::Crowd;
use crate::options::Connect;
use crate::report::{Row, Section};
use crate::server::{Server, Setup};

pub(super) const BINDINGS: [&str; 5] = [
    "call.CHANNEL_CREATE.*",
    "call.CHANNEL_ANSWER.*",
    "call.CHANNEL_DESTROY.*",
    "call.CHANNEL_HOLD.*",
    "call.PARK_PARKED.*",
];

pub(super) fn bindings() -> Vec<String> {
    BINDINGS.iter().map(|&binding| binding.to_owned()).collect()
}

pub(super) fn measure(lab: &Lab, options: &Connect) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "connect",
        "TCP, TLS, handshake, log-in and a subscription of five bindings",
        &[],
    );
    for tls in [false, true] {
        lab.say(&format!("connect, {}", transport(tls)));
        section.push(row(lab, options.sockets as usize, tls)?);
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
    let hellos = vec![Account::master(&server).hello(&server, &bindings()); sockets];
    let mut crowd = Crowd::new()?;
    let start = server.watched().mark()?;
    crowd.connect(&server.target, 0, &hellos)?;
    let spent = server.watched().since(&start)?;
    let count = sockets as f64;
    Ok(Row::new()
        .text("transport", "", transport(tls))
        .count("sockets", "sockets", sockets as u64)
        .number(
            "connects_per_second",
            "connects/s",
            0,
            count / spent.wall.as_secs_f64(),
        )
        .number(
            "connects_per_cpu_second",
            "per server CPU s",
            0,
            count / spent.server,
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
        ))
}
