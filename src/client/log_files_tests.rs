use super::*;
use proptest::prelude::*;

fn stamped(unix: i64, text: &str) -> String {
    format!("@{} {text}\n", Tai { unix, nanos: 0 }.label())
}

fn all(log: &mut LogFiles) -> Vec<String> {
    std::iter::from_fn(|| log.next()).map(|line| String::from_utf8(line.text).expect("text")).collect()
}

fn write(path: &Path, content: &str, unix: u64) {
    std::fs::write(path, content).expect("written");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(unix);
    File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
}

/// Two old files and the newest, with the lines 0 to 29 at the seconds 1000 to 1029.
fn three() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    for (at, name) in ["@400000006b0c76de0291f38c.s", "@400000006b0c76df0291f38c.s", "current"].iter().enumerate() {
        let lines = (at * 10..at * 10 + 10).map(|number| stamped(1000 + number as i64, &number.to_string()));
        write(&root.path().join(name), &lines.collect::<String>(), 1009 + at as u64 * 10);
    }
    let path = root.path().join("current");
    (root, path)
}

fn range(count: Option<u64>, since: Option<i64>, until: Option<i64>) -> Range {
    let at = |unix: i64| Tai { unix, nanos: 0 };
    Range { count, since: since.map(at), until: until.map(at) }
}

#[test]
fn the_lines_that_are_asked_for_are_read_over_the_files() {
    let (_root, path) = three();
    for count in [None, Some(0), Some(1), Some(3), Some(10), Some(11), Some(25), Some(30), Some(31)] {
        for since in [None, Some(0), Some(1000), Some(1005), Some(1010), Some(1019), Some(1029), Some(1030)] {
            for until in [None, Some(999), Some(1000), Some(1009), Some(1015), Some(1029), Some(2000)] {
                let wanted = since.unwrap_or(1000).max(1000)..=until.unwrap_or(1029).min(1029);
                let wanted: Vec<String> = wanted.map(|unix| (unix - 1000).to_string()).collect();
                let skip = count.map_or(0, |count| wanted.len().saturating_sub(count as usize));
                let mut log = LogFiles::new(&path, range(count, since, until), false).expect("a log");
                assert_eq!(all(&mut log), wanted[skip..], "{count:?} {since:?} {until:?}");
            }
        }
    }
}

#[test]
fn a_moment_is_found_in_a_large_file_and_the_last_lines_too() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("current");
    write(&path, &(0..30_000).map(|number| stamped(number, &number.to_string())).collect::<String>(), 29_999);
    let read = |range| all(&mut LogFiles::new(&path, range, false).expect("a log"));
    assert_eq!(read(range(None, Some(29_998), None)), ["29998", "29999"]);
    assert_eq!(read(range(Some(2), None, Some(12_345))), ["12344", "12345"]);
    assert_eq!(read(range(Some(20_000), None, None)).len(), 20_000);
}

#[test]
fn lines_without_a_time_have_that_of_the_line_before_or_of_the_file() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("web.log");
    write(&path, &format!("a\n{}b\n", stamped(500, "x")), 700);
    let mut log = LogFiles::new(&path, Range::default(), false).expect("a log");
    let times: Vec<i64> = std::iter::from_fn(|| log.next()).map(|line| line.at.unix).collect();
    assert_eq!(times, [700, 500, 500]);
}

#[test]
fn the_labels_of_s6_log_are_27_seconds_ahead_of_their_file() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("current");
    for (written, at) in [(1000, 1000), (973, 973)] {
        write(&path, &stamped(1000, "x"), written);
        let mut log = LogFiles::new(&path, Range::default(), false).expect("a log");
        assert_eq!(log.next().map(|line| line.at.unix), Some(at));
    }
}

#[test]
fn a_line_without_an_end_waits_for_it_only_if_more_may_come() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("current");
    std::fs::write(&path, "a\nb").expect("written");
    assert_eq!(all(&mut LogFiles::new(&path, Range::default(), false).expect("a log")), ["a", "b"]);
    let mut log = LogFiles::new(&path, Range::default(), true).expect("a log");
    assert_eq!(all(&mut log), ["a"]);
    std::fs::write(&path, "a\nbc\n").expect("written");
    assert_eq!(all(&mut log), ["bc"]);
    std::fs::write(&path, "d\n").expect("written");
    log.look();
    assert_eq!(all(&mut log), ["d"], "it was cut");
}

#[test]
fn an_endless_line_comes_in_pieces() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("current");
    std::fs::write(&path, vec![b'x'; 2 * LONGEST + 5]).expect("written");
    let lengths: Vec<usize> =
        all(&mut LogFiles::new(&path, Range::default(), false).expect("a log")).iter().map(String::len).collect();
    assert_eq!(lengths, [LONGEST, LONGEST, 5]);
}

fn archive(name: &str, id: u64) -> Archive {
    Archive { name: name.into(), path: name.into(), id: (0, id) }
}

#[test]
fn what_came_between_is_told_from_what_was_read() {
    let there = [archive("a", 1), archive("b", 2), archive("c", 3)];
    let known = |names: &[&str]| names.iter().map(OsString::from).collect::<BTreeSet<_>>();
    let between = |names: &[&str], ours, newest| {
        let (found, names) = since(&there, &known(names), (0, ours), (0, newest));
        (found.iter().map(|one| one.id.1).collect::<Vec<_>>(), names.len())
    };
    assert_eq!(between(&["a"], 2, 9), (vec![3], 3));
    assert_eq!(between(&["a", "b"], 3, 9), (vec![], 3));
    assert_eq!(between(&[], 1, 3), (vec![2], 2), "the newest has become an old one meanwhile");
    assert_eq!(between(&["a"], 7, 9), (vec![3], 3), "b is what a processor made of ours");
    assert_eq!(between(&["0"], 7, 9), (vec![1, 2, 3], 3), "ours was deleted");
}

proptest! {
    #[test]
    fn lines_come_in_the_order_of_time_and_each_log_in_its_own(logs in proptest::collection::vec(proptest::collection::vec(0_i64..9, 0..9), 0..5)) {
        let line = |unix: i64, number: usize| Line {
            at: Tai { unix, nanos: 0 },
            is_error: false,
            text: number.to_string().into_bytes(),
        };
        let mut left: Vec<VecDeque<Line>> =
            logs.iter().map(|log| log.iter().enumerate().map(|(number, unix)| line(*unix, number)).collect()).collect();
        let mut merged = Vec::new();
        let more = |log: usize| left[log].pop_front();
        merge(logs.len(), more, |log, line| { merged.push((log, line)); Ok::<(), ()>(()) }).expect("no error");
        for (number, log) in logs.iter().enumerate() {
            let own: Vec<i64> = merged.iter().filter(|(log, _)| *log == number).map(|(_, line)| line.at.unix).collect();
            prop_assert_eq!(&own, log);
        }
        if logs.iter().all(|log| log.is_sorted()) {
            prop_assert!(merged.is_sorted_by_key(|(_, line)| line.at));
        }
    }
}
