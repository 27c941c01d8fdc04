//! The body as clients see it (kazoo-amqp.md chapter 4): private headers dropped at the top, keys in
//! lower case with `-` as `_`, `null` members dropped, values untouched to the last digit.

use std::collections::HashMap;
use std::ops::Range;

use super::scan::{BadJson, Kind, RawString, Scanner};

/// Top-level headers that no client sees (kazoo-amqp.md 4.1).
const PRIVATE: [&str; 14] = [
    "Access-Group",
    "Defer-Response",
    "Destination-Server",
    "Geo-Location",
    "System-Log-ID",
    "Node",
    "Server-Queue-ID",
    "Raw-Headers",
    "Server-ID",
    "Request-From-PID",
    "Reply-To-PID",
    "AMQP-Broker",
    "AMQP-Broker-Zone",
    "Deliver-To-PID",
];

/// Longer keys are rare.
const SHORT: usize = 48;

/// Appends the public form of a body, a JSON object, to `out`. On an error `out` may hold a part.
pub fn normalise(body: &str, out: &mut String) -> Result<(), BadJson> {
    let mut writer = Writer {
        scanner: Scanner::new(body),
        out,
        members: Vec::new(),
        hashes: Vec::new(),
    };
    writer.scanner.space();
    writer.object(0)?;
    writer.scanner.end()
}

struct Writer<'a, 'o> {
    scanner: Scanner<'a>,
    out: &'o mut String,
    /// Members written so far of all open objects, the innermost last: key and value in `out`.
    members: Vec<(Range<usize>, Range<usize>)>,
    hashes: Vec<u64>,
}

