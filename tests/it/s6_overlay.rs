//! `onit s6-overlay`, also as `/init`: containers made for s6-overlay come up, run and end as they are.

use crate::container::{Bundle, why_no_containers};
use crate::svdir::{Ending, SOON, skip};

/// As an image for s6-overlay has it, with onit in its place.
fn image() -> Bundle {
    let bundle = Bundle::new().symlink("/init", "/bin/onit").dir("/run", 0o755).dir("/usr/bin", 0o755);
    bundle.dir("/tmp", 0o1777).args(["/init"])
}

/// A service of version 3, which needs these.
fn source(bundle: Bundle, name: &str, kind: &str, needs: &[&str]) -> Bundle {
    let at = |file: &str| format!("/etc/s6-overlay/s6-rc.d/{name}/{file}");
    let bundle = bundle.file(&at("type"), &format!("{kind}\n"), 0o644);
    needs.iter().fold(bundle, |bundle, need| bundle.file(&at(&format!("dependencies.d/{need}")), "", 0o644))
}

/// A oneshot of version 3 as they are usually made: its `up` has the path of a script.
fn oneshot(bundle: Bundle, name: &str, needs: &[&str], script: &str) -> Bundle {
    let at = |file: &str| format!("/etc/s6-overlay/s6-rc.d/{name}/{file}");
    let bundle = source(bundle, name, "oneshot", needs).file(&at("up"), &format!("{}\n", at("run")), 0o644);
    bundle.file(&at("run"), &format!("#!/command/with-contenv sh\n{script}\n"), 0o755)
}

fn longrun(bundle: Bundle, name: &str, needs: &[&str], script: &str) -> Bundle {
    let at = format!("/etc/s6-overlay/s6-rc.d/{name}/run");
    source(bundle, name, "longrun", needs).file(&at, &format!("#!/command/with-contenv sh\n{script}\n"), 0o755)
}

fn enabled(bundle: Bundle, names: &[&str]) -> Bundle {
    let at = |name: &&str| format!("/etc/s6-overlay/s6-rc.d/user/contents.d/{name}");
    names.iter().fold(bundle, |bundle, name| bundle.file(&at(name), "", 0o644))
}

/// Says that it is up, and later that it goes down. From then on there is its file in `/tmp`.
fn traced(name: &str) -> String {
    format!("echo {name} up\ntrap 'echo {name} down; exit 0' TERM\n: >/tmp/traced.{name}\nwhile :; do sleep 0.02; done")
}

/// What `finish` scripts of s6-overlay do.
const HALTS: &str = "[ \"$1\" = 256 ] && code=$((128 + $2)) || code=$1
echo finish $1 $2 $3
echo $code >/run/s6-linux-init-container-results/exitcode
exec /run/s6/basedir/bin/halt";

