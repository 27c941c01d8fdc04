//! What must be bound on the broker, counted by (exchange, key). Pure: it plans, the link carries out
//! and reports back.
//!
//! Where a key holds an account, the keys of all accounts form a family with one wide key. Up to
//! `threshold` accounts each has its own binding; beyond that the wide one serves all, so that the
//! broker never holds many bindings of ours. A binding that nobody needs any more stays for `linger`,
//! so that a storm of reconnects changes nothing on the broker.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalogue::BrokerBinding;

/// How long a refused binding is left alone.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The table.
#[derive(Debug)]
pub(super) struct Bindings {
    families: HashMap<FamilyName, Family>,
    dirty: HashSet<FamilyName>,
    /// Families in which the broker refused something, and when to try again.
    refused: HashMap<FamilyName, Instant>,
    threshold: usize,
    linger: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FamilyName {
    exchange: Arc<str>,
    wide: Arc<str>,
}

#[derive(Debug, Default)]
struct Family {
    wanted: HashMap<Arc<str>, Want>,
    bound: HashSet<Arc<str>>,
}

#[derive(Debug, Default)]
struct Want {
    count: usize,
    /// Since when nobody wants it.
    idle: Option<Instant>,
}

/// Something to do on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Op {
    family: FamilyName,
    pub(super) key: Arc<str>,
    pub(super) bind: bool,
}

impl Op {
    pub(super) fn exchange(&self) -> &str {
        &self.family.exchange
    }
}

impl Bindings {
    pub(super) fn new(threshold: usize, linger: Duration) -> Self {
        Self {
            families: HashMap::new(),
            dirty: HashSet::new(),
            refused: HashMap::new(),
            threshold,
            linger,
        }
    }

    /// One more needs this binding.
    pub(super) fn want(&mut self, binding: &BrokerBinding) {
        let name = FamilyName {
            exchange: binding.exchange.clone(),
            wide: binding.wide.clone(),
        };
        let family = self.families.entry(name.clone()).or_default();
        let want = family.wanted.entry(binding.key.clone()).or_default();
        want.count += 1;
        want.idle = None;
        // Whoever asks gets the broker's answer, not that of a while ago.
        self.refused.remove(&name);
        self.dirty.insert(name);
    }

    /// One less needs this binding.
    pub(super) fn release(&mut self, binding: &BrokerBinding, now: Instant) {
        let name = FamilyName {
            exchange: binding.exchange.clone(),
            wide: binding.wide.clone(),
        };
        let family = self.families.get_mut(&name);
        if let Some(want) = family.and_then(|family| family.wanted.get_mut(&binding.key)) {
            want.count = want.count.saturating_sub(1);
            if want.count == 0 {
                want.idle = Some(now);
            }
        }
    }

    /// Takes a want back at once, as if it had never been: the broker refused it.
    pub(super) fn cancel(&mut self, binding: &BrokerBinding) {
        let name = FamilyName {
            exchange: binding.exchange.clone(),
            wide: binding.wide.clone(),
        };
        let Some(family) = self.families.get_mut(&name) else {
            return;
        };
        if let Some(want) = family.wanted.get_mut(&binding.key) {
            want.count = want.count.saturating_sub(1);
            if want.count == 0 {
                family.wanted.remove(&binding.key);
                self.dirty.insert(name);
            }
        }
    }

