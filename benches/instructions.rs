//! How many instructions the parts of the event path take, counted by callgrind: the same on a busy
//! machine as on an idle one. Each case is compared with `instructions.toml` beside this file; one
//! that takes over 10 % more fails. `tests/run` does that.
//!
//! ```sh
//! cargo bench --profile instructions --bench instructions              # compare
//! cargo bench --profile instructions --bench instructions -- --renew   # write the baseline
//! ```
//!
//! A case runs in a process of its own (`--run CASE`), a fixed number of times. Only what happens in
//! [`counted_operations`] is counted, so neither the start nor the preparation matters.

mod cases;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// More is a failure, less a reason to renew the baseline. In per cent.
const TOLERANCE: f64 = 10.0;

type Operation = Box<dyn FnMut()>;

struct Case {
    name: &'static str,
    /// How often, in one run: enough to even out what a hash map's random seed changes.
    times: u32,
    prepare: fn() -> Operation,
}

const CASES: &[Case] = &[
    case("peek", 200, || Box::new(cases::peek())),
    case("normalise", 200, || Box::new(cases::normalise())),
    case("match-10", 2_000, || Box::new(cases::matching(10, true))),
    case("match-10000", 2_000, || {
        Box::new(cases::matching(10_000, true))
    }),
    case("match-none-of-10000", 2_000, || {
        Box::new(cases::matching(10_000, false))
    }),
    case("match-1000-groups", 100, || {
        Box::new(cases::matching_groups(1_000))
    }),
    case("frame-event", 500, || Box::new(cases::tail())),
    case("frame-group", 500, || Box::new(cases::frame())),
    case("dispatch-1", 200, || Box::new(cases::dispatch(1))),
    case("dispatch-100", 100, || Box::new(cases::dispatch(100))),
    case("dispatch-1000", 50, || Box::new(cases::dispatch(1_000))),
    case("outbox-1", 1_000, || Box::new(cases::outbox(1))),
    case("outbox-16", 200, || Box::new(cases::outbox(16))),
    case("outbox-64", 100, || Box::new(cases::outbox(64))),
    case("inbound", 1_000, || Box::new(cases::inbound())),
    case("ping", 200, || Box::new(cases::ping())),
    case("subscribe", 200, || Box::new(cases::subscribe())),
];

const fn case(name: &'static str, times: u32, prepare: fn() -> Operation) -> Case {
    Case {
        name,
        times,
        prepare,
    }
}

const HEAD: &str = "\
# Instructions of one operation, by case (benches/instructions.rs), counted under callgrind in the
# profile `instructions`. Not written by hand:
#   cargo bench --profile instructions --bench instructions -- --renew
# Another compiler, C library or CPU counts a little differently: memory is searched and copied with
# what the CPU has.

";

#[derive(Serialize, Deserialize)]
struct Baseline {
    /// What it was counted with.
    with: Conditions,
    instructions: BTreeMap<String, u64>,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Conditions {
    rustc: String,
    valgrind: String,
    libc: String,
    cpu: String,
}

impl Conditions {
    fn here() -> Result<Self> {
        Ok(Self {
            rustc: said_by("rustc", "--version")?,
            valgrind: said_by("valgrind", "--version")?,
            libc: said_by("getconf", "GNU_LIBC_VERSION")?,
            cpu: cpu(),
        })
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rustc,
            valgrind,
            libc,
            cpu,
        } = self;
        write!(f, "{rustc}, {valgrind}, {libc}, {cpu}")
    }
}

fn main() -> Result<ExitCode> {
    // The folder is named after the profile.
    let folder = env::current_exe()?;
    let folder = folder.ancestors().nth(2).and_then(Path::file_name);
    ensure!(
        folder.is_some_and(|folder| folder == "instructions"),
        "the baseline belongs to another profile: cargo bench --profile instructions"
    );
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["--renew"] => renew(),
        ["--run", name] => run(name),
        _ => bail!("usage: instructions [--renew]"),
    }
}

/// The process that callgrind watches.
fn run(name: &str) -> Result<ExitCode> {
    let case = CASES.iter().find(|case| case.name == name);
    let case = case.context("no such case")?;
    let mut operation = (case.prepare)();
    // Whatever grows has its size then.
    for _ in 0..case.times / 10 {
        operation();
    }
    counted_operations(&mut *operation, case.times);
    Ok(ExitCode::SUCCESS)
}

/// Callgrind knows this function by its name.
#[inline(never)]
fn counted_operations(operation: &mut dyn FnMut(), times: u32) {
    for _ in 0..times {
        operation();
    }
}

fn count(name: &str, times: u32) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_operations*")
        .arg(env::current_exe()?)
        .args(["--run", name])
        .output()
        .context("cannot run valgrind")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed:\n{told}");
    let collected = told
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, number)| number.trim().parse::<u64>().ok())
        .with_context(|| format!("{name}: no count from callgrind:\n{told}"))?;
    // At least the loop itself.
    ensure!(collected > u64::from(times), "{name}: nothing was counted");
    Ok(collected / u64::from(times))
}

fn compare() -> Result<ExitCode> {
    let text = fs::read_to_string(baseline_path()).context("no baseline")?;
    let baseline: Baseline = toml::from_str(&text).context("the baseline")?;
    let here = Conditions::here()?;
    if !baseline.with.cpu.starts_with(env::consts::ARCH) {
        println!(
            "Nothing is compared: the baseline is of {}.",
            baseline.with.cpu
        );
        return Ok(ExitCode::SUCCESS);
    }
    if here != baseline.with {
        println!("Counted with {here}, the baseline with {}.", baseline.with);
    }
    let (mut over, mut under) = (Vec::new(), Vec::new());
    println!(
        "{:24} {:>12} {:>12} {:>8}",
        "case", "instructions", "baseline", "change"
    );
    for &Case { name, times, .. } in CASES {
        let now = count(name, times)?;
        let Some(&before) = baseline.instructions.get(name) else {
            println!("{name:24} {now:12} {:>12}", "none");
            over.push(format!("{name} is not in the baseline"));
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let change = (now as f64 / before as f64 - 1.0) * 100.0;
        println!("{name:24} {now:12} {before:12} {change:+7.1}%");
        if change > TOLERANCE {
            over.push(format!(
                "{name} takes {change:.1} % more: {now}, not {before}"
            ));
        } else if change < -TOLERANCE {
            under.push(name);
        }
    }
    for name in baseline.instructions.keys() {
        if !CASES.iter().any(|case| case.name == name) {
            over.push(format!("{name} is in the baseline only"));
        }
    }
    if !under.is_empty() {
        println!(
            "Better than the baseline, which should be renewed: {}.",
            under.join(", ")
        );
    }
    if over.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    for line in &over {
        println!("FAILED: {line}");
    }
    println!(
        "If that is meant: cargo bench --profile instructions --bench instructions -- --renew"
    );
    Ok(ExitCode::FAILURE)
}

fn renew() -> Result<ExitCode> {
    let mut instructions = BTreeMap::new();
    for &Case { name, times, .. } in CASES {
        let now = count(name, times)?;
        println!("{name:24} {now:12}");
        instructions.insert(name.to_owned(), now);
    }
    let with = Conditions::here()?;
    let text = toml::to_string(&Baseline { with, instructions })?;
    fs::write(baseline_path(), format!("{HEAD}{text}"))?;
    Ok(ExitCode::SUCCESS)
}

fn baseline_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

/// What the code chooses its way by.
fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return "x86_64 with AVX2".to_owned();
    }
    env::consts::ARCH.to_owned()
}

fn said_by(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {argument} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
