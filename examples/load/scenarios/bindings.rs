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

/// Sockets that hold the subscriptions, at most. From as many on, rows differ in nothing but the index.
const HOLDERS: u32 = 1000;
const WINDOW: usize = 32;

pub(super) fn measure(lab: &Lab, options: &Bindings) -> anyhow::Result<Section> {
    let mut section = Section::new(
        "bindings",
        "each event matches two of ever more subscriptions",
        &NOTES,
    );
    section.note(
        "event us: server CPU for an event, net; it must not grow among rows with as many sockets"
            .into(),
    );
    for &subscriptions in &options.subscriptions {
        lab.say(&format!("bindings, {subscriptions} subscriptions"));
        section.push(row(lab, options, subscriptions)?);
    }
    Ok(section)
}

/// Every subscription is for a call of its own. One more socket gets all calls.
fn row(lab: &Lab, options: &Bindings, subscriptions: u32) -> anyhow::Result<Row> {
    let kinds = 1 << CREATE;
    let share = subscriptions.div_ceil(HOLDERS);
    let holders = (0..subscriptions.div_ceil(share)).map(|holder| Seat {
        calls: holder * share..subscriptions.min((holder + 1) * share),
        ..Seat::new(0, kinds)
    });
    let seats: Vec<Seat> = holders.chain([Seat::new(0, kinds)]).collect();
    let sockets = seats.len();
    let setup = Setup {
        sockets,
        window: WINDOW,
        settings: vec!["socket.max_subscriptions=1000000".into()],
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
        .count("sockets", "sockets", sockets as u64)
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
