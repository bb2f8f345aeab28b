//! `--exit-file`: the exit code stands in a file, so that programs can read it, and say another one.

use super::Init;
use crate::sys::fs;
use crate::wire::svdir::excerpt;

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
        let path = self.config.exit_file.as_ref()?;
        let text = String::from_utf8_lossy(&fs::read_regular(path, LONGEST).ok()?).into_owned();
        let code = text.trim().parse::<u8>().ok().map(i32::from);
        if code.is_none() {
            let said = excerpt(text.trim());
            self.config.log.warn(None, &format_args!("{} says {said:?}, which is no exit code", path.display()));
        }
        code
    }
}
