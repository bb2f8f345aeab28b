//! JSON, as the api socket speaks it: one line, written and read. Objects keep the order of their keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Values within values, so deep and no deeper.
const DEEPEST: usize = 64;

/// What can be written.
pub trait Write {
    /// Writes it behind what is there.
    fn write(&self, to: &mut String);
}

/// As text.
pub fn text(value: &(impl Write + ?Sized)) -> String {
    let mut text = String::new();
    value.write(&mut text);
    text
}

macro_rules! as_displayed {
    ($($type:ty),+) => {$(
        impl Write for $type {
            fn write(&self, to: &mut String) {
                let _ = write!(to, "{self}"); // a String takes everything
            }
        }

        impl Read for $type {
            fn read(value: &Value) -> Option<$type> {
                if let Value::Plain(word) = value { word.parse().ok() } else { None }
            }
        }
    )+};
}
as_displayed!(bool, u8, u32, u64, i32, usize);

impl Write for f64 {
    fn write(&self, to: &mut String) {
        let _ = if self.is_finite() { write!(to, "{self:?}") } else { to.write_str("null") };
    }
}

impl Write for str {
    fn write(&self, to: &mut String) {
        to.push('"');
        for letter in self.chars() {
            match letter {
                '"' => to.push_str("\\\""),
                '\\' => to.push_str("\\\\"),
                '\n' => to.push_str("\\n"),
                '\r' => to.push_str("\\r"),
                '\t' => to.push_str("\\t"),
                '\x08' => to.push_str("\\b"),
                '\x0c' => to.push_str("\\f"),
                '\0'..' ' | '\x7f'..'\u{a0}' => {
                    let _ = write!(to, "\\u{:04x}", u32::from(letter));
                }
                _ => to.push(letter),
            }
        }
        to.push('"');
    }
}

impl Write for String {
    fn write(&self, to: &mut String) {
        self.as_str().write(to);
    }
}

impl<T: Write + ?Sized> Write for &T {
    fn write(&self, to: &mut String) {
        (*self).write(to);
    }
}

impl<T: Write> Write for Option<T> {
    fn write(&self, to: &mut String) {
        match self {
            Some(value) => value.write(to),
            None => to.push_str("null"),
        }
    }
}

impl<T: Write> Write for [T] {
    fn write(&self, to: &mut String) {
        to.push('[');
        for (at, value) in self.iter().enumerate() {
            if at > 0 {
                to.push(',');
            }
            value.write(to);
        }
        to.push(']');
    }
}

impl<T: Write> Write for Vec<T> {
    fn write(&self, to: &mut String) {
        self.as_slice().write(to);
    }
}

impl<T: Write> Write for BTreeMap<String, T> {
    fn write(&self, to: &mut String) {
        let fields: Vec<(&str, &dyn Write)> = self.iter().map(|(key, value)| (key.as_str(), value as _)).collect();
        object(to, &fields);
    }
}

/// Writes an object of these keys and values.
pub fn object(to: &mut String, fields: &[(&str, &dyn Write)]) {
    to.push('{');
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            to.push(',');
        }
        key.write(to);
        to.push(':');
        value.write(to);
    }
    to.push('}');
}

/// What can be read.
pub trait Read: Sized {
    /// `None`: it is something else.
    fn read(value: &Value) -> Option<Self>;
}

