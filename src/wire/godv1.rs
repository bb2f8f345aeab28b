//! What loaders say of their jobs (`godv1`, the protocol of watchgod), and `onitv1`, which is the same with a number in
//! front of each request and its answer. Both are arrays of strings in JSON, one after another, however they are laid out.

use super::json::{self, Value};
use std::time::Duration;

/// What Go writes for a list that was never made: watchgod's own loaders answer that in place of `[]`.
const NOTHING: &[u8] = b"null";
/// No message has more bytes.
pub const LONGEST: usize = 1 << 20;
/// The first word, and the second of the command line, of the one protocol; and of the other.
pub const GOD_WORD: &str = "godv1";
/// The other.
pub const ONIT_WORD: &str = "onitv1";
/// A loader with this variable may say hello with its value: whoever asks it knows that.
pub const VARIABLE: &str = "ONIT_LOADER";
/// A check that does not say when it is to be asked again is asked after this.
pub const CHECK_AGAIN: Duration = Duration::from_secs(1);
/// A job that does not say how long it may take to end gets KILL after this.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);
/// The longest span that an answer can ask for.
const LONGEST_SPAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Takes bytes as they come, and gives whole messages.
#[derive(Default, Debug)]
pub struct Reader {
    bytes: Vec<u8>,
    /// So many of them have been looked at, and are no whole message.
    seen: usize,
    is_in_string: bool,
    is_escaped: bool,
}

/// Why nothing more can be read: whatever follows, it is not known where a message begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Broken {
    /// It is longer than [`LONGEST`].
    TooLong,
    /// It is no array of strings; the cause.
    NoMessage(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Broken::TooLong => write!(to, "a message of more than {LONGEST} bytes"),
            Broken::NoMessage(why) => write!(to, "what is no array of strings ({why})"),
        }
    }
}

impl Reader {
    /// More bytes have come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message. `None`: it is not whole yet.
    pub fn message(&mut self) -> Result<Option<Vec<String>>, Broken> {
        if self.seen == 0 {
            let space = self.bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.bytes.drain(..space);
        }
        match self.bytes.get(..NOTHING.len()).unwrap_or(&self.bytes) {
            [] => return Ok(None),
            [b'[', ..] => {}
            NOTHING => {
                self.bytes.drain(..NOTHING.len());
                return Ok(Some(Vec::new()));
            }
            start if NOTHING.starts_with(start) => return Ok(None),
            _ => return Err(Broken::NoMessage("it begins with something else".into())),
        }
        let Some(end) = self.end() else {
            return if self.seen > LONGEST { Err(Broken::TooLong) } else { Ok(None) };
        };
        if end > LONGEST {
            return Err(Broken::TooLong);
        }
        let message: Vec<u8> = self.bytes.drain(..end).collect();
        self.seen = 0;
        strings(&message).map(Some).map_err(Broken::NoMessage)
    }

    /// Where the message ends, if it does: it is an array, so behind the first `]` that is not in a string.
    fn end(&mut self) -> Option<usize> {
        for (at, byte) in self.bytes.iter().enumerate().skip(self.seen) {
            match (self.is_in_string, byte) {
                (true, _) if self.is_escaped => self.is_escaped = false,
                (true, b'\\') => self.is_escaped = true,
                (_, b'"') => self.is_in_string = !self.is_in_string,
                (false, b']') => return Some(at + 1),
                _ => {}
            }
        }
        self.seen = self.bytes.len();
        None
    }
}

fn strings(message: &[u8]) -> Result<Vec<String>, String> {
    let Value::List(values) = Value::parse(message)? else { return Err("no array".into()) };
    let text = |value| if let Value::Text(text) = value { Some(text) } else { None };
    values.into_iter().map(text).collect::<Option<_>>().ok_or_else(|| "something in it is no string".into())
}

/// A message as it is sent, with a newline behind it.
pub fn message<W: json::Write>(words: &[W]) -> String {
    let mut text = json::text(words);
    text.push('\n');
    text
}

/// Which of the two a loader speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// One request at a time.
    God,
    /// Requests have numbers, and answers come in any order.
    Onit,
}

/// What a loader says first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// How it speaks.
    pub protocol: Protocol,
    /// Its jobs.
    pub jobs: Vec<String>,
}

impl Hello {
    /// Reads it. Or says why it is none.
    pub fn parse(words: Vec<String>) -> Result<Hello, String> {
        let mut words = words.into_iter();
        let protocol = match words.next().as_deref() {
            Some(GOD_WORD) => Protocol::God,
            Some(ONIT_WORD) => Protocol::Onit,
            Some(other) => return Err(format!("its first word is {other:?}, and neither godv1 nor onitv1")),
            None => return Err("it says an empty array".into()),
        };
        Ok(Hello { protocol, jobs: words.collect() })
    }
}

/// What is asked of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Property {
    /// Whether it starts by itself.
    Auto,
    /// What to run.
    Exec,
    /// With which environment.
    Env,
    /// How it is.
    Check,
    /// That it be stopped.
    Stop,
    /// What reads its output, as an `exec`.
    Log,
    /// The lines of its file `sockets`.
    Sockets,
}

