//! How what is told looks: tables, and colour where it is welcome. Colour never says what no word says.

use crate::exit;
use crate::sys::say::say;
use crate::sys::screen;
use crate::wire::json;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::str::FromStr;

/// What stands between two columns.
const GAP: &str = "  ";

/// When there is colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` says otherwise.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl FromStr for Colour {
    type Err = String;

    fn from_str(word: &str) -> Result<Colour, String> {
        match word {
            "auto" => Ok(Colour::Auto),
            "always" => Ok(Colour::Always),
            "never" => Ok(Colour::Never),
            _ => Err("it is auto, always or never".into()),
        }
    }
}

impl Colour {
    /// The paint for standard output.
    pub fn paint(self) -> Paint {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind == "dumb");
        Paint(match self {
            Colour::Auto => std::io::stdout().is_terminal() && !dumb && !set("NO_COLOR"),
            Colour::Always => true,
            Colour::Never => false,
        })
    }
}

/// Colours, or none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paint(bool);

/// What a colour means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// Nothing.
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// In trouble.
    Bad,
    /// Of no importance now.
    Quiet,
    /// A heading.
    Strong,
}

impl Paint {
    /// The text in this tone.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "1;31",
            Tone::Quiet => "2",
            Tone::Strong => "1",
            Tone::Plain => return text.to_owned(),
        };
        if self.0 && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Colours that tell services apart. None of them is that of a trouble.
const COLOURS: [&str; 6] = ["36", "33", "32", "35", "34", "96"];

impl Paint {
    /// The text in the colour of this number. It means nothing but which of several it is.
    pub fn one_of_many(self, number: usize, text: &str) -> String {
        let code = COLOURS.get(number % COLOURS.len()).filter(|_| self.0);
        code.map_or_else(|| text.to_owned(), |code| format!("\x1b[{code}m{text}\x1b[0m"))
    }
}

/// One field of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell(pub Tone, pub String);

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell(Tone::Plain, text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell(Tone::Plain, text)
    }
}

/// Aligned columns under their headings. A heading that begins with `>` is that of numbers, which stand at the right.
pub struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &'static [&'static str]) -> Table {
        Table { headings, rows: Vec::new() }
    }

    /// One more row.
    pub fn add(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The lines of the table. With a `width` no line is longer: the last column gives way, then the first.
    pub fn lines(&self, paint: Paint, width: Option<usize>) -> Vec<String> {
        let widths = self.widths(width);
        let mut heading = String::new();
        for (at, title) in self.headings.iter().enumerate() {
            put(
                &mut heading,
                paint,
                &Cell(Tone::Strong, title.trim_start_matches('>').into()),
                self.place(at, &widths),
            );
        }
        let rows = self.rows.iter().map(|row| {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                put(&mut line, paint, cell, self.place(at, &widths));
            }
            line
        });
        std::iter::once(heading).chain(rows).collect()
    }

    fn place(&self, at: usize, widths: &[usize]) -> Place {
        let right = self.headings.get(at).is_some_and(|title| title.starts_with('>'));
        Place { width: widths.get(at).copied().unwrap_or(0), right, first: at == 0, last: at + 1 == widths.len() }
    }

    fn widths(&self, width: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|title| length(title.trim_start_matches('>'))).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(length(&cell.1));
            }
        }
        if let Some(width) = width {
            let all = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
            let mut over = all.saturating_sub(width);
            for (is_first, least) in [(false, 30), (true, 20), (false, 12), (true, 8)] {
                let column = if is_first { widths.first_mut() } else { widths.last_mut() };
                if let Some(column) = column {
                    let spare = column.saturating_sub(least).min(over);
                    *column -= spare;
                    over -= spare;
                }
            }
        }
        widths
    }
}

struct Place {
    width: usize,
    right: bool,
    first: bool,
    last: bool,
}

