//! From a client binding to subscription keys and AMQP bindings (kazoo-amqp.md chapter 3, with the
//! corrections of websocket-protocol.md section 9). Two steps, as the protocol wants them:
//! [`Catalogue::validate`] needs the text only, [`Catalogue::expand`] the account as well.

use std::sync::Arc;

use super::NOT_AVAILABLE;
use super::rule::{Catalogue, Category, Form, MONTH, Outcome, Rule, Unnamed, Wildcard, Word};
use crate::model::{AccountId, Scope, topic};

/// No routing key is longer (AMQP 0-9-1, short string), so no longer binding can match one.
const MAX_BINDING: usize = 255;

/// A client binding that passed validation.
#[derive(Debug)]
pub struct Plan {
    binding: Arc<str>,
    /// Places in the catalogue.
    category: usize,
    form: usize,
    /// The form's fields and what the client wrote there.
    values: Values,
    superduper: Option<String>,
}

type Values = Vec<(String, String)>;

/// The subscribed account, as far as keys need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose events.
    pub scope: Scope,
    /// The account's realm, not encoded.
    pub realm: Option<String>,
}

/// One pair of client binding and subscription key, ready for the index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// Whose events.
    pub scope: Scope,
    /// The binding exactly as the client wrote it.
    pub binding: Arc<str>,
    /// The text of `subscribed` and `subscribed_key`: the binding, unless `compat.kazoo_listing`.
    pub reported: Arc<str>,
    /// Where the events come from.
    pub exchange: Arc<str>,
    /// The pattern; a monthly database ends in [`MONTH`] in place of its month.
    pub key: Arc<str>,
    /// Who gets events without an account.
    pub unnamed: Unnamed,
    /// What the broker must have bound.
    pub broker: BrokerBinding,
}

/// A binding wanted on the broker. `key` and `wide` differ where the key holds the account: many
/// accounts share one `wide` binding.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BrokerBinding {
    /// The exchange.
    pub exchange: Arc<str>,
    /// Covers the events of this account.
    pub key: Arc<str>,
    /// Covers the same events of every account.
    pub wide: Arc<str>,
}

impl Plan {
    /// The binding as the client wrote it.
    pub fn binding(&self) -> &str {
        &self.binding
    }

    /// The error for anybody who is not a super-duper admin, where the binding asks for that.
    pub fn superduper_error(&self) -> Option<&str> {
        self.superduper.as_deref()
    }
}

impl Catalogue {
    /// Checks a client binding's shape and values. The error is the protocol's text.
    pub fn validate(&self, binding: &str) -> Result<Plan, String> {
        if binding.len() > MAX_BINDING {
            return Err(format!("invalid binding: at most {MAX_BINDING} bytes"));
        }
        let words: Vec<&str> = binding.split('.').collect();
        let mut categories = self.categories.iter().enumerate();
        let (at, category) = categories
            .find(|(_, category)| category.answers_to(words[0]))
            .ok_or(NOT_AVAILABLE)?;
        let mut forms = category.forms.iter().enumerate();
        let fitting = forms.find(|(_, form)| form.fits(&words));
        let (form_at, form) = fitting.ok_or_else(|| {
            let parts = words[1..].join(", ");
            category.invalid_format.replace("{parts}", &parts)
        })?;
        let values = form.values(&words);
        let superduper = form.check(binding, &values)?;
        if let Outcome::Refuse(error) = &form.outcome {
            return Err(error.clone());
        }
        Ok(Plan {
            binding: Arc::from(binding),
            category: at,
            form: form_at,
            values,
            superduper,
        })
    }

    /// Whether the binding's category may be subscribed to now.
    pub fn is_started(&self, plan: &Plan) -> bool {
        let name = &self.categories[plan.category].name;
        !self.stopped.load().contains(name)
    }

