//! What the machine of a service wants done becomes system calls, and their answers go back into the machine.

use super::Init;
use super::pending::PendingChild;
use super::report::seen;
use super::table::{Pair, Slot, SlotId};
use super::voice::{Ended, Span, Voice, script_name};
use crate::machine::history::History;
use crate::machine::policy::Limits;
use crate::machine::{Action, Command, Event, Exit, Phase, Pid, Refusal, Script, Standing, View, Want};
use crate::sys::spawn::{Descriptor, Exec, Job, Limit, Plan};
use crate::sys::{Errno, fs, process};
use crate::wire::ledger::Fact;
use crate::wire::{control, status, svdir};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;
use std::time::Duration;

/// Who dies sooner after its start is in trouble.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// Whether a script is worth a process, and the line to say if not.
enum Answer {
    Runs(Pid),
    Not(Refusal),
}

impl Init {
    /// One event for one service, with everything that follows from it at once.
    pub(super) fn apply(&mut self, at: SlotId, event: Event) {
        if let Event::Command(command) = event {
            self.prepare(at, command);
        }
        let Some(before) = self.table.get(at).map(|slot| slot.service.view()) else { return };
        let mut next = Some(event);
        let (mut told, mut ended) = (self.table.get(at).map(seen), None);
        while let Some(event) = next.take() {
            let Some(slot) = self.table.get_mut(at) else { return };
            let view = slot.service.view();
            if let Event::Died(pid, exit) = event
                && view.pid == Some(pid)
            {
                ended = Some(exit);
            }
            let actions = slot.service.step(self.now, event);
            self.note_step(at, event);
            if matches!(event, Event::Died(..)) {
                self.note_giving_up(at, &view);
            }
            self.tell_if_changed(at, &mut told, &mut ended, false);
            for action in actions {
                next = self.perform(at, action);
            }
        }
        self.tell_if_changed(at, &mut told, &mut ended, true);
        self.table.ledger.set(Fact::Doing, 0);
        self.trace(at, &before);
        self.table.touch(at);
        self.heed_orders_again(at);
    }

    /// `finish` took back the wish that the service be up.
    fn note_giving_up(&mut self, at: SlotId, before: &View) {
        let after = self.table.get(at).map(|slot| slot.service.view());
        let has_ended = after.is_some_and(|after| after.phase == Phase::Down && after.want == Want::Down);
        if before.phase == Phase::Finish && before.want == Want::Up && has_ended {
            self.table.live(at, History::give_up);
        }
    }

    /// Tells who listens of each change. That `finish` is looked for is told if it takes its time.
    fn tell_if_changed(
        &mut self,
        at: SlotId,
        told: &mut Option<(Standing, View)>,
        ended: &mut Option<Exit>,
        last: bool,
    ) {
        if self.starting == Some(at) && self.api.has_subscribers() {
            self.wait_for_exec(); // they are told whether it runs, or is about to
        }
        let Some(now) = self.table.get(at).map(seen) else { return };
        let passing = now.1.phase == Phase::Finish && now.1.pid.is_none();
        if let Some(before) = told.filter(|before| *before != now && (last || !passing)) {
            self.tell_change(at, before, ended.take());
            *told = Some(now);
        }
    }

    /// What is about to be done is noted before, so that it is done if we fail.
    fn note_step(&self, at: SlotId, event: Event) {
        self.table.ledger.set(Fact::Doing, at as u64 + 1);
        self.table.note(at);
        if let Event::Spawned(_) = event {
            self.table.ledger.child_is_noted();
        }
    }

    fn prepare(&mut self, at: SlotId, command: Command) {
        if let Command::Down | Command::Exit | Command::StopSignal = command {
            self.read_limits(at);
        }
        let starts = matches!(command, Command::Up | Command::Once);
        let ends =
            matches!(command, Command::Down | Command::Exit | Command::StopSignal | Command::Term | Command::Kill(_));
        if let Some(slot) = self.table.get_mut(at) {
            slot.asked |= ends && slot.service.view().phase == Phase::Run;
            if starts && matches!(slot.standing(), Standing::Down | Standing::Done | Standing::Failed) {
                slot.complaint = None; // what goes wrong now is news
            }
        }
    }

    /// While `control/X` runs, further orders wait in the FIFO.
    pub(super) fn heed_orders_again(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let busy = slot.service.is_busy();
        if let (Some(control), true) = (&slot.files.control, busy != slot.muted) {
            let _ = self.poller.listen(control, super::turn::Token::Control(at).pack(), !busy);
            slot.muted = busy;
        }
    }

