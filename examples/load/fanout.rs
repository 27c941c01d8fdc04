//! Every event to every socket.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::Options;
use crate::client::{Target, connect_all, read_all};
use crate::process::{Mark, Spent};
use crate::publish::{BINDING, NumberFinder, Publisher};
use crate::report::Fanout;
use crate::server::Server;
use crate::tally::{Board, Tally};

/// Deliveries of a measurement for which no number of events was given.
const DELIVERIES: u32 = 4_000_000;
/// Requests that tell what publishing alone costs.
const UNHEARD: usize = 10_000;
/// For a measurement beyond what its rate makes it take, and for one in which nothing moves.
const PATIENCE: Duration = Duration::from_secs(180);
const STALL: Duration = Duration::from_secs(10);
/// For frames that should not come.
const AFTERMATH: Duration = Duration::from_millis(300);

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    sockets: u32,
    events: usize,
    window: usize,
    publishers: usize,
    rate: Option<u32>,
}

impl Plan {
    pub(crate) fn new(options: &Options, sockets: u32) -> Self {
        let events = options
            .events
            .unwrap_or_else(|| (DELIVERIES / sockets).clamp(2_000, 20_000));
        Self {
            sockets,
            events: events as usize,
            window: options.window as usize,
            publishers: options.publishers as usize,
            rate: options.rate,
        }
    }

    fn deadline(&self) -> Duration {
        let paced = self
            .rate
            .map(|rate| Duration::from_secs(self.events as u64 / u64::from(rate)));
        PATIENCE + paced.unwrap_or_default()
    }
}

/// The tallies of the sockets, and the tasks that fill them; these end when this is dropped.
struct Readers {
    tallies: Vec<Arc<Mutex<Tally>>>,
    _tasks: JoinSet<()>,
}

pub(crate) async fn measure(server: &Path, plan: &Plan) -> anyhow::Result<Fanout> {
    let server = Server::start(server, plan.sockets as usize, plan.window).await?;
    let cost = publishing_cost(&server, plan).await?;
    let target = Target::new(&server, &[BINDING]);
    let streams = connect_all(&target, plan.sockets as usize).await?;
    let board = Arc::new(Board::new(plan.sockets, plan.events, plan.window));
    let readers = Readers::start(streams, &board, plan);
    let publisher = Publisher::new(&server, plan.publishers, plan.rate)?;

    let start = Mark::now(server.pid())?;
    let publishing = JoinSet::from_iter([Arc::new(publisher).run(board.clone())]);
    watch(publishing, &board, plan.deadline()).await?;
    let spent = start.until(&Mark::now(server.pid())?);
    sleep(AFTERMATH).await;
    Ok(readers.result(plan, &board, spent, cost))
}

/// CPU seconds that the server spends on one request to publish while nobody listens.
async fn publishing_cost(server: &Server, plan: &Plan) -> anyhow::Result<f64> {
    let publisher = Arc::new(Publisher::new(server, plan.publishers, None)?);
    let unheard = |events| {
        timeout(
            PATIENCE,
            publisher.clone().run(Arc::new(Board::new(0, events, 1))),
        )
    };
    unheard(UNHEARD / 10).await.context("warming up")??;
    let start = Mark::now(server.pid())?;
    unheard(UNHEARD).await.context("publishing to nobody")??;
    Ok(start.until(&Mark::now(server.pid())?).server / UNHEARD as f64)
}

/// Waits for the end: all sockets have all events, or nothing moves any more (which the tallies
/// then show). An error only if publishing itself fails.
async fn watch(
    mut publishing: JoinSet<anyhow::Result<()>>,
    board: &Board,
    limit: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + limit;
    let (mut done, mut moved) = (0, Instant::now());
    loop {
        tokio::select! {
            () = board.finished() => return Ok(()),
            Some(ended) = publishing.join_next() => ended??,
            () = sleep(STALL / 20) => {}
        }
        let now = Instant::now();
        if board.done() > done {
            (done, moved) = (board.done(), now);
        } else if now - moved > STALL {
            eprintln!("load: nothing has moved for {STALL:?}, {done} events arrived everywhere");
            return Ok(());
        }
        if now > deadline {
            bail!("not done in {limit:?}: {done} events arrived everywhere");
        }
    }
}

impl Readers {
    fn start(streams: Vec<TcpStream>, board: &Arc<Board>, plan: &Plan) -> Self {
        let finder = Arc::new(NumberFinder::new());
        let mut tallies = Vec::with_capacity(streams.len());
        let mut tasks = JoinSet::new();
        for stream in streams {
            let tally = Arc::new(Mutex::new(Tally::new(plan.events, plan.publishers)));
            tallies.push(tally.clone());
            tasks.spawn(read(stream, tally, finder.clone(), board.clone()));
        }
        Self {
            tallies,
            _tasks: tasks,
        }
    }

    fn result(&self, plan: &Plan, board: &Board, spent: Spent, cost: f64) -> Fanout {
        let mut result = Fanout::new(plan.sockets, plan.events);
        let lock = |tally: &Arc<Mutex<Tally>>| {
            tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        result.count(self.tallies.iter().map(lock));
        result.rate(spent, cost);
        result.latency(&board.latencies());
        result
    }
}

async fn read(
    stream: TcpStream,
    tally: Arc<Mutex<Tally>>,
    finder: Arc<NumberFinder>,
    board: Arc<Board>,
) {
    let lock = || tally.lock().unwrap_or_else(PoisonError::into_inner);
    let message = |text: &[u8]| lock().message(finder.find(text), text.len(), &board);
    let end = read_all(&stream, message).await;
    lock().ended = Some(end);
}
