//! Templates: one directory, `NAME@`, for several services, each with a name of its own, `NAME@x`.
//!
//! The file `instances` says which there are, or an order (`onit scale`) how many; a link `NAME@x -> NAME@` makes one,
//! too. To the rest of the supervisor an instance is a name that leads to the directory of its template: it comes and
//! goes as other names do.

use super::Init;
use super::table::{Identity, SlotId};
use crate::sys::Errno;
use crate::sys::fs::{self, FileId};
use crate::wire::svdir::{self, Instances, template_and_instance};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The file.
const INSTANCES: &str = "instances";

/// The templates of the directory, by their names, `NAME@`.
#[derive(Default)]
pub(super) struct Templates {
    known: BTreeMap<OsString, Template>,
    /// Those that an order has scaled.
    scaled: BTreeMap<OsString, Scaled>,
}

/// One of them.
#[derive(Default)]
struct Template {
    /// What its file says. `None`: there is none, or it says nothing that counts.
    said: Option<Instances>,
    /// The instances that there are to be.
    wanted: BTreeSet<String>,
    /// What is wrong with its file, as it was told.
    complaint: Option<String>,
}

/// To how many instances, and what the file said then: another word in it counts again. `None`: that is not known, as
/// another supervisor was told.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Scaled {
    count: u16,
    said: Option<Option<Instances>>,
}

/// Why a template cannot be scaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unscaled {
    /// There is no such template.
    Unknown,
    /// That would be more than [`Instances::MOST`].
    TooMany,
    /// Its instances have names.
    Named,
    /// Everything ends.
    Stopping,
}

impl Templates {
    /// The names of all.
    pub(super) fn names(&self) -> impl Iterator<Item = &OsString> {
        self.known.keys()
    }

    /// Whether a template is to have this instance.
    fn wants(&self, template: &[u8], instance: &[u8]) -> bool {
        let known = self.known.get(OsStr::from_bytes(template));
        std::str::from_utf8(instance).is_ok_and(|instance| known.is_some_and(|known| known.wanted.contains(instance)))
    }

    /// A template is there, and this is what its file says. Returns the instances that may have come or gone.
    fn saw(&mut self, name: &OsStr, said: Option<Instances>, named: Vec<String>) -> Vec<String> {
        let scaled = self.scaled.get_mut(name).and_then(|scaled| {
            let before = scaled.said.get_or_insert_with(|| said.clone());
            (*before == said).then_some(scaled.count)
        });
        if scaled.is_none() {
            self.scaled.remove(name);
        }
        let numbered = |count: u16| (1..=count).map(|number| number.to_string()).collect();
        let wanted = scaled.map_or_else(|| named.into_iter().collect(), numbered);
        let known = self.known.entry(name.to_owned()).or_default();
        known.said = said;
        let before = std::mem::replace(&mut known.wanted, wanted);
        before.union(&known.wanted).cloned().collect()
    }

    /// A template has gone. Returns its instances.
    fn lost(&mut self, name: &OsStr) -> Vec<String> {
        self.scaled.remove(name);
        self.known.remove(name).into_iter().flat_map(|known| known.wanted).collect()
    }

    /// A template is to have so many instances. Returns those that may have come or gone.
    fn scale(&mut self, name: &OsStr, count: u64) -> Result<Vec<String>, Unscaled> {
        let known = self.known.get(name).ok_or(Unscaled::Unknown)?;
        let most = u64::try_from(Instances::MOST).unwrap_or_default();
        let count = u16::try_from(count).ok().filter(|_| count <= most).ok_or(Unscaled::TooMany)?;
        if known.wanted.iter().any(|name| name.parse::<u16>().is_err()) {
            return Err(Unscaled::Named);
        }
        let said = known.said.clone();
        self.scaled.insert(name.to_owned(), Scaled { count, said: Some(said.clone()) });
        Ok(self.saw(name, said, Vec::new()))
    }

    /// How a template was scaled, as it is noted: zero if it was not.
    fn scale_of(&self, name: &OsStr) -> u16 {
        self.scaled.get(name).map_or(0, |scaled| scaled.count + 1)
    }
}

impl Init {
    /// Whether a name is that of a template.
    pub(super) fn is_template(&self, name: &OsStr) -> bool {
        self.config.personality.has_templates && svdir::is_template(name.as_bytes())
    }

