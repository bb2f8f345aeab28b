//! A logger reads from a pipe that onit holds: either end may die as often as it likes, and what was written is read.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;

use crate::differential::rng::Rng;
use crate::proc;
use crate::svdir::{
    Ending, SOON, Service, ServiceBuilder, SvDir, UnderTest, missing_tools, onit, send, skip, wait_for,
};

/// Writes numbered lines without end. It counts in a file after each line, so that a life begins where the one before was
/// killed: a line may come twice, but none is left out.
const NUMBERS: &str = r#"#!/usr/bin/perl
open(my $next, '+<', 'next') or die;
sysread($next, my $n, 12);
for ($n += 0;; $n++) {
    sysseek($next, 0, 0); syswrite($next, sprintf('%012d', $n));
    syswrite(STDOUT, "$n\n") or die;
    select(undef, undef, undef, 0.001) if $n % 16 == 0;
}
"#;

/// A logger from which not even KILL takes a byte: splice(2) moves bytes from the pipe to the file, so at any time each of
/// them is in one of the two. (A logger that reads loses what it has read and not yet written.)
fn splicing(service: ServiceBuilder) -> ServiceBuilder {
    let script = format!(
        "#!/usr/bin/perl\nopen(my $log, '+<', '../got') or die; sysseek($log, 0, 2);\n\
         while (syscall({}, 0, 0, fileno($log), 0, 65536, 0) > 0) {{}}\n\
         open(my $end, '>>', '../ended'); syswrite($end, \"$$\\n\");\n",
        libc::SYS_splice
    );
    service.exec("log/run", &script).file("got", "")
}

/// The lines are 0, 1, 2, … with repetitions at most, and this many.
#[track_caller]
fn count_without_gap(text: &str) -> u64 {
    let mut next = 0;
    for line in text.lines() {
        let number: u64 = line.parse().unwrap_or_else(|_| panic!("torn after {next}: {line:?}"));
        assert!(number <= next, "after {next} lines came {number}: lines are lost");
        next = next.max(number + 1);
    }
    assert!(text.ends_with('\n'), "the last line is torn");
    next
}

#[test]
fn no_byte_is_lost_when_both_ends_are_killed_again_and_again_in_any_order() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = splicing(sv.service("web").exec("run", NUMBERS).file("next", "000000000000")).create_atomically();
    let onit = sv.start(UnderTest::Onit);
    let logger = web.logger();
    let pipe = |pid: u32| std::fs::read_link(format!("/proc/{pid}/fd/0")).ok();
    web.wait_text("got", |text| !text.is_empty()); // before, its descriptors may be another's
    let first_pipe = pipe(logger.wait_up());
    let mut before = 0;
    for round in 0..24 {
        let victims: Vec<&Service> = match round % 4 {
            0 => vec![&web],
            1 => vec![&logger],
            2 => vec![&web, &logger],
            _ => vec![&logger, &web],
        };
        let killed: Vec<_> = victims.iter().map(|service| (service, service.wait_up())).collect();
        killed.iter().for_each(|(_, pid)| send(*pid, Signal::SIGKILL));
        for (service, pid) in killed {
            onit.wait_for("the death", SOON, || (service.status()?.pid() != Some(pid)).then_some(()));
            service.order(b"u"); // at once, without the pause
            service.wait_other(pid);
        }
        before = wait_for("more lines", SOON, || Some(web.text("got").len()).filter(|&length| length > before + 100));
    }
    assert_eq!(pipe(logger.wait_up()), first_pipe, "it is the same pipe all the time");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    let written: u64 = web.text("next").parse().expect("a number");
    let logged = count_without_gap(&web.text("got"));
    assert!(logged == written || logged == written + 1, "{logged} lines logged, about {written} written");
    assert_eq!(web.text("ended").lines().count(), 1, "the logger ended by the end of its input, once");
}

/// A slow logger, which needs many times longer than its service to be through.
const SLOW_LOGGER: &str = "while IFS= read -r line; do echo \"$line\" >>../got; done; echo end >>../got";

/// `first`, then at TERM 500 lines, and one more from `finish`.
fn talkative(sv: &SvDir) -> ServiceBuilder {
    let run = "trap 'i=0; while [ $i -lt 500 ]; do echo dying $i; i=$((i+1)); done; exit' TERM
        echo first; while :; do sleep 1 & wait $!; done";
    sv.service("web").run(run).finish("echo last words")
}

#[track_caller]
fn has_every_word(text: &str) {
    let dying = (0..500).map(|i| format!("dying {i}"));
    let all: Vec<_> = ["first".into()].into_iter().chain(dying).chain(["last words".into(), "end".into()]).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), all);
}

