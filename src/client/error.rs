//! Why something could not be done, for people and for programs.

use super::Kind;
use crate::sys::Errno;
use crate::wire::status::Bad;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What could not be done, to what, and why. [`Display`](fmt::Display) is one line:
///
/// ```text
/// /etc/service/web: cannot send TERM: no supervisor
/// /etc/service/web: cannot send ABRT: runit knows no such command
/// /etc/service/web: cannot wait until it is up: timed out
/// /etc/service/web: cannot read its status: supervise/status: Permission denied
/// ```
///
/// [`Debug`] is the same line and the [kind](Error::kind): a `main` that returns an error, and an `unwrap`, show it so.
///
/// The end of that line alone, for a program that has said the rest, is its [source](std::error::Error::source): a
/// [`Cause`]. A program that prints the whole chain of sources says it twice.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Error {
    path: PathBuf,
    operation: String,
    cause: Cause,
}

/// Why something could not be done: the [source](std::error::Error::source) of an [`Error`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cause {
    file: Option<&'static str>,
    /// Why, in words that say more than the kind.
    words: Option<String>,
    kind: ErrorKind,
}

/// Why, for programs. [`Display`](fmt::Display) says it in general words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such directory.
    NoService,
    /// The directory is there, and no supervisor looks after it.
    NoSupervisor,
    /// We may not.
    NotPermitted,
    /// The deadline has come.
    TimedOut,
    /// It has ended within a second of its start, so that it cannot be said to be up.
    Ended,
    /// The deadline came before it was this one's turn among many: nothing was sent to it.
    NotItsTurn,
    /// This kind of supervisor has no such command.
    NoSuchCommand(Kind),
    /// It cannot become ready in a way that shows: its supervisor does not record readiness, or the service has no
    /// `notification-fd`.
    NoReadiness(Kind),
    /// The status file holds no status record.
    BadRecord(Bad),
    /// It is being done already, or takes no more orders for now.
    Busy,
    /// The supervisor at the api socket says no, for a reason of its own: see [`Cause`].
    Declined,
    /// The supervisor at the api socket has hung up. It may come back: one that executes itself again does.
    Closed,
    /// What is said at the api socket is no line of the protocol, or one of another version.
    Garbled,
    /// What answers at the api socket may not be believed: any user could have put it there.
    Untrusted,
    /// No request at the api socket can say such a name.
    BadName,
    /// `systemctl` ended with this code (-1: by a signal).
    Refused(i32),
    /// A limit of this machine is reached; its name.
    Limit(&'static str),
    /// Any other trouble with a file, by its error number.
    System(i32),
}

/// What most functions of this room return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(path: &Path, operation: impl Into<String>, kind: ErrorKind) -> Error {
        Error { path: path.to_owned(), operation: operation.into(), cause: Cause { file: None, words: None, kind } }
    }

    /// Trouble with one of the files of a service.
    pub(super) fn of_file(path: &Path, operation: impl Into<String>, file: &'static str, errno: Errno) -> Error {
        let kind = match errno {
            Errno::EACCES | Errno::EPERM => ErrorKind::NotPermitted,
            Errno::ENXIO | Errno::EPIPE => ErrorKind::NoSupervisor,
            Errno::ENOENT | Errno::ENOTDIR if path.is_dir() => ErrorKind::NoSupervisor,
            Errno::ENOENT | Errno::ENOTDIR => ErrorKind::NoService,
            errno => ErrorKind::System(errno as i32),
        };
        Error {
            path: path.to_owned(),
            operation: operation.into(),
            cause: Cause { file: Some(file), words: None, kind },
        }
    }

    /// Trouble that the standard library has with a file.
    pub(super) fn of_io(path: &Path, operation: &str, why: &io::Error) -> Error {
        let kind = match why.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::NotPermitted,
            _ => ErrorKind::System(why.raw_os_error().unwrap_or_default()),
        };
        Error::new(path, operation, kind)
    }

    /// Trouble with being told about changes.
    pub(super) fn of_watch(path: &Path, errno: Errno) -> Error {
        let kind = match errno {
            Errno::EACCES | Errno::EPERM => ErrorKind::NotPermitted,
            Errno::ENOSPC => ErrorKind::Limit("fs.inotify.max_user_watches"),
            Errno::EMFILE => ErrorKind::Limit("fs.inotify.max_user_instances, or of open files"),
            errno => ErrorKind::System(errno as i32),
        };
        Error::new(path, "watch it", kind)
    }

    /// The same trouble, in these words.
    pub(super) fn saying(self, words: impl Into<String>) -> Error {
        Error { cause: Cause { words: Some(words.into()), ..self.cause }, ..self }
    }

    /// The same trouble, met while doing something else.
    pub(super) fn during(self, operation: impl Into<String>) -> Error {
        Error { operation: operation.into(), ..self }
    }

    /// The same trouble, which concerns this service as well.
    pub(super) fn about(self, path: &Path) -> Error {
        Error { path: path.to_owned(), ..self }
    }

    /// Why.
    pub fn kind(&self) -> ErrorKind {
        self.cause.kind
    }

    /// The service directory, unit or socket that it is about.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What could not be done: the words behind "cannot".
    pub fn operation(&self) -> &str {
        &self.operation
    }

    /// Why, in words: the end of the line.
    pub(crate) fn why(&self) -> String {
        self.cause.to_string()
    }
}

