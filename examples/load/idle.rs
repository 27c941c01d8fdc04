//! Sockets that do nothing.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::client::{Target, connect_all};
use crate::process::{Mark, resident};
use crate::report::Idle;
use crate::server::Server;

const BINDINGS: [&str; 5] = [
    "call.CHANNEL_CREATE.*",
    "call.CHANNEL_ANSWER.*",
    "call.CHANNEL_DESTROY.*",
    "call.CHANNEL_HOLD.*",
    "call.PARK_PARKED.*",
];
/// Made and closed again before the measurement, for what is allocated once.
const WARM_UP: usize = 10;
/// For the server to come to rest.
const REST: Duration = Duration::from_secs(1);
/// Time over which CPU is measured.
const WATCH: Duration = Duration::from_secs(5);

pub(crate) async fn measure(server: &Path, sockets: usize) -> anyhow::Result<Idle> {
    let server = Server::start(server, sockets, 1).await?;
    let target = Target::new(&server, &BINDINGS);
    drop(connect_all(&target, WARM_UP).await?);
    sleep(REST).await;
    let before = resident(server.pid())?;
    let start = Mark::now(server.pid())?;
    let open = connect_all(&target, sockets).await?;
    let connecting = start.until(&Mark::now(server.pid())?);
    sleep(REST).await;
    let start = Mark::now(server.pid())?;
    sleep(WATCH).await;
    let idling = start.until(&Mark::now(server.pid())?);
    let after = resident(server.pid())?;
    drop(open);
    let count = sockets as f64;
    Ok(Idle {
        sockets,
        bindings: BINDINGS.len(),
        connects_per_second: count / connecting.wall.as_secs_f64(),
        cpu_us_per_connect: connecting.server * 1e6 / count,
        client_cpu_seconds: connecting.client,
        rss_before: before,
        rss_after: after,
        bytes_per_socket: after.saturating_sub(before) / sockets.max(1) as u64,
        idle_cpu_percent: idling.server * 100.0 / idling.wall.as_secs_f64(),
    })
}
