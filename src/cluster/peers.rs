//! Who else is there, by their advertisements (kazoo-amqp.md 7.3). Takes the time as an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::message::Advertisement;

/// Within this time a gateway that lives answers a newcomer, with much to spare.
const ANSWERS_NEWCOMERS: Duration = Duration::from_secs(2);

/// Another node that answers for sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its node name.
    pub name: String,
    /// A gateway of our own kind, not one of Kazoo's nodes.
    pub ours: bool,
    /// Its zone.
    pub zone: String,
    /// How long it has been known.
    pub since: Duration,
    /// How long ago it advertised last.
    pub seen: Duration,
}

/// All nodes that advertise, but this one. Nodes without the application `blackhole` are known, too,
/// so that a newcomer among them is told of us soon: Crossbar may run there.
#[derive(Debug)]
pub(super) struct Peers {
    node: String,
    instance: String,
    zone: String,
    /// By node name and instance: two gateways of one name are two.
    known: HashMap<(String, String), Known>,
    /// The broker is away: nobody can be heard, so nobody is forgotten.
    frozen: bool,
    /// Somebody else with our name was reported.
    namesake: bool,
}

#[derive(Debug)]
struct Known {
    blackhole: bool,
    ours: bool,
    zone: String,
    since: Instant,
    seen: Instant,
    lifetime: Duration,
    until: Instant,
}

/// What an advertisement meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// A node that was not known.
    pub(super) new: bool,
    /// Another run of a gateway has our name; said once.
    pub(super) namesake: bool,
}

impl Peers {
    /// `zone` is that of nodes which do not name theirs.
    pub(super) fn new(node: &str, instance: &str, zone: &str) -> Self {
        Self {
            node: node.to_owned(),
            instance: instance.to_owned(),
            zone: zone.to_owned(),
            known: HashMap::new(),
            frozen: false,
            namesake: false,
        }
    }

    /// A node advertises.
    pub(super) fn heard(&mut self, advertisement: Advertisement, now: Instant) -> Heard {
        let from = advertisement;
        if from.ours && from.instance == self.instance {
            return Heard::default();
        }
        let namesake = from.node == self.node && !self.namesake;
        self.namesake |= namesake;
        let key = (from.node, from.instance);
        if from.ours && !from.blackhole {
            // Its good-bye.
            self.known.remove(&key);
            return Heard::default();
        }
        let lifetime = from.expires * 5 / 4;
        let old = self.known.get(&key).filter(|old| old.until > now);
        let new = old.is_none();
        let since = old.map_or(now, |old| old.since);
        if new && from.ours {
            self.doubt(&key.0, now);
        }
        let known = Known {
            blackhole: from.blackhole,
            ours: from.ours,
            zone: from.zone.unwrap_or_else(|| self.zone.clone()),
            since,
            seen: now,
            lifetime,
            until: now + lifetime,
        };
        self.known.insert(key, known);
        Heard { new, namesake }
    }

    /// A new run of a gateway has this name: an older one has most likely crashed, and nobody must wait
    /// for it long. If it lives, it answers the newcomer.
    fn doubt(&mut self, name: &str, now: Instant) {
        for ((other, _), known) in &mut self.known {
            if other == name && known.ours {
                known.until = known.until.min(now + ANSWERS_NEWCOMERS);
            }
        }
    }

