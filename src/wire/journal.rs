//! The journal: what a supervisor that fails leaves to the one that goes on, as words of a shared memory.
//!
//! Two pages of facts about the whole, behind them a record for each service, and far behind those the last lives of each
//! and what only few services need. A record is changed under a undo: a fault in the middle of it leaves the record as it
//! was. The lives stand apart, first lives beside first lives, and so does what few services need: memory that is never
//! written costs nothing.
//!
//! A wild pointer may have written anywhere. So each record has a checksum, and one that fails it is not believed; a fact
//! stands in three places, and what two of them say counts.
//!
//! The supervisor that goes on may be an older version or a newer one. So facts and [fields](crate::machine::fields)
//! are only ever added, where there was nothing before: what is not known is skipped, and what was not written is zero.

use crate::machine::Mono;
use crate::machine::fields::{Place, fields};
use crate::machine::history::{self, End, History, Life};
use crate::machine::restart::Cause;
use crate::machine::service::memory::{self, Memory};
use crate::wire::status::Format;
use crate::wire::tai::Tai;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// The first word.
const MAGIC: u64 = u64::from_le_bytes(*b"onitbook");
/// The version of this layout. It is raised when the meaning of anything here changes; for what is only added there is
/// room.
pub const VERSION: u64 = 6;

/// Words in front of the records.
pub const FACTS: usize = 1024;
/// Behind a fact by so many words stand its copies.
const COPIES: [usize; 2] = [512, 768];
/// Words of a record.
pub const RECORD: usize = 32;
/// As many records there may be.
pub const MOST: usize = 1 << 16;
/// Those of them that say how we hold the service, and behind them its machine, its name, and the checksum of all that.
const OWN: usize = 9;
const NAME: usize = OWN + memory::WORDS;
const BODY: usize = RECORD - 1;
/// Where the lives are.
const LIVES: usize = FACTS + MOST * RECORD;
/// Words that say what a life was.
const LIFE_BODY: usize = 4;
/// The same and their checksum.
const LIFE: usize = LIFE_BODY + 1;
/// Where that is which few services need.
const EXTRAS: usize = LIVES + history::KEPT * MOST * LIFE;
/// Words of that, for one service.
const EXTRA_BODY: usize = memory::EXTRA;
/// The same and their checksum.
const EXTRA: usize = EXTRA_BODY + 1;
/// Where the descriptors are in which few services have more than words.
const KEPT: usize = EXTRAS + MOST * EXTRA;

/// A fact about the whole, by its place in the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Field {
    Magic,
    Version,
    /// The pid of the supervisor whose journal it is.
    Pid,
    /// How many records there are.
    Records,
    /// Why a supervisor goes on in place of this one: a signal, or [`UPGRADE`], or [`PANIC`].
    Cause,
    /// The number of the last request to replace the program.
    Request,
    /// The last request that was answered.
    Answer,
    /// With this error, or 0.
    AnswerErrno,
    /// When the last three failures were.
    Failed1,
    Failed2,
    Failed3,
    System1,
    System2,
    System3,
    /// Where the main process is, and its pid.
    Main,
    MainPid,
    /// The mask and the ignored signals that it gets.
    InheritedMask,
    InheritedIgnored,
    /// The manager that runs us was told that everything has started.
    Announced,
    /// The descriptors of the runtime mirror and of its lock, and one.
    View,
    ViewLock,
    /// The exit code, and whether it is decided.
    Code,
    /// What the machine is to do when everything has ended, and whether at once.
    ShutdownAction,
    /// Services that appear are taken in.
    TakesIn,
    /// The descriptor of the launcher, and one.
    Launcher,
    /// The limit of open files that services get, if it is not ours.
    LimitKnown,
    LimitNow,
    LimitMost,
    /// Signals that were taken and not obeyed yet, a bit each.
    Signals,
    /// Where the kernel writes the pid of a new child.
    NewChild,
    /// For which service that is, and one.
    NewChildOf,
    /// The service whose actions are being performed, and one.
    Doing,
    /// The record that is being changed, and one. What it was stands behind.
    Journal,
    /// The signal that is being obeyed, and in the upper half for which time.
    Obeying,
    /// Where the kernel writes a byte of an order. All ones: it has not.
    Order,
    /// For which service that is, and one, or [`LAUNCHER`], or [`SVSCAN`]; in the upper half for which time it is obeyed.
    /// Zero: it was.
    OrderOf,
    /// Where the kernel writes how a child ended. All ones: it has not.
    Ended,
    /// The service whose end is the end of everything, and one, until everything is told so.
    Fatal,
    /// The descriptors from 3 on that were open for the main process, a bit each.
    Inherited,
    /// The descriptor of the watchdog, and one.
    Watchdog,
    /// When it is fed next. All ones: never again.
    FeedAt,
    /// There was no room for the record of a service.
    Unnoted,
    /// Failures follow each other, and only the essentials are done.
    Essentials,
    /// The process that makes one stream of what services say, and in the upper half the descriptor of what it needs, and
    /// one.
    Mux,
    /// The process that asks loaders for their jobs.
    LoadersPid,
    /// The descriptor of the application whose processes we supervise, and one.
    Application,
    /// The descriptor of the FIFO in `.s6-svscan`, and one, and in the upper half that of the lock beside it.
    Svscan,
    /// That of the directory itself, and in the upper half that of the console.
    SvscanDir,
    /// The descriptor of the api socket, and one.
    Api,
    /// Which file it is. The inode is the last one: a new one comes behind it.
    ApiDevice,
    ApiInode,
}

/// The last fact that this version knows.
const LAST: Field = Field::ApiInode;
/// So many facts there may be.
const FACTS_AT_MOST: usize = PANIC_TEXT.at;

