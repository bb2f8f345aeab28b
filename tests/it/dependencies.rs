//! `dependencies.d` and `after.d`: who starts after whom, and stops before whom.

use crate::crash_and_upgrade::replace;
use crate::restarts::{told, wait_state};
use crate::svdir::{Ending, SOON, Service, ServiceBuilder, Supervisor, SvDir, UnderTest, wait_for};
use crate::until::until;
use crate::verbs::{start, verb, well};
use nix::sys::signal::Signal;

/// A service that says when it comes and goes, and takes its time for that. It is ready when it has said so.
fn service(sv: &SvDir, name: &str, links: &[&str]) -> Service {
    let run = format!(
        "trap 'sleep 0.1; echo {name} down >>../order; exit 0' TERM; echo {name} up >>../order; echo >&3\n\
         while [ ! -e crash ]; do sleep 0.02; done; rm crash; exit 3"
    );
    linked(sv.service(name).run(&run).file("notification-fd", "3"), links)
}

/// A service that is ready once the file `go` is there.
fn slow(sv: &SvDir, name: &str, links: &[&str]) -> Service {
    let run = format!(
        "trap 'echo {name} down >>../order; exit 0' TERM\n\
         while [ ! -e go ]; do sleep 0.02; done; echo {name} up >>../order; echo >&3\n\
         while [ ! -e crash ]; do sleep 0.02; done; rm crash; exit 3"
    );
    linked(sv.service(name).run(&run).file("notification-fd", "3"), links)
}

fn oneshot(sv: &SvDir, name: &str, links: &[&str]) -> Service {
    linked(sv.service(name).exec("setup", &format!("#!/bin/sh\necho {name} done >>../order\n")), links)
}

fn linked(service: ServiceBuilder, links: &[&str]) -> Service {
    links.iter().fold(service, |service, link| service.file(link, "")).create()
}

fn order(sv: &SvDir) -> Vec<String> {
    let lines = std::fs::read_to_string(sv.path().join("order")).unwrap_or_default();
    lines.lines().map(str::to_owned).collect()
}

fn wait_order(sv: &SvDir, lines: &[&str]) {
    wait_for(&format!("{lines:?}"), SOON, || (order(sv) == lines).then_some(()));
}

fn stop(onit: &Supervisor) {
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
}

/// A database that takes its time, a migration, an application, and what is only to come after it.
fn tiers(sv: &SvDir) -> Service {
    let db = slow(sv, "db", &[]);
    oneshot(sv, "migrate", &["dependencies.d/db"]);
    service(sv, "app", &["dependencies.d/migrate", "dependencies.d/db"]);
    service(sv, "a-web", &["after.d/app"]);
    db
}

const UP: [&str; 4] = ["db up", "migrate done", "app up", "a-web up"];

