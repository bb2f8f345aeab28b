//! The directory of services is watched: what comes starts, what goes is stopped, and a service is its directory, not
//! its name.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{RenameFlags, renameat2};
use nix::sys::signal::Signal;

use crate::proc;
use crate::svdir::{Ending, Phase, SOON, Service, Supervisor, SvDir, UnderTest, as_many, is_root, remove_tree, skip};

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

/// Starts onit and waits until it watches: one service is up.
fn start(sv: &SvDir) -> (Supervisor, Service) {
    let first = sleeper(sv, "first");
    let onit = sv.start(UnderTest::Onit);
    first.wait_up();
    (onit, first)
}

fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    fs::rename(&from, &to)
        .unwrap_or_else(|e| panic!("rename {} {}: {e}", from.as_ref().display(), to.as_ref().display()));
}

/// Waits until this process is over, and then whoever replaced it too.
#[track_caller]
fn wait_gone(onit: &Supervisor, pid: u32) {
    onit.wait_for(&format!("the end of {pid}"), SOON, || (!proc::is_alive(pid)).then_some(()));
}

#[test]
fn a_new_service_starts_and_a_removed_one_stops_at_once() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let round = |number: u32| {
        let begun = Instant::now();
        let web = sleeper(&sv, &format!("web{number}"));
        let pid = web.wait_up();
        let started = begun.elapsed();
        let begun = Instant::now();
        rename(web.path(), sv.root().join(web.name()));
        wait_gone(&onit, pid);
        (started, begun.elapsed())
    };
    // The best of several: a busy machine may be slow once, who polls is slow always.
    let rounds: Vec<_> = (0..5).map(round).collect();
    let best = (rounds.iter().map(|r| r.0).min(), rounds.iter().map(|r| r.1).min());
    let polled = Some(Duration::from_millis(2500));
    assert!(best.0 < polled && best.1 < polled, "start and stop took {rounds:?}");
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_service_built_file_by_file_starts_once_its_run_is_there() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let slow = sv.service("slow").file("down", "").create_atomically();
    slow.wait_for("supervision", |status| status.phase() == Phase::Down);
    slow.write_script("run", "exec sleep 1000");
    slow.order(b"u");
    slow.wait_up();
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_renamed_service_keeps_its_process_and_goes_by_its_new_name() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let web = sleeper(&sv, "web");
    let pid = web.wait_up();
    rename(web.path(), sv.path().join("www"));
    sleeper(&sv, "after").wait_up(); // whatever follows from the renaming has followed
    let www = sv.existing("www");
    assert_eq!(www.wait_up(), pid);
    www.write("timeout-kill", "soon");
    www.order(b"d");
    onit.wait_said(&["onit: www: timeout-kill says \"soon\""]);
    www.wait_down();
}

#[test]
fn two_services_that_swap_their_names_keep_their_processes() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let (a, b) = (sleeper(&sv, "a"), sleeper(&sv, "b"));
    let (pid_a, pid_b) = (a.wait_up(), b.wait_up());
    let here = nix::fcntl::AT_FDCWD;
    renameat2(here, a.path(), here, b.path(), RenameFlags::RENAME_EXCHANGE).expect("an exchange");
    sleeper(&sv, "after").wait_up();
    assert_eq!((a.wait_up(), b.wait_up()), (pid_b, pid_a));
    // And under their new names they can be removed.
    rename(a.path(), sv.root().join("a"));
    wait_gone(&onit, pid_b);
    assert!(proc::is_alive(pid_a));
}

#[test]
fn a_service_whose_name_is_taken_by_another_at_once_keeps_its_process() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let web = sleeper(&sv, "web");
    let next = sv.service_at(sv.root().join("next")).run("exec sleep 1000").create();
    let pid = web.wait_up();
    rename(web.path(), sv.path().join("web.old"));
    rename(next.path(), web.path());
    let new = web.wait_up();
    let old = sv.existing("web.old");
    assert_ne!(new, pid);
    sleeper(&sv, "after").wait_up();
    assert_eq!((old.wait_up(), web.wait_up()), (pid, new), "{}", onit.stderr());
}

