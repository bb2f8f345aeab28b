//! The process that stands where `runsvdir` or `svscan` stood.
//!
//! Those tools can be killed without harm: their children go on supervising. So the process that was started as the
//! tool, the front, is not the supervisor but its parent, and may end before it.

use crate::exit;
use crate::machine::Signal;
use crate::sys::signals::{self, Signals};
use crate::sys::spawn::{Side, fork};
use crate::sys::{Errno, clock, fs, poll::Poller, process, rescue, title};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;

/// The part of the log argument that stays: `log: `.
const LABEL: usize = 5;
const SIGNALS: u64 = 0;
const LOG: u64 = 1;
/// The supervisor has ended.
const SUPERVISOR: u64 = 2;

/// The variable that tells the supervisor the descriptor through which the front speaks.
const VARIABLE: &str = "ONIT_FRONT";

/// What the front does with signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// TERM ends it with 0; HUP stops all services and ends it with 111.
    Runsvdir,
    /// Any signal ends it.
    Svscan,
}

/// What the supervisor behind a front has from it; `None` if we are none.
pub(super) fn behind() -> Option<OwnedFd> {
    let hear = process::inherited_descriptor(VARIABLE)?;
    rescue::keep_name();
    Some(hear)
}

/// Splits the process; the front never returns. The supervisor behind it executes this program again with these words,
/// so that it has another name and title: a command that looks for the tool, or ends it, by its name finds the front
/// alone. If that does not work, it gets the descriptor through which the front speaks here.
pub(super) fn split(manner: Manner, directory: &OsStr, log: bool, words: &[OsString]) -> Result<OwnedFd, Errno> {
    let (hear, speak) = fs::pipe()?;
    let errors = if log { Some(fs::pipe()?) } else { None };
    if manner == Manner::Runsvdir {
        let _ = signals::hold_back(); // an order that comes before it listens is obeyed
    }
    match fork()? {
        Side::Child => {
            if let Some((_, write)) = &errors {
                process::become_stderr(write)?;
            }
            process::execute_again(words, VARIABLE, &hear);
            Ok(hear)
        }
        Side::Parent(_) => {
            drop(hear);
            let errors = errors.map(|(read, _write)| read);
            std::process::exit(match manner {
                Manner::Runsvdir => stand_in(&speak, errors.as_ref()).unwrap_or(100),
                Manner::Svscan => {
                    let _ = std::env::set_current_dir(directory); // it could be opened
                    stand_still(&speak).unwrap_or(111)
                }
            })
        }
    }
}

/// Waits for the signal that ends it, showing the errors of all services in the title meanwhile.
fn stand_in(speak: &OwnedFd, errors: Option<&OwnedFd>) -> Result<i32, Errno> {
    let signals = Signals::take_over()?;
    let mut poller = Poller::new()?;
    poller.add(&signals, SIGNALS)?;
    poller.add(speak, SUPERVISOR)?;
    if let Some(errors) = errors {
        poller.add(errors, LOG)?;
    }
    let mut area = title::last_argument();
    loop {
        let ready: Vec<u64> = poller.wait(clock::now(), None).collect();
        if ready.contains(&SUPERVISOR) {
            return Ok(exit::OK);
        }
        if let (true, Some(errors)) = (ready.contains(&LOG), errors) {
            show(fs::read_some(errors, &mut [0; 512]), area.as_deref_mut().unwrap_or_default());
        }
        while let Some(signal) = signals.next() {
            match signal {
                Signal::TERM => return Ok(0),
                Signal::HUP => {
                    fs::write_byte(speak, b'h');
                    return Ok(111);
                }
                Signal::INT | Signal::QUIT => return Ok(128 + signal.0),
                _ => {}
            }
        }
    }
}

/// Each byte moves the text behind the label to the left and stands at its end.
fn show(errors: &[u8], area: &mut [u8]) {
    let Some(text) = area.get_mut(LABEL..) else { return };
    for byte in errors.iter().filter(|byte| **byte != 0) {
        text.rotate_left(1);
        if let Some(last) = text.last_mut() {
            *last = *byte;
        }
    }
}

/// Waits to be killed. Every signal does that, as it did before.
fn stand_still(speak: &OwnedFd) -> Result<i32, Errno> {
    let mut poller = Poller::new()?;
    poller.add(speak, SUPERVISOR)?;
    while poller.wait(clock::now(), None).next().is_none() {} // STOP and CONT interrupt it
    Ok(exit::OK)
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn errors_scroll_in_behind_the_label() {
        let mut area = *b"log: .....";
        show(b"ab\0c", &mut area);
        assert_eq!(&area, b"log: ..abc");
        show(b"0123456789", &mut area);
        assert_eq!(&area, b"log: 56789");
        show(b"x", &mut []);
    }
}
