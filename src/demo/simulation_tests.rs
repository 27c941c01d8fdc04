//! An hour of the simulation, looked at event by event.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use serde_json::Value;

use super::super::people::COMPANIES;
use super::super::world::account_id;
use super::*;
use crate::catalogue::Catalogue;
use crate::fanout::peek;
use crate::model::AccountId;

const HOUR: u64 = 3_600_000;
const START: u64 = 1_795_370_854_000;

/// An event as a client would get it, and when.
struct Seen {
    at: u64,
    exchange: String,
    key: String,
    account: Option<String>,
    body: Value,
}

impl Seen {
    fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }
}

fn known() -> Vec<Known> {
    let of = |company: &super::super::people::Company| Known {
        id: AccountId::parse(&account_id(1, company)).expect("an id"),
        name: company.name.to_owned(),
        realm: company.realm.to_owned(),
        users: HashMap::new(),
    };
    COMPANIES.iter().map(of).collect()
}

fn events(seed: u64, rate: u32, length: u64) -> (Vec<(u64, Publication)>, Simulation) {
    let mut simulation = Simulation::new(seed, &known(), rate);
    let mut all = Vec::new();
    while let Some(at) = simulation.next_at().filter(|at| *at < length) {
        let events = simulation.step(START + at);
        all.extend(events.into_iter().map(|event| (at, event)));
    }
    (all, simulation)
}

/// An hour as it comes without further words.
static USUAL: LazyLock<Vec<Seen>> = LazyLock::new(|| seen(12, HOUR));

/// Some time, and then all hang up; as the dispatcher reads it.
fn seen(rate: u32, length: u64) -> Vec<Seen> {
    let (mut all, mut simulation) = events(1, rate, length);
    let last = simulation.hang_up(length, START + length);
    all.extend(last.into_iter().map(|event| (length, event)));
    let catalogue = Catalogue::builtin();
    all.into_iter()
        .map(|(at, event)| {
            let exchange = catalogue.exchange(&event.exchange).expect("known");
            let peek = peek(&event.body, exchange, &event.routing_key).expect("routable");
            assert!(event.routing_key.len() <= crate::source::MAX_KEY);
            Seen {
                at,
                key: peek.routing_key.to_string(),
                account: peek.account.map(|account| account.to_string()),
                exchange: event.exchange,
                body: serde_json::from_str(&event.body).expect("JSON"),
            }
        })
        .collect()
}

/// The channels, in the order of their ids, each with its events.
fn channels(events: &[Seen]) -> BTreeMap<&str, Vec<&Seen>> {
    let mut channels: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.exchange == "callevt") {
        channels
            .entry(event.text("Call-ID"))
            .or_default()
            .push(event);
    }
    channels
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let (events, _) = events(seed, 12, HOUR / 6);
        events
            .into_iter()
            .map(|(at, event)| (at, event.routing_key, event.body))
            .collect::<Vec<_>>()
    };
    let first = story(1);
    assert!(first.len() > 1_000, "{}", first.len());
    assert!(first == story(1));
    assert!(first != story(2));
}

