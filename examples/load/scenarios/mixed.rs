//! An operator's day: few large accounts and many small ones, people who look at different things,
//! and all kinds of events.

use super::{NOTES, costs, faults, nothing, seat};
use crate::Lab;
use crate::accounts;
use crate::crowd::Crowd;
use crate::events::{CALL_KINDS, KINDS};
use crate::options::Mixed;
use crate::random::{Random, Zipf};
use crate::report::{Row, Section};
use crate::run::{Pace, run};
use crate::script::{Event, Script, Seat};
use crate::server::{Server, Setup};

const WINDOW: usize = 64;
/// Of a hundred events; the rest are objects.
const CALLS: u32 = 80;
const PRESENCE: u32 = 15;
/// How many kinds of presence there are, after the calls.
const PRESENCE_KINDS: usize = 2;

pub(super) fn measure(lab: &Lab, options: &Mixed) -> anyhow::Result<Section> {
    lab.say(&format!("mixed, {} accounts", options.accounts));
    let setup = Setup {
        sockets: options.sockets as usize,
        window: WINDOW,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let accounts = accounts::create(lab, &server, options.accounts as usize)?;
    let (mut random, zipf) = (Random::new(lab.seed), Zipf::new(options.accounts));
    let seats =
        (0..options.sockets).map(|_| Seat::new(zipf.choose(&mut random), role(&mut random)));
    let seats = seats.collect();
    let events = (0..options.events).map(|number| Event {
        account: zipf.choose(&mut random),
        call: number,
        kind: kind(&mut random),
    });
    let script = Script {
        accounts,
        events: events.collect(),
        seats,
    };
    let unheard = script
        .audiences()
        .iter()
        .filter(|count| **count == 0)
        .count();
    let mut crowd = Crowd::new()?;
    seat(&mut crowd, &server, &script)?;
    let pace = Pace {
        window: WINDOW,
        rate: None,
    };
    let outcome = run(lab, &server, &mut crowd, script, pace, &mut nothing)?;
    lab.note(&outcome);
    let heard = outcome.events - unheard;
    let row = Row::new()
        .count("accounts", "accounts", u64::from(options.accounts))
        .count("sockets", "sockets", u64::from(options.sockets))
        .count("unheard_events", "unheard", unheard as u64)
        .number(
            "sockets_per_heard_event",
            "sockets/event",
            1,
            outcome.deliveries as f64 / heard as f64,
        );
    let mut section = Section::new("mixed", "an operator's day", &NOTES);
    section.note("unheard: events that nobody has subscribed to".into());
    section.push(faults(costs(row, &outcome), &outcome));
    Ok(section)
}

/// What people look at: consoles at calls and lamps, wallboards at how calls begin and end, and a few
/// programs at everything.
fn role(random: &mut Random) -> u32 {
    const CREATE_ANSWER_DESTROY: u32 = 0b10_0011;
    match random.below(10) {
        0..6 => (1 << (CALL_KINDS + 1)) - 1,
        6..9 => CREATE_ANSWER_DESTROY,
        _ => (1 << KINDS.len()) - 1,
    }
}

fn kind(random: &mut Random) -> u8 {
    let presence = CALLS + PRESENCE;
    let (first, count) = match random.below(100) {
        0..CALLS => (0, CALL_KINDS),
        point if point < presence => (CALL_KINDS, PRESENCE_KINDS),
        _ => (
            CALL_KINDS + PRESENCE_KINDS,
            KINDS.len() - CALL_KINDS - PRESENCE_KINDS,
        ),
    };
    let (first, count) = (first as u32, count as u32);
    u8::try_from(first + random.below(count)).unwrap_or_default()
}
