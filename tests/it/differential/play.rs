//! One supervisor with one service: doing a step, waiting until nothing moves any more, and looking.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::proc::{self, Glimpse};
use crate::svdir::{Ending, InTurn as _, SOON, Service, Status, Supervisor, SvDir, UnderTest, poll_until, send};

use super::foresight::Target;
use super::setup::Setup;

/// What may happen to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These bytes, in one write.
    Write(Target, Vec<u8>),
    /// This signal, straight to the process and not through its supervisor.
    Kill(Target, i32),
    /// The process is told to exit with this code.
    Exit(u8),
    /// TERM to the supervisor.
    Term,
    /// The supervisor ended: another is started in the same directory.
    Again,
    /// So many tenths of a second pass.
    Wait(u64),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(Target::Main, bytes) => write!(f, "control: {}", bytes.escape_ascii()),
            Self::Write(Target::Log, bytes) => write!(f, "log control: {}", bytes.escape_ascii()),
            Self::Kill(target, signal) => write!(f, "the {target:?} process gets signal {signal}"),
            Self::Exit(code) => write!(f, "the process exits {code}"),
            Self::Term => write!(f, "the supervisor gets TERM"),
            Self::Again => write!(f, "the supervisor is started again"),
            Self::Wait(tenths) => write!(f, "{}.{} seconds pass", tenths / 10, tenths % 10),
        }
    }
}

/// The process of a service, as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub stopped: bool,
    /// Signals that wait for CONT; bit N-1 for signal N.
    pub pending: u64,
}

/// What `supervise/` says, pids and times reduced to what must be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Half {
    pub stat: String,
    pub phase: u8,
    pub want: u8,
    pub paused: u8,
    pub got_term: u8,
    pub length: usize,
    /// Whether the time stamp is another than after the step before.
    pub stamp_moved: bool,
    /// `supervise/pid` is empty, or is the record's pid, or is wrong.
    pub pid_file: &'static str,
    /// `None` when the record has no pid; a pid that does not exist is an error of its own.
    pub process: Option<Process>,
    pub stale_pid: bool,
}

impl Half {
    /// Only `supervise/stat` tells exit from down.
    pub fn wants_exit(&self) -> bool {
        self.stat.contains("want exit")
    }
}

/// Everything that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How the supervisor ended; `None` while it runs.
    pub ended: Option<Ending>,
    pub main: Half,
    pub log: Option<Half>,
    /// What `run`, `finish` and the hooks wrote down, in its order.
    pub trace: String,
    /// What the hooks wrote down that run beside a dying service.
    pub after: String,
    /// What the logger got.
    pub log_trace: String,
    pub stderr: String,
    pub stdout: String,
    /// It did not come to rest. Nothing else is worth comparing then, but that is.
    pub restless: bool,
    /// Children that live on without their supervisor.
    pub orphans: usize,
}

impl Half {
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("stat", format!("{:?}", self.stat.trim_end())),
            ("phase", self.phase.to_string()),
            ("want", (self.want as char).to_string()),
            ("paused", self.paused.to_string()),
            ("got TERM", self.got_term.to_string()),
            ("record length", self.length.to_string()),
            ("time stamp moved", self.stamp_moved.to_string()),
            ("pid file", self.pid_file.to_string()),
            ("process", format!("{:?}", self.process)),
            ("stale pid", self.stale_pid.to_string()),
        ]
    }
}

impl Seen {
    /// Everything, by name: what differs is named in messages.
    fn fields(&self) -> Vec<(String, String)> {
        let mut fields = vec![
            ("ended".to_string(), format!("{:?}", self.ended)),
            ("restless".to_string(), self.restless.to_string()),
            ("orphans".to_string(), self.orphans.to_string()),
        ];
        fields.extend(self.main.fields().into_iter().map(|(name, value)| (name.to_string(), value)));
        let log = self.log.iter().flat_map(Half::fields);
        fields.extend(log.map(|(name, value)| (format!("log {name}"), value)));
        for (name, text) in
            [("trace", &self.trace), ("trace of d and x hooks", &self.after), ("logged", &self.log_trace)]
        {
            fields.push((name.to_string(), format!("{text:?}")));
        }
        fields.push(("stdout".to_string(), format!("{:?}", self.stdout)));
        fields.push(("stderr".to_string(), format!("{:?}", self.stderr)));
        fields
    }

