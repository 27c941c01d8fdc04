//! Groups: the subscriptions whose frames are equal byte for byte, and who is in them.
//!
//! Frames differ by binding, not by socket, so one group = one frame for each event, shared by all
//! members. The index itself sits under one `RwLock`: matching takes it for reading and copies out
//! handles of the groups that match; nothing is sent under it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::trie::Trie;
use crate::catalogue::{MONTH, Subscription, Unnamed};
use crate::model::id::month_of;
use crate::model::{Scope, SessionId, topic};

/// Whoever can be a member of a group: known by its session.
pub trait Member: Clone {
    /// The id that tells members apart.
    fn session(&self) -> &SessionId;
}

/// The index over all subscriptions of this node.
#[derive(Debug)]
pub struct Index<M> {
    exchanges: RwLock<HashMap<Arc<str>, Trie<Groups<M>>>>,
    groups: AtomicUsize,
}

/// Groups of one subscription key; they differ by account or by the client's binding.
type Groups<M> = Vec<Arc<Group<M>>>;

/// Sockets that subscribed to the same (account, client binding, subscription key).
#[derive(Debug)]
pub struct Group<M> {
    subscription: Arc<Subscription>,
    members: RwLock<Members<M>>,
}

#[derive(Debug)]
struct Members<M> {
    list: Vec<M>,
    places: HashMap<SessionId, usize>,
}

impl<M> Default for Index<M> {
    fn default() -> Self {
        Self {
            exchanges: RwLock::default(),
            groups: AtomicUsize::new(0),
        }
    }
}

impl<M: Member> Index<M> {
    /// The subscription as others hold it already, if somebody does: equal ones are there once.
    pub fn shared(&self, subscription: Subscription) -> Arc<Subscription> {
        let exchanges = self
            .exchanges
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let trie = exchanges.get(&subscription.exchange);
        let groups = trie.and_then(|trie| trie.get(&subscription.key));
        let held = groups
            .into_iter()
            .flatten()
            .map(|group| &group.subscription);
        let equal = held.into_iter().find(|held| ***held == subscription);
        equal.map_or_else(|| Arc::new(subscription), Arc::clone)
    }

    /// Whether the subscription has a group already.
    pub fn has(&self, subscription: &Subscription) -> bool {
        let exchanges = self
            .exchanges
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let trie = exchanges.get(&subscription.exchange);
        let groups = trie.and_then(|trie| trie.get(&subscription.key));
        groups.is_some_and(|groups| groups.iter().any(|group| group.is_of(subscription)))
    }

    /// Adds a member to the subscription's group. Doing so again changes nothing.
    pub fn bind(&self, subscription: &Arc<Subscription>, member: M) {
        let mut exchanges = self
            .exchanges
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let groups = exchanges
            .entry(subscription.exchange.clone())
            .or_default()
            .entry(&subscription.key, Vec::new);
        let at = groups.iter().position(|group| group.is_of(subscription));
        let group = if let Some(at) = at {
            &groups[at]
        } else {
            groups.push(Arc::new(Group::new(subscription.clone())));
            self.groups.fetch_add(1, Ordering::Relaxed);
            &groups[groups.len() - 1]
        };
        let mut members = group
            .members
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if !members.places.contains_key(member.session()) {
            let place = members.list.len();
            members.places.insert(member.session().clone(), place);
            members.list.push(member);
        }
    }

    /// Removes a member from the subscription's group, and the group with its last member.
    pub fn unbind(&self, subscription: &Subscription, session: &SessionId) {
        let mut exchanges = self
            .exchanges
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(trie) = exchanges.get_mut(&subscription.exchange) else {
            return;
        };
        let Some(groups) = trie.get_mut(&subscription.key) else {
            return;
        };
        let Some(at) = groups.iter().position(|group| group.is_of(subscription)) else {
            return;
        };
        if groups[at].leave(session) {
            groups.swap_remove(at);
            self.groups.fetch_sub(1, Ordering::Relaxed);
        }
        if groups.is_empty() {
            trie.remove(&subscription.key);
        }
        if trie.is_empty() {
            exchanges.remove(&subscription.exchange);
        }
    }

