//! A call: one who calls, one or more who are called, and what they do until both have hung up.

mod talk;

use super::documents;
use super::leg::{Cause, Leg, Owner, Party, Plan};
use super::people;
use super::stage::{Stage, Task};
use super::voicemail;

/// What a call does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Beat {
    /// The callee's telephones begin to ring.
    Ring,
    /// One of them is picked up.
    Answer,
    /// Nobody will.
    Fail(Cause),
    /// The mailbox answers.
    Greet,
    /// The caller has said what there was to say, or nothing.
    Left,
    Hold,
    Unhold,
    Transfer,
    Park,
    Retrieve,
    Abandon,
    /// Both hang up.
    End,
}

/// Whom a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Person(usize),
    /// Who telephones already.
    Busy(usize),
    Outside,
    Queue,
    Group,
    Mailbox,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Call {
    number: u64,
    account: usize,
    interaction: String,
    target: Target,
    legs: Vec<Leg>,
    /// Who calls; after a transfer, whoever was transferred.
    a: usize,
    /// Who answered.
    b: Option<usize>,
    /// Of the two who talk, `b` is the one who has the buttons.
    b_acts: bool,
    ends_at: u64,
    slot: Option<usize>,
    /// Holds, transfers and the like that may still happen.
    more: u32,
}

impl Call {
    /// Somebody calls somebody.
    pub(super) fn begin(stage: &mut Stage, number: u64) -> Self {
        let account = stage.any_account();
        #[derive(Clone, Copy)]
        enum Kind {
            In,
            Queue,
            Group,
            Out,
            Internal,
        }
        let kinds = [
            (35, Kind::In),
            (17, Kind::Queue),
            (9, Kind::Group),
            (26, Kind::Out),
            (13, Kind::Internal),
        ];
        let kind = stage.rng.weighted(&kinds);
        let caller = match kind {
            Kind::Out | Kind::Internal => stage.take(account),
            _ => None,
        };
        let target = match (kind, caller) {
            (Kind::Out, Some(_)) => Target::Outside,
            (Kind::Queue, _) => Target::Queue,
            (Kind::Group, _) => Target::Group,
            _ => Self::somebody(stage, account),
        };
        // Nobody calls oneself.
        let oneself = caller.map(Target::Busy);
        let target = if oneself == Some(target) {
            Target::Outside
        } else {
            target
        };
        let interaction = format!("{}-{}", stage.timestamp(), stage.rng.hex(8));
        Self::from(stage, number, account, interaction, caller, target)
    }

    /// Somebody listens to the messages in the mailbox.
    pub(super) fn to_mailbox(
        stage: &mut Stage,
        number: u64,
        account: usize,
        person: usize,
    ) -> Option<Self> {
        if !stage.accounts[account].take_this(person) {
            return None;
        }
        let interaction = format!("{}-{}", stage.timestamp(), stage.rng.hex(8));
        let target = Target::Mailbox;
        Some(Self::from(
            stage,
            number,
            account,
            interaction,
            Some(person),
            target,
        ))
    }

    /// One who is free, or one who telephones already.
    fn somebody(stage: &mut Stage, account: usize) -> Target {
        if stage.rng.chance(0.97)
            && let Some(person) = stage.take(account)
        {
            return Target::Person(person);
        }
        let people = stage.accounts[account].people.len();
        let person = stage.rng.index(people);
        if stage.accounts[account].take_this(person) {
            Target::Person(person)
        } else {
            Target::Busy(person)
        }
    }

    fn from(
        stage: &mut Stage,
        number: u64,
        account: usize,
        interaction: String,
        caller: Option<usize>,
        target: Target,
    ) -> Self {
        let from = match caller {
            Some(person) => party(stage, account, person),
            None => outsider(stage),
        };
        let home = &stage.accounts[account];
        let to = match target {
            Target::Person(person) | Target::Busy(person) => party(stage, account, person),
            Target::Queue => line(home.queue.name, &home.queue.extension),
            Target::Group => line(home.group.name, &home.group.extension),
            Target::Mailbox => line("Voicemail", "*97"),
            Target::Outside => outsider(stage),
        };
        let home = &stage.accounts[account];
        let vars = match target {
            Target::Queue => vec![("Queue-ID", home.queue.id.clone())],
            Target::Group => vec![("Ring-Group-ID", home.group.id.clone())],
            _ => Vec::new(),
        };
        let owner = caller.map_or(Owner::Carrier, Owner::Person);
        let plan = Plan {
            account,
            direction: "inbound",
            owner,
            caller: from,
            callee: to,
            interaction: &interaction,
            vars,
            other: None,
        };
        let leg = Leg::create(stage, plan);
        let wait = match target {
            // The music begins.
            Target::Queue => stage.rng.between(500, 1_500),
            _ => stage.rng.between(80, 400),
        };
        stage.after(wait, Task::Beat(number, Beat::Ring));
        let more = if stage.rng.chance(0.35) { 2 } else { 0 };
        Self {
            number,
            account,
            interaction,
            target,
            legs: vec![leg],
            a: 0,
            b: None,
            // An outgoing call's buttons are its caller's.
            b_acts: target != Target::Outside,
            ends_at: 0,
            slot: None,
            more,
        }
    }

