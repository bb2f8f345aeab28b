//! This process becomes another program, which then has what was changed in it: user, limits, locks, environment.

use super::{Errno, foreground, process, signals};
use std::ffi::{CStr, CString, OsString, c_char};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Our environment, entry by entry, also those without `=`, which the library of Rust leaves out.
pub fn environment() -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    // SAFETY: this process has a single thread. The array ends with a null pointer, and holds strings.
    unsafe {
        let mut next = environ;
        while !next.is_null() && !(*next).is_null() {
            entries.push(CStr::from_ptr(*next).to_bytes().to_vec());
            next = next.add(1);
        }
    }
    entries
}

/// A program to become. All memory that it takes is taken beforehand: a limit may leave none.
pub struct Program {
    paths: Vec<CString>,
    words: Pointers,
    environment: Pointers,
}

/// Strings, and the pointers to them with a null pointer behind.
struct Pointers {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Pointers {
    fn to(strings: Vec<Vec<u8>>) -> Result<Pointers, Errno> {
        let strings = strings.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let strings = strings.map_err(|_| Errno::EINVAL)?;
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Ok(Pointers { pointers, _strings: strings })
    }
}

impl Program {
    /// The program at the first of these paths where there is one, with these words, its name first, and this environment.
    /// EINVAL: there is a NUL in one of them.
    pub fn new(paths: Vec<Vec<u8>>, words: &[OsString], environment: Vec<Vec<u8>>) -> Result<Program, Errno> {
        let paths = paths.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>().map_err(|_| Errno::EINVAL)?;
        let words = Pointers::to(words.iter().map(|word| word.as_bytes().to_vec()).collect())?;
        Ok(Program { paths, words, environment: Pointers::to(environment)? })
    }

    /// Becomes it. Returns only if that fails, with the last error that says more than that there is nothing: the next
    /// path is tried after ENOENT and after the errors in `skipped`.
    pub fn execute(&self, skipped: &[Errno]) -> Errno {
        restore_inherited();
        let mut why = Errno::ENOENT;
        for path in &self.paths {
            // SAFETY: the strings live as long as this, and both arrays end with a null pointer.
            unsafe {
                libc::execve(path.as_ptr(), self.words.pointers.as_ptr(), self.environment.pointers.as_ptr());
            }
            match Errno::last() {
                Errno::ENOENT => {}
                errno => why = errno,
            }
            if why != Errno::ENOENT && !skipped.contains(&why) {
                break;
            }
        }
        ignore_pipe();
        why
    }
}

/// The mask of signals, SIGPIPE and the descriptors 0 to 2 become as they were when we were executed: before `main` the
/// library of Rust ignores the one and opens the others.
fn restore_inherited() {
    let [blocked, ignored] = foreground::inherited();
    signals::mask(libc::SIG_SETMASK, blocked);
    if ignored & signals::set_of([libc::SIGPIPE]) == 0 {
        // SAFETY: the default action of a signal; we write nothing before the program is ours.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    (0..=libc::STDERR_FILENO).filter(|fd| process::was_closed(*fd)).for_each(|fd| _ = close(fd));
}

/// Who reads what we say about a program that cannot be executed may have gone.
fn ignore_pipe() {
    // SAFETY: ignores a signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Closes a standard descriptor, 0 to 2, for the program to come. EBADF: it was closed when we were executed.
pub fn close_standard(fd: i32) -> Result<(), Errno> {
    if process::was_closed(fd) {
        return Err(Errno::EBADF);
    }
    close(fd)
}

fn close(fd: i32) -> Result<(), Errno> {
    // SAFETY: one of the standard descriptors, which no value of ours owns.
    super::checked(unsafe { libc::close(fd) }).map(drop)
}

/// A pipe whose ends the programs get that we execute.
pub fn pipe_to_inherit() -> Result<(File, OwnedFd), Errno> {
    nix::unistd::pipe().map(|(reader, writer)| (reader.into(), writer))
}

/// Leaves an end of a pipe open for the program to come, and so many copies of it.
pub fn leave_open(end: OwnedFd, copies: usize) {
    for copy in (0..copies).filter_map(|_| nix::unistd::dup(&end).ok()) {
        std::mem::forget(copy);
    }
    std::mem::forget(end);
}
