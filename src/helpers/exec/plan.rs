//! What is to be changed, and the one order in which that is done.

use super::environment::{Change, Environment};
use super::users::{self, Identity};
use crate::machine::LimitKind;
use crate::sys::limits::{self, Limit};
use crate::sys::program::{self, Program};
use crate::sys::{Errno, capabilities, credentials, fs, lock, process, scheduling};
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What is to be changed in this process. It is done in the order of the fields: a directory of variables is looked for
/// outside of the new root, users and the lock file inside of it, and the lock file is opened as the new user.
#[derive(Default)]
pub struct Plan {
    /// It leads a session, if it can.
    pub session: bool,
    /// What becomes of the environment, one after the other.
    pub environment: Vec<Change>,
    /// What is written to files of our control group.
    pub group: Option<GroupLimits>,
    /// How gladly the kernel kills it when there is no memory, -1000 to 1000.
    pub oom_score: Option<i32>,
    /// A directory that becomes its root, and its working directory.
    pub root: Option<OsString>,
    /// Its working directory.
    pub directory: Option<OsString>,
    /// What is added to its niceness.
    pub nice: i32,
    /// Class and level for disks.
    pub io_priority: Option<(u8, u8)>,
    /// The processors that it runs on.
    pub processors: Option<Vec<u16>>,
    /// Policy and priority.
    pub scheduler: Option<(i32, i32)>,
    /// A user whose numbers are exported as UID and GID.
    pub exported: Option<Who>,
    /// The user that it becomes.
    pub user: Option<Who>,
    /// Its supplementary groups, by name or number, if they are not those of that user.
    pub groups: Option<Vec<Vec<u8>>>,
    /// HOME, USER, LOGNAME and SHELL are those of this user.
    pub home: bool,
    /// Limits, soft and hard. A hard limit can only be raised by one who may.
    pub limits: Vec<(LimitKind, Limit)>,
    /// What it may do.
    pub capabilities: Capabilities,
    /// It gets no more rights by executing files.
    pub no_new_rights: bool,
    /// What the files that it makes may not be.
    pub umask: Option<u32>,
    /// The file that it keeps locked.
    pub lock: Option<Lock>,
    /// Whether the descriptors 0, 1 and 2 are closed.
    pub closed: [bool; 3],
    /// Soft limits, one after the other.
    pub soft_limits: Vec<(LimitKind, SoftLimit)>,
    /// What it is called, if not as its program.
    pub name: Option<OsString>,
    /// How its program is looked for.
    pub search: Search,
}

/// A user, looked up when it is needed: the new root may have other lists.
pub struct Who {
    /// How it is written.
    pub word: Vec<u8>,
    /// How that is read.
    pub look_up: fn(&[u8]) -> Result<Identity, Failure>,
}

impl Who {
    fn look_up(&self) -> Result<Identity, Failure> {
        (self.look_up)(&self.word)
    }
}

/// Limits of a control group.
pub struct GroupLimits {
    /// Its directory.
    pub directory: PathBuf,
    /// Files there, and what is written to each.
    pub files: Vec<(&'static str, String)>,
}

/// Capabilities, a bit for each.
#[derive(Clone, Copy, Default)]
pub struct Capabilities {
    /// Those that it and what it executes may have at all; else what they may have now.
    pub kept: Option<u64>,
    /// Those that it has whoever its user is.
    pub ambient: u64,
}

/// A lock file.
pub struct Lock {
    /// Its path.
    pub path: OsString,
    /// Which lock.
    pub kind: lock::Lock,
    /// How long another process is waited for.
    pub wait: lock::Wait,
}

/// A soft limit; the hard one stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SoftLimit {
    /// This, or the hard one if that is lower.
    AtMost(u64),
    /// The hard one.
    Hard,
}

/// How a program without a slash in its name is looked for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// In our own PATH, where an empty entry is the working directory: daemontools, runit.
    #[default]
    Ours,
    /// In our own PATH, where an empty entry is none: s6.
    OursWithoutEmpty,
    /// In the PATH that it gets itself.
    Its,
}

