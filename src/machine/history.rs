//! The last lives of a service, and what they say about it.

use super::restart::Cause;
use super::{Completion, Exit, Mono, Pid, Want};
use std::time::Duration;

/// How many lives are remembered.
pub const KEPT: usize = 16;

/// Who ends this often within [`WINDOW`] without being asked is flapping…
const FLAPPING_ENDS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// …unless it has been up for this long since.
const STEADY: Duration = Duration::from_secs(30);

/// How a life ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// When.
    pub at: Mono,
    /// How.
    pub exit: Exit,
    /// It was told to end.
    pub asked: bool,
    /// This end is no failure.
    pub is_success: bool,
    /// It is not to be started again: it has done its work, or failed because of this.
    pub over: Option<Result<(), Cause>>,
}

impl End {
    /// What came of a service that is wanted like this since. `None`: it is down because it was told to be, or its end was
    /// not the last word.
    pub fn completion(self, want: Want) -> Option<Completion> {
        match (want, self.over) {
            (Want::Up, _) => None,
            (Want::Down | Want::Once, Some(Ok(()))) => Some(Completion::Done),
            (Want::Down | Want::Once, Some(Err(_))) => Some(Completion::Failed),
            (Want::Once, None) if self.is_success && !self.asked => Some(Completion::Done),
            (Want::Down | Want::Once, None) => None,
        }
    }
}

/// One life of `run`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    /// Its process.
    pub pid: Pid,
    /// When it was started.
    pub start: Mono,
    /// When it counted as ready.
    pub ready: Option<Mono>,
    /// Its end; `None` if it lives.
    pub end: Option<End>,
}

/// The last lives of one service, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    lives: Vec<Life>,
    begun: u64,
}

impl History {
    /// The history that others remember: how many lives were begun in all, and the last of them. Nobody has begun fewer
    /// than are remembered.
    pub fn remembered(begun: u64, lives: impl IntoIterator<Item = Life>) -> History {
        let lives: Vec<Life> = lives.into_iter().take(KEPT).collect();
        History { begun: begun.max(lives.len() as u64), lives }
    }

    /// Oldest first.
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// How many lives there have been, forgotten ones too.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// How often it was started again.
    pub fn restarts(&self) -> u64 {
        self.begun.saturating_sub(1)
    }

    /// A life begins with this process, or goes on with it: a `setup` that has ended well is followed by `run`.
    pub fn begin(&mut self, now: Mono, pid: Pid, ready: Option<Mono>) {
        if let Some(life) = self.lives.last_mut().filter(|life| life.end.is_none()) {
            (life.pid, life.ready) = (pid, ready);
            return;
        }
        if self.lives.len() >= KEPT {
            self.lives.remove(0);
        }
        self.lives.reserve_exact(1);
        self.lives.push(Life { pid, start: now, ready, end: None });
        self.begun = self.begun.saturating_add(1);
    }

    /// Another process takes the place of the one that lives, which has not ended yet.
    pub fn replace(&mut self, start: Mono, pid: Pid, ready: Option<Mono>) {
        if self.lives.len() >= KEPT {
            self.lives.remove(0);
        }
        self.lives.push(Life { pid, start, ready, end: None });
        self.begun = self.begun.saturating_add(1);
    }

    /// A process has ended whose place was taken, or is by now.
    pub fn end_earlier(&mut self, pid: Pid, now: Mono, exit: Exit) {
        let earlier = self.lives.split_last_mut().map_or(&mut [][..], |(_, earlier)| earlier);
        if let Some(life) = earlier.iter_mut().rev().find(|life| life.pid == pid && life.end.is_none()) {
            life.end = Some(End { at: now, exit, asked: true, is_success: true, over: None });
        }
    }

    /// It counts as ready.
    pub fn ready(&mut self, now: Mono) {
        if let Some(life) = self.lives.last_mut().filter(|life| life.end.is_none()) {
            life.ready = Some(now);
        }
    }

    /// A `setup` has ended well, and `run` cannot be started for now: the next life begins with `setup` again.
    pub fn forget_unfinished(&mut self) {
        if self.lives.last().is_some_and(|life| life.end.is_none()) {
            self.lives.pop();
            self.begun = self.begun.saturating_sub(1);
        }
    }

    /// The process has ended.
    pub fn end(&mut self, now: Mono, exit: Exit, asked: bool, is_success: bool) {
        if let Some(life) = self.lives.last_mut().filter(|life| life.end.is_none()) {
            life.end = Some(End { at: now, exit, asked, is_success, over: None });
        }
    }

    /// It is not to be started again: it has done its work, or failed because of this.
    pub fn settle(&mut self, over: Result<(), Cause>) {
        if let Some(end) = self.lives.last_mut().and_then(|life| life.end.as_mut()) {
            end.over = Some(over);
        }
    }

    /// How many of the remembered lives, that one (counted from 0) and later ones, have ended since that instant without
    /// being asked to.
    pub fn ends_since(&self, from: Mono, life: u64) -> usize {
        let forgotten = self.begun.saturating_sub(self.lives.len() as u64);
        let counted = self.lives.iter().skip(usize::try_from(life.saturating_sub(forgotten)).unwrap_or(usize::MAX));
        counted.filter_map(|life| life.end).filter(|end| !end.asked && end.at >= from).count()
    }

    /// How it ended the last time.
    pub fn last_end(&self) -> Option<End> {
        self.lives.iter().rev().find_map(|life| life.end)
    }

    /// How it ended, if it has not been started again since.
    pub fn end_of_last(&self) -> Option<End> {
        self.lives.last().and_then(|life| life.end)
    }

