//! The small files of a service directory: one fact per file.
//!
//! Source: s6's service directory. As there, only the first line counts, and a value that does not parse as a
//! whole is no value: the default holds and a warning names the file.

use crate::machine::Exit;
pub use crate::machine::Signal;
use crate::machine::main_process::Rewrite;
pub use crate::machine::policy::{Essential, KillMode};
pub use crate::machine::probe::{HealthAction, HealthPolicy};
pub use crate::machine::readiness::Readiness;
pub use crate::machine::restart::{Backoff, MaxRestarts, Restart, SuccessCodes};
pub use crate::wire::status::Format as StatusFormat;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number, as it stands in a file.
pub type Number = u32;

/// Where the service directories are, if nothing says otherwise.
pub const SERVICES: &str = "/etc/service";

/// A time in a file that s6 defines: a bare number is milliseconds and 0 is for ever; `500ms`, `10s`, `5m` and
/// `1h` are understood too. `None` when it is neither.
pub fn limit(text: &str) -> Option<Option<Duration>> {
    let line = first_line(text);
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = line.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let span = match unit {
        "" | "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    };
    u64::try_from(span.as_millis()).ok()?; // so that it can be written again
    Some((number != 0).then_some(span))
}

/// How long something may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// This long, in whole milliseconds: what is left of one counts as one.
    After(Duration),
    /// For ever.
    Never,
}

impl Limit {
    /// As [`limit`].
    pub fn parse(text: &str) -> Option<Limit> {
        limit(text).map(Limit::from)
    }
}

impl fmt::Display for Limit {
    /// As in a file that s6 defines: in milliseconds, and 0 is for ever. So there is no way to say no time at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::After(Duration::ZERO) => f.write_str("no time"),
            Limit::After(time) => milliseconds(*time).fmt(f),
            Limit::Never => f.write_str("0"),
        }
    }
}

impl From<Duration> for Limit {
    fn from(time: Duration) -> Limit {
        Limit::After(time)
    }
}

impl From<Option<Duration>> for Limit {
    fn from(limit: Option<Duration>) -> Limit {
        limit.map_or(Limit::Never, Limit::After)
    }
}

impl From<Limit> for Option<Duration> {
    fn from(limit: Limit) -> Option<Duration> {
        match limit {
            Limit::After(time) => Some(time),
            Limit::Never => None,
        }
    }
}

/// A time in a file that onit defines: it has a unit, `500ms`, `10s`, `5m` or `1h`, and 0 is no time at all.
pub fn span(text: &str) -> Option<Duration> {
    let has_unit = text.ends_with(|c: char| c.is_ascii_lowercase());
    if has_unit && !text.contains('\n') { limit(text).map(Option::unwrap_or_default) } else { None }
}

/// How such a time is written, in the largest unit that leaves nothing over.
pub fn span_text(span: Duration) -> String {
    let ms = milliseconds(span);
    let units = [(3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let fits = units.iter().find(|(unit, _)| ms != 0 && ms.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// As many bytes of a value are quoted.
const QUOTED: usize = 64;

/// A value as it is quoted: not all of it if it is none for people.
pub fn excerpt(text: &str) -> std::borrow::Cow<'_, str> {
    match (0..=QUOTED).rev().find_map(|length| text.get(..length)) {
        Some(start) if text.len() > QUOTED => format!("{start}…").into(),
        _ => text.into(),
    }
}

/// A signal by name or number, see [`Signal::named`].
pub fn signal(text: &str) -> Option<Signal> {
    Signal::named(first_line(text))
}

/// How a signal is written: by name, or by number where it has none.
pub fn signal_text(signal: &Signal) -> String {
    signal.name().and_then(|name| name.strip_prefix("SIG")).map_or_else(|| signal.0.to_string(), str::to_owned)
}

/// A descriptor that a service writes a newline to when it is ready (`notification-fd`): not 0, as in s6.
pub fn descriptor(text: &str) -> Option<Number> {
    number(first_line(text)).filter(|number| (1..=i32::MAX.unsigned_abs()).contains(number))
}

/// How many deaths are remembered (`max-death-tally`): 0 to 4096, as in s6.
pub fn tally(text: &str) -> Option<Number> {
    number(first_line(text)).filter(|number| *number <= 4096)
}

/// What is one of a few words.
pub fn word<T: FromStr>(text: &str) -> Option<T> {
    first_line(text).parse().ok()
}

impl Backoff {
    /// `MIN MAX RESET`, as `1s 30s 30s`.
    pub fn parse(text: &str) -> Option<Backoff> {
        let mut words = first_line(text).split(' ').map(span);
        let (min, max, reset) = (words.next()??, words.next()??, words.next()??);
        (words.next().is_none() && !min.is_zero() && min <= max).then_some(Backoff { min, max, reset })
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", span_text(self.min), span_text(self.max), span_text(self.reset))
    }
}

impl MaxRestarts {
    /// `COUNT/TIME`, as `5/60s`. COUNT is at most [`MaxRestarts::MOST`].
    pub fn parse(text: &str) -> Option<MaxRestarts> {
        let (count, window) = first_line(text).split_once('/')?;
        let window = span(window).filter(|window| !window.is_zero())?;
        Some(MaxRestarts { count: number(count).filter(|count| *count <= MaxRestarts::MOST)?, window })
    }
}

impl fmt::Display for MaxRestarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, span_text(self.window))
    }
}

