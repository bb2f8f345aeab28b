//! The walls between the rooms, and what no room may hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms it may import. An arrow never points upwards.
const ARROWS: &[(&str, &[&str])] = &[
    ("exit", &[]),
    ("machine", &[]),
    ("wire", &["machine"]),
    ("sys", &["machine"]),
    ("init", &["machine", "wire", "sys", "exit"]),
    ("client", &["machine", "wire", "sys", "exit"]),
    ("service_dir", &["machine", "wire", "sys", "exit"]),
    ("loader", &["wire"]),
    ("embed", &["init", "client", "service_dir", "machine", "wire", "sys", "exit"]),
    ("tool", &["wire", "sys"]),
    ("helpers", &["tool", "client", "service_dir", "machine", "wire", "sys", "exit"]),
    ("cli", &["helpers", "tool", "client", "service_dir", "machine", "wire", "sys", "exit"]),
];

/// Rooms that PID 1 consists of: nothing in them may panic.
const PID1: &[&str] = &["machine", "wire", "sys", "init"];

#[test]
fn every_room_is_known_and_imports_only_what_lies_below() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let room = room_of(&path);
        if room == "lib" || room == "main" {
            continue;
        }
        let Some((_, below)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: no such room in the list of arrows", path.display()));
            continue;
        };
        for other in imported(&code) {
            if other != room && !below.contains(&other.as_str()) {
                wrong.push(format!("{}: {room} must not import {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_has_one_address() {
    let outside: Vec<_> = sources()
        .into_iter()
        .filter(|(path, code)| room_of(path) != "sys" && code.replace("unsafe_code", "").contains("unsafe"))
        .map(|(path, _)| path)
        .collect();
    assert!(outside.is_empty(), "unsafe outside sys/: {outside:?}");
}

/// docs/architecture.md says of each file here what it promises.
#[test]
fn every_file_of_these_tests_is_on_the_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/architecture.md")).expect("the document");
    let map = text.split("| file in `tests/it/` | promise |").nth(1).expect("the map");
    let rows = map.lines().skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|')).skip(1);
    let files = |row: &str| row.split('|').nth(1).unwrap_or_default().split('`').map(str::to_owned).collect::<Vec<_>>();
    let mapped: BTreeSet<String> = rows.flat_map(files).filter(|word| word.ends_with(".rs")).collect();
    let entries = fs::read_dir(root.join("tests/it")).expect("the files").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    assert_eq!(mapped, names.filter(|name| name.ends_with(".rs")).collect());
}

#[test]
fn nothing_in_pid_1_panics_on_purpose() {
    let words = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!(", "assert!("];
    let mut wrong = Vec::new();
    for (path, code) in sources().into_iter().filter(|(path, _)| PID1.contains(&room_of(path).as_str())) {
        for (number, line) in program(&code).lines().enumerate() {
            // What the compiler asserts cannot happen later.
            let line = line.replace("debug_assert!(", "").replace("const _: () = assert!(", "");
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_decision_has_a_default() {
    let code = fs::read_to_string(root().join("src/machine/service.rs")).expect("the machine of a service");
    let defaults: Vec<&str> = program(&code).lines().filter(|line| line.trim_start().starts_with("_ =>")).collect();
    assert!(defaults.is_empty(), "a new state must fail to compile, not fall through: {defaults:?}");
}

#[test]
fn only_the_poller_waits() {
    let waits = ["epoll.wait(", "sleep(", "unistd::pause("];
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let place = path.strip_prefix(root().join("src")).expect("a source").to_string_lossy().into_owned();
        for line in program(&code).lines().filter(|line| !line.trim_start().starts_with("//")) {
            if place != "sys/poll.rs" && waits.iter().any(|wait| line.contains(wait)) {
                wrong.push(format!("{place}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&root().join("src"), &mut found);
    assert!(found.len() > 20, "the sources are where they were");
    found
}

fn collect(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("an entry").path();
        let simulated = path.file_stem().is_some_and(|name| name == "simulation");
        if path.is_dir() && !simulated {
            collect(&path, found);
        } else if !simulated && path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).expect("a source");
            found.push((path, code));
        }
    }
}

/// The first folder under src/, or the file's own name.
fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(root().join("src")).expect("a source");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code without its tests, which stand at the end.
fn program(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests").next().unwrap_or(code)
}

/// The rooms that a file names after `crate::`.
fn imported(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for after in code.split("crate::").skip(1) {
        let group = after.strip_prefix('{').and_then(|rest| rest.split('}').next());
        for path in group.unwrap_or(after).split(',').take(if group.is_some() { usize::MAX } else { 1 }) {
            let word: String = path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(word);
        }
    }
    rooms
}

#[test]
fn the_arrow_test_sees_every_form_of_import() {
    assert_eq!(imported("use crate::sys::fs;"), ["sys"]);
    assert_eq!(imported("use crate::{exit, sys::say::say};"), ["exit", "sys"]);
    assert_eq!(imported("let x = crate::wire::tai::Tai { unix };"), ["wire"]);
}

/// What the table of other systems names is there.
#[test]
fn each_test_that_a_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let page = read("docs/peers.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let mut named = 0;
    for row in rows {
        let last = row.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        for (file, test) in last.split('`').skip(1).step_by(2).filter_map(|name| name.split_once("::")) {
            let source = read(&format!("tests/it/{file}.rs"));
            assert!(source.contains(&format!("fn {test}(")) || source.contains(&format!(" {test},")), "{file}::{test}");
            named += 1;
        }
        let says_why = row.contains("| not: ");
        assert!(last.contains("::") || says_why || row.contains("| feature |"), "{row}");
    }
    assert!(named > 20, "{named}");
}
