//! The ledger: what a supervisor that fails leaves to the one that goes on, as words of a shared memory.
//!
//! Two pages of facts about the whole, behind them a record for each service, and far behind those the last lives of each.
//! A record is changed under a journal: a fault in the middle of it leaves the record as it was. The lives stand apart,
//! first lives beside first lives: memory that is never written costs nothing, and few services have lived often.
//!
//! A wild pointer may have written anywhere. So each record has a checksum, and one that fails it is not believed; a fact
//! stands in three places, and what two of them say counts.

use crate::machine::history::{self, End, History, Life};
use crate::machine::service::memory::{self, Memory};
use crate::machine::{Mono, Pid};
use crate::wire::tai::Tai;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// The first word.
const MAGIC: u64 = u64::from_le_bytes(*b"onitbook");
/// Of this layout. Who changes anything here counts on.
pub const VERSION: u64 = 4;

/// Words in front of the records.
pub const FACTS: usize = 1024;
/// Behind a fact by so many words stand its copies.
const COPIES: [usize; 2] = [512, 768];
/// Words of a record.
pub const RECORD: usize = 32;
/// As many records there may be.
pub const MOST: usize = 1 << 16;
/// Those of them that say what the service is.
const BODY: usize = 9 + memory::WORDS;
/// Those that change under the journal: the body and its checksum. Behind them stand the name and how many lives there have
/// been.
const FIXED: usize = BODY + 1;
const NAME: usize = FIXED + 1;
/// Longer names are not kept: the directory knows them.
const NAME_BYTES: usize = (BEGUN - NAME) * 8;
const BEGUN: usize = RECORD - 1;
/// Where the lives are.
const LIVES: usize = FACTS + MOST * RECORD;
/// Words that say what a life was.
const LIFE_BODY: usize = 4;
/// The same and their checksum.
const LIFE: usize = LIFE_BODY + 1;

/// A fact about the whole, by its place in the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Fact {
    Magic,
    Version,
    /// Whose ledger it is.
    Pid,
    /// How many records there are.
    Records,
    /// Why somebody else goes on: a signal, or [`UPGRADE`], or [`PANIC`].
    Cause,
    /// Somebody wants the program replaced, and this is the number of that wish.
    Request,
    /// The last wish that was answered.
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
    /// Whoever runs us was told that everything has started.
    Announced,
    /// The descriptors of the live view and of its lock, and one.
    View,
    ViewLock,
    /// The exit code, and whether it is decided.
    Code,
    /// What the machine is to do when everything has ended, and whether at once.
    ShutdownAction,
    /// Services that appear are taken in.
    TakesIn,
    /// The descriptor of the front, and one.
    Front,
    /// The limit of open files that services get, if it is not ours.
    LimitKnown,
    LimitNow,
    LimitMost,
    /// Signals that were taken and not obeyed yet, a bit each.
    Signals,
    /// Where the kernel writes the pid of a new child.
    Newborn,
    /// For which service that is, and one.
    NewbornOf,
    /// The service whose actions are being performed, and one.
    Doing,
    /// The record that is being changed, and one. What it was stands behind.
    Journal,
    /// The signal that is being obeyed, and in the upper half for which time.
    Obeying,
    /// Where the kernel writes a byte of an order. All ones: it has not.
    Order,
    /// For which service that is, and one, or [`FRONT`]; in the upper half for which time it is obeyed. Zero: it was.
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
}

impl Fact {
    /// Whether it has no copies: another process, the kernel or the handler of a fault writes it.
    fn is_single(self) -> bool {
        use Fact::{Answer, AnswerErrno, Cause, Ended, Magic, Newborn, Order, Pid, Request, Version};
        matches!(self, Magic | Version | Pid | Cause | Request | Answer | AnswerErrno | Newborn | Order | Ended)
    }
}

/// The cause: somebody asked for it.
pub const UPGRADE: u64 = 256;
/// The cause: a panic, whose words are in [`PANIC_TEXT`].
pub const PANIC: u64 = 257;

