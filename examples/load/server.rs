//! The server as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::allow_open_files;

/// For the server to open its ports.
const START: Duration = Duration::from_secs(20);
/// Of one event on its way, rounded up.
const EVENT_BYTES: usize = 4096;

/// A server that runs; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    pub(crate) ws: SocketAddr,
    pub(crate) api: SocketAddr,
    /// Of the master account.
    pub(crate) token: String,
    /// Id of the master account.
    pub(crate) account: String,
    // Goes after the process that writes to it.
    _folder: TempDir,
}

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts a server for this many sockets and events under way; it is ready when this returns.
    pub(crate) async fn start(
        binary: &Path,
        sockets: usize,
        window: usize,
    ) -> anyhow::Result<Self> {
        allow_open_files(sockets)?;
        let binary = binary.to_owned();
        tokio::task::spawn_blocking(move || Self::start_now(&binary, window)).await?
    }

    fn start_now(binary: &Path, window: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary directory")?;
        let data = folder.path().join("data");
        let mut command = gateway(binary, &data);
        command.args([
            "--listen",
            "127.0.0.1",
            "--ws-port",
            "0",
            "--wss-port",
            "off",
        ]);
        command.args(["--api-port", "0"]);
        // A slow client may have the whole window waiting; being closed for it is not what is measured.
        let waiting = (2 * window * EVENT_BYTES).div_ceil(1024).max(1024);
        for set in [
            format!("tls.development_dir={}", folder.path().display()),
            format!("socket.max_waiting_bytes={waiting}KiB"),
            "socket.max_per_address=1000000".into(),
            "socket.ping_interval=off".into(),
            "socket.rate_burst=1000".into(),
            "log.level=warn".into(),
        ] {
            command.args(["--set", &set]);
        }
        let child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot run {}", binary.display()))?;
        let mut process = Process(child);
        let output = process.0.stdout.take().context("no output")?;
        let (ws, api) = addresses(&lines(output))?;
        let token = output_of(gateway(binary, &data).args(["token", "--account", "master"]))?;
        Ok(Self {
            process,
            ws,
            api,
            token: token.trim().to_owned(),
            account: master(binary, &data)?,
            _folder: folder,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// The program with a data directory, and without settings from our environment.
fn gateway(binary: &Path, data: &PathBuf) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BLACKHOLE_") {
            command.env_remove(name);
        }
    }
    command.arg("--data-dir").arg(data);
    command
}

/// Lines of the server's output. The thread reads on, so that the server never waits for us.
fn lines(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens any more once the addresses are known.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Of ws and the API.
fn addresses(lines: &Receiver<String>) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let deadline = Instant::now() + START;
    let (mut ws, mut api) = (None, None);
    loop {
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => bail!("the server was not ready in {START:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the server ended before it was ready"),
        };
        let mut words = line.split_whitespace();
        let (name, url) = (words.next(), words.next().unwrap_or_default());
        let address = url
            .split_once("://")
            .and_then(|(_, rest)| rest.parse().ok());
        match name {
            Some("ws") => ws = address,
            Some("api") => api = address,
            _ => {}
        }
        if let (Some(ws), Some(api)) = (ws, api) {
            return Ok((ws, api));
        }
    }
}

fn master(binary: &Path, data: &PathBuf) -> anyhow::Result<String> {
    let text = output_of(gateway(binary, data).args(["account", "list", "--json"]))?;
    let accounts: Value = serde_json::from_str(&text).context("the list of accounts")?;
    let mut accounts = accounts.as_array().into_iter().flatten();
    let master = accounts.find(|account| account["parent"].is_null());
    let id = master.and_then(|account| account["id"].as_str());
    Ok(id.context("there is no master account")?.to_owned())
}

fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
