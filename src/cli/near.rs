//! What the user may have meant by a word that is not known.

use crate::service_dir::distance;

/// The one of the known words that was meant, if one is close: a slip away (two in a long word), or the only one that
/// begins like this.
pub fn meant<S: AsRef<str>>(word: &str, known: &[S]) -> Option<String> {
    let lower = word.to_lowercase();
    if lower.chars().count() < 3 {
        return None;
    }
    let slips = if lower.chars().count() < 8 { 1 } else { 2 };
    let known = known.iter().map(AsRef::as_ref).filter(|known| *known != word);
    let near = known.clone().map(|known| (distance(&lower, &known.to_lowercase()), known)).min();
    if let Some((_, near)) = near.filter(|(far, _)| *far <= slips) {
        return Some(near.to_owned());
    }
    let mut longer = known.filter(|known| known.starts_with(word));
    longer.next().filter(|_| longer.next().is_none()).map(str::to_owned)
}

/// The same, for the end of a sentence.
pub fn question<S: AsRef<str>>(word: &str, known: &[S]) -> String {
    meant(word, known).map_or(String::new(), |meant| format!("; did you mean {meant}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_or_a_beginning_tells_what_was_meant() {
        let known = ["status", "start", "stop", "restart", "worker-1", "worker-2", "web"];
        let meant = |word| meant(word, &known);
        for (word, right) in [
            ("stauts", "status"),
            ("Start", "start"),
            ("strat", "start"),
            ("stp", "stop"),
            ("rest", "restart"),
            ("wbe", "web"),
            ("wroker-1", "worker-1"),
            ("web1", "web"),
        ] {
            assert_eq!(meant(word).as_deref(), Some(right), "{word}");
        }
        for word in ["", "s", "we", "frobnicate", "work", "web", "staging"] {
            assert_eq!(meant(word), None, "{word}");
        }
        assert_eq!(question("stp", &known), "; did you mean stop?");
        assert_eq!(question("nothing-like-it", &known), "");
    }
}
