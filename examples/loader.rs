//! A program that carries the description of its own jobs. `cargo build --example loader`, then a link to it in a directory:
//!
//! ```sh
//! mkdir /tmp/loaders && ln -s "$PWD/target/debug/examples/loader" /tmp/loaders/
//! onit run --loaders /tmp/loaders
//! ```

use onit::loader::{Check, Job, Loader};
use std::io::Write as _;
use std::path::PathBuf;

/// It is ready when this is there.
fn flag() -> PathBuf {
    std::env::temp_dir().join("onit-example-db")
}

fn main() {
    let db = Job::new("db").exec(["sh", "-c", &format!("touch '{}'; exec sleep 1000", flag().display())]).auto(true);
    let db = db.check(|| if flag().exists() { Check::Ok(5000) } else { Check::Degrade(50) });
    let db =
        db.on_exit(|code| say(&format!("db has ended with {code}"))).on_stopped(|| _ = std::fs::remove_file(flag()));
    // A function of this program, in a process of its own, when db is ready.
    let web = Job::new("web").run(serve).auto(["db"]).env([("PORT", "8080"), ("PATH", "/usr/bin:/bin")]);
    Loader::new().job(db).job(web).init(); // returns at once, unless it is asked for its jobs
    std::process::exit(serve());
}

/// The program as it is without all that.
fn serve() -> i32 {
    let port = std::env::var("PORT").unwrap_or_else(|_| "80".into());
    say(&format!("serving on port {port}, until the end of time or a signal"));
    let Ok((mut never, _open)) = std::io::pipe() else { return 1 };
    std::io::copy(&mut never, &mut std::io::sink()).map_or(1, |_| 0)
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}"); // nobody may read it
}