impl SuccessCodes {
    /// Codes (0 to 255) and signals, as `3 TERM`, separated by blanks or commas; at least one.
    pub fn parse(text: &str) -> Option<SuccessCodes> {
        let mut words = first_line(text).split([' ', ',', '\t']).filter(|word| !word.is_empty()).peekable();
        words.peek()?;
        words.try_fold(SuccessCodes::default(), |codes, word| {
            let is_number = word.starts_with(|c: char| c.is_ascii_digit());
            let exit = if is_number {
                Exit::Code(word.parse().ok()?)
            } else {
                Exit::Signal { signal: Signal::named(word)?, core: false }
            };
            Some(codes.and(exit))
        })
    }
}

impl fmt::Display for SuccessCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, exit) in self.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { " " })?;
            match exit {
                Exit::Code(code) => code.fmt(f)?,
                Exit::Signal { signal, .. } => signal.fmt(f)?,
            }
        }
        Ok(())
    }
}

/// How often a start may end before the service is ready (`start-retries`): 0 to 255.
pub fn retries(text: &str) -> Option<Number> {
    number(first_line(text)).filter(|number| *number <= 255)
}

impl Readiness {
    /// `none`, `after TIME`, `fd N`, `notify`, `check` or `check TIME`.
    pub fn parse(text: &str) -> Option<Readiness> {
        let line = first_line(text);
        Some(match line.split_once(' ').map_or((line, None), |(word, rest)| (word, Some(rest))) {
            ("none", None) => Readiness::None,
            ("notify", None) => Readiness::Notify,
            ("after", Some(time)) => Readiness::After(span(time)?),
            ("check", None) => Readiness::Check(None),
            ("check", Some(every)) => Readiness::Check(Some(span(every).filter(|every| !every.is_zero())?)),
            ("fd", Some(number)) => Readiness::Descriptor(descriptor(number)?),
            _ => return None,
        })
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Readiness::None => f.write_str("none"),
            Readiness::Descriptor(number) => write!(f, "fd {number}"),
            Readiness::After(time) => write!(f, "after {}", span_text(*time)),
            Readiness::Notify => f.write_str("notify"),
            Readiness::Check(None) => f.write_str("check"),
            Readiness::Check(Some(every)) => write!(f, "check {}", span_text(*every)),
        }
    }
}

/// What has to hold for a service to be started at all (one line of the file `condition`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// It has to be otherwise.
    pub not: bool,
    /// What is looked at.
    pub fact: Fact,
}

/// What a [`Condition`] looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// There is this variable in the environment, and with this value if one is given.
    Env(String, Option<String>),
    /// There is something at this path.
    Path(String),
}

impl Condition {
    /// One line: `env X`, `env X=V` or `path P`, with a `!` before it for the contrary.
    pub fn parse(line: &str) -> Option<Condition> {
        let (not, test) = line.strip_prefix('!').map_or((false, line), |test| (true, test));
        let fact = match test.split_once(' ')? {
            ("env", variable) => {
                let (name, value) = variable.split_once('=').map_or((variable, None), |(n, v)| (n, Some(v)));
                (!name.is_empty() && !name.contains(' ')).then(|| Fact::Env(name.into(), value.map(str::to_owned)))?
            }
            ("path", path) if !path.is_empty() => Fact::Path(path.into()),
            _ => return None,
        };
        Some(Condition { not, fact })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.not { "!" } else { "" };
        match &self.fact {
            Fact::Env(name, None) => write!(f, "{not}env {name}"),
            Fact::Env(name, Some(value)) => write!(f, "{not}env {name}={value}"),
            Fact::Path(path) => write!(f, "{not}path {path}"),
        }
    }
}

