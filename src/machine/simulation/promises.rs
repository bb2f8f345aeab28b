//! What a user is promised, one test each. The names tell the promise.

use super::*;
use crate::machine::policy::{DRAIN_LIMIT, KILL_RETRY, KillMode};
use crate::machine::probe::Health;
use crate::machine::request::ShutdownAction;
use crate::machine::restart::{Backoff, Cause, MaxRestarts, Rules, SuccessCodes};
use crate::machine::system::{GRACE, Order, STOP_BUDGET, System};
use crate::machine::{ServiceState, Step, Unreplaced};

const TERMINATED: Exit = Exit::Signal { signal: Signal::TERM, core: false };
const KILLED: Exit = Exit::Signal { signal: Signal::KILL, core: false };
const MILLI: Duration = Duration::from_millis(1);

/// The supervisors with `finish` and `control/X`.
const SCRIPTED: [&ServiceRules; 2] = [&ServiceRules::ONIT, &ServiceRules::RUNSV];

fn up() -> World {
    World::up(&ServiceRules::ONIT)
}

fn down(rules: &'static ServiceRules) -> World {
    let mut world = World::new(rules, Role::Main, Want::Down);
    assert_eq!(world.begin(), "");
    world
}

fn logger() -> World {
    World::up_as(&ServiceRules::ONIT, Role::Logger)
}

fn kill_after(after: Duration) -> Limits {
    Limits { kill_after: Some(after), ..Limits::of(&ServiceRules::ONIT) }
}

// up, once, and what is wanted at the beginning

#[test]
fn wanted_up_it_starts_when_supervision_begins() {
    assert_eq!(World::new(&ServiceRules::ONIT, Role::Main, Want::Up).begin(), "run");
}

#[test]
fn wanted_down_it_starts_when_told_up() {
    let mut world = down(&ServiceRules::ONIT);
    world.pass(60 * SECOND);
    assert_eq!(world.order(Command::Up), "run");
    assert_eq!(world.order(Command::Up), "", "it already runs");
}

#[test]
fn once_starts_it_and_its_end_is_the_end() {
    let mut world = down(&ServiceRules::ONIT);
    assert_eq!(world.order(Command::Once), "run");
    assert_eq!(world.ends(Exit::Code(3)), "finish 3");
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert_eq!(world.service.view().want, Want::Once);
    assert_eq!(world.service.deadline(), None);
}

#[test]
fn once_while_it_runs_only_means_no_restart() {
    let mut world = up();
    assert_eq!(world.order(Command::Once), "");
    world.ends(Exit::Code(0));
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert_eq!(world.service.deadline(), None);
}

#[test]
fn a_finish_that_gives_up_ends_the_restarts_until_somebody_says_up() {
    let mut world = up();
    world.ends(Exit::Code(3));
    assert_eq!(world.ends(Exit::GIVE_UP), "");
    assert_eq!((world.service.view().want, world.service.deadline()), (Want::Down, None));
    assert_eq!(world.order(Command::Up), "run");
    world.ends(Exit::Code(3));
    world.order(Command::Up);
    world.ends(Exit::GIVE_UP);
    assert_eq!(world.service.view().want, Want::Up, "who said up meanwhile means it");
    assert!(world.service.deadline().is_some());
    let mut runsv = World::up(&ServiceRules::RUNSV);
    runsv.ends(Exit::Code(3));
    runsv.ends(Exit::GIVE_UP);
    assert_eq!(runsv.service.view().want, Want::Up, "runit knows no giving up");
}

#[test]
fn once_during_finish_is_kept() {
    for rules in SCRIPTED {
        let mut world = World::up(rules);
        world.order(Command::Down);
        assert_eq!(world.ends(TERMINATED), "finish TERM");
        assert_eq!(world.order(Command::Once), "");
        assert_eq!(world.ends(Exit::Code(0)), "run");
        world.ends(Exit::Code(0));
        assert_eq!(world.ends(Exit::Code(0)), "", "once");
    }
}

#[test]
fn once_during_finish_is_taken_back_by_down() {
    for taken_back in [Command::Down, Command::NoRestart, Command::Exit] {
        let mut world = up();
        world.ends(Exit::Code(0));
        world.orders([Command::Once, taken_back]);
        assert_eq!(world.ends(Exit::Code(0)), "", "{taken_back:?}");
        assert_eq!(world.service.deadline(), None);
    }
}

#[test]
fn no_restart_starts_nothing_and_lets_run_be_the_last() {
    let mut world = down(&ServiceRules::ONIT);
    assert_eq!(world.order(Command::NoRestart), "");
    assert_eq!(world.service.view().want, Want::Once);
    let mut world = up();
    assert_eq!(world.order(Command::NoRestart), "");
    world.ends(Exit::Code(0));
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert_eq!(world.service.deadline(), None);
}

#[test]
fn no_restart_calls_off_the_start_that_a_pause_delays() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN);
    world.begin();
    world.ends(Exit::Code(1));
    assert!(world.service.deadline().is_some());
    world.order(Command::NoRestart);
    assert_eq!(world.service.deadline(), None);
}

// down, and signals

#[test]
fn down_sends_term_then_cont_and_it_stays_down() {
    for rules in [&ServiceRules::ONIT, &ServiceRules::RUNSV, &ServiceRules::SUPERVISE] {
        let mut world = World::up(rules);
        assert_eq!(world.order(Command::Down), "TERM run, CONT run");
        assert!(world.service.view().got_term);
        world.settle();
        assert_eq!((world.service.view().phase, world.service.deadline()), (Phase::Down, None));
        assert!(!world.service.view().got_term);
    }
}

#[test]
fn down_sends_the_stop_signal_of_the_service() {
    let mut world = up().limited(Limits { stop_signal: Signal::INT, ..Limits::of(&ServiceRules::ONIT) });
    assert_eq!(world.order(Command::Down), "INT run, CONT run");
    assert!(world.service.view().got_term);
}

#[test]
fn down_then_up_is_a_restart() {
    let mut world = up();
    assert_eq!(world.orders([Command::Down, Command::Up]), ["TERM run, CONT run", ""]);
    world.ends(TERMINATED);
    assert_eq!(world.ends(Exit::Code(0)), "run");
}

#[test]
fn down_calls_off_the_start_that_a_pause_delays() {
    for rules in [&ServiceRules::ONIT, &ServiceRules::RUNSV, &ServiceRules::SUPERVISE] {
        let mut world = World::new(rules, Role::Main, Want::Up).with(Programs::RUN);
        world.begin();
        world.ends(Exit::Code(1));
        assert_eq!(world.order(Command::Down), "");
        assert_eq!(world.service.deadline(), None);
    }
}

#[test]
fn term_while_wanted_up_sends_only_term_and_is_a_restart() {
    let mut world = up();
    assert_eq!(world.order(Command::Term), "TERM run");
    assert!(world.service.view().got_term);
    assert_eq!(world.ends(TERMINATED), "finish TERM");
    assert_eq!(world.ends(Exit::Code(0)), "run");
}

#[test]
fn term_while_wanted_down_continues_it_too() {
    let mut world = up();
    assert_eq!(world.orders([Command::Once, Command::Term]), ["", "TERM run, CONT run"]);
}

#[test]
fn the_restart_order_of_s6_sends_the_stop_signal() {
    let mut world = up().limited(Limits { stop_signal: Signal::QUIT, ..Limits::of(&ServiceRules::ONIT) });
    assert_eq!(world.order(Command::Term), "TERM run");
    assert_eq!(world.order(Command::StopSignal), "QUIT run");
}

#[test]
fn signals_go_to_the_process_or_to_its_group_as_ordered() {
    let mut world = up();
    let orders = [
        Command::Signal(Signal::HUP),
        Command::Signal(Signal(40)),
        Command::Kill(Target::Process),
        Command::Kill(Target::Group),
        Command::Pause(Target::Process),
        Command::Pause(Target::Group),
        Command::Continue(Target::Process),
        Command::Continue(Target::Group),
    ];
    let group = ["KILL run's group", "STOP run's group", "CONT run's group"];
    let sent = ["HUP run", "40 run", "KILL run", group[0], "STOP run", group[1], "CONT run", group[2]];
    assert_eq!(world.orders(orders), sent);
    assert!(!world.service.view().got_term, "none of them is the stop signal of an order to stop");
}

#[test]
fn signals_while_nothing_runs_go_nowhere() {
    for command in COMMANDS.into_iter().filter(|c| !matches!(c, Command::Up | Command::Once)) {
        let sent = down(&ServiceRules::ONIT).order(command);
        let expected = match command {
            Command::Disable => "create down",
            Command::Enable => "remove down",
            _ => "",
        };
        assert_eq!(sent, expected, "{command:?}");
    }
}

#[test]
fn of_all_signals_only_kill_reaches_finish() {
    for command in COMMANDS.into_iter().filter(|c| !matches!(c, Command::Disable | Command::Enable)) {
        let mut world = up();
        world.ends(Exit::Code(0));
        let expected = match command {
            Command::Kill(Target::Process) => "KILL finish 0",
            Command::Kill(Target::Group) => "KILL finish 0's group",
            _ => "",
        };
        assert_eq!(world.order(command), expected, "{command:?}");
    }
}

#[test]
fn kill_during_finish_ends_finish_and_does_not_repeat_it() {
    for rules in SCRIPTED {
        let mut world = World::up(rules);
        world.order(Command::Down);
        world.ends(TERMINATED);
        assert_eq!(world.order(Command::Kill(Target::Process)), "KILL finish TERM");
        assert_eq!(world.ends(KILLED), "");
        assert_eq!(world.service.view().phase, Phase::Down);
    }
}

#[test]
fn kill_then_up_never_makes_two() {
    let mut world = up();
    assert_eq!(world.orders([Command::Kill(Target::Process), Command::Up]), ["KILL run", ""]);
}

// paused

#[test]
fn down_continues_what_was_paused_and_as_in_runit_the_flag_stays() {
    let mut world = up();
    world.order(Command::Pause(Target::Process));
    assert_eq!(world.order(Command::Down), "TERM run, CONT run");
    assert!(world.service.view().paused);
    world.settle();
    assert_eq!(world.service.view().phase, Phase::Down, "stopped processes end too");
}

#[test]
fn in_runit_a_service_that_is_down_can_be_called_paused_until_it_starts() {
    for rules in SCRIPTED {
        let mut world = down(rules);
        world.order(Command::Pause(Target::Process));
        assert!(world.service.view().paused);
        world.order(Command::Up);
        assert!(!world.service.view().paused);
    }
}

#[test]
fn in_daemontools_only_a_living_process_is_paused() {
    let mut world = down(&ServiceRules::SUPERVISE);
    world.order(Command::Pause(Target::Process));
    assert!(!world.service.view().paused);
    for end in [Command::Down, Command::Kill(Target::Process)] {
        let mut world = World::up(&ServiceRules::SUPERVISE);
        world.order(Command::Pause(Target::Process));
        assert!(world.service.view().paused);
        world.order(end);
        assert_eq!(world.service.view().paused, end != Command::Down, "down continues it");
        world.ends(KILLED);
        assert!(!world.service.view().paused);
    }
}

#[test]
fn finish_is_not_paused_because_run_was() {
    let mut world = up();
    world.orders([Command::Pause(Target::Process), Command::Kill(Target::Process)]);
    assert!(world.service.view().paused);
    world.ends(KILLED);
    assert!(!world.service.view().paused);
}

// exit

#[test]
fn exit_stops_it_and_supervision_ends_after_finish() {
    for rules in SCRIPTED {
        let mut world = World::up(rules);
        assert_eq!(world.order(Command::Exit), "TERM run, CONT run");
        assert!(world.service.view().leaving);
        assert_eq!(world.ends(TERMINATED), "finish TERM");
        assert!(!world.service.is_gone());
        world.ends(Exit::Code(0));
        assert!(world.service.is_gone());
    }
}

#[test]
fn exit_while_down_ends_supervision_at_once() {
    for rules in [&ServiceRules::ONIT, &ServiceRules::RUNSV, &ServiceRules::SUPERVISE] {
        let mut world = down(rules);
        world.order(Command::Exit);
        assert!(world.service.is_gone());
    }
}

#[test]
fn exit_calls_off_the_start_that_a_pause_delays() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN);
    world.begin();
    world.ends(Exit::Code(1));
    world.order(Command::Exit);
    assert!(world.service.is_gone());
}

#[test]
fn exit_then_kill_still_waits_for_the_death_and_for_finish() {
    let mut world = World::up(&ServiceRules::RUNSV);
    assert_eq!(world.orders([Command::Exit, Command::Kill(Target::Process)])[1], "KILL run");
    assert_eq!(world.ends(KILLED), "finish KILL");
    world.ends(Exit::Code(0));
    assert!(world.service.is_gone());
}

#[test]
fn exit_is_taken_back_by_up_and_in_runit_by_down_too() {
    for (rules, command, stays) in [
        (&ServiceRules::ONIT, Command::Up, true),
        (&ServiceRules::ONIT, Command::Once, true),
        (&ServiceRules::ONIT, Command::Down, false),
        (&ServiceRules::ONIT, Command::NoRestart, false),
        (&ServiceRules::ONIT, Command::Term, false),
        (&ServiceRules::RUNSV, Command::Up, true),
        (&ServiceRules::RUNSV, Command::Down, true),
        (&ServiceRules::RUNSV, Command::NoRestart, true),
        (&ServiceRules::RUNSV, Command::Term, false),
        (&ServiceRules::SUPERVISE, Command::Up, false),
        (&ServiceRules::SUPERVISE, Command::Down, false),
    ] {
        let mut world = World::up(rules);
        world.orders([Command::Exit, command]);
        assert_eq!(world.service.view().leaving, !stays, "{rules:?} {command:?}");
    }
}

#[test]
fn in_daemontools_exit_sends_nothing_and_waits() {
    let mut world = World::up(&ServiceRules::SUPERVISE);
    assert_eq!(world.order(Command::Exit), "");
    assert!(world.service.view().leaving && world.service.view().want == Want::Up);
    world.ends(Exit::Code(0));
    assert!(world.service.is_gone());
}

#[test]
fn in_daemontools_down_and_exit_stop_and_leave_in_either_order() {
    for orders in [[Command::Down, Command::Exit], [Command::Exit, Command::Down]] {
        let mut world = World::up(&ServiceRules::SUPERVISE);
        assert_eq!(world.orders(orders).concat(), "TERM run, CONT run");
        world.ends(TERMINATED);
        assert!(world.service.is_gone());
    }
}

#[test]
fn gone_is_final() {
    let mut world = down(&ServiceRules::ONIT);
    world.order(Command::Exit);
    let view = world.service.view();
    for command in COMMANDS {
        assert_eq!(world.order(command), "", "{command:?}");
    }
    world.escalate();
    assert_eq!((world.service.view(), world.service.is_gone()), (view, true));
}

