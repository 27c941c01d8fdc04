//! How long the parts of the event path take, and a client's requests: `cargo bench --bench micro`.
//! A word behind `--` chooses: `cargo bench --bench micro -- normalise`.

mod cases;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use serde_json::Value;

fn main() {
    divan::main();
}

/// The same work for ten subscriptions as for a million (`instructions` counts it), but what a million
/// take is not in the caches.
mod matching {
    use super::*;

    #[divan::bench(args = [10, 1_000, 100_000, 1_000_000])]
    fn no_group_of(bencher: Bencher<'_, '_>, subscriptions: usize) {
        bencher.bench_local(cases::matching(subscriptions, false));
    }

    #[divan::bench(args = [10, 1_000, 100_000, 1_000_000])]
    fn one_group_of(bencher: Bencher<'_, '_>, subscriptions: usize) {
        bencher.bench_local(cases::matching(subscriptions, true));
    }

    #[divan::bench(args = [1, 1_000])]
    fn groups(bencher: Bencher<'_, '_>, groups: usize) {
        bencher.bench_local(cases::matching_groups(groups));
    }
}

mod body {
    use super::*;

    #[divan::bench]
    fn peek(bencher: Bencher<'_, '_>) {
        measure(bencher, cases::peek());
    }

    #[divan::bench]
    fn normalise(bencher: Bencher<'_, '_>) {
        measure(bencher, cases::normalise());
    }

    /// Both, as every event that somebody gets needs them.
    #[divan::bench]
    fn peek_and_normalise(bencher: Bencher<'_, '_>) {
        let (mut peek, mut normalise) = (cases::peek(), cases::normalise());
        measure(bencher, move || {
            peek();
            normalise();
        });
    }

    /// What the two replace: parse into a tree, rewrite the keys, write the tree.
    #[divan::bench]
    fn through_serde_value(bencher: Bencher<'_, '_>) {
        let body = cases::event().body;
        measure(bencher, move || {
            let tree = serde_json::from_str(black_box(&body)).expect("JSON");
            black_box(public(tree).to_string());
        });
    }

    fn measure(bencher: Bencher<'_, '_>, operation: impl FnMut()) {
        let bytes = BytesCount::new(cases::event().body.len());
        bencher.counter(bytes).bench_local(operation);
    }

    fn public(value: Value) -> Value {
        match value {
            Value::Object(members) => {
                let members = members.into_iter().filter(|(_, value)| !value.is_null());
                members
                    .map(|(key, value)| (key.to_ascii_lowercase().replace('-', "_"), public(value)))
                    .collect()
            }
            Value::Array(items) => items.into_iter().map(public).collect(),
            scalar => scalar,
        }
    }
}

mod frame {
    use super::*;

    #[divan::bench]
    fn once_an_event(bencher: Bencher<'_, '_>) {
        bencher.bench_local(cases::tail());
    }

    #[divan::bench]
    fn once_a_group(bencher: Bencher<'_, '_>) {
        bencher.bench_local(cases::frame());
    }
}

#[divan::bench(args = [1, 100, 1_000])]
fn dispatch(bencher: Bencher<'_, '_>, receivers: usize) {
    bencher.bench_local(cases::dispatch(receivers));
}

#[divan::bench(args = [1, 16, 64])]
fn outbox(bencher: Bencher<'_, '_>, frames: usize) {
    bencher.bench_local(cases::outbox(frames));
}

mod request {
    use super::*;

    #[divan::bench]
    fn inbound(bencher: Bencher<'_, '_>) {
        bencher.bench_local(cases::inbound());
    }

    #[divan::bench]
    fn ping(bencher: Bencher<'_, '_>) {
        bencher.bench_local(cases::ping());
    }

    #[divan::bench]
    fn subscribe_and_unsubscribe(bencher: Bencher<'_, '_>) {
        bencher.bench_local(cases::subscribe());
    }
}
