//! What the machine of a service wants done becomes system calls, and their answers go back into the machine.

use super::Init;
use super::environment::Environment;
use super::inputs::NEW_PID_NAMESPACE;
use super::listeners::Before;
use super::log::{Ended, Log, Span, script_name};
use super::pending::PendingChild;
use super::readiness::ReadyEnd;
use super::report::seen;
use super::sockets::{self, FIRST, listen_variables};
use super::table::{LogPipe, SlotId};
use super::warnings::Matter;
use crate::machine::probe::Failure;
use crate::machine::restart::{Cause, MaxRestarts};
use crate::machine::{
    Effect, Event, Exit, Outcome, Phase, Pid, Refusal, Script, ServiceState, Signal, Target, View, Want,
};
use crate::sys::cgroup::Group;
use crate::sys::spawn::{Descriptor, Exec, Job, Limit, Plan, Value, Variable};
use crate::sys::{Errno, fs, process};
use crate::wire::journal::Field;
use crate::wire::{control, status, svdir};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// A process that ends sooner after its start is in trouble.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// What holds for a service that may not be started again.
const NO_RESTARTS: MaxRestarts = MaxRestarts { count: 0, window: Duration::ZERO };

impl Init {
    /// One event for one service, with everything that follows from it at once. What it means for the rest is returned.
    pub(super) fn apply(&mut self, at: SlotId, event: Event) -> Option<Outcome> {
        let before = self.table.get(at).map(|slot| slot.service.view())?;
        let stood = self.table.get(at).map(seen);
        let (mut next, mut outcome) = (Some(event), None);
        let (mut told, mut ended) = (self.table.get(at).map(seen), None);
        let health = self.table.get(at).and_then(|slot| slot.service.health());
        while let Some(event) = next.take() {
            self.look_up(at, event);
            let Some(slot) = self.table.get_mut(at) else { break };
            if let Event::Died(pid, exit) = event
                && slot.service.view().pid == Some(pid)
            {
                ended = Some(exit);
            }
            let (was, step) = (Before::of(&slot.service), slot.service.step(self.now, event));
            self.note_life_events(at, &was, event);
            self.commit_step(at, event, step.outcome);
            self.warn_if_changed(at, &mut told, &mut ended, false);
            step.effects().for_each(|effect| self.perform(at, effect));
            next = step.start.map(|script| self.start(at, script));
            self.look_at_second(at, step.outcome);
            outcome = outcome.or(step.outcome);
        }
        self.warn_if_changed(at, &mut told, &mut ended, true);
        self.publish_health(at, health);
        self.table.journal.set(Field::Doing, 0);
        self.forget_lateness(at, &before);
        self.forget_stored(at);
        self.look_after_sockets(at);
        self.trace(at, &before);
        self.table.touch(at);
        self.pause_or_resume_control(at);
        if self.table.get(at).map(seen) != stood {
            self.tell_dependents(at);
        }
        outcome
    }

    /// It has become ready: what was late before is news again.
    fn forget_lateness(&mut self, at: SlotId, before: &View) {
        if let Some(slot) = self.table.get_mut(at).filter(|slot| slot.service.view().is_ready && !before.is_ready) {
            slot.warnings.forget(|matter| matches!(matter, Matter::Late(_)));
        }
    }

    /// Tells the subscribers of each change. The state between the end of `run` and the start of `finish` is told only
    /// if the event leaves the service in it.
    fn warn_if_changed(
        &mut self,
        at: SlotId,
        told: &mut Option<(ServiceState, View)>,
        ended: &mut Option<Exit>,
        last: bool,
    ) {
        if self.children.starting == Some(at) && self.api.has_subscribers() {
            self.wait_for_exec(); // they are told whether it runs, or is about to
        }
        let Some(now) = self.table.get(at).map(seen) else { return };
        let passing = now.1.phase == Phase::Finish && now.1.pid.is_none();
        if let Some(before) = told.filter(|before| *before != now && (last || !passing)) {
            self.publish_change(at, before, ended.take());
            *told = Some(now);
        }
    }

