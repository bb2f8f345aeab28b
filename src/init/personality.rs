//! Where the tools that onit can stand in for differ from it, and from each other: one row for each.

use super::log::Log;
use super::svscan::SignalsOf;
use crate::machine::policy::ServiceRules;
use crate::wire::control::Dialect;
use crate::wire::status::Format;

/// What one tool does, and another does not.
#[derive(Debug)]
pub struct Personality {
    /// The rules by which a service lives.
    pub service: &'static ServiceRules,
    /// Which control bytes are understood.
    pub dialect: Dialect,
    /// Which status record is written.
    pub format: Format,
    /// Signals mean what they mean to one of s6's supervisors.
    pub signals_of_s6: Option<SignalsOf>,
    /// `.s6-svscan` is served.
    pub has_svscan: bool,
    /// Each service has a place for those who wait for it in s6's way.
    pub has_listeners: bool,
    /// `run` and `finish` are told the name of the service, and `finish` what s6 tells it.
    pub tells_names: bool,
    /// In the form of which tool messages are written.
    pub log: Log,
    /// A service that leaves the directory is stopped.
    pub stops_removed: bool,
    /// HUP stops everything, and this is the exit code then. Else it is a reason to look at the directory.
    pub hangup: Option<i32>,
    /// Our own small files are read: `timeout-…`, `down-signal`, `essential`.
    pub reads_small_files: bool,
    /// `env/` changes the environment of a service's scripts.
    pub reads_environment: bool,
    /// `NAME@` is a template for services.
    pub has_templates: bool,
    /// A service directory that is being made has a moment until it is complete.
    pub awaits_complete: bool,
    /// Where `supervise` cannot be made, the service runs all the same, and has its files in the runtime mirror.
    pub mirrors: bool,
    /// There is an api socket, and another supervisor that is told to serve this directory too finds out that we do.
    pub has_api: bool,
    /// The end of a service that was not asked for is told, and so is what takes longer than expected.
    pub tells_news: bool,
    /// Once everything is to stop, no order starts a service again; a second order to stop everything escalates, and
    /// `ONIT_STOP_TIMEOUT` says when that happens by itself.
    pub escalates: bool,
    /// Orphans become our children, and what is left of the services is killed in the end.
    pub owns_descendants: bool,
}

impl Personality {
    /// onit itself.
    pub const ONIT: Personality = Personality {
        service: &ServiceRules::ONIT,
        dialect: Dialect::All,
        format: Format::Runit,
        signals_of_s6: None,
        has_svscan: false,
        has_listeners: false,
        tells_names: false,
        log: Log::Onit,
        stops_removed: true,
        hangup: None,
        reads_small_files: true,
        reads_environment: true,
        has_templates: true,
        awaits_complete: true,
        mirrors: true,
        has_api: true,
        tells_news: true,
        escalates: true,
        owns_descendants: true,
    };

    /// onit, with the habits of s6.
    pub const ONIT_AS_S6: Personality = Personality {
        service: &ServiceRules::S6,
        format: Format::S6,
        has_svscan: true,
        has_listeners: true,
        tells_names: true,
        reads_environment: false,
        ..Personality::ONIT
    };

    /// s6's s6-svscan.
    pub const S6_SVSCAN: Personality = Personality {
        log: Log::Tool("s6-svscan"),
        stops_removed: false,
        signals_of_s6: Some(SignalsOf::Svscan),
        has_svscan: true,
        ..Personality::S6_SUPERVISE
    };

    /// s6's s6-supervise.
    pub const S6_SUPERVISE: Personality = Personality {
        service: &ServiceRules::S6_SUPERVISE,
        dialect: Dialect::All,
        format: Format::S6,
        has_listeners: true,
        tells_names: true,
        log: Log::Tool("s6-supervise"),
        signals_of_s6: Some(SignalsOf::Supervise),
        reads_small_files: true,
        ..Personality::RUNSVDIR
    };

    /// runit's runsvdir.
    pub const RUNSVDIR: Personality = Personality {
        service: &ServiceRules::RUNSV,
        dialect: Dialect::Runit,
        log: Log::Tool("runsvdir"),
        hangup: Some(111),
        reads_small_files: false,
        reads_environment: false,
        has_templates: false,
        awaits_complete: false,
        mirrors: false,
        has_api: false,
        tells_news: false,
        escalates: false,
        owns_descendants: false,
        ..Personality::ONIT
    };

    /// runit's runsv.
    pub const RUNSV: Personality = Personality { log: Log::Tool("runsv"), hangup: Some(0), ..Personality::RUNSVDIR };

    /// daemontools' svscan.
    pub const SVSCAN: Personality =
        Personality { log: Log::Tool("svscan"), stops_removed: false, ..Personality::SUPERVISE };

    /// daemontools' supervise.
    pub const SUPERVISE: Personality = Personality {
        service: &ServiceRules::SUPERVISE,
        dialect: Dialect::Daemontools,
        format: Format::Daemontools,
        log: Log::Tool("supervise"),
        hangup: Some(0),
        ..Personality::RUNSVDIR
    };
}