#[test]
fn a_tree_of_version_2_comes_up_in_order_and_ends_with_the_code_that_a_finish_writes() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    for (ends, code) in [("exit 5", 5), ("kill -KILL $$", 137)] {
        let bundle = image().env("GREETING", "hello");
        let bundle = bundle.file("/etc/cont-init.d/02-b", "#!/usr/bin/with-contenv sh\necho b $GREETING\n", 0o755);
        let bundle = bundle.script("/etc/cont-init.d/01-a", "sleep 0.1; echo a; exit 1");
        let bundle = bundle.file("/etc/cont-init.d/03-no-program", "", 0o644);
        let web = format!("echo web; while [ ! -e /tmp/traced.other ]; do sleep 0.02; done; {ends}");
        let bundle = bundle.script("/etc/services.d/web/run", &web).script("/etc/services.d/web/finish", HALTS);
        let bundle = bundle.script("/etc/services.d/other/run", &traced("other"));
        let bundle = bundle.script("/etc/services.d/other/log/run", "exec sed 's/^/logged: /'");
        let bundle = bundle.script("/etc/services.d/off/run", "echo never").file("/etc/services.d/off/down", "", 0o644);
        let bundle = bundle.script("/etc/cont-finish.d/1", "echo finish a; exit 3");
        let bundle =
            bundle.script("/etc/cont-finish.d/2", "echo with $(cat /run/s6-linux-init-container-results/exitcode)");
        let outcome = bundle.run();
        assert_eq!(outcome.code, code, "{outcome:?}");
        let lines: Vec<&str> = outcome.stdout.lines().collect();
        let finish = if code == 5 { "finish 5 0 web" } else { "finish 256 9 web" };
        let mut middle = lines[2..lines.len() - 2].to_vec();
        middle.sort_unstable();
        assert_eq!(lines[..2], ["a", "b hello"], "{outcome:?}");
        assert_eq!(middle, [finish, "logged: other down", "logged: other up", "web"], "{outcome:?}");
        assert_eq!(lines[lines.len() - 2..], ["finish a".to_owned(), format!("with {code}")], "{outcome:?}");
        assert!(outcome.stderr.ends_with("\nonit: /etc/cont-finish.d/1: exit 3\n"), "{outcome:?}");
    }
}

#[test]
fn a_tree_of_version_3_comes_up_in_order_before_the_command_and_goes_down_after_it() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = image().env("WORD", "word").cwd("/tmp");
    let bundle = oneshot(bundle, "init-config", &["base"], "sleep 0.1; echo config $WORD");
    let bundle = source(bundle, "init-anchor", "oneshot", &["init-config"]);
    let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/init-anchor/up", "", 0o644);
    let ready = "sleep 0.1; echo ready\necho >&4\necho line; exec 4>&-; ";
    let bundle = longrun(bundle, "svc-web", &["init-anchor"], &format!("{ready}exec sleep 1000"));
    let web = "/etc/s6-overlay/s6-rc.d/svc-web";
    let bundle = bundle.file(&format!("{web}/notification-fd"), "4\n", 0o644);
    let bundle = bundle.file(&format!("{web}/producer-for"), "web-log\n", 0o644);
    let bundle = longrun(bundle, "web-log", &[], "exec logutil-service /tmp/log");
    let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/web-log/consumer-for", "svc-web\n", 0o644);
    // Bundles of users may also be in the other place, and there is a second one, for what comes late.
    let bundle = longrun(bundle, "second", &["svc-web"], &traced("second"));
    let bundle = bundle.file("/etc/s6-overlay/user-bundles.d/user/contents.d/second", "", 0o644);
    let bundle = longrun(bundle, "late", &[], &traced("late"));
    let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/user2/type", "bundle\n", 0o644);
    let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/user2/contents.d/late", "", 0o644);
    let bundle = longrun(bundle, "unused", &[], "echo never");
    let bundle = enabled(bundle, &["svc-web"]).script("/etc/cont-init.d/1", "echo first");
    let bundle = bundle.script("/etc/cont-finish.d/1", "cat /run/s6-linux-init-container-results/exitcode");
    let bundle = bundle.script("/etc/services.d/old/run", &traced("old"));
    let log = "/tmp/log/current";
    let all = "[ -e /tmp/up ] && [ -e /tmp/traced.second ] && [ -e /tmp/traced.late ] && [ -e /tmp/traced.old ]";
    let command = format!("until grep -qs line {log} && {all}; do sleep 0.02; done; echo $PWD $1; exit 3");
    let bundle = bundle.script("/bin/command", &command).dir("/tmp/log", 0o777);
    // What is up is said before the command begins, which is what it would not wait for itself.
    let bundle = bundle.script("/bin/go", "onit status --json >/tmp/up; exec command \"$@\"");
    let bundle = bundle.args(["/init", "go", "hello"]);
    let outcome = bundle.run();
    assert_eq!(outcome.code, 3, "{outcome:?}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], ["first", "config word"], "{outcome:?}");
    let at =
        |word: &str| lines.iter().position(|line| *line == word).unwrap_or_else(|| panic!("no {word}: {outcome:?}"));
    assert!(["old up", "late up", "second up"].map(at).iter().all(|at| *at > 1), "{outcome:?}");
    assert!(at("/tmp hello") < at("late down") && at("late down") < at("old down"), "{outcome:?}");
    assert!(at("old down") < at("second down"), "{outcome:?}");
    assert_eq!((lines.last(), lines.len()), (Some(&"3"), 10), "{outcome:?}");
    assert_eq!(outcome.stderr, "", "{outcome:?}");
    let up = std::fs::read_to_string(bundle.root().join("tmp/up")).expect("what was up");
    let up = crate::verbs::json(&up);
    let state = |name: &str| up.as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    let states =
        ["init-anchor", "svc-web", "web-log", "second", "late"].map(|name| state(name).map(|it| it["state"].clone()));
    assert_eq!(
        states.map(|it| it.unwrap_or_default().to_string()),
        ["\"done\"", "\"up\"", "\"up\"", "\"up\"", "\"up\""]
    );
    let since = |name: &str| state(name).and_then(|it| it["since"].as_f64()).expect(name);
    assert!(since("old") <= since("late"), "{up}");
    let log = std::fs::read_to_string(bundle.root().join("tmp/log/current")).expect("a log");
    let stamped = |line: &str| line.starts_with("20") && line.chars().filter(|letter| *letter == ':').count() == 2;
    let texts: Vec<&str> =
        log.lines().filter(|line| stamped(line)).filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(texts, ["ready", "line"], "{log:?}");
}

