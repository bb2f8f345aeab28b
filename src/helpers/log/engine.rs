//! What all loggers do: read, write, and see to signals, until there is no more or they are told to end.

use super::lines::{Cutter, Sink};
use super::waiting::{Ready, Stop, Waiter};
use crate::machine::{Mono, Signal};
use crate::sys::{Errno, clock};
use crate::tool::print;
use std::time::Duration;

/// How the loggers of other projects end when they cannot go on.
pub const TROUBLE: i32 = 111;

/// A logger.
pub trait Program {
    /// Its name, for its lines.
    const NAME: &'static str;
    /// Where its lines go.
    type Writers: Sink;

    /// What makes lines of what is read, and where they go.
    fn parts(&mut self) -> (&mut Cutter, &mut Self::Writers);
    /// Takes what was read.
    fn take(&mut self, read: &[u8]);
    /// Writes what waits.
    fn flush(&mut self, waiter: &mut Waiter) -> Result<(), Stop>;
    /// How many bytes wait, and for what. Nothing is read before they are written.
    fn waiting(&mut self) -> Vec<(usize, Vec<u8>)>;
    /// Sees to a signal. The error is how it ends because it cannot go on.
    fn on_signal(&mut self, signal: Signal, waiter: &mut Waiter) -> Result<(), i32>;
    /// Closes everything. What waits has been written.
    fn close(&mut self, waiter: &mut Waiter);

    /// Whether a line has begun and not ended.
    fn is_within_line(&mut self) -> bool {
        self.parts().0.is_within_line()
    }
    /// Ends the line that has begun, if one has.
    fn finish_line(&mut self) {
        let (cutter, writers) = self.parts();
        cutter.finish(writers);
    }
    /// When it has something to do without input.
    fn deadline(&self) -> Option<Mono> {
        None
    }
    /// Sees to its processors. Whether one runs.
    fn look_after_processors(&mut self, _waiter: &mut Waiter) -> bool {
        false
    }
    /// Says that processors are left to themselves.
    fn leave_processors(&self) {}
}

/// Runs it, reading so many bytes at a time. Returns the exit code.
pub fn run<P: Program>(program: &mut P, waiter: &mut Waiter, room: usize) -> i32 {
    let mut room = vec![0; room];
    loop {
        if let Err(code) = turn(program, waiter, &mut room) {
            return code;
        }
    }
}

/// The error is the exit code.
fn turn<P: Program>(program: &mut P, waiter: &mut Waiter, room: &mut [u8]) -> Result<(), i32> {
    let flushed = program.flush(waiter);
    if flushed == Err(Stop::GiveUp) {
        return Err(lost(program));
    }
    program.look_after_processors(waiter);
    let has_changed = on_signals(program, waiter)?;
    if waiter.is_ending() {
        waiter.read_rest(program.is_within_line(), |byte| {
            program.take(byte);
            program.is_within_line()
        });
        return Err(end(program, waiter));
    }
    if has_changed || flushed.is_err() || waiter.wait(program.deadline()) != Ready::Input {
        return Ok(());
    }
    match waiter.read(room) {
        Ok([]) => Err(end(program, waiter)),
        Ok(read) => {
            program.take(read);
            Ok(())
        }
        Err(Errno::EAGAIN) => Ok(()),
        Err(errno) => {
            let line = [b": warning: unable to read standard input: ", print::why(errno), b"\n"].concat();
            print::stderr(&[P::NAME.as_bytes(), &line]);
            Err(end(program, waiter))
        }
    }
}

/// Whether there was one.
fn on_signals(program: &mut impl Program, waiter: &mut Waiter) -> Result<bool, i32> {
    let mut has_changed = false;
    while let Some(signal) = waiter.signal() {
        program.on_signal(signal, waiter)?;
        has_changed = true;
    }
    Ok(has_changed)
}

/// Writes all there is, waits for the processors, and closes everything. Returns the exit code.
fn end(program: &mut impl Program, waiter: &mut Waiter) -> i32 {
    program.finish_line();
    waiter.finish();
    loop {
        match program.flush(waiter) {
            Ok(()) => break,
            Err(Stop::GiveUp) => return lost(program),
            Err(Stop::Signal | Stop::Busy) => {
                if let Err(code) = on_signals(program, waiter) {
                    return code;
                }
            }
        }
    }
    while program.look_after_processors(waiter) {
        let late = waiter.last_processor();
        if late.is_some_and(|late| late <= clock::now()) {
            program.leave_processors();
            break;
        }
        let second = Duration::from_secs(1);
        let _ = waiter.pause(late.map_or(second, |late| late.since(clock::now()).min(second)));
        if let Err(code) = on_signals(program, waiter) {
            return code;
        }
    }
    program.close(waiter);
    0
}

/// It was told to end, and cannot write. Returns the exit code.
fn lost<P: Program>(program: &mut P) -> i32 {
    for (count, place) in program.waiting().into_iter().filter(|(count, _)| *count > 0) {
        let line = format!(": fatal: told to end, {count} bytes could not be written: ");
        print::stderr(&[P::NAME.as_bytes(), line.as_bytes(), &place, b"\n"]);
    }
    TROUBLE
}