#[test]
fn channels_live_as_channels_do() {
    let events = &*USUAL;
    let mut causes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    for (id, events) in channels(events) {
        let mut alive = false;
        let (mut answered, mut held, mut parked, mut ended) = (None, false, false, false);
        for event in &events {
            let name = event.text("Event-Name");
            *names.entry(name).or_default() += 1;
            assert!(!ended, "{id}: {name} after its end");
            assert_eq!(alive, name != "CHANNEL_CREATE", "{id}: {name}");
            match name {
                "CHANNEL_CREATE" => alive = true,
                "CHANNEL_ANSWER" => assert_eq!(answered.replace(event.at), None, "{id}"),
                "CHANNEL_BRIDGE" => {
                    assert!(answered.is_some(), "{id}");
                    let other = event.text("Other-Leg-Call-ID");
                    assert_eq!(other, event.text("Bridge-B-Unique-ID"));
                }
                "CHANNEL_HOLD" => {
                    assert!(!std::mem::replace(&mut held, true) && answered.is_some())
                }
                "CHANNEL_UNHOLD" => assert!(std::mem::replace(&mut held, false)),
                "PARK_PARKED" => assert!(!std::mem::replace(&mut parked, true)),
                "PARK_RETRIEVED" | "PARK_ABANDONED" => {
                    assert!(std::mem::replace(&mut parked, false));
                }
                "CHANNEL_DESTROY" => {
                    ended = true;
                    let cause = event.text("Hangup-Cause");
                    *causes.entry(cause).or_default() += 1;
                    let seconds = |field| event.text(field).parse::<u64>().expect("seconds");
                    let life = event.at - events[0].at;
                    assert_eq!(seconds("Duration-Seconds"), life / 1000);
                    let talk = answered.map_or(0, |since| event.at - since);
                    assert_eq!(seconds("Billing-Seconds"), talk / 1000);
                    assert!(life < 50 * 60_000, "{id} lasts {life} ms");
                }
                other => panic!("{other}"),
            }
        }
        assert!(ended, "{id} does not end");
    }
    for cause in [
        "NORMAL_CLEARING",
        "NO_ANSWER",
        "ORIGINATOR_CANCEL",
        "USER_BUSY",
        "CALL_REJECTED",
        "LOSE_RACE",
        "BLIND_TRANSFER",
        "UNALLOCATED_NUMBER",
    ] {
        assert!(causes.remove(cause).is_some(), "{cause} never happens");
    }
    assert!(causes.is_empty(), "{causes:?}");
    assert_eq!(names.len(), 9, "{names:?}");
}

#[test]
fn two_who_talk_name_each_other() {
    let events = &*USUAL;
    let channels = channels(events);
    let mut bridges = 0;
    for event in events
        .iter()
        .filter(|event| event.text("Event-Name") == "CHANNEL_BRIDGE")
    {
        bridges += 1;
        let (id, other) = (event.text("Call-ID"), event.text("Other-Leg-Call-ID"));
        for (one, two) in [(id, other), (other, id)] {
            let next = channels[one]
                .iter()
                .find(|later| later.at > event.at && later.text("Event-Name").starts_with('C'));
            // Whoever was transferred talks to another by then.
            let names = next.expect("an end").text("Other-Leg-Call-ID");
            let moved = channels[two]
                .iter()
                .any(|event| event.text("Hangup-Cause") == "BLIND_TRANSFER");
            assert!(names == two || moved, "{one} names {names}, not {two}");
        }
    }
    assert!(bridges > 400, "{bridges}");
}

#[test]
fn accounts_are_never_mixed() {
    let events = &*USUAL;
    let accounts: HashSet<String> = known().iter().map(|known| known.id.to_string()).collect();
    let mut of_call: HashMap<&str, &str> = HashMap::new();
    for event in events.iter().filter(|event| event.exchange != "presence") {
        let account = event.account.as_deref().expect("an account");
        assert!(accounts.contains(account), "{}", event.key);
        for id in ["Call-ID", "Other-Leg-Call-ID"] {
            let id = event.text(id);
            if !id.is_empty() {
                assert_eq!(*of_call.entry(id).or_insert(account), account, "{id}");
            }
        }
    }
    let realms: HashMap<String, String> = known()
        .into_iter()
        .map(|known| (known.id.to_string(), known.realm))
        .collect();
    for event in events.iter().filter(|event| event.exchange == "presence") {
        let account = of_call.get(event.text("Call-ID"));
        let realm = event.text("Presence-ID").split('@').nth(1);
        let known = account.and_then(|account| realms.get(*account));
        if event.text("Event-Name") != "mwi_update" {
            assert_eq!(known.map(String::as_str), realm);
        }
    }
}

#[test]
fn nobody_telephones_twice_at_once() {
    let mut talking: HashMap<String, String> = HashMap::new();
    for event in USUAL
        .iter()
        .filter(|event| event.text("Event-Name") == "update")
    {
        let (who, call) = (event.text("Presence-ID"), event.text("Call-ID"));
        match event.text("State") {
            "early" => assert_eq!(talking.insert(who.into(), call.into()), None, "{who}"),
            "confirmed" => assert_eq!(talking.get(who).map(String::as_str), Some(call)),
            _ => assert_eq!(talking.remove(who).as_deref(), Some(call), "{who}"),
        }
    }
    assert!(talking.is_empty(), "{talking:?}");
}

