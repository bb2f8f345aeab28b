//! Service directories that are written run under each of the four supervisors; those that are examined give up every
//! fault that was planted in them, and no other.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use onit::service_dir::{
    Backoff, Condition, Error, Essential, Fact, Finding, HealthPolicy, Instances, KillMode, Limit, Logger, MaxRestarts,
    Readiness, Resource, Restart, Script, ServiceBuilder, ServiceDir, Severity, Signal, Socket, Target, User, Written,
    lint, systemd,
};
use onit::wire::settings::{FILES, Moment, Reader, Systemd, VALUES, inputs};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::proc;
use crate::svdir::{
    SOON, Service, Supervisor, SvDir, UnderTest, find_in_path, is_root, missing_tools, onit, output, skip, wait_for,
    while_nothing_starts,
};

/// Who supervises what was written for whom.
fn supervisor_of(target: Target) -> UnderTest {
    match target {
        Target::Onit => UnderTest::Onit,
        Target::Runit => UnderTest::Runsv,
        Target::Daemontools => UnderTest::Supervise,
        Target::S6 => UnderTest::S6Supervise,
    }
}

/// One test for each target, named after it.
macro_rules! for_each_target {
    ($($name:ident($target:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn body($target: Target) {
                if let Some(why) = missing_tools(supervisor_of($target).needs()) {
                    skip!("{why}");
                }
                $body
            }

            #[test]
            fn onit() {
                body(Target::Onit);
            }

            #[test]
            fn runit() {
                body(Target::Runit);
            }

            #[test]
            fn daemontools() {
                body(Target::Daemontools);
            }

            #[test]
            fn s6() {
                body(Target::S6);
            }
        }
    )+};
}

fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Writes a service into the services directory; it lints clean, whatever it is.
#[track_caller]
fn write(sv: &SvDir, name: &str, builder: &ServiceBuilder) -> Service {
    let path = sv.path().join(name);
    let written = while_nothing_starts(|| builder.write(&path)).unwrap_or_else(|error| panic!("{error}: {builder:?}"));
    assert_ne!(written, Written::Unchanged);
    let findings = lint::examine([&path]);
    assert!(findings.is_empty(), "what we write is clean: {findings:#?}");
    Service::at(path)
}

/// A service that writes down how it was started, and stays.
fn witness(sv: &SvDir, name: &str, target: Target, words: &[OsString]) -> (ServiceBuilder, PathBuf) {
    let place = sv.root().join(format!("{name}.seen"));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).expect("mkdir");
    fs::set_permissions(&place, Permissions::from_mode(0o777)).expect("chmod");
    let script = format!(
        "umask 022; cd '{}' && cat /proc/$$/cmdline >argv && cat /proc/$$/environ >environ && \
         {{ id -u; id -G; ulimit -n; ulimit -s; nice; }} >facts && cat /proc/$$/stat >stat && : >done; exec sleep 1000",
        place.display()
    );
    let mut command: Vec<OsString> = ["/bin/sh", "-c", &script, "sh"].map(OsString::from).to_vec();
    command.extend_from_slice(words);
    (ServiceBuilder::new(command).target(target), place)
}

/// Starts the service under the supervisor it was written for, and waits until it has written down what it saw.
#[track_caller]
fn run(sv: &SvDir, target: Target, service: &Service, place: &Path) -> Supervisor {
    let supervisor = match target {
        Target::Onit => sv.start(UnderTest::Onit),
        _ => sv.start_on(supervisor_of(target), service),
    };
    supervisor.wait_for("the service to tell", SOON, || place.join("done").exists().then_some(()));
    supervisor
}

/// The strings in a file that end in NUL.
fn strings(path: &Path) -> Vec<OsString> {
    let bytes = fs::read(path).expect("what the service saw");
    let mut all: Vec<OsString> = bytes.split(|byte| *byte == 0).map(os).collect();
    assert_eq!(all.pop(), Some(OsString::new()), "it ends in NUL");
    all
}

fn variables(path: &Path) -> BTreeMap<OsString, OsString> {
    let pair = |string: OsString| {
        let bytes = string.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=').expect("NAME=VALUE");
        (os(&bytes[..at]), os(&bytes[at + 1..]))
    };
    strings(path).into_iter().map(pair).collect()
}

// ---------------------------------------------------------------------------------------------------------------------
// What a service is given arrives
// ---------------------------------------------------------------------------------------------------------------------

/// Bytes that shells, units, envdir and makers of tables stumble over.
fn hostile() -> impl Strategy<Value = OsString> {
    let pieces = [
        &b"'"[..],
        b"\"",
        b"\n",
        b"$HOME",
        b"$(id)",
        b"`id`",
        b"\\",
        b"\\\n",
        b" ",
        b"\t",
        b"\r\n",
        b"\xff\xfe",
        b"%n%",
        b"*",
        b"~",
        b"!",
        b"#",
        b";",
        b"&",
        b"|",
        b"<<EOF\n",
        b"=",
        b"-",
        b"{a,b}",
        b"\x81\x82\x88",
        b"\x01\x7f",
        b"\xe2\x82\xac",
    ];
    let piece = prop_oneof![
        3 => prop::sample::select(pieces.map(<[u8]>::to_vec).to_vec()),
        1 => prop::collection::vec(1u8.., 0..12),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| os(&pieces.concat()))
}

/// Names that no shell could set, but the kernel hands on; none that the tools between would heed.
fn name() -> impl Strategy<Value = OsString> {
    let byte = (1u8..).prop_filter("a name has no =", |byte| *byte != b'=');
    prop::collection::vec(byte, 0..8).prop_map(|bytes| os(&[b"X_", &bytes[..]].concat()))
}

