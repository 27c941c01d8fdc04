//! A fax, sent or received, page by page.

use serde_json::json;

use super::call::outsider;
use super::documents::{self, MODB};
use super::leg::Party;
use super::stage::{APPS, From, Stage, Task};
use crate::model::topic::encode;

/// How faxes fail: the code and the text of the switch.
const FAILURES: [(u32, &str); 4] = [
    (35, "The HDLC carrier did not stop in a timely manner"),
    (48, "Disconnected after permitted retries"),
    (2, "Timed out waiting for initial communication"),
    (49, "The call dropped prematurely"),
];

/// See the module.
#[derive(Debug)]
pub(super) struct Fax {
    number: u64,
    account: usize,
    job: String,
    sends: bool,
    pages: u64,
    /// Steps done: preparation, negotiation, then the pages.
    step: u64,
    fails_at: Option<u64>,
    rate: u64,
    remote: Party,
}

impl Fax {
    /// A fax begins.
    pub(super) fn begin(stage: &mut Stage, number: u64) -> Self {
        let account = stage.any_account();
        let job = format!("{}-{}", stage.month(), stage.rng.hex(32));
        let pages = stage.rng.between(2, 9);
        let fails = stage.rng.chance(0.15);
        documents::changed(stage, account, "doc_created", ("fax", MODB), &job);
        stage.after(1_000, Task::Page(number));
        Self {
            number,
            account,
            job,
            sends: stage.rng.chance(0.6),
            pages,
            step: 0,
            fails_at: fails.then(|| stage.rng.between(2, pages + 2)),
            rate: *stage.rng.pick(&[9_600, 14_400, 14_400, 33_600]),
            remote: outsider(stage),
        }
    }

    /// Goes on; false when it is over.
    pub(super) fn page(&mut self, stage: &mut Stage) -> bool {
        let step = self.step;
        self.step += 1;
        if self.fails_at == Some(step) {
            let (code, text) = *stage.rng.pick(&FAILURES);
            self.tell(stage, "error", text, Some((code, text)));
            self.stored(stage);
            return false;
        }
        let going = if self.sends { "send" } else { "receive" };
        let page = step.saturating_sub(1);
        match (step, self.sends) {
            (0, true) => self.tell(stage, "prepare", "Preparing Document", None),
            (0, false) => self.tell(stage, "start", "Start Receiving Fax", None),
            (1, _) => self.tell(stage, going, "Fax Negotiated", None),
            _ if page > self.pages => {
                let text = if self.sends {
                    "Fax Successfully Sent"
                } else {
                    "Fax Successfully Received"
                };
                self.tell(stage, "end", text, Some((0, "OK")));
                self.stored(stage);
                return false;
            }
            (_, true) => {
                let text = format!("Sent Page {page} of {}", self.pages);
                self.tell(stage, going, &text, None);
            }
            (_, false) => self.tell(stage, going, &format!("Received Page {page}"), None),
        }
        let wait = if step == 0 {
            stage.rng.between(2_000, 6_000)
        } else {
            stage.rng.between(5_000, 13_000)
        };
        stage.after(wait, Task::Page(self.number));
        true
    }

    fn stored(&self, stage: &mut Stage) {
        documents::changed(stage, self.account, "doc_edited", ("fax", MODB), &self.job);
    }

    fn tell(&self, stage: &mut Stage, state: &str, status: &str, result: Option<(u32, &str)>) {
        let home = &stage.accounts[self.account];
        let done = self.step.saturating_sub(2).min(self.pages);
        let done = if state == "error" {
            done.saturating_sub(1)
        } else {
            done
        };
        let mut info = json!({
            "Fax-Document": {"Media-Type": "image/tiff"},
            "Fax-ECM-Used": true,
            "Fax-Remote-Station-ID": self.remote.number,
            "Fax-Transfer-Rate": self.rate,
            "Fax-Transferred-Pages": done,
            "Fax-V17-Disabled": false,
        });
        if self.sends {
            // Who receives learns the number at the end only.
            info["Fax-Total-Pages"] = self.pages.into();
        }
        if let Some((code, text)) = result {
            info["Fax-Result-Code"] = code.into();
            info["Fax-Result-Text"] = text.into();
            info["Fax-Success"] = (code == 0).into();
            info["Fax-Total-Pages"] = self.pages.into();
        }
        let mut body = json!({
            "Account-ID": home.id,
            "Direction": if self.sends { "outgoing" } else { "incoming" },
            "Fax-Info": info,
            "Fax-State": state,
            "FaxBox-ID": home.faxbox,
            "Job-ID": self.job,
            "Status": status,
        });
        if done > 0 {
            body["Page"] = done.into();
        }
        if !self.sends {
            body["Callee-ID-Name"] = home.name.as_str().into();
            body["Callee-ID-Number"] = home.number.into();
            body["Caller-ID-Name"] = self.remote.name.as_str().into();
            body["Caller-ID-Number"] = self.remote.number.as_str().into();
        }
        let key = format!("fax.status.{}.{}", home.id, encode(&self.job));
        let from = From("fax", "status", "fax", APPS);
        stage.publish("faxes", key, from, &body);
    }
}
