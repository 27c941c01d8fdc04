//! Clients that do not read, and other ways to ask too much: who is closed, who is not, what is told and
//! counted.

use std::collections::HashMap;
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{
    A, Account, B, Client, Feed, PATIENCE, Publisher, Server, Vhost, call, subscribe, until,
};

const MIB: usize = 1 << 20;
/// Padding of a usual event, which fits a TLS record, and of a large one.
const SMALL: usize = 12_000;
const LARGE: usize = 100_000;
/// The event after which a reader stops.
const END: &str = "the-end";

const CLOSED: &str = "blackhole_sockets_closed_total";
const LIMITS: &str = "blackhole_limits_reached_total";
const LOST: &str = "blackhole_deliveries_lost_total";
const WAITING: &str = "blackhole_sockets_waiting";
const WAITING_BYTES: &str = "blackhole_waiting_bytes";

/// A server with its master account, and account A.
struct World {
    server: Server,
    account: Account,
    feed: Feed,
}

impl World {
    async fn new(settings: &[&str]) -> Self {
        let server = Server::with(&flags(settings)).await;
        let master = server.master().await;
        let account = server.account(A).await;
        let feed = Feed::new(&server, &master).await;
        Self {
            server,
            account,
            feed,
        }
    }

    /// A client that will not read, under this name, with the calls of this id for itself.
    async fn stalled(&self, name: &str, tls: bool) -> Client {
        let mut client = self.server.narrow_client(tls).await;
        self.wants_own_calls(&mut client, name).await;
        client
    }

    async fn wants_own_calls(&self, client: &mut Client, name: &str) {
        let binding = format!("call.CHANNEL_CREATE.{name}");
        let mut wanted = subscribe(&self.account.token, A, &binding);
        wanted["name"] = name.into();
        let reply = client.ask(wanted).await;
        assert_eq!(reply["status"], "success", "{reply}");
    }

    /// A client that reads all calls.
    async fn reader(&self, tls: bool) -> Reader {
        let mut client = if tls {
            self.server.tls_client().await
        } else {
            self.server.client().await
        };
        client
            .subscribe(&self.account, "call.CHANNEL_CREATE.*")
            .await;
        Reader::of(client)
    }

    /// Bytes that wait for each named socket, as the API lists them.
    async fn waiting(&self) -> HashMap<String, u64> {
        let path = format!("{}/websockets", self.account.path());
        let caller = self.server.of(&self.account);
        let answer = until("the account may list its sockets", async || {
            let answer = caller.get(&path).await;
            (answer.status != 429).then_some(answer)
        })
        .await;
        let list = answer.data(200);
        let sockets = list.as_array().unwrap().iter();
        let named = sockets.filter_map(|socket| {
            let bytes = socket["waiting_bytes"].as_u64().unwrap();
            Some((socket["name"].as_str()?.to_owned(), bytes))
        });
        named.collect()
    }

    /// Publishes to each until something waits for each of them (or did, and it is closed already).
    async fn fill(&mut self, names: &[String]) {
        let (deadline, mut settled) = (Instant::now() + PATIENCE, 0);
        loop {
            let waiting = self.waiting().await;
            let more: Vec<_> = names
                .iter()
                .filter(|name| waiting.get(*name) == Some(&0))
                .cloned()
                .collect();
            if more.is_empty() {
                // Not just until the socket's task gets to it.
                settled += 1;
                if settled == 5 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            settled = 0;
            assert!(Instant::now() < deadline, "nothing waits: {waiting:?}");
            for name in more {
                for _ in 0..4 {
                    self.feed.call(&name, SMALL).await;
                }
            }
        }
    }

    /// The last event, and what the readers say of all of them: the same, in order, with none missing.
    async fn ends(&mut self, readers: Vec<Reader>) -> Vec<Vec<Instant>> {
        self.feed.call(END, 0).await;
        let mut arrivals = Vec::new();
        for reader in readers {
            let times = timeout(PATIENCE, reader.0).await.unwrap().unwrap();
            assert_eq!(times.len(), self.feed.count);
            arrivals.push(times);
        }
        arrivals
    }

    /// No frame is lost in silence: what was not written is counted as lost. And nothing waits.
    async fn books_are_in_order(&self) {
        until("every delivery is accounted for", async || {
            let put = self.server.metric("blackhole_deliveries_total").await;
            let written = self.server.metric("blackhole_frames_written_total").await;
            let lost = self.server.metric_in_all(LOST).await;
            ((put - written - lost).abs() < 0.5).then_some(())
        })
        .await;
        for gauge in [WAITING, WAITING_BYTES] {
            self.server.comes_to(gauge, 0.0).await;
        }
    }
}

/// Reads all calls until the last, in a task of its own.
struct Reader(JoinHandle<Vec<Instant>>);

impl Reader {
    fn of(mut client: Client) -> Self {
        Self(tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let event = client.event().await;
                assert_eq!(event["data"]["number"], times.len());
                times.push(Instant::now());
                if event["data"]["call_id"] == END {
                    return times;
                }
            }
        }))
    }
}

