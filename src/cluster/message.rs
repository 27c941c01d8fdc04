//! Every message between nodes, written and read (kazoo-amqp.md 7). Pure.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{ModuleAction, ModuleAnswer, ModuleRequest, Reach, SocketQuestion};
use crate::model::AccountId;

/// Questions of Kazoo's.
pub(super) const SYSCONF: &str = "sysconf";
/// Messages between applications.
pub(super) const KAPPS: &str = "kapps";
/// Answers; the key is the asker's queue.
pub(super) const TARGETED: &str = "targeted";
/// Advertisements.
pub(super) const NODES: &str = "nodes";

/// Key on [`SYSCONF`]: which sockets are there?
pub(super) const GET: &str = "websockets.get";
/// Key on [`KAPPS`]: start or stop a module.
pub(super) const MODULE: &str = "ws.module_req";
/// Key on [`KAPPS`], ours: close a socket.
pub(super) const CLOSE: &str = "blackhole.close";
/// Key on [`KAPPS`], ours: something changed.
pub(super) const CHANGED: &str = "blackhole.changed";
/// Key on [`KAPPS`], ours: what changed while I was away?
pub(super) const CHANGES: &str = "blackhole.changes_req";

/// The application that Crossbar counts, and the category of our own messages.
const BLACKHOLE: &str = "blackhole";
const WEBSOCKETS: &str = "websockets";
/// Nobody compares it; operators see in Kazoo's listings and captures which gateway spoke.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Longest name of a queue, in bytes; a longer one cannot be answered.
const MAX_QUEUE: usize = 255;
/// A node that will not advertise for longer than this is forgotten all the same.
const LONGEST_EXPIRY: Duration = Duration::from_secs(86_400);

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    /// The asker's queue (`Server-ID`).
    pub(super) queue: String,
    /// The question's `Msg-ID`, which the answer repeats.
    pub(super) id: String,
}

/// What came in.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// Something to be done or answered.
    Request(Request),
    /// An answer to a question of ours, perhaps.
    Answer(Answer),
    /// A node is there.
    Advertisement(Advertisement),
}

/// What another node wants.
#[derive(Debug, PartialEq)]
pub(super) enum Request {
    Sockets(SocketQuestion, Asker),
    Module(ModuleRequest, Asker),
    Close {
        account: AccountId,
        socket: String,
        asker: Asker,
    },
    Changed(Value),
    Changes(Asker),
}

/// One node's answer to a question.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) node: Option<String>,
    pub(super) sockets: Vec<Map<String, Value>>,
    pub(super) closed: bool,
}

/// One node says that it is there (kazoo-amqp.md 7.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advertisement {
    pub(super) node: String,
    /// Which run of a gateway of ours it is; empty for any other node.
    pub(super) instance: String,
    /// A gateway of our own kind.
    pub(super) ours: bool,
    /// Whether it answers for sockets.
    pub(super) blackhole: bool,
    pub(super) zone: Option<String>,
    /// Time to its next advertisement.
    pub(super) expires: Duration,
}

/// Writes this node's messages.
#[derive(Debug)]
pub(super) struct Writer {
    /// This node's name.
    pub(super) node: String,
    /// This run of it.
    pub(super) instance: String,
    pub(super) zone: String,
    /// Gregorian seconds of the start.
    pub(super) startup: u64,
}

impl Writer {
    /// `queue` is where answers are to go.
    pub(super) fn get_req(&self, question: &SocketQuestion, queue: &str, id: &str) -> Value {
        let account = &question.account;
        let mut body = json!({
            "Account-ID": account.as_str(),
            // Optional for Kazoo, but a node without it might compare with `undefined`.
            "Auth-Account-ID": question.auth_account.as_ref().unwrap_or(account).as_str(),
            "Server-ID": queue,
            "System-Log-ID": id,
        });
        if let Some(socket) = &question.socket {
            body["Socket-ID"] = json!(socket);
        }
        if question.details {
            body["Details"] = json!(true);
        }
        match question.reach {
            Reach::Account => {}
            Reach::Tree => body["Reach"] = json!("tree"),
            Reach::All => body["Reach"] = json!("all"),
        }
        self.signed(body, (WEBSOCKETS, "get_req"), id)
    }

    /// `data`: an array, or the one socket asked for.
    pub(super) fn get_resp(&self, data: Value, id: &str) -> Value {
        self.signed(json!({"Data": data}), (WEBSOCKETS, "get_resp"), id)
    }

