//! Called by the name of another tool, onit has that tool's manners: the same words, the same exit codes.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{Ending, Output, Phase, SOON, Service, SvDir, UnderTest};
use crate::svdir::{copy_program, is_root, missing_tools, onit, send, skip, wait_for, wrapped};

const RUNSVDIR: UnderTest = UnderTest::OnitAs("runsvdir");
const RUNSV: UnderTest = UnderTest::OnitAs("runsv");
const SUPERVISE: UnderTest = UnderTest::OnitAs("supervise");
const SVSCAN: UnderTest = UnderTest::OnitAs("svscan");

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

fn runsvdir(sv: &SvDir, more: &[&str]) -> Command {
    let mut command = RUNSVDIR.program();
    command.arg("-P").arg(sv.path()).args(more);
    command
}

/// The real tool and ours are started with the same words on the same directory and say the same.
#[track_caller]
fn both_say(sv: &SvDir, tool: &str, args: &[&str], code: i32) {
    let theirs = sv.tool(tool, args);
    let words: Vec<_> = [tool].iter().chain(args).copied().collect();
    let ours = sv.onit(&words);
    assert_eq!(ours, theirs, "{words:?}");
    assert_eq!(ours.code, code, "{words:?}: {theirs:?}");
    assert_ne!(ours.stderr, "", "{words:?}");
}

