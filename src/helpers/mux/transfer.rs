//! Lines from many pipes into one stream, each once, also if this process is killed at any moment.
//!
//! What is done is a transaction: its lines go into a pipe of their own, then as many bytes are taken from each of the
//! pipes that they come from, then the lines go out. Which step is next stands in memory that outlives this process, and
//! whether a step was done shows in how much is in a pipe that nobody else touches. So whoever goes on finds what is
//! left to do, and nothing is done twice. The pipes and the memory are held by the process that starts this one.

use crate::sys::{Errno, pipe};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// So many pipes one transaction takes from.
pub const SOURCES: usize = 1000;
/// Words of the memory.
pub const WORDS: usize = ENTRIES + 2 * SOURCES;
const _: () = assert!(WORDS <= crate::wire::mux::MEMORY);

/// What is asked for, in bytes, and granted to every user.
const ROOM: usize = 1 << 20;

const STEP: usize = 0;
const LENGTH: usize = 1;
const COUNT: usize = 2;
const CURRENT: usize = 3;
const ENTRIES: usize = 4;

/// What is next. Zero, as memory begins, is nothing.
const PREPARED: u64 = 1;
const TAKING: u64 = 2;
const WRITING: u64 = 3;

/// What outlives the process.
pub struct Transfer<'a> {
    /// The memory.
    pub words: &'a [AtomicU64],
    /// The lines of a transaction: what they are read from, and written to.
    pub lines: Ends,
    /// What is taken from a source goes through this.
    pub taken: Ends,
    /// Where the lines go.
    pub output: File,
    /// So many steps are still taken.
    #[cfg(test)]
    pub fuse: std::cell::Cell<usize>,
}

/// Both ends of a pipe.
pub struct Ends {
    /// To read from.
    pub read: File,
    /// To write to.
    pub write: File,
}

impl Ends {
    /// Takes so many bytes out, which are there.
    pub fn take(&self, count: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; count];
        (&self.read).read_exact(&mut bytes).map_err(errno)?;
        Ok(bytes)
    }
}

impl From<(OwnedFd, OwnedFd)> for Ends {
    fn from((read, write): (OwnedFd, OwnedFd)) -> Ends {
        Ends { read: read.into(), write: write.into() }
    }
}

/// A pipe that lines come from, by a number that no other one has, and the bytes that are to be taken from it.
pub type Part = (u64, usize);

