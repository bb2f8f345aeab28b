//! What a hook is yet to hear, and when. Pure.

use crate::machine::Mono;
use crate::wire::api::Event;
use std::collections::VecDeque;
use std::time::Duration;

/// A hook that is so far behind hears no more of what came first.
const LONGEST: usize = 4096;

/// What a hook hears.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// The event; of several, the last, but for the state before, which is that before the first.
    pub event: Event,
    /// How many events these were.
    pub count: u64,
}

/// What waits for one hook. One that is slow, or that is told to pause, hears once of all that has happened to a service.
#[derive(Default, Debug)]
pub struct Queue {
    waiting: VecDeque<Notice>,
    not_before: Mono,
    is_busy: bool,
}

impl Queue {
    /// Something has happened. False if something else was dropped for it.
    pub fn push(&mut self, event: &Event) -> bool {
        let is_same = |notice: &&mut Notice| notice.event.what == event.what && notice.event.name == event.name;
        if let Some(notice) = self.waiting.iter_mut().find(is_same) {
            let old = notice.event.old.take().or_else(|| event.old.clone());
            let exit = event.exit.clone().or(notice.event.exit.take());
            *notice = Notice { event: Event { old, exit, ..event.clone() }, count: notice.count + 1 };
            return true;
        }
        let has_room = self.waiting.len() < LONGEST;
        if !has_room {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Notice { event: event.clone(), count: 1 });
        has_room
    }

    /// When the hook is to be started; `None` if it runs, or if there is nothing to tell it.
    pub fn due(&self) -> Option<Mono> {
        (!self.is_busy && !self.waiting.is_empty()).then_some(self.not_before)
    }

    /// What it is to be started with now. It is not started again before it has ended and this pause is over.
    pub fn start(&mut self, now: Mono, pause: Duration) -> Option<Notice> {
        self.due().filter(|due| *due <= now)?;
        (self.is_busy, self.not_before) = (true, now.after(pause));
        self.waiting.pop_front()
    }

    /// It has ended.
    pub fn ended(&mut self) {
        self.is_busy = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ServiceState::{self, Backoff, Down, Starting, Up};
    use crate::wire::api::{EventKind, ExitRecord, Word};

    const SECOND: Duration = Duration::from_secs(1);

    fn event(name: &str, old: ServiceState, new: ServiceState) -> Event {
        Event {
            what: EventKind::State.into(),
            time: 5.0,
            name: Some(name.into()),
            old: Some(old.into()),
            new: Some(new.into()),
            want: None,
            pid: None,
            exit: None,
            health: None,
        }
    }

    fn at(seconds: u64) -> Mono {
        Mono::default().after(SECOND * u32::try_from(seconds).expect("small"))
    }

    fn told(notice: Option<Notice>) -> Option<(String, [ServiceState; 2], u64)> {
        let Notice { event, count } = notice?;
        let known = |word: Option<Word<ServiceState>>| word.and_then(|word| word.known()).expect("a state");
        Some((event.name.expect("a name"), [known(event.old), known(event.new)], count))
    }

    #[test]
    fn a_hook_runs_at_once_and_then_hears_together_what_came_meanwhile() {
        let mut queue = Queue::default();
        assert_eq!(queue.due(), None);
        assert!(queue.push(&event("web", Down, Up)));
        assert_eq!(told(queue.start(at(7), SECOND)), Some(("web".into(), [Down, Up], 1)));
        let mut end = event("web", Up, Backoff);
        end.exit = Some(ExitRecord { code: Some(3), signal: None, name: None, core: false });
        queue.push(&end);
        queue.push(&event("db", Down, Up));
        queue.push(&event("web", Backoff, Starting));
        assert_eq!((queue.due(), queue.start(at(9), SECOND)), (None, None), "one at a time");
        queue.ended();
        assert_eq!((queue.due(), queue.start(at(7), SECOND)), (Some(at(8)), None), "it pauses");
        let notice = queue.start(at(8), SECOND);
        assert_eq!(notice.as_ref().and_then(|notice| notice.event.exit.as_ref()?.code), Some(3), "it had ended");
        assert_eq!(told(notice), Some(("web".into(), [Up, Starting], 2)));
        queue.ended();
        assert_eq!(told(queue.start(at(9), SECOND)), Some(("db".into(), [Down, Up], 1)));
        queue.ended();
        assert_eq!(queue.due(), None);
    }

    #[test]
    fn who_is_far_behind_loses_what_came_first() {
        let mut queue = Queue::default();
        assert!((0..LONGEST).all(|n| queue.push(&event(&n.to_string(), Down, Up))));
        assert!(!queue.push(&event("more", Down, Up)));
        assert_eq!(told(queue.start(at(0), SECOND)).map(|(name, ..)| name), Some("1".into()));
    }
}