/// Which services a template stands for (file `instances`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Instances {
    /// This many, numbered from 1.
    Count(u32),
    /// As many as this variable says.
    Variable(String),
    /// These.
    Names(Vec<String>),
}

impl Instances {
    /// A number, `$NAME`, or one name a line.
    pub fn parse(text: &str) -> Option<Instances> {
        let lines: Vec<&str> = text.lines().collect();
        Some(match lines.as_slice() {
            [count] if count.starts_with(|c: char| c.is_ascii_digit()) => Instances::Count(number(count)?),
            [variable] if variable.starts_with('$') => {
                let name = variable.strip_prefix('$')?;
                let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
                (!name.is_empty() && name.chars().all(good)).then(|| Instances::Variable(name.to_owned()))?
            }
            [] => return None,
            names => Instances::Names(instance_names(names)?),
        })
    }

    /// How many a template may have.
    pub const MOST: usize = 1000;
    /// What is read of the file, in bytes: it may be no longer.
    pub const SIZE: usize = 64 * 1024;

    /// The names of the instances, in order. `variable`: what a variable says. Or what is wrong with it.
    pub fn names(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
        match self {
            Instances::Count(count) => numbered(*count),
            Instances::Variable(name) => {
                let text = variable(name).filter(|text| !text.trim().is_empty());
                let text = text.ok_or_else(|| format!("names ${name}, which is not set"))?;
                let words: Vec<&str> = text.split(['\n', '\t', ' ', ',']).filter(|word| !word.is_empty()).collect();
                match words.as_slice() {
                    [word] if word.starts_with(|c: char| c.is_ascii_digit()) => number(word).map(numbered),
                    words => instance_names(words).map(few),
                }
                .unwrap_or_else(|| {
                    Err(format!("names ${name}, which says {:?}: neither a number nor names", excerpt(&text)))
                })
            }
            Instances::Names(names) => few(names.clone()),
        }
    }
}

fn numbered(count: Number) -> Result<Vec<String>, String> {
    if count as usize > Instances::MOST {
        return Err(format!("asks for {count} instances, and {} are the most", Instances::MOST));
    }
    Ok((1..=count).map(|number| number.to_string()).collect())
}

fn few(names: Vec<String>) -> Result<Vec<String>, String> {
    if names.len() > Instances::MOST {
        return Err(format!("names {} instances, and {} are the most", names.len(), Instances::MOST));
    }
    Ok(names)
}

/// These, if each of them can be the name of an instance.
fn instance_names(names: &[&str]) -> Option<Vec<String>> {
    let is_good = |name: &&str| {
        let has_bad = name.contains(|c: char| c == '/' || c == ' ' || c.is_control());
        !(name.is_empty() || name.starts_with(['.', '$']) || name.ends_with('@') || has_bad)
    };
    names.iter().all(is_good).then(|| names.iter().map(|&name| name.to_owned()).collect())
}

/// Whether this is the name of a template for services: `NAME@`.
pub fn is_template(name: &[u8]) -> bool {
    name.len() > 1 && name.iter().position(|byte| *byte == b'@') == Some(name.len() - 1)
}

/// Of `NAME@x`: the name of the template, `NAME@`, and the instance, `x`. `None` if no instance is called so.
pub fn template_and_instance(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let (template, instance) = name.split_at_checked(name.iter().position(|byte| *byte == b'@')? + 1)?;
    let is_one =
        is_template(template) && !instance.is_empty() && !instance.contains(&b'/') && !instance.ends_with(b"@");
    is_one.then_some((template, instance))
}

impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Instances::Count(count) => count.fmt(f),
            Instances::Variable(name) => write!(f, "${name}"),
            Instances::Names(names) => f.write_str(&names.join("\n")),
        }
    }
}

