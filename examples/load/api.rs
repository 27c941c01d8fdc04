//! One HTTP connection to the server's API.

use std::time::{Duration, Instant};

use anyhow::bail;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::server::Server;

/// The server closes connections after two minutes; before that a new one is made.
const AGE: Duration = Duration::from_secs(60);

/// A connection that is made when needed, with one request at a time.
#[derive(Debug)]
pub(crate) struct Http {
    address: String,
    token: String,
    open: Option<(SendRequest<Full<Bytes>>, Instant)>,
}

impl Http {
    /// As the master account.
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            address: server.api.to_string(),
            token: server.token.clone(),
            open: None,
        }
    }

    /// The body of the answer; an error unless it is of success.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .header("x-auth-token", &self.token)
            .body(Full::new(body.into()))?;
        let response = self.sender().await?.send_request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            let text = String::from_utf8_lossy(&answer);
            bail!("{path}: the server answered {status}: {text}");
        }
        Ok(answer)
    }

    async fn sender(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        let usable = |(sender, made): &(SendRequest<_>, Instant)| {
            !sender.is_closed() && made.elapsed() < AGE
        };
        let open = match self.open.take().filter(usable) {
            Some(open) => open,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                // Ends with its sender.
                tokio::spawn(connection);
                (sender, Instant::now())
            }
        };
        let (sender, _) = self.open.insert(open);
        sender.ready().await?;
        Ok(sender)
    }
}
