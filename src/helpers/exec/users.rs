//! From how a user is written to its numbers.

use super::environment::Environment;
use super::plan::{Failure, Step};
use crate::sys::Errno;
use crate::sys::credentials::{self, Account};

/// chpst takes no more groups.
const MOST_GROUPS: usize = 60;

/// What a process is to become; what is `None` stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    /// All supplementary groups.
    pub(super) groups: Option<Vec<u32>>,
    /// What the list of users says, if it knows the user.
    pub(super) account: Option<Account>,
}

impl Identity {
    /// The first of the groups is its own one.
    fn with(user: u32, groups: Vec<u32>, account: Option<Account>) -> Identity {
        Identity { user: Some(user), group: groups.first().copied(), groups: Some(groups), account }
    }

    /// Becomes it. It cannot be left again.
    pub(super) fn become_it(&self) -> Result<(), Failure> {
        self.groups.as_deref().map_or(Ok(()), credentials::set_groups).map_err(Failure::of(Step::SetGroups))?;
        self.group.map_or(Ok(()), credentials::set_group).map_err(Failure::of(Step::SetGroup))?;
        self.user.map_or(Ok(()), credentials::set_user).map_err(Failure::of(Step::SetUser))
    }

    /// Its numbers become variables.
    pub(super) fn export(&self, environment: &mut Environment) {
        environment.set("GID", self.group.unwrap_or_default().to_string());
        environment.set("UID", self.user.unwrap_or_default().to_string());
    }

    /// The variables of a login become those of this user. One that the list does not know is at home in `/`.
    pub(super) fn set_home(&self, environment: &mut Environment) {
        let number = || self.user.unwrap_or_else(crate::sys::process::user).to_string().into_bytes();
        let (name, home, shell) = match &self.account {
            Some(account) => (account.name.clone(), account.home.clone(), account.shell.clone()),
            None => (number(), b"/".to_vec(), Vec::new()),
        };
        let shell = if shell.is_empty() { b"/bin/sh".to_vec() } else { shell };
        for (variable, value) in [("HOME", &home), ("USER", &name), ("LOGNAME", &name), ("SHELL", &shell)] {
            environment.set(variable, value);
        }
    }
}

fn read<T>(result: Result<T, Errno>) -> Result<T, Failure> {
    result.map_err(Failure::of(Step::ReadUsers))
}

/// The same, where a list that is not there is as good as an empty one.
fn read_any<T>(result: Result<Option<T>, Errno>) -> Result<Option<T>, Failure> {
    if result.as_ref().is_err_and(|errno| *errno == Errno::ENOENT) { Ok(None) } else { read(result) }
}

/// A user as setuidgid takes it: a name, with its own group and no other.
pub(super) fn of_account(word: &[u8]) -> Result<Identity, Failure> {
    let account = credentials::user_of_name(word).unwrap_or_default(); // whatever it is, it has one word for it
    let account = account.ok_or_else(|| Failure::plain(Step::UnknownUser, word))?;
    Ok(Identity::with(account.user, vec![account.group], Some(account)))
}

/// A user as chpst takes it: `USER`, `USER:GROUP[:GROUP…]`, or numbers, `:UID:GID[:GID…]`.
pub(super) fn of_chpst(word: &[u8]) -> Result<Identity, Failure> {
    if let Some(ids) = word.strip_prefix(b":") {
        let numbers = numbers(ids).ok_or_else(|| Failure::plain(Step::BadNumbers, ids));
        return numbers.map(|(user, groups)| Identity::with(user, groups, None));
    }
    let unknown = || Failure::plain(Step::UnknownUser, word);
    let mut names = word.split(|byte| *byte == b':');
    let user = names.next().unwrap_or_default();
    let account = read(credentials::user_of_name(user))?.ok_or_else(unknown)?;
    let mut groups = Vec::new();
    for name in names.take(MOST_GROUPS) {
        groups.push(read(credentials::group_of_name(name))?.ok_or_else(unknown)?);
    }
    if groups.is_empty() {
        groups.push(account.group);
    }
    Ok(Identity::with(account.user, groups, Some(account)))
}

