//! One turn of the loop.

use super::Init;
use super::main_log::MainEvent;
use super::main_process::Main;
use super::reexec::Care;
use super::table::SlotId;
use crate::machine::fleet;
use crate::machine::request::{InitMode, Request, request};
use crate::machine::system::Order;
use crate::machine::{Command, Event, Signal};
use crate::sys::clock;
use crate::sys::wait::Reaped;
use crate::wire::api::EventKind;
use crate::wire::control;
use crate::wire::journal::Field;

/// Deaths handled in one turn.
pub(super) const DEATHS: usize = 4096;
/// Of these, ends of services, each of which may write files and start a program: clients are answered between turns. While
/// everything stops there is no such limit, since little follows an end then.
const ENDS: usize = 64;
/// Signals taken in one turn.
const SIGNALS: usize = 64;
/// Bytes taken from one control FIFO in one turn.
const BYTES: usize = 64;
/// Deadlines handled in one turn, each of which may start a program.
const TIMERS: usize = 64;

/// What a ready descriptor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Signals,
    Directory,
    Launcher,
    Api,
    Client(usize),
    Initctl,
    /// What `s6-svscanctl` orders.
    Svscan,
    /// Another process asks which supervisor serves the directory.
    Claim,
    Control(SlotId),
    /// A service says that it is ready.
    Ready(SlotId),
    /// A second `run` says that it is ready.
    Second(SlotId),
    /// Somebody calls a service that waits for that.
    Caller(SlotId),
}

/// Clients have the numbers from here on, services those below.
const CLIENT: u64 = 1 << 63;
/// From here on: what services say of their readiness.
const READY: u64 = 1 << 62;
/// From here on: who calls them.
const CALLER: u64 = 1 << 61;
/// From here on: what a second `run` says.
const SECOND: u64 = 1 << 60;

impl Token {
    pub(super) fn pack(self) -> u64 {
        match self {
            Token::Signals => 0,
            Token::Directory => 1,
            Token::Launcher => 2,
            Token::Api => 3,
            Token::Initctl => 4,
            Token::Client(at) => CLIENT | at as u64,
            Token::Claim => 5,
            Token::Ready(slot) => READY | slot as u64,
            Token::Caller(slot) => CALLER | slot as u64,
            Token::Second(slot) => SECOND | slot as u64,
            Token::Svscan => 6,
            Token::Control(slot) => slot as u64 + 7,
        }
    }

    fn unpack(number: u64) -> Token {
        match number {
            0 => Token::Signals,
            1 => Token::Directory,
            2 => Token::Launcher,
            3 => Token::Api,
            4 => Token::Initctl,
            client if client >= CLIENT => Token::Client((client - CLIENT) as usize),
            5 => Token::Claim,
            6 => Token::Svscan,
            slot if slot >= READY => Token::Ready((slot - READY) as SlotId),
            slot if slot >= CALLER => Token::Caller((slot - CALLER) as SlotId),
            slot if slot >= SECOND => Token::Second((slot - SECOND) as SlotId),
            slot => Token::Control((slot - 7) as SlotId),
        }
    }
}

impl Init {
    pub(super) fn turn(&mut self) {
        if let Care::Essentials(until) = self.recovery.care {
            return self.essential_turn(until);
        }
        let deadline = self.nearest_deadline();
        // Not `self.now`: the last turn may have taken long, or was stopped.
        let ready: Vec<Token> = self.poller.wait(clock::now(), deadline).map(Token::unpack).collect();
        self.now = clock::now();
        self.children.spawner.begin_turn();
        self.signals_and_deaths();
        self.hear(&ready);
        self.orders(&ready);
        self.answer_clients();
        self.deadlines();
        self.give_notice();
        self.hear_loaders();
        self.look_at_directory(ready.contains(&Token::Directory));
        self.end_inactive();
        self.follow_links();
        self.publish_touched();
        self.publish_first();
        self.go_on_telling();
        self.wait_for_exec();
        self.start_main();
        self.announce();
        self.end_if_it_is_so();
        self.open_api();
        if self.children.dying.is_empty() {
            self.flush_clients(); // so no client is told that a child runs whose exec failed
        }
        self.end_leftovers();
        self.look_after_mux();
        self.look_after_loaders();
        self.feed_watchdog();
        self.end_care();
    }

    /// The signals are taken before the dead are, so that a death after this brings another one.
    pub(super) fn signals_and_deaths(&mut self) {
        let signals: Vec<Signal> = {
            let journal = self.table.journal;
            std::iter::from_fn(|| journal.take_signal(&self.signals)).take(SIGNALS).collect()
        };
        #[cfg(debug_assertions)]
        if !self.recovery.care.is_essential() {
            crate::sys::rescue::fail_if_told();
        }
        if signals.contains(&Signal::CHLD) {
            self.log_main(MainEvent::Received(Signal::CHLD));
        }
        self.children.ends = 0;
        if self.children.unreaped || signals.contains(&Signal::CHLD) {
            if !signals.contains(&Signal::CONT) {
                self.stop_if_main_has(); // with a CONT we were continued already
            }
            self.deaths();
            self.read_upgrade_request();
        }
        self.look_at_pending();
        for signal in signals {
            self.on_signal(signal);
        }
    }