impl Property {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Property::Auto => "auto",
            Property::Exec => "exec",
            Property::Env => "env",
            Property::Check => "check",
            Property::Stop => "stop",
            Property::Log => "log",
            Property::Sockets => "sockets",
        }
    }
}

/// When a job is started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Auto {
    /// When somebody says so.
    #[default]
    No,
    /// At once.
    Yes,
    /// When these are ready or done.
    After(Vec<String>),
}

impl From<bool> for Auto {
    fn from(yes: bool) -> Auto {
        if yes { Auto::Yes } else { Auto::No }
    }
}

impl<W: Into<String>, const N: usize> From<[W; N]> for Auto {
    fn from(others: [W; N]) -> Auto {
        Auto::After(others.into_iter().map(Into::into).collect())
    }
}

impl Auto {
    /// As it is answered.
    pub fn words(&self) -> Vec<String> {
        match self {
            Auto::No => vec!["false".into()],
            Auto::Yes => vec!["true".into()],
            Auto::After(others) => others.clone(),
        }
    }

    /// Reads an answer.
    pub fn parse(words: Vec<String>) -> Auto {
        match words.first().map(String::as_str) {
            None => Auto::No,
            Some("false") if words.len() == 1 => Auto::No,
            Some("true") if words.len() == 1 => Auto::Yes,
            Some(_) => Auto::After(words),
        }
    }
}

/// What is to be done with a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// It is well; it is asked again after this.
    Ok(Duration),
    /// It runs, but not as it should.
    Degrade(Duration),
    /// It does not work.
    Fail,
    /// It is to start.
    Start,
    /// It is to stop.
    Stop,
    /// It is to stop, and to start again.
    Restart,
}

/// An answer to [`Property::Check`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// It is about this job, and not about the one that was asked.
    pub other: Option<String>,
    /// What it says.
    pub command: Command,
}

impl Check {
    /// Reads an answer. `None`: the job has no check.
    pub fn parse(words: &[String]) -> Result<Option<Check>, String> {
        let mut rest = words.iter().map(String::as_str);
        let Some(first) = rest.next() else { return Ok(None) };
        let other = first.strip_prefix('@').map(str::to_owned);
        let word = if other.is_some() { rest.next().unwrap_or_default() } else { first };
        let unknown = || format!("{words:?} is no answer to check");
        let command = match word {
            "ok" => Command::Ok(span(rest.next(), CHECK_AGAIN).ok_or_else(unknown)?),
            "degrade" => Command::Degrade(span(rest.next(), CHECK_AGAIN).ok_or_else(unknown)?),
            "fail" => Command::Fail,
            "start" => Command::Start,
            "stop" => Command::Stop,
            "restart" => Command::Restart,
            _ => return Err(unknown()),
        };
        match rest.next() {
            Some(_) => Err(unknown()),
            None => Ok(Some(Check { other, command })),
        }
    }
}

/// Milliseconds, or what holds if they are not said.
fn span(word: Option<&str>, default: Duration) -> Option<Duration> {
    let Some(word) = word else { return Some(default) };
    word.parse().ok().map(|ms| Duration::from_millis(ms).min(LONGEST_SPAN))
}

/// An answer to [`Property::Stop`]. `None`: it gets INT, and has [`STOP_LIMIT`]; else it was told to stop, and has this
/// long.
pub fn stop(words: &[String]) -> Result<Option<Duration>, String> {
    match words {
        [] => Ok(None),
        [ms] => span(Some(ms), STOP_LIMIT).map(Some).ok_or_else(|| format!("{words:?} is no answer to stop")),
        _ => Err(format!("{words:?} is no answer to stop")),
    }
}

/// What to run, with a program in front.
pub fn exec(words: Vec<String>) -> Result<Vec<String>, String> {
    match words.first() {
        None => Err("it does not say what to run".into()),
        Some(program) if program.is_empty() => Err("the program to run has no name".into()),
        Some(_) if words.iter().any(|word| word.contains('\0')) => Err("a NUL is in what to run".into()),
        Some(_) => Ok(words),
    }
}

/// Variables, each as `NAME=VALUE`; none means that the environment is inherited.
pub fn env(words: Vec<String>) -> Result<Vec<String>, String> {
    let is_variable = |word: &&String| word.find('=').is_some_and(|at| at > 0) && !word.contains('\0');
    match words.iter().find(|word| !is_variable(word)) {
        Some(bad) => Err(format!("{bad:?} is no NAME=VALUE")),
        None => Ok(words),
    }
}

