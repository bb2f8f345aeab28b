//! Transcripts: what `sv`, `svc`, `svstat` and `svok` say of a services directory must be the same, byte for byte, whether
//! runit's `runsvdir` or `onit run` supervises it, and whether the tools are the stock ones or ours.
//!
//! A scenario is `scenarios/NAME.txt`. The transcript of the stock tools under the real `runsvdir` is
//! `scenarios/NAME.expected`, to be read and reviewed; `BLESS=1` writes it anew. A scenario has
//!
//! - `# …` and empty lines, which are copied;
//! - `service NAME`, followed by indented lines `PATH CONTENT`: the directory appears all at once. `run`, `finish`, `check`
//!   and what is in `control/` are scripts;
//! - `wait NAME: STAT`, until `supervise/stat` has this text; `again STAT`, and is younger than the last command; `old STAT`,
//!   and is older than the present second, since `sv` counts in whole seconds; `down` is for good, in the pause before a
//!   restart it is `down, want up`; `gone`, until no supervisor holds it; `says TEXT`, until TEXT is the last line of `trace`;
//! - `$ COMMAND`, a shell command in the services directory: it, what it said and its exit code are written down.
//!
//! Scenarios whose name ends in `svscan` are played with daemontools' `svscan` in place of `runsvdir`, and those that call
//! `setpriv` only by root.
//!
//! Pids become P, seconds X and the services directory SVDIR; nothing else is touched. The waits make the state that a command meets certain: a
//! transcript does not depend on how fast a supervisor or the machine is.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{
    Output, Service, Status, SvDir, UnderTest, copy_program, is_root, is_starved, missing_tools, onit, skip,
};

/// runsvdir may need six seconds to see a service, and as long to see a dead runsv.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whose `sv`, `svc`, `svstat` and `svok`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tools {
    Stock,
    Ours,
}

const TOOLS: [&str; 4] = ["sv", "svc", "svstat", "svok"];

/// One scenario being played.
struct Stage<'a> {
    sv: &'a SvDir,
    which: UnderTest,
    path: String,
    supervisor: &'a crate::svdir::Supervisor,
    /// The time stamps when the last command began.
    stamps: HashMap<String, Option<[u8; 12]>>,
    transcript: String,
}

/// The transcript of a scenario.
pub fn play(script: &str, which: UnderTest, tools: Tools) -> String {
    let sv = SvDir::new();
    let path = search_path(&sv, tools, script);
    let supervisor = sv.start(which);
    let (stamps, transcript) = (HashMap::new(), String::new());
    let mut stage = Stage { sv: &sv, which, path, supervisor: &supervisor, stamps, transcript };
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let _ = writeln!(stage.transcript, "{line}");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            "service" => {
                let mut files = Vec::new();
                while let Some(file) = lines.next_if(|line| line.starts_with(' ')) {
                    let _ = writeln!(stage.transcript, "{file}");
                    files.push(file.trim());
                }
                stage.create(rest, &files);
            }
            "wait" => stage.wait(rest),
            "$" => stage.command(rest),
            _ => panic!("no such line in a scenario: {line}"),
        }
    }
    stage.transcript
}

