//! The services that are played with: scripts that leave a trace and wait for the test without a timer.

use std::path::Path;

use crate::svdir::{Service, SvDir};

use super::rng::Rng;

/// What the signals of the control bytes do to `run`. KILL and STOP are not for it to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// Every signal kills.
    Nothing,
    /// Every signal is written down, TERM kills.
    AllButTerm,
    /// Every signal is written down.
    Everything,
}

/// What `run` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Writes down that it started, then waits until it is told the code to exit with.
    Steady,
    /// The same without a word at its start: so it does not matter how far it came when it is killed.
    Silent,
    /// Exits with this code at once.
    Ends(u8),
    /// Is not there.
    Missing,
    /// Is not executable.
    Plain,
}

/// What `finish` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    None,
    /// Writes down its arguments and exits with this code.
    Quick(u8),
    /// The same, but only when it is told to.
    Held,
    /// Not executable: tried, and counts as run.
    Plain,
}

/// A `control/X` script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Exits 0: the signal is not to be sent.
    Handles,
    /// Exits 1: the signal is to be sent as well.
    Declines,
    /// Not executable: there is no hook.
    Plain,
}

/// A service directory as a value: equal setups make equal directories.
#[derive(Clone, Debug)]
pub struct Setup {
    pub run: Run,
    pub hears: Hears,
    pub finish: Finish,
    pub hooks: Vec<(u8, Hook)>,
    pub down: bool,
    pub log: bool,
    pub log_down: bool,
}

impl Setup {
    /// Any setup: the plain ones are the most frequent, as in life.
    pub fn any(rng: &mut Rng) -> Self {
        let run = match rng.below(20) {
            0 => Run::Missing,
            1 => Run::Plain,
            2 => Run::Ends(rng.pick(&[0, 1, 100, 111, 255])),
            3..=9 => Run::Silent,
            _ => Run::Steady,
        };
        let hears = if run == Run::Steady {
            rng.pick(&[Hears::Nothing, Hears::AllButTerm, Hears::Everything])
        } else {
            Hears::Nothing
        };
        let finish = match rng.below(10) {
            0..=3 => Finish::None,
            4..=6 => Finish::Quick(rng.pick(&[0, 1, 125])),
            7..=8 => Finish::Held,
            _ => Finish::Plain,
        };
        let hooks = if rng.chance(2, 5) { some_hooks(rng) } else { Vec::new() };
        let lasting = matches!(run, Run::Steady | Run::Silent);
        let log = rng.chance(2, 5);
        Self { run, hears, finish, hooks, down: !lasting || rng.chance(1, 5), log, log_down: log && rng.chance(1, 5) }
    }

    /// Whether `run` stays until it is killed or told to end.
    pub fn lasts(&self) -> bool {
        matches!(self.run, Run::Steady | Run::Silent)
    }

    /// The hook for this byte, if the supervisor is to run one.
    pub fn hook(&self, byte: u8) -> Option<Hook> {
        let found = self.hooks.iter().find(|&&(of, _)| of == byte);
        found.map(|&(_, hook)| hook).filter(|&hook| hook != Hook::Plain)
    }

    /// Whether this byte's hook keeps the supervisor from sending the signal.
    pub fn is_handled(&self, byte: u8) -> bool {
        self.hook(byte) == Some(Hook::Handles)
    }

    /// Makes the directory.
    pub fn build(&self, sv: &SvDir, dir: &Path) -> Service {
        let mut service = sv.service_at(dir).fifo("run.told").fifo("finish.told");
        service = match self.run {
            Run::Steady => {
                service.run(&format!("{}\necho run >>trace; echo run\n{}", self.traps(), wait_for_orders("run.told")))
            }
            Run::Silent => service.run(&wait_for_orders("run.told")),
            Run::Ends(code) => service.run(&format!("echo run >>trace; echo run\nexit {code}")),
            Run::Missing => service,
            Run::Plain => service.file("run", "#!/bin/sh\n"),
        };
        let finish = "echo \"finish $*\" >>trace; echo finish";
        service = match self.finish {
            Finish::None => service,
            Finish::Quick(code) => service.finish(&format!("{finish}\nexit {code}")),
            Finish::Held => service.finish(&format!("{finish}\n{}", wait_for_orders("finish.told"))),
            Finish::Plain => service.file("finish", "#!/bin/sh\n"),
        };
        for &(byte, hook) in &self.hooks {
            let path = format!("control/{}", byte as char);
            let body = hook_body(byte, hook);
            service = if hook == Hook::Plain { service.file(&path, &body) } else { service.script(&path, &body) };
        }
        if self.down {
            service = service.down();
        }
        if self.log {
            // `read` takes a pipe byte by byte, so a logger that is killed while it waits loses nothing.
            service = service.log("echo start >>trace\nwhile read -r line; do echo \"$line\" >>trace; done");
        }
        if self.log_down {
            service = service.file("log/down", "");
        }
        service.create()
    }

    fn traps(&self) -> String {
        let heard = match self.hears {
            Hears::Nothing => "",
            Hears::AllButTerm => "HUP INT QUIT USR1 USR2 ALRM",
            Hears::Everything => "HUP INT QUIT USR1 USR2 ALRM TERM",
        };
        format!("for s in {heard}; do trap \"echo got $s >>trace\" $s; done")
    }
}

/// The line the test is to write into the FIFO is an exit code. The FIFO is opened for both directions, so that no open
/// waits for a partner and no read sees an end; a trap makes `read` fail, hence the loop.
fn wait_for_orders(fifo: &str) -> String {
    format!("exec 3<>{fifo}\nwhile ! read -r code <&3; do :; done\nexit \"$code\"")
}

/// d and x run beside the dying service (their signals were sent before), so they have a trace of their own, and no
/// stdout: what they say and what `finish` says has no order.
fn hook_body(byte: u8, hook: Hook) -> String {
    let byte = byte as char;
    let exit = i32::from(hook == Hook::Declines);
    match byte {
        'd' | 'x' => format!("echo hook {byte} >>after\nexit {exit}"),
        _ => format!("echo hook {byte} >>trace; echo hook {byte}\nexit {exit}"),
    }
}

fn some_hooks(rng: &mut Rng) -> Vec<(u8, Hook)> {
    // `o` and the junk byte `z` have files too: no supervisor may look at them.
    let mut hooks = Vec::new();
    for &byte in b"tduxpchaiq12koz" {
        if rng.chance(1, 2) {
            hooks.push((byte, rng.pick(&[Hook::Handles, Hook::Declines, Hook::Declines, Hook::Plain])));
        }
    }
    hooks
}
