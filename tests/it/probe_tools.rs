//! `onit probe`, `onit health --exit` and `onit probe-server`: a question has one answer in its time, whatever the other
//! end does.

use crate::container::{Bundle, why_no_containers};
use crate::svdir::{Ending, SOON, Supervisor, SvDir, UnderTest, missing_tools, skip, wait_for};
use crate::verbs::{command, fails, start, verb, well};
use nix::sys::signal::Signal;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// A question that is answered with yes, and nothing is said.
#[track_caller]
fn yes(sv: &SvDir, words: &[&str]) {
    assert_eq!(well(sv, &[&["probe"], words].concat()), "", "{words:?}");
}

/// One that is answered with no, and with these words in a single line.
#[track_caller]
fn no(sv: &SvDir, words: &[&str], why: &str) {
    fails(sv, &[&["probe"], words].concat(), 1, &[why]);
    let quiet = verb(sv, &[&["probe", "-q"], words].concat());
    assert_eq!((quiet.code, quiet.stdout + &quiet.stderr), (1, String::new()), "{words:?}");
}

/// A server that treats each client this way, for as long as the test runs.
fn server(treat: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || treat(client));
        }
    });
    address
}

fn read_request(client: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte).unwrap_or_default() == 0 {
            return;
        }
        request.extend(byte);
    }
}

