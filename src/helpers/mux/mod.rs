//! `onit mux`: what all services say, as one stream of whole lines, each with the name of its service in front.
//!
//! It is started by the supervisor, which hands it the pipes that services write to, one message each, and holds both
//! ends of them itself. So this process may die at any moment: see `transfer`. If nobody reads the stream it waits, and
//! so do services whose pipes are full, as they would without it; the supervisor does not.
//!
//! Descriptors, from 3 on: a socket, from which the pipes come; the memory of the transfer; and its two pipes.

pub mod lines;
pub mod readers;
pub mod transfer;

use crate::exit;
use crate::machine::Mono;
use crate::sys::message::{self, Message};
use crate::sys::poll::{self, Poller};
use crate::sys::rescue::Claims;
use crate::sys::say::say;
use crate::sys::shared::Shared;
use crate::sys::{Errno, clock, fs, pipe, signals};
use crate::wire::mux as wire;
use lines::{Form, Style};
use readers::{Readers, Recent};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;
use transfer::{Ends, Part, SOURCES, Transfer};

/// What is looked at of one pipe at a time.
const LOOK: usize = 65_536;
/// A line longer than this is several, if there is room for it.
const LONGEST: usize = 32_768;
/// A line without an end is written after this all the same.
const PATIENCE: Duration = Duration::from_secs(1);
/// Until then it is looked at after so long, and after twice as long each time that nothing has come. The kernel does not
/// tell that a write(2) of more than a pipe holds goes on, as long as the pipe is not empty.
const SOONEST: Duration = Duration::from_millis(1);
/// And this often at least.
const AGAIN: Duration = Duration::from_millis(50);
/// Names on a terminal are not made longer than this.
const WIDEST: usize = 20;
const SOCKET: u64 = 0;

/// A pipe that a service writes to.
struct Stream {
    pipe: OwnedFd,
    name: Vec<u8>,
    is_error: bool,
    /// Since when its last line has no end.
    unended: Option<Mono>,
    /// That line is not waited for: its process has ended.
    flushes: bool,
    recent: Recent,
}

struct Mux {
    socket: Option<OwnedFd>,
    poller: Poller,
    streams: BTreeMap<u64, Stream>,
    /// All that there are have been told.
    has_all: bool,
    /// After this a line without an end is looked at again.
    again: Duration,
    transfer: Transfer<'static>,
    scratch: Ends,
    readers: Readers,
    style: Style,
    room: usize,
    /// That there is no room for what it writes was said.
    is_full: bool,
}

/// Runs it. Returns the exit code.
pub fn mux(args: &[OsString]) -> i32 {
    let form = args.first().and_then(|word| Form::parse(word.to_str()?));
    let Some(form) = form.filter(|_| args.len() == 1) else {
        say("onit: mux is started by onit run --prefix");
        return exit::USAGE;
    };
    let _ = signals::hold_back(); // it ends when there is nothing more to write
    match Mux::begin(form).and_then(|mut mux| mux.run()) {
        Ok(()) => exit::OK,
        Err(errno) => {
            say(format_args!("onit: mux: {}; starting it again", errno.desc()));
            exit::SYSTEM
        }
    }
}

impl Mux {
    fn begin(form: Form) -> Result<Mux, Errno> {
        let mut claims = Claims::default();
        let mut next = (3..).map_while(|number| claims.claim(number));
        let mut claim = || next.next().ok_or(Errno::EBADF);
        let (socket, memory) = (claim()?, claim()?);
        let (lines, taken) = ((claim()?, claim()?).into(), (claim()?, claim()?).into());
        let poller = Poller::new()?;
        poller.add(&socket, SOCKET)?;
        let stdout = std::io::stdout();
        let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let output = stdout.as_fd().try_clone_to_owned().map_err(|_| Errno::EBADF)?;
        let transfer = Transfer {
            words: Shared::open(memory)?.words(),
            lines,
            taken,
            output: output.into(),
            #[cfg(test)]
            fuse: std::cell::Cell::new(usize::MAX),
        };
        let scratch = fs::pipe()?.into();
        let room = transfer.room();
        Ok(Mux {
            socket: Some(socket),
            poller,
            streams: BTreeMap::new(),
            has_all: false,
            again: AGAIN,
            transfer,
            scratch,
            readers: Readers::default(),
            style: Style { form, colour, width: 0 },
            room,
            is_full: false,
        })
    }

    fn run(&mut self) -> Result<(), Errno> {
        while self.socket.is_some() || !self.streams.is_empty() {
            let now = clock::now();
            let unended = self.streams.values().any(|stream| stream.unended.is_some());
            let deadline = unended.then(|| now.after(self.again));
            let mut ready: BTreeSet<u64> = self.poller.wait(now, deadline).collect();
            if ready.remove(&SOCKET) {
                self.hear()?;
            }
            for reader in ready.split_off(&readers::FIRST) {
                self.readers.send(&self.poller, reader);
            }
            if self.has_all || self.socket.is_none() {
                self.finish()?;
                ready.extend(self.streams.iter().filter(|(_, stream)| stream.unended.is_some()).map(|(key, _)| *key));
                self.carry(&ready)?;
            }
        }
        Ok(())
    }

    /// Goes on with what another one has begun.
    fn finish(&mut self) -> Result<(), Errno> {
        if self.transfer.is_unfinished() { self.carry_through(&[], &[]) } else { Ok(()) }
    }

