//! `onit logs`: what the real loggers wrote is read back, in the order of time, and followed over rotations: each line
//! once.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::svdir::InTurn as _;
use crate::svdir::{SOON, Service, Supervisor, SvDir, UnderTest, missing_tools, onit, poll_until, skip};

/// The three loggers, each as a command that reads its input and writes to the directory behind it.
const LOGGERS: [(&str, &[&str]); 5] = [
    ("svlogd", &["-t"]),
    ("svlogd", &["-tt"]),
    ("multilog", &["t", "s4096", "n100"]),
    ("s6-log", &["t", "s4096", "n100"]),
    ("s6-log", &["T", "s4096", "n100"]),
];

/// Gives a logger this input, and waits for its end.
fn log(directory: &Path, (logger, words): (&str, &[&str]), input: &str) {
    let directory = directory.to_str().expect("a printable path");
    let place = if directory.starts_with('/') { directory.to_owned() } else { format!("./{directory}") };
    let mut child = Command::new(logger)
        .args(words)
        .arg(place)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn_in_turn()
        .expect("a logger");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    assert!(child.wait().expect("its end").success());
}

/// A service whose logger writes to its own `log/main`; nobody supervises it.
fn service(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").log("exec svlogd ./main").dir("log/main").create()
}

fn numbers(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("line {number}\n")).collect()
}

/// The text of each line behind its prefix.
fn texts(output: &str) -> Vec<&str> {
    output.lines().map(|line| line.split_once("| ").map_or(line, |(_, text)| text)).collect()
}

#[test]
fn what_each_logger_wrote_is_read_over_its_files() {
    if let Some(why) = missing_tools(&["svlogd", "multilog", "s6-log"]) {
        skip!("{why}");
    }
    for logger in LOGGERS {
        let sv = SvDir::new();
        let web = service(&sv, "web");
        let main = web.path().join("log/main");
        web.write("log/main/config", "s4096\nn100\n");
        log(&main, logger, &numbers(0, 600));
        log(&main, logger, &numbers(600, 603));
        let files = fs::read_dir(&main).expect("the files").filter_map(|entry| entry.ok()).count();
        assert!(files > 4, "{logger:?}: it has rotated");
        let last = sv.onit(&["logs", "web"]);
        assert_eq!((last.code, last.stderr.as_str()), (0, ""), "{logger:?}");
        let wanted: Vec<String> = (593..603).map(|number| format!("web | line {number}")).collect();
        assert_eq!(last.stdout.lines().collect::<Vec<_>>(), wanted, "{logger:?}");
        let all = sv.onit(&["logs", "-n", "all", "--no-prefix", "web"]);
        assert_eq!(all.stdout, numbers(0, 603), "{logger:?}");
        assert_eq!(sv.onit(&["logs", "--since", "10m", "--no-prefix"]).stdout, numbers(0, 603), "{logger:?}");
        assert_eq!(sv.onit(&["logs", "--until", "10m"]).stdout, "", "{logger:?}");
        let json = sv.onit(&["logs", "-n1", "--json"]).stdout;
        let json: serde_json::Value = serde_json::from_str(&json).expect("json");
        assert_eq!((&json["service"], &json["msg"]), (&"web".into(), &"line 602".into()));
        let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output_in_turn().expect("date").stdout;
        let day = String::from_utf8_lossy(&date);
        assert!(json["ts"].as_str().is_some_and(|ts| ts.starts_with(day.trim())), "{logger:?}: {json} on {day}");
    }
}