impl Field {
    /// Whether it has no copies: another process, the kernel or the handler of a fault writes it.
    fn is_single(self) -> bool {
        use Field::{Answer, AnswerErrno, Cause, Ended, Magic, NewChild, Order, Pid, Request, Version};
        matches!(self, Magic | Version | Pid | Cause | Request | Answer | AnswerErrno | NewChild | Order | Ended)
    }
}

/// The cause: `onit upgrade` asked for it.
pub const UPGRADE: u64 = 256;
/// The cause: a panic, whose words are in [`PANIC_TEXT`].
pub const PANIC: u64 = 257;

/// The order is the launcher's.
pub const LAUNCHER: u64 = u32::MAX as u64;
/// The order is for the whole directory, in the way of `s6-svscanctl`.
pub const SVSCAN: u64 = LAUNCHER - 1;
/// What a word holds where the kernel is to write, as long as it has not.
pub const UNWRITTEN: u64 = u64::MAX;

/// The first descriptor behind standard error.
const FIRST: i32 = 3;

const UNDO: usize = 896;
/// Where the words of a panic are.
pub const PANIC_TEXT: Text = Text { at: 64, bytes: 376 };
const INBOX: usize = 112;
/// Where the path of the program is.
pub const PROGRAM: Text = Text { at: 128, bytes: 3064 };

/// A text in the page: its length, then its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    at: usize,
    bytes: usize,
}

impl Text {
    fn words(self, words: &Words) -> &Words {
        words.get(self.at..self.at + 1 + self.bytes / 8).unwrap_or_default()
    }
}

/// The words, as they lie in memory.
pub type Words = [AtomicU64];

/// How a service and another belong together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It has no logger and is none.
    Alone,
    /// It has this logger.
    Producer(u32),
    /// It is the logger of this one.
    Logger(u32),
    /// It writes to this service, as others may. That one is [alone](Kind::Alone), and has a pipe.
    Writer(u32),
}

/// The descriptors of a service, in the order of the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct Descriptors {
    pub dir: Option<i32>,
    pub lock: Option<i32>,
    pub control: Option<i32>,
    pub ok: Option<i32>,
    pub pipe: Option<i32>,
    pub home: Option<i32>,
    pub ready: Option<i32>,
}

/// What is noted of one service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose logger, or with which.
    pub kind: Kind,
    /// The directory: file system and file.
    pub id: (u64, u64),
    /// It is that of a template, of which this is an instance.
    pub is_instance: bool,
    /// To how many instances the template was scaled, and one.
    pub scale: u16,
    /// What is held open for it.
    pub fds: Descriptors,
    /// It is not taken in again.
    pub removed: bool,
    /// It depends on others, by its files.
    pub has_links: bool,
    /// The stamp of its status, if that says what is.
    pub shown: Option<Tai>,
    /// In which format that is written. `None`: an older version has noted this.
    pub format: Option<Format>,
    /// What those who listen to it were not told yet, see [`super::fifodir`].
    pub untold: u8,
    /// How many lives there have been.
    pub begun: u64,
    /// What few services need is noted of it.
    pub has_extra: bool,
    /// And a descriptor with more.
    pub has_kept: bool,
    /// Its machine.
    pub memory: Memory,
    /// Its name.
    pub name: Name,
}

/// The name of a service. One that is too long is cut off, and so none: the directory knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Name([u64; BODY - NAME]);

impl Name {
    /// As many bytes a name may have.
    pub const LONGEST: usize = (BODY - NAME) * 8 - 1;

    /// As it is noted.
    pub fn of(name: &[u8]) -> Name {
        let mut words = [0; BODY - NAME];
        if let Ok(length) = u8::try_from(name.len()) {
            let bytes: Vec<u8> = std::iter::once(length).chain(name.iter().copied()).collect();
            words.iter_mut().zip(bytes.chunks(8)).for_each(|(word, bytes)| *word = word_of(bytes));
        }
        Name(words)
    }

    /// As bytes. `None` if it was too long, or can be no name.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = self.0.iter().flat_map(|word| word.to_le_bytes());
        let length = bytes.next()?.into();
        let name: Vec<u8> = bytes.take(length).collect();
        (!name.is_empty() && name.len() == length && !name.contains(&0)).then_some(name)
    }
}

