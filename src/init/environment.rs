//! `env/` of a service: read anew for each of its scripts, by the rules of envdir, and forgotten once that has been
//! started. Whatever is wrong there, the script is started all the same.

use super::Init;
use super::log::one_line;
use super::table::SlotId;
use crate::sys::spawn::{Value, Variable};
use crate::sys::{Errno, fs};
use crate::wire::svdir::{self, VariableName, variable_name};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

/// The directory.
const ENV: &str = "env";
/// The variable that says which instance of a template it is.
const INSTANCE: &str = "ONIT_INSTANCE";
/// More files than that would keep the other services waiting at each start.
const FILES: usize = 1 << 14;
/// So many reads list that many names, however long they are.
const READS: usize = 1 << 11;
/// All of it may be so large, in bytes: half of what the kernel takes of a program whose stack may have the usual 8 MiB.
const SIZE: usize = 1 << 20;
/// What the kernel counts of each variable beside its name and its value: a pointer, `=` and a NUL.
const OVERHEAD: usize = 10;
/// As many files that are left out are named, and the others counted.
const NAMED: usize = 10;

/// What `env/` changes in the environment of a script.
#[derive(Default)]
pub(super) struct Environment {
    changes: Vec<(OsString, Option<OsString>)>,
    size: usize,
    /// A line for each of the first files that are left out.
    troubles: Vec<String>,
    unnamed: usize,
}

impl Init {
    /// Looks at `env/` of a service, and says what is new of what is wrong there.
    pub(super) fn environment_of(&mut self, at: SlotId) -> Environment {
        let Some(slot) = self.table.get(at).filter(|_| self.config.personality.reads_environment) else {
            return Environment::default();
        };
        let mut environment = Environment::default();
        environment.read(&slot.dir);
        let instance = slot.instance().map(|instance| (OsString::from(INSTANCE), Some(instance.to_owned())));
        environment.changes.extend(instance);
        self.warn_of_bad_value(at, ENV, environment.trouble());
        environment
    }
}

impl Environment {
    /// The same, as a program is started with it.
    pub(super) fn variables(&self) -> Vec<Variable<'_>> {
        self.changes
            .iter()
            .map(|(name, value)| Variable { name, value: value.as_deref().map_or(Value::Unset, Value::Text) })
            .collect()
    }

    /// What a variable is with it. `None`: there is none.
    pub(super) fn value(&self, name: &str) -> Option<OsString> {
        match self.changes.iter().rfind(|(changed, _)| changed == name) {
            Some((_, value)) => value.clone(),
            None => std::env::var_os(name),
        }
    }

    fn trouble(&mut self) -> Option<String> {
        if self.unnamed > 0 {
            self.troubles.push(format!("{} more files of env/ cannot be used; starting without them", self.unnamed));
        }
        (!self.troubles.is_empty()).then(|| self.troubles.join("\n"))
    }

    fn leave_out(&mut self, trouble: impl FnOnce() -> String) {
        if self.troubles.len() < NAMED {
            self.troubles.push(trouble());
        } else {
            self.unnamed += 1;
        }
    }

    /// Most services have no `env/`: then this is one system call.
    fn read(&mut self, dir: &OwnedFd) {
        let env = match fs::open_dir(dir, OsStr::new(ENV)) {
            Ok(env) => env,
            // A plain file of this name is for a `run` that reads it by itself.
            Err(Errno::ENOENT | Errno::ENOTDIR) => return,
            Err(errno) => {
                // With too much open, that is no sign that there is one.
                if fs::is_there(dir, OsStr::new(ENV)) {
                    self.leave_out(|| format!("cannot read env: {}; starting without it", errno.desc()));
                }
                return;
            }
        };
        let mut names = Vec::new();
        let listed = fs::list(&env, ".", READS, |name| {
            if names.len() <= FILES && variable_name(name) != VariableName::Hidden {
                names.push(OsString::from_vec(name.to_vec()));
            }
        });
        match listed {
            Ok(()) if names.len() <= FILES => {}
            Ok(()) | Err(Errno::EFBIG) => {
                self.leave_out(|| format!("env has more than {FILES} files; starting without the others"));
            }
            Err(errno) => self.leave_out(|| format!("cannot list env: {}; starting without the rest", errno.desc())),
        }
        names.truncate(FILES);
        let mut buffer = vec![0; svdir::VARIABLE + 1];
        names.into_iter().for_each(|name| self.take(&env, name, &mut buffer));
    }

    fn take(&mut self, env: impl AsFd, name: OsString, buffer: &mut [u8]) {
        let bad = match read(env, &name, buffer) {
            Ok(value) => {
                let size = name.len() + value.as_ref().map_or(0, |value| value.len()) + OVERHEAD;
                if self.size + size <= SIZE {
                    self.size += size;
                    self.changes.push((name, value));
                    return;
                }
                format!("{} is too much: env has more than {SIZE} bytes", path_of(&name))
            }
            Err(bad) => bad,
        };
        self.leave_out(|| format!("{bad}; starting without it"));
    }
}