#[test]
fn logs_of_several_are_merged_by_time_whoever_wrote_them() {
    if let Some(why) = missing_tools(&["svlogd", "multilog", "s6-log"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let dirs = LOGGERS.map(|(logger, words)| service(&sv, &format!("{logger}{}", words[0])).path().join("log/main"));
    for round in 0..4 {
        for (at, logger) in LOGGERS.into_iter().enumerate() {
            log(&dirs[at], logger, &format!("{}\n", round * LOGGERS.len() + at));
        }
    }
    let merged = sv.onit(&["logs"]);
    let wanted: Vec<String> = (0..4 * LOGGERS.len()).map(|number| number.to_string()).collect();
    assert_eq!(texts(&merged.stdout), wanted, "{}", merged.stdout);
    assert!(
        merged.stdout.starts_with("svlogd-t  | 0\nsvlogd-tt | 1\nmultilogt | 2\ns6-logt   | 3\n"),
        "{}",
        merged.stdout
    );
    let coloured = sv.onit(&["logs", "-n1", "--color=always", "multilogt"]).stdout;
    assert!(coloured.starts_with("\x1b[36mmultilogt |\x1b[0m "), "{coloured:?}");
}

#[test]
fn a_service_without_a_logger_is_told_how_to_get_one() {
    let sv = SvDir::new();
    sv.service("bare").run("exec sleep 1000").create();
    let none = sv.onit(&["logs", "bare"]);
    assert_eq!((none.code, none.stdout.as_str()), (1, ""));
    assert!(none.stderr.contains("bare has no logger") && none.stderr.contains("onit new --log"), "{}", none.stderr);
    let web = service(&sv, "web");
    web.write("log/main/current", "a\x1b[31mb\n");
    let both = sv.onit(&["logs", "-t"]);
    assert_eq!((both.code, both.stderr.lines().count()), (0, 1), "{}", both.stderr);
    assert!(both.stdout.starts_with("web | 20") && both.stdout.ends_with(" a\\x1b[31mb\n"), "{}", both.stdout);
    assert_eq!(sv.onit(&["logs", "nobody"]).code, 4);
    assert_eq!(sv.onit(&["logs", "--since", "soon"]).code, 100);
    assert_eq!(sv.onit(&["logs", "-f", "--until", "1h"]).code, 100);
}

#[test]
fn services_that_share_a_logger_are_shown_once() {
    let sv = SvDir::new();
    let shared = sv.service("shared").run("exec svlogd ./main").dir("main").create();
    shared.write("main/current", "one\n");
    for name in ["alpha", "omega"] {
        sv.service(name).run("exec sleep 1000").symlink("log", "../shared").create();
    }
    let all = sv.onit(&["logs"]);
    assert_eq!((all.stdout.as_str(), all.stderr.as_str()), ("alpha,omega,shared | one\n", ""));
    assert_eq!(sv.onit(&["logs", "shared"]).stdout, "shared | one\n");
}

#[test]
fn a_file_that_others_rotate_is_read_and_followed() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").log("exec cat >>./web.log").create();
    web.write("log/web.log.2", "0\n1\n");
    web.write("log/web.log.1", "2\n");
    web.write("log/web.log", "3\n4\n");
    let followed = follow(&sv, &["-n4"]);
    wait_texts(&followed, &numbered(1, 5));
    let path = |name: &str| web.path().join("log").join(name);
    let append = |name: &str, text: &str| {
        let mut file = fs::File::options().append(true).create(true).open(path(name)).expect("the log");
        file.write_all(text.as_bytes()).expect("written");
    };
    fs::rename(path("web.log.1"), path("web.log.2")).expect("renamed");
    fs::rename(path("web.log"), path("web.log.1")).expect("renamed");
    fs::write(path("web.log"), "").expect("made");
    append("web.log.1", "5\n"); // its writer has not been told yet
    wait_texts(&followed, &numbered(1, 6));
    append("web.log", "6\n7");
    wait_texts(&followed, &numbered(1, 7));
    append("web.log", "\n");
    wait_texts(&followed, &numbered(1, 8));
    fs::write(path("web.log"), "8\n").expect("cut");
    wait_texts(&followed, &numbered(1, 9));
    fs::rename(web.path().join("log"), web.path().join("gone")).expect("renamed");
    fs::create_dir(web.path().join("log")).expect("made");
    append("web.log", "9\n");
    wait_texts(&followed, &numbered(1, 10));
}

fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

fn follow(sv: &SvDir, words: &[&str]) -> Supervisor {
    let mut command = Command::new(onit());
    command.args(["logs", "-f"]).args(words).env("SVDIR", sv.path());
    sv.spawn(command)
}

#[track_caller]
fn wait_texts(followed: &Supervisor, wanted: &[String]) {
    let stdout = || followed.stdout();
    let found = poll_until(SOON, || (texts(&stdout()) == wanted).then_some(()));
    assert!(found.is_some(), "{:?} is not {wanted:?}; {}", texts(&stdout()), followed.stderr());
}

/// Writes numbered lines, with a rest now and then, until it is through.
const NUMBERS: &str = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); \
                       [ $((i % 100)) -ne 0 ] || sleep 0.02; done; exec sleep 1000";

#[test]
fn followed_over_rotations_each_line_of_each_logger_comes_once() {
    if let Some(why) = missing_tools(&["svlogd", "multilog", "s6-log"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let quiet = service(&sv, "quiet");
    let onit = sv.start(UnderTest::Onit);
    quiet.wait_up();
    quiet.write("log/main/current", "first\n");
    let followed = follow(&sv, &[]);
    wait_texts(&followed, &["first".to_owned()]); // what comes now is new
    let services = LOGGERS.map(|(logger, words)| {
        let words = words.join(" ");
        let name = format!("{logger}{}", words.split(' ').next().unwrap_or_default());
        let run = format!("exec {logger} {words} ./main");
        let config = if logger == "svlogd" { "s4096\nn100\n" } else { "" };
        let service = sv.service(&name).run(NUMBERS).log(&run).dir("log/main");
        let service = if config.is_empty() { service } else { service.file("log/main/config", config) };
        service.create_atomically();
        name
    });
    for name in services {
        let own = |line: &str| line.split_once('|').is_some_and(|(own, _)| own.trim_end() == name);
        let shown = || {
            let text = followed.stdout();
            text.lines().filter(|line| own(line)).map(|line| line.to_owned() + "\n").collect::<String>()
        };
        poll_until(SOON, || (shown().lines().count() >= 3000).then_some(()));
        let shown = shown();
        let wanted: Vec<String> = (0..3000).map(|number| format!("line {number}")).collect();
        let texts = texts(&shown);
        let wrong = texts.iter().zip(&wanted).position(|(one, other)| one != other);
        assert_eq!((texts.len(), wrong), (3000, None), "{name}");
        let files = fs::read_dir(sv.path().join(&name).join("log/main")).expect("the files").count();
        assert!(files > 10, "{name}: it has rotated");
    }
    assert_eq!(followed.stderr(), "");
    followed.signal(Signal::SIGTERM);
    onit.signal(Signal::SIGTERM);
}

#[test]
fn a_link_of_the_directory_of_services_is_read_too() {
    let sv = SvDir::new();
    let web = service(&sv, "web");
    web.write("log/main/current", "one\n");
    let place = sv.root().join("elsewhere");
    fs::rename(web.path(), &place).expect("renamed");
    symlink(&place, web.path()).expect("linked");
    assert_eq!(sv.onit(&["logs"]).stdout, "web | one\n");
    assert_eq!(sv.onit(&["logs", "--no-prefix", "./web"]).stdout, "one\n");
}