    /// Goes on; false when the call is over.
    pub(super) fn beat(&mut self, stage: &mut Stage, beat: Beat) -> bool {
        match beat {
            Beat::Ring => self.ring(stage),
            Beat::Answer => self.answer(stage),
            Beat::Fail(cause) => return self.fail(stage, cause),
            Beat::Greet => {
                self.legs[self.a].answer(stage);
                let wait = stage.rng.between(8_000, 45_000);
                self.after(stage, wait, Beat::Left);
            }
            Beat::Left => return self.left(stage),
            Beat::Hold => self.hold(stage),
            Beat::Unhold => {
                self.actor().unhold(stage);
                self.plan(stage);
            }
            Beat::Transfer => self.transfer(stage),
            Beat::Park => self.park(stage),
            Beat::Retrieve => self.retrieve(stage),
            Beat::Abandon => return self.abandon(stage),
            Beat::End => return self.end(stage),
        }
        true
    }

    /// All hang up, now.
    pub(super) fn end(&mut self, stage: &mut Stage) -> bool {
        let both = self.is_bridged();
        for leg in &mut self.legs {
            leg.destroy(stage, "NORMAL_CLEARING");
        }
        self.leave_slot(stage);
        if both && stage.rng.chance(0.06) {
            documents::recorded(stage, self.account);
        }
        false
    }

    fn after(&self, stage: &mut Stage, millis: u64, beat: Beat) {
        stage.after(millis, Task::Beat(self.number, beat));
    }

    fn is_bridged(&self) -> bool {
        self.b.is_some_and(|b| !self.legs[b].ended)
    }

    fn ring(&mut self, stage: &mut Stage) {
        if self.target == Target::Mailbox {
            return self.after(stage, 300, Beat::Greet);
        }
        if self.target == Target::Queue && !self.legs[self.a].is_answered() {
            self.legs[self.a].answer(stage);
            let wait = stage.rng.lognormal(14_000.0, 0.9).min(240_000);
            let patience = stage.rng.exponential(150_000.0);
            return if patience < wait {
                self.after(stage, patience, Beat::Fail("NORMAL_CLEARING"))
            } else {
                self.after(stage, wait, Beat::Ring)
            };
        }
        let owners = self.callees(stage);
        if owners.is_empty() {
            // All are busy: one waits for longer.
            let wait = stage.rng.between(4_000, 12_000);
            let beat = match self.target {
                Target::Queue => Beat::Ring,
                _ => Beat::Fail("USER_BUSY"),
            };
            return self.after(stage, wait, beat);
        }
        for owner in owners {
            self.reach(stage, owner);
        }
        let (wait, beat) = self.outcome(stage);
        self.after(stage, wait, beat);
    }

    /// Whose telephones are to ring.
    fn callees(&self, stage: &mut Stage) -> Vec<Owner> {
        match self.target {
            Target::Person(person) => vec![Owner::Person(person)],
            Target::Busy(person) => vec![Owner::Busy(person)],
            Target::Outside => vec![Owner::Carrier],
            Target::Mailbox => Vec::new(),
            Target::Queue | Target::Group => {
                let number = if self.target == Target::Group { 3 } else { 1 };
                let taken = (0..number).filter_map(|_| stage.take(self.account));
                taken.map(Owner::Person).collect()
            }
        }
    }

    /// A channel to somebody, for the caller.
    fn reach(&mut self, stage: &mut Stage, owner: Owner) {
        let a = &self.legs[self.a];
        let callee = match owner {
            Owner::Person(person) | Owner::Busy(person) => party(stage, self.account, person),
            Owner::Carrier => a.callee.clone(),
        };
        let home = &stage.accounts[self.account];
        let caller = match self.target {
            // The world sees the company's number.
            Target::Outside => line(&home.name, home.number),
            _ => a.remote(),
        };
        let vars = match self.target {
            Target::Queue => vec![("Queue-ID", home.queue.id.clone())],
            Target::Group => vec![("Ring-Group-ID", home.group.id.clone())],
            _ => Vec::new(),
        };
        let plan = Plan {
            account: self.account,
            direction: "outbound",
            owner,
            caller,
            callee,
            interaction: &self.interaction,
            vars,
            other: Some(a.id.clone()),
        };
        let leg = Leg::create(stage, plan);
        self.legs.push(leg);
    }

