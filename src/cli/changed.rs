//! What of a service directory was changed since its process was started, so that the process does not know it.

use crate::machine::{Phase, ServiceState};
use crate::wire::api::ServiceStatus;
use crate::wire::settings::{FILES, Moment, Reader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The start is known to the millisecond.
const MILLISECOND: f64 = 0.001;

/// The files that were read at the start of what runs, and are others by now, as far as that can be seen: the scripts, the
/// small files that are read before a start, and those of `env/`.
pub fn since_start(service: &ServiceStatus, place: &Path) -> Vec<String> {
    let state = service.state.known();
    if service.pid.is_none() || !matches!(state, Some(ServiceState::Up | ServiceState::Starting)) {
        return Vec::new();
    }
    let is_newer = |path: &Path| {
        let changed = path.metadata().map(|file| file.ctime() as f64 + file.ctime_nsec() as f64 / 1e9);
        changed.is_ok_and(|changed| changed > service.since + MILLISECOND)
    };
    let at_start = FILES.iter().filter(|file| matches!(file.reader, Reader::Input(Moment::Start, _)));
    let files = [Phase::Run.word(), Phase::Setup.word()].into_iter().chain(at_start.map(|file| file.name));
    let mut changed: Vec<String> = files.filter(|name| is_newer(&place.join(name))).map(str::to_owned).collect();
    let variables = place.join("env").read_dir().into_iter().flatten().flatten();
    let mut variables: Vec<String> = variables
        .filter(|entry| is_newer(&entry.path()))
        .map(|entry| format!("env/{}", entry.file_name().to_string_lossy()))
        .collect();
    variables.sort_unstable();
    if variables.is_empty() && is_newer(&place.join("env")) {
        variables.push("env/".into()); // one was removed
    }
    changed.extend(variables);
    changed
}
