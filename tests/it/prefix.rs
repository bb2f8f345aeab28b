//! `onit run --prefix`: what all services say, as one stream of whole lines, each once, whoever is killed.

use std::io::Read as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::proc;
use crate::restarts::wait_state;
use crate::svdir::{
    Ending, SOON, Service, Supervisor, SvDir, UnderTest, missing_tools, onit, send, skip, wait_for,
    while_nothing_starts,
};
use crate::verbs::{self, verb, well};

fn start(sv: &SvDir, form: &str) -> Supervisor {
    sv.start_with(&[&format!("--prefix{form}")])
}

/// The process that writes the stream.
fn mux(onit: &Supervisor) -> u32 {
    let find = || proc::children(onit.pid()).into_iter().find(|pid| proc::command_line(*pid).contains(" mux "));
    wait_for("onit mux", SOON, find)
}

/// Says a thousand numbers in each life, on both streams, in bursts, and goes on with the next ones in the next.
const NUMBERS: &str = r#"#!/usr/bin/perl
open(my $next, '<', 'next') or die; my $n = <$next>; close $next;
if ($n >= LAST) { open(my $end, '>', 'end'); sleep 1000 while 1 }
$| = 1;
for (1..1000) {
    my $line = $n % 97 ? "line $n\n" : "line $n " . 'x' x 3000 . "\n";
    if ($n % 10 == 9) { print STDERR $line } else { print $line }
    $n++;
}
open($next, '>', 'next.new') or die; print $next $n; close $next; rename('next.new', 'next');
"#;

/// The lines of a service on one of its streams, in their order.
fn numbers(text: &str, head: &str) -> Vec<u32> {
    let of_it = text.lines().filter_map(|line| line.strip_prefix(head)?.strip_prefix("line "));
    of_it.map(|line| line.split(' ').next().and_then(|number| number.parse().ok()).expect(line)).collect()
}

#[test]
fn each_line_comes_once_and_whole_whoever_is_killed_and_over_faults_and_upgrades() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let last: u32 = std::env::var("LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(20_000);
    let sv = SvDir::new();
    let numbering = |name| {
        let service = sv.service(name).exec("run", &NUMBERS.replace("LAST", &last.to_string())).file("next", "0");
        service.file("backoff", "10ms 10ms 1h").create()
    };
    let services = ["a", "b", "c", "dd"].map(numbering);
    let onit = start(&sv, "");
    let is_through = |service: &Service| service.path().join("end").exists();
    let mut rounds = 0;
    while rounds < 9 || !services.iter().all(is_through) {
        match rounds % 8 {
            3 => {
                let before = onit.said(&["SIGSEGV: starting again"]).len();
                onit.signal(Signal::SIGSEGV);
                wait_for("the next one", SOON, || {
                    (onit.said(&["SIGSEGV: starting again"]).len() > before).then_some(())
                });
            }
            7 => {
                well(&sv, &["upgrade", &onit.pid().to_string()]);
            }
            _ => {
                let killed = mux(&onit);
                send(killed, Signal::SIGKILL);
                wait_for("another one", SOON, || (mux(&onit) != killed).then_some(()));
            }
        }
        rounds += 1;
        assert!(rounds < 2000);
    }
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    let text = onit.stdout();
    for service in &services {
        let (all, name) = (0..last, service.name());
        let (errors, output): (Vec<u32>, Vec<u32>) = all.partition(|number| number % 10 == 9);
        assert!(numbers(&text, &format!("{name} | ")) == output, "{name}, after {rounds} rounds");
        assert!(numbers(&text, &format!("{name} ! ")) == errors, "{name}, after {rounds} rounds");
    }
    assert_eq!(text.lines().count(), 4 * last as usize);
    assert!(text.lines().all(|line| line.ends_with('x') || line.len() < 20), "a line is torn");
}