    /// What is about to be done is noted before, so that it is done if we fail.
    fn commit_step(&mut self, at: SlotId, event: Event, outcome: Option<Outcome>) {
        let journal = self.table.journal;
        journal.set(Field::Doing, at as u64 + 1);
        if let Some(Outcome::EssentialEnded(_)) = outcome {
            journal.set(Field::Fatal, at as u64 + 1);
        }
        self.commit();
        if let Event::Spawned(_) = event {
            journal.child_is_noted();
        }
    }

    /// While `control/X` runs, further orders wait in the FIFO.
    pub(super) fn pause_or_resume_control(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let busy = slot.service.is_busy();
        if let (Some(control), true) = (&slot.files.control, busy != slot.control_paused) {
            let _ = self.poller.listen(control, super::turn::Token::Control(at).pack(), !busy);
            slot.control_paused = busy;
        }
    }

    fn perform(&mut self, at: SlotId, effect: Effect) {
        match effect {
            Effect::Signal(pid, signal, to) => {
                self.wait_for_exec(); // a child that is stopped before its exec would be pending
                if let Err(errno) = process::kill(pid, signal, to) {
                    self.warn(at, &format_args!("cannot send signal {} to {pid}: {}", signal.0, errno.desc()));
                }
            }
            Effect::KillLate(pid, script) => {
                self.wait_for_exec();
                let (kind, script) = (script, script_name(script));
                let trouble = format!("{script} is still running past its time limit; killing it");
                self.warn_about(at, Matter::Late(script), trouble);
                self.kill_late(at, pid, kind);
            }
            Effect::KillLeftovers(pid, script) => self.kill_left_behind(at, pid, script),
            Effect::NoteDeath(exit, most) => self.note_death(at, exit, most),
            Effect::NotReady(_) => {
                self.wait_for_exec();
                let limit =
                    self.table.get(at).and_then(|slot| slot.service.inputs.limits.up_limit).map(svdir::span_text);
                let limit = limit.unwrap_or_default();
                let trouble = format!("not ready within {limit} (timeout-up); stopping it");
                self.warn_about(at, Matter::Late(script_name(Script::Run)), trouble);
            }
            Effect::KillProbe(pid) => {
                self.wait_for_exec();
                for to in [Target::Group, Target::Process] {
                    let _ = process::kill(pid, Signal::KILL, to); // one that was stopped before its exec leads no group
                }
            }
            Effect::Unhealthy { failures, last, stops } => self.warn_of_health(at, failures, last, stops),
            Effect::Silent(_, span) => {
                self.wait_for_exec();
                let trouble = span.map_or_else(
                    || "watchdog: it says WATCHDOG=trigger; stopping it".to_owned(),
                    |span| format!("watchdog: nothing heard for {}; stopping it", svdir::span_text(span)),
                );
                self.warn_about(at, Matter::Late(script_name(Script::Run)), trouble);
            }
            Effect::StopFailed(exit, signal) => {
                self.warn(at, &format_args!("./stop {}; sending {signal}", Ended(exit)));
            }
            Effect::DownFile(down) => self.set_down_file(at, down),
        }
    }

    fn warn_of_health(&mut self, at: SlotId, failures: u16, last: Failure, stops: bool) {
        self.wait_for_exec();
        let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
        let last = match last {
            Failure::Ended(exit) => Ended(exit).to_string(),
            Failure::Late => "took too long".to_owned(),
            Failure::NotExecuted => "could not be executed".to_owned(),
        };
        let then = if stops { "; restarting it" } else { "" };
        self.warn(at, &format_args!("health failed {times} (last: {last}){then}"));
        if let Some(slot) = self.table.get_mut(at).filter(|_| stops) {
            slot.end_is_explained = true;
        }
    }