impl HealthPolicy {
    /// Words `every=10s timeout=5s retries=3 after=0s action=restart` (or `report`); what is left out is as here.
    pub fn parse(text: &str) -> Option<HealthPolicy> {
        let mut policy = HealthPolicy::default();
        for word in first_line(text).split(' ') {
            match word.split_once('=')? {
                ("every", time) => policy.every = span(time).filter(|time| !time.is_zero())?,
                ("timeout", time) => policy.timeout = span(time).filter(|time| !time.is_zero())?,
                ("retries", count) => policy.retries = number(count).filter(|count| *count > 0)?,
                ("after", time) => policy.after = span(time)?,
                ("action", "restart") => policy.action = HealthAction::Restart,
                ("action", "report") => policy.action = HealthAction::Report,
                _ => return None,
            }
        }
        Some(policy)
    }
}

impl fmt::Display for HealthPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HealthPolicy { every, timeout, retries, after, action } = *self;
        let [every, timeout, after] = [every, timeout, after].map(span_text);
        let action = if action == HealthAction::Restart { "restart" } else { "report" };
        write!(f, "every={every} timeout={timeout} retries={retries} after={after} action={action}")
    }
}

/// A file of `env/` may be so large, in bytes. The kernel takes twice as much as one variable.
pub const VARIABLE: usize = 64 * 1024;

/// What a name in `env/` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VariableName {
    /// That of a variable.
    Good,
    /// One that begins with a dot: none, and no mistake.
    Hidden,
    /// One with `=` in it, which would end the name.
    Bad,
}

/// What a name in `env/` is. envdir takes `A=B` for the variable `A`; here it is a mistake.
pub fn variable_name(name: &[u8]) -> VariableName {
    match name {
        [] | [b'.', ..] => VariableName::Hidden,
        name if name.contains(&b'=') => VariableName::Bad,
        _ => VariableName::Good,
    }
}

/// One file of `env/`, by the rules of envdir: an empty file removes the variable (`None`). Else the first line is its
/// value, without blanks at its end, and a NUL in it stands for a newline.
pub fn variable(content: &[u8]) -> Option<Vec<u8>> {
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let length = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    let value = line.iter().take(length).map(|byte| if *byte == 0 { b'\n' } else { *byte }).collect();
    (!content.is_empty()).then_some(value)
}

/// How long everything may take to end (`ONIT_STOP_TIMEOUT`): as [`limit`], but a bare number is seconds, as in
/// everything that has to do with containers.
pub fn budget(text: &str) -> Option<Option<Duration>> {
    let seconds = text.parse::<u64>().ok();
    seconds.map_or_else(|| limit(text), |number| Some((number != 0).then(|| Duration::from_secs(number))))
}

/// A signal for another: `TERM=QUIT`. Without a second one, or with 0, the first is dropped.
pub fn rewrite(text: &str, separator: char) -> Option<Rewrite> {
    let (from, to) = text.split_once(separator)?;
    let to = if matches!(to, "" | "0") { None } else { Some(signal(to)?) };
    Some((signal(from)?, to))
}

/// An exit code for another: `143=0`.
pub fn exit_map(text: &str) -> Option<(u8, u8)> {
    let (from, to) = text.split_once('=')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// The number of a group that is named, or given as a number. `listed`: the text of `/etc/group`, see group(5).
pub fn group(word: &str, listed: &str) -> Option<u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(word)).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    word.parse().ok().or_else(|| listed.lines().find_map(number))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