impl Writer<'_, '_> {
    fn value(&mut self, depth: usize) -> Result<(), BadJson> {
        match self.scanner.kind() {
            Kind::Object => self.object(depth),
            Kind::Array => self.array(depth),
            Kind::Null | Kind::Scalar => {
                let text = self.scanner.value(depth)?;
                self.out.push_str(text);
                Ok(())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), BadJson> {
        self.out.push('[');
        let mut more = self.scanner.enter(b'[', b']', depth)?;
        while more {
            self.scanner.space();
            self.value(depth + 1)?;
            more = self.scanner.another(b']')?;
            if more {
                self.out.push(',');
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), BadJson> {
        let start = self.out.len();
        let first_member = self.members.len();
        self.out.push('{');
        let mut more = self.scanner.enter(b'{', b'}', depth)?;
        while more {
            let at = self.scanner.at();
            let key = self.scanner.key()?;
            let dropped = self.scanner.kind() == Kind::Null || (depth == 0 && is_private(key));
            if dropped {
                self.scanner.value(depth + 1)?;
            } else {
                if self.members.len() > first_member {
                    self.out.push(',');
                }
                let key = self.key(key, at)?;
                self.out.push(':');
                let from = self.out.len();
                self.value(depth + 1)?;
                self.members.push((key, from..self.out.len()));
            }
            more = self.scanner.another(b'}')?;
        }
        self.out.push('}');
        if self.has_doubles(first_member) {
            self.merge_doubles(start, first_member);
        }
        self.members.truncate(first_member);
        Ok(())
    }

    /// Writes a key in its public form; gives its place in `out`, quotes included.
    fn key(&mut self, key: RawString<'_>, at: usize) -> Result<Range<usize>, BadJson> {
        let from = self.out.len();
        if key.escaped {
            // An escape can hide a capital or a hyphen.
            let plain = key.decode().ok_or(BadJson { at })?;
            let plain = plain.replace('-', "_").to_ascii_lowercase();
            self.out
                .push_str(&serde_json::Value::String(plain).to_string());
        } else {
            self.out.push('"');
            let mut short = [0; SHORT];
            match public(key.raw, &mut short) {
                Some(public) => self.out.push_str(public),
                None => self.out.extend(key.raw.chars().map(|c| match c {
                    '-' => '_',
                    c => c.to_ascii_lowercase(),
                })),
            }
            self.out.push('"');
        }
        Ok(from..self.out.len())
    }

    /// Whether two members of the innermost object may have the same key. A collision of hashes
    /// only costs time.
    fn has_doubles(&mut self, first_member: usize) -> bool {
        self.hashes.clear();
        for (key, _) in &self.members[first_member..] {
            self.hashes.push(hash(&self.out.as_bytes()[key.clone()]));
        }
        self.hashes.sort_unstable();
        self.hashes.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Keys that became equal: the first position stays, the last value wins.
    fn merge_doubles(&mut self, start: usize, first_member: usize) {
        let mut order: Vec<(&str, &str)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (key, value) in &self.members[first_member..] {
            let (key, value) = (&self.out[key.clone()], &self.out[value.clone()]);
            if let Some(&place) = places.get(key) {
                order[place].1 = value;
            } else {
                places.insert(key, order.len());
                order.push((key, value));
            }
        }
        let members: Vec<String> = order
            .iter()
            .map(|(key, value)| format!("{key}:{value}"))
            .collect();
        let merged = format!("{{{}}}", members.join(","));
        self.out.truncate(start);
        self.out.push_str(&merged);
    }
}

fn is_private(key: RawString<'_>) -> bool {
    if key.escaped {
        key.decode().is_some_and(|key| PRIVATE.contains(&&*key))
    } else {
        PRIVATE.contains(&key.raw)
    }
}

/// The public form of a key that fits: all its bytes at once, in registers.
fn public<'s>(key: &str, short: &'s mut [u8; SHORT]) -> Option<&'s str> {
    let place = short.get_mut(..key.len())?;
    for (to, from) in place.iter_mut().zip(key.bytes()) {
        *to = if from == b'-' {
            b'_'
        } else {
            from.to_ascii_lowercase()
        };
    }
    str::from_utf8(place).ok()
}

/// Tells keys apart, mostly: by length, first and last bytes.
fn hash(key: &[u8]) -> u64 {
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let (first, last) = (key.len().min(8), key.len().saturating_sub(8));
    let (first, last) = (word(&key[..first]), word(&key[last..]));
    (first ^ last.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn normalised(body: &str) -> String {
        let mut out = String::new();
        normalise(body, &mut out).expect(body);
        out
    }

    #[test]
    fn fixtures() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events");
        let mut checked = 0;
        for file in std::fs::read_dir(folder).expect("the fixtures") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            let event: Value = serde_json::from_str(&text).expect("JSON");
            let data: Value =
                serde_json::from_str(&normalised(&event["payload"].to_string())).expect("JSON");
            assert_eq!(data, event["expected_data"], "{}", event["description"]);
            checked += 1;
        }
        assert_eq!(checked, 23);
    }

    #[test]
    fn worked_examples() {
        for (body, expected) in [
            (r#"{ "Call-ID" : "x" }"#, r#"{"call_id":"x"}"#),
            (
                r#"{"Server-ID":"","Node":"apps@h","App":1}"#,
                r#"{"app":1}"#,
            ),
            (r#"{"N-A":{"Node":"n"}}"#, r#"{"n_a":{"node":"n"}}"#),
            (r#"{"UPPER-lower Mixed":1}"#, r#"{"upper_lower mixed":1}"#),
            (r#"{"X":null}"#, "{}"),
            (r#"{"X":{"Y":null}}"#, r#"{"x":{}}"#),
            (
                r#"{"X":[{"Y-Z":null},null,"A-B",[{"C-D":1}]]}"#,
                r#"{"x":[{},null,"A-B",[{"c_d":1}]]}"#,
            ),
            (
                r#"{"Dup-Key":1,"b":3,"dup_key":2}"#,
                r#"{"dup_key":2,"b":3}"#,
            ),
            (
                r#"{"a":1.0,"b":123456789012345678901234567890,"c":1e5}"#,
                r#"{"a":1.0,"b":123456789012345678901234567890,"c":1e5}"#,
            ),
            (r#"{"\u0041-B":1,"a_b":2}"#, r#"{"a_b":2}"#),
            (r#"{"\u004eode":1}"#, "{}"),
            (r#"{"É-Ü":1}"#, r#"{"É_Ü":1}"#),
            (r#"{"A":{"B-1":1,"b_1":2},"a":{"C":3}}"#, r#"{"a":{"c":3}}"#),
            (r#"{"S":"A-B \" é"}"#, r#"{"s":"A-B \" é"}"#),
        ] {
            assert_eq!(normalised(body), expected);
        }
    }

    #[test]
    fn refuses_what_is_no_object() {
        for body in ["", "[]", "1", "{", "{}x", r#"{"a":}"#, r#"{"\ud800":1}"#] {
            assert!(normalise(body, &mut String::new()).is_err(), "{body}");
        }
    }

    /// The rules of 4.2 over a tree, as far from the streaming code as can be.
    fn by_tree(value: &Value, depth: usize) -> Value {
        match value {
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .filter(|(key, value)| {
                        !(value.is_null() || depth == 0 && PRIVATE.contains(&key.as_str()))
                    })
                    .map(|(key, value)| {
                        (
                            key.to_ascii_lowercase().replace('-', "_"),
                            by_tree(value, depth + 1),
                        )
                    })
                    .collect::<Map<_, _>>(),
            ),
            Value::Array(items) => items.iter().map(|item| by_tree(item, depth + 1)).collect(),
            other => other.clone(),
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é\n\"\\\\]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[A-Ba-b_\\-\"é]{0,3}|Node|Server-ID", inner, 0..6)
                    .prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree(members in prop::collection::btree_map("[A-Ba-b_\\-]{0,3}|Node|[A-B\u{c9}-]{40,56}", json_value(), 0..8)) {
            let body = json!(members);
            for text in [body.to_string(), serde_json::to_string_pretty(&body).expect("JSON")] {
                let ours: Value = serde_json::from_str(&normalised(&text)).expect("JSON");
                prop_assert_eq!(ours, by_tree(&body, 0));
            }
        }

        #[test]
        fn never_panics_and_never_writes_bad_json(body in "[{}\\[\\]\",:\\\\nul0-9a-z \u{e9}-]{0,40}") {
            let mut out = String::new();
            let ok = normalise(&body, &mut out).is_ok();
            let is_object = serde_json::from_str::<Map<String, Value>>(&body).is_ok();
            prop_assert_eq!(ok, is_object, "{}", body);
            if ok {
                prop_assert!(serde_json::from_str::<Value>(&out).is_ok());
            }
        }
    }
}