/// A byte at a time, for ever.
fn drip(mut client: TcpStream, start: &str) {
    read_request(&mut client);
    let _ = client.write_all(start.as_bytes());
    while client.write_all(b"x").is_ok() {
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_connection_is_yes_over_either_protocol_and_at_a_socket() {
    let sv = SvDir::new();
    let open = server(drop);
    yes(&sv, &["tcp", &open]);
    yes(&sv, &["tcp", &open.replace("127.0.0.1", "localhost")]);
    if let Ok(six) = TcpListener::bind("[::1]:0") {
        yes(&sv, &["tcp", &six.local_addr().expect("an address").to_string()]);
    }
    let closed = crate::sockets::address().to_string();
    no(&sv, &["tcp", &closed], &format!("onit: probe: tcp {closed}: Connection refused"));
    no(&sv, &["tcp", "nowhere.invalid:80"], "onit: probe: tcp nowhere.invalid:80: ");
    let socket = sv.root().join("socket");
    let path = socket.to_str().expect("printable");
    no(&sv, &["unix", path], "No such file or directory");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    yes(&sv, &["unix", path]);
    drop(listener);
    no(&sv, &["unix", path], "Connection refused");
}

#[test]
fn a_real_server_is_asked_for_its_page() {
    if let Some(why) = missing_tools(&["python3", "redis-server"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    std::fs::write(sv.root().join("page.html"), "It <b>runs</b>.").expect("a page");
    let root = sv.root().to_str().expect("printable").to_owned();
    let python =
        sv.spawn_words(&["python3", "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", &root]);
    let port = python.wait_for("its port", SOON, || {
        python.stdout().split(" port ").nth(1).and_then(|rest| rest.split(' ').next().map(str::to_owned))
    });
    let page = format!("http://127.0.0.1:{port}/page.html");
    yes(&sv, &["http", &page]);
    yes(&sv, &["http", &page, "--status", "200", "--body", "<b>runs</b>"]);
    no(&sv, &["http", &page, "--body", "walks"], "code 200, and the text is not in it");
    no(&sv, &["http", &page.replace("page", "other")], "code 404");
    yes(&sv, &["http", &page.replace("page", "other"), "--status", "404"]);
    let redis = sv.root().join("redis");
    let words = ["redis-server", "--port", "0", "--save", "", "--unixsocket", redis.to_str().expect("printable")];
    let _redis = sv.spawn_words(&words);
    wait_for("redis", SOON, || (verb(&sv, &["probe", "unix", words[6]]).code == 0).then_some(()));
}

#[test]
fn no_server_holds_a_question_for_longer_than_it_may_take() {
    let sv = SvDir::new();
    let silent = server(|client| {
        let _ = (&client).read(&mut [0; 1 << 16]);
        thread::sleep(SOON);
    });
    let drips = server(|client| drip(client, ""));
    let drips_head = server(|client| drip(client, "HTTP/1.1 200 OK\r\nX: "));
    let drips_body = server(|client| drip(client, "HTTP/1.1 200 OK\r\n\r\n"));
    let in_time = ["-t", "500ms", "--body", "y"];
    for address in [silent, drips_head, drips_body] {
        no(&sv, &[&["http", &format!("http://{address}/")], &in_time[..]].concat(), "no answer in time");
    }
    no(&sv, &["http", &format!("http://{drips}/"), "-t", "50s"], "not HTTP/1");
    let full = TcpListener::bind("127.0.0.1:0").expect("a port");
    nix::sys::socket::listen(&full, nix::sys::socket::Backlog::new(0).expect("none")).expect("no queue");
    let address = full.local_addr().expect("an address");
    let near = Duration::from_millis(200);
    let held: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, near).ok()).take(100).collect();
    no(&sv, &["tcp", &address.to_string(), "-t", "0.3"], "no answer in time");
    drop(held);
}

#[test]
fn what_is_no_answer_is_no() {
    let sv = SvDir::new();
    let ends = server(|mut client| {
        read_request(&mut client);
        let _ = client.write_all(b"HTTP/1.1 200");
    });
    let other = server(|mut client| {
        let _ = client.write_all(b"220 mail\r\n");
        read_request(&mut client);
    });
    let endless = server(|mut client| {
        read_request(&mut client);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\n");
        while client
            .write_all(b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")
            .is_ok()
        {}
    });
    let url = |address: &str| format!("http://{address}/");
    no(&sv, &["http", &url(&ends)], "hung up");
    no(&sv, &["http", &url(&other)], "not HTTP/1");
    no(&sv, &["http", &url(&endless)], "answer");
    let chunked = server(|mut client| {
        read_request(&mut client);
        let _ = client
            .write_all(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n4\r\n now\r\n0\r\n\r\n");
        thread::sleep(SOON);
    });
    yes(&sv, &["http", &url(&chunked), "--status", "500-599", "--body", "not now"]);
    no(&sv, &["http", &url(&chunked), "--status", "503", "--body", "nothing"], "the text is not in it");
}

#[test]
fn programs_files_and_processes_answer_too() {
    let sv = SvDir::new();
    yes(&sv, &["exec", "true"]);
    yes(&sv, &["exec", "--", "test", "-d", "/"]);
    assert_eq!(well(&sv, &["probe", "exec", "echo", "-q"]), "-q\n");
    no(&sv, &["exec", "sh", "-c", "exit 7"], "onit: probe: exec sh: exit 7");
    no(&sv, &["exec", "/nothing/there"], "onit: probe: exec /nothing/there: No such file or directory");
    no(&sv, &["-t", "0.3", "exec", "sh", "-c", "sleep 1000 & sleep 1000"], "no answer in time");
    let left = wait_for("the end of all", SOON, || Some(sv.processes()).filter(|left| left.is_empty()));
    assert!(left.is_empty());
    yes(&sv, &["file", "/"]);
    no(&sv, &["file", "/nothing"], "No such file");
    no(&sv, &["process", "onit-no-such"], "there is no such process");
    let sleeps = sv.root().join("onit-probed-too");
    std::os::unix::fs::symlink("/bin/sleep", &sleeps).expect("a link");
    let _sleep = sv.spawn_words(&[sleeps.to_str().expect("printable"), "1000"]);
    wait_for("it", SOON, || (verb(&sv, &["probe", "process", "onit-probed-too"]).code == 0).then_some(()));
}

#[test]
fn what_is_no_question_is_told() {
    let sv = SvDir::new();
    for (words, why) in [
        (&["probe"][..], "KIND is missing"),
        (&["probe", "udp", "x"], "udp is none of tcp, unix, http, exec, file and process"),
        (&["probe", "tcp"], "tcp: of what?"),
        (&["probe", "tcp", "localhost"], "no port"),
        (&["probe", "http", "https://localhost"], "https"),
        (&["probe", "http", "http://localhost", "--status", "2xx"], "\"2xx\" is no code"),
        (&["probe", "tcp", "localhost:1", "--body", "x"], "--status and --body are for http"),
        (&["probe", "exec"], "exec: which command?"),
        (&["probe-server", "--listen", "80"], "neither ADDRESS:PORT nor unix:PATH"),
        (&["health", "--exit", "zabbix"], "docker, consul or nagios"),
    ] {
        fails(&sv, words, 100, &[why]);
    }
}

#[test]
fn health_has_the_exit_codes_of_those_who_ask() {
    let sv = SvDir::new();
    let codes = |sv: &SvDir| ["docker", "consul", "nagios"].map(|style| verb(sv, &["health", "--exit", style]).code);
    assert_eq!(codes(&sv), [1, 2, 3], "nobody answers");
    let nobody = verb(&sv, &["health", "--exit", "nagios"]);
    assert!(
        nobody.stdout.starts_with("ONIT UNKNOWN - no supervisor answers") && nobody.stderr.is_empty(),
        "{nobody:?}"
    );
    let web = sv.service("web").run("exec sleep 1000").script("health", "exit $(cat code)").file("code", "0");
    let web = web.file("health-policy", "every=100ms timeout=10s retries=2 action=report").create();
    let _onit = start(&sv, UnderTest::Onit);
    let becomes = |wanted| wait_for(&format!("{wanted:?}"), SOON, || (codes(&sv) == wanted).then_some(()));
    becomes([0, 0, 0]);
    let line = well(&sv, &["health", "--exit", "nagios"]);
    assert_eq!(line, "ONIT OK - all as wanted | services=1;;;0 unhealthy=0;;0;0 degraded=0;0;;0\n");
    web.write("code", "75");
    becomes([0, 1, 1]);
    assert!(verb(&sv, &["health", "--exit", "nagios"]).stdout.starts_with("ONIT WARNING - degraded: web |"));
    web.write("code", "1");
    becomes([1, 2, 2]);
    assert!(verb(&sv, &["health", "--exit", "nagios"]).stdout.starts_with("ONIT CRITICAL - web: unhealthy"));
    let json = verb(&sv, &["health", "--exit", "nagios", "--json"]);
    assert!(json.code == 2 && json.stdout.starts_with("{\"healthy\":false,"), "{json:?}");
}

/// Starts a server for probes at a socket, and waits until it answers.
fn probe_server(sv: &SvDir) -> (Supervisor, String) {
    let socket = sv.root().join("probes");
    let socket = socket.to_str().expect("printable").to_owned();
    let mut words = command(sv, &["probe-server", "--listen", &format!("unix:{socket}")]);
    words.env("SVDIR", sv.path());
    let server = sv.spawn(words);
    server.wait_for("its socket", SOON, || Path::new(&socket).exists().then_some(()));
    (server, socket)
}

/// The code, and the page.
fn page(socket: &str, path: &str) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-w", "%{http_code}", "--unix-socket", socket, &format!("http://localhost{path}")]);
    let said = crate::svdir::output(command).stdout;
    let (text, code) = said.split_at(said.len().saturating_sub(3));
    (code.parse().unwrap_or_default(), text.to_owned())
}

#[test]
fn pages_say_what_health_says_also_when_the_supervisor_comes_and_goes() {
    if let Some(why) = missing_tools(&["curl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run("[ -e go ] && exec sleep 1000; exit 1").file("backoff", "1h 1h 1h").create();
    sv.service("db").run("exec sleep 1000").create();
    let (server, socket) = probe_server(&sv);
    let becomes = |path: &str, code: u16, words: &str| {
        let is = || Some(page(&socket, path)).filter(|(told, text)| *told == code && text.contains(words));
        server.wait_for(&format!("{path}: {code}, {words}"), SOON, is).1
    };
    for path in ["/livez", "/readyz", "/healthz"] {
        becomes(path, 503, "no supervisor answers for ");
    }
    becomes("/healthz/web", 503, "[-]web: not supervised");
    let onit = start(&sv, UnderTest::Onit);
    assert_eq!(becomes("/livez", 200, ""), "alive\n");
    let text = becomes("/readyz", 503, "[-]web: ");
    assert!(text.starts_with("unhealthy\n[+]db: up\n[-]web: "), "{text}");
    assert_eq!(becomes("/readyz/db", 200, ""), "healthy\n[+]db: up\n");
    web.write("go", "");
    web.order(b"u");
    becomes("/healthz?verbose", 200, "[+]web: up");
    becomes("/healthz/nope", 404, "nope: no such service");
    becomes("/", 404, "/livez");
    becomes("/livez/web", 404, "");
    becomes("/readyz/../../etc", 404, "");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    becomes("/livez", 503, "no supervisor answers");
    server.signal(Signal::SIGTERM);
    assert_eq!((server.wait_end(SOON), server.stderr().as_str()), (Ending::Code(0), ""));
    let (again, _) = probe_server(&sv); // it replaces the socket that is left
    assert_eq!(again.ended(), None);
}

#[test]
fn no_client_keeps_others_from_being_answered() {
    let sv = SvDir::new();
    let address = crate::sockets::address().to_string();
    let mut words = command(&sv, &["probe-server", "--listen", &address]);
    words.env("SVDIR", sv.path());
    let server = sv.spawn(words);
    server.wait_for("its port", SOON, || TcpStream::connect(&address).ok());
    let ask = |request: &[u8]| {
        let mut client = TcpStream::connect(&address).expect("connected");
        client.set_read_timeout(Some(SOON)).expect("a limit");
        let _ = client.write_all(request);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(&address).expect("connected")).collect();
    assert!(ask(b"GET /livez HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "), "they have five seconds");
    drop(silent);
    assert!(ask(b"POST /livez HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(ask(b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let head = ask(b"HEAD /nothing HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404 ") && head.ends_with("\r\n\r\n"), "{head}");
    let _ = ask(&[b'x'; 100_000]);
    no(&sv, &["http", &format!("http://{address}/livez")], "code 503");
    assert_eq!((server.ended(), server.stderr().as_str()), (None, ""));
    let taken = verb(&sv, &["probe-server", "--listen", &address]);
    assert_eq!((taken.code, taken.stderr.contains("Address already in use")), (111, true), "{taken:?}");
}

/// No program of the image but onit is needed, no user that is known, and nothing is written.
#[test]
fn probes_and_jobs_work_in_a_container_as_any_user_on_a_read_only_root() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let job = "onit -- onit every 200ms --now -- onit probe exec -- onit probe file /bin/onit";
    let bundle = Bundle::new().uid(12345).read_only().no_capabilities().no_new_privileges();
    let bundle = bundle.args(job.split(' '));
    let container = bundle.start();
    container.wait_for("two jobs", SOON, || (container.said(&["every: onit: exit 0"]).len() > 1).then_some(()));
    assert_eq!(container.exec(["onit", "probe", "process", "onit"]).code, 0);
    let refused = container.exec(["onit", "probe", "http", "http://127.0.0.1:1/"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
}