#[test]
fn a_replaced_directory_stops_the_old_service_and_starts_the_new_one() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let finished = sv.root().join("finished");
    let [write, copy] = [format!("echo over >{}", finished.display()), format!("cp {} seen", finished.display())];
    let web = sv.service("web").run("exec sleep 1000").finish(&write).create_atomically();
    let pid = web.wait_up();
    rename(web.path(), sv.root().join("old"));
    sv.service("web").run(&format!("{copy}; exec sleep 2000")).create_atomically();
    let next = web.wait_other(pid);
    assert!(!proc::is_alive(pid));
    assert_eq!(
        web.wait_text("seen", |text| !text.is_empty()),
        "over\n",
        "the new one starts when the old one has ended"
    );
    onit.wait_for("the new program", SOON, || proc::command_line(next).contains("2000").then_some(()));
    assert_eq!(Service::wait_up(&web), next);
}

#[test]
fn a_service_that_is_removed_and_created_fifty_times_is_up_in_the_end_and_once() {
    let sv = SvDir::new();
    let (onit, first) = start(&sv);
    let web = sv.service("web").run("exec sleep 1000").create_atomically();
    for round in 0..50 {
        if round % 7 == 0 {
            web.wait_up();
        }
        rename(web.path(), sv.root().join(format!("old{round}")));
        sleeper(&sv, "web");
    }
    web.wait_up();
    onit.wait_for("one onit and two services", SOON, || (sv.processes().len() == 3).then_some(()));
    let (pid, all) = (web.wait_up(), sv.processes());
    assert!(all.contains(&pid) && all.contains(&first.wait_up()), "{all:?}");
    remove_tree(web.path());
    wait_gone(&onit, pid);
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_linked_service_that_is_unlinked_is_finished_and_its_status_says_so_where_it_stands() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let web = sv.service_at(sv.root().join("web")).run("exec sleep 1000").finish("echo $1 $2 >finished").create();
    symlink(web.path(), sv.path().join("link")).expect("symlink");
    let pid = web.wait_up();
    assert_eq!(sv.existing("link").wait_up(), pid);
    fs::remove_file(sv.path().join("link")).expect("rm");
    wait_gone(&onit, pid);
    assert_eq!(web.wait_text("finished", |text| text.ends_with('\n')), "-1 15\n");
    let down = onit.wait_for("supervision to end", SOON, || {
        let ended = !web.is_supervised(); // before its last status is read
        web.status().filter(|_| ended)
    });
    assert_eq!((down.phase(), down.pid(), down.stat.as_str()), (Phase::Down, None, "down\n"));
    symlink(web.path(), sv.path().join("again")).expect("symlink");
    web.wait_up();
}

#[test]
fn two_links_to_one_directory_are_one_service() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let web = sv.service_at(sv.root().join("web")).run("exec sleep 1000").create();
    symlink(web.path(), sv.path().join("one")).expect("symlink");
    let pid = web.wait_up();
    symlink(web.path(), sv.path().join("two")).expect("symlink");
    onit.wait_said(&["onit: two: is the same directory as one"]);
    let alias = |name: &str, known: &str| {
        format!("onit: {name}: is the same directory as {known}: they are one service, which goes by that name\n")
    };
    let mut told = alias("two", "one");
    // Whichever of them it goes by: first one is renewed, then the other, and in the end both go.
    for (round, name) in ["one", "two", "one"].iter().enumerate() {
        fs::remove_file(sv.path().join(name)).expect("rm");
        sleeper(&sv, &format!("after{round}")).wait_up();
        assert_eq!((web.wait_up(), onit.stderr()), (pid, told.clone()), "without {name}");
        symlink(web.path(), sv.path().join(name)).expect("symlink");
        sleeper(&sv, &format!("again{round}")).wait_up();
        told += &alias(name, if *name == "one" { "two" } else { "one" });
    }
    onit.signal(Signal::SIGHUP);
    sleeper(&sv, "last").wait_up();
    assert_eq!(onit.stderr(), told, "each is told once");
    ["one", "two"].iter().for_each(|name| fs::remove_file(sv.path().join(name)).expect("rm"));
    wait_gone(&onit, pid);
}

