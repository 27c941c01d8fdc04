//! The simulated Kazoo: a machine that knows no clock but the one it is told. The same seed gives the
//! same events, but for their time stamps.

use std::collections::BTreeMap;

use super::call::Call;
use super::conference::Conference;
use super::documents;
use super::fax::Fax;
use super::stage::{Stage, Task};
use super::world::Known;
use crate::source::Publication;

/// The rate that all else is measured for.
const USUAL_RATE: f64 = 12.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Simulation {
    stage: Stage,
    /// Milliseconds between calls, on average.
    between_calls: f64,
    /// How much faster than usual all else goes.
    pace: f64,
    calls: BTreeMap<u64, Call>,
    conferences: BTreeMap<u64, Conference>,
    faxes: BTreeMap<u64, Fax>,
    begun: u64,
}

impl Simulation {
    pub(super) fn new(seed: u64, known: &[Known], calls_per_minute: u32) -> Self {
        let mut stage = Stage::new(seed, known, calls_per_minute);
        let rate = f64::from(calls_per_minute);
        // Whoever looks shall see something at once.
        for at in 0..u64::from(calls_per_minute.div_ceil(2).clamp(4, 30)) {
            stage.after(150 + at * 350 % 2_600, Task::First);
        }
        stage.after(3_000, Task::Call);
        stage.after(1_000, Task::Register);
        stage.after(4_000, Task::Fax);
        stage.after(6_000, Task::Conference);
        stage.after(9_000, Task::Edit);
        Self {
            stage,
            between_calls: 60_000.0 / rate,
            pace: (rate / USUAL_RATE).clamp(0.3, 20.0),
            calls: BTreeMap::new(),
            conferences: BTreeMap::new(),
            faxes: BTreeMap::new(),
            begun: 0,
        }
    }

    /// When the next thing happens, in milliseconds since the beginning.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.stage.next_at()
    }

    /// Lets the next thing happen, at this moment in Unix milliseconds, and gives its events.
    pub(super) fn step(&mut self, wall: u64) -> Vec<Publication> {
        self.stage.wall = wall;
        if let Some(task) = self.stage.next() {
            self.run(task);
        }
        std::mem::take(&mut self.stage.out)
    }

    /// Everybody hangs up, so many milliseconds after the beginning.
    pub(super) fn hang_up(&mut self, now: u64, wall: u64) -> Vec<Publication> {
        self.stage.now = now.max(self.stage.now);
        self.stage.wall = wall;
        for mut call in std::mem::take(&mut self.calls).into_values() {
            call.end(&mut self.stage);
        }
        for mut conference in std::mem::take(&mut self.conferences).into_values() {
            conference.end(&mut self.stage);
        }
        std::mem::take(&mut self.stage.out)
    }

    fn run(&mut self, task: Task) {
        let stage = &mut self.stage;
        match task {
            Task::Call => {
                let wait = stage.rng.exponential(self.between_calls);
                stage.after(wait, Task::Call);
                self.call();
            }
            Task::First => self.call(),
            Task::Beat(number, beat) => {
                if let Some(mut call) = self.calls.remove(&number)
                    && call.beat(stage, beat)
                {
                    self.calls.insert(number, call);
                }
            }
            Task::Conference => {
                self.begun += 1;
                if let Some(conference) = Conference::begin(stage, self.begun) {
                    self.conferences.insert(self.begun, conference);
                }
                self.again(60_000..140_000, Task::Conference);
            }
            Task::Meeting(number, beat) => {
                if let Some(mut conference) = self.conferences.remove(&number)
                    && conference.beat(stage, beat)
                {
                    self.conferences.insert(number, conference);
                }
            }
            Task::Fax => {
                self.begun += 1;
                self.faxes.insert(self.begun, Fax::begin(stage, self.begun));
                self.again(25_000..75_000, Task::Fax);
            }
            Task::Page(number) => {
                if let Some(mut fax) = self.faxes.remove(&number)
                    && fax.page(stage)
                {
                    self.faxes.insert(number, fax);
                }
            }
            Task::Edit => {
                documents::edit(stage);
                self.again(10_000..50_000, Task::Edit);
            }
            Task::Register => {
                documents::register(stage);
                self.again(10_000..30_000, Task::Register);
            }
            Task::Listen(account, person) => self.listen(account, person),
        }
    }

    fn call(&mut self) {
        self.begun += 1;
        let call = Call::begin(&mut self.stage, self.begun);
        self.calls.insert(self.begun, call);
    }

    fn listen(&mut self, account: usize, person: usize) {
        let stage = &mut self.stage;
        if stage.accounts[account].people[person].fresh.is_empty() {
            return;
        }
        self.begun += 1;
        match Call::to_mailbox(stage, self.begun, account, person) {
            Some(call) => {
                self.calls.insert(self.begun, call);
            }
            // Still on the telephone.
            None => stage.after(20_000, Task::Listen(account, person)),
        }
    }

    fn again(&mut self, millis: std::ops::Range<u64>, task: Task) {
        let wait = self.stage.rng.between(millis.start, millis.end);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "minutes, in milliseconds"
        )]
        let wait = (wait as f64 / self.pace) as u64;
        self.stage.after(wait, task);
    }
}

#[cfg(test)]
#[path = "simulation_tests.rs"]
mod tests;
