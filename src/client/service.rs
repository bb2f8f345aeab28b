//! One service: what it is doing, and orders to it.

use super::manager::{self, Operation};
use super::{Deadline, Error, ErrorKind, Kind, Result, Signal, Status, Until};
use crate::machine::{Command, Pid, Target};
use crate::sys::fs::{self, Holder};
use crate::sys::{Errno, process};
use crate::wire::control;
use crate::wire::status::any::{Format, LONGEST};
use crate::wire::svdir::{self, SERVICES};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Called like this, onit has the personality of the tool of that name, and understands its orders only.
const PERSONALITIES: [&str; 6] = ["runsv", "runsvdir", "s6-supervise", "s6-svscan", "supervise", "svscan"];

/// A service directory, by its path. Everything is looked up anew each time, so a service that is replaced, or gets
/// another supervisor, stays the same service. To clone it is cheap.
#[derive(Clone)]
pub struct Service(Arc<Place>);

struct Place {
    path: PathBuf,
    supervise: PathBuf,
    ok: PathBuf,
    control: PathBuf,
    lock: PathBuf,
    status: PathBuf,
    stat: PathBuf,
}

/// A sign of life of a supervisor: a descriptor on which something happens when it ends. `None` where there is no way
/// to be told.
#[derive(Debug)]
pub(super) struct Liveness(pub(super) Option<OwnedFd>);

