//! `onit scale`: how many instances a template has.

use super::connect::{CliError, Connection, worse};
use super::format;
use super::wait_condition::{Before, Patience, Pending, WaitCondition, wait};
use crate::client::ErrorKind;
use crate::exit;
use crate::wire::api::ServiceStatus;
use crate::wire::svdir::template_and_instance;
use argh::{ArgsInfo, FromArgs};
use std::time::Duration;

/// From now on there are the instances NAME@1 to NAME@N of the template NAME@. Only those that are missing are started,
/// and those with higher numbers are stopped. This holds until the file "instances" says something else.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct Scale {
    /// the name of the template, without its @, and how many
    #[argh(positional, arg_name = "NAME=N", from_str_fn(scaling))]
    scalings: Vec<(String, u32)>,
    /// say what came of it
    #[argh(switch, short = 'v')]
    verbose: bool,
    /// wait no longer than this (SVWAIT, or 7)
    #[argh(option, short = 't', arg_name = "SEC", from_str_fn(format::patience))]
    timeout: Option<Duration>,
    /// do not wait
    #[argh(switch)]
    no_wait: bool,
}

/// `NAME=N`; an `@` behind the name is not needed.
fn scaling(word: &str) -> Result<(String, u32), String> {
    let (name, count) = word.rsplit_once('=').unwrap_or((word, ""));
    let name = name.strip_suffix('@').unwrap_or(name);
    match count.parse() {
        Ok(count) if !name.is_empty() && count_is_plain(word) => Ok((name.to_owned(), count)),
        _ => Err("it takes NAME=N, as web=3".to_owned()),
    }
}

/// Rust's own rule allows a `+`.
fn count_is_plain(word: &str) -> bool {
    word.ends_with(|last: char| last.is_ascii_digit()) && !word.contains("=+")
}

impl Scale {
    /// Tells the supervisor, and waits. Returns the exit code.
    pub fn run(&self) -> i32 {
        if self.scalings.is_empty() {
            return CliError::new(exit::USAGE, "scale: which template, and to how many? (web=3)").report();
        }
        let limit = Some(Patience::of_setter(self.timeout));
        let mut talk = Connection::open_within(limit);
        let mut patience = Patience::new(limit, self.verbose);
        patience.for_arrival = true;
        let (pending, code) = match self.begin(&mut talk) {
            Ok(begun) => begun,
            Err(trouble) => return trouble.report(),
        };
        if self.no_wait { code } else { worse(code, wait(&mut talk, pending, patience)) }
    }

    /// Gives the orders. Returns for what is to be waited, and the exit code.
    fn begin(&self, talk: &mut Connection) -> Result<(Vec<Pending>, i32), CliError> {
        if !self.no_wait {
            talk.api()?;
            talk.insist(None, Connection::subscribe)?;
        }
        let before = talk.everything()?;
        let (mut pending, mut code) = (Vec::new(), exit::OK);
        for (name, count) in &self.scalings {
            let given = talk.insist(None, |talk| match talk.api()?.scale(name, *count) {
                Err(error) if error.kind() == ErrorKind::Closed => Err(CliError::failed(&error)),
                answer => Ok(answer),
            });
            match given? {
                Ok(()) => pending.extend(
                    difference(&before, name, *count)
                        .into_iter()
                        .map(|(name, condition)| Pending { target: talk.target(&name), condition }),
                ),
                Err(error) if error.kind() == ErrorKind::NoService => {
                    let text =
                        format!("{name}: no such template in {} (a directory {name}@)", talk.directory.display());
                    code = worse(code, CliError::new(exit::UNKNOWN, text).report());
                }
                Err(error) => code = worse(code, CliError::of(name, &error, &talk.directory).report()),
            }
        }
        Ok((pending, code))
    }
}

/// What of a template is to come and to go, and when it has.
fn difference(before: &[ServiceStatus], name: &str, count: u32) -> Vec<(String, WaitCondition)> {
    let known = |name: &str| before.iter().find(|service| service.name == name);
    let comes = (1..=count).map(|number| format!("{name}@{number}")).filter_map(|name| match known(&name) {
        Some(service) if !service.leaving => None,
        Some(service) => Some((name, WaitCondition::Launched(Before::of(service)))),
        None => Some((name, WaitCondition::Launched(Before::NOTHING))),
    });
    let number = |service: &ServiceStatus| {
        let (template, instance) = template_and_instance(service.name.as_bytes())?;
        let is_ours = template.strip_suffix(b"@") == Some(name.as_bytes());
        std::str::from_utf8(instance).ok().filter(|_| is_ours)?.parse::<u32>().ok()
    };
    let goes = before.iter().filter(|service| number(service).is_some_and(|number| number > count));
    let goes = goes.map(|service| (service.name.clone(), WaitCondition::Gone(Before::of(service))));
    comes.chain(goes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{ServiceState, Want};

    #[test]
    fn a_word_is_a_name_and_a_number() {
        let is = |name: &str, count| Ok((name.to_owned(), count));
        assert_eq!(["web=5", "web@=0", "a=b=2"].map(scaling), [is("web", 5), is("web", 0), is("a=b", 2)]);
        for bad in ["", "web", "web=", "=3", "@=3", "web=+3", "web=-1", "web=x", "web=99999999999"] {
            assert!(scaling(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_difference_is_waited_for() {
        let up = |name: &str| ServiceStatus::new(name, ServiceState::Up, Want::Up);
        let leaving = ServiceStatus { leaving: true, ..up("web@3") };
        let before =
            [up("web"), up("web@1"), up("web@2"), leaving, up("web@4"), up("web@x"), up("db@9"), up("web@4/log")];
        let names = |count| -> Vec<_> {
            let changes = difference(&before, "web", count);
            changes.into_iter().map(|(name, on)| (name, matches!(on, WaitCondition::Gone(_)))).collect()
        };
        let is =
            |list: &[(&str, bool)]| -> Vec<_> { list.iter().map(|(name, goes)| ((*name).to_owned(), *goes)).collect() };
        assert_eq!(names(2), is(&[("web@3", true), ("web@4", true)]));
        assert_eq!(names(5), is(&[("web@3", false), ("web@5", false)]));
        assert_eq!(names(4), is(&[("web@3", false)]));
    }
}