fn put(line: &mut String, paint: Paint, cell: &Cell, place: Place) {
    if !place.first {
        line.push_str(GAP);
    }
    let text = cut(&cell.1, place.width);
    let padding = " ".repeat(place.width.saturating_sub(length(&text)));
    let text = paint.tone(cell.0, &text);
    let _ = match (place.right, place.last) {
        (true, _) => write!(line, "{padding}{text}"),
        (false, false) => write!(line, "{text}{padding}"),
        (false, true) => write!(line, "{text}"),
    };
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The text in so many columns; what is missing is marked.
pub fn cut(text: &str, width: usize) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    if length(text) <= width {
        return text.chars().map(shown).collect();
    }
    text.chars().take(width.saturating_sub(2)).map(shown).chain("..".chars()).take(width).collect()
}

/// How wide a line may be.
pub fn width() -> Option<usize> {
    screen::size().map(|(columns, _)| columns)
}

/// The order of names: numbers in them count as numbers.
pub fn by_name(one: &str, other: &str) -> Ordering {
    let key = |name: &str| {
        let mut key: Vec<(bool, u64, String)> = Vec::new();
        for c in name.chars() {
            match (c.to_digit(10), key.last_mut()) {
                (Some(digit), Some((true, number, _))) => {
                    *number = number.saturating_mul(10).saturating_add(digit.into());
                }
                (Some(digit), _) => key.push((true, digit.into(), String::new())),
                (None, Some((false, _, text))) => text.push(c),
                (None, _) => key.push((false, 0, c.into())),
            }
        }
        key
    };
    key(one).cmp(&key(other)).then_with(|| one.cmp(other))
}

/// Whether a character does something to a terminal instead of being shown.
fn is_active(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// A text in which parts may have been written by any program, without what they could do to a terminal: of all control
/// sequences, our own colours are left.
fn disarmed(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let (mut safe, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(c) = rest.chars().next() {
        let length = colour(rest).unwrap_or(c.len_utf8());
        let (piece, behind) = rest.split_at(length);
        safe.push_str(if is_active(c) && length == c.len_utf8() { "?" } else { piece });
        rest = behind;
    }
    Cow::Owned(safe)
}

/// How long the colour is that a text begins with.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers.get(end..)?.starts_with('m').then_some(2 + end + 1)
}

/// Bytes that are shown as they are, but for what a terminal would obey, which becomes `\x1b`, `\n` and the like; on a
/// terminal, also what is no UTF-8. So a program that reads them from a pipe gets every byte that is text in some way.
pub fn escaped(bytes: &[u8], terminal: bool) -> Vec<u8> {
    let mut safe = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\r' => safe.extend(c.escape_default().to_string().bytes()),
                c if is_active(c) => safe.extend(format!("\\x{:02x}", u32::from(c)).bytes()),
                c => safe.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for byte in chunk.invalid() {
            if terminal { safe.extend(format!("\\x{byte:02x}").bytes()) } else { safe.push(*byte) }
        }
    }
    safe
}

/// Writes to standard output. Returns the exit code. Why it fails is told, but not that there is no reader any more.
/// Nothing in it does anything to a terminal.
pub fn print(text: &str) -> i32 {
    let shown = |c: char| if is_active(c) { '?' } else { c };
    if text.contains(is_active) {
        print_bytes(text.chars().map(shown).collect::<String>().as_bytes())
    } else {
        print_bytes(text.as_bytes())
    }
}

/// The same, and nothing is changed: for what only programs read, and for what is [`escaped`].
pub fn print_bytes(bytes: &[u8]) -> i32 {
    write(bytes)
        .map_or_else(|kind| if kind == ErrorKind::BrokenPipe { exit::FAILED } else { exit::SYSTEM }, |()| exit::OK)
}

/// The same for what may have been heard well enough: the exit code is 0 if there is no reader any more. Anything else
/// that keeps it from being written is told, and leaves its exit code.
pub fn report(text: &str) -> Result<(), i32> {
    draw(&disarmed(text))
}

/// The same for a screen, which is full of control sequences; what stands between them was [`cut`].
pub fn draw(screen: &str) -> Result<(), i32> {
    report_bytes(screen.as_bytes())
}

/// The same for what is [`escaped`].
pub fn report_bytes(bytes: &[u8]) -> Result<(), i32> {
    write(bytes).map_err(|kind| if kind == ErrorKind::BrokenPipe { exit::OK } else { exit::SYSTEM })
}