/// PATH for these tools. Other users can get at ours only where it is a copy.
fn search_path(sv: &SvDir, tools: Tools, script: &str) -> String {
    let path = std::env::var("PATH").expect("PATH");
    let has_other_users = script.contains("setpriv");
    if has_other_users {
        fs::set_permissions(sv.root(), fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    if tools == Tools::Stock {
        return path;
    }
    let place = sv.root().join("tools");
    fs::create_dir(&place).expect("mkdir");
    let program = if has_other_users { place.join("onit") } else { onit() };
    if has_other_users {
        copy_program(&onit(), &program);
    }
    for tool in TOOLS {
        symlink(&program, place.join(tool)).expect("symlink");
    }
    format!("{}:{path}", place.display())
}

impl Stage<'_> {
    fn create(&mut self, name: &str, files: &[&str]) {
        let mut service = self.sv.service(name);
        for file in files {
            let (path, content) = file.split_once(' ').unwrap_or((file, ""));
            let is_script = path.contains("control/") || ["run", "finish", "check"].iter().any(|s| path.ends_with(s));
            service = match content.trim() {
                script if is_script => service.script(path, script),
                content => service.file(path, content),
            };
        }
        service.create_atomically();
        self.stamps.insert(name.into(), None);
    }

    fn wait(&self, what: &str) {
        let (name, wanted) = what.split_once(": ").unwrap_or_else(|| panic!("wait NAME: WHAT, not {what}"));
        let service = self.sv.existing(name);
        let so_far = &self.transcript[self.transcript.len().saturating_sub(300)..];
        let description = format!("{name} to be '{wanted}' under {:?}, after\n…{so_far}", self.which);
        self.supervisor.wait_for(&description, PATIENCE, || self.is_so(name, &service, wanted).then_some(()));
    }

    fn is_so(&self, name: &str, service: &Service, wanted: &str) -> bool {
        if let Some(text) = wanted.strip_prefix("says ") {
            return service.text("trace").lines().last() == Some(text);
        }
        if wanted == "gone" || !service.is_supervised() {
            return (wanted == "gone") != service.is_supervised();
        }
        let Some(status) = service.status() else { return false };
        let is_new = self.stamps.get(name).copied().flatten() != Some(status.stamp());
        let is_old = status.since_1970().as_secs() < seconds_now();
        let derived = daemontools_stat(&status); // it keeps no text
        let stat = match status.stat.trim_end() {
            "" => &derived,
            "down" if status.want() == b'u' => "down, want up",
            stat => stat,
        };
        match wanted.split_once(' ') {
            Some(("again", wanted)) => stat == wanted && is_new,
            Some(("old", wanted)) => stat == wanted && is_old,
            // The kernel stops it a little later, and a TERM that comes before that ends it.
            _ => stat == wanted && (wanted != "run, paused" || is_stopped(&status)),
        }
    }

    fn command(&mut self, line: &str) {
        for (name, stamp) in &mut self.stamps {
            *stamp = self.sv.existing(name).status().map(|status| status.stamp());
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(line).current_dir(self.sv.path()).env("PATH", &self.path);
        let Output { code, stdout, stderr } = self.sv.run(shell);
        for (mark, text) in [("", stdout), ("2> ", stderr)] {
            for line in text.lines() {
                let line = line.replace(self.sv.path().to_str().expect("a printable path"), "SVDIR");
                let _ = writeln!(self.transcript, "{mark}{}", normalised(&line));
            }
        }
        let _ = writeln!(self.transcript, "[{code}]");
    }
}

/// What runit would have written.
fn daemontools_stat(status: &Status) -> String {
    let mut stat = String::from(if status.pid().is_some() { "run" } else { "down" });
    for (said, word) in [
        (status.paused(), ", paused"),
        (status.pid().is_some() && status.want() != b'u', ", want down"),
        (status.pid().is_none() && status.want() == b'u', ", want up"),
    ] {
        stat.push_str(if said { word } else { "" });
    }
    stat
}

/// Pids and seconds change from run to run: `(pid 31337) 4s` becomes `(pid P) Xs`, `4 seconds` becomes `X seconds`.
fn normalised(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let end = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        match word.split_at(end) {
            ("", _) => word.to_string(),
            (_, rest @ (")" | "),")) => format!("P{rest}"),
            (_, rest) if rest.trim_end_matches([',', ';']) == "s" => format!("X{rest}"),
            _ => word.to_string(),
        }
    });
    let words: Vec<_> = words.collect();
    let is_count = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let at = |index: usize| words.get(index).map_or("", String::as_str);
    let line = (0..words.len()).map(|i| if is_count(at(i)) && at(i + 1).starts_with("seconds") { "X" } else { at(i) });
    line.collect::<Vec<_>>().join(" ")
}

