//! From a command line to a supervisor. Read by hand: as PID 1 the kernel decides what our arguments are.

use super::adopt::Refused;
use super::api::Groups;
use super::boot;
use super::config::{Config, Loaders, Poll, Root};
use super::entrypoint;
use super::launcher::{self, Manner};
use super::log::{Failure, Log};
use super::personality::Personality;
use super::table::Identity;
use super::{Init, loaded, mirror, scan, svscan};
use crate::exit;
use crate::sys::manager::Manager;
use crate::sys::{Errno, fs, process, rescue, say::say};
use crate::wire::api::DIRECTORY_VARIABLE;
use crate::wire::select::Selection;
use crate::wire::status::Format;
use crate::wire::svdir::{self, SERVICES};
use std::ffi::{CString, OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shorter areas for errors are refused, as runit does.
const LEAST_LOG: usize = 7;

const RUN: &str = "\
usage: onit run [-v] [--log text|json] [--control-group GROUP]
           [--status-group GROUP] [--poll TIME|auto|never]
           [--until done|any|ready [-t TIME]] [--prefix[=text|time|json]]
           [--loaders DIR] [--s6] [--status-format FORMAT]
           [--exit-file FILE] [--s6-rc SOURCE | DIR]
           [[-g] [--rewrite SIGNAL=SIGNAL]... [--exit-map CODE=CODE]... -- CMD]";

const ABOUT_RUN: &str = "
Runs every service in DIR, else in $SVDIR, else in /etc/service, starts each of
them again when it ends, and follows what changes in the directory. TERM and INT
(^C) stop everything in order.

  -v                     tell each change of a service
  --log text|json        how lines on standard error look; text, if not given
  --control-group GROUP  its members may look, and give orders
  --status-group GROUP   its members may look
  --poll TIME            look at DIR this often; auto, the default, is every 5s
                         where others can change it unseen
  --until done           end when nothing is left to run, with the highest code
  --until any            end with the first service that ends, with its code
  --until ready          end with 0 when all are ready
  -t TIME                or with 99 after this time
  --prefix[=FORM]        what services say becomes one stream on standard
                         output: whole lines, with the name of the service in
                         front; text, time (with the time) or json
  --loaders DIR          also run the jobs that the programs in this directory
                         say; only these if there is neither DIR nor $SVDIR
  --s6                   with the habits of s6: its status records, event/,
                         arguments of finish, pauses; env/ is not read
  --status-format FORMAT status records: runit, s6, universal (read by the
                         tools of both, and of daemontools) or daemontools
  --exit-file FILE       the code of the end is written there, and in the end
                         what stands there is the exit code
  --s6-rc SOURCE         the services that this source directory of s6-rc says,
                         with --s6: the bundle default, or all; onit-s6(7)
  -- CMD                 and run CMD, once all services are started; its end
                         is the end of everything. onit -- CMD is the same
                         without services. With it:
  -g                     signals go to its process group
  --rewrite SIG=SIG      it gets the second signal for the first one; 0 is none
  --exit-map CODE=CODE   onit ends with the second code in place of the first

$ONIT_STOP_TIMEOUT is how long all may take to end (9s), $ONIT_RUN the directory
of the socket; $ONIT_CONTROL_GROUP, $ONIT_STATUS_GROUP, $ONIT_POLL,
$ONIT_PREFIX, $ONIT_LOADERS and $ONIT_STATUS_FORMAT are as the options. Of
services only those in $ONIT_ENABLE start by themselves, if it is set, and those
in $ONIT_DISABLE do not.";

type Args<'a> = &'a [OsString];

/// `onit run [OPTIONS] [DIR] [-- CMD]`.
pub fn run(args: Args) -> i32 {
    if let [word] = args
        && (word == "-h" || word == "--help")
    {
        return answer(&format!("{RUN}\n{ABOUT_RUN}"));
    }
    let mut log = Log::Onit;
    match entrypoint::parse(args, &mut log) {
        Ok(said) => {
            let (directory, loaders) = match directories(said.directory, said.loaders) {
                Ok(directories) => directories,
                Err(why) => {
                    log.warn(None, &why);
                    return exit::SYSTEM;
                }
            };
            if let Some(code) = unfit(log, &directory) {
                return code;
            }
            process::export(DIRECTORY_VARIABLE, fs::absolute(&directory).as_os_str());
            let manager = Manager::from_environment();
            let groups = groups(log, said.control_group, said.status_group);
            let poll = said.poll.unwrap_or_else(|| poll_from_environment(log));
            let personality = if said.as_s6 { &Personality::ONIT_AS_S6 } else { &Personality::ONIT };
            boot::supervise(Config {
                trace: said.trace,
                log,
                groups,
                poll,
                selection: selection(),
                until: said.until,
                until_limit: said.until_limit,
                prefix: said.prefix.or_else(|| prefix_from_environment(log)),
                loaders,
                exit_file: said.exit_file.map(|file| fs::absolute(&file)),
                main: said.main,
                manager,
                format: said.format.or_else(|| format_from_environment(log)).unwrap_or(personality.format),
                personality,
                ..Config::onit(directory)
            })
        }
        Err(wrong) => boot::refuse(log, &wrong, RUN),
    }
}

/// The directory of services, and of programs that say which there are. Where only the latter is named there are no other
/// services.
fn directories(named: Option<OsString>, loaders: Option<OsString>) -> Result<(PathBuf, Option<Loaders>), String> {
    let loaders = loaders.or_else(|| mirror::variable("ONIT_LOADERS").filter(|_| cfg!(feature = "helpers")));
    let named = named.or_else(|| mirror::variable("SVDIR"));
    let Some(loaders) = loaders else { return Ok((named.unwrap_or_else(|| SERVICES.into()).into(), None)) };
    let loaders = Loaders::of(&loaders, named.as_ref().map(Path::new))?;
    Ok((named.map_or_else(|| loaders.place.clone(), PathBuf::from), Some(loaders)))
}

/// A fresh directory for services that are written from something else, such as a source directory of s6-rc. Or says why
/// there can be none.
pub fn place(name: &str) -> Result<PathBuf, String> {
    loaded::place::find(name, None)
}

/// `init`, and whatever the kernel says to PID 1.
pub fn init(args: Args) -> i32 {
    let directory = directory_of_services();
    process::export(DIRECTORY_VARIABLE, fs::absolute(directory.as_ref()).as_os_str());
    let manager = Manager::from_environment();
    let groups = groups(Log::Onit, None, None);
    let (poll, prefix) = (poll_from_environment(Log::Onit), prefix_from_environment(Log::Onit));
    let format = format_from_environment(Log::Onit).unwrap_or_default();
    let selection = selection();
    let loaders = mirror::variable("ONIT_LOADERS").filter(|_| cfg!(feature = "helpers"));
    let loaders = loaders.and_then(|dir| {
        let made = Loaders::of(&dir, Some(directory.as_ref()));
        made.inspect_err(|why| Log::Onit.warn(None, why)).ok()
    });
    boot::init(
        Config { manager, groups, poll, prefix, loaders, selection, format, ..Config::onit(PathBuf::from(directory)) },
        args,
    )
}

fn prefix_from_environment(log: Log) -> Option<CString> {
    let form = std::env::var_os("ONIT_PREFIX").filter(|form| !form.is_empty())?;
    let known = entrypoint::prefix_of(&form);
    if known.is_none() {
        log.warn(None, &format_args!("ONIT_PREFIX={} is neither text, time nor json: ignored", form.display()));
    }
    known
}

fn format_from_environment(log: Log) -> Option<Format> {
    let said = std::env::var("ONIT_STATUS_FORMAT").ok().filter(|said| !said.is_empty())?;
    let known = said.parse();
    known.inspect_err(|why| log.warn(None, &format_args!("ONIT_STATUS_FORMAT: {why}: ignored"))).ok()
}

/// The directory of services if the command line names none. An empty variable counts as unset.
fn directory_of_services() -> OsString {
    std::env::var_os("SVDIR").filter(|path| !path.is_empty()).unwrap_or_else(|| SERVICES.into())
}

/// Why there is nothing for us to do with this directory, in one line; the exit code. PID 1 goes on all the same, and
/// so does a supervisor that was started again after a fault.
fn unfit(log: Log, directory: &Path) -> Option<i32> {
    if rescue::is_successor() {
        return None;
    }
    let shown = fs::absolute(directory);
    let (trouble, code) = if is_service(directory) {
        let (shown, parent) = (shown.display(), shown.parent().unwrap_or(&shown).display());
        let words = format!("{shown} is a service (it holds ./run), not a directory of services");
        (format!("{words}: \"onit run {parent}\" runs all that stand beside it"), exit::USAGE)
    } else {
        let server = match scan::server_of(directory)? {
            Some(pid) => format!("process {pid}"),
            None => "a process of another PID namespace".to_owned(),
        };
        (format!("{}: {server} already serves it", shown.display()), exit::SYSTEM)
    };
    log.warn(None, &trouble);
    (std::process::id() != 1).then_some(code)
}

/// Whether a directory is a service and holds none.
fn is_service(path: &Path) -> bool {
    let Ok(dir) = fs::open_path(path) else { return false };
    let holds_service = |name: &OsString| name != "log" && fs::exists(&dir, Path::new(name).join("run"));
    fs::has_content(&dir, "run") && !fs::names(&dir).unwrap_or_default().iter().any(holds_service)
}

/// When the directory is looked at, as `ONIT_POLL` says.
fn poll_from_environment(log: Log) -> Poll {
    let Some(text) = std::env::var_os("ONIT_POLL").filter(|text| !text.is_empty()) else { return Poll::default() };
    let text = text.to_string_lossy();
    Poll::parse(&text).unwrap_or_else(|| {
        let said = svdir::excerpt(&text);
        let cause = format!("ONIT_POLL says {said:?}, which is neither auto, never nor a time; going by auto");
        log.warn(None, &cause);
        Poll::default()
    })
}

/// Which services start by themselves.
fn selection() -> Selection {
    let [enable, disable] =
        ["ONIT_ENABLE", "ONIT_DISABLE"].map(|variable| std::env::var_os(variable).unwrap_or_default());
    Selection::of(&enable.to_string_lossy(), &disable.to_string_lossy())
}

/// Who may use the api socket, by the options or else by the environment.
fn groups(log: Log, control: Option<String>, status: Option<String>) -> Groups {
    let listed = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let find = |word: Option<String>, variable: &str| {
        let word = word.or_else(|| std::env::var(variable).ok()).filter(|word| !word.is_empty())?;
        let group = svdir::group(&word, &listed);
        if group.is_none() {
            log.warn(None, &format_args!("there is no group {word} in /etc/group; nobody is let in for it"));
        }
        group
    };
    Groups { control: find(control, "ONIT_CONTROL_GROUP"), status: find(status, "ONIT_STATUS_GROUP") }
}

/// Says what was asked for.
pub fn answer(text: &str) -> i32 {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Ok(()) => exit::OK,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => exit::FAILED,
        Err(error) => {
            say(format_args!("onit: cannot write to standard output: {error}"));
            exit::SYSTEM
        }
    }
}

