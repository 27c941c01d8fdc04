//! `--demo`: a simulated Kazoo that publishes on the event source in force, for whoever has none yet and
//! for tests of what shows calls. Runs only when asked for.
//!
//! - `simulation`: the machine; knows neither clock nor I/O;
//! - `stage`: what its parts share: time, chance, the agenda, what is to be published;
//! - `call`, `leg`: calls and their channels; `conference`, `fax`, `voicemail`, `presence`, `documents`:
//!   all else that happens;
//! - `people`: the companies and their people; `world`: what becomes of them; `rng`: chance;
//! - `setup`: accounts and users in the store.

mod call;
mod conference;
mod documents;
mod fax;
mod leg;
mod people;
mod presence;
mod rng;
mod setup;
mod simulation;
mod stage;
mod voicemail;
mod world;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::simulation::Simulation;
use crate::model::Secret;
use crate::model::clock::unix_millis;
use crate::settings::DemoSettings;
use crate::source::{Publication, Source, SourceError};
use crate::store::{LiveStore, StoreError};

/// Who is later than this was suspended, and does not catch up.
const LATE: Duration = Duration::from_secs(2);
/// Events on their way to the source.
const UNDER_WAY: usize = 64;
/// For everybody to hang up at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// A simulation that runs.
#[derive(Debug)]
pub struct Demo {
    /// Names of its accounts.
    pub accounts: Vec<String>,
    /// Calls that begin a minute.
    pub calls_per_minute: u32,
    /// The password of all users that it makes now; `None`: all are there.
    pub password: Option<Secret>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Demo {
    /// Makes the accounts that are missing, and begins.
    pub async fn start(
        settings: DemoSettings,
        store: LiveStore,
        source: Arc<Source>,
    ) -> Result<Self, StoreError> {
        let DemoSettings {
            calls_per_minute,
            seed,
        } = settings;
        let known = store.run(move |store| setup::accounts(store, seed)).await?;
        let password = setup::are_missing(&known).then(setup::password);
        let simulation = Simulation::new(seed, &known, calls_per_minute);
        let accounts = known.iter().map(|account| account.name.clone()).collect();
        if let Some(password) = password.clone() {
            tokio::spawn(setup::users(store, seed, known, password));
        }
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(simulation, source, stop.clone()));
        Ok(Self {
            accounts,
            calls_per_minute,
            password,
            stop,
            task,
        })
    }

    /// Everybody hangs up, as far as a second is enough.
    pub async fn stop(self) {
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if timeout(FAREWELL, self.task).await.is_err() {
            abort.abort();
        }
    }
}

async fn run(mut simulation: Simulation, source: Arc<Source>, stop: CancellationToken) {
    let mut outlet = Outlet {
        source,
        silent: false,
    };
    // When the simulation's time began.
    let mut began = Instant::now();
    while let Some(at) = simulation.next_at() {
        let due = began + Duration::from_millis(at);
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep_until(due) => {}
        }
        let now = Instant::now();
        // Of a machine that slept nothing is made up for.
        if now > due + LATE {
            began += now - due;
        }
        let mut events = simulation.step(wall());
        let until = (now - began).as_millis();
        while simulation
            .next_at()
            .is_some_and(|next| u128::from(next) <= until)
        {
            events.extend(simulation.step(wall()));
        }
        outlet.publish(events).await;
    }
    let now = u64::try_from(began.elapsed().as_millis()).unwrap_or_default();
    outlet.publish(simulation.hang_up(now, wall())).await;
}

fn wall() -> u64 {
    u64::try_from(unix_millis()).unwrap_or_default()
}

struct Outlet {
    source: Arc<Source>,
    /// The source is away, and it was said.
    silent: bool,
}

impl Outlet {
    /// Publishes in order. What a source that is away does not take is lost, as Kazoo's own.
    async fn publish(&mut self, events: Vec<Publication>) {
        let sending = stream::iter(events).map(|event| self.source.publish(event));
        let mut sent = sending.buffered(UNDER_WAY);
        let mut failed: Option<SourceError> = None;
        let mut done = false;
        while let Some(result) = sent.next().await {
            match result {
                Ok(_) => done = true,
                Err(error) => failed = Some(error),
            }
        }
        drop(sent);
        match failed {
            Some(error) if !self.silent => {
                tracing::warn!(%error, "demo: events are lost");
                self.silent = true;
            }
            None if done => self.silent = false,
            _ => {}
        }
    }
}