    fn set_down_file(&mut self, at: SlotId, down: bool) {
        let Some(slot) = self.table.get(at) else { return };
        if slot.id.is_instance() {
            let trouble = "an instance has no file down of its own".to_owned();
            self.warn(at, &trouble);
            return self.api.note_down_file(Some(trouble));
        }
        let result = if down { fs::touch(&slot.dir, "down") } else { fs::remove(&slot.dir, "down") };
        let trouble = result.err().map(|errno| {
            let verb = if down { "create" } else { "remove" };
            format!("cannot {verb} down: {}", errno.desc())
        });
        if let Some(trouble) = &trouble {
            self.warn(at, trouble);
        }
        self.api.note_down_file(trouble);
    }

    // Starting programs.

    fn start(&mut self, at: SlotId, script: Script) -> Event {
        match script {
            Script::Setup => {
                self.adopt_late_logger(at);
                self.exec(at, script, &[c"./setup"])
            }
            Script::Run => {
                self.adopt_late_logger(at);
                self.exec_with(at, script, c"./run", &self.run_arguments(at))
            }
            Script::Successor => self.exec_with(at, script, c"./run", &self.run_arguments(at)),
            Script::Finish(exit) => self.exec_with(at, script, c"./finish", &self.finish_arguments(at, exit)),
            Script::Control(command) => {
                let program = CString::new(control::program(command).unwrap_or_default()).unwrap_or_default();
                self.exec(at, script, &[&program])
            }
            Script::Check => self.exec(at, script, &[c"./check"]),
            Script::Health => self.exec(at, script, &[c"./health"]),
            Script::Stop => self.exec(at, script, &[c"./stop"]),
        }
    }

    /// s6 tells a `run` its name, others nothing.
    fn run_arguments(&self, at: SlotId) -> Vec<CString> {
        let name = self.table.get(at).filter(|_| self.config.personality.tells_names).map(|slot| &slot.name);
        name.into_iter().map(|name| CString::new(name.as_bytes()).unwrap_or_default()).collect()
    }

    fn finish_arguments(&self, at: SlotId, exit: Exit) -> Vec<CString> {
        let Some(slot) = self.table.get(at).filter(|_| self.config.personality.tells_names) else {
            return finish_arguments_of_runit(exit);
        };
        let dead = slot.service.history().lives().last().map_or(0, |life| life.pid.0);
        finish_arguments_of_s6(exit, slot.name.as_bytes(), dead)
    }

    fn exec_with(&mut self, at: SlotId, script: Script, program: &CStr, arguments: &[CString]) -> Event {
        let argv: Vec<&CStr> = std::iter::once(program).chain(arguments.iter().map(CString::as_c_str)).collect();
        self.exec(at, script, &argv)
    }

    fn exec(&mut self, at: SlotId, script: Script, argv: &[&CStr]) -> Event {
        if script.is_run()
            && let Err(trouble) = self.bind_sockets(at)
        {
            let then = if script == Script::Run { "; trying again" } else { "" };
            self.warn_about(at, Matter::File(sockets::FILE), format!("{trouble}{then}"));
            return Event::NotSpawned(Refusal::Exec);
        }
        let environment = self.environment_of(at);
        self.wait_for_exec();
        let ready_end = if script.is_run() { self.new_ready_link(at, script) } else { Ok(ReadyEnd::None) };
        let own_group = self.group_for(at, script);
        self.give_outputs(at);
        let spawned = ready_end.and_then(|end| self.spawn(at, script, argv, &environment, &end, own_group.as_ref()));
        match (spawned, script) {
            (Ok(pid), Script::Run) => {
                self.children.starting = Some(at);
                self.table.get_mut(at).into_iter().for_each(|slot| slot.is_pending = false);
                self.runs_now(at, pid)
            }
            (Ok(pid), _) => self.await_exec(at, script, pid),
            (Err(errno), _) => {
                self.warn_of_exec_error(at, script, errno);
                Event::NotSpawned(Refusal::Fork)
            }
        }
    }

