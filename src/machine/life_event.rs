//! What happens to a service, as those hear it who wait for it in s6's way.

use super::{Event, Exit, Phase, Pid, View};

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LifeEvent {
    /// It is supervised, and its status can be read.
    Supervised,
    /// `run` was started.
    Up,
    /// `run` has said that it is ready.
    Ready,
    /// `run` has ended.
    Died,
    /// `finish` has said that it is not to be started again.
    GaveUp,
    /// Nothing of it runs any more, `finish` neither.
    Down,
    /// It is not supervised any more.
    Left,
}

/// What a step of the machine was: what was before and after it, and what it was about. A `run` whose place another one
/// takes is none of it. In the order in which it is told.
pub fn events(before: &View, event: Event, after: &View, has_become_ready: bool) -> impl Iterator<Item = LifeEvent> {
    let (ran, runs) = (before.phase == Phase::Run, after.phase == Phase::Run);
    let was_running = matches!(before.phase, Phase::Run | Phase::Finish);
    let was_real = !matches!(event, Event::NeverRan(_));
    let is_over = matches!(after.phase, Phase::Down | Phase::Setup);
    [
        (!ran && runs).then_some(LifeEvent::Up),
        (runs && has_become_ready).then_some(LifeEvent::Ready),
        (ran && !runs && was_real).then_some(LifeEvent::Died),
        gives_up(before, event).then_some(LifeEvent::GaveUp),
        (was_running && is_over && was_real).then_some(LifeEvent::Down),
    ]
    .into_iter()
    .flatten()
}