    /// Does one thing. Some things have an answer for the machine.
    fn perform(&mut self, at: SlotId, action: Action) -> Option<Event> {
        match action {
            Action::Spawn(script) => Some(match self.spawn(at, script) {
                Answer::Runs(pid) => {
                    self.table.own(pid, at);
                    if script == Script::Run {
                        let now = self.now;
                        self.table.live(at, |history| history.begin(now, pid));
                    }
                    Event::Spawned(pid)
                }
                Answer::Not(refusal) => Event::NotSpawned(refusal),
            }),
            Action::Signal(pid, signal, to) => {
                self.wait_for_exec(); // a child that is stopped before its exec would be pending
                if let Err(errno) = process::kill(pid, signal, to) {
                    self.tell(at, &format_args!("cannot send signal {} to {pid}: {}", signal.0, errno.desc()));
                }
                None
            }
            Action::KillLate(pid, script) => {
                self.wait_for_exec();
                self.tell(
                    at,
                    &format_args!("{} is still running past its time limit; killing it", script_name(script)),
                );
                let _ = process::kill(pid, crate::machine::Signal::KILL, crate::machine::Target::Process);
                None
            }
            Action::LookAtInput => Some(Event::Drain { unread: self.unread(at) }),
            Action::DownFile(down) => {
                self.set_down_file(at, down);
                None
            }
        }
    }

    fn set_down_file(&mut self, at: SlotId, down: bool) {
        let Some(slot) = self.table.get(at) else { return };
        let result = if down { fs::touch(&slot.dir, "down") } else { fs::remove(&slot.dir, "down") };
        let trouble = result.err().map(|errno| {
            let verb = if down { "create" } else { "remove" };
            format!("cannot {verb} down: {}", errno.desc())
        });
        if let Some(trouble) = &trouble {
            self.tell(at, trouble);
        }
        self.api.note_down_file(trouble);
    }

    // Starting programs.

    fn spawn(&mut self, at: SlotId, script: Script) -> Answer {
        match script {
            Script::Run => {
                self.adopt_late_logger(at);
                self.exec(at, script, &[c"./run"])
            }
            Script::Finish(exit) => {
                if !self.table.get(at).is_some_and(|slot| fs::exists(&slot.dir, "finish")) {
                    return Answer::Not(Refusal::Absent);
                }
                self.read_limits(at);
                let (code, signal) = finish_arguments(exit);
                self.exec(at, script, &[c"./finish", &code, &signal])
            }
            Script::Control(command) => {
                let program = control::program(command)
                    .filter(|program| self.table.get(at).is_some_and(|slot| fs::is_executable(&slot.dir, program)))
                    .and_then(|program| CString::new(program).ok());
                match program {
                    Some(program) => self.exec(at, script, &[&program]),
                    None => Answer::Not(Refusal::Absent),
                }
            }
        }
    }

    fn exec(&mut self, at: SlotId, script: Script, argv: &[&CStr]) -> Answer {
        self.wait_for_exec();
        let Some(slot) = self.table.get(at) else { return Answer::Not(Refusal::Absent) };
        let pipe = match &slot.pair {
            Pair::Alone => None,
            Pair::Producer { pipe, .. } => pipe.as_ref().map(|pipe| Descriptor { from: pipe.as_fd(), to: 1 }),
            Pair::Logger { pipe, .. } => Some(Descriptor { from: pipe.as_fd(), to: 0 }),
        };
        let open_files = self.open_files.map(Limit::open_files);
        let plan = Plan {
            dir: Some(&slot.dir),
            descriptors: pipe.as_slice(),
            job: if self.config.new_session { Job::Session } else { Job::Inherited },
            limits: open_files.as_slice(),
            group: self.group.as_ref(),
            ..Plan::new(argv)
        };
        self.table.ledger.expect_child(at);
        match (self.spawner.spawn(&plan), script) {
            (Ok(pid), Script::Run) => {
                self.starting = Some(at);
                self.table.get_mut(at).into_iter().for_each(|slot| slot.is_pending = false);
                Answer::Runs(pid)
            }
            (Ok(pid), Script::Finish(_) | Script::Control(_)) => match self.spawner.wait_for_exec() {
                Some((_, Exec::Failed(errno))) => {
                    self.tell_refusal(at, script, errno);
                    Answer::Not(Refusal::Exec)
                }
                Some((_, Exec::Pending)) => {
                    self.expect_exec(PendingChild::new(pid, at, script, self.now));
                    Answer::Runs(pid)
                }
                Some((_, Exec::Done)) | None => Answer::Runs(pid),
            },
            (Err(errno), _) => {
                self.tell_refusal(at, script, errno);
                Answer::Not(Refusal::Fork)
            }
        }
    }

