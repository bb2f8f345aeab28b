//! The examples for containers and for systemd are followed to the letter: the Dockerfile becomes a bundle, and what it,
//! the pod and the compose file say is run in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::container::{self, Bundle, Container, why_no_containers};
use crate::proc;
use crate::svdir::{Ending, Output, SOON, find_in_path, missing_tools, onit, output, skip};

/// What Docker sets.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An address that is not loopback's, for a container that has no network but what it is given here.
const ADDRESS: &str = "10.9.8.7";

fn why_not() -> Option<String> {
    why_no_containers().or_else(|| missing_tools(&["dpkg", "nsenter", "sv", "chroot"]))
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn example(name: &str) -> String {
    fs::read_to_string(project().join("svdir-examples").join(name)).expect(name)
}

/// An image, as far as our Dockerfile needs one.
struct Image {
    bundle: Bundle,
    entrypoint: Vec<String>,
    health: Vec<String>,
}

impl Image {
    /// Follows a Dockerfile. A line that is not understood here is an error: then it is not tested either.
    fn build(dockerfile: &str) -> Image {
        let bundle = Bundle::new().env("PATH", PATH);
        let mut image = Image { bundle, entrypoint: Vec::new(), health: Vec::new() };
        for line in dockerfile.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (verb, rest) = line.split_once(' ').expect("a verb");
            image = match verb {
                "FROM" => Image { bundle: image.bundle.dir("/tmp", 0o1777).dir("/etc", 0o755), ..image },
                "EXPOSE" => image,
                "RUN" if rest.starts_with("apt-get") => image.install(rest),
                "RUN" => image.run(rest),
                "COPY" => image.copy(rest),
                "ENV" => image.env(rest),
                "HEALTHCHECK" => Image { health: list(rest.strip_prefix("CMD ").expect("a command")), ..image },
                "ENTRYPOINT" => Image { entrypoint: list(rest), ..image },
                verb => panic!("{verb} is not understood"),
            };
        }
        image
    }

    /// The programs of packages that are installed here, too; busybox is there.
    fn install(mut self, rest: &str) -> Image {
        let names = rest.split_once("--no-install-recommends ").expect("packages").1;
        let names = names.split(" && ").next().expect("packages").split(' ');
        for name in names.filter(|name| *name != "busybox") {
            let files = said(Command::new("dpkg").args(["-L", name]));
            let programs = files.lines().filter(|file| file.contains("/bin/") || file.contains("/sbin/"));
            for program in programs.filter(|file| Path::new(file).is_file()) {
                self.bundle = self.bundle.program_from(Path::new(program), program);
            }
        }
        self
    }

    fn run(self, script: &str) -> Image {
        said(Command::new("chroot").arg(self.bundle.root()).args(["/bin/sh", "-euc", script]));
        self
    }

    fn copy(mut self, rest: &str) -> Image {
        let (from, to) = rest.split_once(' ').expect("from and to");
        self.bundle = if from.ends_with("/release/onit") {
            self.bundle.program_from(container::onit(), to)
        } else {
            files_in(&project().join(from)).into_iter().fold(self.bundle, |bundle, file| {
                let name = file.strip_prefix(project().join(from)).expect("below it");
                let content = fs::read_to_string(&file).expect("a file");
                let mode = fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
                bundle.file(&format!("{to}/{}", name.display()), &content, mode)
            })
        };
        self
    }

    fn env(mut self, rest: &str) -> Image {
        let (name, value) = rest.split_once('=').expect("a value");
        self.bundle = self.bundle.env(name, value);
        self
    }
}

/// What supervisors and loggers have made in our own tree is in no image.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path()) {
        if path.is_file() {
            files.push(path);
        } else if !path.ends_with("supervise") && !path.ends_with("log/main") {
            files.extend(files_in(&path));
        }
    }
    files
}

/// The first list of words in brackets.
fn list(text: &str) -> Vec<String> {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("a list").0;
    inside.split(',').map(|word| word.trim().trim_matches('"').to_owned()).collect()
}

/// The list that stands behind this key, and behind the one before it.
fn list_at(text: &str, keys: &[&str]) -> Vec<String> {
    list(keys.iter().fold(text, |text, key| text.split_once(key).unwrap_or_else(|| panic!("no {key}")).1))
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let mut fresh = Command::new(command.get_program());
    fresh.args(command.get_args());
    let Output { code, stdout, stderr, .. } = output(fresh);
    assert_eq!(code, 0, "{command:?}: {stdout}{stderr}");
    stdout
}

