//! `onit probe-server`: what `onit health` says, for probes that speak HTTP.

use super::connect::Connection;
use super::health;
use crate::exit;
use crate::helpers::probe_server::{Answer, Place, serve};
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

/// How long the supervisor may take for an answer. Probes are not patient: Kubernetes' wait for a second, unless told.
const LIMIT: Duration = Duration::from_secs(2);

/// Answers GET /livez: the supervisor answers; /readyz and /healthz: as onit health, with a line for each service, also
/// of one service: /readyz/NAME. The code is 200, 503 if it is not so, 404 for other pages. A service of its own, which
/// needs no rights but to ask the supervisor.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct ProbeServer {
    /// where, as ADDRESS:PORT or unix:PATH (default: 127.0.0.1:8228)
    #[argh(option, arg_name = "PLACE", default = "Place::Tcp(\"127.0.0.1:8228\".into())")]
    listen: Place,
}

impl ProbeServer {
    /// Serves until it is ended. Returns the exit code.
    pub fn run(&self) -> i32 {
        serve(&self.listen, &mut page)
    }
}

fn page(path: &str) -> Answer {
    let (page, name) = match path.get(1..).and_then(|rest| rest.split_once('/')) {
        Some((page, name)) => (page, Some(name)),
        None => (path.get(1..).unwrap_or_default(), None),
    };
    match (page, name) {
        ("livez", None) => alive(),
        ("readyz" | "healthz", None | Some("")) => healthy(&[]),
        ("readyz" | "healthz", Some(name)) if name.starts_with('.') || name.ends_with('/') => missing(),
        ("readyz" | "healthz", Some(name)) => healthy(&[name.to_owned()]),
        _ => missing(),
    }
}

fn missing() -> Answer {
    Answer { code: 404, text: "there are /livez, /readyz, /healthz, /readyz/NAME and /healthz/NAME\n".into() }
}

fn alive() -> Answer {
    let mut talk = Connection::open_within(Some(LIMIT));
    let trouble = match (talk.silence(), &talk.api) {
        (Some(trouble), _) => Some(trouble),
        (None, Some(_)) => None,
        (None, None) => talk.everything().err(),
    };
    match trouble {
        None => Answer { code: 200, text: "alive\n".into() },
        Some(trouble) => Answer { code: 503, text: format!("{}\n", trouble.text) },
    }
}

fn healthy(names: &[String]) -> Answer {
    match health::examine(names, Some(LIMIT)) {
        Ok(examined) => {
            let (is_healthy, text) = examined.lines();
            Answer { code: if is_healthy { 200 } else { 503 }, text }
        }
        Err(troubles) => {
            let is_unknown = troubles.iter().any(|trouble| trouble.code == exit::UNKNOWN);
            let text = troubles.iter().map(|trouble| format!("{}\n", trouble.text)).collect();
            Answer { code: if is_unknown { 404 } else { 503 }, text }
        }
    }
}
