//! Event frames (websocket-protocol.md section 3): what differs by group in front, what is the same
//! for all behind it.

use serde_json::Value;

/// The part of a frame that every group shares: name, routing key, data.
pub fn tail(name: Option<&str>, routing_key: &str, data: &str) -> String {
    let key = quoted(routing_key);
    let mut tail = String::with_capacity(data.len() + key.len() + 64);
    if let Some(name) = name {
        tail.push_str(",\"name\":");
        tail.push_str(name);
    }
    tail.push_str(",\"routing_key\":");
    tail.push_str(&key);
    tail.push_str(",\"data\":");
    tail.push_str(data);
    tail.push('}');
    tail
}

/// The whole frame for one group.
pub fn frame(subscribed_key: &str, subscription_key: &str, tail: &str) -> String {
    let mut frame =
        String::with_capacity(tail.len() + subscribed_key.len() + subscription_key.len() + 72);
    frame.push_str("{\"action\":\"event\",\"subscribed_key\":");
    frame.push_str(&quoted(subscribed_key));
    frame.push_str(",\"subscription_key\":");
    frame.push_str(&quoted(subscription_key));
    frame.push_str(tail);
    frame
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys() {
        let tail = tail(Some("\"X\""), "call.a.X.1", "{\"call_id\":\"1\"}");
        assert_eq!(
            frame("call.X.*", "call.a.X.*", &tail),
            r#"{"action":"event","subscribed_key":"call.X.*","subscription_key":"call.a.X.*","name":"X","routing_key":"call.a.X.1","data":{"call_id":"1"}}"#
        );
    }

    #[test]
    fn hostile_keys_are_quoted() {
        let text = frame("a\"b\n", "c", &tail(None, "\\", "{}"));
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(frame["subscribed_key"], "a\"b\n");
        assert_eq!(frame["routing_key"], "\\");
        assert!(frame.get("name").is_none());
    }
}