    /// Starts a child for a script, with everything that it gets.
    fn spawn(
        &mut self,
        at: SlotId,
        script: Script,
        argv: &[&CStr],
        environment: &Environment,
        ready_end: &ReadyEnd,
        own_group: Option<&Group>,
    ) -> Result<Pid, Errno> {
        let slot = self.table.get(at).ok_or(Errno::ESRCH)?;
        let instance = slot.instance().and_then(|instance| CString::new(instance.as_bytes()).ok());
        let argv: Vec<&CStr> = argv.iter().copied().chain(instance.as_deref()).collect();
        let pipe = match &slot.log_pipe {
            LogPipe::Alone => None,
            LogPipe::Producer { pipe, .. } => pipe.as_ref().map(|pipe| Descriptor { from: pipe.as_fd(), to: 1 }),
            LogPipe::Writer { pipe, .. } => Some(Descriptor { from: pipe.as_fd(), to: 1 }),
            LogPipe::Logger { pipe, .. } | LogPipe::Shared { pipe } => Some(Descriptor { from: pipe.as_fd(), to: 0 }),
        };
        let ready = ready_end.descriptor();
        let log = pipe.filter(|pipe| ready.as_ref().is_none_or(|ready| ready.to != pipe.to));
        let listened = slot.listen_descriptors().filter(|_| script.is_run()).collect::<Vec<_>>();
        let kept = listen_variables(&listened);
        let listened = listened.iter().zip(FIRST..).map(|((_, from), to)| Descriptor { from: *from, to });
        let outputs = slot.outputs.iter().flat_map(|outputs| outputs.descriptors());
        let descriptors: Vec<Descriptor> = outputs.chain(log).chain(listened).chain(ready).collect();
        let variables = environment.variables().into_iter().chain(ready_end.variables()).chain(of_kept(&kept));
        let variables: Vec<_> = variables.collect();
        let open_files = self.open_files.of_services.map(Limit::open_files);
        let is_probe = matches!(script, Script::Check | Script::Health); // it is killed with all that it has started
        let plan = Plan {
            dir: Some(&slot.dir),
            environment: &variables,
            descriptors: &descriptors,
            job: if self.config.new_session || is_probe { Job::Session } else { Job::Inherited },
            limits: open_files.as_slice(),
            new_pid_namespace: slot.has_pid_namespace && script.is_run(),
            group: own_group.or(self.children.group.as_ref()),
            ..Plan::new(&argv)
        };
        self.table.journal.expect_child(at);
        self.children.spawner.spawn(&plan)
    }

    /// What is no `run` is waited for until it has executed its program, but not for long.
    fn await_exec(&mut self, at: SlotId, script: Script, pid: Pid) -> Event {
        match self.children.spawner.wait_for_exec() {
            Some((_, Exec::Failed(errno))) => {
                self.warn_of_exec_error(at, script, errno);
                return Event::NotSpawned(Refusal::Exec);
            }
            Some((_, Exec::Pending)) => self.expect_exec(PendingChild::new(pid, at, script, self.now)),
            Some((_, Exec::Done)) | None => self.note_exec(at, script),
        }
        self.runs_now(at, pid)
    }

    fn runs_now(&mut self, at: SlotId, pid: Pid) -> Event {
        self.table.own(pid, at);
        Event::Spawned(pid)
    }

    /// Waits until the last service that was started runs, but not for long.
    pub(super) fn wait_for_exec(&mut self) {
        let waited = self.children.spawner.wait_for_exec();
        match (self.children.starting.take(), waited) {
            (Some(at), Some((pid, Exec::Failed(errno)))) => self.run_failed(at, pid, errno),
            (Some(at), Some((pid, Exec::Pending))) => {
                self.expect_exec(PendingChild::new(pid, at, Script::Run, self.now));
            }
            (Some(at), Some((_, Exec::Done))) => self.note_exec(at, Script::Run),
            (Some(_), None) | (None, _) => {}
        }
    }

