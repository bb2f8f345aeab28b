//! What is waited for, and the waiting: event by event, never by asking again and again.

use super::arrival::Arrival;
use super::connect::{CliError, Connection, Target, Via, of_all, worse};
use super::{files, format};
use crate::client::{Deadline, ErrorKind, Watch};
use crate::exit;
use crate::machine::{Mono, ServiceState, Want};
use crate::sys::clock;
use crate::wire::api::ServiceStatus;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

/// After this long the user is told which services are waited for.
const QUIET: Duration = Duration::from_millis(500);
/// And how long it has been.
const SECOND: Duration = Duration::from_secs(1);
/// How long a setter waits, as with `sv`.
const PATIENCE: Duration = Duration::from_secs(7);

/// What is waited for.
#[derive(Clone, PartialEq, Debug)]
pub enum WaitCondition {
    /// `run` runs.
    Up,
    /// And it counts as ready, as far as is known without its `check`.
    Ready,
    /// Nothing runs, and nothing is about to be started.
    Down,
    /// It has ended and is not started again.
    Done,
    /// It is ready, or has done what it was to do. That it could not be executed since then is an answer, too.
    Launched(Before),
    /// It has been started since, or runs still.
    Started(Before),
    /// It runs as another process than then, and is ready.
    Restarted(Before),
    /// The same, and the second one that was to be it has not failed.
    Replaced(Before),
    /// The process of then has ended.
    Ended(Before),
    /// It is paused, or is not.
    Paused(bool),
    /// It starts by itself and is ready.
    Enabled(Before),
    /// It does neither.
    Disabled,
    /// No supervisor looks after it any more.
    Gone(Before),
}

/// What a service was before something was asked of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Before {
    pid: Option<i32>,
    since: f64,
}

/// How it stands with what is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is so.
    Met,
    /// It is not so yet.
    NotYet,
    /// It will not become so by itself.
    Never,
}

impl Before {
    /// It was not there.
    pub const NOTHING: Before = Before { pid: None, since: 0.0 };

    /// As it is now.
    pub fn of(service: &ServiceStatus) -> Before {
        Before { pid: service.pid, since: service.since }
    }

    fn is_past(self, now: &ServiceStatus) -> bool {
        self.pid != now.pid || self.since < now.since
    }

    /// It was tried since then, and there is nothing that could be executed. The supervisor tries again, but the user
    /// who has just asked for it wants to know.
    fn has_failed(self, now: &ServiceStatus) -> bool {
        self.since < now.since && now.pid.is_none() && format::is_troubled(now)
    }
}

