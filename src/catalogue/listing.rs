//! The catalogue as people see it: every binding that a client can ask for.

use super::rule::{Catalogue, Field, Form, Wildcard, Word};

/// One list of the catalogue as people see it.
#[derive(Debug)]
pub struct Section<'a> {
    /// The category's name.
    pub category: &'a str,
    /// One sentence.
    pub about: &'a str,
    /// Its bindings.
    pub entries: Vec<Entry<'a>>,
}

/// A binding as people see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Ready to paste: ids are `*` (or `{ID}` where `*` is refused).
    pub binding: String,
    /// Kazoo's own form: ids are `{CALL_ID}` and the like.
    pub template: String,
    /// What happens, such as `CHANNEL_CREATE` or `doc_created.user`.
    pub event: String,
    /// One sentence.
    pub about: &'a str,
}

impl Catalogue {
    /// Everything that can be asked for now, in the order of the file.
    pub fn sections(&self) -> Vec<Section<'_>> {
        let stopped = self.stopped.load();
        self.categories
            .iter()
            .filter(|category| !stopped.contains(&category.name))
            .map(|category| Section {
                category: &category.name,
                about: &category.about,
                entries: category
                    .forms
                    .iter()
                    .filter(|form| form.listed)
                    .flat_map(Form::entries)
                    .collect(),
            })
            .collect()
    }
}

impl Form {
    fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = vec![Entry {
            binding: String::new(),
            template: String::new(),
            event: String::new(),
            about: &self.about,
        }];
        for (at, word) in self.words.iter().enumerate() {
            let choices: Vec<(String, String, Option<&str>)> = match word {
                Word::Literal(text) => vec![(text.clone(), text.clone(), (at > 0).then_some(text))],
                Word::Field(
                    _,
                    Field {
                        one_of: Some(values),
                        listed: true,
                        ..
                    },
                ) => values
                    .iter()
                    .map(|value| (value.clone(), value.clone(), Some(value.as_str())))
                    .collect(),
                Word::Field(name, field) => {
                    let template = format!("{{{}}}", name.to_uppercase());
                    let plain = match field.wildcard() {
                        Wildcard::Allow | Wildcard::Each => "*".to_owned(),
                        Wildcard::Refuse | Wildcard::Superduper => template.clone(),
                    };
                    vec![(plain, template, None)]
                }
            };
            entries = entries
                .iter()
                .flat_map(|so_far| {
                    choices.iter().map(|(binding, template, event)| Entry {
                        binding: join(&so_far.binding, binding),
                        template: join(&so_far.template, template),
                        event: event
                            .map_or_else(|| so_far.event.clone(), |e| join(&so_far.event, e)),
                        about: so_far.about,
                    })
                })
                .collect();
        }
        entries
    }
}

fn join(left: &str, right: &str) -> String {
    if left.is_empty() {
        right.to_owned()
    } else {
        format!("{left}.{right}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_kazoo_does() {
        let catalogue = Catalogue::builtin();
        let sections = catalogue.sections();
        let templates = |name: &str| -> Vec<String> {
            let section = sections
                .iter()
                .find(|s| s.category == name)
                .expect("a category");
            section.entries.iter().map(|e| e.template.clone()).collect()
        };
        assert_eq!(templates("call").len(), 9);
        assert_eq!(templates("call")[0], "call.CHANNEL_CREATE.{CALL_ID}");
        assert_eq!(templates("object").len(), 30);
        assert_eq!(templates("object")[29], "object.doc_deleted.call_recording");
        assert_eq!(
            templates("fax"),
            ["fax.status.{FAX_ID}", "fax.object.{ACTION}"]
        );
        let call = &sections[0].entries[0];
        assert_eq!(
            (&*call.binding, &*call.event),
            ("call.CHANNEL_CREATE.*", "CHANNEL_CREATE")
        );
    }
}
