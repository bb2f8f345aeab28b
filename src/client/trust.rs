//! Whether the process that answers at a socket may be believed: on its word processes are signalled, and passwords
//! asked for.

use crate::sys::{process, socket};
use std::fs::metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Every user may make something there.
const OTHERS_WRITE: u32 = 0o002;

/// Why the process that answers at this socket is not believed; `None` if it is. It is if its user is root, ours or the
/// owner of the directory of services; with another user only where not every user could have put a socket.
pub(super) fn doubt(stream: &UnixStream, socket: &Path, services: &Path) -> Option<String> {
    let user = socket::server_user(stream)?;
    let owner = metadata(services).map(|found| found.uid()).ok();
    if [Some(0), Some(process::user()), owner].contains(&Some(user)) {
        return None;
    }
    let place = anybodys(socket)?;
    Some(format!("it is not used: user {user} answers there, and anybody may make a socket in {}", place.display()))
}

/// A directory on the way to this file in which every user may make files: as it is written, and as it is.
fn anybodys(file: &Path) -> Option<PathBuf> {
    let written = std::path::absolute(file).ok()?;
    let real = written.parent().and_then(|folder| folder.canonicalize().ok()).unwrap_or_default();
    let mut folders = written.ancestors().skip(1).chain(real.ancestors());
    folders
        .find(|folder| metadata(folder).is_ok_and(|found| found.permissions().mode() & OTHERS_WRITE != 0))
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions};

    #[test]
    fn a_place_is_anybodys_if_one_directory_on_the_way_is() {
        assert_eq!(anybodys(Path::new("/proc/onit/api")), None);
        let root = tempfile::tempdir_in("/dev/shm").expect("a directory"); // where every user may make files
        assert_eq!(anybodys(&root.path().join("run/api")), Some("/dev/shm".into()));
        let (open, link) = (root.path().join("open"), root.path().join("link"));
        create_dir(&open).expect("mkdir");
        set_permissions(&open, Permissions::from_mode(0o1777)).expect("chmod");
        std::os::unix::fs::symlink("/proc", &link).expect("symlink");
        assert_eq!(anybodys(&open.join("run/api")), Some(open));
        assert_eq!(anybodys(&link.join("api")), Some("/dev/shm".into()), "the link is anybody's");
    }
}