/// The order is the front's.
pub const FRONT: u64 = u32::MAX as u64;
/// What a word holds where the kernel is to write, as long as it has not.
pub const UNWRITTEN: u64 = u64::MAX;

/// The first descriptor behind standard error.
const FIRST: i32 = 3;

const JOURNAL_WORDS: usize = 896;
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
}

/// What is noted of one service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose logger, or with which.
    pub kind: Kind,
    /// The directory: file system and file.
    pub id: (u64, u64),
    /// What is held open for it.
    pub fds: Descriptors,
    /// It is not taken in again.
    pub released: bool,
    /// The stamp of its status, if that says what is.
    pub shown: Option<Tai>,
    /// Its machine.
    pub memory: Memory,
}

/// A fact: what most of its places say. A fault in the middle of a change leaves the old one or the new one.
pub fn fact(words: &Words, fact: Fact) -> u64 {
    let at = |distance: usize| words.get(fact as usize + distance).map_or(0, |word| word.load(Ordering::Relaxed));
    let (first, [second, third]) = (at(0), COPIES.map(at));
    if second == third && !fact.is_single() { second } else { first }
}

/// A fact changes.
pub fn set(words: &Words, fact: Fact, value: u64) {
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

/// A number below 2^32, with a checksum in the upper half.
fn seal(seed: u64, number: u64) -> u64 {
    let number = number.min(u32::MAX.into());
    number | checksum(seed, [number]) & !u64::from(u32::MAX)
}

/// And back. `None` if it is none.
fn unseal(seed: u64, word: u64) -> Option<u64> {
    let number = word & u64::from(u32::MAX);
    (seal(seed, number) == word).then_some(number)
}

/// Where the kernel writes a signal that is taken: a `signalfd_siginfo`.
pub fn inbox(words: &Words) -> Option<&[AtomicU64; 16]> {
    words.get(INBOX..)?.first_chunk()
}

/// Begins a ledger.
pub fn begin(words: &Words, pid: u32) {
    set(words, Fact::Version, VERSION);
    set(words, Fact::Pid, pid.into());
    set(words, Fact::Ended, UNWRITTEN);
    set(words, Fact::Magic, MAGIC);
}

/// Whether this is a ledger, of any version: what is in front of the records always means the same.
pub fn is_one(words: &Words) -> bool {
    fact(words, Fact::Magic) == MAGIC
}

/// Why this is no ledger of this process.
pub fn refusal(words: &Words, pid: u32) -> Option<String> {
    let records = usize::try_from(fact(words, Fact::Records)).unwrap_or(usize::MAX);
    if !is_one(words) {
        Some("not an onit ledger".into())
    } else if fact(words, Fact::Version) != VERSION {
        Some(format!("its version is {}, not {VERSION}", fact(words, Fact::Version)))
    } else if fact(words, Fact::Pid) != u64::from(pid) {
        Some("it belongs to another process".into())
    } else if records.checked_mul(RECORD).and_then(|all| all.checked_add(FACTS)).is_none_or(|all| all > words.len()) {
        Some("it is cut short".into())
    } else {
        None
    }
}

/// Words of a ledger with room for every life. Few of them are ever written.
pub const WHOLE: usize = LIVES + history::KEPT * MOST * LIFE;

/// How long a ledger with this many records is at least, in words.
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
    let known = usize::try_from(fact(words, Fact::Records)).unwrap_or_default();
    (known..records).for_each(|at| erase(words, at));
    set(words, Fact::Records, records as u64);
}

/// Notes a record.
pub fn note(words: &Words, at: usize, record: &Record) {
    change(words, at, record.pack());
}

/// There is no such record any more.
pub fn erase(words: &Words, at: usize) {
    change(words, at, [0; BODY]);
}