    /// Waits until the last service that was started runs, but not for long.
    pub(super) fn wait_for_exec(&mut self) {
        let waited = self.spawner.wait_for_exec();
        match (self.starting.take(), waited) {
            (Some(at), Some((pid, Exec::Failed(errno)))) => self.run_failed(at, pid, errno),
            (Some(at), Some((pid, Exec::Pending))) => {
                self.expect_exec(PendingChild::new(pid, at, Script::Run, self.now));
            }
            (Some(_), Some((_, Exec::Done)) | None) | (None, _) => {}
        }
    }

    /// `run` could not be executed: its process ends like any other, and we say why.
    pub(super) fn run_failed(&mut self, at: SlotId, pid: Pid, errno: Errno) {
        self.dying.push(pid);
        self.tell_refusal(at, Script::Run, errno);
        if let Some(slot) = self.table.get_mut(at) {
            slot.told = true;
        }
    }

    pub(super) fn tell_refusal(&mut self, at: SlotId, script: Script, errno: Errno) {
        let path = script_name(script);
        let failure = super::voice::Failure { verb: "start", path, errno };
        if let (Voice::Tool(_), Some(slot)) = (self.config.voice, self.table.get(at)) {
            return self.config.voice.fatal(&slot.name, &failure);
        }
        let cause = self.config.voice.words(&failure);
        let hint = match errno {
            Errno::ENOENT => self.missing_interpreter(at, path).unwrap_or_default(),
            Errno::ENOEXEC => " (it has no #! line, and is no program for this machine)".to_owned(),
            _ => String::new(),
        };
        let then = if script == Script::Run { "; trying again" } else { "" };
        self.complain(at, format!("{cause}{hint}{then}"));
    }

    /// A script that is there, but whose interpreter is not, looks like a missing script to the kernel.
    fn missing_interpreter(&self, at: SlotId, script: &str) -> Option<String> {
        let slot = self.table.get(at)?;
        let text = fs::read_small(&slot.dir, script).ok()??;
        let line = text.split('\n').next()?.strip_prefix("#!")?;
        let interpreter = line.split([' ', '\t']).find(|word| !word.is_empty())?;
        if fs::exists(&slot.dir, interpreter) {
            return None; // it is not what was missing, or the script has only just come
        }
        Some(match interpreter.strip_suffix('\r') {
            Some(_) => " (its lines end in carriage returns, as on Windows)".to_owned(),
            None => format!(" (its interpreter {} is missing)", interpreter.replace(char::is_control, "?")),
        })
    }

    /// The small files are read when they matter, so that a change holds at once.
    fn read_limits(&mut self, at: SlotId) {
        if !self.config.personality.reads_small_files {
            return;
        }
        let mut limits = Limits::of(self.config.personality.service);
        if let Some(signal) = self.read_fact(at, "down-signal", svdir::signal) {
            limits.stop_signal = signal;
        }
        if let Some(limit) = self.read_fact(at, "timeout-kill", svdir::limit) {
            limits.kill_after = limit;
        }
        if let Some(limit) = self.read_fact(at, "timeout-finish", svdir::limit) {
            limits.finish_limit = limit;
        }
        if let Some(slot) = self.table.get_mut(at) {
            slot.service.set_limits(limits);
        }
    }

    pub(super) fn read_fact<T>(&mut self, at: SlotId, file: &'static str, parse: fn(&str) -> Option<T>) -> Option<T> {
        let (fact, odd) = match fs::read_small(&self.table.get(at)?.dir, file) {
            Ok(None) => (None, None),
            Ok(Some(text)) => match parse(&text) {
                Some(fact) => (Some(fact), None),
                None => {
                    (None, Some(format!("{file} says {:?}, which is no value for it", text.trim_end_matches('\n'))))
                }
            },
            Err(errno) => (None, Some(format!("cannot read {file}: {}", errno.desc()))),
        };
        self.tell_odd(at, file, odd);
        fact
    }

    /// What is wrong with a small file is told when it is new.
    fn tell_odd(&mut self, at: SlotId, file: &'static str, odd: Option<String>) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let known = slot.odd.iter().position(|(known, _)| *known == file).map(|place| slot.odd.swap_remove(place).1);
        if let Some(odd) = odd {
            slot.odd.push((file, odd.clone()));
            if known.as_ref() != Some(&odd) {
                self.tell(at, &format_args!("{odd}; going by the default"));
            }
        }
    }

    // Speaking.