    /// How often it has ended lately without being asked, if that is too often and it has not been up for long since.
    pub fn flapping(&self, now: Mono) -> Option<usize> {
        if self.lives.last().is_some_and(|life| life.end.is_none() && now.since(life.start) >= STEADY) {
            return None;
        }
        let recent = |end: &End| !end.asked && now.since(end.at) < WINDOW;
        let ends = self.lives.iter().filter_map(|life| life.end).filter(recent).count();
        (ends >= FLAPPING_ENDS).then_some(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(0).after(Duration::from_secs(seconds))
    }

    fn live(history: &mut History, from: u64, to: u64, asked: bool) {
        history.begin(at(from), Pid(7), Some(at(from)));
        history.end(at(to), Exit::Code(1), asked, false);
    }

    #[test]
    fn the_last_sixteen_lives_are_kept_and_all_are_counted() {
        let mut history = History::default();
        assert_eq!((history.begun(), history.restarts(), history.last_end()), (0, 0, None));
        for n in 0..20 {
            live(&mut history, n, n + 1, false);
        }
        assert_eq!((history.lives().len(), history.begun(), history.restarts()), (KEPT, 20, 19));
        assert_eq!(history.lives().first().map(|life| life.start), Some(at(4)));
        assert_eq!(history.last_end().map(|end| end.at), Some(at(20)));
        assert_eq!(History::remembered(20, history.lives().iter().copied()), history);
    }

    #[test]
    fn a_life_goes_on_with_another_process_until_it_ends() {
        let mut history = History::default();
        history.begin(at(1), Pid(7), None);
        history.begin(at(3), Pid(8), Some(at(3)));
        let life = Life { pid: Pid(8), start: at(1), ready: Some(at(3)), end: None };
        assert_eq!((history.lives(), history.begun()), (&[life][..], 1));
        history.end(at(4), Exit::Code(0), false, true);
        history.begin(at(5), Pid(9), None);
        assert_eq!((history.lives().len(), history.begun()), (2, 2));
    }

    #[test]
    fn a_life_that_has_not_ended_can_be_forgotten_and_no_other() {
        let mut history = History::default();
        live(&mut history, 1, 2, false);
        let before = history.clone();
        history.begin(at(3), Pid(8), None);
        history.forget_unfinished();
        assert_eq!(history, before);
        history.forget_unfinished();
        assert_eq!(history, before);
    }

    #[test]
    fn the_ends_of_lives_since_then_are_counted_but_for_those_that_were_asked_for() {
        let mut history = History::default();
        for n in 0..20 {
            live(&mut history, n, n + 1, n == 18);
        }
        history.begin(at(20), Pid(8), None);
        let counts = |from, life| history.ends_since(at(from), life);
        assert_eq!((counts(0, 0), counts(0, 6), counts(0, 20), counts(0, 99)), (14, 13, 0, 0), "5 are forgotten");
        assert_eq!((counts(20, 0), counts(19, 0), counts(18, 0), counts(21, 0)), (1, 1, 2, 0));
        assert_eq!(counts(18, 18), 1, "both hold");
    }

    #[test]
    fn an_end_belongs_to_a_life() {
        let mut history = History::default();
        history.end(at(1), Exit::Code(0), false, true);
        history.settle(Ok(()));
        assert_eq!(history, History::default());
        live(&mut history, 1, 2, false);
        history.end(at(9), Exit::Code(9), false, false);
        assert_eq!(history.last_end().map(|end| (end.at, end.exit)), Some((at(2), Exit::Code(1))));
    }

    #[test]
    fn who_ends_three_times_a_minute_is_flapping_until_it_was_up_for_half_a_minute() {
        let mut history = History::default();
        live(&mut history, 0, 10, false);
        live(&mut history, 10, 20, false);
        assert_eq!(history.flapping(at(20)), None);
        live(&mut history, 20, 30, false);
        assert_eq!(history.flapping(at(30)), Some(3));
        assert_eq!((history.flapping(at(69)), history.flapping(at(70))), (Some(3), None), "the first end is forgotten");
        history.begin(at(31), Pid(8), None);
        assert_eq!((history.flapping(at(60)), history.flapping(at(61))), (Some(3), None));
    }

    #[test]
    fn who_is_told_to_end_is_not_flapping() {
        let mut history = History::default();
        for n in 0..9 {
            live(&mut history, n, n + 1, true);
        }
        assert_eq!(history.flapping(at(9)), None);
    }

    #[test]
    fn giving_up_holds_until_the_next_start() {
        let mut history = History::default();
        let completion = |history: &History| history.end_of_last().and_then(|end| end.completion(Want::Down));
        live(&mut history, 0, 1, false);
        assert_eq!(completion(&history), None);
        history.settle(Err(Cause::Finish));
        assert_eq!(completion(&history), Some(Completion::Failed));
        history.begin(at(2), Pid(8), None);
        assert_eq!((history.end_of_last(), completion(&history)), (None, None));
    }

    #[test]
    fn who_ended_with_0_for_good_is_done_and_not_failed() {
        let end = |code, asked, is_over: bool| {
            let is_success = code == 0;
            let over = is_over.then_some(if is_success { Ok(()) } else { Err(Cause::Finish) });
            End { at: at(1), exit: Exit::Code(code), asked, is_success, over }
        };
        let outcomes = |end: End| [Want::Up, Want::Down, Want::Once].map(|want| end.completion(want));
        let (done, failed) = (Some(Completion::Done), Some(Completion::Failed));
        assert_eq!(outcomes(end(0, false, true)), [None, done, done]);
        assert_eq!(outcomes(end(3, false, true)), [None, failed, failed]);
        assert_eq!(outcomes(end(0, false, false)), [None, None, done], "what was to run once has");
        assert_eq!(outcomes(end(0, true, false)), [None; 3], "it is as it was told to be");
        assert_eq!(outcomes(end(3, false, false)), [None; 3]);
    }
}