    /// Puts the groups that a routing key reaches into `found` (cleared first), each once. Monthly
    /// databases match whatever their month is.
    pub fn matching(&self, exchange: &str, routing_key: &str, found: &mut Vec<Arc<Group<M>>>) {
        found.clear();
        let exchanges = self
            .exchanges
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(trie) = exchanges.get(exchange) else {
            return;
        };
        let mut words: Vec<&str> = topic::words(routing_key).collect();
        let monthly = words.iter().position(|word| month_of(word).is_some());
        let any_month = monthly.map(|at| {
            let base = words[at].len() - MONTH.len();
            (at, format!("{}{MONTH}", &words[at][..base]))
        });
        trie.for_each_match(&words, |groups| found.extend_from_slice(groups));
        if let Some((at, word)) = &any_month {
            words[*at] = word;
            // Patterns with a wildcard in that place were found already.
            trie.for_each_match(&words, |groups| {
                found.extend(groups.iter().filter(|g| g.month_at(*at)).cloned());
            });
        }
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.groups.load(Ordering::Relaxed)
    }

    /// Whether nothing is subscribed.
    pub fn is_empty(&self) -> bool {
        let exchanges = self
            .exchanges
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        exchanges.is_empty()
    }
}

impl<M: Member> Group<M> {
    fn new(subscription: Arc<Subscription>) -> Self {
        Self {
            subscription,
            members: RwLock::new(Members {
                list: Vec::new(),
                places: HashMap::new(),
            }),
        }
    }

    fn is_of(&self, subscription: &Subscription) -> bool {
        let own = &self.subscription;
        own.scope == subscription.scope
            && own.reported == subscription.reported
            && own.key == subscription.key
            && own.unnamed == subscription.unnamed
    }

    /// The text that clients dispatch on (`subscribed_key`).
    pub fn subscribed_key(&self) -> &str {
        &self.subscription.reported
    }

    fn month_at(&self, at: usize) -> bool {
        topic::words(&self.subscription.key)
            .nth(at)
            .is_some_and(|word| word.ends_with(MONTH))
    }

    /// The isolation rule: an event is for this group if it is of the group's account, or the group
    /// is one of super-duper admins. An event that names no account is for the latter only, except
    /// where the subscription key itself belongs to one account.
    pub fn may_see(&self, account: Option<&str>) -> bool {
        match (&self.subscription.scope, account) {
            (Scope::All, _) => true,
            (Scope::One(own), Some(account)) => own.as_str() == account,
            (Scope::One(_), None) => self.subscription.unnamed == Unnamed::Key,
        }
    }

    /// The subscription key with the month of this event's routing key filled in.
    pub fn key_for(&self, routing_key: &str) -> String {
        let key = &self.subscription.key;
        let month = topic::words(routing_key).find_map(month_of);
        match month {
            Some(month) if key.contains(MONTH) => key.replacen(MONTH, month, 1),
            _ => key.to_string(),
        }
    }

    /// Calls `each` for every member, under the group's own lock: `each` must not wait.
    pub fn for_each_member(&self, mut each: impl FnMut(&M)) {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.list.iter().for_each(&mut each);
    }

    /// Takes a member out; true when it was the last.
    fn leave(&self, session: &SessionId) -> bool {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = members.places.remove(session) {
            members.list.swap_remove(place);
            if let Some(moved) = members.list.get(place).map(|m| m.session().clone()) {
                members.places.insert(moved, place);
            }
        }
        members.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Account, Catalogue};
    use crate::model::AccountId;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Socket(SessionId);

    impl Member for Socket {
        fn session(&self) -> &SessionId {
            &self.0
        }
    }

    const ACCOUNTS: [&str; 2] = [
        "a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "0f9e8d7c6b5a49382716f5e4d3c2b1a0",
    ];

    fn subscriptions(account: &str, binding: &str) -> Vec<Arc<Subscription>> {
        let catalogue = Catalogue::builtin();
        let plan = catalogue.validate(binding).expect("valid");
        let account = Account {
            scope: AccountId::parse(account).map_or(Scope::All, Scope::One),
            realm: Some(format!("{account}.example.net")),
        };
        let all = catalogue.expand(&plan, &account, false).expect("expands");
        all.into_iter().map(Arc::new).collect()
    }

    fn reached(
        index: &Index<Socket>,
        exchange: &str,
        key: &str,
        account: Option<&str>,
    ) -> Vec<String> {
        let mut groups = Vec::new();
        index.matching(exchange, key, &mut groups);
        let mut sockets = Vec::new();
        for group in groups.iter().filter(|group| group.may_see(account)) {
            group.for_each_member(|member| sockets.push(member.0.to_string()));
        }
        sockets.sort();
        sockets
    }