fn write(bytes: &[u8]) -> Result<(), ErrorKind> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| {
        if error.kind() != ErrorKind::BrokenPipe {
            say(format_args!("onit: cannot write to standard output: {error}"));
        }
        error.kind()
    })
}

/// Writes lines to standard output. They may be coloured.
pub fn print_lines(lines: &[String]) -> i32 {
    let mut text = lines.join("\n");
    if !lines.is_empty() {
        text.push('\n');
    }
    print_bytes(disarmed(&text).as_bytes())
}

/// The JSON of a list: an array with one element on each line.
pub fn json<T: json::Write>(list: &[T]) -> String {
    let lines: Vec<String> = list.iter().map(|item| json::text(item)).collect();
    if lines.is_empty() { "[]\n".into() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", ">PID", "LAST"]);
        table.add(vec![Cell(Tone::Good, "web".into()), "7".into(), "-".into()]);
        table.add(vec!["a-rather-long-name".into(), "123456".into(), "exit 1; again in 4s".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let lines = table().lines(Paint(false), None);
        assert_eq!(lines[0], "NAME                   PID  LAST");
        assert_eq!(lines[1], "web                      7  -");
        assert_eq!(lines[2], "a-rather-long-name  123456  exit 1; again in 4s");
    }

    #[test]
    fn colour_moves_nothing() {
        let plain = table().lines(Paint(false), Some(40));
        let painted: Vec<String> = table().lines(Paint(true), Some(40));
        assert!(painted[1].starts_with("\x1b[32mweb\x1b[0m   "));
        let bare = |line: &String| line.replace("\x1b[32m", "").replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(painted.iter().map(bare).collect::<Vec<_>>(), plain);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let mut short = Table::new(&["NAME", ">PID", "LAST"]);
        short.add(vec!["web".into(), "7".into(), "exit 1; again in 4s, and so on".into()]);
        for (width, table) in [(36, table()), (40, table()), (47, table()), (80, table()), (25, short)] {
            for line in table.lines(Paint(false), Some(width)) {
                assert!(line.len() <= width, "{width}: {line}");
            }
        }
        assert_eq!(
            [cut("abcdef", 6), cut("abcdef", 5), cut("a\x1bb", 9), cut("abc", 1)],
            ["abcdef", "abc..", "a?b", "."]
        );
    }

    #[test]
    fn colours_are_all_that_a_terminal_obeys() {
        assert_eq!(disarmed("plain\ttext\n"), "plain\ttext\n");
        assert_eq!(
            disarmed("\x1b[1;31mred\x1b[0m \x1b[2J\x1b]0;x\x07 \x1b[31"),
            "\x1b[1;31mred\x1b[0m ?[2J?]0;x? ?[31"
        );
        assert_eq!(disarmed("\u{9b}2J\r\x7f"), "?2J??");
    }

    #[test]
    fn what_is_escaped_can_be_told_from_anything_else() {
        let shown = |bytes: &[u8], terminal| String::from_utf8_lossy(&escaped(bytes, terminal)).into_owned();
        assert_eq!(shown(b"a\x1b[2J\x07\n\t\\z\x7f", false), "a\\x1b[2J\\x07\\n\t\\z\\x7f");
        assert_eq!(shown("ü\u{9b}".as_bytes(), false), "ü\\x9b");
        assert_eq!(
            (escaped(b"x\xff\xfey", false), shown(b"x\xff\xfey", true)),
            (b"x\xff\xfey".to_vec(), "x\\xff\\xfey".into())
        );
    }

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let mut names = ["w-10", "web", "w-2", "web/log", "w-2/log", "2", "w-02"];
        names.sort_by(|one, other| by_name(one, other));
        assert_eq!(names, ["w-02", "w-2", "w-2/log", "w-10", "web", "web/log", "2"]);
    }

    #[test]
    fn lists_are_arrays() {
        assert_eq!(json::<u8>(&[]), "[]\n");
        assert_eq!(json(&[1, 2]), "[\n1,\n2\n]\n");
    }
}