/// Up to eight bytes.
fn word_of(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A fact: what most of its places say. A fault in the middle of a change leaves the old one or the new one.
pub fn fact(words: &Words, fact: Field) -> u64 {
    let at = |distance: usize| words.get(fact as usize + distance).map_or(0, |word| word.load(Ordering::Relaxed));
    let (first, [second, third]) = (at(0), COPIES.map(at));
    if second == third && !fact.is_single() { second } else { first }
}

/// A fact changes.
pub fn set(words: &Words, fact: Field, value: u64) {
    let copies = COPIES.iter().filter(|_| !fact.is_single());
    for distance in [0].iter().chain(copies) {
        if let Some(word) = words.get(fact as usize + distance) {
            word.store(value, Ordering::Relaxed);
        }
        compiler_fence(Ordering::SeqCst);
    }
}

/// Another number if any of the words is another, or stands elsewhere. Zeros do not fit to zero.
fn checksum(seed: u64, words: impl IntoIterator<Item = u64>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let seed = seed.wrapping_add(1).wrapping_mul(ODD);
    words.into_iter().fold(seed, |sum, word| sum.rotate_left(7) ^ word.wrapping_mul(ODD))
}

/// Where the kernel writes a signal that is taken: a `signalfd_siginfo`.
pub fn inbox(words: &Words) -> Option<&[AtomicU64; 16]> {
    words.get(INBOX..)?.first_chunk()
}

/// Begins a journal.
pub fn begin(words: &Words, pid: u32) {
    set(words, Field::Version, VERSION);
    set(words, Field::Pid, pid.into());
    set(words, Field::Ended, UNWRITTEN);
    set(words, Field::Magic, MAGIC);
}

/// Zeroes the fields that only another version knows: we do not update them, and it must not find old values later.
pub fn forget_unknown(words: &Words) {
    for distance in [0].into_iter().chain(COPIES) {
        let unknown = words.get(distance + LAST as usize + 1..distance + FACTS_AT_MOST);
        unknown.unwrap_or_default().iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}

/// Whether this is a journal, of any version: what is in front of the records always means the same.
pub fn is_one(words: &Words) -> bool {
    fact(words, Field::Magic) == MAGIC
}

/// Why this is no journal of this process.
pub fn refusal(words: &Words, pid: u32) -> Option<String> {
    let records = usize::try_from(fact(words, Field::Records)).unwrap_or(usize::MAX);
    if !is_one(words) {
        Some("not an onit state file".into())
    } else if fact(words, Field::Version) != VERSION {
        Some(format!("its version is {}, not {VERSION}", fact(words, Field::Version)))
    } else if fact(words, Field::Pid) != u64::from(pid) {
        Some("it belongs to another process".into())
    } else if records.checked_mul(RECORD).and_then(|all| all.checked_add(FACTS)).is_none_or(|all| all > words.len()) {
        Some("it is cut short".into())
    } else {
        None
    }
}

/// Words of a journal with room for every life, and for what few services need. Few of them are ever written.
pub const WHOLE: usize = KEPT + MOST;

/// How long a journal with this many records is at least, in words.
pub fn length(records: usize) -> usize {
    FACTS + records * RECORD
}

fn place(at: usize) -> Option<std::ops::Range<usize>> {
    let start = at.checked_mul(RECORD)?.checked_add(FACTS)?;
    Some(start..start.checked_add(RECORD)?)
}

fn record_words(words: &Words, at: usize) -> Option<&Words> {
    words.get(place(at)?)
}

/// There is room for this many records now. New ones are empty.
pub fn count(words: &Words, records: usize) {
    let known = usize::try_from(fact(words, Field::Records)).unwrap_or_default();
    (known..records).for_each(|at| erase(words, at));
    set(words, Field::Records, records as u64);
}

/// Notes a record.
pub fn write(words: &Words, at: usize, record: &Record) {
    change(words, at, record.pack());
}

/// There is no such record any more.
pub fn erase(words: &Words, at: usize) {
    change(words, at, [0; BODY]);
}

fn change(words: &Words, at: usize, new: [u64; BODY]) {
    let (Some(record), Some(undo)) = (record_words(words, at), words.get(UNDO..UNDO + RECORD)) else { return };
    let new = new.into_iter().chain([checksum(at as u64, new)]);
    if holds(record, new.clone()) {
        return;
    }
    copy(record, undo);
    set(words, Field::Journal, at as u64 + 1);
    record.iter().zip(new).for_each(|(word, new)| word.store(new, Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
    set(words, Field::Journal, 0);
}

fn holds(words: &Words, numbers: impl Iterator<Item = u64>) -> bool {
    words.iter().map(|word| word.load(Ordering::Relaxed)).eq(numbers)
}

fn copy(from: &Words, to: &Words) {
    to.iter().zip(from).for_each(|(to, from)| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
}

/// A change that was not finished did not happen.
pub fn take_back(words: &Words) {
    let Some(at) = fact(words, Field::Journal).checked_sub(1).and_then(|at| usize::try_from(at).ok()) else { return };
    if let (Some(record), Some(undo)) = (record_words(words, at), words.get(UNDO..UNDO + RECORD)) {
        copy(undo, record);
    }
    set(words, Field::Journal, 0);
}

/// What a place of the journal holds.
#[allow(clippy::large_enum_variant)] // one at a time is read
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing.
    Empty,
    /// A record.
    Record(Record),
    /// Something that is no record.
    Damaged,
}

/// Reads a place.
pub fn entry(words: &Words, at: usize) -> Entry {
    let mut all = [0; RECORD];
    let Some(record) = record_words(words, at) else { return Entry::Empty };
    all.iter_mut().zip(record).for_each(|(copy, word)| *copy = word.load(Ordering::Relaxed));
    let [body @ .., sum] = all;
    if sum != checksum(at as u64, body) {
        Entry::Damaged
    } else if body == [0; BODY] {
        Entry::Empty
    } else {
        Record::unpack(body).map_or(Entry::Damaged, Entry::Record)
    }
}

/// Notes the last life of a service. How many there have been stands in its record.
pub fn write_run(words: &Words, at: usize, history: &History) {
    let last = history.begun().saturating_sub(1);
    if let Some((life, place)) = history.lives().last().zip(life_words(words, at, last)) {
        let life = pack_life(life);
        let life = life.into_iter().chain([life_sum(at, last, life)]);
        if !holds(place, life.clone()) {
            place.iter().zip(life).for_each(|(word, new)| word.store(new, Ordering::Relaxed));
            compiler_fence(Ordering::SeqCst);
        }
    }
}

/// The last of so many lives of a service. What is none is left out.
pub fn history(words: &Words, at: usize, begun: u64) -> History {
    let numbers = begun.saturating_sub(history::KEPT as u64)..begun;
    let lives = numbers.filter_map(|number| {
        let mut life = [0; LIFE];
        life.iter_mut()
            .zip(life_words(words, at, number)?)
            .for_each(|(copy, word)| *copy = word.load(Ordering::Relaxed));
        let [life @ .., sum] = life;
        unpack_life(&life).filter(|_| sum == life_sum(at, number, life))
    });
    History::remembered(begun, lives)
}

/// Notes what few services need. A record says whether that holds.
pub fn write_extra(words: &Words, at: usize, extra: [u64; EXTRA_BODY]) {
    let Some(place) = extra_words(words, at) else { return };
    let new = extra.into_iter().chain([checksum(at as u64, extra)]);
    if !holds(place, new.clone()) {
        place.iter().zip(new).for_each(|(word, new)| word.store(new, Ordering::Relaxed));
        compiler_fence(Ordering::SeqCst);
    }
}

/// And back. Zeros, if there was no room for it, or what was noted is damaged.
pub fn extra(words: &Words, at: usize) -> [u64; EXTRA_BODY] {
    let mut all = [0; EXTRA];
    let place = extra_words(words, at).unwrap_or_default();
    all.iter_mut().zip(place).for_each(|(copy, word)| *copy = word.load(Ordering::Relaxed));
    let [extra @ .., sum] = all;
    if sum == checksum(at as u64, extra) { extra } else { [0; EXTRA_BODY] }
}

/// Notes the descriptor in which more is kept of a service than words. A record says whether there is one.
pub fn write_kept(words: &Words, at: usize, fd: Option<i32>) {
    if let (Some(word), Some(fd)) = (kept_word(words, at), fd) {
        let number = noted(Some(fd));
        word.store(number | checksum(at as u64, [number]) << 32, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }
}

/// And back.
pub fn kept(words: &Words, at: usize) -> Option<i32> {
    let word = kept_word(words, at)?.load(Ordering::Relaxed);
    let number = word & 0xffff_ffff;
    descriptor(number).filter(|_| word >> 32 == checksum(at as u64, [number]) & 0xffff_ffff)
}

fn kept_word(words: &Words, at: usize) -> Option<&AtomicU64> {
    words.get(KEPT + at).filter(|_| at < MOST)
}

fn extra_words(words: &Words, at: usize) -> Option<&Words> {
    let start = EXTRAS + at * EXTRA;
    words.get(start..start + EXTRA).filter(|_| at < MOST)
}

fn life_sum(at: usize, number: u64, life: [u64; LIFE_BODY]) -> u64 {
    checksum(number.wrapping_mul(MOST as u64).wrapping_add(at as u64), life)
}

fn life_words(words: &Words, at: usize, number: u64) -> Option<&Words> {
    let place = (number % history::KEPT as u64) as usize * MOST + at;
    let start = LIVES + place * LIFE;
    words.get(start..start + LIFE).filter(|_| at < MOST)
}

fields! {
    /// A life, as it is noted.
    pub struct RunFields in LIFE_BODY {
        /// When it began, in nanoseconds.
        start: Place::word(0),
        /// When it was ready, and when it ended.
        ready: Place::word(1),
        /// And when it ended.
        end: Place::word(2),
        /// Its process.
        pid: Place::bits(3, 0, 32),
        /// How it ended.
        exit: Place::bits(3, 32, 24),
        /// By an order.
        asked: Place::bits(3, 56, 1),
        /// And was not started again for that.
        over: Place::bits(3, 57, 1),
        /// It is no failure.
        is_success: Place::bits(3, 58, 1),
        /// Why it was not started again.
        cause: Place::bits(3, 59, 4),
    }
}

fn pack_life(life: &Life) -> [u64; LIFE_BODY] {
    let fields = RunFields {
        start: life.start.0,
        ready: memory::instant(life.ready),
        end: memory::instant(life.end.map(|end| end.at)),
        pid: memory::number(life.pid),
        exit: life.end.map_or(0, |end| memory::exit_number(end.exit)),
        asked: life.end.is_some_and(|end| end.asked).into(),
        over: life.end.is_some_and(|end| end.over.is_some()).into(),
        is_success: life.end.is_some_and(|end| end.is_success).into(),
        cause: life.end.and_then(|end| end.over?.err()).map_or(0, cause_number),
    };
    fields.pack()
}

fn unpack_life(words: &[u64; LIFE_BODY]) -> Option<Life> {
    let RunFields { start, ready, end, pid, exit, asked, over, is_success, cause } = RunFields::unpack(words);
    let end = match memory::of_instant(end) {
        None => None,
        Some(at) => {
            let exit = memory::exit_of(exit)?;
            let is_success = is_success != 0 || exit.is_success(); // an older version does not say so
            let over = match (over, cause_of(cause)) {
                (0, _) => None,
                (_, Some(cause)) => Some(Err(cause)),
                (_, None) if is_success => Some(Ok(())),
                (_, None) => Some(Err(Cause::Finish)),
            };
            Some(End { at, exit, asked: asked != 0, is_success, over })
        }
    };
    Some(Life { pid: memory::pid_of(pid)?, start: Mono(start), ready: memory::of_instant(ready), end })
}

/// In the order in which they are numbered, from 1. A new one goes to the end.
const CAUSES: [Cause; 6] =
    [Cause::Finish, Cause::Permanent, Cause::NoRestart, Cause::TooOften, Cause::NeverReady, Cause::Setup];

/// In the order in which they are numbered, from 1. A new one goes to the end.
const FORMATS: [Format; 4] = [Format::Runit, Format::Daemontools, Format::S6, Format::Universal];

fn format_number(format: Option<Format>) -> u64 {
    FORMATS.iter().position(|known| Some(*known) == format).map_or(0, |at| at as u64 + 1)
}

fn format_of(number: u64) -> Option<Format> {
    FORMATS.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

fn cause_number(cause: Cause) -> u64 {
    CAUSES.iter().position(|known| *known == cause).map_or(0, |at| at as u64 + 1)
}

fn cause_of(number: u64) -> Option<Cause> {
    CAUSES.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

/// Notes a text; what does not fit is cut off.
pub fn write_text(words: &Words, text: Text, bytes: &[u8]) {
    let Some((length, rest)) = text.words(words).split_first() else { return };
    length.store(0, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    rest.iter().zip(bytes.chunks(8)).for_each(|(word, bytes)| word.store(word_of(bytes), Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
    length.store(bytes.len().min(rest.len() * 8) as u64, Ordering::Relaxed);
}

/// A text.
pub fn text(words: &Words, text: Text) -> Vec<u8> {
    let Some((length, rest)) = text.words(words).split_first() else { return Vec::new() };
    let length = usize::try_from(length.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    if length > rest.len() * 8 {
        return Vec::new();
    }
    rest.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).take(length).collect()
}

/// Every descriptor that the journal names. Also for the handler of a fault, so no memory is allocated.
pub fn descriptors(words: &Words, keep: &mut dyn FnMut(i32)) {
    let whole = [Field::Launcher, Field::View, Field::ViewLock, Field::Watchdog, Field::Application, Field::Api];
    whole.into_iter().filter_map(|place| descriptor(fact(words, place))).for_each(&mut *keep);
    descriptor(fact(words, Field::Mux) >> 32).into_iter().for_each(&mut *keep);
    let of_svscan = [Field::Svscan, Field::SvscanDir].into_iter().flat_map(|place| descriptors_in(fact(words, place)));
    of_svscan.flatten().for_each(&mut *keep);
    inherited(words).for_each(&mut *keep);
    let records = words.get(FACTS..).unwrap_or_default().chunks_exact(RECORD);
    for (at, record) in records.enumerate().take(usize::try_from(fact(words, Field::Records)).unwrap_or_default()) {
        for word in record.get(DESCRIPTORS).unwrap_or_default() {
            descriptors_in(word.load(Ordering::Relaxed)).into_iter().flatten().for_each(&mut *keep);
        }
        let ready = record.get(READY_DESCRIPTOR).map(|word| word.load(Ordering::Relaxed) >> 32);
        ready.and_then(descriptor).into_iter().for_each(&mut *keep);
        let has_kept = record.first().is_some_and(|word| word.load(Ordering::Relaxed) >> HAS_KEPT & 1 == 1);
        kept(words, at).filter(|_| has_kept).into_iter().for_each(&mut *keep);
    }
}

/// Notes the descriptors that were open for the main process. Only the numbers 3 to 66 fit: a new start may lose the
/// others.
pub fn write_inherited(words: &Words, descriptors: &[i32]) {
    let bit = |fd: &i32| u32::try_from(fd - FIRST).ok().and_then(|place| 1u64.checked_shl(place)).unwrap_or_default();
    set(words, Field::Inherited, descriptors.iter().fold(0, |bits, fd| bits | bit(fd)));
}

/// These descriptors.
pub fn inherited(words: &Words) -> impl Iterator<Item = i32> {
    let bits = fact(words, Field::Inherited);
    (0..64).filter(move |place| bits >> place & 1 == 1).map(|place| place + FIRST)
}

/// A descriptor as it is noted: zero is none.
pub fn noted(fd: Option<i32>) -> u64 {
    fd.map_or(0, |fd| u64::from(fd.cast_unsigned()) + 1)
}

/// And back. Standard input, output and error are never meant.
pub fn descriptor(word: u64) -> Option<i32> {
    i32::try_from(word.checked_sub(1)?).ok().filter(|fd| *fd > 2)
}

/// Two descriptors as they are noted in one word.
pub fn noted_both(lower: Option<i32>, upper: Option<i32>) -> u64 {
    noted(lower) | noted(upper) << 32
}

/// And back.
pub fn descriptors_in(word: u64) -> [Option<i32>; 2] {
    [word & 0xffff_ffff, word >> 32].map(descriptor)
}

/// The words of a record that hold descriptors, two each. A supervisor that fails passes on what they name, whatever
/// else it knows.
const DESCRIPTORS: std::ops::Range<usize> = 3..6;
/// And one whose upper half is one.
const READY_DESCRIPTOR: usize = 7;
/// The bit of the first word that says that there is one elsewhere.
const HAS_KEPT: u32 = 8;

fields! {
    /// How we hold a service.
    pub struct OwnFields in OWN {
        /// There is a record.
        valid: Place::bits(0, 0, 1),
        /// Whether it has a logger, or is one.
        kind: Place::bits(0, 1, 2),
        /// It is not taken in again.
        removed: Place::bits(0, 3, 1),
        /// Its status says what is.
        shown: Place::bits(0, 4, 1),
        /// What few services need is noted.
        has_extra: Place::bits(0, 5, 1),
        /// It depends on others, by its files.
        has_links: Place::bits(0, 6, 1),
        /// Others may have the same logger.
        shares: Place::bits(0, 7, 1),
        /// More is kept of it than words.
        has_kept: Place::bits(0, HAS_KEPT, 1),
        /// In which format its status is written, and one.
        format: Place::bits(0, 9, 3),
        /// What those who listen were not told yet.
        untold: Place::bits(0, 12, 6),
        /// It is an instance of a template.
        is_instance: Place::bits(0, 20, 1),
        /// To how many instances that was scaled, and one.
        scale: Place::bits(0, 21, 11),
        /// Its logger, or whose logger it is.
        partner: Place::bits(0, 32, 32),
        /// The file system of its directory.
        device: Place::word(1),
        /// And its file there.
        inode: Place::word(2),
        /// What is held open, and one.
        dir: Place::bits(3, 0, 32),
        lock: Place::bits(3, 32, 32),
        control: Place::bits(4, 0, 32),
        ok: Place::bits(4, 32, 32),
        pipe: Place::bits(5, 0, 32),
        home: Place::bits(5, 32, 32),
        /// The stamp of its status: seconds and nanoseconds.
        unix: Place::word(6),
        nanos: Place::bits(7, 0, 32),
        /// What is held open to learn that it is ready, and one.
        ready: Place::bits(READY_DESCRIPTOR, 32, 32),
        /// How many lives there have been.
        begun: Place::word(8),
    }
}

impl Record {
    fn pack(&self) -> [u64; BODY] {
        let (kind, partner) = match self.kind {
            Kind::Alone => (0, 0),
            Kind::Producer(logger) => (1, logger),
            Kind::Logger(producer) => (2, producer),
            Kind::Writer(logger) => (1, logger),
        };
        let (fds, stamp) = (self.fds, self.shown.unwrap_or_default());
        let own = OwnFields {
            valid: 1,
            kind,
            removed: self.removed.into(),
            shown: self.shown.is_some().into(),
            has_extra: self.has_extra.into(),
            has_kept: self.has_kept.into(),
            format: format_number(self.format),
            untold: self.untold.into(),
            has_links: self.has_links.into(),
            shares: matches!(self.kind, Kind::Writer(_)).into(),
            partner: partner.into(),
            device: self.id.0,
            inode: self.id.1,
            is_instance: self.is_instance.into(),
            scale: self.scale.into(),
            dir: noted(fds.dir),
            lock: noted(fds.lock),
            control: noted(fds.control),
            ok: noted(fds.ok),
            pipe: noted(fds.pipe),
            home: noted(fds.home),
            ready: noted(fds.ready),
            unix: stamp.unix.cast_unsigned(),
            nanos: stamp.nanos.into(),
            begun: self.begun,
        };
        let mut body = [0; BODY];
        let all = own.pack().into_iter().chain(self.memory.pack()).chain(self.name.0);
        body.iter_mut().zip(all).for_each(|(place, word)| *place = word);
        body
    }

    fn unpack(body: [u64; BODY]) -> Option<Record> {
        let (own, rest) = body.split_first_chunk()?;
        let (memory, name) = rest.split_first_chunk()?;
        let own = OwnFields::unpack(own);
        let partner = u32::try_from(own.partner).ok()?;
        let kind = match own.kind {
            0 => Kind::Alone,
            1 if own.shares != 0 => Kind::Writer(partner),
            1 => Kind::Producer(partner),
            2 => Kind::Logger(partner),
            _ => return None,
        };
        let stamp = Tai { unix: own.unix.cast_signed(), nanos: own.nanos as u32 };
        (own.valid != 0).then_some(Record {
            kind,
            id: (own.device, own.inode),
            is_instance: own.is_instance != 0,
            scale: own.scale as u16,
            fds: Descriptors {
                dir: descriptor(own.dir),
                lock: descriptor(own.lock),
                control: descriptor(own.control),
                ok: descriptor(own.ok),
                pipe: descriptor(own.pipe),
                home: descriptor(own.home),
                ready: descriptor(own.ready),
            },
            removed: own.removed != 0,
            has_links: own.has_links != 0,
            shown: (own.shown != 0).then_some(stamp),
            begun: own.begun,
            has_extra: own.has_extra != 0,
            has_kept: own.has_kept != 0,
            format: format_of(own.format),
            untold: own.untold as u8,
            memory: Memory::unpack(memory),
            name: Name(*name.first_chunk()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Exit, Pid, Signal};
    use proptest::prelude::*;

    fn journal(records: usize) -> Vec<AtomicU64> {
        let words: Vec<AtomicU64> = (0..length(records)).map(|_| AtomicU64::new(0)).collect();
        begin(&words, 7);
        count(&words, records);
        words
    }

    fn record(partner: u32, first: i32) -> Record {
        Record {
            kind: Kind::Producer(partner),
            id: (3, 4),
            is_instance: true,
            scale: 1001,
            fds: Descriptors { dir: Some(first), control: Some(first + 1), pipe: Some(i32::MAX), ..Default::default() },
            removed: false,
            has_links: true,
            shown: Some(Tai { unix: 5, nanos: 6 }),
            format: Some(Format::S6),
            untold: 0b10_1001,
            begun: 0,
            has_extra: true,
            has_kept: false,
            memory: Memory { since: 7, finish_limit: 8, ..Memory::default() },
            name: Name::of(b"web"),
        }
    }

    fn named(name: &[u8]) -> Record {
        Record { name: Name::of(name), ..record(2, 10) }
    }

    #[test]
    fn what_is_noted_is_read() {
        let words = journal(3);
        write(&words, 1, &record(2, 10));
        assert_eq!([entry(&words, 0), entry(&words, 2), entry(&words, 9)], [Entry::Empty; 3]);
        assert_eq!(entry(&words, 1), Entry::Record(record(2, 10)));
        erase(&words, 1);
        assert_eq!(entry(&words, 1), Entry::Empty);
        for kind in [Kind::Alone, Kind::Logger(7), Kind::Writer(7), Kind::Writer(u32::MAX)] {
            let record = Record { kind, ..record(2, 10) };
            write(&words, 1, &record);
            assert_eq!(entry(&words, 1), Entry::Record(record));
        }
    }

    #[test]
    fn a_name_is_noted_if_it_is_short_enough() {
        let long = [b'x'; Name::LONGEST + 1];
        assert_eq!(named(b"web").name.bytes(), Some(b"web".to_vec()));
        assert_eq!(named(&long[1..]).name.bytes(), Some(long[1..].to_vec()));
        for none in [&long[..], &[b'x'; 256], &[b'x'; 300], b"", b"a\0b"] {
            assert_eq!(named(none).name.bytes(), None);
        }
        assert_eq!(Name([u64::MAX; BODY - NAME]).bytes(), None);
    }

    /// What another version has added, by a checksum that fits.
    #[test]
    fn what_another_version_has_added_is_skipped_and_does_not_stay() {
        let (words, old) = (journal(2), record(2, 10));
        for free in [Place::bits(0, 18, 1), Place::bits(OWN + 11, 31, 1)] {
            let mut body = old.pack();
            assert_eq!(free.read(&body), 0);
            free.write(&mut body, 1);
            change(&words, 1, body);
            assert_eq!(entry(&words, 1), Entry::Record(old));
            write(&words, 1, &old);
            assert_eq!(free.read(&words_of(&words, 1)), 0);
        }
        for distance in [0].into_iter().chain(COPIES) {
            words[distance + FACTS_AT_MOST - 1].store(7, Ordering::Relaxed);
        }
        set(&words, Field::Essentials, 3);
        forget_unknown(&words);
        let unknown = [0].into_iter().chain(COPIES).map(|at| words[at + FACTS_AT_MOST - 1].load(Ordering::Relaxed));
        assert_eq!((unknown.collect::<Vec<_>>(), fact(&words, Field::Essentials)), (vec![0; 3], 3));
    }

    fn words_of(words: &Words, at: usize) -> Vec<u64> {
        fixed(words, at).iter().map(|word| word.load(Ordering::Relaxed)).collect()
    }

    fn fixed(words: &Words, at: usize) -> &Words {
        record_words(words, at).expect("a record")
    }

    /// Changes a word as a wild pointer would.
    fn damage(word: &AtomicU64, how: u64) {
        word.fetch_xor(how, Ordering::Relaxed);
    }

    #[test]
    fn a_record_in_which_any_bit_is_another_is_not_believed() {
        for noted in [Some(record(2, 10)), None] {
            let words = journal(2);
            noted.iter().for_each(|record| write(&words, 1, record));
            let entry_then = noted.map_or(Entry::Empty, Entry::Record);
            for (word, bit) in fixed(&words, 1).iter().flat_map(|word| (0..64).map(move |bit| (word, bit))) {
                assert_eq!(entry(&words, 1), entry_then);
                damage(word, 1 << bit);
                assert_eq!(entry(&words, 1), Entry::Damaged);
                damage(word, 1 << bit);
            }
            fixed(&words, 1).iter().for_each(|word| word.store(0, Ordering::Relaxed));
            assert_eq!(entry(&words, 1), Entry::Damaged, "zeros too were not noted");
            copy(fixed(&words, 0), fixed(&words, 1));
            assert_eq!(entry(&words, 1), Entry::Damaged, "it is another's");
        }
    }

    #[test]
    fn a_record_whose_words_have_changed_places_is_not_believed() {
        let words = journal(2);
        write(&words, 1, &record(2, 10));
        let [one, other] = [1, 2].map(|at| &fixed(&words, 1)[at]);
        other.store(one.swap(other.load(Ordering::Relaxed), Ordering::Relaxed), Ordering::Relaxed);
        assert_eq!(entry(&words, 1), Entry::Damaged);
    }

    #[test]
    fn a_life_in_which_any_bit_is_another_is_not_believed() {
        let words: Vec<AtomicU64> = (0..WHOLE).map(|_| AtomicU64::new(0)).collect();
        begin(&words, 7);
        count(&words, 2);
        let mut lives = History::default();
        lives.begin(Mono(1), Pid(1), Some(Mono(1)));
        write_run(&words, 1, &lives);
        for word in life_words(&words, 1, 0).expect("a life") {
            for bit in 0..64 {
                assert_eq!(history(&words, 1, 1), lives);
                damage(word, 1 << bit);
                assert_eq!(history(&words, 1, 1).lives(), []);
                damage(word, 1 << bit);
            }
        }
    }

    #[test]
    fn a_fact_is_what_two_of_its_places_say() {
        let words = journal(2);
        set(&words, Field::Records, 7);
        for place in [0].iter().chain(&COPIES) {
            damage(&words[Field::Records as usize + place], 1);
            assert_eq!(fact(&words, Field::Records), 7);
            damage(&words[Field::Records as usize + place], 1);
        }
        words[Field::Cause as usize].store(11, Ordering::Relaxed);
        assert_eq!(fact(&words, Field::Cause), 11, "the handler of a fault writes one word");
    }

    #[test]
    fn a_change_that_was_cut_short_did_not_happen() {
        let old = record(2, 10);
        let after = journal(2);
        write(&after, 1, &record(9, 20));
        let new = words_of(&after, 1);
        for done in 0..RECORD {
            let words = journal(2);
            write(&words, 1, &old);
            copy(record_words(&words, 1).expect("a record"), &words[UNDO..UNDO + RECORD]);
            set(&words, Field::Journal, 2);
            for (word, new) in record_words(&words, 1).expect("a record").iter().zip(&new).take(done) {
                word.store(*new, Ordering::Relaxed);
            }
            take_back(&words);
            assert_eq!((entry(&words, 1), fact(&words, Field::Journal)), (Entry::Record(old), 0));
        }
    }

    #[test]
    fn the_descriptors_are_all_there_and_no_others() {
        let words = journal(3);
        write(&words, 0, &record(2, 10));
        write(&words, 2, &record(2, 20));
        set(&words, Field::Launcher, noted(Some(5)));
        set(&words, Field::Api, noted(Some(6)));
        set(&words, Field::Svscan, noted_both(Some(30), Some(31)));
        set(&words, Field::SvscanDir, noted_both(None, Some(32)));
        write_inherited(&words, &[3, 7, 66, 67, 1000]);
        let mut all = Vec::new();
        descriptors(&words, &mut |fd| all.push(fd));
        assert_eq!(all, [5, 6, 30, 31, 32, 3, 7, 66, 10, 11, i32::MAX, 20, 21, i32::MAX]);
        assert_eq!((descriptor(noted(Some(2))), descriptor(0), descriptor(u64::MAX)), (None, None, None));
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        let damage = |fact, value| {
            let words = journal(3);
            set(&words, fact, value);
            refusal(&words, 7)
        };
        assert_eq!(refusal(&journal(3), 7), None);
        assert_eq!(damage(Field::Magic, 1).as_deref(), Some("not an onit state file"));
        assert_eq!(damage(Field::Version, 9).as_deref(), Some("its version is 9, not 6"));
        for records in [4, 1 << 40, u64::MAX] {
            assert_eq!(damage(Field::Records, records).as_deref(), Some("it is cut short"));
        }
        assert_eq!(damage(Field::Pid, 8).as_deref(), Some("it belongs to another process"));
        assert_eq!(refusal(&[], 7).as_deref(), Some("not an onit state file"));
    }

    #[test]
    fn the_last_lives_are_remembered() {
        let words = journal(2);
        let mut lives = History::default();
        lives.begin(Mono(1), Pid(1), Some(Mono(1)));
        write_run(&words, 1, &lives);
        assert_eq!(history(&words, 1, 1).lives(), [], "there is no room for lives");
        let words: Vec<AtomicU64> = (0..WHOLE).map(|_| AtomicU64::new(0)).collect();
        let mut lives = History::default();
        let noted = |lives: &History| {
            write_run(&words, 1, lives);
            history(&words, 1, lives.begun())
        };
        for n in 1..40 {
            lives.begin(Mono(n * 10), Pid(n as i32), (n % 2 == 0).then_some(Mono(n * 10)));
            assert_eq!(noted(&lives), lives);
            lives.end(
                Mono(n * 10 + 5),
                Exit::Signal { signal: Signal(n as i32), core: n % 2 == 0 },
                n % 3 == 0,
                n % 5 == 0,
            );
            assert_eq!(noted(&lives), lives);
            for over in [Ok(())].into_iter().chain(CAUSES.map(Err)) {
                lives.end(Mono(n), Exit::Code(0), false, true);
                lives.settle(over);
                let kept = noted(&lives).lives().last().and_then(|life| life.end?.over);
                let means = if n % 5 == 0 || over.is_err() { over } else { Err(Cause::Finish) };
                assert_eq!(kept, Some(means), "{over:?}");
            }
        }
        assert_eq!(noted(&lives), lives);
        assert_eq!((history(&words, 1, 0), history(&words, 0, 0)), (History::default(), History::default()));
    }

    #[test]
    fn where_more_is_kept_is_noted_if_a_record_says_so() {
        let words: Vec<AtomicU64> = (0..WHOLE).map(|_| AtomicU64::new(0)).collect();
        begin(&words, 7);
        count(&words, 3);
        write_kept(&words, 1, Some(77));
        write_kept(&words, MOST, Some(77));
        assert_eq!([kept(&words, 1), kept(&words, 0), kept(&words, MOST)], [Some(77), None, None]);
        let passed_on = || {
            let mut all = Vec::new();
            descriptors(&words, &mut |fd| all.push(fd));
            all.contains(&77)
        };
        assert!(!passed_on());
        write(&words, 1, &Record { has_kept: true, ..record(2, 10) });
        assert!(passed_on());
        damage(&words[KEPT + 1], 1);
        assert!(kept(&words, 1).is_none() && !passed_on());
    }

    #[test]
    fn what_few_services_need_is_noted_where_there_is_room() {
        let words: Vec<AtomicU64> = (0..WHOLE).map(|_| AtomicU64::new(0)).collect();
        let (none, some) = ([0; EXTRA_BODY], [1, 0, 3, 4, 5, 6, u64::MAX, 8, 9, 10, 11]);
        write_extra(&words, 1, some);
        assert_eq!([extra(&words, 1), extra(&words, 2), extra(&words, MOST)], [some, none, none]);
        for word in extra_words(&words, 1).expect("a place") {
            damage(word, 2);
            assert_eq!(extra(&words, 1), none);
            damage(word, 2);
        }
        write_extra(&words[..EXTRAS], 1, some);
        assert_eq!(extra(&words[..EXTRAS], 1), none);
    }

    /// Another version reads them.
    #[test]
    fn why_it_is_over_has_a_number_that_stays() {
        let numbers =
            [Cause::Finish, Cause::Permanent, Cause::NoRestart, Cause::TooOften, Cause::NeverReady, Cause::Setup];
        for (number, cause) in (1..).zip(numbers) {
            assert_eq!((cause_number(cause), cause_of(number)), (number, Some(cause)));
        }
        assert_eq!([0, 7, 15, u64::MAX].map(cause_of), [None; 4]);
    }

    /// It knew that it is over, and neither why nor what is no failure.
    #[test]
    fn of_a_life_that_an_older_version_has_noted_0_was_a_success_and_all_else_a_failure_of_finish() {
        for (code, is_success, over) in [(0, true, Ok(())), (3, false, Err(Cause::Finish))] {
            let exit = Exit::Code(code);
            let end = Some(End { at: Mono(9), exit, asked: false, is_success: false, over: Some(Ok(())) });
            let noted = pack_life(&Life { pid: Pid(7), start: Mono(1), ready: None, end });
            let end = unpack_life(&noted).and_then(|life| life.end).expect("an end");
            assert_eq!((end.is_success, end.over), (is_success, Some(over)), "{code}");
        }
    }

    /// Fields, undo and texts have places of their own.
    const _: () = {
        assert!((LAST as usize) < PANIC_TEXT.at);
        assert!(COPIES[0] + PANIC_TEXT.at <= COPIES[1] && COPIES[1] + PANIC_TEXT.at <= UNDO);
        assert!(UNDO + RECORD <= FACTS);
        assert!(PANIC_TEXT.at + 1 + PANIC_TEXT.bytes / 8 <= INBOX && INBOX + 16 <= PROGRAM.at);
        assert!(PROGRAM.at + 1 + PROGRAM.bytes / 8 <= COPIES[0] && NAME < BODY);
    };

    proptest! {
        #[test]
        fn any_words_are_a_ledger_or_none(noise in prop::collection::vec((0usize..length(2), any::<u64>()), 0..40)) {
            let words = journal(2);
            for (at, value) in noise {
                words[at].store(value, Ordering::Relaxed);
            }
            let _ = (refusal(&words, 7), take_back(&words), text(&words, PANIC_TEXT), history(&words, 1, 9));
            for at in 0..2 {
                if let Entry::Record(record) = entry(&words, at) {
                    write(&words, at, &record);
                    prop_assert_eq!(entry(&words, at), Entry::Record(record));
                }
            }
            descriptors(&words, &mut |fd| assert!(fd > 2));
        }
    }
}
