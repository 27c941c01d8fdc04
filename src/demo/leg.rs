//! One channel, from its creation to its end: the events of it alone. What stays the same over its life
//! is written once.

use serde_json::{Value, json};

use super::presence;
use super::stage::{APPS, ECALLMGR, SWITCH, Stage, members};
use crate::model::clock::gregorian;
use crate::model::topic::encode;

/// A name and a number in a display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Party {
    pub(super) name: String,
    pub(super) number: String,
}

/// Whose channel it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This person's, who is taken for as long as it lasts.
    Person(usize),
    /// This person's, who telephones already: it will not ring.
    Busy(usize),
    /// The world's, by way of the carrier.
    Carrier,
}

/// How and why a channel ended.
pub(super) type Cause = &'static str;

/// What the switch answers with, for each cause.
fn code(cause: Cause) -> &'static str {
    match cause {
        "USER_BUSY" => "sip:486",
        "CALL_REJECTED" => "sip:603",
        "NO_ANSWER" => "sip:480",
        "UNALLOCATED_NUMBER" => "sip:404",
        "ORIGINATOR_CANCEL" | "LOSE_RACE" => "sip:487",
        _ => "sip:200",
    }
}

/// What a channel is made of.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) account: usize,
    /// As the switch sees it: `inbound` from the caller, `outbound` to the callee.
    pub(super) direction: &'static str,
    pub(super) owner: Owner,
    pub(super) caller: Party,
    pub(super) callee: Party,
    /// Shared by all channels of a call.
    pub(super) interaction: &'a str,
    /// Further channel variables.
    pub(super) vars: Vec<(&'static str, String)>,
    /// The channel that it is made for.
    pub(super) other: Option<String>,
}

/// A channel.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) id: String,
    pub(super) account: usize,
    pub(super) owner: Owner,
    pub(super) direction: &'static str,
    pub(super) caller: Party,
    pub(super) callee: Party,
    /// The owner's, where it is a person.
    pub(super) extension: String,
    pub(super) tag: String,
    pub(super) other: Option<String>,
    created: u64,
    answered: Option<u64>,
    pub(super) ended: bool,
    /// The channel variables, for events that are not the switch's.
    vars: Value,
    /// Members of every event of the switch.
    fixed: String,
}

