//! From an initial root in memory into the real one.
//!
//! A `boot` script that has mounted the real root says so in a file. Then this root is emptied, that one takes its
//! place, and its init takes ours. Until then a failure is a reason for a shell; afterwards there is no way back.

use super::boot::HostInit;
use super::log::Log;
use crate::sys::{Errno, boot, fs};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// `NEWROOT` or `NEWROOT INIT`, in one line.
const REQUEST: &str = "/run/onit/switch-root";
/// Where the kernel looks for it.
const INITS: [&str; 4] = ["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];
/// What is mounted on these goes along.
const MOVED: [&str; 4] = ["/dev", "/proc", "/sys", "/run"];

impl HostInit {
    /// Leaves this root, if the `boot` script asked for it. Returns only if it did not, or if that cannot be.
    pub(super) fn enter_new_root(&mut self) {
        let Ok(Some(text)) = fs::read_bytes(fs::HERE, REQUEST) else { return }; // it never blocks
        let mut words = text.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let mut word = || words.next().map(|word| PathBuf::from(OsString::from_vec(word.to_vec())));
        let (Some(root), init) = (word(), word()) else {
            return self.rescue(&format!("{REQUEST} names no root"));
        };
        let inits = init.map_or_else(|| INITS.map(PathBuf::from).to_vec(), |init| vec![init]);
        if let Err(why) = check(&root, &inits) {
            return self.rescue(&format!("cannot switch to the root {}: {why}", root.display()));
        }
        self.hand_over_watchdog(&root);
        let _ = std::fs::remove_file(REQUEST); // it must not be read again in there
        for mount in MOVED {
            take_along(self.log, Path::new(mount), &root);
        }
        boot::empty(Path::new("/"));
        if let Err(errno) = boot::enter_root(&root) {
            return self.rescue(&format!("cannot enter the root {}: {}", root.display(), errno.desc()));
        }
        self.keep_watchdog_over_exec(true);
        for init in inits.iter().filter(|init| init.exists()) {
            let errno = boot::become_program(init, self.kernel_words());
            self.log.warn(None, &format_args!("cannot execute {}: {}", init.display(), errno.desc()));
        }
        self.keep_watchdog_over_exec(false);
        self.rescue("there is no init in the new root");
    }
}

fn check(root: &Path, inits: &[PathBuf]) -> Result<(), String> {
    let inside = |path: &PathBuf| root.join(path.strip_prefix("/").unwrap_or(path));
    if !boot::is_initial_root() {
        Err("this root is not in memory".into())
    } else if !boot::is_mount_point(root) {
        Err("nothing is mounted there".into())
    } else if !inits.iter().any(|init| may_be_program(&inside(init))) {
        Err(format!("{} is no program there", inits.first().map(|init| init.display().to_string()).unwrap_or_default()))
    } else {
        Ok(())
    }
}

/// Where a symbolic link leads is not known before that root is ours.
fn may_be_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.symlink_metadata()
        .is_ok_and(|file| file.is_symlink() || file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn take_along(log: Log, mount: &Path, root: &Path) {
    if !boot::is_mount_point(mount) {
        return;
    }
    let place = root.join(mount.strip_prefix("/").unwrap_or(mount));
    match boot::move_mount(mount, &place) {
        Ok(()) => {}
        Err(Errno::ENOENT) => drop(boot::detach(mount)), // the new root has its own ideas
        Err(errno) => {
            log.warn(
                None,
                &format_args!("cannot move {} to {}: {}; going on", mount.display(), place.display(), errno.desc()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_be_program;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_cannot_be_an_init_is_seen_before_there_is_no_way_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let (init, link) = (dir.path().join("init"), dir.path().join("link"));
        assert!(!may_be_program(dir.path()) && !may_be_program(&init));
        std::fs::write(&init, "").expect("a file");
        assert!(!may_be_program(&init));
        std::fs::set_permissions(&init, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        std::os::unix::fs::symlink("/bin/busybox", &link).expect("a link");
        assert!(may_be_program(&init) && may_be_program(&link));
    }
}