impl WaitCondition {
    /// Whether it is so, by what is known now.
    pub fn verdict(&self, now: &ServiceStatus) -> Verdict {
        let is = |state: ServiceState| now.state == state;
        let (up, done, failed) = (is(ServiceState::Up), is(ServiceState::Done), is(ServiceState::Failed));
        let (refused, skipped) = (is(ServiceState::Refused), is(ServiceState::Skipped));
        let can_be_called = is(ServiceState::Waiting) && now.ready == Some(true); // start-on-connect
        let ready = up && now.ready != Some(false) || can_be_called;
        let down = done || failed || skipped || is(ServiceState::Down);
        let stays_down = down && now.want != Want::Up;
        let met = match self {
            WaitCondition::Up => up,
            WaitCondition::Ready => ready,
            WaitCondition::Launched(_) => ready || done,
            WaitCondition::Down => stays_down,
            WaitCondition::Done => done || failed || skipped || (stays_down && has_ended(now)),
            // It may have ended since, but one that has not executed its program yet has not begun.
            WaitCondition::Started(before) => {
                let begins = is(ServiceState::Setup) || is(ServiceState::Starting);
                up || (!begins && !failed && before.since < now.since && !before.has_failed(now))
            }
            // What has waited for a caller goes on so, and that is no news.
            WaitCondition::Restarted(before) if can_be_called && before.pid.is_none() => true,
            WaitCondition::Restarted(before) => (ready || done) && before.is_past(now),
            WaitCondition::Replaced(before) => ready && before.pid != now.pid,
            WaitCondition::Ended(before) => before.pid.is_none() || before.pid != now.pid,
            WaitCondition::Paused(paused) => now.pid.is_none() || now.paused == *paused,
            WaitCondition::Enabled(_) => (ready || done) && now.enabled,
            WaitCondition::Disabled => down && !now.enabled,
            WaitCondition::Gone(before) => refused || (now.leaving && down) || (!now.leaving && before.is_past(now)),
        };
        let never = match self {
            WaitCondition::Up | WaitCondition::Ready => done || failed || skipped || refused,
            WaitCondition::Launched(before) | WaitCondition::Restarted(before) | WaitCondition::Enabled(before) => {
                failed || skipped || refused || before.has_failed(now)
            }
            WaitCondition::Replaced(before) => failed || (before.pid == now.pid && now.successor.is_none()),
            WaitCondition::Started(before) => before.has_failed(now) || (failed && before.since < now.since),
            WaitCondition::Down | WaitCondition::Done => refused, // without a supervisor no end is told
            WaitCondition::Ended(_) | WaitCondition::Paused(_) | WaitCondition::Disabled | WaitCondition::Gone(_) => {
                false
            }
        };
        match (met, never) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Never,
            (false, false) => Verdict::NotYet,
        }
    }

    /// The word behind "not", for a service that stands like this.
    fn name(&self, now: &ServiceStatus) -> &'static str {
        match self {
            WaitCondition::Ready | WaitCondition::Launched(_) if now.state == ServiceState::Up => "ready",
            WaitCondition::Up | WaitCondition::Ready | WaitCondition::Launched(_) => "up",
            WaitCondition::Down => "down",
            WaitCondition::Done => "done",
            WaitCondition::Started(_) => "started",
            WaitCondition::Restarted(_) => "up again",
            WaitCondition::Replaced(_) => "replaced",
            WaitCondition::Ended(_) => "ended",
            WaitCondition::Paused(true) => "paused",
            WaitCondition::Paused(false) => "continued",
            WaitCondition::Enabled(_) => "enabled and up",
            WaitCondition::Disabled => "disabled and down",
            WaitCondition::Gone(_) => "gone",
        }
    }
}

/// Whether it has run at all. The files of most supervisors do not say; then it is taken to have run.
fn has_ended(now: &ServiceStatus) -> bool {
    now.exit.is_some() || now.restarts.is_none()
}

/// A service that is waited for.
#[derive(Clone, PartialEq, Debug)]
pub struct Pending {
    /// The service.
    pub target: Target,
    /// What for.
    pub condition: WaitCondition,
}

/// When waiting ends, and how much is told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    start: Mono,
    deadline: Option<Mono>,
    /// Success is told too.
    pub verbose: bool,
    /// One of the services is enough.
    pub any: bool,
    /// What is not there yet may come.
    pub for_arrival: bool,
}

impl Patience {
    /// So long from now; `None`: as long as it takes.
    pub fn new(limit: Option<Duration>, verbose: bool) -> Patience {
        let start = clock::now();
        Patience { start, deadline: limit.map(|limit| start.after(limit)), verbose, any: false, for_arrival: false }
    }

    /// As long as a setter waits: what was said, else `$SVWAIT`, else seven seconds.
    pub fn of_setter(said: Option<Duration>) -> Duration {
        let variable = || format::patience(&std::env::var("SVWAIT").ok()?).ok();
        said.or_else(variable).unwrap_or(PATIENCE)
    }

    /// When it ends.
    pub fn deadline(self) -> Option<Mono> {
        self.deadline
    }

    /// It is over.
    pub fn is_over(self) -> bool {
        self.deadline.is_some_and(|at| at <= clock::now())
    }

    fn passed(self) -> String {
        format::span(clock::now().since(self.start).as_secs_f64())
    }
}

/// Waits for all of them. The socket has to be subscribed to since before anything was asked. Returns the exit code.
pub fn wait(talk: &mut Connection, pending: Vec<Pending>, patience: Patience) -> i32 {
    let progress = Progress::new(patience);
    let (code, told) = (exit::OK, exit::OK);
    let (held, watch) = (Vec::new(), None);
    let mut waiting = Waiting { talk, pending, patience, code, told, met: 0, held, progress, watch, lost: false };
    waiting.look(None);
    while !waiting.is_over() {
        if patience.is_over() {
            waiting.give_up();
            break;
        }
        match waiting.next() {
            Ok(name) => waiting.look(name.as_deref()),
            Err(trouble) => {
                waiting.fail_with(trouble);
                break;
            }
        }
    }
    waiting.progress.clear();
    if patience.any && waiting.met > 0 {
        return waiting.told;
    }
    waiting.held.iter().map(CliError::report).chain([waiting.told]).fold(waiting.code, worse)
}