fn flags<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    let pairs = settings.iter().flat_map(|setting| ["--set", setting]);
    pairs.collect()
}

fn of(family: &str, label: &str, value: &str) -> String {
    format!("{family}{{{label}=\"{value}\"}}")
}

async fn counts(server: &Server, family: &str, label: &str, value: &str, expected: f64) {
    server.comes_to(&of(family, label, value), expected).await;
}

/// The N of `slow consumer: N bytes waiting`.
async fn bytes_at_close(client: &mut Client) -> usize {
    let closed = client.closed().await;
    assert_eq!(closed.code, 1008, "{closed:?}");
    let number = closed.reason.strip_prefix("slow consumer: ");
    let number = number.and_then(|rest| rest.strip_suffix(" bytes waiting"));
    let number = number.unwrap_or_else(|| panic!("{closed:?}"));
    number.parse().unwrap()
}

/// The time within which nine of ten came.
fn usual(sent: &[Instant], came: &[Instant]) -> Duration {
    let mut times: Vec<_> = sent.iter().zip(came).map(|(a, b)| *b - *a).collect();
    times.sort();
    times[times.len() * 9 / 10]
}

#[tokio::test]
async fn clients_that_never_read_are_closed_and_harm_nobody() {
    const CALM: usize = 150;
    let mut world = World::new(&[]).await;
    let mut sent = Vec::new();
    let mut readers = Vec::new();
    for tls in [false, false, true] {
        readers.push(world.reader(tls).await);
    }
    for _ in 0..CALM {
        sent.push(Instant::now());
        world.feed.call("nobody", SMALL).await;
    }

    let (mut names, mut stalled) = (Vec::new(), HashMap::new());
    for (number, tls) in [false, false, false, true, true, true].iter().enumerate() {
        let name = format!("stalled-{number}");
        stalled.insert(name.clone(), world.stalled(&name, *tls).await);
        names.push(name);
    }
    world.fill(&names).await;
    let server = &world.server;
    server.comes_to(WAITING, 6.0).await;
    let listed: u64 = world.waiting().await.values().sum();
    let counted = server.metric(WAITING_BYTES).await;
    assert!(counted >= listed as f64, "{counted} of {listed}");
    let histogram = "blackhole_socket_waiting_bytes_count";
    assert!(server.metric(histogram).await >= 6.0);

    // They wait, and others do not.
    let begun = world.feed.count;
    let mut beside = Vec::new();
    for _ in 0..CALM {
        beside.push(Instant::now());
        world.feed.call("nobody", SMALL).await;
    }
    assert!(world.waiting().await.values().all(|bytes| *bytes > 0));

    // Five times as much for each as may wait for it.
    let before = world.server.peak_memory();
    let mut closing: Vec<JoinHandle<usize>> = Vec::new();
    for _ in 0..5 * MIB / LARGE {
        for name in &names {
            world.feed.call(name, LARGE).await;
        }
        let open = world.waiting().await;
        let ended: Vec<_> = stalled
            .extract_if(|name, _| !open.contains_key(name))
            .collect();
        // It reads at last, and finds why.
        closing.extend(
            ended.into_iter().map(|(_, mut client)| {
                tokio::spawn(async move { bytes_at_close(&mut client).await })
            }),
        );
        assert!(open.values().all(|bytes| *bytes <= MIB as u64), "{open:?}");
    }
    assert!(stalled.is_empty(), "still open: {:?}", stalled.keys());
    for closed in closing {
        let bytes = timeout(PATIENCE, closed).await.unwrap().unwrap();
        assert!((MIB + 1..MIB + 2 * LARGE).contains(&bytes), "{bytes}");
    }
    let grown = world.server.peak_memory() - before;
    assert!(grown < 6 * MIB + 12 * MIB, "{grown} bytes more");

    let arrivals = world.ends(readers).await;
    for came in arrivals {
        let calm = usual(&sent, &came);
        let pressed = usual(&beside, &came[begun..]);
        eprintln!("calm {calm:?}, beside stalled ones {pressed:?}, memory +{grown}");
        let bound = (10 * calm).max(Duration::from_secs(1));
        assert!(pressed < bound, "{pressed:?} after {calm:?}");
    }
    let server = &world.server;
    counts(server, CLOSED, "reason", "slow_consumer", 6.0).await;
    counts(server, LIMITS, "limit", "waiting_bytes", 6.0).await;
    assert!(server.metric(&of(LOST, "reason", "slow_consumer")).await >= 6.0);
    world.books_are_in_order().await;
}