    /// A script has been executed.
    pub(super) fn note_exec(&mut self, at: SlotId, script: Script) {
        self.table.get_mut(at).into_iter().for_each(|slot| _ = slot.warnings.take(Matter::Script(script_name(script))));
    }

    /// `run` could not be executed: its process ends like any other, and we say why.
    pub(super) fn run_failed(&mut self, at: SlotId, pid: Pid, errno: Errno) {
        self.children.dying.push(pid);
        self.warn_of_exec_error(at, Script::Run, errno);
        if let Some(slot) = self.table.get_mut(at) {
            (slot.end_is_explained, slot.is_pending) = (true, true); // nobody is to count on it
        }
        self.take_back_that_it_is_up(at);
    }

    pub(super) fn warn_of_exec_error(&mut self, at: SlotId, script: Script, errno: Errno) {
        let path = script_name(script);
        let failure = super::log::Failure { verb: "start", path, errno };
        if let (Log::Tool(_), Some(slot)) = (self.config.log, self.table.get(at)) {
            return self.config.log.fatal(&slot.name, &failure);
        }
        let cause = self.config.log.words(&failure);
        let hint = match errno {
            Errno::ENOENT => self.missing_interpreter(at, path).unwrap_or_default(),
            Errno::EPERM if self.table.get(at).is_some_and(|slot| slot.has_pid_namespace) => {
                format!(" ({NEW_PID_NAMESPACE} takes the rights of root)")
            }
            Errno::ENOEXEC => " (it has no #! line, and is no program for this machine)".to_owned(),
            _ => String::new(),
        };
        let then = match script {
            Script::Setup | Script::Run => "; trying again",
            Script::Stop => "; sending the signal",
            Script::Successor => "; the one that runs stays",
            Script::Finish(_) | Script::Control(_) | Script::Check | Script::Health => "",
        };
        self.warn_of_script(at, script, &format!("{cause}{hint}{then}"));
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
            None => {
                let shown = svdir::excerpt(interpreter).replace(char::is_control, "?");
                format!(" (its interpreter {shown} is missing)")
            }
        })
    }

    // Speaking.

    /// One line about a service.
    pub(super) fn warn(&self, at: SlotId, trouble: &dyn std::fmt::Display) {
        if let Some(slot) = self.table.get(at) {
            self.config.log.warn(Some(&slot.name), trouble);
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
                self.config.log.info(Some(&slot.name), &format_args!("{}{pid}", line.trim_end()));
            }
        }
    }

    /// One line about a service, unless it was the last one said about its life.
    pub(super) fn warn_once(&mut self, at: SlotId, trouble: String) {
        self.warn_about(at, Matter::Life, trouble);
    }

    /// One line about a script that cannot be executed, unless it was the last one said about that script.
    pub(super) fn warn_of_script(&mut self, at: SlotId, script: Script, trouble: &str) {
        self.warn_about(at, Matter::Script(script_name(script)), trouble.to_owned());
    }

    /// One line about a service, unless it was the last one said about the same matter.
    pub(super) fn warn_about(&mut self, at: SlotId, matter: Matter, trouble: String) {
        let Some(slot) = self.table.get_mut(at) else { return };
        if slot.warnings.of(matter) != Some(&trouble) {
            self.config.log.warn(Some(&slot.name), &trouble);
        }
        slot.warnings.replace(matter, trouble);
    }

    /// `run` of a service has ended, after so long. Whether that is news.
    fn record_end(&mut self, at: SlotId, lived: Duration) -> bool {
        let Some(slot) = self.table.get_mut(at) else { return false };
        let told = std::mem::take(&mut slot.end_is_explained);
        if lived >= SHORT_LIFE && !told {
            slot.warnings.take(Matter::Life); // what could not be executed has not lived, however long that took
        }
        !told
    }

    /// A process of a service has ended.
    pub(super) fn service_ended(&mut self, at: SlotId, pid: Pid, exit: Exit, had_no_program: bool) {
        let view = self.table.get(at).map(|slot| slot.service.view());
        let life = view.filter(|view| view.phase == Phase::Run && view.pid == Some(pid));
        if life.is_some() {
            self.read_ready_link(at); // what it has said in its life
            if self.goes_on_elsewhere(at) {
                return;
            }
        }
        let is_news = life.is_none_or(|view| self.record_end(at, self.now.since(view.since)));
        let of_setup = view.is_some_and(|view| view.phase == Phase::Setup);
        let was_busy = self.is_busy(at);
        let never_ran = had_no_program && life.is_some() && self.config.personality.service.exec_pause.is_some();
        let outcome = self.apply(at, if never_ran { Event::NeverRan(pid) } else { Event::Died(pid, exit) });
        self.close_dead_socket(at);
        if life.is_some() || view.is_some_and(|view| view.phase == Phase::Setup) {
            self.end_outputs(at);
        }
        if was_busy {
            self.take_bytes(at); // what was ordered before the next death is obeyed before it
        }
        let setup = Matter::Script(script_name(Script::Setup));
        let is_told = self.table.get(at).is_some_and(|slot| slot.warnings.of(setup).is_some());
        match outcome {
            Some(Outcome::Ended { exit, lived }) if is_news => self.log_end(at, pid, exit, lived),
            Some(Outcome::EssentialEnded(exit)) => self.end_all(at, exit),
            Some(Outcome::SetupFailed(exit)) if !is_told => {
                self.warn_once(at, format!("./setup {}; trying again", Ended(exit)));
            }
            Some(Outcome::GaveUp(exit, cause)) => {
                self.note_exec(at, Script::Run); // it is not tried again
                let cause = self.why_it_failed(at, of_setup, exit, cause);
                self.warn_once(at, format!("{cause}: not started again until told"));
            }
            Some(Outcome::Done) => {
                if let Some(slot) = self.table.get_mut(at) {
                    slot.warnings.forget(|matter| matches!(matter, Matter::Life | Matter::Script(_)));
                }
            }
            Some(Outcome::Ended { .. } | Outcome::SetupFailed(_) | Outcome::Replaced | Outcome::NotReplaced(_))
            | None => {}
        }
        if let (true, Some(Outcome::Ended { .. } | Outcome::Done | Outcome::GaveUp(..))) = (life.is_some(), outcome) {
            self.end_after_any(at, exit);
        }
        self.log_late_end(at);
        self.table.journal.set(Field::Fatal, 0);
    }
    fn why_it_failed(&self, at: SlotId, of_setup: bool, exit: Exit, cause: Cause) -> String {
        let what = if of_setup { "./setup " } else { "" };
        let rules = self.table.get(at).map(|slot| &slot.service.inputs.restarts);
        match cause {
            Cause::Finish => format!("{}, and ./finish says 125", Ended(exit)),
            Cause::Permanent => format!("{what}{}, which means a permanent failure", Ended(exit)),
            Cause::NoRestart => format!("{what}{}, and restart says never", Ended(exit)),
            Cause::Setup => format!("{what}{}", Ended(exit)),
            Cause::TooOften => {
                let MaxRestarts { count, window } = rules.and_then(|rules| rules.max_restarts).unwrap_or(NO_RESTARTS);
                let window = svdir::span_text(window);
                format!("{} ends within {window} (max-restarts), and the last one {}", count + 1, Ended(exit))
            }
            Cause::NeverReady => {
                let starts = rules.and_then(|rules| rules.start_retries).unwrap_or_default() + 1;
                format!("{starts} starts ended before it was ready (start-retries), and the last one {}", Ended(exit))
            }
        }
    }

    /// Says that a service has ended without being told to. One that ends again and again is in trouble even if its
    /// exit code is 0: it may have gone into the background. But then its `finish` may say that it is done.
    fn log_end(&mut self, at: SlotId, pid: Pid, exit: Exit, lived: Duration) {
        let news = match (lived < SHORT_LIFE, exit.is_success()) {
            (true, true) => self.news_of_a_daemon(at, pid, self.now.before(lived)),
            (true, false) => format!("{} within a second of its start; trying again", Ended(exit)),
            (false, true) => return,
            (false, false) => format!("{} after {}; starting it again", Ended(exit), Span(lived)),
        };
        match self.table.get_mut(at) {
            _ if !self.config.personality.tells_news => {}
            Some(slot) if exit.is_success() && slot.service.view().phase == Phase::Finish => {
                slot.warnings.replace(Matter::Restart, news);
            }
            Some(_) | None => self.warn_once(at, news),
        }
    }

    /// `finish` has ended, and the service is to be started again.
    pub(super) fn log_late_end(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at).filter(|slot| slot.service.view().phase != Phase::Finish) else {
            return;
        };
        let news = slot.warnings.take(Matter::Restart);
        if let Some(news) = news.filter(|_| slot.service.view().want == Want::Up) {
            self.warn_once(at, news);
        }
    }

    /// A process has used up the time of the shutdown.
    pub(super) fn warn_of_straggler(&self, at: SlotId) {
        if let Some(pid) = self.table.get(at).and_then(|slot| slot.service.view().pid) {
            self.warn(at, &format_args!("still running (pid {pid}); killing it"));
        }
    }
}