#[test]
fn a_switched_link_to_the_directory_keeps_what_stands_in_both_and_stops_and_starts_the_rest() {
    let sv = SvDir::new();
    let [single, multi] = ["single", "multi"].map(|name| sv.root().join(name));
    let both = sv.service_at(sv.root().join("both")).run("exec sleep 1000").create();
    for dir in [&single, &multi] {
        fs::create_dir(dir).expect("mkdir");
        symlink(both.path(), dir.join("both")).expect("symlink");
    }
    let only_single = sv.service_at(single.join("a")).run("exec sleep 1000").create();
    let only_multi = sv.service_at(multi.join("b")).run("exec sleep 1000").create();
    let (current, new) = (sv.root().join("current"), sv.root().join("current.new"));
    symlink("single", &current).expect("symlink");
    let onit = sv.spawn(UnderTest::Onit.command(&current));
    let (pid, stopped) = (both.wait_up(), only_single.wait_up());
    for (dir, starts, stops, gone) in
        [("multi", &only_multi, &only_single, stopped), ("single", &only_single, &only_multi, 0)]
    {
        let gone = if gone == 0 { stops.wait_up() } else { gone };
        symlink(dir, &new).expect("symlink");
        rename(&new, &current);
        starts.wait_up();
        wait_gone(&onit, gone);
        assert_eq!(both.wait_up(), pid);
    }
    // As runsvchdir does it: for a moment there is nothing.
    rename(&current, sv.root().join("previous"));
    symlink("multi", &current).expect("symlink");
    only_multi.wait_up();
    assert_eq!((both.wait_up(), onit.stderr().as_str()), (pid, ""));
}

#[test]
fn hidden_names_templates_and_plain_files_are_silently_no_services() {
    let sv = SvDir::new();
    let hidden = sleeper(&sv, ".hidden");
    let template = sleeper(&sv, "worker@");
    fs::write(sv.path().join("README"), "not a service").expect("write");
    let (onit, _) = start(&sv);
    let hidden_later = sleeper(&sv, ".later");
    fs::write(sv.path().join("notes"), "nor this").expect("write");
    symlink("README", sv.path().join("link")).expect("symlink");
    let instance = sleeper(&sv, "worker@1");
    instance.wait_up();
    for none in [&hidden, &template, &hidden_later] {
        assert!(!none.path().join("supervise").exists(), "{none:?}");
    }
    assert_eq!(onit.stderr(), "");
    rename(hidden.path(), sv.path().join("shown"));
    sv.existing("shown").wait_up();
}

#[test]
fn a_link_that_leads_nowhere_is_told_and_serves_once_it_leads_somewhere() {
    let sv = SvDir::new();
    symlink("../elsewhere", sv.path().join("web")).expect("symlink");
    let (onit, _) = start(&sv);
    onit.wait_said(&["onit: web: cannot open its directory: No such file or directory"]);
    sv.service_at(sv.root().join("elsewhere")).run("exec sleep 1000").create_atomically();
    onit.signal(Signal::SIGHUP);
    sv.existing("web").wait_up();
    assert_eq!(onit.stderr().lines().count(), 1, "said once: {}", onit.stderr());
}

#[test]
fn a_running_service_whose_link_breaks_goes_on_running_and_this_is_told() {
    let sv = SvDir::new();
    let web = sv.service_at(sv.root().join("real")).run("exec sleep 1000").create();
    symlink("../real", sv.path().join("web")).expect("symlink");
    let (onit, _) = start(&sv);
    let pid = web.wait_up();
    rename(web.path(), sv.root().join("moved"));
    onit.signal(Signal::SIGHUP);
    onit.wait_said(&["onit: web: its directory cannot be reached: No such file or directory; keeping it as it is"]);
    let moved = sv.service_at(sv.root().join("moved")).create();
    assert_eq!(moved.wait_up(), pid);
    rename(moved.path(), web.path());
    onit.signal(Signal::SIGHUP);
    sleeper(&sv, "after").wait_up();
    assert_eq!(web.wait_up(), pid);
}

#[test]
fn hup_and_alrm_are_reasons_to_look_at_everything() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    for (name, signal) in [("a", Signal::SIGHUP), ("b", Signal::SIGALRM)] {
        let real = sv.service_at(sv.root().join(name)).run("exec sleep 1000").create();
        symlink(real.path(), sv.path().join(name)).expect("symlink");
        let old = real.wait_up();
        // Behind the link another directory takes the place: the directory of services shows nothing of that.
        rename(real.path(), sv.root().join(format!("{name}.old")));
        sv.service_at(real.path()).run("exec sleep 1000").create_atomically();
        onit.signal(signal);
        wait_gone(&onit, old);
        sv.existing(name).wait_up();
    }
}