impl Cause {
    /// The same, for programs.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.words, self.kind, self.file) {
            (Some(words), _, _) => f.write_str(words),
            (None, kind @ (ErrorKind::NotPermitted | ErrorKind::System(_)), Some(file)) => write!(f, "{file}: {kind}"),
            (None, kind @ ErrorKind::BadRecord(_), _) => write!(f, "supervise/status: {kind}"),
            (None, kind, _) => kind.fmt(f),
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::NoService => f.write_str("no such service"),
            ErrorKind::NoSupervisor => f.write_str("no supervisor"),
            ErrorKind::NotPermitted => f.write_str("not permitted"),
            ErrorKind::TimedOut => f.write_str("timed out"),
            ErrorKind::Ended => f.write_str("it ended within a second of its start"),
            ErrorKind::NotItsTurn => f.write_str("its turn did not come in time"),
            ErrorKind::NoSuchCommand(kind) => write!(f, "{kind} knows no such command"),
            ErrorKind::NoReadiness(Kind::S6) => f.write_str("it has no notification-fd"),
            ErrorKind::NoReadiness(kind) => write!(f, "{kind} does not record readiness"),
            ErrorKind::BadRecord(bad) => bad.fmt(f),
            ErrorKind::Busy => f.write_str("it runs already"),
            ErrorKind::Declined => f.write_str("the supervisor says no"),
            ErrorKind::Closed => f.write_str("the supervisor has hung up"),
            ErrorKind::Garbled => f.write_str("the supervisor does not speak the protocol of onit"),
            ErrorKind::Untrusted => f.write_str("anybody could have put it there"),
            ErrorKind::BadName => f.write_str("no service can have such a name"),
            ErrorKind::Refused(code) => write!(f, "systemctl ended with {code}"),
            ErrorKind::Limit(name) => write!(f, "the limit {name} is reached"),
            ErrorKind::System(errno) => f.write_str(Errno::from_raw(*errno).desc()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot {}: {}", self.path.display(), self.operation, self.cause)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.cause.kind)
    }
}

impl std::error::Error for Error {
    /// The [`Cause`].
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl std::error::Error for Cause {
    /// The trouble with a status record, where it is that.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::BadRecord(bad) => Some(bad),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::NoService | ErrorKind::NoSupervisor => io::ErrorKind::NotFound,
            ErrorKind::NotPermitted | ErrorKind::Untrusted => io::ErrorKind::PermissionDenied,
            ErrorKind::TimedOut | ErrorKind::NotItsTurn => io::ErrorKind::TimedOut,
            ErrorKind::NoSuchCommand(_) | ErrorKind::NoReadiness(_) => io::ErrorKind::Unsupported,
            ErrorKind::BadRecord(_) | ErrorKind::Garbled => io::ErrorKind::InvalidData,
            ErrorKind::Closed => io::ErrorKind::ConnectionAborted,
            ErrorKind::BadName => io::ErrorKind::InvalidInput,
            ErrorKind::Busy => io::ErrorKind::ResourceBusy,
            ErrorKind::Refused(_) | ErrorKind::Declined | ErrorKind::Ended => io::ErrorKind::Other,
            ErrorKind::Limit(_) => io::ErrorKind::QuotaExceeded,
            ErrorKind::System(errno) => io::Error::from_raw_os_error(errno).kind(),
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_named_so_that_it_can_be_mended() {
        let of_watch = |errno| Error::of_watch(Path::new("/s/web"), errno);
        let of_file = |errno| Error::of_file(Path::new("/"), "send up", "supervise/control", errno);
        for (error, kind, line) in [
            (
                of_watch(Errno::ENOSPC),
                ErrorKind::Limit("fs.inotify.max_user_watches"),
                "/s/web: cannot watch it: the limit fs.inotify.max_user_watches is reached",
            ),
            (
                of_watch(Errno::EMFILE),
                ErrorKind::Limit("fs.inotify.max_user_instances, or of open files"),
                "/s/web: cannot watch it: the limit fs.inotify.max_user_instances, or of open files is reached",
            ),
            (of_file(Errno::ENXIO), ErrorKind::NoSupervisor, "/: cannot send up: no supervisor"),
            (of_file(Errno::EPIPE), ErrorKind::NoSupervisor, "/: cannot send up: no supervisor"),
            (of_file(Errno::EACCES), ErrorKind::NotPermitted, "/: cannot send up: supervise/control: not permitted"),
            (
                of_file(Errno::EMFILE),
                ErrorKind::System(libc::EMFILE),
                "/: cannot send up: supervise/control: Too many open files",
            ),
        ] {
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, line));
        }
    }

    #[test]
    fn the_own_words_of_who_was_asked_are_the_cause() {
        let error = Error::new(Path::new("/run/onit/api"), "ask for up of web", ErrorKind::Busy);
        assert_eq!(error.why(), "it runs already");
        let error = error.saying("its control script runs");
        let line = "/run/onit/api: cannot ask for up of web: its control script runs";
        assert_eq!((error.to_string(), format!("{error:?}")), (line.into(), format!("{line} (Busy)")));
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("its control script runs"));
    }

    #[test]
    fn an_error_is_one_of_the_standard_library_too() {
        let error = Error::new(Path::new("/s/web"), "wait until it is up", ErrorKind::TimedOut);
        let other = io::Error::from(error.clone());
        assert_eq!((other.kind(), other.to_string()), (io::ErrorKind::TimedOut, error.to_string()));
    }
}