/// `runsvdir [-P] DIR [LOG]`.
pub fn runsvdir(args: Args) -> i32 {
    let (own_session, rest) = match args {
        [flag, rest @ ..] if flag == "-P" => (true, rest),
        [flag, rest @ ..] if flag == "--" => (false, rest),
        rest => (false, rest),
    };
    let (directory, log) = match rest {
        [directory] => (directory, None),
        [directory, log, ..] => (directory, Some(log)),
        [] => {
            say("usage: runsvdir [-P] dir\n");
            return exit::FAILED;
        }
    };
    let log = log.is_some_and(|log| is_log_area(directory, log));
    let config =
        Config { new_session: own_session, ..Config::of(&Personality::RUNSVDIR, Root::Directory(directory.into())) };
    let flag = if own_session { "-P" } else { "--" };
    let words = ["onit", "runsvdir", flag].map(OsString::from).into_iter().chain([directory.clone()]).collect();
    supervise_behind_a_launcher(config, Manner::Runsvdir, directory, log, words)
}

fn is_log_area(directory: &OsStr, log: &OsString) -> bool {
    let enough = log.len() >= LEAST_LOG;
    if !enough {
        let warning = format!("runsvdir {}: warning:", directory.display());
        say(format_args!("{warning} log must have at least seven characters."));
        say(format_args!("{warning} log service disabled."));
    }
    enough
}