    /// The subscriptions of a valid binding for an account. The error is the protocol's text.
    pub fn expand(
        &self,
        plan: &Plan,
        account: &Account,
        kazoo_listing: bool,
    ) -> Result<Vec<Subscription>, String> {
        let category = &self.categories[plan.category];
        let form = &category.forms[plan.form];
        let rules = match &form.outcome {
            Outcome::Refuse(error) => return Err(error.clone()),
            Outcome::Subscribe(rules) => rules,
        };
        let reported = match plan.binding.split_once('.') {
            Some((_, rest)) if kazoo_listing && category.listed_without_category => rest.into(),
            _ => plan.binding.clone(),
        };
        let account = Filled::new(account, form.all_accounts);
        let mut subscriptions = Vec::new();
        for values in form.each(&plan.values) {
            for rule in rules.iter().filter(|rule| rule.applies(&values)) {
                let (key, broker) = rule.fill(&values, &account).ok_or(NOT_AVAILABLE)?;
                subscriptions.push(Subscription {
                    scope: account.scope.clone(),
                    binding: plan.binding.clone(),
                    reported: reported.clone(),
                    exchange: broker.exchange.clone(),
                    key,
                    unnamed: rule.unnamed,
                    broker,
                });
            }
        }
        if subscriptions.is_empty() {
            // A category whose rules leave out a value that its fields allow.
            return Err(NOT_AVAILABLE.into());
        }
        Ok(subscriptions)
    }
}

impl Category {
    fn answers_to(&self, first: &str) -> bool {
        self.forms.iter().any(|form| match &form.words[0] {
            Word::Literal(text) => text == first,
            Word::Field(_, rule) => rule.one_of.iter().flatten().any(|value| value == first),
        })
    }
}

impl Form {
    fn fits(&self, words: &[&str]) -> bool {
        let length = if self.open_end {
            words.len() >= self.words.len()
        } else {
            words.len() == self.words.len()
        };
        length
            && self
                .words
                .iter()
                .zip(words)
                .enumerate()
                .all(|(at, (word, given))| match word {
                    Word::Literal(text) => text == given,
                    // The first word chose the category; between its forms it must choose again.
                    Word::Field(_, rule) if at == 0 => {
                        rule.one_of.iter().flatten().any(|v| v == given)
                    }
                    Word::Field(..) => true,
                })
    }

    fn values(&self, words: &[&str]) -> Values {
        self.words
            .iter()
            .zip(words)
            .filter_map(|(word, given)| match word {
                Word::Field(name, _) => Some((name.clone(), (*given).to_owned())),
                Word::Literal(_) => None,
            })
            .collect()
    }

    /// Values first where a list rules them, then ids. Gives the error for those who are no
    /// super-duper admin, where there is one.
    fn check(&self, binding: &str, values: &[(String, String)]) -> Result<Option<String>, String> {
        let fields = || {
            self.words
                .iter()
                .filter_map(|word| match word {
                    Word::Field(_, rule) => Some(rule),
                    Word::Literal(_) => None,
                })
                .zip(values)
        };
        let mut superduper = None;
        for (rule, (name, value)) in fields() {
            let allowed = match (rule.wildcard(), &rule.one_of) {
                (Wildcard::Refuse, _) if value == "*" => false,
                (Wildcard::Superduper, _) if value == "*" => {
                    superduper.clone_from(&rule.wildcard_error);
                    true
                }
                (_, Some(list)) => value == "*" || list.contains(value),
                (_, None) => true,
            };
            if !allowed {
                let default = format!("invalid {name}: {value:?} is not allowed");
                let error = rule.error.clone().unwrap_or(default);
                return Err(fill_error(error, values));
            }
        }
        for (rule, (_, value)) in fields() {
            if rule.one_of.is_none() && value == "#" {
                return Err(format!("invalid binding {binding}: '#' is not allowed"));
            }
            if rule.one_of.is_none() && value.is_empty() {
                return Err(format!("invalid binding {binding}: empty segment"));
            }
        }
        Ok(superduper)
    }

    /// The values once, or once for each member of the lists whose `*` means "each".
    fn each(&self, values: &[(String, String)]) -> Vec<Values> {
        let mut all = vec![values.to_vec()];
        for word in &self.words {
            let Word::Field(name, rule) = word else {
                continue;
            };
            let (Wildcard::Each, Some(list)) = (rule.wildcard(), &rule.one_of) else {
                continue;
            };
            all = all
                .into_iter()
                .flat_map(|values| {
                    let at = values.iter().position(|(n, v)| n == name && v == "*");
                    let choices: Vec<Option<&String>> = match at {
                        Some(_) => list.iter().map(Some).collect(),
                        None => vec![None],
                    };
                    choices.into_iter().map(move |choice| {
                        let mut values = values.clone();
                        if let (Some(at), Some(choice)) = (at, choice) {
                            values[at].1.clone_from(choice);
                        }
                        values
                    })
                })
                .collect();
        }
        all
    }
}

impl Rule {
    fn applies(&self, values: &[(String, String)]) -> bool {
        self.when
            .iter()
            .all(|(field, list)| values.iter().any(|(n, v)| n == field && list.contains(v)))
    }

