//! Many services: how they belong together, and what the end of one means for the others.

pub mod links;
pub mod names;

use super::Command;
use super::policy::{Leave, ServiceRules};

/// How a service belongs to another one: what the one writes, the other reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLink<K> {
    /// It has no logger and is none.
    None,
    /// It has one. As long as the pipe between them is open, more may be written to it.
    Producer {
        /// Its logger.
        logger: K,
        /// Whether we hold the pipe open.
        is_open: bool,
    },
    /// It is one.
    Logger {
        /// Of this service.
        of: K,
    },
}

/// A service, for who decides what becomes of it and its logger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<K> {
    /// Its logger, or whose logger it is.
    pub link: LogLink<K>,
    /// Supervision is over, and nothing of it runs.
    pub is_gone: bool,
}

/// What follows when supervision of a service or a logger is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal<K> {
    /// Nobody writes to its logger any more, which ends when it has read what is left.
    Drain {
        /// Whose logger.
        service: K,
        /// Which one.
        logger: K,
    },
    /// Nothing of it is left. It is let go, and its logger with it.
    Remove {
        /// Which one.
        service: K,
        /// And its logger.
        logger: Option<K>,
    },
}

/// What follows for this service, or for this logger. To be asked again until nothing does.
pub fn removal<K: Copy>(at: K, member: impl Fn(K) -> Option<Member<K>>) -> Option<Removal<K>> {
    let is_gone = |at| member(at).is_none_or(|member| member.is_gone);
    let (service, logger) = match member(at).filter(|member| member.is_gone)?.link {
        LogLink::None => (at, None),
        LogLink::Producer { logger, is_open: true } => return Some(Removal::Drain { service: at, logger }),
        LogLink::Producer { logger, is_open: false } => (at, Some(logger)),
        LogLink::Logger { of } => (of, Some(at)),
    };
    (is_gone(service) && logger.is_none_or(is_gone)).then_some(Removal::Remove { service, logger })
}

/// What becomes of a service that others write to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InputEnd {
    /// Some still do: it reads on.
    No,
    /// Nobody will any more. It ends when it has read what is left.
    Drain,
    /// Nobody does now. It goes on as a service like any other.
    Close,
}

/// What follows for a service that others write to, when one of them has gone or everything is told to stop.
pub fn input_end(is_written_to: bool, leaves: bool) -> InputEnd {
    match (is_written_to, leaves) {
        (true, _) => InputEnd::No,
        (false, true) => InputEnd::Drain,
        (false, false) => InputEnd::Close,
    }
}

/// What a service is told so that it leaves. Its logger leaves when it has read everything.
pub fn leave(rules: &ServiceRules) -> &'static [Command] {
    match rules.leave {
        Leave::Wait => &[Command::Down, Command::Exit],
        Leave::Stop => &[Command::Exit],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service and its logger: which of them is gone, and whether the pipe is open.
    fn pair(is_open: bool, gone: [bool; 2]) -> impl Fn(u8) -> Option<Member<u8>> {
        move |at| {
            let link = match at {
                0 => LogLink::Producer { logger: 1, is_open },
                1 => LogLink::Logger { of: 0 },
                _ => return None,
            };
            Some(Member { link, is_gone: gone[usize::from(at)] })
        }
    }

    #[test]
    fn a_logger_reads_on_until_its_service_is_gone_and_both_are_let_go_together() {
        let both = Some(Removal::Remove { service: 0, logger: Some(1) });
        for (is_open, gone, of_service, of_logger) in [
            (true, [false, false], None, None),
            (true, [false, true], None, None),
            (true, [true, false], Some(Removal::Drain { service: 0, logger: 1 }), None),
            (false, [true, false], None, None),
            (false, [false, true], None, None),
            (false, [true, true], both, both),
        ] {
            let member = pair(is_open, gone);
            assert_eq!((removal(0, &member), removal(1, &member)), (of_service, of_logger), "{is_open} {gone:?}");
        }
    }

    #[test]
    fn who_reads_from_several_reads_on_as_long_as_one_of_them_writes() {
        let ends =
            [(true, false), (true, true), (false, true), (false, false)].map(|(is, leaves)| input_end(is, leaves));
        assert_eq!(ends, [InputEnd::No, InputEnd::No, InputEnd::Drain, InputEnd::Close]);
    }

    #[test]
    fn who_is_alone_is_let_go_when_it_is_gone() {
        let member = |is_gone| move |_| Some(Member { link: LogLink::None, is_gone });
        assert_eq!(removal(3, member(false)), None);
        assert_eq!(removal(3, member(true)), Some(Removal::Remove { service: 3, logger: None }));
        assert_eq!(removal(3, |_| None), None);
    }
}