// finish

#[test]
fn finish_runs_after_each_end_with_how_it_ended() {
    let core = Exit::Signal { signal: Signal(libc::SIGSEGV), core: true };
    for (exit, words) in [(Exit::Code(3), "finish 3"), (TERMINATED, "finish TERM"), (core, "finish SEGV+core")] {
        let mut world = up();
        assert_eq!(world.ends(exit), words);
        let view = world.service.view();
        assert_eq!((view.phase, view.since), (Phase::Finish, Mono(1_000_000_000)), "the age of the cycle");
        assert_eq!(world.ends(Exit::Code(1)), "run", "its own exit code is ignored");
    }
}

#[test]
fn a_run_that_cannot_be_executed_counts_as_an_end_with_111() {
    let run = Some(Refusal::Exec);
    let mut world =
        World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs { run, ..Programs::RUN_AND_FINISH });
    assert_eq!(world.begin(), "no run: Exec, finish 111");
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert_eq!(world.wait(SECOND), "no run: Exec, finish 111");
}

#[test]
fn a_finish_that_cannot_be_executed_counts_as_having_run() {
    let mut world = up().with(Programs { finish: Program::Refused(Refusal::Exec), ..Programs::RUN });
    assert_eq!(world.ends(Exit::Code(0)), "no finish 0: Exec, run");
}

#[test]
fn daemontools_has_neither_finish_nor_hooks() {
    let mut world = World::up(&ServiceRules::SUPERVISE).hooked(&COMMANDS);
    assert_eq!(world.order(Command::Term), "TERM run");
    assert_eq!(world.ends(TERMINATED), "run");
}

#[test]
fn finish_has_five_seconds_unless_the_service_says_otherwise() {
    let mut world = up();
    world.ends(Exit::Code(0));
    assert_eq!(world.wait(5 * SECOND), "kill late finish 0");
    assert_eq!(world.wait(KILL_RETRY), "kill late finish 0", "and again");
    assert_eq!(world.ends(KILLED), "run");

    let mut world = up().limited(Limits { finish_limit: Some(SECOND), ..Limits::of(&ServiceRules::ONIT) });
    world.ends(Exit::Code(0));
    assert_eq!(world.wait(SECOND), "kill late finish 0");
}

#[test]
fn in_runit_finish_has_no_time_limit() {
    let mut world = World::up(&ServiceRules::RUNSV);
    world.ends(Exit::Code(0));
    assert_eq!(world.service.deadline(), None);
}

// No process can be made.

#[test]
fn a_failed_fork_of_run_is_tried_again() {
    let run = Some(Refusal::Fork);
    for (rules, pause) in [(&ServiceRules::ONIT, 1), (&ServiceRules::RUNSV, 5), (&ServiceRules::SUPERVISE, 5)] {
        let mut world = World::new(rules, Role::Main, Want::Up).with(Programs { run, ..Programs::RUN });
        assert_eq!(world.begin(), "no run: Fork");
        assert_eq!(world.wait(pause * SECOND), "no run: Fork");
        world.programs = Programs::RUN;
        assert_eq!(world.wait(pause * SECOND), "run");
    }
}

#[test]
fn a_failed_fork_does_not_use_up_once() {
    let mut world = down(&ServiceRules::ONIT).with(Programs { run: Some(Refusal::Fork), ..Programs::RUN });
    assert_eq!(world.order(Command::Once), "no run: Fork");
    world.programs = Programs::RUN;
    assert_eq!(world.wait(SECOND), "run");
}

#[test]
fn a_failed_fork_of_finish_is_tried_again_with_the_same_exit() {
    let finish = Program::Refused(Refusal::Fork);
    for (rules, pause) in [(&ServiceRules::ONIT, 1), (&ServiceRules::RUNSV, 5)] {
        let mut world = World::up(rules).with(Programs { finish, ..Programs::RUN });
        assert_eq!(world.ends(Exit::Code(7)), "no finish 7: Fork");
        assert_eq!((world.service.view().phase, world.service.view().pid), (Phase::Finish, None));
        assert_eq!(world.wait(pause * SECOND), "no finish 7: Fork");
        world.programs = Programs::RUN_AND_FINISH;
        assert_eq!(world.order(Command::Kill(Target::Process)), "", "there is nothing to kill");
        assert_eq!(world.wait(pause * SECOND), "finish 7");
        assert_eq!(world.ends(Exit::Code(0)), "run");
    }
}

#[test]
fn exit_waits_for_the_finish_that_could_not_be_started() {
    let mut world = up().with(Programs { finish: Program::Refused(Refusal::Fork), ..Programs::RUN });
    world.ends(Exit::Code(0));
    world.order(Command::Exit);
    assert!(!world.service.is_gone());
    world.programs = Programs::RUN_AND_FINISH;
    assert_eq!(world.wait(SECOND), "finish 0");
    world.ends(Exit::Code(0));
    assert!(world.service.is_gone());
}

// Pauses between starts

/// From the end of a life of this length (and of a `finish` of that length) to the next start.
fn pause_after(rules: &'static ServiceRules, run: Duration, finish: Duration) -> Duration {
    let mut world = World::new(rules, Role::Main, Want::Up);
    world.begin();
    world.pass(run);
    if world.ends(Exit::Code(0)) == "finish 0" {
        world.pass(finish);
        if world.ends(Exit::Code(0)) == "run" {
            return Duration::ZERO;
        }
    }
    let pause = world.service.deadline().map_or(Duration::ZERO, |at| at.since(world.now));
    if pause > Duration::ZERO {
        assert_eq!(world.wait(pause), "run");
    }
    pause
}

#[test]
fn onit_starts_it_a_second_after_the_last_start() {
    let pause = |run, finish| pause_after(&ServiceRules::ONIT, run * MILLI, finish * MILLI);
    assert_eq!(pause(0, 0), 1000 * MILLI);
    assert_eq!(pause(300, 0), 700 * MILLI);
    assert_eq!(pause(300, 400), 300 * MILLI);
    assert_eq!(pause(300, 1000), Duration::ZERO);
    assert_eq!(pause(1500, 0), Duration::ZERO);
}

#[test]
fn runsv_starts_it_a_second_after_the_end_of_a_cycle_shorter_than_a_second() {
    let pause = |run, finish| pause_after(&ServiceRules::RUNSV, run * MILLI, finish * MILLI);
    assert_eq!(pause(0, 0), 1000 * MILLI);
    assert_eq!(pause(300, 0), 1000 * MILLI);
    assert_eq!(pause(300, 400), 1000 * MILLI);
    assert_eq!(pause(999, 0), 1000 * MILLI);
    assert_eq!(pause(300, 700), Duration::ZERO);
    assert_eq!(pause(1500, 0), Duration::ZERO);
}

#[test]
fn supervise_starts_it_a_second_after_the_last_start() {
    let pause = |run| pause_after(&ServiceRules::SUPERVISE, run * MILLI, Duration::ZERO);
    assert_eq!(pause(0), 1000 * MILLI);
    assert_eq!(pause(300), 700 * MILLI);
    assert_eq!(pause(1500), Duration::ZERO);
}

#[test]
fn up_ends_the_pause_but_not_in_the_personalities_of_others() {
    for command in [Command::Up, Command::Once] {
        for (rules, started) in
            [(&ServiceRules::ONIT, "run"), (&ServiceRules::RUNSV, ""), (&ServiceRules::SUPERVISE, "")]
        {
            let mut world = World::new(rules, Role::Main, Want::Up).with(Programs::RUN);
            world.begin();
            world.ends(Exit::Code(1));
            assert_eq!(world.order(command), started);
            if started.is_empty() {
                assert_eq!(world.wait(SECOND), "run");
            }
        }
    }
}

#[test]
fn a_late_timer_starts_it_at_once() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN);
    world.begin();
    world.ends(Exit::Code(1));
    world.pass(999 * MILLI);
    assert_eq!(world.ticks(), "", "not yet");
    world.pass(60 * SECOND);
    assert_eq!(world.ticks(), "run");
}

// Which ends are followed by a start, and when

/// A service with nothing but `run`, which was just started, and these rules.
fn ruled(rules: Rules) -> World {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN);
    world.rule(rules);
    assert_eq!(world.begin(), "run");
    world
}

impl World {
    fn rule(&mut self, rules: Rules) {
        *self.restarts = rules;
    }

    /// It ends like this, and nothing follows at once: how long it takes until the next start.
    fn pause(&mut self, exit: Exit) -> Duration {
        self.ends(exit);
        self.service.next_start().expect("it is to be started again").since(self.now)
    }

    /// It has failed because of this, and stays so.
    fn assert_failed(&self, exit: Exit, cause: Cause) {
        assert_eq!(self.outcome, Some(Outcome::GaveUp(exit, cause)));
        assert_eq!((self.service.state(), self.service.deadline()), (ServiceState::Failed, None), "{cause:?}");
    }

    fn assert_done(&self) {
        assert_eq!(self.outcome, Some(Outcome::Done));
        assert_eq!((self.service.state(), self.service.deadline()), (ServiceState::Done, None));
    }
}

/// A tenth more or less.
fn is_about(pause: Duration, seconds: u32) -> bool {
    (seconds * SECOND * 9 / 10..=seconds * SECOND * 11 / 10).contains(&pause)
}

const ONE_SECOND: Backoff = Backoff { min: SECOND, max: SECOND, reset: Duration::from_secs(30) };

fn at_most(count: u32, seconds: u64) -> Option<MaxRestarts> {
    Some(MaxRestarts { count, window: Duration::from_secs(seconds) })
}

#[test]
fn pauses_double_and_an_order_to_start_begins_anew() {
    let mut world = ruled(Rules::default());
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let pause = world.pause(FAILED);
        assert!(is_about(pause, seconds) && pause >= SECOND, "{seconds}: {pause:?}");
        assert_eq!(world.wait(pause), "run");
    }
    world.ends(FAILED);
    assert_eq!(world.order(Command::Up), "run");
    assert_eq!(world.order(Command::Up), "", "it runs: nothing begins");
    assert_eq!(world.pause(FAILED), SECOND);
    world.wait(SECOND);
    world.order(Command::Up);
    assert!(is_about(world.pause(FAILED), 2), "what runs already is not started by an order");
}

/// What an embedded process has that is given `backoff(2s..30s)`: it reads `2s 30s 45s`.
#[test]
fn one_that_crashes_at_once_waits_2_4_8_16_and_30_seconds_until_45_seconds_of_health() {
    let backoff = Backoff { min: 2 * SECOND, max: 30 * SECOND, reset: 45 * SECOND };
    for (life, next) in [(45 * SECOND, 2), (45 * SECOND - MILLI, 30)] {
        let mut world = ruled(Rules { backoff, ..Rules::default() });
        for seconds in [2, 4, 8, 16, 30, 30] {
            let pause = world.pause(FAILED);
            assert!(is_about(pause, seconds), "{seconds}: {pause:?}");
            assert_eq!(world.wait(pause), "run");
        }
        world.pass(life);
        assert_eq!(world.ends(FAILED), "run", "it has lived longer than its pause");
        let pause = world.pause(FAILED);
        assert!(is_about(pause, 2 * next.min(15)), "{life:?}: {pause:?}");
    }
}

#[test]
fn an_order_to_start_during_finish_begins_anew_too() {
    let mut world = ruled(Rules::default());
    world.ends(FAILED);
    world.wait(SECOND);
    world.programs = Programs::RUN_AND_FINISH;
    assert_eq!(world.ends(FAILED), "finish 3");
    world.order(Command::Up);
    assert_eq!(world.pause(Exit::Code(0)), SECOND);
}

#[test]
fn a_service_that_was_ready_for_long_begins_with_the_least_pause_again() {
    for (life, seconds) in [(30 * SECOND, 2), (30 * SECOND - MILLI, 8)] {
        let mut world = ruled(Rules::default());
        for _ in 0..2 {
            let pause = world.pause(FAILED);
            world.wait(pause);
        }
        world.pass(life);
        assert_eq!(world.ends(FAILED), "run", "it has lived longer than its pause");
        let pause = world.pause(FAILED);
        assert!(is_about(pause, seconds), "{life:?}: {pause:?}");
    }
}

#[test]
fn the_pause_is_the_rest_since_the_last_start() {
    let mut world = ruled(Rules { backoff: Backoff { min: 5 * SECOND, ..Backoff::default() }, ..Rules::default() });
    world.pass(3 * SECOND);
    assert_eq!(world.pause(FAILED), 2 * SECOND);
}

#[test]
fn after_an_end_that_an_order_has_caused_the_pause_is_a_second_at_most() {
    for (min, pause) in [(5 * SECOND, SECOND), (200 * MILLI, 200 * MILLI)] {
        let mut world = ruled(Rules { backoff: Backoff { min, ..Backoff::default() }, ..Rules::default() });
        for _ in 0..3 {
            world.order(Command::Term);
            assert_eq!(world.pause(TERMINATED), pause);
            world.wait(pause);
        }
        assert_eq!(world.pause(FAILED), min, "they did not lengthen it");
    }
}

#[test]
fn five_restarts_are_allowed_and_with_the_sixth_end_it_has_failed() {
    let mut world = ruled(Rules { backoff: ONE_SECOND, max_restarts: at_most(5, 60), ..Rules::default() });
    for _ in 0..2 {
        for _ in 0..5 {
            let pause = world.pause(FAILED);
            assert_eq!(world.outcome, Some(Outcome::Ended { exit: FAILED, lived: Duration::ZERO }));
            assert_eq!(world.wait(pause), "run");
        }
        assert_eq!(world.ends(FAILED), "");
        world.assert_failed(FAILED, Cause::TooOften);
        assert_eq!(world.order(Command::Up), "run", "and an order begins anew");
    }
}

#[test]
fn only_ends_within_the_time_of_max_restarts_count() {
    let mut world = ruled(Rules { backoff: ONE_SECOND, max_restarts: at_most(2, 60), ..Rules::default() });
    for _ in 0..9 {
        world.pass(30 * SECOND + MILLI);
        assert_eq!(world.ends(FAILED), "run");
    }
    world.pass(29 * SECOND);
    assert_eq!(world.ends(FAILED), "");
    world.assert_failed(FAILED, Cause::TooOften);
}

#[test]
fn ends_that_an_order_has_caused_count_towards_no_limit() {
    let mut world = ruled(Rules { restart: Restart::Never, max_restarts: at_most(0, 60), ..Rules::default() });
    for _ in 0..3 {
        world.order(Command::Term);
        world.ends(TERMINATED);
        assert_eq!((world.outcome, world.wait(SECOND)), (None, "run".into()));
    }
    world.rule(Rules { max_restarts: at_most(1, 60), ..Rules::default() });
    assert_eq!(world.pause(FAILED), SECOND, "the first of its own");
    world.wait(SECOND);
    world.ends(FAILED);
    world.assert_failed(FAILED, Cause::TooOften);
}