impl Transfer<'_> {
    /// Room for the lines of a transaction, in bytes.
    pub fn room(&self) -> usize {
        pipe::grow(&self.taken.write, ROOM);
        pipe::grow(&self.lines.write, ROOM)
    }

    /// Takes these bytes from the pipes, and writes the lines that were made of them: at most as many as there is
    /// [room](Transfer::room) for, of at most [`SOURCES`] pipes. It waits for whoever reads.
    pub fn carry<'p>(
        &self,
        parts: &[Part],
        lines: &[u8],
        source: impl Fn(u64) -> Option<BorrowedFd<'p>>,
    ) -> Result<(), Errno> {
        let entries = self.words.get(ENTRIES..).unwrap_or_default().chunks_exact(2);
        for (entry, (key, length)) in entries.zip(parts) {
            let [at, bytes] = entry else { continue };
            at.store(*key, Ordering::Relaxed);
            bytes.store(*length as u64, Ordering::Relaxed);
        }
        self.set(COUNT, parts.len() as u64)?;
        self.set(LENGTH, lines.len() as u64)?;
        self.set(CURRENT, 0)?;
        self.set(STEP, PREPARED)?;
        (&self.lines.write).write_all(lines).map_err(errno)?;
        self.is_alive()?;
        self.go_on(source)
    }

    /// Does what is left of a transaction, if there is one.
    pub fn go_on<'p>(&self, source: impl Fn(u64) -> Option<BorrowedFd<'p>>) -> Result<(), Errno> {
        if self.get(STEP) == PREPARED {
            // All lines are there, or none: they fit, and nothing was there before.
            let is_there = pipe::pending(&self.lines.read) as u64 == self.get(LENGTH);
            self.set(STEP, if is_there { TAKING } else { 0 })?;
        }
        if self.get(STEP) == TAKING {
            self.take(source)?;
            self.set(STEP, WRITING)?;
        }
        if self.get(STEP) == WRITING {
            self.write()?;
            self.set(STEP, 0)?;
        }
        Ok(())
    }

    /// Whether something is left to do.
    pub fn is_unfinished(&self) -> bool {
        self.get(STEP) != 0
    }

    /// Empties the sources, as far as they are to be. `CURRENT` is the source, doubled, and one as soon as its bytes have
    /// come out.
    fn take<'p>(&self, source: impl Fn(u64) -> Option<BorrowedFd<'p>>) -> Result<(), Errno> {
        loop {
            let (at, has_come) = (self.get(CURRENT) / 2, self.get(CURRENT) % 2 == 1);
            let Ok(at) = usize::try_from(at) else { return Ok(()) };
            if at as u64 >= self.get(COUNT) {
                return Ok(());
            }
            let (key, length) = (self.get(ENTRIES + 2 * at), self.get(ENTRIES + 2 * at + 1));
            if !has_come {
                let Some(from) = source(key) else {
                    self.set(CURRENT, 2 * (at as u64 + 1))?; // it is there no more, nor is what was in it
                    continue;
                };
                while (pipe::pending(&self.taken.read) as u64) < length {
                    let left = length - pipe::pending(&self.taken.read) as u64;
                    if pipe::shift(from, &self.taken.write, usize::try_from(left).unwrap_or(usize::MAX))? == 0 {
                        break;
                    }
                    self.is_alive()?;
                }
                self.set(CURRENT, 2 * at as u64 + 1)?;
            }
            self.taken.take(pipe::pending(&self.taken.read))?;
            self.is_alive()?;
            self.set(CURRENT, 2 * (at as u64 + 1))?;
        }
    }

    fn write(&self) -> Result<(), Errno> {
        loop {
            let left = pipe::pending(&self.lines.read);
            if left == 0 {
                return Ok(());
            }
            match pipe::shift(&self.lines.read, &self.output, left) {
                Ok(_) | Err(Errno::EINTR) => self.is_alive()?,
                Err(Errno::EINVAL) => self.write_a_copy(left)?, // a file that is appended to
                Err(Errno::EAGAIN) => crate::sys::poll::output(&self.output)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Whoever is killed between the two may write it twice.
    fn write_a_copy(&self, most: usize) -> Result<(), Errno> {
        let copy = Ends::from(crate::sys::fs::pipe()?);
        pipe::grow(&copy.write, most);
        let count = pipe::copy(&self.lines.read, &copy.write, most)?;
        (&self.output).write_all(&copy.take(count)?).map_err(errno)?;
        self.lines.take(count).map(drop)
    }

    fn get(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    fn set(&self, at: usize, value: u64) -> Result<(), Errno> {
        self.words.get(at).into_iter().for_each(|word| word.store(value, Ordering::SeqCst));
        self.is_alive()
    }

    /// Tests end it here.
    fn is_alive(&self) -> Result<(), Errno> {
        #[cfg(test)]
        if self.fuse.replace(self.fuse.get().saturating_sub(1)) == 0 {
            return Err(Errno::EOWNERDEAD);
        }
        Ok(())
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::fd::AsFd as _;

    fn ends() -> Ends {
        crate::sys::fs::pipe().expect("a pipe").into()
    }

    fn contents(ends: &Ends) -> String {
        String::from_utf8(ends.take(pipe::pending(&ends.read)).expect("read")).expect("text")
    }

    /// Ends it after every number of steps, and lets another one go on, which is ended as well.
    #[test]
    fn wherever_it_is_killed_each_byte_is_taken_once_and_each_line_written_once() {
        let mut ways = 0;
        for first in 0..30 {
            for second in [0, 1, 2, 3, 5, 8, 1000] {
                let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
                let (lines, taken, out, sources) = (ends(), ends(), ends(), [ends(), ends(), ends()]);
                let copy = |ends: &Ends| Ends {
                    read: ends.read.try_clone().expect("a copy"),
                    write: ends.write.try_clone().expect("a copy"),
                };
                let process = |fuse| Transfer {
                    words: &words,
                    lines: copy(&lines),
                    taken: copy(&taken),
                    output: out.write.try_clone().expect("a copy"),
                    fuse: Cell::new(fuse),
                };
                let source = |key: u64| sources.get(usize::try_from(key).ok()?).map(|ends| ends.read.as_fd());
                for (ends, text) in sources.iter().zip(["one\nrest", "two\n", "three\n3\nx"]) {
                    (&ends.write).write_all(text.as_bytes()).expect("written");
                }
                let parts = [(0, 4), (2, 8), (7, 100)];
                let text = "a | one\nc | three\nc | 3\n";
                let begun = process(first).carry(&parts, text.as_bytes(), source);
                let _ = process(second).go_on(source);
                process(usize::MAX).go_on(source).expect("to the end");
                assert!(!process(usize::MAX).is_unfinished());
                let left = [0, 1, 2].map(|at| contents(&sources[at]));
                let out = contents(&out);
                ways += usize::from(begun.is_err());
                let nothing = out.is_empty() && left == ["one\nrest", "two\n", "three\n3\nx"];
                let all = out == text && left == ["rest", "two\n", "x"];
                assert!(all || begun.is_err() && nothing, "{first} {second}: {out:?} {left:?}");
                assert_eq!((contents(&lines), contents(&taken)), (String::new(), String::new()));
            }
        }
        assert!(ways > 70, "{ways}");
    }

    #[test]
    fn what_nothing_can_be_moved_to_is_written_to() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let output = File::options().append(true).open(file.path()).expect("the file");
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let transfer = Transfer { words: &words, lines: ends(), taken: ends(), output, fuse: Cell::new(usize::MAX) };
        assert!(transfer.room() >= 65_536);
        let text = "line\n".repeat(12_000);
        transfer.carry(&[], text.as_bytes(), |_| None).expect("carried");
        assert_eq!(std::fs::read_to_string(file.path()).expect("read"), text);
    }
}
