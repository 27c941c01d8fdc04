//! The catalogue's format: TOML in, checked rules out. A rule that cannot work is refused here, with
//! its line, so that matching and subscribing never meet one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

const BUILTIN: &str = include_str!("builtin.toml");

/// What stands for the month in a subscription key of a monthly database. No real month looks so.
pub const MONTH: &str = "YYYYMM";

/// All categories and exchanges in force.
#[derive(Debug)]
pub struct Catalogue {
    pub(super) categories: Vec<Category>,
    exchanges: HashMap<String, Exchange>,
}

/// Why a catalogue was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {reason}")]
pub struct CatalogueError {
    /// Counted from 1, in the text given.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub reason: String,
}

/// A topic exchange from which events come, and how to read them.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The exchange's name on the broker.
    pub name: String,
    /// Paths in the body that name the event's account; the first that is there counts.
    pub account: Vec<Vec<String>>,
    /// The word of the routing key that is an account database, for bodies without an account.
    pub account_word: Option<usize>,
    /// How the event's own routing key is made.
    pub key_step: KeyStep,
}

/// A named step in code: how an event gets its routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStep {
    /// As it was published.
    Published,
    /// `call.{account}.{Event-Name}.e({Call-ID})` from the body (kazoo-amqp.md 2.2).
    Call,
}

/// Who gets an event whose body names no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// Subscribers of account `*` only.
    #[default]
    AllAccounts,
    /// Whoever holds the key, for the key itself belongs to one account.
    Key,
}

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

#[derive(Debug)]
pub(super) struct Category {
    pub(super) name: String,
    about: String,
    pub(super) invalid_format: String,
    pub(super) listed_without_category: bool,
    pub(super) forms: Vec<Form>,
}

#[derive(Debug)]
pub(super) struct Form {
    pub(super) words: Vec<Word>,
    /// A last `#`: any further words fit.
    pub(super) open_end: bool,
    about: String,
    listed: bool,
    pub(super) all_accounts: bool,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Refuse(String),
    Subscribe(Vec<Rule>),
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) when: BTreeMap<String, Vec<String>>,
    pub(super) key: Template,
    pub(super) exchange: String,
    pub(super) amqp: Template,
    pub(super) unnamed: Unnamed,
}

#[derive(Debug, Clone)]
pub(super) enum Word {
    Literal(String),
    Field(String, Field),
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) one_of: Option<Vec<String>>,
    wildcard: Option<Wildcard>,
    pub(super) error: Option<String>,
    pub(super) wildcard_error: Option<String>,
    #[serde(default = "yes")]
    listed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Wildcard {
    Allow,
    Refuse,
    Each,
    Superduper,
}

/// A text with `{holes}`.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    Hole(String),
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
        };
        catalogue.add(BUILTIN)?;
        catalogue.add(settings_file)?;
        Ok(catalogue)
    }

    /// How to read events of an exchange; an unknown one is read in the default way.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// Names of all exchanges from which a category takes events.
    pub fn exchanges(&self) -> impl Iterator<Item = &str> {
        self.exchanges.keys().map(String::as_str)
    }

    /// Everything that can be asked for, in the order of the file.
    pub fn sections(&self) -> Vec<Section<'_>> {
        self.categories
            .iter()
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

/// Holes filled from the subscribed account.
const ACCOUNT_HOLES: [&str; 4] = ["account", "realm", "db", "modb"];

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

impl Field {
    pub(super) fn wildcard(&self) -> Wildcard {
        let default = match self.one_of {
            Some(_) => Wildcard::Refuse,
            None => Wildcard::Allow,
        };
        self.wildcard.unwrap_or(default)
    }

    fn check(&self) -> Result<(), String> {
        match self.wildcard() {
            Wildcard::Each if self.one_of.is_none() => Err("wildcard \"each\" needs one_of".into()),
            Wildcard::Superduper if self.wildcard_error.is_none() => {
                Err("wildcard \"superduper\" needs wildcard_error".into())
            }
            _ => Ok(()),
        }
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let close = rest[open..]
                .find('}')
                .ok_or_else(|| format!("{text:?} has an open brace without its end"))?;
            pieces.push(Piece::Text(rest[..open].to_owned()));
            pieces.push(Piece::Hole(rest[open + 1..open + close].to_owned()));
            rest = &rest[open + close + 1..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let template = Self(pieces);
        if text.is_empty() || text.split('.').any(str::is_empty) {
            return Err(format!("{text:?} has an empty word"));
        }
        Ok(template)
    }

    pub(super) fn holes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Hole(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// The text with its holes filled; `None` when one has no value.
    pub(super) fn fill<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
        self.0.iter().try_fold(String::new(), |mut out, piece| {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Hole(name) => value(name)?,
            });
            Some(out)
        })
    }
}

fn hole(word: &str) -> Option<&str> {
    let name = word.strip_prefix('{')?.strip_suffix('}')?;
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

fn join(left: &str, right: &str) -> String {
    if left.is_empty() {
        right.to_owned()
    } else {
        format!("{left}.{right}")
    }
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
