//! The accounts of the simulation as they are now: who is free, which rooms and parking places are
//! taken, what waits in the mailboxes.

use std::collections::HashMap;

use super::people::{self, COMPANIES, Company};
use super::rng::Rng;
use crate::model::AccountId;

/// Parking places of an account.
const SLOTS: usize = 20;
/// Minutes that somebody is busy for each call, generously.
const BUSY_MINUTES: u64 = 4;

/// An account as the store has it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: AccountId,
    pub(super) name: String,
    pub(super) realm: String,
    /// Ids of its users by their names.
    pub(super) users: HashMap<String, String>,
}

/// An account with its life.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) realm: String,
    pub(super) database: String,
    pub(super) number: &'static str,
    pub(super) weight: u64,
    pub(super) carrier: String,
    pub(super) faxbox: String,
    pub(super) queue: Line,
    pub(super) group: Line,
    pub(super) rooms: Vec<Room>,
    pub(super) slots: [bool; SLOTS],
    pub(super) people: Vec<Person>,
    /// Indices of the people who do not telephone.
    free: Vec<usize>,
    /// People that there may be; more are made up as calls need them.
    most: usize,
    /// Documents that can be deleted again: type and id.
    pub(super) documents: Vec<(&'static str, String)>,
}

/// A number that is no single person's.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) name: &'static str,
    pub(super) extension: String,
}

/// A conference room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) line: Line,
    pub(super) live: bool,
}

/// Somebody with a telephone.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) extension: String,
    /// The user.
    pub(super) id: String,
    pub(super) device: String,
    pub(super) vmbox: String,
    /// The device's name to the registrar.
    pub(super) sip_user: String,
    pub(super) address: String,
    pub(super) agent: &'static str,
    /// Messages in the mailbox, not yet heard: their ids.
    pub(super) fresh: Vec<String>,
    /// Messages heard and kept.
    pub(super) saved: u32,
}

const AGENTS: [&str; 4] = [
    "Yealink SIP-T46U 108.86.0.70",
    "PolycomVVX-VVX_450-UA/6.4.6.2494",
    "Grandstream GXP2170 1.0.11.79",
    "Softphone/5.2 (desktop)",
];

impl Person {
    fn new(seed: u64, realm: &str, name: String, extension: String) -> Self {
        let mut rng = Rng::named(seed, &format!("{extension}@{realm}"));
        Self {
            name,
            extension,
            id: rng.hex(32),
            device: rng.hex(32),
            vmbox: rng.hex(32),
            sip_user: format!("user_{}", rng.hex(6)),
            address: format!("203.0.113.{}", rng.between(2, 250)),
            agent: AGENTS[rng.index(AGENTS.len())],
            fresh: Vec::new(),
            saved: u32::try_from(rng.between(0, 6)).unwrap_or_default(),
        }
    }
}

impl Account {
    fn new(seed: u64, company: &Company, known: &Known, calls_per_minute: u32) -> Self {
        let mut rng = Rng::named(seed, &known.realm);
        let mut line = |name, extension: &str| Line {
            id: rng.hex(32),
            name,
            extension: extension.to_owned(),
        };
        let queue = line(company.queue, "7001");
        let group = line(company.group, "6001");
        let rooms = [(company.rooms[0], "8001"), (company.rooms[1], "8002")];
        let rooms = rooms.map(|(name, extension)| Room {
            line: line(name, extension),
            live: false,
        });
        let person = |(name, extension): (&&str, u32)| {
            let mut person = Person::new(
                seed,
                company.realm,
                (*name).to_owned(),
                extension.to_string(),
            );
            if let Some(id) = known.users.get(&people::username(name)) {
                person.id.clone_from(id);
            }
            person
        };
        let people: Vec<_> = company
            .people
            .iter()
            .zip(company.extensions..)
            .map(person)
            .collect();
        let calls = u64::from(calls_per_minute) * company.weight / 100;
        // So few that the company's own people can be busy; at high rates as many as it takes.
        let needed = usize::try_from(calls * BUSY_MINUTES).unwrap_or_default();
        let own = people.len();
        Self {
            id: known.id.to_string(),
            name: known.name.clone(),
            realm: known.realm.clone(),
            database: known.id.database(),
            number: company.number,
            weight: company.weight,
            carrier: rng.hex(32),
            faxbox: rng.hex(32),
            queue,
            group,
            rooms: rooms.into(),
            slots: [false; SLOTS],
            free: (0..own).collect(),
            most: if needed > 3 * own { needed } else { own },
            people,
            documents: Vec::new(),
        }
    }

    /// Somebody who is free, and is not any more.
    pub(super) fn take(&mut self, seed: u64, rng: &mut Rng) -> Option<usize> {
        if self.free.is_empty() {
            if self.people.len() >= self.most {
                return None;
            }
            let extension = (2000 + self.people.len()).to_string();
            let name = people::name(rng);
            self.free.push(self.people.len());
            let person = Person::new(seed, &self.realm, name, extension);
            self.people.push(person);
        }
        let at = rng.index(self.free.len());
        Some(self.free.swap_remove(at))
    }

    /// How many people do not telephone.
    pub(super) fn at_leisure(&self) -> usize {
        self.free.len()
    }

    /// This person, if free.
    pub(super) fn take_this(&mut self, person: usize) -> bool {
        let at = self.free.iter().position(|free| *free == person);
        at.map(|at| self.free.swap_remove(at)).is_some()
    }

    /// Whoever was taken has hung up.
    pub(super) fn release(&mut self, person: usize) {
        self.free.push(person);
    }

    pub(super) fn presence(&self, extension: &str) -> String {
        format!("{extension}@{}", self.realm)
    }

    /// A parking place, taken from now on.
    pub(super) fn park(&mut self) -> Option<usize> {
        let slot = self.slots.iter().position(|taken| !taken)?;
        self.slots[slot] = true;
        Some(slot)
    }
}

/// The id that an account gets when it is made.
pub(super) fn account_id(seed: u64, company: &Company) -> String {
    Rng::named(seed, company.name).hex(32)
}

/// The id that a user gets when it is made.
pub(super) fn user_id(seed: u64, company: &Company, place: usize) -> String {
    let extension = company.extensions + u32::try_from(place).unwrap_or_default();
    let name = company.people[place].to_owned();
    Person::new(seed, company.realm, name, extension.to_string()).id
}

/// All accounts, in the order of [`COMPANIES`].
pub(super) fn accounts(seed: u64, known: &[Known], calls_per_minute: u32) -> Vec<Account> {
    let with = COMPANIES.iter().zip(known);
    with.map(|(company, known)| Account::new(seed, company, known, calls_per_minute))
        .collect()
}