    /// The directory that a name leads to, which is that of its template if it is an instance.
    pub(super) fn resolve(&self, name: &OsStr) -> Result<(OwnedFd, Identity), Errno> {
        let Some(dir) = self.scan.dir() else { return self.resolve_loaded(name) };
        let has_templates = self.config.personality.has_templates;
        let parts = template_and_instance(name.as_bytes()).filter(|_| has_templates);
        match (fs::open_dir(dir, name), parts) {
            (Err(Errno::ENOENT), Some((template, instance)))
                if self.scan.templates.wants(template, instance) && !fs::is_there(dir, name) =>
            {
                let found = fs::open_dir(dir, OsStr::from_bytes(template))?;
                let id = Identity::new(fs::identity(&found)?, Some(instance));
                Ok((found, id))
            }
            (Err(Errno::ENOENT), _) if !fs::is_there(dir, name) => self.resolve_loaded(name),
            (found, parts) => {
                let found = found?;
                let id = fs::identity(&found)?;
                let instance = parts.filter(|(template, _)| leads_to_template(dir, name, template, id));
                Ok((found, Identity::new(id, instance.map(|(_, instance)| instance))))
            }
        }
    }

    /// What the name means that the first directory does not have.
    fn resolve_loaded(&self, name: &OsStr) -> Result<(OwnedFd, Identity), Errno> {
        let found = fs::open_dir(self.scan.loaded.dir().ok_or(Errno::ENOENT)?, name)?;
        let id = Identity::new(fs::identity(&found)?, None);
        Ok((found, id))
    }

    /// What of this template is there, and which instances it has; these are looked at then.
    pub(super) fn look_at_template(&mut self, name: &OsStr) {
        let found = self.scan.dir().map_or(Err(Errno::ENOENT), |dir| fs::open_dir(dir, name));
        let instances = match found {
            Ok(dir) => match self.followed(name).read_instances(name, &dir) {
                Ok((said, names)) => {
                    self.complain_of_template(name, None);
                    self.scan.templates.saw(name, said, names)
                }
                Err(why) => {
                    self.complain_of_template(name, Some(why));
                    return;
                }
            },
            Err(Errno::ENOENT | Errno::ENOTDIR) => {
                self.scan.unfollow(name);
                self.scan.templates.lost(name)
            }
            Err(errno) => {
                let why = format!("its directory cannot be reached: {}; keeping its instances", errno.desc());
                return self.complain_of_template(name, Some(why));
            }
        };
        self.look_at_instances(name, instances);
    }

    /// Before its file is read: what changes since then is told.
    fn followed(&mut self, template: &OsStr) -> &Init {
        self.scan.follow(template, INSTANCES);
        self
    }

    fn look_at_instances(&mut self, template: &OsStr, instances: Vec<String>) {
        for instance in instances {
            let mut name = template.to_owned();
            name.push(instance);
            if let Some(at) = self.table.named(&name) {
                self.note_scale(at);
            }
            self.scan.push(name);
        }
    }

    /// What `instances` says, and the names that this means now. A directory of that name is s6's, and says nothing.
    fn read_instances(&self, name: &OsStr, dir: &OwnedFd) -> Result<(Option<Instances>, Vec<String>), String> {
        let then = "no instance is started or stopped for it";
        let mut text = vec![0; Instances::SIZE + 1];
        let text = match fs::read_regular_into(dir, Path::new(INSTANCES), &mut text) {
            Ok(text) if text.len() > Instances::SIZE => {
                return Err(format!("{INSTANCES} is longer than {} bytes; {then}", Instances::SIZE));
            }
            Ok(text) => String::from_utf8_lossy(text),
            Err(Errno::ENOENT) => return Ok((None, Vec::new())),
            Err(_) if fs::is_dir(dir, OsStr::new(INSTANCES)) => return Ok((None, Vec::new())),
            Err(Errno::ENOTSUP) => return Err(format!("{INSTANCES} is no regular file; {then}")),
            Err(errno) => return Err(format!("cannot read {INSTANCES}: {}; {then}", errno.desc())),
        };
        let Some(said) = Instances::parse(&text) else {
            let said = svdir::excerpt(text.trim_end_matches('\n'));
            return Err(format!("{INSTANCES} says {said:?}, which is no value for it; {then}"));
        };
        let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
        match said.names(variable) {
            Ok(names) => Ok((Some(said), names)),
            Err(_) if self.scan.templates.scale_of(name) > 0 => Ok((Some(said), Vec::new())),
            Err(why) => Err(format!("{INSTANCES} {why}; {then}")),
        }
    }

    fn complain_of_template(&mut self, name: &OsStr, complaint: Option<String>) {
        let known = self.scan.templates.known.entry(name.to_owned()).or_default();
        if known.complaint == complaint {
            return;
        }
        known.complaint.clone_from(&complaint);
        if let Some(complaint) = complaint {
            self.config.log.warn(Some(name), &complaint);
        }
    }

