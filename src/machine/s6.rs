//! What bytes and signals ask of s6's two supervisors, as which we may run.

use super::Signal;

/// What `s6-svscan` is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanOrder {
    /// Look whether children have ended.
    Reap,
    /// Look at the directory.
    Rescan,
    /// End the services that are not in it any more; `loggers`: theirs are not to read to the end.
    EndInactive {
        /// Loggers get TERM as well.
        loggers: bool,
    },
    /// The same after a look at the directory.
    RescanAndEndInactive,
    /// End all.
    Stop {
        /// Loggers get TERM as well.
        loggers: bool,
    },
    /// End at once, and leave all running.
    Abort,
}

impl ScanOrder {
    /// What a byte orders in the FIFO `.s6-svscan/control`. Other bytes are told of, and mean nothing.
    pub fn of_byte(byte: u8) -> Option<ScanOrder> {
        Some(match byte {
            b'z' => ScanOrder::Reap,
            b'a' => ScanOrder::Rescan,
            b'h' => ScanOrder::RescanAndEndInactive,
            b'n' => ScanOrder::EndInactive { loggers: false },
            b'N' => ScanOrder::EndInactive { loggers: true },
            b't' | b'i' => ScanOrder::Stop { loggers: false },
            b'q' => ScanOrder::Stop { loggers: true },
            b'b' => ScanOrder::Abort,
            _ => return None,
        })
    }

    /// What a signal orders, if no program stands in for it.
    pub fn of_signal(signal: Signal) -> Option<ScanOrder> {
        Some(match signal {
            Signal::ALRM => ScanOrder::Rescan,
            Signal::ABRT => ScanOrder::Abort,
            Signal::HUP => ScanOrder::RescanAndEndInactive,
            Signal::INT | Signal::TERM => ScanOrder::Stop { loggers: false },
            Signal::QUIT => ScanOrder::Stop { loggers: true },
            _ => return None,
        })
    }
}

/// The program in `.s6-svscan` that stands in for a signal, if there may be one.
pub fn program_for(signal: Signal) -> Option<&'static str> {
    Some(match signal {
        Signal::HUP => "SIGHUP",
        Signal::INT => "SIGINT",
        Signal::TERM => "SIGTERM",
        Signal::QUIT => "SIGQUIT",
        Signal::USR1 => "SIGUSR1",
        Signal::USR2 => "SIGUSR2",
        Signal::PWR => "SIGPWR",
        Signal::WINCH => "SIGWINCH",
        _ => return None,
    })
}

/// What a signal orders `s6-supervise` to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuperviseOrder {
    /// End the service, and then itself.
    Stop,
    /// Let go of standard input and output, and end when the service has ended by itself.
    Leave,
    /// End at once, and leave the service running.
    Abandon,
    /// The same, and send INT to its process group before.
    Interrupt,
}

impl SuperviseOrder {
    /// What this signal orders.
    pub fn of_signal(signal: Signal) -> Option<SuperviseOrder> {
        Some(match signal {
            Signal::TERM => SuperviseOrder::Stop,
            Signal::HUP => SuperviseOrder::Leave,
            Signal::QUIT => SuperviseOrder::Abandon,
            Signal::INT => SuperviseOrder::Interrupt,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_svscanctl_is_understood() {
        let known: Vec<u8> = (0..=255).filter(|byte| ScanOrder::of_byte(*byte).is_some()).collect();
        assert_eq!(known, b"Nabhinqtz");
        assert_eq!(ScanOrder::of_byte(b'q'), Some(ScanOrder::Stop { loggers: true }));
        assert_eq!(ScanOrder::of_byte(b'i'), ScanOrder::of_byte(b't'));
    }

    #[test]
    fn signals_are_those_that_s6_listens_for() {
        let signals = || (1..=64).map(Signal);
        let scan: Vec<i32> = signals().filter(|it| ScanOrder::of_signal(*it).is_some()).map(|it| it.0).collect();
        assert_eq!(scan, [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGABRT, libc::SIGALRM, libc::SIGTERM]);
        let supervise: Vec<i32> =
            signals().filter(|it| SuperviseOrder::of_signal(*it).is_some()).map(|it| it.0).collect();
        assert_eq!(supervise, [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);
        for signal in signals() {
            assert!(program_for(signal).is_none_or(|name| Some(name) == signal.name()));
        }
        assert_eq!(signals().filter(|it| program_for(*it).is_some()).count(), 8);
    }
}