impl Leg {
    /// CHANNEL_CREATE. Whoever owns it must have been taken.
    pub(super) fn create(stage: &mut Stage, plan: Plan<'_>) -> Self {
        let account = &stage.accounts[plan.account];
        let realm = account.realm.clone();
        let mut vars = json!({
            "Account-ID": account.id,
            "Account-Name": account.name,
            "Account-Realm": realm,
            "Call-Interaction-ID": plan.interaction,
            "Channel-Authorized": "true",
            "Ecallmgr-Node": ECALLMGR,
        });
        let rng = &mut stage.rng;
        let tag = rng.hex(9);
        let carrier = account.carrier.clone();
        // Telephones and carriers name the calls that they make; the switch names those that it makes.
        let (extension, address, agent, host);
        match plan.owner {
            Owner::Person(person) | Owner::Busy(person) => {
                let person = &account.people[person];
                extension = person.extension.clone();
                address = person.address.clone();
                agent = person.agent;
                host = realm.clone();
                vars["Authorizing-ID"] = person.device.as_str().into();
                vars["Authorizing-Type"] = "device".into();
                vars["Owner-ID"] = person.id.as_str().into();
                vars["Username"] = person.sip_user.as_str().into();
                vars["Realm"] = realm.as_str().into();
                vars["Global-Resource"] = "false".into();
            }
            Owner::Carrier => {
                extension = String::new();
                address = "198.51.100.24".to_owned();
                agent = "Carrier SBC 9.1";
                host = "carrier.example".to_owned();
                vars["Authorizing-ID"] = carrier.as_str().into();
                vars["Authorizing-Type"] = "resource".into();
                vars["Resource-ID"] = carrier.into();
                vars["Global-Resource"] = "true".into();
            }
        }
        let inbound = plan.direction == "inbound";
        let id = if inbound {
            format!("{}-{}@{address}", rng.hex(12), rng.hex(6))
        } else {
            rng.uuid()
        };
        if inbound && plan.owner == Owner::Carrier {
            vars["Inception"] = format!("{}@{host}", account.number).into();
        }
        if let Some(other) = &plan.other {
            vars["Bridge-ID"] = other.as_str().into();
        }
        for (name, value) in &plan.vars {
            vars[name] = value.as_str().into();
        }
        let (from, to) = (&plan.caller.number, &plan.callee.number);
        let presence = if extension.is_empty() {
            format!("{}@{host}", if inbound { from } else { to })
        } else {
            format!("{extension}@{realm}")
        };
        let fixed = json!({
            "App-Name": "ecallmgr",
            "App-Version": "4.0.0",
            "Call-Direction": plan.direction,
            "Call-ID": id,
            "Callee-ID-Name": plan.callee.name,
            "Callee-ID-Number": plan.callee.number,
            "Caller-ID-Name": plan.caller.name,
            "Caller-ID-Number": plan.caller.number,
            "Channel-Created-Time": gregorian(0) * 1_000_000 + stage.wall * 1_000,
            "Channel-Is-Loopback": false,
            "Channel-Moving": false,
            "Channel-Name": format!("sofia/sipinterface_1/{presence}"),
            "Custom-Channel-Vars": vars,
            "Custom-SIP-Headers": {"X-AUTH-IP": address},
            "Event-Category": "call_event",
            "From": format!("{from}@{realm}"),
            "From-Tag": tag,
            "From-Uri": format!("{from}@{realm}"),
            "Interaction-ID": plan.interaction,
            "Media-Server": SWITCH,
            "Node": ECALLMGR,
            "Presence-ID": presence,
            "Request": format!("{to}@{realm}"),
            "Switch-Hostname": SWITCH,
            "Switch-Nodename": format!("freeswitch@{SWITCH}"),
            "Switch-URI": "sip:192.0.2.20:11000",
            "Switch-URL": "sip:mod_sofia@192.0.2.20:11000",
            "To": format!("{to}@{realm}"),
            "To-Uri": format!("{to}@{realm}"),
            "User-Agent": agent,
        });
        let leg = Self {
            id,
            account: plan.account,
            owner: plan.owner,
            direction: plan.direction,
            caller: plan.caller,
            callee: plan.callee,
            extension,
            tag,
            other: plan.other,
            created: stage.now,
            answered: None,
            ended: false,
            vars,
            fixed: members(&fixed),
        };
        leg.tell(
            stage,
            "CHANNEL_CREATE",
            ["ROUTING", "RINGING", "DELAYED NEGOTIATION"],
            json!({}),
        );
        leg.light(stage, "early");
        leg
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// The owner, where it is a person.
    pub(super) fn person(&self) -> Option<usize> {
        match self.owner {
            Owner::Person(person) | Owner::Busy(person) => Some(person),
            Owner::Carrier => None,
        }
    }

    /// CHANNEL_ANSWER.
    pub(super) fn answer(&mut self, stage: &mut Stage) {
        self.answered = Some(stage.now);
        let state = ["EXECUTE", "ACTIVE", "ANSWER"];
        let more = json!({"Channel-Answer-State": "answered"});
        self.tell(stage, "CHANNEL_ANSWER", state, more);
        self.light(stage, "confirmed");
    }

    /// CHANNEL_BRIDGE, of the channel that was there first with the other.
    pub(super) fn bridge(&mut self, stage: &mut Stage, other: &mut Self) {
        self.other = Some(other.id.clone());
        other.other = Some(self.id.clone());
        let more = json!({
            "Bridge-B-Unique-ID": other.id,
            "Other-Leg-Caller-ID-Name": other.caller.name,
            "Other-Leg-Caller-ID-Number": other.caller.number,
            "Other-Leg-Destination-Number": other.callee.number,
            "Other-Leg-Direction": other.direction,
        });
        let state = ["EXECUTE", "ACTIVE", "ANSWER"];
        self.tell(stage, "CHANNEL_BRIDGE", state, more);
    }

    /// CHANNEL_HOLD, of whoever pressed the button.
    pub(super) fn hold(&mut self, stage: &mut Stage) {
        let state = ["EXCHANGE_MEDIA", "HELD", "ANSWER"];
        self.tell(stage, "CHANNEL_HOLD", state, json!({}));
    }

    /// CHANNEL_UNHOLD.
    pub(super) fn unhold(&mut self, stage: &mut Stage) {
        let state = ["EXCHANGE_MEDIA", "ACTIVE", "ANSWER"];
        self.tell(stage, "CHANNEL_UNHOLD", state, json!({}));
    }

    /// CHANNEL_DESTROY. The owner is free again. A second time is nothing.
    pub(super) fn destroy(&mut self, stage: &mut Stage, cause: Cause) {
        self.end(stage, cause, json!({}));
    }

    /// CHANNEL_DESTROY of whoever gave the call to another number.
    pub(super) fn transfer(&mut self, stage: &mut Stage, to: &str) {
        let more = json!({"Transfer-Type": "blind", "Transfer-To": to});
        self.end(stage, "BLIND_TRANSFER", more);
    }

    fn end(&mut self, stage: &mut Stage, cause: Cause, mut more: Value) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let seconds = |from: u64, to: u64| ((to - from) / 1000).to_string();
        let now = stage.now;
        let answered = self.answered.unwrap_or(now);
        more["Billing-Seconds"] = seconds(answered, now).into();
        more["Duration-Seconds"] = seconds(self.created, now).into();
        more["Hangup-Cause"] = cause.into();
        more["Hangup-Code"] = code(cause).into();
        more["Ringing-Seconds"] = seconds(self.created, answered).into();
        more["To-Tag"] = self.tag.as_str().into();
        let disposition = if self.is_answered() {
            "ANSWER"
        } else {
            "CANCEL"
        };
        let state = ["REPORTING", "HANGUP", disposition];
        self.tell(stage, "CHANNEL_DESTROY", state, more);
        self.light(stage, "terminated");
        if let Owner::Person(person) = self.owner {
            stage.accounts[self.account].release(person);
        }
    }