/// What could not be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The working directory cannot be opened.
    OpenHere,
    /// A directory of variables cannot be entered.
    EnterVariables,
    /// It cannot be opened.
    OpenVariables,
    /// It cannot be read.
    ListVariables,
    /// A file of variables, or in such a directory, cannot be read.
    ReadVariables,
    /// A line of a file of variables is wrong; the object says which, and why.
    BadVariable,
    /// The file of a control group cannot be written.
    WriteGroup,
    /// oom_score_adj cannot be written.
    OomScore,
    /// A directory cannot be entered.
    ChangeDirectory,
    /// The root cannot be changed.
    ChangeRoot,
    /// Niceness.
    Nice,
    /// Class and level for disks.
    IoPriority,
    /// The processors to run on.
    Processors,
    /// Policy and priority.
    Scheduler,
    /// The lists of users and groups cannot be read.
    ReadUsers,
    /// There is no such user or group.
    UnknownUser,
    /// There is no such group.
    UnknownGroup,
    /// These are no numbers of a user and its groups.
    BadNumbers,
    /// A user without an entry has no group of its own.
    NoGroup,
    /// Supplementary groups.
    SetGroups,
    /// The group.
    SetGroup,
    /// The user.
    SetUser,
    /// Capabilities.
    Capabilities,
    /// The right to no new rights.
    NoNewRights,
    /// The lock file cannot be opened.
    OpenLock,
    /// The lock file cannot be locked.
    Lock,
    /// A standard descriptor cannot be closed; the object is its name.
    Close,
    /// A limit cannot be read.
    GetLimit,
    /// A limit cannot be set.
    SetLimit,
    /// The program cannot be executed.
    Run,
}

/// Why this process is still what it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What could not be done.
    pub step: Step,
    /// With which file, user or program; empty if that goes without saying.
    pub object: Vec<u8>,
    /// Why; 0 where that goes without saying.
    pub errno: Errno,
}

impl Failure {
    /// Something of the process itself.
    pub fn of(step: Step) -> impl FnOnce(Errno) -> Failure {
        move |errno| Failure { step, object: Vec::new(), errno }
    }

    /// Something with a file.
    pub fn with(step: Step, object: impl AsRef<[u8]>) -> impl FnOnce(Errno) -> Failure {
        move |errno| Failure { step, object: object.as_ref().to_vec(), errno }
    }

    /// Something that is wrong by itself.
    pub fn plain(step: Step, object: impl AsRef<[u8]>) -> Failure {
        Failure { step, object: object.as_ref().to_vec(), errno: Errno::UnknownErrno }
    }
}

/// As the number of an error.
pub(super) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