    /// Forgets those whose time is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        if !self.frozen {
            self.known.retain(|_, known| known.until > now);
        }
    }

    /// The broker is lost: those who are there now stay.
    pub(super) fn freeze(&mut self, now: Instant) {
        self.sweep(now);
        self.frozen = true;
    }

    /// The broker is back. Others may be back later: `grace` is added to their time.
    pub(super) fn thaw(&mut self, now: Instant, grace: Duration) {
        if std::mem::take(&mut self.frozen) {
            for known in self.known.values_mut() {
                known.until = now + known.lifetime + grace;
            }
        }
    }

    /// Names of those who answer for sockets; a name is there twice when two have it.
    pub(super) fn names(&self, only_ours: bool, now: Instant) -> Vec<String> {
        self.asked(now)
            .filter(|(_, known)| known.ours || !only_ours)
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Those who answer for sockets, by name.
    pub(super) fn list(&self, now: Instant) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self
            .asked(now)
            .map(|(name, known)| Peer {
                name: name.to_owned(),
                ours: known.ours,
                zone: known.zone.clone(),
                since: now.saturating_duration_since(known.since),
                seen: now.saturating_duration_since(known.seen),
            })
            .collect();
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        peers
    }

    fn asked(&self, now: Instant) -> impl Iterator<Item = (&str, &Known)> {
        self.known
            .iter()
            .filter(move |(_, known)| known.blackhole && (self.frozen || known.until > now))
            .map(|((name, _), known)| (name.as_str(), known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        Peers::new("gw1", "i1", "local")
    }

    fn from(node: &str, instance: &str) -> Advertisement {
        Advertisement {
            node: node.into(),
            instance: instance.into(),
            ours: !instance.is_empty(),
            blackhole: true,
            zone: None,
            expires: Duration::from_secs(8),
        }
    }

    const NEW: Heard = Heard {
        new: true,
        namesake: false,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nodes_come_and_go() {
        let (mut peers, start) = (peers(), Instant::now());
        assert_eq!(peers.heard(from("gw2", "i2"), start), NEW);
        assert_eq!(peers.heard(from("kazoo", ""), start), NEW);
        assert_eq!(
            peers.heard(from("gw1", "i1"), start),
            Heard::default(),
            "we"
        );
        let again = peers.heard(from("gw2", "i2"), start + seconds(5));
        assert_eq!(again, Heard::default());
        let list = peers.list(start + seconds(6));
        assert_eq!(list.len(), 2);
        assert_eq!((&*list[0].name, list[0].ours), ("gw2", true));
        assert_eq!((list[0].since, list[0].seen), (seconds(6), seconds(1)));
        assert_eq!(
            (&*list[1].name, list[1].ours, &*list[1].zone),
            ("kazoo", false, "local")
        );
        assert_eq!(peers.names(true, start), ["gw2"]);

        // 1.25 times 8 seconds.
        assert_eq!(peers.names(false, start + seconds(10)), ["gw2"]);
        assert_eq!(peers.heard(from("kazoo", ""), start + seconds(10)), NEW);
        peers.sweep(start + seconds(15));
        assert_eq!(peers.known.len(), 1);
    }

    #[test]
    fn only_those_with_the_application_are_asked() {
        let (mut peers, now) = (peers(), Instant::now());
        let without = |node, instance| Advertisement {
            blackhole: false,
            ..from(node, instance)
        };
        assert_eq!(peers.heard(without("crossbar", ""), now), NEW);
        assert_eq!(peers.heard(without("crossbar", ""), now), Heard::default());
        assert!(peers.names(false, now).is_empty());
        peers.heard(from("gw2", "i2"), now);
        assert_eq!(peers.heard(without("gw2", "i2"), now), Heard::default());
        assert!(peers.names(false, now).is_empty(), "it said good-bye");
    }

    #[test]
    fn two_of_one_name() {
        let (mut peers, now) = (peers(), Instant::now());
        let other = peers.heard(from("gw1", "i9"), now);
        assert_eq!((other.new, other.namesake), (true, true));
        assert!(!peers.heard(from("gw1", "i9"), now).namesake, "said once");
        assert_eq!(peers.heard(from("gw2", "i2"), now), NEW);
        assert_eq!(peers.heard(from("gw2", "i3"), now), NEW);
        let mut names = peers.names(false, now);
        names.sort();
        assert_eq!(names, ["gw1", "gw2", "gw2"]);

        // The older one that lives answers the newcomer; the one that crashed does not.
        let soon = now + Duration::from_millis(300);
        assert_eq!(peers.heard(from("gw2", "i2"), soon), Heard::default());
        assert_eq!(peers.names(true, now + seconds(2)).len(), 3);
        assert_eq!(peers.heard(from("gw2", "i4"), now + seconds(3)), NEW);
        assert_eq!(peers.names(true, now + seconds(4)).len(), 4);
        let mut names = peers.names(true, now + seconds(5));
        names.sort();
        assert_eq!(names, ["gw1", "gw2"]);
    }

    #[test]
    fn nobody_is_forgotten_while_the_broker_is_away() {
        let (mut peers, start) = (peers(), Instant::now());
        peers.heard(from("gw2", "i2"), start);
        peers.freeze(start + seconds(9));
        peers.sweep(start + seconds(1000));
        assert_eq!(peers.names(false, start + seconds(1000)), ["gw2"]);
        peers.thaw(start + seconds(1000), seconds(5));
        peers.sweep(start + seconds(1014));
        assert_eq!(peers.names(false, start + seconds(1014)), ["gw2"]);
        peers.sweep(start + seconds(1015));
        assert!(peers.names(false, start + seconds(1015)).is_empty());
    }
}
