//! Ever more subscriptions in the index, and events that match two sockets.

use super::{NOTES, costs, faults, nothing};
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::Crowd;
use crate::events::{CREATE, KINDS, call_id};
use crate::options::Bindings;
use crate::process::resident;
use crate::random::Random;
use crate::report::{Row, Section};
use crate::run::{Pace, run};
use crate::script::{Event, Script, Seat};
use crate::server::{Server, Setup};
use crate::socket::Hello;

/// Subscriptions of a socket; the server's default limit.
const OF_A_SOCKET: u32 = 1000;
const WINDOW: usize = 32;

pub(super) fn measure(lab: &Lab, options: &Bindings) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "bindings: each event matches two of ever more subscriptions",
        &NOTES,
    );
    section.note("net us is for a delivery, event us for an event; both must stay flat".into());
    for &subscriptions in &options.subscriptions {
        lab.say(&format!("bindings, {subscriptions} subscriptions"));
        section.push(row(lab, options, subscriptions)?);
    }
    Ok(section)
}

/// One call a subscription, and one socket that gets all calls.
fn row(lab: &Lab, options: &Bindings, subscriptions: u32) -> anyhow::Result<Row> {
    let kinds = 1 << CREATE;
    let starts = (0..subscriptions).step_by(OF_A_SOCKET as usize);
    let holders = starts.map(|start| Seat {
        calls: start..subscriptions.min(start + OF_A_SOCKET),
        ..Seat::new(0, kinds)
    });
    let seats: Vec<Seat> = holders.chain([Seat::new(0, kinds)]).collect();
    let setup = Setup {
        sockets: seats.len(),
        window: WINDOW,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let account = Account::master(&server);
    let hello = |seat: &Seat| {
        let calls = seat.calls.clone();
        let bindings: Vec<String> = if calls.end == u32::MAX {
            vec![KINDS[usize::from(CREATE)].binding.into()]
        } else {
            calls
                .map(|call| format!("call.CHANNEL_CREATE.{}", call_id(call)))
                .collect()
        };
        account.hello(&server, &bindings)
    };
    let hellos: Vec<Hello> = seats.iter().map(hello).collect();
    let before = resident(server.pid())?;
    let start = server.watched().mark()?;
    let mut crowd = Crowd::new()?;
    crowd.connect(&server.target, 0, &hellos)?;
    let connecting = server.watched().since(&start)?;
    let memory = resident(server.pid())?.saturating_sub(before);
    let mut random = Random::new(lab.seed);
    let event = |_| Event {
        account: 0,
        call: random.below(subscriptions),
        kind: CREATE,
    };
    let sockets = seats.len() as u64;
    let script = Script {
        accounts: [account.clone()].into(),
        events: (0..options.events).map(event).collect(),
        seats,
    };
    let pace = Pace {
        window: WINDOW,
        rate: None,
    };
    let outcome = run(lab, &server, &mut crowd, script, pace, &mut nothing)?;
    lab.note(&outcome);
    let events = f64::from(options.events);
    let all = f64::from(subscriptions);
    let row = Row::new()
        .count("subscriptions", "subscriptions", u64::from(subscriptions))
        .count("sockets", "sockets", sockets)
        .number(
            "server_cpu_us_per_subscription",
            "subscribe us",
            1,
            connecting.server * 1e6 / all,
        )
        .number(
            "bytes_per_subscription",
            "bytes each",
            0,
            memory as f64 / all,
        )
        .number(
            "net_us_per_event",
            "event us",
            1,
            outcome.net_cpu().map(|cpu| cpu * 1e6 / events),
        );
    Ok(faults(costs(row, &outcome), &outcome))
}
