//! `s6-svstat`: how a service stands, in a line for people or in fields for scripts.

use super::{die, fatal, is_supervised, usage};
use crate::exit;
use crate::machine::{Exit, Phase, Pid, Signal, Want};
use crate::sys::{Errno, clock, fs};
use crate::tool::getopt::Options;
use crate::tool::print;
use crate::wire::status::any::{Format, LONGEST, Status};
use crate::wire::status::s6::READY;
use crate::wire::tai::Tai;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const NAME: &str = "s6-svstat";
const USAGE: &str = "[ -uwNrpest | -o up,wantedup,normallyup,ready,paused,pid,exitcode,signal,signum,updownsince,\
    readysince,updownfor,readyfor ] [ -n ] servicedir";
/// No more fields are told at once.
const MOST: usize = 16;

/// A field: its name, its letter or 0 if it has none, and what it says.
type Field = (&'static str, u8, fn(&Seen) -> String);

const FIELDS: [Field; 13] = [
    ("up", b'u', |seen| seen.is_up().to_string()),
    ("wantedup", b'w', |seen| (seen.status.want == Want::Up).to_string()),
    ("normallyup", b'N', |seen| seen.is_normally_up.to_string()),
    ("ready", b'r', |seen| (seen.status.pid.is_some() && seen.is_ready).to_string()),
    ("paused", 0, |seen| seen.status.paused.to_string()),
    ("pid", b'p', |seen| seen.pid().map_or(-1, |pid| pid.0).to_string()),
    ("exitcode", b'e', |seen| match seen.end() {
        Some(Exit::Code(code)) => code.to_string(),
        _ => "-1".into(),
    }),
    ("signal", b's', |seen| seen.signal().map_or("NA".into(), |signal| signal.name().unwrap_or("???").into())),
    ("signum", 0, |seen| seen.signal().map_or(-1, |signal| signal.0).to_string()),
    ("updownsince", 0, |seen| seen.label(seen.since)),
    ("readysince", 0, |seen| seen.label(seen.ready)),
    ("updownfor", b't', |seen| seen.seconds(seen.since).to_string()),
    ("readyfor", 0, |seen| seen.seconds(seen.ready).to_string()),
];

/// `s6-svstat [-uwNrpest | -o FIELDS] [-n] DIR`.
pub fn svstat(args: &[OsString]) -> i32 {
    let (mut fields, mut numbers) = (Vec::new(), false);
    let mut options = Options::new(NAME.as_bytes(), b"uwNrpesto:n", args).of_s6();
    for option in options.by_ref() {
        match option {
            Ok((b'n', _)) => numbers = true,
            Ok((b'o', names)) => {
                for name in names.split(|byte| *byte == b',') {
                    match FIELDS.iter().find(|(known, ..)| known.as_bytes() == name) {
                        Some((.., field)) => fields.push(*field),
                        None => return die(NAME, &[b"invalid option field: ", name], exit::USAGE),
                    }
                }
            }
            Ok((letter, _)) => {
                fields.extend(FIELDS.iter().filter(|(_, known, _)| *known == letter).map(|(.., it)| *it))
            }
            Err(()) => return usage(NAME, USAGE),
        }
    }
    if fields.len() > MOST {
        return die(NAME, &[b"too many option fields"], exit::USAGE);
    }
    let Some(dir) = options.rest().first() else { return usage(NAME, USAGE) };
    let seen = match Seen::of(dir) {
        Ok(seen) => seen,
        Err(code) => return code,
    };
    let line = if fields.is_empty() {
        seen.line(numbers)
    } else {
        fields.iter().map(|field| field(&seen)).collect::<Vec<_>>().join(" ")
    };
    print::stdout(&[line.as_bytes(), b"\n"]);
    exit::OK
}

/// What there is to be seen of a service.
struct Seen {
    status: Status,
    is_ready: bool,
    is_normally_up: bool,
    since: Tai,
    ready: Tai,
}

impl Seen {
    fn of(dir: &OsStr) -> Result<Seen, i32> {
        let unreadable = |errno| fatal(NAME, &[b"unable to read status for ", dir.as_bytes()], errno);
        if !is_supervised(dir).map_err(unreadable)? {
            let what = [b": unable to read status for ", dir.as_bytes(), b": s6-supervise not running"];
            return Err(die(NAME, &what, exit::FAILED));
        }
        let mut buffer = [0; LONGEST];
        let read = fs::read_into(&Path::new(dir).join("supervise/status"), &mut buffer).map_err(unreadable)?;
        let status = Status::decode(read).map_err(|_| unreadable(Errno::EPIPE))?;
        // The records of others count no leap seconds, and do not tell since when it is ready.
        let is_of_s6 = matches!(status.format, Format::S6 | Format::S6Long);
        let unpack = if is_of_s6 { Tai::unpack_s6 } else { Tai::unpack };
        let label = |at: usize| read.get(at..at + 12).and_then(|label| label.try_into().ok()).map(unpack);
        let flags = read.last().copied().filter(|_| read.len() > 20).unwrap_or_default();
        let since = label(0).unwrap_or_default();
        Ok(Seen {
            status,
            is_ready: flags & READY != 0,
            is_normally_up: !Path::new(dir).join("down").exists(),
            since,
            ready: label(12).filter(|_| is_of_s6).unwrap_or(since),
        })
    }

    fn is_up(&self) -> bool {
        self.status.phase == Phase::Run
    }

    fn pid(&self) -> Option<Pid> {
        self.status.pid.filter(|_| self.is_up())
    }

    /// How it ended, if it is down.
    fn end(&self) -> Option<Exit> {
        self.status.last_exit.filter(|_| !self.is_up())
    }

    fn signal(&self) -> Option<Signal> {
        match self.end()? {
            Exit::Signal { signal, .. } => Some(signal),
            Exit::Code(_) => None,
        }
    }

    fn label(&self, at: Tai) -> String {
        format!("@{}", at.digits_of_s6().map(char::from).iter().collect::<String>())
    }

    fn seconds(&self, at: Tai) -> i64 {
        let now = clock::wall();
        let mut seconds = now.as_secs().cast_signed() - at.unix;
        if now.subsec_nanos() < at.nanos {
            seconds -= 1;
        }
        seconds.max(0)
    }

    fn line(&self, numbers: bool) -> String {
        let Seen { status, is_normally_up, .. } = self;
        let (up, wants_up) = (self.is_up(), status.want == Want::Up);
        let mut line = match (self.pid(), self.end()) {
            (Some(pid), _) => format!("up (pid {pid})"),
            (None, Some(Exit::Signal { signal, .. })) => {
                let number = signal.0.to_string();
                let name = if numbers { &number } else { signal.name().unwrap_or(&number) };
                format!("down (signal {name})")
            }
            (None, Some(Exit::Code(code))) => format!("down (exitcode {code})"),
            (None, None) => "down (exitcode 0)".into(),
        };
        let _ = write!(line, " {} seconds", self.seconds(self.since));
        for (holds, word) in [
            (up && !is_normally_up, "normally down"),
            (!up && *is_normally_up, "normally up"),
            (status.paused, "paused"),
            (!up && wants_up, "want up"),
            (up && !wants_up, "want down"),
        ] {
            if holds {
                let _ = write!(line, ", {word}");
            }
        }
        if self.is_ready {
            let _ = write!(line, ", ready {} seconds", self.seconds(self.ready));
        }
        line
    }
}
