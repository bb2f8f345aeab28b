//! Which bytes may be written together, given what was seen last.
//!
//! Two kinds of write are not played. One is a *race*: the outcome depends on whether the kernel or the supervisor is
//! faster, in the real runsv as well, so two runs of one program may differ. The other is a *difference*: runsv does what
//! its own users call a bug, and onit does not. Nothing else is left out, and what is compared is never softened.
//!
//! The other rows marked F in the interface document, §9, cannot be hit:
//!
//! | row | what runsv does | why no history meets it |
//! |---|---|---|
//! | 1 | is deaf for the second of its throttle | every step begins after it |
//! | 10 | lets `finish` run for ever | `onit runsv` keeps runsv's manners |
//! | 15 | a hook killed by a signal counts as handled; a hook holds everything up | our hooks end by themselves, and at once |
//! | 17 | dies of INT, HUP, QUIT, USR | only TERM is sent to a supervisor |
//! | 20 | on exit a crashed logger is not restarted | every step begins with a logger at rest |
//! | 21 | waits for ever for the lock of a logger | nobody else holds it |
//! | 54 | rewrites its files though nothing changed | contents and time stamps are compared, not inodes |

use super::play::{Half, Seen, Step};
use super::setup::{Finish, Hears, Hook, Run, Setup};

/// Where onit is different on purpose: the rows marked F in the interface document, §9, that a sequence of ours could hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Row 11.
    KillDuringFinish,
    /// Row 12.
    StartBesideTheKilled,
    /// Row 12, with a hook.
    KillHookThatHandles,
    /// Row 13.
    ExitThenKill,
    /// Row 14.
    OnceDuringFinish,
    /// Row 19.
    LoggerThatDoesNotEnd,
}

impl Difference {
    /// All of them, to see that each is still met.
    pub const ALL: [Self; 6] = [
        Self::KillDuringFinish,
        Self::StartBesideTheKilled,
        Self::KillHookThatHandles,
        Self::ExitThenKill,
        Self::OnceDuringFinish,
        Self::LoggerThatDoesNotEnd,
    ];

    /// What runsv does, and what onit does instead.
    pub fn reason(self) -> &'static str {
        match self {
            Self::KillDuringFinish => {
                "runsv: `k` during finish runs finish a second time, with the first one's end; onit kills the finish"
            }
            Self::StartBesideTheKilled => {
                "runsv: `u`, `o` or `x` after `k`, before the death is seen, forgets the old process; onit waits for it"
            }
            Self::KillHookThatHandles => {
                "runsv: `k` handled by its hook counts as a death, the next `u` starts a second copy; onit leaves the state alone"
            }
            Self::ExitThenKill => {
                "runsv: `k` while wanted to exit makes runsv leave without reaping or finish; onit finishes first"
            }
            Self::OnceDuringFinish => "runsv: `o` during finish is lost; onit starts once more after it",
            Self::LoggerThatDoesNotEnd => "runsv: `x` waits for ever for a logger that is stopped; onit continues it",
        }
    }

    /// The shortest history that shows it at its end, and what is different there; `None` where the outcome in runsv itself
    /// is a race.
    pub fn example(self) -> Option<(Setup, Vec<Step>, &'static str)> {
        let write = |bytes: &[u8]| Step::Write(Target::Main, bytes.to_vec());
        let plain = Setup {
            run: Run::Steady,
            hears: Hears::Nothing,
            finish: Finish::None,
            hooks: Vec::new(),
            down: false,
            log: false,
            log_down: false,
        };
        Some(match self {
            Self::KillDuringFinish => {
                (Setup { finish: Finish::Held, ..plain }, vec![Step::Exit(3), write(b"k")], "phase")
            }
            Self::StartBesideTheKilled => return None,
            Self::KillHookThatHandles => {
                (Setup { hooks: vec![(b'k', Hook::Handles)], ..plain }, vec![write(b"k"), write(b"u")], "trace")
            }
            Self::ExitThenKill => {
                let setup = Setup { hears: Hears::Everything, finish: Finish::Quick(0), ..plain };
                (setup, vec![write(b"x"), write(b"k")], "stale pid")
            }
            Self::OnceDuringFinish => {
                (Setup { finish: Finish::Held, ..plain }, vec![write(b"d"), write(b"o"), Step::Exit(0)], "phase")
            }
            Self::LoggerThatDoesNotEnd => {
                let steps = vec![Step::Write(Target::Log, b"p".to_vec()), write(b"x")];
                (Setup { log: true, ..plain }, steps, "ended")
            }
        })
    }
}