#[test]
fn all_come_up_in_order_and_go_down_in_the_reverse_order() {
    let sv = SvDir::new();
    let db = tiers(&sv);
    let onit = start(&sv, UnderTest::Onit);
    let app = wait_state(&sv, "app", "waiting");
    assert!(app["pid"].is_null() && app["want"] == "up" && app["next"].is_null(), "{app}");
    wait_for("the reason", SOON, || {
        told(&sv, "app")["reason"].as_str().is_some_and(|why| why.starts_with("db (starting, ")).then_some(())
    });
    assert!(well(&sv, &["status"]).contains("waiting for db (starting, "), "in words");
    let health = verb(&sv, &["health"]);
    assert!(health.code == 1 && health.stdout.starts_with("db: starting"), "what all wait for: {health:?}");
    wait_state(&sv, "a-web", "waiting");
    assert_eq!(order(&sv), [""; 0]);
    db.write("go", "");
    well(&sv, &["wait", "up", "a-web"]);
    wait_order(&sv, &UP);
    assert_eq!(verb(&sv, &["health"]).code, 0);
    stop(&onit);
    assert_eq!(order(&sv)[4..], ["a-web down", "app down", "db down"]);
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_service_that_is_told_to_stop_stops_first_what_needs_it_and_up_brings_all_of_it_back() {
    let sv = SvDir::new();
    let db = tiers(&sv);
    db.write("go", "");
    let onit = start(&sv, UnderTest::Onit);
    wait_order(&sv, &UP);
    well(&sv, &["down", "db"]);
    assert_eq!(order(&sv)[4..], ["app down", "db down"], "what only comes after it goes on");
    onit.wait_said(&["onit: db: told to stop; stopping first what needs it: app"]);
    assert_eq!([told(&sv, "app")["state"].clone(), told(&sv, "a-web")["state"].clone()], ["down", "up"]);
    well(&sv, &["up", "app"]);
    wait_order(&sv, &[&UP[..], &["app down", "db down", "db up", "app up"]].concat());
    // An order in a FIFO means the same.
    db.control(b"d").expect("an order");
    wait_order(&sv, &[&UP[..], &["app down", "db down", "db up", "app up", "app down", "db down"]].concat());
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
}

#[test]
fn who_needs_a_service_lives_on_when_that_fails_and_waits_for_it_at_its_next_start() {
    let sv = SvDir::new();
    let (db, app) = (slow(&sv, "db", &[]), service(&sv, "app", &["dependencies.d/db"]));
    db.write("go", "");
    let _onit = start(&sv, UnderTest::Onit);
    wait_order(&sv, &["db up", "app up"]);
    let (first, living) = (db.wait_up(), app.wait_up());
    std::fs::remove_file(db.path().join("go")).expect("removed");
    db.write("crash", "");
    db.wait_other(first);
    assert_eq!(
        (told(&sv, "app")["pid"].as_u64(), told(&sv, "db")["state"].clone()),
        (Some(living.into()), "starting".into())
    );
    app.write("crash", "");
    wait_state(&sv, "app", "waiting");
    db.write("go", "");
    wait_order(&sv, &["db up", "app up", "db up", "app up"]);
}

#[test]
fn who_only_comes_after_a_service_does_not_wait_for_one_that_is_not_about_to_come() {
    let sv = SvDir::new();
    let links = ["after.d/nowhere", "after.d/failed", "after.d/down", "after.d/done"];
    service(&sv, "down", &[]).write("down", "");
    let failed =
        sv.service("failed").exec("setup", "#!/bin/sh\n[ -e go ] || exit 111\n").run("exec sleep 1000").create();
    oneshot(&sv, "done", &[]);
    let web = service(&sv, "web", &links);
    let hard = service(&sv, "hard", &["dependencies.d/failed"]);
    let onit = start(&sv, UnderTest::Onit);
    web.wait_up();
    assert_eq!(told(&sv, "down")["state"], "down");
    wait_for("a reason", SOON, || {
        told(&sv, "hard")["reason"].as_str().is_some_and(|why| why.starts_with("failed (failed, ")).then_some(())
    });
    // What has failed is tried again if somebody asks for what needs it.
    failed.write("go", "");
    well(&sv, &["up", "hard"]);
    hard.wait_up();
    assert_eq!(onit.said(&["onit: failed: ./setup exited with 111"]).len(), 1);
}

#[test]
fn what_is_needed_is_brought_up_although_it_is_not_started_by_itself() {
    let sv = SvDir::new();
    for (name, links) in [("a", &["dependencies.d/b"][..]), ("b", &["dependencies.d/c"]), ("c", &[])] {
        service(&sv, name, links);
    }
    for name in ["b", "c"] {
        std::fs::write(sv.path().join(name).join("down"), "").expect("written");
    }
    let onit = start(&sv, UnderTest::Onit);
    wait_order(&sv, &["c up", "b up", "a up"]);
    stop(&onit);
    assert_eq!(order(&sv)[3..], ["a down", "b down", "c down"]);
}

#[test]
fn who_has_lost_what_it_needs_lives_on_and_its_next_start_says_what_is_missing() {
    let sv = SvDir::new();
    let (db, app) = (service(&sv, "db", &[]), service(&sv, "app", &["dependencies.d/db"]));
    let onit = start(&sv, UnderTest::Onit);
    wait_order(&sv, &["db up", "app up"]);
    let living = app.wait_up();
    std::fs::rename(db.path(), sv.path().join(".db")).expect("renamed");
    wait_order(&sv, &["db up", "app up", "db down"]);
    assert_eq!((app.wait_up(), onit.stderr().as_str()), (living, ""));
    app.write("crash", "");
    onit.wait_said(&["onit: app: waits for db (dependencies.d), which is not there"]);
    service(&sv, "db", &[]);
    app.wait_other(living);
    assert_eq!(onit.said(&["waits for db"]).len(), 1, "{}", onit.stderr());
}

/// The last one that depends on others is let go of before they are looked at again.
#[test]
fn who_is_held_is_stopped_when_no_link_is_left() {
    for _ in 0..5 {
        let sv = SvDir::new();
        linked(sv.service("app").run("exec sleep 1000"), &["dependencies.d/z"]);
        let z = service(&sv, "z", &[]);
        let onit = start(&sv, UnderTest::Onit);
        wait_state(&sv, "app", "up");
        let pid = z.wait_up();
        wait_order(&sv, &["z up"]);
        stop(&onit);
        assert_eq!((order(&sv).join(", "), onit.stderr().as_str()), ("z up, z down".into(), ""), "{pid} was told");
    }
}

#[test]
fn the_graph_is_told_as_a_tree() {
    let sv = SvDir::new();
    let db = tiers(&sv);
    service(&sv, "lost", &["dependencies.d/nowhere"]);
    let _onit = start(&sv, UnderTest::Onit);
    db.write("go", "");
    wait_order(&sv, &UP);
    let tree = "a-web (up)\n└─ after app (up)\n   ├─ db (up)\n   └─ migrate (done)\n      └─ db (up)\nlost (waiting)\n└─ nowhere (not there)\n";
    assert_eq!(well(&sv, &["graph"]), tree);
    assert_eq!(well(&sv, &["graph", "migrate"]), "migrate (done)\n└─ db (up)\n");
    let dot = well(&sv, &["graph", "--dot", "a-web"]);
    assert!(dot.starts_with("digraph services {\n    \"a-web\";\n    \"a-web\" -> \"app\" [style=dashed];\n"), "{dot}");
    assert!(dot.ends_with("    \"app\" -> \"db\";\n    \"app\" -> \"migrate\";\n    \"migrate\";\n    \"migrate\" -> \"db\";\n    \"db\";\n}\n"), "{dot}");
}

#[test]
fn circles_and_unknown_names_are_told_once_and_the_rest_runs() {
    let sv = SvDir::new();
    let links = [("a", "b"), ("b", "c"), ("c", "a"), ("self", "self"), ("lost", "nowhere"), ("rest", "a")];
    for (name, on) in links {
        service(&sv, name, &[&format!("dependencies.d/{on}")]);
    }
    let onit = start(&sv, UnderTest::Onit);
    for name in ["a", "b", "c", "self", "rest"] {
        wait_state(&sv, name, "up");
    }
    onit.wait_said(&["onit: a: depends on itself: a -> b -> c -> a; these do not wait for each other"]);
    onit.wait_said(&["onit: self: depends on itself: self -> self; these do not wait for each other"]);
    onit.wait_said(&["onit: lost: waits for nowhere (dependencies.d), which is not there"]);
    assert_eq!(told(&sv, "lost")["reason"], "nowhere (not there)");
    well(&sv, &["rescan"]);
    service(&sv, "nowhere", &[]);
    wait_state(&sv, "lost", "up");
    assert_eq!(onit.stderr().lines().count(), 3, "{}", onit.stderr());
    // A circle that appears while all run.
    let nowhere = Service::at(sv.path().join("nowhere"));
    std::fs::create_dir(nowhere.path().join("dependencies.d")).expect("made");
    nowhere.write("dependencies.d/lost", "");
    well(&sv, &["rescan"]);
    onit.wait_said(&["onit: lost: depends on itself: lost -> nowhere -> lost; these do not wait for each other"]);
    well(&sv, &["restart", "nowhere", "lost"]);
    stop(&onit);
}

#[test]
fn who_waits_and_who_is_held_goes_on_when_the_supervisor_is_replaced() {
    for fails in [false, true] {
        let sv = SvDir::new();
        let db = slow(&sv, "db", &[]);
        // It ends when it is told to, and a file is there.
        let run = "trap 'while [ ! -e end ]; do sleep 0.02; done; echo app down >>../order; exit 0' TERM\n\
                   echo app up >>../order; while :; do sleep 0.02; done";
        let app = linked(sv.service("app").run(run), &["dependencies.d/db"]);
        let onit = start(&sv, UnderTest::Onit);
        wait_state(&sv, "app", "waiting");
        replace(&sv, &onit, fails);
        assert_eq!(told(&sv, "app")["state"], "waiting");
        db.write("go", "");
        wait_order(&sv, &["db up", "app up"]);
        let pid = db.wait_up();
        well(&sv, &["down", "--no-wait", "db"]);
        wait_state(&sv, "app", "stopping");
        assert_eq!(told(&sv, "db")["want"], "down");
        replace(&sv, &onit, fails);
        let db_now = told(&sv, "db");
        assert_eq!((&db_now["state"], db_now["pid"].as_u64()), (&"up".into(), Some(pid.into())), "it is held");
        app.write("end", "");
        wait_order(&sv, &["db up", "app up", "app down", "db down"]);
        stop(&onit);
    }
}

#[test]
fn what_waits_in_vain_does_not_hold_up_the_end_of_everything() {
    let sv = SvDir::new();
    sv.service("db").exec("setup", "#!/bin/sh\nexit 111\n").create();
    oneshot(&sv, "job", &["dependencies.d/db"]);
    let onit = until(&sv, &["--until", "done"]);
    assert_eq!(onit.wait_end(SOON), Ending::Code(111), "{}", onit.stderr());
    assert_eq!(order(&sv), [""; 0]);
}