for_each_target! {
    hostile_values_arrive_unchanged(target) {
        let words = prop::collection::vec(hostile(), 0..6);
        let environment = prop::collection::btree_map(name(), hostile(), 0..5);
        let config = Config { cases: 8, max_shrink_iters: 24, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&(words, environment, any::<bool>()), |(words, mut environment, clear)| {
                let sv = SvDir::new();
                let (mut builder, place) = witness(&sv, "web", target, &words);
                environment.insert("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into());
                for (name, value) in &environment {
                    builder = builder.env(name, value);
                }
                builder = if clear { builder.clear_env() } else { builder };
                let service = write(&sv, "web", &builder);
                let _supervisor = run(&sv, target, &service, &place);
                prop_assert_eq!(&strings(&place.join("argv"))[3..][1..], &words);
                let seen = variables(&place.join("environ"));
                if clear {
                    prop_assert_eq!(&seen, &environment, "and nothing else");
                } else {
                    prop_assert!(seen.contains_key(OsStr::new("ONIT_TEST_ID")), "the supervisor's are there as well");
                    for (name, value) in &environment {
                        prop_assert_eq!(seen.get(name), Some(value));
                    }
                }
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
    }

    a_hundred_kibibytes_arrive(target) {
        let sv = SvDir::new();
        let large = os(&b"'\n$\\\xff\"a b ".repeat(10_240)[..100 << 10]);
        let words = [large.clone(), "after it".into()];
        let (builder, place) = witness(&sv, "web", target, &words);
        let service = write(&sv, "web", &builder.env("LARGE", &large));
        let _supervisor = run(&sv, target, &service, &place);
        assert!(strings(&place.join("argv"))[4..] == words, "in the arguments");
        assert!(variables(&place.join("environ")).get(OsStr::new("LARGE")) == Some(&large), "in the environment");
    }

    a_program_and_a_directory_may_have_any_name(target) {
        let sv = SvDir::new();
        let odd = sv.root().join(os(b"it's a=b\n-$x\xff"));
        fs::create_dir(&odd).expect("mkdir");
        let program = odd.join("tool");
        symlink("/bin/sh", &program).expect("symlink");
        let place = sv.root().join("seen");
        let script = format!("pwd -P >{0}.new; env -0 >{0}.env; mv {0}.new {0}; exec sleep 1000", place.display());
        let words = [program.into_os_string(), "-c".into(), script.into()];
        let builder = ServiceBuilder::new(words).target(target).directory(&odd).env("A", "1");
        let service = write(&sv, "web", &builder);
        let supervisor = match target {
            Target::Onit => sv.start(UnderTest::Onit),
            _ => sv.start_on(supervisor_of(target), &service),
        };
        let seen = supervisor.wait_for("the service to tell", SOON, || fs::read(&place).ok());
        let odd = odd.canonicalize().expect("it is there");
        assert_eq!(OsString::from_vec(seen), os(&[odd.as_os_str().as_bytes(), b"\n"].concat()));
        let environment = fs::read(sv.root().join("seen.env")).expect("the environment");
        assert!(environment.split(|byte| *byte == 0).any(|one| one == b"A=1"));
    }

    user_limits_and_niceness_hold(target) {
        if !is_root() {
            skip!("only root can become somebody else");
        }
        let sv = SvDir::new();
        fs::set_permissions(sv.root(), Permissions::from_mode(0o755)).expect("chmod");
        let (builder, place) = witness(&sv, "web", target, &[]);
        let builder = builder.user("nobody").limit(Resource::OpenFiles, 77).limit(Resource::Stack, 1 << 20).nice(3);
        let service = write(&sv, "web", &builder);
        let _supervisor = run(&sv, target, &service, &place);
        let facts = fs::read_to_string(place.join("facts")).expect("facts");
        let facts: Vec<&str> = facts.lines().collect();
        assert_eq!([facts[0], facts[2], facts[3], facts[4]], ["65534", "77", "1024", "3"], "{facts:?}");
        assert_eq!(facts[1], "65534", "the groups of nobody");
    }
    groups_hold(target) {
        if !is_root() {
            skip!("only root can become somebody else");
        }
        let sv = SvDir::new();
        fs::set_permissions(sv.root(), Permissions::from_mode(0o755)).expect("chmod");
        let (builder, place) = witness(&sv, "web", target, &[]);
        let (builder, groups) = match target {
            Target::Daemontools => (builder.user("www-data"), "33"),
            Target::S6 => (builder.user(User::Id { user: 33, group: 7 }).groups(["8"]), "7 8"),
            Target::Onit => (builder.user(User::Id { user: 33, group: 7 }).groups(["8"]), "7 8"),
            Target::Runit => (builder.user("www-data").groups(["lp", "mail"]), "7 8"),
        };
        let service = write(&sv, "web", &builder);
        let _supervisor = run(&sv, target, &service, &place);
        let facts = fs::read_to_string(place.join("facts")).expect("facts");
        assert_eq!(facts.lines().take(2).collect::<Vec<_>>(), ["33", groups]);
    }

    output_goes_to_the_log(target) {
        let logger = match target {
            Target::Onit => "onit",
            Target::Runit => "svlogd",
            Target::Daemontools => "multilog",
            Target::S6 => "s6-log",
        };
        if let Some(why) = missing_tools(&[logger, "runsvdir", "svscan", "s6-svscan"]) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let far = sv.root().join("var log's").join("far");
        let say = |what: &str| {
            let script = format!("echo {what}; echo {what} aside >&2; exec sleep 1000");
            ServiceBuilder::new(["/bin/sh", "-c", &script]).target(target)
        };
        let near = write(&sv, "near", &say("near").logger(Logger::new("main").size(5000).count(3)));
        write(&sv, "far", &say("far").logger(Logger::new(&far)));
        let supervisor = match target {
            Target::Onit => sv.start(UnderTest::Onit),
            Target::Runit => sv.start(UnderTest::Runsvdir),
            Target::Daemontools => sv.start(UnderTest::Svscan),
            Target::S6 => sv.spawn_words(&[OsStr::new("s6-svscan"), sv.path().as_os_str()]),
        };
        for (place, what) in [(near.path().join("log/main/current"), "near"), (far.join("current"), "far")] {
            supervisor.wait_for(what, SOON, || {
                let text = fs::read_to_string(&place).unwrap_or_default();
                let has = |end: &str| text.lines().any(|line| line.ends_with(end));
                (has(&format!(" {what}")) && has(&format!(" {what} aside"))).then_some(())
            });
        }
        if matches!(target, Target::Onit | Target::Runit) {
            assert!(near.text("log/main/config").contains("\ns5000\nn3\n"));
            assert!(fs::read_to_string(far.join("config")).expect("a config").contains("\ns1000000\nn10\n"));
        }
    }
}

/// As it was written before onit did this itself.
#[test]
fn a_directory_that_needs_other_tools_is_read_and_replaced() {
    let sv = SvDir::new();
    let path = sv.path().join("web");
    let builder = ServiceBuilder::new(["sleep", "1000"]).limit(Resource::OpenFiles, 77).replace(true);
    let ours = write(&sv, "web", &builder);
    let now = ours.text("run");
    assert!(now.ends_with("\nexec onit exec --limit open-files=77: sleep 1000\n"), "{now}");
    let before = now.replace("onit exec --limit open-files=77:", "chpst -o 77");
    while_nothing_starts(|| fs::write(path.join("run"), &before)).expect("written");
    if missing_tools(&["chpst"]).is_none() {
        assert_eq!(lint::examine([&path]), []);
    }
    assert_eq!(while_nothing_starts(|| builder.write(&path)).expect("replaced"), Written::Replaced);
    assert_eq!(ours.text("run"), now);
}

#[test]
fn a_service_becomes_another_user_where_there_is_no_other_tool() {
    if !is_root() {
        skip!("only root can become somebody else");
    }
    let sv = SvDir::new();
    fs::set_permissions(sv.root(), Permissions::from_mode(0o755)).expect("chmod");
    let bin = sv.root().join("bin");
    fs::create_dir(&bin).expect("mkdir");
    for tool in ["sh", "id", "nice", "sleep", "env"] {
        symlink(find_in_path(tool).expect("every machine has it"), bin.join(tool)).expect("symlink");
    }
    symlink(onit(), bin.join("onit")).expect("symlink");
    symlink("sh", bin.join("a=b")).expect("symlink"); // what env would take for a variable
    let script = "id -u; id -g; ulimit -n; ulimit -s; nice; echo $A; exec sleep 1000";
    let words =
        "new web --user www-data --nice 3 --limit open-files=77 --limit stack=1048576 --env A=one --log main -- a=b -c";
    let mut command = Command::new(onit());
    command.args(words.split(' ')).arg(script).env("SVDIR", sv.path()).env("PATH", &bin);
    let told = while_nothing_starts(|| command.output()).expect("onit runs");
    assert!(told.status.success() && told.stderr.is_empty(), "{told:?}");
    let mut command = UnderTest::Onit.program();
    command.arg(sv.path()).env("PATH", &bin);
    let onit = sv.spawn(command);
    let log = sv.path().join("web/log/main/current");
    let text = onit.wait_for("its log", SOON, || fs::read_to_string(&log).ok().filter(|text| text.contains("one")));
    let said: Vec<&str> = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, said)| said).collect();
    assert_eq!(said, ["33", "33", "77", "1024", "3", "one"]);
}

#[test]
fn a_configuration_that_somebody_else_has_written_stays() {
    let sv = SvDir::new();
    let far = sv.root().join("far");
    let (config, theirs) = (far.join("config"), "s4242\n");
    fs::create_dir(&far).expect("mkdir");
    let start = |size: u64| {
        let service = ServiceBuilder::new(["sleep", "1000"]).logger(Logger::new(&far).size(size)).replace(true);
        while_nothing_starts(|| service.write(sv.path().join("web"))).expect("written");
        let mut command = Command::new(sv.path().join("web/log/run"));
        command.current_dir(sv.path().join("web/log")).env("first", "# written by onit");
        assert_eq!(sv.run(command).code, 0, "the end of input is the end of svlogd");
        fs::read_to_string(&config).expect("a config")
    };
    assert!(start(5000).contains("s5000"), "there was none");
    assert!(start(6000).contains("s6000"), "it was ours");
    fs::write(&config, theirs).expect("write");
    assert_eq!(start(7000), theirs);
}

// ---------------------------------------------------------------------------------------------------------------------
// What cannot be is an error
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn what_a_supervisor_cannot_do_is_an_error() {
    let sv = SvDir::new();
    let plain = || ServiceBuilder::new(["true"]);
    let id = || User::Id { user: 1, group: 1 };
    let [runit, daemontools, s6] = [Target::Runit, Target::Daemontools, Target::S6];
    let script = || Script::shell("true");
    let seconds = Duration::from_secs;
    for (builder, who, word) in [
        (plain().finish(script()), &[daemontools][..], "finish"),
        (plain().check(script()), &[daemontools, s6], "check"),
        (plain().setup(script()), &[runit, daemontools, s6], "setup"),
        (plain().stop(script()), &[runit, daemontools, s6], "stop"),
        (plain().control('t', script()), &[daemontools, s6], "control"),
        (plain().health(script(), HealthPolicy::default()), &[runit, daemontools, s6], "health"),
        (plain().notification_fd(3), &[runit, daemontools], "notification-fd"),
        (plain().timeout_kill(seconds(1)), &[runit, daemontools], "timeout-kill"),
        (plain().timeout_up(seconds(1)), &[runit, daemontools, s6], "timeout-up"),
        (plain().down_signal(Signal::HUP), &[runit, daemontools], "down-signal"),
        (plain().reload_signal(Signal::HUP), &[runit, daemontools], "reload-signal"),
        (plain().max_death_tally(7), &[runit, daemontools], "max-death-tally"),
        (plain().readiness(Readiness::Notify), &[runit, daemontools, s6], "readiness"),
        (plain().restart(Restart::Never), &[runit, daemontools, s6], "restart"),
        (plain().backoff(Backoff::default()), &[runit, daemontools, s6], "backoff"),
        (plain().essential(Essential::Always), &[runit, daemontools, s6], "essential"),
        (plain().depends_on("db"), &[runit, daemontools, s6], "dependencies.d"),
        (plain().after("db"), &[runit, daemontools, s6], "after.d"),
        (plain().user("nobody").groups(["mail"]), &[daemontools, s6], "groups"),
        (plain().user(id()), &[daemontools], "by number"),
        (plain().logger(Logger::new("main").size(1)), &[daemontools, s6], "4096"),
        (plain().logger(Logger::new("main").count(1)), &[daemontools], "at least 2"),
    ] {
        for target in Target::ALL {
            let path = sv.path().join("web");
            match builder.clone().target(target).write(&path) {
                Ok(_) if !who.contains(&target) => fs::remove_dir_all(&path).expect("it is there"),
                Err(error @ Error::Inexpressible { .. }) if who.contains(&target) => {
                    let text = error.to_string();
                    assert!(text.starts_with(&format!("{target} cannot ")) && text.contains(word), "{text}");
                }
                other => panic!("{target}, {word}: {other:?}"),
            }
            assert_eq!(fs::read_dir(sv.path()).expect("a directory").count(), 0, "nothing is left behind");
        }
    }
}

#[test]
fn what_can_be_no_service_is_an_error() {
    let sv = SvDir::new();
    let plain = || ServiceBuilder::new(["true"]);
    let second = Duration::from_secs(1);
    let condition = |path: &str| Condition { not: false, fact: Fact::Path(path.into()) };
    for builder in [
        ServiceBuilder::default(),
        ServiceBuilder::new([""]),
        ServiceBuilder::new(["-x"]),
        ServiceBuilder::new(["x", "a\0b"]),
        ServiceBuilder::new(["x".to_owned(), "y".repeat(131_072)]),
        plain().finish(Script::command(["-x"])),
        plain().env("", "x"),
        plain().env("a=b", "x"),
        plain().env("a", "x\0"),
        plain().directory("a\0"),
        plain().user("a:b"),
        plain().user(User::Id { user: 1, group: 1 }).groups(["mail"]),
        plain().groups(["mail"]),
        plain().nice(40),
        plain().control('o', Script::shell("true")),
        plain().depends_on("a/b"),
        plain().depends_on(".."),
        plain().after("a\nb"),
        plain().notification_fd(0),
        plain().max_death_tally(5000),
        plain().down_signal(Signal(65)),
        plain().timeout_kill(Duration::ZERO),
        plain().backoff(Backoff { min: second * 2, max: second, reset: second }),
        plain().max_restarts(MaxRestarts { count: 1, window: Duration::ZERO }),
        plain().condition(condition("a\nb")),
        plain().condition(condition("")),
        plain().condition(condition(&"x".repeat(5000))),
        plain().instances(Instances::Names(vec!["a/b".into()])),
        plain().logger(Logger::new("supervise")),
        plain().logger(Logger::new("./run/old")),
        plain().logger(Logger::new("main/../down")),
        plain().logger(Logger::new("../finish")),
        plain().logger(Logger::new("../log/control")),
        plain().logger(Logger::new("event")).target(Target::S6),
    ] {
        let result = builder.write(sv.path().join("web"));
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}: {builder:?}");
        assert_eq!(fs::read_dir(sv.path()).expect("a directory").count(), 0, "nothing is left behind");
    }
}

