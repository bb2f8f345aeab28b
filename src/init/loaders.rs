//! The process `onit loaders`, which asks the programs in a directory for their jobs (`--loaders`), and writes these as
//! service directories. It is kept alive; the services live without it. It ends after them: it is asked how to stop them.

use super::Init;
use super::config::{Loaders, Root};
use super::log::Ended;
use crate::machine::{Exit, Mono, Pid, Signal, Target};
use crate::sys::spawn::{Exec, Job, Plan};
use crate::sys::{Errno, fs, process, rescue};
use crate::wire::journal::Field;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

/// If it ends, or cannot be started, it is started again after this.
const PAUSE: Duration = Duration::from_secs(1);
/// When all services have gone it has this long to end.
const LAST: Duration = Duration::from_secs(2);

/// If it has not asked all loaders by then, what waits for all services to be there does not wait for them.
const SAYING: Duration = Duration::from_secs(10);
/// It makes this file when it has.
const SAID: &str = ".said";

/// The process.
#[derive(Default)]
pub(super) struct LoadersProcess {
    pid: Option<Pid>,
    start_at: Option<Mono>,
    /// It was told to end, and is killed then.
    ends_by: Option<Mono>,
    /// All loaders that were there at first have said their jobs, or will not.
    have_said: bool,
    /// That is not waited for any longer.
    said_by: Option<Mono>,
}

impl Init {
    pub(super) fn loaders_deadline(&self) -> Option<Mono> {
        [self.loaders.start_at, self.loaders.ends_by, self.loaders.said_by].into_iter().flatten().min()
    }

    /// Before the directory is looked at: so the jobs that it has made are seen in this turn.
    pub(super) fn hear_loaders(&mut self) {
        let Some(Loaders { place, .. }) = self.config.loaders.as_ref().filter(|_| !self.loaders.have_said) else {
            return;
        };
        let by = *self.loaders.said_by.get_or_insert(self.now.after(SAYING));
        self.loaders.have_said = by <= self.now || place.join(SAID).exists();
        self.loaders.said_by = Some(by).filter(|_| !self.loaders.have_said);
    }

    /// Whether there may be services that are not known yet.
    pub(super) fn awaits_loaders(&self) -> bool {
        self.config.loaders.is_some() && !self.loaders.have_said
    }

    /// Starts it, and ends it when there are no services any more.
    pub(super) fn look_after_loaders(&mut self) {
        let Some(config) = &self.config.loaders else { return };
        match (self.loaders.ends_by, self.loaders.pid) {
            (None, Some(pid)) if self.is_nothing_supervised() => {
                self.loaders.ends_by = Some(self.now.after(LAST));
                let _ = process::kill(pid, Signal::TERM, Target::Process);
            }
            (Some(by), Some(pid)) if by <= self.now => {
                self.loaders.ends_by = Some(self.now.after(LAST));
                let _ = process::kill(pid, Signal::KILL, Target::Process);
            }
            _ => {}
        }
        let is_due = self.loaders.start_at.is_none_or(|at| at <= self.now);
        if self.loaders.pid.is_none() && is_due && !self.is_nothing_supervised() {
            self.loaders.start_at = None;
            if let Err(errno) = self.start_loaders(&config.clone()) {
                self.config.log.warn(None, &format_args!("cannot start onit loaders: {}; trying again", errno.desc()));
                self.loaders.start_at = Some(self.now.after(PAUSE));
            }
        }
    }

    fn start_loaders(&mut self, Loaders { dir, place }: &Loaders) -> Result<(), Errno> {
        let Root::Directory(services) = &self.config.root else { return Ok(()) };
        let program = rescue::program_path().ok_or(Errno::ENOENT)?;
        let services = fs::absolute(services);
        let words =
            [program.as_os_str(), OsStr::new("loaders"), dir.as_os_str(), OsStr::new("--into"), place.as_os_str()];
        let words = words.into_iter().chain([OsStr::new("--services"), services.as_os_str()]);
        let words = words.map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>();
        let words = words.map_err(|_| Errno::EINVAL)?;
        let argv: Vec<_> = words.iter().map(CString::as_c_str).collect();
        self.wait_for_exec();
        let pid = self.children.spawner.spawn(&Plan { job: Job::Session, ..Plan::new(&argv) })?;
        if let Some((_, Exec::Failed(errno))) = self.children.spawner.wait_for_exec() {
            self.children.dying.push(pid);
            return Err(errno);
        }
        self.loaders.pid = Some(pid);
        Ok(())
    }

    /// Whether it was this process that has ended.
    pub(super) fn have_loaders_ended(&mut self, pid: Pid, exit: Exit) -> bool {
        let is_it = self.is_loaders(pid);
        if is_it {
            self.loaders.pid = None;
            if self.loaders.ends_by.is_none() {
                self.loaders.start_at = Some(self.now.after(PAUSE));
                let line = format!("onit loaders {}; starting it again, their jobs go on", Ended(exit));
                self.config.log.warn(None, &line);
            }
        }
        is_it
    }

    /// Whether it is this process. It may speak for services.
    pub(super) fn is_loaders(&self, pid: Pid) -> bool {
        self.loaders.pid == Some(pid)
    }

    /// Whether this is a process that we keep beside the services.
    pub(super) fn is_helper(&self, pid: Pid) -> bool {
        self.is_mux(pid) || self.is_loaders(pid)
    }

    /// It looks at its directory again.
    pub(super) fn rescan_loaders(&self) {
        if let Some(pid) = self.loaders.pid {
            let _ = process::kill(pid, Signal::HUP, Target::Process);
        }
    }

    pub(super) fn are_loaders_over(&self) -> bool {
        self.loaders.pid.is_none()
    }

    pub(super) fn commit_loaders(&self) {
        let pid = self.loaders.pid.map_or(0, |pid| u64::from(pid.0.cast_unsigned()));
        self.table.journal.set(Field::LoadersPid, pid);
    }

    /// Goes on with the one that another supervisor has started.
    pub(super) fn restore_loaders(&mut self) {
        let pid = Pid(i32::try_from(self.table.journal.get(Field::LoadersPid)).unwrap_or_default());
        self.loaders.pid = Some(pid).filter(|pid| pid.0 > 0 && rescue::is_child(*pid));
    }
}