/// A kernel does not tell the sender of room for a byte: as long as nothing else comes, the write
/// deadline ends it; when more comes than may wait, that does.
#[tokio::test]
async fn a_byte_a_second_is_too_slow() {
    for (settings, flood) in [
        (
            ["socket.write_timeout=2s", "socket.max_waiting_bytes=1MiB"],
            false,
        ),
        (
            ["socket.write_timeout=1h", "socket.max_waiting_bytes=64KiB"],
            true,
        ),
    ] {
        let mut world = World::new(&settings).await;
        let reader = world.reader(false).await;
        let address = world.server.ws.unwrap();
        let (mut client, slow) = Client::trickling_ws(address).await;
        world.wants_own_calls(&mut client, "trickle").await;
        slow.store(true, Ordering::Relaxed);
        let closed = tokio::spawn(async move { client.closed().await });
        let subscriptions = "blackhole_subscriptions";
        if flood {
            until("too much waits", async || {
                world.feed.call("trickle", SMALL).await;
                (world.server.metric(subscriptions).await < 1.5).then_some(())
            })
            .await;
        } else {
            world.fill(&["trickle".to_owned()]).await;
            world.server.comes_to(subscriptions, 1.0).await;
        }
        slow.store(false, Ordering::Relaxed);
        let closed = timeout(PATIENCE, closed).await.unwrap().unwrap();
        assert_eq!(closed.code, 1008);
        let (text, label) = if flood {
            (" bytes waiting", "slow_consumer")
        } else {
            ("slow consumer: a write took too long", "write_timeout")
        };
        assert!(closed.reason.ends_with(text), "{closed:?}");
        counts(&world.server, CLOSED, "reason", label, 1.0).await;
        world.ends(vec![reader]).await;
        world.books_are_in_order().await;
    }
}

#[tokio::test]
async fn a_write_that_takes_too_long_ends_a_socket_however_little_waits() {
    for tls in [false, true] {
        let mut world = World::new(&[
            "socket.write_timeout=2s",
            "socket.max_waiting_bytes=64MiB",
            "socket.ping_interval=off",
        ])
        .await;
        let reader = world.reader(false).await;
        let mut stalled = world.stalled("stalled", tls).await;
        let since = Instant::now();
        world.fill(&["stalled".to_owned()]).await;
        for _ in 0..3 {
            world.feed.call("stalled", SMALL).await;
        }
        world.server.comes_to("blackhole_subscriptions", 1.0).await;
        assert!(since.elapsed() >= Duration::from_secs(2), "too early");
        let closed = stalled.closed().await;
        let told = (closed.code, &*closed.reason);
        assert_eq!(told, (1008, "slow consumer: a write took too long"));
        counts(&world.server, CLOSED, "reason", "write_timeout", 1.0).await;
        assert!(
            world
                .server
                .metric(&of(LOST, "reason", "write_timeout"))
                .await
                >= 1.0
        );
        // It is no limit on bytes that was reached.
        assert!(world.server.metric_in_all(LIMITS).await < 0.5);
        world.ends(vec![reader]).await;
        world.books_are_in_order().await;
    }
}

