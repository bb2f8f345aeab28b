//! `/run/initctl`: what sysvinit's tools ask PID 1 of a machine for. It is open as long as the machine is up, in
//! each part of the life of the machine. If it was removed, HUP brings it back; with sysvinit that is USR1, which means
//! halt here, as with busybox.

use super::Init;
use super::boot::HostInit;
use super::log::Log;
use super::turn::Token;
use crate::machine::request::Request;
use crate::sys::poll::Poller;
use crate::sys::{Errno, fs};
use crate::wire::initctl::{Heard, LENGTH, Reader};
use std::os::fd::OwnedFd;
use std::path::Path;

const DIR: &str = "/run";
const NAME: &str = "initctl";
/// Taken in one turn: whole requests, if there is nothing else.
const BYTES: usize = 40 * LENGTH;

/// The FIFO, and what its writers have said so far.
#[derive(Default)]
pub(super) struct Initctl {
    fifo: Option<OwnedFd>,
    reader: Reader,
    /// The last trouble with it.
    told: Option<Errno>,
    /// There was garbage, and no request since.
    told_of_garbage: bool,
}

impl Initctl {
    /// From now on the poller sees it. It is made if it is not there (any more). Where there is no place for it, that
    /// is worth one line.
    fn attend(&mut self, log: Log, poller: &Poller, token: u64) {
        match self.open().and_then(|fifo| poller.add(fifo, token)) {
            Ok(()) | Err(Errno::EEXIST) => self.told = None,
            Err(errno) => {
                if self.told.replace(errno) != Some(errno) {
                    log.warn(None, &format_args!("cannot listen at {DIR}/{NAME}: {}; going on without", errno.desc()));
                }
            }
        }
    }

    /// The one that is open is kept while it is the one that writers find: there may be something in it.
    fn open(&mut self) -> Result<&OwnedFd, Errno> {
        let fifo = fs::fifo(fs::open_path(Path::new(DIR))?, NAME, fs::Ends::Both)?;
        let known = self.fifo.take().filter(|known| fs::identity(known) == fs::identity(&fifo));
        Ok(self.fifo.insert(known.unwrap_or(fifo)))
    }

    /// What was asked for since we looked.
    pub(super) fn read(&mut self, log: Log) -> Vec<Request> {
        let Some(fifo) = &self.fifo else { return Vec::new() };
        let mut buffer = [0; BYTES];
        let heard = self.reader.read(fs::read_some(fifo, &mut buffer));
        heard.into_iter().filter_map(|heard| self.request(log, heard)).collect()
    }

    fn request(&mut self, log: Log, heard: Heard) -> Option<Request> {
        let is_garbage = matches!(heard, Heard::Garbage(_));
        let told = std::mem::replace(&mut self.told_of_garbage, is_garbage);
        match heard {
            Heard::Request(request) => return Some(request),
            Heard::Garbage(_) if told => {}
            Heard::Garbage(count) => {
                log.warn(None, &format_args!("{DIR}/{NAME}: passing over {count} bytes that are no request"))
            }
            Heard::Level(level) => {
                log.warn(None, &format_args!("somebody asked for run level {level}: {}", instead(level)))
            }
        }
        None
    }
}

fn instead(level: char) -> &'static str {
    match level {
        's' | 'S' | '1' => "a shell for one user is to be had at boot only, by the kernel's word \"single\"",
        'u' | 'U' => "\"onit upgrade\" does that",
        _ => "there are none but 0 and 6",
    }
}

impl HostInit {
    pub(super) fn watch_initctl(&mut self) {
        self.initctl.attend(self.log, &self.poller, super::boot::INITCTL);
    }
}

impl Init {
    /// Takes over the FIFO of a machine.
    pub(super) fn watch_initctl(&mut self, initctl: Initctl) {
        self.initctl.insert(initctl).attend(self.config.log, &self.poller, Token::Initctl.pack());
    }

    /// It may have been removed.
    pub(super) fn find_initctl(&mut self) {
        if let Some(initctl) = &mut self.initctl {
            initctl.attend(self.config.log, &self.poller, Token::Initctl.pack());
        }
    }

    pub(super) fn read_initctl(&mut self) {
        let requests = self.initctl.as_mut().map(|initctl| initctl.read(self.config.log)).unwrap_or_default();
        requests.into_iter().for_each(|request| self.apply_request(request));
    }
}