struct Waiting<'a> {
    talk: &'a mut Connection,
    pending: Vec<Pending>,
    patience: Patience,
    code: i32,
    /// What came of telling that it is so.
    told: i32,
    met: usize,
    /// Where one service is enough: what there is to say of the other services, if none will do.
    held: Vec<CliError>,
    progress: Progress,
    watch: Option<Watch>,
    /// The supervisor has hung up.
    lost: bool,
}

impl Waiting<'_> {
    fn is_over(&self) -> bool {
        self.pending.is_empty() || (self.patience.any && self.met > 0)
    }

    /// Looks at the services that are still waited for; if a name is given, only at that one. One question is enough for
    /// many.
    fn look(&mut self, name: Option<&str>) {
        let of_many = name.is_none() && self.pending.len() > 1 && self.talk.api.is_some();
        let all = if of_many { self.talk.everything_now().ok() } else { None };
        for mut one in std::mem::take(&mut self.pending) {
            let concerned = name.is_none_or(|name| one.target.name == name);
            if !concerned || !self.is_settled(&mut one, all.as_deref()) {
                self.pending.push(one);
            }
        }
    }

    /// Whether there is nothing more to wait for with this one, if this is all that the supervisor knows.
    fn is_settled(&mut self, one: &mut Pending, all: Option<&[ServiceStatus]>) -> bool {
        let answer = match all {
            Some(all) if one.target.way == Via::Api => match of_all(all, &one.target.name) {
                // A logger that other services write to as well has a name of its own.
                Ok(None) if one.target.name.ends_with("/log") => self.talk.look_for(&one.target),
                answer => answer,
            },
            Some(_) | None => self.talk.look_for(&one.target),
        };
        let is_unknown = match &answer {
            Ok(now) => now.is_none(),
            Err(trouble) => trouble.code == exit::UNKNOWN,
        };
        match answer {
            Ok(Some(now)) => match one.condition.verdict(&now) {
                Verdict::NotYet => {
                    one.target.name = now.name; // that is how events call it
                    return false;
                }
                Verdict::Never if self.may_come() && now.state == ServiceState::Refused => return false,
                Verdict::Met => self.met(one, Some(&now)),
                Verdict::Never => self.fail(one, &now, exit::FAILED),
            },
            Ok(None) | Err(_) if is_unknown && matches!(one.condition, WaitCondition::Gone(_)) => self.met(one, None),
            Ok(None) | Err(_) if is_unknown && self.patience.for_arrival => return false,
            Ok(None) => self.fail_with(CliError::unknown(&one.target.name, &self.talk.directory)),
            Err(trouble) if trouble.lost.is_some() => {
                self.lost = true;
                return false;
            }
            Err(trouble) => self.fail_with(trouble),
        }
        true
    }

    /// There is no supervisor that could say that it refuses a service; one is waited for.
    fn may_come(&self) -> bool {
        self.patience.for_arrival && self.talk.api.is_none()
    }

    fn met(&mut self, one: &Pending, now: Option<&ServiceStatus>) {
        self.met += 1;
        if self.patience.verbose {
            self.progress.clear();
            let name = super::term::cut(&one.target.name, usize::MAX);
            let pid = now.map_or(String::new(), format::process);
            let state = now.filter(|_| !matches!(one.condition, WaitCondition::Gone(_))).map_or("gone", format::state);
            let told = super::term::report(&format!("{name}: {state}{pid}\n"));
            self.told = worse(self.told, told.err().unwrap_or(exit::OK));
        }
    }

    fn fail(&mut self, one: &Pending, now: &ServiceStatus, code: i32) {
        let (name, condition) = (super::term::cut(&one.target.name, usize::MAX), one.condition.name(now));
        let after = if code == exit::LATE { format!(" after {}", self.patience.passed()) } else { String::new() };
        let of_second = now.trouble.clone().filter(|_| matches!(one.condition, WaitCondition::Replaced(_)));
        let why = of_second.unwrap_or_else(|| stands(now));
        self.fail_with(CliError::new(code, format!("{name}: not {condition}{after}: {why}")));
    }

    fn fail_with(&mut self, trouble: CliError) {
        if self.patience.any {
            self.held.push(trouble);
        } else {
            self.progress.clear();
            self.code = worse(self.code, trouble.report());
        }
    }

    /// The time is over.
    fn give_up(&mut self) {
        for one in std::mem::take(&mut self.pending) {
            match self.talk.look(&one.target) {
                Ok(now) if one.condition.verdict(&now) == Verdict::Met => self.met(&one, Some(&now)),
                Ok(now) => self.fail(&one, &now, exit::LATE),
                Err(trouble) => self.fail_with(trouble),
            }
        }
    }

    /// Waits for something to happen. Returns to which service, if that is known.
    fn next(&mut self) -> Result<Option<String>, CliError> {
        if std::mem::take(&mut self.lost) {
            return self.again();
        }
        let names = self.pending.iter().map(|one| one.target.name.as_str());
        let until = self.progress.report(names).into_iter().chain(self.patience.deadline).min();
        let arrival = match self.arrival()? {
            Arriving::Here => return Ok(None),
            Arriving::Yet(arrival) => Some(arrival),
            Arriving::Unneeded => None,
        };
        let path = |one: &Pending| if let Via::Files(path) = &one.target.way { Some(path.clone()) } else { None };
        let paths: Vec<_> = self.pending.iter().filter_map(path).collect();
        if !paths.is_empty() {
            // What comes through the socket meanwhile is read when its services are looked at.
            let api = self.talk.api.as_ref().filter(|_| paths.len() < self.pending.len());
            let other = api.map(AsFd::as_fd).or(arrival.as_ref().map(AsFd::as_fd));
            return files::wait_for_change(&mut self.watch, &paths, other, until).map(|()| None);
        }
        match self.talk.api()?.event(Deadline::at(until)) {
            Ok(Some(event)) => Ok(event.name),
            Ok(None) => Ok(Some(String::new())), // the time has come, and no service has this name
            Err(error) if error.kind() == ErrorKind::Closed => self.again(),
            Err(error) => Err(CliError::failed(&error)),
        }
    }

    /// A supervisor that has come meanwhile knows more than the files do. Its socket is watched for before it is looked
    /// for.
    fn arrival(&mut self) -> Result<Arriving, CliError> {
        if !self.may_come() {
            return Ok(Arriving::Unneeded);
        }
        let arrival = Arrival::of(&self.talk.sockets())
            .map_err(|errno| CliError::new(exit::SYSTEM, format!("cannot wait: {}", errno.desc())))?;
        let mut talk = Connection::open_within(self.patience.deadline.map(|until| until.since(clock::now())));
        if talk.api.is_none() {
            return Ok(Arriving::Yet(arrival));
        }
        talk.insist(self.patience.deadline, Connection::subscribe)?;
        *self.talk = talk;
        for one in &mut self.pending {
            if let Ok(target) = self.talk.only(&one.target.name) {
                one.target = target;
            }
        }
        Ok(Arriving::Here)
    }

    fn again(&mut self) -> Result<Option<String>, CliError> {
        *self.talk = self.talk.again(self.patience.deadline)?;
        Ok(None)
    }
}

