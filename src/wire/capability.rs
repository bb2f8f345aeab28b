//! The names of capabilities, as capabilities(7) has them, without `CAP_` and in small letters.

/// By number.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// A set of capabilities, a bit for each, from its names with commas between them, with or without `CAP_`; `all`, `none`.
/// Or what is wrong, in a line.
pub fn set(text: &str) -> Result<u64, String> {
    match text {
        "all" => return Ok(u64::MAX),
        "none" | "" => return Ok(0),
        _ => {}
    }
    text.split(',').try_fold(0, |set, word| {
        let plain = word.to_ascii_lowercase();
        let plain = plain.strip_prefix("cap_").unwrap_or(&plain);
        let number = NAMES.iter().position(|name| *name == plain);
        number.map(|number| set | 1 << number).ok_or_else(|| format!("there is no capability \"{word}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bits() {
        assert_eq!(set("chown"), Ok(1));
        assert_eq!(set("CAP_CHOWN,net_bind_service"), Ok(1 | 1 << 10));
        assert_eq!(set("checkpoint_restore"), Ok(1 << 40));
        assert_eq!((set("all"), set("none")), (Ok(u64::MAX), Ok(0)));
        assert_eq!(set("chown,,kill"), Err("there is no capability \"\"".into()));
        assert!(set("root").is_err());
    }
}
