//! `onit exec CMD`: becomes a program, with what chpst can change and what it cannot.

use super::new::are_text;
use crate::exit;
use crate::helpers::exec::{
    Capabilities, Change, Failure, GroupLimits, Lock, Plan, Rules, Search, SoftLimit, Step, Who, of_words,
};
use crate::machine::LimitKind;
use crate::sys::limits::Limit;
use crate::sys::say::say;
use crate::sys::{Errno, lock};
use crate::wire::{capability, cgroup, limit, mounts, scheduling};
use argh::{ArgsInfo, FromArgs};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Become CMD, after these changes, in this order: session, environment, control group, root and directory, priorities,
/// user, capabilities, umask, lock, limits.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
#[argh(note = "Exit codes: that of CMD; 127 it was not found, 126 it cannot be executed, 111 one of the changes \
    cannot be made, 100 usage error.")]
pub struct Exec {
    /// user and groups, by name or number, as USER[:GROUP[:GROUP...]]; without groups those that the system's lists say
    #[argh(option)]
    user: Option<String>,
    /// supplementary groups and no others, with commas; or "none"
    #[argh(option, from_str_fn(groups))]
    groups: Option<Groups>,
    /// set HOME, USER, LOGNAME and SHELL to those of the user
    #[argh(switch)]
    home: bool,
    /// working directory, within --chroot
    #[argh(option)]
    cd: Option<String>,
    /// root directory
    #[argh(option)]
    chroot: Option<String>,
    /// variable, as NAME=VALUE, or NAME to remove it; may be repeated
    #[argh(option, from_str_fn(variable))]
    env: Vec<String>,
    /// file of lines NAME=VALUE, as docker's; may be repeated
    #[argh(option)]
    env_file: Vec<String>,
    /// directory with a file for each variable, as chpst -e; may be repeated
    #[argh(option)]
    env_dir: Vec<String>,
    /// no other variable
    #[argh(switch)]
    clear_env: bool,
    /// limit, as nofile=1024, nofile=1024:4096 (soft, hard) or nofile=1024: (soft, at most the hard one), also with K, M, G,
    /// or "unlimited"; may be repeated. Names are those of prlimit: as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack
    #[argh(option, from_str_fn(limit::limit))]
    limit: Vec<limit::Limit>,
    /// memory of its control group, as 512M, or "max"
    #[argh(option, from_str_fn(amount))]
    memory: Option<String>,
    /// processors of its control group, as 1.5, or "max"
    #[argh(option, from_str_fn(limit::processors))]
    cpu: Option<String>,
    /// processes and threads of its control group, or "max"
    #[argh(option, from_str_fn(amount))]
    pids: Option<String>,
    /// added to its niceness
    #[argh(option)]
    nice: Option<i32>,
    /// none, idle, best-effort:LEVEL or realtime:LEVEL; a level is from 0 (first) to 7
    #[argh(option, from_str_fn(scheduling::io_priority))]
    ionice: Option<(u8, u8)>,
    /// the processors that it runs on, as 0-3,6
    #[argh(option, from_str_fn(processors))]
    cpus: Option<Processors>,
    /// other, batch, idle, fifo:PRIORITY or rr:PRIORITY
    #[argh(option, from_str_fn(scheduling::scheduler))]
    scheduler: Option<(i32, i32)>,
    /// -1000 (the last that is killed when there is no memory) to 1000
    #[argh(option, from_str_fn(score))]
    oom_score_adj: Option<i32>,
    /// what the files that it makes may not be, in octal
    #[argh(option, from_str_fn(mask))]
    umask: Option<u32>,
    /// the only capabilities that it and its children can have, with commas, or "none", or "all"
    #[argh(option, from_str_fn(capability::set))]
    keep_caps: Option<u64>,
    /// capabilities that they cannot have
    #[argh(option, from_str_fn(capability::set))]
    drop_caps: Option<u64>,
    /// capabilities that it has although its user is not root
    #[argh(option, from_str_fn(capability::set))]
    ambient_caps: Option<u64>,
    /// no file that it executes gives it more rights
    #[argh(switch)]
    no_new_privs: bool,
    /// lock this file, as chpst -l: wait while another process has locked it
    #[argh(option)]
    lock: Option<String>,
    /// lock this file, as chpst -L: fail if another process has locked it
    #[argh(option)]
    lock_now: Option<String>,
    /// lead a session
    #[argh(switch)]
    session: bool,
    /// what it is called in its own eyes
    #[argh(option)]
    argv0: Option<String>,
}

// Types of their own: a vector in an option would be one that may be repeated.

#[derive(Debug)]
struct Groups(Vec<Vec<u8>>);

#[derive(Debug)]
struct Processors(Vec<u16>);