/// Calls, told by their interaction, that begin and are no visits to a mailbox.
fn begun(events: &[Seen]) -> usize {
    let first: HashSet<&str> = events
        .iter()
        .filter(|event| event.text("Event-Name") == "CHANNEL_CREATE")
        .filter(|event| {
            let to = event.text("Callee-ID-Number");
            to != "*97" && !to.starts_with("800")
        })
        .map(|event| event.text("Interaction-ID"))
        .collect();
    first.len()
}

#[test]
fn the_rate_is_what_is_set() {
    let quick = seen(600, 180_000);
    for (events, expected) in [(&*USUAL, 720), (&quick, 1_800)] {
        let begun = begun(events);
        let fair = expected * 8 / 10..expected * 12 / 10;
        assert!(fair.contains(&begun), "{begun} calls, not {expected}");
    }
}

#[test]
fn a_newcomer_sees_all_kinds_soon() {
    let (events, _) = events(1, 12, 120_000);
    let first = |exchange: &str, word: &str| {
        let event = events
            .iter()
            .find(|(_, event)| event.exchange == exchange && event.routing_key.contains(word));
        event.unwrap_or_else(|| panic!("no {word}")).0
    };
    assert!(first("callevt", "CHANNEL_CREATE") < 1_000);
    assert!(first("callevt", "CHANNEL_BRIDGE") < 15_000);
    assert!(first("conference", "add-member") < 20_000);
    assert!(first("conference", "start-talking") < 30_000);
    assert!(first("faxes", "fax.status") < 10_000);
    assert!(first("presence", "update.") < 5_000);
    assert!(first("registrar", "registration.success") < 5_000);
    assert!(first("configuration", "doc_edited") < 60_000);
}

#[test]
fn what_begins_also_ends() {
    let events = &*USUAL;
    let mut rooms: HashMap<&str, i32> = HashMap::new();
    let mut live = 0;
    let (mut empty_since, mut empty) = (0, 0);
    for event in events.iter().filter(|event| event.exchange == "conference") {
        let members = rooms.entry(event.text("Instance-ID")).or_default();
        match event.text("Event") {
            "conference-create" => {
                assert_eq!(*members, 0);
                if live == 0 {
                    empty += event.at - empty_since;
                }
                live += 1;
            }
            "conference-destroy" => {
                assert_eq!(*members, 0);
                live -= 1;
                empty_since = event.at;
            }
            "add-member" => *members += 1,
            "del-member" => *members -= 1,
            _ => assert!(*members > 0),
        }
    }
    assert_eq!(live, 0);
    assert!(empty < HOUR / 5, "no conference for {empty} ms");
    let mut faxes: HashMap<&str, &str> = HashMap::new();
    for event in events.iter().filter(|event| event.exchange == "faxes") {
        let state = faxes.insert(event.text("Job-ID"), event.text("Fax-State"));
        assert!(!matches!(state, Some("end" | "error")));
    }
    let states = |wanted: &str| faxes.values().filter(|state| **state == wanted).count();
    assert!(states("end") > 20 && states("error") > 1);
    assert!(states("end") + states("error") + 5 > faxes.len());
}

#[test]
fn mailboxes_fill_and_are_heard() {
    let events = &*USUAL;
    let lamps = events
        .iter()
        .filter(|event| event.text("Event-Name") == "mwi_update");
    let (on, off): (Vec<_>, Vec<_>) =
        lamps.partition(|event| event.text("Messages-Waiting") == "yes");
    assert!(on.len() > 10 && off.len() > 5, "{} {}", on.len(), off.len());
    for action in ["doc_created", "doc_edited", "doc_deleted"] {
        let word = format!("{action}.account%2F");
        assert!(
            events.iter().any(|event| event.key.starts_with(&word)
                && event.key.contains("-202611.mailbox_message."))
        );
    }
}
