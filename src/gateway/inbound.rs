//! What comes in from a socket: bytes to messages (RFC 6455, 5). Nothing is kept for an idle socket:
//! bytes are parsed where they were read, and only the rest of an unfinished frame is copied.

use std::io::Cursor;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// Longest payload of a control frame (5.5).
const MAX_CONTROL: usize = 125;
/// Frames that one message may come in: their heads are not counted in its length.
const MAX_FRAGMENTS: usize = 1024;

/// A message, or a control frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// What a client says in this protocol.
    Text(String),
    /// Never right here, so its payload is not kept.
    Binary,
    /// With the payload that the pong repeats.
    Ping(Bytes),
    /// Whatever it carries.
    Pong,
    /// With the code that came with it.
    Close(Option<CloseCode>),
}

/// Why the client cannot be understood any more.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// A rule of RFC 6455 is broken: which.
    Protocol(&'static str),
    /// A text that is none.
    Utf8,
    /// More than one message may have.
    TooLong,
}

/// What is not finished yet.
#[derive(Debug)]
pub struct Inbound {
    /// Bytes of a frame that is not here in full.
    rest: Vec<u8>,
    /// Frames of a message whose last is not here.
    fragments: Option<Fragments>,
    /// Longest message, in bytes.
    max: usize,
}

#[derive(Debug)]
struct Fragments {
    text: bool,
    payload: Vec<u8>,
    count: usize,
}

struct Head {
    fin: bool,
    opcode: OpCode,
    mask: [u8; 4],
    payload: usize,
    /// Bytes of head and payload together.
    total: usize,
}

impl Inbound {
    /// Nothing has come yet; no message may be longer than `max` bytes.
    pub fn new(max: usize) -> Self {
        Self {
            rest: Vec::new(),
            fragments: None,
            max,
        }
    }