/// Why a byte is not played here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Race(&'static str),
    Different(Difference),
}

/// Whose `supervise/control` is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Main,
    Log,
}

/// What is known of the process after the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Down,
    /// Started by a byte of this very write: how far it came is not known.
    Starting,
    Run,
    Finish,
    /// Its end is on the way. The byte after this one still meets the old process or none at all, never a new one: runsv
    /// takes one byte between a reaping and the next start.
    Dying,
    /// There may be a new process, or not yet.
    Unknown,
}

const HUP: u8 = 1;
const INT: u8 = 2;
const QUIT: u8 = 3;
const USR1: u8 = 10;
const USR2: u8 = 12;
const ALRM: u8 = 14;
const TERM: u8 = 15;
const STOP: u8 = 19;

/// The signal of a control byte that does nothing else.
pub fn plain_signal(byte: u8) -> Option<u8> {
    Some(match byte {
        b'h' => HUP,
        b'i' => INT,
        b'q' => QUIT,
        b'1' => USR1,
        b'2' => USR2,
        b'a' => ALRM,
        _ => return None,
    })
}

/// Thinks a write through, byte by byte.
pub struct Foresight<'a> {
    setup: &'a Setup,
    target: Target,
    logger_is_stopped: bool,
    main_wants_exit: bool,
    life: Life,
    want: u8,
    /// The process does not run on before CONT.
    stopped: bool,
    /// A deadly signal waits for that CONT.
    doomed: bool,
    /// STOP or CONT was sent in this write: whether it has arrived when the next signal does is not known.
    just_stopped_or_continued: bool,
    /// A signal of this write is being written down.
    heard: bool,
    /// `k` was sent and the death not seen: runsv believes that the service is down already.
    killed: bool,
    /// A signal that is still to be taken may be overtaken by the next; most deadly ones decide when they are sent.
    overtakable: bool,
    /// Signals to be written down wait for CONT.
    waiting: bool,
    /// Started by this write.
    fresh: bool,
    over: bool,
}

type Admission = Result<(), Refusal>;

impl<'a> Foresight<'a> {
    /// Begins with what was seen when all was quiet.
    pub fn new(setup: &'a Setup, target: Target, seen: &Seen) -> Self {
        let stopped = |half: &Half| half.process.is_some_and(|p| p.stopped);
        let half = if target == Target::Log { seen.log.as_ref().expect("a logger") } else { &seen.main };
        let life = match half.phase {
            0 => Life::Down,
            1 => Life::Run,
            _ => Life::Finish,
        };
        let pending = half.process.map_or(0, |p| p.pending);
        let mut this = Self {
            setup,
            target,
            logger_is_stopped: seen.log.as_ref().is_some_and(stopped),
            main_wants_exit: seen.main.wants_exit(),
            life,
            want: if half.wants_exit() { b'x' } else { half.want },
            stopped: stopped(half),
            doomed: false,
            just_stopped_or_continued: false,
            heard: false,
            killed: false,
            overtakable: false,
            waiting: false,
            fresh: false,
            over: false,
        };
        // A second STOP stays pending until CONT takes it away.
        let is_pending = |signal: &u8| *signal != STOP && pending & (1 << (signal - 1)) != 0;
        this.doomed = (1..=64).filter(is_pending).any(|signal| this.is_deadly(signal));
        this.waiting = (1..=64).filter(is_pending).any(|signal| !this.is_deadly(signal));
        this
    }