    pub(super) fn module_resp(&self, answer: &ModuleAnswer, id: &str) -> Value {
        let mut body = json!({"Persisted": answer.persisted, "Started": answer.started});
        if let Some(error) = &answer.error {
            body["Error"] = json!(error);
        }
        self.signed(body, (WEBSOCKETS, "module_resp"), id)
    }

    pub(super) fn close_req(
        &self,
        account: &AccountId,
        socket: &str,
        queue: &str,
        id: &str,
    ) -> Value {
        let body = json!({"Account-ID": account.as_str(), "Socket-ID": socket, "Server-ID": queue});
        self.signed(body, (BLACKHOLE, "close_req"), id)
    }

    pub(super) fn close_resp(&self, closed: bool, id: &str) -> Value {
        self.signed(json!({"Closed": closed}), (BLACKHOLE, "close_resp"), id)
    }

    /// `queue` is our own: by it we know our own notice when it comes back.
    pub(super) fn changed(&self, notice: &Value, queue: &str, id: &str) -> Value {
        let body = json!({"Change": notice, "Server-ID": queue});
        self.signed(body, (BLACKHOLE, "changed"), id)
    }

    pub(super) fn changes_req(&self, queue: &str, id: &str) -> Value {
        self.signed(json!({"Server-ID": queue}), (BLACKHOLE, "changes_req"), id)
    }

    /// Good for `expires`; `memory` in bytes.
    pub(super) fn advertisement(&self, expires: Duration, memory: u64, id: &str) -> Value {
        let apps = json!({BLACKHOLE: {"Startup": self.startup, "Roles": []}});
        self.advertise(apps, expires, memory, id)
    }

    /// A last advertisement, without any application: nobody waits for this node's answers any more.
    pub(super) fn farewell(&self, id: &str) -> Value {
        self.advertise(json!({}), Duration::from_secs(1), 0, id)
    }

    fn advertise(&self, apps: Value, expires: Duration, memory: u64, id: &str) -> Value {
        let expires = u64::try_from(expires.as_millis()).unwrap_or(u64::MAX);
        let mut body = json!({
            "Expires": expires,
            "WhApps": apps,
            "Zone": self.zone,
            "Version": VERSION,
            "Used-Memory": memory,
            // Counts of an Erlang node; we have nothing that compares.
            "Processes": 1, "Ports": 0,
            "Channels": 0, "Conferences": 0, "Registrations": 0, "Globals": {},
            "Node-Info": {"gateway": BLACKHOLE, "version": VERSION, "instance": self.instance},
        });
        body["App-Name"] = json!("kz_nodes");
        self.signed(body, ("nodes", "advertise"), id)
    }

    /// With the members that every message has.
    fn signed(&self, mut body: Value, (category, name): (&str, &str), id: &str) -> Value {
        body["Msg-ID"] = json!(id);
        body["Event-Category"] = json!(category);
        body["Event-Name"] = json!(name);
        if body.get("App-Name").is_none() {
            body["App-Name"] = json!(BLACKHOLE);
        }
        body["App-Version"] = json!(VERSION);
        body["Node"] = json!(self.node);
        body
    }
}

/// Reads a message that came into `queue`, our own. `None`: it is our own, come back; `Err`: why it is
/// ignored.
pub(super) fn parse(body: &str, queue: &str) -> Result<Option<Message>, &'static str> {
    let body: Map<String, Value> = serde_json::from_str(body).map_err(|_| "not a JSON object")?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    if text("Server-ID") == Some(queue) {
        return Ok(None);
    }
    let name = (
        text("Event-Category").unwrap_or_default(),
        text("Event-Name").unwrap_or_default(),
    );
    let message = match name {
        (WEBSOCKETS, "get_req") => {
            Message::Request(Request::Sockets(question(&body)?, asker(&body)?))
        }
        (WEBSOCKETS, "module_req") => {
            Message::Request(Request::Module(module(&body)?, asker(&body)?))
        }
        (BLACKHOLE, "close_req") => Message::Request(Request::Close {
            account: account(&body, "Account-ID").ok_or("no Account-ID")?,
            socket: text("Socket-ID").ok_or("no Socket-ID")?.to_owned(),
            asker: asker(&body)?,
        }),
        (BLACKHOLE, "changed") => {
            let notice = body.get("Change").ok_or("no Change")?;
            Message::Request(Request::Changed(notice.clone()))
        }
        (BLACKHOLE, "changes_req") => Message::Request(Request::Changes(asker(&body)?)),
        (WEBSOCKETS, "get_resp") | (BLACKHOLE, "close_resp") => Message::Answer(answer(body)?),
        ("nodes", "advertise") => Message::Advertisement(advertised(&body)?),
        _ => return Err("no message for us"),
    };
    Ok(Some(message))
}

type Body = Map<String, Value>;

