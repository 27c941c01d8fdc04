//! One measurement: a script is published while its sockets are read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;

use crate::Lab;
use crate::crowd::Crowd;
use crate::events::NumberFinder;
use crate::interrupt;
use crate::process::Spent;
use crate::publish::Publisher;
use crate::script::Script;
use crate::server::Server;
use crate::tally::{Board, Tally};

/// Requests that tell what publishing alone costs.
const UNHEARD: usize = 10_000;
/// Nothing moves any more.
const STALL: Duration = Duration::from_secs(10);
/// For frames that should not come.
const AFTERMATH: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(100);
/// CPU times come in steps of 10 ms; a difference of less than this says nothing.
const LEAST_CPU: f64 = 0.1;

/// How a script is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Events under way at most.
    pub(crate) window: usize,
    /// Events a second; otherwise as fast as the window allows.
    pub(crate) rate: Option<u32>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) events: usize,
    pub(crate) deliveries: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) misordered: u64,
    pub(crate) foreign: u64,
    pub(crate) frame_bytes: usize,
    pub(crate) spent: Spent,
    /// CPU seconds of the server for the requests of `PUT /v2/events`; 0 with RabbitMQ.
    pub(crate) publishing: f64,
    /// Publish to last socket, in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// Publishes the script and reads its sockets, which are the first of the crowd. `meanwhile` is
/// called some ten times a second.
pub(crate) fn run(
    lab: &Lab,
    server: &Server,
    crowd: &mut Crowd,
    script: Script,
    pace: Pace,
    meanwhile: &mut dyn FnMut(&mut Crowd) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let publishing = lab.publishing_cost()? * script.events.len() as f64;
    let shares = script.shares();
    let board = Arc::new(Board::new(Arc::new(script), pace.window));
    let publisher = Publisher::new(lab, server, pace.rate)?;
    let tally = Tally::new(board.script.events.len(), publisher.lanes());
    let mut tallies = vec![tally; shares.len()];
    let finder = NumberFinder::new();
    let mut read = |number: usize, text: &[u8]| {
        // Sockets beyond the script's come and go; nobody counts what they get.
        if let Some(tally) = tallies.get_mut(number) {
            tally.message(number, finder.find(text), text.len(), &board);
        }
    };
    let watched = server.watched();
    let start = watched.mark()?;
    let publication = publisher.start(lab, &board);
    let mut publication = Some(publication);
    let (mut done, mut moved, mut ticked) = (0, Instant::now(), Instant::now());
    while !board.is_finished() {
        crowd.pump(TICK, &mut read)?;
        if ticked.elapsed() < TICK {
            continue;
        }
        ticked = Instant::now();
        interrupt::check()?;
        meanwhile(crowd)?;
        if let Some(ended) = publication.take_if(|task| task.is_finished()) {
            lab.runtime.block_on(ended)??;
        }
        if board.done() > done {
            (done, moved) = (board.done(), Instant::now());
        } else if moved.elapsed() > STALL {
            eprintln!("load: nothing has moved for {STALL:?}, {done} events arrived everywhere");
            break;
        }
    }
    let spent = watched.since(&start)?;
    if let Some(task) = publication {
        task.abort();
    }
    let end = Instant::now() + AFTERMATH;
    while Instant::now() < end {
        crowd.pump(AFTERMATH / 4, &mut read)?;
    }
    for (number, end) in &crowd.ended {
        if *number < shares.len() {
            lab.say(&format!("socket {number} ended: {end}"));
        }
    }
    let mut outcome = Outcome {
        events: board.script.events.len(),
        deliveries: 0,
        lost: 0,
        doubled: 0,
        misordered: 0,
        foreign: 0,
        frame_bytes: 0,
        spent,
        publishing,
        latencies: board.latencies()?,
    };
    outcome.add(&tallies, &shares);
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, tallies: &[Tally], shares: &[u32]) {
        let (mut bytes, mut messages) = (0, 0);
        for (tally, share) in tallies.iter().zip(shares) {
            self.deliveries += tally.distinct;
            self.lost += u64::from(*share) - tally.distinct;
            self.doubled += tally.doubled;
            self.misordered += tally.misordered;
            self.foreign += tally.foreign;
            bytes += tally.bytes;
            messages += tally.distinct + tally.doubled + tally.foreign;
        }
        self.frame_bytes = usize::try_from(bytes / messages.max(1)).unwrap_or_default();
    }

    /// How much went wrong.
    pub(crate) fn faults(&self) -> u64 {
        self.lost + self.doubled + self.misordered + self.foreign
    }

    /// CPU seconds of the server without what the requests cost; `None` if too little to be measured.
    pub(crate) fn net_cpu(&self) -> Option<f64> {
        let net = self.spent.server - self.publishing;
        (net >= LEAST_CPU).then_some(net)
    }

    /// Deliveries a server CPU second, with the cost of the requests.
    pub(crate) fn gross(&self) -> Option<f64> {
        let cpu = self.spent.server;
        (cpu >= LEAST_CPU).then(|| self.deliveries as f64 / cpu)
    }

    /// The same without it.
    pub(crate) fn net(&self) -> Option<f64> {
        Some(self.deliveries as f64 / self.net_cpu()?)
    }

    /// In milliseconds.
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// CPU seconds that the server spends on one request to publish while nobody listens.
pub(crate) fn cost_of_a_request(lab: &Lab, server: &Server) -> anyhow::Result<f64> {
    let account = crate::accounts::Account::master(server);
    let unheard = |events| {
        let script = Script::broadcast(account.clone(), 0, events);
        let board = Arc::new(Board::new(Arc::new(script), 1));
        let publication = Publisher::new(lab, server, None)?.start(lab, &board);
        while !publication.is_finished() {
            interrupt::sleep(Duration::from_millis(20))?;
        }
        lab.runtime.block_on(publication)?
    };
    unheard(UNHEARD / 5).context("warming up")?;
    let start = server.watched().mark()?;
    unheard(UNHEARD).context("publishing to nobody")?;
    let spent = server.watched().since(&start)?;
    if spent.server <= 0.0 {
        bail!("publishing cost no CPU: /proc cannot be trusted here");
    }
    Ok(spent.server / UNHEARD as f64)
}
