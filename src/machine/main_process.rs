//! The main process of a container: which signals it gets in place of ours, and which exit code of its becomes ours.

use super::{Exit, Signal, Target};

/// One signal for another; `None`: the signal is dropped.
pub type Rewrite = (Signal, Option<Signal>);

/// What the main process leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leads {
    /// Nothing: it is in our process group.
    Nothing,
    /// A process group, in front of the terminal if we were there.
    Group,
    /// A session, with our terminal (dumb-init).
    Session,
}

/// When we stop, as a job of a shell does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stops {
    /// When the terminal has stopped the main process.
    WithMain,
    /// When we get TSTP, TTIN or TTOU, which are passed on before (dumb-init).
    AsTold,
}

/// The signals of faults, but for ABRT.
pub const FAULTS: &[Signal] = &[Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::TRAP, Signal::SYS];
/// The signals of faults.
pub const FAULTS_AND_ABRT: &[Signal] =
    &[Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::TRAP, Signal::SYS, Signal::ABRT];

/// By these a terminal stops whoever is in its background, or in front of it at ^Z.
const TERMINAL_STOPS: [Signal; 3] = [Signal::TSTP, Signal::TTIN, Signal::TTOU];

/// How the main process is to be treated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MainOptions {
    /// Who gets the signals.
    pub to: Target,
    /// Signals that are replaced; the last one named counts.
    pub rewrite: Vec<Rewrite>,
    /// Exit codes that are replaced.
    pub exit_map: Vec<(u8, u8)>,
    /// What it leads.
    pub leads: Leads,
    /// When we stop.
    pub stops: Stops,
    /// The signals of faults that are about us when they are sent; the others are passed on. A fault of our own ends us
    /// in any case.
    pub own_faults: &'static [Signal],
    /// Orphans become our children also if we are not PID 1.
    pub adopts: bool,
    /// What it leaves behind is ended before we end.
    pub sweep: bool,
    /// We leave our directory, for it may be unmounted (dumb-init).
    pub leaves_directory: bool,
}

impl MainOptions {
    /// onit's own.
    pub const ONIT: MainOptions = MainOptions {
        to: Target::Process,
        rewrite: Vec::new(),
        exit_map: Vec::new(),
        leads: Leads::Group,
        stops: Stops::WithMain,
        own_faults: FAULTS,
        adopts: true,
        sweep: true,
        leaves_directory: false,
    };

    /// tini's, but for its options: it adopts nobody, ends nobody, and ABRT ends it.
    pub fn tini() -> MainOptions {
        MainOptions { own_faults: FAULTS_AND_ABRT, adopts: false, sweep: false, ..MainOptions::ONIT }
    }

    /// dumb-init's. A session has no terminal of ours: who was stopped by TSTP there would never be continued.
    pub fn dumb_init(session: bool, mut rewrite: Vec<Rewrite>) -> MainOptions {
        if session {
            rewrite.splice(0..0, TERMINAL_STOPS.map(|signal| (signal, Some(Signal::STOP))));
        }
        MainOptions {
            to: if session { Target::Group } else { Target::Process },
            rewrite,
            leads: if session { Leads::Session } else { Leads::Nothing },
            stops: Stops::AsTold,
            own_faults: &[],
            adopts: false,
            sweep: false,
            leaves_directory: true,
            ..MainOptions::ONIT
        }
    }

    /// What the main process gets for a signal that was sent to us.
    pub fn forward(&self, signal: Signal) -> Option<Signal> {
        let rewritten = self.rewrite.iter().rev().find(|(from, _)| *from == signal).map(|(_, to)| *to);
        match signal {
            Signal::CHLD => None, // is about us
            // The terminal's word to whoever is in the background; nobody sends it to be forwarded.
            Signal::TTIN | Signal::TTOU if self.stops == Stops::WithMain => rewritten.flatten(),
            _ => rewritten.unwrap_or(Some(signal)),
        }
    }

    /// Whether we stop as well when it was stopped by this signal: when it was the terminal's.
    pub fn stops_with(&self, signal: Signal) -> bool {
        self.stops == Stops::WithMain && TERMINAL_STOPS.contains(&signal)
    }

    /// Whether we stop when this signal was sent to us, whatever became of it.
    pub fn stops_at(&self, signal: Signal) -> bool {
        self.stops == Stops::AsTold && TERMINAL_STOPS.contains(&signal)
    }