#[test]
fn an_end_within_ten_seconds_after_a_signal_that_an_order_has_sent_counts_for_nothing() {
    let hangup = Command::Signal(Signal::HUP);
    for exit in [FAILED, Exit::PERMANENT, Exit::Code(0)] {
        let mut world = ruled(Rules { max_restarts: at_most(0, 60), ..Rules::default() });
        world.order(hangup);
        world.pass(10 * SECOND);
        assert_eq!(world.ends(exit), "run", "{exit:?}");
        assert_eq!(world.outcome, Some(Outcome::Ended { exit, lived: 10 * SECOND }), "it is told all the same");
        assert!(world.service.history().last_end().is_some_and(|end| end.asked));
        world.ends(FAILED);
        world.assert_failed(FAILED, Cause::TooOften);
    }
    let mut world = ruled(Rules { max_restarts: at_most(0, 60), ..Rules::default() });
    world.order(hangup);
    world.pass(10 * SECOND + MILLI);
    world.ends(FAILED);
    world.assert_failed(FAILED, Cause::TooOften);
    let mut world = ruled(Rules::default());
    for _ in 0..3 {
        world.order(hangup);
        assert_eq!(world.pause(FAILED), SECOND, "nor does the pause grow");
        world.wait(SECOND);
    }
    world.order(Command::Pause(Target::Process));
    world.pause(FAILED);
    world.wait(SECOND);
    assert!(is_about(world.pause(FAILED), 2), "STOP and CONT are not meant");
}

#[test]
fn on_failure_it_is_started_again_only_after_a_failure() {
    let success = SuccessCodes::default().and(FAILED).and(TERMINATED);
    let rules = Rules { restart: Restart::OnFailure, success, ..Rules::default() };
    for exit in [Exit::Code(0), FAILED, TERMINATED] {
        let mut world = ruled(rules);
        assert_eq!(world.ends(exit), "");
        world.assert_done();
        assert_eq!(world.order(Command::Up), "run", "an order starts it again");
    }
    let dumped = Exit::Signal { signal: Signal::TERM, core: true };
    for exit in [Exit::Code(1), KILLED, dumped] {
        let mut world = ruled(rules);
        world.ends(exit);
        assert_eq!((world.wait(SECOND), world.service.state()), ("run".into(), ServiceState::Up), "{exit:?}");
    }
}

#[test]
fn always_it_is_started_again_after_a_success_too() {
    let mut world = ruled(Rules::default());
    world.ends(Exit::Code(0));
    assert_eq!(world.wait(SECOND), "run");
}

#[test]
fn never_it_is_not_started_again_and_has_failed_unless_it_was_a_success() {
    let mut world = ruled(Rules { restart: Restart::Never, ..Rules::default() });
    world.ends(Exit::Code(0));
    world.assert_done();
    world.order(Command::Up);
    world.ends(FAILED);
    world.assert_failed(FAILED, Cause::NoRestart);
}

#[test]
fn finish_runs_after_the_last_end_too() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    world.rule(Rules { restart: Restart::Never, ..Rules::default() });
    world.begin();
    assert_eq!(world.ends(FAILED), "finish 3");
    assert_eq!((world.ends(Exit::Code(0)), world.service.state()), (String::new(), ServiceState::Failed));
}

#[test]
fn run_that_exits_with_100_has_failed_unless_that_is_a_success() {
    let mut world = ruled(Rules::default());
    world.ends(Exit::PERMANENT);
    world.assert_failed(Exit::PERMANENT, Cause::Permanent);
    assert_eq!(world.order(Command::Up), "run");
    world.rule(Rules { success: SuccessCodes::default().and(Exit::PERMANENT), ..Rules::default() });
    world.ends(Exit::PERMANENT);
    assert_eq!(world.wait(SECOND), "run");
}

/// What would be the end of any service of ours.
fn strict() -> Rules {
    let backoff = Backoff { min: 10 * SECOND, max: 20 * SECOND, reset: SECOND };
    Rules { restart: Restart::Never, backoff, max_restarts: at_most(0, 60), start_retries: Some(0), ..Rules::default() }
}

#[test]
fn a_logger_is_started_again_after_a_second_whatever_the_rules_are() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Logger, Want::Up);
    world.rule(strict());
    world.begin();
    for exit in [FAILED, Exit::PERMANENT, Exit::Code(0), KILLED] {
        assert_eq!(world.pause(exit), SECOND, "{exit:?}");
        assert_eq!(world.wait(SECOND), "run");
    }
}

#[test]
fn the_personalities_of_others_keep_their_fixed_pause_and_know_no_limit() {
    for rules in [&ServiceRules::RUNSV, &ServiceRules::SUPERVISE] {
        let mut world = World::new(rules, Role::Main, Want::Up).with(Programs::RUN);
        world.rule(strict());
        world.begin();
        for exit in [FAILED, Exit::PERMANENT, Exit::Code(0), KILLED] {
            assert_eq!(world.pause(exit), SECOND, "{exit:?}");
            assert_eq!(world.wait(SECOND), "run");
        }
    }
}

// setup

const SETUP: Programs = Programs { setup: Program::Runs, ..Programs::RUN };
const ONESHOT: Programs = Programs { oneshot: true, ..SETUP };

/// `setup` lives, for 10 seconds now.
fn setting_up(programs: Programs) -> World {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(programs);
    assert_eq!(world.begin(), "setup");
    world.pass(10 * SECOND);
    world
}

#[test]
fn setup_runs_before_each_start_of_run_and_belongs_to_its_life() {
    let mut world = setting_up(SETUP);
    let begun = world.now;
    for life in 1..4 {
        let view = world.service.view();
        assert_eq!((view.phase, world.service.state()), (Phase::Setup, ServiceState::Setup));
        let shown = view.in_files(false);
        assert_eq!((shown.phase, shown.pid, shown.want, shown.since), (Phase::Down, None, Want::Up, view.since));
        assert_eq!(world.ends(Exit::Code(0)), "run");
        assert_eq!((world.service.state(), world.service.view().since), (ServiceState::Up, world.now));
        assert_eq!(world.service.view().in_files(false), world.service.view());
        let history = world.service.history();
        let last = *history.lives().last().expect("a life");
        assert_eq!((history.begun(), last.ready, last.end), (life, Some(world.now), None));
        assert!(last.start < begun || life > 1, "it began with setup");
        world.pass(3 * SECOND);
        assert_eq!(world.ends(Exit::Code(0)), if life < 3 { "setup" } else { "" }, "the third pause is longer");
    }
}

#[test]
fn the_tools_of_others_know_no_setup_and_a_logger_has_none() {
    for (rules, role) in [
        (&ServiceRules::RUNSV, Role::Main),
        (&ServiceRules::SUPERVISE, Role::Main),
        (&ServiceRules::ONIT, Role::Logger),
    ] {
        assert_eq!(World::new(rules, role, Want::Up).with(SETUP).begin(), "run");
    }
}

#[test]
fn setup_that_fails_is_run_again_after_pauses_that_grow() {
    for programs in [SETUP, ONESHOT] {
        let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(programs);
        world.begin();
        for (exit, seconds) in [(FAILED, 1), (Exit::PERMANENT, 2), (KILLED, 4)] {
            let pause = world.pause(exit);
            assert!(is_about(pause, seconds), "{seconds}: {pause:?}");
            assert_eq!(world.outcome, Some(Outcome::SetupFailed(exit)));
            assert_eq!((world.service.state(), world.wait(pause)), (ServiceState::Backoff, "setup".into()));
        }
    }
}

#[test]
fn setup_is_limited_as_run_is() {
    let mut world = setting_up(SETUP);
    world.rule(Rules { max_restarts: at_most(1, 60), backoff: ONE_SECOND, ..Rules::default() });
    assert_eq!(world.ends(FAILED), "setup", "it has lived longer than its pause");
    world.ends(FAILED);
    world.assert_failed(FAILED, Cause::TooOften);
    let mut world = setting_up(SETUP);
    world.rule(Rules { restart: Restart::Never, ..Rules::default() });
    world.ends(FAILED);
    world.assert_failed(FAILED, Cause::NoRestart);
}

#[test]
fn a_start_and_its_retries_may_end_before_it_is_ready() {
    let mut world = setting_up(SETUP);
    world.rule(Rules { start_retries: Some(2), backoff: ONE_SECOND, ..Rules::default() });
    for _ in 0..2 {
        world.pass(2 * SECOND);
        assert_eq!(world.ends(FAILED), "setup");
    }
    assert_eq!(world.ends(Exit::Code(0)), "run", "it is ready");
    world.pass(2 * SECOND);
    assert_eq!(world.ends(FAILED), "setup", "so this is the first start of all that count");
    for _ in 0..2 {
        world.pass(2 * SECOND);
        assert_eq!(world.ends(FAILED), "setup");
    }
    world.ends(FAILED);
    world.assert_failed(FAILED, Cause::NeverReady);
    assert_eq!(world.order(Command::Up), "setup");
    world.pass(2 * SECOND);
    assert_eq!(world.ends(FAILED), "setup", "an order begins anew");
}

/// Exit code 111 stands for what could not be executed, and that ends at once.
#[test]
fn what_was_ready_for_a_while_has_not_failed_to_start_whatever_its_exit_code() {
    let mut world = up().with(Programs::RUN);
    world.rule(Rules { start_retries: Some(0), backoff: ONE_SECOND, ..Rules::default() });
    assert_eq!(world.ends(Exit::NOT_RUN), "run");
    world.pass(2 * SECOND);
    assert_eq!(world.ends(Exit::NOT_RUN), "run");
    world.pass(SECOND / 2);
    world.ends(Exit::NOT_RUN);
    world.assert_failed(Exit::NOT_RUN, Cause::NeverReady);
}

#[test]
fn setup_that_exits_with_111_has_failed_for_good() {
    for programs in [SETUP, ONESHOT] {
        let mut world = setting_up(programs);
        assert_eq!(world.ends(Exit::NOT_RUN), "");
        world.assert_failed(Exit::NOT_RUN, Cause::Permanent);
        assert_eq!(world.order(Command::Up), "setup");
    }
}

#[test]
fn setup_that_cannot_be_executed_is_tried_again_after_pauses_that_grow() {
    let refused = Programs { setup: Program::Refused(Refusal::Exec), ..Programs::RUN };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(refused);
    assert_eq!(world.begin(), "no setup: Exec");
    assert_eq!(world.wait(SECOND), "no setup: Exec");
    world.programs = SETUP;
    let pause = world.service.next_start().expect("it is tried again").since(world.now);
    assert!(is_about(pause, 2), "{pause:?}");
    assert_eq!(world.wait(pause), "setup");
}

#[test]
fn a_failed_fork_of_run_after_setup_lets_the_same_life_begin_with_setup_again() {
    let mut world = setting_up(Programs { run: Some(Refusal::Fork), ..SETUP });
    assert_eq!(world.ends(Exit::Code(0)), "no run: Fork");
    assert_eq!(world.service.history().begun(), 0);
    assert_eq!(world.wait(SECOND), "setup");
    let history = world.service.history();
    assert_eq!((history.begun(), history.lives().last().map(|life| life.start)), (1, Some(world.now)));
}

#[test]
fn a_oneshot_is_done_when_setup_is_and_an_order_runs_it_again() {
    let mut world = setting_up(ONESHOT);
    for order in [Command::Up, Command::Once] {
        assert_eq!(world.ends(Exit::Code(0)), "");
        world.assert_done();
        assert!(world.service.history().last_end().is_some_and(|end| end.is_success && !end.asked));
        assert_eq!(world.order(order), "setup");
    }
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert_eq!((world.service.state(), world.outcome), (ServiceState::Done, None), "that was to be its end");
}

#[test]
fn a_oneshot_that_is_to_run_once_is_not_run_again_when_it_fails() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Down).with(ONESHOT);
    world.begin();
    assert_eq!(world.order(Command::Once), "setup");
    world.ends(FAILED);
    assert_eq!(world.outcome, Some(Outcome::GaveUp(FAILED, Cause::Setup)));
    assert_eq!((world.service.state(), world.service.deadline()), (ServiceState::Failed, None));
}

#[test]
fn with_an_essential_oneshot_everything_ends_when_it_is_done() {
    for (kind, outcome) in [
        (Essential::Always, Outcome::EssentialEnded(Exit::Code(0))),
        (Essential::OnFailure, Outcome::Done),
        (Essential::OnGiveup, Outcome::Done),
    ] {
        let mut world = World { essential: Some(kind), ..setting_up(ONESHOT) };
        assert_eq!(world.ends(Exit::Code(0)), "");
        assert_eq!((world.outcome, world.service.state()), (Some(outcome), ServiceState::Done), "{kind:?}");
    }
    let mut world = World { essential: Some(Essential::Always), ..setting_up(SETUP) };
    assert_eq!((world.ends(Exit::Code(0)), world.outcome), ("run".into(), None), "run is what is essential");
}

#[test]
fn down_during_setup_stops_it_and_run_does_not_follow() {
    for exit in [TERMINATED, Exit::Code(0), Exit::NOT_RUN] {
        let mut world = setting_up(SETUP).hooked(&COMMANDS).with(Programs { hooks: &COMMANDS, ..SETUP });
        assert_eq!(world.order(Command::Down), "TERM setup, CONT setup", "control/X is for run");
        assert_eq!(world.service.state(), ServiceState::Stopping);
        assert!(!world.service.view().in_files(false).got_term);
        assert_eq!(world.ends(exit), "");
        assert_eq!((world.outcome, world.service.state()), (None, ServiceState::Down), "{exit:?}");
        assert!(world.service.history().last_end().is_some_and(|end| end.asked));
    }
}

#[test]
fn a_restart_during_setup_begins_with_setup_again() {
    for orders in [[Command::Down, Command::Up], [Command::Term, Command::Up]] {
        for exit in [TERMINATED, Exit::Code(0), Exit::NOT_RUN] {
            let mut world = setting_up(SETUP);
            world.rule(strict());
            world.orders(orders);
            assert_eq!(world.ends(exit), "setup", "{orders:?} {exit:?}");
            assert_eq!(world.service.state(), ServiceState::Setup, "it got no TERM");
        }
    }
}

#[test]
fn exit_during_setup_stops_it_and_supervision_ends() {
    let mut world = setting_up(SETUP);
    assert_eq!(world.order(Command::Exit), "TERM setup, CONT setup");
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert!(world.service.is_gone());
}

