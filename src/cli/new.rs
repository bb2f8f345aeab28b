//! `onit new NAME -- CMD`: a service directory, written.

use crate::exit;
use crate::service_dir::{
    Condition, Error, Logger, Resource, Script, ServiceBuilder, ServiceDir, Socket, TOOL_MISSING, Target, User,
};
use crate::sys::say::say;
use crate::wire::settings::{self, Settings, small_files};
use crate::wire::svdir;
use argh::{ArgsInfo, FromArgs};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

macro_rules! options {
    ($($(#[$doc:meta])* $field:ident: $type:ident = $name:tt $(, option $help:tt)? { $($row:tt)* })*) => {
        /// Write a service directory that runs CMD.
        #[derive(FromArgs, ArgsInfo, Debug)]
        #[argh(help_triggers("-h", "--help"))]
        #[argh(note = "CMD has to stay in the foreground.")]
        pub struct New {
            /// its name
            #[argh(positional, arg_name = "NAME")]
            name: String,
            /// where it goes (default: $SVDIR, else /etc/service)
            #[argh(option)]
            dir: Option<PathBuf>,
            /// who is to supervise it: onit (default), runit, daemontools or s6
            #[argh(option, default = "Target::Onit")]
            target: Target,
            /// make a directory that was written this way before say this
            #[argh(switch)]
            replace: bool,
            /// nobody else may look into the directory
            #[argh(switch)]
            private: bool,
            /// working directory
            #[argh(option)]
            cwd: Option<PathBuf>,
            /// variable, as NAME=VALUE; may be repeated
            #[argh(option, from_str_fn(variable))]
            env: Vec<(String, String)>,
            /// no other variable
            #[argh(switch)]
            clear_env: bool,
            /// user, by name or as UID:GID
            #[argh(option, from_str_fn(user))]
            user: Option<User>,
            /// group; may be repeated: the first one is its own
            #[argh(option)]
            group: Vec<String>,
            /// limit, as open-files=1024; may be repeated. Others: address-space core cpu data file-size locked-memory processes
            /// resident stack
            #[argh(option, from_str_fn(limit))]
            limit: Vec<(Resource, u64)>,
            /// niceness
            #[argh(option)]
            nice: Option<i32>,
            /// directory of its log files; a relative one is in log/
            #[argh(option)]
            log: Option<PathBuf>,
            /// a log file is closed at this size, in bytes (default: 1000000)
            #[argh(option)]
            log_size: Option<u64>,
            /// this many closed log files are kept (default: 10)
            #[argh(option)]
            log_count: Option<u32>,
            /// each line also goes to the standard output of the logger
            #[argh(switch)]
            log_tee: bool,
            /// shell command that runs before each start
            #[argh(option)]
            setup: Option<String>,
            /// shell command that runs in place of the signal that stops it
            #[argh(option)]
            stop: Option<String>,
            /// shell command that runs after each end
            #[argh(option)]
            finish: Option<String>,
            /// shell command that says whether it is available
            #[argh(option)]
            check: Option<String>,
            /// do not start it by itself
            #[argh(switch)]
            down: bool,
            /// service that has to be ready first; may be repeated
            #[argh(option)]
            depends_on: Vec<String>,
            /// service that is waited for, if it comes to anything; may be repeated
            #[argh(option)]
            after: Vec<String>,
            /// start only if it holds: "env NAME", "env NAME=VALUE", "path PATH", or with ! before it; may be repeated
            #[argh(option, from_str_fn(condition))]
            condition: Vec<Condition>,
            /// socket that is bound for it, as "tcp 0.0.0.0:80"; may be repeated
            #[argh(option, from_str_fn(socket))]
            socket: Vec<Socket>,
            $($(#[doc = $help] #[argh(option, from_str_fn(given::$field))] $field: Option<svdir::$type>,)?)*
        }

        impl New {
            /// What the options say that have the names of small files.
            fn settings(&self) -> Settings {
                let mut settings = Settings::default();
                $($(_ = $help; settings.$field = self.$field.clone();)?)*
                settings
            }
        }

        /// How the values of these options are read: as those of the files that they go into.
        mod given {
            use super::svdir;

            $($(
                #[doc = $help]
                pub fn $field(text: &str) -> Result<svdir::$type, String> {
                    super::given($name, text, |settings| settings.$field)
                }
            )?)*
        }
    };
}
small_files!(options);

fn given<T>(name: &str, text: &str, get: fn(Settings) -> Option<T>) -> Result<T, String> {
    let row = settings::value(name).ok_or("there is no such file")?;
    let mut settings = Settings::default();
    (row.parse)(&mut settings, text);
    get(settings).ok_or_else(|| row.hint.to_owned())
}

/// The words before `--`, and the command after it, byte for byte.
pub fn split(args: &[OsString]) -> (&[OsString], &[OsString]) {
    let end = args.iter().position(|word| word == "--").unwrap_or(args.len());
    (args.get(..end).unwrap_or_default(), args.get(end + 1..).unwrap_or_default())
}

/// Whether the words of a verb that are ours can be read; if not, that has been said. Those of the command may be any.
pub fn are_text(verb: &str, options: &[OsString]) -> bool {
    let wrong = options.iter().find(|word| word.to_str().is_none());
    if let Some(word) = wrong {
        say(format_args!("onit: {verb}: {} is not UTF-8; after -- everything is", word.display()));
    }
    wrong.is_none()
}

impl New {
    /// Writes the directory. `options` are our words as they were given. Returns the exit code.
    pub fn run(&self, options: &[OsString], command: &[OsString]) -> i32 {
        if !are_text("new", options) {
            return exit::USAGE;
        }
        if command.is_empty() && self.setup.is_none() {
            say("onit: new: what is it to run? onit new NAME -- CMD");
            return exit::USAGE;
        }
        if !is_name(&self.name) {
            say(format_args!("onit: new: \"{}\" is no name of a service that is started", self.name));
            return exit::USAGE;
        }
        let svdir = || std::env::var_os("SVDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
        let directory = self.dir.clone().or_else(svdir);
        let path = directory.unwrap_or_else(|| svdir::SERVICES.into()).join(&self.name);
        match self.builder(command).write(&path) {
            Ok(_) => {
                self.warn(&path);
                exit::OK
            }
            Err(error @ Error::Io { .. }) => report(&self.name, &error, exit::SYSTEM),
            Err(error @ Error::Differs(_)) => {
                say(format_args!("onit: {}: {error} (--replace does that)", self.name));
                exit::FAILED
            }
            Err(error) => report(&self.name, &error, exit::FAILED),
        }
    }

    /// Says which tools it takes that are not there.
    fn warn(&self, path: &Path) {
        let written = ServiceDir::read(path).ok();
        let findings = written.iter().flat_map(|service| &service.findings);
        findings.filter(|finding| finding.kind == TOOL_MISSING).for_each(say);
    }

    fn builder(&self, command: &[OsString]) -> ServiceBuilder {
        let mut service = ServiceBuilder::new(command)
            .target(self.target)
            .replace(self.replace)
            .private(self.private)
            .settings(self.settings())
            .groups(self.group.iter().cloned());
        service = self.env.iter().fold(service, |service, (name, value)| service.env(name, value));
        service = self.limit.iter().fold(service, |service, (resource, value)| service.limit(*resource, *value));
        service = self.depends_on.iter().fold(service, |service, name| service.depends_on(name));
        service = self.after.iter().fold(service, |service, name| service.after(name));
        service = self.condition.iter().cloned().fold(service, ServiceBuilder::condition);
        service = self.socket.iter().cloned().fold(service, ServiceBuilder::socket);
        service = if self.clear_env { service.clear_env() } else { service };
        service = if self.down { service.down() } else { service };
        service = with(service, self.cwd.as_ref(), ServiceBuilder::directory);
        service = with(service, self.user.clone(), ServiceBuilder::user);
        service = with(service, self.nice, ServiceBuilder::nice);
        service = with(service, self.logger(), ServiceBuilder::logger);
        service = with(service, self.setup.as_ref().map(Script::shell), ServiceBuilder::setup);
        service = with(service, self.stop.as_ref().map(Script::shell), ServiceBuilder::stop);
        service = with(service, self.finish.as_ref().map(Script::shell), ServiceBuilder::finish);
        with(service, self.check.as_ref().map(Script::shell), ServiceBuilder::check)
    }

    fn logger(&self) -> Option<Logger> {
        let asked = self.log.is_some() || self.log_size.is_some() || self.log_count.is_some() || self.log_tee;
        let logger = asked.then(|| Logger::new(self.log.clone().unwrap_or_else(|| "main".into())))?;
        let logger = if self.log_tee { logger.tee() } else { logger };
        let logger = self.log_size.map_or(logger.clone(), |size| logger.size(size));
        Some(self.log_count.map_or(logger.clone(), |count| logger.count(count)))
    }
}

fn with<T>(service: ServiceBuilder, value: Option<T>, set: fn(ServiceBuilder, T) -> ServiceBuilder) -> ServiceBuilder {
    match value {
        Some(value) => set(service, value),
        None => service,
    }
}

fn report(name: &str, error: &Error, code: i32) -> i32 {
    say(format_args!("onit: {name}: {error}"));
    code
}

/// One that is not hidden, stands in its directory, and is easy to name.
fn is_name(name: &str) -> bool {
    let bytes = OsStr::new(name).as_bytes();
    !bytes.is_empty()
        && !bytes.starts_with(b".")
        && !bytes.starts_with(b"-")
        && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

// How the values of the other options are read.

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn user(text: &str) -> Result<User, String> {
    let Some((user, group)) = text.split_once(':') else { return Ok(User::Name(text.to_owned())) };
    let number = |text: &str| text.parse::<u32>().map_err(|_| "write a name, or UID:GID".to_owned());
    Ok(User::Id { user: number(user)?, group: number(group)? })
}

fn limit(text: &str) -> Result<(Resource, u64), String> {
    let (word, value) = text.split_once('=').ok_or("write RESOURCE=NUMBER")?;
    let resource = Resource::ALL.into_iter().find(|resource| resource.word() == word);
    let resource = resource.ok_or_else(|| {
        let words = Resource::ALL.map(Resource::word).join(" ");
        format!("\"{word}\" is none of {words}")
    })?;
    Ok((resource, value.parse().map_err(|_| format!("\"{value}\" is no number"))?))
}

fn socket(text: &str) -> Result<Socket, String> {
    if text.contains('\n') { Err("it is more than a line".into()) } else { Socket::parse(text) }
}

fn condition(text: &str) -> Result<Condition, String> {
    let one = Condition::parse(text).filter(|_| !text.contains('\n'));
    one.ok_or_else(|| "write \"env NAME\", \"env NAME=VALUE\" or \"path PATH\", or with ! before it".into())
}