#[test]
fn a_wrong_command_line_is_answered_as_by_the_real_tools() {
    if let Some(why) = missing_tools(&["runsv", "runsvdir", "supervise", "svscan"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    both_say(&sv, "runsvdir", &[], 1);
    both_say(&sv, "runsvdir", &["-P"], 1);
    both_say(&sv, "runsv", &[], 1);
    both_say(&sv, "runsv", &["one", "two"], 1);
    both_say(&sv, "supervise", &[], 100);
    both_say(&sv, "svscan", &["missing"], 111);
}

#[test]
fn a_service_that_cannot_be_supervised_is_refused_in_the_words_of_the_real_tools() {
    if let Some(why) = missing_tools(&["runsv", "supervise"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    both_say(&sv, "runsv", &["missing"], 111);
    both_say(&sv, "supervise", &["missing"], 111);
    sv.service("odd").run("exec sleep 1000").file("supervise/control", "").create();
    both_say(&sv, "runsv", &["odd"], 111);
    sv.service("nowhere").run("exec sleep 1000").symlink("supervise", "no/such").create();
    both_say(&sv, "runsv", &["nowhere"], 111);
    sv.service("file").file("supervise", "").create();
    both_say(&sv, "runsv", &["file"], 111);

    let web = sleeper(&sv, "web");
    let _runsv = sv.start_on(UnderTest::Runsv, &web);
    let pid = web.wait_up();
    both_say(&sv, "runsv", &["web"], 111);
    both_say(&sv, "supervise", &["web"], 111);
    assert_eq!(web.wait_up(), pid);
}

// ---------------------------------------------------------------------------------------------------------------------
// runsvdir
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn runsvdir_ends_at_term_and_leaves_its_services_running_and_within_reach_of_sv() {
    if let Some(why) = missing_tools(&["sv"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("echo line; exec sleep 1000").log("cat >>../got").create_atomically();
    let front = sv.spawn(runsvdir(&sv, &[]));
    let pid = web.wait_up();
    web.wait_text("got", |text| text == "line\n");
    front.signal(Signal::SIGTERM);
    assert_eq!(front.wait_end(SOON), Ending::Code(0));
    assert_eq!(web.wait_up(), pid);
    assert_eq!(sv.sv(&["restart", "web"]).code, 0);
    let next = web.wait_other(pid);
    assert_eq!(web.wait_text("got", |text| text.lines().count() == 2), "line\nline\n");
    // Nobody looks at the directory any more.
    fs::rename(web.path(), sv.path().join("www")).expect("rename");
    sleeper(&sv, "late");
    let www = sv.existing("www");
    send(next, Signal::SIGKILL);
    www.wait_other(next);
    assert!(!sv.existing("late").path().join("supervise").exists());
    assert_eq!(sv.sv(&["exit", "www"]).code, 0);
    wait_for("the end of all", SOON, || sv.processes().is_empty().then_some(()));
    assert_eq!(www.text("finished"), "");
}

#[test]
fn runsvdir_stops_its_services_at_hup_and_ends_with_111() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").finish("echo $1 $2 >finished").log("cat >/dev/null").create();
    let front = sv.spawn(runsvdir(&sv, &[]));
    web.wait_up();
    web.logger().wait_up();
    front.signal(Signal::SIGHUP);
    assert_eq!(front.wait_end(SOON), Ending::Code(111));
    wait_for("the end of all", SOON, || sv.processes().is_empty().then_some(()));
    assert_eq!((web.text("finished").as_str(), front.stderr().as_str()), ("-1 15\n", ""));
    assert_eq!(web.status().expect("a status").stat, "down\n");
}

#[test]
fn runsvdir_shows_what_services_say_on_stderr_in_its_title() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo the disk is on fire >&2; exec sleep 1000").create();
    let area = format!("log: {}", ".".repeat(60));
    let front = sv.spawn(runsvdir(&sv, &[&area]));
    web.wait_up();
    front.wait_for("the words in the title", SOON, || {
        proc::command_line(front.pid()).contains("...the disk is on fire").then_some(())
    });
    let title = proc::command_line(front.pid());
    assert!(title.contains("log: ....") && title.len() < 1000, "the label stays: {title}");
    assert_eq!(front.stderr(), "");
}

#[test]
fn runsvdir_refuses_a_log_shorter_than_seven_characters_as_the_real_one_does_and_goes_on() {
    if let Some(why) = missing_tools(UnderTest::Runsvdir.needs()) {
        skip!("{why}");
    }
    let said = |which: UnderTest| {
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let mut command = which.command(&sv.path());
        command.arg("short");
        let front = sv.spawn(command);
        web.wait_up();
        front.stderr().replace(sv.path().to_str().expect("a printable path"), "DIR")
    };
    assert_eq!(said(RUNSVDIR), said(UnderTest::Runsvdir));
}

#[test]
fn runsvdir_stops_a_service_that_is_removed_and_starts_a_new_one() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let front = sv.spawn(runsvdir(&sv, &[]));
    let pid = web.wait_up();
    fs::rename(web.path(), sv.root().join("web")).expect("rename");
    front.wait_for("the end of the removed", SOON, || (!proc::is_alive(pid)).then_some(()));
    sleeper(&sv, "new").wait_up();
}

#[test]
fn runsvdir_as_pid_1_stops_its_services_in_order_at_term() {
    if let Some(why) = missing_tools(&["unshare"]).or((!is_root()).then(|| "needs root".into())) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web =
        sv.service("web").run("exec sleep 1000").finish("echo last words").log("cat >>../got").create_atomically();
    let unshare = wrapped(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], &runsvdir(&sv, &[]));
    let unshare = sv.spawn(unshare);
    web.wait_up();
    web.logger().wait_up();
    send(proc::children(unshare.pid())[0], Signal::SIGTERM);
    assert_eq!(unshare.wait_end(SOON), Ending::Code(0));
    assert_eq!((web.text("got").as_str(), unshare.stderr().as_str()), ("last words\n", ""));
    assert_eq!(web.status().expect("a status").stat, "down\n");
}

// ---------------------------------------------------------------------------------------------------------------------
// runsv
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn runsv_takes_term_for_x_and_ends_with_0() {
    for which in [RUNSV, UnderTest::Runsv] {
        if let Some(why) = missing_tools(which.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 1000").finish("echo $1 $2; sleep 0.2").log("cat >>../got");
        let web = web.create();
        let runsv = sv.start_on(which, &web);
        web.wait_up();
        web.logger().wait_up();
        runsv.signal(Signal::SIGTERM);
        assert_eq!(runsv.wait_end(SOON), Ending::Code(0), "{which:?}");
        assert_eq!((web.text("got").as_str(), web.text("supervise/stat").as_str()), ("-1 15\n", "down\n"), "{which:?}");
        assert_eq!(sv.processes(), [0u32; 0]);
    }
}

#[test]
fn runsv_ends_when_its_service_is_told_to_exit() {
    if let Some(why) = missing_tools(&["sv"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let runsv = sv.start_on(RUNSV, &web);
    web.wait_up();
    assert_eq!(sv.sv(&["shutdown", "web"]).code, 0);
    assert_eq!((runsv.wait_end(SOON), runsv.stderr().as_str()), (Ending::Code(0), ""));
}

// ---------------------------------------------------------------------------------------------------------------------
// daemontools
// ---------------------------------------------------------------------------------------------------------------------

/// `svstat`'s line without what differs from run to run.
fn svstat(sv: &SvDir, service: &Service) -> String {
    let Output { stdout, .. } = sv.svstat(&[service.name()]);
    let words = stdout.split_whitespace().map(|word| match word.trim_end_matches(')').parse::<u32>() {
        Ok(_) => "N",
        Err(_) => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A life in svstat's words, from start to exit.
fn life_under(which: UnderTest) -> Vec<(String, usize)> {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").down().create();
    let supervise = sv.start_on(which, &web);
    let mut seen = Vec::new();
    let mut note = |wanted: &dyn Fn(&crate::svdir::Status) -> bool| {
        web.wait_for("what was ordered", |status| wanted(status));
        seen.push((svstat(&sv, &web), fs::read(web.path().join("supervise/status")).map_or(0, |record| record.len())));
    };
    note(&|status| status.phase() == Phase::Down);
    for (order, phase, paused) in [
        ("-u", Phase::Run, false),
        ("-p", Phase::Run, true),
        ("-c", Phase::Run, false),
        ("-d", Phase::Down, false),
        ("-o", Phase::Run, false),
    ] {
        assert_eq!(sv.svc(&[order, "web"]).code, 0);
        note(&|status| status.phase() == phase && status.paused() == paused);
    }
    let pid = web.wait_up();
    assert_eq!(sv.svc(&["-k", "web"]).code, 0); // once: it is not started again
    note(&|status| status.phase() == Phase::Down && !proc::is_alive(pid));
    assert_eq!(sv.svc(&["-u", "web"]).code, 0);
    web.wait_up();
    assert_eq!((sv.svok(&["web"]).code, sv.svc(&["-dx", "web"]).code), (0, 0));
    assert_eq!(supervise.wait_end(SOON), Ending::Code(0));
    assert_eq!(sv.svok(&["web"]).code, 100);
    seen.push((svstat(&sv, &web), fs::read(web.path().join("supervise/status")).map_or(0, |record| record.len())));
    seen
}

#[test]
fn supervise_looks_to_svstat_like_the_real_one_all_its_life() {
    if let Some(why) = missing_tools(&["supervise", "svc", "svstat", "svok"]) {
        skip!("{why}");
    }
    let ours = life_under(SUPERVISE);
    assert_eq!(ours, life_under(UnderTest::Supervise));
    assert!(ours.iter().all(|(_, length)| *length == 18), "{ours:?}");
    assert!(ours[1].0.starts_with("web: up (pid N N seconds"), "{ours:?}");
}

#[test]
fn supervise_stops_its_service_at_term() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let supervise = sv.start_on(SUPERVISE, &web);
    let pid = web.wait_up();
    supervise.signal(Signal::SIGTERM);
    supervise.wait_for("the end of its service or its own", SOON, || {
        (!proc::is_alive(pid) || supervise.ended().is_some()).then_some(())
    });
    assert_eq!(supervise.wait_end(SOON), Ending::Code(0));
    assert_eq!((sv.processes(), web.status().and_then(|status| status.pid())), (vec![], None));
}

#[test]
fn svscan_does_not_stop_what_is_removed_and_starts_what_is_new() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let _front = sv.start(SVSCAN);
    let pid = web.wait_up();
    fs::rename(web.path(), sv.root().join("web")).expect("rename");
    sleeper(&sv, "new").wait_up();
    let away = sv.service_at(sv.root().join("web")).create();
    assert_eq!(away.wait_up(), pid);
    away.order(b"dx");
    wait_for("the end of the removed", SOON, || (!proc::is_alive(pid) && !away.is_supervised()).then_some(()));
}

#[test]
fn a_killed_front_leaves_its_services_supervised() {
    for which in [SVSCAN, RUNSVDIR] {
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let sv = SvDir::new();
            let web = sleeper(&sv, "web");
            let front = sv.start(which);
            let pid = web.wait_up();
            front.signal(signal);
            front.wait_end(SOON);
            send(pid, Signal::SIGKILL);
            let next = web.wait_other(pid);
            web.order(b"d");
            web.wait_down();
            assert!(!proc::is_alive(next), "{which:?} {signal}");
            web.order(b"x");
            wait_for("the end of all", SOON, || sv.processes().is_empty().then_some(()));
        }
    }
}

/// Whoever looks for the tool by its name finds one process, and where that stands, as with the real tool; its end, of
/// whatever kind, is no end of services.
fn a_front_is_found_by_its_name_alone(tool: &str, program: &Path) {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let pair = sv.service("pair").run("exec sleep 1000").log("exec cat").create_atomically();
    let mut command = Command::new(program);
    command.args((tool == "runsvdir").then_some("-P")).arg("service").current_dir(sv.root());
    let front = sv.spawn(command);
    let running = [web.wait_up(), pair.wait_up(), pair.logger().wait_up()];
    let called = || sv.processes().into_iter().filter(|pid| proc::is_called(*pid, tool)).collect::<Vec<_>>();
    assert_eq!(called(), [front.pid()], "{program:?}");
    let stands = fs::read_link(format!("/proc/{}/cwd", front.pid())).expect("a directory");
    let place = if tool == "svscan" { sv.path() } else { sv.root().to_owned() };
    assert_eq!(stands, fs::canonicalize(place).expect("a directory"), "{program:?}");
    send(front.pid(), Signal::SIGTERM);
    front.wait_end(SOON);
    assert_eq!((called(), running.map(proc::is_alive)), (vec![], [true; 3]), "{program:?}");
    send(running[0], Signal::SIGKILL);
    web.wait_other(running[0]);
}

#[test]
fn who_looks_for_svscan_or_runsvdir_by_name_finds_the_front_alone() {
    if let Some(why) = missing_tools(&["svscan", "runsvdir"]) {
        skip!("{why}");
    }
    let bin = tempfile::tempdir().expect("a directory");
    let install = Command::new(onit()).arg("install").arg(bin.path()).status_in_turn().expect("onit");
    assert!(install.success());
    for tool in ["svscan", "runsvdir"] {
        a_front_is_found_by_its_name_alone(tool, Path::new(tool));
        a_front_is_found_by_its_name_alone(tool, &bin.path().join(tool));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// install
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn install_makes_links_by_which_onit_is_the_other_tools() {
    let sv = SvDir::new();
    let bin = sv.root().join("bin");
    fs::create_dir(&bin).expect("mkdir");
    fs::write(bin.join("svscan"), "somebody else's").expect("write");
    let dir = bin.to_str().expect("a printable path");
    let first = sv.onit(&["install", dir]);
    assert!(first.code != 0 && first.stderr.contains("svscan") && first.stderr.lines().count() == 1, "{first:?}");
    assert_eq!(fs::read_to_string(bin.join("svscan")).expect("still there"), "somebody else's");
    assert_eq!(sv.onit(&["install", "-f", dir]), Output { code: 0, stdout: String::new(), stderr: String::new() });
    assert_eq!(sv.onit(&["install", dir]).code, 0, "again is no error");
    for (name, word) in [("runsv", "usage: runsv"), ("runsvdir", "usage: runsvdir"), ("supervise", "supervise: usage")]
    {
        assert_eq!(fs::read_link(bin.join(name)).expect("a link"), onit());
        let said = sv.tool(bin.join(name).to_str().expect("a printable path"), &[]);
        assert!(said.stderr.starts_with(word), "{name}: {said:?}");
    }
    let missing = sv.onit(&["install", "/no/such/directory"]);
    assert!(missing.code != 0 && missing.stderr.contains("/no/such/directory"), "{missing:?}");
}

fn printable(path: &Path) -> &str {
    path.to_str().expect("a printable path")
}

/// What is in a directory, in alphabetical order.
fn names(dir: &Path) -> String {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("a printable name")).collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn install_makes_the_names_of_inits_for_who_asks_for_them() {
    let sv = SvDir::new();
    let dir = sv.root().join("bin");
    for (options, made) in [
        (&["--container"][..], "docker-init dumb-init tini"),
        (&["--init"], "halt init poweroff reboot shutdown telinit"), // not kexec: that is who loads kernels
        (&["--init", "--container"], "docker-init dumb-init halt init poweroff reboot shutdown telinit tini"),
    ] {
        drop(fs::remove_dir_all(&dir));
        fs::create_dir(&dir).expect("mkdir");
        let words: Vec<_> = ["install"].iter().chain(options).copied().chain([printable(&dir)]).collect();
        assert_eq!(sv.onit(&words).code, 0, "{options:?}");
        assert_eq!(names(&dir), made, "{options:?}");
    }
    let said = |name: &str, word: &str| sv.tool(printable(&dir.join(name)), &[word]);
    // With words that cannot end anything.
    for (name, word) in [("init", "9"), ("telinit", "9"), ("halt", "-x"), ("reboot", "-x"), ("shutdown", "+5")] {
        let answer = said(name, word);
        assert!(answer.code == 100 && answer.stderr.starts_with("usage: "), "{name}: {answer:?}");
    }
    assert!(said("tini", "--version").stdout.starts_with("tini version 0.19.0"));
    assert!(said("dumb-init", "--version").stderr.starts_with("dumb-init v1.2.5"));
}

#[test]
fn install_leaves_the_program_itself_in_its_place() {
    let sv = SvDir::new();
    let (dir, elsewhere) = (sv.root().join("sbin"), sv.root().join("onit"));
    fs::create_dir(&dir).expect("mkdir");
    copy_program(&onit(), &dir.join("init"));
    fs::write(dir.join("reboot"), "somebody else's").expect("write");
    std::os::unix::fs::symlink(dir.join("init"), &elsewhere).expect("a link");
    let install = sv.tool(printable(&elsewhere), &["install", "-f", "--init", printable(&dir)]);
    assert_eq!(install, Output { code: 0, stdout: String::new(), stderr: String::new() });
    assert!(!dir.join("init").is_symlink(), "a link to itself");
    assert_eq!(fs::read_link(dir.join("reboot")).expect("a link"), dir.join("init"));
    assert_eq!(names(&dir), "halt init poweroff reboot shutdown telinit");
}

#[test]
fn a_service_runs_under_an_installed_name() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    assert_eq!(sv.onit(&["install", sv.root().to_str().expect("a printable path")]).code, 0);
    let mut command = Command::new(Path::new(sv.root()).join("runsv"));
    command.arg(web.path());
    let runsv = sv.spawn(command);
    web.wait_up();
    runsv.signal(Signal::SIGTERM);
    assert_eq!(runsv.wait_end(SOON), Ending::Code(0));
}
