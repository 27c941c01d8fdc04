//! What is published in a measurement, and who is to get it.

use std::ops::Range;
use std::sync::Arc;

use crate::accounts::Account;
use crate::events::{CREATE, KINDS};

/// One event; its number is its place in the script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    /// Place among the accounts.
    pub(crate) account: u32,
    pub(crate) call: u32,
    /// Place among the kinds.
    pub(crate) kind: u8,
}

/// What one socket has subscribed to.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) account: u32,
    /// Only of these calls.
    pub(crate) calls: Range<u32>,
    /// A bit for each kind.
    pub(crate) kinds: u32,
}

impl Seat {
    /// Every event of these kinds.
    pub(crate) fn new(account: u32, kinds: u32) -> Self {
        Self {
            account,
            calls: 0..u32::MAX,
            kinds,
        }
    }

    /// The client bindings of the kinds.
    pub(crate) fn bindings(&self) -> Vec<String> {
        let wanted = KINDS.iter().enumerate();
        let wanted = wanted.filter(|(at, _)| self.kinds & 1 << at != 0);
        wanted.map(|(_, kind)| kind.binding.to_owned()).collect()
    }
}

/// Events and sockets, the latter in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) accounts: Arc<[Account]>,
    pub(crate) events: Vec<Event>,
    pub(crate) seats: Vec<Seat>,
}

impl Script {
    /// So many events of one account, all to so many sockets.
    pub(crate) fn broadcast(account: Account, sockets: usize, events: usize) -> Self {
        Self::in_turn(
            Arc::new([account]),
            vec![Seat::new(0, 1 << CREATE); sockets],
            events,
        )
    }

    /// So many events, for one account after the other.
    pub(crate) fn in_turn(accounts: Arc<[Account]>, seats: Vec<Seat>, events: usize) -> Self {
        let event = |number: usize| Event {
            account: u32::try_from(number % accounts.len()).unwrap_or_default(),
            call: u32::try_from(number).unwrap_or(u32::MAX),
            kind: CREATE,
        };
        let events = (0..events).map(event).collect();
        Self {
            accounts,
            events,
            seats,
        }
    }

    /// Whether this socket is to get this event.
    pub(crate) fn expects(&self, seat: usize, event: usize) -> bool {
        let (seat, event) = (&self.seats[seat], &self.events[event]);
        seat.account == event.account
            && seat.kinds & 1 << event.kind != 0
            && seat.calls.contains(&event.call)
    }

    /// How many sockets are to get each event.
    pub(crate) fn audiences(&self) -> Vec<u32> {
        self.count(self.events.len(), |_, event| event)
    }

    /// How many events each socket is to get.
    pub(crate) fn shares(&self) -> Vec<u32> {
        self.count(self.seats.len(), |seat, _| seat)
    }

    fn count(&self, length: usize, by: impl Fn(usize, usize) -> usize) -> Vec<u32> {
        let mut counts = vec![0; length];
        for seat in 0..self.seats.len() {
            for event in 0..self.events.len() {
                if self.expects(seat, event) {
                    counts[by(seat, event)] += 1;
                }
            }
        }
        counts
    }
}