#[test]
fn what_was_removed_of_supervise_is_there_again_after_a_hangup_and_nothing_was_restarted() {
    let sv = SvDir::new();
    let (onit, web) = start(&sv);
    let logged = sv.service("logged").run("exec sleep 1000").log("exec cat").create_atomically();
    let all = [web.wait_up(), logged.wait_up(), logged.logger().wait_up()];
    let in_reach = || {
        onit.signal(Signal::SIGHUP);
        for (service, pid) in [&web, &logged, &logged.logger()].into_iter().zip(all) {
            onit.wait_for("its supervise", SOON, || service.is_supervised().then_some(()));
            service.wait_for("its status", |status| status.pid() == Some(pid));
        }
    };
    remove_tree(&web.path().join("supervise"));
    remove_tree(&logged.logger().path().join("supervise"));
    in_reach();
    for file in ["control", "ok", "lock", "status"] {
        let file = web.path().join("supervise").join(file);
        fs::remove_file(&file).expect("rm");
        onit.signal(Signal::SIGHUP);
        onit.wait_for("it to be there again", SOON, || file.exists().then_some(()));
        in_reach();
    }
    web.order(b"d");
    web.wait_down();
    assert_eq!(onit.stderr(), "");
}

#[test]
fn the_end_of_a_removed_service_with_a_logger_is_silent() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let logged = sv
        .service("logged")
        .run("trap 'sleep 1; exit' TERM; echo $$ >read; while :; do sleep 0.05; done")
        .log("echo $$ >read; exec cat");
    let logged = logged.create_atomically();
    let pids = [logged.wait_pid("read"), logged.logger().wait_pid("read")];
    // Nothing is put into it while it is removed.
    logged.wait_up();
    logged.logger().wait_up();
    fs::remove_dir_all(logged.path()).expect("rm");
    onit.signal(Signal::SIGHUP);
    pids.into_iter().for_each(|pid| wait_gone(&onit, pid));
    sleeper(&sv, "later").wait_up();
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_logger_that_is_added_later_serves_from_the_next_start_of_its_service() {
    let sv = SvDir::new();
    let web = sv.service("web").run("echo line $$; exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    onit.wait_for("the first line", SOON, || (!onit.stdout().is_empty()).then_some(()));
    fs::create_dir(web.logger().path()).expect("mkdir");
    web.write_script("log/run", "exec cat >>../logged");
    web.order(b"t");
    let next = web.wait_other(pid);
    assert_eq!(web.wait_text("logged", |text| text.ends_with('\n')), format!("line {next}\n"));
    web.logger().wait_up();
    assert_eq!(onit.stdout(), format!("line {pid}\n"), "before that it had no logger");
}

#[test]
fn a_directory_that_is_missing_at_the_start_is_waited_for() {
    let sv = SvDir::new();
    let place = sv.root().join("later");
    let onit = sv.spawn(UnderTest::Onit.command(&place));
    onit.wait_said(&["onit: cannot open", "later: No such file or directory; waiting for it"]);
    let staged = sv.root().join("staged");
    let web = sv.service_at(staged.join("web")).run("exec sleep 1000").create();
    rename(&staged, &place);
    sv.service_at(place.join("web")).create().wait_up();
    assert!(!web.path().exists());
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

#[test]
fn a_directory_that_is_removed_stops_its_services_and_serves_when_it_comes_back() {
    let sv = SvDir::new();
    let (onit, first) = start(&sv);
    let pid = first.wait_up();
    remove_tree(&sv.path());
    wait_gone(&onit, pid);
    onit.wait_said(&["onit: cannot open", "service: No such file or directory; waiting for it"]);
    for round in 0..50 {
        // It may come while onit looks whether it is there.
        fs::create_dir(sv.path()).expect("mkdir");
        let pid = sleeper(&sv, &format!("web{round}")).wait_up();
        remove_tree(&sv.path());
        wait_gone(&onit, pid);
    }
    // Without a service in it, too.
    fs::create_dir(sv.path()).expect("mkdir");
    let pid = sleeper(&sv, "web").wait_up();
    rename(sv.path().join("web"), sv.root().join("web"));
    wait_gone(&onit, pid);
    fs::remove_dir(sv.path()).expect("rmdir");
    fs::create_dir(sv.path()).expect("mkdir");
    sleeper(&sv, "last").wait_up();
    assert_eq!(onit.ended(), None);
}

/// A rename is seen twice, as a name that went and as a reason to look at everything.
#[test]
fn a_service_that_is_moved_away_gets_its_stop_signal_once() {
    let sv = SvDir::new();
    // Real-time signals queue, so that each one counts.
    let count = r#"#!/usr/bin/python3
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {40})
open("up", "w").write("up\n")
signal.sigwait({40})
count = 1
while signal.sigtimedwait({40}, 0.3):
    count += 1
open("got", "w").write(f"{count}\n")
"#;
    let web = sv.service("web").exec("run", count).file("down-signal", "40").create_atomically();
    let _onit = sv.start(UnderTest::Onit);
    web.wait_text("up", |text| text == "up\n");
    let away = sv.root().join("away");
    rename(web.path(), &away);
    assert_eq!(sv.service_at(away).create().wait_text("got", |text| text.ends_with('\n')), "1\n");
}

#[test]
fn a_directory_that_is_moved_away_and_back_keeps_its_services() {
    let sv = SvDir::new();
    let (onit, first) = start(&sv);
    let pid = first.wait_up();
    let aside = sv.root().join("aside");
    rename(sv.path(), &aside);
    onit.wait_said(&["service: No such file or directory; waiting for it"]);
    rename(&aside, sv.path());
    sleeper(&sv, "after").wait_up();
    assert_eq!(first.wait_up(), pid);
}

#[test]
fn two_hundred_services_created_at_once_all_run_and_all_stop() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    let all: Vec<_> = (0..200).map(|number| sleeper(&sv, &format!("s{number}"))).collect();
    let mut pids: Vec<_> = all.iter().map(Service::wait_up).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!((pids.len(), onit.stderr().as_str()), (200, ""));
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(sv.processes(), [0u32; 0]);
    let down = |service: &Service| service.status().is_some_and(|s| s.stat == "down\n" && !service.is_supervised());
    assert!(all.iter().all(down));
}

