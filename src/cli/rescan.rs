//! `onit rescan`: the whole directory is looked at again.

use super::changed;
use super::connect::{CliError, Connection};
use super::term;
use crate::exit;
use crate::service_dir::ServiceDir;
use crate::sys::fs;
use crate::wire::api::ServiceStatus;
use crate::wire::svdir::is_template;
use argh::{ArgsInfo, FromArgs};
use std::collections::BTreeSet;

/// Let the supervisor look at the whole directory again, also at what was refused before. A service whose files were
/// changed since its start is named: it has to be restarted to know them.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Rescan {
    /// only tell what differs: + is in the directory alone, - is supervised alone, ~ was changed since its start
    #[argh(switch)]
    dry_run: bool,
}

impl Rescan {
    /// Asks. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Connection::open();
        match self.lines(&mut talk) {
            Ok(lines) => term::print_lines(&lines),
            Err(trouble) => trouble.report(),
        }
    }

    fn lines(&self, talk: &mut Connection) -> Result<Vec<String>, CliError> {
        if !self.dry_run {
            talk.insist(None, |talk| {
                let answer = talk.api()?.rescan();
                answer.map_err(|error| CliError {
                    code: exit::FAILED,
                    text: format!("rescan: {error}"),
                    ..CliError::failed(&error)
                })
            })?;
        }
        let services = talk.everything()?;
        let mut lines = if self.dry_run { strangers(talk, &services) } else { Vec::new() };
        lines.extend(services.iter().filter_map(|service| {
            let changed = changed::since_start(service, &talk.place(&talk.target(&service.name)));
            (!changed.is_empty()).then(|| format!("~ {}: {}", service.name, changed.join(", ")))
        }));
        Ok(lines)
    }
}

/// What is in the directory, or under supervision, and not in the other.
fn strangers(talk: &Connection, services: &[ServiceStatus]) -> Vec<String> {
    let supervised: BTreeSet<&str> =
        services.iter().filter(|service| !service.logger).map(|service| service.name.as_str()).collect();
    let is_service = |entry: &std::fs::DirEntry| {
        let name = entry.file_name();
        let is_hidden = name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().ends_with(b"@");
        !is_hidden && entry.path().is_dir()
    };
    let entries = talk.directory.read_dir().into_iter().flatten().flatten().filter(is_service);
    let mut there: BTreeSet<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    there.extend(instances(talk, &supervised));
    let new = there.iter().filter(|name| !supervised.contains(name.as_str())).map(|name| format!("+ {name}"));
    let old = supervised.iter().filter(|name| !there.contains(**name)).map(|name| format!("- {name}"));
    new.chain(old).collect()
}

/// The instances of the templates in the directory. Which variables the supervisor has is not to be seen from here: what
/// these say is taken to be as it was.
fn instances(talk: &Connection, supervised: &BTreeSet<&str>) -> Vec<String> {
    let names = fs::open_path(&talk.directory).and_then(fs::names).unwrap_or_default();
    let templates = names.iter().filter_map(|name| name.to_str()).filter(|name| is_template(name.as_bytes()));
    let of = |template: &str| -> Vec<String> {
        let settings = ServiceDir::read(talk.directory.join(template)).map(|template| template.settings);
        let said = settings.ok().and_then(|settings| settings.instances);
        match said.map(|said| said.names(|_| None)) {
            None => Vec::new(),
            Some(Ok(names)) => names.iter().map(|name| format!("{template}{name}")).collect(),
            Some(Err(_)) => {
                let known = supervised.iter().filter(|name| name.starts_with(template));
                known.map(|name| (*name).to_owned()).collect()
            }
        }
    };
    templates.flat_map(of).collect()
}