#[test]
fn at_term_the_loggers_end_last_and_have_every_dying_word() {
    let sv = SvDir::new();
    let web = talkative(&sv).log(SLOW_LOGGER).create_atomically();
    let onit = sv.start(UnderTest::Onit);
    web.wait_text("got", |text| text == "first\n");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    has_every_word(&web.text("got"));
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_service_that_is_told_to_exit_has_every_word_logged_and_its_logger_ends() {
    let sv = SvDir::new();
    let web = talkative(&sv).log(SLOW_LOGGER).create_atomically();
    let onit = sv.start(UnderTest::Onit);
    web.wait_text("got", |text| text == "first\n");
    let logger = web.logger().wait_up();
    web.order(b"x");
    onit.wait_for("the end of the logger", SOON, || (!proc::is_alive(logger)).then_some(()));
    let text = web.text("got");
    has_every_word(&text[..text.find("end\n").map_or(0, |at| at + 4)]);
}

#[test]
fn a_removed_service_has_every_word_logged() {
    let sv = SvDir::new();
    let web = talkative(&sv).log(SLOW_LOGGER).create_atomically();
    let _onit = sv.start(UnderTest::Onit);
    web.wait_text("got", |text| text == "first\n");
    let away = sv.root().join("away");
    std::fs::rename(web.path(), &away).expect("rename");
    let away = sv.service_at(away).create();
    has_every_word(&away.wait_text("got", |text| text.ends_with("end\n")));
}

#[test]
fn a_logger_that_has_crashed_is_started_again_to_read_what_is_left_at_the_end() {
    let sv = SvDir::new();
    let run = "trap 'echo dying; exit' TERM; echo one; echo two; echo >spoken; while :; do sleep 1 & wait $!; done";
    let log = "[ -e ../mended ] || exit 1; cat >>../got; echo end >>../got";
    let web = sv.service("web").run(run).log(log).create_atomically();
    let onit = sv.start(UnderTest::Onit);
    web.wait_text("spoken", |text| !text.is_empty());
    onit.wait_said(&["onit: web/log: exited with 1 within a second of its start; trying again"]);
    web.write("mended", "");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(web.text("got"), "one\ntwo\ndying\nend\n");
}

#[test]
fn a_logger_that_ends_while_it_drains_is_started_again_for_the_rest() {
    let sv = SvDir::new();
    let weary = "i=0
        while [ $i -lt 100 ] && IFS= read -r line; do echo \"$line\" >>../got; i=$((i+1)); done
        [ $i = 100 ] || echo end >>../got
        exit 1";
    let web = talkative(&sv).log(weary).create_atomically();
    let onit = sv.start(UnderTest::Onit);
    web.wait_text("got", |text| text == "first\n");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    has_every_word(&web.text("got"));
}

#[test]
fn a_logger_that_was_told_down_leaves_a_word_about_what_it_does_not_read() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo unread; echo >spoken; exec sleep 1000").log("exec cat").file("log/down", "");
    let web = web.create_atomically();
    let onit = sv.start(UnderTest::Onit);
    web.wait_text("spoken", |text| !text.is_empty());
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(onit.stderr(), "onit: web/log: 7 bytes were left unread in its pipe, and are lost\n");
}

#[test]
fn a_logger_that_ignores_the_end_of_its_input_is_named_and_killed() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").log("exec sleep 1000").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    let (pid, logger) = (web.wait_up(), web.logger().wait_up());
    onit.signal(Signal::SIGTERM);
    onit.wait_for("the end of the service", SOON, || (!proc::is_alive(pid)).then_some(()));
    assert!(proc::is_alive(logger), "it may take its time");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert!(!proc::is_alive(logger));
    assert_eq!(onit.stderr(), format!("onit: web/log: still running (pid {logger}); killing it\n"));
}

#[test]
fn a_shutdown_is_over_after_nine_seconds_whoever_ignores_it() {
    let sv = SvDir::new();
    let deaf = "trap '' TERM; echo >ready; exec sleep 1000";
    let web = sv.service("web").run(deaf).log(deaf).finish("exec sleep 1000").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    for service in [&web, &web.logger()] {
        service.wait_text("ready", |text| !text.is_empty());
    }
    let begun = std::time::Instant::now();
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(
        (onit.said(&["still running (pid", "killing it"]).len(), sv.processes().len()),
        (2, 0),
        "{}",
        onit.stderr()
    );
}

#[test]
fn a_logger_is_no_hostage_of_its_service_and_can_be_restarted_alone() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo one; exec sleep 1000").log("cat >>../got").create_atomically();
    let _onit = sv.start(UnderTest::Onit);
    web.wait_text("got", |text| text == "one\n");
    let (pid, logger) = (web.wait_up(), web.logger().wait_up());
    web.logger().order(b"d");
    web.logger().wait_down();
    web.order(b"t");
    let next = web.wait_other(pid); // and what it writes now waits in the pipe
    web.logger().order(b"u");
    assert_ne!(web.logger().wait_up(), logger);
    web.wait_text("got", |text| text == "one\none\n");
    assert_eq!(web.wait_up(), next);
}