    /// May this byte follow? If so it is taken into account.
    pub fn admit(&mut self, byte: u8) -> Admission {
        if self.over {
            return Err(Refusal::Race("after x the bytes may stay in the FIFO, unread"));
        }
        if self.life == Life::Unknown && is_command(byte) {
            return Err(Refusal::Race("the byte would meet the old process, none, or the next one"));
        }
        let before = self.life;
        match byte {
            b'u' | b'o' => self.start(byte),
            b'd' | b'x' | b't' => self.stop(byte),
            b'k' => self.kill(),
            b'p' => self.pause(),
            b'c' => self.resume(),
            _ if plain_signal(byte).is_some() => self.signal(byte),
            _ => Ok(()),
        }?;
        if before == Life::Dying && self.life == Life::Dying && self.want == b'u' {
            self.life = Life::Unknown;
        }
        self.over |= byte == b'x' && self.target == Target::Main;
        Ok(())
    }

    fn start(&mut self, byte: u8) -> Admission {
        if byte == b'u' && !self.lasts() {
            return Err(Refusal::Race("a service that ends at once and is wanted up never comes to rest"));
        }
        if self.killed {
            return Err(Refusal::Different(Difference::StartBesideTheKilled));
        }
        match (byte, self.life) {
            (b'o', Life::Finish) => return Err(Refusal::Different(Difference::OnceDuringFinish)),
            (b'o', Life::Dying) => return Err(Refusal::Race("once, or nothing, if the service is not seen dead yet")),
            (_, Life::Down) if !self.lasts() => self.life = Life::Unknown,
            (_, Life::Down) => self.life = Life::Starting,
            (_, Life::Dying) => self.life = Life::Unknown,
            _ => {}
        }
        self.want = if byte == b'u' { b'u' } else { b'd' };
        Ok(())
    }

    fn stop(&mut self, byte: u8) -> Admission {
        if byte == b'x' && self.target == Target::Log {
            return Ok(());
        }
        if byte == b'x' && self.logger_is_stopped {
            return Err(Refusal::Different(Difference::LoggerThatDoesNotEnd));
        }
        if byte == b'x' && self.killed {
            return Err(Refusal::Different(Difference::ExitThenKill));
        }
        self.meets_a_process(&[b't', byte, self.want])?;
        self.overtakes_none()?;
        let want = if byte == b't' { self.want } else { byte };
        if self.life == Life::Run {
            let goes_on = want != b'u';
            if !self.is_handled(b't') {
                self.send(TERM, goes_on)?;
            }
            if goes_on {
                self.go_on();
            }
        }
        self.want = want;
        Ok(())
    }

    fn kill(&mut self) -> Admission {
        match self.life {
            Life::Finish => return Err(Refusal::Different(Difference::KillDuringFinish)),
            Life::Dying if self.has_finish() => return Err(Refusal::Different(Difference::KillDuringFinish)),
            Life::Down => return Ok(()),
            _ => {}
        }
        if self.is_handled(b'k') {
            return Err(Refusal::Different(Difference::KillHookThatHandles));
        }
        if self.want == b'x' {
            return Err(Refusal::Different(Difference::ExitThenKill));
        }
        self.meets_a_process(b"k")?;
        self.nothing_is_being_written_down()?;
        self.life = Life::Dying;
        self.killed = true;
        Ok(())
    }

    fn pause(&mut self) -> Admission {
        if self.target == Target::Log && self.main_wants_exit {
            return Err(Refusal::Different(Difference::LoggerThatDoesNotEnd));
        }
        self.meets_a_process(b"p")?;
        if self.life == Life::Dying {
            return Err(Refusal::Race("the flag is cleared by the next start, which may come before or after"));
        }
        if self.life == Life::Run && !self.is_handled(b'p') {
            if self.just_stopped_or_continued || self.heard {
                return Err(Refusal::Race(
                    "signals that wait while a process is stopped are those it had not taken yet",
                ));
            }
            self.just_stopped_or_continued |= !self.stopped;
            self.stopped = true;
        }
        Ok(())
    }

