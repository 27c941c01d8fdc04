//! A request to the running gateway's API.

use std::time::Duration;

use anyhow::{Context, anyhow};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::Token;

const PATIENCE: Duration = Duration::from_secs(15);

/// Status and parsed body of the answer.
pub(super) fn call(
    address: &str,
    method: &str,
    path: &str,
    token: &Token,
    body: String,
) -> anyhow::Result<(u16, Value)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = async { timeout(PATIENCE, send(address, method, path, token, body)).await };
    let answer = runtime
        .block_on(answer)
        .map_err(|_| anyhow!("no answer in time"));
    answer
        .flatten()
        .with_context(|| format!("http://{address}{path}: is the gateway running?"))
}

async fn send(
    address: &str,
    method: &str,
    path: &str,
    token: &Token,
    body: String,
) -> anyhow::Result<(u16, Value)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("content-type", "application/json")
        .header("x-auth-token", token.expose())
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await?.to_bytes();
    let answer = serde_json::from_slice(&bytes)
        .context("the answer is not JSON: is another program on this port?")?;
    Ok((status, answer))
}

/// What an error envelope says, for people.
pub(super) fn reason(answer: &Value) -> String {
    let message = answer["message"].as_str().unwrap_or_default();
    match &answer["data"] {
        Value::Null => message.to_owned(),
        data => match data["message"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("{message} {data}"),
        },
    }
}