    #[test]
    fn monthly_documents_match_in_any_month() {
        let index = Index::default();
        let database = AccountId::parse(ACCOUNTS[0]).expect("an id").database();
        for (socket, binding) in [
            ("one", "object.doc_deleted.mailbox_message"),
            ("both", "object.*.*"),
        ] {
            for subscription in subscriptions(ACCOUNTS[0], binding) {
                index.bind(&subscription, Socket(SessionId::new(socket)));
            }
        }
        for month in ["202603", "202611"] {
            let key = format!("doc_deleted.{database}-{month}.mailbox_message.x");
            let found = reached(&index, "configuration", &key, Some(ACCOUNTS[0]));
            assert_eq!(found, ["both", "one"]);
            let mut groups = Vec::new();
            index.matching("configuration", &key, &mut groups);
            for group in groups {
                assert!(
                    group.key_for(&key).contains(month),
                    "{}",
                    group.key_for(&key)
                );
            }
        }
        let key = format!("doc_deleted.{database}.user.x");
        assert_eq!(
            reached(&index, "configuration", &key, Some(ACCOUNTS[0])),
            ["both"]
        );
        assert_eq!(reached(&index, "faxes", &key, Some(ACCOUNTS[0])), [""; 0]);
    }

    #[test]
    fn events_without_an_account() {
        let index = Index::default();
        for (account, binding) in [
            (ACCOUNTS[0], "fax.status.*"),
            (ACCOUNTS[0], "conference.command.c"),
            ("*", "fax.status.*"),
        ] {
            for subscription in subscriptions(account, binding) {
                index.bind(&subscription, Socket(SessionId::new(account)));
            }
        }
        assert_eq!(reached(&index, "faxes", "fax.status.*.x", None), ["*"]);
        assert_eq!(
            reached(&index, "conference", "conference.command.c", None),
            [ACCOUNTS[0]]
        );
        assert_eq!(
            reached(
                &index,
                "conference",
                "conference.command.c",
                Some(ACCOUNTS[1])
            ),
            [""; 0]
        );
    }

    fn binding() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "call.*.*",
            "call.CHANNEL_CREATE.*",
            "call.CHANNEL_CREATE.x",
            "fax.status.*",
            "fax.object.*",
            "object.*.*",
            "object.doc_created.user",
            "conference.event.c.*",
            "conference.command.c",
            "presence.dialog.*",
        ])
        .prop_map(str::to_owned)
    }

    fn event() -> impl Strategy<Value = (String, String, usize)> {
        let database = |at: usize| AccountId::parse(ACCOUNTS[at]).expect("an id").database();
        (0..2usize, 0..5usize).prop_map(move |(at, kind)| {
            let account = ACCOUNTS[at];
            let (exchange, key) = match kind {
                0 => ("callevt", format!("call.{account}.CHANNEL_CREATE.x")),
                1 => ("faxes", format!("fax.status.{account}.x")),
                2 => (
                    "configuration",
                    format!("doc_created.{}.user.x", database(at)),
                ),
                3 => (
                    "configuration",
                    format!("doc_created.{}-202611.fax.x", database(at)),
                ),
                _ => (
                    "conference",
                    format!("conference.event.add-member.{account}.c.x"),
                ),
            };
            (exchange.to_owned(), key, at)
        })
    }

    proptest! {
        #[test]
        fn no_event_crosses_accounts(
            bindings in prop::collection::vec((0..2usize, binding()), 1..20),
            (exchange, key, owner) in event(),
        ) {
            let index = Index::default();
            for (at, binding) in &bindings {
                for subscription in subscriptions(ACCOUNTS[*at], binding) {
                    index.bind(&subscription, Socket(SessionId::new(ACCOUNTS[*at])));
                }
            }
            for socket in reached(&index, &exchange, &key, Some(ACCOUNTS[owner])) {
                prop_assert_eq!(socket, ACCOUNTS[owner]);
            }
        }

        #[test]
        fn unbinding_leaves_nothing(
            bindings in prop::collection::vec((0..2usize, 0..3usize, binding()), 0..30),
        ) {
            let index = Index::default();
            let all: Vec<_> = bindings
                .iter()
                .flat_map(|(at, socket, binding)| {
                    let session = SessionId::new(&socket.to_string());
                    subscriptions(ACCOUNTS[*at], binding).into_iter().map(move |s| (s, session.clone()))
                })
                .collect();
            for (subscription, session) in &all {
                index.bind(subscription, Socket(session.clone()));
            }
            for (subscription, session) in &all {
                index.unbind(subscription, session);
            }
            prop_assert!(index.is_empty());
            prop_assert_eq!(index.groups(), 0);
        }
    }
}
