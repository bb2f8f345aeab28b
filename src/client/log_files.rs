//! The files of one log, read as one text from any line on: those that svlogd, multilog and s6-log rotate in a directory,
//! or a file with `FILE.1`, `FILE.2` behind it. What goes on being written is read over each rotation.

use super::log_place::{Archive, Found, archives, open};
use crate::sys::clock;
use crate::wire::stamp::{Stamp, Zone, instant, seconds_of, stamp};
use crate::wire::tai::Tai;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What is read at a time.
const CHUNK: usize = 64 * 1024;
/// A longer line is shown in pieces.
const LONGEST: usize = 1024 * 1024;
/// s6-log's labels are 27 seconds ahead, so the last one is later than the write of it.
const AHEAD: i64 = 20;
/// Files that are renamed while they are looked for are looked for so often.
const ATTEMPTS: usize = 8;

/// A line of a log, and its time: that of the line before if it has none of its own, or that of its file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// When it was logged.
    pub at: Tai,
    /// It was said on standard error. Of what stands in a file that is not known.
    pub is_error: bool,
    /// Without its time stamp and newline.
    pub text: Vec<u8>,
}

/// Which lines are wanted; of those that remain the last `count`.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Range {
    /// So many at most.
    pub count: Option<u64>,
    /// Not before this.
    pub since: Option<Tai>,
    /// Not after this.
    pub until: Option<Tai>,
}

/// Reads a log from some line on.
pub(crate) struct LogFiles {
    path: PathBuf,
    open: Option<Found>,
    position: u64,
    waiting: VecDeque<Found>,
    /// So many bytes of the last file are read.
    limit: Option<u64>,
    /// The names of the old files when the last one was found: what is not among them is younger.
    known: BTreeSet<OsString>,
    buffer: Vec<u8>,
    taken: usize,
    before: Option<Tai>,
    leap: Option<bool>,
    follow: bool,
}

impl LogFiles {
    /// The lines of the log whose newest file stands at this path. With `follow`, a last line without an end waits for it.
    pub(crate) fn new(path: &Path, range: Range, follow: bool) -> io::Result<LogFiles> {
        let newest = Found::new(open(path)?)?;
        let (old, known) = opened(path, &newest);
        let mut files: Vec<Found> = old.into_iter().chain([newest]).collect();
        let leap = files.iter().rev().find_map(|file| is_ahead(&file.file));
        let search = Search { files: &files, leap: leap.unwrap_or_default() };
        let end = range.until.map(|until| search.first_at(next(until)));
        let last = (files.len().saturating_sub(1), files.last().map_or(0, |file| length(&file.file)));
        let stop = end.unwrap_or(last);
        let since = range.since.map_or((0, 0), |since| search.first_at(since));
        let (first, position) = since.max(range.count.map_or((0, 0), |count| search.back(stop, count)));
        if let Some((last, _)) = end {
            files.truncate(last + 1);
        }
        let mut waiting: VecDeque<Found> = files.into_iter().skip(first).collect();
        let open = waiting.pop_front();
        let limit = end.map(|(file, limit)| if file >= first { limit } else { 0 });
        let buffer = Vec::new();
        let path = path.to_owned();
        Ok(LogFiles { path, open, position, waiting, limit, known, buffer, taken: 0, before: None, leap, follow })
    }

    /// The next line that is there.
    pub(crate) fn next(&mut self) -> Option<Line> {
        loop {
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            let found = rest.iter().take(LONGEST).position(|byte| *byte == b'\n');
            if let Some(length) = found.or((rest.len() >= LONGEST).then_some(LONGEST)) {
                let line = rest.get(..length).unwrap_or_default().to_vec();
                self.taken += length + usize::from(found.is_some());
                return Some(self.line(line));
            }
            if self.fill() {
                continue;
            }
            let is_whole = !self.waiting.is_empty() || !self.follow;
            if is_whole && self.taken < self.buffer.len() {
                let line = self.buffer.split_off(self.taken);
                return Some(self.line(line));
            }
            if !self.go_on() {
                return None;
            }
        }
    }

    /// Reads more of the file that is open. `false`: there is no more now.
    fn fill(&mut self) -> bool {
        let Some(Found { file, .. }) = &self.open else { return false };
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let is_last = self.waiting.is_empty();
        let left = self.limit.filter(|_| is_last).map_or(u64::MAX, |limit| limit.saturating_sub(self.position));
        let had = self.buffer.len();
        self.buffer.resize(had + CHUNK.min(usize::try_from(left).unwrap_or(CHUNK)), 0);
        let count = self.buffer.get_mut(had..).map_or(0, |room| file.read_at(room, self.position).unwrap_or(0));
        self.buffer.truncate(had + count);
        self.position += count as u64;
        count > 0
    }

