//! A service, described.

use super::{Condition, HealthPolicy, Settings, Target};
use crate::wire::settings::small_files;
use crate::wire::sockets::Socket;
use crate::wire::svdir;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The user that a service runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum User {
    /// By name. Where no group is given, chpst and setuidgid give it its own one, onit and s6-setuidgid all that it is in.
    Name(String),
    /// By number. daemontools has no word for it.
    Id {
        /// The user.
        user: u32,
        /// Its group.
        group: u32,
    },
}

impl<T: Into<String>> From<T> for User {
    fn from(name: T) -> User {
        User::Name(name.into())
    }
}

/// What a limit is put on. The soft limit is set, and never above the hard one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Resource {
    /// Address space, in bytes.
    AddressSpace,
    /// A core file, in bytes.
    Core,
    /// Processor time, in seconds.
    Cpu,
    /// The data segment, in bytes.
    Data,
    /// A file that is written, in bytes.
    FileSize,
    /// Locked memory, in bytes.
    LockedMemory,
    /// Open files.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// Resident memory, in bytes; Linux ignores it now.
    Resident,
    /// The stack, in bytes.
    Stack,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 10] = [
        Resource::AddressSpace,
        Resource::Core,
        Resource::Cpu,
        Resource::Data,
        Resource::FileSize,
        Resource::LockedMemory,
        Resource::OpenFiles,
        Resource::Processes,
        Resource::Resident,
        Resource::Stack,
    ];

    /// Our word for it.
    pub fn word(self) -> &'static str {
        self.names().0
    }

    /// The option of softlimit and s6-softlimit.
    pub(super) fn option(self) -> &'static str {
        self.names().1
    }

    /// systemd's word for it, after `Limit`.
    #[cfg(feature = "systemd")]
    pub(super) fn systemd(self) -> &'static str {
        self.names().2
    }

    /// Whether chpst has the same option.
    pub(super) fn is_of_chpst(self) -> bool {
        !matches!(self, Resource::AddressSpace | Resource::LockedMemory | Resource::Stack)
    }

    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Resource::AddressSpace => ("address-space", "-a", "AS"),
            Resource::Core => ("core", "-c", "CORE"),
            Resource::Cpu => ("cpu", "-t", "CPU"),
            Resource::Data => ("data", "-d", "DATA"),
            Resource::FileSize => ("file-size", "-f", "FSIZE"),
            Resource::LockedMemory => ("locked-memory", "-l", "MEMLOCK"),
            Resource::OpenFiles => ("open-files", "-o", "NOFILE"),
            Resource::Processes => ("processes", "-p", "NPROC"),
            Resource::Resident => ("resident", "-r", "RSS"),
            Resource::Stack => ("stack", "-s", "STACK"),
        }
    }
}

/// Something to be executed beside the service itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    pub(super) content: ScriptContent,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum ScriptContent {
    Command(Vec<OsString>),
    File(Vec<u8>),
}

impl Script {
    /// This command, word for word.
    pub fn command<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Script {
        Script { content: ScriptContent::Command(words.into_iter().map(Into::into).collect()) }
    }

    /// These lines, for `/bin/sh`.
    pub fn shell(lines: impl AsRef<[u8]>) -> Script {
        let mut file = b"#!/bin/sh\n".to_vec();
        file.extend_from_slice(lines.as_ref());
        if !file.ends_with(b"\n") {
            file.push(b'\n');
        }
        Script { content: ScriptContent::File(file) }
    }

    /// A file with exactly this content: a script with its first line, or a binary.
    pub fn file(content: impl Into<Vec<u8>>) -> Script {
        Script { content: ScriptContent::File(content.into()) }
    }
}

/// Where a service's standard output goes: a directory of log files, kept by the logger of the target (svlogd, which
/// onit is as well, multilog or s6-log).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logger {
    pub(super) directory: PathBuf,
    pub(super) size: u64,
    pub(super) count: u32,
    pub(super) tee: bool,
}