#[test]
fn of_all_signals_only_those_that_stop_it_and_kill_reach_setup() {
    for command in COMMANDS.into_iter().filter(|c| !matches!(c, Command::Disable | Command::Enable)) {
        let mut world = setting_up(SETUP);
        let expected = match command {
            Command::Down | Command::Exit | Command::Term | Command::StopSignal => "TERM setup, CONT setup",
            Command::Kill(Target::Process) => "KILL setup",
            Command::Kill(Target::Group) => "KILL setup's group",
            _ => "",
        };
        assert_eq!(world.order(command), expected, "{command:?}");
    }
    let mut world = setting_up(SETUP).limited(Limits { stop_signal: Signal::INT, ..Limits::of(&ServiceRules::ONIT) });
    assert_eq!(world.order(Command::Down), "INT setup, CONT setup");
}

#[test]
fn setup_that_takes_longer_than_timeout_up_is_killed_and_has_failed() {
    let limits = Limits { up_limit: Some(3 * SECOND), ..Limits::of(&ServiceRules::ONIT) };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(SETUP).limited(limits);
    world.begin();
    assert_eq!(world.wait(3 * SECOND), "kill late setup");
    assert_eq!(world.wait(KILL_RETRY), "kill late setup", "and again");
    assert_eq!(world.ends(KILLED), "setup", "its pause is over");
    assert_eq!(world.outcome, Some(Outcome::SetupFailed(KILLED)));
    assert_eq!(world.ends(Exit::Code(0)), "run");
    assert_eq!(world.service.deadline(), None, "run has no such limit");
    assert_eq!(setting_up(SETUP).service.deadline(), None, "nor has setup, unless the service says so");
}

#[test]
fn setup_that_ignores_an_orderly_stop_is_killed_and_one_that_is_restarted_is_not() {
    let mut world = setting_up(SETUP).limited(kill_after(3 * SECOND));
    world.order(Command::Down);
    world.pass(2 * SECOND);
    world.order(Command::Down);
    assert_eq!(world.wait(SECOND), "kill late setup", "a repeated order does not put it off");
    let mut world = setting_up(SETUP).limited(kill_after(3 * SECOND));
    world.order(Command::Term);
    assert_eq!(world.service.deadline(), None);
}

#[test]
fn escalating_kills_setup() {
    let mut world = setting_up(SETUP);
    assert_eq!(world.escalate(), "KILL setup");
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert!(world.service.is_gone());
}

// control/X

#[test]
fn control_u_runs_before_each_start_and_its_result_is_ignored() {
    for exit in [Exit::Code(0), Exit::Code(1), TERMINATED] {
        let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).hooked(&[Command::Up]);
        assert_eq!(world.begin(), "control/u");
        assert_eq!((world.service.view().phase, world.service.is_busy()), (Phase::Down, true));
        assert_eq!(world.hook_ends(exit), "run");
        world.ends(Exit::Code(0));
        world.pass(SECOND);
        assert_eq!(world.ends(Exit::Code(0)), "control/u");
    }
}

#[test]
fn down_while_control_u_runs_prevents_the_start() {
    for command in [Command::Down, Command::NoRestart, Command::Exit] {
        let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).hooked(&[Command::Up]);
        world.begin();
        assert_eq!(world.order(command), "");
        assert!(!world.service.is_gone(), "control/u still runs");
        assert_eq!(world.hook_ends(Exit::Code(0)), "");
        assert_eq!(world.service.is_gone(), command == Command::Exit);
    }
}

#[test]
fn stopping_asks_control_t_then_tells_control_d_or_control_x() {
    let hooks = &[Command::Term, Command::Down, Command::Exit];
    for (command, told) in [(Command::Down, "control/d"), (Command::Exit, "control/x")] {
        let mut world = up().hooked(hooks);
        assert_eq!(world.order(command), "control/t");
        assert_eq!(world.hook_ends(Exit::Code(1)), format!("TERM run, CONT run, {told}"));
        assert_eq!(world.hook_ends(Exit::Code(0)), "", "its result is ignored");
        assert!(!world.service.is_busy());
    }
}

#[test]
fn control_t_that_succeeds_takes_the_place_of_term_but_not_of_cont() {
    let mut world = up().hooked(&[Command::Term]);
    assert_eq!(world.order(Command::Down), "control/t");
    assert_eq!(world.hook_ends(Exit::Code(0)), "CONT run");
    assert!(!world.service.view().got_term);

    let mut world = up().hooked(&[Command::Term]);
    assert_eq!(world.order(Command::Term), "control/t");
    assert_eq!(world.hook_ends(Exit::Code(0)), "");
}

#[test]
fn control_t_that_fails_or_is_killed_lets_term_be_sent() {
    for exit in [Exit::Code(1), Exit::Code(111), TERMINATED, KILLED] {
        let mut world = up().hooked(&[Command::Term]);
        world.order(Command::Term);
        assert_eq!(world.hook_ends(exit), "TERM run", "{exit:?}");
        assert!(world.service.view().got_term);
    }
}

#[test]
fn a_hook_that_cannot_be_started_lets_the_signal_be_sent() {
    for why in [Refusal::Exec, Refusal::Fork] {
        let mut world = up().with(Programs { refused_hooks: Some(why), ..Programs::RUN });
        assert_eq!(world.order(Command::Term), format!("no control/t: {why:?}, TERM run"));
    }
}

#[test]
fn a_late_hook_is_killed_and_the_signal_sent_even_if_it_exits_0() {
    let mut world = up().hooked(&[Command::Term]);
    world.order(Command::Term);
    assert_eq!(world.wait(5 * SECOND), "kill late control/t");
    assert_eq!(world.wait(KILL_RETRY), "kill late control/t");
    assert_eq!(world.hook_ends(Exit::Code(0)), "TERM run");
}

#[test]
fn each_signal_has_its_hook() {
    for (command, sent) in [
        (Command::Kill(Target::Process), "KILL run"),
        (Command::Pause(Target::Process), "STOP run"),
        (Command::Continue(Target::Process), "CONT run"),
        (Command::Signal(Signal::HUP), "HUP run"),
    ] {
        let asked = format!("control/{}", command_word(command));
        let mut world = up().hooked(&COMMANDS);
        assert_eq!(world.order(command), asked);
        assert_eq!(world.hook_ends(Exit::Code(0)), "", "handled");
        assert_eq!(world.order(command), asked);
        assert_eq!(world.hook_ends(Exit::Code(1)), sent);
    }
}

#[test]
fn reload_sends_the_signal_that_the_service_says_and_asks_its_hook() {
    let mut world = up().hooked(&COMMANDS);
    assert_eq!(world.order(Command::Reload), "control/HUP");
    assert_eq!(world.hook_ends(Exit::Code(1)), "HUP run");
    world.service.inputs.reload_signal = Signal::USR1;
    assert_eq!((world.order(Command::Reload), world.hook_ends(Exit::Code(0))), ("control/USR1".into(), String::new()));
    world.service.inputs.reload_signal = Signal::WINCH;
    world.programs = Programs::RUN;
    assert_eq!(world.order(Command::Reload), "WINCH run", "no hook");
    world.ends(Exit::Signal { signal: Signal::WINCH, core: false });
    assert!(!world.known.failed && world.service.memory().ended_by_order == 1, "the end is an effect of it");
}

#[test]
fn control_k_that_succeeds_leaves_the_process_and_up_makes_no_second() {
    let kill = Command::Kill(Target::Process);
    let mut world = up().hooked(&[Command::Kill(Target::Process)]);
    world.order(kill);
    world.hook_ends(Exit::Code(0));
    assert_eq!(world.order(Command::Up), "");
    assert_eq!(world.service.view().phase, Phase::Run);
}

#[test]
fn orders_beside_a_running_hook_ask_no_second_one() {
    let mut world = up().hooked(&COMMANDS);
    world.order(Command::Term);
    assert_eq!(world.order(Command::Signal(Signal::HUP)), "HUP run");
    assert_eq!(world.order(Command::Down), "TERM run, CONT run");
    assert_eq!(world.hook_ends(Exit::Code(0)), "CONT run, control/d", "its own order is now one to stop");
}

#[test]
fn a_signal_whose_process_has_gone_meanwhile_is_not_sent_to_the_next() {
    let mut world = up().hooked(&[Command::Term]).with(Programs { hooks: &[Command::Term], ..Programs::RUN });
    world.order(Command::Term);
    assert_eq!(world.ends(Exit::Code(0)), "", "the start waits for the hook");
    assert_eq!(world.wait(5 * SECOND), "kill late control/t");
    assert_eq!(world.hook_ends(KILLED), "run", "no TERM");
}

#[test]
fn a_hook_that_outlives_the_pause_does_not_lengthen_it() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    world.begin();
    let mut world = world.with(Programs { hooks: &[Command::Term], ..Programs::RUN });
    world.order(Command::Term);
    world.ends(Exit::Code(0));
    world.pass(100 * MILLI);
    assert_eq!(world.hook_ends(Exit::Code(0)), "", "the second is not over");
    assert_eq!(world.wait(900 * MILLI), "run");
}

#[test]
fn exit_waits_for_the_hook_it_told() {
    let hooks: &[Command] = &[Command::Exit];
    let mut world = up().with(Programs { hooks, ..Programs::RUN });
    assert_eq!(world.order(Command::Exit), "TERM run, CONT run, control/x");
    assert_eq!(world.ends(TERMINATED), "");
    assert!(!world.service.is_gone());
    assert_eq!(world.wait(5 * SECOND), "kill late control/x");
    world.hook_ends(KILLED);
    assert!(world.service.is_gone());
}

// stop

fn with_stop() -> World {
    up().with(Programs { stop: Program::Runs, ..Programs::RUN })
}

fn stop_ends(world: &mut World, exit: Exit) -> String {
    let at = world.living.iter().position(|p| p.script == Script::Stop).expect("stop lives");
    world.death(at, exit)
}

#[test]
fn stop_runs_in_place_of_each_stop_signal() {
    for command in [Command::Down, Command::Exit, Command::Term, Command::StopSignal] {
        let mut world = with_stop().limited(Limits { stop_signal: Signal::INT, ..kill_after(3 * SECOND) });
        assert_eq!(world.order(command), "stop", "{command:?}");
        assert_eq!((world.service.state(), world.service.is_busy()), (ServiceState::Stopping, false));
        let ends = matches!(command, Command::Down | Command::Exit);
        assert_eq!(stop_ends(&mut world, Exit::Code(0)), if ends { "CONT run" } else { "" }, "{command:?}");
        assert_eq!(world.service.state(), ServiceState::Stopping, "it was asked to end");
        assert_eq!(world.service.stop_again(), Step::NOTHING, "nor is a signal sent after a fault");
        if ends {
            assert_eq!(world.wait(3 * SECOND), "kill late run", "as after a signal");
        } else {
            assert_eq!(world.service.deadline(), None, "a restart is never forced");
        }
    }
}

#[test]
fn control_t_is_asked_before_stop_and_stop_before_the_signal() {
    let hooks = &[Command::Term, Command::Down];
    let mut world = up().with(Programs { stop: Program::Runs, hooks, ..Programs::RUN });
    assert_eq!(world.order(Command::Down), "control/t");
    assert_eq!(world.hook_ends(Exit::Code(1)), "stop");
    assert_eq!(world.hook_ends(Exit::Code(3)), "stop failed 3, TERM run, CONT run, control/d");
    world.hook_ends(Exit::Code(0));
    assert_eq!(world.order(Command::Down), "control/t");
    assert_eq!(world.hook_ends(Exit::Code(0)), "CONT run, control/d", "handled, and nothing is left to do");
}

#[test]
fn a_stop_that_fails_or_cannot_be_started_lets_the_signal_be_sent() {
    for exit in [Exit::Code(1), Exit::Code(111), TERMINATED] {
        let mut world = with_stop();
        world.order(Command::Term);
        assert_eq!(stop_ends(&mut world, exit), format!("stop failed {}, TERM run", exit_word(exit)));
        assert!(world.service.stop_again() != Step::NOTHING, "the signal may have been lost in a fault");
    }
    let mut world = with_stop();
    world.orders([Command::Down]);
    stop_ends(&mut world, Exit::Code(0));
    assert_eq!((world.order(Command::Down), stop_ends(&mut world, TERMINATED).is_empty()), ("stop".into(), false));
    assert!(world.service.stop_again() != Step::NOTHING, "that was the second one");
    assert_eq!(world.ends(TERMINATED), "");
    assert_eq!(world.order(Command::Up), "run");
    world.order(Command::Down);
    stop_ends(&mut world, Exit::Code(0));
    world.ends(Exit::Code(0));
    world.limit(Limits { up_limit: Some(3 * SECOND), ..Limits::of(&ServiceRules::ONIT) });
    world.readiness = Readiness::Descriptor(3);
    assert_eq!(
        (world.order(Command::Up), world.wait(3 * SECOND)),
        ("run".into(), "not ready, TERM run, CONT run".into())
    );
    assert!(world.service.stop_again() != Step::NOTHING, "it holds for one life");
    for why in [Refusal::Exec, Refusal::Fork] {
        let mut world = up().with(Programs { stop: Program::Refused(why), ..Programs::RUN });
        assert_eq!(world.order(Command::Term), format!("no stop: {why:?}, TERM run"));
    }
}

#[test]
fn stop_has_the_time_of_timeout_kill_and_then_the_signal_is_sent() {
    for (limit, time) in [(None, 5 * SECOND), (Some(30 * SECOND), 30 * SECOND), (Some(MILLI), MILLI)] {
        let mut world = with_stop().limited(Limits { kill_after: limit, ..Limits::of(&ServiceRules::ONIT) });
        assert_eq!(world.order(Command::Down), "stop");
        assert_eq!(world.wait(time), "kill late stop");
        assert_eq!(stop_ends(&mut world, KILLED), "TERM run, CONT run");
        let left = world.service.deadline().map(|at| at.since(world.now));
        assert_eq!(left, limit, "and the time until KILL begins");
    }
}

#[test]
fn orders_do_not_wait_for_stop() {
    let mut world = with_stop().limited(kill_after(30 * SECOND));
    world.order(Command::Term);
    assert_eq!(world.orders([Command::Term, Command::Down, Command::Exit]), ["", "", ""], "it is being stopped");
    assert_eq!(stop_ends(&mut world, Exit::Code(0)), "CONT run", "what is wanted by then");
    assert_eq!(world.wait(30 * SECOND), "kill late run");

    let mut world = with_stop();
    world.order(Command::Down);
    assert_eq!(world.orders([Command::Up, Command::Signal(Signal::HUP)]), ["", "HUP run"]);
    assert_eq!(stop_ends(&mut world, Exit::Code(0)), "");
    world.pass(SECOND);
    assert_eq!(world.ends(Exit::Code(0)), "run", "up took the stop back to a restart");
}