/// A busybox in the container's network.
fn in_network_of(container: &Container, words: &[&str]) -> Output {
    let mut command = Command::new("nsenter");
    command.args(["-n", "-t", &container.pid().to_string(), "busybox"]).args(words);
    output(command)
}

/// It becomes healthy, and serves its page to others than itself.
fn is_healthy_and_answers(container: &Container, health: &[String]) {
    let words = || health.iter().map(String::as_str);
    container.wait_for("health", SOON, || (container.exec(words()).code == 0).then_some(()));
    for words in
        [vec!["ip", "link", "set", "lo", "up"], vec!["ip", "addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"]]
    {
        assert_eq!(in_network_of(container, &words).code, 0, "{words:?}");
    }
    let page = format!("http://{ADDRESS}:8080/");
    let get = || in_network_of(container, &["wget", "-q", "-O", "-", &page]).stdout;
    container.wait_for("the page", SOON, || get().contains("<h1>It runs.</h1>").then_some(()));
}

#[test]
fn the_image_of_the_example_serves_its_page_and_ends_with_its_server() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let Image { bundle, entrypoint, health } = Image::build(&example("Dockerfile"));
    let bundle = bundle.args(entrypoint.iter().map(String::as_str));
    let container = bundle.start();
    is_healthy_and_answers(&container, &health);
    let log = "/etc/service/clock/log/main/current";
    container.wait_for("a line in the log", SOON, || container.text(log).contains("UTC").then_some(()));
    assert_eq!(container.exec(["sh", "-c", "kill -9 $(onit pid web)"]).code, 0);
    assert_eq!(container.wait_end(SOON), Ending::Code(137), "{}", container.stderr());
    assert_eq!(container.said(&["web: "]).len(), 1, "{}", container.stderr());
}

#[test]
fn the_pod_and_the_compose_file_of_the_examples_run_that_image_without_any_privilege() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let (pod, compose) = (example("kubernetes.yaml"), example("compose.yaml"));
    for said in ["runAsUser: 12345", "readOnlyRootFilesystem: true", "drop: [ALL]", "mountPath: /run", "medium: Memory"]
    {
        assert!(pod.contains(said), "the pod no longer says {said}");
    }
    for said in ["user: \"12345:12345\"", "read_only: true", "cap_drop: [ALL]", "tmpfs: [\"/run:mode=1777\"]"] {
        assert!(compose.contains(said), "the compose file no longer says {said}");
    }
    let Image { bundle, entrypoint, .. } = Image::build(&example("Dockerfile"));
    let bundle = bundle.uid(12345).read_only().no_capabilities().no_new_privileges().mount_tmpfs("/run", "mode=1777");
    let of_pod = (list_at(&pod, &["args:"]), list_at(&pod, &["readinessProbe:", "command:"]));
    let of_compose = (entrypoint, list_at(&compose, &["healthcheck:"]).split_off(1));
    // Before 1.2, runc gives a file system in memory the mode of the directory that it covers.
    let mut bundle = bundle.dir("/run", 0o1777);
    for (args, health) in [of_pod, of_compose] {
        bundle = bundle.args(args.iter().map(String::as_str));
        let container = bundle.start();
        is_healthy_and_answers(&container, &health);
        container.kill("TERM");
        assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
    }
}

/// An image of onit and two static programs: one that serves, one that says what it is given. No shell, no `/etc`.
fn without_shell(web_run: &str) -> Bundle {
    let busybox = find_in_path("busybox").expect("busybox is installed");
    let bundle = Bundle::without_shell().args(["/bin/onit", "run", "/sv"]).dir("/tmp", 0o1777).dir("/run", 0o1777);
    let bundle = bundle.program_from(&busybox, "/bin/httpd").program_from(&busybox, "/bin/echo");
    let files = [
        ("/sv/web/run", web_run),
        ("/sv/web/check", "#!/bin/onit probe http http://127.0.0.1:8080/\n"),
        ("/sv/web/finish", "#!/bin/onit exec -- /bin/echo web has ended:\n"),
        ("/sv/job/setup", "#!/bin/onit exec --cd / -- /bin/echo set up\n"),
        ("/sv/timer/run", "#!/bin/onit every -q --now 1s -- /bin/echo tick\n"),
        ("/sv/timer/log/run", "#!/bin/onit logger --timestamp iso --dir /run/log\n"),
        ("/sv/old/run", "#!/bin/onit chpst -o 66 /bin/onit every -q --now 1h -- /bin/echo old\n"),
        ("/sv/old/log/run", "#!/bin/onit svlogd -tt /tmp\n"),
        ("/sv/hooks/run", "#!/bin/onit  hooks\t--dir /hooks --pause 0s \n"),
        ("/hooks/tell", "#!/bin/onit exec -- /bin/echo hook:\n"),
    ];
    let bundle = files.into_iter().fold(bundle, |bundle, (path, text)| bundle.file(path, text, 0o755));
    let bundle = bundle.file("/sv/web/readiness", "check\n", 0o644).file("/www/index.html", "<h1>It runs.</h1>", 0o644);
    bundle.mount_tmpfs("/run", "mode=1777").mount_tmpfs("/tmp", "mode=1777")
}

