//! Reading a body's data field by field: every mistake is told, not only the first (kazoo-rest.md
//! A.5). Fields that nobody asked for are never refused.

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::envelope::ApiError;
use super::rules;

/// The data of a body while it is read. Values are good only when [`Fields::done`] finds no mistake.
#[derive(Debug)]
pub(super) struct Fields {
    data: Map<String, Value>,
    mistakes: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(data: Map<String, Value>) -> Self {
        Self {
            data,
            mistakes: Map::new(),
        }
    }

    /// A text that must be there, of so many characters.
    pub(super) fn required(&mut self, field: &str, length: RangeInclusive<usize>) -> String {
        self.text_of(field, length, true, true).unwrap_or_default()
    }

    /// A text that may be there.
    pub(super) fn text(&mut self, field: &str, length: RangeInclusive<usize>) -> Option<String> {
        self.text_of(field, length, false, true)
    }

    /// The same for what no error may repeat.
    pub(super) fn secret(
        &mut self,
        field: &str,
        length: RangeInclusive<usize>,
        required: bool,
    ) -> Option<String> {
        self.text_of(field, length, required, false)
    }

    /// One of a few texts.
    pub(super) fn choice<T>(
        &mut self,
        field: &str,
        allowed: &[&str],
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text_of(field, 0..=usize::MAX, false, true)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.mistake(field, "enum", rules::not_one_of(allowed, &text));
        }
        parsed
    }

    /// True or false.
    pub(super) fn flag(&mut self, field: &str) -> Option<bool> {
        match self.data.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(flag)) => Some(*flag),
            Some(other) => {
                let details = rules::wrong_type("boolean", Some(other));
                self.mistake(field, "type", details);
                None
            }
        }
    }

    /// Notes a mistake of another kind.
    pub(super) fn mistake(&mut self, field: &str, rule: &str, details: Value) {
        let rules = self
            .mistakes
            .entry(field)
            .or_insert_with(|| Value::Object(Map::new()));
        rules[rule] = details;
    }

    /// 400 with all mistakes, if there were any.
    pub(super) fn done(self) -> Result<Map<String, Value>, ApiError> {
        if self.mistakes.is_empty() {
            Ok(self.data)
        } else {
            Err(ApiError::invalid(self.mistakes.into()))
        }
    }

    fn text_of(
        &mut self,
        field: &str,
        length: RangeInclusive<usize>,
        required: bool,
        shown: bool,
    ) -> Option<String> {
        let (rule, details) = match self.data.get(field) {
            None | Some(Value::Null) if !required => return None,
            None | Some(Value::Null) => ("required", rules::required(field)),
            Some(Value::String(text)) => match broken_length(text, &length) {
                None => return Some(text.clone()),
                Some((rule, most, message)) if shown => {
                    let details = json!({"message":message,"target":most,"value":text});
                    (rule, details)
                }
                Some((rule, most, message)) => (rule, json!({"message":message,"target":most})),
            },
            Some(other) => ("type", rules::wrong_type("string", shown.then_some(other))),
        };
        self.mistake(field, rule, details);
        None
    }
}

fn broken_length(
    text: &str,
    length: &RangeInclusive<usize>,
) -> Option<(&'static str, usize, String)> {
    let (least, most) = (*length.start(), *length.end());
    let characters = text.chars().count();
    if characters < least {
        let message = format!("String must be at least {least} characters");
        return Some(("minLength", least, message));
    }
    let message = format!("String must not be more than {most} characters");
    (characters > most).then_some(("maxLength", most, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_told_and_no_secret() {
        let data = json!({"name":7,"long":"abc","flag":"x","level":"boss","password":"hunter2"});
        let Value::Object(data) = data else {
            panic!("an object")
        };
        let mut fields = Fields::new(data);
        assert_eq!(fields.required("name", 1..=9), "");
        assert_eq!(fields.required("absent", 1..=9), "");
        assert_eq!(fields.text("long", 1..=2), None);
        assert_eq!(fields.flag("flag"), None);
        assert_eq!(fields.choice("level", &["a"], |_| None::<()>), None);
        assert_eq!(fields.secret("password", 8..=9, true), None);
        let error = format!("{:?}", fields.done().expect_err("mistakes"));
        for part in [
            "name",
            "absent",
            "maxLength",
            "boolean",
            "boss",
            "minLength",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("hunter2"));
    }
}