#[test]
fn a_logger_that_was_stopped_reads_to_the_end_all_the_same() {
    let sv = SvDir::new();
    let web = sv.service("web").run("trap 'echo line; exit' TERM; echo $$ >ready; while :; do sleep 0.05; done");
    let web = web.log("echo $$ >ready; exec cat >../got").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    let logger = web.logger().wait_pid("ready");
    web.wait_pid("ready");
    send(logger, Signal::SIGSTOP);
    web.logger().wait_for("a stop", |_| proc::Glimpse::of(logger).is_some_and(|seen| seen.is_stopped()));
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!((onit.stderr().as_str(), web.text("got").as_str()), ("", "line\n"));
}

/// Its small files are its own, as those of any service.
#[test]
fn a_logger_is_stopped_with_its_own_signal() {
    let sv = SvDir::new();
    let service = sv.service("web").run("exec sleep 1000").file("log/down-signal", "QUIT");
    let log =
        "trap 'echo quit >>said; exit' QUIT; trap 'echo term >>said' TERM; echo up >>said; while :; do sleep .1; done";
    let logger = service.log(log).create().logger();
    let onit = sv.start(UnderTest::Onit);
    onit.wait_for("it to listen", SOON, || (logger.text("said") == "up\n").then_some(()));
    logger.order(b"d");
    logger.wait_down();
    assert_eq!(logger.text("said"), "up\nquit\n");
}

// ---------------------------------------------------------------------------------------------------------------------
// Our own loggers, which read before they write: what KILL costs is counted
// ---------------------------------------------------------------------------------------------------------------------

/// So much does a logger read at a time; what it has read and not yet written is what a KILL can take away.
const READ: usize = 65_536;

/// Each with its words; the log is in `main/` of the service. Files are closed at 30,000 bytes, and all are kept.
const OURS: [(&str, &[&str]); 5] = [
    ("svlogd", &["svlogd", "../main"]),
    ("multilog", &["multilog", "s30000", "n100000", "../main"]),
    ("s6-log", &["s6-log", "s30000", "n100000", "../main"]),
    ("logger --dir", &["logger", "--dir", "../main"]),
    ("logger --file", &["logger", "--file", "../main/current", "--size", "0"]),
];

/// Writes the number of its life and that of the line, as fast as it can, and counts what it has written in a file of
/// that life. So no line comes twice, and only the last one of a life may or may not have been written.
const LIVES: &str = r#"#!/usr/bin/perl
open(my $lives, '>>', 'lives') or die; syswrite($lives, 'x'); my $life = -s 'lives';
open(my $count, '>', "count.$life") or die;
for (my $n = 0;; $n++) {
    syswrite(STDOUT, "$life $n " . 'x' x ($n % 80) . "\n") or die;
    sysseek($count, 0, 0); syswrite($count, sprintf('%012d', $n + 1));
}
"#;

/// Notes how long the log is, then becomes the logger. A file has two names for a moment when it gets another one.
fn noting(words: &[&str]) -> String {
    let words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
    format!(
        r#"#!/usr/bin/perl
my (%seen, $size);
for (glob('../main/@*'), '../main/previous', '../main/current') {{
    my @found = stat($_) or next;
    $size += $found[7] unless $seen{{$found[1]}}++;
}}
open(my $starts, '>>', '../starts') or die; syswrite($starts, ($size + 0) . "\n");
exec '{}', {words};
"#,
        onit().display()
    )
}

/// The line, and whether it has been written for sure.
type Line = (String, bool);

/// All lines that the service has written, in their order.
fn written(service: &Service) -> VecDeque<Line> {
    let mut lines = VecDeque::new();
    for life in 1..=service.text("lives").len() {
        let count: usize = service.text(&format!("count.{life}")).parse().unwrap_or(0);
        lines.extend((0..=count).map(|n| (format!("{life} {n} {}\n", "x".repeat(n % 80)), n < count)));
    }
    lines
}

/// The log, oldest file first.
fn logged(service: &Service) -> String {
    let entries = fs::read_dir(service.path().join("main")).expect("a log").flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries
        .filter(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.starts_with('@') || name == "current"
        })
        .collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a file of lines")).collect()
}

/// What KILL has cost.
#[derive(Default, Debug)]
struct Cost {
    /// So often something is missing,
    gaps: usize,
    /// so much at most,
    largest: usize,
    /// and so often the beginning of it is there.
    torn: usize,
}

