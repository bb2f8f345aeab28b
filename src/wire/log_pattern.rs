//! The patterns that select lines of a log. Both kinds look for the first occurrence of what follows a star, and never
//! try another one.
//!
//! Sources: svlogd(8) and multilog(8), `pmatch.c` of runit and `match.c` of daemontools, and what the real ones selected.

/// Whether a pattern of svlogd fits a whole line: `*` is anything, `+c` is one or more `c`.
///
/// As the real one has it, a line that ends within a `+` fits, whatever else the pattern has. Where the real one looks at
/// what an earlier line has left in its memory, because the line ends before the `+`, or the pattern with it, nothing
/// fits here.
pub fn svlogd(pattern: &[u8], line: &[u8]) -> bool {
    let (mut pattern, mut line) = (pattern, line);
    while let Some((&first, rest)) = pattern.split_first() {
        pattern = rest;
        match first {
            b'*' => match until_next(pattern, line) {
                Found::Everything => return true,
                Found::Nothing => return false,
                Found::Rest(rest) => line = rest,
            },
            b'+' => {
                let Some((wanted, rest)) = pattern.split_first() else { return false };
                let same = line.iter().take_while(|byte| *byte == wanted).count();
                if same == 0 {
                    return false;
                }
                if same == line.len() {
                    return true;
                }
                pattern = rest;
                line = line.get(same..).unwrap_or_default();
            }
            _ => match line.split_first() {
                Some((byte, rest)) if *byte == first => line = rest,
                _ => return false,
            },
        }
    }
    line.is_empty()
}

/// Whether a pattern of multilog fits a whole line: `*` is anything.
pub fn multilog(pattern: &[u8], line: &[u8]) -> bool {
    let (mut pattern, mut line) = (pattern, line);
    while let Some((&first, rest)) = pattern.split_first() {
        pattern = rest;
        if first == b'*' {
            match until_next(pattern, line) {
                Found::Everything => return true,
                Found::Nothing => return false,
                Found::Rest(rest) => line = rest,
            }
            continue;
        }
        match line.split_first() {
            Some((byte, rest)) if *byte == first => line = rest,
            _ => return false,
        }
    }
    line.is_empty()
}

enum Found<'a> {
    Everything,
    Nothing,
    Rest(&'a [u8]),
}

/// What a star leaves of the line: it ends at the first byte that is the next one of the pattern.
fn until_next<'a>(pattern: &[u8], line: &'a [u8]) -> Found<'a> {
    let Some(next) = pattern.first() else { return Found::Everything };
    match line.iter().position(|byte| byte == next) {
        Some(at) => Found::Rest(line.get(at..).unwrap_or_default()),
        None => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_of_svlogd_fit_as_the_real_one_has_it() {
        for (pattern, line, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("a", "abc", false),
            ("*c", "abc", true),
            ("*b", "abb", false),
            ("*pid*", "tcpsvd: info: pid 1977", false),
            ("*: *: pid *", "tcpsvd: info: pid 1977", true),
            ("+ab", "aaab", true),
            ("+ab", "b", false),
            ("+ab", "aaa", true),
            ("x+yzzz", "xyy", true),
            ("x+yz", "xyya", false),
            ("*+a", "+a", false),
            ("*+a", "a", false),
            ("x+", "x", false),
            ("a+b", "a", false),
            ("+", "", false),
        ] {
            assert_eq!(svlogd(pattern.as_bytes(), line.as_bytes()), fits, "{pattern} {line}");
        }
    }

    #[test]
    fn patterns_of_multilog_fit_as_the_real_one_has_it() {
        for (pattern, line, fits) in [
            ("", "", true),
            ("*", "", true),
            ("*b", "abb", false),
            ("a*c*", "abcd", true),
            ("+a", "+a", true),
            ("+a", "a", false),
        ] {
            assert_eq!(multilog(pattern.as_bytes(), line.as_bytes()), fits, "{pattern} {line}");
        }
    }

    proptest! {
        #[test]
        fn a_line_fits_itself_and_every_start_of_it_with_a_star(line in "[a-c]{0,8}", cut in 0_usize..9) {
            let start = &line[..cut.min(line.len())];
            prop_assert!(svlogd(line.as_bytes(), line.as_bytes()) && multilog(line.as_bytes(), line.as_bytes()));
            let (open, longer) = (format!("{start}*"), format!("{line}x"));
            for fits in [svlogd, multilog] {
                prop_assert!(fits(open.as_bytes(), line.as_bytes()));
                prop_assert!(!fits(longer.as_bytes(), line.as_bytes()));
            }
        }

        #[test]
        fn without_a_plus_both_are_one(pattern in "[ab*]{0,6}", line in "[ab]{0,8}") {
            prop_assert_eq!(svlogd(pattern.as_bytes(), line.as_bytes()), multilog(pattern.as_bytes(), line.as_bytes()));
        }
    }
}
