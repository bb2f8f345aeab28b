//! `onit logs`: the last lines of the logs of services, merged by time, and what is added to them.

use super::connect::{CliError, Connection, Target, Via};
use super::newcomer::is_service;
use super::term::{self, Colour, Paint};
use super::{detail, format};
use crate::client::ErrorKind;
use crate::client::find::same;
use crate::client::log_files::{Line, LogFiles, Range, merge, of_calendar};
use crate::client::stream::{Said, Stream};
use crate::exit;
use crate::helpers::mux::lines::{Form, Style};
use crate::machine::Mono;
use crate::sys::poll::Poller;
use crate::sys::say::say;
use crate::sys::watch::{Watch, Writes};
use crate::sys::{clock, fs, process};
use crate::wire::stamp::{When, when};
use crate::wire::tai::Tai;
use argh::{ArgsInfo, FromArgs};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// So many lines of each service are shown, if nothing else is asked for.
const LINES: u64 = 10;
/// What is written at a time.
const BATCH: usize = 64 * 1024;
/// How often is looked where nothing tells of changes, and where something does.
const UNTOLD: Duration = Duration::from_millis(250);
const TOLD: Duration = Duration::from_secs(2);
/// A new service is looked for so long: its supervisor needs a moment.
const NEW: Duration = Duration::from_secs(5);
/// Each log is an open file or two.
const OPEN_FILES: u64 = 65536;

/// The last lines of the logs of all services, or of those that are named, merged by time. Of a service without a logger
/// they come from the supervisor, if it reads them ("onit run --prefix"). Exit code 1: there is no log of any of them.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Logs {
    /// names and globs
    #[argh(positional, arg_name = "SVC")]
    services: Vec<String>,
    /// go on, and show what is added, also by new services if none is named
    #[argh(switch, short = 'f')]
    follow: bool,
    /// show N lines of each service at most, or "all" (default: 10; all with --since)
    #[argh(option, short = 'n', arg_name = "N", from_str_fn(count))]
    lines: Option<Count>,
    /// not what is older: 10m, 2h, 1d, 2026-11-29, "2026-11-29 10:00", @UNIX
    #[argh(option, arg_name = "T", from_str_fn(moment))]
    since: Option<Tai>,
    /// not what is younger
    #[argh(option, arg_name = "T", from_str_fn(moment))]
    until: Option<Tai>,
    /// show when each line was logged, in local time
    #[argh(switch, short = 't')]
    timestamps: bool,
    /// do not show whose line it is
    #[argh(switch)]
    no_prefix: bool,
    /// for programs: an object a line
    #[argh(switch)]
    json: bool,
    /// when there is colour: auto, always, never
    #[argh(option, arg_name = "WHEN", default = "Colour::Auto")]
    color: Colour,
}

/// Single letters may stand behind one `-`, and a number behind `-n`, as with tail(1).
pub fn split(args: &[OsString]) -> Vec<OsString> {
    let apart = |arg: &OsString| -> Vec<OsString> {
        let letters = arg.to_str().and_then(|arg| arg.strip_prefix('-')).unwrap_or_default();
        let (switches, number) = letters.split_once('n').map_or((letters, None), |(before, n)| (before, Some(n)));
        let is_count = |number: &str| number == "all" || number.bytes().all(|digit| digit.is_ascii_digit());
        let is_number = number.is_none_or(is_count);
        if !switches.bytes().all(|letter| matches!(letter, b'f' | b't')) || !is_number || letters.len() < 2 {
            return vec![arg.clone()];
        }
        let switches = switches.chars().map(|letter| format!("-{letter}").into());
        let number = number.map(|number| ["-n", number].map(OsString::from));
        switches.chain(number.into_iter().flatten().filter(|word| !word.is_empty())).collect()
    };
    args.iter().flat_map(apart).collect()
}

/// How many lines; `None`: all.
#[derive(Clone, Copy, Debug)]
struct Count(Option<u64>);

fn count(text: &str) -> Result<Count, String> {
    let number = || text.parse().map(Some).map_err(|_| format!("\"{text}\" is no number of lines, and not \"all\""));
    if text == "all" { Ok(Count(None)) } else { number().map(Count) }
}

