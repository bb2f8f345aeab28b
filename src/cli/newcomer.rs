//! A service that is about to be looked after: it has just been put into the directory that an onit serves.

use crate::client::find::{Directory, same};
use crate::client::{Deadline, Service, Watch};
use crate::machine::{Mono, ServiceState};
use crate::wire::api::{ServiceStatus, SupervisorState};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// A supervisor has at least this long to answer, however little time the caller has.
pub const SEARCH_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits until a supervisor looks after the service in this directory, if an onit is about to.
pub fn wait(path: &Path, until: Mono) {
    let Ok(service) = Service::open(path) else { return };
    let is_supervised = || service.is_supervised().unwrap_or(true); // if we may not look, the caller says why
    if is_supervised() || !is_about_to_be_taken_in(path) {
        return;
    }
    let Ok(mut watch) = Watch::new([&service]) else { return };
    while !is_supervised() && matches!(watch.next_by(Deadline::at(Some(until))), Ok(Some(_))) {}
}

/// Whether a service that no supervisor looks after stands in the directory of an onit that has not come to it yet.
fn is_about_to_be_taken_in(service: &Path) -> bool {
    let service = if service.ends_with("log") { service.parent().unwrap_or(service) } else { service };
    let (Some(directory), Some(name)) = (service.parent(), service.file_name()) else { return false };
    let (found, _) = Directory::named(directory).search(SEARCH_TIMEOUT);
    let theirs = found.filter(|(api, place)| place.beside || same(Path::new(&api.hello().directory), directory));
    let Some((mut api, _)) = theirs.filter(|_| is_service(name)) else { return false };
    let is_refused = |one: &ServiceStatus| one.state == ServiceState::Refused && name == OsStr::new(&one.name);
    api.hello().state == SupervisorState::Up && api.all().is_ok_and(|all| !all.iter().any(is_refused))
}

/// The names in a directory that stand for services.
pub fn is_service(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".") && !name.as_bytes().ends_with(b"@")
}