/// What was read.
#[derive(Clone, PartialEq, Debug)]
pub enum Value<'a> {
    /// A number, `true`, `false` or `null`, as it was written.
    Plain(&'a str),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value<'a>>),
    /// An object.
    Object(Vec<(String, Value<'a>)>),
}

impl Value<'_> {
    /// Reads all of this as one value. The error says where it is none.
    pub fn parse(text: &[u8]) -> Result<Value<'_>, String> {
        let text =
            std::str::from_utf8(text).map_err(|error| format!("no UTF-8 behind byte {}", error.valid_up_to()))?;
        let mut parser = Parser { text, rest: text };
        let value = parser.value(DEEPEST).filter(|_| parser.skip_space().is_empty());
        value.ok_or_else(|| format!("no JSON behind byte {}", parser.text.len() - parser.rest.len()))
    }

    /// What an object has under this key; one that is not there is `null`.
    pub fn field<T: Read>(&self, key: &str) -> Result<T, String> {
        let Value::Object(fields) = self else { return Err(format!("{key} is asked of what is no object")) };
        let found = fields.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        T::read(found.unwrap_or(&Value::Plain("null"))).ok_or_else(|| match found {
            Some(_) => format!("{key} is something else"),
            None => format!("{key} is missing"),
        })
    }
}

impl Read for f64 {
    fn read(value: &Value) -> Option<f64> {
        match value {
            Value::Plain("true" | "false" | "null") => None,
            Value::Plain(number) => number.parse().ok(),
            _ => None,
        }
    }
}

impl Read for String {
    fn read(value: &Value) -> Option<String> {
        if let Value::Text(text) = value { Some(text.clone()) } else { None }
    }
}

impl<T: Read> Read for Option<T> {
    fn read(value: &Value) -> Option<Option<T>> {
        if *value == Value::Plain("null") { Some(None) } else { T::read(value).map(Some) }
    }
}