impl Logger {
    /// Keeps ten files of a million bytes in this directory; a relative one is in the service's `log/`. What has a meaning
    /// there (`run`, `supervise`, `down` and so on) is no name for it: that is an error when the directory is written.
    pub fn new(directory: impl Into<PathBuf>) -> Logger {
        Logger { directory: directory.into(), size: 1_000_000, count: 10, tee: false }
    }

    /// A file is closed when it has this size, in bytes. multilog takes 4096 to 16777215, s6-log 4096 to 268435455,
    /// svlogd anything; 0: never, with svlogd.
    pub fn size(self, size: u64) -> Logger {
        Logger { size, ..self }
    }

    /// This many closed files are kept. multilog keeps at least 2; 0: all, with svlogd.
    pub fn count(self, count: u32) -> Logger {
        Logger { count, ..self }
    }

    /// Each line also goes to the logger's own standard output, as it came. Only onit's logger does that.
    pub fn tee(self) -> Logger {
        Logger { tee: true, ..self }
    }
}

/// A service, and what writes its directory.
///
/// What the service is given arrives unchanged, whatever bytes it consists of: its words, its variables, its paths.
/// What the [`Target`] cannot express is an error when the directory is written.
///
/// The environment is written into `run`: no file of `env/` can hold a value that ends in a blank. A user who may read
/// the directory may read it; see [`private`](ServiceBuilder::private).
///
/// Not everything that can be said is acted upon by this version of onit: [`ServiceDir::read`](super::ServiceDir::read)
/// and [`lint`](super::lint) tell what is not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "nothing is on disk before write()"]
pub struct ServiceBuilder {
    pub(super) command: Vec<OsString>,
    pub(super) target: Target,
    pub(super) replace: bool,
    pub(super) private: bool,
    pub(super) directory: Option<PathBuf>,
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) clear: bool,
    pub(super) user: Option<User>,
    pub(super) groups: Vec<String>,
    pub(super) limits: BTreeMap<Resource, u64>,
    pub(super) nice: Option<i32>,
    pub(super) logger: Option<Logger>,
    pub(super) scripts: BTreeMap<&'static str, Script>,
    pub(super) control: BTreeMap<char, Script>,
    pub(super) settings: Settings,
}

/// How the service is run.
impl ServiceBuilder {
    /// A service that is this program with these arguments. It has to stay in the foreground.
    pub fn new<W: Into<OsString>>(command: impl IntoIterator<Item = W>) -> ServiceBuilder {
        ServiceBuilder { command: command.into_iter().map(Into::into).collect(), ..ServiceBuilder::default() }
    }

    /// A service that is done when this has succeeded: there is no `run`.
    pub fn oneshot(setup: Script) -> ServiceBuilder {
        ServiceBuilder::default().setup(setup)
    }

    /// The supervisor that is to look after it; onit if none is named.
    pub fn target(mut self, target: Target) -> ServiceBuilder {
        self.target = target;
        self
    }

    /// Its working directory; its service directory if none is named. A relative path begins there, too.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> ServiceBuilder {
        self.directory = Some(directory.into());
        self
    }

    /// Sets a variable in its environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> ServiceBuilder {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// It has only the variables that are set here, and none from its supervisor.
    pub fn clear_env(mut self) -> ServiceBuilder {
        self.clear = true;
        self
    }

    /// The user that it runs as.
    pub fn user(mut self, user: impl Into<User>) -> ServiceBuilder {
        self.user = Some(user.into());
        self
    }

    /// In which groups it is: its own group first, and then the others. By name for a user by name, by number for one by
    /// number, where these come after [`User::Id`]'s own.
    pub fn groups<G: Into<String>>(mut self, groups: impl IntoIterator<Item = G>) -> ServiceBuilder {
        self.groups = groups.into_iter().map(Into::into).collect();
        self
    }

    /// Limits what it may use; the unit is that of the [`Resource`].
    pub fn limit(mut self, resource: Resource, value: u64) -> ServiceBuilder {
        self.limits.insert(resource, value);
        self
    }

    /// How nice it is, relative to its supervisor: -39 to 39.
    pub fn nice(mut self, nice: i32) -> ServiceBuilder {
        self.nice = Some(nice);
        self
    }

    /// Where its output goes, standard error included.
    pub fn logger(mut self, logger: Logger) -> ServiceBuilder {
        self.logger = Some(logger);
        self
    }
}