    fn nearest_deadline(&self) -> Option<crate::machine::Mono> {
        if self.has_backlog() {
            return Some(self.now);
        }
        let deadlines = [
            self.table.deadline(),
            self.scan.deadline(),
            self.system.deadline(),
            self.api.deadline(),
            self.notice_deadline(),
            self.until_deadline(),
            self.pending_deadline(),
            self.mux_deadline(),
            self.loaders_deadline(),
            self.watchdog_deadline(),
            self.recovery.care.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn has_backlog(&self) -> bool {
        self.children.unreaped
            || self.scan.has_backlog()
            || self.dependencies.has_backlog()
            || !self.unpublished.is_empty()
            || !self.telling.is_empty()
    }

    pub(super) fn deaths(&mut self) {
        self.hear_the_dead();
        for _ in 0..DEATHS {
            if self.children.ends >= ENDS && self.system.is_up() {
                break;
            }
            self.wait_for_exec();
            let reaped = self.table.journal.reap();
            self.children.childless = reaped == Reaped::Childless;
            let (pid, exit) = match reaped {
                Reaped::Child(pid, exit) => (pid, self.pending_ended(pid, exit)),
                Reaped::Stopped => continue,
                Reaped::NoneYet | Reaped::Childless => {
                    self.children.unreaped = false;
                    self.log_main(MainEvent::AllReaped { childless: self.children.childless });
                    return;
                }
            };
            let had_no_program = self.children.dying.extract_if(.., |dying| *dying == pid).count() > 0;
            if self.main.is(pid) {
                self.main_ended(pid, exit);
            } else if let Some(slot) = self.owner_of(pid) {
                self.children.ends += 1;
                self.service_ended(slot, pid, exit, had_no_program);
            } else if !self.scan.has_looked(pid, exit)
                && !self.has_mux_ended(pid, exit)
                && !self.have_loaders_ended(pid, exit)
            {
                self.orphan_ended(pid, exit);
            }
        }
        self.children.unreaped = true;
    }

    /// Who has ended is still to be seen where it comes from, until it is reaped: so what it has said comes first.
    fn hear_the_dead(&mut self) {
        if self.table.is_any_notifying() {
            let ready: Vec<Token> = self.poller.wait(self.now, Some(self.now)).map(Token::unpack).collect();
            self.hear(&ready);
        }
    }

    /// What services say of themselves.
    fn hear(&mut self, ready: &[Token]) {
        for token in ready {
            match token {
                Token::Ready(slot) => self.read_ready_link(*slot),
                Token::Second(slot) => self.hear_second(*slot),
                _ => {}
            }
        }
    }

    fn orders(&mut self, ready: &[Token]) {
        for token in ready {
            match token {
                Token::Control(slot) => self.take_bytes(*slot),
                Token::Launcher => self.read_launcher(),
                Token::Api => self.accept_clients(),
                Token::Client(at) => self.read_client(*at),
                Token::Initctl => self.read_initctl(),
                Token::Claim => self.turn_away(),
                Token::Svscan => self.read_svscan(),
                Token::Caller(slot) => self.hear_caller(*slot),
                Token::Ready(_) | Token::Second(_) | Token::Signals | Token::Directory => {} // come in their turn
            }
        }
    }

    /// Obeys a signal that was taken, and forgets it then: so it is obeyed also if we fail over it.
    pub(super) fn on_signal(&mut self, signal: Signal) {
        let journal = self.table.journal;
        journal.begin_signal(signal);
        self.apply_signal(signal);
        self.commit();
        journal.forget_signal(signal);
        journal.set(Field::Obeying, 0);
    }

    fn apply_signal(&mut self, signal: Signal) {
        if self.config.mode == InitMode::Machine {
            return self.apply_signal_on_machine(signal);
        }
        if !matches!(self.main, Main::None) {
            return self.apply_signal_beside_main(signal);
        }
        if let Some(whose) = self.config.personality.signals_of_s6 {
            return self.obey_signal_as_s6(whose, signal);
        }
        match (request(self.config.mode, signal), self.config.personality.hangup) {
            (Some(Request::Rescan), Some(code)) if signal == Signal::HUP => {
                self.system.conclude(code);
                self.stop();
            }
            (Some(request), _) => self.apply_request(request),
            (None, _) => {} // other signals mean nothing to us
        }
    }

    pub(super) fn rescan(&mut self) {
        self.scan.look_at_everything();
        self.read_all_links();
        self.open_all_again();
        self.renew_api();
        self.rescan_loaders();
    }

    pub(super) fn is_busy(&self, at: SlotId) -> bool {
        self.table.get(at).is_some_and(|slot| slot.service.is_busy())
    }

    pub(super) fn take_bytes(&mut self, at: SlotId) {
        for _ in 0..BYTES {
            let journal = self.table.journal;
            if journal.has_order() {
                return; // one that was heard before comes first
            }
            let Some(slot) = self.table.get(at).filter(|slot| !slot.service.is_busy()) else { return };
            let byte = slot.files.control.as_ref().and_then(|control| journal.take_order(at, control));
            if let Some(byte) = byte {
                self.apply_byte(at, byte);
            }
            journal.order_is_done();
            if byte.is_none() {
                return;
            }
        }
    }

    pub(super) fn apply_byte(&mut self, at: SlotId, byte: u8) {
        for command in control::decode(byte, self.config.personality.dialect) {
            if *command == Command::Exit {
                self.let_go_of_pipes();
            }
            let starts = matches!(command, Command::Up | Command::Once);
            if self.system.is_up() || !starts || !self.config.personality.escalates {
                self.obey(at, *command);
            }
        }
    }

    /// The front process that was started to run the directory has sent an order, or has ended.
    fn read_launcher(&mut self) {
        let journal = self.table.journal;
        let word = self.config.launcher.as_ref().and_then(|launcher| journal.take_word(launcher));
        if word.is_some() {
            self.stop();
        }
        journal.order_is_done();
        if self.config.application.is_none() {
            self.scan.stop_taking_in();
            self.table.bury(self.config.launcher.take());
        } else if word.is_none() {
            self.application_ended();
        }
    }

    pub(super) fn stop(&mut self) {
        let is_first = self.system.is_up();
        let order = self.system.stop(self.now, self.config.stop_budget, self.main.is_to_come_or_here());
        if is_first {
            self.begin_stop(order);
        } else {
            self.go_on_to(if self.config.personality.escalates { order } else { Order::StopAll });
        }
    }

    /// The same for somebody who only wants the end, not more haste: said twice it is said once. The main process has not
    /// heard of it yet.
    pub(super) fn stop_once(&mut self) {
        if self.system.is_up() {
            self.stop_main();
            self.stop();
        }
    }

    /// From now on everything ends.
    pub(super) fn begin_stop(&mut self, order: Order) {
        self.scan.stop_taking_in();
        self.conclude_by_oneshots();
        self.notify_manager("STOPPING=1");
        self.publish_event(EventKind::Stopping, None);
        self.begin_notice_of_end();
        self.go_on_to(order);
    }

    fn go_on_to(&mut self, order: Order) {
        self.commit();
        self.table.journal.forget_what_is_applied(); // a second order would be for more haste
        self.follow(order);
    }

    pub(super) fn follow(&mut self, order: Order) {
        match order {
            Order::AwaitMain | Order::Sweep => {} // both are seen to at the end of the turn
            Order::StopAll => {
                for slot in self.table.services() {
                    self.release_in_order(slot);
                }
            }
            Order::KillAll => {
                self.kill_main();
                for slot in self.table.all() {
                    self.warn_of_straggler(slot);
                    self.apply(slot, Event::Escalate);
                }
            }
        }
    }

    /// Tells a service to leave. It is not taken in again, unless its directory comes anew.
    pub(super) fn release(&mut self, at: SlotId) {
        let Some(slot) = self.table.get_mut(at) else { return };
        slot.removed = true;
        for command in fleet::leave(self.config.personality.service) {
            self.apply(at, Event::Command(*command));
        }
    }

    pub(super) fn deadlines(&mut self) {
        if let Some(order) = self.system.tick(self.now) {
            self.follow(order);
        }
        let doors = self.api.door.iter_mut().chain(self.scan.claim.iter_mut().map(|(_, door)| door));
        doors.for_each(|door| door.tick(&self.poller, self.now));
        for _ in 0..TIMERS {
            let Some(at) = self.table.due(self.now) else { return };
            if let Some(slot) = self.table.get_mut(at) {
                slot.rewrite_at = slot.rewrite_at.filter(|at| *at > self.now);
                slot.listeners.iter_mut().for_each(|listeners| listeners.let_go(self.now));
                let is_late = slot.service.is_late(self.now);
                if slot.reopen_at.take_if(|at| *at <= self.now).is_some() {
                    self.open_again(at);
                }
                if is_late {
                    self.read_ready_link(at); // what it has said in time counts
                }
            }
            self.apply(at, Event::Tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn tokens_survive_the_poller() {
        let others = [Token::Signals, Token::Directory, Token::Launcher, Token::Api, Token::Initctl, Token::Svscan];
        let many = [
            Token::Control(0),
            Token::Control(9999),
            Token::Client(0),
            Token::Client(63),
            Token::Ready(9999),
            Token::Caller(9999),
            Token::Second(9999),
        ];
        for token in others.into_iter().chain(many) {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }
}