    /// Takes bytes that were read, and gives each message that is complete to `take`. After a fault
    /// nothing more may be fed.
    pub fn feed(&mut self, bytes: &mut [u8], mut take: impl FnMut(Message)) -> Result<(), Fault> {
        if self.rest.is_empty() {
            let used = self.parse(bytes, &mut take)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let used = self.parse(&mut rest, &mut take)?;
        if used < rest.len() {
            rest.drain(..used);
            self.rest = rest;
        }
        Ok(())
    }

    /// How many bytes made complete frames.
    fn parse(&mut self, bytes: &mut [u8], take: &mut impl FnMut(Message)) -> Result<usize, Fault> {
        let mut used = 0;
        while let Some(head) = self.head(&bytes[used..])? {
            let Some(frame) = bytes.get_mut(used..used + head.total) else {
                break;
            };
            let payload = &mut frame[head.total - head.payload..];
            unmask(payload, head.mask);
            if let Some(message) = self.frame(&head, payload)? {
                take(message);
            }
            used += head.total;
        }
        Ok(used)
    }

    /// The head of a frame, if it is here in full. Whatever is wrong is found before its payload has
    /// come.
    fn head(&self, bytes: &[u8]) -> Result<Option<Head>, Fault> {
        let mut cursor = Cursor::new(bytes);
        let parsed = FrameHeader::parse(&mut cursor);
        let parsed = parsed.map_err(|_| Fault::Protocol("unknown opcode"))?;
        let Some((head, length)) = parsed else {
            return Ok(None);
        };
        if head.rsv1 || head.rsv2 || head.rsv3 {
            return Err(Fault::Protocol("reserved bits are set"));
        }
        let mask = head.mask.ok_or(Fault::Protocol("frame is not masked"))?;
        let begun = self.fragments.as_ref();
        match head.opcode {
            OpCode::Control(_) if !head.is_final => {
                return Err(Fault::Protocol("fragmented control frame"));
            }
            OpCode::Control(_) if length > MAX_CONTROL as u64 => {
                return Err(Fault::Protocol("control frame too long"));
            }
            OpCode::Data(Data::Continue) if begun.is_none() => {
                return Err(Fault::Protocol("continuation of nothing"));
            }
            OpCode::Data(Data::Text | Data::Binary) if begun.is_some() => {
                return Err(Fault::Protocol("message within a message"));
            }
            _ => {}
        }
        let before = begun.map_or(0, |fragments| fragments.payload.len());
        let payload = usize::try_from(length).map_err(|_| Fault::TooLong)?;
        let is_data = matches!(head.opcode, OpCode::Data(_));
        if is_data && payload > self.max.saturating_sub(before) {
            return Err(Fault::TooLong);
        }
        let start = usize::try_from(cursor.position()).map_err(|_| Fault::TooLong)?;
        Ok(Some(Head {
            fin: head.is_final,
            opcode: head.opcode,
            mask,
            payload,
            total: start + payload,
        }))
    }

    fn frame(&mut self, head: &Head, payload: &[u8]) -> Result<Option<Message>, Fault> {
        match head.opcode {
            OpCode::Control(Control::Close) => Ok(Some(Message::Close(close_code(payload)?))),
            OpCode::Control(Control::Ping) => {
                Ok(Some(Message::Ping(Bytes::copy_from_slice(payload))))
            }
            OpCode::Control(_) => Ok(Some(Message::Pong)),
            OpCode::Data(Data::Continue) => self.fragment(head.fin, payload),
            OpCode::Data(data) => {
                let text = data == Data::Text;
                if head.fin {
                    return complete(text, payload.to_vec()).map(Some);
                }
                self.fragments = Some(Fragments {
                    text,
                    payload: payload.to_vec(),
                    count: 1,
                });
                Ok(None)
            }
        }
    }

    fn fragment(&mut self, fin: bool, payload: &[u8]) -> Result<Option<Message>, Fault> {
        let Some(fragments) = &mut self.fragments else {
            return Err(Fault::Protocol("continuation of nothing"));
        };
        fragments.payload.extend_from_slice(payload);
        fragments.count += 1;
        if fragments.count > MAX_FRAGMENTS {
            return Err(Fault::TooLong);
        }
        if !fin {
            return Ok(None);
        }
        match self.fragments.take() {
            Some(whole) => complete(whole.text, whole.payload).map(Some),
            None => Ok(None),
        }
    }
}

fn complete(text: bool, payload: Vec<u8>) -> Result<Message, Fault> {
    if !text {
        return Ok(Message::Binary);
    }
    let text = String::from_utf8(payload).map_err(|_| Fault::Utf8)?;
    Ok(Message::Text(text))
}

/// Nothing, or a code that may be sent and a text (5.5.1, 7.4).
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Fault> {
    match payload {
        [] => Ok(None),
        [_] => Err(Fault::Protocol("close code of one byte")),
        [high, low, reason @ ..] => {
            let code = CloseCode::from(u16::from_be_bytes([*high, *low]));
            if !code.is_allowed() {
                return Err(Fault::Protocol("close code that may not be sent"));
            }
            std::str::from_utf8(reason).map_err(|_| Fault::Utf8)?;
            Ok(Some(code))
        }
    }
}

/// RFC 6455, 5.3.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3],
    ]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        let plain = u64::from_ne_bytes(word) ^ wide;
        chunk.copy_from_slice(&plain.to_ne_bytes());
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;

    const MAX: usize = 1000;

    /// As a client sends it: masked.
    fn bytes(mut frame: Frame, mask: [u8; 4]) -> Vec<u8> {
        frame.header_mut().mask = Some(mask);
        let mut out = Vec::new();
        frame.format(&mut out).expect("formats");
        out
    }

    fn data(text: &str, kind: Data, fin: bool) -> Vec<u8> {
        let frame = Frame::message(text.to_owned(), OpCode::Data(kind), fin);
        bytes(frame, [1, 2, 3, 4])
    }

    /// All messages, fed in pieces of this size.
    fn fed(stream: &[u8], piece: usize) -> (Vec<Message>, Option<Fault>) {
        let mut inbound = Inbound::new(MAX);
        let mut messages = Vec::new();
        for chunk in stream.chunks(piece) {
            let taken = inbound.feed(&mut chunk.to_vec(), |message| messages.push(message));
            if let Err(fault) = taken {
                return (messages, Some(fault));
            }
        }
        assert!(inbound.rest.is_empty(), "nothing is kept");
        (messages, None)
    }

    fn fault(stream: &[u8]) -> Fault {
        let whole = fed(stream, usize::MAX).1.expect("a fault");
        assert_eq!(fed(stream, 1).1, Some(fed(stream, 3).1.expect("the same")));
        whole
    }

    #[test]
    fn messages_and_control_frames() {
        let stream = [
            data("one", Data::Text, true),
            data("t", Data::Text, false),
            bytes(Frame::ping("p"), [9; 4]),
            data("w", Data::Continue, false),
            data("o", Data::Continue, true),
            data("x", Data::Binary, true),
            bytes(Frame::pong(""), [0; 4]),
            bytes(
                Frame::close(Some(CloseFrame {
                    code: CloseCode::Normal,
                    reason: "bye".into(),
                })),
                [7; 4],
            ),
            bytes(Frame::close(None), [7; 4]),
        ]
        .concat();
        for piece in [1, 2, 5, usize::MAX] {
            let (messages, fault) = fed(&stream, piece);
            assert_eq!(fault, None);
            assert_eq!(
                messages,
                [
                    Message::Text("one".into()),
                    Message::Ping("p".into()),
                    Message::Text("two".into()),
                    Message::Binary,
                    Message::Pong,
                    Message::Close(Some(CloseCode::Normal)),
                    Message::Close(None),
                ]
            );
        }
    }

    #[test]
    fn what_breaks_the_protocol() {
        let protocol = |stream: &[u8], part: &str| match fault(stream) {
            Fault::Protocol(text) => assert!(text.contains(part), "{text}"),
            other => panic!("{other:?}"),
        };
        protocol(&[0x81, 0x01, b'x'], "not masked");
        protocol(&[0xC1, 0x80, 0, 0, 0, 0], "reserved");
        protocol(&[0x83, 0x80, 0, 0, 0, 0], "opcode");
        protocol(&[0x09, 0x80, 0, 0, 0, 0], "fragmented");
        protocol(&[0x89, 0xFE, 0, 126, 0, 0, 0, 0], "too long");
        protocol(&data("x", Data::Continue, true), "of nothing");
        let twice = [data("x", Data::Text, false), data("x", Data::Text, true)].concat();
        protocol(&twice, "within");
        protocol(&[0x88, 0x81, 0, 0, 0, 0, 3], "one byte");
        protocol(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xED], "may not be sent");
        assert_eq!(fault(&[0x81, 0x81, 0, 0, 0, 0, 0xFF]), Fault::Utf8);
        let close = [0x88, 0x83, 0, 0, 0, 0, 0x03, 0xE8, 0xFF];
        assert_eq!(fault(&close), Fault::Utf8);
    }

    #[test]
    fn bounded_before_it_has_come() {
        assert_eq!(fault(&[0x81, 0xFE, 0x03, 0xE9, 0, 0, 0, 0]), Fault::TooLong);
        let huge = [
            0x81, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0,
        ];
        assert_eq!(fault(&huge), Fault::TooLong);
        let long = "x".repeat(600);
        let both = [
            data(&long, Data::Text, false),
            data(&long, Data::Continue, true),
        ];
        assert_eq!(fault(&both.concat()), Fault::TooLong);
        let mut empty = data("", Data::Text, false);
        for _ in 0..MAX_FRAGMENTS {
            empty.extend(data("", Data::Continue, false));
        }
        assert_eq!(fault(&empty), Fault::TooLong);
    }

    proptest! {
        #[test]
        fn texts_survive_however_they_come(
            texts in prop::collection::vec(".{0,80}", 0..6),
            mask: [u8; 4],
            piece in 1usize..64,
        ) {
            let stream: Vec<u8> = texts
                .iter()
                .flat_map(|text| {
                    let frame = Frame::message(text.clone(), OpCode::Data(Data::Text), true);
                    bytes(frame, mask)
                })
                .collect();
            let expected: Vec<_> = texts.into_iter().map(Message::Text).collect();
            prop_assert_eq!(fed(&stream, piece), (expected, None));
        }

        #[test]
        fn whatever_comes_nothing_panics_and_nothing_piles_up(
            stream in prop::collection::vec(any::<u8>(), 0..300),
            piece in 1usize..64,
        ) {
            let mut inbound = Inbound::new(MAX);
            for chunk in stream.chunks(piece) {
                if inbound.feed(&mut chunk.to_vec(), drop).is_err() {
                    break;
                }
                prop_assert!(inbound.rest.len() <= MAX + 14);
            }
        }
    }
}
