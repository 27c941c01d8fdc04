//! A conference: members come one after the other, talk, mute themselves and go. Each has a channel.

use serde_json::json;

use super::call::{outsider, party};
use super::leg::{Leg, Owner, Party, Plan};
use super::stage::{ECALLMGR, From, Stage, Task};
use crate::model::topic::encode;

/// What happens next in a conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beat {
    /// Somebody comes.
    Join,
    /// Another talks.
    Floor,
    /// Somebody presses a button.
    Button,
    /// Somebody goes.
    Leave,
}

#[derive(Debug)]
struct Member {
    leg: Leg,
    participant: u64,
    joined: u64,
    talking: bool,
    muted: bool,
    deaf: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Conference {
    number: u64,
    account: usize,
    room: usize,
    instance: String,
    /// Who is still to come.
    coming: u64,
    members: Vec<Member>,
    participants: u64,
    locked: bool,
    ends_at: u64,
}

impl Conference {
    /// A conference in a free room, if there is one, where most people have time for it.
    pub(super) fn begin(stage: &mut Stage, number: u64) -> Option<Self> {
        let homes = stage.accounts.iter().enumerate();
        let (_, account, room) = homes
            .filter_map(|(at, home)| {
                let room = home.rooms.iter().position(|room| !room.live)?;
                Some((home.at_leisure(), at, room))
            })
            .max()?;
        stage.accounts[account].rooms[room].live = true;
        let length = stage.rng.between(110_000, 320_000);
        stage.after(0, Task::Meeting(number, Beat::Join));
        stage.after(3_000, Task::Meeting(number, Beat::Floor));
        let wait = stage.rng.between(15_000, 30_000);
        stage.after(wait, Task::Meeting(number, Beat::Button));
        stage.after(length, Task::Meeting(number, Beat::Leave));
        Some(Self {
            number,
            account,
            room,
            instance: stage.rng.uuid(),
            coming: stage.rng.between(2, 6),
            members: Vec::new(),
            participants: 0,
            locked: false,
            ends_at: stage.now + length,
        })
    }

    /// Goes on; false when it is over.
    pub(super) fn beat(&mut self, stage: &mut Stage, beat: Beat) -> bool {
        match beat {
            Beat::Join => self.join(stage),
            Beat::Floor => self.floor(stage),
            Beat::Button => self.button(stage),
            Beat::Leave => return self.leave(stage),
        }
        true
    }

    /// All go, now.
    pub(super) fn end(&mut self, stage: &mut Stage) {
        while self.leave(stage) {}
    }

    fn after(&self, stage: &mut Stage, millis: u64, beat: Beat) {
        if stage.now + millis < self.ends_at || beat == Beat::Leave {
            stage.after(millis, Task::Meeting(self.number, beat));
        }
    }

    fn join(&mut self, stage: &mut Stage) {
        self.coming -= 1;
        let guest = !self.members.is_empty() && stage.rng.chance(0.3);
        let person = if guest {
            None
        } else {
            stage.take(self.account)
        };
        let (owner, caller) = match person {
            Some(person) => (Owner::Person(person), party(stage, self.account, person)),
            None => (Owner::Carrier, outsider(stage)),
        };
        let room = &stage.accounts[self.account].rooms[self.room].line;
        let callee = Party {
            name: room.name.to_owned(),
            number: room.extension.clone(),
        };
        let interaction = format!("{}-{}", stage.timestamp(), &self.instance[..8]);
        let mut leg = Leg::create(
            stage,
            Plan {
                account: self.account,
                direction: "inbound",
                owner,
                caller,
                callee,
                interaction: &interaction,
                vars: Vec::new(),
                other: None,
            },
        );
        leg.answer(stage);
        if self.members.is_empty() {
            self.tell(stage, "conference-create", None);
        }
        self.participants += 1;
        self.members.push(Member {
            leg,
            participant: self.participants,
            joined: stage.timestamp(),
            talking: false,
            muted: false,
            deaf: false,
        });
        self.tell(stage, "add-member", Some(self.members.len() - 1));
        if self.coming > 0 {
            let wait = stage.rng.between(2_000, 12_000);
            self.after(stage, wait, Beat::Join);
        }
    }