fn moment(text: &str) -> Result<Tai, String> {
    let now = clock::wall();
    let wrong = || format!("\"{text}\" is no time: 10m, 2h, 1d, 2026-11-29, \"2026-11-29 10:00\", @UNIX");
    Ok(match when(text).ok_or_else(wrong)? {
        When::Ago(span) => Tai::after_1970(now.saturating_sub(span)),
        When::Unix(unix) => Tai { unix, nanos: 0 },
        When::Local(civil) => Tai { unix: of_calendar(civil), nanos: 0 },
    })
}

/// The log of a service, or of several that share a logger.
struct Source {
    names: Vec<String>,
    target: Target,
    path: Option<PathBuf>,
    log: Option<Log>,
    is_watched: bool,
    is_wrong: bool,
}

/// Where its lines come from.
enum Log {
    Files(LogFiles),
    /// It has no logger: what the supervisor has read.
    Said(VecDeque<Line>),
}

impl Log {
    fn next(&mut self) -> Option<Line> {
        match self {
            Log::Files(files) => files.next(),
            Log::Said(lines) => lines.pop_front(),
        }
    }
}

impl Logs {
    /// Shows them. Returns the exit code.
    pub fn run(&self) -> i32 {
        if self.follow && self.until.is_some() {
            let why = "logs: --until ends what -f goes on with: only one of them (\"onit help logs\" says more)";
            return CliError::new(exit::USAGE, why).report();
        }
        process::raise_open_files(OPEN_FILES);
        let start = Tai::after_1970(clock::wall());
        let mut talk = Connection::open();
        let (targets, mut code) = match self.targets(&mut talk) {
            Ok(found) => found,
            Err(trouble) => return trouble.report(),
        };
        let (mut sources, mut bare) = (Vec::new(), Vec::new());
        for target in targets {
            match self.add(&mut talk, &mut sources, target) {
                Ok(None) => {}
                Ok(Some(name)) => bare.push(name),
                Err(trouble) => code = code.max(trouble.report()),
            }
        }
        let stream = self.open_stream(&bare, &mut sources);
        if sources.is_empty() && !(self.follow && self.services.is_empty()) {
            return if code == exit::OK { exit::FAILED } else { code };
        }
        let count = self.lines.map_or_else(|| self.since.is_none().then_some(LINES), |Count(count)| count);
        let range = Range { count, since: self.since, until: self.until };
        sources.iter_mut().for_each(|source| source.open(range, self.follow));
        let shown = self.show(&mut sources);
        let end = if self.follow { shown.and_then(|()| self.go_on(talk, sources, stream, start)) } else { shown };
        end.map_or_else(|code| code, |()| code)
    }

    /// What services without a logger say. If nobody reads that, they are told of.
    fn open_stream(&self, bare: &[String], sources: &mut Vec<Source>) -> Option<Stream> {
        if bare.is_empty() && !(self.follow && self.services.is_empty()) {
            return None;
        }
        let talk = Connection::open();
        let why = match talk.api.map(Stream::open) {
            Some(Ok((stream, said))) => {
                sources.extend(bare.iter().map(|name| Source::said(name)));
                put_to(sources, said);
                return Some(stream);
            }
            Some(Err(error)) => {
                Some(error).filter(|error| error.kind() != ErrorKind::Declined).map(|error| error.why())
            }
            None => talk.forbidden.map(|(path, why)| format!("{}: {why}", path.display())),
        };
        report_bare(bare, why.as_deref());
        None
    }

    /// The services. The logs of what no supervisor looks after can be read all the same.
    fn targets(&self, talk: &mut Connection) -> Result<(Vec<Target>, i32), CliError> {
        if !self.services.is_empty() {
            return Ok(talk.targets(&self.services));
        }
        let trouble = match talk.everything() {
            Ok(all) => {
                let own = all.iter().filter(|service| !service.logger);
                return Ok((own.map(|service| talk.target(&service.name)).collect(), exit::OK));
            }
            Err(trouble) => trouble,
        };
        let names = fs::open_path(&talk.directory).and_then(fs::names).unwrap_or_default();
        let mut names: Vec<String> = names
            .iter()
            .filter(|name| is_service(name) && talk.directory.join(name).is_dir())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort_unstable_by(|one, other| term::by_name(one, other));
        if names.is_empty() {
            return Err(trouble);
        }
        let target = |name: String| Target { way: Via::Files(talk.directory.join(&name)), name };
        Ok((names.into_iter().map(target).collect(), exit::OK))
    }