#[test]
fn what_a_failure_means_is_as_the_variable_says() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    // Of version 2 and of version 3: what fails, and what else there is.
    let broken = |bundle: Bundle, is_old: bool| match is_old {
        true => bundle.script("/etc/cont-init.d/1", "exit 9").script("/etc/cont-init.d/2", "echo second"),
        false => enabled(oneshot(bundle, "broken", &[], "exit 9"), &["broken"]),
    };
    for (is_old, behaviour) in [(true, "0"), (true, "1"), (true, "2"), (false, "0"), (false, "1"), (false, "2")] {
        let bundle = broken(image(), is_old).env("S6_BEHAVIOUR_IF_STAGE2_FAILS", behaviour);
        let bundle = bundle.args(["/init", "sh", "-c", "echo command; exit 4"]);
        let outcome = bundle.run();
        let second = if is_old { "second\n" } else { "" };
        let expected = if behaviour == "2" { (9, String::new()) } else { (4, format!("{second}command\n")) };
        assert_eq!((outcome.code, outcome.stdout.clone()), expected, "{is_old} {behaviour}: {outcome:?}");
        let told = match is_old {
            true => "onit: /etc/cont-init.d/1: exit 9\n",
            false => "onit: s6-overlay: broken did not come up\n",
        };
        assert_eq!(outcome.stderr.contains(told), behaviour == "1" || is_old && behaviour == "2", "{outcome:?}");
    }
}

#[test]
fn the_command_waits_no_longer_than_it_is_told() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let late = "onit: s6-overlay: services did not come up within 200 ms\n";
    for (behaviour, code, stderr) in [("0", 4, ""), ("1", 4, late), ("2", 1, late)] {
        let bundle = enabled(longrun(image(), "slow", &[], "exec sleep 1000"), &["slow"]);
        let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/slow/notification-fd", "3\n", 0o644);
        let bundle =
            bundle.env("S6_BEHAVIOUR_IF_STAGE2_FAILS", behaviour).env("S6_CMD_WAIT_FOR_SERVICES_MAXTIME", "200");
        let outcome = bundle.args(["/init", "sh", "-c", "exit 4"]).run();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (code, stderr), "{behaviour}");
    }
    // For those of version 2 only if it is asked to.
    for waits in ["0", "1"] {
        let bundle = image().file("/etc/services.d/slow/notification-fd", "3\n", 0o644);
        let bundle = bundle.script("/etc/services.d/slow/run", "sleep 2; touch /tmp/ready; echo >&3; exec sleep 1000");
        let bundle = bundle.env("S6_CMD_WAIT_FOR_SERVICES", waits);
        let outcome = bundle.args(["/init", "sh", "-c", "[ -e /tmp/ready ]"]).run();
        assert_eq!(outcome.code, if waits == "1" { 0 } else { 1 }, "{outcome:?}");
    }
}

