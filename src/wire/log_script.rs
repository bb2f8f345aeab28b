//! The words behind `multilog` and `s6-log`: what becomes of each line.
//!
//! Sources: multilog(8), `multilog.c` of daemontools 0.76, and the documentation and behaviour of s6-log 2.11.

use super::log_pattern;
use std::time::Duration;

/// A directory of log files, with what the words before it say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// Its path.
    pub path: Vec<u8>,
    /// A file is closed at so many bytes.
    pub size: u64,
    /// multilog: so many files are kept, the current one included. s6-log: so many closed ones.
    pub keep: u64,
    /// What is run on each closed file.
    pub processor: Option<Vec<u8>>,
    /// s6-log: a file is closed when so many bytes are missing to its size. multilog has 2000.
    pub tolerance: u64,
    /// s6-log: closed files together have at most so many bytes; 0: any number.
    pub total: u64,
    /// How long the next attempt is waited for when something fails.
    pub retry: Duration,
}

/// What multilog does with each line, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Selects it if it fits.
    Select(Vec<u8>),
    /// Deselects it if it fits.
    Deselect(Vec<u8>),
    /// Copies its first 200 bytes to standard error.
    Copy,
    /// Makes it the content of this file.
    Status(Vec<u8>),
    /// Writes it to this directory.
    Write(Directory),
}

/// The script of multilog.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Multilog {
    /// Each line begins with a time stamp.
    pub stamps: bool,
    /// What is done.
    pub actions: Vec<Action>,
}

impl Multilog {
    /// Reads the words. Those that it does not know are nothing.
    pub fn parse<W: AsRef<[u8]>>(words: &[W]) -> Multilog {
        let mut script = Multilog::default();
        let (mut size, mut keep, mut processor) = (99_999, 10, None);
        for (place, word) in words.iter().map(AsRef::as_ref).enumerate() {
            let Some((first, value)) = word.split_first() else { continue };
            let action = match first {
                b't' => {
                    script.stamps |= place == 0;
                    continue;
                }
                b's' => {
                    size = number(value).clamp(4096, 16_777_215);
                    continue;
                }
                b'n' => {
                    keep = number(value).max(2);
                    continue;
                }
                b'!' => {
                    processor = Some(value.to_vec());
                    continue;
                }
                b'+' => Action::Select(value.to_vec()),
                b'-' => Action::Deselect(value.to_vec()),
                b'e' => Action::Copy,
                b'=' => Action::Status(value.to_vec()),
                b'.' | b'/' => Action::Write(Directory {
                    path: word.to_vec(),
                    size,
                    keep,
                    processor: processor.clone(),
                    tolerance: 2000,
                    total: 0,
                    retry: Duration::from_secs(5),
                }),
                _ => continue,
            };
            script.actions.push(action);
        }
        script
    }

    /// What is done with a line: tells of each action that it is selected for, by its place.
    pub fn run(&self, line: &[u8], mut does: impl FnMut(usize)) {
        let mut selected = true;
        for (place, action) in self.actions.iter().enumerate() {
            match action {
                Action::Select(pattern) => selected = selected || log_pattern::multilog(pattern, line),
                Action::Deselect(pattern) => selected = selected && !log_pattern::multilog(pattern, line),
                _ if selected => does(place),
                _ => {}
            }
        }
    }
}

fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// What s6-log asks of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// `f`: it is selected if nothing has been done with it.
    Default,
    /// It is selected if this regular expression fits.
    Select(Vec<u8>),
    /// It is deselected if this regular expression fits.
    Deselect(Vec<u8>),
}

/// What s6-log does with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// `t`: it begins with a TAI64N label.
    pub label: bool,
    /// `T`: it begins with a date and a time, behind the label if there is one.
    pub date: bool,
    /// Where it goes.
    pub to: Place,
}

/// Where a line goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Standard output.
    Output,
    /// Standard error, as an alert, so many bytes of it; 0: all.
    Error(u64),
    /// It is the content of this file, of so many bytes; 0: as many as it has.
    Status(Vec<u8>, u64),
    /// A directory of log files.
    Directory(Directory),
}

/// Selections, and what is done with the line if it is selected then.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// In this order.
    pub selections: Vec<Selection>,
    /// In this order.
    pub deeds: Vec<Deed>,
}

/// The script of s6-log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct S6Log {
    /// In this order.
    pub blocks: Vec<Block>,
    /// The words at the end are for no action.
    pub is_open: bool,
}

/// What the words before an action say.
struct Settings {
    directory: Directory,
    alert: u64,
    status: u64,
    label: bool,
    date: bool,
}

impl S6Log {
    /// Reads the words. The error is what s6-log says behind `fatal: `.
    pub fn parse<W: AsRef<[u8]>>(words: &[W]) -> Result<S6Log, Vec<u8>> {
        let mut settings = Settings::new();
        let (mut script, mut block) = (S6Log::default(), Block::default());
        for word in words.iter().map(AsRef::as_ref) {
            let wrong = |what: &str| [what.as_bytes(), b": ", word].concat();
            let (first, value) = word.split_first().ok_or_else(|| wrong("unrecognized directive"))?;
            if matches!(first, b'f' | b't' | b'T' | b'1' | b'2' | b'e') && !value.is_empty() {
                return Err(wrong("syntax error at directive"));
            }
            let selection = match first {
                b'f' => Selection::Default,
                b'+' => Selection::Select(value.to_vec()),
                b'-' => Selection::Deselect(value.to_vec()),
                _ => {
                    if let Some(to) = settings.take(*first, value, word)? {
                        let (label, date) = (settings.label, settings.date);
                        (settings.label, settings.date) = (false, false);
                        block.deeds.push(Deed { label, date, to });
                    }
                    continue;
                }
            };
            if !block.deeds.is_empty() {
                script.blocks.push(std::mem::take(&mut block));
            }
            block.selections.push(selection);
        }
        if !block.deeds.is_empty() {
            script.blocks.push(block);
        } else if script.blocks.is_empty() {
            return Err(b"no action directive specified".to_vec());
        } else {
            script.is_open = true;
        }
        Ok(script)
    }