    /// An order: the template `NAME@` is to have so many instances.
    pub(super) fn scale(&mut self, name: &OsStr, count: u64) -> Result<(), Unscaled> {
        if !self.scan.takes_in() {
            return Err(Unscaled::Stopping);
        }
        let mut template = name.to_owned();
        template.push("@");
        let instances = self.scan.templates.scale(&template, count)?;
        self.look_at_instances(&template, instances);
        Ok(())
    }

    /// How its template was scaled is noted with each instance.
    pub(super) fn note_scale(&mut self, at: SlotId) {
        let Some(slot) = self.table.get(at).filter(|slot| slot.id.is_instance()) else { return };
        let template = template_and_instance(slot.name.as_bytes()).map(|(template, _)| OsStr::from_bytes(template));
        let scale = template.map_or(0, |template| self.scan.templates.scale_of(template));
        if slot.scale != scale {
            self.table.get_mut(at).into_iter().for_each(|slot| slot.scale = scale);
        }
    }

    /// A supervisor goes on from what another one has left: what was scaled stays so.
    pub(super) fn restore_scales(&mut self) {
        for at in self.table.services() {
            let Some(slot) = self.table.get(at).filter(|slot| !slot.removed) else { continue };
            let Some(count) = slot.scale.checked_sub(1) else { continue };
            if let Some((template, _)) = template_and_instance(slot.name.as_bytes()) {
                let scaled = Scaled { count, said: None };
                self.scan.templates.scaled.insert(OsStr::from_bytes(template).to_owned(), scaled);
            }
        }
    }
}

/// Whether a name is a link to a template: to the one beside it, or to one of the same name elsewhere.
fn leads_to_template(dir: &OwnedFd, name: &OsStr, template: &[u8], found: FileId) -> bool {
    let target = || fs::target(dir, name.to_str()?)?.file_name().map(|target| target.as_bytes() == template);
    let beside = || fs::open_dir(dir, OsStr::from_bytes(template)).and_then(fs::identity);
    fs::is_link(dir, name) && (target() == Some(true) || beside() == Ok(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<String> {
        list.split_whitespace().map(str::to_owned).collect()
    }

    fn saw(templates: &mut Templates, text: &str) -> String {
        let said = Instances::parse(text);
        let named = said.as_ref().map_or(Vec::new(), |said| said.names(|_| None).expect("names"));
        templates.saw("web@".as_ref(), said, named).join(" ")
    }

    fn wanted(templates: &Templates) -> String {
        templates.known["web@".as_ref() as &OsStr].wanted.iter().cloned().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_change_concerns_the_instances_of_before_and_after() {
        let mut templates = Templates::default();
        assert_eq!(
            [saw(&mut templates, "2"), saw(&mut templates, "1"), saw(&mut templates, "a\nb")],
            ["1 2", "1 2", "1 a b"]
        );
        assert!(templates.wants(b"web@", b"a") && !templates.wants(b"web@", b"1") && !templates.wants(b"db@", b"a"));
        assert_eq!(templates.lost("web@".as_ref()), names("a b"));
        assert!(!templates.wants(b"web@", b"a") && templates.lost("web@".as_ref()).is_empty());
    }

    #[test]
    fn what_was_scaled_stays_so_until_the_file_says_something_else() {
        let (mut templates, web): (_, &OsStr) = (Templates::default(), "web@".as_ref());
        assert_eq!(templates.scale(web, 1), Err(Unscaled::Unknown));
        saw(&mut templates, "2");
        assert_eq!((templates.scale(web, 4), templates.scale_of(web)), (Ok(names("1 2 3 4")), 5));
        saw(&mut templates, "2");
        assert_eq!(wanted(&templates), "1 2 3 4");
        saw(&mut templates, "3");
        assert_eq!((wanted(&templates), templates.scale_of(web)), ("1 2 3".into(), 0));
        assert_eq!((templates.scale(web, 0), wanted(&templates)), (Ok(names("1 2 3")), String::new()));
        assert_eq!(templates.scale(web, 1001), Err(Unscaled::TooMany));
        assert!(templates.scale(web, 1000).is_ok_and(|all| all.len() == 1000));
        saw(&mut templates, "x");
        assert_eq!(templates.scale(web, 1), Err(Unscaled::Named));
    }

    #[test]
    fn what_another_supervisor_was_told_holds_for_what_the_file_says_at_first() {
        let (mut templates, web): (_, &OsStr) = (Templates::default(), "web@".as_ref());
        templates.scaled.insert(web.to_owned(), Scaled { count: 1, said: None });
        saw(&mut templates, "3");
        assert_eq!((wanted(&templates), templates.scale_of(web)), ("1".into(), 2));
        saw(&mut templates, "2");
        assert_eq!(wanted(&templates), "1 2");
    }
}
