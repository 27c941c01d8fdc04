//! A socket's bytes. A plain socket is written to by whoever has frames for it; one with TLS by its
//! task only, since its records are a matter of order.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::coop::has_budget_remaining;
use tokio_rustls::server::TlsStream;

use super::outbox::{Outbox, Written};

/// Bytes read at a time, into a buffer of the thread.
const READ: usize = 16 * 1024;
/// Plain bytes in one write: three full TLS records (RFC 8446, 5.1), which the TLS library puts together
/// into one system call. It holds 64 KiB at most.
const GATHERED: usize = 3 * 16 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// What is below the frames.
pub(super) enum Wire {
    /// The stream is the handle's, for all to write to.
    Plain,
    /// Boxed: TLS state is large, and most sockets have none.
    Tls(Box<Tls>),
}

pub(super) struct Tls {
    stream: Box<TlsStream<TcpStream>>,
    /// Taken from the outbox and not yet taken by TLS.
    pending: Vec<u8>,
    /// What was last taken from the outbox, until all of it is written.
    taken: Written,
    /// TLS holds nothing that the kernel has not taken.
    flushed: bool,
}

/// What happened on the wire.
#[derive(Debug)]
pub(super) enum Happened {
    /// Bytes were read and given to `take`; 0 is the end.
    Read(usize),
    /// Frames were written.
    Wrote(Written),
}

/// A stream on which the websocket handshake is done.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl From<TlsStream<TcpStream>> for Stream {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(stream))
    }
}

impl Stream {
    /// The part that all may write to, and the part of the socket's task.
    pub(super) fn split(self) -> (Option<TcpStream>, Wire) {
        match self {
            Self::Plain(stream) => (Some(stream), Wire::Plain),
            Self::Tls(stream) => {
                let tls = Tls {
                    stream,
                    pending: Vec::new(),
                    taken: Written::default(),
                    flushed: true,
                };
                (None, Wire::Tls(Box::new(tls)))
            }
        }
    }
}

impl Wire {
    /// Waits until something happens: what waits in the outbox goes out as far as it has to be the
    /// task that writes it, and with `read`, what comes is given to `take`. Nothing is lost when the
    /// wait is cancelled.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        outbox: &Outbox,
        plain: Option<&TcpStream>,
        read: bool,
        take: &mut impl FnMut(&mut [u8]),
    ) -> Poll<io::Result<Happened>> {
        match (self, plain) {
            (Self::Plain, Some(stream)) => {
                if let Poll::Ready(written) = write_plain(context, stream, outbox) {
                    return Poll::Ready(written.map(Happened::Wrote));
                }
                if read {
                    return read_plain(context, stream, take);
                }
                Poll::Pending
            }
            (Self::Tls(tls), _) => tls.poll(context, outbox, read, take),
            (Self::Plain, None) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// How many event frames were taken from the outbox and never written.
    pub(super) fn unwritten(&self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Tls(tls) => tls.taken.events,
        }
    }

    /// Whether everything that was taken from the outbox has been written.
    pub(super) fn is_through(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Tls(tls) => tls.pending.is_empty() && tls.flushed,
        }
    }

    /// Says that nothing more comes.
    pub(super) async fn shutdown(&mut self, plain: Option<&TcpStream>) -> io::Result<()> {
        match (self, plain) {
            (Self::Tls(tls), _) => tls.stream.shutdown().await,
            (Self::Plain, Some(stream)) => {
                SockRef::from(stream).shutdown(std::net::Shutdown::Write)
            }
            (Self::Plain, None) => Ok(()),
        }
    }
}

/// Ready when something was written that had waited for the kernel.
fn write_plain(
    context: &mut Context<'_>,
    stream: &TcpStream,
    outbox: &Outbox,
) -> Poll<io::Result<Written>> {
    while outbox.stuck_since().is_some() {
        ready!(stream.poll_write_ready(context))?;
        let written = outbox.write(true, |slices| try_write(stream, slices))?;
        if !written.stuck || written.events > 0 {
            return Poll::Ready(Ok(written));
        }
    }
    Poll::Pending
}

/// As far as the kernel takes it, without waiting. A list costs the kernel more than a single slice.
pub(super) fn try_write(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    match slices {
        [slice] => stream.try_write(slice),
        slices => stream.try_write_vectored(slices),
    }
}

fn read_plain(
    context: &mut Context<'_>,
    stream: &TcpStream,
    take: &mut impl FnMut(&mut [u8]),
) -> Poll<io::Result<Happened>> {
    loop {
        ready!(stream.poll_read_ready(context))?;
        let read = BUFFER.with_borrow_mut(|buffer| {
            let read = stream.try_read(buffer);
            if let Ok(count) = read {
                take(&mut buffer[..count]);
            }
            read
        });
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read.map(Happened::Read)),
        }
    }
}