impl Exec {
    /// Becomes the command. `options` are our words as they were given. Returns the exit code if there is no command now.
    pub fn run(self, options: &[OsString], command: &[OsString]) -> i32 {
        if !are_text("exec", options) {
            return exit::USAGE;
        }
        if command.is_empty() {
            say("onit: exec: what is it to become? onit exec [OPTIONS] [--] CMD");
            return exit::USAGE;
        }
        if self.lock.is_some() && self.lock_now.is_some() {
            say("onit: exec: there is one lock: --lock or --lock-now");
            return exit::USAGE;
        }
        match self.plan() {
            Ok(plan) => report(&plan.run(command)),
            Err(why) => {
                say(format_args!("onit: exec: {why}"));
                exit::SYSTEM
            }
        }
    }

    fn plan(self) -> Result<Plan, String> {
        let environment = self.environment();
        let group = self.group()?;
        let (wait, path) = match (self.lock, self.lock_now) {
            (Some(path), _) => (lock::Wait::Forever, Some(path)),
            (None, path) => (lock::Wait::Never, path),
        };
        let capabilities =
            Capabilities { kept: kept(self.keep_caps, self.drop_caps), ambient: self.ambient_caps.unwrap_or(0) };
        Ok(Plan {
            session: self.session,
            environment,
            group,
            oom_score: self.oom_score_adj,
            root: self.chroot.map(Into::into),
            directory: self.cd.map(Into::into),
            nice: self.nice.unwrap_or(0),
            io_priority: self.ionice,
            processors: self.cpus.map(|Processors(numbers)| numbers),
            scheduler: self.scheduler,
            user: self.user.map(|word| Who { word: word.into_bytes(), look_up: of_words }),
            groups: self.groups.map(|Groups(words)| words),
            home: self.home,
            limits: self.limit.iter().filter_map(both).collect(),
            soft_limits: self.limit.iter().filter(|limit| limit.hard.is_none()).map(soft).collect(),
            capabilities,
            no_new_rights: self.no_new_privs,
            umask: self.umask,
            lock: path.map(|path| Lock { path: path.into(), kind: lock::Lock::Flock, wait }),
            name: self.argv0.map(Into::into),
            search: Search::Its,
            ..Plan::default()
        })
    }

    fn environment(&self) -> Vec<Change> {
        let clear = self.clear_env.then_some(Change::Clear(&[]));
        let directory = |path: &String| Change::Directory(path.into(), Rules::Chpst { verbose: false });
        let directories = self.env_dir.iter().map(directory);
        let files = self.env_file.iter().map(|path| Change::File(path.into()));
        let entries = self.env.iter().map(|text| Change::Entry(text.clone().into_bytes()));
        clear.into_iter().chain(directories).chain(files).chain(entries).collect()
    }

    /// What is written to which files of our control group.
    fn group(&self) -> Result<Option<GroupLimits>, String> {
        let files = [("memory.max", &self.memory), ("cpu.max", &self.cpu), ("pids.max", &self.pids)];
        let files: Vec<_> = files.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
        Ok(if files.is_empty() { None } else { Some(GroupLimits { directory: own_group()?, files }) })
    }
}

/// The directory of our control group, if there is nobody in it but us.
fn own_group() -> Result<PathBuf, String> {
    let [cgroup, mounts] =
        ["cgroup", "mountinfo"].map(|name| std::fs::read(format!("/proc/self/{name}")).unwrap_or_default());
    let directory = cgroup::directory(&cgroup, &mounts::mounts(&mounts))
        .ok_or("--memory, --cpu and --pids need control groups (version 2), and none is to be seen here")?;
    let members = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let others = members.lines().filter(|pid| *pid != std::process::id().to_string()).count();
    if others > 0 || !directory.join("cgroup.type").exists() {
        return Err(shared_group(&directory, others));
    }
    Ok(directory)
}

fn shared_group(directory: &Path, others: usize) -> String {
    let who = match others {
        0 => "that of the whole machine".into(),
        1 => "that of another process, too".into(),
        _ => format!("that of {others} other processes, too"),
    };
    format!(
        "--memory, --cpu and --pids would limit others: the control group {} is {who} (kill-mode cgroup gives a service \
        one of its own)",
        directory.display()
    )
}

/// What is left of all capabilities.
fn kept(kept: Option<u64>, dropped: Option<u64>) -> Option<u64> {
    (kept.is_some() || dropped.is_some()).then(|| kept.unwrap_or(u64::MAX) & !dropped.unwrap_or(0))
}

fn report(failure: &Failure) -> i32 {
    say(format_args!("onit: exec: {}", words(failure)));
    match failure.step {
        Step::Run if failure.errno == Errno::ENOENT => exit::NOT_FOUND,
        Step::Run => exit::NOT_EXECUTABLE,
        _ => exit::SYSTEM,
    }
}

