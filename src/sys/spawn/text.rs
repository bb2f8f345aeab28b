//! Arrays of strings as execve(2) wants them, in memory that is used again for the next program.

use super::super::Errno;
use super::plan::{Value, Variable};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;

/// Digits of the largest pid, and the NUL behind them.
const PID_ROOM: usize = 11;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The environment that we have ourselves.
pub(super) fn our_environment() -> *const *const c_char {
    // SAFETY: this process has a single thread, so the pointer does not change meanwhile.
    unsafe { environ }
}

/// Strings one behind the other, and pointers to them, ended by a null pointer.
#[derive(Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    pointers: Vec<*const c_char>,
}

impl Words {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.pointers.clear();
    }

    /// Adds a string, made of these parts. EINVAL: it would end in the middle.
    pub(super) fn push(&mut self, parts: &[&[u8]]) -> Result<(), Errno> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(Errno::EINVAL);
        }
        self.push_whole(parts);
        Ok(())
    }

    fn push_whole(&mut self, parts: &[&[u8]]) {
        self.starts.push(self.bytes.len());
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.push(0);
    }

    /// No more strings are coming, so they stay where they are.
    pub(super) fn seal(&mut self) {
        let (bytes, ends) = (&self.bytes, [ptr::null()]);
        let starts = self.starts.iter().filter_map(|start| bytes.get(*start..));
        self.pointers.extend(starts.map(|text| text.as_ptr().cast()).chain(ends));
    }

    /// The strings, and a null pointer behind them.
    pub(super) fn pointers(&self) -> &[*const c_char] {
        &self.pointers
    }

    /// The strings.
    pub(super) fn iter(&self) -> impl Iterator<Item = *const c_char> {
        self.pointers.iter().copied().filter(|word| !word.is_null())
    }
}

/// An environment: what is inherited stays where it is, and what is changed stands here.
#[derive(Default)]
pub(super) struct Environment {
    own: Words,
    /// Places in `own` that get the pid.
    pid_at: Vec<usize>,
    pid_places: Vec<*mut u8>,
    pointers: Vec<*const c_char>,
}

impl Environment {
    /// Ours, with these changes. EINVAL: a name or a value cannot stand in an environment.
    pub(super) fn fill(&mut self, changes: &[Variable]) -> Result<(), Errno> {
        self.own.clear();
        self.pid_at.clear();
        self.pid_places.clear();
        self.pointers.clear();
        if changes.is_empty() {
            return Ok(());
        }
        let last: BTreeMap<&[u8], usize> =
            changes.iter().enumerate().map(|(at, change)| (change.name.as_bytes(), at)).collect();
        for (at, change) in changes.iter().enumerate() {
            self.add(change, last.get(change.name.as_bytes()) != Some(&at))?;
        }
        self.own.seal();
        let bytes = self.own.bytes.as_mut_ptr();
        // SAFETY: places inside of `bytes`, which does not grow any more.
        self.pid_places.extend(self.pid_at.iter().map(|at| unsafe { bytes.add(*at) }));
        let is_kept = |text: &&CStr| name_of(text).is_none_or(|name| !last.contains_key(name));
        self.pointers.extend(inherited().filter(is_kept).map(CStr::as_ptr));
        self.pointers.extend_from_slice(self.own.pointers());
        Ok(())
    }

    fn add(&mut self, change: &Variable, is_replaced: bool) -> Result<(), Errno> {
        let name = change.name.as_bytes();
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
            return Err(Errno::EINVAL);
        }
        match change.value {
            _ if is_replaced => Ok(()),
            Value::Unset => Ok(()),
            Value::Text(text) => self.own.push(&[name, b"=", text.as_bytes()]),
            Value::OwnPid => {
                self.pid_at.push(self.own.bytes.len() + name.len() + 1);
                self.own.push_whole(&[name, b"=", &[0; PID_ROOM - 1]]);
                Ok(())
            }
        }
    }

    /// What execve(2) gets. Without changes it is ours, as it is then.
    pub(super) fn pointer(&self) -> *const *const c_char {
        if self.pointers.is_empty() { our_environment() } else { self.pointers.as_ptr() }
    }

    /// The child writes its pid where it is wanted. No allocation, no system call.
    ///
    /// # Safety
    /// Nothing else uses this environment meanwhile.
    pub(super) unsafe fn note_pid(&self, pid: u32) {
        for place in &self.pid_places {
            // SAFETY: `fill` left that much room there, and the caller's promise.
            write_decimal(pid, unsafe { std::slice::from_raw_parts_mut(*place, PID_ROOM - 1) });
        }
    }

    /// How many bytes and pointers there is room for.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.own.bytes.capacity() + self.own.pointers.capacity() + self.pointers.capacity()
    }

    /// Whether a pid is wanted anywhere.
    pub(super) fn wants_pid(&self) -> bool {
        !self.pid_places.is_empty()
    }
}

/// The strings of our environment.
fn inherited() -> impl Iterator<Item = &'static CStr> {
    let start = our_environment();
    // SAFETY: an array of strings, ended by a null pointer, or nothing. This process has a single thread.
    (0..).map_while(move |at| unsafe {
        let word = if start.is_null() { ptr::null() } else { *start.add(at) };
        (!word.is_null()).then(|| CStr::from_ptr(word))
    })
}

fn name_of(text: &CStr) -> Option<&[u8]> {
    let text = text.to_bytes();
    text.iter().position(|byte| *byte == b'=').and_then(|end| text.get(..end))
}

/// Writes a number to the beginning of `to`, which is empty and has room for any.
fn write_decimal(number: u32, to: &mut [u8]) {
    let (mut digits, mut rest, mut length) = ([0; PID_ROOM - 1], number, 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    let written = digits.iter().skip(digits.len() - length);
    to.iter_mut().zip(written).for_each(|(place, digit)| *place = *digit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pid_has_its_digits() {
        for number in [1, 9, 10, 4_194_304, i32::MAX as u32, u32::MAX] {
            let mut text = [0; PID_ROOM];
            write_decimal(number, &mut text);
            let text = CStr::from_bytes_until_nul(&text).expect("a NUL");
            assert_eq!(text.to_str(), Ok(number.to_string().as_str()));
        }
    }
}
