//! Many accounts, one socket each; every event is for one of them.

use super::broadcast::HEAD;
use super::{NOTES, costs, faults, nothing, seat, transport};
use crate::Lab;
use crate::accounts;
use crate::crowd::Crowd;
use crate::events::CREATE;
use crate::limit;
use crate::options::{Bare, Selective};
use crate::report::{Row, Section};
use crate::run::{Pace, run};
use crate::script::{Script, Seat};
use crate::server::{Server, Setup};

const WINDOW: usize = 32;
/// For the bare server.
const EVENTS: usize = 300_000;

pub(super) fn measure(lab: &Lab, options: &Selective) -> anyhow::Result<Section> {
    lab.say(&format!("selective, {} accounts", options.accounts));
    let count = options.accounts as usize;
    let setup = Setup {
        sockets: count,
        window: WINDOW,
        tls: options.tls,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let accounts = accounts::create(lab, &server, count)?;
    let seats = (0..options.accounts).map(|account| Seat::new(account, 1 << CREATE));
    let script = Script::in_turn(accounts, seats.collect(), options.events as usize);
    let mut crowd = Crowd::new()?;
    seat(&mut crowd, &server, &script)?;
    let pace = Pace {
        window: WINDOW,
        rate: None,
    };
    let outcome = run(lab, &server, &mut crowd, script, pace, &mut nothing)?;
    drop((crowd, server));
    lab.note(&outcome);
    let row = Row::new()
        .text("transport", "", transport(options.tls))
        .count("accounts", "accounts", u64::from(options.accounts));
    let mut row = costs(row, &outcome);
    if !options.no_limit {
        let bare = Bare {
            sockets: count,
            frame_bytes: outcome.frame_bytes + HEAD,
            events: EVENTS,
            window: WINDOW,
            batch: 1,
            selective: true,
            rate: None,
        };
        let limit = limit::measure(&bare)?;
        row = row.number("limit_1", "limit 1", 0, limit).number(
            "ratio_to_limit_1",
            "ratio",
            2,
            outcome.net().map(|net| net / limit),
        );
    }
    let mut section = Section::new(
        "selective",
        "one socket an account, each event for one",
        &NOTES,
    );
    section
        .note("limit 1: the bare epoll server, one event to one socket; ratio: net to it".into());
    section.push(faults(row, &outcome));
    Ok(section)
}