#[test]
fn where_nothing_can_be_watched_new_services_are_found_all_the_same() {
    if !is_root() {
        skip!("needs root to make a user namespace for certain");
    }
    let sv = SvDir::new();
    let script = "echo 0 >/proc/sys/user/max_inotify_instances; exec \"$@\"";
    let onit = UnderTest::Onit.command(&sv.path());
    let onit = sv.spawn(crate::svdir::wrapped(&["unshare", "-Ur", "sh", "-c", script, "sh"], &onit));
    onit.wait_said(&["onit: cannot watch", "service (inotify): Too many open files; looking at it every 5s instead"]);
    sleeper(&sv, "web").wait_up();
    assert_eq!(onit.stderr().lines().count(), 1, "said once: {}", onit.stderr());
}

/// What a rename costs does not depend on how many services there are.
#[test]
fn a_storm_of_renames_among_many_services_costs_little_and_the_last_one_is_up_at_once() {
    let (services, renames) = (as_many(1500), as_many(600));
    let sv = SvDir::new();
    for number in 0..services {
        sv.service(&format!("s{number:04}")).run("exec sleep 1000").down().create();
    }
    for number in 0..renames {
        sv.service(&format!(".n{number:04}")).run("exec sleep 1000").down().create();
    }
    let (onit, _) = start(&sv);
    let before = memory(onit.pid());
    for number in 0..renames {
        rename(sv.path().join(format!(".n{number:04}")), sv.path().join(format!("n{number:04}")));
        // Every turn is to see a few of them, as when a person or a program makes them.
        std::thread::sleep(Duration::from_millis(1));
    }
    let last = sv.existing(&format!("n{:04}", renames - 1));
    last.wait_for("supervision", |status| status.phase() == Phase::Down);
    let grown = memory(onit.pid()).saturating_sub(before);
    assert!(grown < 12 << 20, "{renames} services and their renames cost {grown} bytes");
    // Names within the directory: one and the same, over and over.
    let (here, there) = (sv.path().join("s0000"), sv.path().join("t0000"));
    let web = sleeper(&sv, "web");
    let pid = web.wait_up();
    for _ in 0..renames {
        rename(&here, &there);
        rename(&there, &here);
        rename(web.path(), sv.path().join("www"));
        rename(sv.path().join("www"), web.path());
    }
    sleeper(&sv, "after").wait_up();
    assert_eq!((web.wait_up(), onit.stderr().as_str()), (pid, ""));
}