/// `svscan [DIR]`.
pub fn svscan(args: Args) -> i32 {
    let directory = args.first().map_or(OsStr::new("."), OsString::as_os_str);
    if let Err(errno) = fs::open_path(directory.as_ref()) {
        let reason = crate::wire::reason::reason(errno as i32);
        say(format_args!("svscan: fatal: unable to chdir to {}: {reason}", directory.display()));
        return exit::SYSTEM;
    }
    let words = vec!["onit".into(), "svscan".into(), directory.to_owned()];
    supervise_behind_a_launcher(
        Config::of(&Personality::SVSCAN, Root::Directory(directory.into())),
        Manner::Svscan,
        directory,
        false,
        words,
    )
}

/// `runsv DIR`.
pub fn runsv(args: Args) -> i32 {
    let [service] = args else {
        say("usage: runsv dir\n");
        return exit::FAILED;
    };
    supervise_one(Config::of(&Personality::RUNSV, Root::Service(service.into())))
}

/// `supervise DIR`.
pub fn supervise(args: Args) -> i32 {
    let [service, ..] = args else {
        say("supervise: usage: supervise dir");
        return exit::USAGE;
    };
    supervise_one(Config::of(&Personality::SUPERVISE, Root::Service(service.into())))
}

const S6_SVSCAN: &str =
    "s6-svscan: usage: s6-svscan [ -c maxservices ] [ -t timeout ] [ -d notif ] [ -X consoleholder ] [ dir ]";

