//! A plain HTTP client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::{PATIENCE, described};

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    /// As it came, perhaps compressed.
    pub(crate) bytes: Bytes,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// `data` of a success with this status.
    #[track_caller]
    pub(crate) fn data(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let mut body = self.json();
        assert_eq!(body["status"], "success", "{}", self.text);
        body["data"].take()
    }

    /// An error with this status and message.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, message: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], "error", "{}", self.text);
        assert_eq!(body["error"], status.to_string(), "{}", self.text);
        assert_eq!(body["message"], message, "{}", self.text);
    }

    /// 400: this rule is broken by this field.
    #[track_caller]
    pub(crate) fn is_mistake(&self, field: &str, rule: &str) {
        self.is_error(400, "validation error");
        let found = &self.json()["data"][field][rule];
        assert!(found.is_object(), "{field} {rule}: {}", self.text);
    }

    /// The answer without what differs from request to request.
    pub(crate) fn alike(&self) -> (u16, Value) {
        let mut body = self.json();
        for member in ["request_id", "timestamp", "tokens"] {
            body.as_object_mut().unwrap().remove(member);
        }
        (self.status, body)
    }
}

pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let from = Ipv4Addr::LOCALHOST.into();
    request_from(from, address, method, path, headers, body.as_bytes()).await
}

/// The same, from another address of this host: all of 127.0.0.0/8 are its own.
pub(crate) async fn request_from(
    from: IpAddr,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let exchange = async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", address.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        }
    };
    let answer = timeout(PATIENCE, exchange).await.unwrap();
    described::check(method, path, &answer);
    answer
}
