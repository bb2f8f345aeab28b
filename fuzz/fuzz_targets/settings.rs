//! Any text of a small file is a value or none; a value is written as a text that is the same value. The first line names
//! the file; the lines of `condition` are values too.
//!
//! ```sh
//! cargo +nightly fuzz run settings
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::settings::{FILES, Reader, Settings, VALUES};
use onit::wire::svdir::Condition;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let Some((name, text)) = text.split_once('\n') else { return };
    if let Some(condition) = Condition::parse(text) {
        assert_eq!(Condition::parse(&condition.to_string()), Some(condition));
    }
    for value in VALUES.iter().filter(|value| value.name.starts_with(name)) {
        let (mut settings, mut again) = (Settings::default(), Settings::default());
        let is_value = (value.parse)(&mut settings, text);
        let told = (value.text)(&settings);
        assert_eq!(told.is_some(), is_value, "{}", value.name);
        if let Some(told) = told {
            assert!((value.parse)(&mut again, &told) && (value.is_same)(&settings, &again), "{}: {told:?}", value.name);
        }
        let file = FILES.iter().find(|file| file.name == value.name).expect("a file");
        if let Reader::Input(_, read) = file.reader {
            let mut inputs = onit::machine::policy::Inputs::of(&onit::machine::policy::ServiceRules::ONIT);
            assert_eq!((read.parse)(&mut inputs, text), is_value, "{}", value.name);
        }
    }
});
