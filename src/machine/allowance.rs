//! How much work others may cause: much at once, and in the long run a little.

use super::Mono;

/// Steps that may be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// So many at once.
    burst: u64,
    /// So many more come each millisecond.
    per_ms: u64,
    used: u64,
    at: Mono,
}

impl Allowance {
    /// All of it is there.
    pub const fn new(burst: u64, per_ms: u64) -> Allowance {
        Allowance { burst, per_ms, used: 0, at: Mono(0) }
    }

    /// Takes so many steps, if they are there.
    pub fn take(&mut self, now: Mono, steps: u64) -> bool {
        let came = u64::try_from(now.since(self.at).as_nanos()).unwrap_or(u64::MAX).saturating_mul(self.per_ms) / NANOS;
        if came >= self.used {
            (self.used, self.at) = (0, now);
        } else {
            self.used -= came;
            self.at = Mono(self.at.0 + came * NANOS / self.per_ms); // what is left of a step counts the next time
        }
        let is_there = self.used + steps <= self.burst;
        if is_there {
            self.used += steps;
        }
        is_there
    }

    /// These were none that count.
    pub fn give_back(&mut self, steps: u64) {
        self.used = self.used.saturating_sub(steps);
    }
}

/// Nanoseconds in a millisecond.
const NANOS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_at_once_and_in_the_long_run_a_little() {
        let mut allowance = Allowance::new(100, 2);
        let mut take_all = |micros: u64| {
            let now = Mono(1_000_000_000 + micros * 1000);
            (0..1000).take_while(|_| allowance.take(now, 1)).count()
        };
        assert_eq!([take_all(0), take_all(0), take_all(1000), take_all(11_000)], [100, 0, 2, 20]);
        // Many looks in one millisecond give no more, and no less.
        let steps: usize = (1..=100).map(|tenth| take_all(11_000 + tenth * 100)).sum();
        assert_eq!(steps, 20);
        assert_eq!(take_all(10_000_000), 100);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut allowance = Allowance::new(4, 1);
        let now = Mono(5);
        assert!(allowance.take(now, 4) && !allowance.take(now, 4));
        allowance.give_back(4);
        assert!(allowance.take(now, 4));
    }
}
