//! The main process of a container: which signals it gets in place of ours, and which exit code of its becomes ours.

use super::{Exit, Signal, Target};

/// One signal for another; `None`: the signal is dropped.
pub type Rewrite = (Signal, Option<Signal>);

/// How the main process is to be treated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MainManners {
    /// Who gets the signals.
    pub to: Target,
    /// Signals that are replaced; the last one named counts.
    pub rewrite: Vec<Rewrite>,
    /// Exit codes that are replaced.
    pub exit_map: Vec<(u8, u8)>,
    /// It leads a session of its own, with our terminal (dumb-init), and not just a process group.
    pub new_session: bool,
    /// What it leaves behind is ended before we end.
    pub sweep: bool,
}

impl MainManners {
    /// onit's own.
    pub const ONIT: MainManners =
        MainManners { to: Target::Process, rewrite: Vec::new(), exit_map: Vec::new(), new_session: false, sweep: true };

    /// What the main process gets for a signal that was sent to us.
    pub fn forward(&self, signal: Signal) -> Option<Signal> {
        let rewritten = self.rewrite.iter().rev().find(|(from, _)| *from == signal).map(|(_, to)| *to);
        match signal {
            Signal::CHLD => None, // is about us
            // The terminal's word to whoever is in the background; nobody sends it to be forwarded.
            Signal::TTIN | Signal::TTOU => rewritten.flatten(),
            _ => rewritten.unwrap_or(Some(signal)),
        }
    }

    /// Whether we stop as well when it was stopped by this signal: when it was the terminal's, or stands for that.
    pub fn stops_with(&self, signal: Signal) -> bool {
        let stands_for = self.new_session && signal == Signal::STOP;
        [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal) || stands_for
    }

    /// The code that we end with once it has ended.
    pub fn code(&self, exit: Exit) -> u8 {
        let code = exit.shell_code();
        self.exit_map.iter().rev().find(|(from, _)| *from == code).map_or(code, |(_, to)| *to)
    }
}

/// Signals that mean the end of everything when services run beside the main process.
pub fn ends_all(signal: Signal) -> bool {
    let [stop, power_off] = [3, 4].map(|n| Signal(Signal::RTMIN.0 + n)); // what systemd's tools, LXC and podman send
    [Signal::TERM, Signal::INT, Signal::QUIT, Signal::PWR, stop, power_off].contains(&signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manners(rewrite: &[Rewrite], exit_map: &[(u8, u8)]) -> MainManners {
        MainManners { rewrite: rewrite.to_vec(), exit_map: exit_map.to_vec(), ..MainManners::ONIT }
    }

    #[test]
    fn every_signal_is_forwarded_but_those_that_are_about_us() {
        for number in 1..=64 {
            let signal = Signal(number);
            let about_us = [Signal::CHLD, Signal::TTIN, Signal::TTOU].contains(&signal);
            assert_eq!(MainManners::ONIT.forward(signal), (!about_us).then_some(signal), "{number}");
        }
    }

    #[test]
    fn signals_are_rewritten_or_dropped() {
        let dumb = manners(
            &[(Signal::TERM, Some(Signal::QUIT)), (Signal::HUP, None), (Signal::TTIN, Some(Signal::STOP))],
            &[],
        );
        assert_eq!(dumb.forward(Signal::TERM), Some(Signal::QUIT));
        assert_eq!((dumb.forward(Signal::HUP), dumb.forward(Signal::TTIN)), (None, Some(Signal::STOP)));
        let twice = manners(&[(Signal::TERM, None), (Signal::TERM, Some(Signal::INT))], &[]);
        assert_eq!(twice.forward(Signal::TERM), Some(Signal::INT));
    }

    #[test]
    fn only_what_a_terminal_stops_stops_us() {
        let session = MainManners { new_session: true, ..MainManners::ONIT };
        for number in 1..=64 {
            assert_eq!(MainManners::ONIT.stops_with(Signal(number)), [20, 21, 22].contains(&number), "{number}");
            assert_eq!(session.stops_with(Signal(number)), [19, 20, 21, 22].contains(&number), "{number}");
        }
    }

    #[test]
    fn codes_are_those_of_a_shell_and_may_be_mapped() {
        let killed = |signal| Exit::Signal { signal, core: false };
        assert_eq!(MainManners::ONIT.code(Exit::Code(7)), 7);
        assert_eq!(MainManners::ONIT.code(killed(Signal::TERM)), 143);
        assert_eq!(MainManners::ONIT.code(killed(Signal(64))), 192);
        assert_eq!(manners(&[], &[(143, 0), (7, 3)]).code(killed(Signal::TERM)), 0);
    }

    #[test]
    fn the_end_of_all_has_many_names() {
        assert!([15, 2, 3, 30, 37, 38].iter().all(|number| ends_all(Signal(*number))));
        assert!([1, 10, 12, 18, 34, 39].iter().all(|number| !ends_all(Signal(*number))));
    }
}