#[test]
fn kill_and_a_shutdown_out_of_patience_do_not_wait_for_stop() {
    for (to, run) in [(Target::Process, "KILL run"), (Target::Group, "KILL run's group")] {
        let mut world = with_stop();
        world.order(Command::Down);
        assert_eq!(world.order(Command::Kill(to)), format!("KILL stop, {run}"));
        assert_eq!(world.ends(KILLED), "");
        assert_eq!(stop_ends(&mut world, KILLED), "", "that is no news");
    }
    let mut world = with_stop();
    world.order(Command::Down);
    assert_eq!(world.escalate(), "KILL stop, KILL run");
    world.ends(KILLED);
    assert_eq!(stop_ends(&mut world, KILLED), "");
    assert!(world.service.is_gone());
}

#[test]
fn a_stop_whose_service_has_ended_meanwhile_tells_no_other() {
    let mut world = with_stop();
    world.order(Command::Term);
    assert_eq!(world.ends(Exit::Code(0)), "", "the start waits for it");
    world.pass(SECOND);
    assert_eq!(stop_ends(&mut world, Exit::Code(1)), "run", "no TERM");
    assert_eq!(world.service.state(), ServiceState::Up);

    let finish = Program::Refused(Refusal::Fork);
    let hooks = &[Command::Term];
    let mut world = up().with(Programs { stop: Program::Runs, finish, hooks, ..Programs::RUN });
    world.order(Command::Down);
    assert_eq!(world.ends(Exit::Code(0)), "no finish 0: Fork");
    assert_eq!(world.hook_ends(Exit::Code(1)), "", "stop has nobody to stop");
}

#[test]
fn neither_loggers_nor_setup_nor_other_tools_have_a_stop() {
    let programs = Programs { stop: Program::Runs, ..Programs::RUN };
    for rules in [&ServiceRules::RUNSV, &ServiceRules::SUPERVISE] {
        assert_eq!(World::up(rules).with(programs).order(Command::Term), "TERM run");
    }
    assert_eq!(logger().with(programs).order(Command::Term), "TERM run");
    let setup = Programs { stop: Program::Runs, ..SETUP };
    assert_eq!(setting_up(setup).order(Command::Down), "TERM setup, CONT setup");
}

// kill-mode

#[test]
fn whom_a_stop_reaches_is_what_kill_mode_said_at_the_start() {
    for kill_mode in [KillMode::Group, KillMode::Cgroup] {
        let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).limited(kill_after(3 * SECOND));
        world.kill_mode = kill_mode;
        assert_eq!(world.begin(), "run");
        world.kill_mode = KillMode::Process;
        world.pass(10 * SECOND);
        assert_eq!(world.order(Command::Down), "TERM run's group, CONT run's group");
        let mut again = Step::NOTHING;
        again.push(Effect::Signal(Pid(1), Signal::TERM, Target::Group));
        again.push(Effect::Signal(Pid(1), Signal::CONT, Target::Group));
        assert_eq!(world.service.stop_again(), again);
        assert_eq!(world.wait(3 * SECOND), "kill late run");
        assert_eq!(world.service.kill_mode(), kill_mode, "it is killed by that");
        assert_eq!(world.ends(KILLED), "kill what run left, finish KILL");
        assert_eq!(world.ends(Exit::Code(0)), "kill what finish KILL left");
        assert_eq!((world.order(Command::Up), world.order(Command::Term)), ("run".into(), "TERM run".into()));
    }
}

#[test]
fn whatever_its_end_run_leaves_nothing_behind() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN);
    world.kill_mode = KillMode::Group;
    world.begin();
    world.pass(10 * SECOND);
    assert_eq!(world.ends(Exit::Code(1)), "kill what run left, run");
    assert_eq!(world.order(Command::Kill(Target::Process)), "KILL run", "that order is for run");
    world.pass(10 * SECOND);
    assert_eq!(world.ends(KILLED), "kill what run left, run");
    assert_eq!((world.escalate(), world.ends(KILLED)), ("KILL run's group".into(), "kill what run left".into()));
}

#[test]
fn a_setup_that_fails_leaves_nothing_behind_and_one_that_succeeds_may() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(SETUP);
    world.kill_mode = KillMode::Group;
    assert_eq!(world.begin(), "setup");
    assert_eq!(world.ends(Exit::Code(1)), "kill what setup left");
    assert_eq!((world.wait(SECOND), world.ends(Exit::Code(0))), ("setup".into(), "run".into()));
    assert_eq!(world.order(Command::Term), "TERM run's group");
    world.pass(SECOND);
    assert_eq!(world.ends(TERMINATED), "kill what run left, setup");
    assert_eq!(world.order(Command::Down), "TERM setup's group, CONT setup's group");
}

// max-death-tally

#[test]
fn a_death_of_run_is_noted_before_finish_if_that_is_wanted() {
    let mut world = up();
    world.service.inputs.death_tally = Some(7);
    world.kill_mode = KillMode::Group;
    assert_eq!(world.ends(Exit::Code(3)), "note 3 of 7, finish 3");
    assert_eq!(world.ends(Exit::Code(0)), "run", "only those of run");
    assert_eq!(world.ends(KILLED), "kill what run left, note KILL of 7, finish KILL");
    for none in [None, Some(0)] {
        let mut world = up();
        world.service.inputs.death_tally = none;
        assert_eq!(world.ends(Exit::Code(3)), "finish 3");
    }
}

// timeout-kill

#[test]
fn whoever_ignores_an_orderly_stop_is_killed_and_killed_again() {
    for command in [Command::Down, Command::Exit] {
        let mut world = up().limited(kill_after(3 * SECOND));
        assert_eq!(world.order(command), "TERM run, CONT run");
        assert_eq!(world.wait(3 * SECOND), "kill late run");
        assert_eq!(world.wait(KILL_RETRY), "kill late run");
        assert_eq!(world.ends(KILLED), "finish KILL");
    }
}

#[test]
fn a_repeated_order_does_not_put_the_kill_off() {
    let mut world = up().limited(kill_after(3 * SECOND));
    world.order(Command::Down);
    world.pass(2 * SECOND);
    world.order(Command::Down);
    assert_eq!(world.wait(SECOND), "kill late run");
}

#[test]
fn the_kill_comes_even_if_control_t_took_the_place_of_term() {
    let mut world = up().hooked(&[Command::Term]).limited(kill_after(3 * SECOND));
    world.order(Command::Down);
    world.hook_ends(Exit::Code(0));
    assert_eq!(world.wait(3 * SECOND), "kill late run");
}

#[test]
fn a_restart_is_never_forced() {
    let mut world = up().limited(kill_after(3 * SECOND));
    world.order(Command::Term);
    assert_eq!(world.service.deadline(), None);
    let mut world = up();
    world.order(Command::Down);
    assert_eq!(world.service.deadline(), None, "nor a stop, unless the service says so");
}

// Loggers

#[test]
fn a_logger_has_neither_finish_nor_hooks() {
    let mut world = logger().hooked(&COMMANDS);
    assert_eq!(world.order(Command::Term), "TERM run");
    assert_eq!(world.ends(TERMINATED), "run");
}

#[test]
fn a_logger_ignores_exit() {
    let mut world = logger();
    assert_eq!(world.order(Command::Exit), "");
    let view = world.service.view();
    assert_eq!((view.phase, view.want, view.leaving), (Phase::Run, Want::Up, false));
}

#[test]
fn a_logger_is_gone_when_it_ends_after_its_input_has() {
    let mut world = logger();
    assert_eq!(world.drain(true), "CONT run");
    assert!(world.service.view().leaving);
    assert_eq!(world.drain(true), "", "once");
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert!(world.service.is_gone());
}

#[test]
fn a_logger_that_is_paused_goes_on_when_its_input_has_ended() {
    let mut world = logger();
    world.order(Command::Pause(Target::Process));
    assert!(world.service.view().paused);
    assert_eq!(world.drain(false), "CONT run");
    assert!(!world.service.view().paused);
}

#[test]
fn a_logger_that_does_not_end_with_its_input_gets_term_and_then_kill() {
    let mut world = logger();
    world.drain(false);
    assert_eq!(world.wait(DRAIN_LIMIT), "TERM run");
    assert!(world.service.view().got_term);
    assert_eq!(world.wait(KILL_RETRY), "kill late run");
    world.ends(KILLED);
    assert!(world.service.is_gone());
}

#[test]
fn a_service_that_others_write_to_ends_with_its_input_and_finishes() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    world.programs.finish = Program::Runs;
    world.begin();
    assert_eq!(world.drain(true), "CONT run");
    assert_eq!(world.ends(Exit::Code(0)), "finish 0");
    world.ends(Exit::Code(0));
    assert!(world.service.is_gone());
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    world.begin();
    world.drain(true);
    assert_eq!([world.wait(DRAIN_LIMIT), world.wait(KILL_RETRY)], ["TERM run", "kill late run"]);
}

#[test]
fn a_crashed_logger_is_started_again_for_what_is_left() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Logger, Want::Up);
    world.begin();
    world.ends(Exit::Code(1));
    assert_eq!(world.drain(true), "");
    assert_eq!(world.wait(SECOND), "run");
    assert_eq!(world.wait(DRAIN_LIMIT - SECOND), "TERM run");
    world.ends(TERMINATED);
    assert!(world.service.is_gone());
}

#[test]
fn a_failed_fork_does_not_give_up_what_is_left() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Logger, Want::Up);
    world.begin();
    world.ends(Exit::Code(1));
    world.drain(true);
    world.programs.run = Some(Refusal::Fork);
    world.unread = 1;
    assert_eq!(world.wait(SECOND), "no run: Fork");
    world.programs.run = None;
    assert_eq!(world.wait(SECOND), "run");
}

#[test]
fn a_draining_logger_that_ends_too_soon_goes_on_at_once_while_it_reads_and_by_the_second_while_it_does_not() {
    let mut world = logger();
    world.drain_with(300);
    world.unread = 200;
    assert_eq!(world.ends(Exit::Code(1)), "run", "it has lived long");
    world.unread = 100;
    assert_eq!(world.ends(Exit::Code(1)), "run");
    assert_eq!(world.ends(Exit::Code(1)), "");
    assert_eq!(world.wait(SECOND), "run");
    world.unread = 0;
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert!(world.service.is_gone());
}

#[test]
fn a_draining_logger_that_never_reads_is_given_up_after_its_time() {
    let mut world = logger();
    let begun = world.now;
    world.unread = 1;
    world.drain_with(1);
    while world.now < begun.after(DRAIN_LIMIT) {
        world.ends(Exit::Code(1));
        if world.service.view().pid.is_none() {
            world.wait(SECOND);
        }
    }
    world.ends(TERMINATED);
    assert!(world.service.is_gone());
}

#[test]
fn a_logger_that_is_not_up_does_not_start_for_an_empty_pipe() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Logger, Want::Up);
    world.begin();
    world.ends(Exit::Code(1));
    assert_eq!(world.drain(false), "");
    assert!(world.service.is_gone());
}

#[test]
fn a_logger_that_was_told_down_does_not_start_to_drain() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Logger, Want::Down);
    world.begin();
    assert_eq!(world.drain(true), "");
    assert!(world.service.is_gone());
}

#[test]
fn no_order_keeps_a_logger_whose_input_has_ended() {
    let mut world = logger();
    world.drain(false);
    for command in [Command::Up, Command::Once, Command::Down] {
        world.order(command);
        assert!(world.service.view().leaving, "{command:?}");
    }
    world.ends(TERMINATED);
    assert!(world.service.is_gone());
}

#[test]
fn draining_does_not_put_off_the_kill_of_a_logger_told_down() {
    let mut world = logger().limited(kill_after(3 * SECOND));
    world.order(Command::Down);
    world.drain(false);
    assert_eq!(world.wait(3 * SECOND), "kill late run");
}

// Shutdown

#[test]
fn escalating_kills_what_runs_and_starts_no_finish() {
    let mut world = up().hooked(&COMMANDS);
    world.order(Command::Exit);
    assert_eq!(world.escalate(), "KILL control/t, KILL run");
    assert_eq!(world.hook_ends(KILLED), "TERM run, CONT run", "no control/x");
    assert_eq!(world.ends(KILLED), "");
    assert!(world.service.is_gone());

    let mut world = up();
    world.ends(Exit::Code(0));
    assert_eq!(world.escalate(), "KILL finish 0");
    world.ends(KILLED);
    assert!(world.service.is_gone());
}

#[test]
fn escalating_ends_what_waits() {
    assert_eq!(down(&ServiceRules::ONIT).escalate(), "");
    let mut pausing = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN);
    pausing.begin();
    pausing.ends(Exit::Code(1));
    let mut unfinished = up().with(Programs { finish: Program::Refused(Refusal::Fork), ..Programs::RUN });
    unfinished.ends(Exit::Code(1));
    for mut world in [down(&ServiceRules::SUPERVISE), pausing, unfinished] {
        assert_eq!(world.escalate(), "");
        assert!(world.service.is_gone());
    }
}

#[test]
fn nothing_starts_again_after_escalating() {
    let mut world = up();
    world.escalate();
    assert_eq!(world.orders([Command::Up, Command::Term]), ["", ""]);
    world.ends(KILLED);
    assert!(world.service.is_gone());
}

#[test]
fn the_system_gives_nine_seconds_then_kills() {
    let mut system = System::UP;
    assert!(system.is_up());
    assert_eq!((system.deadline(), system.tick(Mono(u64::MAX))), (None, None));
    assert_eq!(system.stop(Mono(5), Some(STOP_BUDGET), false), Order::StopAll);
    assert!(!system.is_up());
    let deadline = Mono(5 + 9_000_000_000);
    assert_eq!(system.deadline(), Some(deadline));
    assert_eq!(system.tick(Mono(deadline.0 - 1)), None);
    assert_eq!(system.tick(deadline), Some(Order::KillAll));
    assert_eq!((system.deadline(), system.tick(deadline)), (None, None));
}

#[test]
fn a_second_order_to_stop_kills_at_once() {
    let mut system = System::UP;
    system.stop(Mono(5), Some(STOP_BUDGET), false);
    assert_eq!(system.stop(Mono(6), Some(STOP_BUDGET), false), Order::KillAll);
    assert_eq!(system.deadline(), None);
}

