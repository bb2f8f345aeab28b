//! Where the supervisor of a directory of services answers. There is one way to find it, for the library and the verbs.

use super::{Error, ErrorKind, api::Api};
use crate::sys::fs;
use crate::wire::api::DIRECTORY_VARIABLE;
use crate::wire::svdir::SERVICES;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The socket, in each of its places.
const SOCKET: &str = "api";

/// A directory of services.
pub(crate) struct Directory {
    pub path: PathBuf,
    /// The caller or the environment has named it.
    pub is_named: bool,
    /// It is the directory of the supervisor that runs us, which need not be the one for which `ONIT_RUN` was set: that
    /// may have been the one that runs it.
    pub is_ours: bool,
}

/// A place where a socket may be.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub socket: PathBuf,
    /// Beside the services.
    pub beside: bool,
    /// The supervisor of any directory may have bound it.
    pub anybodys: bool,
}

/// A place where it was not found.
pub(crate) struct Miss {
    /// Its path is that of the socket.
    pub error: Error,
    /// A supervisor there may be that of the directory.
    pub may_be_theirs: bool,
}

impl Miss {
    /// A supervisor there does not answer, and may be that of the directory.
    pub(crate) fn is_silent(&self) -> bool {
        self.may_be_theirs && self.error.kind() == ErrorKind::TimedOut
    }
}

impl Directory {
    /// Where the user says, or else where the supervisor does that runs us.
    pub(crate) fn from_environment() -> Directory {
        let named = |name| Some(variable(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let (said, ours) = (named("SVDIR"), named(DIRECTORY_VARIABLE));
        let (is_named, is_ours) = (said.is_some() || ours.is_some(), said.is_none() && ours.is_some());
        Directory { path: said.or(ours).unwrap_or_else(|| SERVICES.into()), is_named, is_ours }
    }

    /// This one.
    pub(crate) fn named(path: &Path) -> Directory {
        Directory { path: path.to_owned(), is_named: true, is_ours: false }
    }

    /// Looks for its supervisor, in one place after the other. One that does not answer is not looked past.
    pub(crate) fn search(&self, patience: Duration) -> (Option<(Api, Place)>, Vec<Miss>) {
        let mut misses = Vec::new();
        for place in places(&self.path, self.is_ours, &variable("ONIT_RUN"), &variable("XDG_RUNTIME_DIR")) {
            let may_be_theirs = !(place.anybodys && self.is_named);
            let error = match Api::connect_trusted(&place.socket, patience, &self.path) {
                Ok(api) if may_be_theirs || same(Path::new(&api.hello().directory), &self.path) => {
                    return (Some((api, place)), misses);
                }
                Ok(api) => Error::new(&place.socket, "connect", ErrorKind::NoSupervisor)
                    .saying(format!("serves {}", api.hello().directory)),
                Err(error) => error,
            };
            misses.push(Miss { error, may_be_theirs });
            if misses.last().is_some_and(Miss::is_silent) {
                break;
            }
        }
        (None, misses)
    }

    /// The same for a caller that can do nothing without it.
    pub(crate) fn find(&self, patience: Duration) -> super::Result<Api> {
        let (found, misses) = self.search(patience);
        let telling = |miss: &Miss| miss.may_be_theirs && miss.error.kind() != ErrorKind::NoSupervisor;
        let why = misses.into_iter().find(telling).map(|miss| miss.error);
        found.map(|(api, _)| api).ok_or_else(|| {
            why.unwrap_or_else(|| Error::new(&self.path, "find its supervisor", ErrorKind::NoSupervisor))
        })
    }
}

/// In the order in which they are tried.
fn places(directory: &Path, is_ours: bool, onit_run: &OsStr, runtime: &OsStr) -> Vec<Place> {
    let place = |directory: PathBuf, beside, anybodys| Place { socket: directory.join(SOCKET), beside, anybodys };
    let beside = place(directory.join(".onit"), true, false);
    if !onit_run.is_empty() {
        let named = place(PathBuf::from(onit_run), false, is_ours);
        return if is_ours { vec![named, beside] } else { vec![named] };
    }
    let mut places = vec![beside, place(PathBuf::from("/run/onit"), false, true)];
    if !runtime.is_empty() {
        places.push(place(Path::new(runtime).join("onit"), false, true));
    }
    places
}

fn variable(name: &str) -> OsString {
    std::env::var_os(name).unwrap_or_default()
}

/// Whether both are one directory.
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::open_path(path).and_then(fs::identity);
    one == other || identity(one).is_ok_and(|id| identity(other) == Ok(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_looked_for_beside_the_services_and_then_where_anybody_may_have_one() {
        let sockets = |run: &str, runtime: &str| {
            let places = places("/sv".as_ref(), false, run.as_ref(), runtime.as_ref());
            places.into_iter().map(|place| place.socket.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(sockets("", ""), ["/sv/.onit/api", "/run/onit/api"]);
        assert_eq!(sockets("", "/run/user/7"), ["/sv/.onit/api", "/run/onit/api", "/run/user/7/onit/api"]);
        assert_eq!(sockets("/x", "/run/user/7"), ["/x/api"]);
        let inside = places("/sv".as_ref(), true, "/x".as_ref(), "".as_ref());
        assert_eq!(
            inside.iter().map(|place| (place.beside, place.anybodys)).collect::<Vec<_>>(),
            [(false, true), (true, false)]
        );
    }
}