/// Each `None` is: here it is no JSON.
struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip_space(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest
    }

    /// Whether this is what comes next; then it is behind us.
    fn takes(&mut self, mark: char) -> bool {
        let behind = self.skip_space().strip_prefix(mark);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Value<'a>> {
        let depth = depth.checked_sub(1)?;
        if self.takes('"') {
            return self.string().map(Value::Text);
        }
        if self.takes('[') {
            return self.items(']', |parser| parser.value(depth)).map(Value::List);
        }
        if self.takes('{') {
            let field = |parser: &mut Parser<'a>| {
                let key = parser.takes('"').then(|| parser.string())??;
                parser.takes(':').then(|| parser.value(depth))?.map(|value| (key, value))
            };
            return self.items('}', field).map(Value::Object);
        }
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
        let (word, rest) =
            self.rest.split_at_checked(self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len()))?;
        let is_value = matches!(word, "true" | "false" | "null") || is_number(word);
        self.rest = if is_value { rest } else { self.rest };
        is_value.then_some(Value::Plain(word))
    }

    fn items<T>(&mut self, end: char, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        if self.takes(end) {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.takes(end) {
                return Some(items);
            }
            self.takes(',').then_some(())?;
        }
    }

    /// What follows an opening quotation mark, to the closing one.
    fn string(&mut self) -> Option<String> {
        let mut string = String::new();
        loop {
            let (plain, rest) = self.rest.split_at_checked(self.rest.find(|c| matches!(c, '"' | '\\' | '\0'..' '))?)?;
            string.push_str(plain);
            let mut letters = rest.chars();
            match letters.next()? {
                '"' => {
                    self.rest = letters.as_str();
                    return Some(string);
                }
                '\\' => {
                    let escaped = letters.next()?;
                    self.rest = letters.as_str();
                    string.push(match escaped {
                        'n' => '\n',
                        'r' => '\r',
                        't' => '\t',
                        'b' => '\x08',
                        'f' => '\x0c',
                        'u' => self.code_point()?,
                        '"' | '\\' | '/' => escaped,
                        _ => return None,
                    });
                }
                _ => return None,
            }
        }
    }

    /// Four hexadecimal digits, or twice four with `\u` between them.
    fn code_point(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let second = self.unit().filter(|second| (0xdc00..0xe000).contains(second))?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

/// An optional sign, digits without a needless 0, then a fraction and an exponent, or neither.
fn is_number(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && digits(fraction) && digits(exponent)
}

/// Both ways for a struct, as an object with a key for each field.
macro_rules! record {
    ($type:ident { $($field:ident),+ }) => {
        impl $crate::wire::json::Write for $type {
            fn write(&self, to: &mut String) {
                $crate::wire::json::object(to, &[$((stringify!($field), &self.$field)),+]);
            }
        }

        impl $type {
            fn from_json(value: &$crate::wire::json::Value) -> Result<$type, String> {
                Ok($type { $($field: value.field(stringify!($field))?),+ })
            }
        }

        impl $crate::wire::json::Read for $type {
            fn read(value: &$crate::wire::json::Value) -> Option<$type> {
                $type::from_json(value).ok()
            }
        }
    };
}
pub(crate) use record;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<String> {
        Value::parse(text.as_bytes()).ok().map(|value| format!("{value:?}"))
    }

    /// Any value, of serde_json, which says what is right.
    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
        match (ours, theirs) {
            (Value::Plain("null"), serde_json::Value::Null) => true,
            (Value::Plain(word), serde_json::Value::Bool(is)) => word.parse() == Ok(*is),
            (Value::Plain(word), serde_json::Value::Number(number)) => word.parse::<f64>().ok() == number.as_f64(),
            (Value::Text(one), serde_json::Value::String(other)) => one == other,
            (Value::List(one), serde_json::Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
            }
            (Value::Object(one), serde_json::Value::Object(other)) => one
                .iter()
                .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)) && one.len() >= other.len()),
            _ => false,
        }
    }

    #[test]
    fn what_is_written_changes_no_terminal() {
        let written = text("\x1b[2J\x7f\u{80}\u{9f}\u{a0}ö");
        assert_eq!(written, "\"\\u001b[2J\\u007f\\u0080\\u009f\u{a0}ö\"");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "1 2",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "nul",
            "True",
            "NaN",
            "Infinity",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\n\"",
            "'a'",
            "[1]]",
        ] {
            assert_eq!(parsed(text), None, "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
        assert_eq!(Value::parse(b"[1, x]"), Err("no JSON behind byte 4".into()));
        assert_eq!(Value::parse(b"\"\xff\""), Err("no UTF-8 behind byte 1".into()));
        assert_eq!(parsed(&"[".repeat(1 << 20)), None, "and the stack has no end");
    }

    #[test]
    fn a_key_that_is_missing_is_null_and_others_do_not_matter() {
        let value = Value::parse(br#" {"new":{"x":[]},"count":3,"name":null} "#).expect("an object");
        assert_eq!((value.field("count"), value.field::<Option<String>>("name")), (Ok(3_u64), Ok(None)));
        assert_eq!((value.field::<Option<u8>>("b"), value.field::<u8>("b")), (Ok(None), Err("b is missing".into())));
        assert_eq!(value.field::<String>("count"), Err("count is something else".into()));
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(value in any_value()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).expect("text")] {
                let read = Value::parse(text.as_bytes());
                prop_assert!(read.as_ref().is_ok_and(|read| same(read, &value)), "{text}: {read:?}");
            }
        }

        #[test]
        fn text_and_numbers_are_what_they_are_for_others(string in any::<String>(), number in any::<f64>(), whole in any::<i32>()) {
            let written = text(&vec![Some(string.clone()), None]);
            prop_assert_eq!(&written, &serde_json::json!([string, null]).to_string());
            prop_assert_eq!(Value::parse(text(&number).as_bytes()).map(|value| f64::read(&value)), Ok(Some(number)));
            prop_assert!(serde_json::from_str::<f64>(&text(&number)).is_ok());
            prop_assert_eq!(text(&whole), whole.to_string());
        }

        #[test]
        fn whatever_comes_is_json_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[\\[\\]{}\",:\\\\u0-9a-f e.+-]{0,40}") {
            let _ = Value::parse(&bytes);
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match Value::parse(text.as_bytes()) {
                Ok(_) => prop_assert!(theirs.is_ok() || theirs.is_err_and(|error| error.to_string().contains("out of range"))),
                Err(error) => prop_assert!(theirs.is_err(), "{}: {}", text, error),
            }
        }
    }
}
