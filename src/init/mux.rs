//! What services say, as one stream (`--prefix`). A process of ours, `onit mux`, reads it from pipes of which we hold
//! both ends, so that nothing is lost when that process dies. We never wait for it.

use super::Init;
use super::api::Refusal;
use super::log::Ended;
use super::table::{LogPipe, Slot, SlotId};
use crate::machine::{Exit, Mono, Pid, Signal, Target};
use crate::sys::kept::Kept;
use crate::sys::shared::Shared;
use crate::sys::socket::{self, Connection};
use crate::sys::spawn::{Descriptor, Exec, Job, Plan};
use crate::sys::{Errno, fs, message, process, rescue};
use crate::wire::api::ErrorCode;
use crate::wire::journal::{self, Field};
use crate::wire::mux as wire;
use std::collections::VecDeque;
use std::ffi::{CString, OsStr, OsString, c_int};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// If it ends, or cannot be started, it is started again after this.
const PAUSE: Duration = Duration::from_secs(1);
/// What it has no room to hear is said again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// When nothing is left to say, it may take this long to write what there is: whoever reads may read no more.
const LAST: Duration = Duration::from_secs(2);
/// So many readers wait to be told of, and no more.
const READERS: usize = 16;
/// Its first descriptor.
const FIRST: c_int = 3;

/// The pipes of one service: an end to read from, and one to write to.
pub(super) struct Outputs {
    /// None: its standard output goes to a logger.
    output: Option<(OwnedFd, OwnedFd)>,
    errors: (OwnedFd, OwnedFd),
}

/// The process, and what outlives it.
#[derive(Default)]
pub(super) struct Mux {
    pid: Option<Pid>,
    /// It hears through this.
    socket: Option<OwnedFd>,
    /// The memory, and its two pipes.
    held: Vec<OwnedFd>,
    /// All of that, for the supervisor that goes on after us.
    kept: Option<Kept>,
    /// What it was not told yet.
    unsaid: VecDeque<Note>,
    /// Pipes of services that have gone, in which there may be something yet.
    left: Vec<Left>,
    at: Option<Mono>,
    started: Mono,
    /// It is told that nothing comes any more.
    ends_by: Option<Mono>,
    /// It has written everything, or has had its time.
    is_over: bool,
}

/// What it is told.
#[derive(Clone)]
enum Note {
    /// A pipe of this service, or that a process of it has ended.
    Of(SlotId, u8),
    Left(Left),
    All,
    /// Somebody wants to read what is said.
    Reader(Rc<Connection>),
}

/// The end to read from, and whose it was.
#[derive(Clone)]
struct Left {
    kind: u8,
    name: OsString,
    pipe: Rc<OwnedFd>,
}

impl Note {
    /// Both streams of a service.
    fn streams(at: SlotId) -> [Note; 2] {
        [Note::Of(at, wire::OUTPUT), Note::Of(at, wire::ERRORS)]
    }
}

impl Outputs {
    fn new(has_logger: bool) -> Result<Outputs, Errno> {
        let output = if has_logger { None } else { Some(fs::pipe()?) };
        Ok(Outputs { output, errors: fs::pipe()? })
    }

    /// As its programs get them.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = Descriptor<'_>> {
        let output = self.output.iter().map(|(_, write)| Descriptor { from: write.as_fd(), to: 1 });
        output.chain([Descriptor { from: self.errors.1.as_fd(), to: 2 }])
    }

    /// All ends, with names that no stored descriptor has.
    pub(super) fn named(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        let output = self.output.iter().flat_map(|(read, write)| [(":o", read), (":O", write)]);
        let errors = [(":e", &self.errors.0), (":E", &self.errors.1)];
        output.chain(errors).map(|(name, end)| (name, end.as_fd()))
    }

    /// From the ends that another supervisor has held.
    pub(super) fn restore(ends: Vec<(String, OwnedFd)>) -> Option<Outputs> {
        let mut ends = ends.into_iter().map(|(_, end)| end);
        match (ends.next(), ends.next(), ends.next(), ends.next()) {
            (Some(read), Some(write), None, None) => Some(Outputs { output: None, errors: (read, write) }),
            (Some(o), Some(w), Some(read), Some(write)) => {
                Some(Outputs { output: Some((o, w)), errors: (read, write) })
            }
            _ => None,
        }
    }
}

