//! The HTTP request that opens a websocket (RFC 6455, section 4.2). Read by hand rather than by the
//! websocket library, so that whoever is no websocket client gets a proper answer.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::linger::linger;
use super::origin;

/// Longest request head, in bytes.
const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;
/// For the peer to read why it was refused.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a handshake was refused; the metric's label is in [`Refusal::label`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Method,
    NoWebSocket,
    Origin,
    TooManySockets,
    HeadTooLong,
}

impl Refusal {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Method => "method",
            Self::NoWebSocket => "no_websocket",
            Self::Origin => "origin",
            Self::TooManySockets => "too_many_sockets",
            Self::HeadTooLong => "head_too_long",
        }
    }

    fn response(self) -> String {
        let (status, headers, text) = match self {
            Self::Malformed => (
                "400 Bad Request",
                "",
                "This is not a valid WebSocket handshake.",
            ),
            Self::Method => (
                "405 Method Not Allowed",
                "Allow: GET\r\n",
                "A WebSocket handshake is a GET.",
            ),
            Self::NoWebSocket => (
                "426 Upgrade Required",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "This port speaks WebSocket (version 13). REST is on another port.",
            ),
            Self::Origin => (
                "403 Forbidden",
                "",
                "Pages of this origin may not connect; the setting socket.origins lists those that may.",
            ),
            Self::TooManySockets => (
                "429 Too Many Requests",
                "Retry-After: 60\r\n",
                "Too many open sockets from this address.",
            ),
            Self::HeadTooLong => (
                "431 Request Header Fields Too Large",
                "",
                "The request's head is too long.",
            ),
        };
        format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
            text.len() + 1
        )
    }
}

/// What decides beside the request itself.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    pub(super) origins: &'a [String],
    /// The address has too many sockets already.
    pub(super) full: bool,
}

/// Reads the request and answers it. `Ok(Ok(..))`: the websocket is open, and these bytes came after
/// the head already. `Ok(Err(..))`: refused, and told so.
pub(super) async fn accept<S>(
    stream: &mut S,
    gate: &Gate<'_>,
) -> std::io::Result<Result<BytesMut, Refusal>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut read = BytesMut::new();
    let outcome = loop {
        match check(&read, gate) {
            Some(outcome) => break outcome,
            None if read.len() >= MAX_HEAD => break Err(Refusal::HeadTooLong),
            None => {
                read.reserve(1024);
                if stream.read_buf(&mut read).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    };
    match outcome {
        Ok((head, accept_key)) => {
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key}\r\n\r\n"
            );
            stream.write_all(response.as_bytes()).await?;
            stream.flush().await?;
            read.advance(head);
            Ok(Ok(read))
        }
        Err(refusal) => {
            stream.write_all(refusal.response().as_bytes()).await?;
            // Until the peer has read it, or the handshake's time is over.
            let _ = timeout(FAREWELL, linger(stream)).await;
            Ok(Err(refusal))
        }
    }
}

/// `None`: the head is not complete. Otherwise its length and the accept key.
fn check(read: &[u8], gate: &Gate<'_>) -> Option<Result<(usize, String), Refusal>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(read) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => return Some(Err(Refusal::HeadTooLong)),
        Err(_) => return Some(Err(Refusal::Malformed)),
    };
    let all = |name: &'static str| {
        let named = request.headers.iter();
        let named = named.filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.filter_map(|header| std::str::from_utf8(header.value).ok())
    };
    let header = |name: &'static str| all(name).next();
    let lists = |name: &'static str, token: &str| {
        let parts = all(name).flat_map(|value| value.split(','));
        parts
            .into_iter()
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    if request.method != Some("GET") {
        return Some(Err(Refusal::Method));
    }
    let version = header("Sec-WebSocket-Version");
    if !lists("Upgrade", "websocket") || !lists("Connection", "upgrade") || version != Some("13") {
        return Some(Err(Refusal::NoWebSocket));
    }
    let key = header("Sec-WebSocket-Key").unwrap_or_default();
    if request.version != Some(1) || BASE64_STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Some(Err(Refusal::Malformed));
    }
    if gate.full {
        return Some(Err(Refusal::TooManySockets));
    }
    if !origin::allowed(header("Origin"), header("Host"), gate.origins) {
        return Some(Err(Refusal::Origin));
    }
    Some(Ok((head, derive_accept_key(key.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /any?x HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: x\r\n\r\n";

    fn checked(request: &str, full: bool) -> Option<Result<(usize, String), Refusal>> {
        check(request.as_bytes(), &Gate { origins: &[], full })
    }

    #[test]
    fn requests() {
        // The accept key is RFC 6455's own example.
        let good = Ok((GOOD.len(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()));
        assert_eq!(checked(GOOD, false), Some(good));
        assert_eq!(checked(&GOOD[..GOOD.len() - 2], false), None);
        assert_eq!(checked(GOOD, true), Some(Err(Refusal::TooManySockets)));
        let split = GOOD.replace("keep-alive, Upgrade", "keep-alive\r\nConnection: Upgrade");
        assert!(matches!(checked(&split, false), Some(Ok(_))));
        let foreign = GOOD.replace("Host: h", "Host: h\r\nOrigin: https://evil.example");
        assert_eq!(checked(&foreign, false), Some(Err(Refusal::Origin)));
        for (from, to, expected) in [
            ("GET", "POST", Refusal::Method),
            ("Upgrade: WebSocket", "X: y", Refusal::NoWebSocket),
            ("Version: 13", "Version: 8", Refusal::NoWebSocket),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short", Refusal::Malformed),
            ("HTTP/1.1", "HTTP/1.0", Refusal::Malformed),
            ("GET /any", "\u{1}", Refusal::Malformed),
        ] {
            assert_eq!(
                checked(&GOOD.replace(from, to), false),
                Some(Err(expected)),
                "{to}"
            );
        }
    }

    #[tokio::test]
    async fn a_plain_request_is_told_what_this_port_is() {
        let (mut client, mut server) = tokio::io::duplex(16 * 1024);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .expect("written");
        let gate = Gate {
            origins: &[],
            full: false,
        };
        let outcome = accept(&mut server, &gate).await.expect("answered");
        assert_eq!(outcome.expect_err("refused"), Refusal::NoWebSocket);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        assert!(
            answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn an_endless_head_is_cut() {
        let (mut client, mut server) = tokio::io::duplex(64 * 1024);
        client
            .write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(20_000)).as_bytes())
            .await
            .expect("written");
        let gate = Gate {
            origins: &[],
            full: false,
        };
        let outcome = accept(&mut server, &gate).await.expect("answered");
        assert_eq!(outcome.expect_err("refused"), Refusal::HeadTooLong);
    }
}