/// Whether a job can have this name: it is that of a directory, and of a service.
pub fn is_job_name(name: &str) -> bool {
    let is_plain = !name.is_empty() && name.len() <= 55 && !name.starts_with(['.', '@']) && !name.ends_with('@');
    is_plain && !name.contains(|letter: char| letter == '/' || letter.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn all(text: &str, piece: usize) -> Result<Vec<Vec<String>>, Broken> {
        let (mut reader, mut messages) = (Reader::default(), Vec::new());
        for bytes in text.as_bytes().chunks(piece) {
            reader.push(bytes);
            while let Some(message) = reader.message()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_whole_however_they_are_cut_and_laid_out() {
        let text = " [\"godv1\",\n\t\"a]\\\"b\" , \"\\u00e4\\\\\"]\r\n[][ ]\n\n[\"x\"]";
        for piece in 1..text.len() {
            let expected = vec![words(&["godv1", "a]\"b", "ä\\"]), vec![], vec![], words(&["x"])];
            assert_eq!(all(text, piece), Ok(expected), "{piece}");
        }
        assert_eq!(all("[\"not yet", 3), Ok(vec![]));
    }

    #[test]
    fn null_is_an_empty_message() {
        for piece in 1..9 {
            assert_eq!(all("null\n[\"a\"]null", piece), Ok(vec![vec![], words(&["a"]), vec![]]), "{piece}");
        }
        assert_eq!(all("nul", 1), Ok(vec![]));
        assert!(all("nuts", 1).is_err() && all("n1", 2).is_err());
    }

    #[test]
    fn what_is_no_array_of_strings_ends_the_reading() {
        for text in ["{}", "x", "[1]", "[[\"a\"]]", "[\"a\" \"b\"]", "[\"a\",]", "[\"\\x\"]", "[null]"] {
            assert!(matches!(all(text, 1), Err(Broken::NoMessage(_))), "{text}");
        }
        assert!(all("[\"a\"]x", 9).is_err());
    }

    #[test]
    fn a_message_may_be_so_long_and_no_longer() {
        let fits = format!("[\"{}\"]", "x".repeat(LONGEST - 4));
        assert_eq!(all(&fits, 65_536).map(|messages| messages.len()), Ok(1));
        let longer = format!("[\"{}\"]", "x".repeat(LONGEST - 3));
        assert_eq!(all(&longer, 65_536), Err(Broken::TooLong));
        assert_eq!(all(&format!("[\"{}", "x".repeat(2 * LONGEST)), 65_536), Err(Broken::TooLong));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let said = words(&["a", "", "new\nline", "\u{1}\"\\", "ä𝄞"]);
        assert_eq!(all(&message(&said), 2), Ok(vec![said]));
    }

    #[test]
    fn a_hello_names_a_protocol_and_jobs() {
        let hello = Hello::parse(words(&["onitv1", "a", "b"])).expect("one");
        assert_eq!((hello.protocol, hello.jobs), (Protocol::Onit, words(&["a", "b"])));
        assert_eq!(Hello::parse(words(&["godv1"])).map(|hello| hello.jobs.len()), Ok(0));
        assert!(Hello::parse(vec![]).is_err() && Hello::parse(words(&["godv2", "a"])).is_err());
    }

    #[test]
    fn an_answer_to_auto_says_when() {
        let of = |said: &[&str]| Auto::parse(words(said));
        assert_eq!([of(&[]), of(&["false"]), of(&["true"])], [Auto::No, Auto::No, Auto::Yes]);
        assert_eq!(of(&["db", "true"]), Auto::After(words(&["db", "true"])));
    }

    #[test]
    fn an_answer_to_check_is_a_command_for_this_job_or_another() {
        let of = |said: &[&str]| Check::parse(&words(said));
        let own = |command| Ok(Some(Check { other: None, command }));
        let ms = Duration::from_millis;
        assert_eq!(of(&[]), Ok(None));
        assert_eq!((of(&["ok"]), of(&["ok", "20"])), (own(Command::Ok(ms(1000))), own(Command::Ok(ms(20)))));
        assert_eq!(of(&["degrade", "7"]), own(Command::Degrade(ms(7))));
        assert_eq!((of(&["fail"]), of(&["stop"])), (own(Command::Fail), own(Command::Stop)));
        let other = Check { other: Some("db".into()), command: Command::Restart };
        assert_eq!(of(&["@db", "restart"]), Ok(Some(other)));
        for bad in [&["fine"][..], &["ok", "soon"], &["ok", "1", "2"], &["fail", "1"], &["@db"], &["ok", "-1"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        assert_eq!(of(&["ok", "18446744073709551615"]), own(Command::Ok(LONGEST_SPAN)));
    }

    #[test]
    fn answers_about_starting_and_stopping() {
        assert_eq!((stop(&[]), stop(&words(&["30"]))), (Ok(None), Ok(Some(Duration::from_millis(30)))));
        assert!(stop(&words(&["x"])).is_err() && stop(&words(&["1", "2"])).is_err());
        assert!(exec(vec![]).is_err() && exec(words(&[""])).is_err() && exec(words(&["a", "\0"])).is_err());
        assert_eq!(env(words(&["A=", "B=c=d"])), Ok(words(&["A=", "B=c=d"])));
        assert!(env(words(&["=a"])).is_err() && env(words(&["A"])).is_err() && env(words(&["A=\0"])).is_err());
    }

    #[test]
    fn the_name_of_a_job_is_that_of_a_directory_and_of_a_service() {
        assert!(["web", "web@1", "ä b"].iter().all(|name| is_job_name(name)));
        assert!(["", ".web", "web@", "@web", "a/b", "a\nb", &"x".repeat(56)].iter().all(|name| !is_job_name(name)));
    }
}
