//! Lamps: what watchers of a person are told. Kazoo says it twice: `dialog` with the details of the
//! call, `update` with the state alone.

use md5::{Digest, Md5};
use serde_json::json;

use super::leg::Leg;
use super::stage::{APPS, ECALLMGR, From, Stage};
use crate::model::id::hex;
use crate::model::topic::encode;

/// A person's telephone rings, talks or is idle again: `early`, `confirmed`, `terminated`.
pub(super) fn changed(stage: &mut Stage, leg: &Leg, state: &'static str) {
    let account = &stage.accounts[leg.account];
    let realm = account.realm.clone();
    let presence = account.presence(&leg.extension);
    let (user, direction, other) = if leg.direction == "inbound" {
        (&leg.caller.number, "initiator", &leg.callee.number)
    } else {
        (&leg.callee.number, "recipient", &leg.caller.number)
    };
    let (from, to) = if direction == "initiator" {
        (user, other)
    } else {
        (other, user)
    };
    let body = json!({
        "Call-ID": leg.id,
        "Direction": direction,
        "Event-Package": "dialog",
        "Expires": 0,
        "From": format!("sip:{from}@{realm}"),
        "From-Realm": realm,
        "From-Tag": leg.tag,
        "From-User": from,
        "Presence-ID": presence,
        "State": state,
        "Switch-URI": "sip:192.0.2.20:11000",
        "To": format!("sip:{to}@{realm}"),
        "To-Realm": realm,
        "To-Tag": leg.tag,
        "To-URI": format!("sip:{presence}"),
        "To-User": to,
    });
    let key = format!("dialog.{}.{}", encode(&realm), encode(&leg.id));
    let from = From("presence", "dialog_update", "ecallmgr", ECALLMGR);
    stage.publish("presence", key, from, &body);
    let body = json!({
        "Call-ID": leg.id,
        "From": format!("sip:{presence}"),
        "From-Realm": realm,
        "From-User": leg.extension,
        "Presence-ID": presence,
        "State": state,
        "To": format!("sip:{presence}"),
        "To-Realm": realm,
        "To-User": leg.extension,
    });
    let key = format!("update.{}.{}", encode(&realm), encode(&leg.id));
    let from = From("presence", "update", "callflow", APPS);
    stage.publish("presence", key, from, &body);
}

/// The message lamp of a person, as the mailbox is now.
pub(super) fn messages(stage: &mut Stage, account: usize, person: usize) {
    let home = &stage.accounts[account];
    let realm = home.realm.clone();
    let somebody = &home.people[person];
    let user = somebody.extension.clone();
    let presence = home.presence(&user);
    let uri = format!("sip:{presence}");
    let body = json!({
        "Call-ID": hex(&Md5::digest(presence.as_bytes())),
        "Extended-Presence-ID": format!("*98{user}"),
        "From": uri,
        "From-Realm": realm,
        "From-User": user,
        "Message-Account": uri,
        "Messages-New": somebody.fresh.len(),
        "Messages-Saved": somebody.saved,
        "Messages-Urgent": 0,
        "Messages-Urgent-Saved": 0,
        "Messages-Waiting": if somebody.fresh.is_empty() { "no" } else { "yes" },
        "Presence-ID": presence,
        "To": uri,
        "To-Realm": realm,
        "To-User": user,
    });
    let key = format!("mwi_updates.{}.{}", encode(&realm), encode(&user));
    let from = From("presence", "mwi_update", "kazoo_voicemail", APPS);
    stage.publish("presence", key, from, &body);
}
