//! Documents that are created, edited and deleted, and devices that register.

use serde_json::json;

use super::stage::{APPS, ECALLMGR, From, Stage};
use crate::model::topic::encode;

/// Marks a type whose documents live in the database of the month.
pub(super) const MODB: &str = "month";

/// Documents of each account that wait to be deleted, at most.
const KEPT: usize = 12;

/// Tells that a document has changed: its type, and where such documents live.
pub(super) fn changed(
    stage: &mut Stage,
    account: usize,
    action: &'static str,
    (kind, place): (&str, &str),
    id: &str,
) {
    let month = stage.month();
    let now = stage.timestamp();
    let rng = &mut stage.rng;
    let (revision, age) = match action {
        "doc_created" => (1, 0),
        _ => (rng.between(2, 30), rng.between(60, 8_000_000)),
    };
    let rev = format!("{revision}-{}", rng.hex(32));
    let account = &stage.accounts[account];
    let database = if place == MODB {
        format!("{}-{month}", account.database)
    } else {
        account.database.clone()
    };
    // The two dates are exchanged, as Kazoo does.
    let body = json!({
        "Account-ID": account.id,
        "Database": database,
        "Date-Created": now,
        "Date-Modified": now - age,
        "ID": id,
        "Is-Soft-Deleted": action == "doc_deleted",
        "Origin-Cache": "kazoo_data_cache",
        "Rev": rev,
        "Type": kind,
    });
    let key = format!("{action}.{database}.{kind}.{}", encode(id));
    let from = From("configuration", action, "datamgr", APPS);
    stage.publish("configuration", key, from, &body);
}

/// The recording of a call was stored.
pub(super) fn recorded(stage: &mut Stage, account: usize) {
    let id = format!("{}-{}", stage.month(), stage.rng.hex(32));
    changed(stage, account, "doc_created", ("call_recording", MODB), &id);
}

/// An administrator at work.
pub(super) fn edit(stage: &mut Stage) {
    let account = stage.any_account();
    let kinds = [
        (30, "user"),
        (25, "device"),
        (20, "callflow"),
        (10, "vmbox"),
        (6, "media"),
        (5, "account"),
        (4, "faxbox"),
    ];
    let kind = stage.rng.weighted(&kinds);
    let home = &mut stage.accounts[account];
    let own = home.people.len();
    let person = &home.people[stage.rng.index(own)];
    let id = match kind {
        "user" => person.id.clone(),
        "device" => person.device.clone(),
        "vmbox" => person.vmbox.clone(),
        "account" => home.id.clone(),
        "faxbox" => home.faxbox.clone(),
        _ => stage.rng.hex(32),
    };
    // What comes and goes: nobody deletes the people of the demo.
    if ["callflow", "media", "device"].contains(&kind) && stage.rng.chance(0.6) {
        if home.documents.len() >= KEPT || stage.rng.chance(0.3) && !home.documents.is_empty() {
            let (kind, id) = home.documents.remove(0);
            return changed(stage, account, "doc_deleted", (kind, ""), &id);
        }
        let id = stage.rng.hex(32);
        home.documents.push((kind, id.clone()));
        return changed(stage, account, "doc_created", (kind, ""), &id);
    }
    changed(stage, account, "doc_edited", (kind, ""), &id);
}

/// Some device says again where it is.
pub(super) fn register(stage: &mut Stage) {
    let account = stage.any_account();
    let home = &stage.accounts[account];
    let person = &home.people[stage.rng.index(home.people.len())];
    let user = &person.sip_user;
    let first = stage.rng.chance(0.05);
    let body = json!({
        "Account-ID": home.id,
        "Contact": format!("<sip:{user}@{}:5060>", person.address),
        "Custom-Channel-Vars": {
            "Account-ID": home.id,
            "Authorizing-ID": person.device,
            "Authorizing-Type": "device",
            "Owner-ID": person.id,
        },
        "Event-Timestamp": stage.timestamp(),
        "Expires": 3600,
        "First-Registration": first,
        "Network-IP": person.address,
        "Network-Port": "5060",
        "Realm": home.realm,
        "Status": "Registered",
        "User-Agent": person.agent,
        "Username": user,
    });
    let key = format!(
        "registration.success.{}.{}",
        encode(&home.realm),
        encode(user)
    );
    let from = From("directory", "reg_success", "ecallmgr", ECALLMGR);
    stage.publish("registrar", key, from, &body);
}