/// The one with most goes, even when another one is who gets more just now.
#[tokio::test]
async fn over_the_budget_of_all_the_largest_debtor_goes_first() {
    for tls in [false, true] {
        let mut world = World::new(&[
            "socket.max_waiting_bytes=64MiB",
            "socket.max_waiting_bytes_in_all=16MiB",
            "socket.write_timeout=1h",
        ])
        .await;
        let reader = world.reader(false).await;
        let names = ["most", "more", "little"].map(str::to_owned);
        let mut most = world.stalled("most", tls).await;
        let mut more = world.stalled("more", tls).await;
        let mut little = world.stalled("little", tls).await;
        world.fill(&names).await;
        // Until the sockets have 9 MiB and 1 MiB, and then another gets what is more than all may have.
        for (name, enough) in [("most", 9 * MIB), ("little", MIB)] {
            while world.waiting().await[name] < enough as u64 {
                for _ in 0..4 {
                    world.feed.call(name, LARGE).await;
                }
            }
        }
        until("one has to go", async || {
            world.feed.call("more", LARGE).await;
            (world.server.metric("blackhole_subscriptions").await < 3.5).then_some(())
        })
        .await;
        let bytes = bytes_at_close(&mut most).await;
        assert!((9 * MIB..15 * MIB).contains(&bytes), "{bytes}");
        let server = &world.server;
        counts(server, CLOSED, "reason", "over_budget", 1.0).await;
        counts(server, LIMITS, "limit", "waiting_bytes_in_all", 1.0).await;
        assert!(server.metric(&of(LOST, "reason", "over_budget")).await >= 9.0);

        // The others are there, and get all of theirs as soon as they read.
        for (client, name) in [(&mut more, "more"), (&mut little, "little")] {
            world.feed.call(name, 0).await;
            let last = world.feed.count - 1;
            let mut before = None;
            loop {
                let event = client.event().await;
                assert_eq!(event["data"]["call_id"], name);
                let number = event["data"]["number"].as_u64();
                assert!(number > before, "{number:?} after {before:?}");
                before = number;
                if number == Some(last as u64) {
                    break;
                }
            }
        }
        world.ends(vec![reader]).await;
        world.books_are_in_order().await;
        let slow = of(CLOSED, "reason", "slow_consumer");
        assert!(world.server.metric(&slow).await < 0.5);
    }
}

/// Set in the process that is alone in its network namespace.
const ALONE: &str = "TEST_ALONE_ON_ITS_NETWORK";

/// A link goes down, and with it a client: no FIN, no RST, nothing. Needs a network of its own, so that
/// this test runs once more, alone on one.
#[tokio::test]
async fn who_vanishes_without_a_word_is_found() {
    if std::env::var_os(ALONE).is_some() {
        return vanish().await;
    }
    let mut networks = [&["--net"][..], &["--net", "--map-root-user"]].into_iter();
    let may = |how: &&[&str]| {
        let link = ["ip", "link", "add", "here", "type", "veth", "peer", "there"];
        let made = std::process::Command::new("unshare")
            .args(*how)
            .args(link)
            .output();
        made.is_ok_and(|made| made.status.success())
    };
    let Some(how) = networks.find(may) else {
        // Past the test's captured output.
        let _ = std::io::stderr().write_all(
            b"\nSKIPPED: pressure::who_vanishes_without_a_word_is_found: \
              no network namespace of one's own here (needs unshare, ip, and root or user namespaces)\n",
        );
        return;
    };
    let run = Command::new("unshare")
        .args(how)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "pressure::who_vanishes_without_a_word_is_found"])
        .env(ALONE, "1")
        .kill_on_drop(true)
        .output();
    let output = timeout(3 * PATIENCE, run).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