#[test]
fn log_files_take_nobodys_place() {
    let sv = SvDir::new();
    let write = |directory: &str| {
        while_nothing_starts(|| {
            ServiceBuilder::new(["true"]).logger(Logger::new(directory)).replace(true).write(sv.path().join("web"))
        })
    };
    let refused = write("./supervise/x").expect_err("it is the supervisor's").to_string();
    assert_eq!(refused, "log files cannot be kept in log/supervise, which the supervisor reads: call it main");
    let refused = write("../down").expect_err("it is the supervisor's").to_string();
    assert_eq!(refused, "log files cannot be kept in down, which the supervisor reads: call it main");
    for directory in ["main", "main/run", "log/main", "../logs", ".", "../../run", "/run"] {
        write(directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// How a directory is written
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_new_directory_is_seen_whole_or_not_at_all() {
    let sv = SvDir::new();
    let builder = (0..40).fold(ServiceBuilder::new(["true"]), |builder, n| builder.depends_on(format!("s{n}")));
    let builder = builder.logger(Logger::new("main")).finish(Script::shell("true"));
    builder.write(sv.root().join("one")).expect("written");
    let whole = walk(&sv.root().join("one")).len();
    assert!(whole > 43);
    // Each is written when somebody has looked at those before it.
    let seen = AtomicUsize::new(0);
    let is_seen = |n: usize| wait_for("a look", SOON, || (seen.load(Ordering::Relaxed) >= 2 * n).then_some(()));
    let write = |place: &Path, n| _ = builder.write(place.join(format!("s{n}"))).expect("written");
    let writer = |place: &Path| {
        for n in 0..60 {
            is_seen(n);
            write(place, n);
        }
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| writer(&sv.path()));
        while !writer.is_finished() {
            for name in fs::read_dir(sv.path()).expect("a directory").flatten().map(|entry| entry.file_name()) {
                let visible = !name.as_bytes().starts_with(b".");
                let files = walk(&sv.path().join(&name)).len();
                assert!(!visible || files == whole, "{}: {files} of {whole} files", name.display());
                seen.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert_eq!(fs::read_dir(sv.path()).expect("a directory").count(), 60);
}

/// Every file below a directory.
fn walk(path: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
    let mut files = BTreeMap::new();
    let mut next = vec![path.to_owned()];
    while let Some(directory) = next.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, Ok(metadata)) = (entry.path(), entry.metadata()) else { continue };
            if metadata.is_dir() {
                next.push(path);
            } else {
                files
                    .insert(path.clone(), (fs::read(&path).unwrap_or_default(), metadata.permissions().mode() & 0o777));
            }
        }
    }
    files
}

#[test]
fn what_others_have_made_stays() {
    let sv = SvDir::new();
    let builder = ServiceBuilder::new(["true"]).replace(true);
    for make in [
        |path: &Path| fs::create_dir(path).expect("mkdir"),
        |path: &Path| fs::write(path, "a file").expect("write"),
        |path: &Path| symlink("nowhere", path).expect("symlink"),
        |path: &Path| {
            fs::create_dir(path).expect("mkdir");
            fs::write(path.join("run"), "#!/bin/sh\nexec theirs\n").expect("write");
        },
        |path: &Path| {
            fs::create_dir(path).expect("mkdir");
            fs::write(path.join(".written-by-onit"), "something else\nrun\n").expect("write");
        },
    ] {
        let path = sv.path().join("web");
        make(&path);
        let before = (path.symlink_metadata().expect("it is there").file_type(), walk(&path), fs::read(&path).ok());
        let result = while_nothing_starts(|| builder.write(&path));
        assert!(matches!(&result, Err(Error::Foreign(foreign)) if *foreign == path), "{result:?}");
        let after = (path.symlink_metadata().expect("it is there").file_type(), walk(&path), fs::read(&path).ok());
        assert_eq!(before, after);
        assert_eq!(fs::read_dir(sv.path()).expect("a directory").count(), 1, "and nothing beside it");
        fs::rename(&path, sv.root().join(format!("done.{}", walk(sv.root()).len()))).expect("moved away");
    }
}

#[test]
fn what_is_ours_is_replaced_only_when_that_is_wanted() {
    let sv = SvDir::new();
    let path = sv.path().join("web");
    let first = ServiceBuilder::new(["one"]).depends_on("db").finish(Script::shell("true")).timeout_kill(Limit::Never);
    let second =
        ServiceBuilder::new(["two"]).after("db").logger(Logger::new("main")).timeout_kill(Duration::from_secs(9));
    assert_eq!(while_nothing_starts(|| first.write(&path)).expect("written"), Written::Created);
    let before = walk(&path);
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("a file"));
    let run = inode(&path.join("run"));
    assert_eq!(while_nothing_starts(|| first.clone().replace(true).write(&path)).expect("written"), Written::Unchanged);
    assert_eq!(inode(&path.join("run")), run, "untouched");
    let result = while_nothing_starts(|| second.write(&path));
    assert!(matches!(&result, Err(Error::Differs(file)) if file.starts_with(&path)), "{result:?}");
    assert_eq!(walk(&path), before);

    // What the supervisor, the logger and people have put there is theirs.
    let theirs = ["supervise/status", "down", "README", "dependencies.d/other", "log/main/current"];
    for file in theirs {
        fs::create_dir_all(path.join(file).parent().expect("a directory")).expect("mkdir");
        fs::write(path.join(file), file).expect("write");
    }
    let directory = inode(&path);
    assert_eq!(while_nothing_starts(|| second.clone().replace(true).write(&path)).expect("written"), Written::Replaced);
    assert_eq!(inode(&path), directory, "a supervisor that holds it sees what is new");
    let names: Vec<String> =
        walk(&path).keys().map(|file| file.strip_prefix(&path).expect("inside").display().to_string()).collect();
    assert_eq!(
        names,
        [
            ".written-by-onit",
            "README",
            "after.d/db",
            "dependencies.d/other",
            "down",
            "log/main/config",
            "log/main/current",
            "log/run",
            "run",
            "supervise/status",
            "timeout-kill"
        ]
    );
    theirs.iter().for_each(|file| assert_eq!(fs::read_to_string(path.join(file)).expect("still there"), **file));
    assert_eq!(fs::read_to_string(path.join("timeout-kill")).expect("ours"), "9000\n");
    assert_eq!(while_nothing_starts(|| second.write(&path)).expect("written"), Written::Unchanged);

    // Somebody has changed what is ours.
    fs::set_permissions(path.join("run"), Permissions::from_mode(0o644)).expect("chmod");
    assert!(
        matches!(while_nothing_starts(|| second.write(&path)), Err(Error::Differs(file)) if file == path.join("run"))
    );
    assert_eq!(while_nothing_starts(|| second.replace(true).write(&path)).expect("written"), Written::Replaced);
    assert_eq!(fs::metadata(path.join("run")).expect("run").permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(sv.path()).expect("a directory").count(), 1, "nothing beside it");
}

#[test]
fn a_link_in_a_directory_of_ours_leads_to_what_is_not_ours() {
    let sv = SvDir::new();
    let path = sv.path().join("web");
    let shared = sv.root().join("shared");
    fs::create_dir(&shared).expect("mkdir");
    while_nothing_starts(|| ServiceBuilder::new(["one"]).write(&path)).expect("written");
    symlink(&shared, path.join("log")).expect("symlink");
    let result =
        while_nothing_starts(|| ServiceBuilder::new(["one"]).logger(Logger::new("main")).replace(true).write(&path));
    assert!(matches!(&result, Err(Error::Foreign(file)) if *file == path.join("log")), "{result:?}");
    assert_eq!(walk(&shared), BTreeMap::new());
}

#[test]
fn a_list_that_leads_out_of_the_directory_removes_nothing() {
    let sv = SvDir::new();
    let (path, other) = (sv.path().join("web"), sv.root().join("other"));
    fs::write(&other, "").expect("write");
    while_nothing_starts(|| ServiceBuilder::new(["one"]).write(&path)).expect("written");
    let list = path.join(".written-by-onit");
    let text = fs::read_to_string(&list).expect("ours");
    fs::write(&list, format!("{text}../../other\n{}\n", other.display())).expect("write");
    assert_eq!(
        while_nothing_starts(|| ServiceBuilder::new(["two"]).replace(true).write(&path)).expect("written"),
        Written::Replaced
    );
    assert!(other.exists());
}

#[test]
fn a_private_directory_is_for_its_owner_alone_and_no_umask_matters() {
    let sv = SvDir::new();
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let path = sv.path().join("web");
    let builder = ServiceBuilder::new(["true"]).depends_on("db");
    while_nothing_starts(|| builder.write(&path)).expect("written");
    assert_eq!([&path, &path.join("run"), &path.join("dependencies.d")].map(|path| mode(path)), [0o755; 3]);
    let private = builder.private(true);
    assert!(matches!(while_nothing_starts(|| private.write(&path)), Err(Error::Differs(_))));
    while_nothing_starts(|| private.replace(true).write(&path)).expect("written");
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_full_disk_changes_nothing() {
    if !is_root() {
        skip!("only root can mount a file system");
    }
    let sv = SvDir::new();
    let disk = sv.root().join("disk");
    fs::create_dir(&disk).expect("mkdir");
    let lend = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c"]).args(words);
        output(command)
    };
    if lend(&["mount -t tmpfs none /mnt"]).code != 0 {
        skip!("mount is not allowed here");
    }
    // In a mount namespace of its own, so that nothing is left behind: a service, a disk that is full, and two attempts.
    let script = "mount -t tmpfs -o size=64k none \"$1\" && cd \"$1\" && \
        \"$2\" new --dir . web -- one && { cat /dev/zero >fill 2>/dev/null; sync; \
        \"$2\" new --dir . other -- two 2>&1; echo $?; \"$2\" new --dir . --replace web -- two 2>&1; echo $?; \
        ls -A; tail -n 1 web/run; }";
    let told = lend(&[script, "sh", disk.to_str().expect("text"), onit().to_str().expect("text")]);
    let lines: Vec<&str> = told.stdout.lines().collect();
    let full = |line: &str, name: &str| {
        line.starts_with(&format!("onit: {name}: cannot ")) && line.ends_with(": No space left on device")
    };
    assert!(full(lines[0], "other") && full(lines[2], "web"), "{told:?}");
    assert_eq!([lines[1], lines[3]], ["111"; 2]);
    assert_eq!(lines[4..], ["fill", "web", "exec one"], "what was there is there, and nothing else");
}

#[test]
fn a_running_service_takes_what_was_replaced_at_its_next_start() {
    let sv = SvDir::new();
    let build = |seconds: &str| ServiceBuilder::new(["sleep", seconds]).replace(true);
    let web = write(&sv, "web", &build("1001"));
    let onit = sv.start(UnderTest::Onit);
    let first = web.wait_up();
    while_nothing_starts(|| build("1002").write(web.path())).expect("written");
    onit.wait_for("it runs on", SOON, || (web.status()?.pid() == Some(first)).then_some(()));
    web.control(b"t").expect("supervised");
    let next = web.wait_for("the next", |status| status.pid().is_some_and(|pid| pid != first)).pid().expect("a pid");
    onit.wait_for("the new words", SOON, || proc::command_line(next).contains("sleep 1002").then_some(()));
}

/// What a directory consists of, whoever may read it.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let relative = |file: PathBuf| file.strip_prefix(path).expect("a file in it").to_owned();
    walk(path).into_iter().map(|(file, (is, _))| (relative(file), is)).collect()
}

