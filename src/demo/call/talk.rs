//! What two who talk do: hold, transfer, park, and hang up in the end.

use super::super::leg::{Leg, Owner, Plan};
use super::super::stage::Stage;
use super::{Beat, Call, Target, line, party};

/// Median of how long people talk; the mean is a quarter more.
const TALK: f64 = 98_000.0;
const TALK_SPREAD: f64 = 0.7;
/// Nobody talks longer.
const TALK_MOST: u64 = 40 * 60_000;

impl Call {
    /// The channel of whoever can hold, transfer and park.
    pub(super) fn actor(&mut self) -> &mut Leg {
        let at = self.b.filter(|_| self.b_acts).unwrap_or(self.a);
        &mut self.legs[at]
    }

    /// Two talk from now on.
    pub(super) fn talk(&mut self, stage: &mut Stage) {
        // Some are wrong numbers.
        let talk = if stage.rng.chance(0.12) {
            stage.rng.between(4_000, 20_000)
        } else {
            stage.rng.lognormal(TALK, TALK_SPREAD)
        };
        self.ends_at = stage.now + talk.min(TALK_MOST);
        self.plan(stage);
    }

    /// What the two do next.
    pub(super) fn plan(&mut self, stage: &mut Stage) {
        let left = self.ends_at.saturating_sub(stage.now);
        if self.more == 0 || left < 10_000 || self.actor().person().is_none() {
            return self.after(stage, left, Beat::End);
        }
        self.more -= 1;
        let beats = [(55, Beat::Hold), (25, Beat::Transfer), (20, Beat::Park)];
        let beat = stage.rng.weighted(&beats);
        let wait = stage.rng.between(left / 8, left * 5 / 8);
        self.after(stage, wait, beat);
    }

    pub(super) fn hold(&mut self, stage: &mut Stage) {
        self.actor().hold(stage);
        let held = stage.rng.lognormal(18_000.0, 0.5).clamp(4_000, 90_000);
        self.ends_at += held;
        // Not everybody likes the music.
        let tired = stage.rng.chance(0.08);
        let beat = if tired { Beat::End } else { Beat::Unhold };
        self.after(stage, held, beat);
    }

    /// Whoever has the buttons gives the other to somebody else, and is out.
    pub(super) fn transfer(&mut self, stage: &mut Stage) {
        let Some(person) = stage.take(self.account) else {
            return self.plan(stage);
        };
        let to = stage.accounts[self.account].people[person]
            .extension
            .clone();
        self.give_up(stage, &to);
        self.target = Target::Person(person);
        self.reach(stage, Owner::Person(person));
        let answered = stage.rng.chance(0.88);
        let wait = stage.rng.between(2_000, 14_000);
        let beat = if answered {
            Beat::Answer
        } else {
            Beat::Fail("NO_ANSWER")
        };
        self.after(stage, wait, beat);
    }

    /// The one with the buttons leaves; the other is the call.
    fn give_up(&mut self, stage: &mut Stage, to: &str) {
        let b = self.b.take().unwrap_or(self.a);
        let stays = if self.b_acts { self.a } else { b };
        self.actor_of(b).transfer(stage, to);
        self.a = stays;
        self.b_acts = true;
        self.legs[stays].other = None;
    }

    fn actor_of(&mut self, b: usize) -> &mut Leg {
        let at = if self.b_acts { b } else { self.a };
        &mut self.legs[at]
    }

    pub(super) fn park(&mut self, stage: &mut Stage) {
        let Some(slot) = stage.accounts[self.account].park() else {
            return self.plan(stage);
        };
        self.slot = Some(slot);
        let name = slot_name(slot);
        self.give_up(stage, &format!("*3{name}"));
        self.legs[self.a].parking(stage, "PARK_PARKED", &name);
        let wait = stage.rng.lognormal(25_000.0, 0.6).clamp(6_000, 120_000);
        let beat = if stage.rng.chance(0.8) {
            Beat::Retrieve
        } else {
            Beat::Abandon
        };
        self.after(stage, wait, beat);
    }

    /// Somebody calls the parking place and talks to whoever waits there.
    pub(super) fn retrieve(&mut self, stage: &mut Stage) {
        let Some(person) = stage.take(self.account) else {
            return self.after(stage, 5_000, Beat::Abandon);
        };
        let name = self.slot.map(slot_name).unwrap_or_default();
        let plan = Plan {
            account: self.account,
            direction: "inbound",
            owner: Owner::Person(person),
            caller: party(stage, self.account, person),
            callee: line(&format!("Park {name}"), &format!("*3{name}")),
            interaction: &self.interaction,
            vars: Vec::new(),
            other: Some(self.legs[self.a].id.clone()),
        };
        let mut leg = Leg::create(stage, plan);
        leg.answer(stage);
        self.legs.push(leg);
        self.legs[self.a].parking(stage, "PARK_RETRIEVED", &name);
        self.leave_slot(stage);
        let picked = self.legs.len() - 1;
        self.join(stage, picked, self.a);
        self.b = Some(picked);
        self.talk(stage);
    }

    pub(super) fn abandon(&mut self, stage: &mut Stage) -> bool {
        let name = self.slot.map(slot_name).unwrap_or_default();
        self.legs[self.a].parking(stage, "PARK_ABANDONED", &name);
        self.end(stage)
    }

    pub(super) fn leave_slot(&mut self, stage: &mut Stage) {
        if let Some(slot) = self.slot.take() {
            stage.accounts[self.account].slots[slot] = false;
        }
    }
}

fn slot_name(slot: usize) -> String {
    (101 + slot).to_string()
}