fn change(words: &Words, at: usize, new: [u64; BODY]) {
    let (Some(record), Some(journal)) = (record_words(words, at), words.get(JOURNAL_WORDS..JOURNAL_WORDS + FIXED))
    else {
        return;
    };
    copy(record, journal);
    set(words, Fact::Journal, at as u64 + 1);
    let sum = checksum(at as u64, new);
    record.iter().zip(new.into_iter().chain([sum])).for_each(|(word, new)| word.store(new, Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
    set(words, Fact::Journal, 0);
}

fn copy(from: &Words, to: &Words) {
    to.iter().zip(from).for_each(|(to, from)| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed));
    compiler_fence(Ordering::SeqCst);
}

/// A change that was not finished did not happen.
pub fn take_back(words: &Words) {
    let Some(at) = fact(words, Fact::Journal).checked_sub(1).and_then(|at| usize::try_from(at).ok()) else { return };
    if let (Some(record), Some(journal)) = (record_words(words, at), words.get(JOURNAL_WORDS..JOURNAL_WORDS + FIXED)) {
        copy(journal, record.get(..FIXED).unwrap_or_default());
    }
    set(words, Fact::Journal, 0);
}

/// What a place of the ledger holds.
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
    let mut fixed = [0; FIXED];
    let Some(record) = record_words(words, at) else { return Entry::Empty };
    fixed.iter_mut().zip(record).for_each(|(copy, word)| *copy = word.load(Ordering::Relaxed));
    let [body @ .., sum] = fixed;
    if sum != checksum(at as u64, body) {
        Entry::Damaged
    } else if body == [0; BODY] {
        Entry::Empty
    } else {
        Record::unpack(body).map_or(Entry::Damaged, Entry::Record)
    }
}

/// Notes the name of a record, if it is short enough.
pub fn note_name(words: &Words, at: usize, name: &[u8]) {
    if let Some(record) = record_words(words, at) {
        let name = if name.len() > NAME_BYTES { &[] } else { name };
        write_text(record.get(FIXED..BEGUN).unwrap_or_default(), name, name_sum(at, name));
    }
}

/// The name of a record, if it was noted.
pub fn name(words: &Words, at: usize) -> Option<Vec<u8>> {
    let place = record_words(words, at)?.get(FIXED..BEGUN)?;
    let (name, sum) = (read_text(place), place.first()?.load(Ordering::Relaxed) >> 32);
    (!name.is_empty() && !name.contains(&0) && sum == u64::from(name_sum(at, &name))).then_some(name)
}

fn name_sum(at: usize, name: &[u8]) -> u32 {
    (checksum(at as u64, name.iter().map(|byte| u64::from(*byte))) >> 32) as u32
}

/// Notes the last life of a service, and how many there have been.
pub fn note_life(words: &Words, at: usize, history: &History) {
    let Some(record) = record_words(words, at) else { return };
    let last = history.begun().saturating_sub(1);
    if let Some((life, place)) = history.lives().last().zip(life_words(words, at, last)) {
        let life = pack_life(life);
        let sum = life_sum(at, last, life);
        place.iter().zip(life.into_iter().chain([sum])).for_each(|(word, new)| word.store(new, Ordering::Relaxed));
        compiler_fence(Ordering::SeqCst);
    }
    if let Some(begun) = record.get(BEGUN) {
        begun.store(seal(at as u64, history.begun()), Ordering::Relaxed);
    }
}

/// The last lives of a service. What is none is left out.
pub fn history(words: &Words, at: usize) -> History {
    let Some(record) = record_words(words, at) else { return History::default() };
    let begun =
        record.get(BEGUN).and_then(|begun| unseal(at as u64, begun.load(Ordering::Relaxed))).unwrap_or_default();
    let numbers = begun.saturating_sub(history::KEPT as u64)..begun;
    let lives = numbers.filter_map(|number| {
        let mut life = [0; LIFE];
        life.iter_mut()
            .zip(life_words(words, at, number)?)
            .for_each(|(copy, word)| *copy = word.load(Ordering::Relaxed));
        let [life @ .., sum] = life;
        unpack_life(life).filter(|_| sum == life_sum(at, number, life))
    });
    History::remembered(begun, lives)
}

fn life_sum(at: usize, number: u64, life: [u64; LIFE_BODY]) -> u64 {
    checksum(number.wrapping_mul(MOST as u64).wrapping_add(at as u64), life)
}