/// What is kept for a `run` is told in these words, and to it alone.
fn of_kept<'a>(kept: &'a [(&'static str, OsString)]) -> impl Iterator<Item = Variable<'a>> {
    let words = kept.iter().map(|(name, value)| Variable { name: OsStr::new(*name), value: Value::Text(value) });
    let pid = Variable { name: OsStr::new("LISTEN_PID"), value: Value::OwnPid };
    words.chain((!kept.is_empty()).then_some(pid))
}

/// The code and 0, or -1 and the signal, with 128 added when a core was dumped.
fn finish_arguments_of_runit(exit: Exit) -> Vec<CString> {
    let (code, status) = match exit {
        Exit::Code(code) => (i32::from(code), 0),
        Exit::Signal { signal, core } => (-1, signal.0 | if core { 0x80 } else { 0 }),
    };
    [code, status].map(text).into()
}

/// The code and 0, or 256 and the signal; then its name, and the process group that it had.
fn finish_arguments_of_s6(exit: Exit, name: &[u8], group: i32) -> Vec<CString> {
    let (code, signal) = match exit {
        Exit::Code(code) => (i32::from(code), 0),
        Exit::Signal { signal, .. } => (256, signal.0),
    };
    vec![text(code), text(signal), CString::new(name).unwrap_or_default(), text(group)]
}

fn text(number: i32) -> CString {
    CString::new(number.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(words: Vec<CString>) -> String {
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    const TERM: Exit = Exit::Signal { signal: Signal::TERM, core: false };
    const SEGV: Exit = Exit::Signal { signal: Signal(11), core: true };

    #[test]
    fn finish_gets_the_arguments_that_runit_gives() {
        let words = |exit| joined(finish_arguments_of_runit(exit));
        assert_eq!([Exit::Code(3), Exit::NOT_RUN, TERM, SEGV].map(words), ["3 0", "111 0", "-1 15", "-1 139"]);
    }

    #[test]
    fn or_those_that_s6_gives() {
        let words = |exit| joined(finish_arguments_of_s6(exit, b"web", 7));
        assert_eq!([Exit::Code(3), TERM, SEGV].map(words), ["3 0 web 7", "256 15 web 7", "256 11 web 7"]);
    }
}
