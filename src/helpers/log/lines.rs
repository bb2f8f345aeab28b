//! Cuts what is read into lines, as they come: nothing of a line is kept but its first bytes, which decide what becomes
//! of it.

use memchr::{memchr, memchr2};
use std::time::Duration;

/// Takes lines.
pub trait Sink {
    /// A line begins with this: all of it, or as many bytes as decide what becomes of it. Its first byte was read when
    /// the wall clock showed `began`.
    fn begin(&mut self, head: &[u8], began: Duration);
    /// It goes on with this.
    fn more(&mut self, bytes: &[u8]);
    /// It has ended.
    fn end(&mut self);
}

/// What has been read of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Less than decides: it is held.
    Head,
    /// As much as decides, or more: the rest goes through.
    Rest,
}

/// Cuts lines.
pub struct Cutter {
    /// So many bytes decide.
    limit: usize,
    /// A NUL ends a line as well.
    at_nul: bool,
    held: Vec<u8>,
    began: Duration,
    state: State,
}

impl Cutter {
    /// The first `limit` bytes of a line decide what becomes of it. At least 1.
    pub fn new(limit: usize) -> Cutter {
        Cutter { limit: limit.max(1), at_nul: false, held: Vec::new(), began: Duration::ZERO, state: State::Head }
    }

    /// A NUL ends a line as well.
    pub fn and_at_nul(self) -> Cutter {
        Cutter { at_nul: true, ..self }
    }

    fn end_in(&self, bytes: &[u8]) -> Option<usize> {
        if self.at_nul { memchr2(b'\n', 0, bytes) } else { memchr(b'\n', bytes) }
    }

    /// Takes what was read when the wall clock showed `now`.
    pub fn take(&mut self, read: &[u8], now: Duration, sink: &mut impl Sink) {
        let mut rest = read;
        while !rest.is_empty() {
            rest = match self.state {
                State::Head if self.held.is_empty() => self.whole_lines(rest, now, sink),
                State::Head => self.complete(rest, sink),
                State::Rest => self.pass(rest, sink),
            };
        }
    }

    /// There is no more. A line without a newline is one all the same.
    pub fn finish(&mut self, sink: &mut impl Sink) {
        if self.is_within_line() {
            if self.state == State::Head {
                sink.begin(&std::mem::take(&mut self.held), self.began);
            }
            sink.end();
            self.state = State::Head;
        }
    }

    /// Whether a line has begun and not ended.
    pub fn is_within_line(&self) -> bool {
        !self.held.is_empty() || self.state == State::Rest
    }

    fn whole_lines<'a>(&mut self, read: &'a [u8], now: Duration, sink: &mut impl Sink) -> &'a [u8] {
        let mut rest = read;
        while let Some(end) = self.end_in(rest.get(..=self.limit).unwrap_or(rest)).filter(|end| *end < self.limit) {
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            sink.begin(line, now);
            sink.end();
            rest = behind.get(1..).unwrap_or_default();
        }
        self.began = now;
        match rest.split_at_checked(self.limit) {
            Some((head, behind)) => {
                sink.begin(head, now);
                self.state = State::Rest;
                behind
            }
            None => {
                self.held.extend_from_slice(rest);
                &[]
            }
        }
    }

    fn complete<'a>(&mut self, read: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let room = self.limit.saturating_sub(self.held.len());
        let (part, behind) = read.split_at_checked(room).unwrap_or((read, &[]));
        let end = self.end_in(part);
        self.held.extend_from_slice(part.get(..end.unwrap_or(part.len())).unwrap_or_default());
        if end.is_none() && self.held.len() < self.limit {
            return behind;
        }
        let held = std::mem::take(&mut self.held);
        sink.begin(&held, self.began);
        self.held = held;
        self.held.clear();
        match end {
            Some(end) => {
                sink.end();
                read.get(end + 1..).unwrap_or_default()
            }
            None => {
                self.state = State::Rest;
                behind
            }
        }
    }

    fn pass<'a>(&mut self, read: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let end = self.end_in(read);
        let part = read.get(..end.unwrap_or(read.len())).unwrap_or_default();
        if !part.is_empty() {
            sink.more(part);
        }
        let Some(end) = end else { return &[] };
        sink.end();
        self.state = State::Head;
        read.get(end + 1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes what it is told: `[` before a head, `|` behind it, `]` at an end.
    #[derive(Default)]
    struct Told(Vec<u8>, Vec<Duration>);

    impl Sink for Told {
        fn begin(&mut self, head: &[u8], began: Duration) {
            self.0.extend([b"[", head, b"|"].concat());
            self.1.push(began);
        }

        fn more(&mut self, bytes: &[u8]) {
            self.0.extend(bytes);
        }

        fn end(&mut self) {
            self.0.push(b']');
        }
    }

    fn cut(limit: usize, pieces: &[&[u8]]) -> (String, Vec<u64>) {
        let (mut cutter, mut told) = (Cutter::new(limit), Told::default());
        for (second, piece) in pieces.iter().enumerate() {
            cutter.take(piece, Duration::from_secs(second as u64), &mut told);
        }
        cutter.finish(&mut told);
        assert!(!cutter.is_within_line());
        (String::from_utf8_lossy(&told.0).into_owned(), told.1.iter().map(Duration::as_secs).collect())
    }

    #[test]
    fn lines_are_told_as_they_come() {
        assert_eq!(cut(9, &[b"a\n\nbc\n"]), ("[a|][|][bc|]".into(), vec![0, 0, 0]));
        assert_eq!(cut(3, &[b"abc\nabcd\nab\n"]), ("[abc|][abc|d][ab|]".into(), vec![0, 0, 0]));
        assert_eq!(cut(9, &[b"a", b"b", b"c\nd"]), ("[abc|][d|]".into(), vec![0, 2]));
        assert_eq!(cut(2, &[b"a", b"bcd", b"e"]), ("[ab|cde]".into(), vec![0]));
        assert_eq!(cut(9, &[b""]), (String::new(), vec![]));
        assert_eq!(cut(9, &[b"\n"]), ("[|]".into(), vec![0]));
    }

    #[test]
    fn lines_end_at_nul_where_they_do() {
        let read = b"a\0b\nlonger\0";
        for (cutter, lines) in
            [(Cutter::new(3), "[a\0b|][lon|ger\0]"), (Cutter::new(3).and_at_nul(), "[a|][b|][lon|ger]")]
        {
            let (mut cutter, mut told) = (cutter, Told::default());
            cutter.take(read, Duration::ZERO, &mut told);
            cutter.finish(&mut told);
            assert_eq!(String::from_utf8_lossy(&told.0), lines);
        }
    }

    proptest! {
        #[test]
        fn however_it_comes_the_lines_are_the_same(
            text in "[ab\n]{0,60}", limit in 1_usize..8, cuts in proptest::collection::vec(1_usize..9, 0..20),
        ) {
            let (mut pieces, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            let whole = cut(limit, &[text.as_bytes()]).0;
            prop_assert_eq!(&cut(limit, &pieces).0, &whole);
            let mut again = whole.replace(['[', '|'], "").replace(']', "\n");
            if !text.is_empty() && !text.ends_with('\n') {
                again.pop();
            }
            prop_assert_eq!(again, text);
        }
    }
}
