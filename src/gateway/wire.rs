//! A socket's bytes. A plain socket is written to by whoever has frames for it; one with TLS by its
//! task only, since its records are a matter of order.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
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
    /// Since when the peer takes nothing.
    stuck: Option<Instant>,
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
                    stuck: None,
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

    /// Since when the peer has taken nothing of what was taken from the outbox.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        match self {
            Self::Plain => None,
            Self::Tls(tls) => tls.stuck,
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

    /// Some records at a time, as far as the peer takes it. `None`: nothing moved.
    fn write(&mut self, context: &mut Context<'_>, outbox: &Outbox) -> io::Result<Option<Written>> {
        let mut total = Written::default();
        let mut moved = false;
        loop {
            if self.pending.is_empty() {
                let written = outbox.write(true, |slices| gather(&mut self.pending, slices))?;
                total.events += written.events;
                total.oldest = total.oldest.or(written.oldest);
            }
            if self.pending.is_empty() {
                break;
            }
            let writing = Pin::new(&mut *self.stream).poll_write(context, &self.pending);
            let Poll::Ready(count) = writing else {
                self.stuck.get_or_insert_with(Instant::now);
                outbox.stall();
                return Ok(moved.then_some(total));
            };
            self.pending.drain(..count?);
            moved = true;
            self.stuck = None;
            self.flushed = false;
        }
        // An idle socket holds nothing.
        self.pending = Vec::new();
        if !self.flushed {
            match Pin::new(&mut *self.stream).poll_flush(context) {
                Poll::Ready(flushed) => {
                    flushed?;
                    self.flushed = true;
                    self.stuck = None;
                    moved = true;
                }
                Poll::Pending => {
                    self.stuck.get_or_insert_with(Instant::now);
                }
            }
        }
        Ok(moved.then_some(total))
    }
}

/// As many bytes as go into one write.
fn gather(gathered: &mut Vec<u8>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let before = gathered.len();
    for slice in slices {
        let room = GATHERED.saturating_sub(gathered.len());
        gathered.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    if gathered.len() == before {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(gathered.len() - before)
}
