//! The manual pages: clean, complete, and true. What they say by name is compared with the program, and their examples
//! are run as they stand there.

use crate::svdir::{SOON, SvDir, UnderTest, missing_tools, onit, output, skip, wait_for};
use nix::sys::signal::Signal;
use onit::machine::system::STOP_BUDGET;
use onit::machine::{ServiceState, history};
use onit::wire::api;
use onit::wire::control::{Dialect, decode};
use onit::wire::settings::{self, FILES, Kind, Moment, Reader};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGES: [&str; 7] =
    ["onit.1", "onit-run.8", "onit-service.5", "onit-api.7", "onit-compat.7", "onit-loaders.7", "onit-s6.7"];

/// Where the examples look for the socket.
const SOCKET: &str = "/run/onit/api";

fn source(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn page(name: &str) -> String {
    source(&format!("man/{name}"))
}

/// What stands under a heading: `Sh FILES`, `Ss hello`.
#[track_caller]
fn part<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("\n.{heading}\n")).unwrap_or_else(|| panic!("there is no .{heading}"));
    let end = |next: &str| rest.find(next).unwrap_or(rest.len());
    let end = if heading.starts_with("Ss") { end("\n.Ss ").min(end("\n.Sh ")) } else { end("\n.Sh ") };
    &rest[..end]
}

/// What the items of this kind are called: `.It Pa run`.
fn items(part: &str, kind: &str) -> BTreeSet<String> {
    let start = format!(".It {kind} ");
    let names = part.lines().filter_map(|line| line.strip_prefix(&start));
    names.map(|name| name.split(' ').next().unwrap_or(name).to_owned()).collect()
}

fn set<S: Into<String>>(names: impl IntoIterator<Item = S>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

/// The words of a text, macros among them.
fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}

/// The examples of a page, as whoever copies them from the screen has them.
pub fn examples(page: &str) -> Vec<String> {
    let blocks = part(page, "Sh EXAMPLES").split(".Bd -literal -offset indent\n").skip(1);
    blocks.map(|block| block.split("\n.Ed").next().unwrap_or(block).replace("\\e", "\\") + "\n").collect()
}

#[test]
fn the_pages_are_clean_and_have_all_that_is_looked_for() {
    let there: BTreeSet<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man"))
        .expect("the pages")
        .map(|entry| entry.expect("a page").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, set(PAGES));
    for name in PAGES {
        let page = page(name);
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"] {
            assert!(page.contains(&format!("\n.Sh {heading}\n")), "{name}: there is no {heading}");
        }
        for line in page.lines().filter_map(|line| line.strip_prefix(".Xr onit")) {
            let mut words = line.split(' ');
            let (rest, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            assert!(PAGES.contains(&format!("onit{rest}.{number}").as_str()), "{name}: .Xr onit{line}");
        }
        for other in PAGES.iter().filter(|other| **other != name) {
            let (other, number) = other.rsplit_once('.').expect("a section");
            assert!(part(&page, "Sh SEE ALSO").contains(&format!(".Xr {other} {number}")), "{name}: {other}");
        }
    }
    if let Some(missing) = missing_tools(&["mandoc"]) {
        skip!("{missing}");
    }
    let mandoc = |option: &str, name: &str| {
        let mut command = Command::new("mandoc");
        command.args([option, &format!("{}/man/{name}", env!("CARGO_MANIFEST_DIR"))]);
        output(command)
    };
    for name in PAGES {
        // Which pages of others there are is a matter of the machine.
        let lint = mandoc("-Tlint", name);
        let found: Vec<&str> =
            lint.stdout.lines().filter(|line| !line.contains("STYLE: referenced manual not found")).collect();
        assert!(found.is_empty() && lint.code <= 1, "{name}: {}: {found:#?}", lint.code);
        assert!(mandoc("-Tutf8", name).stdout.contains(&page_title(name)), "{name} cannot be shown");
    }
}

/// `ONIT-RUN(8)`
fn page_title(name: &str) -> String {
    let (title, number) = name.rsplit_once('.').expect("a section");
    format!("{}({number})", title.to_uppercase())
}