    /// Does what is left of a transfer, or a new one. If nobody can ever read the stream, it is thrown away, or services
    /// would stand still; for room on a disk it waits.
    fn carry_through(&mut self, parts: &[Part], text: &[u8]) -> Result<(), Errno> {
        loop {
            let streams = &self.streams;
            let source = |key| streams.get(&key).map(|stream: &Stream| stream.pipe.as_fd());
            let is_begun = self.transfer.is_unfinished();
            match if is_begun { self.transfer.go_on(source) } else { self.transfer.carry(parts, text, source) } {
                Err(Errno::EPIPE) => {
                    say("onit: nobody reads standard output any more; what services say is thrown away");
                    self.transfer.output = fs::open_null()?.into();
                }
                Err(errno @ (Errno::ENOSPC | Errno::EDQUOT)) => {
                    if !std::mem::replace(&mut self.is_full, true) {
                        say(format_args!("onit: cannot write what services say: {}; waiting for room", errno.desc()));
                    }
                    poll::pause(PATIENCE)?;
                }
                result => {
                    self.is_full &= result.is_err();
                    return result;
                }
            }
        }
    }

    /// Takes what the supervisor says: a pipe, that a service has ended, or that this was all.
    fn hear(&mut self) -> Result<(), Errno> {
        let mut bytes = [0; 512];
        while let Some(socket) = &self.socket {
            let Message { length, descriptors, .. } = match message::receive(socket.as_fd(), &mut bytes, 1) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            let Some((kind, name)) = bytes.get(..length).and_then(<[u8]>::split_first) else {
                self.socket = None; // it has ended, or does
                self.streams.values_mut().for_each(|stream| stream.flushes = true);
                return Ok(());
            };
            match (*kind, descriptors.take().pop()) {
                (wire::OUTPUT | wire::ERRORS, Some(pipe)) => self.add(pipe, name.to_vec(), kind == &wire::ERRORS)?,
                (wire::ENDED, _) => {
                    let ended = self.streams.values_mut().filter(|stream| stream.name == name);
                    ended.for_each(|stream| stream.flushes = pipe::pending(&stream.pipe) > 0);
                }
                (wire::ALL, _) => self.has_all = true,
                (wire::READER, Some(reader)) => {
                    self.readers.add(&self.poller, reader, self.streams.values().map(|stream| &stream.recent));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, pipe: OwnedFd, name: Vec<u8>, is_error: bool) -> Result<(), Errno> {
        let key = fs::identity(&pipe)?.inode;
        if let Some(known) = self.streams.get_mut(&key) {
            known.name = name;
            return Ok(());
        }
        self.poller.add(&pipe, key)?;
        self.style.width = self.style.width.max(name.len().min(WIDEST));
        self.streams
            .insert(key, Stream { pipe, name, is_error, unended: None, flushes: false, recent: Recent::default() });
        Ok(())
    }

    /// Writes the lines that are there, those of some services at once.
    fn carry(&mut self, ready: &BTreeSet<u64>) -> Result<(), Errno> {
        let (mut parts, mut text) = (Vec::new(), Vec::new());
        for key in ready {
            let taken = self.take(*key, &mut text)?;
            parts.extend((taken > 0).then_some((*key, taken)));
            if text.len() > self.room / 2 || parts.len() == SOURCES {
                break; // what is left is reported again
            }
        }
        if text.is_empty() {
            self.again = AGAIN.min(self.again * 2);
            return Ok(());
        }
        self.again = SOONEST;
        self.carry_through(&parts, &text)
    }

    /// What one service has said: its whole lines are added to `text`. Returns how many bytes that are of its pipe, in
    /// which they still are.
    fn take(&mut self, key: u64, text: &mut Vec<u8>) -> Result<usize, Errno> {
        let Some(stream) = self.streams.get_mut(&key) else { return Ok(0) };
        let count = match pipe::copy(&stream.pipe, &self.scratch.write, LOOK) {
            Ok(0) => {
                self.streams.remove(&key);
                return Ok(0);
            }
            Ok(count) => count,
            Err(Errno::EAGAIN) => 0,
            Err(errno) => return Err(errno),
        };
        let bytes = self.scratch.take(count)?;
        let now = clock::now();
        let is_late = stream.unended.is_some_and(|since| now.since(since) >= PATIENCE);
        let (style, wall, longest) = (self.style, clock::wall(), LONGEST.min(self.room / 8));
        let (name, is_error) = (&stream.name, stream.is_error);
        let push = |to: &mut Vec<u8>, line: &[u8]| style.push(to, name, is_error, line, wall);
        let taken = lines::each(&bytes, longest, is_late || stream.flushes, self.room, text, push);
        let whole = bytes.get(..taken).unwrap_or_default();
        let mut records = Vec::new();
        let record = |to: &mut Vec<u8>, line: &[u8]| wire::push(to, wall, name, is_error, line);
        lines::each(whole, longest, true, usize::MAX, &mut records, record);
        stream.recent.push(&records);
        if !self.readers.is_empty() {
            self.readers.tell(&self.poller, &records);
        }
        let is_unended = taken < count && !bytes.get(taken..).unwrap_or_default().contains(&b'\n');
        if is_unended != stream.unended.is_some() || taken > 0 {
            match (stream.unended.is_some(), is_unended) {
                (false, true) => self.poller.await_more(&stream.pipe, key)?,
                (true, false) => self.poller.listen(&stream.pipe, key, true)?,
                (false, false) | (true, true) => {}
            }
            stream.unended = is_unended.then_some(now);
        }
        stream.flushes &= self.socket.is_none() || is_unended;
        Ok(taken)
    }
}
