//! A command line in the language of execline, as far as it is one command with words.

/// What a file like `up` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// One command, and its arguments. None: there is nothing to do.
    Words(Vec<String>),
    /// Something that execlineb has to read: blocks, or characters by their numbers.
    Execline,
}

/// Reads a command line. Comments and white space, newlines among it, end words.
pub fn read(text: &str) -> Line {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => drop(letters.find(|letter| *letter == '\n')),
            '"' => {
                let Some(text) = quoted(&mut letters) else { return Line::Execline };
                word.get_or_insert_default().push_str(&text);
            }
            '\\' => match letters.next().filter(|next| is_itself(*next)) {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Line::Execline,
            },
            '{' | '}' | '\0' => return Line::Execline,
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Line::Words(words)
}

/// The rest of a quoted text. `None`: it does not end, or says something that we do not read.
fn quoted(letters: &mut std::str::Chars) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => text.push(letters.next().filter(|next| is_itself(*next))?),
            '\0' => return None,
            letter => text.push(letter),
        }
    }
}

/// Whether this stands for itself behind a backslash: letters and digits may mean other characters.
fn is_itself(letter: char) -> bool {
    letter.is_ascii_punctuation() || letter == ' '
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        match read(text) {
            Line::Words(words) => Some(words),
            Line::Execline => None,
        }
    }

    #[test]
    fn one_command_is_read_by_us() {
        for (text, expected) in [
            ("", vec![]),
            (" # nothing\n", vec![]),
            ("/etc/s6-overlay/s6-rc.d/init/run\n", vec!["/etc/s6-overlay/s6-rc.d/init/run"]),
            ("#!/command/execlineb -P\n/bin/a  b\tc\n", vec!["/bin/a", "b", "c"]),
            ("echo \"two words\"# '' \"\" x\\ y", vec!["echo", "two words#", "''", "", "x y"]),
            ("echo \"a \\\" \\\\ b\"\nc # d\ne", vec!["echo", "a \" \\ b", "c", "e"]),
            ("echo $HOME", vec!["echo", "$HOME"]),
        ] {
            assert_eq!(words(text), Some(expected.into_iter().map(str::to_owned).collect()), "{text:?}");
        }
    }

    #[test]
    fn all_else_is_for_execlineb() {
        for text in ["foreground { a } b", "a ${B}", "a \"b", "a \\n", "a \"\\x41\"", "a \\", "a \"\\", "a\0b"] {
            assert_eq!(words(text), None, "{text:?}");
        }
    }
}