    fn resume(&mut self) -> Admission {
        self.meets_a_process(b"c")?;
        if self.life == Life::Run && !self.is_handled(b'c') {
            self.go_on();
        }
        Ok(())
    }

    fn signal(&mut self, byte: u8) -> Admission {
        self.meets_a_process(&[byte])?;
        self.overtakes_none()?;
        if self.life == Life::Run && !self.is_handled(byte) {
            self.send(plain_signal(byte).expect("a signal byte"), false)?;
        }
        Ok(())
    }

    /// For bytes that do something to a process, and may run one of these hooks for it.
    fn meets_a_process(&mut self, hooks: &[u8]) -> Admission {
        let hooked = self.target == Target::Main && hooks.iter().any(|&byte| self.setup.hook(byte).is_some());
        if hooked && self.heard {
            return Err(Refusal::Race("the hook and the trap of the signal before write at the same time"));
        }
        match self.life {
            Life::Starting if self.target == Target::Main && self.setup.run == Run::Silent => {
                self.life = Life::Run;
                self.fresh = true;
            }
            Life::Starting => return Err(Refusal::Race("the new process may not have come to its first word")),
            Life::Dying if hooked => return Err(Refusal::Race("the hook runs only if the death is not seen yet")),
            _ => {}
        }
        Ok(())
    }

    /// A signal to a process that runs.
    fn send(&mut self, signal: u8, followed_by_cont: bool) -> Admission {
        if self.just_stopped_or_continued && !(followed_by_cont && self.stopped && self.is_deadly(signal)) {
            return Err(Refusal::Race("it may or may not have stopped, or gone on, when the signal comes"));
        }
        if self.is_deadly(signal) {
            self.nothing_is_being_written_down()?;
            self.doomed |= self.stopped;
            if !self.stopped {
                self.life = Life::Dying;
                // The process itself decides about a core dump (QUIT); the shell catches INT before it dies of it; and a
                // new process blocks TERM for a moment.
                self.overtakable = matches!(signal, INT | QUIT) || self.fresh;
            }
            return Ok(());
        }
        if self.stopped {
            self.waiting = true;
            return Ok(());
        }
        if self.heard {
            return Err(Refusal::Race("a shell may miss a signal that comes just before it waits again"));
        }
        self.heard = true;
        Ok(())
    }

    fn overtakes_none(&self) -> Admission {
        if self.life == Life::Dying && self.overtakable && self.has_finish() {
            return Err(Refusal::Race("finish is told which signal it was: this one or the one before"));
        }
        Ok(())
    }

    fn nothing_is_being_written_down(&self) -> Admission {
        if self.heard {
            return Err(Refusal::Race("the process may die before it has written the signal before"));
        }
        Ok(())
    }

    /// CONT.
    fn go_on(&mut self) {
        if self.life != Life::Run {
            return;
        }
        self.just_stopped_or_continued |= self.stopped;
        self.stopped = false;
        if std::mem::take(&mut self.waiting) {
            self.heard = true;
        }
        if std::mem::take(&mut self.doomed) {
            self.life = Life::Dying;
            self.overtakable = true;
        }
    }

    fn is_deadly(&self, signal: u8) -> bool {
        let known = [HUP, INT, QUIT, USR1, USR2, ALRM].contains(&signal);
        match (self.target, self.life, self.setup.hears) {
            (Target::Log, ..) | (_, Life::Finish, _) | (_, _, Hears::Nothing) => true,
            (_, _, Hears::AllButTerm) => !known,
            (_, _, Hears::Everything) => !known && signal != TERM,
        }
    }

    fn is_handled(&self, byte: u8) -> bool {
        self.target == Target::Main && self.setup.is_handled(byte)
    }

    fn lasts(&self) -> bool {
        self.target == Target::Log || self.setup.lasts()
    }

    fn has_finish(&self) -> bool {
        self.target == Target::Main && self.setup.finish != Finish::None
    }
}

/// Bytes that runsv knows; the others it drops.
pub fn is_command(byte: u8) -> bool {
    b"udoxtkpchaiq12".contains(&byte)
}