    /// Goes on with the next file. While it is the last, and empty, the one before may still be written to.
    fn go_on(&mut self) -> bool {
        let is_empty = |file: &Found| length(&file.file) == 0;
        if self.follow && self.waiting.len() == 1 && self.waiting.front().is_some_and(is_empty) {
            return false;
        }
        let Some(next) = self.waiting.pop_front() else { return false };
        (self.open, self.position) = (Some(next), 0);
        true
    }

    fn line(&mut self, mut text: Vec<u8>) -> Line {
        let file = self.open.as_ref();
        let found = stamp(&text);
        if self.leap.is_none() && found.is_some_and(|stamp| stamp.zone == Zone::Label) {
            self.leap = file.and_then(|Found { file, .. }| is_ahead(file));
        }
        let at = match found {
            Some(found) => {
                text.drain(..found.length);
                moment(found, self.leap.unwrap_or_default())
            }
            None => self.before.unwrap_or_else(|| file.map_or_else(Tai::default, |Found { file, .. }| changed(file))),
        };
        self.before = found.is_some().then_some(at).or(self.before);
        Line { at, is_error: false, text }
    }

    /// Looks whether the log has been rotated, cut, or made anew since.
    pub(crate) fn look(&mut self) {
        if let Some(Found { file, .. }) = self.open.as_ref().filter(|_| self.waiting.is_empty())
            && length(file) < self.position
        {
            (self.position, self.taken) = (0, 0);
            self.buffer.clear();
        }
        for _ in 0..ATTEMPTS {
            let Some(ours) = self.waiting.back().or(self.open.as_ref()).map(|found| found.id) else { return };
            let Some(newest) = open(&self.path).and_then(Found::new).ok().filter(|newest| newest.id != ours) else {
                return;
            };
            let there = archives(&self.path);
            let (between, known) = since(&there, &self.known, ours, newest.id);
            let files: io::Result<Vec<Found>> =
                between.iter().map(|archive| Found::new(open(&archive.path)?)).collect();
            let Ok(files) = files else { continue }; // renamed meanwhile
            self.known = known;
            self.waiting.extend(files.into_iter().chain([newest]));
            return;
        }
    }
}

/// The old files of a log before `newest`, opened, and their names.
fn opened(path: &Path, newest: &Found) -> (Vec<Found>, BTreeSet<OsString>) {
    let mut there = archives(path);
    there.truncate(there.iter().position(|one| one.id == newest.id).unwrap_or(there.len()));
    let known = there.iter().map(|one| one.name.clone()).collect();
    let files =
        there.iter().filter(|one| !one.is_compressed()).filter_map(|one| Found::new(open(&one.path).ok()?).ok());
    (files.collect(), known)
}

/// Of old files, from the oldest on, those that came between the one that was `ours` and the newest; and the names of all
/// up to there. Ours is not among them if it was deleted, as the oldest ones are first, or if a processor replaced it.
fn since<'a>(
    there: &'a [Archive],
    known: &BTreeSet<OsString>,
    ours: (u64, u64),
    newest: (u64, u64),
) -> (&'a [Archive], BTreeSet<OsString>) {
    let end = there.iter().position(|one| one.id == newest).unwrap_or(there.len());
    let there = there.get(..end).unwrap_or_default();
    let names = there.iter().map(|one| one.name.clone()).collect();
    let start = match there.iter().position(|one| one.id == ours) {
        Some(at) => at + 1,
        None => {
            let older = there.iter().take_while(|one| known.contains(&one.name)).count();
            let is_replaced = older > 0 || known.is_empty();
            older + usize::from(is_replaced)
        }
    };
    (there.get(start..).unwrap_or_default(), names)
}

/// Where lines are in files, of which the oldest is the first.
struct Search<'a> {
    files: &'a [Found],
    leap: bool,
}

