//! What one run of the supervisor is told: as which tool, in the form of which tool's messages, which directory.

use super::api::Groups;
use super::log::Log;
use super::main_log::MainLog;
use super::personality::Personality;
use crate::machine::Signal;
use crate::machine::main_process::MainOptions;
use crate::machine::request::InitMode;
use crate::machine::system::STOP_BUDGET;
use crate::machine::until::Until;
use crate::sys::fs;
use crate::sys::manager::Manager;
use crate::wire::select::Selection;
use crate::wire::status::Format;
use crate::wire::svdir;
use std::ffi::{CString, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

/// The file of a service that says which status record it has.
pub(super) const FORMAT: &str = "status-format";

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
    /// It is not watched, as s6 does not: only as often as this, if at all, and when somebody asks.
    Asked(Option<Duration>),
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

/// What one run is told.
pub struct Config {
    /// What is supervised.
    pub root: Root,
    /// As which tool.
    pub personality: &'static Personality,
    /// Where what follows us speaks, as s6-svscan's `-X` says.
    pub console: Option<i32>,
    /// In the form of which tool trouble is told.
    pub log: Log,
    /// Which status record is written, if a service does not say.
    pub format: Format,
    /// Every program leads a session of its own.
    pub new_session: bool,
    /// The order to stop has this long to be followed; a second one cuts it short.
    pub stop_budget: Option<Duration>,
    /// Every transition is told.
    pub trace: bool,
    /// What services say becomes one stream of this form, by `onit mux`.
    pub prefix: Option<CString>,
    /// Programs that say which services there are.
    pub loaders: Option<Loaders>,
    /// Where the exit code stands in the end, whoever has written it.
    pub exit_file: Option<PathBuf>,
    /// The pipe from the front, the process that was started to run this directory, which may end before us.
    pub launcher: Option<OwnedFd>,
    /// The application whose processes we supervise, see [`crate::init::embedded`]. The launcher is then its pipe.
    pub application: Option<Application>,
    /// The service manager that runs us and waits for our messages.
    pub manager: Option<Manager>,
    /// Who may use the api socket.
    pub groups: Groups,
    /// When the directory is looked at.
    pub poll: Poll,
    /// Which services start by themselves.
    pub selection: Selection,
    /// Everything ends when this is so.
    pub until: Option<Until>,
    /// Or when it is not so for this long.
    pub until_limit: Option<Duration>,
    /// Where we run.
    pub mode: InitMode,
    /// What is run beside the services, and with whose end everything ends.
    pub main: Option<MainConfig>,
}

/// Programs that say which services there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaders {
    /// Where they are.
    pub dir: PathBuf,
    /// Where the services are that they say.
    pub place: PathBuf,
}

/// An application that has its processes supervised.
pub struct Application {
    /// Its process. `None`: it has ended.
    pub process: Option<OwnedFd>,
    /// The services that outlive it.
    pub detached: Vec<OsString>,
}

/// A main process to be.
pub struct MainConfig {
    /// The program and its arguments; never empty.
    pub argv: Vec<CString>,
    /// The descriptors that it inherits beside the first three.
    pub descriptors: Vec<RawFd>,
    /// How it is treated.
    pub options: MainOptions,
    /// We get this signal when our parent ends.
    pub death_signal: Option<Signal>,
    /// In the form of which tool it is told what becomes of it.
    pub log: MainLog,
}

impl Config {
    /// The same with the time that `ONIT_STOP_TIMEOUT` allows.
    pub(super) fn with_budget(self) -> Config {
        Config { stop_budget: self.budget(), ..self }
    }

    /// How long everything may take to end, as `ONIT_STOP_TIMEOUT` says.
    fn budget(&self) -> Option<Duration> {
        let Some(text) = std::env::var_os("ONIT_STOP_TIMEOUT").filter(|_| self.personality.escalates) else {
            return self.stop_budget;
        };
        let text = text.to_string_lossy();
        svdir::budget(&text).unwrap_or_else(|| {
            let said = svdir::excerpt(&text);
            let cause = format!("ONIT_STOP_TIMEOUT says {said:?}, which is no time; going by the default of 9s");
            self.log.warn(None, &cause);
            self.stop_budget
        })
    }

    /// Which status record a service in this directory has; and what is wrong with what it says of that.
    pub(super) fn format_in(&self, dir: &OwnedFd) -> (Format, Option<String>) {
        let text = if self.personality.reads_small_files { fs::read_small(dir, FORMAT) } else { Ok(None) };
        let cause = match text {
            Ok(None) => return (self.format, None),
            Ok(Some(text)) => match svdir::word(&text) {
                Some(format) => return (format, None),
                None => {
                    let said = svdir::excerpt(text.trim_end_matches('\n'));
                    format!("{FORMAT} says {said:?}, which is no value for it")
                }
            },
            Err(errno) => format!("cannot read {FORMAT}: {}", errno.desc()),
        };
        (self.format, Some(format!("{cause}; going by the default")))
    }

    /// onit itself.
    pub fn onit(directory: PathBuf) -> Config {
        let stop_budget = Some(STOP_BUDGET);
        Config { new_session: true, stop_budget, ..Config::of(&Personality::ONIT, Root::Directory(directory)) }
    }

    /// As that tool, as it is without options.
    pub fn of(personality: &'static Personality, root: Root) -> Config {
        Config {
            root,
            personality,
            console: None,
            log: personality.log,
            format: personality.format,
            new_session: false,
            stop_budget: None,
            trace: false,
            prefix: None,
            loaders: None,
            exit_file: None,
            launcher: None,
            application: None,
            manager: None,
            groups: Groups::default(),
            poll: Poll::default(),
            selection: Selection::default(),
            until: None,
            until_limit: None,
            mode: InitMode::Supervisor,
            main: None,
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
