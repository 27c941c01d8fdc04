//! The catalogue's format: TOML in, checked rules out. A rule that cannot work is refused here, with
//! its line, so that matching and subscribing never meet one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arc_swap::ArcSwap;

use serde::Deserialize;
use toml::Spanned;

use super::rule::{
    ACCOUNT_HOLES, Catalogue, Category, Exchange, Field, Form, KeyStep, Outcome, Rule, Template,
    Unnamed, Word,
};

const BUILTIN: &str = include_str!("builtin.toml");

/// Why a catalogue was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct CatalogueError {
    /// Counted from 1, in the text given.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub reason: String,
}

#[derive(Deserialize)]
struct RawCatalogue {
    #[serde(default)]
    category: Vec<RawCategory>,
    #[serde(default)]
    exchange: Vec<RawExchange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExchange {
    name: Spanned<String>,
    account: Option<Vec<String>>,
    account_word: Option<usize>,
    #[serde(default = "published")]
    routing_key: KeyStep,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCategory {
    name: Spanned<String>,
    #[serde(default)]
    about: String,
    invalid_format: Option<String>,
    kazoo_listing: Option<KazooListing>,
    #[serde(default)]
    fields: BTreeMap<String, Field>,
    #[serde(default)]
    form: Vec<RawForm>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KazooListing {
    WithoutCategory,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawForm {
    binding: Spanned<String>,
    #[serde(default)]
    about: String,
    #[serde(default = "yes")]
    listed: bool,
    #[serde(default)]
    all_accounts: bool,
    #[serde(default)]
    fields: BTreeMap<String, Field>,
    refuse: Option<String>,
    #[serde(default)]
    subscription: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(default)]
    when: BTreeMap<String, Vec<String>>,
    key: Spanned<String>,
    exchange: Spanned<String>,
    amqp: Spanned<String>,
    #[serde(default)]
    unnamed: Unnamed,
}

fn yes() -> bool {
    true
}

fn published() -> KeyStep {
    KeyStep::Published
}

impl Catalogue {
    /// The embedded catalogue alone.
    pub fn builtin() -> Self {
        // The text is part of the program and a test parses it.
        #[expect(clippy::expect_used, reason = "checked by the test builtin_is_sound")]
        Self::with("").expect("the embedded catalogue")
    }

    /// The embedded catalogue plus the `[[category]]` and `[[exchange]]` tables of a settings file.
    /// Other tables of that file are not looked at.
    pub fn with(settings_file: &str) -> Result<Self, CatalogueError> {
        let mut catalogue = Self {
            categories: Vec::new(),
            exchanges: HashMap::new(),
            stopped: ArcSwap::default(),
        };
        catalogue.add(BUILTIN)?;
        catalogue.add(settings_file)?;
        Ok(catalogue)
    }

    fn add(&mut self, text: &str) -> Result<(), CatalogueError> {
        let fail = |span: Range<usize>, reason: String| CatalogueError {
            line: line_of(text, span.start),
            reason,
        };
        let raw: RawCatalogue = toml::from_str(text)
            .map_err(|error| fail(error.span().unwrap_or(0..0), error.message().to_owned()))?;
        for exchange in raw.exchange {
            let name = exchange.name.into_inner();
            let account = exchange.account.unwrap_or_else(|| {
                vec!["Account-ID".into(), "Custom-Channel-Vars.Account-ID".into()]
            });
            self.exchanges.insert(
                name.clone(),
                Exchange {
                    name,
                    account: account
                        .iter()
                        .map(|path| path.split('.').map(str::to_owned).collect())
                        .collect(),
                    account_word: exchange.account_word,
                    key_step: exchange.routing_key,
                },
            );
        }
        for category in raw.category {
            let category = self.check(category, &fail)?;
            self.categories.retain(|known| known.name != category.name);
            self.categories.push(category);
        }
        Ok(())
    }

    fn check(
        &self,
        raw: RawCategory,
        fail: &dyn Fn(Range<usize>, String) -> CatalogueError,
    ) -> Result<Category, CatalogueError> {
        let span = raw.name.span();
        let name = raw.name.into_inner();
        if raw.form.is_empty() {
            return Err(fail(span, format!("category {name}: no [[category.form]]")));
        }
        for (field, rule) in &raw.fields {
            rule.check()
                .map_err(|reason| fail(span.clone(), format!("field {field}: {reason}")))?;
        }
        let mut forms = Vec::new();
        for form in raw.form {
            forms.push(self.check_form(form, &raw.fields, fail)?);
        }
        Ok(Category {
            invalid_format: raw
                .invalid_format
                .unwrap_or_else(|| format!("invalid format for {name} subscription : {{parts}}")),
            name,
            about: raw.about,
            listed_without_category: matches!(
                raw.kazoo_listing,
                Some(KazooListing::WithoutCategory)
            ),
            forms,
        })
    }

    fn check_form(
        &self,
        raw: RawForm,
        shared: &BTreeMap<String, Field>,
        fail: &dyn Fn(Range<usize>, String) -> CatalogueError,
    ) -> Result<Form, CatalogueError> {
        let span = raw.binding.span();
        let binding = raw.binding.into_inner();
        for (field, rule) in &raw.fields {
            rule.check()
                .map_err(|reason| fail(span.clone(), format!("field {field}: {reason}")))?;
        }
        let open_end = binding.ends_with(".#");
        let mut words = Vec::new();
        for word in binding.trim_end_matches(".#").split('.') {
            words.push(if let Some(field) = hole(word) {
                let rule = raw.fields.get(field).or_else(|| shared.get(field));
                Word::Field(field.to_owned(), rule.cloned().unwrap_or_default())
            } else if word.is_empty() || word.contains(['{', '}', '#']) {
                let reason = format!(
                    "binding {binding}: bad word {word:?}: a word is a literal, or one {{field}}"
                );
                return Err(fail(span, reason));
            } else {
                Word::Literal(word.to_owned())
            });
        }
        if let Some(Word::Field(field, rule)) = words.first()
            && rule.one_of.is_none()
        {
            let reason = format!("binding {binding}: its first word {{{field}}} needs one_of");
            return Err(fail(span, reason));
        }
        let outcome = match (raw.refuse, raw.subscription) {
            (Some(error), rules) if rules.is_empty() => Outcome::Refuse(error),
            (None, rules) if !rules.is_empty() && !open_end => Outcome::Subscribe(
                rules
                    .into_iter()
                    .map(|rule| self.check_rule(rule, &words, fail))
                    .collect::<Result<_, _>>()?,
            ),
            _ => {
                let reason = format!(
                    "binding {binding}: needs either [[category.form.subscription]] or refuse (refuse where it ends in #)"
                );
                return Err(fail(span, reason));
            }
        };
        Ok(Form {
            words,
            open_end,
            about: raw.about,
            listed: raw.listed,
            all_accounts: raw.all_accounts,
            outcome,
        })
    }

    fn check_rule(
        &self,
        raw: RawRule,
        words: &[Word],
        fail: &dyn Fn(Range<usize>, String) -> CatalogueError,
    ) -> Result<Rule, CatalogueError> {
        let fields = || {
            words.iter().filter_map(|word| match word {
                Word::Field(name, rule) => Some((name.as_str(), rule)),
                Word::Literal(_) => None,
            })
        };
        let key = Template::parse(raw.key.get_ref())
            .map_err(|reason| fail(raw.key.span(), format!("key: {reason}")))?;
        for hole in key.holes() {
            if !ACCOUNT_HOLES.contains(&hole) && !fields().any(|(name, _)| name == hole) {
                let known: Vec<_> = fields()
                    .map(|(name, _)| name)
                    .chain(ACCOUNT_HOLES)
                    .collect();
                let reason = format!("key: unknown {{{hole}}}; known here: {}", known.join(", "));
                return Err(fail(raw.key.span(), reason));
            }
        }
        let amqp = Template::parse(raw.amqp.get_ref())
            .map_err(|reason| fail(raw.amqp.span(), format!("amqp: {reason}")))?;
        for hole in amqp.holes() {
            let coarse = ["account", "realm", "db"].contains(&hole)
                || fields().any(|(name, rule)| name == hole && rule.one_of.is_some());
            if !coarse {
                let reason = format!(
                    "amqp: {{{hole}}} is not allowed: a broker binding is coarse and may hold \
                     {{account}}, {{realm}}, {{db}} and fields with one_of; write * instead"
                );
                return Err(fail(raw.amqp.span(), reason));
            }
        }
        if !self.exchanges.contains_key(raw.exchange.get_ref()) {
            let reason = format!(
                "exchange {:?} is not known: add an [[exchange]] table",
                raw.exchange.get_ref()
            );
            return Err(fail(raw.exchange.span(), reason));
        }
        if let Some(name) = raw
            .when
            .keys()
            .find(|when| !fields().any(|(f, _)| f == *when))
        {
            return Err(fail(raw.key.span(), format!("when: unknown field {name}")));
        }
        Ok(Rule {
            when: raw.when,
            key,
            exchange: raw.exchange.into_inner(),
            amqp,
            unnamed: raw.unnamed,
        })
    }
}

fn hole(word: &str) -> Option<&str> {
    let name = word.strip_prefix('{')?.strip_suffix('}')?;
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_is_sound() {
        let names: Vec<_> = Catalogue::builtin()
            .categories
            .iter()
            .map(|category| category.name.clone())
            .collect();
        assert_eq!(
            names,
            [
                "call",
                "conference",
                "fax",
                "object",
                "presence",
                "registration"
            ]
        );
    }

    #[test]
    fn an_operator_adds_a_category() {
        let catalogue = Catalogue::with(
            "listen = \"ignored here\"\n\
             [[exchange]]\nname = \"doors\"\n\
             [[category]]\nname = \"door\"\n\
             [[category.form]]\nbinding = \"door.{event}.{door_id}\"\n\
             [category.form.fields.event]\none_of = [\"OPENED\", \"CLOSED\"]\n\
             [[category.form.subscription]]\nkey = \"door.{account}.{event}.{door_id}\"\n\
             exchange = \"doors\"\namqp = \"door.{account}.{event}.*\"\n",
        )
        .expect("a sound category");
        assert_eq!(catalogue.categories.len(), 7);
        assert!(catalogue.exchange("doors").is_some());
    }

    #[test]
    fn a_broken_category_names_line_and_reason() {
        let form = "[[category]]\nname = \"door\"\n[[category.form]]\nbinding = \"door.{id}\"\n[[category.form.subscription]]\n";
        for (text, line, part) in [
            ("[[category]]\nname = \"door\"\n", 2, "no [[category.form]]"),
            (
                "[[category]]\nname = \"door\"\ncolour = 1\n",
                3,
                "unknown field `colour`",
            ),
            ("[[category]\n", 1, "expected"),
            (
                &format!("{form}key = \"d.{{ID}}\"\nexchange = \"faxes\"\namqp = \"d.*\"\n"),
                6,
                "unknown {ID}",
            ),
            (
                &format!("{form}key = \"d.{{id}}\"\nexchange = \"doors\"\namqp = \"d.*\"\n"),
                7,
                "exchange \"doors\" is not known",
            ),
            (
                &format!("{form}key = \"d.{{id}}\"\nexchange = \"faxes\"\namqp = \"d.{{id}}\"\n"),
                8,
                "coarse",
            ),
            (
                &format!("{form}key = \"d..{{id}}\"\nexchange = \"faxes\"\namqp = \"d.*\"\n"),
                6,
                "empty word",
            ),
        ] {
            let error = Catalogue::with(text).expect_err(text);
            assert_eq!(error.line, line, "{text}\n{error}");
            assert!(error.reason.contains(part), "{error}");
        }
    }
}
