//! The bytes of `supervise/control`, and the names of the programs under `control/`.
//!
//! Sources: runit's `sv(8)` and `runsv(8)`, daemontools' `svc`, s6's `s6-svc`. Where two of them use one byte for
//! different things (`x`), the service keeps runit's meaning, or daemontools' when it is supervised as by it.

use crate::machine::{Command, Signal, Target};

/// Whose bytes are understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// All of them.
    All,
    /// Those of runit's runsv.
    Runit,
    /// Those of daemontools' supervise.
    Daemontools,
    /// Those of daemontools-encore's supervise.
    Encore,
    /// Those of s6-supervise since 2.11.3: without `P C K` (2.13) and `l` (2.15).
    S6,
}

const OURS: u8 = 1;
const RUNIT_ONLY: u8 = 2;
const DAEMONTOOLS_ONLY: u8 = 4;
const ENCORE_ONLY: u8 = 8;
const S6_ONLY: u8 = 16;

const ENCORE: u8 = OURS | ENCORE_ONLY;
const S6: u8 = OURS | S6_ONLY;
const RUNIT: u8 = RUNIT_ONLY | ENCORE | S6;
const ALL: u8 = RUNIT | DAEMONTOOLS_ONLY;

/// Byte, which supervisors understand it, what it means. The one place where this is written.
const TABLE: &[(u8, u8, &[Command])] = &[
    (b'u', ALL, &[Command::Up]),
    (b'd', ALL, &[Command::Down]),
    (b'o', ALL, &[Command::Once]),
    (b'x', ALL, &[Command::Exit]),
    (b't', ALL, &[Command::Term]),
    (b'k', ALL, &[Command::Kill(Target::Process)]),
    (b'p', ALL, &[Command::Pause(Target::Process)]),
    (b'c', ALL, &[Command::Continue(Target::Process)]),
    (b'h', ALL, &[Command::Signal(Signal::HUP)]),
    (b'a', ALL, &[Command::Signal(Signal::ALRM)]),
    (b'i', ALL, &[Command::Signal(Signal::INT)]),
    (b'q', RUNIT, &[Command::Signal(Signal::QUIT)]),
    (b'1', RUNIT, &[Command::Signal(Signal::USR1)]),
    (b'2', RUNIT, &[Command::Signal(Signal::USR2)]),
    (b'b', S6, &[Command::Signal(Signal::ABRT)]),
    (b'y', S6, &[Command::Signal(Signal::WINCH)]),
    (b'w', ENCORE, &[Command::Signal(Signal::WINCH)]),
    (b'l', OURS, &[Command::Reload]),
    (b'r', S6, &[Command::StopSignal]),
    (b'P', OURS, &[Command::Pause(Target::Group)]),
    (b'C', OURS, &[Command::Continue(Target::Group)]),
    (b'K', OURS, &[Command::Kill(Target::Group)]),
    (b'O', S6, &[Command::NoRestart]),
    (b'Q', S6, &[Command::Disable, Command::NoRestart]),
    (b'D', S6, &[Command::Disable, Command::Down]),
    (b'U', S6, &[Command::Enable, Command::Up]),
];

/// What a byte orders. Empty for a byte that means nothing in this dialect.
pub fn decode(byte: u8, dialect: Dialect) -> &'static [Command] {
    TABLE
        .iter()
        .find(|(listed, who, _)| *listed == byte && who & dialect.bit() != 0)
        .map_or(&[], |(_, _, commands)| commands)
}

/// The bytes for these orders, in their order, and where one byte carries several, as s6's `D` does, that one. An order
/// that has no byte in this dialect is the error.
pub fn encode_all(commands: &[Command], dialect: Dialect) -> Result<Vec<u8>, Command> {
    let mut bytes = Vec::with_capacity(commands.len());
    let mut rest = commands;
    while let Some(first) = rest.first() {
        let fits = |(_, who, carried): &&(u8, u8, &[Command])| who & dialect.bit() != 0 && rest.starts_with(carried);
        let (byte, _, carried) = TABLE.iter().rev().filter(fits).max_by_key(|(_, _, all)| all.len()).ok_or(*first)?;
        bytes.push(*byte);
        rest = rest.get(carried.len()..).unwrap_or_default();
    }
    Ok(bytes)
}

impl Dialect {
    fn bit(self) -> u8 {
        match self {
            Dialect::All => OURS,
            Dialect::Runit => RUNIT_ONLY,
            Dialect::Daemontools => DAEMONTOOLS_ONLY,
            Dialect::Encore => ENCORE_ONLY,
            Dialect::S6 => S6_ONLY,
        }
    }
}

/// The byte for one order; `None` for orders that no single byte carries.
pub fn encode(command: Command) -> Option<u8> {
    TABLE.iter().find(|(_, _, commands)| *commands == [command]).map(|(byte, _, _)| *byte)
}