    /// An event of the parking place that this channel waits in: of the callflow, not of the switch.
    pub(super) fn parking(&self, stage: &mut Stage, name: &'static str, slot: &str) {
        let mut vars = self.vars.clone();
        vars["Realm"] = stage.accounts[self.account].realm.as_str().into();
        let body = json!({
            "Call-ID": self.id,
            "Callee-ID-Name": self.callee.name,
            "Callee-ID-Number": self.callee.number,
            "Caller-ID-Name": self.caller.name,
            "Caller-ID-Number": self.caller.number,
            "Custom-Channel-Vars": vars,
            "Parking-Slot": slot,
        });
        let from = super::stage::From("call_event", name, "callflow", APPS);
        let key = format!("call.{name}.{}", encode(&self.id));
        stage.publish("callevt", key, from, &body);
    }

    /// State of the channel, state of the call, disposition.
    fn tell(&self, stage: &mut Stage, name: &str, state: [&str; 3], mut more: Value) {
        let [channel, call, disposition] = state;
        more["Channel-Call-State"] = call.into();
        more["Channel-State"] = channel.into();
        more["Disposition"] = disposition.into();
        more["Event-Name"] = name.into();
        more["Msg-ID"] = stage.rng.hex(32).into();
        more["Timestamp"] = stage.timestamp().into();
        if let Some(other) = &self.other {
            more["Other-Leg-Call-ID"] = other.as_str().into();
        }
        let text = format!("{},{}", self.fixed, members(&more));
        let key = format!("call.{name}.{}", encode(&self.id));
        stage.publish_text("callevt", key, &text);
    }

    fn light(&self, stage: &mut Stage, state: &'static str) {
        if matches!(self.owner, Owner::Person(_)) {
            presence::changed(stage, self, state);
        }
    }
}
