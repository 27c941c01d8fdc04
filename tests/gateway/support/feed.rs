//! Publishes many events through REST, over one connection.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{A, Account, PATIENCE, Server};

pub(crate) struct Feed {
    address: SocketAddr,
    token: String,
    sender: SendRequest<Full<Bytes>>,
    /// Events published so far; each carries its number.
    pub(crate) count: usize,
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

impl Feed {
    pub(crate) async fn new(server: &Server, master: &Account) -> Self {
        Self {
            address: server.api,
            token: master.token.clone(),
            sender: connect(server.api).await,
            count: 0,
        }
    }

    /// The next event: a call of account A, with that much padding.
    pub(crate) async fn call(&mut self, id: &str, bytes: usize) {
        let payload = call(id, self.count, bytes);
        self.count += 1;
        let key = format!("call.CHANNEL_CREATE.{id}");
        self.publish("callevt", &key, &payload).await;
    }

    async fn publish(&mut self, exchange: &str, key: &str, payload: &Value) {
        let data = json!({"exchange": exchange, "routing_key": key, "payload": payload});
        let body = json!({ "data": data }).to_string();
        // The server ends a connection of a certain age, after an answer.
        if timeout(PATIENCE, self.sender.ready())
            .await
            .unwrap()
            .is_err()
        {
            self.sender = connect(self.address).await;
        }
        let request = Request::put("/v2/events")
            .header("host", self.address.to_string())
            .header("x-auth-token", &self.token)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let answer = async {
            let answer = self.sender.send_request(request).await.unwrap();
            let status = answer.status().as_u16();
            (
                status,
                answer.into_body().collect().await.unwrap().to_bytes(),
            )
        };
        let (status, text) = timeout(PATIENCE, answer).await.unwrap();
        assert_eq!(status, 201, "{text:?}");
    }
}

/// What a call of account A begins with.
pub(crate) fn call(id: &str, number: usize, bytes: usize) -> Value {
    json!({
        "Event-Name": "CHANNEL_CREATE",
        "Call-ID": id,
        "Number": number,
        "Custom-Channel-Vars": {"Account-ID": A},
        "Padding": "x".repeat(bytes),
    })
}
