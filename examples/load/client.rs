//! Sockets: made with a websocket library, then read by hand. A library would copy and check every
//! message; this client shares the cores with the server that it measures.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::server::Server;

/// Sockets that are being made at a time.
const AT_ONCE: usize = 64;
/// For one socket: connect, handshake, log-in and subscription.
const PATIENCE: Duration = Duration::from_secs(30);
/// For all sockets, the least and for each more.
const LEAST: Duration = Duration::from_secs(30);
const EACH: Duration = Duration::from_millis(5);
/// Read at once. What a socket has waiting is at most a window of events.
const READ: usize = 256 * 1024;

/// Where sockets go and what they say first.
#[derive(Debug)]
pub(crate) struct Target {
    ws: SocketAddr,
    hello: String,
}

impl Target {
    /// Sockets of the server's master account with these bindings.
    pub(crate) fn new(server: &Server, bindings: &[&str]) -> Arc<Self> {
        let hello = json!({
            "action": "subscribe",
            "auth_token": server.token,
            "data": {"account_id": server.account, "bindings": bindings},
        });
        Arc::new(Self {
            ws: server.ws,
            hello: hello.to_string(),
        })
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(self.ws).await.map_err(advised)?;
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let url = format!("ws://{}/", self.ws);
        let (mut socket, _) = client_async_with_config(url, stream, Some(config))
            .await
            .context("handshake")?;
        socket.send(Message::text(self.hello.as_str())).await?;
        let reply = socket.next().await.context("no reply")??;
        let reply = reply.to_text()?;
        if !reply.contains(r#""status":"success""#) {
            bail!("refused: {reply}");
        }
        // Nothing is lost with the library's buffer: no event is under way yet.
        Ok(socket.into_inner())
    }
}

fn advised(error: std::io::Error) -> anyhow::Error {
    const EMFILE: i32 = 24;
    let too_many = error.raw_os_error() == Some(EMFILE);
    let error = anyhow!(error).context("connect");
    if too_many {
        error.context("raise `ulimit -n`")
    } else {
        error
    }
}

/// This many sockets, logged in and subscribed.
pub(crate) async fn connect_all(
    target: &Arc<Target>,
    count: usize,
) -> anyhow::Result<Vec<TcpStream>> {
    let made = Arc::new(AtomicUsize::new(0));
    let mut makers = JoinSet::new();
    for _ in 0..AT_ONCE.min(count) {
        makers.spawn(connect_some(target.clone(), made.clone(), count));
    }
    let all = async {
        let mut streams = Vec::with_capacity(count);
        while let Some(some) = makers.join_next().await {
            streams.extend(some??);
        }
        Ok(streams)
    };
    let limit = LEAST + EACH * u32::try_from(count).unwrap_or(u32::MAX);
    let all = timeout(limit, all).await;
    all.unwrap_or_else(|_| Err(anyhow!("{count} sockets were not ready in {limit:?}")))
}

async fn connect_some(
    target: Arc<Target>,
    made: Arc<AtomicUsize>,
    count: usize,
) -> anyhow::Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    loop {
        let number = made.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(streams);
        }
        let made = timeout(PATIENCE, target.connect()).await;
        let stream = made.unwrap_or_else(|_| Err(anyhow!("not ready in {PATIENCE:?}")));
        streams.push(stream.with_context(|| format!("socket {number}"))?);
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Reads a socket until its end and hands over the text of every message. Returns how it ended.
pub(crate) async fn read_all(stream: &TcpStream, mut text: impl FnMut(&[u8])) -> String {
    let mut rest = Vec::new();
    loop {
        if let Err(error) = stream.readable().await {
            return error.to_string();
        }
        let read = BUFFER.with_borrow_mut(|buffer| read_some(stream, buffer, &mut rest, &mut text));
        if let Err(end) = read {
            return end;
        }
    }
}

/// One read. `rest` is the beginning of a frame that is not complete.
fn read_some(
    stream: &TcpStream,
    buffer: &mut [u8],
    rest: &mut Vec<u8>,
    text: &mut impl FnMut(&[u8]),
) -> Result<(), String> {
    let begun = rest.len();
    let Some(room) = buffer.get_mut(begun..).filter(|room| !room.is_empty()) else {
        return Err(format!("a frame of more than {READ} bytes"));
    };
    let read = match stream.try_read(room) {
        Ok(0) => return Err("closed by the server without a reason".into()),
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    buffer[..begun].copy_from_slice(rest);
    rest.clear();
    let mut bytes = &buffer[..begun + read];
    while let Some((frame, after)) = Frame::split(bytes) {
        match frame.opcode {
            0x1 => text(frame.payload),
            0x8 => return Err(frame.reason()),
            0x9 | 0xA => {}
            other => return Err(format!("a frame of kind {other}")),
        }
        bytes = after;
    }
    rest.extend_from_slice(bytes);
    Ok(())
}

/// A frame of a server (RFC 6455, section 5.2): never masked. Ours does not split messages.
struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame and what comes after it; `None` if it is not complete.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match second & 0x7F {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        let (payload, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        Some((
            Self {
                opcode: first & 0x0F,
                payload,
            },
            after,
        ))
    }

    /// Of a close frame.
    fn reason(&self) -> String {
        match self.payload.split_first_chunk() {
            Some((code, text)) => {
                let code = u16::from_be_bytes(*code);
                format!(
                    "closed by the server: {code} {}",
                    String::from_utf8_lossy(text)
                )
            }
            None => "closed by the server".into(),
        }
    }
}