#[test]
fn the_main_process_ends_before_the_services_and_all_within_one_budget() {
    let mut system = System::UP;
    assert_eq!(system.stop(Mono(5), Some(STOP_BUDGET), true), Order::AwaitMain);
    assert!(!system.is_up());
    let deadline = Some(Mono(5).after(STOP_BUDGET));
    assert_eq!((system.deadline(), system.services_ended(Mono(7))), (deadline, None));
    assert_eq!(system.main_ended(Mono(8), Some(STOP_BUDGET), 0), Some(Order::StopAll));
    assert_eq!(system.deadline(), deadline);
    assert_eq!(system.main_ended(Mono(9), Some(STOP_BUDGET), 0), None);
}

#[test]
fn the_end_of_the_main_process_ends_all() {
    let mut system = System::UP;
    assert_eq!(system.main_ended(Mono(5), Some(STOP_BUDGET), 0), Some(Order::StopAll));
    assert_eq!(system.deadline(), Some(Mono(5).after(STOP_BUDGET)));
}

#[test]
fn a_main_process_that_does_not_end_is_killed_with_the_rest() {
    let mut system = System::UP;
    system.stop(Mono(5), Some(STOP_BUDGET), true);
    assert_eq!(system.tick(Mono(5).after(STOP_BUDGET)), Some(Order::KillAll));
    let mut escalated = System::UP;
    escalated.stop(Mono(5), Some(STOP_BUDGET), true);
    assert_eq!(escalated.stop(Mono(6), Some(STOP_BUDGET), true), Order::KillAll);
}

#[test]
fn orphans_get_term_and_after_a_second_kill_while_loggers_go_on() {
    let mut system = System::UP;
    assert_eq!((system.orphan_signal(), system.services_ended(Mono(4))), (None, None));
    system.stop(Mono(5), Some(STOP_BUDGET), false);
    assert_eq!(system.orphan_signal(), None);
    assert_eq!(system.services_ended(Mono(6)), Some(Order::Sweep));
    assert_eq!((system.orphan_signal(), system.is_sweeping()), (Some(Signal::TERM), true));
    let second = Mono(6).after(GRACE);
    assert_eq!((system.deadline(), system.tick(Mono(second.0 - 1))), (Some(second), None));
    assert_eq!(system.tick(second), Some(Order::Sweep));
    assert_eq!(system.orphan_signal(), Some(Signal::KILL));
    let end = Mono(5).after(STOP_BUDGET);
    assert_eq!((system.deadline(), system.tick(end)), (Some(end), Some(Order::KillAll)));
    assert_eq!((system.deadline(), system.tick(end), system.services_ended(end)), (None, None, None));
}

#[test]
fn orphans_have_no_more_time_than_all_have() {
    let mut late = System::UP;
    late.stop(Mono(5), Some(STOP_BUDGET), false);
    let end = Mono(5).after(STOP_BUDGET);
    late.services_ended(Mono(end.0 - 1));
    assert_eq!((late.deadline(), late.tick(end)), (Some(end), Some(Order::KillAll)));
    let mut over = System::UP;
    over.stop(Mono(5), Some(STOP_BUDGET), false);
    over.tick(end);
    over.services_ended(end);
    assert_eq!(over.orphan_signal(), Some(Signal::KILL));
    let mut endless = System::UP;
    endless.stop(Mono(5), None, false);
    assert_eq!(endless.deadline(), None);
    endless.services_ended(Mono(9));
    assert_eq!(endless.deadline(), Some(Mono(9).after(GRACE)));
    assert_eq!(endless.stop(Mono(10), None, false), Order::KillAll);
    assert_eq!((endless.orphan_signal(), endless.deadline()), (Some(Signal::KILL), None));
}

// Time

#[test]
fn time_neither_wraps_nor_goes_back() {
    assert_eq!(Mono(u64::MAX - 1).after(SECOND), Mono(u64::MAX));
    assert_eq!(Mono(1).after(Duration::MAX), Mono(u64::MAX));
    assert_eq!(Mono(1).since(Mono(2)), Duration::ZERO);
    assert_eq!(Mono(5).since(Mono(2)), Duration::from_nanos(3));
}

#[test]
fn the_system_is_remembered_in_every_state() {
    let budgets = [Some(STOP_BUDGET), None];
    for (budget, has_main) in budgets.into_iter().flat_map(|budget| [(budget, true), (budget, false)]) {
        let mut system = System::UP;
        let mut seen = vec![system];
        system.stop(Mono(5), budget, has_main);
        seen.push(system);
        system.main_ended(Mono(6), budget, 0);
        seen.push(system);
        system.services_ended(Mono(7));
        seen.push(system);
        system.tick(Mono(7).after(GRACE));
        seen.push(system);
        system.ask_for(ShutdownAction::PowerOff, true);
        system.conclude(-7);
        seen.push(system);
        assert!(!system.is_killing() && system.is_stopping());
        system.stop(Mono(9), budget, has_main);
        assert!(system.is_killing() && system.is_stopping());
        seen.push(system);
        for system in seen {
            assert_eq!(System::remembered(system.memory()), Some(system));
        }
    }
    assert_eq!(System::remembered([4, 0, 0, 0, 1]), None);
    assert!(!System::UP.is_stopping() && !System::UP.is_killing());
}

#[test]
fn the_code_is_that_of_the_first_essential_service_or_else_of_whatever_ended_it() {
    let mut system = System::UP;
    assert_eq!(system.conclusion().code, 0);
    system.conclude(111);
    assert_eq!(system.conclusion().code, 111);
    let essential_ended = |system: &mut System, exit| system.essential_ended(Mono(5), None, true, exit);
    assert_eq!(essential_ended(&mut system, Exit::Code(0)), Some(Order::AwaitMain), "also 0 may be decided");
    assert_eq!(essential_ended(&mut system, KILLED), None, "the first counts");
    system.main_ended(Mono(6), None, 7);
    assert_eq!(system.conclusion().code, 0);
    let mut system = System::UP;
    system.stop(Mono(5), None, true);
    assert_eq!(essential_ended(&mut system, FAILED), None, "everything ends already");
    system.main_ended(Mono(6), None, 7);
    assert_eq!(system.conclusion().code, 7);
    assert_eq!(System::remembered(system.memory()), Some(system));
}

#[test]
fn what_is_asked_for_last_is_done_and_at_once_stays_at_once() {
    let mut system = System::UP;
    let now = system.conclusion();
    assert_eq!((now.action, now.immediate), (ShutdownAction::Exit, false));
    system.ask_for(ShutdownAction::Halt, true);
    system.ask_for(ShutdownAction::Reboot, false);
    let now = system.conclusion();
    assert_eq!((now.action, now.immediate), (ShutdownAction::Reboot, true));
}

// What the end of a service means for others

fn essential(essential: Essential) -> World {
    World { essential: Some(essential), ..up() }
}

const FAILED: Exit = Exit::Code(3);

#[test]
fn an_end_that_nobody_asked_for_is_told_with_how_long_it_lived() {
    let mut world = up();
    world.ends(FAILED);
    assert_eq!(world.outcome, Some(Outcome::Ended { exit: FAILED, lived: 10 * SECOND }));
    world.ends(Exit::Code(0));
    assert_eq!(world.outcome, None, "the end of finish is its own affair");
}

#[test]
fn an_end_that_an_order_has_caused_means_nothing_for_others() {
    let orders = [Command::Down, Command::Exit, Command::Term, Command::StopSignal, Command::Kill(Target::Group)];
    for order in orders {
        let mut world = essential(Essential::Always);
        world.order(order);
        world.ends(KILLED);
        assert_eq!(world.outcome, None, "{order:?}");
        assert!(world.service.history().last_end().is_some_and(|end| end.asked), "{order:?}");
    }
    let mut world = essential(Essential::Always);
    world.order(Command::Term);
    world.ends(KILLED);
    world.ends(Exit::Code(0));
    world.ends(KILLED);
    assert_eq!(world.outcome, Some(Outcome::EssentialEnded(KILLED)), "an order holds for one life");
}

#[test]
fn with_an_essential_service_everything_ends_and_it_is_not_started_again() {
    for (kind, exit, is_fatal) in [
        (Essential::Always, Exit::Code(0), true),
        (Essential::Always, FAILED, true),
        (Essential::OnFailure, Exit::Code(0), false),
        (Essential::OnFailure, KILLED, true),
        (Essential::OnGiveup, FAILED, false),
    ] {
        let mut world = essential(kind);
        assert_eq!(world.ends(exit), format!("finish {}", exit_word(exit)));
        assert_eq!(world.outcome == Some(Outcome::EssentialEnded(exit)), is_fatal, "{kind:?} {exit:?}");
        world.ends(Exit::Code(0));
        assert_eq!(world.service.deadline().is_none() && world.living.is_empty(), is_fatal, "{kind:?} {exit:?}");
    }
}

#[test]
fn what_is_essential_once_is_so_too_and_what_is_wanted_down_is_not() {
    let mut world = essential(Essential::Always);
    world.order(Command::Once);
    world.ends(FAILED);
    assert_eq!(world.outcome, Some(Outcome::EssentialEnded(FAILED)));
    let mut world = essential(Essential::Always).hooked(&[Command::Term]);
    world.order(Command::Down); // control/t handles it
    world.hook_ends(Exit::Code(0));
    world.ends(Exit::Code(0));
    assert_eq!(world.outcome, None);
}

#[test]
fn finish_that_gives_up_says_so_once_for_what_was_wanted_up() {
    for (kind, exit, outcome) in [
        (None, FAILED, Outcome::GaveUp(FAILED, Cause::Finish)),
        (None, Exit::Code(0), Outcome::Done),
        (Some(Essential::OnGiveup), FAILED, Outcome::EssentialEnded(FAILED)),
        (Some(Essential::OnGiveup), Exit::Code(0), Outcome::Done),
        (Some(Essential::OnFailure), Exit::Code(0), Outcome::Done),
    ] {
        let mut world = World { essential: kind, ..up() };
        world.ends(exit);
        assert_eq!(world.ends(Exit::GIVE_UP), "");
        assert_eq!(world.outcome, Some(outcome), "{kind:?} {exit:?}");
    }
    for order in [Command::Down, Command::Once] {
        let mut world = essential(Essential::OnGiveup);
        world.order(order);
        world.ends(FAILED);
        world.ends(Exit::GIVE_UP);
        assert_eq!(world.outcome, None, "{order:?}: it was not to be started again anyhow");
    }
    let mut world = World { rules: &ServiceRules::RUNSV, ..World::up(&ServiceRules::RUNSV) };
    world.ends(FAILED);
    world.ends(Exit::GIVE_UP);
    assert_eq!((world.outcome, world.service.view().want), (None, Want::Up), "runit knows no such thing");
}

#[test]
fn with_a_service_that_is_essential_on_giveup_everything_ends_when_it_has_failed() {
    let never = Rules { restart: Restart::Never, ..Rules::default() };
    let once = Rules { max_restarts: at_most(0, 60), ..Rules::default() };
    for (rules, exit, outcome) in [
        (never, FAILED, Outcome::EssentialEnded(FAILED)),
        (never, Exit::Code(0), Outcome::Done),
        (once, KILLED, Outcome::EssentialEnded(KILLED)),
        (once, Exit::Code(0), Outcome::EssentialEnded(Exit::Code(1))), // what has failed is no success
        (Rules::default(), Exit::PERMANENT, Outcome::EssentialEnded(Exit::PERMANENT)),
    ] {
        let mut world = World { essential: Some(Essential::OnGiveup), ..ruled(rules) };
        world.ends(exit);
        assert_eq!((world.outcome, world.service.deadline()), (Some(outcome), None), "{exit:?}");
    }
}

#[test]
fn where_it_stands_is_said_in_one_word() {
    let mut world = up();
    assert_eq!(world.service.state(), ServiceState::Up);
    world.order(Command::Term);
    assert_eq!(world.service.state(), ServiceState::Stopping);
    world.ends(FAILED);
    assert_eq!(world.service.state(), ServiceState::Finishing);
    world.ends(Exit::GIVE_UP);
    assert_eq!(world.service.state(), ServiceState::Failed);
    assert_eq!(world.order(Command::Once), "run");
    world.ends(Exit::Code(0));
    world.ends(Exit::Code(0));
    assert_eq!(world.service.state(), ServiceState::Done);
    let mut pausing = up().with(Programs { run: Some(Refusal::Fork), ..Programs::RUN });
    pausing.ends(FAILED);
    assert_eq!(pausing.service.state(), ServiceState::Backoff);
    pausing.order(Command::Down);
    assert_eq!(pausing.service.state(), ServiceState::Down);
}

#[test]
fn what_does_not_say_in_time_that_it_is_ready_is_stopped_and_setup_is_part_of_that_time() {
    let limits = Limits { up_limit: Some(10 * SECOND), ..Limits::of(&ServiceRules::ONIT) };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(SETUP).limited(limits);
    world.readiness = Readiness::Descriptor(3);
    assert_eq!(world.begin(), "setup");
    world.pass(4 * SECOND);
    assert_eq!(world.ends(Exit::Code(0)), "run");
    assert_eq!(world.service.state(), ServiceState::Starting);
    assert_eq!(world.wait(6 * SECOND), "not ready, TERM run, CONT run");
    assert_eq!(world.wait(KILL_RETRY), "kill late run");
    assert_eq!(world.ends(Exit::Signal { signal: Signal::KILL, core: false }), "setup");
    assert!(world.service.history().last_end().is_some_and(|end| !end.asked), "that is no order");
}

#[test]
fn what_is_told_to_be_down_has_the_time_that_a_stop_has_and_need_not_become_ready() {
    let limits = Limits { up_limit: Some(10 * SECOND), ..Limits::of(&ServiceRules::ONIT) };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN).limited(limits);
    world.readiness = Readiness::Descriptor(3);
    world.begin();
    world.pass(4 * SECOND);
    assert_eq!(world.order(Command::Down), "TERM run, CONT run");
    assert_eq!(world.service.deadline(), None, "without timeout-kill it is not killed");
    world.pass(SECOND);
    world.order(Command::Up);
    assert_eq!(world.wait(5 * SECOND), "not ready, TERM run, CONT run", "it is to be up, and hangs");
}

#[test]
fn what_is_ready_has_no_limit() {
    let limits = Limits { up_limit: Some(10 * SECOND), ..Limits::of(&ServiceRules::ONIT) };
    for readiness in [Readiness::Descriptor(3), Readiness::After(9 * SECOND)] {
        let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN).limited(limits);
        world.readiness = readiness;
        assert_eq!((world.begin().as_str(), world.service.state()), ("run", ServiceState::Starting));
        match readiness {
            Readiness::After(span) => assert_eq!(world.wait(span), ""),
            _ => assert_eq!(world.says_that_it_is_ready(), ""),
        }
        assert_eq!((world.service.state(), world.service.deadline()), (ServiceState::Up, None));
    }
}

