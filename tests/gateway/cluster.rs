//! Node to node over a real RabbitMQ, at the level of the library, and as a Kazoo node sees it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blackhole::cluster::{
    Answering, Cluster, ClusterSettings, ModuleAction, ModuleAnswer, ModuleRequest, Node, Reach,
    SocketQuestion,
};
use blackhole::model::{AccountId, Secret};
use blackhole::telemetry::Metrics;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{A, B, Broker, PATIENCE, Vhost, kazoo_properties, until};

/// Less than the least time between two advertisements: what happens within it was not waiting for one.
const SOON: Duration = Duration::from_secs(4);

/// What a node of the test holds and was told.
struct Held {
    /// Socket ids, all of account A.
    sockets: Mutex<BTreeSet<String>>,
    asked: Mutex<Vec<SocketQuestion>>,
    known: Mutex<Option<Value>>,
    told: mpsc::UnboundedSender<Value>,
}

impl Node for Held {
    fn sockets(&self, question: &SocketQuestion) -> Vec<Map<String, Value>> {
        self.asked.lock().unwrap().push(question.clone());
        let sockets = self.sockets.lock().unwrap();
        let wanted = |id: &&String| question.socket.as_ref().is_none_or(|only| only == *id);
        sockets.iter().filter(wanted).map(|id| socket(id)).collect()
    }

    fn close_socket(&self, account: &AccountId, socket: &str) -> bool {
        account.as_str() == A && self.sockets.lock().unwrap().remove(socket)
    }

    fn module(&self, request: ModuleRequest) -> Answering<'_, ModuleAnswer> {
        Box::pin(async move {
            let known = request.module == "bh_fax";
            ModuleAnswer {
                started: known && request.action == ModuleAction::Start,
                persisted: known && request.persist,
                error: (!known).then(|| "module doesn't exist".into()),
            }
        })
    }

    fn told(&self, notice: Value) {
        let _ = self.told.send(notice);
    }

    fn known(&self) -> Answering<'_, Option<Value>> {
        let known = self.known.lock().unwrap().clone();
        Box::pin(async move { known })
    }
}

fn socket(id: &str) -> Map<String, Value> {
    let object = json!({"bindings":["call.CHANNEL_CREATE.*"],"websocket_session_id":id,
        "timestamp":63_939_838_900_u64,"destination":"gw1.example.net","source":"203.0.113.9"});
    object.as_object().unwrap().clone()
}

struct Gateway {
    cluster: Cluster,
    held: Arc<Held>,
    told: mpsc::UnboundedReceiver<Value>,
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// Not connected yet.
    fn start(url: &str, name: &str, sockets: &[&str]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (sender, told) = mpsc::unbounded_channel();
        let held = Arc::new(Held {
            sockets: Mutex::new(sockets.iter().map(|id| (*id).to_owned()).collect()),
            asked: Mutex::default(),
            known: Mutex::default(),
            told: sender,
        });
        let settings = ClusterSettings {
            url: Secret::new(url),
            node: name.into(),
            zone: "local".into(),
        };
        let metrics = Arc::new(Metrics::default());
        Self {
            cluster: Cluster::start(settings, held.clone(), metrics.clone()),
            held,
            told,
            metrics,
        }
    }

    async fn connected(&self) {
        until("connected", async || self.cluster.connected().then_some(())).await;
    }

    fn peers(&self) -> Vec<String> {
        let peers = self.cluster.peers().into_iter();
        peers.map(|peer| peer.name).collect()
    }

    async fn sees(&self, names: &[&str]) {
        until("peers", async || (self.peers() == names).then_some(())).await;
    }

    async fn told(&mut self) -> Value {
        timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap()
    }

    /// Ids of the others' sockets, and who is missing.
    async fn gather(&self, question: &SocketQuestion) -> (Vec<String>, Vec<String>) {
        let gathered = self.cluster.sockets(question).await;
        let id = |socket: &Map<String, Value>| {
            socket["websocket_session_id"].as_str().unwrap().to_owned()
        };
        let mut ids: Vec<String> = gathered.sockets.iter().map(id).collect();
        ids.sort();
        (ids, gathered.missing)
    }
}