#[test]
fn a_last_line_without_an_end_is_written_and_a_logger_keeps_its_lines() {
    let sv = SvDir::new();
    sv.service("web").run("printf 'out\\nbroken'; echo err >&2; exec sleep 1000").create();
    let api = sv.service("api").run("echo logged; echo seen >&2; exec sleep 1000").log("exec cat >>../got").create();
    let job = sv.service("job").run("printf 'last words'").file("restart", "never").create();
    let onit = start(&sv, "=text");
    let all = ["api ! seen", "job | last words", "web ! err", "web | broken", "web | out"];
    wait_for("all lines", SOON, || {
        let text = onit.stdout();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        (lines == all).then_some(())
    });
    api.wait_text("got", |text| text == "logged\n");
    wait_state(&sv, job.name(), "done");
    let another =
        sv.service("another").run("exec sh -c 'read word <go; echo $word; exec sleep 1000'").fifo("go").create();
    another.wait_up();
    std::fs::rename(another.path(), sv.path().join("renamed")).expect("renamed");
    wait_state(&sv, "renamed", "up");
    std::fs::write(sv.path().join("renamed/go"), "here\n").expect("read");
    wait_for("the new name", SOON, || onit.stdout().contains("\nrenamed | here\n").then_some(()));
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(onit.stderr(), "");
}

#[test]
fn dying_words_are_written_also_if_nothing_could_write_them_when_they_were_said() {
    let sv = SvDir::new();
    let run = "trap 'i=0; while [ $i -lt 200 ]; do echo dying $i; i=$((i+1)); done; exit' TERM
        echo first; while :; do sleep 1 & wait $!; done";
    sv.service("web").run(run).finish("printf 'last words'").create();
    let onit = start(&sv, "");
    wait_for("the first line", SOON, || (onit.stdout() == "web | first\n").then_some(()));
    let first = mux(&onit);
    send(first, Signal::SIGKILL);
    let second = wait_for("another one", SOON, || Some(mux(&onit)).filter(|pid| *pid != first));
    send(second, Signal::SIGKILL); // it was young, so there is none for a second
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    let dying = (0..200).map(|i| format!("web | dying {i}\n")).collect::<String>();
    assert_eq!(onit.stdout(), format!("web | first\n{dying}web | last words\n"));
}

#[test]
fn for_room_on_a_disk_it_waits_and_says_so_once() {
    let sv = SvDir::new();
    sv.service("web").run("echo here; exec sleep 1000").create();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let errors = sv.root().join("errors");
    let mut command = std::process::Command::new(onit());
    command.args(["run", "--prefix"]).arg(sv.path()).env("ONIT_RUN", sv.live());
    let said = std::fs::File::create(&errors).expect("a file");
    let onit = sv.spawn_between(command, [Stdio::null(), full.into(), said.into()]);
    let lines = || std::fs::read_to_string(&errors).expect("text");
    let wait = "onit: cannot write what services say: No space left on device; waiting for room\n";
    wait_for("the line", SOON, || (lines() == wait).then_some(()));
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    let last = "onit: what services have said is not read from standard output, and is lost\n";
    assert_eq!(lines(), format!("{wait}{last}"));
}

/// The copy that a logger makes shows as what its service said, what the logger says itself as its own.
#[test]
fn a_service_with_a_logger_shows_in_the_stream_if_that_copies() {
    let sv = SvDir::new();
    let words = ["new", "web", "--log-tee", "--", "sh", "-c", "echo one; printf '%s\n' 'two ' >&2; exec sleep 1000"];
    well(&sv, &words);
    let log = sv.path().join("web/log/run");
    let script = std::fs::read_to_string(&log).expect("a script");
    while_nothing_starts(|| std::fs::write(&log, script.replace("\nexec", "\necho starts >&2\nexec")))
        .expect("written");
    let onit = start(&sv, "");
    let lines = || {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines: Vec<String> = onit.stdout().lines().map(words).collect();
        lines.sort();
        lines
    };
    let wanted = ["web | one", "web | two", "web/log ! starts"];
    wait_for("all lines", SOON, || (lines() == wanted).then_some(()));
    let kept = || std::fs::read_to_string(sv.path().join("web/log/main/current")).unwrap_or_default();
    let kept = wait_for("its log", SOON, || Some(kept()).filter(|kept| kept.lines().count() >= 2));
    assert!(kept.lines().count() == 2 && kept.starts_with("20") && kept.ends_with("Z two \n"), "{kept}");
    send(onit.pid(), Signal::SIGSEGV); // all streams are told anew
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(lines(), wanted);
}

