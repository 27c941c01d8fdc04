//! The limit: a bare server with one thread and one epoll instance that writes the same prebuilt
//! frame to every socket. What the gateway does beyond that (sessions, matching, queues) it does in
//! the CPU that is left between its figure and this one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::crowd::{Crowd, Target};
use crate::interrupt;
use crate::options::Bare;
use crate::process::{Watched, allow_open_files};
use crate::server::{Process, lines};

const CONTROL: Token = Token(usize::MAX);
/// Connections that may come faster than they are accepted.
const BACKLOG: i32 = 4096;
const START: Duration = Duration::from_secs(20);
const STALL: Duration = Duration::from_secs(10);

/// Runs as the bare server, until the client goes. Over the first connection the client gives
/// leave to start and then says, with a byte each, which events are done.
pub(crate) fn serve(bare: &Bare) -> anyhow::Result<()> {
    allow_open_files(bare.sockets)?;
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listener.listen(BACKLOG)?;
    let listener = TcpListener::from(listener);
    // This line and the next are read by the process that started this one.
    println!("{}", listener.local_addr()?);
    let accept = || -> anyhow::Result<TcpStream> {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_std(stream))
    };
    let mut control = accept()?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut control, CONTROL, Interest::READABLE)?;
    let mut sockets = Vec::with_capacity(bare.sockets);
    for number in 0..bare.sockets {
        let mut stream = accept()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut stream, Token(number), interest)?;
        sockets.push(Outgoing::new(stream));
    }
    println!("ready");
    // No write takes more, also where the kernel refused some before.
    let frames = frame(bare.frame_bytes).repeat(bare.batch);
    let mut leave = bare.window;
    let (mut sent, mut started) = (0, None);
    let mut events = Events::with_capacity(1024);
    loop {
        let batch = bare.batch.min(bare.events - sent);
        if let (Some(start), true) = (started, batch > 0 && leave >= batch) {
            leave -= batch;
            bare.pace(start, sent);
            if bare.selective {
                for event in sent..sent + batch {
                    sockets[event % bare.sockets].send(1, &frames, bare.frame_bytes)?;
                }
            } else {
                for socket in &mut sockets {
                    socket.send(batch, &frames, bare.frame_bytes)?;
                }
            }
            sent += batch;
            continue;
        }
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() != CONTROL {
                sockets[event.token().0].send(0, &frames, bare.frame_bytes)?;
                continue;
            }
            match acknowledged(&mut control)? {
                None => return Ok(()),
                Some(count) if started.is_some() => leave += count,
                Some(_) => started = Some(Instant::now()),
            }
        }
    }
}

impl Bare {
    /// Waits until this event is due.
    fn pace(&self, start: Instant, event: usize) {
        if let Some(rate) = self.rate {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 events")]
            let due = Duration::from_secs_f64(event as f64 / f64::from(rate));
            sleep(due.saturating_sub(start.elapsed()));
        }
    }
}

/// A text frame of so many bytes with its head.
fn frame(bytes: usize) -> Vec<u8> {
    const HEAD: usize = 4;
    let length = u16::try_from(bytes.saturating_sub(HEAD)).unwrap_or(u16::MAX);
    let mut frame = vec![0x81, 126];
    frame.extend(length.to_be_bytes());
    frame.resize(bytes, b'x');
    frame
}

