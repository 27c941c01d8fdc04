//! A strict JSON scanner (RFC 8259) over a text: finds where values begin and end, checks every
//! byte on the way, builds nothing.

use std::borrow::Cow;

/// Deeper values are refused, so that a hostile body cannot exhaust the stack.
const MAX_DEPTH: usize = 128;

/// The text is not the JSON that was expected here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON at byte {at}")]
pub struct BadJson {
    /// Where, counted from 0.
    pub at: usize,
}

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// What a value begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Null,
    Scalar,
}

/// A string as it stands in the text, without its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawString<'a> {
    pub(super) raw: &'a str,
    pub(super) escaped: bool,
}

impl<'a> RawString<'a> {
    /// The string that it means; `None` for lone surrogates, which no Rust string can hold.
    pub(super) fn decode(self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return Some(Cow::Borrowed(self.raw));
        }
        let quoted = format!("\"{}\"", self.raw);
        serde_json::from_str::<String>(&quoted).ok().map(Cow::Owned)
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text between two positions.
    pub(super) fn slice(&self, from: usize, to: usize) -> &'a str {
        &self.text[from..to]
    }

    fn fail<T>(&self) -> Result<T, BadJson> {
        Err(BadJson { at: self.at })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// Takes this byte if it is next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let next = self.byte() == Some(byte);
        self.at += usize::from(next);
        next
    }

    pub(super) fn expect(&mut self, byte: u8) -> Result<(), BadJson> {
        if self.eat(byte) { Ok(()) } else { self.fail() }
    }

    /// Nothing but space is left.
    pub(super) fn end(&mut self) -> Result<(), BadJson> {
        self.space();
        if self.at == self.text.len() {
            Ok(())
        } else {
            self.fail()
        }
    }

    /// What the next value is, by its first byte.
    pub(super) fn kind(&self) -> Kind {
        match self.byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'n') => Kind::Null,
            _ => Kind::Scalar,
        }
    }

    /// A key and its colon; the value is next.
    pub(super) fn key(&mut self) -> Result<RawString<'a>, BadJson> {
        self.space();
        let key = self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(key)
    }

    /// After a member or element: true when another follows, false at the closing byte.
    pub(super) fn another(&mut self, close: u8) -> Result<bool, BadJson> {
        self.space();
        if self.eat(b',') {
            return Ok(true);
        }
        self.expect(close).map(|()| false)
    }

    /// Enters an object or array; true when it has a first member.
    pub(super) fn enter(&mut self, open: u8, close: u8, depth: usize) -> Result<bool, BadJson> {
        if depth >= MAX_DEPTH {
            return self.fail();
        }
        self.expect(open)?;
        self.space();
        Ok(!self.eat(close))
    }

    /// Skips one value and gives its text.
    pub(super) fn value(&mut self, depth: usize) -> Result<&'a str, BadJson> {
        let from = self.at;
        match self.byte() {
            Some(b'{') => {
                let mut more = self.enter(b'{', b'}', depth)?;
                while more {
                    self.key()?;
                    self.value(depth + 1)?;
                    more = self.another(b'}')?;
                }
            }
            Some(b'[') => {
                let mut more = self.enter(b'[', b']', depth)?;
                while more {
                    self.space();
                    self.value(depth + 1)?;
                    more = self.another(b']')?;
                }
            }
            Some(b'"') => {
                self.string()?;
            }
            Some(b't') => self.literal("true")?,
            Some(b'f') => self.literal("false")?,
            Some(b'n') => self.literal("null")?,
            _ => self.number()?,
        }
        Ok(self.slice(from, self.at))
    }

    fn literal(&mut self, word: &str) -> Result<(), BadJson> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail();
        }
        self.at += word.len();
        Ok(())
    }

    pub(super) fn string(&mut self) -> Result<RawString<'a>, BadJson> {
        self.expect(b'"')?;
        let from = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            self.at += plain(&bytes[self.at..]);
            match self.byte() {
                Some(b'"') => {
                    let raw = self.slice(from, self.at);
                    self.at += 1;
                    return Ok(RawString { raw, escaped });
                }
                Some(b'\\') => {}
                _ => return self.fail(),
            }
            escaped = true;
            self.at += 1;
            match self.byte() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                Some(b'u') => {
                    let digits = bytes.get(self.at + 1..self.at + 5);
                    if !digits.is_some_and(|four| four.iter().all(u8::is_ascii_hexdigit)) {
                        return self.fail();
                    }
                    self.at += 5;
                }
                _ => return self.fail(),
            }
        }
    }

    fn digits(&mut self) -> Result<(), BadJson> {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == from { self.fail() } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), BadJson> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Ok(())
    }
}

/// How many bytes come before the first quote, backslash or control character. Most strings of an
/// event are so short that eight bytes at a time in a register beat a call into a search library.
fn plain(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let zero = |word: u64| word.wrapping_sub(EACH) & !word;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = zero(word ^ (EACH * u64::from(b'"')));
        let backslash = zero(word ^ (EACH * u64::from(b'\\')));
        let control = word.wrapping_sub(EACH * 0x20) & !word;
        // A borrow may mark bytes after the first that is meant, none before it.
        let found = (quote | backslash | control) & HIGH;
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let last = rest.iter().position(ends).unwrap_or(rest.len());
    words.len() * 8 + last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn valid(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.space();
        scanner.value(0).and_then(|_| scanner.end()).is_ok()
    }

    #[test]
    fn agrees_with_serde_json() {
        for text in [
            "{}",
            "[]",
            " { } ",
            "[ ]",
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-1.5e+3",
            "1E5",
            "\"\"",
            "\"\\u00e9\\n\\\"\"",
            "{\"a\":[1,{\"b\":null}]}",
            "[1,2,3]",
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "nul",
            "\"\u{1}\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"",
            "[1 2]",
            "{} {}",
            "'a'",
            "tru",
        ] {
            let expected = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(valid(text), expected, "{text:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(valid(&nested(128)));
        assert!(!valid(&nested(129)));
        assert!(!valid(&"[".repeat(1_000_000)));
    }

    proptest! {
        #[test]
        fn plain_bytes_end_where_they_do(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b'"'), Just(0x1f), Just(b' '), Just(b'!'), b'a'..=b'z'],
            0..40,
        )) {
            let ends = |byte: &u8| *byte < 0x20 || [b'"', b'\\'].contains(byte);
            prop_assert_eq!(plain(&bytes), bytes.iter().position(ends).unwrap_or(bytes.len()));
        }
    }
}