fn account(body: &Body, name: &str) -> Option<AccountId> {
    AccountId::parse(body.get(name)?.as_str()?)
}

fn asker(body: &Body) -> Result<Asker, &'static str> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let queue = text("Server-ID").filter(|queue| (1..=MAX_QUEUE).contains(&queue.len()));
    Ok(Asker {
        queue: queue.ok_or("no Server-ID that can be answered")?.to_owned(),
        id: text("Msg-ID").ok_or("no Msg-ID")?.to_owned(),
    })
}

fn question(body: &Body) -> Result<SocketQuestion, &'static str> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    Ok(SocketQuestion {
        account: account(body, "Account-ID").ok_or("no Account-ID")?,
        auth_account: account(body, "Auth-Account-ID"),
        socket: text("Socket-ID").map(str::to_owned),
        reach: match text("Reach") {
            Some("tree") => Reach::Tree,
            Some("all") => Reach::All,
            _ => Reach::Account,
        },
        details: body.get("Details") == Some(&Value::Bool(true)),
    })
}

fn module(body: &Body) -> Result<ModuleRequest, &'static str> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    Ok(ModuleRequest {
        module: text("Module").ok_or("no Module")?.to_owned(),
        action: match text("Action") {
            Some("start") => ModuleAction::Start,
            Some("stop") => ModuleAction::Stop,
            _ => return Err("Action is neither start nor stop"),
        },
        persist: match body.get("Persist") {
            None => true,
            Some(Value::Bool(persist)) => *persist,
            Some(_) => return Err("Persist is no boolean"),
        },
    })
}

fn answer(mut body: Body) -> Result<Answer, &'static str> {
    let sockets = match body.remove("Data") {
        Some(Value::Array(sockets)) => sockets
            .into_iter()
            .filter_map(|socket| match socket {
                Value::Object(socket) => Some(socket),
                _ => None,
            })
            .collect(),
        Some(Value::Object(socket)) => vec![socket],
        _ => Vec::new(),
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Answer {
        id: text("Msg-ID").ok_or("no Msg-ID")?,
        node: text("Node"),
        sockets,
        closed: body.get("Closed") == Some(&Value::Bool(true)),
    })
}

