//! The words that daemontools and runit have for errors. They are not those of the C library, and scripts match
//! on them.

/// The text for an error number; `unknown error` for those that the tools do not list.
///
/// Source: `error_str.c` of daemontools and runit.
pub fn reason(errno: i32) -> &'static str {
    match errno {
        libc::ENOENT => "file does not exist",
        libc::EACCES => "access denied",
        libc::EPERM => "permission denied",
        libc::EAGAIN => "temporary failure",
        libc::ENXIO => "device not configured",
        libc::EROFS => "read-only file system",
        libc::ENOSPC => "out of disk space",
        libc::ELOOP => "symbolic link loop",
        libc::ENOTDIR => "not a directory",
        libc::EISDIR => "is a directory",
        libc::EEXIST => "file already exists",
        libc::EBADF => "file descriptor not open",
        libc::ENOEXEC => "exec format error",
        libc::EINVAL => "invalid argument",
        libc::ENOMEM => "out of memory",
        libc::EIO => "input/output error",
        libc::EPIPE => "broken pipe",
        libc::E2BIG => "argument list too long",
        libc::ENAMETOOLONG => "file name too long",
        libc::ESRCH => "no such process",
        libc::ECHILD => "no child processes",
        libc::ETXTBSY => "text busy",
        libc::EMFILE => "too many open files in process",
        libc::ENFILE => "too many open files in system",
        libc::EDQUOT => "disk quota exceeded",
        _ => "unknown error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_real_tools_printed() {
        for (errno, words) in [
            (libc::ENOENT, "file does not exist"),
            (libc::EACCES, "access denied"),
            (libc::EPERM, "permission denied"),
            (libc::EAGAIN, "temporary failure"),
            (libc::ENXIO, "device not configured"),
            (libc::EROFS, "read-only file system"),
            (libc::ENOTDIR, "not a directory"),
            (libc::EBADF, "file descriptor not open"),
            (0, "unknown error"),
        ] {
            assert_eq!(reason(errno), words);
        }
    }
}