/// Resident, in bytes.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn many_services_that_are_moved_away_at_once_all_stop_and_those_that_stay_run_on() {
    let sv = SvDir::new();
    let (onit, first) = start(&sv);
    let away = sv.root().join("away");
    fs::create_dir(&away).expect("mkdir");
    let all: Vec<_> = (0..60).map(|number| sleeper(&sv, &format!("s{number:02}"))).collect();
    let pids: Vec<_> = all.iter().map(Service::wait_up).collect();
    let kept = first.wait_up();
    for (number, service) in all.iter().enumerate() {
        // Every second one stays, under another name.
        let to = if number % 2 == 0 { &away } else { &sv.path() };
        rename(service.path(), to.join(format!("t{number:02}")));
    }
    pids.iter().step_by(2).for_each(|pid| wait_gone(&onit, *pid));
    sleeper(&sv, "after").wait_up();
    for (number, pid) in pids.iter().enumerate().skip(1).step_by(2) {
        assert_eq!(sv.existing(&format!("t{number:02}")).wait_up(), *pid);
    }
    assert_eq!((first.wait_up(), onit.stderr().as_str()), (kept, ""));
}

#[test]
fn a_directory_that_is_made_in_place_gets_no_complaint_and_starts_when_it_is_complete() {
    let sv = SvDir::new();
    let (onit, _) = start(&sv);
    for round in 0..20 {
        let dir = sv.path().join(format!("web{round}"));
        let script = "mkdir $1; mkdir $1/log; printf '#!/bin/sh\\nexec sleep 1000\\n' >$1/run; chmod +x $1/run; \
            printf '#!/bin/sh\\nexec cat\\n' >$1/log/run; chmod +x $1/log/run";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&dir);
        assert_eq!(sv.run(command).code, 0);
        let web = Service::at(dir);
        web.wait_up();
        web.logger().wait_up();
    }
    let lines = onit.stderr();
    assert!(!lines.contains("missing"), "the interpreter is there: {lines}");
    assert!(lines.lines().count() <= 2, "a machine may be slow for once, not each time: {lines}");
    // What stays incomplete is told.
    fs::create_dir(sv.path().join("never")).expect("mkdir");
    onit.wait_said(&["onit: never: cannot start ./run: No such file or directory; trying again"]);
}