impl Init {
    /// The pipes of a service whose program is about to start, if all is to become one stream.
    pub(super) fn give_outputs(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at).filter(|slot| slot.outputs.is_none() && self.config.prefix.is_some())
        else {
            return;
        };
        let has_logger = matches!(slot.log_pipe, LogPipe::Producer { .. } | LogPipe::Writer { .. });
        match Outputs::new(has_logger) {
            Ok(outputs) => {
                if let Some(slot) = self.table.get_mut(at) {
                    slot.outputs = Some(Box::new(outputs));
                }
                self.keep_for_the_next(at);
                self.tell_outputs(at);
            }
            Err(errno) => {
                self.warn_once(
                    at,
                    format!("cannot create a pipe for what it says: {}; saying it as it is", errno.desc()),
                );
            }
        }
    }

    /// Tells whose pipes these are, if it has any, and by which name it goes.
    pub(super) fn tell_outputs(&mut self, at: SlotId) {
        if self.table.get(at).is_some_and(|slot| slot.outputs.is_some()) {
            self.mux.unsaid.extend(Note::streams(at));
            self.tell_mux();
        }
    }

    /// A process of this service has ended: its last line may have no end.
    pub(super) fn end_outputs(&mut self, at: SlotId) {
        if self.table.get(at).is_some_and(|slot| slot.outputs.is_some()) {
            self.mux.unsaid.push_back(Note::Of(at, wire::ENDED));
            self.tell_mux();
        }
    }

    /// Says what was not said yet, as far as there is room.
    fn tell_mux(&mut self) {
        while let (Some(socket), Some(note)) = (&self.mux.socket, self.mux.unsaid.front()) {
            let (kind, name, pipe) = match note {
                Note::Of(at, kind) => {
                    let slot = self.table.get(*at);
                    let pipe = slot.and_then(|slot| pipe_of(slot, *kind));
                    (*kind, slot.map(|slot| name_of(slot, *kind)), pipe.map(OwnedFd::as_fd))
                }
                Note::Left(Left { kind, name, pipe }) => (*kind, Some(name.as_os_str()), Some(pipe.as_fd())),
                Note::All => (wire::ALL, None, None),
                Note::Reader(connection) => (wire::READER, None, Some(connection.as_fd())),
            };
            let is_due = kind == wire::ALL || pipe.is_some() || kind == wire::ENDED && name.is_some();
            let mut bytes = vec![kind];
            bytes.extend(name.map(OsStr::as_bytes).unwrap_or_default());
            let descriptors: Vec<_> = pipe.iter().map(|pipe| pipe.as_raw_fd()).collect();
            match if is_due { message::send(socket.as_fd(), &bytes, &descriptors) } else { Ok(()) } {
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ETOOMANYREFS) => {
                    self.mux.at = Some(self.now.after(AGAIN));
                    return;
                }
                Ok(()) | Err(_) => _ = self.mux.unsaid.pop_front(), // if it has ended, all is said to the next one
            }
        }
    }

    /// Whether what services say can be read from us, at this moment.
    pub(super) fn may_follow_stream(&self) -> Result<(), Refusal> {
        let waiting = self.mux.unsaid.iter().filter(|note| matches!(note, Note::Reader(_))).count();
        match self.config.prefix {
            None => Err((ErrorCode::Failed, "it does not read what services say: it runs without --prefix".into())),
            Some(_) if waiting >= READERS => Err((ErrorCode::Busy, "too many others want to read that".into())),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn tell_stream_to(&mut self, reader: Connection) {
        self.mux.unsaid.push_back(Note::Reader(Rc::new(reader)));
        self.tell_mux();
    }

    pub(super) fn mux_deadline(&self) -> Option<Mono> {
        [self.mux.at, self.mux.ends_by].into_iter().flatten().min()
    }

    /// Starts it, tells it what it was not told, and lets it end when nothing is left to say.
    pub(super) fn look_after_mux(&mut self) {
        if self.config.prefix.is_none() {
            return;
        }
        if self.mux.at.take_if(|at| *at <= self.now).is_some() && self.mux.pid.is_some() {
            self.tell_mux();
        }
        match self.mux.ends_by {
            None if self.is_nothing_supervised() => {
                self.mux.ends_by = Some(self.now.after(LAST));
                self.mux.at = self.mux.at.filter(|_| self.mux.pid.is_some()); // there is no time for a pause
            }
            Some(by) if by <= self.now => {
                (self.mux.ends_by, self.mux.is_over) = (Some(self.now.after(LAST)), true);
                if let Some(pid) = self.mux.pid {
                    self.config
                        .log
                        .warn(None, &"what services have said is not read from standard output, and is lost");
                    let _ = process::kill(pid, Signal::KILL, Target::Process);
                }
            }
            _ => {}
        }
        if self.mux.pid.is_none() && self.mux.at.is_none() && !self.mux.is_over {
            self.start_mux();
        }
        if self.mux.ends_by.is_some() && self.mux.unsaid.is_empty() {
            self.mux.socket = None; // nothing more will be said: it ends when it has written what there is
            self.keep_mux(None);
        }
    }

    /// A service has gone. What is in its pipes is still to be written.
    pub(super) fn leave_outputs(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        let Some(outputs) = slot.outputs.take() else { return };
        let Outputs { output, errors } = *outputs;
        let names = [wire::OUTPUT, wire::ERRORS].map(|kind| name_of(slot, kind).to_owned());
        self.mux.left.retain(|left| fs::pending(&left.pipe) > 0);
        let [of_output, of_errors] = names;
        let output = output.map(|(read, _)| (wire::OUTPUT, of_output, read));
        for (kind, name, pipe) in output.into_iter().chain([(wire::ERRORS, of_errors, errors.0)]) {
            let left = Left { kind, name, pipe: Rc::new(pipe) };
            self.mux.unsaid.push_back(Note::Left(left.clone()));
            self.mux.left.push(left);
        }
        self.keep_for_the_next(at);
        self.tell_mux();
    }

    fn start_mux(&mut self) {
        if let Err(errno) = self.try_to_start_mux() {
            let line = format!("cannot start onit mux: {}; trying again", errno.desc());
            self.config.log.warn(None, &line);
            self.mux.at = Some(self.now.after(PAUSE));
            self.mux.socket = None;
        }
    }

    fn try_to_start_mux(&mut self) -> Result<(), Errno> {
        if self.mux.held.is_empty() {
            let memory = Shared::create(c"onit-mux", wire::MEMORY).map_err(|refused| refused.errno)?;
            let memory = memory.as_fd().try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
            let ((lines, into_lines), (taken, into_taken)) = (fs::pipe()?, fs::pipe()?);
            self.mux.held = vec![memory, lines, into_lines, taken, into_taken];
        }
        let program = rescue::program_path().ok_or(Errno::ENOENT)?;
        let program = CString::new(program.into_os_string().into_vec()).map_err(|_| Errno::ENOENT)?;
        let Some(form) = self.config.prefix.clone() else { return Ok(()) };
        self.wait_for_exec();
        let (ours, its) = socket::pair()?;
        let all = [&its].into_iter().chain(&self.mux.held);
        let descriptors: Vec<_> = all.zip(FIRST..).map(|(from, to)| Descriptor { from: from.as_fd(), to }).collect();
        let argv = [&*program, c"mux", &*form];
        let plan = Plan { descriptors: &descriptors, job: Job::Session, ..Plan::new(&argv) };
        let pid = self.children.spawner.spawn(&plan)?;
        if let Some((_, Exec::Failed(errno))) = self.children.spawner.wait_for_exec() {
            self.children.dying.push(pid);
            return Err(errno);
        }
        (self.mux.pid, self.mux.socket, self.mux.started) = (Some(pid), Some(ours), self.now);
        let all = self.mux.socket.iter().chain(&self.mux.held).map(|fd| fd.as_fd());
        let kept = Kept::new(b"", &all.collect::<Vec<_>>());
        self.keep_mux(kept.ok());
        self.tell_mux_all();
        Ok(())
    }

    fn keep_mux(&mut self, kept: Option<Kept>) {
        let old = std::mem::replace(&mut self.mux.kept, kept);
        self.table.bury_kept(old);
    }

    /// It may have been told of some of them before.
    fn tell_mux_all(&mut self) {
        self.mux.unsaid.retain(|note| matches!(note, Note::Reader(_)));
        self.mux.unsaid.extend(self.mux.left.iter().cloned().map(Note::Left));
        self.mux.unsaid.extend(self.table.all().into_iter().flat_map(Note::streams));
        self.mux.unsaid.push_back(Note::All);
        self.tell_mux();
    }

    /// Whether it was this process that has ended.
    pub(super) fn has_mux_ended(&mut self, pid: Pid, exit: Exit) -> bool {
        let is_it = self.is_mux(pid);
        if is_it {
            (self.mux.pid, self.mux.socket, self.mux.at) = (None, None, None);
            self.mux.is_over |= self.mux.ends_by.is_some() && exit == Exit::Code(0);
            if !self.mux.is_over {
                let is_young = self.now.since(self.mux.started) < PAUSE;
                self.mux.at = is_young.then(|| self.now.after(PAUSE));
                let line = format!("onit mux {}; starting it again, nothing is lost", Ended(exit));
                self.config.log.warn(None, &line);
            }
        }
        is_it
    }

    pub(super) fn is_mux(&self, pid: Pid) -> bool {
        self.mux.pid == Some(pid)
    }

    /// Whether everything that was said is written, or is not going to be.
    pub(super) fn is_mux_over(&self) -> bool {
        self.config.prefix.is_none() || self.mux.is_over && self.mux.pid.is_none()
    }

    pub(super) fn commit_mux(&self) {
        let kept = self.mux.kept.as_ref().map(|kept| kept.as_fd().as_raw_fd());
        let pid = self.mux.pid.map_or(0, |pid| u64::from(pid.0.cast_unsigned()));
        self.table.journal.set(Field::Mux, pid | journal::noted(kept) << 32);
    }

    /// Goes on with the one that another supervisor has started.
    pub(super) fn restore_mux(&mut self, kept: Option<Kept>) {
        let pid = Pid(i32::try_from(self.table.journal.get(Field::Mux) & 0xffff_ffff).unwrap_or_default());
        let Some(Ok((_, descriptors))) = kept.as_ref().map(Kept::look) else { return };
        let mut all = descriptors.take();
        if all.len() == 6 && self.config.prefix.is_some() {
            let socket = all.remove(0);
            (self.mux.held, self.mux.kept) = (all, kept);
            self.mux.pid = Some(pid).filter(|pid| pid.0 > 0 && rescue::is_child(*pid));
            self.mux.socket = Some(socket).filter(|_| self.mux.pid.is_some());
            self.tell_mux_all();
        }
    }
}

/// Who has said what comes from a pipe of this service. What a logger writes to its standard output is what its service
/// said; what it says itself goes to standard error.
fn name_of(slot: &Slot, kind: u8) -> &OsStr {
    let name = slot.name.as_os_str();
    match slot.log_pipe {
        LogPipe::Logger { .. } if kind == wire::OUTPUT => Path::new(name).parent().map_or(name, Path::as_os_str),
        _ => name,
    }
}

fn pipe_of(slot: &Slot, kind: u8) -> Option<&OwnedFd> {
    let outputs = slot.outputs.as_ref()?;
    match kind {
        wire::OUTPUT => outputs.output.as_ref().map(|(read, _)| read),
        wire::ERRORS => Some(&outputs.errors.0),
        _ => None,
    }
}
