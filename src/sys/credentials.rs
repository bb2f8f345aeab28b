//! Users and groups: what the system's lists say of them, and becoming one of them.

use super::{Errno, checked};
use nix::unistd::{Gid, Uid};
use std::ffi::{CStr, CString, c_char};

/// A user in the list of users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its name.
    pub name: Vec<u8>,
    /// Its number.
    pub user: u32,
    /// The number of its own group.
    pub group: u32,
    /// Its home directory.
    pub home: Vec<u8>,
    /// Its shell.
    pub shell: Vec<u8>,
}

/// The user of this name; `None` if there is none. An error: the list could not be read; ENOENT: it is not there.
pub fn user_of_name(name: &[u8]) -> Result<Option<Account>, Errno> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    Errno::clear();
    // SAFETY: this process has a single thread; what is returned is copied before the next call.
    account(unsafe { libc::getpwnam(name.as_ptr()) })
}

/// The user of this number; `None` if the list has none.
pub fn user_of_id(user: u32) -> Result<Option<Account>, Errno> {
    Errno::clear();
    // SAFETY: as above.
    account(unsafe { libc::getpwuid(user) })
}

fn account(entry: *const libc::passwd) -> Result<Option<Account>, Errno> {
    if entry.is_null() {
        return missing();
    }
    // SAFETY: the C library has filled it, and nothing has asked it for another user since.
    let entry = unsafe { &*entry };
    Ok(Some(Account {
        name: text(entry.pw_name),
        user: entry.pw_uid,
        group: entry.pw_gid,
        home: text(entry.pw_dir),
        shell: text(entry.pw_shell),
    }))
}

fn text(text: *const c_char) -> Vec<u8> {
    // SAFETY: a string of the entry that the C library has filled, or none.
    if text.is_null() { Vec::new() } else { unsafe { CStr::from_ptr(text) }.to_bytes().to_vec() }
}

/// What the C library said when it found no entry: nothing, if it has read the lists.
fn missing<T>() -> Result<Option<T>, Errno> {
    match Errno::last() {
        Errno::UnknownErrno => Ok(None),
        errno => Err(errno),
    }
}

/// The number of the group of this name; `None` if there is none.
pub fn group_of_name(name: &[u8]) -> Result<Option<u32>, Errno> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    Errno::clear();
    // SAFETY: this process has a single thread; what is returned is not kept.
    let entry = unsafe { libc::getgrnam(name.as_ptr()) };
    if entry.is_null() {
        return missing();
    }
    // SAFETY: the C library has filled it just now.
    Ok(Some(unsafe { (*entry).gr_gid }))
}

/// The groups that the list has this user in, beside its own one.
pub fn groups_of(account: &Account) -> Vec<u32> {
    let Ok(name) = CString::new(account.name.clone()) else { return Vec::new() };
    let mut room = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(room.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: it writes no more groups than it is told that there is room for, and their number.
        let found = unsafe { libc::getgrouplist(name.as_ptr(), account.group, room.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or_default();
        if found >= 0 || count <= room.len() {
            room.truncate(count);
            break;
        }
        room.resize(count, 0);
    }
    room.split_first().map(|(_, others)| others.to_vec()).unwrap_or_default()
}

/// These become our supplementary groups, and no others.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups)
}

/// This becomes our group: real, effective and saved.
pub fn set_group(group: u32) -> Result<(), Errno> {
    nix::unistd::setgid(Gid::from_raw(group))
}

/// This becomes our user: real, effective and saved.
pub fn set_user(user: u32) -> Result<(), Errno> {
    nix::unistd::setuid(Uid::from_raw(user))
}

/// Our effective group.
pub fn group() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// From now on neither we nor what we execute get more rights by executing a file (prctl(2), PR_SET_NO_NEW_PRIVS).
pub fn forgo_new_rights() -> Result<(), Errno> {
    // SAFETY: prctl(2) with numbers only.
    checked(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// The working directory becomes the root.
pub fn change_root() -> Result<(), Errno> {
    nix::unistd::chroot(".")
}

/// What the files that we make may never be, from now on.
pub fn set_umask(mask: u32) {
    // SAFETY: umask(2) takes a number and never fails.
    unsafe { libc::umask(mask) };
}