    /// Adds the log of a service to the others, unless it is one of them. Returns the name of one without a logger.
    fn add(
        &self,
        talk: &mut Connection,
        sources: &mut Vec<Source>,
        target: Target,
    ) -> Result<Option<String>, CliError> {
        let service = talk.look(&target);
        if let Err(trouble) = &service
            && !self.services.is_empty()
            && !talk.place(&target).is_dir()
        {
            return Err(trouble.clone());
        }
        let service = service.ok();
        let path = match detail::log_file(talk, &target, service.as_ref()) {
            Some(path) => path,
            None if is_shared(&talk.directory, &talk.place(&target)) => {
                detail::own_log_file(talk, &target, service.as_ref())
            }
            None => return Ok(Some(target.name)),
        };
        match sources.iter_mut().find(|source| is_same_log(source.path.as_deref(), path.as_deref())) {
            Some(source) if target.name == source.target.name => {}
            Some(source) => source.names.push(target.name),
            None => {
                let names = vec![target.name.clone()];
                sources.push(Source { names, target, path, log: None, is_watched: false, is_wrong: false });
            }
        }
        Ok(None)
    }

    /// Shows all lines that have come.
    fn show(&self, sources: &mut [Source]) -> Result<(), i32> {
        let labels: Vec<String> = sources.iter().map(|source| source.names.join(",")).collect();
        let width = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
        let look = Look { terminal: std::io::stdout().is_terminal(), paint: self.color.paint(), width };
        let mut out = Vec::new();
        let more = |at: usize| sources.get_mut(at)?.log.as_mut()?.next();
        merge(labels.len(), more, |at, line| {
            self.put(&mut out, (at, labels.get(at).map_or("", |label| label)), &line, look);
            if out.len() < BATCH {
                return Ok(());
            }
            term::report_bytes(&std::mem::take(&mut out))
        })?;
        if out.is_empty() { Ok(()) } else { term::report_bytes(&out) }
    }

    fn put(&self, out: &mut Vec<u8>, (number, label): (usize, &str), line: &Line, look: Look) {
        if self.json {
            let style = Style { form: Form::Json, colour: false, width: 0 };
            let at = Duration::new(line.at.unix.try_into().unwrap_or_default(), line.at.nanos);
            return style.push(out, label.as_bytes(), line.is_error, &line.text, at);
        }
        if !self.no_prefix {
            let mark = if line.is_error { '!' } else { '|' };
            let label = format!("{:<width$} {mark}", term::cut(label, usize::MAX), width = look.width);
            out.extend_from_slice(look.paint.one_of_many(number, &label).as_bytes());
            out.push(b' ');
        }
        if self.timestamps {
            let millis = line.at.nanos / 1_000_000;
            out.extend(format!("{}.{millis:03} ", format::moment(line.at.unix as f64)).bytes());
        }
        out.extend(term::escaped(&line.text, look.terminal));
        out.push(b'\n');
    }

    /// Shows what is added, until it is ended.
    fn go_on(
        &self,
        mut talk: Connection,
        mut sources: Vec<Source>,
        stream: Option<Stream>,
        start: Tai,
    ) -> Result<(), i32> {
        let (mut watching, mut poller) = match (Watching::new(&talk.directory), Poller::new()) {
            (watching, Ok(poller)) => (watching, poller),
            (_, Err(errno)) => {
                return Err(CliError::new(exit::SYSTEM, format!("cannot wait: {}", errno.desc())).report());
            }
        };
        watching.join(&poller);
        let mut said = Following::new(stream, &poller);
        let later = Range { since: Some(start), ..Range::default() };
        loop {
            let now = clock::now();
            if self.services.is_empty() && watching.may_have_new(now) {
                self.add_new(&mut talk, &mut sources);
            }
            self.add_said(said.take(&poller, now), &mut sources);
            for source in &mut sources {
                if matches!(source.log, Some(Log::Said(_))) {
                    continue;
                }
                if source.path.is_none() {
                    source.find(&mut talk);
                }
                source.is_watched = watching.add(source);
                match &mut source.log {
                    Some(Log::Files(log)) => log.look(),
                    Some(Log::Said(_)) => {}
                    None => source.open(later, true),
                }
            }
            self.show(&mut sources)?;
            let is_told =
                sources.iter().all(|source| source.is_watched && source.log.is_some()) && watching.is_quiet(now);
            let _ = poller.wait(now, Some(now.after(if is_told { TOLD } else { UNTOLD }))).count();
            watching.take(clock::now());
        }
    }