    /// The names and both values of what is not equal.
    pub fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let pairs = self.fields().into_iter().zip(other.fields());
        pairs.filter(|(a, b)| a != b).map(|((name, a), (_, b))| (name, a, b)).collect()
    }
}

/// One side of the contest.
pub struct Side<'a> {
    sv: &'a SvDir,
    which: UnderTest,
    place: PathBuf,
    service: Service,
    has_log: bool,
    supervisors: Vec<Supervisor>,
    stamps: [Option<[u8; 12]>; 2],
    /// The supervisor's children when all was quiet last.
    children: Vec<u32>,
}

impl<'a> Side<'a> {
    /// Builds the service at `place/web` and starts its supervisor there, with the relative name `web`: so messages are
    /// the same on both sides.
    pub fn new(sv: &'a SvDir, which: UnderTest, place: PathBuf, setup: &Setup) -> Self {
        let service = setup.build(sv, &place.join("web"));
        let mut this = Self {
            sv,
            which,
            place,
            service,
            has_log: setup.log,
            supervisors: Vec::new(),
            stamps: [None; 2],
            children: Vec::new(),
        };
        this.supervise();
        this
    }

    fn supervise(&mut self) {
        let mut command = self.which.program();
        command.arg("web").current_dir(&self.place);
        let supervisor = self.sv.spawn(command);
        let started = poll_until(SOON, || (self.service.is_supervised() || supervisor.ended().is_some()).then_some(()));
        assert!(started.is_some(), "{:?} does not start: {}", self.which, supervisor.stderr());
        self.supervisors.push(supervisor);
    }

    /// Does one step. The bytes go to both sides, so the caller has looked whether the step is possible.
    pub fn play(&mut self, step: &Step) {
        match step {
            Step::Write(target, bytes) => drop(self.half(*target).control(bytes)),
            Step::Kill(target, signal) => {
                if let Some(pid) = self.half(*target).status().and_then(|status| status.pid()) {
                    send_number(pid, *signal);
                }
            }
            Step::Exit(code) => self.tell_to_exit(*code),
            Step::Term => self.supervisor().signal(Signal::SIGTERM),
            Step::Again => self.supervise(),
            // The same time for both: not for one of them alone.
            Step::Wait(_) => {}
        }
    }

    /// Waits until nothing moves, and looks.
    pub fn settle(&mut self) -> Seen {
        let mut before = None;
        let settled = poll_until(SOON, || {
            let now = self.stillness()?;
            let still = before.as_ref() == Some(&now);
            before = Some(now);
            still.then_some(())
        });
        let running = before.as_deref().and_then(<[Glimpse]>::split_first);
        if let Some((_, children)) = running {
            self.children = children.iter().map(|child| child.pid).collect();
        }
        self.look(settled.is_none())
    }

    /// Kills what is left, so that the next sequence has the machine for itself.
    pub fn end(self) {
        // From the supervisor down: it must not see its service die and start it again.
        for supervisor in &self.supervisors {
            if supervisor.ended().is_none() {
                proc::tree(supervisor.pid()).iter().for_each(|&pid| send(pid, Signal::SIGKILL));
            }
        }
    }

    fn supervisor(&self) -> &Supervisor {
        self.supervisors.last().expect("started in new()")
    }

    fn half(&self, target: Target) -> Service {
        if target == Target::Log { self.service.logger() } else { self.service.clone() }
    }

    fn tell_to_exit(&self, code: u8) {
        let phase = self.service.status().and_then(|status| status.raw.get(19).copied());
        let fifo = self.service.path().join(if phase == Some(2) { "finish.told" } else { "run.told" });
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(fifo);
        drop(file.and_then(|mut file| writeln!(file, "{code}")));
    }

    /// Everything that would change if anything were going on; `None` when something obviously is.
    fn stillness(&self) -> Option<Vec<Glimpse>> {
        let supervisor = self.supervisor();
        if supervisor.ended().is_some() {
            return Some(Vec::new());
        }
        self.targets().into_iter().all(|target| is_at_rest(&self.half(target))).then_some(())?;
        let glimpses: Vec<Glimpse> =
            proc::tree(supervisor.pid()).into_iter().map(Glimpse::of).collect::<Option<_>>()?;
        let (own, services) = glimpses.split_first()?;
        let waits = proc::syscall(own.pid).is_some_and(|call| WAITING.contains(&call));
        let idle = waits && own.state == 'S' && own.pending == 0 && services.iter().all(is_idle);
        idle.then_some(glimpses)
    }