fn gives_up(before: &View, event: Event) -> bool {
    let is_finish = |pid: Pid| before.phase == Phase::Finish && before.pid == Some(pid);
    matches!(event, Event::Died(pid, Exit::GIVE_UP) if is_finish(pid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::policy::ServiceRules;
    use crate::machine::readiness::{Readiness, Said};
    use crate::machine::service::{Role, Service};
    use crate::machine::{Command, Mono, Script, Want};
    use std::time::Duration;

    struct World {
        service: Service,
        now: Mono,
        pids: i32,
        heard: Vec<LifeEvent>,
    }

    impl World {
        fn new(want: Want, finish: bool) -> World {
            let mut service = Service::new(&ServiceRules::S6, Role::Main, want, Mono(1));
            service.inputs.scripts.finish = finish;
            World { service, now: Mono(1), pids: 100, heard: Vec::new() }
        }

        fn tell(&mut self, event: Event) {
            self.now = self.now.after(Duration::from_millis(1));
            let mut next = Some(event);
            while let Some(event) = next.take() {
                let (before, was_ready) = (self.service.view(), self.service.last_change().ready);
                let step = self.service.step(self.now, event);
                let (after, is_ready) = (self.service.view(), self.service.last_change().ready);
                self.heard.extend(events(&before, event, &after, is_ready != was_ready && is_ready.is_some()));
                next = step.start.map(|script: Script| {
                    assert!(script.is_run() || matches!(script, Script::Finish(_)));
                    self.pids += 1;
                    Event::Spawned(Pid(self.pids))
                });
            }
        }

        fn dies(&mut self, exit: Exit) {
            let pid = self.service.view().pid.expect("it runs");
            self.tell(Event::Died(pid, exit));
        }

        fn heard(&mut self) -> Vec<LifeEvent> {
            std::mem::take(&mut self.heard)
        }
    }

    #[test]
    fn a_life_is_told_in_order() {
        use LifeEvent::{Died, Down, GaveUp, Ready, Up};
        let mut world = World::new(Want::Up, true);
        world.service.inputs.readiness = Said { descriptor: Some(3), ..Said::default() }.into();
        world.tell(Event::Begin);
        assert_eq!(world.heard(), [Up]);
        world.tell(Event::Ready);
        assert_eq!(world.heard(), [Ready]);
        world.tell(Event::Ready);
        world.tell(Event::Command(Command::Pause(crate::machine::Target::Process)));
        assert_eq!(world.heard(), []);
        world.dies(Exit::Code(1));
        assert_eq!(world.heard(), [Died]);
        world.dies(Exit::Code(0));
        assert_eq!(world.heard(), [Down]);
        world.now = world.now.after(Duration::from_secs(1));
        world.tell(Event::Tick);
        assert_eq!(world.heard(), [Up]);
        world.dies(Exit::Code(1));
        world.dies(Exit::GIVE_UP);
        assert_eq!(world.heard(), [Died, GaveUp, Down]);
        assert_eq!(world.service.view().want, Want::Down);
    }

    #[test]
    fn what_has_no_finish_is_down_when_it_has_died() {
        let mut world = World::new(Want::Up, false);
        world.tell(Event::Begin);
        world.tell(Event::Command(Command::Down));
        world.dies(Exit::GIVE_UP); // which is none, from `run`
        assert_eq!(world.heard(), [LifeEvent::Up, LifeEvent::Died, LifeEvent::Down]);
        assert_eq!(world.service.last_change().exit, Some(Exit::GIVE_UP));
    }

    #[test]
    fn who_says_nothing_is_never_ready_for_those_who_wait() {
        let mut world = World::new(Want::Up, false);
        assert_eq!(world.service.inputs.readiness.readiness(), Readiness::None);
        world.tell(Event::Begin);
        assert!(world.service.view().is_ready);
        assert_eq!(world.service.last_change().ready, None);
        assert_eq!(world.heard(), [LifeEvent::Up]);
    }

    #[test]
    fn a_run_that_cannot_be_executed_has_not_lived() {
        let mut world = World::new(Want::Up, true);
        world.service.step(world.now, Event::Begin);
        let step = world.service.step(world.now, Event::NotSpawned(crate::machine::Refusal::Exec));
        assert_eq!((step.start, world.service.last_change().exit), (None, None));
        assert_eq!(world.service.next_start(), Some(world.now.after(Duration::from_secs(10))));
    }

    #[test]
    fn nor_has_one_of_which_that_is_known_late() {
        let mut world = World::new(Want::Up, true);
        world.tell(Event::Begin);
        assert_eq!(world.heard(), [LifeEvent::Up]);
        world.tell(Event::NeverRan(Pid(101)));
        assert_eq!((world.heard(), world.service.last_change().exit), (vec![], None));
        assert_eq!(world.service.next_start(), Some(world.now.after(Duration::from_secs(10))));
        world.tell(Event::Command(Command::Once));
        world.tell(Event::Command(Command::Down));
        world.tell(Event::NeverRan(Pid(102)));
        assert_eq!((world.heard(), world.service.next_start()), (vec![LifeEvent::Up], None));
    }

    #[test]
    fn what_is_down_is_ready_in_a_record_when_nothing_of_it_runs() {
        let is_ready = |phase, is_ready| {
            let view = View { phase, is_ready, ..World::new(Want::Down, false).service.view() };
            (view.in_files(true).is_ready, view.in_files(false).is_ready)
        };
        assert_eq!([Phase::Setup, Phase::Finish].map(|phase| is_ready(phase, false)), [(false, true); 2]);
        assert_eq!([false, true].map(|ready| is_ready(Phase::Run, ready)), [(false, true), (true, true)]);
        assert_eq!(is_ready(Phase::Down, false), (true, true));
    }

    #[test]
    fn no_order_reaches_finish() {
        let mut world = World::new(Want::Up, true);
        world.tell(Event::Begin);
        world.dies(Exit::Code(1));
        let order = Event::Command(Command::Kill(crate::machine::Target::Process));
        assert_eq!(world.service.step(world.now, order), crate::machine::Step::NOTHING);
    }

    #[test]
    fn the_pause_of_s6_is_counted_from_readiness_or_from_the_end() {
        let pause = |is_ready: bool| {
            let mut world = World::new(Want::Up, false);
            world.service.inputs.readiness = Said { descriptor: Some(3), ..Said::default() }.into();
            world.tell(Event::Begin);
            if is_ready {
                world.tell(Event::Ready);
            }
            let ready = world.now;
            world.now = world.now.after(Duration::from_millis(699));
            world.dies(Exit::Code(1));
            (world.service.next_start().expect("it starts again").since(ready), world.now.since(ready))
        };
        let [second, lived] = [Duration::from_secs(1), Duration::from_millis(700)];
        assert_eq!(pause(true), (second, lived));
        assert_eq!(pause(false), (second + lived, lived));
    }
}