#[test]
fn a_service_may_ask_for_the_end_while_the_command_runs_and_so_may_an_engine() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let halting = |body: &str| {
        let bundle = enabled(longrun(image(), "web", &[], body), &["web"]);
        let bundle = bundle.script("/etc/s6-overlay/s6-rc.d/web/finish", &format!("[ -e /tmp/stop ] && exit\n{HALTS}"));
        bundle.args([
            "/init",
            "sh",
            "-c",
            "trap 'touch /tmp/stop; exit 1' TERM; echo command; : >/tmp/go; while :; do sleep 0.02; done",
        ])
    };
    let outcome = halting("while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 6").run();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (6, "command\nfinish 6 0 web\n"), "{outcome:?}");
    // A container that is started again is as a new one, although its files are there.
    let bundle = halting("[ -e /tmp/stop ] && exit 8; exec sleep 1000");
    let container = bundle.start();
    container.wait_for("the command", SOON, || (container.stdout() == "command\n").then_some(()));
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
    std::fs::remove_file(bundle.root().join("tmp/stop")).expect("it was made");
    let container = bundle.start();
    container.wait_for("the command", SOON, || (container.stdout() == "command\n").then_some(()));
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
    assert_eq!(container.stderr(), "");
}

#[test]
fn who_asks_for_the_end_once_more_hurries_nobody() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    // Each finish asks again, and the first of them while the other service is at work yet.
    let body = |ending: &str| format!("trap '{ending}; exit 0' TERM\necho up\nwhile :; do sleep 0.02; done");
    let bundle = longrun(image(), "quick", &[], &body("echo quick"));
    let bundle = longrun(bundle, "slow", &[], &body("sleep 2; echo slow"));
    let at = |name: &str| format!("/etc/s6-overlay/s6-rc.d/{name}/finish");
    let bundle = bundle.script(&at("quick"), HALTS).script(&at("slow"), HALTS);
    let container = enabled(bundle, &["quick", "slow"]).args(["/init"]);
    let container = container.start();
    container.wait_for("both services", SOON, || (container.stdout() == "up\nup\n").then_some(()));
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
    let said = container.stdout();
    let said: Vec<&str> = said.lines().skip(2).collect();
    assert_eq!(said, ["quick", "finish 0 0 quick", "slow", "finish 0 0 slow"]);
    assert_eq!(container.stderr(), "");
}

#[test]
fn a_service_has_the_time_to_end_that_it_says() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let body = "trap 'sleep 1.5; echo saved; exit 0' TERM\necho up\nwhile :; do sleep 0.02; done";
    let old = image().script("/etc/services.d/db/run", body);
    let old = old.file("/etc/services.d/db/timeout-kill", "5000\n", 0o644);
    let new = enabled(longrun(image(), "db", &[], body), &["db"]);
    let new = new.file("/etc/s6-overlay/s6-rc.d/db/timeout-kill", "5000\n", 0o644);
    for bundle in [old, new] {
        // Without what the service says, all would have 1.2 seconds.
        let bundle = bundle.env("S6_SERVICES_GRACETIME", "100").env("S6_KILL_GRACETIME", "100").args(["/init"]);
        let container = bundle.start();
        container.wait_for("the service", SOON, || (container.stdout() == "up\n").then_some(()));
        container.kill("TERM");
        assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
        assert_eq!((container.stdout().as_str(), container.stderr().as_str()), ("up\nsaved\n", ""));
    }
}