/// `onit new --replace` is killed when it opens something for the first time, for the second, and so on until it comes to
/// its end; and so with every call that changes anything.
#[test]
fn who_replaces_may_be_killed_at_any_moment() {
    if let Some(why) = missing_tools(&["strace"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let path = sv.path().join("web");
    let old = ServiceBuilder::new(["old"]).down().finish(Script::shell("old")).depends_on("db").replace(true);
    while_nothing_starts(|| old.write(&path)).expect("written");
    let new = |kill: Option<(&str, u32)>| {
        let mut command = Command::new(onit());
        if let Some((call, at)) = kill {
            command = Command::new("strace");
            command.args(["-qqo", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={at}")]).arg(onit());
        }
        command.args(["new", "--replace", "--private", "--env", "SECRET=x", "--finish", "new", "--log", "main"]);
        command.arg("--dir").arg(sv.path()).args(["web", "--", "new"]);
        output(command).code
    };
    let before = contents(&path);
    assert_eq!(new(None), 0);
    let after = contents(&path);
    let (mut killed, mut mixed) = (0, 0);
    for call in ["openat", "write", "/rename.*", "/unlink.*", "rmdir", "/mkdir.*", "/f?chmod.*"] {
        for at in 1.. {
            while_nothing_starts(|| old.write(&path)).expect("written once more");
            assert_eq!(contents(&path), before, "{call} {at}");
            assert_eq!(fs::read_dir(sv.path()).expect("the services").count(), 1, "{call} {at}: something is left");
            fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("open again");
            let code = new(Some((call, at)));
            let now = contents(&path);
            check_mixture(&path, &before, &now, &after);
            if code == 0 {
                assert!(now == after && at > 1, "{call}");
                break;
            }
            assert_eq!(code, 128 + 9, "{call} {at}");
            killed += 1;
            mixed += u32::from(now != before && now != after);
        }
    }
    assert!(killed > 40 && mixed > 5, "{mixed} mixtures in {killed} attempts");
}

type Contents = BTreeMap<PathBuf, Vec<u8>>;

#[track_caller]
fn check_mixture(path: &Path, before: &Contents, now: &Contents, after: &Contents) {
    let (list, run, down) = (Path::new(".written-by-onit"), Path::new("run"), Path::new("down"));
    let listed = String::from_utf8_lossy(&now[list]);
    let ours = |file: &Path| listed.lines().any(|line| Path::new(line) == file);
    let is_new = now[run] == after[run];
    for (file, is) in now.iter().filter(|(file, _)| **file != list) {
        assert!(Some(is) == before.get(file) || Some(is) == after.get(file), "{}: half a file", file.display());
        assert!(ours(file), "{} is not in the list", file.display());
    }
    let rest = after.keys().filter(|file| **file != list);
    assert!(!is_new || rest.clone().all(|file| now.get(file) == after.get(file)), "run came too early: {now:?}");
    let gone = before.keys().filter(|file| !after.contains_key(*file)).any(|file| !now.contains_key(file));
    assert!(is_new || !gone, "something went before run came: {now:?}");
    let others = now.keys().filter(|file| *file != down && !after.contains_key(*file)).count();
    assert!(now.contains_key(down) || others == 0, "down went too early: {now:?}");
    let mode = fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let anything = now.iter().any(|(file, is)| before.get(file) != Some(is));
    assert!(mode == 0o700 || !anything, "what is private can be read: {mode:o} {now:?}");
}

/// Each has a script that the others do not have, so a mixture would show.
#[test]
fn of_many_that_write_at_once_one_wins() {
    let sv = SvDir::new();
    let path = sv.path().join("web");
    let build = |at: u32| {
        let letter = ['t', 'h', 'a', 'q'][at as usize % 4];
        ServiceBuilder::new(["sleep".into(), at.to_string()]).control(letter, Script::shell("true")).replace(true)
    };
    build(0).write(&path).expect("written");
    let written = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (path, written) = (&path, &written);
            scope.spawn(move || {
                for at in 0..25 {
                    match build(first + 4 * at).write(path) {
                        Ok(_) => _ = written.fetch_add(1, Ordering::Relaxed),
                        Err(Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::ResourceBusy => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(written.into_inner() > 0, "one at least gets in");
    let scripts = fs::read_dir(path.join("control")).expect("control").count();
    assert_eq!((scripts, lint::examine([&path])), (1, Vec::new()));
    assert_eq!(fs::read_dir(sv.path()).expect("the services").count(), 1, "nothing is left behind");
    // A child of another test that has not executed its program yet may have a lock of ours open.
    wait_for("no other", SOON, || build(0).write(&path).ok());
    let busy = fs::File::open(&path).expect("a directory");
    wait_for("the lock", SOON, || onit::sys::fs::flock(&busy).ok());
    let refused = build(1).write(&path).expect_err("refused").to_string();
    assert_eq!(refused, format!("cannot write over {}: somebody else is at it", path.display()));
}

// ---------------------------------------------------------------------------------------------------------------------
// What was written is read
// ---------------------------------------------------------------------------------------------------------------------

/// A service that says everything that a service can say.
fn everything() -> ServiceBuilder {
    let seconds = Duration::from_secs;
    let env = Condition { not: true, fact: Fact::Env("A".into(), Some("b c".into())) };
    ServiceBuilder::new(["/bin/sleep", "1000"])
        .setup(Script::shell("true"))
        .stop(Script::shell("true"))
        .finish(Script::command(["echo", "it's over"]))
        .check(Script::shell("true"))
        .health(Script::shell("true"), HealthPolicy { retries: 7, ..HealthPolicy::default() })
        .control('t', Script::shell("exit 1"))
        .control('u', Script::shell("true"))
        .logger(Logger::new("main"))
        .essential(Essential::OnGiveup)
        .restart(Restart::OnFailure)
        .backoff(Backoff { min: seconds(2), max: seconds(60), reset: seconds(90) })
        .max_restarts(MaxRestarts { count: 5, window: seconds(60) })
        .readiness(Readiness::Descriptor(4))
        .notification_fd(4)
        .depends_on("db")
        .depends_on("net")
        .after("cache")
        .condition(env)
        .condition(Condition { not: false, fact: Fact::Path("/bin".into()) })
        .socket(Socket::parse("unix /run/web.sock mode=0600 start-on-connect").expect("a socket"))
        .timeout_kill(seconds(10))
        .timeout_finish(Limit::Never)
        .timeout_up(Duration::from_micros(200_500))
        .down_signal(Signal(40))
        .reload_signal(Signal::USR1)
        .kill_mode(KillMode::Cgroup)
        .max_death_tally(12)
}

#[test]
fn everything_that_is_written_is_read() {
    let sv = SvDir::new();
    for name in ["db", "net", "cache"] {
        ServiceBuilder::new(["true"]).write(sv.path().join(name)).expect("written");
    }
    let web = write(&sv, "web", &everything());
    fs::create_dir(web.path().join("env")).expect("mkdir");
    fs::set_permissions(web.path().join("env"), Permissions::from_mode(0o755)).expect("chmod");
    for (name, content) in [("A", "1 \n"), ("B", ""), ("C", "a\0b")] {
        fs::write(web.path().join("env").join(name), content).expect("write");
    }
    let read = ServiceDir::read(web.path()).expect("a directory");
    assert_eq!(read.findings, []);
    assert_eq!((read.name.to_str(), read.path.as_path()), (Some("web"), web.path()));
    let programs = [&read.run, &read.setup, &read.stop, &read.finish, &read.check, &read.health];
    assert!(programs.iter().all(|program| program.as_ref().is_some_and(|program| program.interpreter == ["/bin/sh"])));
    assert_eq!(read.control.keys().copied().collect::<String>(), "tu");
    assert!(read.log.as_ref().is_some_and(|log| log.run.is_some() && log.path == web.path().join("log")));
    let value = |name: &str| read.environment.get(OsStr::new(name)).cloned();
    assert_eq!([value("A"), value("B"), value("C")], [Some(Some("1".into())), Some(None), Some(Some("a\nb".into()))]);
    let settings = &read.settings;
    assert_eq!(settings.dependencies, ["db", "net"]);
    assert_eq!((settings.conditions.len(), settings.sockets.len()), (2, 1));
    assert_eq!(settings.timeout_up, Some(Limit::After(Duration::from_millis(201))), "no time is lost");
    assert_eq!((settings.timeout_finish, settings.down_signal), (Some(Limit::Never), Some(Signal(40))));

    // And what is read can be written again.
    let again = ServiceBuilder::new(["/bin/sleep", "1000"]).settings(read.settings.clone());
    again.write(sv.path().join("again")).expect("written");
    assert_eq!(ServiceDir::read(sv.path().join("again")).expect("a directory").settings, read.settings);
}

// ---------------------------------------------------------------------------------------------------------------------
// Lint
// ---------------------------------------------------------------------------------------------------------------------

/// A directory of services in which all is well: `web` waits for `db`, and has a logger.
struct Ground {
    sv: SvDir,
}

impl Ground {
    fn new() -> Ground {
        let ground = Ground { sv: SvDir::new() };
        for name in ["web", "db"] {
            ground.script(&format!("{name}/run"), "#!/bin/sh\nexec sleep 1000\n");
        }
        ground.script("web/log/run", "#!/bin/sh\nexec cat\n");
        ground.file("web/dependencies.d/db", "");
        ground
    }

    fn path(&self, path: &str) -> PathBuf {
        self.sv.path().join(path)
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        fs::write(&path, content).expect("write");
        self.mode(path.strip_prefix(self.sv.path()).expect("inside").to_str().expect("text"), 0o644);
    }

    fn script(&self, path: &str, content: &str) {
        self.file(path, content);
        self.mode(path, 0o755);
    }

    /// Directories on the way as well: the umask of whoever runs the tests is no fault.
    fn mode(&self, path: &str, mode: u32) {
        for directory in self.path(path).ancestors().skip(1).take_while(|path| path.starts_with(self.sv.path())) {
            let old = fs::metadata(directory).expect("a directory").permissions().mode();
            fs::set_permissions(directory, Permissions::from_mode(old & 0o755)).expect("chmod");
        }
        fs::set_permissions(self.path(path), Permissions::from_mode(mode)).expect("chmod");
    }

    fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("it was there");
    }

    fn link(&self, path: &str, target: &str) {
        fs::create_dir_all(self.path(path).parent().expect("a directory")).expect("mkdir");
        symlink(target, self.path(path)).expect("symlink");
    }

    fn dir(&self, path: &str) {
        fs::create_dir(self.path(path)).expect("mkdir");
        self.mode(path, 0o755);
    }

    fn fifo(&self, path: &str) {
        nix::unistd::mkfifo(&self.path(path), nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("mkfifo");
    }
}

/// What is wrong, where to the line, how bad, and a word that has to be in what is said.
type Planted = (&'static str, &'static str, Option<usize>, Severity, &'static str);
/// A fault, and everything that is to be found.
type Fault = (fn(&Ground), &'static [Planted]);

const ERROR: Severity = Severity::Error;
const WARNING: Severity = Severity::Warning;

#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    // What is executed.
    (|g| g.remove("db/run"), &[("run-missing", "db/run", None, ERROR, "no run")]),
    (|g| { g.remove("db/run"); g.script("db/rnu", "#!/bin/sh\nexec x\n") },
        &[("name-unknown", "db/rnu", None, WARNING, "did you mean `run`?"), ("run-missing", "db/run", None, ERROR, "did you mean rnu?")]),
    (|g| g.mode("db/run", 0o644), &[("not-executable", "db/run", None, ERROR, "chmod +x")]),
    (|g| g.script("db/run", ""), &[("empty", "db/run", None, ERROR, "is empty")]),
    (|g| { g.remove("db/run"); g.dir("db/run") }, &[("not-a-file", "db/run", None, ERROR, "a directory")]),
    (|g| { g.remove("db/run"); g.fifo("db/run") }, &[("not-a-file", "db/run", None, ERROR, "a FIFO")]),
    (|g| { g.remove("db/run"); g.link("db/run", "nowhere") }, &[("link-dead", "db/run", None, ERROR, "cannot be followed")]),
    (|g| g.script("db/run", "exec sleep 1\n"), &[("no-interpreter", "db/run", Some(1), ERROR, "does not begin with #!")]),
    (|g| g.script("db/run", "\n#!/bin/sh\nexec sleep 1\n"), &[("no-interpreter", "db/run", Some(1), ERROR, "before its #!")]),
    (|g| g.script("db/run", "\u{feff}#!/bin/sh\nexec sleep 1\n"), &[("no-interpreter", "db/run", Some(1), ERROR, "byte order mark")]),
    (|g| g.script("db/run", "#!\nexec sleep 1\n"), &[("no-interpreter", "db/run", Some(1), ERROR, "names no interpreter")]),
    (|g| g.script("db/run", "#!/bin/sh\r\nexec sleep 1\r\n"), &[("carriage-return", "db/run", Some(1), ERROR, "CR LF")]),
    (|g| g.script("db/run", "#!/bin/sh\n: x\nexec sleep 1\r\n"), &[("carriage-return", "db/run", Some(3), ERROR, "CR LF")]),
    (|g| g.script("db/run", "#!/opt/no/sh -e\nexec sleep 1\n"), &[("interpreter-missing", "db/run", Some(1), ERROR, "/opt/no/sh")]),
    (|g| g.script("db/run", "#!/etc/passwd\nexec sleep 1\n"), &[("interpreter-missing", "db/run", Some(1), ERROR, "is no program")]),
    (|g| g.script("db/run", "#!sh\nexec sleep 1\n"), &[("interpreter-relative", "db/run", Some(1), WARNING, "whole path")]),
    (|g| g.script("db/run", "#!/usr/bin/env sh -e\nexec sleep 1\n"), &[("interpreter-missing", "db/run", Some(1), ERROR, "\"sh -e\"")]),
    (|g| g.script("db/run", "#!/usr/bin/env no-such\nexec sleep 1\n"), &[("interpreter-missing", "db/run", Some(1), WARNING, "no-such")]),
    (|g| g.script("db/run", &format!("#!/bin/sh {}\nexec sleep 1\n", "x".repeat(260))), &[("first-line-long", "db/run", Some(1), ERROR, "270 bytes")]),
    (|g| g.script("db/run", &format!("#!/bin/sh {}\nexec sleep 1\n", "x".repeat(120))), &[("first-line-long", "db/run", Some(1), WARNING, "before 5.1")]),
    (|g| g.script("db/run", "#!/bin/sh\n\nexec 2>&1\nsleep 1 &\n# the end\n"), &[("background", "db/run", Some(4), WARNING, "background")]),
    (|g| g.script("db/run", "#!/bin/sh\nexec nginx -g 'daemon on;'\n"), &[("background", "db/run", Some(2), WARNING, "nginx")]),
    (|g| g.script("db/run", "#!/bin/sh\nexec start-stop-daemon --start --background \\\n  --exec /bin/x\n"), &[("background", "db/run", Some(2), WARNING, "start-stop-daemon")]),
    (|g| g.script("db/run", "#!/bin/sh\nexec 2>&1\nsleep \\\n 1000\n"), &[("no-exec", "db/run", Some(3), WARNING, "put exec")]),
    (|g| g.script("db/run", "#!/bin/sh\nexec chpst -b x s6-no-such -u www sleep 1\n"), &[("tool-missing", "db/run", Some(2), WARNING, "s6-no-such")]),
    (|g| g.script("db/run", "#!/bin/sh\nexec onit s6-no-such sleep 1\n"), &[]),
    (|g| g.mode("db/run", 0o757), &[("world-writable", "db/run", None, ERROR, "chmod o-w")]),
    (|g| g.mode("db/run", 0o775), &[("group-writable", "db/run", None, WARNING, "chmod g-w")]),
    (|g| g.mode("db", 0o777), &[("world-writable", "db", None, ERROR, "chmod o-w")]),
    (|g| { g.script("db/finish", "#!/bin/sh\n"); g.mode("db/finish", 0o666) },
        &[("not-executable", "db/finish", None, ERROR, "chmod +x"), ("world-writable", "db/finish", None, ERROR, "everybody")]),
    (|g| g.file("db/check", "#!/bin/sh\n"), &[("not-executable", "db/check", None, ERROR, "chmod +x")]),
    // control/
    (|g| g.script("db/control/z", "#!/bin/sh\n"), &[("control-unknown", "db/control/z", None, ERROR, "udtxkpchaiq12")]),
    (|g| g.script("db/control/term", "#!/bin/sh\n"), &[("control-unknown", "db/control/term", None, WARNING, "call it t")]),
    (|g| g.script("db/control/SIGHUP", "#!/bin/sh\n"), &[("control-unknown", "db/control/SIGHUP", None, WARNING, "call it h")]),
    (|g| g.file("db/control/t", "#!/bin/sh\n"), &[("not-executable", "db/control/t", None, ERROR, "chmod +x")]),
    (|g| { g.file("db/env/A", "x\n"); g.mode("db/env", 0o777) }, &[("world-writable", "db/env", None, ERROR, "chmod o-w")]),
    (|g| g.file("db/control", ""), &[("not-a-directory", "db/control", None, ERROR, "a file")]),
    // log
    (|g| g.link("db/log", "../nowhere"), &[("log-dead", "db/log", None, ERROR, "make the link anew")]),
    (|g| g.script("db/log", "#!/bin/sh\nexec cat\n"), &[("log-not-a-directory", "db/log", None, ERROR, "a file")]),
    (|g| g.remove("web/log/run"), &[("log-without-run", "web/log/run", None, ERROR, "logger without run")]),
    (|g| g.mode("web/log/run", 0o600), &[("not-executable", "web/log/run", None, ERROR, "chmod +x")]),
    (|g| g.script("web/log/finish", "#!/bin/sh\n"), &[("log-unused", "web/log/finish", None, WARNING, "not used")]),
    (|g| g.script("web/log/log/run", "#!/bin/sh\nexec cat\n"), &[("log-of-log", "web/log/log", None, WARNING, "no logger")]),
    // Names.
    (|g| g.script("db/finsh", "#!/bin/sh\n"), &[("name-unknown", "db/finsh", None, WARNING, "did you mean `finish`?")]),
    (|g| g.file("db/timeout_kill", "5s\n"), &[("name-unknown", "db/timeout_kill", None, WARNING, "did you mean `timeout-kill`?")]),
    (|g| g.file("db/dependency.d", ""), &[]),
    (|g| g.file("db/dependencie.d/x", ""), &[("name-unknown", "db/dependencie.d", None, WARNING, "did you mean `dependencies.d`?")]),
    (|g| g.script("db/logs/run", "#!/bin/sh\nexec cat\n"), &[("name-unknown", "db/logs", None, WARNING, "did you mean `log`?")]),
    (|g| g.file("db/logs/current", ""), &[]),
    (|g| g.file("db/type", "longrun\n"), &[("foreign", "db/type", None, WARNING, "s6-rc")]),
    (|g| g.fifo("db/producer-for"), &[("foreign", "db/producer-for", None, WARNING, "s6-rc")]),
    (|g| g.file("db/lock-fd", "3\n"), &[("foreign", "db/lock-fd", None, WARNING, "only s6")]),
    // Small files.
    (|g| g.file("db/timeout-kill", "soon\n"), &[("value-bad", "db/timeout-kill", Some(1), ERROR, "\"soon\"")]),
    (|g| g.file("db/timeout-kill", "5 \n"), &[("value-bad", "db/timeout-kill", Some(1), ERROR, "a blank too many")]),
    (|g| g.file("db/timeout-up", "10\n"), &[("time-short", "db/timeout-up", Some(1), WARNING, "did you mean 10s?")]),
    (|g| g.file("db/timeout-finish", ""), &[("value-empty", "db/timeout-finish", None, ERROR, "is empty"), ]),
    (|g| g.file("db/down-signal", "TREM\n"), &[("value-bad", "db/down-signal", Some(1), ERROR, "TERM, or 15")]),
    (|g| g.file("db/down-signal", "TERM\r\n"), &[("carriage-return", "db/down-signal", None, WARNING, "CR LF")]),
    (|g| g.file("db/down-signal", "TERM\nKILL\n"), &[("more-lines", "db/down-signal", Some(2), WARNING, "first line")]),
    (|g| g.dir("db/down-signal"), &[("not-a-file", "db/down-signal", None, ERROR, "a directory")]),
    (|g| g.fifo("db/down-signal"), &[("not-a-file", "db/down-signal", None, ERROR, "a FIFO")]),
    (|g| g.link("db/down-signal", "nowhere"), &[("link-dead", "db/down-signal", None, ERROR, "cannot be followed")]),
    (|g| g.file("db/essential", "yes\n"), &[("value-bad", "db/essential", Some(1), ERROR, "on-giveup")]),
    (|g| g.file("db/restart", "no\n"), &[("value-bad", "db/restart", Some(1), ERROR, "never")]),
    (|g| g.file("db/backoff", "30s 1s 30s\n"), &[("value-bad", "db/backoff", Some(1), ERROR, "1s 30s 30s")]),
    (|g| g.file("db/max-restarts", "5\n"), &[("value-bad", "db/max-restarts", Some(1), ERROR, "5/60s")]),
    (|g| g.file("db/readiness", "fd\n"), &[("value-bad", "db/readiness", Some(1), ERROR, "fd N")]),
    (|g| g.file("db/notification-fd", "0\n"), &[("value-bad", "db/notification-fd", Some(1), ERROR, "a descriptor")]),
    (|g| g.file("db/max-death-tally", "5000\n"), &[("value-bad", "db/max-death-tally", Some(1), ERROR, "4096")]),
    (|g| g.file("db/sockets", "tcp x\n"), &[("value-bad", "db/sockets", None, ERROR, "\"tcp x\": that is no address")]),
    (|g| g.file("db/condition", "env A\n\nfile /x\n"), &[("value-bad", "db/condition", Some(3), ERROR, "\"file /x\"")]),
    (|g| { g.script("db/health", "#!/bin/sh\n"); g.file("db/health-policy", "every=10\n") },
        &[("value-bad", "db/health-policy", Some(1), ERROR, "every=10s")]),
    (|g| g.file("db/instances", "a/b\n"), &[("value-bad", "db/instances", Some(1), ERROR, "one name a line")]),
    // env/
    (|g| g.file("db/env/A=B", "x\n"), &[("env-name", "db/env/A=B", None, ERROR, "rename it")]),
    (|g| g.file("db/env/A", "x\r\n"), &[("carriage-return", "db/env/A", Some(1), ERROR, "part of the value")]),
    (|g| g.file("db/env/A", "x\ny\n"), &[("more-lines", "db/env/A", Some(2), WARNING, "first line")]),
    (|g| g.link("db/env/A", "A"), &[("unreadable", "db/env/A", None, WARNING, "another user")]),
    (|g| g.file("db/env/A/B", "x\n"), &[("env-not-a-file", "db/env/A", None, ERROR, "a directory")]),
    (|g| g.file("db/env", "A=B\n"), &[("not-a-directory", "db/env", None, ERROR, "make it a directory")]),
    // What the files say of each other.
    (|g| { g.file("db/down", ""); g.file("db/essential", "always\n") },
        &[("down-essential", "db/down", None, WARNING, "by itself")]),
    (|g| g.file("db/essential", "on-giveup\n"), &[("essential-never", "db/essential", None, WARNING, "125")]),
    (|g| g.file("db/readiness", "check 2s\n"), &[("readiness-without-check", "db/readiness", None, ERROR, "not there")]),
    (|g| { g.file("db/readiness", "fd 3\n"); g.file("db/notification-fd", "4\n") },
        &[("readiness-contradiction", "db/readiness", None, ERROR, "notification-fd 4")]),
    (|g| { g.file("db/readiness", "notify\n"); g.file("db/notification-fd", "4\n") },
        &[("readiness-contradiction", "db/readiness", None, WARNING, "something else")]),
    (|g| { g.file("db/restart", "never\n"); g.file("db/backoff", "1s 2s 3s\n") },
        &[("without-effect", "db/backoff", None, WARNING, "restart says never")]),
    (|g| g.file("db/health-policy", "retries=3\n"), &[("without-effect", "db/health-policy", None, WARNING, "no health")]),
    (|g| g.file("db/timeout-finish", "3s\n"), &[("without-effect", "db/timeout-finish", None, WARNING, "no finish")]),
    (|g| g.file("db/instances", "3\n"), &[("without-effect", "db/instances", None, WARNING, "template")]),
    // supervise/
    (|g| g.file("db/supervise", ""), &[("supervise-not-a-directory", "db/supervise", None, ERROR, "onit makes it")]),
    (|g| g.link("db/supervise", "/no/such/place"), &[("supervise-dead", "db/supervise", None, ERROR, "cannot be made")]),
    (|g| g.link("db/supervise", "../.state"), &[]),
    (|g| g.link("db/supervise", "supervise"), &[("supervise-dead", "db/supervise", None, ERROR, "cannot be followed")]),
    (|g| g.file("db/supervise/control", ""), &[("supervise-no-fifo", "db/supervise/control", None, ERROR, "no FIFO")]),
    // Services and each other.
    (|g| g.file("web/dependencies.d/cache", ""), &[("dependency-missing", "web/dependencies.d/cache", None, ERROR, "waits for ever")]),
    (|g| g.file("web/after.d/cache", ""), &[("dependency-missing", "web/after.d/cache", None, WARNING, "no service cache")]),
    (|g| g.file("web/dependencies.d/web", ""), &[("dependency-self", "web/dependencies.d/web", None, ERROR, "for itself")]),
    (|g| { g.remove("web/dependencies.d"); g.file("web/dependencies.d", "db\n") },
        &[("not-a-directory", "web/dependencies.d", None, ERROR, "make it a directory")]),
    (|g| g.file("db/after.d/web", ""), &[("dependency-cycle", "db/after.d/web", None, ERROR, "db -> web -> db")]),
    (|g| { g.script("a/run", "#!/bin/sh\nexec x\n"); g.file("a/dependencies.d/web", ""); g.file("db/dependencies.d/a", "") },
        &[("dependency-cycle", "a/dependencies.d/web", None, ERROR, "a -> web -> db -> a")]),
    (|g| g.mode("", 0o757), &[("world-writable", "", None, ERROR, "everybody")]),
    (|g| g.script(".old/run", "#!/bin/sh\nexec x\n"), &[("name-ignored", ".old", None, WARNING, "a dot")]),
    (|g| g.file(".git/config", ""), &[]),
    (|g| { g.script("w@/run", "#!/bin/sh\nexec x\n"); g.file("web/after.d/w@1", "") },
        &[("name-ignored", "w@", None, WARNING, "no instances")]),
    (|g| { g.script("w@/run", "#!/bin/sh\nexec x\n"); g.file("w@/instances", "3\n"); g.file("web/after.d/w@1", "") }, &[]),
    (|g| { g.script("w@/run", "#!/bin/sh\nexec x\n"); g.link("w@1", "w@"); g.link("w@2", "w@") }, &[]),
    (|g| { g.script("w@/run", "#!/bin/sh\nexec x\n"); g.link("w@all", "w@") },
        &[("name-odd", "w@all", None, WARNING, "every instance")]),
    (|g| { g.script("w@/run", "#!/bin/sh\nexec x\n"); g.file("w@/instances", "a\nall\n") },
        &[("name-odd", "w@/instances", None, WARNING, "every instance")]),
    (|g| { g.script("w@/run", "#!/bin/sh\nexec x\n"); g.file("w@/instances", "1001\n") },
        &[("value-bad", "w@/instances", None, ERROR, "1000 are the most")]),
    (|g| { g.script("w@/run", "#!/bin/sh\nexec x\n"); g.file("w@/instances", "$N\n") }, &[]),
    (|g| g.script("a b/run", "#!/bin/sh\nexec x\n"), &[("name-odd", "a b", None, WARNING, "blanks")]),
    (|g| g.script("all/run", "#!/bin/sh\nexec x\n"), &[("name-odd", "all", None, WARNING, "every service")]),
    (|g| g.link("dbx", "db"), &[("name-twice", "dbx", None, WARNING, "the same directory as db")]),
    (|g| g.link("x", "nowhere"), &[("link-dead", "x", None, ERROR, "cannot be followed")]),
    (|g| g.dir("x"), &[("run-missing", "x/run", None, ERROR, "no run")]),
    (|g| g.file("x", "no service"), &[]),
];

#[test]
fn lint_finds_each_planted_fault_where_it_is() {
    assert!(FAULTS.len() > 100);
    for (at, (plant, planted)) in FAULTS.iter().enumerate() {
        let ground = Ground::new();
        assert_eq!(lint::examine([ground.sv.path()]), [], "all is well before");
        plant(&ground);
        let found = lint::examine([ground.sv.path()]);
        let place = |finding: &Finding| finding.file.strip_prefix(ground.sv.path()).expect("inside").to_owned();
        let mut seen: Vec<_> = found.iter().map(|f| (f.kind, place(f), f.line, f.severity)).collect();
        let mut wanted: Vec<_> = planted.iter().map(|(k, f, l, s, _)| (*k, PathBuf::from(f), *l, *s)).collect();
        seen.sort();
        wanted.sort();
        assert_eq!(seen, wanted, "fault {at}: {found:#?}");
        for (kind, _, _, _, word) in *planted {
            let told = found.iter().find(|finding| finding.kind == *kind).expect("found").to_string();
            assert!(told.contains(word), "{word:?} in {told}");
            assert!(!told.contains('\n'), "{told}");
        }
    }
}

/// What people write, and what is no fault.
#[test]
fn scripts_that_do_well_are_left_in_peace() {
    let ground = Ground::new();
    for script in [
        ". ./common",
        "source ./common",
        "eval \"exec sleep $seconds\"",
        "main() {\n exec sleep \"$@\"\n}\nmain 1000",
        "function main {\n exec sleep \"$@\"\n}\nmain 1000",
        "echo not configured; say systemctl start x\nsv down .",
        "[ -x /bin/sleep ] || exit 1\nexec \\\n  chpst -o 99 \\\n  sleep 1000",
        "sleep 1000 &\ntrap 'kill $!' TERM\nwait",
        "case $1 in\na) exec a ;;\n*) exec b ;;\nesac",
        "echo \"it's\" # don't\nexec x ${y#z} ${#z} $((1<<2))",
    ] {
        ground.script("db/run", &format!("#!/bin/sh\n{script}\n"));
        assert_eq!(lint::examine([ground.path("db")]), [], "{script}");
    }
    for script in ["mine() { :; }\nmain 1000", "function mains { :; }\nmain 1000"] {
        ground.script("db/run", &format!("#!/bin/sh\n{script}\n"));
        assert_eq!(lint::examine([ground.path("db")]).first().map(|finding| finding.kind), Some("no-exec"), "{script}");
    }
}

#[test]
fn lint_bears_what_is_huge_or_long() {
    let ground = Ground::new();
    ground.file("db/env/BIG", "");
    ground.file("db/timeout-kill", "");
    for name in ["db/env/BIG", "db/timeout-kill"] {
        let file = fs::OpenOptions::new().write(true).open(ground.path(name)).expect("a file");
        file.set_len(1 << 40).or_else(|_| file.set_len(8 << 30)).expect("a sparse file");
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 400000; exec \"$0\" lint \"$1\""]).arg(onit()).arg(ground.path("db"));
    let told = output(command);
    assert_eq!((told.code, told.stderr.as_str()), (1, ""), "{told:?}");
    assert!(told.stdout.contains("longer than 65536 bytes") && told.stdout.len() < 2000, "{told:?}");
}

/// Each waits for the next one and for some others, in one great circle: that takes a second, and not minutes.
#[test]
fn lint_tells_circles_of_a_thousand_services() {
    let ground = Ground::new();
    for at in 0..1000 {
        for other in [1, 7, 33, 200] {
            ground.file(&format!("s{at}/dependencies.d/s{}", (at + other) % 1000), "");
        }
        ground.script(&format!("s{at}/run"), "#!/bin/sh\nexec x\n");
    }
    let mut command = Command::new(onit());
    command.arg("lint").arg(ground.sv.path());
    let told = output(command);
    assert_eq!(told.code, 1);
    assert!(told.stdout.contains("dependencies.d") && told.stdout.contains("depend on each other"));
}

/// What PID 1 reads without the table is named in its sources.
#[test]
fn what_onit_acts_on_is_what_pid_1_reads() {
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/init");
    let sources = fs::read_dir(init).expect("the sources").map(|file| file.expect("a file").path());
    let text: String =
        sources.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).expect("text")).collect();
    let is_named = |name: &str| ["\"", "\"./"].iter().any(|start| text.contains(&format!("{start}{name}\"")));
    for file in FILES {
        match file.reader {
            Reader::Supervisor => assert!(is_named(file.name), "{}", file.name),
            Reader::Input(..) => assert!(!is_named(file.name), "{}", file.name),
        }
    }
    let read = |moment| inputs(&[moment]).map(|(file, _)| file.name).collect::<Vec<_>>();
    assert_eq!(read(Moment::Start), ["readiness", "notification-fd", "timeout-up", "kill-mode"]);
    assert_eq!(read(Moment::Stop), ["timeout-kill", "down-signal"]);
    assert_eq!(read(Moment::Reload), ["reload-signal"]);
    let limits = [
        "essential",
        "restart",
        "success-codes",
        "backoff",
        "max-restarts",
        "start-retries",
        "timeout-finish",
        "max-death-tally",
    ];
    assert_eq!(read(Moment::Death), limits);
    assert_eq!(read(Moment::Probe), ["health-policy"]);
}

#[test]
fn a_service_is_examined_from_wherever_one_stands() {
    let ground = Ground::new();
    ground.file("db/after.d/web", "");
    let lint = |directory: &str, args: &[&str]| {
        let mut command = Command::new(onit());
        command.arg("lint").args(args).current_dir(ground.path(directory));
        let told = output(command);
        assert_eq!((told.code, told.stderr.as_str()), (1, ""), "{told:?}");
        told.stdout
    };
    let cycle = "error: these depend on each other, so none waits for another: db -> web -> db; remove one of these\n";
    for (directory, args, place) in [
        (".", &["."][..], "./db/after.d/web"),
        (".", &["web", "db"], "db/after.d/web"),
        (".", &["web/"], "db/after.d/web"),
        (".", &["db", "db", "."], "./db/after.d/web"),
    ] {
        let told = lint(directory, args);
        assert!(told.starts_with(&format!("{place}: {cycle}")), "{args:?}: {told}");
    }
    let told = lint("db", &["."]);
    assert!(told.ends_with(cycle) && told.lines().count() == 1, "{told}");
}

#[test]
fn the_exit_code_of_lint_is_for_scripts() {
    let sv = SvDir::new();
    let lint = |args: &[&str]| {
        let mut command = Command::new(onit());
        command.arg("lint").args(args).current_dir(sv.path());
        let told = output(command);
        (told.code, told.stdout, told.stderr)
    };
    ServiceBuilder::new(["true"]).write(sv.path().join("web")).expect("written");
    assert_eq!(lint(&["web", "."]), (0, String::new(), String::new()), "nothing is said when all is well");
    assert_eq!(lint(&["--json", "web"]), (0, "[]\n".into(), String::new()));
    assert_eq!(lint(&[]).0, 100);
    assert_eq!(lint(&["--nonsense", "web"]).0, 100);

    fs::write(sv.path().join("web/type"), "longrun\n").expect("write");
    assert_eq!((lint(&["web"]).0, lint(&["--strict", "web"]).0), (0, 1), "a warning is no error");
    fs::write(sv.path().join("web/down-signal"), "TREM\nx").expect("write");
    let (code, told, _) = lint(&["web"]);
    assert_eq!(code, 1);
    let lines = [
        "web/down-signal:1: error: \"TREM\" is no value for it: the default holds; write a signal: TERM, or 15",
        "web/type: warning: onit does not read this file; it belongs to the sources of s6-rc: a oneshot is `setup` without \
         `run`, a bundle is a service that depends on others",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), lines);
    let (code, told, _) = lint(&["--json", "web"]);
    let json: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let expected = serde_json::json!([
        {
            "severity": "error", "kind": "value-bad", "file": "web/down-signal", "line": 1,
            "problem": "\"TREM\" is no value for it: the default holds", "mend": "write a signal: TERM, or 15"
        },
        {
            "severity": "warning", "kind": "foreign", "file": "web/type", "line": null,
            "problem": "onit does not read this file", "mend": json[1]["mend"]
        }
    ]);
    assert_eq!((code, &json), (1, &expected));

    for (place, word) in
        [("nowhere", "No such file or directory"), ("web/type", "is no directory"), ("empty", "no services in it")]
    {
        fs::create_dir_all(sv.path().join("empty")).expect("mkdir");
        let (code, told, _) = lint(&[place]);
        assert!(code == 1 && told.starts_with(&format!("{place}: error: ")) && told.contains(word), "{told}");
    }
}

#[test]
fn the_examples_are_clean() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("svdir-examples");
    let mut services: Vec<PathBuf> =
        fs::read_dir(&examples).expect("the examples").flatten().map(|e| e.path()).collect();
    let is_hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    services.retain(|path| path.is_dir() && !is_hidden(path));
    assert!(services.len() > 5);
    services.push(examples);
    // How a checkout was unpacked, under which umask, says nothing of the examples.
    let findings: Vec<_> =
        lint::examine(&services).into_iter().filter(|found| found.kind != "group-writable").collect();
    assert_eq!(findings, []);
}

// ---------------------------------------------------------------------------------------------------------------------
// onit new
// ---------------------------------------------------------------------------------------------------------------------

fn new(sv: &SvDir, args: &[&OsStr]) -> (i32, String) {
    let mut command = Command::new(onit());
    command.arg("new").args(args).env("SVDIR", sv.path());
    let told = while_nothing_starts(|| command.output()).expect("onit runs");
    assert_eq!(told.stdout, b"");
    (told.status.code().unwrap_or(-1), String::from_utf8_lossy(&told.stderr).into_owned())
}

#[test]
fn new_says_nothing_of_what_is_acted_on() {
    let sv = SvDir::new();
    let told = new(&sv, &words(&["a", "--restart", "never", "--depends-on", "b", "--down", "--", "true"]));
    assert_eq!(told, (0, String::new()));
    assert!(sv.path().join("a/dependencies.d/b").exists());
    assert_eq!(fs::read_to_string(sv.path().join("a/restart")).expect("written"), "never\n");
    let s6 = ["c", "--target", "s6", "--notification-fd", "3", "--", "true"];
    assert_eq!(new(&sv, &words(&s6)), (0, String::new()), "s6 acts on it");
}

fn words<'a>(words: &[&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).collect()
}

#[test]
fn what_new_writes_is_clean_and_runs() {
    let sv = SvDir::new();
    let hostile = os(b"it's\n$x \xff\"--");
    let options = words(&[
        "--env",
        "A=b=c d",
        "--env",
        "B=",
        "--cwd",
        "/",
        "--limit",
        "open-files=55",
        "--finish",
        "echo over",
        "--check",
        "true",
        "--essential",
        "on-failure",
        "--restart",
        "on-failure",
        "--backoff",
        "2s 1m 1h",
        "--max-restarts",
        "5/1m",
        "--readiness",
        "check 2s",
        "--after",
        "db",
        "--condition",
        "path /",
        "--condition",
        "!env NO",
        "--socket",
        "unix @of-the-test name=web",
        "--down-signal",
        "quit",
        "--reload-signal",
        "usr1",
        "--kill-mode",
        "group",
        "--timeout-kill",
        "10s",
        "--timeout-finish",
        "0",
        "--timeout-up",
        "90s",
        "--log",
        "main",
        "--log-size",
        "5000",
        "--log-count",
        "3",
        "web",
        "--",
    ]);
    let script = "cat /proc/$$/cmdline >seen.new; env -0 >env; ulimit -n >limit; mv seen.new seen; exec sleep 1000";
    let seen = sv.root().join("seen");
    let script =
        script.replace("seen", &seen.display().to_string()).replace(">env", &format!(">{}.env", seen.display()));
    let script = script.replace(">limit", &format!(">{}.limit", seen.display()));
    let mut all = options.clone();
    all.extend([OsStr::new("/bin/sh"), OsStr::new("-c"), OsStr::new(&script), OsStr::new("--"), &hostile]);
    assert_eq!(new(&sv, &words(&["db", "--", "sleep", "1000"])), (0, String::new()));
    let told = new(&sv, &all);
    assert_eq!(told, (0, String::new()));
    assert_eq!(new(&sv, &all), told, "once more");
    assert_eq!(lint::examine([sv.path()]), []);
    let read = ServiceDir::read(sv.path().join("web")).expect("a directory");
    assert_eq!(read.settings.timeout_kill, Some(Limit::After(Duration::from_secs(10))));
    assert_eq!((read.settings.conditions.len(), read.settings.down_signal), (2, Some(Signal::QUIT)));
    assert!(fs::read_to_string(sv.path().join("web/log/main/config")).expect("ours").contains("s5000\nn3"));

    let onit = sv.start(UnderTest::Onit);
    onit.wait_for("the service to tell", SOON, || seen.exists().then_some(()));
    assert_eq!(strings(&seen).last(), Some(&hostile));
    let environment = variables(&seen.with_extension("env"));
    assert_eq!(
        ["A", "B"].map(|name| environment.get(OsStr::new(name)).cloned()),
        [Some("b=c d".into()), Some("".into())]
    );
    assert_eq!(fs::read_to_string(seen.with_extension("limit")).expect("a limit"), "55\n");
}

#[test]
fn new_says_what_it_will_not_do() {
    let sv = SvDir::new();
    fs::create_dir(sv.path().join("theirs")).expect("mkdir");
    assert_eq!(new(&sv, &words(&["ours", "--", "one"])), (0, String::new()));
    let ours = sv.path().join("ours/run");
    let ours = ours.display();
    for (args, code, told) in [
        (
            &["ours", "--", "two"][..],
            1,
            format!("onit: ours: {ours} says something else, and was not to be replaced (--replace does that)\n"),
        ),
        (
            &["--replace", "theirs", "--", "two"],
            1,
            format!("onit: theirs: {} is there, and onit did not write it\n", sv.path().join("theirs").display()),
        ),
        (&["--target", "s6", "--check", "true", "x", "--", "y"], 1, "onit: x: s6 cannot read check\n".into()),
        (&["x"], 100, "onit: new: what is it to run? onit new NAME -- CMD\n".into()),
        (&["x", "--"], 100, "onit: new: what is it to run? onit new NAME -- CMD\n".into()),
        (&["a b", "--", "y"], 100, "onit: new: \"a b\" is no name of a service that is started\n".into()),
        (&[".x", "--", "y"], 100, "onit: new: \".x\" is no name of a service that is started\n".into()),
        (&["../x", "--", "y"], 100, "onit: new: \"../x\" is no name of a service that is started\n".into()),
        (
            &["--dir", "/no/such", "x", "--", "y"],
            111,
            "onit: x: cannot create /no/such/x: No such file or directory\n".into(),
        ),
    ] {
        let (is, said) = new(&sv, &words(args));
        assert_eq!((is, said), (code, told), "{args:?}");
    }
    for args in [
        &["--limit", "files=3", "x", "--", "y"][..],
        &["--timeout-kill", "5 s", "x", "--", "y"],
        &["--env", "A", "x", "--", "y"],
        &["--user", "1:x", "x", "--", "y"],
        &["--", "y"],
    ] {
        let (code, said) = new(&sv, &words(args));
        assert!(code == 100 && !said.is_empty(), "{args:?}: {code} {said}");
    }
    assert_eq!(fs::read_dir(sv.path()).expect("a directory").count(), 2, "and nothing was written");
    assert_eq!(new(&sv, &words(&["--replace", "ours", "--", "two"])), (0, String::new()));
}

// ---------------------------------------------------------------------------------------------------------------------
// systemd
// ---------------------------------------------------------------------------------------------------------------------

/// What `systemd-analyze verify` says of these units, everything that it has understood included.
fn verify(sv: &SvDir, units: &[(&str, &str)]) -> (i32, String) {
    let place = sv.root().join("units");
    fs::create_dir_all(&place).expect("mkdir");
    for (name, unit) in units {
        fs::write(place.join(name), unit).expect("write");
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).args(units.iter().map(|(name, _)| place.join(name)));
    command.env("SYSTEMD_LOG_LEVEL", "debug").env("SYSTEMD_UNIT_PATH", format!("{}:", place.display()));
    let told = output(command);
    (told.code, told.stdout + &told.stderr)
}

/// The words of a command line as systemd shows it: in double quotes, with the escapes of C.
fn shown_words(line: &str) -> Vec<OsString> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let (mut quoted, mut inside) = (false, false);
    let mut bytes = line.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b' ' && !quoted {
            inside = false;
            continue;
        }
        if !inside {
            words.push(Vec::new());
            inside = true;
        }
        let word = words.last_mut().expect("a word");
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => match bytes.next().expect("an escape") {
                b'n' => word.push(b'\n'),
                b't' => word.push(b'\t'),
                b'r' => word.push(b'\r'),
                b'a' => word.push(7),
                b'b' => word.push(8),
                b'v' => word.push(11),
                b'f' => word.push(12),
                digit @ b'0'..=b'3' => {
                    let octal = [digit, bytes.next().expect("a digit"), bytes.next().expect("a digit")];
                    word.push(u8::from_str_radix(std::str::from_utf8(&octal).expect("digits"), 8).expect("a byte"));
                }
                other => word.push(other),
            },
            other => word.push(other),
        }
    }
    words.into_iter().map(|word| os(&word)).collect()
}

#[test]
fn systemd_understands_what_is_exported() {
    if let Some(why) = missing_tools(&["systemd-analyze"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let everything =
        everything().user("www-data").groups(["lp", "mail"]).nice(5).limit(Resource::OpenFiles, 99).directory("/");
    let everything = everything.limit(Resource::Stack, 1 << 20).env("A", "100% of $it\n\"").env("odd-name", "x");
    write(&sv, "db", &ServiceBuilder::new(["/bin/sleep", "1"]));
    write(&sv, "net", &ServiceBuilder::new(["/bin/sleep", "1"]).down());
    write(&sv, "cache", &ServiceBuilder::new(["/bin/sleep", "1"]).readiness(Readiness::Notify));
    let web = sv.path().join("web");
    everything.write(&web).expect("written");
    let read = |name: &str| systemd::unit(&ServiceDir::read(sv.path().join(name)).expect("a directory"));
    let (built, db, net, cache, web_read) =
        (everything.systemd_unit(&web).expect("a unit"), read("db"), read("net"), read("cache"), read("web"));
    for web in [&built, &web_read] {
        let units =
            [("web.service", web.as_str()), ("db.service", &db), ("net.service", &net), ("cache.service", &cache)];
        let (code, told) = verify(&sv, &units);
        let ours = |line: &&str| {
            units.iter().any(|(name, _)| line.starts_with(name) || line.contains(&format!("/units/{name}:")))
        };
        let complaints: Vec<_> = told.lines().filter(ours).filter(|line| complains(line)).collect();
        assert_eq!((code, complaints), (0, Vec::<&str>::new()), "{web}");
    }
    for line in [
        "Requires=db.service",
        "After=db.service",
        "After=cache.service",
        "ConditionEnvironment=!A=b c",
        "ConditionPathExists=/bin",
        "StartLimitIntervalSec=1m",
        "StartLimitBurst=6",
        "Type=exec",
        "Environment=\"A=100%% of $it\\n\\\"\"",
        "User=www-data",
        "Group=lp",
        "SupplementaryGroups=mail",
        "Nice=5",
        "LimitNOFILE=99",
        "LimitSTACK=1048576",
        "WorkingDirectory=/",
        "Restart=on-failure",
        "RestartSec=2s",
        "KillSignal=RTMIN+6",
        "TimeoutStopSec=10s",
        "TimeoutStartSec=201ms",
        "ExecStart=/usr/bin/env -- odd-name=x /bin/sleep 1000",
        "WantedBy=multi-user.target",
    ] {
        assert!(built.lines().any(|is| is == line), "{line} in:\n{built}");
    }
    let lost = [
        "essential",
        "notification-fd",
        "finish",
        "backoff",
        "timeout-finish",
        "check",
        "health",
        "log",
        "control/t",
        "control/u",
        "max-death-tally",
    ];
    for file in lost {
        assert!(built.lines().any(|line| line.starts_with(&format!("# {file}: "))), "{file} in:\n{built}");
    }
    let settings = ServiceDir::read(&web).expect("a directory").settings;
    for value in VALUES.iter().filter(|value| (value.text)(&settings).is_some()) {
        let start = match value.systemd {
            Systemd::Key(key) => format!("{key}="),
            Systemd::Lost(why) => format!("# {}: {why}", value.name),
        };
        assert!(built.lines().any(|line| line.starts_with(&start)), "{start} in:\n{built}");
    }
    assert!(web_read.contains(&format!("\nExecStart={}/run\n", web.display())), "{web_read}");
    assert!(cache.contains("\nType=notify\n") && net.contains("\n# down: ") && !net.contains("\n[Install]\n"));
    assert!(!db.lines().skip(1).any(|line| line.starts_with('#')), "nothing is lost of a plain service:\n{db}");
}

#[test]
fn a_unit_has_the_environment_that_onit_gives() {
    let sv = SvDir::new();
    let finish = Script::shell("exit 0");
    while_nothing_starts(|| ServiceBuilder::new(["/bin/true"]).finish(finish).write(sv.path().join("web")))
        .expect("written");
    let env = sv.path().join("web/env");
    fs::create_dir(&env).expect("mkdir");
    for (name, content) in [("A", "1 % \n2"), ("GONE", ""), ("odd-name", "x y\n"), ("odd-gone", "")] {
        fs::write(env.join(name), content).expect("written");
    }
    let unit = systemd::unit(&ServiceDir::read(sv.path().join("web")).expect("a directory"));
    for line in [
        "Environment=\"A=1 %%\"",
        "UnsetEnvironment=GONE",
        "# env/odd-gone: a unit cannot remove a variable of this name",
        "# env: as it is now: a change of it is a change of this unit",
    ] {
        assert!(unit.lines().any(|is| is == line), "{line} in:\n{unit}");
    }
    for start in ["ExecStart=", "ExecStopPost="] {
        let start = format!("{start}/usr/bin/env -- \"odd-name=x y\" /");
        assert!(unit.lines().any(|line| line.starts_with(&start)), "{start} in:\n{unit}");
    }
    if missing_tools(&["systemd-analyze"]).is_none() {
        let (code, told) = verify(&sv, &[("web.service", &unit)]);
        let ours = told.lines().filter(|line| line.contains("web.service:"));
        assert_eq!((code, ours.filter(|line| complains(line)).collect::<Vec<_>>()), (0, vec![]));
    }
}

#[test]
fn finish_gets_its_arguments_from_systemd() {
    if let Some(why) = missing_tools(&["systemd-analyze"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let path = sv.root().join("it's $1 100%");
    let finish = Script::shell("echo \"$@\" in \"${PWD##*/}\"");
    let builder = ServiceBuilder::new(["/bin/sleep", "1"]).finish(finish).directory("/").user("nobody");
    while_nothing_starts(|| builder.write(&path)).expect("written");
    let (_, told) = verify(&sv, &[("x.service", &builder.systemd_unit(&path).expect("a unit"))]);
    let mut lines = told.lines().filter_map(|line| line.trim().strip_prefix("Command Line: "));
    let words: Vec<OsString> = shown_words(lines.next_back().expect("two commands")).iter().map(expanded).collect();
    assert_eq!(words[0], "/bin/sh");
    let run = |code: &str, status: &str| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("EXIT_CODE", code).env("EXIT_STATUS", status).current_dir("/");
        output(command).stdout
    };
    assert_eq!([run("exited", "3"), run("killed", "TERM")], ["3 0 in it's $1 100%\n", "-1 TERM in it's $1 100%\n"]);
}

/// systemd's log has much to tell that is no complaint.
fn complains(line: &str) -> bool {
    ["ignoring", "Unknown", "Invalid", "Failed", "not executable", "bad unit", "Missing", "not found"]
        .iter()
        .any(|word| line.contains(word))
}

#[test]
fn a_unit_that_is_wrong_would_be_seen() {
    if let Some(why) = missing_tools(&["systemd-analyze"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let unit = ServiceBuilder::new(["/bin/sleep", "1"]).systemd_unit("/x").expect("a unit");
    for (from, to) in [("Type=exec", "Type=no"), ("Restart=always", "Restrat=always"), ("/bin/sleep", "/no/sleep")] {
        assert!(unit.contains(from));
        let (_, told) = verify(&sv, &[("x.service", &unit.replace(from, to))]);
        assert!(told.lines().any(|line| line.contains("x.service:") && complains(line)), "{to}: {told}");
    }
}

/// A backslash at the end of a line would take the next line into its value.
#[test]
fn no_value_of_a_unit_swallows_what_follows() {
    let path = |path: &str| Condition { not: false, fact: Fact::Path(path.into()) };
    for directory in ["/x\\", "/x ", "/x\\\\"] {
        let builder = ServiceBuilder::new(["/bin/sleep", "1"]).directory(directory);
        let unit = builder.condition(path("/a\\")).condition(path("/b")).systemd_unit("/web").expect("a unit");
        assert!(unit.contains(&format!("\nWorkingDirectory={directory}/.\nRestart=always\n")), "{unit}");
        assert!(
            unit.contains("\n# ConditionPathExists: a unit cannot say it") && unit.contains("Exists=/b\n"),
            "{unit}"
        );
        assert!(!unit.lines().any(|line| line.ends_with('\\') || line.ends_with(' ')), "{unit}");
    }
}

#[test]
fn words_of_a_unit_arrive_at_systemd_unchanged() {
    if let Some(why) = missing_tools(&["systemd-analyze"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let words = prop::collection::vec(hostile(), 0..6);
    let environment =
        prop::collection::btree_map(prop_oneof![name(), "X_[A-Z]{1,5}".prop_map(OsString::from)], hostile(), 0..4);
    let config = Config { cases: 12, max_shrink_iters: 24, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(words, environment), |(words, environment)| {
            let mut all: Vec<OsString> = vec!["/bin/echo".into()];
            all.extend(words);
            let mut builder = ServiceBuilder::new(&all);
            for (name, value) in &environment {
                builder = builder.env(name, value);
            }
            let unit = builder.systemd_unit("/tmp").expect("a unit");
            let (code, told) = verify(&sv, &[("x.service", &unit)]);
            prop_assert_eq!(code, 0, "{}\n{}", unit, told);
            let line =
                told.lines().find_map(|line| line.trim().strip_prefix("Command Line: ")).expect("a command line");
            let shown: Vec<OsString> = shown_words(line).iter().map(expanded).collect();
            prop_assert!(shown.ends_with(&all), "{:?}\n{}", shown, unit);
            // What env sets, and what systemd sets.
            let mut seen: BTreeMap<OsString, OsString> = BTreeMap::new();
            let pairs = shown[..shown.len() - all.len()].iter().skip(2).cloned();
            let of_systemd =
                told.lines().filter_map(|line| line.trim_start().strip_prefix("Environment: ")).map(OsString::from);
            for pair in pairs.chain(of_systemd) {
                let at = pair.as_bytes().iter().position(|byte| *byte == b'=').expect("NAME=VALUE");
                seen.insert(os(&pair.as_bytes()[..at]), os(&pair.as_bytes()[at + 1..]));
            }
            for (name, value) in &environment {
                // systemd shows a variable without quoting it, so that a newline ends the line.
                let first = value.as_bytes().split(|byte| *byte == b'\n').next().unwrap_or_default();
                let is = seen.get(name).map(|seen| seen.as_bytes() == value.as_bytes() || seen.as_bytes() == first);
                prop_assert_eq!(is, Some(true), "{:?}: {:?}\n{}", name, seen, unit);
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// What systemd makes of a word before it executes it: `$$` is `$`, and what follows a single one is a variable's name.
fn expanded(word: &OsString) -> OsString {
    let parts: Vec<Vec<u8>> = split_pairs(word.as_bytes());
    let plain = parts.iter().all(|part| !part.contains(&b'$'));
    if plain { os(&parts.join(&b'$')) } else { "(a variable)".into() }
}

fn split_pairs(word: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        if rest.starts_with(b"$$") {
            parts.push(Vec::new());
            rest = &rest[2..];
        } else {
            parts.last_mut().expect("one").push(*first);
            rest = tail;
        }
    }
    parts
}

#[test]
fn export_prints_a_unit() {
    let sv = SvDir::new();
    ServiceBuilder::new(["true"]).write(sv.path().join("web")).expect("written");
    let told = sv.onit(&["export", "systemd", "web"]);
    let unit = systemd::unit(&ServiceDir::read(sv.path().join("web")).expect("a directory"));
    assert_eq!((told.code, told.stdout, told.stderr), (0, unit, String::new()));
    fs::create_dir(sv.path().join("empty")).expect("mkdir");
    let told = sv.onit(&["export", "systemd", "empty"]);
    assert_eq!((told.code, told.stderr.as_str()), (1, "onit: empty is no service directory: there is no run in it\n"));
    let told = sv.onit(&["export", "systemd", "nowhere"]);
    assert_eq!((told.code, told.stderr.as_str()), (111, "onit: cannot open nowhere: No such file or directory\n"));
    assert_eq!([sv.onit(&["export"]).code, sv.onit(&["export", "upstart", "web"]).code], [100, 100]);
}