#[test]
fn a_second_run_on_one_directory_says_who_serves_it_and_ends_also_as_another_user() {
    let sv = SvDir::new();
    let (onit, first) = start(&sv);
    let pid = first.wait_up();
    let refused = |run: Supervisor| {
        assert_eq!(run.wait_end(SOON), Ending::Code(111));
        let line = format!("onit: {}: process {} already serves it\n", sv.path().display(), onit.pid());
        assert_eq!(run.stderr(), line);
    };
    refused(sv.start(UnderTest::Onit));
    let link = sv.root().join("link");
    symlink(sv.path(), &link).expect("symlink");
    let again = sv.spawn(UnderTest::Onit.command(&link));
    assert_eq!(again.wait_end(SOON), Ending::Code(111));
    // It is still known after a fault, and when it has ended there is room for another.
    onit.signal(Signal::SIGSEGV);
    sleeper(&sv, "after").wait_up();
    refused(sv.start(UnderTest::Onit));
    assert_eq!(first.wait_up(), pid);
    if is_root() && crate::svdir::missing_tools(&["setpriv"]).is_none() {
        let copy = sv.root().join("onit");
        crate::svdir::copy_program(&crate::svdir::onit(), &copy);
        fs::set_permissions(sv.root(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let words = [copy.to_str().expect("text"), "run", sv.path().to_str().expect("text")].map(str::to_owned);
        let stranger = ["setpriv", "--reuid=54410", "--regid=54410", "--clear-groups"].map(str::to_owned);
        refused(sv.spawn_words(&[&stranger[..], &words[..]].concat()));
    }
    onit.signal(Signal::SIGTERM);
    onit.wait_end(SOON);
    let next = sv.start(UnderTest::Onit);
    first.wait_up();
    assert_eq!((next.ended(), next.stderr().as_str()), (None, ""));
}

#[test]
fn a_service_in_place_of_a_directory_of_services_is_told() {
    let sv = SvDir::new();
    let web = sv.service("web").run("exec sleep 1000").log("exec cat").create();
    let run = sv.start_on(UnderTest::Onit, &web);
    assert_eq!(run.wait_end(SOON), Ending::Code(100));
    let (shown, parent) = (web.path().display().to_string(), sv.path().display().to_string());
    let words = "is a service (it holds ./run), not a directory of services";
    assert_eq!(run.stderr(), format!("onit: {shown} {words}: \"onit run {parent}\" runs all that stand beside it\n"));
    assert!(!web.logger().path().join("supervise").exists());
    // A directory of services may hold a file of that name.
    fs::write(sv.path().join("run"), "#!/bin/sh\n").expect("written");
    let _onit = sv.start(UnderTest::Onit);
    web.wait_up();
}

#[test]
fn where_others_can_change_the_directory_unseen_it_is_looked_at_and_elsewhere_nobody_wakes_up() {
    if !is_root() {
        skip!("only root can mount");
    }
    let sv = SvDir::new();
    let [lower, upper, work, mount] = ["lower", "upper", "work", "mount"].map(|name| sv.root().join(name));
    [&lower, &upper, &work, &mount].iter().for_each(|dir| fs::create_dir(dir).expect("mkdir"));
    let mut command = std::process::Command::new("unshare");
    let script = "mount -t overlay o -o lowerdir=$1,upperdir=$2,workdir=$3 $4 || exit 9; shift 4; exec \"$@\"";
    command.args(["-m", "sh", "-c", script, "sh"]).args([&lower, &upper, &work, &mount]);
    command.arg(crate::svdir::onit()).arg("run").arg(&mount);
    let inside = sv.service_at(upper.join("inside")).run("exec sleep 1000").create();
    let onit = sv.spawn(command);
    if crate::svdir::poll_until(Duration::from_secs(2), || onit.ended()).is_some() {
        skip!("there is no overlay here: {}", onit.stderr());
    }
    // From here the status is seen, but a FIFO of the overlay is another one.
    let runs = |service: &Service| {
        let status = || service.status().filter(|status| status.phase() == Phase::Run);
        onit.wait_for("the service to run", SOON, || status().map(drop));
    };
    runs(&inside);
    // What comes to the upper directory itself, the overlay is not told.
    runs(&sv.service_at(upper.join("later")).run("exec sleep 1000").create_atomically());
    assert_eq!(onit.stderr(), "");
}

#[test]
fn how_often_to_look_can_be_said_by_hand() {
    let sv = SvDir::new();
    sv.service("web").run("exec sleep 1000").create();
    let mut command = UnderTest::Onit.command(&sv.path());
    command.env("ONIT_POLL", "sometimes");
    let onit = sv.spawn(command);
    onit.wait_said(&["onit: ONIT_POLL says \"sometimes\", which is neither auto, never nor a time; going by auto"]);
    let is_quiet = |onit: &Supervisor| {
        let turns = || proc::Glimpse::of(onit.pid()).expect("it lives").switches;
        crate::svdir::poll_until(SOON, || {
            let before = turns();
            std::thread::sleep(Duration::from_millis(800));
            (turns() == before).then_some(())
        })
        .is_some()
    };
    sv.existing("web").wait_up();
    assert!(is_quiet(&onit));
    onit.signal(Signal::SIGTERM);
    onit.wait_end(SOON);

    let mut command = UnderTest::Onit.program();
    command.args(["--poll", "200ms"]).arg(sv.path()).env("ONIT_POLL", "never");
    let onit = sv.spawn(command);
    sv.existing("web").wait_up();
    assert!(crate::svdir::poll_until(Duration::from_secs(5), || is_awake(&onit)).is_some(), "the option counts");
    let mut command = UnderTest::Onit.program();
    command.args(["--poll", "often"]).arg(sv.path());
    let run = sv.spawn(command);
    assert_eq!(run.wait_end(SOON), Ending::Code(100));
    assert!(run.stderr().starts_with("onit: --poll often is neither auto, never nor a time of 100ms or more\n"));
}

/// Whether it does something within half a second.
fn is_awake(onit: &Supervisor) -> Option<()> {
    let before = proc::Glimpse::of(onit.pid())?.switches;
    std::thread::sleep(Duration::from_millis(500));
    (proc::Glimpse::of(onit.pid())?.switches > before).then_some(())
}