/// Digits and nothing else: Rust's own rule allows a `+`.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_quoted_in_part() {
        assert_eq!(excerpt(&"a".repeat(64)), "a".repeat(64));
        assert_eq!(excerpt(&"a".repeat(65)), format!("{}…", "a".repeat(64)));
        assert_eq!(excerpt(&format!("a{}", "é".repeat(40))), format!("a{}…", "é".repeat(31)), "no half characters");
    }

    #[test]
    fn times() {
        let some = |ms| Some(Some(Duration::from_millis(ms)));
        assert_eq!(limit("5000\n"), some(5000));
        assert_eq!(limit("250ms"), some(250));
        assert_eq!(limit("10s\nsecond line"), some(10_000));
        assert_eq!(limit("2m"), some(120_000));
        assert_eq!(limit("0"), Some(None));
        for bad in ["", "x", "5 ", " 5", "-1", "5d", "1.5s", "99999999999999999999"] {
            assert_eq!(limit(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn essentials() {
        let all = [Some(Essential::Always), Some(Essential::OnFailure), Some(Essential::OnGiveup), None, None];
        assert_eq!(["always", "on-failure\n", "on-giveup\n#", "", "Always"].map(word::<Essential>), all);
    }

    #[test]
    fn budgets() {
        let some = |ms| Some(Some(Duration::from_millis(ms)));
        assert_eq!([budget("9"), budget("250ms"), budget("1m")], [some(9000), some(250), some(60_000)]);
        assert_eq!([budget("0"), budget("0s"), budget("x"), budget("")], [Some(None), Some(None), None, None]);
    }

    #[test]
    fn groups() {
        let listed = "root:x:0:\nops:x:1007:alice,bob\nbad\nodd:x:y:\n";
        let found = ["ops", "root", "12", "bob", "bad", "odd", ""].map(|word| group(word, listed));
        assert_eq!(found, [Some(1007), Some(0), Some(12), None, None, None, None]);
    }

    #[test]
    fn rewritings() {
        assert_eq!(rewrite("TERM=quit", '='), Some((Signal::TERM, Some(Signal::QUIT))));
        assert_eq!(rewrite("15:0", ':'), Some((Signal::TERM, None)));
        assert_eq!(rewrite("HUP=", '='), Some((Signal::HUP, None)));
        for bad in ["TERM", "TERM=NOPE", "=QUIT", "NOPE=QUIT", "TERM:QUIT"] {
            assert_eq!(rewrite(bad, '='), None, "{bad:?}");
        }
        assert_eq!((exit_map("143=0"), exit_map("256=0"), exit_map("1")), (Some((143, 0)), None, None));
    }

    #[test]
    fn signals() {
        for same in ["TERM", "SIGTERM\n", "term", "15", "sig15"] {
            assert_eq!(signal(same), Some(Signal::TERM), "{same:?}");
        }
        assert_eq!(signal("USR1"), Some(Signal::USR1));
        assert_eq!([signal("40"), signal("RTMIN+6"), signal("sigrtmin")], [40, 40, 34].map(|n| Some(Signal(n))));
        for bad in ["", "RTMIN+31", "RTMIN-1", "RTMIN6", "0", "65", "TERM ", "NOPE", "-1"] {
            assert_eq!(signal(bad), None, "{bad:?}");
        }
    }
    #[test]
    fn spans_have_units() {
        let longest = format!("{}ms", u64::MAX);
        assert_eq!(span(&longest).map(span_text), Some(longest));
        assert_eq!((span("18446744073709552s"), limit("33333333333333331h")), (None, None), "cannot be written again");
        let ms = Duration::from_millis;
        assert_eq!(
            ["500ms", "10s", "5m", "1h", "0s"].map(span),
            [500, 10_000, 300_000, 3_600_000, 0].map(|n| Some(ms(n)))
        );
        assert_eq!(["", "5", "0", "s", "5d", "1s ", "+1s", "1s\n"].map(span), [None; 8]);
        for (time, text) in [(500, "500ms"), (1000, "1s"), (90_000, "90s"), (7_200_000, "2h"), (0, "0ms")] {
            assert_eq!(span_text(ms(time)), text);
            assert_eq!(span(text), Some(ms(time)));
        }
        assert_eq!(span_text(Duration::from_nanos(1)), "1ms", "0 would be something else");
        let limits = [Limit::from(ms(5000)), Limit::Never, Limit::After(Duration::from_nanos(1)), Limit::from(ms(0))];
        assert_eq!(limits.map(|limit| limit.to_string()), ["5000", "0", "1", "no time"]);
        assert_eq!(Limit::parse("no time"), None);
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for n in 1..=64 {
            assert_eq!(signal(&signal_text(&Signal(n))), Some(Signal(n)));
        }
        for text in ["always", "on-failure", "never"] {
            assert_eq!(word::<Restart>(text).map(Restart::word), Some(text));
        }
        for text in ["always", "on-failure", "on-giveup"] {
            assert_eq!(word::<Essential>(text).map(Essential::word), Some(text));
        }
        for text in ["1s 30s 30s", "500ms 500ms 0ms", "1m 1h 2h"] {
            assert_eq!(Backoff::parse(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        for text in ["5/1m", "0/1500ms"] {
            assert_eq!(MaxRestarts::parse(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        for text in ["none", "fd 3", "notify", "check", "check 2s"] {
            assert_eq!(Readiness::parse(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        for text in ["env A", "!env A", "env A=", "!env A=b c=d", "path /a b", "!path x"] {
            assert_eq!(Condition::parse(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        for text in ["3", "$WORKERS", "a", "a\nb"] {
            assert_eq!(Instances::parse(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        for text in [
            "every=10s timeout=5s retries=3 after=0ms action=restart",
            "every=1m timeout=1s retries=1 after=2h action=report",
        ] {
            assert_eq!(HealthPolicy::parse(text).map(|value| value.to_string()).as_deref(), Some(text));
        }
        assert_eq!(HealthPolicy::parse("retries=3"), Some(HealthPolicy::default()));
        assert_eq!(Backoff::parse("1s 30s 30s\n# a second line"), Some(Backoff::default()));
    }

    #[test]
    fn what_is_no_value_is_none() {
        let none =
            |parse: fn(&str) -> bool, bad: &[&str]| bad.iter().for_each(|text| assert!(!parse(text), "{text:?}"));
        none(|text| word::<Restart>(text).is_some(), &["", "Always", "always ", "yes", "on-giveup"]);
        none(
            |text| Backoff::parse(text).is_some(),
            &["", "1s", "1s 2s", "1s 2s 3s 4s", "2s 1s 3s", "0s 1s 1s", "1 2 3", "1s  2s 3s"],
        );
        none(
            |text| MaxRestarts::parse(text).is_some(),
            &["", "5", "5/", "5/60", "5/0s", "/60s", "-1/1s", "+5/1s", "5/1s/2s", "16/1s"],
        );
        none(
            |text| SuccessCodes::parse(text).is_some(),
            &["", " ", ",", "256", "-1", "x", "3 x", "3;4", "3x", "0x1", "RTMIN+31"],
        );
        none(|text| retries(text).is_some(), &["", "256", "-1", "+1", "x", "1 "]);
        none(
            |text| Readiness::parse(text).is_some(),
            &["", "fd", "fd 0", "fd x", "none 1", "check 5", "check 0s", "notify x", "Fd 3"],
        );
        none(
            |text| Condition::parse(text).is_some(),
            &["", "env", "env ", "env =x", "env A B", "path ", "file x", "!!env A", " env A"],
        );
        none(
            |text| Instances::parse(text).is_some(),
            &["", "3x", "$", "$A-B", "a/b", "a\n\nb", ".a", "a\n$B", "a@", "a\0", "..", "99999999999"],
        );
        none(
            |text| HealthPolicy::parse(text).is_some(),
            &["", "every", "every=0s", "retries=0", "action=stop", "every=1s  after=1s"],
        );
        none(|text| descriptor(text).is_some(), &["", "0", "-1", "+3", "3 ", "99999999999"]);
        none(|text| tally(text).is_some(), &["", "4097", "x"]);
        assert_eq!((descriptor("3\n"), tally("0"), tally("4096")), (Some(3), Some(0), Some(4096)));
    }

    #[test]
    fn instances_have_names_and_there_are_not_too_many() {
        let names = |text: &str, variable: Option<&str>| {
            let instances = Instances::parse(text).expect("a value");
            instances.names(|name| variable.filter(|_| name == "N").map(str::to_owned)).map(|names| names.join(" "))
        };
        let of = |variable| names("$N", Some(variable));
        assert_eq!([names("3\n", None), names("0", None)], [Ok("1 2 3".into()), Ok(String::new())]);
        assert_eq!(names("b\na\n7", None), Ok("b a 7".into()));
        assert_eq!([of("2"), of(" a, b\tc\n"), of("1 x")], ["1 2", "a b c", "1 x"].map(|names| Ok(names.into())));
        let most = Instances::MOST as u32;
        assert!(names(&most.to_string(), None).is_ok_and(|all| all.ends_with(" 1000")));
        assert_eq!(names("1001", None), Err("asks for 1001 instances, and 1000 are the most".into()));
        assert_eq!(of("1001"), names("1001", None));
        let many = "a ".repeat(1001);
        assert_eq!(of(&many), Err("names 1001 instances, and 1000 are the most".into()));
        assert_eq!([of(" "), names("$N", None)], [(); 2].map(|()| Err("names $N, which is not set".into())));
        for bad in ["2x", "../x", "a .b", "-1/", "a@"] {
            let why = format!("names $N, which says {bad:?}: neither a number nor names");
            assert_eq!(of(bad), Err(why));
        }
    }

    #[test]
    fn a_name_with_an_at_sign_is_that_of_a_template_or_an_instance() {
        let of = |name: &'static str| template_and_instance(name.as_bytes());
        assert_eq!(of("web@1"), Some((&b"web@"[..], &b"1"[..])));
        assert_eq!(of("web@a@b"), Some((&b"web@"[..], &b"a@b"[..])));
        assert_eq!(["web", "web@", "@", "@1", "web@1@", "web@1/log", ""].map(of), [None; 7]);
        let is = |name: &&str| is_template(name.as_bytes());
        assert!(["web@", "w@"].iter().all(is) && !["web", "@", "web@1", "web@1@", ""].iter().any(is));
    }

    #[test]
    fn success_codes_are_codes_and_signals_and_0_is_one_of_them() {
        let (signal, dumped) =
            (|signal| Exit::Signal { signal, core: false }, Exit::Signal { signal: Signal::TERM, core: true });
        for (text, all) in [
            ("3", "0 3"),
            ("0", "0"),
            ("255 TERM\t3,,64", "0 3 64 255 TERM"),
            (", sigterm usr1 ,1\n2", "0 1 USR1 TERM"),
            ("RTMIN+30", "0 RTMIN+30"),
        ] {
            assert_eq!(SuccessCodes::parse(text).map(|codes| codes.to_string()).as_deref(), Some(all), "{text:?}");
        }
        let codes = SuccessCodes::parse("15 HUP").expect("a value");
        let are = [Exit::Code(0), Exit::Code(15), signal(Signal::HUP)];
        let are_not = [Exit::Code(1), Exit::Code(129), signal(Signal::TERM), dumped];
        assert!(are.iter().all(|exit| codes.contain(*exit)) && !are_not.iter().any(|exit| codes.contain(*exit)));
        assert!(!SuccessCodes::parse("TERM").expect("a value").contain(dumped), "a core dump is a failure");
    }

    #[test]
    fn limits_of_restarts_have_their_bounds() {
        let most = |text| MaxRestarts::parse(text).map(|most| (most.count, most.window));
        assert_eq!(most("15/60s\n16/60s"), Some((15, Duration::from_secs(60))));
        assert_eq!(most("0/1ms"), Some((0, Duration::from_millis(1))));
        assert_eq!(["0", "255\n", "3"].map(retries), [Some(0), Some(255), Some(3)]);
    }

    #[test]
    fn a_variable_is_read_as_envdir_does() {
        let value = |content: &[u8]| variable(content).map(|value| String::from_utf8_lossy(&value).into_owned());
        assert_eq!(value(b""), None);
        for (content, read) in [
            ("\n", ""),
            ("\nx", ""),
            (" a b \t\nc", " a b"),
            ("a\0b", "a\nb"),
            ("a\r\n", "a\r"),
            ("  ", ""),
            ("\0", "\n"),
            ("a \0 ", "a \n"),
            ("a\0\t\0", "a\n\t\n"),
            ("no newline", "no newline"),
            ("a\u{b}\n", "a\u{b}"),
        ] {
            assert_eq!(value(content.as_bytes()).as_deref(), Some(read), "{content:?}");
        }
        assert_eq!(variable(b"\xff\xfe \n"), Some(b"\xff\xfe".to_vec()));
    }

    #[test]
    fn a_name_in_env_is_a_variable_unless_it_cannot_be() {
        let of = |names: &[&[u8]], kind| assert!(names.iter().all(|name| variable_name(name) == kind), "{kind:?}");
        of(&[b"A", b"a-b", b" ", b"1", b"a.b", b"\xff", b"A\n"], VariableName::Good);
        of(&[b".A", b".", b"..", b".A=B", b""], VariableName::Hidden);
        of(&[b"A=B", b"=", b"=A", b"A="], VariableName::Bad);
    }

    proptest::proptest! {
        /// Whatever the file holds can stand in an environment.
        #[test]
        fn any_file_is_a_variable(content: Vec<u8>) {
            let value = variable(&content);
            proptest::prop_assert_eq!(value.is_none(), content.is_empty());
            let value = value.unwrap_or_default();
            proptest::prop_assert!(!value.contains(&0) && !value.ends_with(b" ") && !value.ends_with(b"\t"));
            proptest::prop_assert!(value.len() <= content.len());
        }
    }
}
