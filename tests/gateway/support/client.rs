//! A real websocket client.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Account, PATIENCE};

trait Stream: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

pub(crate) struct Client {
    socket: WebSocketStream<Pin<Box<dyn Stream>>>,
}

/// How the server closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Client {
    pub(crate) async fn ws(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::plain(stream, address).await
    }

    /// Connects, or gives the status of the refusal.
    pub(crate) async fn try_ws(address: SocketAddr) -> Result<(), u16> {
        let stream = TcpStream::connect(address).await.unwrap();
        let shaking = client_async(format!("ws://{address}/"), stream);
        match timeout(PATIENCE, shaking).await.unwrap() {
            Ok(_) => Ok(()),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn plain(stream: impl Stream + 'static, address: SocketAddr) -> Self {
        Self::over(Box::pin(stream), &format!("ws://{address}/socket?x=1")).await
    }

    pub(crate) async fn wss(address: SocketAddr, certificate: &Path) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::tls(stream, address, certificate).await
    }

    /// For a client that will stop to read: its kernel takes as little for it as it can.
    pub(crate) async fn narrow_ws(address: SocketAddr) -> Self {
        Self::plain(narrow(address).await, address).await
    }

    /// The same with TLS.
    pub(crate) async fn narrow_wss(address: SocketAddr, certificate: &Path) -> Self {
        Self::tls(narrow(address).await, address, certificate).await
    }

    /// One that can be made to read a byte a second.
    pub(crate) async fn trickling_ws(address: SocketAddr) -> (Self, Arc<AtomicBool>) {
        let slow = Arc::new(AtomicBool::new(false));
        let stream = Trickle {
            stream: narrow(address).await,
            slow: slow.clone(),
            pause: None,
        };
        (Self::plain(stream, address).await, slow)
    }

    async fn tls(stream: TcpStream, address: SocketAddr, certificate: &Path) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(certificate).unwrap())
            .unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        Self::over(
            Box::pin(stream),
            &format!("wss://localhost:{}/", address.port()),
        )
        .await
    }

    async fn over(stream: Pin<Box<dyn Stream>>, url: &str) -> Self {
        let (socket, _) = timeout(PATIENCE, client_async(url, stream))
            .await
            .unwrap()
            .unwrap();
        Self { socket }
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.send_raw(Message::Text(text.into())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Sends, unless the connection is gone.
    pub(crate) async fn try_send_text(&mut self, text: &str) -> Result<(), ()> {
        self.socket
            .send(Message::Text(text.into()))
            .await
            .map_err(|_| ())
    }

    /// The next frame, whatever it is.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = timeout(PATIENCE, self.socket.next()).await;
        next.expect("the server sends nothing").map(Result::unwrap)
    }

    /// The next text; pings are answered on the way, and are no reason to wait longer.
    pub(crate) async fn text(&mut self) -> String {
        let text = async {
            loop {
                match self.next().await {
                    Some(Message::Text(text)) => return text.to_string(),
                    Some(Message::Ping(_) | Message::Pong(_)) => {}
                    other => panic!("not a text: {other:?}"),
                }
            }
        };
        let text = timeout(PATIENCE, text).await;
        text.expect("the server sends no text")
    }

    /// The next reply; events may not come before it.
    pub(crate) async fn reply(&mut self) -> Value {
        let text = self.text().await;
        let reply: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(reply["action"], "reply", "{text}");
        reply
    }

    pub(crate) async fn event(&mut self) -> Value {
        let text = self.text().await;
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["action"], "event", "{text}");
        event
    }

    /// Sends a message and gives its reply.
    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.reply().await
    }

    /// The only error of a message that must fail.
    pub(crate) async fn error(&mut self, message: Value) -> String {
        let reply = self.ask(message).await;
        assert_eq!(reply["status"], "error", "{reply}");
        reply["data"]["errors"][0].as_str().unwrap().to_owned()
    }

    /// Subscribes, which must succeed.
    pub(crate) async fn subscribe(&mut self, account: &Account, binding: &str) {
        let reply = self
            .ask(subscribe(&account.token, &account.id, binding))
            .await;
        assert_eq!(reply["status"], "success", "{reply}");
    }

    /// Reads until the server closes.
    pub(crate) async fn closed(&mut self) -> Closed {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => {
                    return Closed {
                        code: frame.code.into(),
                        reason: frame.reason.to_string(),
                    };
                }
                Some(Message::Close(None)) => {
                    return Closed {
                        code: 1005,
                        reason: String::new(),
                    };
                }
                Some(_) => {}
                None => panic!("the connection ended without a close"),
            }
        }
    }

    /// The server closes like this, and at once: within a second from now.
    pub(crate) async fn is_closed(&mut self, code: u16, reason: &str) {
        let since = Instant::now();
        let expected = Closed {
            code,
            reason: reason.into(),
        };
        assert_eq!(self.closed().await, expected);
        let taken = since.elapsed();
        assert!(taken < Duration::from_secs(1), "{taken:?}");
    }

    /// It is open and answers, and no event came before.
    pub(crate) async fn lives(&mut self) {
        let reply = self.ask(json!({"action":"ping"})).await;
        assert_eq!(reply["status"], "success", "{reply}");
    }

    /// Sends a close with 1000.
    pub(crate) async fn say_goodbye(&mut self) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        self.socket.send(Message::Close(Some(frame))).await.unwrap();
    }

    /// Says goodbye and waits for the answer.
    pub(crate) async fn leave(mut self) {
        self.socket.close(None).await.unwrap();
        while let Ok(Some(Ok(_))) = timeout(PATIENCE, self.socket.next()).await {}
    }
}

pub(crate) fn subscribe(token: &str, account: &str, binding: &str) -> Value {
    json!({"action":"subscribe","auth_token":token,"data":{"account_id":account,"binding":binding}})
}

/// A connection with a small buffer for what comes.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(address).await.unwrap()
}

/// While it is slow, a byte a second is read from it.
struct Trickle {
    stream: TcpStream,
    slow: Arc<AtomicBool>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if !self.slow.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut one))?;
        buffer.put_slice(one.filled());
        self.pause = Some(Box::pin(sleep(Duration::from_secs(1))));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
