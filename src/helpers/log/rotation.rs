//! When a file of a log is full: pure, and so that many lines go out with one write.

use memchr::{memchr, memrchr};

/// What to do next with what waits to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// The file is full: another one is begun.
    Rotate,
    /// So many bytes are written, and then another file is begun if it says so.
    Write(usize, bool),
}

/// When another file is begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// After the first line that ends at this size or later; and within a line, at the `hard` limit.
    Lines {
        /// Lines that end from here on are the last ones of their file.
        from: u64,
        /// No file is larger.
        hard: u64,
    },
    /// multilog: as `Lines`, but the last line of a chunk decides, of those that fit.
    Chunks {
        /// No file is larger.
        size: u64,
    },
}

impl Rule {
    /// Never.
    pub const NEVER: Rule = Rule::Lines { from: u64::MAX, hard: u64::MAX };

    /// svlogd: at `size`, or at the end of a line less than `length` before that. 0: never. As the real one has it, only
    /// the first counts if `length` is the larger.
    pub fn svlogd(size: u64, length: u64) -> Rule {
        match size {
            0 => Rule::NEVER,
            hard => Rule::Lines { from: hard.checked_sub(length).unwrap_or(u64::MAX), hard },
        }
    }

    /// s6-log: behind the first line that ends less than `tolerance` before `size`, or later.
    pub fn s6_log(size: u64, tolerance: u64) -> Rule {
        Rule::Lines { from: size.saturating_sub(tolerance), hard: u64::MAX }
    }

    /// What to do with `waiting` in front of a file of this size. `chunks` are the ends of the chunks in it, of which the
    /// last one may be missing.
    pub fn next(self, size: u64, waiting: &[u8], chunks: &[usize]) -> Next {
        let length = waiting.len();
        match self {
            Rule::Lines { hard, .. } | Rule::Chunks { size: hard } if size >= hard => Next::Rotate,
            Rule::Lines { from, hard } => {
                let room = usize::try_from(hard - size).map_or(length, |room| room.min(length));
                let quiet = usize::try_from(from.saturating_sub(size)).unwrap_or(usize::MAX).saturating_sub(1);
                let later = waiting.get(quiet..room).and_then(|later| memchr(b'\n', later));
                later.map_or(Next::Write(room, false), |end| Next::Write(quiet + end + 1, true))
            }
            Rule::Chunks { size: full } => chunked(full, size, waiting, chunks),
        }
    }
}