/// Whether a supervisor is to come.
enum Arriving {
    /// It has come.
    Here,
    /// It is told when it may have.
    Yet(Arrival),
    /// There is one, or none is waited for.
    Unneeded,
}

/// The state of a service, for a user who waits for another one.
pub fn stands(now: &ServiceStatus) -> String {
    if now.state == ServiceState::Skipped {
        return format::skipped(now);
    }
    format::amiss(now).unwrap_or_else(|| {
        let pid = format::process(now);
        let why = now.trouble.as_deref().filter(|_| format::is_troubled(now));
        let why = why.map_or(String::new(), |why| format!(": {why}"));
        format!("{}{pid}, want {}{why}", format::state(now), now.want)
    })
}

/// One line on a terminal, drawn over and over.
struct Progress {
    terminal: bool,
    start: Mono,
    next: Mono,
    drawn: bool,
}

impl Progress {
    fn new(patience: Patience) -> Progress {
        let next = patience.start.after(QUIET);
        Progress { terminal: std::io::stderr().is_terminal(), start: patience.start, next, drawn: false }
    }

    /// Says which services we wait for, if it is time. Returns when it will be.
    fn report<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Option<Mono> {
        if !self.terminal {
            return None;
        }
        let now = clock::now();
        if now >= self.next {
            let names: Vec<&str> = names.collect();
            let line =
                format!("waiting for {} ({})", names.join(" "), format::span(now.since(self.start).as_secs_f64()));
            self.draw(&super::term::cut(&line, 78));
            self.next = now.after(SECOND);
        }
        Some(self.next)
    }