impl Service {
    /// The service in this directory. It need not be supervised.
    ///
    /// # Errors
    /// [`NoService`](ErrorKind::NoService) if there is no such directory,
    /// [`NotPermitted`](ErrorKind::NotPermitted) if we may not look.
    pub fn open(path: impl AsRef<Path>) -> Result<Service> {
        let path = fs::absolute(path.as_ref());
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(Service::at(path)),
            Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(Error::new(&path, "open it", ErrorKind::NotPermitted))
            }
            Ok(_) | Err(_) => Err(Error::new(&path, "open it", ErrorKind::NoService)),
        }
    }

    /// The service that is, or will be, in this directory.
    #[cfg(feature = "cli")]
    pub(crate) fn expected(path: &Path) -> Service {
        Service::at(fs::absolute(path))
    }

    /// The service of this name, as `sv` has it: what begins with a dot or a slash, or ends with a slash, is a path;
    /// anything else is looked for in `$SVDIR`, and if that is not set, in `/etc/service`.
    ///
    /// # Errors
    /// As [`open`](Service::open); [`BadName`](ErrorKind::BadName) if the name is empty.
    pub fn named(name: impl AsRef<OsStr>) -> Result<Service> {
        let name = name.as_ref();
        if name.is_empty() {
            return Err(Error::new(Path::new(""), "open it", ErrorKind::BadName));
        }
        Service::open(place_of(name, std::env::var_os("SVDIR").filter(|services| !services.is_empty())))
    }

    /// All services in a directory of services, by name. Names that begin with a dot are none.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn all_in(services: impl AsRef<Path>) -> Result<Vec<Service>> {
        let services = fs::absolute(services.as_ref());
        let names = fs::open_path(&services).and_then(fs::names).map_err(|errno| match errno {
            Errno::EACCES => Error::new(&services, "look for services", ErrorKind::NotPermitted),
            errno => Error::new(&services, "look for services", ErrorKind::System(errno as i32)),
        })?;
        let paths = names.iter().map(|name| services.join(name)).filter(|path| path.is_dir());
        Ok(paths.map(Service::at).collect())
    }

    fn at(path: PathBuf) -> Service {
        let supervise = path.join("supervise");
        let [ok, control, lock, status, stat] =
            ["ok", "control", "lock", "status", "stat"].map(|name| supervise.join(name));
        Service(Arc::new(Place { path, supervise, ok, control, lock, status, stat }))
    }

    /// Its directory, absolute.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Its name: the last part of its path. `log` for a logger.
    pub fn name(&self) -> &OsStr {
        self.0.path.file_name().unwrap_or(self.0.path.as_os_str())
    }

    /// Its logger, a service of its own, if there is a `log` directory.
    pub fn logger(&self) -> Option<Service> {
        Some(self.0.path.join("log")).filter(|path| path.is_dir()).map(Service::at)
    }

    /// What its supervisor says. Allocates nothing unless it fails (or its path is longer than a thousand bytes).
    ///
    /// # Errors
    /// [`NoSupervisor`](ErrorKind::NoSupervisor), [`NoService`](ErrorKind::NoService),
    /// [`NotPermitted`](ErrorKind::NotPermitted), and [`BadRecord`](ErrorKind::BadRecord).
    pub fn status(&self) -> Result<Status> {
        if self.is_supervised()? { self.record() } else { Err(self.unsupervised(READ)) }
    }

    /// The last that any supervisor has said, also if there is none any more: then it may be wrong.
    ///
    /// # Errors
    /// As [`status`](Service::status); [`NoSupervisor`](ErrorKind::NoSupervisor) if there never was one.
    pub fn record(&self) -> Result<Status> {
        let mut buffer = [0; LONGEST + 1]; // what is longer is none
        let record = fs::read_into(&self.0.status, &mut buffer)
            .map_err(|errno| Error::of_file(self.path(), READ, "supervise/status", errno))?;
        Status::decode(record).map_err(|bad| Error::new(self.path(), READ, ErrorKind::BadRecord(bad)))
    }

    /// Whether a supervisor looks after it: whether a process reads `supervise/ok`, or, where s6 has written the
    /// status, holds `supervise/lock`.
    ///
    /// # Errors
    /// [`NotPermitted`](ErrorKind::NotPermitted) if we may not look. Not supervised is no error.
    pub fn is_supervised(&self) -> Result<bool> {
        Ok(self.pulse()?.is_some())
    }

    /// A sign of life of its supervisor, if there is one.
    pub(super) fn pulse(&self) -> Result<Option<Liveness>> {
        let trouble = |file, errno| Err(Error::of_file(self.path(), "look for a supervisor", file, errno));
        match fs::writer(&self.0.ok) {
            Ok(ok) => return Ok(Some(Liveness(Some(ok)))),
            Err(_) if self.is_of_s6() => {}
            Err(Errno::ENXIO | Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => return trouble("supervise/ok", errno),
        }
        match fs::lock_holder(&self.0.lock) {
            Ok(Holder::Process(pid)) => {
                let end = fs::writer(&self.0.control).or_else(|_| process::handle(pid));
                Ok(Some(Liveness(end.ok())))
            }
            Ok(Holder::Stranger) => Ok(Some(Liveness(fs::writer(&self.0.control).ok()))),
            Ok(Holder::Nobody) | Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => trouble("supervise/lock", errno),
        }
    }

    /// Other supervisors open `ok` when all is prepared, and may hold the lock long before that; s6 has no `ok`, though
    /// there may be one that another supervisor has left.
    fn is_of_s6(&self) -> bool {
        self.record().is_ok_and(|record| matches!(record.format, Format::S6 | Format::S6Long))
    }

    /// Which supervisor looks after it, or did so last. What cannot be told from another kind is taken for the one that
    /// understands less.
    ///
    /// # Errors
    /// As [`record`](Service::record).
    pub fn kind(&self) -> Result<Kind> {
        Ok(match self.record()?.format {
            Format::S6 if self.is_held_by_onit() => Kind::Onit,
            Format::S6 | Format::S6Long => Kind::S6,
            Format::Universal => Kind::Onit,
            Format::Daemontools => Kind::Daemontools,
            Format::Systemd => Kind::Systemd,
            Format::Encore => Kind::Encore,
            Format::Runit if !self.0.stat.exists() => Kind::Encore, // without a process they write the same
            Format::Runit if self.is_held_by_onit() => Kind::Onit,
            Format::Runit => Kind::Runit,
        })
    }

    /// runit does not lock so, and s6 is another program.
    fn is_held_by_onit(&self) -> bool {
        matches!(fs::lock_holder(&self.0.lock), Ok(Holder::Process(pid)) if has_its_own_personality(pid))
    }

    /// Up: start it, and start it again whenever it ends. Like all orders: it is sent, and
    /// [`wait`](Service::wait) or [`perform`](Service::perform) tells when it is carried out.
    ///
    /// # Errors
    /// [`NoSupervisor`](ErrorKind::NoSupervisor), [`NoService`](ErrorKind::NoService),
    /// [`NotPermitted`](ErrorKind::NotPermitted). So with all orders.
    pub fn up(&self) -> Result<()> {
        self.send(&[Command::Up])
    }

    /// Down: the stop signal, and do not start it again.
    pub fn down(&self) -> Result<()> {
        self.send(&[Command::Down])
    }

    /// Once: start it if it is down, and do not start it again when it ends.
    pub fn once(&self) -> Result<()> {
        self.send(&[Command::Once])
    }

    /// The stop signal and CONT, then up: it runs anew, also if it was down.
    pub fn restart(&self) -> Result<()> {
        self.order("restart", |kind| vec![kind.stop(), Command::Continue(Target::Process), Command::Up])
    }

    /// Its supervisor stops it, and leaves it. If a scanner watches over the supervisor (runsvdir, svscan, s6-svscan,
    /// onit) and the directory is still there, another one will come.
    pub fn exit(&self) -> Result<()> {
        self.order("exit", |kind| match kind.exit_stops() {
            true => vec![Command::Exit],
            false => vec![Command::Down, Command::Exit],
        })
    }

    /// STOP; it is *paused* from then on.
    pub fn pause(&self) -> Result<()> {
        self.send(&[Command::Pause(Target::Process)])
    }

    /// CONT.
    pub fn cont(&self) -> Result<()> {
        self.send(&[Command::Continue(Target::Process)])
    }

    /// TERM; it is started again if it is to be up.
    pub fn term(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// KILL; it is started again if it is to be up.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    /// HUP.
    pub fn hup(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// The signal of its file `reload-signal`, or HUP: it is to read its configuration again.
    pub fn reload(&self) -> Result<()> {
        self.order(&word(Command::Reload), |kind| match kind {
            Kind::Onit => vec![Command::Reload],
            Kind::Runit | Kind::Daemontools | Kind::Encore | Kind::S6 | Kind::Systemd => {
                vec![carries(self.reload_signal())]
            }
        })
    }

    fn reload_signal(&self) -> Signal {
        let dir = fs::open_dir(fs::HERE, self.path().as_os_str()).ok();
        let text = dir.and_then(|dir| fs::read_small(&dir, "reload-signal").ok()?);
        text.and_then(|text| svdir::signal(&text)).unwrap_or(Signal::HUP)
    }

    /// INT.
    pub fn int(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// ALRM.
    pub fn alrm(&self) -> Result<()> {
        self.signal(Signal::ALRM)
    }

    /// QUIT. Not with daemontools.
    pub fn quit(&self) -> Result<()> {
        self.signal(Signal::QUIT)
    }

    /// USR1. Not with daemontools.
    pub fn usr1(&self) -> Result<()> {
        self.signal(Signal::USR1)
    }

    /// USR2. Not with daemontools.
    pub fn usr2(&self) -> Result<()> {
        self.signal(Signal::USR2)
    }

    /// WINCH. With onit, s6 and daemontools-encore.
    pub fn winch(&self) -> Result<()> {
        self.signal(Signal::WINCH)
    }

    /// ABRT. With onit and s6.
    pub fn abrt(&self) -> Result<()> {
        self.signal(Signal::ABRT)
    }

    /// A signal by its number: one of those above.
    ///
    /// # Errors
    /// [`NoSuchCommand`](ErrorKind::NoSuchCommand) if the supervisor has no letter for it; and as [`up`](Service::up).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.send(&[carries(signal)])
    }

    /// Several orders in one write: all of them arrive, in this order, or none.
    ///
    /// # Errors
    /// [`NoSuchCommand`](ErrorKind::NoSuchCommand) if the supervisor does not have one of them; then none is sent. And
    /// as [`up`](Service::up).
    pub fn send(&self, commands: &[Command]) -> Result<()> {
        let words: Vec<String> = commands.iter().map(|command| word(*command)).collect();
        self.order(&words.join(", "), |_| commands.to_vec())
    }

    fn order(&self, words: &str, commands: impl FnOnce(Kind) -> Vec<Command>) -> Result<()> {
        let operation = || format!("send {words}");
        let trouble = |errno| Error::of_file(self.path(), operation(), "supervise/control", errno);
        let control = fs::writer(&self.0.control).map_err(trouble)?;
        let kind = self.kind().map_err(|error| error.during(operation()))?;
        let bytes = control::encode_all(&commands(kind), kind.dialect())
            .map_err(|_| Error::new(self.path(), operation(), ErrorKind::NoSuchCommand(kind)))?;
        fs::send(control, &bytes).map_err(trouble)
    }

    /// Waits until it is so, or until the deadline. Nothing is polled: the kernel tells of each change, and of the
    /// supervisor's death. (Only where this user's limits of inotify are reached, it is looked at ten times a second.) Returns the status that met the condition; `None` for [`Until::Gone`].
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut). [`NoSupervisor`](ErrorKind::NoSupervisor) as soon as there is none, unless
    /// that is what is waited for. As [`status`](Service::status).
    pub fn wait(&self, until: Until, deadline: impl Into<Deadline>) -> Result<Option<Status>> {
        self.perform(Operation::Wait(until), deadline)
    }

    /// Gives an order and waits until it is carried out, or until the deadline. What that means, see [`Operation`].
    ///
    /// # Errors
    /// As [`wait`](Service::wait), and of the order.
    pub fn perform(&self, operation: Operation, deadline: impl Into<Deadline>) -> Result<Option<Status>> {
        manager::perform_one(self, operation, deadline.into())
    }

    /// Why there is nothing to ask.
    pub(super) fn unsupervised(&self, operation: &str) -> Error {
        let kind = if self.path().is_dir() { ErrorKind::NoSupervisor } else { ErrorKind::NoService };
        Error::new(self.path(), operation, kind)
    }

    /// Whether readiness can show at all. Asked before it is waited for.
    pub(super) fn can_become_ready(&self) -> Result<()> {
        match self.kind() {
            Ok(Kind::S6) if !self.0.path.join("notification-fd").exists() => {
                Err(Error::new(self.path(), "wait until it is ready", ErrorKind::NoReadiness(Kind::S6)))
            }
            _ => Ok(()),
        }
    }

    /// Where `supervise` is.
    pub(super) fn supervise(&self) -> &Path {
        &self.0.supervise
    }

    /// Its status file.
    pub(super) fn status_file(&self) -> &Path {
        &self.0.status
    }

    /// The FIFOs that a supervisor opens when it begins.
    pub(super) fn fifos(&self) -> [&Path; 2] {
        [&self.0.ok, &self.0.control]
    }
}

impl PartialEq for Service {
    /// They have the same path.
    fn eq(&self, other: &Service) -> bool {
        self.path() == other.path()
    }
}

impl Eq for Service {}

impl Hash for Service {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path().hash(state);
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.path()).finish()
    }
}