fn account(id: &str) -> AccountId {
    AccountId::parse(id).unwrap()
}

fn all_of(id: &str) -> SocketQuestion {
    SocketQuestion {
        account: account(id),
        auth_account: None,
        socket: None,
        reach: Reach::Account,
        details: false,
    }
}

fn the_one(socket: &str) -> SocketQuestion {
    SocketQuestion {
        socket: Some(socket.into()),
        ..all_of(A)
    }
}

/// A node of Kazoo's: an independent client, which declares everything as Kazoo does.
struct Kazoo {
    channel: Channel,
    queue: String,
    consumer: Consumer,
    _connection: Connection,
}

impl Kazoo {
    /// `bound`: what its queue gets beside answers.
    async fn connect(url: &str, queue: &str, bound: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let connection = Connection::connect(url, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        let kinds = [
            ("sysconf", ExchangeKind::Topic),
            ("kapps", ExchangeKind::Topic),
            ("targeted", ExchangeKind::Direct),
            ("nodes", ExchangeKind::Fanout),
        ];
        for (name, kind) in kinds {
            let options = ExchangeDeclareOptions::default();
            let declaring =
                channel.exchange_declare(name.into(), kind, options, FieldTable::default());
            declaring.await.unwrap();
        }
        let mut arguments = FieldTable::default();
        arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(60_000));
        arguments.insert("x-max-length".into(), AMQPValue::ShortInt(100));
        let options = QueueDeclareOptions {
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let name = ShortString::try_new(queue).unwrap();
        let declaring = channel.queue_declare(name.clone(), options, arguments);
        declaring.await.unwrap();
        for (exchange, key) in bound.iter().chain(&[("targeted", queue)]) {
            let (exchange, key) = (
                ShortString::try_new(*exchange).unwrap(),
                ShortString::try_new(*key).unwrap(),
            );
            let options = QueueBindOptions::default();
            let binding =
                channel.queue_bind(name.clone(), exchange, key, options, FieldTable::default());
            binding.await.unwrap();
        }
        let options = BasicConsumeOptions {
            no_ack: true,
            exclusive: true,
            ..BasicConsumeOptions::default()
        };
        let consuming = channel.basic_consume(name, "".into(), options, FieldTable::default());
        Self {
            consumer: consuming.await.unwrap(),
            channel,
            queue: queue.into(),
            _connection: connection,
        }
    }

    async fn say(&self, exchange: &str, key: &str, body: &Value) {
        let body = body.to_string();
        let sending = self.channel.basic_publish(
            ShortString::try_new(exchange).unwrap(),
            ShortString::try_new(key).unwrap(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            kazoo_properties(None),
        );
        sending.await.unwrap();
    }

    async fn advertise(&self, node: &str, apps: Value) {
        let body = json!({"Expires":60_000,"WhApps":apps,"Zone":"east","Node-Info":{},
            "Event-Category":"nodes","Event-Name":"advertise","Msg-ID":"1",
            "App-Name":"kz_nodes","App-Version":"4.0.0","Node":node});
        self.say("nodes", "", &body).await;
    }

    /// The next message whose `Event-Name` is this; others are skipped.
    async fn next(&mut self, name: &str) -> Value {
        loop {
            let delivery = timeout(PATIENCE, self.consumer.next()).await;
            let delivery = delivery.expect("no message").unwrap().unwrap();
            let body: Value = serde_json::from_slice(&delivery.data).unwrap();
            if body["Event-Name"] == name {
                let properties = &delivery.properties;
                let media = properties.content_type().as_ref().unwrap();
                assert_eq!(media.as_str(), "application/json");
                assert!(properties.timestamp().unwrap() > 62_167_219_200_000_000);
                return body;
            }
        }
    }

    /// A socket question of Crossbar's.
    fn question(&self, id: &str) -> Value {
        json!({"Account-ID":A,"Auth-Account-ID":A,"Server-ID":self.queue,
            "System-Log-ID":id,"Msg-ID":id,"Event-Category":"websockets","Event-Name":"get_req",
            "App-Name":"crossbar","App-Version":"4.0.0","Node":"kazoo_apps@apps1.example.net"})
    }
}

#[tokio::test]
async fn nodes_see_ask_and_tell_each_other() {
    let vhost = Vhost::new().await;
    let mut a = Gateway::start(&vhost.url, "gw-a", &["a1"]);
    a.connected().await;
    assert_eq!(a.gather(&all_of(A)).await, (vec![], vec![]), "nobody else");
    let mut b = Gateway::start(&vhost.url, "gw-b", &["b1", "b2"]);
    let mut c = Gateway::start(&vhost.url, "gw-c", &["c1"]);
    b.connected().await;
    c.connected().await;
    let start = Instant::now();
    a.sees(&["gw-b", "gw-c"]).await;
    b.sees(&["gw-a", "gw-c"]).await;
    c.sees(&["gw-a", "gw-b"]).await;
    assert!(start.elapsed() < SOON, "a newcomer is answered");
    assert!(
        a.cluster
            .peers()
            .iter()
            .all(|peer| peer.ours && peer.zone == "local")
    );
    let metrics = a.metrics.text();
    assert!(
        metrics.contains("blackhole_cluster_connected 1"),
        "{metrics}"
    );
    until("counted", async || {
        let text = a.metrics.text();
        text.contains("blackhole_cluster_nodes 2").then_some(())
    })
    .await;

    // Asking.
    let none: Vec<String> = vec![];
    let others = vec!["b1".to_owned(), "b2".into(), "c1".into()];
    assert_eq!(a.gather(&all_of(A)).await, (others, none.clone()));
    assert!(a.held.asked.lock().unwrap().is_empty(), "never itself");
    let found = c.gather(&the_one("b2")).await;
    assert_eq!(found, (vec!["b2".to_owned()], none.clone()));
    assert_eq!(c.gather(&the_one("x")).await, (vec![], none.clone()));
    let question = SocketQuestion {
        auth_account: Some(account(B)),
        reach: Reach::All,
        details: true,
        ..all_of(A)
    };
    a.gather(&question).await;
    assert_eq!(b.held.asked.lock().unwrap().last(), Some(&question));

    // Closing.
    let close = a.cluster.close_socket(&account(A), "b1").await;
    assert_eq!(close, (true, none.clone()));
    assert!(!b.held.sockets.lock().unwrap().contains("b1"));
    let close = a.cluster.close_socket(&account(B), "b2").await;
    assert_eq!(close, (false, none.clone()), "of another account");

    // Telling.
    assert!(a.cluster.tell(json!({"users": 1})).await);
    assert!(b.cluster.tell(json!({"users": 2})).await);
    assert_eq!(b.told().await, json!({"users": 1}));
    assert_eq!(
        a.told().await,
        json!({"users": 2}),
        "and not what it said itself"
    );
    assert_eq!(c.told().await, json!({"users": 1}));
    assert_eq!(c.told().await, json!({"users": 2}));

    // Leaving.
    c.cluster.stop().await;
    assert!(!c.cluster.connected());
    let start = Instant::now();
    a.sees(&["gw-b"]).await;
    b.sees(&["gw-a"]).await;
    assert!(start.elapsed() < SOON, "it said good-bye");
    assert_eq!(a.gather(&all_of(A)).await, (vec!["b2".to_owned()], none));
    a.cluster.stop().await;
    b.cluster.stop().await;
    let queues = vhost.ctl(&["list_queues", "-q", "name"]).await;
    assert!(!queues.contains("blackhole"), "{queues}");
}

#[tokio::test]
async fn a_node_that_vanishes_is_missing_and_then_forgotten() {
    let vhost = Vhost::new().await;
    let a = Gateway::start(&vhost.url, "gw-a", &[]);
    let b = Gateway::start(&vhost.url, "gw-b", &["b1"]);
    // Everything of it ends with its runtime, without a word.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let c = {
        let _inside = runtime.enter();
        Gateway::start(&vhost.url, "gw-c", &["c1"])
    };
    a.sees(&["gw-b", "gw-c"]).await;
    runtime.shutdown_background();
    let start = Instant::now();
    let gathered = a.gather(&all_of(A)).await;
    assert_eq!(gathered, (vec!["b1".to_owned()], vec!["gw-c".to_owned()]));
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2) && took < SOON, "{took:?}");
    let start = Instant::now();
    let found = a.gather(&the_one("b1")).await;
    assert_eq!(found, (vec!["b1".to_owned()], vec![]));
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "one answer was enough"
    );
    let close = a.cluster.close_socket(&account(A), "c1").await;
    assert_eq!(close, (false, vec!["gw-c".to_owned()]));
    a.sees(&["gw-b"]).await;
    drop((b, c));
}