/// The number at the front of a text, modulo 2^64, 0 if there is none, and what is behind it.
fn scan(text: &[u8]) -> (u64, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or_default();
    (crate::tool::getopt::number(digits), rest)
}

/// `UID:GID[:GID…]`, each modulo 2^32, 0 if it is empty. As `uidgids_set` of runit's `uidgid.c`.
fn numbers(text: &[u8]) -> Option<(u32, Vec<u32>)> {
    let (user, rest) = scan(text);
    let mut rest = rest.strip_prefix(b":")?;
    let mut groups = Vec::new();
    loop {
        let (group, behind) = scan(rest);
        groups.push(group as u32);
        let Some(next) = behind.strip_prefix(b":") else { return behind.is_empty().then_some((user as u32, groups)) };
        if groups.len() == MOST_GROUPS {
            return next.is_empty().then_some((user as u32, groups));
        }
        rest = next;
    }
}

/// A user as `onit exec` takes it: `USER[:GROUP…]`, each a name or a number. Without a group it has those that the lists
/// say; with groups these and no others, the first as its own.
pub fn of_words(word: &[u8]) -> Result<Identity, Failure> {
    let mut words = word.split(|byte| *byte == b':');
    let user = words.next().unwrap_or_default();
    let account = match number(user) {
        Some(user) => credentials::user_of_id(user).unwrap_or_default(), // it needs no list
        None => {
            Some(read_any(credentials::user_of_name(user))?.ok_or_else(|| Failure::plain(Step::UnknownUser, user))?)
        }
    };
    let mut groups = words.map(group).collect::<Result<Vec<_>, _>>()?;
    if groups.is_empty() {
        let account = account.as_ref().ok_or_else(|| Failure::plain(Step::NoGroup, user))?;
        groups.push(account.group);
        groups.extend(credentials::groups_of(account));
    }
    let id = account.as_ref().map(|account| account.user).or_else(|| number(user)).unwrap_or_default();
    Ok(Identity::with(id, groups, account))
}

/// The number of a group, by name or number.
pub(super) fn group(word: &[u8]) -> Result<u32, Failure> {
    match number(word) {
        Some(number) => Ok(number),
        None => read_any(credentials::group_of_name(word))?.ok_or_else(|| Failure::plain(Step::UnknownGroup, word)),
    }
}

/// A number of a user or group. The last one means "none" to the kernel.
pub(super) fn number(word: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_chpst_are_those_of_its_source() {
        let of = |text: &str| numbers(text.as_bytes());
        assert_eq!(of("1000:2000:3000"), Some((1000, vec![2000, 3000])));
        assert_eq!(of("1000"), None);
        assert_eq!(of("1000:"), Some((1000, vec![0])));
        assert_eq!(of(":5"), Some((0, vec![5])));
        assert_eq!(of("1::3"), Some((1, vec![0, 3])));
        assert_eq!(of("4294967296:1"), Some((0, vec![1])));
        assert_eq!(of("1:2x"), None);
        assert_eq!(of("x:1"), None);
        let many = |count| "1".to_owned() + &":7".repeat(count);
        assert_eq!(of(&many(60)).map(|(_, groups)| groups.len()), Some(60));
        assert_eq!(of(&many(61)), None);
        assert_eq!(of(&(many(60) + ":")).map(|(_, groups)| groups.len()), Some(60));
    }

    #[test]
    fn users_by_number_need_no_list_but_then_a_group() {
        let root = of_words(b"0").expect("root");
        assert_eq!((root.user, root.group), (Some(0), Some(0)));
        let some = of_words(b"4000000000:5:6").expect("numbers");
        assert_eq!((some.user, some.group, some.groups), (Some(4_000_000_000), Some(5), Some(vec![5, 6])));
        assert_eq!(of_words(b"4000000000"), Err(Failure::plain(Step::NoGroup, "4000000000")));
        assert_eq!(of_words(b"root:no such group"), Err(Failure::plain(Step::UnknownGroup, "no such group")));
        assert_eq!(of_words(b""), Err(Failure::plain(Step::UnknownUser, "")));
        assert_eq!(number(b"4294967295"), None);
    }
}
