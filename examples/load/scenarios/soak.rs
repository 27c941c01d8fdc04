//! Minutes of coming and going while events flow: does memory grow?

use std::time::{Duration, Instant};

use super::{costs, faults, transport};
use crate::Lab;
use crate::accounts::Account;
use crate::crowd::{Crowd, Target};
use crate::events::{CREATE, KINDS};
use crate::metrics::Metrics;
use crate::options::Soak;
use crate::process::resident;
use crate::random::Random;
use crate::report::{Row, Section};
use crate::run::{Pace, run};
use crate::script::Script;
use crate::server::{Server, Setup};
use crate::socket::Hello;

/// Sockets that stay and must get everything.
const STEADY: usize = 200;
/// Places of sockets that come and go.
const CHURN: usize = 200;
/// Places of sockets that never read, and come again when they were closed.
const STOPPED: usize = 20;
/// Tenths of a second that a socket stays.
const STAY: u32 = 200;
/// Memory is looked at this often.
const LOOK: Duration = Duration::from_secs(15);
/// Share of the time, at the beginning, in which memory may grow.
const WARM_UP: f64 = 0.25;
const UNBOUND: usize = 100_000;

/// Who comes and goes.
struct Churn {
    target: Target,
    narrow: Target,
    hello: Hello,
    random: Random,
    places: Vec<Option<Guest>>,
    came: u64,
}

/// A socket that will go.
struct Guest {
    end: Instant,
    /// Nobody will read it any more.
    stopped: bool,
}

pub(super) fn measure(lab: &Lab, options: &Soak) -> anyhow::Result<Section> {
    lab.say(&format!("soak, {} minutes", options.minutes));
    let setup = Setup {
        sockets: STEADY + CHURN + STOPPED,
        tls: options.tls,
        ..Setup::default()
    };
    let server = Server::start(lab, &setup)?;
    let account = Account::master(&server);
    let hello = account.hello(&server, &[KINDS[usize::from(CREATE)].binding.into()]);
    let mut crowd = Crowd::new()?;
    crowd.connect(&server.target, 0, &vec![hello.clone(); STEADY])?;
    let mut churn = Churn {
        target: server.target.clone(),
        narrow: Target {
            receive_buffer: Some(4096),
            ..server.target.clone()
        },
        hello,
        random: Random::new(lab.seed),
        places: (0..CHURN + STOPPED).map(|_| None).collect(),
        came: 0,
    };
    let events = options.minutes as usize * 60 * options.rate as usize;
    let script = Script::broadcast(account, STEADY, events);
    let pace = Pace {
        window: UNBOUND,
        rate: Some(options.rate),
    };
    let began = Instant::now();
    let mut looked: Option<Instant> = None;
    let mut samples = Vec::new();
    let mut meanwhile = |crowd: &mut Crowd| {
        churn.step(crowd)?;
        if looked.is_none_or(|at| at.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            let (seconds, bytes) = (began.elapsed().as_secs_f64(), resident(server.pid())?);
            lab.say(&format!(
                "{seconds:.0} s: {} KiB, {} sockets came",
                bytes / 1024,
                churn.came
            ));
            samples.push((seconds, bytes as f64));
        }
        Ok(())
    };
    let outcome = run(lab, &server, &mut crowd, script, pace, &mut meanwhile)?;
    lab.note(&outcome);
    let closes = Metrics::read(lab, &server)?.closes();
    let from = began.elapsed().as_secs_f64() * WARM_UP;
    samples.retain(|(seconds, _)| *seconds >= from);
    let slope = slope(&samples).map(|slope| slope * 60.0);
    let last = samples.last().map_or(0.0, |(_, bytes)| *bytes);
    let row = Row::new()
        .text("transport", "", transport(options.tls))
        .count("minutes", "minutes", u64::from(options.minutes))
        .count("sockets_came", "came", churn.came)
        .count("rss", "bytes", last as u64)
        .number("slope_bytes_per_minute", "bytes/minute", 0, slope);
    let mut section = Section::new(
        "soak",
        "sockets come and go, some never read, and events flow",
        &["bytes/minute: slope of VmRSS (least squares) after the first quarter of the time"],
    );
    section.push(faults(costs(row, &outcome), &outcome).text("closes", "closes", &closes));
    Ok(section)
}

impl Churn {
    /// Sockets whose time is over go, and where nobody is somebody comes.
    fn step(&mut self, crowd: &mut Crowd) -> anyhow::Result<()> {
        crowd.ended.retain(|(number, _)| *number < STEADY);
        for (place, guest) in self.places.iter_mut().enumerate() {
            let (number, never_reads) = (STEADY + place, place >= CHURN);
            if let Some(guest) = guest {
                if never_reads && !guest.stopped && crowd.is_ready(number) {
                    crowd.stop_reading(number..number + 1)?;
                    guest.stopped = true;
                }
                if Instant::now() < guest.end {
                    continue;
                }
                crowd.close(number);
            }
            let (target, least) = if never_reads {
                // Long enough to be closed by the server.
                (&self.narrow, Duration::from_secs(30))
            } else {
                (&self.target, Duration::ZERO)
            };
            crowd.open(target, number, self.hello.clone())?;
            self.came += 1;
            let stay = Duration::from_millis(100) * (1 + self.random.below(STAY));
            *guest = Some(Guest {
                end: Instant::now() + least + stay,
                stopped: false,
            });
        }
        Ok(())
    }
}

/// Of the line that fits best, by the square of what is beside it.
fn slope(samples: &[(f64, f64)]) -> Option<f64> {
    let count = samples.len() as f64;
    let mean = |value: fn(&(f64, f64)) -> f64| samples.iter().map(value).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let products = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y));
    let squares: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    (squares > 0.0).then(|| products.sum::<f64>() / squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), Some(2.0));
        assert_eq!(slope(&[(0.0, 1.0)]), None);
    }
}