    /// Forgets what nobody has needed for long enough.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = |want: &Want| {
            want.idle
                .is_some_and(|since| now.saturating_duration_since(since) >= self.linger)
        };
        for (name, family) in &mut self.families {
            let before = family.wanted.len();
            family.wanted.retain(|_, want| !over(want));
            if family.wanted.len() != before {
                self.dirty.insert(name.clone());
            }
        }
    }

    /// What must be done now: bindings first, so that no event falls between old and new. What was
    /// refused is left alone for a while.
    pub(super) fn plan(&mut self, now: Instant) -> Vec<Op> {
        let mut ops = Vec::new();
        self.refused.retain(|_, until| now < *until);
        for name in self
            .dirty
            .iter()
            .filter(|name| !self.refused.contains_key(*name))
        {
            let Some(family) = self.families.get(name) else {
                continue;
            };
            let desired = family.desired(name, self.threshold);
            let op = |key: &Arc<str>, bind| Op {
                family: name.clone(),
                key: key.clone(),
                bind,
            };
            ops.extend(
                desired
                    .iter()
                    .filter(|key| !family.bound.contains(*key))
                    .map(|key| op(key, true)),
            );
            ops.extend(
                family
                    .bound
                    .iter()
                    .filter(|key| !desired.contains(*key))
                    .map(|key| op(key, false)),
            );
        }
        ops.sort_by_key(|op| !op.bind);
        ops
    }

    /// The broker did this.
    pub(super) fn done(&mut self, op: &Op) {
        let Some(family) = self.families.get_mut(&op.family) else {
            return;
        };
        if op.bind {
            family.bound.insert(op.key.clone());
        } else {
            family.bound.remove(&op.key);
        }
    }

    /// The broker refused this. The rest of the plan for its family must not be carried out: the
    /// bindings that it would replace have to stay.
    pub(super) fn refused(&mut self, op: &Op, now: Instant) {
        self.refused.insert(op.family.clone(), now + TRY_AGAIN);
    }

    /// Whether an op of the family was refused just now.
    pub(super) fn is_refused(&self, op: &Op) -> bool {
        self.refused.contains_key(&op.family)
    }

    /// Whether the broker refused what this binding needs.
    pub(super) fn refuses(&self, binding: &BrokerBinding) -> bool {
        let name = FamilyName {
            exchange: binding.exchange.clone(),
            wide: binding.wide.clone(),
        };
        self.refused.contains_key(&name)
    }

    /// How many kinds of bindings the broker refuses.
    pub(super) fn missing(&self) -> usize {
        self.refused.len()
    }

    /// A plan was carried out: what is as it should be is not looked at until it changes.
    pub(super) fn settled(&mut self) {
        let (families, threshold) = (&mut self.families, self.threshold);
        let refused = &mut self.refused;
        self.dirty.retain(|name| {
            let Some(family) = families.get(name) else {
                refused.remove(name);
                return false;
            };
            if family.desired(name, threshold) != family.bound {
                return true;
            }
            refused.remove(name);
            if family.wanted.is_empty() {
                families.remove(name);
            }
            false
        });
    }

    /// The queue is gone with all its bindings.
    pub(super) fn lost(&mut self) {
        self.refused.clear();
        for (name, family) in &mut self.families {
            family.bound.clear();
            self.dirty.insert(name.clone());
        }
    }

    /// Everything that is bound, to be unbound before the queue is dropped.
    pub(super) fn bound(&self) -> Vec<Op> {
        let of = |(name, family): (&FamilyName, &Family)| {
            let op = |key: &Arc<str>| Op {
                family: name.clone(),
                key: key.clone(),
                bind: false,
            };
            family.bound.iter().map(op).collect::<Vec<_>>()
        };
        self.families.iter().flat_map(of).collect()
    }

    /// How many bindings are on the broker.
    pub(super) fn len(&self) -> usize {
        self.families
            .values()
            .map(|family| family.bound.len())
            .sum()
    }
}