/// Also if the supervisor looks at both times when both have passed.
#[test]
fn what_would_have_been_ready_after_its_time_is_late() {
    let limits = Limits { up_limit: Some(5 * SECOND), ..Limits::of(&ServiceRules::ONIT) };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN).limited(limits);
    world.readiness = Readiness::After(9 * SECOND);
    assert_eq!(world.begin(), "run");
    world.pass(20 * SECOND);
    assert_eq!(world.ticks(), "not ready, TERM run, CONT run");
}

const NOTIFIES: Readiness = Readiness::Notify;

/// One that has said `READY=1`.
fn notifies(limits: Limits) -> World {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN).limited(limits);
    world.readiness = NOTIFIES;
    assert_eq!((world.begin().as_str(), world.service.state()), ("run", ServiceState::Starting));
    world.says_that_it_is_ready();
    assert_eq!((world.service.state(), world.service.deadline()), (ServiceState::Up, None));
    world
}

fn default_limits() -> Limits {
    Limits::of(&ServiceRules::ONIT)
}

#[test]
fn what_is_silent_for_too_long_is_aborted_and_killed_and_has_failed() {
    let mut world = notifies(default_limits());
    world.says(Notification::AliveEvery(Some(5 * SECOND)));
    world.pass(4 * SECOND);
    assert_eq!(world.says(Notification::Alive), "");
    assert_eq!(world.wait(5 * SECOND), "silent, ABRT run, CONT run");
    assert_eq!(world.service.state(), ServiceState::Stopping);
    assert_eq!(world.says(Notification::Alive), "", "that is too late");
    assert_eq!(world.wait(KILL_RETRY), "kill late run");
    assert_eq!(world.ends(Exit::Signal { signal: Signal::KILL, core: false }), "run");
    assert!(world.service.history().last_end().is_some_and(|end| !end.asked), "that is no order");
    assert_eq!(world.service.deadline(), None, "the next one has not said how often");
}

#[test]
fn the_time_of_a_silent_one_to_end_is_that_of_any_stop() {
    let mut world = notifies(Limits { kill_after: Some(2 * SECOND), ..default_limits() });
    world.says(Notification::AliveEvery(Some(SECOND)));
    assert_eq!(world.wait(SECOND), "silent, ABRT run, CONT run");
    assert_eq!(world.wait(2 * SECOND), "kill late run");
}

#[test]
fn who_wants_to_be_stopped_as_if_silent_is_at_once_and_once() {
    let mut world = notifies(default_limits());
    assert_eq!(world.says(Notification::Trigger), "silent, ABRT run, CONT run");
    assert_eq!(world.says(Notification::Trigger), "");
}

#[test]
fn what_is_stopped_or_paused_or_ends_by_itself_may_be_silent() {
    let watched = || {
        let mut world = notifies(default_limits());
        world.says(Notification::AliveEvery(Some(5 * SECOND)));
        world
    };
    for command in [Command::Down, Command::Term, Command::Exit] {
        let mut world = watched();
        world.order(command);
        assert_eq!(world.service.deadline(), None, "{command:?}");
        assert_eq!(world.says(Notification::Trigger), "");
    }
    let mut world = watched();
    world.says(Notification::Stopping);
    assert_eq!((world.service.state(), world.service.deadline()), (ServiceState::Stopping, None));
    let mut world = watched();
    world.says(Notification::AliveEvery(None));
    assert_eq!(world.service.deadline(), None);
    let mut world = watched();
    world.order(Command::Pause(Target::Process));
    assert_eq!(world.service.deadline(), None);
    world.pass(20 * SECOND);
    world.order(Command::Continue(Target::Process));
    assert_eq!(world.wait(5 * SECOND), "silent, ABRT run, CONT run", "from then on");
}

#[test]
fn to_continue_what_was_not_paused_is_no_sign_of_life() {
    let mut world = notifies(default_limits());
    world.says(Notification::AliveEvery(Some(5 * SECOND)));
    world.pass(4 * SECOND);
    world.order(Command::Continue(Target::Process));
    assert_eq!(world.wait(SECOND), "silent, ABRT run, CONT run");
}

#[test]
fn what_reloads_is_up_until_it_says_that_it_is_ready() {
    let mut world = notifies(default_limits());
    world.says(Notification::Reloading);
    assert!(world.service.is_reloading() && world.service.state() == ServiceState::Up);
    world.says_that_it_is_ready();
    assert!(!world.service.is_reloading());
    world.says(Notification::Stopping);
    world.says(Notification::Reloading);
    assert!(!world.service.is_reloading(), "nothing takes back that it stops");
    world.says_that_it_is_ready();
    assert_eq!(world.service.state(), ServiceState::Stopping);
    assert_eq!((world.ends(Exit::Code(0)).as_str(), world.service.state()), ("", ServiceState::Backoff));
}

#[test]
fn what_asks_for_more_time_to_become_ready_has_it() {
    let limits = Limits { up_limit: Some(10 * SECOND), ..default_limits() };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN).limited(limits);
    world.readiness = NOTIFIES;
    assert_eq!(world.begin(), "run");
    world.says(Notification::MoreTime(3 * SECOND));
    assert_eq!(world.service.deadline(), Some(world.now.after(10 * SECOND)), "the limit is not lowered");
    world.pass(9 * SECOND);
    world.says(Notification::MoreTime(20 * SECOND));
    world.says(Notification::MoreTime(2 * SECOND));
    assert_eq!(world.wait(20 * SECOND), "not ready, TERM run, CONT run");
}

#[test]
fn what_asks_for_more_time_to_stop_has_it() {
    let mut world = notifies(Limits { kill_after: Some(5 * SECOND), ..default_limits() });
    world.says(Notification::MoreTime(100 * SECOND));
    world.order(Command::Down);
    assert_eq!(world.service.deadline(), Some(world.now.after(5 * SECOND)), "that was before it was to stop");
    world.says(Notification::MoreTime(SECOND));
    assert_eq!(world.service.deadline(), Some(world.now.after(5 * SECOND)), "it is not less");
    world.pass(4 * SECOND);
    world.says(Notification::MoreTime(7 * SECOND));
    assert_eq!(world.wait(7 * SECOND), "kill late run");
    let mut world = notifies(Limits { kill_after: Some(5 * SECOND), ..default_limits() });
    world.order(Command::Down);
    world.says(Notification::MoreTime(100 * SECOND));
    world.order(Command::Down);
    assert_eq!(world.wait(5 * SECOND), "kill late run", "who repeats an order wants it done");
}

#[test]
fn more_time_to_stop_is_also_more_time_to_become_ready_for_one_that_is_to_be_up_again() {
    let limits = Limits { up_limit: Some(SECOND), kill_after: Some(5 * SECOND), ..default_limits() };
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN).limited(limits);
    world.readiness = NOTIFIES;
    world.begin();
    world.order(Command::Down);
    world.says(Notification::MoreTime(9 * SECOND));
    world.order(Command::Up);
    assert_eq!(world.service.deadline(), Some(world.now.after(9 * SECOND)), "neither is over before");
}

/// In s6 an order to stop ends a pause, and `control/t` may see to it that nothing else follows.
#[test]
fn what_a_stop_continues_has_its_time_to_say_that_it_is_alive() {
    let mut world = World::up(&ServiceRules::S6).hooked(&[Command::Term]);
    world.says(Notification::AliveEvery(Some(5 * SECOND)));
    world.order(Command::Pause(Target::Process));
    world.pass(60 * SECOND);
    assert_eq!((world.ticks().as_str(), world.order(Command::Down).as_str()), ("", "control/t"));
    assert_eq!(world.hook_ends(Exit::Code(0)), "CONT run");
    assert_eq!((world.service.view().paused, world.wait(5 * SECOND)), (false, "silent, ABRT run, CONT run".into()));
}

#[test]
fn what_does_not_run_says_nothing() {
    let said = [Notification::Trigger, Notification::Stopping, Notification::AliveEvery(Some(SECOND))];
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Down);
    world.begin();
    for said in said.into_iter().chain([Notification::MoreTime(SECOND), Notification::Reloading]) {
        assert_eq!(world.says(said), "");
        assert_eq!((world.service.state(), world.service.deadline()), (ServiceState::Down, None));
        assert_eq!(world.service.extra(), [0; crate::machine::service::memory::EXTRA]);
    }
}

/// A logger reads what is left for as long as anybody's does.
#[test]
fn a_logger_gets_no_more_time_to_read_what_is_left() {
    let mut world = World::up_as(&ServiceRules::ONIT, Role::Logger);
    world.drain(true);
    let deadline = world.service.deadline();
    world.says(Notification::MoreTime(1000 * SECOND));
    assert_eq!(world.service.deadline(), deadline);
}

#[test]
fn a_process_that_was_named_goes_on_in_the_place_of_run() {
    let mut world = notifies(default_limits());
    world.says(Notification::AliveEvery(Some(5 * SECOND)));
    let since = world.service.view().since;
    assert_eq!((world.is_succeeded().as_str(), world.service.state()), ("", ServiceState::Up));
    assert_eq!(world.service.view().since, since, "it is the same life");
    assert_eq!(world.order(Command::Signal(Signal::HUP)), "HUP run");
    assert_eq!(world.wait(5 * SECOND), "silent, ABRT run, CONT run");
    assert_eq!(world.ends(Exit::Signal { signal: Signal::ABRT, core: false }), "run");
    assert_eq!(world.service.history().lives().len(), 2);
}

#[test]
fn what_was_told_to_stop_before_is_told_again() {
    let mut world = notifies(Limits { kill_after: Some(5 * SECOND), ..default_limits() });
    world.order(Command::Down);
    world.pass(2 * SECOND);
    assert_eq!(world.is_succeeded(), "TERM run, CONT run");
    assert_eq!(world.wait(3 * SECOND), "kill late run", "the time is that of the service");
    let mut world = notifies(default_limits());
    world.escalate();
    assert_eq!(world.is_succeeded(), "KILL run");
}

/// And the hook that was asked before the signal is about the process that lives when it has ended.
#[test]
fn a_hook_that_runs_meanwhile_is_about_the_new_process() {
    let mut world = World::up(&ServiceRules::ONIT).hooked(&[Command::Term]);
    assert_eq!(world.order(Command::Down), "control/t");
    assert_eq!(world.is_succeeded(), "");
    assert_eq!(world.hook_ends(FAILED), "TERM run, CONT run");
}

// check and health

const POLICY: HealthPolicy = HealthPolicy {
    every: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    retries: 2,
    after: Duration::from_secs(20),
    action: HealthAction::Restart,
};

/// `run` has just been started, and has a `health`.
fn probed(readiness: Readiness, policy: HealthPolicy) -> World {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).with(Programs::RUN);
    (world.readiness, world.health) = (readiness, Some(policy));
    assert_eq!(world.begin(), "run");
    world
}

/// Time passes up to the next deadline.
fn next(world: &mut World) -> String {
    world.now = world.service.deadline().expect("something is to come");
    world.ticks()
}

/// `health` runs.
fn in_health(policy: HealthPolicy) -> World {
    let mut world = probed(Readiness::None, policy);
    assert_eq!(next(&mut world), "health");
    world
}

#[test]
fn check_is_asked_until_it_first_succeeds_and_health_from_then_on() {
    let mut world = probed(Readiness::Check(None), POLICY);
    assert_eq!((world.service.state(), world.wait(100 * MILLI)), (ServiceState::Starting, "check".into()));
    assert_eq!((world.probe_ends(FAILED), world.wait(200 * MILLI)), ("".into(), "check".into()));
    assert_eq!((world.wait(5 * SECOND), world.probe_ends(KILLED)), ("kill check".into(), "".into()));
    assert_eq!((world.wait(400 * MILLI), world.service.state()), ("check".into(), ServiceState::Starting));
    assert_eq!((world.probe_ends(Exit::Code(0)), world.service.state()), ("".into(), ServiceState::Up));
    let ready = world.service.history().lives().last().and_then(|life| life.ready);
    assert_eq!((ready, world.service.health()), (Some(world.now), None));
    assert_eq!(next(&mut world), "health");
    assert!((20..30).contains(&world.now.since(ready.expect("it is ready")).as_secs()), "after and every hold");
    world.probe_ends(Exit::Code(0));
    assert_eq!((world.service.health(), world.wait(10 * SECOND)), (Some(Health::Healthy), "health".into()));
}

#[test]
fn a_check_that_never_succeeds_is_bounded_by_timeout_up_and_its_next_life_is_asked_again() {
    let limits = Limits { up_limit: Some(SECOND), ..Limits::of(&ServiceRules::ONIT) };
    let mut world = probed(Readiness::Check(None), POLICY).limited(limits);
    assert_eq!(next(&mut world), "check");
    assert_eq!(world.wait(900 * MILLI), "not ready, TERM run, CONT run, kill check");
    assert_eq!(world.ends(TERMINATED), "run", "its pause is over");
    world.pass(SECOND / 2);
    assert_eq!(world.ticks(), "", "the old one lives");
    assert_eq!((world.probe_ends(Exit::Code(0)), world.service.state()), ("".into(), ServiceState::Starting));
    assert_eq!(world.wait(100 * MILLI), "check");
}

#[test]
fn what_fails_often_enough_is_stopped_and_that_is_an_end_of_its_own_accord() {
    let mut world = in_health(POLICY);
    assert_eq!((world.probe_ends(FAILED), world.wait(10 * SECOND)), ("".into(), "health".into()));
    assert_eq!(world.probe_ends(FAILED), "unhealthy, TERM run, CONT run");
    assert_eq!((world.service.state(), world.service.health()), (ServiceState::Stopping, Some(Health::Unhealthy)));
    assert_eq!(world.wait(KILL_RETRY), "kill late run", "although timeout-kill says nothing");
    assert_eq!(world.ends(KILLED), "run");
    assert!(matches!(world.outcome, Some(Outcome::Ended { exit: KILLED, .. })), "{:?}", world.outcome);
    assert!(world.service.history().last_end().is_some_and(|end| !end.asked && !end.is_success), "it has failed");
    assert_eq!((world.service.state(), world.service.health()), (ServiceState::Up, None));
    let mut once = World {
        restarts: ruled(Rules { restart: Restart::OnFailure, ..Rules::default() }).restarts,
        ..in_health(HealthPolicy { retries: 1, ..POLICY })
    };
    once.probe_ends(FAILED);
    assert_eq!(once.ends(Exit::Code(0)), "run", "however it ends");
}

