//! `--exit-file`: the exit code stands in a file, so that programs can read it, and say another one.

use super::Init;

impl Init {
    /// Everything ends with this code, as far as we know.
    pub(super) fn note_code(&self, code: i32) {
        let Some(path) = &self.config.exit_file else { return };
        if let Err(error) = std::fs::write(path, format!("{code}\n")) {
            self.config.log.warn(None, &format_args!("cannot write {}: {error}", path.display()));
        }
    }

    /// What stands there in the end. `None`: nothing that is a code.
    pub(super) fn last_code(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.config.exit_file.as_ref()?).ok()?;
        text.trim().parse::<u8>().ok().map(i32::from)
    }
}