    /// Adds what services without a logger have said, also those that are new if none is named.
    fn add_said(&self, said: Vec<Said>, sources: &mut Vec<Source>) {
        for one in &said {
            if self.services.is_empty() && !sources.iter().any(|source| source.names.contains(&one.service)) {
                sources.push(Source::said(&one.service));
            }
        }
        put_to(sources, said);
    }

    /// Adds what has come to the services since.
    fn add_new(&self, talk: &mut Connection, sources: &mut Vec<Source>) {
        let Ok((targets, _)) = self.targets(talk) else {
            *talk = Connection::open();
            return;
        };
        for target in targets {
            if !sources.iter().any(|source| source.names.contains(&target.name)) {
                let _ = self.add(talk, sources, target); // one without a logger shows nothing
            }
        }
    }
}

/// How lines are shown.
#[derive(Clone, Copy)]
struct Look {
    terminal: bool,
    paint: Paint,
    width: usize,
}

/// Gives each source its lines.
fn put_to(sources: &mut [Source], said: Vec<Said>) {
    for Said { service, line } in said {
        let source = sources.iter_mut().find(|source| source.names.contains(&service));
        if let Some(Log::Said(lines)) = source.and_then(|source| source.log.as_mut()) {
            lines.push_back(line);
        }
    }
}

/// Says who has no logger, how to get one, and what else is wrong.
fn report_bare(names: &[String], why: Option<&str>) {
    let Some((first, others)) = names.split_first() else { return };
    let more = if others.len() > 5 { format!(", and {} more", others.len() - 5) } else { String::new() };
    let shown = others.iter().take(5).fold(first.clone(), |list, name| list + ", " + name);
    let verb = if others.is_empty() { "has" } else { "have" };
    let way = match why {
        None => ": make a log/run, as \"onit new --log DIR\" does, or start onit with --prefix".to_owned(),
        Some(why) => format!(", and what the supervisor has read cannot be had: {why}"),
    };
    say(format_args!("onit: {}{more} {verb} no logger{way}", term::cut(&shown, usize::MAX)));
}

fn is_same_log(one: Option<&Path>, other: Option<&Path>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    one.file_name() == other.file_name()
        && one.parent().zip(other.parent()).is_some_and(|(one, other)| same(one, other))
}

/// Whether the `log` of another service is a link to this one.
fn is_shared(directory: &Path, place: &Path) -> bool {
    let names = fs::open_path(directory).and_then(fs::names).unwrap_or_default();
    names.iter().map(|name| directory.join(name).join("log")).any(|log| log.is_symlink() && same(&log, place))
}

impl Source {
    /// A service without a logger.
    fn said(name: &str) -> Source {
        let target = Target { name: name.to_owned(), way: Via::Api };
        let log = Some(Log::Said(VecDeque::new()));
        Source { names: vec![name.to_owned()], target, path: None, log, is_watched: true, is_wrong: false }
    }