#[tokio::test]
async fn two_nodes_of_one_name_are_two() {
    let vhost = Vhost::new().await;
    let a = Gateway::start(&vhost.url, "gw", &["a1"]);
    let b = Gateway::start(&vhost.url, "gw", &["b1"]);
    a.sees(&["gw"]).await;
    b.sees(&["gw"]).await;
    assert_eq!(a.gather(&all_of(A)).await, (vec!["b1".to_owned()], vec![]));
}

#[tokio::test]
async fn what_was_missed_is_told_after_an_outage() {
    let vhost = Vhost::new().await;
    let a = Gateway::start(&vhost.url, "gw-a", &[]);
    *a.held.known.lock().unwrap() = Some(json!("first"));
    a.connected().await;
    let mut b = Gateway::start(&vhost.url, "gw-b", &[]);
    b.connected().await;
    assert_eq!(b.told().await, "first", "a newcomer asks");
    a.sees(&["gw-b"]).await;

    *a.held.known.lock().unwrap() = Some(json!("second"));
    vhost.cut_connections().await;
    while b.told().await != "second" {}
    a.connected().await;
    b.sees(&["gw-a"]).await;
    a.sees(&["gw-b"]).await;
}

#[tokio::test]
async fn while_the_broker_is_away() {
    let broker = Broker::start().await;
    let a = Gateway::start(&broker.url, "gw-a", &["a1"]);
    let b = Gateway::start(&broker.url, "gw-b", &["b1"]);
    a.sees(&["gw-b"]).await;
    b.sees(&["gw-a"]).await;

    // Short of memory, it takes nothing, and says so; nothing is lost but time.
    broker
        .ctl(&["set_vm_memory_high_watermark", "0.000001"])
        .await;
    assert!(!a.cluster.tell(json!(0)).await);
    assert!(a.cluster.connected());
    broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    until("told", async || {
        a.cluster.tell(json!(0)).await.then_some(())
    })
    .await;
    a.sees(&["gw-b"]).await;

    broker.kill().await;
    until("lost", async || (!a.cluster.connected()).then_some(())).await;
    let start = Instant::now();
    let missing = vec!["gw-b".to_owned()];
    assert_eq!(a.gather(&all_of(A)).await, (vec![], missing.clone()));
    let close = a.cluster.close_socket(&account(A), "b1").await;
    assert_eq!(close, (false, missing));
    assert!(!a.cluster.tell(json!(1)).await);
    assert!(start.elapsed() < Duration::from_secs(1), "at once");
    assert_eq!(a.peers(), ["gw-b"]);
    assert!(a.metrics.text().contains("blackhole_cluster_connected 0"));

    broker.start_again().await;
    a.connected().await;
    b.connected().await;
    until("answers", async || {
        (a.gather(&all_of(A)).await == (vec!["b1".to_owned()], vec![])).then_some(())
    })
    .await;
    // Stops while the broker is away, too.
    broker.kill().await;
    until("lost", async || (!a.cluster.connected()).then_some(())).await;
    let start = Instant::now();
    a.cluster.stop().await;
    assert!(start.elapsed() < Duration::from_secs(1), "at once");
}

