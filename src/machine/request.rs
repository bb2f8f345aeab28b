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
pub enum ShutdownAction {
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

impl ShutdownAction {
    /// The word for it: what `onit` and the shutdown script are told.
    pub fn word(self) -> &'static str {
        match self {
            ShutdownAction::Exit => "exit",
            ShutdownAction::Halt => "halt",
            ShutdownAction::PowerOff => "poweroff",
            ShutdownAction::Reboot => "reboot",
            ShutdownAction::Kexec => "kexec",
        }
    }

    const ALL: [ShutdownAction; 5] = [
        ShutdownAction::Exit,
        ShutdownAction::Halt,
        ShutdownAction::PowerOff,
        ShutdownAction::Reboot,
        ShutdownAction::Kexec,
    ];

    /// A number for it, from 1 on.
    pub fn number(self) -> u64 {
        ShutdownAction::ALL.iter().zip(1..).find(|(action, _)| **action == self).map_or(0, |(_, number)| number)
    }

    /// What stands behind that number.
    pub fn numbered(number: u64) -> Option<ShutdownAction> {
        ShutdownAction::ALL.into_iter().find(|action| action.number() == number)
    }

    /// What the word asks for.
    pub fn named(word: &str) -> Option<ShutdownAction> {
        [ShutdownAction::Halt, ShutdownAction::PowerOff, ShutdownAction::Reboot, ShutdownAction::Kexec]
            .into_iter()
            .find(|action| action.word() == word)
    }

    /// The signal that asks PID 1 for it. It means the same in a container, and to systemd.
    pub fn signal(self) -> Signal {
        match self {
            ShutdownAction::Exit | ShutdownAction::Halt => real_time(3),
            ShutdownAction::PowerOff => real_time(4),
            ShutdownAction::Reboot => real_time(5),
            ShutdownAction::Kexec => real_time(6),
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Stop everything in order, then this.
    Shutdown(ShutdownAction),
    /// This, without the order.
    ShutdownNow(ShutdownAction),
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
        Signal::TERM | Signal::INT | Signal::QUIT => Some(Request::Shutdown(ShutdownAction::Exit)),
        _ => None,
    }
}

/// Container managers: Docker and Kubernetes send TERM, podman and LXC RTMIN+3, older LXC PWR.
fn in_container(signal: Signal) -> Option<Request> {
    match signal.0 - Signal::RTMIN.0 {
        3 | 4 => Some(Request::Shutdown(ShutdownAction::Exit)),
        5 => Some(Request::Shutdown(ShutdownAction::Reboot)),
        _ if signal == Signal(libc::SIGPWR) => Some(Request::Shutdown(ShutdownAction::Exit)),
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
        Signal::USR1 => Request::Shutdown(ShutdownAction::Halt),
        Signal::USR2 => Request::Shutdown(ShutdownAction::PowerOff),
        Signal::TERM => Request::Shutdown(ShutdownAction::Reboot),
        _ if signal == power => Request::Shutdown(ShutdownAction::PowerOff),
        _ => match signal.0 - Signal::RTMIN.0 {
            3 => Request::Shutdown(ShutdownAction::Halt),
            4 => Request::Shutdown(ShutdownAction::PowerOff),
            5 => Request::Shutdown(ShutdownAction::Reboot),
            6 => Request::Shutdown(ShutdownAction::Kexec),
            13 => Request::ShutdownNow(ShutdownAction::Halt),
            14 => Request::ShutdownNow(ShutdownAction::PowerOff),
            15 => Request::ShutdownNow(ShutdownAction::Reboot),
            16 => Request::ShutdownNow(ShutdownAction::Kexec),
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
            (libc::SIGUSR1, Shutdown(ShutdownAction::Halt)),
            (libc::SIGUSR2, Shutdown(ShutdownAction::PowerOff)),
            (libc::SIGALRM, Request::Rescan),
            (libc::SIGTERM, Shutdown(ShutdownAction::Reboot)),
            (libc::SIGCONT, Request::LookAtStopit),
            (libc::SIGWINCH, Request::Keyboard),
            (libc::SIGPWR, Shutdown(ShutdownAction::PowerOff)),
            (37, Shutdown(ShutdownAction::Halt)),
            (38, Shutdown(ShutdownAction::PowerOff)),
            (39, Shutdown(ShutdownAction::Reboot)),
            (40, Shutdown(ShutdownAction::Kexec)),
            (47, ShutdownNow(ShutdownAction::Halt)),
            (48, ShutdownNow(ShutdownAction::PowerOff)),
            (49, ShutdownNow(ShutdownAction::Reboot)),
            (50, ShutdownNow(ShutdownAction::Kexec)),
        ];
        assert_eq!(asked(InitMode::Machine), heard);
    }

    #[test]
    fn a_container_hears_docker_podman_and_lxc() {
        let leave = Shutdown(ShutdownAction::Exit);
        let heard = [
            (libc::SIGHUP, Request::Rescan),
            (libc::SIGINT, leave),
            (libc::SIGQUIT, leave),
            (libc::SIGALRM, Request::Rescan),
            (libc::SIGTERM, leave),
            (libc::SIGPWR, leave),
            (37, leave),
            (38, leave),
            (39, Shutdown(ShutdownAction::Reboot)),
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
        for action in ["halt", "poweroff", "reboot", "kexec"].map(|word| ShutdownAction::named(word).expect("a action"))
        {
            assert_eq!(request(InitMode::Machine, action.signal()), Some(Shutdown(action)));
        }
        assert_eq!(ShutdownAction::named("exit"), None);
        assert_eq!(
            request(InitMode::Container, ShutdownAction::Reboot.signal()),
            Some(Shutdown(ShutdownAction::Reboot))
        );
        assert_eq!(
            request(InitMode::Container, ShutdownAction::PowerOff.signal()),
            Some(Shutdown(ShutdownAction::Exit))
        );
    }
}
