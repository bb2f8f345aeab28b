//! What a signal asks of the whole, and what shutting down is to end with.

use super::Signal;

/// Where we run, which decides what a signal means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitMode {
    /// PID 1 of a machine: we must never end.
    Machine,
    /// PID 1 of a container: our end is its end.
    Container,
    /// Any other process: there is somebody who started us and waits for our end.
    Supervisor,
}

/// What shutting down ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// We exit.
    Exit,
    /// The processor stops, the power stays on.
    Halt,
    /// The power goes off.
    PowerOff,
    /// The machine, or the container, starts again.
    Reboot,
    /// The kernel that was loaded before is started.
    Kexec,
}

impl Goal {
    /// The word for it: what `onit` and the shutdown script are told.
    pub fn word(self) -> &'static str {
        match self {
            Goal::Exit => "exit",
            Goal::Halt => "halt",
            Goal::PowerOff => "poweroff",
            Goal::Reboot => "reboot",
            Goal::Kexec => "kexec",
        }
    }

    const ALL: [Goal; 5] = [Goal::Exit, Goal::Halt, Goal::PowerOff, Goal::Reboot, Goal::Kexec];

    /// A number for it, from 1 on.
    pub fn number(self) -> u64 {
        Goal::ALL.iter().zip(1..).find(|(goal, _)| **goal == self).map_or(0, |(_, number)| number)
    }

    /// What stands behind that number.
    pub fn numbered(number: u64) -> Option<Goal> {
        Goal::ALL.into_iter().find(|goal| goal.number() == number)
    }

    /// What the word asks for.
    pub fn named(word: &str) -> Option<Goal> {
        [Goal::Halt, Goal::PowerOff, Goal::Reboot, Goal::Kexec].into_iter().find(|goal| goal.word() == word)
    }

    /// The signal that asks PID 1 for it. It means the same in a container, and to systemd.
    pub fn signal(self) -> Signal {
        match self {
            Goal::Exit | Goal::Halt => real_time(3),
            Goal::PowerOff => real_time(4),
            Goal::Reboot => real_time(5),
            Goal::Kexec => real_time(6),
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Stop everything in order, then this.
    Shutdown(Goal),
    /// This, without the order.
    ShutdownNow(Goal),
    /// Ctrl-Alt-Del was pressed.
    CtrlAltDel,
    /// The key that asks init for something (Alt-Up) was pressed.
    Keyboard,
    /// runit's order to look at its files.
    LookAtStopit,
    /// Look at the services directory.
    Rescan,
}

fn real_time(n: i32) -> Signal {
    Signal(Signal::RTMIN.0 + n)
}

/// What this signal asks for.
pub fn request(mode: InitMode, signal: Signal) -> Option<Request> {
    match signal {
        Signal::HUP | Signal::ALRM => return Some(Request::Rescan),
        _ => {}
    }
    match mode {
        InitMode::Supervisor => as_supervisor(signal),
        InitMode::Container => in_container(signal),
        InitMode::Machine => on_machine(signal),
    }
}

fn as_supervisor(signal: Signal) -> Option<Request> {
    match signal {
        Signal::TERM | Signal::INT | Signal::QUIT => Some(Request::Shutdown(Goal::Exit)),
        _ => None,
    }
}

/// Container managers: Docker and Kubernetes send TERM, podman and LXC RTMIN+3, older LXC PWR.
fn in_container(signal: Signal) -> Option<Request> {
    match signal.0 - Signal::RTMIN.0 {
        3 | 4 => Some(Request::Shutdown(Goal::Exit)),
        5 => Some(Request::Shutdown(Goal::Reboot)),
        _ if signal == Signal(libc::SIGPWR) => Some(Request::Shutdown(Goal::Exit)),
        _ => as_supervisor(signal),
    }
}

/// USR1, USR2 and TERM are busybox's; the real-time signals are systemd's.
fn on_machine(signal: Signal) -> Option<Request> {
    let power = Signal(libc::SIGPWR);
    Some(match signal {
        Signal::INT => Request::CtrlAltDel,
        Signal::WINCH => Request::Keyboard,
        Signal::CONT => Request::LookAtStopit,
        Signal::USR1 => Request::Shutdown(Goal::Halt),
        Signal::USR2 => Request::Shutdown(Goal::PowerOff),
        Signal::TERM => Request::Shutdown(Goal::Reboot),
        _ if signal == power => Request::Shutdown(Goal::PowerOff),
        _ => match signal.0 - Signal::RTMIN.0 {
            3 => Request::Shutdown(Goal::Halt),
            4 => Request::Shutdown(Goal::PowerOff),
            5 => Request::Shutdown(Goal::Reboot),
            6 => Request::Shutdown(Goal::Kexec),
            13 => Request::ShutdownNow(Goal::Halt),
            14 => Request::ShutdownNow(Goal::PowerOff),
            15 => Request::ShutdownNow(Goal::Reboot),
            16 => Request::ShutdownNow(Goal::Kexec),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Request::{Shutdown, ShutdownNow};

    fn asked(mode: InitMode) -> Vec<(i32, Request)> {
        (1..=64).filter_map(|number| Some((number, request(mode, Signal(number))?))).collect()
    }

    #[test]
    fn a_machine_hears_busybox_systemd_the_keyboard_and_the_power_supply() {
        let heard = [
            (libc::SIGHUP, Request::Rescan),
            (libc::SIGINT, Request::CtrlAltDel),
            (libc::SIGUSR1, Shutdown(Goal::Halt)),
            (libc::SIGUSR2, Shutdown(Goal::PowerOff)),
            (libc::SIGALRM, Request::Rescan),
            (libc::SIGTERM, Shutdown(Goal::Reboot)),
            (libc::SIGCONT, Request::LookAtStopit),
            (libc::SIGWINCH, Request::Keyboard),
            (libc::SIGPWR, Shutdown(Goal::PowerOff)),
            (37, Shutdown(Goal::Halt)),
            (38, Shutdown(Goal::PowerOff)),
            (39, Shutdown(Goal::Reboot)),
            (40, Shutdown(Goal::Kexec)),
            (47, ShutdownNow(Goal::Halt)),
            (48, ShutdownNow(Goal::PowerOff)),
            (49, ShutdownNow(Goal::Reboot)),
            (50, ShutdownNow(Goal::Kexec)),
        ];
        assert_eq!(asked(InitMode::Machine), heard);
    }

    #[test]
    fn a_container_hears_docker_podman_and_lxc() {
        let leave = Shutdown(Goal::Exit);
        let heard = [
            (libc::SIGHUP, Request::Rescan),
            (libc::SIGINT, leave),
            (libc::SIGQUIT, leave),
            (libc::SIGALRM, Request::Rescan),
            (libc::SIGTERM, leave),
            (libc::SIGPWR, leave),
            (37, leave),
            (38, leave),
            (39, Shutdown(Goal::Reboot)),
        ];
        assert_eq!(asked(InitMode::Container), heard);
    }

    #[test]
    fn a_process_hears_what_any_process_does() {
        let heard: Vec<i32> = asked(InitMode::Supervisor).into_iter().map(|(signal, _)| signal).collect();
        assert_eq!(heard, [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGALRM, libc::SIGTERM]);
    }

    #[test]
    fn what_we_send_for_a_goal_asks_for_it() {
        for goal in ["halt", "poweroff", "reboot", "kexec"].map(|word| Goal::named(word).expect("a goal")) {
            assert_eq!(request(InitMode::Machine, goal.signal()), Some(Shutdown(goal)));
        }
        assert_eq!(Goal::named("exit"), None);
        assert_eq!(request(InitMode::Container, Goal::Reboot.signal()), Some(Shutdown(Goal::Reboot)));
        assert_eq!(request(InitMode::Container, Goal::PowerOff.signal()), Some(Shutdown(Goal::Exit)));
    }
}
