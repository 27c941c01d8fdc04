//! The embedded source: a topic bus in this process. What nobody has bound goes nowhere, as on a
//! broker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Ingress, Publication, SourceError, SourceState};
use crate::broker::kazoo;
use crate::catalogue::{BrokerBinding, Catalogue};
use crate::index::Trie;
use crate::model::clock::unix_now;
use crate::model::{Event, topic};
use crate::telemetry::Metrics;

/// The bus and its bindings, each with the number of those who need it.
#[derive(Debug)]
pub struct Bus {
    catalogue: Arc<Catalogue>,
    ingress: Arc<Ingress>,
    metrics: Arc<Metrics>,
    bindings: Mutex<HashMap<Arc<str>, Trie<usize>>>,
    started: u64,
}

impl Bus {
    /// A bus with Kazoo's exchanges and those of the catalogue.
    pub fn new(catalogue: Arc<Catalogue>, ingress: Arc<Ingress>, metrics: Arc<Metrics>) -> Self {
        let started = unix_now();
        metrics.source_changed(true, started);
        Self {
            catalogue,
            ingress,
            metrics,
            bindings: Mutex::default(),
            started,
        }
    }

    pub(super) fn listen(&self, bindings: &[BrokerBinding]) {
        let mut bound = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        for binding in bindings {
            let count = bound
                .entry(binding.exchange.clone())
                .or_default()
                .entry(&binding.key, || 0);
            *count += 1;
            if *count == 1 {
                self.metrics.source_bindings.inc();
            }
        }
    }

    pub(super) fn release(&self, bindings: &[BrokerBinding]) {
        let mut bound = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        for binding in bindings {
            let Some(trie) = bound.get_mut(&binding.exchange) else {
                continue;
            };
            let Some(count) = trie.get_mut(&binding.key) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                trie.remove(&binding.key);
                self.metrics.source_bindings.dec();
            }
        }
    }

    pub(super) fn publish(&self, publication: Publication) -> Result<bool, SourceError> {
        let Publication {
            exchange,
            routing_key,
            body,
        } = publication;
        if kazoo(&exchange).is_none() && self.catalogue.exchange(&exchange).is_none() {
            return Err(SourceError::NoExchange(exchange));
        }
        let words: Vec<&str> = topic::words(&routing_key).collect();
        let exchange = {
            let bound = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
            let mut routed = false;
            let found = bound.get_key_value(&*exchange);
            if let Some((_, trie)) = found {
                trie.for_each_match(&words, |_| routed = true);
            }
            found.filter(|_| routed).map(|(name, _)| name.clone())
        };
        let Some(exchange) = exchange else {
            return Ok(false);
        };
        let event = Event {
            exchange,
            routing_key,
            body,
            received: Instant::now(),
        };
        self.ingress.push(event).map_err(|_| SourceError::Full)?;
        Ok(true)
    }

    pub(super) fn state(&self) -> SourceState {
        SourceState {
            kind: "embedded",
            connected: true,
            since: self.started,
            lost: 0,
            refused: 0,
            error: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(exchange: &str, key: &str) -> Publication {
        Publication {
            exchange: exchange.into(),
            routing_key: key.into(),
            body: "{}".into(),
        }
    }

    #[test]
    fn routes_what_is_bound() {
        let metrics = Arc::new(Metrics::default());
        let ingress = Arc::new(Ingress::new(1_000, metrics.clone()));
        let bus = Bus::new(Arc::new(Catalogue::builtin()), ingress, metrics.clone());
        let key = publication("callevt", "call.CHANNEL_CREATE.x");
        assert_eq!(bus.publish(key.clone()), Ok(false));
        let binding = BrokerBinding {
            exchange: "callevt".into(),
            key: "call.CHANNEL_CREATE.*".into(),
            wide: "call.CHANNEL_CREATE.*".into(),
        };
        bus.listen(&[binding.clone(), binding.clone()]);
        assert_eq!(metrics.source_bindings.get(), 1);
        assert_eq!(bus.publish(key.clone()), Ok(true));
        assert_eq!(
            bus.publish(publication("callevt", "call.CHANNEL_ANSWER.x")),
            Ok(false)
        );
        assert_eq!(
            bus.publish(publication("nowhere", "k")),
            Err(SourceError::NoExchange("nowhere".into()))
        );
        bus.release(std::slice::from_ref(&binding));
        assert_eq!(bus.publish(key.clone()), Ok(true));
        bus.release(&[binding]);
        assert_eq!(bus.publish(key.clone()), Ok(false));
        assert_eq!(metrics.source_bindings.get(), 0);
    }

    #[test]
    fn a_full_ingress_refuses_the_publisher() {
        let metrics = Arc::new(Metrics::default());
        let ingress = Arc::new(Ingress::new(300, metrics.clone()));
        let bus = Bus::new(Arc::new(Catalogue::builtin()), ingress, metrics);
        let wide: Arc<str> = "#".into();
        bus.listen(&[BrokerBinding {
            exchange: "faxes".into(),
            key: wide.clone(),
            wide,
        }]);
        assert_eq!(bus.publish(publication("faxes", "a")), Ok(true));
        assert_eq!(bus.publish(publication("faxes", "a")), Ok(true));
        assert_eq!(
            bus.publish(publication("faxes", "a")),
            Err(SourceError::Full)
        );
    }
}
