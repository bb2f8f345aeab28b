//! What one run of the supervisor is told: whose manners, whose words, which directory.

use super::api::Groups;
use super::main_log::MainLog;
use super::voice::Voice;
use crate::machine::Signal;
use crate::machine::main_process::MainManners;
use crate::machine::policy::Manners;
use crate::machine::request::Realm;
use crate::machine::system::STOP_BUDGET;
use crate::sys::manager::Manager;
use crate::wire::control::Dialect;
use crate::wire::status::Format;
use crate::wire::svdir;
use std::ffi::CString;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

/// What is supervised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Root {
    /// Every service in this directory.
    Directory(PathBuf),
    /// This one service, and its logger.
    Service(PathBuf),
    /// No service: there is only a main process.
    Nothing,
}

/// When the directory is looked at although nothing was told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Poll {
    /// Where the file system is one of those on which not everything is told.
    #[default]
    WhereSilent,
    /// As often as this, wherever it is.
    Every(Duration),
    /// Only where it cannot be watched at all.
    Never,
}

impl Poll {
    /// Reads `auto`, `never`, or a time: a bare number is seconds, and less than a tenth of a second is none.
    pub fn parse(text: &str) -> Option<Poll> {
        match text {
            "auto" => Some(Poll::WhereSilent),
            "never" => Some(Poll::Never),
            text => svdir::budget(text)?.filter(|span| *span >= Duration::from_millis(100)).map(Poll::Every),
        }
    }
}

/// Everything that differs between onit and the tools it can stand in for.
pub struct Config {
    /// What is supervised.
    pub root: Root,
    /// The habits of each service.
    pub manners: &'static Manners,
    /// Which control bytes are understood.
    pub dialect: Dialect,
    /// Which status record is written.
    pub format: Format,
    /// In whose words trouble is told.
    pub voice: Voice,
    /// Every program leads a session of its own.
    pub new_session: bool,
    /// A service that leaves the directory is stopped.
    pub stop_removed: bool,
    /// A `supervise` that cannot be written is no obstacle, `timeout-…` and `down-signal` are read.
    pub native: bool,
    /// The order to stop has this long to be followed; a second one cuts it short.
    pub stop_budget: Option<Duration>,
    /// HUP stops everything and we end with this code. Else it is a reason to look at the directory.
    pub hangup: Option<i32>,
    /// Every transition is told.
    pub trace: bool,
    /// Whoever was asked to run this directory, and may leave before us.
    pub front: Option<OwnedFd>,
    /// Who runs us and waits for our word.
    pub manager: Option<Manager>,
    /// Who may use the api socket.
    pub groups: Groups,
    /// When the directory is looked at.
    pub poll: Poll,
    /// Where we run.
    pub realm: Realm,
    /// What is run beside the services, and with whose end everything ends.
    pub main: Option<MainConfig>,
}

/// A main process to be.
pub struct MainConfig {
    /// The program and its arguments; never empty.
    pub argv: Vec<CString>,
    /// The descriptors that it inherits beside the first three.
    pub descriptors: Vec<RawFd>,
    /// How it is treated.
    pub manners: MainManners,
    /// We get this signal when our parent ends.
    pub death_signal: Option<Signal>,
    /// In whose words it is told what becomes of it.
    pub log: MainLog,
}

impl Config {
    /// onit itself.
    pub fn onit(directory: PathBuf) -> Config {
        Config {
            root: Root::Directory(directory),
            manners: &Manners::ONIT,
            dialect: Dialect::All,
            format: Format::Runit,
            voice: Voice::Onit,
            new_session: true,
            stop_removed: true,
            native: true,
            stop_budget: Some(STOP_BUDGET),
            hangup: None,
            trace: false,
            front: None,
            manager: None,
            groups: Groups::default(),
            poll: Poll::default(),
            realm: Realm::Process,
            main: None,
        }
    }

    /// runit's runsvdir.
    pub fn runsvdir(directory: PathBuf) -> Config {
        Config { root: Root::Directory(directory), hangup: Some(111), ..Config::runit("runsvdir") }
    }

    /// runit's runsv.
    pub fn runsv(service: PathBuf) -> Config {
        Config { root: Root::Service(service), hangup: Some(0), ..Config::runit("runsv") }
    }

    fn runit(tool: &'static str) -> Config {
        Config {
            manners: &Manners::RUNSV,
            dialect: Dialect::Runit,
            voice: Voice::Tool(tool),
            new_session: false,
            native: false,
            stop_budget: None,
            ..Config::onit(PathBuf::new())
        }
    }

    /// daemontools' svscan.
    pub fn svscan(directory: PathBuf) -> Config {
        Config { root: Root::Directory(directory), stop_removed: false, ..Config::daemontools("svscan") }
    }

    /// daemontools' supervise.
    pub fn supervise(service: PathBuf) -> Config {
        Config { root: Root::Service(service), ..Config::daemontools("supervise") }
    }

    fn daemontools(tool: &'static str) -> Config {
        Config {
            manners: &Manners::SUPERVISE,
            dialect: Dialect::Daemontools,
            format: Format::Daemontools,
            hangup: Some(0),
            ..Config::runit(tool)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_to_look_is_a_word_or_a_time() {
        let every = |ms| Some(Poll::Every(Duration::from_millis(ms)));
        assert_eq!(["auto", "never"].map(Poll::parse), [Some(Poll::WhereSilent), Some(Poll::Never)]);
        assert_eq!(["2", "500ms", "1m"].map(Poll::parse), [every(2000), every(500), every(60_000)]);
        assert_eq!(["0", "99ms", "", "often", "-1"].map(Poll::parse), [None; 5]);
    }
}