#[tokio::test]
async fn a_broker_that_forbids_is_asked_again() {
    let vhost = Vhost::new().await;
    let not_nodes = "^(?!nodes$).*$";
    let url = vhost.limited_user(".*", not_nodes, ".*").await;
    let a = Gateway::start(&url, "gw-a", &["a1"]);
    let b = Gateway::start(&vhost.url, "gw-b", &[]);
    b.connected().await;
    assert!(!a.cluster.connected());
    vhost.limited_user(".*", ".*", ".*").await;
    b.sees(&["gw-a"]).await;
    assert_eq!(b.gather(&all_of(A)).await, (vec!["a1".to_owned()], vec![]));

    // An answer that is refused harms nothing else. (The broker checks a channel's rights once.)
    vhost.limited_user(".*", "^(?!targeted$).*$", ".*").await;
    vhost.cut_connections().await;
    until("asked in vain", async || {
        let start = Instant::now();
        let missing = b.gather(&all_of(A)).await.1;
        let in_vain = missing == ["gw-a"] && start.elapsed() >= Duration::from_secs(2);
        (in_vain && a.cluster.connected()).then_some(())
    })
    .await;
    vhost.limited_user(".*", ".*", ".*").await;
    until("answered", async || {
        b.gather(&all_of(A)).await.1.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn as_crossbar_sees_it() {
    let vhost = Vhost::new().await;
    let queue = "kazoo_apps@apps1.example.net-kz_amqp_worker-<0.977.0>-1a2b3c4d";
    let mut kazoo = Kazoo::connect(&vhost.url, queue, &[("nodes", "")]).await;
    let a = Gateway::start(&vhost.url, "blackhole@gw1.example.net", &["s1", "s2"]);
    let version = env!("CARGO_PKG_VERSION");

    let mut advertised = kazoo.next("advertise").await;
    let expires = advertised["Expires"].take().as_u64().unwrap();
    assert!((5000..=8000).contains(&expires), "{expires}");
    let startup = advertised["WhApps"]["blackhole"]["Startup"].take();
    assert!(startup.as_u64().unwrap() > 63_939_838_000);
    assert!(advertised["Used-Memory"].take().as_u64().unwrap() > 1_000_000);
    assert!(advertised["Msg-ID"].take().is_string());
    assert!(advertised["Node-Info"]["instance"].take().is_string());
    let expected = json!({"Expires":null,"WhApps":{"blackhole":{"Startup":null,"Roles":[]}},
        "Zone":"local","Version":version,"Used-Memory":null,"Processes":1,"Ports":0,
        "Channels":0,"Conferences":0,"Registrations":0,"Globals":{},
        "Node-Info":{"gateway":"blackhole","version":version,"instance":null},
        "Event-Category":"nodes","Event-Name":"advertise","Msg-ID":null,
        "App-Name":"kz_nodes","App-Version":version,"Node":"blackhole@gw1.example.net"});
    assert_eq!(advertised, expected);

    // A newcomer need not wait for the next one, and is no peer without the application.
    let start = Instant::now();
    kazoo
        .advertise("kazoo_apps@apps1", json!({"crossbar":{}}))
        .await;
    kazoo.next("advertise").await;
    kazoo.next("advertise").await;
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert!(a.peers().is_empty());

    let answer = |data: Value, id: &str| {
        json!({"Data":data,"Msg-ID":id,"Event-Category":"websockets","Event-Name":"get_resp",
            "App-Name":"blackhole","App-Version":version,"Node":"blackhole@gw1.example.net"})
    };
    kazoo
        .say("sysconf", "websockets.get", &kazoo.question("1"))
        .await;
    let both = json!([socket("s1"), socket("s2")]);
    assert_eq!(kazoo.next("get_resp").await, answer(both, "1"));
    for (id, data) in [("s2", json!(socket("s2"))), ("s3", json!([]))] {
        let mut question = kazoo.question(id);
        question["Socket-ID"] = json!(id);
        question.as_object_mut().unwrap().remove("Auth-Account-ID");
        // What cannot be understood is not answered.
        kazoo.say("sysconf", "websockets.get", &json!([])).await;
        let mut wrong = question.clone();
        wrong["Account-ID"] = json!("x");
        kazoo.say("sysconf", "websockets.get", &wrong).await;
        kazoo.say("sysconf", "websockets.get", &question).await;
        assert_eq!(kazoo.next("get_resp").await, answer(data, id));
    }

    let mut request = json!({"Module":"bh_fax","Action":"start","Server-ID":queue,"Msg-ID":"2",
        "Event-Category":"websockets","Event-Name":"module_req","App-Name":"blackhole",
        "App-Version":"4.0.0","Node":"n"});
    kazoo.say("kapps", "ws.module_req", &request).await;
    let mut expected = json!({"Persisted":true,"Started":true,"Msg-ID":"2",
        "Event-Category":"websockets","Event-Name":"module_resp","App-Name":"blackhole",
        "App-Version":version,"Node":"blackhole@gw1.example.net"});
    assert_eq!(kazoo.next("module_resp").await, expected);
    request["Module"] = json!("bh_none");
    kazoo.say("kapps", "ws.module_req", &request).await;
    for (member, value) in [
        ("Persisted", json!(false)),
        ("Started", json!(false)),
        ("Error", json!("module doesn't exist")),
    ] {
        expected[member] = value;
    }
    assert_eq!(kazoo.next("module_resp").await, expected);

    a.cluster.stop().await;
    loop {
        let advertised = kazoo.next("advertise").await;
        if advertised["WhApps"] == json!({}) {
            break;
        }
    }
}

#[tokio::test]
async fn nodes_of_kazoo_are_counted_and_asked() {
    let vhost = Vhost::new().await;
    let a = Gateway::start(&vhost.url, "gw-a", &["a1"]);
    a.connected().await;
    let bound = [("sysconf", "websockets.get"), ("kapps", "blackhole.close")];
    let mut kazoo = Kazoo::connect(&vhost.url, "kazoo-1", &bound).await;
    kazoo
        .advertise("apps1", json!({"blackhole":{"Startup":1,"Roles":[]}}))
        .await;
    kazoo
        .advertise("apps2", json!(["crossbar", "blackhole"]))
        .await;
    kazoo.advertise("apps3", json!(["crossbar"])).await;
    a.sees(&["apps1", "apps2"]).await;
    let peers = a.cluster.peers();
    assert!(peers.iter().all(|peer| !peer.ours && peer.zone == "east"));

    // They are no gateways of ours: not asked to close.
    let close = a.cluster.close_socket(&account(A), "x").await;
    assert_eq!(close, (false, vec![]));

    let answering = async {
        let asked = kazoo.next("get_req").await;
        assert_eq!(
            (&asked["Account-ID"], &asked["Auth-Account-ID"]),
            (&json!(A), &json!(A))
        );
        assert_eq!(asked["System-Log-ID"], asked["Msg-ID"]);
        let answer = |data: Value, node: &str, id: &Value| {
            json!({"Data":data,"Msg-ID":id,"Event-Category":"websockets","Event-Name":"get_resp",
                "App-Name":"blackhole","App-Version":"4.0.0","Node":node})
        };
        let queue = asked["Server-ID"].as_str().unwrap();
        let list = json!([socket("k1")]);
        let wrong = answer(json!([socket("no")]), "apps1", &json!("another"));
        kazoo.say("targeted", queue, &wrong).await;
        let first = answer(list, "apps1", &asked["Msg-ID"]);
        kazoo.say("targeted", queue, &first).await;
        let second = answer(json!(socket("k2")), "apps2", &asked["Msg-ID"]);
        kazoo.say("targeted", queue, &second).await;
    };
    let start = Instant::now();
    let question = all_of(A);
    let (gathered, ()) = tokio::join!(a.gather(&question), answering);
    assert_eq!(gathered, (vec!["k1".to_owned(), "k2".into()], vec![]));
    assert!(start.elapsed() < Duration::from_secs(2), "all had answered");

    // One that stops the application is not asked any more.
    kazoo.advertise("apps1", json!([])).await;
    a.sees(&["apps2"]).await;
    assert_eq!(
        a.gather(&question).await,
        (vec![], vec!["apps2".to_owned()])
    );
}

#[tokio::test]
async fn alone_there_is_nobody() {
    let alone = Cluster::alone();
    assert!(!alone.connected());
    assert!(alone.peers().is_empty());
    assert_eq!(
        alone.sockets(&all_of(A)).await.missing,
        Vec::<String>::new()
    );
    assert_eq!(alone.close_socket(&account(A), "x").await, (false, vec![]));
    assert!(alone.tell(json!(1)).await);
    alone.stop().await;
}