impl Plan {
    /// Becomes the program that these words, one at least, are. Returns only if that fails.
    pub fn run(&self, words: &[OsString]) -> Failure {
        match self.carry_out(words) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn carry_out(&self, words: &[OsString]) -> Result<Infallible, Failure> {
        if self.session {
            process::lead_session();
        }
        let mut environment = Environment::ours();
        self.environment.iter().try_for_each(|change| change.make(&mut environment))?;
        self.write_kernel_files()?;
        self.change_place()?;
        self.change_schedule()?;
        if let Some(who) = &self.exported {
            who.look_up()?.export(&mut environment);
        }
        self.change_user(&mut environment)?;
        self.umask.into_iter().for_each(credentials::set_umask);
        self.take_lock()?;
        self.close()?;
        let file = words.first().map(OsString::as_os_str).unwrap_or_default();
        let program = self.program(file, words, environment)?;
        set_limits(&self.limits)?;
        self.soft_limits.iter().try_for_each(|(kind, soft)| set_soft_limit(*kind, *soft))?;
        let mut skipped = vec![Errno::EACCES, Errno::EPERM, Errno::EISDIR];
        skipped.extend((self.search != Search::Ours).then_some(Errno::ENOTDIR));
        let name = self.name.as_deref().unwrap_or(file);
        Err(Failure::with(Step::Run, name.as_bytes())(program.execute(&skipped)))
    }

    fn program(&self, file: &OsStr, words: &[OsString], environment: Environment) -> Result<Program, Failure> {
        let path = match self.search {
            Search::Its => environment.value(b"PATH").map(<[u8]>::to_vec),
            Search::Ours | Search::OursWithoutEmpty => std::env::var_os("PATH").map(|path| path.as_bytes().to_vec()),
        };
        let paths = candidates(file.as_bytes(), path.as_deref(), self.search == Search::OursWithoutEmpty);
        let mut words = words.to_vec();
        if let (Some(first), Some(name)) = (words.first_mut(), &self.name) {
            first.clone_from(name);
        }
        Program::new(paths, &words, environment.into_entries()).map_err(Failure::with(Step::Run, file.as_bytes()))
    }

    fn write_kernel_files(&self) -> Result<(), Failure> {
        for (group, (name, value)) in
            self.group.iter().flat_map(|group| group.files.iter().map(move |file| (group, file)))
        {
            let path = group.directory.join(name);
            // Never made: where there is no such file the kernel does not limit it.
            let file = std::fs::OpenOptions::new().write(true).open(&path);
            file.and_then(|mut file| file.write_all(value.as_bytes()))
                .map_err(|error| Failure::with(Step::WriteGroup, path.as_os_str().as_bytes())(errno_of(&error)))?;
        }
        let Some(score) = self.oom_score else { return Ok(()) };
        std::fs::write("/proc/self/oom_score_adj", score.to_string())
            .map_err(|error| Failure::of(Step::OomScore)(errno_of(&error)))
    }

    fn change_place(&self) -> Result<(), Failure> {
        let enter = |path: &OsStr| fs::enter(path).map_err(Failure::with(Step::ChangeDirectory, path.as_bytes()));
        if let Some(root) = &self.root {
            enter(root)?;
            credentials::change_root().map_err(Failure::of(Step::ChangeRoot))?;
        }
        self.directory.as_deref().map_or(Ok(()), enter)
    }

    fn change_schedule(&self) -> Result<(), Failure> {
        if self.nice != 0 {
            scheduling::add_niceness(self.nice).map_err(Failure::of(Step::Nice))?;
        }
        if let Some((class, level)) = self.io_priority {
            scheduling::set_io_priority(class, level).map_err(Failure::of(Step::IoPriority))?;
        }
        if let Some(processors) = &self.processors {
            scheduling::set_processors(processors).map_err(Failure::of(Step::Processors))?;
        }
        if let Some((policy, priority)) = self.scheduler {
            scheduling::set_scheduler(policy, priority).map_err(Failure::of(Step::Scheduler))?;
        }
        Ok(())
    }

    /// Becomes the user. What it takes rights for that the user does not have comes before.
    fn change_user(&self, environment: &mut Environment) -> Result<(), Failure> {
        let mut identity = self.user.as_ref().map(Who::look_up).transpose()?.unwrap_or_default();
        if let Some(groups) = &self.groups {
            identity.groups = Some(groups.iter().map(|word| users::group(word)).collect::<Result<_, _>>()?);
        }
        if self.home {
            identity.set_home(environment);
        }
        raise_hard_limits(&self.limits)?;
        let Capabilities { kept, ambient } = self.capabilities;
        let of_capabilities = || Failure::of(Step::Capabilities);
        kept.map_or(Ok(()), capabilities::bound).map_err(of_capabilities())?;
        if ambient != 0 {
            capabilities::keep_over_change_of_user().map_err(of_capabilities())?;
        }
        identity.become_it()?;
        if kept.is_some() || ambient != 0 {
            let now = capabilities::get().map_err(of_capabilities())?;
            let kept = kept.unwrap_or(u64::MAX);
            // Another user than root goes on as one: it opens the lock file without rights that it will not have.
            let permitted =
                now.permitted & kept & if identity.user.is_none_or(|user| user == 0) { u64::MAX } else { ambient };
            let inheritable = now.inheritable & kept | ambient;
            let sets = capabilities::Sets { effective: permitted, permitted, inheritable };
            capabilities::set(sets).map_err(of_capabilities())?;
            capabilities::raise_ambient(ambient).map_err(of_capabilities())?;
        }
        if self.no_new_rights {
            credentials::forgo_new_rights().map_err(Failure::of(Step::NoNewRights))?;
        }
        Ok(())
    }

    fn take_lock(&self) -> Result<(), Failure> {
        let Some(Lock { path, kind, wait }) = &self.lock else { return Ok(()) };
        let file = lock::open(path, *kind).map_err(Failure::with(Step::OpenLock, path.as_bytes()))?;
        lock::lock(&file, *kind, *wait).map_err(Failure::with(Step::Lock, path.as_bytes()))?;
        std::mem::forget(file); // the program has it
        Ok(())
    }

    fn close(&self) -> Result<(), Failure> {
        for ((fd, name), closed) in (0..).zip(["stdin", "stdout", "stderr"]).zip(self.closed) {
            if closed {
                program::close_standard(fd).map_err(Failure::with(Step::Close, name))?;
            }
        }
        Ok(())
    }
}

/// So that the soft ones can be raised by a user who may not raise the hard ones.
fn raise_hard_limits(wanted: &[(LimitKind, Limit)]) -> Result<(), Failure> {
    for (kind, wanted) in wanted {
        let now = limits::get(*kind).map_err(Failure::of(Step::GetLimit))?;
        if wanted.hard > now.hard {
            limits::set(*kind, Limit { hard: wanted.hard, ..now }).map_err(Failure::of(Step::SetLimit))?;
        }
    }
    Ok(())
}

fn set_limits(wanted: &[(LimitKind, Limit)]) -> Result<(), Failure> {
    wanted.iter().try_for_each(|(kind, wanted)| limits::set(*kind, *wanted)).map_err(Failure::of(Step::SetLimit))
}

fn set_soft_limit(kind: LimitKind, wanted: SoftLimit) -> Result<(), Failure> {
    let now = limits::get(kind).map_err(Failure::of(Step::GetLimit))?;
    let soft = match wanted {
        SoftLimit::AtMost(soft) => soft.min(now.hard),
        SoftLimit::Hard => now.hard,
    };
    limits::set(kind, Limit { soft, ..now }).map_err(Failure::of(Step::SetLimit))
}

/// Where a program may be. A name with a slash is a path.
fn candidates(program: &[u8], path: Option<&[u8]>, skips_empty: bool) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let path = path.unwrap_or(if skips_empty { b"/usr/bin:/bin" } else { b"/bin:/usr/bin" });
    let directories = path.split(|byte| *byte == b':').filter(|directory| !skips_empty || !directory.is_empty());
    directories.map(|directory| [if directory.is_empty() { b"." } else { directory }, b"/", program].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_in_path() {
        let found = |program: &str, path: Option<&str>, skips_empty| {
            let paths = candidates(program.as_bytes(), path.map(str::as_bytes), skips_empty);
            paths.into_iter().map(|path| String::from_utf8(path).expect("text")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("sh", Some("/a:/b"), false), "/a/sh /b/sh");
        assert_eq!(found("sh", Some(":/b:"), false), "./sh /b/sh ./sh");
        assert_eq!(found("sh", Some(":/b:"), true), "/b/sh");
        assert_eq!(found("./sh", Some("/a"), false), "./sh");
        assert_eq!(found("sh", None, false), "/bin/sh /usr/bin/sh");
        assert_eq!(found("sh", None, true), "/usr/bin/sh /bin/sh");
    }
}
