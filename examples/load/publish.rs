//! Events: their bodies, and the HTTP connections that publish them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use memchr::memmem;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::server::Server;
use crate::tally::Board;

/// A real event of Kazoo.
const FIXTURE: &str = include_str!("../../tests/fixtures/events/channel-create.json");
/// Stand for the call's id and the event's number, with its quotes, in the body.
const CALL: &str = "@CALL@";
const NUMBER: &str = "\"@NUMBER@\"";
/// Before the event's number in a frame.
const MARK: &[u8] = b"\"load_number\":";

/// The client binding that matches the events.
pub(crate) const BINDING: &str = "call.CHANNEL_CREATE.*";

/// How events are published.
#[derive(Debug)]
pub(crate) struct Publisher {
    address: String,
    token: String,
    template: String,
    connections: usize,
    /// Events a second, over all connections.
    rate: Option<u32>,
}

impl Publisher {
    pub(crate) fn new(
        server: &Server,
        connections: usize,
        rate: Option<u32>,
    ) -> anyhow::Result<Self> {
        let fixture: Value = serde_json::from_str(FIXTURE).context("the fixture")?;
        let mut payload = fixture["payload"].clone();
        payload["Custom-Channel-Vars"]["Account-ID"] = json!(server.account);
        payload["Call-ID"] = json!(CALL);
        payload["Load-Number"] = json!(NUMBER.trim_matches('"'));
        let key = format!("call.CHANNEL_CREATE.{CALL}");
        let body = json!({"data":{"exchange":"callevt","routing_key":key,"payload":payload}});
        Ok(Self {
            address: server.api.to_string(),
            token: server.token.clone(),
            template: body.to_string(),
            connections,
            rate,
        })
    }

    /// Publishes all events of the board.
    pub(crate) async fn run(self: Arc<Self>, board: Arc<Board>) -> anyhow::Result<()> {
        let mut lanes = JoinSet::new();
        for number in 0..self.connections {
            lanes.spawn(self.clone().lane(number, board.clone()));
        }
        while let Some(lane) = lanes.join_next().await {
            lane?.context("publishing")?;
        }
        Ok(())
    }

    /// One connection with its share of the events, each answered before the next is sent.
    async fn lane(self: Arc<Self>, first: usize, board: Arc<Board>) -> anyhow::Result<()> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Ends with its sender.
        tokio::spawn(connection);
        let mut clock = self.rate.map(|rate| {
            let apart = Duration::from_secs(1) / rate;
            let period = apart * u32::try_from(self.connections).unwrap_or(u32::MAX);
            let offset = apart * u32::try_from(first).unwrap_or(u32::MAX);
            let mut clock = interval_at(Instant::now() + offset, period);
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            clock
        });
        for event in (first..board.events()).step_by(self.connections) {
            if let Some(clock) = &mut clock {
                clock.tick().await;
            }
            let request = self.request(event)?;
            board.begin(event).await;
            send(&mut sender, request).await?;
        }
        Ok(())
    }

    fn request(&self, event: usize) -> anyhow::Result<Request<Full<Bytes>>> {
        let call = format!("7f3e9a10-55d2-4c1b-9d61-{event:012x}");
        let body = self
            .template
            .replace(CALL, &call)
            .replace(NUMBER, &event.to_string());
        let request = Request::put("/v2/events")
            .header("host", &self.address)
            .header("content-type", "application/json")
            .header("x-auth-token", &self.token);
        Ok(request.body(Full::new(Bytes::from(body)))?)
    }
}

/// Fails unless the event was taken. Whether it reaches anybody is for the sockets to tell.
async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<()> {
    let response = sender.send_request(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    if status != 201 {
        bail!(
            "the server answered {status}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

/// Finds the number of the event in a frame.
#[derive(Debug)]
pub(crate) struct NumberFinder(memmem::Finder<'static>);

impl NumberFinder {
    pub(crate) fn new() -> Self {
        Self(memmem::Finder::new(MARK))
    }

    pub(crate) fn find(&self, frame: &[u8]) -> Option<usize> {
        let digits = &frame[self.0.find(frame)? + MARK.len()..];
        let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found() {
        let finder = NumberFinder::new();
        assert_eq!(
            finder.find(br#"{"a":1,"load_number":420,"z":2}"#),
            Some(420)
        );
        assert_eq!(finder.find(br#"{"load_number":}"#), None);
        assert_eq!(finder.find(br#"{"load_number":4"#), None);
        assert_eq!(finder.find(b"{}"), None);
    }
}