/// `s6-svscan [-c MAX] [-C MAX] [-L LENGTH] [-t MS] [-d FD] [-X FD] [DIR]`.
pub fn s6_svscan(args: Args) -> i32 {
    let Some(Svscan { every, ready, console, directory }) = svscan_words(args) else {
        say(S6_SVSCAN);
        return exit::USAGE;
    };
    let is_successor = rescue::is_successor();
    for (what, number) in [("notification fd", ready), ("console holder fd", console)] {
        let wrong = match number {
            Some(0..=2) => format!("{what} must be 3 or more"),
            Some(number) if !process::is_open(number) && !is_successor => {
                format!("invalid {what}: Bad file descriptor")
            }
            Some(_) | None => continue,
        };
        say(format_args!("s6-svscan: fatal: {wrong}"));
        return exit::USAGE;
    }
    process::adopt_descriptors();
    let log = Personality::S6_SVSCAN.log;
    let fatal = |what: &str, errno: Errno| {
        say(format_args!("s6-svscan: fatal: unable to {what}: {}", errno.desc()));
        console.into_iter().for_each(process::speak_on);
        crash(log, &directory, exit::SYSTEM)
    };
    // Who goes on after a supervisor has its services, wherever the directory is by now.
    if let Err(errno) = fs::open_path(&directory)
        && !is_successor
    {
        return fatal("chdir", errno);
    }
    let config = Config {
        console,
        new_session: true,
        poll: Poll::Asked(every),
        ..Config::of(&Personality::S6_SVSCAN, Root::Directory(directory.clone()))
    };
    match Init::boot(config) {
        Ok(mut init) => match init.open_svscan(is_successor) {
            Ok(()) => {
                ready.filter(|_| !is_successor).into_iter().for_each(process::tell_ready); // it was told, and closed
                let console = init.config.console;
                let code = init.run();
                console.into_iter().for_each(process::speak_on);
                finish(log, &directory, code)
            }
            Err(Errno::EAGAIN) => {
                say("s6-svscan: fatal: another instance of s6-svscan is already running on the same directory");
                exit::USAGE
            }
            Err(errno) => fatal("make .s6-svscan", errno),
        },
        Err(errno) => fatal("start", errno),
    }
}

/// What follows when `s6-svscan` has ended: its `finish`, or if that is not there, nothing.
fn finish(log: Log, services: &Path, code: i32) -> i32 {
    become_program(log, services, "finish", code)
}

/// What follows when it cannot go on.
fn crash(log: Log, services: &Path, code: i32) -> i32 {
    become_program(log, services, "crash", code)
}

fn become_program(log: Log, services: &Path, name: &str, code: i32) -> i32 {
    let program = Path::new(svscan::DIRECTORY).join(name);
    let entered = fs::enter(services.as_os_str());
    match entered.map_or_else(|errno| errno, |()| crate::sys::boot::become_program(&program, &[])) {
        Errno::ENOENT | Errno::ENOTDIR => code,
        errno => {
            log.warn(None, &format_args!("unable to exec {}: {}", program.display(), errno.desc()));
            if code == 0 { 111 } else { code }
        }
    }
}

/// What a command line of `s6-svscan` says.
struct Svscan {
    every: Option<Duration>,
    /// A newline goes there once orders are heard.
    ready: Option<i32>,
    /// Where `finish` and `crash` speak.
    console: Option<i32>,
    directory: PathBuf,
}