    /// The directories, in the order of the words.
    pub fn directories(&self) -> impl Iterator<Item = &Directory> {
        let deeds = self.blocks.iter().flat_map(|block| &block.deeds);
        deeds.filter_map(|deed| if let Place::Directory(directory) = &deed.to { Some(directory) } else { None })
    }
}

impl Settings {
    fn new() -> Settings {
        let directory = Directory {
            path: Vec::new(),
            size: 99_999,
            keep: 10,
            processor: None,
            tolerance: 2000,
            total: 0,
            retry: Duration::from_secs(2),
        };
        Settings { directory, alert: 200, status: 1001, label: false, date: false }
    }

    /// Takes a word that is no selection. An action is what comes of it.
    fn take(&mut self, first: u8, value: &[u8], word: &[u8]) -> Result<Option<Place>, Vec<u8>> {
        let unknown = || [b"unrecognized directive: ", word].concat();
        let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(unknown);
        let directory = &mut self.directory;
        match first {
            b'n' => directory.keep = number()?,
            b's' => directory.size = number()?.clamp(4096, 268_435_455),
            b'S' => directory.total = number()?,
            b'r' => directory.retry = Duration::from_millis(number()?),
            b'E' => self.alert = number()?,
            b'^' => self.status = number()?,
            b'l' => {
                directory.tolerance = number()?;
                if directory.tolerance > directory.size / 2 {
                    return Err([b"directive ", word, b" conflicts with previous s directive"].concat());
                }
            }
            b'!' => directory.processor = (!value.is_empty()).then(|| value.to_vec()),
            b't' => self.label = true,
            b'T' => self.date = true,
            b'1' => return Ok(Some(Place::Output)),
            b'2' | b'e' => return Ok(Some(Place::Error(self.alert))),
            b'=' if !value.is_empty() => return Ok(Some(Place::Status(value.to_vec(), self.status))),
            b'=' => return Err([b"syntax error at directive: ", word].concat()),
            b'.' | b'/' => {
                return Ok(Some(Place::Directory(Directory { path: word.to_vec(), ..directory.clone() })));
            }
            _ => return Err(unknown()),
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn multilog(words: &str) -> Multilog {
        Multilog::parse(&words.split(' ').collect::<Vec<_>>())
    }

    fn s6(words: &str) -> Result<S6Log, String> {
        let words: Vec<_> = words.split(' ').collect();
        S6Log::parse(&words).map_err(|error| String::from_utf8(error).expect("text"))
    }

    #[test]
    fn words_of_multilog_are_for_the_directories_behind_them() {
        let script = multilog("t s1 n1 ./a !gzip s99999999 ./b =st e zzz +x -y");
        assert!(script.stamps && !multilog("e t").stamps);
        let directories = script.actions.iter().filter_map(|action| match action {
            Action::Write(directory) => Some((directory.size, directory.keep, directory.processor.is_some())),
            _ => None,
        });
        assert_eq!(directories.collect::<Vec<_>>(), [(4096, 2, false), (16_777_215, 2, true)]);
        assert_eq!(script.actions.len(), 6);
    }

    #[test]
    fn actions_of_multilog_see_what_is_selected_where_they_stand() {
        let script = multilog("-* ./a +b* ./b -bb ./c");
        let done = |line: &str| {
            let mut places = Vec::new();
            script.run(line.as_bytes(), |place| places.push(place));
            places
        };
        assert_eq!([done("a"), done("b"), done("bb")], [vec![], vec![3, 5], vec![3]]);
    }

    #[test]
    fn a_script_of_s6_log_is_blocks_of_selections_and_actions() {
        let script = s6("t n3 s100000 ./a - +x T 1 f 2").expect("a script");
        let shape: Vec<_> = script.blocks.iter().map(|block| (block.selections.len(), block.deeds.len())).collect();
        assert_eq!(shape, [(0, 1), (2, 1), (1, 1)]);
        let stamps: Vec<_> =
            script.blocks.iter().flat_map(|block| &block.deeds).map(|deed| (deed.label, deed.date)).collect();
        assert_eq!(stamps, [(true, false), (false, true), (false, false)]);
        let kept: Vec<_> = script.directories().map(|directory| (directory.keep, directory.size)).collect();
        assert_eq!(kept, [(3, 100_000)]);
        assert!(!script.is_open && s6("1 +x").expect("a script").is_open);
    }

    #[test]
    fn what_s6_log_refuses_is_refused_in_its_words() {
        for (words, why) in [
            ("n5", "no action directive specified"),
            ("zz", "unrecognized directive: zz"),
            ("nx 1", "unrecognized directive: nx"),
            ("tt 1", "syntax error at directive: tt"),
            ("=", "syntax error at directive: ="),
            ("s5000 l4000 1", "directive l4000 conflicts with previous s directive"),
        ] {
            assert_eq!(s6(words), Err(why.to_owned()), "{words}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_a_script_or_are_refused(words: Vec<Vec<u8>>, line: Vec<u8>) {
            let actions = Multilog::parse(&words);
            actions.run(&line, |place| assert!(place < actions.actions.len()));
            if let Ok(script) = S6Log::parse(&words) {
                prop_assert!(script.blocks.iter().all(|block| !block.deeds.is_empty()));
            }
        }
    }
}