fn advertised(body: &Body) -> Result<Advertisement, &'static str> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let expires = body.get("Expires").and_then(Value::as_f64);
    let expires = expires.filter(|ms| ms.is_finite() && *ms >= 0.0);
    let expires = expires.ok_or("no Expires")? / 1000.0;
    let about = |name: &str| body.get("Node-Info")?.get(name)?.as_str();
    let ours = about("gateway") == Some(BLACKHOLE);
    Ok(Advertisement {
        node: text("Node").ok_or("no Node")?.to_owned(),
        instance: about("instance")
            .filter(|_| ours)
            .unwrap_or_default()
            .to_owned(),
        ours,
        blackhole: match body.get("WhApps") {
            Some(Value::Object(apps)) => apps.contains_key(BLACKHOLE),
            Some(Value::Array(apps)) => apps.iter().any(|app| app == BLACKHOLE),
            _ => false,
        },
        zone: text("Zone").map(str::to_owned),
        expires: Duration::try_from_secs_f64(expires)
            .unwrap_or(LONGEST_EXPIRY)
            .min(LONGEST_EXPIRY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
    const B: &str = "0f9e8d7c6b5a49382716f5e4d3c2b1a0";

    fn writer() -> Writer {
        Writer {
            node: "blackhole@gw1.example.net".into(),
            instance: "i1".into(),
            zone: "local".into(),
            startup: 63_939_838_000,
        }
    }

    fn asked() -> SocketQuestion {
        SocketQuestion {
            account: AccountId::parse(A).expect("an id"),
            auth_account: None,
            socket: None,
            reach: Reach::Account,
            details: false,
        }
    }

    fn read(body: &Value) -> Message {
        parse(&body.to_string(), "mine")
            .expect("a message")
            .expect("not our own")
    }

    fn to(queue: &str, id: &str) -> Asker {
        Asker {
            queue: queue.into(),
            id: id.into(),
        }
    }

    /// The example of kazoo-amqp.md 7.1.
    fn crossbar_asks() -> Value {
        json!({"Account-ID":A,"Auth-Account-ID":A,
            "Server-ID":"kazoo_apps@apps1.example.net-kz_amqp_worker-<0.977.0>-1a2b3c4d",
            "System-Log-ID":"6f1d2c3b4a5968778695a4b3c2d1e0f9",
            "Msg-ID":"6f1d2c3b4a5968778695a4b3c2d1e0f9",
            "Event-Category":"websockets","Event-Name":"get_req",
            "App-Name":"crossbar","App-Version":"4.0.0","Node":"kazoo_apps@apps1.example.net"})
    }

    #[test]
    fn a_question_as_kazoo_writes_it() {
        let ours = writer().get_req(&asked(), "q", "6f1d");
        let mut kazoo = crossbar_asks();
        for (member, value) in [
            ("Server-ID", "q"),
            ("System-Log-ID", "6f1d"),
            ("Msg-ID", "6f1d"),
            ("App-Name", "blackhole"),
            ("App-Version", VERSION),
            ("Node", "blackhole@gw1.example.net"),
        ] {
            kazoo[member] = json!(value);
        }
        assert_eq!(ours, kazoo);
        let question = SocketQuestion {
            auth_account: AccountId::parse(B),
            socket: Some("s".into()),
            reach: Reach::Tree,
            details: true,
            ..asked()
        };
        let extended = writer().get_req(&question, "q", "1");
        assert_eq!(extended["Auth-Account-ID"], B);
        assert_eq!(extended["Socket-ID"], "s");
        assert_eq!(
            (&extended["Reach"], &extended["Details"]),
            (&json!("tree"), &json!(true))
        );
        let read = read(&extended);
        assert_eq!(
            read,
            Message::Request(Request::Sockets(question, to("q", "1")))
        );
    }

    #[test]
    fn questions_of_kazoo_are_read() {
        let mut body = crossbar_asks();
        let queue = body["Server-ID"].as_str().expect("text").to_owned();
        let asker = to(&queue, "6f1d2c3b4a5968778695a4b3c2d1e0f9");
        let question = SocketQuestion {
            auth_account: AccountId::parse(A),
            ..asked()
        };
        assert_eq!(
            read(&body),
            Message::Request(Request::Sockets(question, asker.clone()))
        );
        body.as_object_mut()
            .expect("an object")
            .remove("Auth-Account-ID");
        body["Socket-ID"] = json!("203.0.113.9:51514");
        let question = SocketQuestion {
            socket: Some("203.0.113.9:51514".into()),
            ..asked()
        };
        assert_eq!(
            read(&body),
            Message::Request(Request::Sockets(question, asker))
        );
        assert_eq!(parse(&body.to_string(), &queue), Ok(None), "our own");
    }

    #[test]
    fn answers_as_kazoo_writes_them() {
        let socket = json!({"bindings":["call.CHANNEL_CREATE.*"],"source":"203.0.113.9"});
        let ours = writer().get_resp(json!([socket]), "6f1d");
        assert_eq!(
            ours,
            json!({"Data":[socket],"Msg-ID":"6f1d","Event-Category":"websockets","Event-Name":"get_resp",
                "App-Name":"blackhole","App-Version":VERSION,"Node":"blackhole@gw1.example.net"})
        );
        for (data, expected) in [
            (json!([socket, 1]), 1),
            (socket.clone(), 1),
            (json!([]), 0),
            (Value::Null, 0),
        ] {
            let Message::Answer(answer) = read(&writer().get_resp(data, "6f1d")) else {
                panic!("an answer");
            };
            assert_eq!((answer.sockets.len(), &*answer.id), (expected, "6f1d"));
            assert_eq!(answer.node.as_deref(), Some("blackhole@gw1.example.net"));
        }
    }

    #[test]
    fn modules() {
        let mut body = json!({"Module":"bh_fax","Action":"start","Persist":true,"Server-ID":"q",
            "Msg-ID":"0123456789abcdef","Event-Category":"websockets","Event-Name":"module_req",
            "App-Name":"blackhole","App-Version":"4.0.0","Node":"n"});
        let request = |action, persist| {
            let request = ModuleRequest {
                module: "bh_fax".into(),
                action,
                persist,
            };
            Message::Request(Request::Module(request, to("q", "0123456789abcdef")))
        };
        assert_eq!(read(&body), request(ModuleAction::Start, true));
        body["Action"] = json!("stop");
        body["Persist"] = json!(false);
        assert_eq!(read(&body), request(ModuleAction::Stop, false));
        body.as_object_mut().expect("an object").remove("Persist");
        assert_eq!(read(&body), request(ModuleAction::Stop, true));

        let mut answer = ModuleAnswer {
            started: true,
            persisted: true,
            error: None,
        };
        let mut expected = json!({"Persisted":true,"Started":true,"Msg-ID":"1",
            "Event-Category":"websockets","Event-Name":"module_resp","App-Name":"blackhole",
            "App-Version":VERSION,"Node":"blackhole@gw1.example.net"});
        assert_eq!(writer().module_resp(&answer, "1"), expected);
        answer.error = Some("module doesn't exist".into());
        expected["Error"] = json!("module doesn't exist");
        assert_eq!(writer().module_resp(&answer, "1"), expected);
    }

    #[test]
    fn messages_of_our_own() {
        let account = AccountId::parse(A).expect("an id");
        assert_eq!(
            read(&writer().close_req(&account, "s", "q", "1")),
            Message::Request(Request::Close {
                account,
                socket: "s".into(),
                asker: to("q", "1"),
            })
        );
        let Message::Answer(answer) = read(&writer().close_resp(true, "1")) else {
            panic!("an answer");
        };
        assert!(answer.closed);
        let notice = json!({"users": 3});
        assert_eq!(
            read(&writer().changed(&notice, "q", "1")),
            Message::Request(Request::Changed(notice))
        );
        assert_eq!(
            read(&writer().changes_req("q", "1")),
            Message::Request(Request::Changes(to("q", "1")))
        );
    }

    #[test]
    fn advertisements() {
        let ours = writer().advertisement(Duration::from_secs(6), 50_331_648, "1");
        assert_eq!(
            ours,
            json!({"Expires":6000,"WhApps":{"blackhole":{"Startup":63_939_838_000_u64,"Roles":[]}},
                "Zone":"local","Version":VERSION,"Used-Memory":50_331_648,"Processes":1,"Ports":0,
                "Channels":0,"Conferences":0,"Registrations":0,"Globals":{},
                "Node-Info":{"gateway":"blackhole","version":VERSION,"instance":"i1"},
                "Event-Category":"nodes","Event-Name":"advertise","Msg-ID":"1",
                "App-Name":"kz_nodes","App-Version":VERSION,"Node":"blackhole@gw1.example.net"})
        );
        let expected = Advertisement {
            node: "blackhole@gw1.example.net".into(),
            instance: "i1".into(),
            ours: true,
            blackhole: true,
            zone: Some("local".into()),
            expires: Duration::from_secs(6),
        };
        assert_eq!(read(&ours), Message::Advertisement(expected.clone()));
        let left = Advertisement {
            blackhole: false,
            expires: Duration::from_secs(1),
            ..expected
        };
        assert_eq!(read(&writer().farewell("1")), Message::Advertisement(left));
    }

    #[test]
    fn advertisements_of_kazoo() {
        let nodes = |apps: Value, expires: Value| {
            json!({"Expires":expires,"WhApps":apps,"Node-Info":{},"Node":"kazoo_apps@a",
                "Event-Category":"nodes","Event-Name":"advertise","Msg-ID":"1"})
        };
        for (apps, blackhole) in [
            (
                json!({"blackhole":{"Startup":1,"Roles":[]},"crossbar":{}}),
                true,
            ),
            (json!(["crossbar", "blackhole"]), true),
            (json!(["crossbar"]), false),
            (json!({}), false),
            (Value::Null, false),
        ] {
            let Message::Advertisement(read) = read(&nodes(apps, json!(9000))) else {
                panic!("an advertisement");
            };
            assert_eq!((read.blackhole, read.ours), (blackhole, false));
            assert_eq!((&*read.instance, read.zone), ("", None));
            assert_eq!(read.expires, Duration::from_secs(9));
        }
        let Message::Advertisement(read) = read(&nodes(json!({}), json!(1e300))) else {
            panic!("an advertisement");
        };
        assert_eq!(read.expires, LONGEST_EXPIRY);
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        let question = |change: &dyn Fn(&mut Value)| {
            let mut body = crossbar_asks();
            change(&mut body);
            body.to_string()
        };
        for body in [
            "[]".to_owned(),
            "{}".into(),
            "{".into(),
            question(&|body| body["Account-ID"] = json!("x")),
            question(&|body| body["Server-ID"] = json!("")),
            question(&|body| body["Server-ID"] = json!("x".repeat(256))),
            question(&|body| body["Msg-ID"] = Value::Null),
            question(&|body| body["Event-Name"] = json!("other")),
            json!({"Event-Category":"nodes","Event-Name":"advertise","Node":"n"}).to_string(),
            json!({"Event-Category":"nodes","Event-Name":"advertise","Expires":-1,"Node":"n"})
                .to_string(),
            json!({"Event-Category":"websockets","Event-Name":"module_req","Module":"m",
                "Action":"restart","Server-ID":"q","Msg-ID":"1"})
            .to_string(),
            json!({"Event-Category":"blackhole","Event-Name":"changed"}).to_string(),
        ] {
            assert!(parse(&body, "mine").is_err(), "{body}");
        }
    }
}
