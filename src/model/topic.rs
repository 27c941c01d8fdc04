//! Topics of an AMQP topic exchange: words between dots, `*` for one word, `#` for any number
//! (AMQP 0-9-1, 3.1.3.3), and Kazoo's encoding of one word (kazoo-amqp.md 2.1).

/// Kazoo's `e(x)`: a value made into one word of a routing key. A lone `*` or `#` stays a
/// wildcard; every byte that is not unreserved becomes `%XX`, a space `+`. The result holds no dot.
pub fn encode(value: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if value == "*" || value == "#" {
        return value.to_owned();
    }
    let mut out = String::with_capacity(value.len() + 8);
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)].into());
                out.push(HEX[usize::from(byte & 15)].into());
            }
        }
    }
    out
}

/// The words of a topic. An empty topic has none, as in RabbitMQ.
pub fn words(topic: &str) -> impl Iterator<Item = &str> {
    let mut split = topic.split('.');
    if topic.is_empty() {
        split.next();
    }
    split
}

/// Whether a routing key matches a pattern: the definition, word by word. The index
/// gives the same answer for many patterns at once.
pub fn matches(pattern: &str, routing_key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern).collect();
    let key: Vec<&str> = words(routing_key).collect();
    matches_words(&pattern, &key)
}

fn matches_words(pattern: &[&str], key: &[&str]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&"#", rest)) => (0..=key.len()).any(|taken| matches_words(rest, &key[taken..])),
        Some((&word, rest)) => key.split_first().is_some_and(|(&head, tail)| {
            (word == "*" || word == head) && matches_words(rest, tail)
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The cases of tests/fixtures/binding-matches.json: pattern, routing key, AMQP's answer.
    pub(crate) fn fixture_cases() -> Vec<(String, String, bool)> {
        let text = include_str!("../../tests/fixtures/binding-matches.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(text).expect("the fixture");
        let text_of =
            |case: &serde_json::Value, key| case[key].as_str().expect("a string").to_owned();
        cases
            .iter()
            .map(|case| {
                (
                    text_of(case, "pattern"),
                    text_of(case, "routing_key"),
                    case["amqp_match"].as_bool().expect("a boolean"),
                )
            })
            .collect()
    }

    #[test]
    fn agrees_with_a_topic_exchange() {
        let cases = fixture_cases();
        assert_eq!(cases.len(), 1135);
        for (pattern, key, expected) in cases {
            assert_eq!(matches(&pattern, &key), expected, "{pattern} against {key}");
        }
    }

    #[test]
    fn encodes_as_kazoo_does() {
        for (value, expected) in [
            ("", ""),
            ("*", "*"),
            ("#", "#"),
            (
                "7f3e9a10-55d2-4c1b-9d61-0c4f2b8e1a77",
                "7f3e9a10-55d2-4c1b-9d61-0c4f2b8e1a77",
            ),
            (
                "3c26701f6b1a-x8q2wz@198.51.100.24",
                "3c26701f6b1a-x8q2wz%40198%2E51%2E100%2E24",
            ),
            ("a b", "a+b"),
            ("a+b", "a%2Bb"),
            ("*97", "%2A97"),
            ("a*b", "a%2Ab"),
            ("##", "%23%23"),
            ("é", "%C3%A9"),
            ("(1)!',\"", "%281%29%21%27%2C%22"),
            ("a/b:c;d=e?f&g%h", "a%2Fb%3Ac%3Bd%3De%3Ff%26g%25h"),
            ("account%2Fab", "account%252Fab"),
            ("A-Z_~", "A-Z_~"),
        ] {
            assert_eq!(encode(value), expected);
        }
    }
}