#[test]
fn json_lines_have_their_fields() {
    let sv = SvDir::new();
    sv.service("web").run("printf 'a \"b\" \\377\\n'; exec sleep 1000").create();
    let onit = start(&sv, "=json");
    let line = wait_for("a line", SOON, || onit.stdout().lines().next().map(str::to_owned));
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&line["service"], &line["stream"]), (&"web".into(), &"stdout".into()));
    assert_eq!(line["msg"], "a \"b\" \\xff");
    assert!(line["ts"].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{line}");
}

/// Whoever reads may read no more: services wait, the supervisor does not.
#[test]
fn a_stream_that_nobody_reads_holds_up_services_alone() {
    let sv = SvDir::new();
    let loud = sv.service("loud").run("while :; do echo 0123456789012345678901234567890123456789; done").create();
    let quiet = sv.service("quiet").run("exec sleep 1000").create();
    let (mut read, write) = std::io::pipe().expect("a pipe");
    let mut command = std::process::Command::new(onit());
    command.args(["run", "--prefix"]).arg(sv.path()).env("ONIT_RUN", sv.live());
    let onit = sv.spawn_between(command, [Stdio::null(), write.into(), Stdio::null()]);
    let blocked = loud.wait_up();
    wait_for("it to stand still", SOON, || {
        let before = proc::cpu(blocked);
        std::thread::sleep(std::time::Duration::from_millis(200));
        (proc::cpu(blocked) == before && proc::is_alive(blocked)).then_some(())
    });
    let pid = quiet.wait_up();
    well(&sv, &["restart", "quiet"]);
    quiet.wait_other(pid);
    let mut line = [0; 48];
    read.read_exact(&mut line).expect("what was said");
    assert_eq!(&line[..17], b"loud | 0123456789");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

fn logs(sv: &SvDir, words: &[&str]) -> Vec<String> {
    let answer = verb(sv, &[&["logs"], words].concat());
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{words:?}");
    answer.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn what_services_without_a_logger_say_is_read_beside_the_stream() {
    let sv = SvDir::new();
    let say = "for i in $(seq 1000); do echo line $i; done
        { read word; echo wrong >&2; while read word; do echo $word; done; } <>go";
    sv.service("web").run(say).fifo("go").create();
    sv.service("api")
        .run("echo logged; exec sleep 1000")
        .log("exec cat >>../got.log")
        .create()
        .wait_text("got.log", |_| true);
    let onit = start(&sv, "");
    wait_for("all lines", SOON, || onit.stdout().contains("line 1000\n").then_some(()));
    std::fs::write(sv.path().join("web/go"), "\n").expect("said"); // by now the other stream can only be later
    wait_for("what is wrong", SOON, || onit.stdout().contains("web ! wrong\n").then_some(()));
    wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    let last = logs(&sv, &["-n3", "web"]);
    assert!(last.contains(&"web ! wrong".to_owned()) && last.contains(&"web | line 1000".to_owned()), "{last:?}");
    assert_eq!((last.len(), logs(&sv, &["web"]).len()), (3, 10));
    assert!((100..1000).contains(&logs(&sv, &["-nall", "web"]).len()));
    wait_for("those of both", SOON, || logs(&sv, &[]).iter().any(|line| line == "api | logged").then_some(()));
    let json: serde_json::Value = serde_json::from_str(&logs(&sv, &["-n1", "--json", "web"]).concat()).expect("JSON");
    assert_eq!(json["service"], "web");
    let mut follow = Command::new(crate::svdir::onit());
    let followed = sv.spawn({
        follow.args(["logs", "-f", "-n1"]).env("SVDIR", sv.path()).env("ONIT_RUN", sv.live());
        follow
    });
    let sees = |text: &str| wait_for(text, SOON, || followed.stdout().contains(text).then_some(()));
    sees("web");
    std::fs::write(sv.path().join("web/go"), "first\n").expect("said");
    sees("web | first");
    sv.service("new").run("echo here I am; exec sleep 1000").create_atomically();
    sees("new | here I am");
    well(&sv, &["upgrade", &onit.pid().to_string()]);
    std::fs::write(sv.path().join("web/go"), "second\n").expect("said");
    sees("web | second");
    send(mux(&onit), Signal::SIGKILL);
    wait_for("its end to be noticed", SOON, || (!onit.said(&["starting it again"]).is_empty()).then_some(()));
    // Whoever follows asks again a moment later; what is said then is among the last lines.
    std::fs::write(sv.path().join("web/go"), "third\n").expect("said");
    sees("web | third");
    assert_eq!(followed.stderr(), "");
}

#[test]
fn without_the_stream_a_service_without_a_logger_has_no_log() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let _onit = verbs::start(&sv, UnderTest::Onit);
    let answer = verb(&sv, &["logs", "web"]);
    let why = "onit: web has no logger: make a log/run, as \"onit new --log DIR\" does, or start onit with --prefix\n";
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (1, "", why));
}