fn life_words(words: &Words, at: usize, number: u64) -> Option<&Words> {
    let place = (number % history::KEPT as u64) as usize * MOST + at;
    let start = LIVES + place * LIFE;
    words.get(start..start + LIFE).filter(|_| at < MOST)
}

const ASKED_TO_END: u8 = 1;
const GAVE_UP: u8 = 2;

fn pack_life(life: &Life) -> [u64; LIFE_BODY] {
    let [a, b, c, d] = life.pid.0.to_le_bytes();
    let [kind, value, core] = life.end.map_or([0; 3], |end| memory::exit_bytes(end.exit));
    let flags = life.end.map_or(0, |end| u8::from(end.asked) * ASKED_TO_END + u8::from(end.gave_up) * GAVE_UP);
    let ready = memory::instant(life.ready);
    let last = u64::from_le_bytes([a, b, c, d, kind, value, core, flags]);
    [life.start.0, ready, memory::instant(life.end.map(|end| end.at)), last]
}

fn unpack_life([start, ready, end, last]: [u64; LIFE_BODY]) -> Option<Life> {
    let [a, b, c, d, kind, value, core, flags] = last.to_le_bytes();
    let pid = Some(i32::from_le_bytes([a, b, c, d])).filter(|pid| *pid > 0).map(Pid)?;
    let end = match memory::of_instant(end) {
        None => None,
        Some(at) => Some(End {
            at,
            exit: memory::exit_of([kind, value, core])?,
            asked: flags & ASKED_TO_END != 0,
            gave_up: flags & GAVE_UP != 0,
        }),
    };
    Some(Life { pid, start: Mono(start), ready: memory::of_instant(ready), end })
}

/// Notes a text; what does not fit is cut off.
pub fn note_text(words: &Words, text: Text, bytes: &[u8]) {
    write_text(words.get(text.at..text.at + 1 + text.bytes / 8).unwrap_or_default(), bytes, 0);
}

/// A text.
pub fn text(words: &Words, text: Text) -> Vec<u8> {
    read_text(words.get(text.at..text.at + 1 + text.bytes / 8).unwrap_or_default())
}

/// The length stands in the lower half of the first word, and `sum` in the upper one.
fn write_text(words: &Words, bytes: &[u8], sum: u32) {
    let Some((length, rest)) = words.split_first() else { return };
    length.store(0, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    for (word, chunk) in rest.iter().zip(bytes.chunks(8)) {
        let mut eight = [0; 8];
        eight.iter_mut().zip(chunk).for_each(|(place, byte)| *place = *byte);
        word.store(u64::from_le_bytes(eight), Ordering::Relaxed);
    }
    compiler_fence(Ordering::SeqCst);
    length.store(bytes.len().min(rest.len() * 8) as u64 | u64::from(sum) << 32, Ordering::Relaxed);
}

fn read_text(words: &Words) -> Vec<u8> {
    let Some((length, rest)) = words.split_first() else { return Vec::new() };
    let length = length.load(Ordering::Relaxed) as u32 as usize;
    if length > rest.len() * 8 {
        return Vec::new();
    }
    rest.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).take(length).collect()
}

/// Every descriptor that the ledger names. For who has nothing but system calls left: no memory is asked for.
pub fn descriptors(words: &Words, keep: &mut dyn FnMut(i32)) {
    let whole = [Fact::Front, Fact::View, Fact::ViewLock, Fact::Watchdog].into_iter();
    whole.filter_map(|place| descriptor(fact(words, place))).for_each(&mut *keep);
    inherited(words).for_each(&mut *keep);
    let records = words.get(FACTS..).unwrap_or_default().chunks_exact(RECORD);
    for record in records.take(usize::try_from(fact(words, Fact::Records)).unwrap_or_default()) {
        for word in record.get(4..7).unwrap_or_default() {
            let word = word.load(Ordering::Relaxed);
            [word & 0xffff_ffff, word >> 32].into_iter().filter_map(descriptor).for_each(&mut *keep);
        }
    }
}

