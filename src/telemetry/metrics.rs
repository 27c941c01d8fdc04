//! Every metric, in one struct, in Prometheus' text format.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labelled<M> = Family<[(&'static str, &'static str); 1], M>;

/// All families. Names in `/metrics` begin with `blackhole_`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sockets: Labelled<Gauge>,
    /// Sockets accepted since the start.
    pub accepted: Counter,
    handshakes_refused: Labelled<Counter>,
    closed: Labelled<Counter>,
    /// Pairs of client binding and subscription key, over all sockets.
    pub subscriptions: Gauge,
    requests: Labelled<Counter>,
    /// Events that the source handed over.
    pub events_received: Counter,
    /// Of these, events that somebody had subscribed to.
    pub events_matched: Counter,
    /// Frames put into sockets' queues: one for each member of each matching group.
    pub deliveries: Counter,
    /// Their bytes.
    pub delivered_bytes: Counter,
    dropped: Labelled<Counter>,
    deliveries_lost: Labelled<Counter>,
    /// Groups that an event's pattern matched although its account did not.
    pub withheld: Counter,
    latency: Histogram,
    /// Event frames written to sockets.
    pub frames_written: Counter,
    source_connected: Gauge,
    /// How often the broker was lost.
    pub source_lost: Counter,
    /// How often too much waited to be routed, so that events were left on the broker.
    pub source_paused: Counter,
    source_since: Gauge,
    /// Bindings on the broker.
    pub source_bindings: Gauge,
    /// Kinds of bindings that the broker refuses.
    pub source_bindings_refused: Gauge,
    /// 1 while other nodes can be asked.
    pub cluster_connected: Gauge,
    /// Other nodes that answer for sockets.
    pub cluster_nodes: Gauge,
    /// Bytes of events that wait to be routed.
    pub ingress_bytes: Gauge,
    /// Sockets whose kernel does not take what they are sent.
    pub sockets_waiting: Gauge,
    /// Bytes that wait for them.
    pub waiting_bytes: Gauge,
    socket_waiting_bytes: Histogram,
    limits_reached: Labelled<Counter>,
    logins: Labelled<Counter>,
    http: Labelled<Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 50 microseconds to 26 seconds, by factors of two.
        let buckets = exponential_buckets(0.000_05, 2.0, 20);
        let mut metrics = Self {
            registry: Registry::with_prefix("blackhole"),
            sockets: Family::default(),
            accepted: Counter::default(),
            handshakes_refused: Family::default(),
            closed: Family::default(),
            subscriptions: Gauge::default(),
            requests: Family::default(),
            events_received: Counter::default(),
            events_matched: Counter::default(),
            deliveries: Counter::default(),
            delivered_bytes: Counter::default(),
            dropped: Family::default(),
            deliveries_lost: Family::default(),
            withheld: Counter::default(),
            latency: Histogram::new(buckets),
            frames_written: Counter::<u64, AtomicU64>::default(),
            source_connected: Gauge::default(),
            source_lost: Counter::default(),
            source_paused: Counter::default(),
            source_since: Gauge::default(),
            source_bindings: Gauge::default(),
            source_bindings_refused: Gauge::default(),
            cluster_connected: Gauge::default(),
            cluster_nodes: Gauge::default(),
            ingress_bytes: Gauge::default(),
            sockets_waiting: Gauge::default(),
            waiting_bytes: Gauge::default(),
            // From 1 KiB to 1 GiB, by factors of four.
            socket_waiting_bytes: Histogram::new(exponential_buckets(1024.0, 4.0, 11)),
            limits_reached: Family::default(),
            logins: Family::default(),
            http: Family::default(),
        };
        metrics.register();
        // There from the start, so that a dashboard shows 0 and not nothing.
        for transport in ["ws", "wss"] {
            metrics.sockets(transport).set(0);
        }
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "sockets",
            "Open sockets, by transport",
            self.sockets.clone(),
        );
        r.register(
            "sockets_accepted",
            "Sockets accepted since the start",
            self.accepted.clone(),
        );
        r.register(
            "handshakes_refused",
            "Handshakes refused, by reason",
            self.handshakes_refused.clone(),
        );
        r.register(
            "sockets_closed",
            "Sockets closed, by reason",
            self.closed.clone(),
        );
        r.register(
            "subscriptions",
            "Pairs of client binding and subscription key, over all sockets",
            self.subscriptions.clone(),
        );
        r.register(
            "requests",
            "Messages from clients, by outcome",
            self.requests.clone(),
        );
        r.register(
            "logins",
            "Log-ins over REST, by outcome",
            self.logins.clone(),
        );
        r.register(
            "http_requests",
            "Requests to the API, by the class of the answer's status",
            self.http.clone(),
        );
        r.register(
            "events_received",
            "Events that the source handed over",
            self.events_received.clone(),
        );
        r.register(
            "events_matched",
            "Events that somebody had subscribed to",
            self.events_matched.clone(),
        );
        r.register(
            "events_dropped",
            "Events dropped before delivery, by reason",
            self.dropped.clone(),
        );
        r.register(
            "events_withheld",
            "Matching groups of another account that did not get the event",
            self.withheld.clone(),
        );
        r.register(
            "deliveries",
            "Event frames put into sockets' queues",
            self.deliveries.clone(),
        );
        r.register(
            "delivered_bytes",
            "Bytes of these frames",
            self.delivered_bytes.clone(),
        );
        r.register(
            "deliveries_lost",
            "Event frames that waited for a socket when it ended, by why it ended",
            self.deliveries_lost.clone(),
        );
        r.register(
            "frames_written",
            "Event frames written to sockets",
            self.frames_written.clone(),
        );
        r.register(
            "delivery_latency_seconds",
            "From the source to the socket's write, of the oldest frame of each write",
            self.latency.clone(),
        );
        r.register(
            "source_connected",
            "1 while events can come",
            self.source_connected.clone(),
        );
        r.register(
            "source_lost",
            "How often the broker was lost",
            self.source_lost.clone(),
        );
        r.register(
            "source_paused",
            "How often too much waited to be routed, so that events were left on the broker",
            self.source_paused.clone(),
        );
        r.register(
            "source_since_seconds",
            "Unix time of the source's last change between connected and not",
            self.source_since.clone(),
        );
        r.register(
            "source_bindings",
            "Bindings on the broker",
            self.source_bindings.clone(),
        );
        r.register(
            "source_bindings_refused",
            "Kinds of bindings that the broker refuses",
            self.source_bindings_refused.clone(),
        );
        r.register(
            "cluster_connected",
            "1 while other nodes can be asked",
            self.cluster_connected.clone(),
        );
        r.register(
            "cluster_nodes",
            "Other nodes that answer for sockets",
            self.cluster_nodes.clone(),
        );
        r.register(
            "ingress_bytes",
            "Bytes of events that wait to be routed",
            self.ingress_bytes.clone(),
        );
        r.register(
            "sockets_waiting",
            "Sockets whose kernel does not take what they are sent",
            self.sockets_waiting.clone(),
        );
        r.register(
            "waiting_bytes",
            "Bytes that wait for these sockets",
            self.waiting_bytes.clone(),
        );
        r.register(
            "socket_waiting_bytes",
            "Bytes that wait for one of them, each time that a frame joins",
            self.socket_waiting_bytes.clone(),
        );
        r.register(
            "limits_reached",
            "How often somebody came to a limit, by limit",
            self.limits_reached.clone(),
        );
    }

    /// The text of `/metrics`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Open sockets of a transport (`ws`, `wss`).
    pub fn sockets(&self, transport: &'static str) -> Gauge {
        self.sockets
            .get_or_create(&[("transport", transport)])
            .clone()
    }

    /// A handshake was refused.
    pub fn handshake_refused(&self, reason: &'static str) {
        self.handshakes_refused
            .get_or_create(&[("reason", reason)])
            .inc();
    }

    /// A frame joined what a socket's kernel did not take: so many bytes wait now.
    pub fn waits(&self, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "buckets are coarse")]
        self.socket_waiting_bytes.observe(bytes as f64);
    }

    /// Somebody came to a limit.
    pub fn limit_reached(&self, limit: &'static str) {
        self.limits_reached.get_or_create(&[("limit", limit)]).inc();
    }

    /// A socket is gone.
    pub fn socket_closed(&self, reason: &'static str) {
        self.closed.get_or_create(&[("reason", reason)]).inc();
    }

    /// A message from a client was answered.
    pub fn request(&self, outcome: &'static str) {
        self.requests.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A socket ended before these event frames were written to it.
    pub fn deliveries_lost(&self, reason: &'static str, frames: u64) {
        if frames > 0 {
            self.deliveries_lost
                .get_or_create(&[("reason", reason)])
                .inc_by(frames);
        }
    }

    /// Somebody tried to log in over REST.
    pub fn login(&self, outcome: &'static str) {
        self.logins.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// A request to the API was answered.
    pub fn answered(&self, status: u16) {
        let class = match status / 100 {
            2 => "2xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        self.http.get_or_create(&[("status", class)]).inc();
    }

    /// Events can come, or cannot, from now on (Unix seconds).
    pub fn source_changed(&self, connected: bool, now: u64) {
        self.source_connected.set(i64::from(connected));
        self.source_since
            .set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// An event ended before delivery.
    pub fn event_dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&[("reason", reason)]).inc();
    }

    /// A write carried event frames, the oldest of which the source got this long ago.
    pub fn written(&self, frames: u64, oldest: Duration) {
        self.frames_written.inc_by(frames);
        self.latency.observe(oldest.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_format() {
        let metrics = Metrics::default();
        metrics.event_dropped("not_json");
        metrics.sockets("ws").inc();
        metrics.written(3, Duration::from_millis(1));
        let text = metrics.text();
        for line in [
            "blackhole_events_dropped_total{reason=\"not_json\"} 1",
            "blackhole_sockets{transport=\"ws\"} 1",
            "blackhole_frames_written_total 3",
            "blackhole_delivery_latency_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