/// Other programs of the service.
impl ServiceBuilder {
    /// What runs before each start of it.
    pub fn setup(self, script: Script) -> ServiceBuilder {
        self.script("setup", script)
    }

    /// What runs in place of its stop signal.
    pub fn stop(self, script: Script) -> ServiceBuilder {
        self.script("stop", script)
    }

    /// What runs after each end of it.
    pub fn finish(self, script: Script) -> ServiceBuilder {
        self.script("finish", script)
    }

    /// What says by its exit code whether it is available.
    pub fn check(self, script: Script) -> ServiceBuilder {
        self.script("check", script)
    }

    /// What says by its exit code whether it is well, and what follows.
    pub fn health(mut self, script: Script, policy: HealthPolicy) -> ServiceBuilder {
        self.settings.health_policy = Some(policy);
        self.script("health", script)
    }

    /// What runs in place of the signal of a command: one of `t k p c h a i q 1 2`, or `u d x`, as in runit.
    pub fn control(mut self, command: char, script: Script) -> ServiceBuilder {
        self.control.insert(command, script);
        self
    }

    /// A `run` of another form, in place of the one that is written for its command.
    #[cfg(feature = "embed")]
    pub(crate) fn run_file(self, script: Script) -> ServiceBuilder {
        self.script("run", script)
    }

    fn script(mut self, name: &'static str, script: Script) -> ServiceBuilder {
        self.scripts.insert(name, script);
        self
    }
}

/// What its small files say.
impl ServiceBuilder {
    /// Everything that [`ServiceDir::read`](super::ServiceDir::read) has found in the small files of another service.
    pub fn settings(mut self, settings: Settings) -> ServiceBuilder {
        self.settings = settings;
        self
    }

    /// It is not started by itself.
    pub fn down(mut self) -> ServiceBuilder {
        self.settings.down = true;
        self
    }

    /// It starts when this service is ready, and stops before it.
    pub fn depends_on(mut self, service: impl Into<OsString>) -> ServiceBuilder {
        self.settings.dependencies.push(service.into());
        self
    }

    /// It starts when this service is ready or has settled.
    pub fn after(mut self, service: impl Into<OsString>) -> ServiceBuilder {
        self.settings.after.push(service.into());
        self
    }

    /// This is bound before it starts, and held over its restarts.
    pub fn socket(mut self, socket: Socket) -> ServiceBuilder {
        self.settings.sockets.push(socket);
        self
    }

    /// It starts only if this holds as well.
    pub fn condition(mut self, condition: Condition) -> ServiceBuilder {
        self.settings.conditions.push(condition);
        self
    }
}

macro_rules! setter {
    ($(#[$doc:meta])* $field:ident: Limit) => {
        $(#[$doc])*
        pub fn $field(mut self, limit: impl Into<svdir::Limit>) -> ServiceBuilder {
            self.settings.$field = Some(limit.into());
            self
        }
    };
    ($(#[$doc:meta])* $field:ident: $type:ident) => {
        $(#[$doc])*
        pub fn $field(mut self, value: svdir::$type) -> ServiceBuilder {
            self.settings.$field = Some(value);
            self
        }
    };
}

macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $type:ident = $name:tt $(, option $help:tt)? { $($row:tt)* })*) => {
        /// What its small files say, one value each.
        impl ServiceBuilder {
            $(setter!($(#[$doc])* $field: $type);)*
        }
    };
}
small_files!(setters);

/// How it is written.
impl ServiceBuilder {
    /// A directory that was written before is made to say this, file by file; what other programs or users have put
    /// into it stays.
    pub fn replace(mut self, replace: bool) -> ServiceBuilder {
        self.replace = replace;
        self
    }

    /// No other user may look into the directory: for secrets in the environment.
    pub fn private(mut self, private: bool) -> ServiceBuilder {
        self.private = private;
        self
    }

    pub(super) fn place(&self, directory: &Path) -> PathBuf {
        if directory.is_absolute() { directory.to_owned() } else { Path::new(".").join(directory) }
    }
}
