//! Phrases for people that several rooms say.

use super::api::ExitRecord;

/// A span, in two units: `12s`, `3m05s`, `2h07m`, `4d02h`.
pub fn span(seconds: f64) -> String {
    let all = seconds.max(0.0) as u64;
    let (days, hours, minutes, seconds) = (all / 86400, all / 3600 % 24, all / 60 % 60, all % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds:02}s"),
        (0, ..) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// How a process ended: `exit 3`, `SIGKILL`, `SIGSEGV (core)`.
pub fn exit(record: &ExitRecord) -> String {
    let core = if record.core { " (core)" } else { "" };
    match (record.code, record.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(number)) => match &record.name {
            Some(name) => format!("{name}{core}"),
            None => format!("signal {number}{core}"),
        },
        (None, None) => "unknown".into(),
    }
}