fn is_stopped(status: &Status) -> bool {
    status.pid().and_then(proc::Glimpse::of).is_some_and(|process| process.state == 'T')
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios")
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Empty when equal, else what `diff -u` shows.
pub fn difference(expected: &Path, transcript: &str) -> String {
    if fs::read_to_string(expected).is_ok_and(|text| text == transcript) {
        return String::new();
    }
    let actual = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(actual.path(), transcript).expect("write a temporary file");
    let diff = Command::new("diff").arg("-u").arg(expected).arg(actual.path()).output_in_turn();
    diff.map_or_else(|_| transcript.to_string(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn check(name: &str) {
    let script = read(&directory().join(format!("{name}.txt")));
    let script = script.as_str();
    let [theirs, ours] = match name.ends_with("svscan") {
        true => [UnderTest::Svscan, UnderTest::OnitAs("svscan")],
        false => [UnderTest::Runsvdir, UnderTest::Onit],
    };
    if let Some(why) = missing_tools(theirs.needs()).or_else(|| missing_tools(&TOOLS)) {
        skip!("{why}");
    }
    if script.contains("setpriv") && !is_root() {
        skip!("only root can be other users");
    }
    let casts = [(theirs, Tools::Stock), (ours, Tools::Stock), (theirs, Tools::Ours), (ours, Tools::Ours)];
    let play_all = |casts: &[(UnderTest, Tools)]| -> Vec<String> {
        thread::scope(|scope| {
            let all: Vec<_> = casts.iter().map(|cast| scope.spawn(move || play(script, cast.0, cast.1))).collect();
            all.into_iter().map(|it| it.join().unwrap_or_else(|_| "it did not come to its end\n".into())).collect()
        })
    };
    let transcripts = play_all(&casts);
    let expected = directory().join(format!("{name}.expected"));
    if std::env::var("BLESS").is_ok_and(|bless| bless == "1") {
        fs::write(&expected, &transcripts[0]).expect("write the expected transcript");
    }
    let mut wrong = String::new();
    for ((which, tools), transcript) in casts.iter().zip(&transcripts) {
        // Where the machine may stand still for longer than a time-out of the scenario, the tools of others differ, too.
        // And that the real tools under the real supervisor hang once says nothing of ours.
        let is_measure = (*which, *tools) == (theirs, Tools::Stock);
        let mut tries = if is_starved() { 3 } else { usize::from(is_measure) };
        let mut difference = difference(&expected, transcript);
        while tries > 0 && !difference.is_empty() {
            tries -= 1;
            difference = self::difference(&expected, &play_all(&[(*which, *tools)])[0]);
        }
        if !difference.is_empty() {
            let _ = writeln!(wrong, "{tools:?} tools under {which:?} (another version? BLESS=1):\n{difference}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A test for each scenario of a module, which has the functions `check` and `directory`.
macro_rules! scenarios {
    ($($test:ident)+) => {
        $(#[test] fn $test() { check(stringify!($test)); })+

        #[test]
        fn every_scenario_is_played() {
            let mut files: Vec<String> = fs::read_dir(directory()).expect("the scenarios").flatten()
                .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".txt")?.to_string())).collect();
            files.sort();
            assert_eq!(files, [$(stringify!($test)),+]);
        }
    };
}
pub(crate) use scenarios;

scenarios! {
    daemontools
    hard_cases
    loggers
    sv_actions
    sv_commands
    sv_status
    wire_log
    wire_log_of_others
    wire_log_svscan
}

#[test]
fn only_pids_and_seconds_are_normalised() {
    let lines = [
        (
            "run: web: (pid 31337) 4s, normally down; run: log: (pid 12) 10s",
            "run: web: (pid P) Xs, normally down; run: log: (pid P) Xs",
        ),
        ("down: 7: 3s, normally up", "down: 7: Xs, normally up"),
        ("web: up (pid 5) 3 seconds, normally down", "web: up (pid P) X seconds, normally down"),
        ("web: down 12 seconds", "web: down X seconds"),
        ("usage: 3 things 100s1", "usage: 3 things 100s1"),
    ];
    for (line, expected) in lines {
        assert_eq!(normalised(line), expected);
    }
}
