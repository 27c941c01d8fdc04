//! The real binary on free ports, killed when dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{A, Answer, B, Client, PATIENCE, request};

pub(crate) struct Server {
    pub(crate) ws: Option<SocketAddr>,
    pub(crate) wss: Option<SocketAddr>,
    pub(crate) api: SocketAddr,
    /// What was printed when the ports were open, with the limits in force.
    pub(crate) greeting: Vec<String>,
    /// What was printed after that, so far.
    later: Arc<Mutex<String>>,
    pub(crate) process: Child,
    /// Shared by servers on the same data.
    folder: Arc<TempDir>,
    log: PathBuf,
}

pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) token: String,
}

fn binary() -> Command {
    launched(&[])
}

/// The binary, started by another command.
fn launched(by: &[&str]) -> Command {
    let whole = [by, &[env!("CARGO_BIN_EXE_blackhole")]].concat();
    let mut command = Command::new(whole[0]);
    command.args(&whole[1..]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BLACKHOLE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Server {
    /// On the embedded bus.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more flags.
    pub(crate) async fn with(flags: &[&str]) -> Self {
        Self::try_with(flags)
            .await
            .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// As `with`, but gives the log of a start that failed.
    pub(crate) async fn try_with(flags: &[&str]) -> Result<Self, String> {
        Self::over(Arc::new(tempfile::tempdir().unwrap()), flags).await
    }

    /// Started by another command, which gets the binary and its arguments.
    pub(crate) async fn launched(by: &[&str], flags: &[&str]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let started = Self::spawn(launched(by), folder, flags).await;
        started.unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Another server on the same data directory.
    pub(crate) async fn beside(&self, flags: &[&str]) -> Self {
        let started = Self::over(self.folder.clone(), flags).await;
        started.unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Another server on a copy of the data as it is now, as on another machine.
    pub(crate) async fn copied(&self, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let database = self.folder.path().join("data/blackhole.sqlite");
        let copy = data.join("blackhole.sqlite").display().to_string();
        let connection = rusqlite::Connection::open(database).unwrap();
        connection.execute("VACUUM INTO ?1", [copy]).unwrap();
        let started = Self::over(Arc::new(folder), flags).await;
        started.unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Ends it, and starts it again over the same data, on other ports.
    pub(crate) async fn restarted(mut self, flags: &[&str]) -> Self {
        self.signal("-TERM");
        assert_eq!(self.ended().await, Some(0));
        self.beside(flags).await
    }

    async fn over(folder: Arc<TempDir>, flags: &[&str]) -> Result<Self, String> {
        Self::spawn(binary(), folder, flags).await
    }

    async fn spawn(
        mut command: Command,
        folder: Arc<TempDir>,
        flags: &[&str],
    ) -> Result<Self, String> {
        let (log, path) = tempfile::Builder::new()
            .prefix("log")
            .tempfile_in(folder.path())
            .unwrap()
            .keep()
            .unwrap();
        let names = ["--ws-port", "--wss-port", "--api-port"];
        let free = names.into_iter().filter(|name| !flags.contains(name));
        let ports = free.flat_map(|name| [name, "0"]);
        let mut process = command
            .args(ports)
            .args(["--set", "stop.window=2s", "--set", "log.level=debug"])
            .args(Self::places(folder.path()))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut greeting = Vec::new();
        while let Ok(Some(line)) = timeout(PATIENCE, lines.next_line()).await.unwrap() {
            let last = line.trim_start().starts_with("- waiting ");
            greeting.push(line);
            if last {
                break;
            }
        }
        let port = |name: &str| {
            let line = greeting
                .iter()
                .find(|line| line.trim_start().starts_with(name))?;
            line.split("://")
                .nth(1)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        let Some(api) = port("api ") else {
            process.wait().await.unwrap();
            return Err(std::fs::read_to_string(path).unwrap());
        };
        let (ws, wss) = (port("ws "), port("wss "));
        // The rest of what it prints must not block it.
        let later = Arc::new(Mutex::new(String::new()));
        let rest = later.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                rest.lock().unwrap().extend([&line, "\n"]);
            }
        });
        Ok(Self {
            ws,
            wss,
            api,
            greeting,
            later,
            process,
            folder,
            log: path,
        })
    }

    fn places(folder: &Path) -> Vec<String> {
        vec![
            "--data-dir".into(),
            folder.join("data").display().to_string(),
            "--set".into(),
            format!("tls.development_dir={}", folder.join("certs").display()),
        ]
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A line that is printed at the first start only, from these words on.
    pub(crate) async fn introduction(&self, words: &str) -> String {
        super::until(words, async || {
            let later = self.later.lock().unwrap();
            let whole = later.lines().filter(|_| later.ends_with('\n'));
            let mut found = whole.filter_map(|line| line.split_once(words));
            found.next().map(|(_, rest)| rest.to_owned())
        })
        .await
    }

    /// All that was printed so far.
    pub(crate) fn printed(&self) -> String {
        format!(
            "{}\n{}",
            self.greeting.join("\n"),
            self.later.lock().unwrap()
        )
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Runs another command of the binary over this server's data.
    pub(crate) async fn command(&self, arguments: &[&str]) -> Output {
        let output = self.prepared(arguments).output();
        timeout(PATIENCE, output).await.unwrap().unwrap()
    }

    /// Another command, to be run at will.
    pub(crate) fn prepared(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command
            .args(arguments)
            .args(Self::places(self.folder.path()))
            .args(["--api-port", &self.api.port().to_string()]);
        command
    }

    /// The same, which must succeed; what it printed.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    pub(crate) async fn token(&self, account: &str) -> String {
        self.run(&["token", "--account", account]).await
    }

    /// The master account, whose users are super-duper admins.
    pub(crate) async fn master(&self) -> Account {
        let list: Value =
            serde_json::from_str(&self.run(&["account", "list", "--json"]).await).unwrap();
        let id = list[0]["id"].as_str().unwrap().to_owned();
        Account {
            token: self.token(&id).await,
            id,
        }
    }

    /// An account of this id; the ones of the fixtures have the fixtures' realms. The server knows it
    /// when this returns.
    pub(crate) async fn account(&self, id: &str) -> Account {
        let realm = match id {
            A => "a3f1c2.sip.example.net".to_owned(),
            B => "other.example.net".to_owned(),
            other => format!("{other}.example.net"),
        };
        self.run(&[
            "account", "create", "--name", id, "--id", id, "--realm", &realm,
        ])
        .await;
        let account = Account {
            id: id.to_owned(),
            token: self.token(id).await,
        };
        super::until("the server knows the account", async || {
            let mut client = self.client().await;
            client
                .send(json!({"action":"ping","auth_token":account.token}))
                .await;
            (client.reply().await["status"] == "success").then_some(())
        })
        .await;
        account
    }

    pub(crate) async fn client(&self) -> Client {
        Client::ws(self.ws.unwrap()).await
    }

    pub(crate) async fn tls_client(&self) -> Client {
        Client::wss(self.wss.unwrap(), &self.certificate()).await
    }

    /// One that will not read for long: its kernel takes little for it.
    pub(crate) async fn narrow_client(&self, tls: bool) -> Client {
        if tls {
            Client::narrow_wss(self.wss.unwrap(), &self.certificate()).await
        } else {
            Client::narrow_ws(self.ws.unwrap()).await
        }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certs/development.pem")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        request(self.api, "GET", path, &[], "").await
    }

    /// Publishes through REST.
    pub(crate) async fn publish(
        &self,
        master: &Account,
        exchange: &str,
        key: &str,
        payload: &Value,
    ) -> bool {
        let body =
            json!({"data":{"exchange":exchange,"routing_key":key,"payload":payload}}).to_string();
        let answer = request(
            self.api,
            "PUT",
            "/v2/events",
            &[("x-auth-token", &master.token)],
            &body,
        )
        .await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["data"]["routed"].as_bool().unwrap()
    }

    /// One value of `/metrics`; 0 where it is not there yet.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The sum of a family's values, over all labels.
    pub(crate) async fn metric_in_all(&self, family: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(family)?;
            let (_, value) = rest.strip_prefix('{')?.rsplit_once(' ')?;
            value.parse::<f64>().ok()
        });
        values.sum()
    }

    /// Waits until a metric is exactly that.
    pub(crate) async fn comes_to(&self, name: &str, value: f64) {
        let what = format!("{name} {value}");
        super::until(&what, async || {
            ((self.metric(name).await - value).abs() < 0.5).then_some(())
        })
        .await;
    }

    /// Bytes of memory that the process has had at most, so far.
    pub(crate) fn peak_memory(&self) -> usize {
        let file = format!("/proc/{}/status", self.process.id().unwrap());
        let status = std::fs::read_to_string(file).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes: usize = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kibibytes * 1024
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().unwrap().to_string();
        let status = std::process::Command::new("kill")
            .args([name, &pid])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end of the process; its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        timeout(PATIENCE, self.process.wait())
            .await
            .unwrap()
            .unwrap()
            .code()
    }
}