    /// One line about a service.
    pub(super) fn tell(&self, at: SlotId, trouble: &dyn std::fmt::Display) {
        if let Some(slot) = self.table.get(at) {
            self.config.voice.complain(Some(&slot.name), trouble);
        }
    }

    fn trace(&self, at: SlotId, before: &View) {
        let Some(view) = self.table.get(at).filter(|_| self.config.trace).map(|slot| slot.service.view()) else {
            return;
        };
        if view != *before {
            let pid = view.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            if let Some(slot) = self.table.get(at) {
                let line = status::stat_line(&view);
                self.config.voice.inform(&slot.name, &format_args!("{}{pid}", line.trim_end()));
            }
        }
    }

    /// One line about a service, unless it was the last one said about its life.
    pub(super) fn complain(&mut self, at: SlotId, trouble: String) {
        self.complain_about(at, |slot| &mut slot.complaint, trouble);
    }

    /// One line about a service, unless it was the last one said about the same matter.
    pub(super) fn complain_about(&mut self, at: SlotId, matter: fn(&mut Slot) -> &mut Option<String>, trouble: String) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if matter(slot).as_ref() != Some(&trouble) {
            self.config.voice.complain(Some(&slot.name), &trouble);
            *matter(slot) = Some(trouble);
        }
    }

    /// What is to be said of an end that nobody asked for. A service that ends again and again is in trouble even if
    /// it says that all went well: it may have gone into the background.
    pub(super) fn news_of(&mut self, at: SlotId, pid: Pid, exit: Exit) -> Option<String> {
        let slot = self.table.get_mut(at)?;
        let view = slot.service.view();
        if view.phase != Phase::Run || view.pid != Some(pid) {
            return None;
        }
        let (asked, told) = (std::mem::take(&mut slot.asked), std::mem::take(&mut slot.told));
        let life = self.now.since(view.since);
        if life >= SHORT_LIFE && !told {
            slot.complaint = None; // who could not be executed has not lived, however long that took
        }
        if asked || told || view.leaving || view.want != Want::Up || !self.config.personality.tells_news {
            None
        } else if life < SHORT_LIFE && exit.is_success() {
            Some(self.news_of_a_daemon(at, pid, life))
        } else if life < SHORT_LIFE {
            Some(format!("{} within a second of its start; trying again", Ended(exit)))
        } else if exit.is_success() {
            None
        } else {
            Some(format!("{} after {}; starting it again", Ended(exit), Span(life)))
        }
    }

    /// Tells the news of an end. That of one with 0 waits for `finish`: it may say that the service is done.
    pub(super) fn tell_news(&mut self, at: SlotId, exit: Exit, news: String) {
        match self.table.get_mut(at) {
            Some(slot) if exit.is_success() && slot.service.view().phase == Phase::Finish => slot.news = Some(news),
            Some(_) | None => self.complain(at, news),
        }
    }

    /// `finish` has ended, and the service is to be started again.
    pub(super) fn tell_late_news(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at).filter(|slot| slot.service.view().phase != Phase::Finish) else {
            return;
        };
        let news = slot.news.take();
        if let Some(news) = news.filter(|_| slot.service.view().want == Want::Up) {
            self.complain(at, news);
        }
    }

    /// A process has used up the time of the shutdown.
    pub(super) fn tell_straggler(&self, at: SlotId) {
        if let Some(pid) = self.table.get(at).and_then(|slot| slot.service.view().pid) {
            self.tell(at, &format_args!("still running (pid {pid}); killing it"));
        }
    }
}

/// runit's: the code and 0, or -1 and the signal, with 128 added when a core was dumped.
fn finish_arguments(exit: Exit) -> (CString, CString) {
    let (code, status) = match exit {
        Exit::Code(code) => (i32::from(code), 0),
        Exit::Signal { signal, core } => (-1, signal.0 | if core { 0x80 } else { 0 }),
    };
    let text = |number: i32| CString::new(number.to_string()).unwrap_or_default();
    (text(code), text(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Signal;

    #[test]
    fn finish_gets_the_arguments_that_runit_gives() {
        let words = |exit| {
            let (code, status) = finish_arguments(exit);
            format!("{} {}", code.to_string_lossy(), status.to_string_lossy())
        };
        assert_eq!(words(Exit::Code(3)), "3 0");
        assert_eq!(words(Exit::NOT_RUN), "111 0");
        assert_eq!(words(Exit::Signal { signal: Signal::TERM, core: false }), "-1 15");
        assert_eq!(words(Exit::Signal { signal: Signal(11), core: true }), "-1 139");
    }
}