/// How many bytes came; `None` at the end.
fn acknowledged(control: &mut TcpStream) -> anyhow::Result<Option<usize>> {
    let mut buffer = [0; 4096];
    let mut count = 0;
    loop {
        match control.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(read) => count += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(count)),
            // The client drops everything at the end.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// One socket of the bare server.
struct Outgoing {
    stream: TcpStream,
    /// Bytes to be written, and written.
    wanted: usize,
    written: usize,
}

impl Outgoing {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            wanted: 0,
            written: 0,
        }
    }

    /// So many frames more, in one write if the kernel takes it.
    fn send(&mut self, count: usize, frames: &[u8], frame_bytes: usize) -> anyhow::Result<()> {
        self.wanted += count * frame_bytes;
        while self.written < self.wanted {
            let from = self.written % frame_bytes;
            let to = frames.len().min(from + self.wanted - self.written);
            match self.stream.write(&frames[from..to]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Deliveries a CPU second of the bare server.
pub(crate) fn measure(bare: &Bare) -> anyhow::Result<f64> {
    measure_now(bare).with_context(|| format!("the bare server, {} sockets", bare.sockets))
}

fn measure_now(bare: &Bare) -> anyhow::Result<f64> {
    allow_open_files(bare.sockets)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("bare")
        .stdout(Stdio::piped())
        .stdin(Stdio::null());
    for (name, value) in [
        ("--sockets", bare.sockets),
        ("--frame-bytes", bare.frame_bytes),
        ("--events", bare.events),
        ("--window", bare.window),
        ("--batch", bare.batch),
    ] {
        command.arg(name).arg(value.to_string());
    }
    command.args(bare.selective.then_some("--selective"));
    if let Some(rate) = bare.rate {
        command.arg("--rate").arg(rate.to_string());
    }
    let mut process = Process(command.spawn()?);
    let output = process.0.stdout.take().context("no output")?;
    let output = lines(output);
    let address: SocketAddr = output.recv_timeout(START)?.parse()?;
    let mut control = std::net::TcpStream::connect(address)?;
    control.set_nodelay(true)?;
    let target = Target {
        address,
        tls: None,
        receive_buffer: None,
    };
    let mut crowd = Crowd::new()?;
    crowd.connect_raw(&target, bare.sockets)?;
    let watched = Watched {
        server: process.0.id(),
        broker: None,
    };
    output
        .recv_timeout(START)
        .context("not all were accepted")?;
    let start = watched.mark()?;
    control.write_all(&[0])?;
    let mut progress = Progress::new(bare);
    let mut moved = Instant::now();
    while progress.done < bare.events {
        interrupt::check()?;
        let before = progress.done;
        crowd.pump(Duration::from_millis(100), &mut |number, bytes| {
            progress.read(number, bytes.len());
        })?;
        if let Some((number, end)) = crowd.ended.first() {
            bail!("socket {number}: {end}");
        }
        if progress.done > before {
            moved = Instant::now();
            control.write_all(&vec![0; progress.done - before])?;
        } else if moved.elapsed() > STALL {
            bail!("nothing has moved for {STALL:?}");
        }
    }
    let spent = watched.since(&start)?;
    let deliveries = progress.deliveries();
    Ok(deliveries / spent.server)
}

/// What the client has read of the bare server's events.
struct Progress<'a> {
    bare: &'a Bare,
    /// Bytes, of each socket.
    read: Vec<usize>,
    /// Sockets that miss it, of each event.
    missing: Vec<usize>,
    done: usize,
}

impl<'a> Progress<'a> {
    fn new(bare: &'a Bare) -> Self {
        let audience = if bare.selective { 1 } else { bare.sockets };
        Self {
            bare,
            read: vec![0; bare.sockets],
            missing: vec![audience; bare.events],
            done: 0,
        }
    }

    fn read(&mut self, number: usize, bytes: usize) {
        let before = self.read[number] / self.bare.frame_bytes;
        self.read[number] += bytes;
        for frame in before..self.read[number] / self.bare.frame_bytes {
            let event = if self.bare.selective {
                number + frame * self.bare.sockets
            } else {
                frame
            };
            self.missing[event] -= 1;
            self.done += usize::from(self.missing[event] == 0);
        }
    }

    fn deliveries(&self) -> f64 {
        let frames = self.read.iter().map(|bytes| bytes / self.bare.frame_bytes);
        frames.sum::<usize>() as f64
    }
}
