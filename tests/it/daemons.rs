//! Real daemons of Debian, each with the readiness that suits it, in their order: redis by a `check`, postgres by
//! `sd_notify` after redis, nginx by a time after both.

use crate::restarts::{told, wait_state};
use crate::svdir::{Ending, SOON, SvDir, UnderTest, find_in_path, is_root, missing_tools, skip, wait_for};
use crate::verbs::{start, well};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// Where Debian has the programs of postgres.
fn postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    versions.map(|version| version.path().join("bin")).find(|bin| bin.join("postgres").exists())
}

#[test]
fn redis_postgres_and_nginx_come_up_in_order_when_each_is_ready_and_go_down_in_the_reverse_order() {
    let tools = missing_tools(&["redis-server", "redis-cli", "nginx", "curl", "setpriv"]);
    let Some(bin) = postgres() else { skip!("postgresql is not installed") };
    if let Some(why) = tools.or((!is_root()).then(|| "needs root, to become the user postgres".into())) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    // A place that the user postgres can reach too.
    let place = tempfile::Builder::new().prefix("onit-daemons").tempdir_in("/var/tmp").expect("a directory");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
    let (at, bin) = (place.path().display(), bin.display());
    let leaves = |name: &str| format!("echo {name} >>{}/order", sv.root().display());
    let user = "setpriv --reuid postgres --regid postgres --init-groups";
    let redis = find_in_path("redis-server").expect("it is there");
    sv.service("redis")
        .run(&format!("exec {} --port 0 --unixsocket {at}/redis --save ''", redis.display()))
        .script("check", &format!("[ \"$(redis-cli -s {at}/redis ping)\" = PONG ]"))
        .file("readiness", "check 200ms")
        .finish(&leaves("redis"))
        .create();
    sv.service("postgres")
        .exec("setup", &format!("#!/bin/sh\n[ -e {at}/data ] || exec {user} {bin}/initdb -D {at}/data -N >/dev/null\n"))
        .run(&format!("exec {user} {bin}/postgres -D {at}/data -c listen_addresses= -c unix_socket_directories={at}"))
        .file("readiness", "notify")
        .file("dependencies.d/redis", "")
        .file("down-signal", "INT")
        .finish(&leaves("postgres"))
        .create();
    let config = format!(
        "daemon off; pid {at}/nginx.pid; error_log /dev/null; events {{ }} http {{ access_log off; server {{ listen unix:{at}/http; location / {{ return 200 'well'; }} }} }}"
    );
    sv.service("nginx")
        .run(&format!("exec nginx -c $PWD/nginx.conf -p {at}"))
        .file("nginx.conf", &config)
        .file("readiness", "after 100ms")
        .file("dependencies.d/postgres", "")
        .file("after.d/redis", "")
        .file("down-signal", "QUIT")
        .finish(&leaves("nginx"))
        .create();
    let onit = start(&sv, UnderTest::Onit);
    let nginx = wait_state(&sv, "nginx", "up");
    let since = |name: &str| {
        let life = crate::verbs::json(&well(&sv, &["history", "--json", name]));
        (life[0]["start"].as_f64().expect("a start"), life[0]["ready"].as_f64().expect("ready"))
    };
    let [redis, postgres, web] = ["redis", "postgres", "nginx"].map(since);
    let before = |ready: f64, start: f64| ready <= start + 0.005; // each answer reads the wall clock for itself
    assert!(before(redis.1, postgres.0) && before(postgres.1, web.0), "{redis:?} {postgres:?} {web:?}");
    assert!(told(&sv, "redis")["ready"] == true && nginx["pid"].is_u64());
    let ask = || sv.tool("curl", &["-s", "--unix-socket", &format!("{at}/http"), "http://localhost/"]);
    wait_for("nginx", SOON, || (ask().stdout == "well").then_some(()));
    // Its own words: postgres says what it is about.
    wait_for("health", SOON, || (crate::verbs::verb(&sv, &["health"]).code == 0).then_some(()));
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    assert_eq!(fs::read_to_string(sv.root().join("order")).expect("an order"), "nginx\npostgres\nredis\n");
}