/// The program that may take the place of this order's signal, as runit names it: `control/` and the byte.
/// `None` for orders that runit lets no program intercept.
pub fn program(command: Command) -> Option<&'static str> {
    Some(match encode(command)? {
        b'u' => "control/u",
        b'd' => "control/d",
        b'x' => "control/x",
        b't' => "control/t",
        b'k' => "control/k",
        b'p' => "control/p",
        b'c' => "control/c",
        b'h' => "control/h",
        b'a' => "control/a",
        b'i' => "control/i",
        b'q' => "control/q",
        b'1' => "control/1",
        b'2' => "control/2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_stands_once() {
        for (at, (byte, _, _)) in TABLE.iter().enumerate() {
            assert!(TABLE[at + 1..].iter().all(|(other, _, _)| other != byte), "{}", *byte as char);
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same_order() {
        for (_, _, commands) in TABLE {
            if let [command] = commands {
                let byte = encode(*command).expect("a single order has a byte");
                assert_eq!(decode(byte, Dialect::All), [*command]);
            }
        }
    }

    #[test]
    fn each_dialect_understands_its_tools_and_no_more() {
        let understood = |dialect| -> Vec<u8> { (0..=255).filter(|b| !decode(*b, dialect).is_empty()).collect() };
        assert_eq!(understood(Dialect::Runit), b"12acdhikopqtux");
        assert_eq!(understood(Dialect::Daemontools), b"acdhikoptux");
        assert_eq!(understood(Dialect::Encore), b"12acdhikopqtuwx");
        assert_eq!(understood(Dialect::S6), b"12DOQUabcdhikopqrtuxy");
        assert_eq!(understood(Dialect::All), b"12CDKOPQUabcdhiklopqrtuwxy");
    }

    #[test]
    fn orders_become_bytes_of_the_dialect_or_an_error() {
        let winch = Command::Signal(Signal::WINCH);
        assert_eq!(encode_all(&[winch], Dialect::Encore), Ok(b"w".to_vec()));
        assert_eq!(encode_all(&[winch], Dialect::Runit), Err(winch));
        let restart = [Command::StopSignal, Command::Continue(Target::Process), Command::Up];
        assert_eq!(encode_all(&restart, Dialect::S6), Ok(b"rcu".to_vec()));
        assert_eq!(encode_all(&restart, Dialect::Daemontools), Err(Command::StopSignal));
        let disable = [Command::Up, Command::Disable, Command::Down, Command::Exit];
        assert_eq!(encode_all(&disable, Dialect::S6), Ok(b"uDx".to_vec()));
        assert_eq!(encode_all(&disable, Dialect::Runit), Err(Command::Disable));
        assert_eq!(encode_all(&[], Dialect::All), Ok(Vec::new()));
        for (byte, who, commands) in TABLE.iter().filter(|(byte, ..)| *byte != b'w') {
            assert!(who & OURS != 0);
            assert_eq!(encode_all(commands, Dialect::All), Ok(vec![*byte]));
        }
    }

    #[test]
    fn letters_order_what_the_manuals_of_sv_svc_and_s6_svc_say() {
        let (one, group) = (Target::Process, Target::Group);
        for (byte, commands) in [
            (b'u', &[Command::Up][..]),
            (b'd', &[Command::Down]),
            (b'o', &[Command::Once]),
            (b'x', &[Command::Exit]),
            (b't', &[Command::Term]),
            (b'k', &[Command::Kill(one)]),
            (b'p', &[Command::Pause(one)]),
            (b'c', &[Command::Continue(one)]),
            (b'r', &[Command::StopSignal]),
            (b'l', &[Command::Reload]),
            (b'P', &[Command::Pause(group)]),
            (b'C', &[Command::Continue(group)]),
            (b'K', &[Command::Kill(group)]),
            (b'O', &[Command::NoRestart]),
            (b'Q', &[Command::Disable, Command::NoRestart]),
            (b'D', &[Command::Disable, Command::Down]),
            (b'U', &[Command::Enable, Command::Up]),
        ] {
            assert_eq!(decode(byte, Dialect::All), commands, "{}", byte as char);
        }
    }

    #[test]
    fn letters_send_the_signals_that_the_manuals_say() {
        for (byte, number) in [
            (b'h', libc::SIGHUP),
            (b'a', libc::SIGALRM),
            (b'i', libc::SIGINT),
            (b'q', libc::SIGQUIT),
            (b'1', libc::SIGUSR1),
            (b'2', libc::SIGUSR2),
            (b'b', libc::SIGABRT),
            (b'y', libc::SIGWINCH),
            (b'w', libc::SIGWINCH),
        ] {
            assert_eq!(decode(byte, Dialect::All), [Command::Signal(Signal(number))], "{}", byte as char);
        }
    }

    #[test]
    fn programs_are_those_of_runit() {
        let programs = |bytes: &[u8]| -> Vec<_> {
            bytes.iter().map(|byte| program(decode(*byte, Dialect::All)[0]).unwrap_or("none")).collect()
        };
        for byte in b"udxtkpchaiq12" {
            assert_eq!(programs(&[*byte]), [format!("control/{}", *byte as char)]);
        }
        assert_eq!(programs(b"obywrPCKOQDU"), ["none"; 12]);
    }
}