impl Search<'_> {
    /// The file and the place in it of the first line that is not before this.
    fn first_at(&self, wanted: Tai) -> (usize, u64) {
        let late = self.files.iter().position(|file| changed(&file.file) >= wanted);
        let after = (self.files.len().saturating_sub(1), self.files.last().map_or(0, |file| length(&file.file)));
        let Some((at, file)) = late.and_then(|at| Some((at, &self.files.get(at)?.file))) else { return after };
        let (mut low, mut high) = (0, length(file));
        while high - low > CHUNK as u64 {
            let middle = low + (high - low) / 2;
            match self.stamped(file, middle, Tai { unix: i64::MIN, nanos: 0 }) {
                Some((_, found)) if found < wanted => low = middle,
                _ => high = middle,
            }
        }
        match self.stamped(file, low, wanted) {
            Some((place, _)) => (at, place),
            None if self.stamped(file, 0, Tai { unix: i64::MIN, nanos: 0 }).is_none() => (at, 0),
            None if at + 1 < self.files.len() => (at + 1, 0),
            None => after,
        }
    }

    /// The first line behind a place that has a time stamp, and no earlier one than this.
    fn stamped(&self, file: &File, from: u64, wanted: Tai) -> Option<(u64, Tai)> {
        let mut reader = io::BufReader::with_capacity(CHUNK, file);
        reader.seek(SeekFrom::Start(from)).ok()?;
        let mut place = from;
        if from > 0 {
            place += io::BufRead::skip_until(&mut reader, b'\n').ok()? as u64;
        }
        loop {
            let mut line = Vec::new();
            let start = io::BufRead::read_until(&mut reader.by_ref().take(CHUNK as u64), b'\n', &mut line).ok()?;
            if start == 0 {
                return None;
            }
            let text = line.strip_suffix(b"\n").unwrap_or(&line);
            let at = stamp(text).map(|stamp| moment(stamp, self.leap)).filter(|at| *at >= wanted);
            if let Some(at) = at {
                return Some((place, at));
            }
            place += start as u64;
        }
    }

    /// The beginning of the line so many lines before this place.
    fn back(&self, (last, end): (usize, u64), count: u64) -> (usize, u64) {
        let mut left = count;
        if left == 0 {
            return (last, end);
        }
        for (at, Found { file, .. }) in self.files.iter().enumerate().take(last + 1).rev() {
            let end = if at == last { end } else { length(file) };
            let mut high = end;
            let mut room = vec![0; CHUNK];
            while high > 0 {
                let low = high.saturating_sub(CHUNK as u64);
                let size = usize::try_from(high - low).unwrap_or(CHUNK);
                let Some(chunk) = room.get_mut(..size) else { break };
                if file.read_exact_at(chunk, low).is_err() {
                    break;
                }
                let newlines = chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
                for start in newlines.map(|(at, _)| low + at as u64 + 1).filter(|start| *start < end) {
                    left -= 1;
                    if left == 0 {
                        return (at, start);
                    }
                }
                high = low;
            }
            left -= u64::from(end > 0);
            if left == 0 {
                return (at, 0);
            }
        }
        (0, 0)
    }
}

/// Whether labels in it are s6-log's: the last one is later than the file. `None`: there is none at its end.
fn is_ahead(file: &File) -> Option<bool> {
    let mut tail = vec![0; CHUNK];
    let from = length(file).saturating_sub(CHUNK as u64);
    let count = file.read_at(&mut tail, from).ok()?;
    tail.truncate(count);
    let lines = tail.split(|byte| *byte == b'\n').skip(usize::from(from > 0));
    let label = lines.filter_map(stamp).filter(|stamp| stamp.zone == Zone::Label).last()?;
    Some(label.at.unix.saturating_sub(changed(file).unix) >= AHEAD)
}

fn moment(found: Stamp, leap: bool) -> Tai {
    let unix = match found.zone {
        Zone::Label if leap => return Tai::unpack_s6(found.at.pack()),
        Zone::Label | Zone::Utc => found.at.unix,
        Zone::Local => of_calendar(found.at.unix),
    };
    Tai { unix, ..found.at }
}

/// The instant at which the calendar here shows so many seconds since 1970.
pub(crate) fn of_calendar(civil: i64) -> i64 {
    instant(civil, |unix| {
        let at = clock::local(unix)?;
        Some(seconds_of([at.year, at.month.into(), at.day.into(), at.hour.into(), at.minute.into(), at.second.into()]))
    })
}

/// A nanosecond later.
fn next(at: Tai) -> Tai {
    match at.nanos {
        999_999_999.. => Tai { unix: at.unix.saturating_add(1), nanos: 0 },
        nanos => Tai { nanos: nanos + 1, ..at },
    }
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

fn changed(file: &File) -> Tai {
    let changed = file.metadata().map(|metadata| (metadata.mtime(), metadata.mtime_nsec()));
    let (unix, nanos) = changed.unwrap_or_default();
    Tai { unix, nanos: u32::try_from(nanos).unwrap_or_default() }
}

/// What `more` has of so many logs, in the order of time. Lines of one log stay in their order.
pub(crate) fn merge<E>(
    logs: usize,
    mut more: impl FnMut(usize) -> Option<Line>,
    mut out: impl FnMut(usize, Line) -> Result<(), E>,
) -> Result<(), E> {
    let mut heads: Vec<Option<Line>> = (0..logs).map(&mut more).collect();
    let first = heads.iter().enumerate().filter_map(|(log, head)| Some(Reverse((head.as_ref()?.at, log))));
    let mut order: BinaryHeap<_> = first.collect();
    while let Some(Reverse((_, log))) = order.pop() {
        let Some(head) = heads.get_mut(log) else { continue };
        let line = std::mem::replace(head, more(log));
        order.extend(head.as_ref().map(|line| Reverse((line.at, log))));
        if let Some(line) = line {
            out(log, line)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "log_files_tests.rs"]
mod tests;