/// Notes the descriptors that were open for the main process. Who is given more than 64 may lose the others.
pub fn note_inherited(words: &Words, descriptors: &[i32]) {
    let bit = |fd: &i32| u32::try_from(fd - FIRST).ok().and_then(|place| 1u64.checked_shl(place)).unwrap_or_default();
    set(words, Fact::Inherited, descriptors.iter().fold(0, |bits, fd| bits | bit(fd)));
}

/// These descriptors.
pub fn inherited(words: &Words) -> impl Iterator<Item = i32> {
    let bits = fact(words, Fact::Inherited);
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

const VALID: u64 = 1;
const PRODUCER: u64 = 2;
const LOGGER: u64 = 4;
const RELEASED: u64 = 16;
const SHOWN: u64 = 32;

impl Record {
    fn pack(&self) -> [u64; BODY] {
        let (kind, partner) = match self.kind {
            Kind::Alone => (0, 0),
            Kind::Producer(logger) => (PRODUCER, logger),
            Kind::Logger(producer) => (LOGGER, producer),
        };
        let bit = |holds: bool, bit: u64| if holds { bit } else { 0 };
        let flags = bit(self.released, RELEASED) | bit(self.shown.is_some(), SHOWN);
        let pair = |low, high| noted(low) | noted(high) << 32;
        let stamp = self.shown.unwrap_or_default();
        let fds = self.fds;
        let mut all = [0; BODY];
        let front = [
            VALID | kind | flags,
            partner.into(),
            self.id.0,
            self.id.1,
            pair(fds.dir, fds.lock),
            pair(fds.control, fds.ok),
            pair(fds.pipe, fds.home),
            stamp.unix.cast_unsigned(),
            stamp.nanos.into(),
        ];
        all.iter_mut().zip(front.into_iter().chain(self.memory.0)).for_each(|(place, word)| *place = word);
        all
    }

    fn unpack(words: [u64; BODY]) -> Option<Record> {
        let (front, memory) = words.split_first_chunk()?;
        let [flags, partner, device, inode, dir_lock, control_ok, pipe_home, unix, nanos]: [u64; 9] = *front;
        let partner = u32::try_from(partner).ok()?;
        let kind = match flags & (PRODUCER | LOGGER) {
            0 => Kind::Alone,
            PRODUCER => Kind::Producer(partner),
            LOGGER => Kind::Logger(partner),
            _ => return None,
        };
        if flags & VALID == 0 || flags > 63 {
            return None;
        }
        let (low, high) = (|word: u64| descriptor(word & 0xffff_ffff), |word: u64| descriptor(word >> 32));
        let stamp = Tai { unix: unix.cast_signed(), nanos: nanos as u32 };
        Some(Record {
            kind,
            id: (device, inode),
            fds: Descriptors {
                dir: low(dir_lock),
                lock: high(dir_lock),
                control: low(control_ok),
                ok: high(control_ok),
                pipe: low(pipe_home),
                home: high(pipe_home),
            },
            released: flags & RELEASED != 0,
            shown: (flags & SHOWN != 0).then_some(stamp),
            memory: Memory(*memory.first_chunk()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Exit, Signal};
    use proptest::prelude::*;

    fn ledger(records: usize) -> Vec<AtomicU64> {
        let words: Vec<AtomicU64> = (0..length(records)).map(|_| AtomicU64::new(0)).collect();
        begin(&words, 7);
        count(&words, records);
        words
    }

    fn record(partner: u32, first: i32) -> Record {
        Record {
            kind: Kind::Producer(partner),
            id: (3, 4),
            fds: Descriptors { dir: Some(first), control: Some(first + 1), pipe: Some(i32::MAX), ..Default::default() },
            released: false,
            shown: Some(Tai { unix: 5, nanos: 6 }),
            memory: Memory(std::array::from_fn(|at| at as u64)),
        }
    }

    #[test]
    fn what_is_noted_is_read() {
        let words = ledger(3);
        note(&words, 1, &record(2, 10));
        note_name(&words, 1, b"web");
        assert_eq!([entry(&words, 0), entry(&words, 2), entry(&words, 9)], [Entry::Empty; 3]);
        assert_eq!((entry(&words, 1), name(&words, 1)), (Entry::Record(record(2, 10)), Some(b"web".to_vec())));
        note_name(&words, 1, &[b'x'; NAME_BYTES + 1]);
        assert_eq!((entry(&words, 1), name(&words, 1)), (Entry::Record(record(2, 10)), None));
        note_name(&words, 1, &[b'x'; NAME_BYTES]);
        assert_eq!((name(&words, 1), name(&words, 2)), (Some(vec![b'x'; NAME_BYTES]), None));
        erase(&words, 1);
        assert_eq!(entry(&words, 1), Entry::Empty);
    }

    fn fixed(words: &Words, at: usize) -> &Words {
        &record_words(words, at).expect("a record")[..FIXED]
    }

    /// Changes a word as a wild pointer would.
    fn damage(word: &AtomicU64, how: u64) {
        word.fetch_xor(how, Ordering::Relaxed);
    }

    #[test]
    fn a_record_in_which_any_bit_is_another_is_not_believed() {
        for noted in [Some(record(2, 10)), None] {
            let words = ledger(2);
            noted.iter().for_each(|record| note(&words, 1, record));
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
        let words = ledger(2);
        note(&words, 1, &record(2, 10));
        let [one, other] = [BODY - 2, BODY - 1].map(|at| &fixed(&words, 1)[at]);
        other.store(one.swap(other.load(Ordering::Relaxed), Ordering::Relaxed), Ordering::Relaxed);
        assert_eq!(entry(&words, 1), Entry::Damaged);
    }

    #[test]
    fn a_name_and_lives_in_which_any_bit_is_another_are_not_believed() {
        let words: Vec<AtomicU64> = (0..WHOLE).map(|_| AtomicU64::new(0)).collect();
        begin(&words, 7);
        count(&words, 2);
        note(&words, 1, &record(2, 10));
        note_name(&words, 1, b"a-long-name-of-w");
        let mut lives = History::default();
        lives.begin(Mono(1), Pid(1));
        note_life(&words, 1, &lives);
        let record = record_words(&words, 1).expect("a record");
        for bit in 0..64 {
            for word in &record[FIXED..NAME + 2] {
                damage(word, 1 << bit);
                assert_eq!((name(&words, 1), history(&words, 1)), (None, lives.clone()));
                damage(word, 1 << bit);
            }
            for word in record[BEGUN..].iter().chain(life_words(&words, 1, 0).expect("a life")) {
                damage(word, 1 << bit);
                assert_eq!(
                    (name(&words, 1), history(&words, 1).lives()),
                    (Some(b"a-long-name-of-w".to_vec()), &[][..])
                );
                damage(word, 1 << bit);
            }
        }
    }

    #[test]
    fn a_fact_is_what_two_of_its_places_say() {
        let words = ledger(2);
        set(&words, Fact::Records, 7);
        for place in [0].iter().chain(&COPIES) {
            damage(&words[Fact::Records as usize + place], 1);
            assert_eq!(fact(&words, Fact::Records), 7);
            damage(&words[Fact::Records as usize + place], 1);
        }
        words[Fact::Cause as usize].store(11, Ordering::Relaxed);
        assert_eq!(fact(&words, Fact::Cause), 11, "the handler of a fault writes one word");
    }

    #[test]
    fn a_change_that_was_cut_short_did_not_happen() {
        let old = record(2, 10);
        let after = ledger(2);
        note(&after, 1, &record(9, 20));
        let new: Vec<u64> = fixed(&after, 1).iter().map(|word| word.load(Ordering::Relaxed)).collect();
        for done in 0..FIXED {
            let words = ledger(2);
            note(&words, 1, &old);
            copy(record_words(&words, 1).expect("a record"), &words[JOURNAL_WORDS..JOURNAL_WORDS + FIXED]);
            set(&words, Fact::Journal, 2);
            for (word, new) in record_words(&words, 1).expect("a record").iter().zip(&new).take(done) {
                word.store(*new, Ordering::Relaxed);
            }
            take_back(&words);
            assert_eq!((entry(&words, 1), fact(&words, Fact::Journal)), (Entry::Record(old), 0));
        }
    }

    #[test]
    fn the_descriptors_are_all_there_and_no_others() {
        let words = ledger(3);
        note(&words, 0, &record(2, 10));
        note(&words, 2, &record(2, 20));
        set(&words, Fact::Front, noted(Some(5)));
        note_inherited(&words, &[3, 7, 66, 67, 1000]);
        let mut all = Vec::new();
        descriptors(&words, &mut |fd| all.push(fd));
        assert_eq!(all, [5, 3, 7, 66, 10, 11, i32::MAX, 20, 21, i32::MAX]);
        assert_eq!((descriptor(noted(Some(2))), descriptor(0), descriptor(u64::MAX)), (None, None, None));
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        let damage = |fact, value| {
            let words = ledger(3);
            set(&words, fact, value);
            refusal(&words, 7)
        };
        assert_eq!(refusal(&ledger(3), 7), None);
        assert_eq!(damage(Fact::Magic, 1).as_deref(), Some("not an onit ledger"));
        assert_eq!(damage(Fact::Version, 9).as_deref(), Some("its version is 9, not 4"));
        for records in [4, 1 << 40, u64::MAX] {
            assert_eq!(damage(Fact::Records, records).as_deref(), Some("it is cut short"));
        }
        assert_eq!(damage(Fact::Pid, 8).as_deref(), Some("it belongs to another process"));
        assert_eq!(refusal(&[], 7).as_deref(), Some("not an onit ledger"));
    }

    #[test]
    fn the_last_lives_are_remembered() {
        let words = ledger(2);
        let mut lives = History::default();
        lives.begin(Mono(1), Pid(1));
        note_life(&words, 1, &lives);
        assert_eq!(history(&words, 1).lives(), [], "there is no room for lives");
        let words: Vec<AtomicU64> = (0..WHOLE).map(|_| AtomicU64::new(0)).collect();
        let mut lives = History::default();
        assert_eq!(history(&words, 1), lives);
        for n in 1..40 {
            lives.begin(Mono(n * 10), Pid(n as i32));
            note_life(&words, 1, &lives);
            assert_eq!(history(&words, 1), lives);
            lives.end(Mono(n * 10 + 5), Exit::Signal { signal: Signal(n as i32), core: n % 2 == 0 }, n % 3 == 0);
            note_life(&words, 1, &lives);
            assert_eq!(history(&words, 1), lives);
        }
        lives.give_up();
        note_life(&words, 1, &lives);
        assert_eq!(history(&words, 1), lives);
        note_life(&words, 1, &History::default());
        assert_eq!((history(&words, 1), history(&words, 0)), (History::default(), History::default()));
    }

    /// Facts, journal and texts have places of their own.
    const _: () = {
        assert!((Fact::Essentials as usize) < PANIC_TEXT.at);
        assert!(COPIES[0] + PANIC_TEXT.at <= COPIES[1] && COPIES[1] + PANIC_TEXT.at <= JOURNAL_WORDS);
        assert!(JOURNAL_WORDS + FIXED <= FACTS);
        assert!(PANIC_TEXT.at + 1 + PANIC_TEXT.bytes / 8 <= INBOX && INBOX + 16 <= PROGRAM.at);
        assert!(PROGRAM.at + 1 + PROGRAM.bytes / 8 <= COPIES[0] && NAME < BEGUN);
    };

    proptest! {
        #[test]
        fn any_words_are_a_ledger_or_none(noise in prop::collection::vec((0usize..length(2), any::<u64>()), 0..40)) {
            let words = ledger(2);
            for (at, value) in noise {
                words[at].store(value, Ordering::Relaxed);
            }
            let _ = (refusal(&words, 7), take_back(&words), name(&words, 0), text(&words, PANIC_TEXT), history(&words, 1));
            for at in 0..2 {
                if let Entry::Record(record) = entry(&words, at) {
                    note(&words, at, &record);
                    prop_assert_eq!(entry(&words, at), Entry::Record(record));
                }
            }
            descriptors(&words, &mut |fd| assert!(fd > 2));
        }
    }
}