impl Tls {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        outbox: &Outbox,
        read: bool,
        take: &mut impl FnMut(&mut [u8]),
    ) -> Poll<io::Result<Happened>> {
        if let Some(written) = self.write(context, outbox)? {
            return Poll::Ready(Ok(Happened::Wrote(written)));
        }
        if !read {
            return Poll::Pending;
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut room = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *self.stream).poll_read(context, &mut room))?;
            let count = room.filled().len();
            take(room.filled_mut());
            Poll::Ready(Ok(Happened::Read(count)))
        })
    }

    /// Some records at a time, as far as the peer takes it. `None`: nothing was written.
    fn write(&mut self, context: &mut Context<'_>, outbox: &Outbox) -> io::Result<Option<Written>> {
        let mut total = Written::default();
        let mut moved = false;
        loop {
            match self.write_some(context, outbox) {
                Ok(Some(written)) => {
                    moved = true;
                    total.add(written);
                }
                Ok(None) => return Ok(moved.then_some(total)),
                Err(error) => {
                    // Who is told of the error is not told of these.
                    total.add(std::mem::take(&mut self.taken));
                    self.taken = total;
                    return Err(error);
                }
            }
        }
    }

    /// TLS takes bytes that the kernel may not: only when it holds none any more are they written.
    fn write_some(
        &mut self,
        context: &mut Context<'_>,
        outbox: &Outbox,
    ) -> io::Result<Option<Written>> {
        if self.pending.is_empty() && self.flushed {
            self.taken = outbox.take(GATHERED, &mut self.pending);
            if self.pending.is_empty() {
                // An idle socket holds nothing.
                self.pending = Vec::new();
                return Ok(None);
            }
        }
        while !self.pending.is_empty() {
            let writing = Pin::new(&mut *self.stream).poll_write(context, &self.pending);
            let Poll::Ready(count) = writing else {
                self.refused(outbox);
                return Ok(None);
            };
            self.pending.drain(..count?);
            self.flushed = false;
        }
        let Poll::Ready(flushed) = Pin::new(&mut *self.stream).poll_flush(context) else {
            self.refused(outbox);
            return Ok(None);
        };
        flushed?;
        self.flushed = true;
        outbox.went();
        Ok(Some(std::mem::take(&mut self.taken)))
    }

    /// Whether it was the kernel that refused: a task that has had its share of time is told to wait, too.
    fn refused(&self, outbox: &Outbox) {
        if has_budget_remaining() {
            outbox.stall();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::gateway::frame::Frame;
    use crate::gateway::room::Room;
    use crate::gateway::tls::server_config;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpSocket;
    use tokio_rustls::{TlsAcceptor, TlsConnector, client};

    /// Both ends, with kernel buffers so small that they are soon full.
    async fn pair() -> (Wire, client::TlsStream<TcpStream>) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a folder");
        let server = server_config(None, dir.path()).expect("a certificate");
        let pem = dir.path().join("development.pem");
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(pem).expect("a certificate");
        roots.add(certificate).expect("a root");
        let client = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_send_buffer_size(16 * 1024).expect("a size");
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(local).expect("a port");
        let listener = socket.listen(1).expect("listens");
        let peer = TcpSocket::new_v4().expect("a socket");
        peer.set_recv_buffer_size(16 * 1024).expect("a size");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(listener.accept(), peer.connect(address));
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(client));
        let (near, far) = tokio::join!(
            TlsAcceptor::from(server).accept(near.expect("accepts").0),
            connector.connect(name, far.expect("connects"))
        );
        let (_, wire) = Stream::from(near.expect("a handshake")).split();
        (wire, far.expect("a handshake"))
    }

    async fn turn(wire: &mut Wire, outbox: &Outbox) -> u64 {
        // A task's budget begins anew when it has yielded.
        tokio::task::yield_now().await;
        std::future::poll_fn(|context| {
            let happened = wire.poll(context, outbox, None, false, &mut |_| ());
            Poll::Ready(match happened {
                Poll::Ready(Ok(Happened::Wrote(written))) => written.events,
                Poll::Ready(other) => panic!("{other:?}"),
                Poll::Pending => 0,
            })
        })
        .await
    }

    /// TLS has room for bytes that the kernel refuses. They wait all the same, from the first refusal
    /// on, whatever comes behind them.
    #[tokio::test]
    async fn what_tls_holds_is_not_written() {
        let (mut wire, mut peer) = pair().await;
        let outbox = Outbox::new(Arc::new(Room::new(1 << 20, 1 << 30, Arc::default())));
        let mut expected = Vec::new();
        let mut push = |length| {
            let frame = Frame::event("x".repeat(length), Instant::now());
            expected.extend_from_slice(frame.as_slice());
            outbox.push(frame);
        };
        let (mut pushed, mut written) = (0, 0);
        while outbox.stuck_since().is_none() {
            push(1000);
            pushed += 1;
            written += turn(&mut wire, &outbox).await;
            assert_eq!(wire.is_through(), outbox.debt() == 0, "seen at once");
        }
        let since = outbox.stuck_since();
        assert_eq!(wire.unwritten(), pushed - written);
        for _ in 0..9 {
            push(1);
            pushed += 1;
            assert_eq!(turn(&mut wire, &outbox).await, 0);
            assert_eq!(outbox.stuck_since(), since);
        }
        assert!(outbox.waiting() > 1000);
        let mut read = vec![0; expected.len()];
        let reading = async { peer.read_exact(&mut read).await.expect("bytes") };
        let writing = async {
            while written < pushed {
                written += turn(&mut wire, &outbox).await;
            }
        };
        tokio::join!(reading, writing);
        assert_eq!(read, expected);
        assert_eq!(
            (outbox.waiting(), outbox.debt(), wire.unwritten()),
            (0, 0, 0)
        );
    }
}