    fn clear(&mut self) {
        if self.drawn {
            self.draw("");
            self.drawn = false;
        }
    }

    fn draw(&mut self, line: &str) {
        let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
        self.drawn = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::Word;
    use Verdict::{Met, Never, NotYet};

    fn service(state: ServiceState, want: Want, pid: i32) -> ServiceStatus {
        ServiceStatus {
            pid: Some(pid).filter(|pid| *pid > 0),
            since: 5.0,
            seconds: 1.0,
            ready: Some(state == ServiceState::Up),
            restarts: Some(0),
            ..ServiceStatus::new("web", state, want)
        }
    }

    #[test]
    fn up_and_down() {
        let up = service(ServiceState::Up, Want::Up, 7);
        let backoff = service(ServiceState::Backoff, Want::Up, 0);
        let verdicts = |condition: &WaitCondition| {
            let others = [
                service(ServiceState::Down, Want::Down, 0),
                service(ServiceState::Failed, Want::Up, 0),
                service(ServiceState::Stopping, Want::Down, 7),
            ];
            [&up, &backoff].into_iter().chain(&others).map(|now| condition.verdict(now)).collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&WaitCondition::Up), [Met, NotYet, NotYet, Never, NotYet]);
        assert_eq!(verdicts(&WaitCondition::Ready), [Met, NotYet, NotYet, Never, NotYet]);
        assert_eq!(verdicts(&WaitCondition::Down), [NotYet, NotYet, Met, NotYet, NotYet]);
        assert_eq!(verdicts(&WaitCondition::Done), [NotYet, NotYet, NotYet, Met, NotYet]);
        let starting = ServiceStatus { ready: Some(false), ..up.clone() };
        assert_eq!((WaitCondition::Up.verdict(&starting), WaitCondition::Ready.verdict(&starting)), (Met, NotYet));
        assert_eq!(
            WaitCondition::Down.verdict(&service(ServiceState::Down, Want::Up, 0)),
            NotYet,
            "it is about to be started"
        );
        let refused = service(ServiceState::Refused, Want::Up, 0);
        assert_eq!((WaitCondition::Down.verdict(&refused), WaitCondition::Done.verdict(&refused)), (Never, Never));
    }

    #[test]
    fn a_state_that_we_do_not_know_is_waited_out() {
        let frozen = ServiceStatus {
            state: Word::Other("frozen".into()),
            want: Word::Other("often".into()),
            ..service(ServiceState::Up, Want::Up, 7)
        };
        let conditions = [WaitCondition::Up, WaitCondition::Ready, WaitCondition::Down, WaitCondition::Done];
        assert_eq!(conditions.map(|condition| condition.verdict(&frozen)), [const { NotYet }; 4]);
        assert_eq!(stands(&frozen), "frozen (pid 7)");
    }

    #[test]
    fn what_is_done_is_as_it_was_ordered_and_not_up() {
        let done = service(ServiceState::Done, Want::Down, 0);
        let verdict = |condition: WaitCondition| condition.verdict(&done);
        let before = Before::of(&service(ServiceState::Up, Want::Up, 7));
        assert_eq!(
            [verdict(WaitCondition::Done), verdict(WaitCondition::Down), verdict(WaitCondition::Launched(before))],
            [Met, Met, Met]
        );
        assert_eq!([verdict(WaitCondition::Up), verdict(WaitCondition::Ready)], [Never, Never]);
        assert_eq!([verdict(WaitCondition::Restarted(before)), verdict(WaitCondition::Enabled(before))], [Met, Met]);
        assert_eq!(verdict(WaitCondition::Restarted(Before::of(&done))), NotYet, "that was before");
    }

    #[test]
    fn who_is_ready_by_its_check_alone_counts_until_that_is_run() {
        let unknown = ServiceStatus { ready: None, ..service(ServiceState::Up, Want::Up, 7) };
        assert_eq!(
            [WaitCondition::Ready, WaitCondition::Launched(Before::of(&unknown))]
                .map(|condition| condition.verdict(&unknown)),
            [Met, Met]
        );
    }

