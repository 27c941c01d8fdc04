//! Many sockets, read by one thread with one epoll instance.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Type};

use crate::interrupt;
use crate::socket::{Hello, Socket};

/// Sockets that are being made at a time, unless said otherwise.
const AT_ONCE: usize = 128;
/// While sockets are made: for the next one to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sockets that get one source address; an address has 28,000 ports, and closed ones rest a minute.
const PER_ADDRESS: usize = 10_000;
/// Read at once. What a socket has waiting is seldom more than a window of events.
const READ: usize = 256 * 1024;

/// Where sockets connect to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// The size of the kernel's buffer for what was not read.
    pub(crate) receive_buffer: Option<usize>,
}

/// Sockets by number. Numbers are chosen by whoever opens them.
#[derive(Debug)]
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    sockets: Vec<Option<Socket>>,
    buffer: Vec<u8>,
    /// Being made.
    pending: usize,
    /// Sockets that are being made at a time, at most.
    pub(crate) at_once: usize,
    /// Number of each socket that the server ended, and how.
    pub(crate) ended: Vec<(usize, String)>,
}

impl Crowd {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new().context("epoll")?,
            events: Events::with_capacity(1024),
            sockets: Vec::new(),
            buffer: vec![0; READ],
            pending: 0,
            at_once: AT_ONCE,
            ended: Vec::new(),
        })
    }

    /// Opens sockets `first`, `first + 1` and so on; all are subscribed when this returns.
    pub(crate) fn connect(
        &mut self,
        target: &Target,
        first: usize,
        hellos: &[Hello],
    ) -> anyhow::Result<()> {
        let mut waiting = hellos.iter().enumerate();
        let mut left = hellos.len();
        let mut moved = Instant::now();
        while left > 0 || self.pending > 0 {
            interrupt::check()?;
            while left > 0 && self.pending < self.at_once {
                let Some((offset, hello)) = waiting.next() else {
                    break;
                };
                self.open(target, first + offset, hello.clone())
                    .with_context(|| format!("socket {}", first + offset))?;
                left -= 1;
            }
            let before = self.pending;
            self.pump(Duration::from_millis(100), &mut |_, _| {})?;
            if let Some((number, end)) = self.ended.first() {
                bail!("socket {number}: {end}");
            }
            if self.pending < before {
                moved = Instant::now();
            } else if moved.elapsed() > PATIENCE {
                bail!("{} sockets were not ready in {PATIENCE:?}", self.pending);
            }
        }
        Ok(())
    }

    /// Begins to open a socket; it gets ready while others are read.
    pub(crate) fn open(
        &mut self,
        target: &Target,
        number: usize,
        hello: Hello,
    ) -> anyhow::Result<()> {
        let stream = dial(target, number).map_err(advised)?;
        let host = match &target.tls {
            Some(_) => format!("localhost:{}", target.address.port()),
            None => target.address.to_string(),
        };
        let upgrade = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        let tls = match &target.tls {
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                Some(ClientConnection::new(config.clone(), name)?)
            }
            None => None,
        };
        let socket = Socket::new(stream, tls, upgrade.as_bytes(), hello);
        self.pending += 1;
        self.put(number, socket, Interest::READABLE | Interest::WRITABLE)
    }

    /// Opens connections that only get bytes.
    pub(crate) fn connect_raw(&mut self, target: &Target, count: usize) -> anyhow::Result<()> {
        for number in 0..count {
            let stream = dial(target, number).map_err(advised)?;
            self.put(number, Socket::raw(stream), Interest::READABLE)?;
        }
        Ok(())
    }

    fn put(&mut self, number: usize, mut socket: Socket, interest: Interest) -> anyhow::Result<()> {
        let registry = self.poll.registry();
        registry.register(socket.stream(), Token(number), interest)?;
        if self.sockets.len() <= number {
            self.sockets.resize_with(number + 1, || None);
        }
        self.sockets[number] = Some(socket);
        Ok(())
    }

    /// Waits until something can be read, at most this long, and hands over number and text of
    /// every event that came.
    pub(crate) fn pump(
        &mut self,
        wait: Duration,
        event: &mut impl FnMut(usize, &[u8]),
    ) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled.context("epoll")?,
        }
        for ready in &self.events {
            let Token(number) = ready.token();
            let Some(Some(socket)) = self.sockets.get_mut(number) else {
                continue;
            };
            let was_ready = socket.is_ready();
            let mut result = Ok(());
            if ready.is_writable() && !was_ready {
                result = socket.write();
            }
            if result.is_ok() && ready.is_readable() {
                let closed = ready.is_read_closed();
                let mut one = |text: &[u8]| event(number, text);
                result = socket.read(&mut self.buffer, closed, &mut one);
            }
            if result.is_ok() && !was_ready && socket.is_ready() {
                self.pending -= 1;
                let registry = self.poll.registry();
                registry.reregister(socket.stream(), Token(number), Interest::READABLE)?;
            }
            if let Err(end) = result {
                self.pending -= usize::from(!socket.is_ready());
                self.sockets[number] = None;
                self.ended.push((number, end));
            }
        }
        Ok(())
    }

    /// From now on nobody reads these sockets; they stay open.
    pub(crate) fn stop_reading(&mut self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        for socket in self.sockets[numbers].iter_mut().flatten() {
            self.poll.registry().deregister(socket.stream())?;
        }
        Ok(())
    }

    pub(crate) fn is_ready(&self, number: usize) -> bool {
        let socket = self.sockets.get(number).and_then(Option::as_ref);
        socket.is_some_and(Socket::is_ready)
    }

    pub(crate) fn close(&mut self, number: usize) {
        if let Some(socket) = self.sockets.get_mut(number).and_then(Option::take) {
            self.pending -= usize::from(!socket.is_ready());
        }
    }

    /// Drops all sockets, as a network does that goes away.
    pub(crate) fn close_all(&mut self) {
        for number in 0..self.sockets.len() {
            self.close(number);
        }
        self.ended.clear();
    }
}

fn dial(target: &Target, number: usize) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(size) = target.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    let address = u8::try_from(1 + number / PER_ADDRESS).unwrap_or(u8::MAX);
    if address > 1 {
        let source = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, address), 0);
        socket.bind(&SocketAddr::from(source).into())?;
    }
    const EINPROGRESS: i32 = 115;
    match socket.connect(&target.address.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(error),
        _ => {}
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn advised(error: io::Error) -> anyhow::Error {
    const EMFILE: i32 = 24;
    let too_many = error.raw_os_error() == Some(EMFILE);
    let error = anyhow!(error).context("connect");
    if too_many {
        error.context("raise `ulimit -n`")
    } else {
        error
    }
}