impl Family {
    fn desired(&self, name: &FamilyName, threshold: usize) -> HashSet<Arc<str>> {
        // Back to a binding an account only well below the threshold, not at every step around it.
        let most = if self.bound.contains(&name.wide) {
            threshold / 2
        } else {
            threshold
        };
        if self.wanted.contains_key(&name.wide) || self.wanted.len() > most {
            HashSet::from([name.wide.clone()])
        } else {
            self.wanted.keys().cloned().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binding(key: &str) -> BrokerBinding {
        BrokerBinding {
            exchange: "faxes".into(),
            key: key.into(),
            wide: "*".into(),
        }
    }

    /// Carries out a plan on a pretend broker.
    fn settle(table: &mut Bindings, broker: &mut HashSet<String>) -> Vec<String> {
        let plan = table.plan(Instant::now());
        let mut said = Vec::new();
        for op in &plan {
            assert_eq!(op.exchange(), "faxes");
            let changed = if op.bind {
                broker.insert(op.key.to_string())
            } else {
                broker.remove(&*op.key)
            };
            assert!(changed, "{op:?} changes nothing");
            said.push(format!("{}{}", if op.bind { '+' } else { '-' }, op.key));
            table.done(op);
        }
        table.settled();
        assert_eq!(table.len(), broker.len());
        said.sort();
        said
    }

    #[test]
    fn counted_and_lingering() {
        let mut table = Bindings::new(10, Duration::from_secs(5));
        let mut broker = HashSet::new();
        let now = Instant::now();
        table.want(&binding("a"));
        table.want(&binding("a"));
        assert_eq!(settle(&mut table, &mut broker), ["+a"]);
        table.release(&binding("a"), now);
        table.sweep(now + Duration::from_secs(9));
        assert_eq!(settle(&mut table, &mut broker), [""; 0]);
        table.release(&binding("a"), now);
        table.sweep(now + Duration::from_secs(4));
        table.want(&binding("a"));
        table.sweep(now + Duration::from_secs(9));
        assert_eq!(
            settle(&mut table, &mut broker),
            [""; 0],
            "a reconnect within the time changes nothing"
        );
        table.release(&binding("a"), now);
        table.sweep(now + Duration::from_secs(5));
        assert_eq!(settle(&mut table, &mut broker), ["-a"]);
        assert!(table.families.is_empty());
    }

    #[test]
    fn many_accounts_share_the_wide_binding() {
        let mut table = Bindings::new(4, Duration::ZERO);
        let mut broker = HashSet::new();
        let now = Instant::now();
        for account in 0..4 {
            table.want(&binding(&account.to_string()));
        }
        assert_eq!(settle(&mut table, &mut broker).len(), 4);
        table.want(&binding("4"));
        assert_eq!(
            table.plan(now)[0].key,
            "*".into(),
            "the wide one is bound before the others go"
        );
        assert_eq!(
            settle(&mut table, &mut broker),
            ["+*", "-0", "-1", "-2", "-3"]
        );
        for account in [4, 3] {
            table.release(&binding(&account.to_string()), now);
        }
        table.sweep(now);
        assert_eq!(settle(&mut table, &mut broker), [""; 0]);
        table.release(&binding("2"), now);
        table.sweep(now);
        assert_eq!(settle(&mut table, &mut broker), ["+0", "+1", "-*"]);
        table.want(&binding("*"));
        assert_eq!(settle(&mut table, &mut broker), ["+*", "-0", "-1"]);
    }

    #[test]
    fn a_lost_queue_is_bound_anew() {
        let mut table = Bindings::new(4, Duration::ZERO);
        let mut broker = HashSet::new();
        table.want(&binding("a"));
        settle(&mut table, &mut broker);
        assert_eq!(table.bound().len(), 1);
        table.lost();
        broker.clear();
        table.want(&binding("b"));
        assert_eq!(settle(&mut table, &mut broker), ["+a", "+b"]);
    }

    #[test]
    fn what_is_refused_is_tried_again() {
        let mut table = Bindings::new(1, Duration::ZERO);
        let mut broker = HashSet::new();
        let now = Instant::now();
        table.want(&binding("a"));
        settle(&mut table, &mut broker);
        // The wide binding is refused: the narrow one that it would replace stays.
        table.want(&binding("b"));
        let plan = table.plan(now);
        assert!(plan[0].bind && !plan[1].bind);
        table.refused(&plan[0], now);
        assert!(table.is_refused(&plan[1]));
        table.settled();
        assert_eq!(table.missing(), 1);
        assert!(table.plan(now).is_empty(), "not at once");
        assert_eq!(table.plan(now + TRY_AGAIN).len(), 2);
        table.cancel(&binding("b"));
        table.settled();
        assert_eq!((table.missing(), table.len()), (0, 1));
    }

    proptest! {
        #[test]
        fn whatever_is_wanted_is_covered(steps in prop::collection::vec((0..8usize, any::<bool>()), 0..60)) {
            let mut table = Bindings::new(3, Duration::ZERO);
            let mut broker = HashSet::new();
            let mut counts = [0usize; 8];
            let now = Instant::now();
            let key = |at: usize| if at == 7 { "*".to_owned() } else { at.to_string() };
            for (at, want) in steps {
                if want {
                    table.want(&binding(&key(at)));
                    counts[at] += 1;
                } else if counts[at] > 0 {
                    table.release(&binding(&key(at)), now);
                    counts[at] -= 1;
                }
                table.sweep(now);
                settle(&mut table, &mut broker);
                for (at, &count) in counts.iter().enumerate() {
                    prop_assert!(count == 0 || broker.contains(&key(at)) || broker.contains("*"));
                }
                prop_assert!(broker.len() <= 3, "{:?}", broker);
                prop_assert!(counts.iter().any(|&count| count > 0) || broker.is_empty());
            }
        }
    }
}