/// What one life of a logger has left follows what is there; `lines` become those that are still to come. Only at its
/// beginning may something be missing, which the one before had read; and only there may be what that one has left of
/// a line.
#[track_caller]
fn follow(left: &str, torn: &str, lines: &mut VecDeque<Line>, cost: &mut Cost) {
    let Some(end) = left.find('\n') else { return };
    let first = &left[..=end];
    let mut gap = 0;
    while lines.front().unwrap_or_else(|| panic!("never written, or twice in the log: {first:?}")).0 != first {
        let (line, is_sure) = lines.pop_front().expect("it was looked at");
        assert!(gap > 0 || !is_sure || line.starts_with(torn), "what is left of a line is of another one: {torn:?}");
        gap += if is_sure { line.len() } else { 0 };
    }
    cost.gaps += usize::from(gap > 0);
    cost.torn += usize::from(!torn.is_empty());
    cost.largest = cost.largest.max(gap);
    for line in left.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        while lines.front().is_some_and(|(next, is_sure)| next != line && !is_sure) {
            lines.pop_front();
        }
        assert_eq!(lines.pop_front().map(|(next, _)| next).as_deref(), Some(line), "the next line");
    }
}

/// Compares the log with what was written, life by life of the logger.
#[track_caller]
fn count_cost(service: &Service) -> Cost {
    let (mut lines, log) = (written(service), logged(service));
    let mut starts: Vec<usize> = service.text("starts").lines().map(|line| line.parse().expect("a number")).collect();
    starts.push(log.len());
    let (mut cost, mut torn) = (Cost::default(), "");
    for life in starts.windows(2) {
        let mut left = &log[life[0]..life[1]];
        if !torn.is_empty() {
            left = left.strip_prefix('\n').unwrap_or(left); // in a file that goes on, it ends what is left of a line
        }
        follow(left, torn, &mut lines, &mut cost);
        if !left.is_empty() {
            torn = &left[left.rfind('\n').map_or(0, |end| end + 1)..];
        }
    }
    lines.retain(|(_, is_sure)| *is_sure);
    assert_eq!((torn, lines.len()), ("", 0), "at the end: {:?}", lines.front());
    cost
}

/// How much is in the log.
fn size(service: &Service) -> u64 {
    let entries = fs::read_dir(service.path().join("main")).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

/// Kills both ends in any order so many times, at any moment, and counts what it has cost.
#[track_caller]
fn kill_both_ends(name: &str, words: &[&str], kills: usize, rng: &mut Rng) -> Cost {
    let sv = SvDir::new();
    let web = sv.service("web").exec("run", LIVES).exec("log/run", &noting(words));
    let web = web.file("main/config", "s30000\nn0\n").create_atomically();
    let onit = sv.start(UnderTest::Onit);
    let (logger, mut killed) = (web.logger(), 0);
    let wait_more = |more: u64| {
        let before = size(&web);
        onit.wait_for("more in the log", SOON, || (size(&web) > before + more).then_some(()));
    };
    for round in 0..kills {
        wait_more(rng.below(40_000));
        let victims: &[&Service] = match round % 5 {
            0 => &[&web],
            1 | 2 => &[&logger],
            3 => &[&web, &logger],
            _ => &[&logger, &web],
        };
        let pids: Vec<_> = victims.iter().map(|service| (*service, service.wait_up())).collect();
        if round % 10 == 2 {
            fill_pipe(web.wait_up(), pids[0].1);
        }
        pids.iter().for_each(|(_, pid)| send(*pid, Signal::SIGKILL));
        killed += pids.iter().filter(|(service, _)| service.name() == "log").count();
        for (service, pid) in pids {
            onit.wait_for("the death", SOON, || (service.status()?.pid() != Some(pid)).then_some(()));
            service.order(b"u"); // at once, without the pause
            service.wait_other(pid);
        }
    }
    wait_more(0);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    let cost = count_cost(&web);
    assert!(cost.gaps <= killed && cost.largest <= READ, "{name}, logger killed {killed} times: {cost:?}");
    println!("{name}, logger killed {killed} times: {cost:?}");
    cost
}

/// Lets the logger go on when there is as much to read as there can be: the service waits for room.
fn fill_pipe(service: u32, logger: u32) {
    send(logger, Signal::SIGSTOP);
    let waits = || proc::Glimpse::of(service).is_some_and(|seen| seen.state == 'S');
    let writes = || proc::syscall(service) == Some(libc::SYS_write);
    wait_for("a full pipe", SOON, || (waits() && writes()).then_some(()));
    send(logger, Signal::SIGCONT);
}

#[test]
fn a_killed_logger_costs_what_it_had_read_and_no_line_comes_twice_or_is_merged() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    for (name, words) in OURS {
        kill_both_ends(name, words, 30, &mut Rng::new(1));
    }
}

mod soak {
    use super::*;

    #[test]
    fn a_logger_that_is_killed_a_thousand_times_costs_what_it_had_read() {
        for (name, words) in OURS {
            kill_both_ends(name, words, 1000, &mut Rng::new(2));
        }
    }
}
