//! What loggers are given by services that misbehave, and by who looks after the log: any bytes, any `config` at any
//! moment, a directory that goes, processors that hang or fail. No line is lost that the real ones would keep.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::differential::rng::Rng;
use crate::loggers_stock::{Running, content, log_dir, run, start, text};
use crate::svdir::{SOON, SvDir, missing_tools, onit, skip, spawn, wait_for};

/// Bytes of all kinds, many of them NUL, in lines of all lengths.
fn any_bytes(rng: &mut Rng) -> Vec<u8> {
    let mut text: Vec<u8> = (0..20_000).map(|_| if rng.chance(1, 20) { 0 } else { rng.below(256) as u8 }).collect();
    text.push(b'\n');
    text
}

#[test]
fn any_bytes_are_logged_as_by_the_real_ones() {
    if let Some(why) = missing_tools(&["svlogd", "multilog"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let onit = onit();
    for (tool, words, config) in [
        ("svlogd", "d", "s3000\nn0\n"),
        ("svlogd", "-tt d", "s3000\nn0\npx: \n-*x*\n"),
        ("svlogd", "-r _ -R xyz d", ""),
        ("svlogd", "-l 7 d", "-x*\n"),
        ("multilog", "s4096 n100 ./d", ""),
        ("multilog", "t -* +*x* s4096 n100 ./d", ""),
        ("multilog", "-*x* =status s4096 n100 !cat ./d", ""),
    ] {
        for seed in 0..5 {
            let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
            let text = any_bytes(&mut Rng::new(seed));
            let theirs = run(&sv.root().join("theirs"), &[tool], &words, config, &text);
            let ours = run(&sv.root().join("ours"), &[onit.to_str().expect("a path"), tool], &words, config, &text);
            assert!(ours == theirs, "seed {seed}: {tool} {words:?} {config:?}");
        }
    }
}

/// The real s6-log ends its files elsewhere; what is in them is the same. To it, a NUL ends a line.
#[test]
fn any_bytes_are_logged_as_by_the_real_s6_log() {
    if let Some(why) = missing_tools(&["s6-log"]) {
        skip!("{why}");
    }
    for words in ["s4096 n100 ./d", "- +x s4096 n100 ./d", "-- -x s4096 n100 ./d f s4096 n100 ./e"] {
        for seed in 0..5 {
            let [theirs, ours] = [None, Some(onit())].map(|onit| {
                let sv = SvDir::new();
                fs::write(sv.root().join("input"), any_bytes(&mut Rng::new(seed))).expect("written");
                let mut command = onit.map_or_else(|| Command::new("s6-log"), Command::new);
                if command.get_program() != "s6-log" {
                    command.arg("s6-log");
                }
                command.args(words.split(' ')).current_dir(sv.root());
                command.stdin(fs::File::open(sv.root().join("input")).expect("the input"));
                assert!(spawn(&mut command).wait().expect("an end").success());
                ["d", "e"].map(|dir| {
                    Some(dir).filter(|dir| sv.root().join(dir).exists()).map(|dir| content(&sv.root().join(dir)))
                })
            });
            assert!(theirs[0].as_ref().is_some_and(|log| !log.is_empty()));
            assert!(ours == theirs, "seed {seed}: {words}");
        }
    }
}

/// Numbers from 0 on, each of them once and in this order, whatever stands in front of them.
#[track_caller]
fn count(log: &[u8]) -> u64 {
    let log = String::from_utf8_lossy(log);
    let mut next = 0;
    for line in log.lines() {
        let number = line.rsplit("line ").next().and_then(|number| number.parse().ok());
        assert_eq!(number, Some(next), "{line:?}");
        next += 1;
    }
    next
}

/// A `config` that deselects nothing and removes nothing, but is anything else. Part of it may be missing at its end.
fn any_config(rng: &mut Rng) -> Vec<u8> {
    let mut config = b"n0\n".to_vec();
    for _ in 0..rng.below(8) {
        match rng.below(8) {
            0 => config.extend(format!("s{}\n", 2000 + rng.below(5000)).bytes()),
            1 => config.extend(format!("t{}\n", 1 + rng.below(3)).bytes()),
            2 => config.extend(b"pwith a prefix: \n"),
            3 => config.extend(b"+line*\nEnothing\n"),
            4 => config.extend(b"!cat\n"),
            5 => config.extend("# no end of it".repeat(2000).bytes()),
            6 => config.extend(b"\n\n   \n"),
            _ => config.extend((0..rng.below(200)).map(|_| rng.pick(b"\0\xff\x01 =~^q:/?\x80z"))),
        }
    }
    if rng.chance(1, 3) {
        config.truncate(3 + rng.below(config.len() as u64 - 2) as usize);
    }
    config
}

/// Puts it there as editors, shells and mistakes do: by a rename, in two halves, or as something that cannot be read.
fn put_config(dir: &Path, config: &[u8], rng: &mut Rng, hup: impl Fn()) {
    let path = dir.join("config");
    let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
    match rng.below(12) {
        0 => fs::create_dir(&path).expect("mkdir"),
        1 => symlink("config", &path).expect("a link to itself"),
        2 => {}
        3..=6 => {
            let half = config.len() / 2;
            fs::write(&path, &config[..half.max(3)]).expect("written");
            hup();
            fs::write(&path, config).expect("written");
        }
        _ => {
            fs::write(dir.join("config.new"), config).expect("written");
            fs::rename(dir.join("config.new"), &path).expect("renamed");
        }
    }
    hup();
}

#[test]
fn whatever_config_is_replaced_with_while_it_runs_no_line_is_lost() {
    for words in [&["svlogd", "d"][..], &["logger", "--dir", "d"]] {
        let sv = SvDir::new();
        log_dir(&sv, "n0\n");
        let (dir, mut rng) = (sv.root().join("d"), Rng::new(7));
        let mut logger = start(&sv, words);
        wait_for("the log", SOON, || dir.join("current").exists().then_some(()));
        let mut written = 0;
        for round in 0..1000 {
            for _ in 0..rng.below(20) {
                logger.write(format!("line {written}\n").as_bytes());
                written += 1;
            }
            put_config(&dir, &any_config(&mut rng), &mut rng, || logger.signal(Signal::SIGHUP));
            if round % 20 == 0 && written > 0 {
                let last = format!("line {}\n", written - 1);
                let log = || String::from_utf8_lossy(&content(&dir)).contains(&last).then_some(());
                wait_for("what was written so far", SOON, log);
            }
        }
        assert_eq!(logger.end(), Some(0), "{words:?}: {}", text(&sv.root().join("said")));
        assert_eq!(count(&content(&dir)), written, "{words:?}");
    }
}

/// Each writes to `d`, and closes a file at some thousand bytes.
const ALL: [&[&str]; 4] = [
    &["svlogd", "d"],
    &["multilog", "s4096", "n1000", "./d"],
    &["s6-log", "s4096", "n1000", "./d"],
    &["logger", "--dir", "d"],
];

fn write_lines(logger: &mut Running, numbers: std::ops::Range<u64>) {
    let lines: String = numbers.map(|number| format!("line {number}\n")).collect();
    logger.write(lines.as_bytes());
}

#[test]
fn a_hundred_thousand_lines_at_once_are_all_there() {
    for words in ALL {
        let sv = SvDir::new();
        log_dir(&sv, "s4096\nn0\n");
        let mut logger = start(&sv, words);
        write_lines(&mut logger, 0..100_000);
        assert_eq!(logger.end(), Some(0));
        assert_eq!(count(&content(&sv.root().join("d"))), 100_000, "{words:?}");
    }
}

#[test]
fn a_directory_that_is_renamed_while_it_is_written_keeps_its_lines() {
    for words in ALL {
        let sv = SvDir::new();
        log_dir(&sv, "s4096\nn0\n");
        let mut logger = start(&sv, words);
        write_lines(&mut logger, 0..100);
        let begun = || text(&sv.root().join("d/current")).ends_with("line 99\n").then_some(());
        wait_for("lines in the log", SOON, begun);
        fs::rename(sv.root().join("d"), sv.root().join("moved")).expect("renamed");
        write_lines(&mut logger, 100..2000);
        assert_eq!(logger.end(), Some(0), "{words:?}: {}", text(&sv.root().join("said")));
        assert_eq!(count(&content(&sv.root().join("moved"))), 2000, "{words:?}");
        assert!(!sv.root().join("d").exists(), "{words:?}");
    }
}

/// The real multilog and s6-log say so for ever, whoever tells them to end.
#[test]
fn a_directory_that_is_deleted_keeps_nobody_from_ending() {
    let end = |words: &[&str]| {
        let sv = SvDir::new();
        log_dir(&sv, "s4096\n");
        let mut logger = start(&sv, words);
        write_lines(&mut logger, 0..10);
        let begun = || text(&sv.root().join("d/current")).ends_with("line 9\n").then_some(());
        wait_for("lines in the log", SOON, begun);
        fs::remove_dir_all(sv.root().join("d")).expect("removed");
        write_lines(&mut logger, 10..1000);
        let said = || text(&sv.root().join("said"));
        wait_for("a word about it", SOON, || said().contains("unable to rename current").then_some(()));
        logger.signal(Signal::SIGTERM);
        assert_eq!(logger.ended(), Some(0), "{words:?}: {}", said());
    };
    std::thread::scope(|scope| {
        ALL.map(|words| scope.spawn(move || end(words))).map(|ended| ended.join().expect("an end"))
    });
}

/// A logger with a processor, ours or the real one of that name. Files are closed at 50,000 bytes.
fn with_processor(name: &str, is_real: bool, command: &str) -> (SvDir, Running) {
    let sv = SvDir::new();
    let processor = format!("!sh -c \"{command}\"");
    log_dir(&sv, &format!("s50000\nn0\n{processor}\n"));
    let words = match name {
        "svlogd" => vec!["d"],
        "multilog" => vec!["s50000", "n1000", &processor, "./d"],
        "s6-log" => vec!["r100", "s50000", "n1000", &processor, "./d"],
        _ => vec!["--dir", "d"],
    };
    let mut command = if is_real { Command::new(name) } else { Command::new(onit()) };
    command.args((!is_real).then_some(name)).args(words).current_dir(sv.root()).stderr(Stdio::null());
    let logger = Running::of(command);
    (sv, logger)
}

/// svlogd goes on with the next file, s6-log in memory, as the real ones do; multilog waits, as the real one does.
#[test]
fn while_a_processor_hangs_lines_are_taken_as_by_the_real_ones_and_none_is_lost() {
    if let Some(why) = missing_tools(&["svlogd", "multilog", "s6-log", "execlineb"]) {
        skip!("{why}");
    }
    for (name, is_real) in ["svlogd", "multilog", "s6-log"].map(|name| [(name, true), (name, false)]).as_flattened() {
        let hangs = "until [ -e ../ready ]; do sleep .05; done; cat";
        let (sv, mut logger) = with_processor(name, *is_real, hangs);
        let dir = sv.root().join("d");
        write_lines(&mut logger, 0..6000);
        let names = || fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let runs = || names().any(|name| name == "processed" || name.to_string_lossy().ends_with(".t")).then_some(());
        wait_for("the processor", SOON, runs);
        let written = match *name {
            "multilog" => 6000,
            "svlogd" => 7000,
            _ => 100_000, // more than the pipe and a buffer
        };
        let lines: String = (6000..written).map(|number| format!("line {number}\n")).collect();
        logger.write_soon(lines.as_bytes());
        if *name == "svlogd" {
            let last = || text(&dir.join("current")).ends_with("line 6999\n").then_some(());
            wait_for("the lines in the next file", SOON, last);
        }
        fs::write(sv.root().join("ready"), "").expect("written");
        assert_eq!(logger.end(), Some(0), "{name} {is_real}");
        assert_eq!(count(&content(&dir)), written, "{name} {is_real}");
    }
}

#[test]
fn a_processor_that_fails_for_a_while_costs_no_line() {
    let fails = "echo >>../tries; [ $(wc -l <../tries) -gt 1 ] || exit 1; cat";
    std::thread::scope(|scope| {
        for name in ["svlogd", "multilog", "s6-log", "logger"] {
            scope.spawn(move || {
                let (sv, mut logger) = with_processor(name, false, fails);
                write_lines(&mut logger, 0..20_000);
                assert_eq!(logger.end(), Some(0), "{name}");
                assert_eq!(count(&content(&sv.root().join("d"))), 20_000, "{name}");
                assert!(text(&sv.root().join("tries")).len() > 4, "{name}: each file is tried until it succeeds");
            });
        }
    });
}