/// What could not be done, in a line.
fn words(failure: &Failure) -> String {
    let object = String::from_utf8_lossy(&failure.object);
    let what = match failure.step {
        Step::OpenHere => "cannot open the working directory".into(),
        Step::EnterVariables | Step::OpenVariables | Step::ListVariables | Step::ReadVariables => {
            format!("cannot read {object}")
        }
        Step::BadVariable => return object.into_owned(),
        Step::WriteGroup if failure.errno == Errno::ENOENT => {
            return format!("there is no {object}: no cgroup.subtree_control above it names that controller");
        }
        Step::WriteGroup => format!("cannot write {object}"),
        Step::OomScore => "cannot set oom_score_adj".into(),
        Step::ChangeDirectory => format!("cannot change to {object}"),
        Step::ChangeRoot => "cannot change the root".into(),
        Step::Nice => "cannot set the niceness".into(),
        Step::IoPriority => "cannot set the priority for disks".into(),
        Step::Processors => "cannot set the processors".into(),
        Step::Scheduler => "cannot set the scheduler".into(),
        Step::ReadUsers => "cannot read the lists of users and groups".into(),
        Step::UnknownUser => return format!("there is no user \"{object}\""),
        Step::UnknownGroup => return format!("there is no group \"{object}\""),
        Step::BadNumbers => return format!("{object} is no user"),
        Step::NoGroup => return format!("no list has user {object}, so say its group: --user {object}:GROUP"),
        Step::SetGroups => "cannot set the groups".into(),
        Step::SetGroup => "cannot set the group".into(),
        Step::SetUser => "cannot set the user".into(),
        Step::Capabilities => "cannot set the capabilities".into(),
        Step::NoNewRights => "cannot set no_new_privs".into(),
        Step::OpenLock => format!("cannot open {object}"),
        Step::Lock if failure.errno == Errno::EAGAIN => return format!("{object} is locked by another process"),
        Step::Lock => format!("cannot lock {object}"),
        Step::Close => format!("cannot close {object}"),
        Step::GetLimit => "cannot read a limit".into(),
        Step::SetLimit => "cannot set a limit".into(),
        Step::Run => format!("cannot run {object}"),
    };
    format!("{what}: {}", failure.errno.desc())
}

// How the values of options are read.

fn groups(text: &str) -> Result<Groups, String> {
    let words = text.split(',').filter(|_| text != "none").map(|word| word.as_bytes().to_vec());
    Ok(Groups(words.collect()))
}

fn processors(text: &str) -> Result<Processors, String> {
    scheduling::processors(text).map(Processors)
}

fn variable(text: &str) -> Result<String, String> {
    if text.starts_with('=') { Err("there is no name before =".into()) } else { Ok(text.into()) }
}

fn both(limit: &limit::Limit) -> Option<(LimitKind, Limit)> {
    limit.hard.map(|hard| (limit.kind, Limit { soft: limit.soft, hard }))
}

fn soft(limit: &limit::Limit) -> (LimitKind, SoftLimit) {
    (limit.kind, SoftLimit::AtMost(limit.soft))
}

fn amount(text: &str) -> Result<String, String> {
    limit::amount(text).map(|amount| if amount == u64::MAX { "max".into() } else { amount.to_string() })
}

fn score(text: &str) -> Result<i32, String> {
    let score = text.parse().ok().filter(|score| (-1000..=1000).contains(score));
    score.ok_or_else(|| "it is from -1000 to 1000".into())
}

fn mask(text: &str) -> Result<u32, String> {
    let mask = u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| "write it in octal, as 027".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_those_that_are_kept_and_not_dropped() {
        assert_eq!(kept(None, None), None);
        assert_eq!(kept(Some(0b11), Some(0b01)), Some(0b10));
        assert_eq!(kept(None, Some(1)), Some(u64::MAX - 1));
    }

    #[test]
    fn values_are_read_or_refused() {
        assert_eq!(
            (mask("027"), mask("0").is_ok(), mask("8").is_err(), mask("1000").is_err()),
            (Ok(0o27), true, true, true)
        );
        assert!(score("-1000").is_ok() && score("1001").is_err() && score("x").is_err());
        assert_eq!((amount("1K").as_deref(), amount("max").as_deref()), (Ok("1024"), Ok("max")));
        assert!(groups("none").is_ok_and(|Groups(words)| words.is_empty()));
        assert!(groups("a,5").is_ok_and(|Groups(words)| words == [b"a".to_vec(), b"5".to_vec()]));
    }

    #[test]
    fn what_comes_of_the_environment_has_an_order() {
        let words = ["--env", "A=1", "--env-file", "f", "--clear-env", "--env-dir", "d"];
        let exec = Exec::from_args(&["onit exec"], &words).expect("words");
        let directory = Change::Directory("d".into(), Rules::Chpst { verbose: false });
        let changes = [Change::Clear(&[]), directory, Change::File("f".into()), Change::Entry(b"A=1".to_vec())];
        assert_eq!(exec.environment(), changes);
    }

    #[test]
    fn each_failure_has_a_line() {
        let line = |step, errno| words(&Failure { step, object: b"x".to_vec(), errno });
        assert_eq!(line(Step::Run, Errno::ENOENT), "cannot run x: No such file or directory");
        assert_eq!(line(Step::Lock, Errno::EAGAIN), "x is locked by another process");
        assert_eq!(line(Step::NoGroup, Errno::UnknownErrno), "no list has user x, so say its group: --user x:GROUP");
    }
}
