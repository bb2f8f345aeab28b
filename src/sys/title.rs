//! The words that `ps` shows of this process.

/// The memory of this process's last argument, if it can be found: what is written there shows in `ps`.
pub fn last_argument() -> Option<&'static mut [u8]> {
    let last = std::env::args_os().next_back()?.len();
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // proc(5): arg_end is the 49th field; counted after the name, which may hold spaces, it is the 47th.
    let end: usize = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(46)?.parse().ok()?;
    let start = end.checked_sub(last + 1)?;
    // SAFETY: the kernel says that our arguments end at `end`, with a NUL; the last one is the `last` bytes before
    // it. It is writable memory of this process that nothing else in it refers to: std copies the arguments.
    Some(unsafe { std::slice::from_raw_parts_mut(start as *mut u8, last) })
}