/// As multilog: each chunk is cut where the file is full; if it comes near to that, behind its last line.
fn chunked(full: u64, size: u64, waiting: &[u8], chunks: &[usize]) -> Next {
    const NEAR: u64 = 2000;
    let reaches = |at: usize| size + at as u64 >= full - NEAR;
    if !reaches(waiting.len()) {
        return Next::Write(waiting.len(), false);
    }
    let mut from = 0;
    for &end in chunks.iter().chain([&waiting.len()]).filter(|end| **end > 0) {
        if !reaches(end) {
            from = end;
            continue;
        }
        let room = usize::try_from(full - size).unwrap_or(usize::MAX);
        let chunk = waiting.get(from..end.min(room)).unwrap_or_default();
        let length = memrchr(b'\n', chunk).map_or(chunk.len(), |last| last + 1);
        let ends_line = chunk.get(..length).is_some_and(|part| part.ends_with(b"\n"));
        let to = from + length;
        return Next::Write(to, ends_line && reaches(to));
    }
    Next::Write(waiting.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn svlogd_begins_a_file_behind_a_line_near_the_size_or_within_one_at_the_size() {
        let next = |size, at, waiting: &str| Rule::svlogd(size, 10).next(at, waiting.as_bytes(), &[]);
        assert_eq!(next(0, 1 << 40, "a\n"), Next::Write(2, false));
        assert_eq!(next(100, 0, "a\n"), Next::Write(2, false));
        assert_eq!(next(100, 88, "a\nb\n"), Next::Write(2, true));
        assert_eq!(next(100, 87, "a\nb\nc\n"), Next::Write(4, true));
        assert_eq!(next(100, 95, "abcdefgh\n"), Next::Write(5, false));
        assert_eq!(next(100, 95, "abcd\nefgh\n"), Next::Write(5, true));
        assert_eq!(next(100, 100, "a\n"), Next::Rotate);
        assert_eq!(Rule::svlogd(5, 10).next(0, b"ab\nabcd\n", &[]), Next::Write(5, false), "the line is the longer");
    }

    #[test]
    fn s6_log_never_cuts_a_line() {
        assert_eq!(Rule::s6_log(100, 10).next(95, b"abcdefgh\ni\n", &[]), Next::Write(9, true));
        assert_eq!(Rule::s6_log(100, 10).next(150, b"abc", &[]), Next::Write(3, false));
    }

    #[test]
    fn multilog_looks_at_chunks() {
        let next =
            |at, waiting: &str, chunks: &[usize]| Rule::Chunks { size: 4096 }.next(at, waiting.as_bytes(), chunks);
        assert_eq!(next(0, "a\n", &[2]), Next::Write(2, false));
        assert_eq!(next(2094, "a\nb\nc", &[5]), Next::Write(4, true), "the last line of the chunk");
        assert_eq!(next(2094, "a\nb\nc", &[2, 5]), Next::Write(2, true), "of the first chunk that is near");
        assert_eq!(next(2092, "a\nb\nc", &[2, 5]), Next::Write(4, true));
        assert_eq!(next(2095, "abc", &[3]), Next::Write(3, false));
        assert_eq!(next(4094, "abc\n", &[4]), Next::Write(2, false));
        assert_eq!(next(4096, "abc\n", &[4]), Next::Rotate);
    }

    /// What each line goes through in the real svlogd: byte by byte.
    fn byte_by_byte(size: u64, length: u64, text: &[u8]) -> Vec<Vec<u8>> {
        let mut files = vec![Vec::new()];
        for byte in text {
            let last = files.last_mut().expect("a file");
            if size > 0 && last.len() as u64 >= size {
                files.push(Vec::new());
            }
            let last = files.last_mut().expect("a file");
            last.push(*byte);
            if size > 0 && *byte == b'\n' && size.checked_sub(length).is_some_and(|near| last.len() as u64 >= near) {
                files.push(Vec::new());
            }
        }
        files
    }

    proptest! {
        #[test]
        fn many_lines_at_once_go_where_each_byte_would_have_gone(
            size in 0_u64..20, length in 1_u64..25, text in "[a\n]{0,80}", piece in 1_usize..30,
        ) {
            let mut files: Vec<Vec<u8>> = vec![Vec::new()];
            for mut waiting in text.as_bytes().chunks(piece) {
                while !waiting.is_empty() {
                    let last = files.last_mut().expect("a file");
                    match Rule::svlogd(size, length).next(last.len() as u64, waiting, &[]) {
                        Next::Rotate => files.push(Vec::new()),
                        Next::Write(count, rotate) => {
                            let (now, later) = waiting.split_at(count);
                            prop_assert!(count > 0);
                            last.extend(now);
                            waiting = later;
                            if rotate {
                                files.push(Vec::new());
                            }
                        }
                    }
                }
            }
            prop_assert_eq!(files, byte_by_byte(size, length, text.as_bytes()));
        }

        #[test]
        fn every_step_makes_progress(at in 0_u64..5000, text in "[a\n]{1,80}", cut in 0_usize..80) {
            let next = Rule::Chunks { size: 4096 }.next(at, text.as_bytes(), &[cut.min(text.len())]);
            match next {
                Next::Rotate => prop_assert!(at >= 4096),
                Next::Write(count, _) => prop_assert!(count > 0 && count <= text.len() && at + count as u64 <= 4096),
            }
        }
    }
}
