//! What a process may do although its user is not root, or may not although it is: capabilities(7).

use super::{Errno, checked};

/// One bit for each.
pub type Set = u64;
/// So many of them can be.
const SIZE: libc::c_ulong = 64;

/// The three sets of a thread; the bounding set has functions of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sets {
    /// What counts now.
    pub effective: Set,
    /// What may be made effective.
    pub permitted: Set,
    /// What may outlive the execution of a program.
    pub inheritable: Set,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Header {
    /// Of this thread, in the third version (`_LINUX_CAPABILITY_VERSION_3`).
    const OURS: Header = Header { version: 0x2008_0522, pid: 0 };
}

/// Ours.
pub fn get() -> Result<Sets, Errno> {
    let (mut header, mut halves) = (Header::OURS, [Half::default(); 2]);
    // SAFETY: capget(2) reads the header, to which it may write a version, and writes two halves.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) })?;
    let [low, high] = halves;
    let whole = |part: fn(&Half) -> u32| u64::from(part(&high)) << 32 | u64::from(part(&low));
    Ok(Sets {
        effective: whole(|half| half.effective),
        permitted: whole(|half| half.permitted),
        inheritable: whole(|half| half.inheritable),
    })
}

/// Sets ours.
pub fn set(sets: Sets) -> Result<(), Errno> {
    let half = |shift: u32| Half {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let (mut header, halves) = (Header::OURS, [half(0), half(32)]);
    // SAFETY: capset(2) reads the header, to which it may write a version, and two halves.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) }).map(drop)
}

/// Takes all but these out of the bounding set: nothing that we execute can get them.
pub fn bound(kept: Set) -> Result<(), Errno> {
    for number in 0..SIZE {
        // SAFETY: prctl(2) with numbers only.
        let is_there = unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) };
        if is_there == -1 {
            break; // the kernel has no more of them
        }
        if is_there == 1 && kept & 1 << number == 0 {
            // SAFETY: as above.
            checked(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) })?;
        }
    }
    Ok(())
}

/// What is permitted stays so when we become another user.
pub fn keep_over_change_of_user() -> Result<(), Errno> {
    // SAFETY: prctl(2) with numbers only.
    checked(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }).map(drop)
}

/// Programs that we execute get these, whoever their user is. They have to be permitted and inheritable.
pub fn raise_ambient(set: Set) -> Result<(), Errno> {
    for number in (0..SIZE).filter(|number| set & 1 << number != 0) {
        // SAFETY: prctl(2) with numbers only.
        checked(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, 0, 0) })?;
    }
    Ok(())
}