/// Where `sv` looks for a service of this name.
fn place_of(name: &OsStr, services: Option<OsString>) -> PathBuf {
    match name.as_bytes() {
        [b'.' | b'/', ..] | [.., b'/'] => name.into(),
        _ => Path::new(&services.unwrap_or_else(|| SERVICES.into())).join(name),
    }
}

const READ: &str = "read its status";

/// Whether this process is an onit that is not called by the name of another supervisor.
fn has_its_own_personality(pid: Pid) -> bool {
    let Some(words) = process::words(pid) else { return false };
    let is_other = |word: &OsString| {
        let name = Path::new(word).file_name().unwrap_or_default();
        PERSONALITIES.iter().any(|other| name == *other)
    };
    !words.iter().take(2).any(is_other)
}

/// The order that sends this signal.
pub(super) fn carries(signal: Signal) -> Command {
    match signal {
        Signal::TERM => Command::Term,
        Signal::KILL => Command::Kill(Target::Process),
        Signal::STOP => Command::Pause(Target::Process),
        Signal::CONT => Command::Continue(Target::Process),
        signal => Command::Signal(signal),
    }
}

pub(super) fn word(command: Command) -> String {
    let group = |to, signal: &str| if to == Target::Group { format!("{signal} to its group") } else { signal.into() };
    match command {
        Command::Up => "up".into(),
        Command::Down => "down".into(),
        Command::Once => "once".into(),
        Command::NoRestart => "no restart".into(),
        Command::Exit => "exit".into(),
        Command::Term => "TERM".into(),
        Command::StopSignal => "its stop signal".into(),
        Command::Kill(to) => group(to, "KILL"),
        Command::Pause(to) => group(to, "STOP"),
        Command::Continue(to) => group(to, "CONT"),
        Command::Signal(signal) => {
            let name = signal.name().and_then(|name| name.strip_prefix("SIG"));
            name.map_or_else(|| format!("signal {}", signal.0), str::to_owned)
        }
        Command::Replace => "overlap".into(),
        Command::Reload => "reload".into(),
        Command::Disable => "disable".into(),
        Command::Enable => "enable".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_name_is_that_of_no_service() {
        assert_eq!(Service::named("").expect_err("it is none").kind(), ErrorKind::BadName);
        assert_eq!(Service::open("").expect_err("it is none").kind(), ErrorKind::NoService);
    }

    #[test]
    fn a_name_is_looked_for_where_sv_looks() {
        let place = |name: &str, services: Option<&str>| place_of(name.as_ref(), services.map(OsString::from));
        for (name, with, without) in [
            ("web", "/sv/web", "/etc/service/web"),
            ("web/log", "/sv/web/log", "/etc/service/web/log"),
            ("./web", "./web", "./web"),
            (".web", ".web", ".web"),
            ("/srv/web", "/srv/web", "/srv/web"),
            ("web/", "web/", "web/"),
        ] {
            assert_eq!((place(name, Some("/sv")), place(name, None)), (with.into(), without.into()), "{name}");
        }
    }

    #[test]
    fn orders_have_the_words_of_the_manuals() {
        for (command, said) in [
            (Command::Up, "up"),
            (Command::Term, "TERM"),
            (Command::Kill(Target::Process), "KILL"),
            (Command::Kill(Target::Group), "KILL to its group"),
            (Command::Signal(Signal::WINCH), "WINCH"),
            (Command::Signal(Signal(40)), "signal 40"),
            (Command::Reload, "reload"),
        ] {
            assert_eq!(word(command), said);
        }
    }
}
