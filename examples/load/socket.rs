//! One WebSocket, read and written by hand without blocking. A library would copy and check every
//! message; this client shares the cores with the server that it measures.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConnection;

/// What a socket says first: masked frames, each sent when the one before was answered.
pub(crate) type Hello = Arc<[Vec<u8>]>;

/// One connection, with or without TLS.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// The beginning of a frame that is not complete.
    rest: Vec<u8>,
    /// Not yet written.
    out: Vec<u8>,
    stage: Stage,
    hello: Hello,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for the answer to the handshake.
    Upgrading,
    /// Waits for the answer to this message.
    Subscribing(usize),
    Ready,
    /// No WebSocket: bytes are handed over as they come.
    Raw,
}

impl Socket {
    /// A WebSocket that begins with this handshake.
    pub(crate) fn new(
        stream: TcpStream,
        tls: Option<ClientConnection>,
        upgrade: &[u8],
        hello: Hello,
    ) -> Self {
        Self {
            stream,
            tls: tls.map(Box::new),
            rest: Vec::new(),
            out: upgrade.to_vec(),
            stage: Stage::Upgrading,
            hello,
        }
    }

    /// Plain bytes.
    pub(crate) fn raw(stream: TcpStream) -> Self {
        Self {
            stream,
            tls: None,
            rest: Vec::new(),
            out: Vec::new(),
            stage: Stage::Raw,
            hello: Arc::new([]),
        }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Everything it had to say was answered.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Raw)
    }

    /// Writes what waits, as far as the kernel takes it.
    pub(crate) fn write(&mut self) -> Result<(), String> {
        let written = match &mut self.tls {
            Some(tls) => {
                let given = tls.writer().write_all(&self.out);
                self.out.clear();
                given.and_then(|()| {
                    while tls.wants_write() {
                        tls.write_tls(&mut self.stream)?;
                    }
                    Ok(())
                })
            }
            None => write_some(&mut self.stream, &mut self.out),
        };
        match written {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Reads what is there and hands over the text of every event. `to_the_end`: the server has
    /// closed, so there is an end to be found. The error says how the connection ended.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        to_the_end: bool,
        event: &mut impl FnMut(&[u8]),
    ) -> Result<(), String> {
        loop {
            let begun = self.rest.len();
            let Some(room) = buffer.get_mut(begun..).filter(|room| !room.is_empty()) else {
                return Err(format!("a frame of more than {} bytes", buffer.len()));
            };
            let read = match self.fill(room) {
                Ok(0) => return Err("closed by the server without a reason".into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            };
            buffer[..begun].copy_from_slice(&self.rest);
            self.rest.clear();
            let bytes = &buffer[..begun + read];
            let used = self.take(bytes, event)?;
            self.rest.extend_from_slice(&bytes[used..]);
            // A stream that gave less than there was room for has no more (epoll(7)).
            if self.tls.is_none() && !to_the_end && bytes.len() < buffer.len() {
                break;
            }
        }
        if self.is_ready() {
            Ok(())
        } else {
            self.write()
        }
    }

    fn fill(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.read(room);
        };
        loop {
            match tls.reader().read(room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// How many of the bytes were complete.
    fn take(&mut self, bytes: &[u8], event: &mut impl FnMut(&[u8])) -> Result<usize, String> {
        let mut used = 0;
        match self.stage {
            Stage::Raw => {
                event(bytes);
                return Ok(bytes.len());
            }
            Stage::Upgrading => {
                let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                    return Ok(0);
                };
                if !bytes.starts_with(b"HTTP/1.1 101") {
                    return Err(format!("refused: {}", String::from_utf8_lossy(bytes)));
                }
                used = end + 4;
                self.say(0);
            }
            Stage::Subscribing(_) | Stage::Ready => {}
        }
        while let Some((frame, length)) = Frame::split(&bytes[used..]) {
            match frame.opcode {
                0x1 if self.stage == Stage::Ready => event(frame.payload),
                0x1 => self.answered(frame.payload)?,
                0x8 => return Err(frame.reason()),
                0x9 | 0xA => {}
                other => return Err(format!("a frame of kind {other}")),
            }
            used += length;
        }
        Ok(used)
    }

    fn say(&mut self, message: usize) {
        match self.hello.get(message) {
            Some(frame) => {
                self.out.extend_from_slice(frame);
                self.stage = Stage::Subscribing(message);
            }
            None => self.stage = Stage::Ready,
        }
    }

    fn answered(&mut self, text: &[u8]) -> Result<(), String> {
        let contains = |part: &str| memchr::memmem::find(text, part.as_bytes()).is_some();
        if !contains(r#""action":"reply""#) {
            // An event of a subscription that was answered before.
            return Ok(());
        }
        if !contains(r#""status":"success""#) {
            return Err(format!("refused: {}", String::from_utf8_lossy(text)));
        }
        if let Stage::Subscribing(message) = self.stage {
            self.say(message + 1);
        }
        Ok(())
    }
}

fn write_some(stream: &mut TcpStream, out: &mut Vec<u8>) -> io::Result<()> {
    while !out.is_empty() {
        let written = stream.write(out)?;
        out.drain(..written);
    }
    Ok(())
}

/// A text from a client. Masked with zeros, which leave it as it is.
pub(crate) fn masked(text: &str) -> Vec<u8> {
    const TEXT: u8 = 0x81;
    const MASKED: u8 = 0x80;
    let mut frame = vec![TEXT];
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length @ 0..=125), _) => frame.push(MASKED | length),
        (_, Ok(length)) => {
            frame.push(MASKED | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// A frame of a server (RFC 6455, section 5.2): never masked. Ours does not split messages.
struct Frame<'a> {
    opcode: u8,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The first frame and its length with its head; `None` if it is not complete.
    fn split(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match second & 0x7F {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (u64::from(short), rest),
        };
        let (payload, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let opcode = first & 0x0F;
        Some((Self { opcode, payload }, bytes.len() - after.len()))
    }

    /// Of a close frame.
    fn reason(&self) -> String {
        match self.payload.split_first_chunk() {
            Some((code, text)) => {
                let code = u16::from_be_bytes(*code);
                let text = String::from_utf8_lossy(text);
                format!("closed by the server: {code} {text}")
            }
            None => "closed by the server".into(),
        }
    }
}