#[test]
fn the_diagram_of_states_in_the_documents_is_what_onit_prints() {
    let mut command = Command::new(onit());
    command.args(["states", "--mermaid"]);
    let printed = output(command);
    assert!(printed.code == 0 && printed.stdout.starts_with("stateDiagram-v2\n"), "{printed:?}");
    assert!(source("docs/architecture.md").contains(&format!("```mermaid\n{}```\n", printed.stdout)));
}

#[test]
fn every_file_of_a_service_is_in_the_page_and_in_the_readme() {
    let readme = source("README.md");
    let (_, table) = readme.split_once("## The files of a service\n").expect("the table of files");
    let table = table.split("\n## ").next().expect("its end");
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let rows = cells.flat_map(|cell| cell.split('`').step_by(2).filter(|name| !name.is_empty()));
    let page = page("onit-service.5");
    assert_eq!(items(part(&page, "Sh FILES"), "Pa"), set(rows));
    for file in FILES {
        let name = match (file.name, file.kind) {
            ("control", _) => "control/X".to_owned(),
            (name, Kind::Directory) => format!("{name}/"),
            (name, Kind::Program | Kind::Value | Kind::Flag) => name.to_owned(),
        };
        let is_its_row = |row: &str| {
            let mut cells = row.split(" | ");
            cells.next().is_some_and(|names| names.contains(&format!("`{name}`")))
                && cells.next() == Some(file.origin())
        };
        assert!(table.lines().any(is_its_row), "{name} from {}", file.origin());
        if let (Reader::Input(moment, _), Some(value)) = (file.reader, settings::value(file.name)) {
            let without = if value.default.is_empty() { "\\(en" } else { value.default };
            let when = match moment {
                Moment::Reload => "at an order to reload",
                Moment::Start => "before each start",
                Moment::Stop => "at an order to stop",
                Moment::Death => "after each end of Pa run",
                Moment::Probe => "before each start and each Pa health",
            };
            let row = format!("\n.It Pa {name} Ta {} Ta {without} Ta {when}\n", file.origin());
            assert!(page.contains(&row), "{row}");
        }
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let _onit = sv.start(UnderTest::Onit);
    web.wait_up();
    let made = std::fs::read_dir(web.path().join("supervise")).expect("what onit makes");
    let made = made.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    assert_eq!(items(part(&page, "Sh SUPERVISE"), "Pa"), made.filter(|name| !name.ends_with(".new")).collect());
}

#[test]
fn every_order_and_every_state_is_told() {
    let service = page("onit-service.5");
    let control = part(&service, "Sh SUPERVISE").split("\n.It Pa ").find(|item| item.starts_with("control\n"));
    let rows = control.expect("the orders").lines().filter_map(|line| line.strip_prefix(".It Li "));
    let told: BTreeSet<String> =
        rows.flat_map(|row| row.split(" Ta ").next().unwrap_or_default().split(' ')).map(Into::into).collect();
    let understood = (0..=255u8).filter(|byte| !decode(*byte, Dialect::All).is_empty());
    assert_eq!(told, understood.map(|byte| char::from(byte).to_string()).collect());

    let states = ServiceState::ALL.iter().map(|state| state.word());
    let table = part(&service, "Sh STATES").lines().filter_map(|line| line.strip_prefix(".It "));
    let told: BTreeSet<String> = table
        .filter(|row| !row.starts_with("Em "))
        .filter_map(|row| row.split("Ta ").nth(1)?.trim().strip_prefix("Li "))
        .map(Into::into)
        .collect();
    assert_eq!(told, set(states.clone()));
    let api = page("onit-api.7");
    let told = words(part(&api, "Ss service"));
    let mut answered = states.filter(|state| *state != ServiceState::Unknown.word()); // only the verbs say that
    assert!(answered.all(|state| told.contains(state)), "{told:?}");
}

#[test]
fn every_request_is_told_and_every_limit_is_the_program_s() {
    let page = page("onit-api.7");
    let requests = part(&page, "Sh REQUESTS");
    let lines = requests.lines().filter_map(|line| line.strip_prefix(".It Cm ").or(line.strip_prefix(".Cm ")));
    let told: BTreeSet<String> = lines
        .flat_map(|line| line.split(" Op ").next().unwrap_or(line).split(" Ar ").next().unwrap_or(line).split(" | "))
        .map(|word| word.trim_matches([' ', '|', ',', '.']).to_owned())
        .collect();
    let known = ["hello", "status", "history", "subscribe", "logs", "rescan", "scale"];
    assert_eq!(told, set(known.into_iter().chain(api::Order::ALL.iter().map(|order| order.word()))));

    for (text, place) in [
        (format!("at most {} bytes", api::LONGEST), "Sh LIMITS"),
        (format!("this protocol, {};", api::VERSION), "Ss hello"),
        (format!("its last {} lives", history::KEPT), "Sh REQUESTS"),
    ] {
        assert!(part(&page, place).contains(&text), "{text}");
    }
    let run = self::page("onit-run.8");
    assert!(run.contains(&format!("\n{} seconds, if it is not set.\n", STOP_BUDGET.as_secs())));
}

/// Reads what there is of JSON in a file: each object by its name, with its keys; also objects in objects.
fn keys(lines: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    let mut todo = Vec::new();
    for line in lines.lines() {
        let Ok(Value::Object(line)) = serde_json::from_str(line) else { panic!("no object: {line}") };
        assert_eq!(line.len(), 1, "{line:?}");
        todo.extend(line);
    }
    while let Some((name, value)) = todo.pop() {
        let Value::Object(object) = value else { continue };
        all.entry(name).or_insert_with(BTreeSet::new).extend(object.keys().cloned());
        todo.extend(object);
    }
    all
}

#[test]
fn every_key_of_every_line_is_told() {
    if let Some(missing) = missing_tools(&["socat"]) {
        skip!("{missing}");
    }
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let crash = sv.service("crash").run("exit 7").create();
    let _onit = sv.start(UnderTest::Onit);
    crash.wait_for("its end", |status| status.pid().is_none());
    let socket = sv.live().join("api");
    wait_for("the socket", SOON, || socket.exists().then_some(()));
    let mut command = Command::new("sh");
    let requests = "subscribe\\nhello\\nstatus\\nhistory crash\\npause web\\nnonsense\\n";
    command.args(["-c", &format!("printf '{requests}' | timeout 5 socat -t2 - UNIX:{}", socket.display())]);
    let real = keys(&sv.run(command).stdout);
    let page = page("onit-api.7");
    let answers = part(&page, "Sh ANSWERS");
    let told: BTreeMap<String, BTreeSet<String>> = answers
        .lines()
        .filter_map(|line| line.strip_prefix(".Ss "))
        .map(|name| (name.to_owned(), items(part(&page, &format!("Ss {name}")), "Va")))
        .collect();
    assert_eq!(told, real);
}

#[test]
fn the_example_for_the_shell_works() {
    if let Some(missing) = missing_tools(&["socat"]) {
        skip!("{missing}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let long = sv.service("long").run("exec sleep 4").create(); // it ends when an impatient listener would have left
    let _onit = sv.start(UnderTest::Onit);
    let (_, first) = (long.wait_up(), web.wait_up());
    wait_for("the socket", SOON, || sv.live().join("api").exists().then_some(()));
    let mut command = Command::new("sh");
    command.args(["-c", &examples(&page("onit-api.7"))[0].replace(SOCKET, &sv.live().join("api").to_string_lossy())]);
    let example = sv.spawn(command);
    let answers = |n| example.stdout().matches("{\"done\":{\"count\"").count() >= n;
    example.wait_for("three answers", SOON, || answers(3).then_some(()));
    let lines = example.stdout();
    assert!(lines.starts_with("{\"service\":{\"name\":\"web\",\"state\":\"up\","), "{lines}");
    web.wait_other(first);
    example.wait_for("an event", SOON, || example.stdout().contains("\"name\":\"long\",\"old\":\"up\"").then_some(()));
    assert_eq!((example.ended(), example.stderr().as_str()), (None, ""));
}

#[test]
fn the_example_in_python_works() {
    if let Some(missing) = missing_tools(&["python3"]) {
        skip!("{missing}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    web.wait_up();
    let mut command = Command::new("python3");
    command.args(["-c", &examples(&page("onit-api.7"))[1].replace(SOCKET, &sv.live().join("api").to_string_lossy())]);
    let example = sv.spawn(command);
    let said = |line: &str, times| {
        let is_said = || example.stdout().lines().filter(|said| *said == line).count() >= times;
        example.wait_for(line, SOON, || is_said().then_some(()));
    };
    said("web up", 1);
    web.order(b"d");
    said("web stopping", 1);
    said("web down", 1);
    onit.signal(Signal::SIGSEGV);
    said("web down", 2);
    web.order(b"u");
    said("web up", 2);
    assert_eq!((example.ended(), example.stderr().as_str()), (None, ""));
}

#[test]
fn every_option_of_run_is_told() {
    let usage = |args: &[&str]| {
        let mut command = Command::new(crate::svdir::onit());
        command.args(args);
        let said = output(command);
        assert_eq!(said.code, onit::exit::USAGE);
        let usage = said.stderr.split("usage:").nth(1).expect("how it is used").to_owned();
        let split = usage.split(|c: char| !(c.is_alphanumeric() || c == '-')).map(str::to_owned);
        split.filter(|word| word.starts_with('-') && word != "--").collect::<BTreeSet<_>>()
    };
    let all: BTreeSet<String> = usage(&["run", "--nonsense"]).union(&usage(&["-x", "--", "true"])).cloned().collect();
    let page = page("onit-run.8");
    let told = items(part(&page, "Sh OPTIONS"), "Fl").into_iter().map(|option| format!("-{option}"));
    assert_eq!(told.filter(|option| option != "--").collect::<BTreeSet<_>>(), all);
}

/// One of the verbs in the page.
#[derive(Default, PartialEq, Debug)]
struct Entry {
    also: BTreeSet<String>,
    options: BTreeSet<String>,
}

/// The verbs in this part of the page, with what stands in their headings: `.It Cm status Pq Cm s`, perhaps on several
/// lines between `Xo` and `Xc`. An option with an item of its own belongs to the verb before it, if there is one under
/// the same heading.
fn entries(part: &str) -> BTreeMap<String, Entry> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for group in part.split("\n.Ss ") {
        let mut last = None;
        for item in group.split("\n.It ").skip(1) {
            let heading = match item.strip_prefix("Xo\n") {
                Some(long) => long.split("\n.Xc").next().unwrap_or(long),
                None => item.lines().next().unwrap_or_default(),
            };
            let words: Vec<&str> = heading.split_whitespace().map(|word| word.trim_start_matches('.')).collect();
            let (name, rest) = match &words[..] {
                ["Cm", name, rest @ ..] => (Some(*name), rest),
                ["Fl", "-", ..] => (Some("--"), &[][..]),
                rest => (last, rest),
            };
            last = name;
            let Some(name) = name else { continue };
            assert!(rest.len() == words.len() || !entries.contains_key(name), "{name} stands twice");
            entries.entry(name.to_owned()).or_default().read(rest);
        }
    }
    entries
}

impl Entry {
    fn read(&mut self, heading: &[&str]) {
        let mut kind = "";
        for word in heading {
            match (kind, *word) {
                (_, ",") | ("Pq", "Cm") | ("Fl", "-") => {}
                (_, "Fl" | "Pq" | "Cm" | "Ar" | "Op" | "Oo" | "Oc") => kind = word,
                ("Pq", other) => _ = self.also.insert(other.to_owned()),
                ("Fl", long) if long.starts_with('-') => _ = self.options.insert(format!("-{long}")),
                ("Fl", letters) => self.options.extend(letters.chars().map(|letter| format!("-{letter}"))),
                _ => {}
            }
        }
    }
}

/// The options of a verb as its help has them: the short form of each, if it has one.
fn options(verb: &str) -> BTreeSet<String> {
    let mut command = Command::new(crate::svdir::onit());
    command.args([verb, "--help"]);
    let help = output(command).stdout;
    let lines = help.split("\nOptions:\n").nth(1).unwrap_or_default().lines();
    let options = lines.filter_map(|line| line.strip_prefix("  -")?.split([' ', ',']).next());
    options.map(|option| format!("-{option}")).filter(|option| option != "-h" && option != "--help").collect()
}

#[test]
fn every_verb_is_told_with_its_other_names_and_its_options() {
    let page = page("onit.1");
    let of_orders = items(part(&page, "Ss Orders"), "Fl").into_iter().map(|option| format!("-{option}"));
    let of_orders: BTreeSet<String> = of_orders.collect();
    let (mut told, mut real) = (entries(part(&page, "Sh VERBS")), BTreeMap::new());
    for (title, verbs) in onit::cli::table::VERBS {
        for verb in *verbs {
            let mut entry = Entry { also: set(verb.also.iter().copied()), options: BTreeSet::new() };
            if ["orders", "signals"].contains(title) && verb.name != "rescan" {
                let all = options(verb.name);
                assert!(all.is_superset(&of_orders), "{}: {all:?}", verb.name);
                entry.options = all.difference(&of_orders).cloned().collect();
            } else if verb.info.is_some() {
                entry.options = options(verb.name);
            } else if let Some(told) = told.get_mut(verb.name) {
                told.options.clear(); // its options are in another page
            }
            real.insert(verb.name.to_owned(), entry);
        }
    }
    assert_eq!(told, real);
    let codes = words(part(&page, "Sh EXIT STATUS"));
    use onit::exit::{FAILED, LATE, NOT_RUNNING, OK, SYSTEM, UNKNOWN, USAGE};
    assert!([OK, FAILED, NOT_RUNNING, UNKNOWN, LATE, USAGE, SYSTEM].iter().all(|c| codes.contains(&*c.to_string())));
}

#[test]
fn every_variable_of_ours_is_told() {
    let mut known = BTreeSet::new();
    let mut places = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(place) = places.pop() {
        for entry in std::fs::read_dir(place).expect("a source directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                places.push(path);
            } else {
                let code = std::fs::read_to_string(&path).expect("a source");
                let quoted = code.split("\"ONIT_").skip(1).filter_map(|rest| rest.split('"').next());
                known.extend(quoted.map(|name| format!("ONIT_{name}")));
            }
        }
    }
    known.retain(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    // What onit says to its successor, and what tests say to it.
    known.retain(|name| !["ONIT_LEDGER", "ONIT_FRONT", "ONIT_TEST_PANIC"].contains(&name.as_str()));
    assert!(known.len() >= 3, "{known:?}");
    let (onit, run) = (page("onit.1"), page("onit-run.8"));
    let told: BTreeSet<&str> =
        words(part(&run, "Sh ENVIRONMENT")).union(&words(part(&onit, "Sh VERBS"))).copied().collect();
    known.retain(|name| !told.contains(name.as_str()));
    assert!(known.is_empty(), "{known:?}");
}

#[test]
fn pages_and_completions_are_installed() {
    if let Some(missing) = missing_tools(&["make", "install"]) {
        skip!("{missing}");
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("make");
    let set = |name: &str, value: &Path| format!("{name}={}", value.display());
    command.args(["-s", "-o", "static", "install", "PREFIX=/usr"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args([set("STATIC", &crate::svdir::onit()), set("DESTDIR", root.path())]);
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        command.env_remove(name);
    }
    let said = output(command);
    assert_eq!((said.code, said.stdout + &said.stderr), (0, String::new()));
    let installed = |path: &str| std::fs::read(root.path().join("usr").join(path)).unwrap_or_default();
    for name in PAGES {
        let (_, number) = name.rsplit_once('.').expect("a section");
        assert_eq!(installed(&format!("share/man/man{number}/{name}")), page(name).into_bytes(), "{name}");
    }
    assert!(!installed("bin/onit").is_empty());
    for (shell, path) in [
        ("bash", "bash-completion/completions/onit"),
        ("zsh", "zsh/site-functions/_onit"),
        ("fish", "fish/vendor_completions.d/onit.fish"),
    ] {
        let mut command = Command::new(crate::svdir::onit());
        command.args(["completion", shell]);
        let script = output(command).stdout;
        assert!(!script.is_empty() && installed(&format!("share/{path}")) == script.into_bytes(), "{shell}");
    }
}