    /// Opens its log, if there is one; of what has been read already, only that remains.
    fn open(&mut self, range: Range, follow: bool) {
        if let Some(Log::Said(lines)) = &mut self.log {
            lines.retain(|line| range.since.is_none_or(|since| line.at >= since));
            lines.retain(|line| range.until.is_none_or(|until| line.at <= until));
            let most = range.count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
            lines.drain(..lines.len().saturating_sub(most));
        }
        let Some(path) = &self.path else { return };
        match LogFiles::new(path, range, follow) {
            Ok(log) => self.log = Some(Log::Files(log)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if !self.is_wrong => {
                say(format_args!("onit: {}: cannot read {}: {error}", self.names.join(","), path.display()));
                self.is_wrong = true;
            }
            Err(_) => {}
        }
    }

    /// Looks again where its log is: its logger may have made it meanwhile.
    fn find(&mut self, talk: &mut Connection) {
        let service = talk.look(&self.target).ok();
        self.path = detail::log_file(talk, &self.target, service.as_ref()).flatten();
    }
}

/// What services without a logger say, for as long as it comes.
struct Following {
    stream: Option<Stream>,
    /// It is asked for again then: it was there.
    again: Option<Mono>,
}

impl Following {
    fn new(stream: Option<Stream>, poller: &Poller) -> Following {
        let stream = stream.filter(|stream| poller.add(stream, 2).is_ok());
        Following { stream, again: None }
    }

    /// What has come since.
    fn take(&mut self, poller: &Poller, now: Mono) -> Vec<Said> {
        if self.again.take_if(|again| *again <= now).is_some() {
            match Connection::open().api.map(Stream::open) {
                Some(Ok((stream, said))) => {
                    *self = Following::new(Some(stream), poller);
                    return said;
                }
                _ => self.again = Some(now.after(TOLD)),
            }
        }
        match self.stream.as_mut().map(Stream::more) {
            Some(Ok(said)) => said,
            Some(Err(_)) => {
                (self.stream, self.again) = (None, Some(now.after(UNTOLD)));
                Vec::new()
            }
            None => Vec::new(),
        }
    }
}

/// What tells of new lines and of new services.
struct Watching {
    writes: Option<Writes>,
    services: Option<Watch>,
    /// There may be new ones until then.
    until: Mono,
}

impl Watching {
    fn new(directory: &Path) -> Watching {
        // Some may have come after they were listed and before they are watched.
        let until = clock::now().after(NEW);
        Watching { writes: Writes::new().ok(), services: Watch::new(directory).ok(), until }
    }

    fn join(&mut self, poller: &Poller) {
        self.writes.take_if(|writes| poller.add(&*writes, 0).is_err());
        self.services.take_if(|services| poller.add(&*services, 1).is_err());
    }

    /// Watches the directory of a log. It may be another one than before.
    fn add(&self, source: &Source) -> bool {
        let directory = source.path.as_ref().and_then(|path| path.parent()?.to_str());
        matches!((&self.writes, directory), (Some(writes), Some(directory)) if writes.add(directory).is_ok())
    }

    fn may_have_new(&self, now: Mono) -> bool {
        self.services.is_none() || now < self.until
    }

    fn is_quiet(&self, now: Mono) -> bool {
        !self.may_have_new(now)
    }

    /// Takes what has been told.
    fn take(&mut self, now: Mono) {
        if let Some(writes) = &self.writes {
            let _ = writes.of("");
        }
        if self.services.as_ref().is_some_and(|services| !services.changes().is_empty()) {
            self.until = now.after(NEW);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_a_number_may_stand_together() {
        let split =
            |words: &[&str]| super::split(&words.iter().map(OsString::from).collect::<Vec<_>>()).join(" ".as_ref());
        assert_eq!(split(&["-fn5", "-n", "3", "-tn", "7"]), *"-f -n 5 -n 3 -t -n 7");
        assert_eq!(
            split(&["-n12", "-nall", "-f", "-", "--no-prefix", "-h", "-tf", "fn"]),
            *"-n 12 -n all -f - --no-prefix -h -t -f fn"
        );
    }

    #[test]
    fn counts_and_moments_are_read() {
        assert!(matches!((count("3"), count("all"), count("x")), (Ok(Count(Some(3))), Ok(Count(None)), Err(_))));
        assert_eq!(moment("@5"), Ok(Tai { unix: 5, nanos: 0 }));
        let ago = moment("1h").expect("a time").unix;
        let now = clock::wall().as_secs().cast_signed();
        assert!((now - 3700..=now - 3500).contains(&ago));
        assert!(moment("yesterday").is_err_and(|why| why.contains("\"yesterday\" is no time")));
    }
}
