//! What `systemctl show --timestamp=unix` says about a unit, as a [`Status`].
//!
//! Source: `org.freedesktop.systemd1(5)`, `systemctl(1)`; checked against systemd 252.

use super::any::{Format, Status};
use crate::machine::{Exit, Phase, Pid, Signal, Want};
use std::time::{Duration, SystemTime};

/// What is to be asked for.
pub const PROPERTIES: &str = "LoadState,ActiveState,SubState,MainPID,ControlPID,ExecMainCode,ExecMainStatus,Restart,\
     ActiveEnterTimestamp,StateChangeTimestamp";

/// A unit as systemd sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit {
    /// There is such a unit.
    pub exists: bool,
    /// It is started again by itself in some cases.
    pub restarts: bool,
    /// What it is doing.
    pub status: Status,
}

impl Unit {
    /// Reads lines of `PROPERTY=VALUE`. Properties that are not there count as unset.
    pub fn parse(text: &str) -> Unit {
        let get = |name: &str| {
            let value = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
            text.lines().find_map(value).unwrap_or_default()
        };
        let number = |name: &str| get(name).parse::<i32>().ok().filter(|number| *number > 0);
        let (active, sub) = (get("ActiveState"), get("SubState"));
        let is_on = matches!(active.as_str(), "active" | "reloading" | "refreshing");
        let cleans_up = sub.starts_with("stop-post") || sub.starts_with("final-");
        let pid = if cleans_up { number("ControlPID") } else { number("MainPID") };
        let phase = match active.as_str() {
            "deactivating" if cleans_up => Phase::Finish,
            "deactivating" => Phase::Run,
            _ if is_on => Phase::Run,
            _ if pid.is_some() => Phase::Run,
            _ => Phase::Down,
        };
        let wanted = is_on || active == "activating";
        let stamp = if is_on { get("ActiveEnterTimestamp") } else { get("StateChangeTimestamp") };
        Unit {
            exists: get("LoadState") != "not-found",
            restarts: !matches!(get("Restart").as_str(), "" | "no"),
            status: Status {
                format: Format::Systemd,
                phase,
                want: if wanted { Want::Up } else { Want::Down },
                pid: pid.map(Pid),
                paused: false,
                since: instant(&stamp).unwrap_or(SystemTime::UNIX_EPOCH),
                ready: Some(is_on),
                got_term: active == "deactivating" && !cleans_up,
                failed: active == "failed",
                last_exit: exit(&get("ExecMainCode"), number("ExecMainStatus").unwrap_or_default()),
            },
        }
    }
}

/// `@SECONDS` since 1970.
fn instant(stamp: &str) -> Option<SystemTime> {
    let seconds = stamp.strip_prefix('@')?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// `waitid(2)`: CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0 while it has not ended.
fn exit(code: &str, status: i32) -> Option<Exit> {
    match code {
        "1" => u8::try_from(status).ok().map(Exit::Code),
        "2" | "3" => Some(Exit::Signal { signal: Signal(status), core: code == "3" }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ServiceState;

    /// As systemd 252 printed it.
    const RUNNING: &str = "Restart=always\nMainPID=4432\nControlPID=0\nExecMainCode=0\nExecMainStatus=0\nLoadState=loaded\n\
        ActiveState=active\nSubState=running\nStateChangeTimestamp=@1795509192\nActiveEnterTimestamp=@1795509192\n";

    fn changed(pairs: &[(&str, &str)]) -> Unit {
        let line = |line: &str| {
            let (name, value) = line.split_once('=').expect("a property");
            let value = pairs.iter().find(|(known, _)| *known == name).map_or(value, |(_, value)| value);
            format!("{name}={value}\n")
        };
        Unit::parse(&RUNNING.lines().map(line).collect::<String>())
    }

    #[test]
    fn a_unit_that_runs() {
        let unit = Unit::parse(RUNNING);
        assert!(unit.exists && unit.restarts);
        assert_eq!(
            (unit.status.state(), unit.status.pid, unit.status.ready),
            (ServiceState::Up, Some(Pid(4432)), Some(true))
        );
        assert_eq!(unit.status.since, SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_509_192));
    }

    #[test]
    fn the_states_of_a_unit() {
        for (active, sub, main, control, state) in [
            ("activating", "start", "7", "0", ServiceState::Up),
            ("activating", "auto-restart", "0", "0", ServiceState::Backoff),
            ("deactivating", "stop-sigterm", "7", "0", ServiceState::Stopping),
            ("deactivating", "stop-post", "0", "8", ServiceState::Finishing),
            ("inactive", "dead", "0", "0", ServiceState::Down),
            ("failed", "failed", "0", "0", ServiceState::Failed),
        ] {
            let unit =
                changed(&[("ActiveState", active), ("SubState", sub), ("MainPID", main), ("ControlPID", control)]);
            assert_eq!(unit.status.state(), state, "{active} {sub}");
        }
        assert!(!changed(&[("LoadState", "not-found")]).exists && !changed(&[("Restart", "no")]).restarts);
    }

    #[test]
    fn how_it_ended() {
        let exit = |code, status| changed(&[("ExecMainCode", code), ("ExecMainStatus", status)]).status.last_exit;
        assert_eq!((exit("0", "0"), exit("1", "7")), (None, Some(Exit::Code(7))));
        assert_eq!(exit("2", "9"), Some(Exit::Signal { signal: Signal(9), core: false }));
        assert_eq!(exit("3", "11"), Some(Exit::Signal { signal: Signal(11), core: true }));
    }
}
