//! `onit every` and `onit at`: jobs in time, as services.

use super::format;
use crate::exit;
use crate::helpers::timer::{Schedule, Timer};
use crate::sys::process;
use crate::sys::say::say;
use crate::wire::cron::Cron;
use argh::{ArgsInfo, FromArgs};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

/// Run CMD again and again after so much time, never twice at a time. TERM ends it; while CMD runs, together with that.
/// ALRM runs CMD now.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Every {
    /// how often: 30s, 5m, 1h, 1d
    #[argh(positional, arg_name = "TIME", from_str_fn(time))]
    period: Duration,
    /// start by up to so much later, another time each time
    #[argh(option, arg_name = "TIME", default = "Duration::ZERO", from_str_fn(time))]
    jitter: Duration,
    /// run CMD at once, too
    #[argh(switch)]
    now: bool,
    /// run once at once for what was missed: while CMD ran, or the machine slept
    #[argh(switch)]
    catch_up: bool,
    /// say nothing of runs that succeed
    #[argh(switch, short = 'q')]
    quiet: bool,
}

/// Run CMD when this line of a crontab says, never twice at a time. TERM ends it; while CMD runs, together with that.
/// ALRM runs CMD now.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct At {
    /// one word: "*/15 * * * *" (minute, hour, day, month, weekday), or @hourly, @daily, @weekly, @monthly, @yearly
    #[argh(positional, arg_name = "LINE")]
    line: Cron,
    /// the time zone, as Europe/Berlin; CMD does not get it (default: $TZ, else the machine's)
    #[argh(option, arg_name = "ZONE")]
    tz: Option<String>,
    /// start by up to so much later, another time each time
    #[argh(option, arg_name = "TIME", default = "Duration::ZERO", from_str_fn(time))]
    jitter: Duration,
    /// run once at once for what was missed: while CMD ran, or the machine slept
    #[argh(switch)]
    catch_up: bool,
    /// say nothing of runs that succeed
    #[argh(switch, short = 'q')]
    quiet: bool,
}

const DAY: Duration = Duration::from_secs(86400);

/// As other times of ours, and in days.
fn time(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()).map(|days| DAY * days);
    match days.map_or_else(|| format::patience(text), Ok) {
        Ok(span) if span < Duration::from_millis(100) => Err(format!("\"{text}\" is less than 100ms")),
        Ok(span) => Ok(span),
        Err(_) => Err(format!("\"{text}\" is no time: 30s, 5m, 1h, 1d")),
    }
}

impl Every {
    /// Runs jobs until it is ended. Returns the exit code.
    pub fn run(&self, command: &[OsString]) -> i32 {
        if self.jitter >= self.period {
            return refused("every", "--jitter has to be less than the time between two runs");
        }
        let schedule = Schedule::Every(self.period);
        let Every { jitter, now, catch_up, quiet, .. } = *self;
        timed(Timer { verb: "every", schedule, catch_up, now, jitter, quiet, zone: None, command: command.to_vec() })
    }
}

impl At {
    /// Runs jobs until it is ended. Returns the exit code.
    pub fn run(&self, command: &[OsString]) -> i32 {
        let mut zone = None;
        if let Some(wanted) = &self.tz {
            if !is_zone(wanted) {
                return refused("at", &format!("there is no time zone {wanted} in {ZONES}"));
            }
            zone = Some(std::env::var_os("TZ"));
            process::export("TZ", OsStr::new(wanted));
        }
        let At { jitter, catch_up, quiet, .. } = *self;
        let (schedule, command) = (Schedule::At(self.line.clone()), command.to_vec());
        timed(Timer { verb: "at", schedule, catch_up, now: false, jitter, quiet, zone, command })
    }
}

const ZONES: &str = "/usr/share/zoneinfo";

/// A name in the database, or a rule as POSIX has it, `CET-1CEST`: the C library takes anything else for UTC.
fn is_zone(name: &str) -> bool {
    let is_path = !name.is_empty() && !name.starts_with('/') && !name.contains("..");
    name == "UTC" || is_rule(name) || is_path && Path::new(ZONES).join(name).is_file()
}

/// An abbreviation, and an offset behind it.
fn is_rule(text: &str) -> bool {
    let quoted = text.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(_, rest)| rest);
    let plain = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let offset = quoted.or((text.len() >= plain.len() + 3).then_some(plain)).unwrap_or_default();
    offset.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit())
}

fn timed(timer: Timer) -> i32 {
    if timer.command.is_empty() {
        return refused(timer.verb, "which command? It stands behind --");
    }
    timer.run()
}

fn refused(verb: &str, why: &str) -> i32 {
    say(format_args!("onit: {verb}: {why} (\"onit help {verb}\" says more)"));
    exit::USAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_days_too() {
        let seconds = |text| time(text).map(|time| time.as_secs()).ok();
        assert_eq!(["90", "5m", "1h", "2d"].map(seconds), [90, 300, 3600, 172_800].map(Some));
        assert!(["", "0", "0d", "50ms", "x", "-1d", "1w"].iter().all(|text| time(text).is_err()));
    }

    #[test]
    fn a_zone_is_a_name_or_a_rule() {
        assert!(["UTC", "CET-1CEST,M3.5.0,M10.5.0/3", "<+03>-3", "EST5"].iter().all(|name| is_zone(name)));
        assert!(
            ["", "Nowhere", "/etc/passwd", "../../../etc/passwd", "Europe/Nowhere"].iter().all(|name| !is_zone(name))
        );
    }
}
