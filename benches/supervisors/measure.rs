//! One supervisor's life, from its exec until its last process is gone, and what is measured in it.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Outcome;
use crate::family::{self, Supervisor, now};
use crate::ground::{Ground, Report};
use crate::options::Options;
use crate::peers::Peer;
use crate::table::median;

/// What is measured, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Nanoseconds from just before the supervisor's fork and exec to the first instruction of the last service.
    Up,
    /// Nanoseconds from just before a `kill -9` to the first instruction of the successor; the median of a round's deaths. No
    /// service dies twice in a round, or before it has lived for a second: no restart pause or back-off is measured.
    Successor,
    /// Nanoseconds from the request to stop until no process of the supervisor is left.
    Down,
    /// KiB of PSS of the supervisor's own processes, services not counted.
    Memory,
    /// The same per service.
    MemoryEach,
    /// Voluntary and involuntary context switches per second of the supervisor's own processes while nothing happens.
    Idle,
}

pub type Sample = BTreeMap<Measure, f64>;

/// Deaths in a round: so many, or as many as this much time allows a slow peer.
const DEATHS: usize = 30;
const DYING: Duration = Duration::from_secs(10);
/// Every supervisor restarts at once what has lived for a second; supervisord also calls it up only then.
const A_LIFE: Duration = Duration::from_millis(1200);
/// Between looks at the report pipe: reports carry their time, so a late look costs nothing, and a look costs the peer CPU.
const GLANCE: Duration = Duration::from_millis(1);

/// Up and down: can it be measured at all?
pub fn trial(peer: &Peer, ground: &mut Ground, options: &Options) -> Outcome<()> {
    let start = Start::now(peer, ground, options)?;
    stop(peer, ground, start.supervisor, options)?;
    Ok(())
}

pub fn life(peer: &Peer, ground: &mut Ground, options: Options) -> Outcome<Sample> {
    let mut sample = Sample::new();
    let Start { supervisor, began, services } = Start::now(peer, ground, &options)?;
    let last = services.iter().map(|service| service.nanos).max().unwrap_or(began);
    sample.insert(Measure::Up, (last - began) as f64);

    sleep(A_LIFE);
    let own = supervisor.processes(ground.tiny);
    sample.insert(Measure::Memory, family::pss(&own));
    sample.insert(Measure::MemoryEach, family::pss(&own) / ground.size as f64);
    if !options.idle.is_zero() {
        sample.insert(Measure::Idle, switches_per_second(&own, options.idle)?);
    }
    let deaths = kill_some(ground, &supervisor, &services, &options)?;
    sample.insert(Measure::Successor, median(&deaths).unwrap_or(f64::NAN));
    sleep(A_LIFE); // some supervisors wait for a young service before they go
    sample.insert(Measure::Down, stop(peer, ground, supervisor, &options)?);
    Ok(sample)
}

struct Start {
    supervisor: Supervisor,
    began: u64,
    services: Vec<Report>,
}

impl Start {
    fn now(peer: &Peer, ground: &mut Ground, options: &Options) -> Outcome<Start> {
        let command = peer.command(ground)?;
        let began = now();
        let supervisor = family::spawn(command)?;
        let services = await_reports(ground, ground.size, &supervisor, options.patience)?;
        Ok(Start { supervisor, began, services })
    }
}

fn await_reports(
    ground: &mut Ground,
    count: usize,
    supervisor: &Supervisor,
    patience: Duration,
) -> Outcome<Vec<Report>> {
    let deadline = now() + patience.as_nanos() as u64;
    let mut reports = Vec::new();
    while reports.len() < count {
        sleep(GLANCE);
        reports.extend(ground.new_reports()?);
        family::interrupted()?;
        if supervisor.has_exited() {
            return Err(format!("it exited; last words: {}", ground.last_words()).into());
        }
        if now() > deadline {
            let (seen, last) = (reports.len(), ground.last_words());
            return Err(format!("{seen} of {count} up after {patience:?}; last words: {last}").into());
        }
    }
    Ok(reports)
}

fn switches_per_second(pids: &[Pid], window: Duration) -> Outcome<f64> {
    let (before, began) = (family::context_switches(pids), now());
    let end = began + window.as_nanos() as u64;
    while now() < end {
        sleep(Duration::from_millis(100).min(window));
        family::interrupted()?;
    }
    let seconds = (now() - began) as f64 / 1e9;
    Ok((family::context_switches(pids) - before) as f64 / seconds)
}

/// Kills up to `DEATHS` services, evenly spread over the directory, one after the other.
fn kill_some(
    ground: &mut Ground,
    supervisor: &Supervisor,
    services: &[Report],
    options: &Options,
) -> Outcome<Vec<f64>> {
    let spread = services.iter().step_by(services.len().div_ceil(DEATHS).max(1));
    let enough = now() + DYING.as_nanos() as u64;
    let mut latencies = Vec::new();
    for victim in spread {
        let died = now();
        kill(Pid::from_raw(victim.pid), Signal::SIGKILL)?;
        let successor = await_reports(ground, 1, supervisor, options.patience)?;
        latencies.extend(successor.first().map(|successor| successor.nanos.saturating_sub(died) as f64));
        sleep(GLANCE * 5); // let it finish its own bookkeeping: one death at a time
        if now() > enough {
            break;
        }
    }
    Ok(latencies)
}

fn stop(peer: &Peer, ground: &Ground, supervisor: Supervisor, options: &Options) -> Outcome<f64> {
    let asked = now();
    peer.stop(ground, supervisor.pid)?;
    match family::all_gone(options.patience)? {
        Some(gone) => Ok((gone - asked) as f64),
        None => Err(format!("not down after {:?}; last words: {}", options.patience, ground.last_words()).into()),
    }
}
