//! The time stamps in front of lines, made once for all that were read at once.

use crate::wire::log_time::{self, Format};
use std::time::Duration;

/// The time stamp of the last line: that of the next one is the same if both were read at once.
#[derive(Default)]
pub struct Stamp {
    of: Option<Duration>,
    /// As it stands in front of the line.
    pub text: Vec<u8>,
}

impl Stamp {
    /// Makes it that of this time.
    pub fn renew(&mut self, format: Format, of: Duration) {
        self.renew_with(of, |text| log_time::push(text, format, of));
    }

    /// The same for what `write` writes of it.
    pub fn renew_with(&mut self, of: Duration, write: impl FnOnce(&mut Vec<u8>)) {
        if self.of != Some(of) {
            self.text.clear();
            write(&mut self.text);
            self.of = Some(of);
        }
    }
}
