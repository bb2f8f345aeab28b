//! Words for who gets a processor or a disk first.

/// `none`, `idle`, or `best-effort` or `realtime`, perhaps with `:` and a level from 0 (first) to 7: the class and the
/// level of ioprio_set(2). The words of ionice(1).
pub fn io_priority(text: &str) -> Result<(u8, u8), String> {
    let (word, level) = text.split_once(':').map_or((text, None), |(word, level)| (word, Some(level)));
    let class = match (word, level) {
        ("none" | "0", None) => 0,
        ("realtime" | "1", _) => 1,
        ("best-effort" | "2", _) => 2,
        ("idle" | "3", None) => 3,
        _ => return Err("write none, idle, best-effort:LEVEL or realtime:LEVEL".into()),
    };
    let level = match level {
        Some(level) => level.parse().ok().filter(|level| *level < 8).ok_or("a level is from 0 to 7")?,
        None if class == 1 || class == 2 => 4,
        None => 0,
    };
    Ok((class, level))
}

/// `other`, `batch`, `idle`, or `fifo:PRIORITY` or `rr:PRIORITY`: the policy and the priority of sched_setscheduler(2).
pub fn scheduler(text: &str) -> Result<(i32, i32), String> {
    let (word, priority) = text.split_once(':').map_or((text, None), |(word, priority)| (word, Some(priority)));
    let policy = match (word, priority) {
        ("other", None) => libc::SCHED_OTHER,
        ("batch", None) => libc::SCHED_BATCH,
        ("idle", None) => libc::SCHED_IDLE,
        ("fifo", Some(_)) => libc::SCHED_FIFO,
        ("rr", Some(_)) => libc::SCHED_RR,
        _ => return Err("write other, batch, idle, fifo:PRIORITY or rr:PRIORITY".into()),
    };
    let Some(priority) = priority else { return Ok((policy, 0)) };
    let priority = priority.parse().ok().filter(|priority| (1..=99).contains(priority));
    priority.map(|priority| (policy, priority)).ok_or_else(|| "a priority is from 1 to 99".into())
}

/// Numbers of processors, as `0-3,6`.
pub fn processors(text: &str) -> Result<Vec<u16>, String> {
    const MOST: u16 = 8191; // more than any Linux has
    let wrong = || format!("\"{text}\" is no list of processors, as 0-3,6");
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let [first, last] = [first, last].map(|text| text.parse::<u16>().ok().filter(|number| *number <= MOST));
        let (first, last) = first.zip(last).filter(|(first, last)| first <= last).ok_or_else(wrong)?;
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_priorities_are_those_of_ionice() {
        assert_eq!(io_priority("idle"), Ok((3, 0)));
        assert_eq!(io_priority("best-effort"), Ok((2, 4)));
        assert_eq!(io_priority("realtime:0"), Ok((1, 0)));
        assert!(["idle:1", "best-effort:8", "rt", ""].into_iter().all(|text| io_priority(text).is_err()));
    }

    #[test]
    fn only_realtime_schedulers_have_a_priority() {
        assert_eq!(scheduler("batch"), Ok((libc::SCHED_BATCH, 0)));
        assert_eq!(scheduler("fifo:10"), Ok((libc::SCHED_FIFO, 10)));
        assert!(["fifo", "rr:0", "rr:100", "idle:1", "deadline"].into_iter().all(|text| scheduler(text).is_err()));
    }

    #[test]
    fn processors_are_lists_of_numbers_and_ranges() {
        assert_eq!(processors("0-2,7"), Ok(vec![0, 1, 2, 7]));
        assert!(["", "1-", "3-1", "x", "0,,1", "9999999"].into_iter().all(|text| processors(text).is_err()));
    }
}
