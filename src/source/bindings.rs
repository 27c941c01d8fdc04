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
    /// Families that may not be as they should be.
    dirty: HashSet<FamilyName>,
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
    /// Keys that the broker refused, and when to try again.
    refused: HashMap<Arc<str>, Instant>,
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

impl FamilyName {
    fn of(binding: &BrokerBinding) -> Self {
        Self {
            exchange: binding.exchange.clone(),
            wide: binding.wide.clone(),
        }
    }

    fn op(&self, key: &Arc<str>, bind: bool) -> Op {
        Op {
            family: self.clone(),
            key: key.clone(),
            bind,
        }
    }
}

impl Bindings {
    pub(super) fn new(threshold: usize, linger: Duration) -> Self {
        Self {
            families: HashMap::new(),
            dirty: HashSet::new(),
            threshold,
            linger,
        }
    }

    /// One more needs this binding.
    pub(super) fn want(&mut self, binding: &BrokerBinding) {
        let name = FamilyName::of(binding);
        let family = self.families.entry(name.clone()).or_default();
        let known = family.wanted.len();
        let want = family.wanted.entry(binding.key.clone()).or_default();
        want.count += 1;
        want.idle = None;
        // One more for what is wanted already changes nothing on the broker.
        if family.wanted.len() > known {
            self.dirty.insert(name);
        }
    }

    /// One less needs this binding.
    pub(super) fn release(&mut self, binding: &BrokerBinding, now: Instant) {
        let family = self.families.get_mut(&FamilyName::of(binding));
        if let Some(want) = family.and_then(|family| family.wanted.get_mut(&binding.key)) {
            want.count = want.count.saturating_sub(1);
            if want.count == 0 {
                want.idle = Some(now);
            }
        }
    }

