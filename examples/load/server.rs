//! The server as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tempfile::TempDir;

use crate::Lab;
use crate::crowd::Target;
use crate::process::{Watched, allow_open_files};

/// For the server to open its ports.
const START: Duration = Duration::from_secs(20);
/// Of one event on its way, rounded up.
const EVENT_BYTES: usize = 4096;

/// How a server is started.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) sockets: usize,
    /// Events under way at most. Bytes of as many may wait for a socket.
    pub(crate) window: usize,
    pub(crate) tls: bool,
    /// `--set` of these as well.
    pub(crate) settings: Vec<String>,
}

/// A server that runs; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    broker: Option<u32>,
    /// Where sockets connect to: ws or wss.
    pub(crate) target: Target,
    pub(crate) api: SocketAddr,
    /// Of the master account.
    pub(crate) token: String,
    /// Id of the master account.
    pub(crate) account: String,
    // Goes after the process that writes to it.
    _folder: TempDir,
}

/// A child that is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// Starts a server; it is ready when this returns.
    pub(crate) fn start(lab: &Lab, setup: &Setup) -> anyhow::Result<Self> {
        allow_open_files(setup.sockets)?;
        let folder = tempfile::tempdir().context("no temporary directory")?;
        let data = folder.path().join("data");
        let mut command = gateway(&lab.server, &data);
        command.args(["--listen", "127.0.0.1", "--ws-port", "0", "--api-port", "0"]);
        command.args(["--wss-port", if setup.tls { "0" } else { "off" }]);
        if let Some(url) = &lab.amqp_url {
            command.args(["--amqp-url", url]);
        }
        // A slow client may have the whole window waiting; being closed for it is not what is measured.
        let waiting = (2 * setup.window * EVENT_BYTES).div_ceil(1024).max(1024);
        let mut settings = setup.settings.clone();
        settings.extend([
            format!("tls.development_dir={}", folder.path().display()),
            format!("socket.max_waiting_bytes={waiting}KiB"),
            "socket.max_per_address=1000000".into(),
            "socket.max_open=1000000".into(),
            "socket.max_per_account=1000000".into(),
            "socket.max_subscriptions_per_account=10000000".into(),
            "socket.max_groups=10000000".into(),
            "socket.ping_interval=off".into(),
            "socket.rate_burst=1000000".into(),
            "socket.rate_per_second=1000000".into(),
            "socket.max_message_bytes=1MiB".into(),
            "log.level=error".into(),
        ]);
        for setting in &settings {
            command.args(["--set", setting]);
        }
        let child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot run {}", lab.server.display()))?;
        let mut process = Process(child);
        let output = process.0.stdout.take().context("no output")?;
        let socket = if setup.tls { "wss" } else { "ws" };
        let (address, api) = addresses(&lines(output), socket)?;
        let token = output_of(gateway(&lab.server, &data).args(["token", "--account", "master"]))?;
        let certificate = folder.path().join("development.pem");
        let target = Target {
            address,
            tls: setup.tls.then(|| trusting(&certificate)).transpose()?,
            receive_buffer: None,
        };
        Ok(Self {
            process,
            broker: lab.broker,
            target,
            api,
            token: token.trim().to_owned(),
            account: master(&lab.server, &data)?,
            _folder: folder,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched {
            server: self.pid(),
            broker: self.broker,
        }
    }
}

/// Trusts the server's development certificate. Every handshake is a whole one.
fn trusting(certificate: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The program with a data directory, and without settings from our environment.
fn gateway(binary: &Path, data: &Path) -> Command {
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
pub(crate) fn lines(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens any more once the addresses are known.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Of `ws` or `wss`, and of the API.
fn addresses(lines: &Receiver<String>, socket: &str) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let deadline = Instant::now() + START;
    let (mut target, mut api) = (None, None);
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
            Some("api") => api = address,
            Some(name) if name == socket => target = address,
            _ => {}
        }
        if let (Some(target), Some(api)) = (target, api) {
            return Ok((target, api));
        }
    }
}

fn master(binary: &Path, data: &Path) -> anyhow::Result<String> {
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