    /// The subscription key and the broker's binding; `None` when the account lacks what they need.
    fn fill(
        &self,
        values: &[(String, String)],
        account: &Filled,
    ) -> Option<(Arc<str>, BrokerBinding)> {
        let field = |hole: &str| {
            let found = values.iter().find(|(name, _)| name == hole);
            found.map(|(_, value)| value.as_str())
        };
        let key = self
            .key
            .fill(|hole| field(hole).or_else(|| account.get(hole)))?;
        let narrow = self
            .amqp
            .fill(|hole| field(hole).or_else(|| account.get(hole)))?;
        let wide = self.amqp.fill(|hole| field(hole).or(Some("*")))?;
        Some((
            Arc::from(key),
            BrokerBinding {
                exchange: Arc::from(self.exchange.as_str()),
                key: Arc::from(narrow),
                wide: Arc::from(wide),
            },
        ))
    }
}

/// What an account puts into the holes of a key.
struct Filled {
    scope: Scope,
    account: String,
    realm: Option<String>,
    database: Option<String>,
    monthly: Option<String>,
}

impl Filled {
    fn new(account: &Account, all_accounts: bool) -> Self {
        let scope = account.scope.clone();
        match &account.scope {
            Scope::All => {
                let any = all_accounts.then(|| "*".to_owned());
                Self {
                    scope,
                    account: "*".into(),
                    realm: any.clone(),
                    database: any.clone(),
                    monthly: any,
                }
            }
            Scope::One(id) => Self {
                scope,
                account: id.to_string(),
                realm: account.realm.as_deref().map(topic::encode),
                database: Some(AccountId::database(id)),
                monthly: Some(format!("{}-{MONTH}", id.database())),
            },
        }
    }

    fn get(&self, hole: &str) -> Option<&str> {
        match hole {
            "account" => Some(&self.account),
            "realm" => self.realm.as_deref(),
            "db" => self.database.as_deref(),
            "modb" => self.monthly.as_deref(),
            _ => None,
        }
    }
}