    fn targets(&self) -> Vec<Target> {
        if self.has_log { vec![Target::Main, Target::Log] } else { vec![Target::Main] }
    }

    fn look(&mut self, restless: bool) -> Seen {
        let join = |text: fn(&Supervisor) -> String| self.supervisors.iter().map(text).collect::<String>();
        let (stdout, stderr) = (join(Supervisor::stdout), join(Supervisor::stderr));
        let text = |name: &str| self.service.text(name);
        let (trace, after, log_trace) = (text("trace"), text("after"), text("log/trace"));
        let main = self.look_at(Target::Main);
        let log = self.has_log.then(|| self.look_at(Target::Log));
        let ended = self.supervisor().ended().map(Ending::from);
        let orphans =
            if ended.is_some() { self.children.iter().filter(|&&pid| proc::is_alive(pid)).count() } else { 0 };
        Seen { ended, orphans, main, log, trace, after, log_trace, stderr, stdout, restless }
    }

    fn look_at(&mut self, target: Target) -> Half {
        let status = self.half(target).status();
        let last = &mut self.stamps[usize::from(target == Target::Log)];
        let stamp = status.as_ref().map(Status::stamp);
        let stamp_moved = std::mem::replace(last, stamp) != stamp;
        let pid = status.as_ref().and_then(Status::pid);
        let seen = pid.and_then(Glimpse::of).filter(|p| p.state != 'Z');
        let pid_text = status.as_ref().map(|s| s.pid_text.clone()).unwrap_or_default();
        let byte = |at: usize| status.as_ref().and_then(|s| s.raw.get(at).copied()).unwrap_or(255);
        Half {
            stat: status.as_ref().map(|s| s.stat.clone()).unwrap_or_default(),
            phase: byte(19),
            want: byte(17),
            paused: byte(16),
            got_term: byte(18),
            length: status.as_ref().map_or(0, |s| s.raw.len()),
            stamp_moved,
            pid_file: match pid {
                None if pid_text.is_empty() => "empty",
                Some(pid) if pid_text == format!("{pid}\n") => "the pid",
                _ => "wrong",
            },
            stale_pid: pid.is_some() && seen.is_none(),
            process: seen.map(|p| Process { stopped: p.is_stopped(), pending: p.pending }),
        }
    }
}

/// No byte waits in the FIFO, and no restart is due: who is down and wanted up is in its pause. The pause after a death is
/// over as well: runsv sleeps through it, so that is when it hears the next byte, and onit has the next start wait for it.
fn is_at_rest(service: &Service) -> bool {
    let Some(status) = service.status() else { return false };
    let restart_due = status.pid().is_none() && (status.want() == b'u' || age(&status) < PAUSE);
    !restart_due && fifo_is_empty(&service.path().join("supervise/control"))
}

/// The second between a death and the next start, and a little.
const PAUSE: Duration = Duration::from_millis(1050);

fn age(status: &Status) -> Duration {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.saturating_sub(status.since_1970())
}

/// Opened for reading only for the moment of the look: a reader that stays would keep unread bytes for the next supervisor.
fn fifo_is_empty(path: &Path) -> bool {
    let Ok(file) = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) else { return false };
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && !fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN))
}

/// Asleep with nothing to wake it: what is pending is blocked or not heard. A stopped process keeps its signals.
fn is_idle(process: &Glimpse) -> bool {
    let wakes = bit(Signal::SIGKILL) | bit(Signal::SIGCONT);
    match process.state {
        'S' => process.pending & !process.blocked & !process.ignored == 0,
        'T' => process.pending & wakes == 0,
        _ => false,
    }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as u32 - 1)
}

/// The system calls in which a supervisor waits for everything at once. runsv also sleeps (the throttle) and waits for
/// one process (a hook); then it is not at rest.
const WAITING: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
];

/// A signal by number: nix has no name for the real-time ones.
fn send_number(pid: u32, number: i32) {
    match Signal::try_from(number) {
        Ok(signal) => send(pid, signal),
        Err(_) => {
            drop(std::process::Command::new("sh").arg("-c").arg(format!("kill -{number} {pid}")).status_in_turn())
        }
    }
}