    #[test]
    fn what_could_not_be_executed_since_the_order_is_not_waited_for() {
        let mut broken = service(ServiceState::Backoff, Want::Up, 0);
        broken.exit = Some(crate::wire::api::ExitRecord::of(crate::machine::Exit::NOT_RUN));
        broken.trouble = Some("cannot start ./run".into());
        let earlier = Before::of(&ServiceStatus { since: 4.0, ..broken.clone() });
        let (same, conditions) = (
            Before::of(&broken),
            [WaitCondition::Launched, WaitCondition::Restarted, WaitCondition::Started, WaitCondition::Enabled],
        );
        assert!(conditions.iter().all(|condition| condition(earlier).verdict(&broken) == Never));
        assert!(conditions.iter().all(|condition| condition(same).verdict(&broken) == NotYet), "it was so before");
        assert_eq!(WaitCondition::Ready.verdict(&broken), NotYet, "whoever only waits hopes for the next time");
    }

    #[test]
    fn what_is_told_by_files_is_done_when_it_is_down_and_stays_so() {
        let by_files = |want| ServiceStatus { restarts: None, ..service(ServiceState::Down, want, 0) };
        let verdicts = [Want::Down, Want::Once, Want::Up].map(|want| WaitCondition::Done.verdict(&by_files(want)));
        assert_eq!(verdicts, [Met, Met, NotYet]);
        assert_eq!(
            WaitCondition::Done.verdict(&service(ServiceState::Down, Want::Once, 0)),
            NotYet,
            "the supervisor knows that it has not run"
        );
    }

    #[test]
    fn another_life_is_another_process_or_a_later_start() {
        let up = service(ServiceState::Up, Want::Up, 7);
        let condition = WaitCondition::Restarted(Before::of(&up));
        assert_eq!(condition.verdict(&up), NotYet);
        assert_eq!(condition.verdict(&service(ServiceState::Stopping, Want::Up, 7)), NotYet);
        assert_eq!(condition.verdict(&service(ServiceState::Up, Want::Up, 8)), Met);
        assert_eq!(condition.verdict(&ServiceStatus { since: 6.0, ..up.clone() }), Met, "a pid may come again");
        assert_eq!(condition.verdict(&ServiceStatus { ready: Some(false), since: 6.0, ..up.clone() }), NotYet);
        assert_eq!(WaitCondition::Restarted(Before::of(&service(ServiceState::Down, Want::Down, 0))).verdict(&up), Met);
        let lazy = ServiceStatus { ready: Some(true), ..service(ServiceState::Waiting, Want::Up, 0) };
        assert_eq!(WaitCondition::Restarted(Before::of(&lazy)).verdict(&lazy), Met, "it waits for a caller");
        assert_eq!(WaitCondition::Ended(Before::of(&up)).verdict(&up), NotYet);
        assert_eq!(WaitCondition::Ended(Before::of(&up)).verdict(&service(ServiceState::Backoff, Want::Up, 0)), Met);
    }

    #[test]
    fn a_start_counts_also_when_it_is_over() {
        let condition = WaitCondition::Started(Before::of(&service(ServiceState::Down, Want::Down, 0)));
        assert_eq!(condition.verdict(&service(ServiceState::Down, Want::Once, 0)), NotYet);
        assert_eq!(condition.verdict(&ServiceStatus { since: 6.0, ..service(ServiceState::Down, Want::Once, 0) }), Met);
        assert_eq!(condition.verdict(&service(ServiceState::Up, Want::Once, 7)), Met);
        let slow = ServiceStatus { since: 6.0, ..service(ServiceState::Starting, Want::Once, 7) };
        assert_eq!(condition.verdict(&slow), NotYet, "it has a process, and no program yet");
    }

    #[test]
    fn who_is_to_leave_is_gone_or_taken_in_anew() {
        let up = service(ServiceState::Up, Want::Up, 7);
        let condition = WaitCondition::Gone(Before::of(&up));
        assert_eq!(
            condition.verdict(&ServiceStatus { leaving: true, ..service(ServiceState::Stopping, Want::Down, 7) }),
            NotYet
        );
        assert_eq!(
            condition.verdict(&ServiceStatus { leaving: true, ..service(ServiceState::Down, Want::Down, 0) }),
            Met
        );
        assert_eq!(condition.verdict(&service(ServiceState::Up, Want::Up, 8)), Met);
        assert_eq!(
            (condition.verdict(&up), condition.verdict(&service(ServiceState::Refused, Want::Up, 0))),
            (NotYet, Met)
        );
    }
}
