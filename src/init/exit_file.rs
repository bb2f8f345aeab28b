//! `--exit-file`: the exit code stands in a file, so that programs can read it, and say another one.

use super::Init;
use crate::sys::fs;

/// No code is longer, in bytes, also with blanks around it.
const LONGEST: u64 = 64;

impl Init {
    /// Everything ends with this code, as far as we know.
    pub(super) fn note_code(&self, code: i32) {
        let Some(path) = &self.config.exit_file else { return };
        if let Err(errno) = fs::write_now(path, format!("{code}\n").as_bytes()) {
            self.config.log.warn(None, &format_args!("cannot write {}: {}", path.display(), errno.desc()));
        }
    }

    /// What stands there in the end. `None`: nothing that is a code.
    pub(super) fn last_code(&self) -> Option<i32> {
        let bytes = fs::read_regular(self.config.exit_file.as_ref()?, LONGEST).ok()?;
        str::from_utf8(&bytes).ok()?.trim().parse::<u8>().ok().map(i32::from)
    }
}