    /// How the ringing ends, and when.
    fn outcome(&self, stage: &mut Stage) -> (u64, Beat) {
        let rng = &mut stage.rng;
        let outcomes: &[(u64, Beat)] = match self.target {
            Target::Busy(_) => &[(1, Beat::Fail("USER_BUSY"))],
            Target::Outside => &[
                (76, Beat::Answer),
                (9, Beat::Fail("NO_ANSWER")),
                (6, Beat::Fail("USER_BUSY")),
                (7, Beat::Fail("ORIGINATOR_CANCEL")),
                (2, Beat::Fail("UNALLOCATED_NUMBER")),
            ],
            Target::Queue => &[
                (92, Beat::Answer),
                (5, Beat::Fail("NO_ANSWER")),
                (3, Beat::Fail("CALL_REJECTED")),
            ],
            Target::Group => &[(90, Beat::Answer), (10, Beat::Fail("ORIGINATOR_CANCEL"))],
            Target::Person(_) | Target::Mailbox => &[
                (76, Beat::Answer),
                (12, Beat::Fail("NO_ANSWER")),
                (8, Beat::Fail("ORIGINATOR_CANCEL")),
                (4, Beat::Fail("CALL_REJECTED")),
            ],
        };
        let beat = rng.weighted(outcomes);
        let wait = match beat {
            Beat::Fail("USER_BUSY" | "UNALLOCATED_NUMBER") => rng.between(300, 1_500),
            Beat::Fail("NO_ANSWER") => rng.between(20_000, 25_000),
            Beat::Fail(_) => rng.between(3_000, 20_000),
            _ => rng.lognormal(6_000.0, 0.5).clamp(2_000, 22_000),
        };
        (wait, beat)
    }

    fn answer(&mut self, stage: &mut Stage) {
        let ringing: Vec<usize> = (0..self.legs.len())
            .filter(|at| *at != self.a && !self.legs[*at].ended)
            .collect();
        let first = *stage.rng.pick(&ringing);
        self.legs[first].answer(stage);
        for other in ringing.into_iter().filter(|at| *at != first) {
            self.legs[other].destroy(stage, "LOSE_RACE");
        }
        if !self.legs[self.a].is_answered() {
            self.legs[self.a].answer(stage);
        }
        self.join(stage, self.a, first);
        self.b = Some(first);
        self.talk(stage);
    }

    fn join(&mut self, stage: &mut Stage, one: usize, other: usize) {
        let low = one.min(other);
        let (left, right) = self.legs.split_at_mut(one.max(other));
        let (low, high) = (&mut left[low], &mut right[0]);
        if one < other {
            low.bridge(stage, high);
        } else {
            high.bridge(stage, low);
        }
    }

    /// Nobody answers: the queue tries another, the mailbox helps, or the call is over.
    fn fail(&mut self, stage: &mut Stage, cause: Cause) -> bool {
        let mut rang = false;
        for (at, leg) in self.legs.iter_mut().enumerate() {
            if at != self.a && !leg.ended {
                leg.destroy(stage, cause);
                rang = true;
            }
        }
        let missed = ["NO_ANSWER", "USER_BUSY", "CALL_REJECTED"].contains(&cause);
        let answered = self.legs[self.a].is_answered();
        if rang && missed && self.target == Target::Queue {
            self.after(stage, 2_000, Beat::Ring);
            return true;
        }
        let private = matches!(self.target, Target::Person(_) | Target::Busy(_));
        if missed && private && !answered && stage.rng.chance(0.7) {
            self.after(stage, 400, Beat::Greet);
            return true;
        }
        let cause = if answered { "NORMAL_CLEARING" } else { cause };
        self.legs[self.a].destroy(stage, cause);
        false
    }

    /// The mailbox has been heard, or spoken to.
    fn left(&mut self, stage: &mut Stage) -> bool {
        self.legs[self.a].destroy(stage, "NORMAL_CLEARING");
        match (self.target, self.legs[self.a].person()) {
            (Target::Mailbox, Some(person)) => voicemail::heard(stage, self.account, person),
            (Target::Person(person) | Target::Busy(person), _) if stage.rng.chance(0.75) => {
                voicemail::left(stage, self.account, person);
            }
            _ => {}
        }
        false
    }
}

impl Leg {
    /// Who is at the telephone of this channel.
    fn remote(&self) -> Party {
        if self.direction == "inbound" {
            self.caller.clone()
        } else {
            self.callee.clone()
        }
    }
}

fn line(name: &str, number: &str) -> Party {
    Party {
        name: name.to_owned(),
        number: number.to_owned(),
    }
}

/// Somebody of the company.
pub(super) fn party(stage: &Stage, account: usize, person: usize) -> Party {
    let person = &stage.accounts[account].people[person];
    line(&person.name, &person.extension)
}

/// Somebody of the world.
pub(super) fn outsider(stage: &mut Stage) -> Party {
    let (name, number) = people::outsider(&mut stage.rng);
    Party { name, number }
}
