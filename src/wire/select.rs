//! Names of services and patterns for them, and which services start by themselves.

use std::borrow::Cow;

/// Whether a name is what a pattern of the shell stands for. `*`, `?` and `[…]` do not stand for a slash, so that `*`
/// means no logger, and `*/log` every one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let chars = |text: &str| text.chars().collect::<Vec<char>>();
    fits(&chars(pattern), &chars(name))
}

/// Tried again from the last `*` only, so that no pattern takes long.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut pattern, mut name, mut last) = (pattern, name, None);
    loop {
        let next = match (pattern, name) {
            (['*', rest @ ..], _) => {
                last = Some((rest, name));
                Some((rest, name))
            }
            ([], []) => return true,
            (_, [first, others @ ..]) => one(pattern, *first).map(|rest| (rest, others)),
            (_, []) => None,
        };
        (pattern, name) = match (next, last) {
            (Some(next), _) => next,
            (None, Some((rest, [first, others @ ..]))) if *first != '/' => {
                last = Some((rest, others));
                (rest, others)
            }
            (None, _) => return false,
        };
    }
}

/// What of the pattern is left behind this character; `None` if it does not stand for it.
fn one(pattern: &[char], this: char) -> Option<&[char]> {
    match pattern {
        ['?', rest @ ..] => (this != '/').then_some(rest),
        ['[', rest @ ..] => match set(rest, this) {
            Some((within, rest)) => (within && this != '/').then_some(rest),
            None => (this == '[').then_some(rest),
        },
        [expected, rest @ ..] => (*expected == this).then_some(rest),
        [] => None,
    }
}

/// Whether a character is in the set that begins here, and what follows the set; `None` if it has no end.
fn set(pattern: &[char], this: char) -> Option<(bool, &[char])> {
    let (negated, pattern) = match pattern {
        ['!' | '^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let end = 1 + pattern.get(1..)?.iter().position(|c| *c == ']')?;
    let (mut members, rest) = (pattern.get(..end)?, pattern.get(end + 1..)?);
    let mut within = false;
    while let [first, after @ ..] = members {
        if let ['-', last, others @ ..] = after {
            within |= (*first..=*last).contains(&this);
            members = others;
        } else {
            within |= *first == this;
            members = after;
        }
    }
    Some((within != negated, rest))
}

/// The pattern that a word stands for: `web@all` is all instances of `web@`.
pub fn pattern(word: &str) -> Cow<'_, str> {
    match word.strip_suffix("@all") {
        Some(template) if !template.is_empty() => format!("{template}@*").into(),
        Some(_) | None => word.into(),
    }
}

/// Which services start by themselves, as the environment says. Patterns are separated by blanks or commas.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Only these, if there are any.
    enabled: Vec<String>,
    /// And not these.
    disabled: Vec<String>,
}

impl Selection {
    /// By `ONIT_ENABLE` and `ONIT_DISABLE`; one that is empty says nothing.
    pub fn of(enable: &str, disable: &str) -> Selection {
        let [enabled, disabled] = [enable, disable].map(|text| {
            let words = text.split([' ', '\t', '\n', ',']).filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        });
        Selection { enabled, disabled }
    }

    /// Why a service does not start by itself. `None`: it does.
    pub fn reason(&self, name: &str) -> Option<&'static str> {
        let has = |patterns: &[String]| patterns.iter().any(|pattern| means(pattern, name));
        if has(&self.disabled) {
            Some("in ONIT_DISABLE")
        } else if !self.enabled.is_empty() && !has(&self.enabled) {
            Some("not in ONIT_ENABLE")
        } else {
            None
        }
    }

    /// What of `ONIT_ENABLE` stands for none of these.
    pub fn unmatched<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = &'a str> {
        let is_unmatched = |pattern: &&String| !names.iter().any(|name| means(pattern, name));
        self.enabled.iter().filter(is_unmatched).map(String::as_str)
    }
}

/// Whether a pattern stands for a service: by its name or, for an instance, by that of its template, with its `@` or
/// without.
fn means(pattern: &str, name: &str) -> bool {
    let template = name.split_once('@').map(|(template, _)| template);
    let own = pattern.strip_suffix('@').unwrap_or(pattern);
    matches(pattern, name) || template.is_some_and(|template| matches(own, template))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_those_of_the_shell() {
        for (pattern, name) in [
            ("*", "web"),
            ("w*", "web"),
            ("*b", "web"),
            ("w?b", "web"),
            ("[a-w]eb", "web"),
            ("[!x]eb", "web"),
            ("worker@[0-9]", "worker@7"),
            ("*/log", "web/log"),
            ("w**b", "web"),
            ("*a*b*", "xaxbx"),
            ("[]]", "]"),
            ("gr?ße", "größe"),
            ("gr[a-ü]ße", "größe"),
            ("[a", "[a"),
            ("", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*", "web/log"),
            ("?", ""),
            ("w?", "web"),
            ("[!w]eb", "web"),
            ("[a-c]", "d"),
            ("web?log", "web/log"),
            ("web[!x]log", "web/log"),
            ("a*", ""),
            ("*a*b", "xaxbx"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)), "and this does not take for ever");
    }

    /// The rule as one would say it.
    fn plainly(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], []) => plainly(rest, name),
            (['*', rest @ ..], [first, others @ ..]) => {
                plainly(rest, name) || *first != '/' && plainly(pattern, others)
            }
            (_, [first, others @ ..]) => one(pattern, *first).is_some_and(|rest| plainly(rest, others)),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_stands_for_what_it_plainly_does(pattern in "([ab*?/]|\\[a/\\]){0,8}", name in "[ab/]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            prop_assert_eq!(matches(&pattern, &name), plainly(&chars(&pattern), &chars(&name)));
        }

        #[test]
        fn any_text_is_a_pattern(pattern: String, name: String) {
            matches(&pattern, &name);
            prop_assert!(pattern.contains(['*', '?', '[']) || matches(&pattern, &pattern));
        }
    }

    #[test]
    fn who_is_enabled_and_not_disabled_starts_by_itself() {
        let (not, out) = (Some("not in ONIT_ENABLE"), Some("in ONIT_DISABLE"));
        let reasons =
            |enable, disable| ["web", "queue", "cron"].map(|name| Selection::of(enable, disable).reason(name));
        assert_eq!(reasons("", ""), [None; 3]);
        assert_eq!(reasons("web, queue", ""), [None, None, not]);
        assert_eq!(reasons("", "\tcron\n"), [None, None, out]);
        assert_eq!(reasons("*,", "c*,[q-r]*"), [None, out, out]);
        assert_eq!(reasons("web", "web"), [out, not, not]);
    }

    #[test]
    fn a_template_stands_for_its_instances() {
        let enabled = |pattern| Selection::of(pattern, "").reason("queue@12").is_none();
        assert!(["queue", "queue@", "queue@12", "queue@*", "qu*", "queue@1?"].into_iter().all(enabled));
        assert!(!["queue@1", "que", "queue@12@", "12"].into_iter().any(enabled));
    }

    #[test]
    fn all_behind_a_template_is_every_instance() {
        assert_eq!(
            ["web@all", "w*@all", "@all", "all", "web@1"].map(pattern),
            ["web@*", "w*@*", "@all", "all", "web@1"]
        );
    }

    #[test]
    fn what_stands_for_nothing_is_known() {
        let selection = Selection::of("web que* job mail", "nothing");
        let names = ["web", "queue@1", "job@"].map(str::to_owned);
        assert_eq!(selection.unmatched(&names).collect::<Vec<_>>(), ["mail"]);
    }
}
