//! A logger of several services: those whose `log` is a link to another service write to it, and no line is lost.

use nix::libc;
use nix::sys::signal::Signal;

use crate::proc;
use crate::restarts::{told, wait_state};
use crate::svdir::{
    Ending, SOON, Service, ServiceBuilder, SvDir, UnderTest, missing_tools, remove_tree, send, skip, wait_for,
};
use crate::verbs::{verb, well};

/// Says its name and numbers without end, each line once: a life begins where the one before was killed, or a line later.
const NUMBERS: &str = r#"#!/usr/bin/perl
my ($name) = `pwd` =~ m{([^/]+)$}; chomp $name;
open(my $next, '+<', 'next') or die;
sysread($next, my $n, 12);
for ($n += 0;; $n++) {
    sysseek($next, 0, 0); syswrite($next, sprintf('%012d', $n));
    syswrite(STDOUT, "$name $n\n") or die;
    select(undef, undef, undef, 0.001) if $n % 16 == 0;
}
"#;

/// Tells each start, and the end of its input. Not even KILL takes a byte from it: splice(2) moves them to the file.
fn splicing(service: ServiceBuilder) -> ServiceBuilder {
    let script = format!(
        "#!/usr/bin/perl\nopen(my $starts, '>>', 'starts'); syswrite($starts, \"$$\\n\");\n\
         open(my $log, '+<', 'got') or die; sysseek($log, 0, 2);\n\
         while (syscall({}, 0, 0, fileno($log), 0, 65536, 0) > 0) {{}}\n\
         open(my $end, '>>', 'ended'); syswrite($end, \"$$\\n\");\n",
        libc::SYS_splice
    );
    service.exec("run", &script).file("got", "").file("starts", "").file("backoff", "10ms 10ms 1h")
}

fn numbering(sv: &SvDir, name: &str, log: &str) -> Service {
    let service = sv.service(name).exec("run", NUMBERS).file("next", "000000000000").file("backoff", "10ms 10ms 1h");
    service.symlink("log", format!("../{log}")).create()
}

/// The lines of this service are 0, 1, 2, … with repetitions at most; so many.
#[track_caller]
fn count_without_gap(text: &str, name: &str) -> u64 {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    let mut next = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')) {
        let number: u64 = line.parse().unwrap_or_else(|_| panic!("torn after {next}: {line:?}"));
        assert!(number <= next, "{name}: after {next} lines came {number}: lines are lost");
        next = next.max(number + 1);
    }
    next
}

/// Whoever waits for it by such a name hears of it by its own.
#[test]
fn a_logger_can_be_called_by_the_name_of_each_that_writes_to_it() {
    let sv = SvDir::new();
    let slow = "trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.01; done";
    sv.service("log").run(slow).create();
    for name in ["db", "web"] {
        sv.service(name).run("exec sleep 1000").symlink("log", "../log").create();
    }
    let _onit = crate::verbs::start(&sv, UnderTest::Onit);
    well(&sv, &["wait", "up", "db/log", "web"]);
    well(&sv, &["down", "-t", "90", "web/log"]);
    assert_eq!(told(&sv, "log")["state"], "down");
    well(&sv, &["up", "db/log", "web/log"]);
    well(&sv, &["down", "db/log", "web/log"]);
}

fn wait_more(logger: &Service, name: &str) {
    let seen = count_of(logger, name);
    wait_for("more lines", SOON, || (count_of(logger, name) > seen + 20).then_some(()));
}

fn count_of(logger: &Service, name: &str) -> usize {
    logger.text("got").lines().filter(|line| line.starts_with(name)).count()
}

#[test]
fn two_services_write_to_one_logger_whoever_is_killed_and_also_over_a_fault_and_an_upgrade() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (alpha, omega) = (numbering(&sv, "alpha", "logger"), numbering(&sv, "omega", "logger"));
    let logger = splicing(sv.service("logger")).create();
    let onit = sv.start(UnderTest::Onit);
    let pipe = |pid: u32| std::fs::read_link(format!("/proc/{pid}/fd/0")).ok();
    logger.wait_text("starts", |text| text.ends_with('\n')); // before, its descriptors may be another's
    let first_pipe = pipe(logger.wait_up());
    for round in 0..12 {
        match round % 4 {
            0 => send(logger.wait_up(), Signal::SIGKILL),
            1 => [&alpha, &omega, &logger].iter().for_each(|service| send(service.wait_up(), Signal::SIGKILL)),
            2 => {
                onit.signal(Signal::SIGSEGV);
                wait_for("the next one", SOON, || {
                    (onit.said(&["SIGSEGV: starting again"]).len() > round / 4).then_some(())
                });
                send(alpha.wait_up(), Signal::SIGKILL);
            }
            _ => {
                well(&sv, &["upgrade", &onit.pid().to_string()]);
                send(omega.wait_up(), Signal::SIGKILL);
            }
        }
        wait_more(&logger, "alpha");
        wait_more(&logger, "omega");
    }
    assert_eq!(pipe(logger.wait_up()), first_pipe, "it is the same pipe all the time");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    for service in [&alpha, &omega] {
        let written: u64 = service.text("next").parse().expect("a number");
        let logged = count_without_gap(&logger.text("got"), service.name());
        assert!(logged == written || logged == written + 1, "{logged} lines logged, about {written} written");
    }
    assert_eq!(logger.text("ended").lines().count(), 1, "it ended by the end of its input, once");
    assert_eq!(onit.said(&["starting it again"]).len(), 0, "{}", onit.stderr());
}