    /// Whoever talked stops, another begins.
    fn floor(&mut self, stage: &mut Stage) {
        for at in 0..self.members.len() {
            if self.members[at].talking && stage.rng.chance(0.9) {
                self.hush(stage, at);
            }
        }
        if !self.members.is_empty() {
            let at = stage.rng.index(self.members.len());
            let member = &mut self.members[at];
            if !member.muted && !std::mem::replace(&mut member.talking, true) {
                self.tell(stage, "start-talking", Some(at));
            }
        }
        let wait = stage.rng.lognormal(3_500.0, 0.6).clamp(900, 15_000);
        self.after(stage, wait, Beat::Floor);
    }

    fn hush(&mut self, stage: &mut Stage, at: usize) {
        if std::mem::replace(&mut self.members[at].talking, false) {
            self.tell(stage, "stop-talking", Some(at));
        }
    }

    fn button(&mut self, stage: &mut Stage) {
        let at = stage.rng.index(self.members.len());
        let all_there = self.coming == 0;
        if all_there && !self.locked && stage.rng.chance(0.15) {
            self.locked = true;
            self.tell(stage, "lock", None);
        } else if self.locked && stage.rng.chance(0.2) {
            self.locked = false;
            self.tell(stage, "unlock", None);
        } else if self.members[at].deaf || stage.rng.chance(0.06) {
            let deaf = !self.members[at].deaf;
            self.members[at].deaf = deaf;
            let event = if deaf { "deaf-member" } else { "undeaf-member" };
            self.tell(stage, event, Some(at));
        } else {
            let muted = !self.members[at].muted;
            if muted {
                self.hush(stage, at);
            }
            self.members[at].muted = muted;
            let event = if muted {
                "mute-member"
            } else {
                "unmute-member"
            };
            self.tell(stage, event, Some(at));
        }
        let wait = stage.rng.between(7_000, 25_000);
        self.after(stage, wait, Beat::Button);
    }

    /// The last one ends it.
    fn leave(&mut self, stage: &mut Stage) -> bool {
        if let Some(at) = self.members.len().checked_sub(1) {
            if self.locked {
                self.locked = false;
                self.tell(stage, "unlock", None);
            }
            let at = stage.rng.index(at + 1);
            self.hush(stage, at);
            self.tell(stage, "del-member", Some(at));
            let mut member = self.members.remove(at);
            member.leg.destroy(stage, "NORMAL_CLEARING");
        }
        if self.members.is_empty() {
            self.tell(stage, "conference-destroy", None);
            stage.accounts[self.account].rooms[self.room].live = false;
            return false;
        }
        let wait = stage.rng.between(400, 5_000);
        self.after(stage, wait, Beat::Leave);
        true
    }

    fn tell(&self, stage: &mut Stage, event: &'static str, member: Option<usize>) {
        let home = &stage.accounts[self.account];
        let account = home.id.clone();
        let conference = home.rooms[self.room].line.id.clone();
        let mut body = json!({
            "Account-ID": account,
            "Conference-ID": conference,
            "Event": event,
            "Instance-ID": self.instance,
        });
        let mut last = conference.clone();
        if let Some(member) = member.map(|at| &self.members[at]) {
            let leg = &member.leg;
            last.clone_from(&leg.id);
            body["Call-ID"] = leg.id.as_str().into();
            body["Caller-ID-Name"] = leg.caller.name.as_str().into();
            body["Caller-ID-Number"] = leg.caller.number.as_str().into();
            body["Participant-ID"] = member.participant.into();
            if !leg.extension.is_empty() {
                let presence = format!("{}@{}", leg.extension, home.realm);
                body["Channel-Presence-ID"] = presence.into();
            }
            let energy = if member.talking {
                stage.rng.between(400, 1_800)
            } else {
                0
            };
            body["Custom-Channel-Vars"] = json!({"Account-ID": account});
            body["Conference-Channel-Vars"] = json!({
                "Current-Energy": energy,
                "Energy-Level": 300,
                "Floor": member.talking,
                "Hear": !member.deaf,
                "Hold": false,
                "Is-Moderator": member.participant == 1,
                "Join-Time": member.joined,
                "Mute-Detect": false,
                "Speak": !member.muted,
                "Talking": member.talking,
                "Video": false,
            });
        }
        let key = format!(
            "conference.event.{event}.{account}.{conference}.{}",
            encode(&last)
        );
        let from = From("conference", "event", "ecallmgr", ECALLMGR);
        stage.publish("conference", key, from, &body);
    }
}