    /// What is left of its session gets this when it has ended; without a session, nobody does.
    pub fn last_signal(&self) -> Option<Signal> {
        self.forward(Signal::TERM).filter(|_| self.leads == Leads::Session)
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

    fn rules(rewrite: &[Rewrite], exit_map: &[(u8, u8)]) -> MainOptions {
        MainOptions { rewrite: rewrite.to_vec(), exit_map: exit_map.to_vec(), ..MainOptions::ONIT }
    }

    #[test]
    fn every_signal_is_forwarded_but_those_that_are_about_us() {
        for number in 1..=64 {
            let signal = Signal(number);
            let about_us = [Signal::CHLD, Signal::TTIN, Signal::TTOU].contains(&signal);
            assert_eq!(MainOptions::ONIT.forward(signal), (!about_us).then_some(signal), "{number}");
        }
    }

    #[test]
    fn signals_are_rewritten_or_dropped() {
        let dumb =
            rules(&[(Signal::TERM, Some(Signal::QUIT)), (Signal::HUP, None), (Signal::TTIN, Some(Signal::STOP))], &[]);
        assert_eq!(dumb.forward(Signal::TERM), Some(Signal::QUIT));
        assert_eq!((dumb.forward(Signal::HUP), dumb.forward(Signal::TTIN)), (None, Some(Signal::STOP)));
        let twice = rules(&[(Signal::TERM, None), (Signal::TERM, Some(Signal::INT))], &[]);
        assert_eq!(twice.forward(Signal::TERM), Some(Signal::INT));
    }

    #[test]
    fn only_what_a_terminal_stops_stops_us() {
        for number in 1..=64 {
            let (signal, is_terminals) = (Signal(number), [20, 21, 22].contains(&number));
            assert_eq!(MainOptions::ONIT.stops_with(signal), is_terminals, "{number}");
            assert!(!MainOptions::ONIT.stops_at(signal), "{number}");
            let dumb = MainOptions::dumb_init(false, Vec::new());
            assert_eq!((dumb.stops_with(signal), dumb.stops_at(signal)), (false, is_terminals), "{number}");
        }
    }

    #[test]
    fn as_dumb_init_every_signal_but_chld_is_passed_on_and_a_session_is_stopped_by_stop() {
        let alone = MainOptions::dumb_init(false, Vec::new());
        let session = MainOptions::dumb_init(true, vec![(Signal::TTIN, Some(Signal::HUP))]);
        for number in (1..=64).filter(|number| *number != Signal::CHLD.0) {
            assert_eq!(alone.forward(Signal(number)), Some(Signal(number)), "{number}");
        }
        let stops = TERMINAL_STOPS.map(|signal| session.forward(signal));
        assert_eq!(stops, [Some(Signal::STOP), Some(Signal::HUP), Some(Signal::STOP)]);
    }

    #[test]
    fn the_rest_of_a_session_gets_what_stands_for_term_and_nobody_else_gets_anything() {
        let session = |rewrite: &[Rewrite]| MainOptions::dumb_init(true, rewrite.to_vec()).last_signal();
        assert_eq!(session(&[]), Some(Signal::TERM));
        assert_eq!(session(&[(Signal::TERM, Some(Signal::INT))]), Some(Signal::INT));
        assert_eq!(session(&[(Signal::TERM, None)]), None);
        let others = [MainOptions::ONIT, MainOptions::tini(), MainOptions::dumb_init(false, Vec::new())];
        assert!(others.iter().all(|rules| rules.last_signal().is_none()));
    }

    #[test]
    fn codes_are_those_of_a_shell_and_may_be_mapped() {
        let killed = |signal| Exit::Signal { signal, core: false };
        assert_eq!(MainOptions::ONIT.code(Exit::Code(7)), 7);
        assert_eq!(MainOptions::ONIT.code(killed(Signal::TERM)), 143);
        assert_eq!(MainOptions::ONIT.code(killed(Signal(64))), 192);
        assert_eq!(rules(&[], &[(143, 0), (7, 3)]).code(killed(Signal::TERM)), 0);
    }

    #[test]
    fn the_end_of_all_has_many_names() {
        assert!([15, 2, 3, 30, 37, 38].iter().all(|number| ends_all(Signal(*number))));
        assert!([1, 10, 12, 18, 34, 39].iter().all(|number| !ends_all(Signal(*number))));
    }
}