fn fill_error(error: String, values: &[(String, String)]) -> String {
    values.iter().fold(error, |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

    fn account(id: &str) -> Account {
        let realm = match id {
            "*" => None,
            A => Some("a3f1c2.sip.example.net".into()),
            _ => Some("other.example.net".into()),
        };
        let scope = AccountId::parse(id).map_or(Scope::All, Scope::One);
        Account { scope, realm }
    }

    fn subscribe(id: &str, binding: &str) -> Result<Vec<Subscription>, String> {
        let catalogue = Catalogue::builtin();
        let plan = catalogue.validate(binding)?;
        catalogue.expand(&plan, &account(id), false)
    }

    fn keys(id: &str, binding: &str) -> Vec<String> {
        let subscriptions = subscribe(id, binding).expect(binding);
        subscriptions.iter().map(|s| s.key.to_string()).collect()
    }

    fn error(id: &str, binding: &str) -> String {
        subscribe(id, binding).expect_err(binding)
    }

    /// Every request of every fixture: Kazoo's own answer, except where section 9 of the protocol
    /// differs on purpose.
    #[test]
    fn fixtures() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/events");
        let mut checked = 0;
        for file in std::fs::read_dir(folder).expect("the fixtures") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
            let event: Value = serde_json::from_str(&text).expect("JSON");
            let month = event["clock"]
                .as_str()
                .unwrap_or("2026-03")
                .replace('-', "");
            for request in event["client_bindings"].as_array().expect("an array") {
                let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
                let (id, binding) = (text("account_id"), text("binding"));
                let on_purpose =
                    binding.contains('#') || binding.starts_with("conference.event.*.6");
                if on_purpose {
                    continue;
                }
                checked += 1;
                if request.get("error").is_some() {
                    assert_eq!(error(&id, &binding), text("error"), "{binding}");
                    continue;
                }
                let expected: Vec<String> = request["subscription_keys"]
                    .as_array()
                    .expect("keys")
                    .iter()
                    .map(|key| {
                        key.as_str()
                            .expect("text")
                            .replace(&format!("-{month}."), &format!("-{MONTH}."))
                    })
                    .collect();
                assert_eq!(keys(&id, &binding), expected, "{binding}");
                // What Kazoo's broker binding lets through, ours must let through as well.
                let routing_key = event["routing_key"].as_str().expect("a key");
                if request["broker_match"] == true && request["socket_match"] == true {
                    let bound = subscribe(&id, &binding).expect("ok").iter().any(|s| {
                        topic::matches(&s.broker.key, routing_key)
                            && topic::matches(&s.broker.wide, routing_key)
                    });
                    assert!(bound, "{binding} against {routing_key}");
                }
            }
        }
        assert!(checked > 100, "{checked} requests");
    }

    #[test]
    fn differences_on_purpose() {
        assert_eq!(
            error(A, "call.CHANNEL_CREATE.#"),
            "invalid binding call.CHANNEL_CREATE.#: '#' is not allowed"
        );
        assert_eq!(
            error(A, "call.CHANNEL_CREATE."),
            "invalid binding call.CHANNEL_CREATE.: empty segment"
        );
        assert_eq!(error(A, "call.#.*"), "event # not supported");
        assert_eq!(error(A, "call"), "invalid format for call subscription : ");
        assert_eq!(
            error(A, "conference.command.#"),
            "invalid binding conference.command.#: '#' is not allowed"
        );
        assert_eq!(
            keys(A, "conference.event.*.6e0d.*"),
            [format!("conference.event.*.{A}.6e0d.*")]
        );
        assert_eq!(
            keys(A, "conference.event.add-member.6e0d.*"),
            [format!("conference.event.add-member.{A}.6e0d.*")]
        );
        assert_eq!(
            error(A, "conference.event.dance.6e0d.*"),
            "Unsupported conference event dance"
        );
        let plan = Catalogue::builtin()
            .validate("conference.event.*.*.*")
            .expect("valid");
        assert_eq!(
            plan.superduper_error(),
            Some("unauthorized wildcard for conference id")
        );
        assert_eq!(keys("*", "call.PARK_PARKED.*"), ["call.*.PARK_PARKED.*"]);
        for binding in ["*.CHANNEL_CREATE.*", "#", "", "foo.bar", "presence.update"] {
            assert_eq!(error(A, binding), NOT_AVAILABLE, "{binding}");
        }
        assert_eq!(error(A, "presence.other"), "event other not supported");
        assert_eq!(
            error(A, "presence"),
            "invalid format for presence subscription : "
        );
        assert_eq!(
            error(A, "registration.failure"),
            "invalid format for registration subscription : failure"
        );
        assert_eq!(
            keys(A, "registration.success"),
            ["registration.success.a3f1c2%2Esip%2Eexample%2Enet.*"]
        );
        assert_eq!(
            keys("*", "registration.success"),
            ["registration.success.*.*"]
        );
    }

    #[test]
    fn documents() {
        let database = AccountId::parse(A).expect("an id").database();
        assert_eq!(
            keys(A, "doc_created.*.user.*"),
            [format!("doc_created.{database}.user.*")]
        );
        assert_eq!(
            keys(A, "object.doc_edited.call_recording"),
            [
                format!("doc_edited.{database}.call_recording.*"),
                format!("doc_edited.{database}-YYYYMM.call_recording.*")
            ]
        );
        assert_eq!(
            error(A, "doc_created.*.sandwich.*"),
            "event doc_created.sandwich not supported"
        );
        assert_eq!(error("*", "fax.object.doc_created"), NOT_AVAILABLE);
    }

    #[test]
    fn kazoo_listing_drops_the_presence_prefix() {
        let catalogue = Catalogue::builtin();
        let reported = |binding: &str| {
            let plan = catalogue.validate(binding).expect("valid");
            catalogue.expand(&plan, &account(A), true).expect("expands")[0]
                .reported
                .to_string()
        };
        assert_eq!(reported("presence.dialog.*"), "dialog.*");
        assert_eq!(reported("call.*.*"), "call.*.*");
    }

    #[test]
    fn broker_bindings_are_coarse() {
        let broker = |id: &str, binding: &str| {
            let first = subscribe(id, binding).expect(binding).swap_remove(0).broker;
            (first.key.to_string(), first.wide.to_string())
        };
        let call = (
            "call.CHANNEL_CREATE.*".to_owned(),
            "call.CHANNEL_CREATE.*".to_owned(),
        );
        assert_eq!(broker(A, "call.CHANNEL_CREATE.some-id"), call);
        assert_eq!(
            broker(A, "fax.status.x"),
            (format!("fax.status.{A}.*"), "fax.status.*.*".into())
        );
        assert_eq!(
            broker("*", "fax.status.x"),
            ("fax.status.*.*".into(), "fax.status.*.*".into())
        );
    }
}
