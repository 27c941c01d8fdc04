//! Messages that callers leave, and that people listen to later.

use super::documents::{self, MODB};
use super::presence;
use super::stage::{Stage, Task};

/// A caller left a message.
pub(super) fn left(stage: &mut Stage, account: usize, person: usize) {
    let id = format!("{}-{}", stage.month(), stage.rng.hex(32));
    documents::changed(
        stage,
        account,
        "doc_created",
        ("mailbox_message", MODB),
        &id,
    );
    let mailbox = stage.accounts[account].people[person].vmbox.clone();
    documents::changed(stage, account, "doc_edited", ("vmbox", ""), &mailbox);
    stage.accounts[account].people[person].fresh.push(id);
    presence::messages(stage, account, person);
    let later = stage.rng.between(45_000, 240_000);
    stage.after(later, Task::Listen(account, person));
}

/// Somebody has listened to all of them. Some are kept.
pub(super) fn heard(stage: &mut Stage, account: usize, person: usize) {
    let fresh = std::mem::take(&mut stage.accounts[account].people[person].fresh);
    for id in fresh {
        let kept = stage.rng.chance(0.6);
        let action = if kept { "doc_edited" } else { "doc_deleted" };
        documents::changed(stage, account, action, ("mailbox_message", MODB), &id);
        stage.accounts[account].people[person].saved += u32::from(kept);
    }
    presence::messages(stage, account, person);
}