    /// Takes a want back at once, as if it had never been: the broker refused it.
    pub(super) fn cancel(&mut self, binding: &BrokerBinding) {
        let name = FamilyName::of(binding);
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
    pub(super) fn plan(&self, now: Instant) -> Vec<Op> {
        let mut ops = Vec::new();
        for name in &self.dirty {
            let Some(family) = self.families.get(name) else {
                continue;
            };
            let desired = family.desired(name, self.threshold, now);
            let missing = desired.iter().filter(|key| !family.bound.contains(*key));
            let due = missing.filter(|key| !family.is_refused(key, now));
            ops.extend(due.map(|key| name.op(key, true)));
            let unneeded = family.bound.iter().filter(|key| !desired.contains(*key));
            ops.extend(unneeded.map(|key| name.op(key, false)));
        }
        ops.sort_by_key(|op| !op.bind);
        ops
    }

    /// Whether a planned op may be carried out still: nothing is unbound while what replaces it is
    /// not bound.
    pub(super) fn may(&self, op: &Op, now: Instant) -> bool {
        let Some(family) = self.families.get(&op.family) else {
            return true;
        };
        let desired = family.desired(&op.family, self.threshold, now);
        op.bind || desired.is_subset(&family.bound)
    }

    /// The broker did this.
    pub(super) fn done(&mut self, op: &Op) {
        let Some(family) = self.families.get_mut(&op.family) else {
            return;
        };
        if op.bind {
            family.refused.remove(&op.key);
            family.bound.insert(op.key.clone());
        } else {
            family.bound.remove(&op.key);
        }
    }

    /// The broker refused this; true the first time.
    pub(super) fn refused(&mut self, op: &Op, now: Instant) -> bool {
        let family = self.families.entry(op.family.clone()).or_default();
        let before = family.refused.insert(op.key.clone(), now + TRY_AGAIN);
        before.is_none()
    }

    /// Whether events of this binding come.
    pub(super) fn covers(&self, binding: &BrokerBinding) -> bool {
        self.families
            .get(&FamilyName::of(binding))
            .is_some_and(|family| family.covers(&binding.key, &binding.wide))
    }

    /// How many wanted bindings the broker refuses.
    pub(super) fn missing(&self) -> usize {
        let of = |name: &FamilyName| {
            let family = self.families.get(name)?;
            let keys = family.wanted.iter().filter(|(_, want)| want.count > 0);
            Some(
                keys.filter(|(key, _)| !family.covers(key, &name.wide))
                    .count(),
            )
        };
        self.dirty.iter().filter_map(of).sum()
    }

    /// A plan was carried out: what is as it should be is not looked at until it changes.
    pub(super) fn settled(&mut self, now: Instant) {
        let (families, threshold) = (&mut self.families, self.threshold);
        self.dirty.retain(|name| {
            let Some(family) = families.get_mut(name) else {
                return false;
            };
            let Family {
                wanted, refused, ..
            } = family;
            refused.retain(|key, until| now < *until || wanted.contains_key(key));
            if family.desired(name, threshold, now) != family.bound || !family.refused.is_empty() {
                return true;
            }
            if family.wanted.is_empty() {
                families.remove(name);
            }
            false
        });
    }

    /// The queue is gone with all its bindings.
    pub(super) fn lost(&mut self) {
        for (name, family) in &mut self.families {
            family.bound.clear();
            family.refused.clear();
            family.wanted.retain(|_, want| want.count > 0);
            self.dirty.insert(name.clone());
        }
    }

    /// Everything that is bound, to be unbound before the queue is dropped.
    pub(super) fn bound(&self) -> Vec<Op> {
        let all = self.families.iter();
        all.flat_map(|(name, family)| family.bound.iter().map(|key| name.op(key, false)))
            .collect()
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
    fn desired(&self, name: &FamilyName, threshold: usize, now: Instant) -> HashSet<Arc<str>> {
        // Back to a binding an account only well below the threshold, not at every step around it.
        let most = if self.bound.contains(&name.wide) {
            threshold / 2
        } else {
            threshold
        };
        let many = self.wanted.len() > most && !self.is_refused(&name.wide, now);
        if many || self.wanted.contains_key(&name.wide) && !self.is_refused(&name.wide, now) {
            HashSet::from([name.wide.clone()])
        } else {
            self.wanted.keys().cloned().collect()
        }
    }

    fn is_refused(&self, key: &str, now: Instant) -> bool {
        self.refused.get(key).is_some_and(|until| now < *until)
    }

    fn covers(&self, key: &str, wide: &str) -> bool {
        self.bound.contains(key) || self.bound.contains(wide)
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
            assert!(table.may(op, Instant::now()), "{op:?}");
            let changed = if op.bind {
                broker.insert(op.key.to_string())
            } else {
                broker.remove(&*op.key)
            };
            assert!(changed, "{op:?} changes nothing");
            said.push(format!("{}{}", if op.bind { '+' } else { '-' }, op.key));
            table.done(op);
        }
        table.settled(Instant::now());
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

    /// Carries out a plan on a broker that refuses some keys.
    fn settle_with(table: &mut Bindings, refuses: &[&str], now: Instant) {
        for op in table.plan(now) {
            if !table.may(&op, now) {
                continue;
            }
            if op.bind && refuses.contains(&&*op.key) {
                table.refused(&op, now);
            } else {
                table.done(&op);
            }
        }
        table.settled(now);
    }

    #[test]
    fn a_refused_key_harms_no_other() {
        let mut table = Bindings::new(10, Duration::ZERO);
        let now = Instant::now();
        for key in ["a", "bad", "b"] {
            table.want(&binding(key));
        }
        settle_with(&mut table, &["bad"], now);
        assert!(table.covers(&binding("a")) && table.covers(&binding("b")));
        assert!(!table.covers(&binding("bad")));
        assert_eq!(table.missing(), 1);
        assert!(table.plan(now).is_empty(), "not at once");
        table.want(&binding("c"));
        settle_with(&mut table, &["bad"], now);
        assert!(table.covers(&binding("c")));
        settle_with(&mut table, &[], now + TRY_AGAIN);
        assert!(table.covers(&binding("bad")));
        assert_eq!((table.missing(), table.dirty.len()), (0, 0));
    }

    #[test]
    fn a_refused_wide_key_leaves_the_narrow_ones() {
        let mut table = Bindings::new(1, Duration::ZERO);
        let now = Instant::now();
        table.want(&binding("a"));
        settle_with(&mut table, &["*"], now);
        table.want(&binding("b"));
        settle_with(&mut table, &["*"], now);
        assert!(table.covers(&binding("a")), "not unbound for nothing");
        settle_with(&mut table, &["*"], now);
        assert!(table.covers(&binding("b")), "bound by itself");
        assert_eq!((table.missing(), table.len()), (0, 2));
        // Later the wide key is allowed.
        settle_with(&mut table, &[], now + TRY_AGAIN);
        assert_eq!(table.len(), 1);
        assert!(table.covers(&binding("a")) && table.covers(&binding("b")));
    }

    #[test]
    fn a_refused_want_that_is_taken_back_leaves_nothing() {
        let mut table = Bindings::new(1, Duration::ZERO);
        let now = Instant::now();
        table.want(&binding("bad"));
        settle_with(&mut table, &["bad"], now);
        table.cancel(&binding("bad"));
        settle_with(&mut table, &["bad"], now + TRY_AGAIN);
        assert!(table.families.is_empty() && table.dirty.is_empty());
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