#[test]
fn what_is_written_while_the_logger_is_down_or_not_there_waits_for_it() {
    let sv = SvDir::new();
    let run = "n=0; while read -r word; do n=$((n+1)); echo $word $n; done <orders; sleep 1000";
    let web = sv.service("web").run(run).fifo("orders").symlink("log", "../logger").create();
    let logger = sv.service("logger").run("exec cat >>../../got").create();
    let onit = sv.start(UnderTest::Onit);
    let mut orders = std::fs::OpenOptions::new().write(true).open(web.path().join("orders")).expect("its reader");
    let mut say = |word: &str| std::io::Write::write_all(&mut orders, word.as_bytes()).expect("it is read");
    let got = sv.root().join("got");
    let wait_got = |text: &str| {
        wait_for(text, SOON, || (std::fs::read_to_string(&got).unwrap_or_default() == text).then_some(()));
    };
    say("first\n");
    wait_got("first 1\n");
    well(&sv, &["down", "logger"]);
    say("down\n");
    assert_eq!(told(&sv, "web")["state"], "up");
    well(&sv, &["up", "logger"]);
    wait_got("first 1\ndown 2\n");
    let away = sv.root().join("away");
    std::fs::rename(logger.path(), &away).expect("moved away");
    onit.wait_said(&["onit: logger: has gone; web still writes to it, which waits in the pipe"]);
    say("away\n");
    std::fs::rename(&away, logger.path()).expect("moved back");
    wait_got("first 1\ndown 2\naway 3\n");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

/// Needs many times longer than its services to be through.
const SLOW: &str = "while IFS= read -r line; do echo \"$line\" >>got; done; echo end >>got";

#[test]
fn at_the_end_of_all_the_logger_has_every_dying_word_and_runs_its_own_finish() {
    let sv = SvDir::new();
    let run = "trap 'i=0; while [ $i -lt 200 ]; do echo dying $i; i=$((i+1)); done; exit' TERM
        echo first; while :; do sleep 1 & wait $!; done";
    for name in ["one", "two"] {
        sv.service(name).run(run).finish("echo last words").symlink("log", "../logger").create();
    }
    let logger = sv.service("logger").run(SLOW).finish("echo finish >>got").create();
    let onit = sv.start(UnderTest::Onit);
    logger.wait_text("got", |text| text == "first\nfirst\n");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    let text = logger.text("got");
    assert_eq!(text.lines().filter(|line| line.starts_with("dying")).count(), 400, "{text}");
    assert_eq!(text.lines().filter(|line| *line == "last words").count(), 2, "{text}");
    assert!(text.ends_with("\nend\nfinish\n"), "{text}");
}

#[test]
fn a_logger_starts_again_when_the_first_one_writes_to_it_and_when_the_last_one_has_gone() {
    let sv = SvDir::new();
    let logger = sv.service("logger").run("[ -p /proc/self/fd/0 ] || exec sleep 1000; exec cat >>got").create();
    let onit = sv.start(UnderTest::Onit);
    let plain = logger.wait_up();
    let web = sv.service("web").run("echo here; exec sleep 1000").symlink("log", "../logger").create_atomically();
    onit.wait_said(&["onit: logger: another service writes to it from now on; starting it again"]);
    let reading = logger.wait_other(plain);
    logger.wait_text("got", |text| text == "here\n");
    web.wait_up();
    assert_eq!(verb(&sv, &["status", "web/log"]).stdout.split_whitespace().next(), Some("logger:"));
    remove_tree(web.path());
    logger.wait_other(reading);
    assert!(!proc::is_alive(reading));
    assert_eq!(onit.said(&["lost"]).len(), 0, "{}", onit.stderr());
}

#[test]
fn a_link_to_itself_or_to_who_has_a_logger_is_named_and_the_service_runs_without() {
    let sv = SvDir::new();
    sv.service("own").run("exec sleep 1000").symlink("log", "../own").create();
    sv.service("chain").run("exec sleep 1000").symlink("log", "../middle").create();
    sv.service("middle").run("exec sleep 1000").log("exec cat >/dev/null").create();
    let onit = sv.start(UnderTest::Onit);
    for (name, why) in [("own", "the service itself"), ("chain", "a service that has a logger itself")] {
        onit.wait_said(&[&format!("onit: {name}: log: is a link to {why}; running without it")]);
        wait_state(&sv, name, "up");
    }
}

#[test]
fn the_stock_tools_find_the_logger_through_the_link() {
    if let Some(why) = missing_tools(&["sv"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").symlink("log", "../logger").create();
    let logger = sv.service("logger").run("exec cat").create();
    let _onit = sv.start(UnderTest::Onit);
    let (pid, reading) = (web.wait_up(), logger.wait_up());
    let told = sv.sv(&["status", &web.path().display().to_string()]).stdout;
    let is_both = told.contains(&format!("(pid {pid})")) && told.contains(&format!("log: (pid {reading})"));
    assert!(is_both, "{told}");
}