/// `None`: it is wrong. There is no limit to the number of services here, so what is said of that is only read.
fn svscan_words(args: Args) -> Option<Svscan> {
    let (mut every, mut ready, mut console, mut directory) = (None, None, None, None);
    let mut words = lexopt::Parser::from_args(args);
    while let Some(option) = words.next().ok()? {
        use lexopt::Arg::{Long, Short, Value};
        let number = |words: &mut lexopt::Parser| words.value().ok()?.to_str()?.parse::<u32>().ok();
        let descriptor = |words: &mut lexopt::Parser| number(words).and_then(|number| i32::try_from(number).ok());
        match option {
            Short('c' | 'C' | 'L') => _ = number(&mut words)?,
            Short('t') => {
                every = Some(number(&mut words)?).filter(|ms| *ms > 0).map(|ms| Duration::from_millis(ms.into()));
            }
            Short('d') => ready = Some(descriptor(&mut words)?),
            Short('X') => console = Some(descriptor(&mut words)?),
            Value(word) if directory.is_none() => directory = Some(PathBuf::from(word)),
            Value(_) => {}
            Short(_) | Long(_) => return None,
        }
    }
    Some(Svscan { every, ready, console, directory: directory.unwrap_or_else(|| ".".into()) })
}

/// `s6-supervise DIR`.
pub fn s6_supervise(args: Args) -> i32 {
    let [service, ..] = args else {
        say("s6-supervise: usage: s6-supervise dir");
        return exit::USAGE;
    };
    for name in ["event", "supervise"] {
        let place = Path::new(service).join(name);
        if place.exists() && !place.is_dir() && !rescue::is_successor() {
            say(format_args!("s6-supervise {}: fatal: {name} exists and is not a directory", service.display()));
            return exit::USAGE;
        }
    }
    let config = Config::of(&Personality::S6_SUPERVISE, Root::Service(service.into()));
    supervise_one(Config { new_session: true, ..config })
}

/// PID 1 is not split into a front and a supervisor: when the front ended, the kernel would end every process with it.
fn supervise_behind_a_launcher(
    config: Config,
    manner: Manner,
    directory: &OsStr,
    log: bool,
    words: Vec<OsString>,
) -> i32 {
    process::adopt_descriptors();
    let behind = launcher::behind();
    if behind.is_some() || std::process::id() == 1 || rescue::is_successor() {
        return supervise_all(Config { launcher: behind, ..config });
    }
    match launcher::split(manner, directory, log, &words) {
        Ok(launcher) => supervise_all(Config { launcher: Some(launcher), ..config }),
        Err(errno) => {
            say(format_args!("onit: cannot start: {}", errno.desc()));
            exit::SYSTEM
        }
    }
}

/// Supervises what the configuration says.
fn supervise_all(config: Config) -> i32 {
    process::adopt_descriptors();
    match Init::boot(config.with_budget()) {
        Ok(init) => init.run(),
        Err(errno) => {
            say(format_args!("onit: cannot start: {}", errno.desc()));
            exit::SYSTEM
        }
    }
}

fn supervise_one(config: Config) -> i32 {
    process::adopt_descriptors();
    let Root::Service(path) = config.root.clone() else { return exit::USAGE };
    let (log, name) = (config.log, path.clone().into_os_string());
    let begun = Init::boot(config)
        .map_err(|errno| Failure { verb: "start", path: "supervising", errno })
        .and_then(|mut init| if init.table.is_empty() { init.adopt_only(&path).map(|()| init) } else { Ok(init) });
    match begun {
        Ok(init) => init.run(),
        Err(failure) => {
            log.fatal(&name, &failure);
            let is_refusal =
                log == Log::Tool("s6-supervise") && matches!(failure.errno, Errno::EAGAIN | Errno::ENOTSUP);
            if is_refusal { exit::USAGE } else { exit::SYSTEM }
        }
    }
}

impl Init {
    /// The one service that is supervised: if it cannot be, that is the end.
    fn adopt_only(&mut self, path: &std::path::Path) -> Result<(), Failure> {
        let unreachable = |errno| Failure { verb: "change to", path: "directory", errno };
        let dir = fs::open_path(path).map_err(unreachable)?;
        let id = Identity::new(fs::identity(&dir).map_err(unreachable)?, None);
        self.adopt(path.as_os_str().to_os_string(), id, dir).map_err(|Refused { failure, .. }| failure)?;
        self.begin_newcomers();
        Ok(())
    }
}