#[test]
fn what_runs_before_all_hears_signals_and_is_killed_when_it_does_not() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let waits = "echo waits; while :; do sleep 0.02; done";
    let polite = format!("grep SigBlk /proc/self/status; trap 'echo told; exit 0' TERM; {waits}");
    let deaf = format!("grep SigBlk /proc/self/status; trap '' TERM; {waits}");
    for (hook, last) in [(polite, "told"), (deaf, "waits")] {
        let bundle = image().dir("/etc/cont-init.d", 0o755).env("S6_STAGE2_HOOK", &hook);
        let bundle = bundle.env("S6_KILL_GRACETIME", "2500").args(["/init", "echo", "never"]);
        let container = bundle.start();
        container.wait_for("the hook", SOON, || container.stdout().ends_with("waits\n").then_some(()));
        container.kill("TERM");
        assert_eq!(container.wait_end(SOON), Ending::Code(143), "{}", container.stderr());
        let said = container.stdout();
        let said: Vec<&str> = said.lines().collect();
        assert_eq!((said[0], said.last()), ("SigBlk:\t0000000000000000", Some(&last)));
    }
}

#[test]
fn a_plain_command_tells_readiness_without_execlineb_and_words_stand_before_the_command() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let ready = "(sleep 0.2; touch /tmp/ready) &\n";
    let body = format!("{ready}exec s6-notifyoncheck -d -n 0 -s 1 -w 20 -c \"test -e /tmp/ready\" sleep 1000");
    let bundle = enabled(longrun(image(), "web", &[], &body), &["web"]);
    let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/web/notification-fd", "3\n", 0o644);
    let bundle = bundle.env("S6_CMD_ARG0", "sh  -c").env("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2");
    let bundle = bundle.env("S6_CMD_WAIT_FOR_SERVICES_MAXTIME", "10000");
    let outcome = bundle.args(["/init", "[ -e /tmp/ready ] && exit 4"]).run();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (4, ""), "{outcome:?}");
}

#[test]
fn links_lead_to_the_services_of_this_start_and_a_code_that_is_none_is_told() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    // The second time another process supervises, in another place.
    let links = "readlink /run/service; readlink /run/s6/services; echo $ONIT_SVDIR";
    let bundle = image().dir("/etc/cont-init.d", 0o755);
    let bundle = bundle.args(["/init", "sh", "-c", links]);
    assert_eq!(bundle.run().stdout, "/run/onit/s6-rc-1\n".repeat(3));
    let bundle = bundle.args(["onit", "--", "/init", "sh", "-c", links]);
    let outcome = bundle.run();
    let said: Vec<&str> = outcome.stdout.lines().collect();
    assert!(said.len() == 3 && said[0] != "/run/onit/s6-rc-1", "{outcome:?}");
    assert!(said.iter().all(|line| *line == said[0]), "{outcome:?}");

    let file = "/run/s6-linux-init-container-results/exitcode";
    let halts = format!("echo soon >{file}; exec /run/s6/basedir/bin/halt");
    let bundle = image().script("/etc/services.d/web/run", "sleep 1.1; exit 5").args(["/init"]);
    let outcome = bundle.script("/etc/services.d/web/finish", &halts).run();
    let line = format!("onit: {file} says \"soon\", which is no exit code\n");
    assert!(outcome.code == 0 && outcome.stderr.ends_with(&line), "{outcome:?}");
    // A container whose file is a FIFO by now comes up all the same.
    let halts = format!("rm {file}; mkfifo {file}; exec /run/s6/basedir/bin/halt");
    let bundle = image().script("/etc/services.d/web/run", "exit 5").args(["/init"]);
    let bundle = bundle.script("/etc/services.d/web/finish", &halts);
    for _ in 0..2 {
        assert_eq!(bundle.run().code, 0);
    }
}