async fn vanish() {
    let mut there = Elsewhere::new().await;
    let pid = there.shell.id().unwrap();
    for arguments in [
        "link set lo up",
        &format!("link add here type veth peer name there netns {pid}"),
        "address add 10.9.0.1/24 dev here",
        "link set here up",
    ] {
        let run = Command::new("ip").args(arguments.split(' ')).status();
        assert!(run.await.unwrap().success(), "ip {arguments}");
    }
    there
        .run("ip address add 10.9.0.2/24 dev there && ip link set there up")
        .await;
    let pinged = World::new(&["listen=10.9.0.1", "socket.ping_interval=1s"]).await;
    let settings = [
        "listen=10.9.0.1",
        "socket.ping_interval=off",
        "socket.write_timeout=2s",
    ];
    let mut written = World::new(&settings).await;
    for world in [&pinged, &written] {
        there.connect(world).await;
    }
    let reader = written.reader(false).await;
    there.run("ip link set there down").await;
    let sockets = "blackhole_sockets{transport=\"ws\"}";
    written.server.comes_to(sockets, 2.0).await;

    // It answers no ping.
    counts(&pinged.server, CLOSED, "reason", "dead", 1.0).await;
    // Nothing is acknowledged: what is sent piles up, and then a write takes too long.
    written.fill(&["vanished".to_owned()]).await;
    counts(&written.server, CLOSED, "reason", "write_timeout", 1.0).await;
    written.server.comes_to(sockets, 1.0).await;
    written.ends(vec![reader]).await;
    for world in [pinged, written] {
        world.server.comes_to("blackhole_subscriptions", 0.0).await;
        world.books_are_in_order().await;
    }
    there.run("kill $(jobs -p)").await;
}

/// A shell on a network of its own.
struct Elsewhere {
    shell: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    folder: tempfile::TempDir,
    clients: usize,
}