/// As by Ctrl-Z and fg, while it waits for what was said last.
#[test]
fn who_is_stopped_and_continued_reads_on() {
    let sv = SvDir::new();
    sv.service("web").run("echo here; exec sleep 1000").create();
    let onit = start(&sv, "");
    wait_for("the line", SOON, || onit.stdout().contains("web | here").then_some(()));
    wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    let mux = mux(&onit);
    send(mux, Signal::SIGSTOP);
    let mut follow = Command::new(crate::svdir::onit());
    follow.args(["logs", "-f", "web"]).env("SVDIR", sv.path()).env("ONIT_RUN", sv.live());
    let reader = sv.spawn(follow);
    wait_for("it to wait", SOON, || (proc::syscall(reader.pid()) == Some(libc::SYS_recvfrom)).then_some(()));
    for _ in 0..3 {
        send(reader.pid(), Signal::SIGSTOP);
        send(reader.pid(), Signal::SIGCONT);
        wait_for("it to wait", SOON, || {
            let waits = proc::syscall(reader.pid()) == Some(libc::SYS_recvfrom) || reader.ended().is_some();
            waits.then_some(())
        });
    }
    send(mux, Signal::SIGCONT);
    wait_for("the line", SOON, || reader.stdout().contains("here").then_some(()));
}

#[test]
fn who_may_not_read_what_is_said_is_told_so() {
    let sv = SvDir::new();
    sv.service("web").run("echo here; exec sleep 1000").create();
    let onit = start(&sv, "");
    wait_for("the line", SOON, || onit.stdout().contains("web | here").then_some(()));
    wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    let refused =
        |words: &str| wait_for(words, SOON, || verb(&sv, &["logs", "web"]).stderr.contains(words).then_some(()));
    let mut readers = Vec::new();
    for _ in 0..64 {
        let mut follow = Command::new(crate::svdir::onit());
        follow.args(["logs", "-f", "web"]).env("SVDIR", sv.path()).env("ONIT_RUN", sv.live());
        readers.push(sv.spawn(follow));
    }
    readers.iter().for_each(|one| wait_for("the line", SOON, || one.stdout().contains("here").then_some(())));
    refused("cannot be had: as many read it as may");
}