#[test]
fn what_is_degraded_or_only_reported_goes_on() {
    let mut world = in_health(HealthPolicy { retries: 1, ..POLICY });
    for _ in 0..9 {
        assert_eq!((world.probe_ends(Exit::DEGRADED), world.service.health()), ("".into(), Some(Health::Degraded)));
        assert_eq!(next(&mut world), "health");
    }
    let mut world = in_health(HealthPolicy { retries: 1, action: HealthAction::Report, ..POLICY });
    for said in ["unhealthy", "", ""] {
        assert_eq!(world.probe_ends(FAILED), said);
        assert_eq!((next(&mut world), world.service.state()), ("health".into(), ServiceState::Up));
    }
    world.probe_ends(Exit::Code(0));
    next(&mut world);
    assert_eq!(world.probe_ends(KILLED), "unhealthy", "that is another time");
}

#[test]
fn orders_are_obeyed_while_a_probe_runs_and_one_that_stops_run_ends_it() {
    let signals = "kill health, TERM run, CONT run";
    for (order, effects) in [
        (Command::Down, signals),
        (Command::Exit, signals),
        (Command::Term, "kill health, TERM run"),
        (Command::StopSignal, "kill health, TERM run"),
        (Command::Signal(Signal::HUP), "HUP run"),
    ] {
        let mut world = in_health(POLICY);
        assert!(!world.service.is_busy());
        assert_eq!(world.order(order), effects, "{order:?}");
    }
    let mut world = in_health(POLICY);
    world.order(Command::Exit);
    world.ends(TERMINATED);
    assert!(!world.service.is_gone(), "its probe lives");
    world.probe_ends(KILLED);
    assert!(world.service.is_gone());
}

#[test]
fn a_control_that_handles_a_restart_leaves_the_probe_alone() {
    let mut world = in_health(POLICY).hooked(&[Command::Term]);
    assert_eq!((world.order(Command::Term).as_str(), world.hook_ends(Exit::Code(0)).as_str()), ("control/t", ""));
    assert_eq!((world.probe_ends(Exit::Code(0)), world.service.health()), ("".into(), Some(Health::Healthy)));
}

#[test]
fn what_is_paused_is_not_asked_and_no_failure_of_then_counts() {
    let mut world = in_health(HealthPolicy { retries: 1, ..POLICY });
    world.order(Command::Pause(Target::Process));
    assert_eq!((world.probe_ends(FAILED), world.service.probe().failures()), ("".into(), 0));
    assert_eq!([next(&mut world), next(&mut world)], ["", ""]);
    world.order(Command::Continue(Target::Process));
    assert_eq!(next(&mut world), "health");
}

#[test]
fn a_health_that_is_taken_away_is_asked_no_more() {
    let mut world = in_health(POLICY);
    world.probe_ends(Exit::DEGRADED);
    world.health = None;
    assert_eq!((next(&mut world), world.service.deadline(), world.service.health()), ("".into(), None, None));
}

/// Whether it has answered, or was killed as it took too long.
#[test]
fn the_last_answer_of_a_health_that_is_taken_away_stops_nothing() {
    for is_late in [false, true] {
        let mut world = in_health(HealthPolicy { retries: 1, ..POLICY });
        if is_late {
            assert_eq!(next(&mut world), "kill health");
        }
        world.health = None;
        assert_eq!((world.probe_ends(FAILED), world.service.health()), ("".into(), None), "late: {is_late}");
        assert_eq!((world.service.view().got_term, world.service.deadline()), (false, None));
    }
}

#[test]
fn only_services_of_onit_itself_are_asked_and_a_logger_is_none() {
    for (rules, role) in [
        (&ServiceRules::RUNSV, Role::Main),
        (&ServiceRules::SUPERVISE, Role::Main),
        (&ServiceRules::ONIT, Role::Logger),
    ] {
        let mut world = World::new(rules, role, Want::Up);
        (world.readiness, world.health) = (Readiness::Check(None), Some(POLICY));
        assert_eq!((world.begin().as_str(), world.service.state()), ("run", ServiceState::Up));
        assert_eq!(world.service.deadline(), None);
    }
}

/// 1,000 services with the usual policy: one more wake-up for each probe than its end makes.
#[test]
fn between_two_probes_nothing_is_to_be_done() {
    let (mut world, mut wakes) = (in_health(HealthPolicy { after: Duration::ZERO, ..POLICY }), 0);
    let until = world.now.after(3600 * SECOND);
    while world.now < until {
        world.probe_ends(Exit::Code(0));
        assert_eq!(next(&mut world), "health");
        wakes += 1;
    }
    assert_eq!(wakes, 360);
}

// Conditions.

#[test]
fn who_is_skipped_is_looked_at_again_when_an_order_says_so_and_at_its_next_start() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    world.gate = Gate::Skipped;
    assert_eq!(world.begin(), "");
    for gate in [Gate::Open, Gate::Skipped] {
        world.gate = gate;
        world.pass(60 * SECOND);
        let stands = (world.service.state(), world.service.view().want, world.service.deadline());
        assert_eq!(stands, (ServiceState::Skipped, Want::Down, None));
    }
    assert_eq!((world.order(Command::Up).as_str(), world.service.state()), ("", ServiceState::Skipped));
    world.gate = Gate::Open;
    assert_eq!(world.order(Command::Up), "run");
    world.gate = Gate::Skipped;
    world.pass(60 * SECOND);
    assert_eq!(world.service.state(), ServiceState::Up, "what runs goes on");
    assert_eq!(world.ends(FAILED), "finish 3");
    assert_eq!((world.ends(Exit::Code(0)).as_str(), world.service.state()), ("", ServiceState::Skipped));
    world.order(Command::Down);
    assert_eq!(world.service.state(), ServiceState::Down);
}

#[test]
fn who_has_waited_for_others_may_be_skipped_then_and_who_is_skipped_waits_for_nobody() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    world.gate = Gate::Waiting;
    assert_eq!((world.begin().as_str(), world.service.state()), ("", ServiceState::Waiting));
    world.gate = Gate::Skipped;
    assert_eq!((world.handle(Event::Tick).as_str(), world.service.state()), ("", ServiceState::Skipped));
    world.gate = Gate::Waiting;
    assert_eq!((world.handle(Event::Tick).as_str(), world.service.state()), ("", ServiceState::Skipped));
}

/// `run` is ready, and a second one lives beside it.
fn overlapping(readiness: Readiness) -> World {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    world.readiness = readiness;
    assert_eq!(world.begin(), "run");
    if world.known.awaited {
        world.says_that_it_is_ready();
    }
    world.pass(10 * SECOND);
    assert_eq!(world.order(Command::Replace), "second run");
    world
}

fn second(world: &World) -> usize {
    world.living.iter().position(|process| process.script == Script::Successor).expect("a second process")
}

#[test]
fn a_second_run_takes_the_place_of_the_first_when_it_is_ready_and_the_first_is_told_to_end() {
    let mut world = overlapping(Readiness::Notify);
    let old = world.service.view().pid;
    assert_eq!((world.service.view().is_ready, world.service.is_being_replaced()), (true, true));
    assert_eq!(world.second_is_ready(), "TERM second run, CONT second run");
    assert_eq!(world.outcome, Some(Outcome::Replaced));
    assert_ne!(world.service.view().pid, old);
    assert!(world.service.view().is_ready && world.service.beside() == old);
    assert_eq!(world.death(second(&world), Exit::Signal { signal: Signal::TERM, core: false }), "");
    let ends: Vec<_> = world.service.history().lives().iter().map(|life| life.end.map(|end| end.asked)).collect();
    assert_eq!((ends, world.service.beside()), (vec![Some(true), None], None));
    assert_eq!(world.service.history().restarts(), 1);
    assert_eq!(world.ends(Exit::Code(1)), "finish 1", "it is a run as any other");
}

#[test]
fn what_does_not_tell_whether_it_is_ready_has_to_live_for_a_second() {
    let mut world = overlapping(Readiness::None);
    assert_eq!(world.second_is_ready(), "TERM second run, CONT second run", "but may be said to be");
    let mut world = overlapping(Readiness::None);
    assert_eq!(world.wait(SECOND), "TERM second run, CONT second run");
}

#[test]
fn a_second_run_that_fails_or_is_late_leaves_the_first_alone() {
    let mut world = overlapping(Readiness::Notify);
    world.limit(Limits { kill_after: Some(5 * SECOND), ..Limits::of(&ServiceRules::ONIT) });
    let old = world.service.view();
    assert_eq!(world.death(second(&world), Exit::Code(3)), "");
    assert_eq!(world.outcome, Some(Outcome::NotReplaced(Unreplaced::Ended(Exit::Code(3)))));
    assert_eq!((world.service.view(), world.service.history().restarts()), (old, 0));
    assert_eq!(world.order(Command::Replace), "second run", "once more");
    assert_eq!(world.wait(60 * SECOND), "TERM second run, CONT second run");
    assert_eq!(world.outcome, Some(Outcome::NotReplaced(Unreplaced::Late)));
    assert_eq!(world.second_is_ready(), "", "too late");
    assert_eq!(world.order(Command::Replace), "", "one after the other");
    assert_eq!(world.wait(5 * SECOND), "kill late second run");
    assert_eq!(world.death(second(&world), Exit::Signal { signal: Signal::KILL, core: false }), "");
    assert_eq!((world.service.view(), world.service.history().restarts()), (old, 0));
    world.programs.run = Some(Refusal::Exec);
    assert_eq!(world.order(Command::Replace), "no second run: Exec");
    assert_eq!(world.service.view(), old);
}

#[test]
fn if_the_first_ends_the_second_goes_on_ready_or_not() {
    let mut world = overlapping(Readiness::Notify);
    assert_eq!(world.order(Command::Term), "TERM run");
    assert_eq!(world.ends(Exit::Code(0)), "", "no finish: it has not ended");
    assert_eq!((world.outcome, world.service.state()), (Some(Outcome::Replaced), ServiceState::Starting));
    world.says_that_it_is_ready();
    assert_eq!(world.service.state(), ServiceState::Up);
}

#[test]
fn an_order_to_stop_ends_both_and_patience_is_over_for_both() {
    let mut world = overlapping(Readiness::Notify);
    assert_eq!(world.order(Command::Down), "TERM run, CONT run, TERM second run, CONT second run");
    assert_eq!(world.ends(Exit::Code(0)), "finish 0");
    assert_eq!(world.ends(Exit::Code(0)), "");
    assert_eq!(world.death(second(&world), Exit::Code(0)), "");
    assert_eq!(world.service.state(), ServiceState::Down);
    let mut world = overlapping(Readiness::Notify);
    let words = world.escalate();
    assert!(words.contains("KILL second run") && words.contains("KILL run"), "{words}");
    world.ends(Exit::Signal { signal: Signal::KILL, core: false });
    assert!(!world.service.is_gone(), "one of both lives");
    world.death(second(&world), Exit::Signal { signal: Signal::KILL, core: false });
    assert!(world.service.is_gone());
}

#[test]
fn why_a_second_run_is_not_started_is_told() {
    let why = |world: &World| world.service.why_not_replaced().unwrap_or_default();
    let mut world = World::up(&ServiceRules::RUNSV);
    assert!(why(&world).contains("none whose run") && world.order(Command::Replace).is_empty());
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up);
    assert!(why(&world).contains("does not run") && world.order(Command::Replace).is_empty());
    world.readiness = Readiness::Check(None);
    world.begin();
    assert!(why(&world).contains("check cannot tell"));
    assert!(why(&overlapping(Readiness::Notify)).contains("is starting beside it"));
    let mut world = overlapping(Readiness::Notify);
    world.second_is_ready();
    assert!(why(&world).contains("the one before has not ended"));
}

#[test]
fn who_is_about_to_be_told_to_end_is_not_replaced() {
    let mut world = World::new(&ServiceRules::ONIT, Role::Main, Want::Up).hooked(&[Command::Term]);
    world.begin();
    world.pass(10 * SECOND);
    assert_eq!(world.order(Command::Down), "control/t");
    assert_eq!(world.order(Command::Replace), "", "it is about to end");
    let mut world = overlapping(Readiness::Notify).hooked(&[Command::Term]);
    assert_eq!(world.order(Command::Down), "control/t");
    assert_eq!(world.second_is_ready(), "TERM second run, CONT second run", "it comes too late");
    assert_eq!(world.hook_ends(Exit::Code(1)), "TERM run, CONT run");
}

/// `stop` of a `run` lives, whose place was taken meanwhile.
fn replaced_in_stop() -> World {
    let mut world = overlapping(Readiness::Notify).with(Programs { stop: Program::Runs, ..Programs::RUN });
    assert_eq!(world.order(Command::Term), "stop");
    assert_eq!(world.second_is_ready(), "TERM second run, CONT second run");
    world
}

#[test]
fn a_stop_of_the_run_before_is_none_of_the_run_that_took_its_place() {
    let mut world = replaced_in_stop();
    assert_eq!(stop_ends(&mut world, Exit::Code(0)), "");
    let view = world.service.view();
    assert_eq!((view.got_term, world.service.state()), (false, ServiceState::Up), "nobody has told it to end");
    world.death(second(&world), Exit::Code(0));
    assert_eq!(world.order(Command::Replace), "second run", "so it can be replaced in its turn");
}

#[test]
fn an_order_to_stop_does_not_wait_for_a_stop_of_the_run_before() {
    let mut world = replaced_in_stop();
    assert_eq!(world.order(Command::Down), "TERM run, CONT run");
    assert_eq!((stop_ends(&mut world, Exit::Code(1)).as_str(), world.ends(TERMINATED).as_str()), ("", ""));
}

#[test]
fn what_hangs_is_killed_in_time_although_its_place_was_taken() {
    let mut world = overlapping(Readiness::Notify);
    assert_eq!(world.says(Notification::Trigger), "silent, ABRT run, CONT run");
    world.pass(2 * SECOND);
    assert_eq!(world.second_is_ready(), "TERM second run, CONT second run");
    assert_eq!(world.wait(KILL_RETRY - 2 * SECOND), "kill late second run", "there is no timeout-kill");
    assert_eq!(world.wait(KILL_RETRY), "kill late second run", "and again while it lives");
}

/// Its order was given before, and `control/p` has taken its time.
#[test]
fn what_is_told_to_end_is_not_paused_by_an_order_of_before() {
    for stops in [Command::Down, Command::Exit] {
        let mut world = up().hooked(&[Command::Pause(Target::Process)]);
        assert_eq!(world.order(Command::Pause(Target::Process)), "control/p");
        assert_eq!(world.order(stops), "TERM run, CONT run");
        assert_eq!(world.hook_ends(Exit::Code(1)), "", "STOP would keep it from its end");
    }
    let mut world = notifies(default_limits()).hooked(&[Command::Pause(Target::Process)]);
    assert_eq!(world.order(Command::Pause(Target::Process)), "control/p");
    assert_eq!(world.says(Notification::Trigger), "silent, ABRT run, CONT run");
    assert_eq!(world.hook_ends(Exit::Code(1)), "");
}