/// What becomes of the variable of this name, or what is wrong with its file. It is not there any more, or leads
/// nowhere: to envdir that is an empty file.
fn read(env: impl AsFd, name: &OsStr, buffer: &mut [u8]) -> Result<Option<OsString>, String> {
    if variable_name(name.as_bytes()) == VariableName::Bad {
        return Err(format!("{} is no variable, since there is = in its name", path_of(name)));
    }
    match fs::read_regular_into(env, Path::new(name), buffer) {
        Ok(content) if content.len() > svdir::VARIABLE => {
            Err(format!("{} is longer than {} bytes", path_of(name), svdir::VARIABLE))
        }
        Ok(content) => Ok(svdir::variable(content).map(OsString::from_vec)),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ENOTSUP) => Err(format!("{} is no regular file", path_of(name))),
        Err(errno) => Err(format!("cannot read {}: {}", path_of(name), errno.desc())),
    }
}

/// How a file of `env/` is called in a line.
fn path_of(name: &OsStr) -> String {
    format!("env/{}", one_line(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, write};
    use std::os::unix::fs::symlink;

    /// What becomes of a directory of a service, and the lines about it.
    fn read_in(service: &Path) -> (Vec<(String, Option<String>)>, Vec<String>) {
        let mut environment = Environment::default();
        environment.read(&fs::open_path(service).expect("a directory"));
        let lines = environment.trouble().map_or(Vec::new(), |text| text.lines().map(str::to_owned).collect());
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let changes = environment.changes.iter().map(|(name, value)| (text(name), value.as_deref().map(text)));
        let mut changes: Vec<_> = changes.collect();
        changes.sort();
        (changes, lines)
    }

    /// The same of an `env/` with these files.
    fn read_with(files: &[(&str, &[u8])]) -> (Vec<(String, Option<String>)>, Vec<String>) {
        let service = tempfile::tempdir().expect("a directory");
        create_dir(service.path().join(ENV)).expect("made");
        files.iter().for_each(|(name, content)| write(service.path().join(ENV).join(name), content).expect("written"));
        read_in(service.path())
    }

    fn changes(of: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect()
    }

    #[test]
    fn files_are_variables_and_what_is_empty_or_leads_nowhere_removes_one() {
        let service = tempfile::tempdir().expect("a directory");
        let env = service.path().join(ENV);
        create_dir(&env).expect("made");
        write(env.join("A"), "b c \nd").expect("written");
        write(env.join("EMPTY"), "").expect("written");
        write(env.join(".HIDDEN"), "x").expect("written");
        symlink("nowhere", env.join("LINK")).expect("linked");
        assert_eq!(read_in(service.path()), (changes(&[("A", Some("b c")), ("EMPTY", None), ("LINK", None)]), vec![]));
    }

    #[test]
    fn without_a_directory_env_nothing_changes_and_nothing_is_said() {
        let service = tempfile::tempdir().expect("a directory");
        assert_eq!(read_in(service.path()), (vec![], vec![]));
        write(service.path().join(ENV), "A=b").expect("written");
        assert_eq!(read_in(service.path()), (vec![], vec![]), "a plain file is for run");
        std::fs::remove_file(service.path().join(ENV)).expect("removed");
        symlink(ENV, service.path().join(ENV)).expect("linked");
        let (none, lines) = read_in(service.path());
        assert_eq!((none, lines.len()), (vec![], 1), "a loop is a mistake: {lines:?}");
    }

    #[test]
    fn what_can_be_no_variable_is_told_and_the_others_are() {
        let service = tempfile::tempdir().expect("a directory");
        let env = service.path().join(ENV);
        create_dir(&env).expect("made");
        create_dir(env.join("DIR")).expect("made");
        write(env.join("A"), "b").expect("written");
        write(env.join("N=1"), "x").expect("written");
        write(env.join("LARGEST"), vec![b'x'; svdir::VARIABLE]).expect("written");
        write(env.join("LARGER"), vec![b'x'; svdir::VARIABLE + 1]).expect("written");
        let (changes, mut lines) = read_in(service.path());
        assert_eq!(changes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["A", "LARGEST"]);
        lines.sort();
        assert_eq!(
            lines,
            [
                "env/DIR is no regular file; starting without it",
                "env/LARGER is longer than 65536 bytes; starting without it",
                "env/N=1 is no variable, since there is = in its name; starting without it",
            ]
        );
    }

    #[test]
    fn ten_mistakes_are_named_and_the_others_counted() {
        let names: Vec<String> = (0..12).map(|n| format!("A={n}")).collect();
        let files = |count: usize| names.iter().take(count).map(|name| (name.as_str(), &b"x"[..])).collect::<Vec<_>>();
        assert_eq!(read_with(&files(10)).1.len(), 10);
        let (_, lines) = read_with(&files(12));
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[10], "2 more files of env/ cannot be used; starting without them");
    }

    #[test]
    fn all_of_it_has_no_more_than_a_mebibyte_as_the_kernel_counts() {
        let content = vec![b'x'; (SIZE / 16) - OVERHEAD - 2];
        let names: Vec<String> = (10..26).map(|n| n.to_string()).collect();
        let mut files: Vec<_> = names.iter().map(|name| (name.as_str(), &content[..])).collect();
        let (taken, lines) = read_with(&files);
        assert_eq!((taken.len(), lines), (16, vec![]), "it is full");
        files.push(("Z", b""));
        let (taken, lines) = read_with(&files);
        assert_eq!(taken.len(), 16);
        assert!(lines.len() == 1 && lines[0].contains(" is too much: env has more than 1048576 bytes"), "{lines:?}");
    }
}
