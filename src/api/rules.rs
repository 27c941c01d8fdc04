//! What is told of a broken rule, in Kazoo's words (kazoo-rest.md A.5).

use serde_json::{Value, json};

/// Rule `required`.
pub(super) fn required(field: &str) -> Value {
    json!({"message":"Field is required but missing","value":field})
}

/// Rule `type`. Without the value where no error may repeat it.
pub(super) fn wrong_type(expected: &str, value: Option<&Value>) -> Value {
    let message = format!("Value did not match type(s): {expected}");
    match value {
        Some(value) => json!({"message":message,"target":expected,"value":value}),
        None => json!({"message":message,"target":expected}),
    }
}

/// Rule `enum`.
pub(super) fn not_one_of(allowed: &[&str], value: &str) -> Value {
    let message = "Value not found in enumerated list of values";
    json!({"message":message,"target":allowed,"value":value})
}