#[test]
fn it_need_not_be_the_first_process() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = enabled(longrun(image(), "web", &[], "sleep 0.2; exit 6"), &["web"]);
    let bundle = bundle.script("/etc/s6-overlay/s6-rc.d/web/finish", HALTS);
    let bundle = bundle.args(["onit", "--", "/init", "sleep", "1000"]);
    let outcome = bundle.run();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (6, "finish 6 0 web\n"), "{outcome:?}");
}

#[test]
fn any_user_on_a_root_that_cannot_be_written_is_told_what_is_not_there() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = enabled(source(image(), "web", "longrun", &["prepare"]), &["web"]);
    let bundle = bundle.script("/etc/s6-overlay/s6-rc.d/web/run", &traced("web"));
    let bundle = source(bundle, "prepare", "oneshot", &["base"]);
    let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/prepare/up", "echo \"is prepared\"\n", 0o644);
    let bundle = bundle.file("/etc/s6-overlay/s6-rc.d/prepare/down", "echo undone\n", 0o644);
    let bundle = bundle.uid(12345).read_only().no_new_privileges().mount_tmpfs("/tmp", "mode=1777,noexec");
    let outcome = bundle
        .env("ONIT_RUN", "/tmp/onit")
        .args(["/init", "sh", "-c", "until [ -e /tmp/traced.web ]; do sleep 0.02; done; exit 3"])
        .run();
    assert_eq!((outcome.code, outcome.stdout.as_str()), (3, "is prepared\nweb up\nweb down\nundone\n"), "{outcome:?}");
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{outcome:?}");
    assert!(lines[0].starts_with("onit: s6-overlay: cannot make what some programs look for: /run/s6-linux-init"));
    for path in
        ["/run/s6/basedir", "/run/s6/container_environment", "/run/service", "/command", "/usr/bin/with-contenv"]
    {
        assert!(lines[0].contains(&format!("{path} (Read-only file system (os error 30))")), "{path}: {}", lines[0]);
    }
}

#[test]
fn a_tree_that_is_wrong_ends_the_container_with_a_line_and_a_script_for_execlineb_is_named() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = enabled(longrun(image(), "web", &["nowhere"], "exec sleep 1000"), &["web"]);
    let outcome = bundle.args(["/init", "true"]).run();
    let line = "onit: /etc/s6-overlay/s6-rc.d/web/dependencies.d/nowhere: there is no service or bundle of that name\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, line));

    let bundle =
        image().file("/etc/fix-attrs.d/1", "/x false root 0644 0755\n", 0o644).env("S6_KILL_GRACETIME", "soon");
    let bundle = bundle.file("/etc/services.d/old/run", "#!/command/execlineb -P\nsleep 1000\n", 0o755);
    let outcome = bundle.env("S6_STAGE2_HOOK", "echo hook; exit 2").args(["/init", "sh", "-c", "sleep 0.2"]).run();
    let expected = [
        "onit: s6-overlay: S6_KILL_GRACETIME says \"soon\", which is no number; going by 3000",
        "onit: s6-overlay: S6_STAGE2_HOOK: exit 2",
        "onit: s6-overlay: what /etc/fix-attrs.d says of owners and modes is ignored",
        "onit: /etc/services.d/old/run needs execlineb, which is not installed",
    ];
    let said: Vec<&str> = outcome.stderr.lines().take(4).collect();
    assert_eq!((outcome.code, outcome.stdout.as_str(), said), (0, "hook\n", expected.to_vec()), "{outcome:?}");
}

#[test]
fn by_the_name_init_it_is_what_it_was_where_there_is_no_such_tree() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = image().script("/etc/service/web/run", "echo web; exec sleep 1000");
    let container = bundle.start();
    container.wait_for("the service", SOON, || (container.stdout() == "web\n").then_some(()));
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
}