impl Elsewhere {
    async fn new() -> Self {
        let mut shell = Command::new("unshare")
            .args(["--net", "bash"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mut new = Self {
            shell,
            lines,
            folder: tempfile::tempdir().unwrap(),
            clients: 0,
        };
        new.run("true").await;
        new
    }

    async fn run(&mut self, script: &str) {
        let input = self.shell.stdin.as_mut().unwrap();
        let script = format!("{script}\necho $?\n");
        input.write_all(script.as_bytes()).await.unwrap();
        let line = timeout(PATIENCE, self.lines.next_line()).await.unwrap();
        assert_eq!(line.unwrap().as_deref(), Some("0"), "{script}");
    }

    /// A client from there that subscribes, and reads as long as it can.
    async fn connect(&mut self, world: &World) {
        self.clients += 1;
        let [request, answer] = ["request", "answer"]
            .map(|name| self.folder.path().join(format!("{name}-{}", self.clients)));
        let binding = "call.CHANNEL_CREATE.vanished";
        let mut wanted = subscribe(&world.account.token, A, binding);
        wanted["name"] = "vanished".into();
        let wanted = wanted.to_string();
        let mut bytes = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            .to_vec();
        // A text of less than 64 KiB, masked with nothing.
        bytes.extend([0x81, 0x80 | 126]);
        bytes.extend(u16::try_from(wanted.len()).unwrap().to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(wanted.bytes());
        std::fs::write(&request, bytes).unwrap();
        let address = world.server.ws.unwrap();
        let (ip, port) = (address.ip(), address.port());
        let (request, shown) = (request.display(), answer.display());
        self.run(&format!(
            "{{ exec 3<>/dev/tcp/{ip}/{port}; }} && cat {request} >&3 && {{ timeout 120 cat <&3 >{shown} 2>&1 & }}"
        ))
        .await;
        until("it is subscribed", async || {
            let got = std::fs::read(&answer).unwrap_or_default();
            String::from_utf8_lossy(&got)
                .contains("\"status\":\"success\"")
                .then_some(())
        })
        .await;
    }
}

/// Sockets in all, and of an account: the next one is told, and has a place when another one leaves.
#[tokio::test]
async fn who_finds_no_place_is_told_and_comes_in_when_one_leaves() {
    let server = Server::with(&flags(&["socket.max_open=3", "socket.max_per_account=2"])).await;
    let (a, b) = (server.account(A).await, server.account(B).await);
    server
        .comes_to("blackhole_sockets{transport=\"ws\"}", 0.0)
        .await;
    let log_in = |account: &Account| json!({"action":"ping","auth_token":account.token});
    let mut of_a = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        assert_eq!(client.ask(log_in(&a)).await["status"], "success");
        of_a.push(client);
    }
    let mut third = server.client().await;
    third.send(log_in(&a)).await;
    let closed = third.closed().await;
    let told = (closed.code, &*closed.reason);
    assert_eq!(told, (1013, "too many sockets: at most 2 for an account"));
    counts(&server, LIMITS, "limit", "sockets_of_account", 1.0).await;
    counts(&server, CLOSED, "reason", "account_full", 1.0).await;
    // Another account has room, and is the last that fits.
    let mut of_b = server.client().await;
    assert_eq!(of_b.ask(log_in(&b)).await["status"], "success");
    for tls in [false, true] {
        let mut fourth = server.narrow_client(tls).await;
        let closed = fourth.closed().await;
        let told = (closed.code, &*closed.reason);
        assert_eq!(told, (1013, "the gateway is full: at most 3 sockets"));
    }
    counts(&server, LIMITS, "limit", "sockets", 2.0).await;
    counts(&server, CLOSED, "reason", "full", 2.0).await;
    for client in of_a.iter_mut().chain([&mut of_b]) {
        client.lives().await;
    }
    of_a.pop().unwrap().leave().await;
    until("both have room again", async || {
        let mut client = server.client().await;
        let sent = client.try_send_text(&log_in(&a).to_string()).await;
        let answered = sent.is_ok() && client.next().await.is_some_and(|frame| frame.is_text());
        answered.then_some(())
    })
    .await;
}

#[tokio::test]
async fn subscriptions_of_an_account_are_counted_over_its_sockets() {
    let settings = ["socket.max_subscriptions_per_account=3"];
    let server = Server::with(&flags(&settings)).await;
    let (a, b) = (server.account(A).await, server.account(B).await);
    let call = |id: &str| format!("call.CHANNEL_CREATE.{id}");
    let wanted = |id: &str| subscribe(&a.token, A, &call(id));
    let full = "too many subscriptions: at most 3 for an account";
    let mut one = server.client().await;
    let mut two = server.client().await;
    one.subscribe(&a, &call("1")).await;
    one.subscribe(&a, &call("2")).await;
    two.subscribe(&a, &call("1")).await;
    assert_eq!(two.error(wanted("3")).await, full);
    counts(&server, LIMITS, "limit", "subscriptions_of_account", 1.0).await;
    // Nine at once do not fit, and take no part of what is left.
    let unsubscribe =
        |id: &str| json!({"action":"unsubscribe","data":{"account_id":A,"binding":call(id)}});
    let reply = one.ask(unsubscribe("2")).await;
    assert_eq!(reply["status"], "success", "{reply}");
    assert_eq!(two.error(subscribe(&a.token, A, "call.*.*")).await, full);
    counts(&server, LIMITS, "limit", "subscriptions_of_account", 2.0).await;
    two.subscribe(&a, &call("4")).await;
    assert_eq!(one.error(wanted("5")).await, full);
    // Another account is not concerned.
    let mut other = server.client().await;
    other.subscribe(&b, &call("1")).await;
    // All of a socket's come back when it is gone, however it goes.
    drop(two);
    server.comes_to("blackhole_subscriptions", 2.0).await;
    one.subscribe(&a, &call("5")).await;
    one.subscribe(&a, &call("6")).await;
    assert_eq!(one.error(wanted("7")).await, full);
    one.lives().await;
}

#[tokio::test]
async fn different_subscriptions_of_a_node_are_limited() {
    let server = Server::with(&flags(&["socket.max_groups=2"])).await;
    let (a, b) = (server.account(A).await, server.account(B).await);
    let call = |id: &str| format!("call.CHANNEL_CREATE.{id}");
    let full = "too many different subscriptions: at most 2 on this node";
    let mut one = server.client().await;
    let mut two = server.client().await;
    let mut other = server.client().await;
    // Equal ones are one.
    one.subscribe(&a, &call("1")).await;
    two.subscribe(&a, &call("1")).await;
    // The same words of another account are not equal.
    other.subscribe(&b, &call("1")).await;
    for (client, account) in [(&mut one, &a), (&mut other, &b)] {
        let wanted = subscribe(&account.token, &account.id, &call("2"));
        assert_eq!(client.error(wanted).await, full);
    }
    counts(&server, LIMITS, "limit", "groups", 2.0).await;
    // The last that has it gives it back.
    other.leave().await;
    server.comes_to("blackhole_subscriptions", 2.0).await;
    one.subscribe(&a, &call("2")).await;
    let wanted = subscribe(&a.token, A, &call("3"));
    assert_eq!(two.error(wanted).await, full);
    two.lives().await;
}

#[tokio::test]
async fn rates_and_addresses_are_counted() {
    let settings = [
        "socket.rate_burst=5",
        "socket.rate_per_second=1",
        "socket.max_subscriptions=2",
        "socket.max_per_address=2",
    ];
    let server = Server::with(&flags(&settings)).await;
    let account = server.account(A).await;
    server
        .comes_to("blackhole_sockets{transport=\"ws\"}", 0.0)
        .await;
    let before = server
        .metric(&of(LIMITS, "limit", "sockets_of_address"))
        .await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    let error = client.error(subscribe(&account.token, A, "call.*.*")).await;
    assert_eq!(error, "too many subscriptions: at most 2 for a socket");
    counts(&server, LIMITS, "limit", "subscriptions_of_socket", 1.0).await;
    let mut refused = 0.0;
    for _ in 0..20 {
        let reply = client.ask(json!({"action":"ping"})).await;
        if reply["status"] == "error" {
            let error = reply["data"]["errors"][0].as_str().unwrap();
            assert!(error.starts_with("rate limiting threshold hit for "));
            refused += 1.0;
        }
    }
    assert!(refused >= 1.0);
    counts(&server, LIMITS, "limit", "rate", refused).await;

    let _second = server.client().await;
    let third = Client::try_ws(server.ws.unwrap()).await;
    assert_eq!(third.err(), Some(429));
    counts(&server, LIMITS, "limit", "sockets_of_address", before + 1.0).await;
}

#[tokio::test]
async fn the_start_prints_the_limits_in_force() {
    let settings = flags(&[
        "socket.max_groups=77",
        "socket.max_waiting_bytes_in_all=16MiB",
    ]);
    let few_files = ["sh", "-c", "ulimit -n 2000 && exec \"$0\" \"$@\""];
    let server = Server::launched(&few_files, &settings).await;
    let printed = server.greeting.join("\n");
    for line in [
        "  - sockets        1000 in all (2000 open files), 1000 of an address, 10000 of an account",
        "  - subscriptions  1000 of a socket, 100000 of an account, 77 different ones",
        "  - messages       100 at once of a socket, then 10 a second",
        "  - waiting        1 MiB for a socket, 16 MiB for all",
    ] {
        assert!(printed.contains(line), "{line}\nin\n{printed}");
    }
}

/// More than may wait to be routed piles up while the gateway is halted: it takes what is on its way,
/// leaves the rest on the broker for a while, and nothing is lost or out of order.
#[tokio::test]
async fn what_does_not_fit_waits_on_the_broker() {
    // More than one in a hundred of them is more than may wait.
    const EVENTS: usize = 1_500;
    let vhost = Vhost::new().await;
    let settings = flags(&[
        "event.max_waiting_bytes=1MiB",
        "socket.max_waiting_bytes=64MiB",
    ]);
    let server = Server::with(&[&["--amqp-url", &vhost.url], &settings[..]].concat()).await;
    let account = server.account(A).await;
    let mut client = server.client().await;
    client.subscribe(&account, "call.CHANNEL_CREATE.*").await;
    let publisher = Publisher::connect(&vhost.url).await;
    let mut sent = 0;
    // A dispatcher that is quick enough can keep up with what one halt has piled up.
    for _ in 0..10 {
        server.signal("-STOP");
        let events = (sent..sent + EVENTS).map(|number| call("burst", number, 20_000).to_string());
        publisher
            .burst("callevt", "call.CHANNEL_CREATE.burst", events)
            .await;
        server.signal("-CONT");
        for number in sent..sent + EVENTS {
            assert_eq!(client.event().await["data"]["number"], number);
        }
        sent += EVENTS;
        if server.metric("blackhole_source_paused_total").await >= 1.0 {
            break;
        }
    }
    assert!(server.metric("blackhole_source_paused_total").await >= 1.0);
    assert!(server.metric_in_all("blackhole_events_dropped_total").await < 0.5);
    assert!(server.metric("blackhole_source_lost_total").await < 0.5);
    // It consumes again: the next event comes.
    let next = call("burst", sent, 0);
    publisher
        .json("callevt", "call.CHANNEL_CREATE.burst", &next)
        .await;
    assert_eq!(client.event().await["data"]["number"], sent);
}