/// Everything works there: probes, readiness, logs, timers, hooks, setup, finish, orders.
fn works(container: &Container) {
    for words in
        [vec!["ip", "link", "set", "lo", "up"], vec!["ip", "addr", "add", &format!("{ADDRESS}/32"), "dev", "lo"]]
    {
        assert_eq!(in_network_of(container, &words).code, 0, "{words:?}");
    }
    let onit = |words: &[&str]| container.exec(["/bin/onit"].iter().chain(words).copied());
    let ready = onit(&["wait", "-t", "60", "ready", "web"]);
    assert_eq!(ready.code, 0, "{ready:?} {}", container.stderr());
    let has = |text: &'static str| container.wait_for(text, SOON, || container.stdout().contains(text).then_some(()));
    has("set up\n");
    for (log, line) in [("/run/log/current", "Z tick\n"), ("/tmp/current", " old\n")] {
        container.wait_for("a line in the log", SOON, || container.text(log).ends_with(line).then_some(()));
    }
    let health = onit(&["health"]);
    assert_eq!(health.code, 0, "{health:?}");
    assert_eq!(onit(&["restart", "web"]).code, 0);
    has("web has ended: -1 15\n");
    has("hook: ");
    container.kill("TERM");
    assert_eq!(container.wait_end(SOON), Ending::Code(0), "{}", container.stderr());
    assert_eq!(container.stderr(), "");
}

/// The number in front of which this word stands in a file of /proc.
fn number_behind(path: String, word: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(word))?.split_whitespace().next()?.parse().ok()
}

#[test]
fn an_image_of_onit_and_static_programs_needs_no_shell_as_root() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let run = "#!/bin/onit exec --user 1000:1000 --limit nofile=77 --no-new-privs -- /bin/httpd -f -p 8080 -h /www\n";
    let bundle = without_shell(run);
    let container = bundle.start();
    let web = container.wait_for("the server", SOON, || {
        proc::children(container.pid()).into_iter().find(|pid| proc::command_line(*pid).starts_with("/bin/httpd"))
    });
    assert_eq!(number_behind(format!("/proc/{web}/status"), "Uid:"), Some(1000));
    assert_eq!(number_behind(format!("/proc/{web}/limits"), "Max open files"), Some(77));
    works(&container);
}

#[test]
fn an_image_of_onit_and_static_programs_needs_no_shell_as_any_user_and_read_only() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let run = "#!/bin/onit exec --limit nofile=77 --umask 077 -- /bin/httpd -f -p 8080 -h /www\n";
    let bundle = without_shell(run).uid(12345).read_only().no_capabilities().no_new_privileges();
    works(&bundle.start());
}

#[test]
fn the_unit_of_the_examples_is_one_that_systemd_understands() {
    if let Some(why) = missing_tools(&["systemd-analyze"]) {
        skip!("{why}");
    }
    let unit = example("onit.service");
    for said in ["Type=notify", "Delegate=yes", "KillMode=mixed"] {
        assert!(unit.lines().any(|line| line == said), "the unit no longer says {said}");
    }
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("onit.service");
    let installed = unit.replace("/usr/local/bin/onit", onit().to_str().expect("a printable path"));
    fs::write(&file, installed).expect("written");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&file);
    let Output { code, stdout, stderr, .. } = output(verify);
    let about_it: Vec<&str> = stderr.lines().filter(|line| line.contains("onit")).collect();
    assert_eq!((code, stdout.as_str(), about_it), (0, "", Vec::new()), "{stderr}");
}
