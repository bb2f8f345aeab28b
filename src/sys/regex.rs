//! Extended regular expressions, those of the C library: s6-log's selections are such.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::ptr;

/// A compiled expression.
pub struct Regex(Box<libc::regex_t>);

impl Regex {
    /// Compiles it; a newline in a text ends a line for `^`, `$` and `.`. `None`: it is none.
    pub fn new(expression: &CStr) -> Option<Regex> {
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB | libc::REG_NEWLINE;
        let mut compiled = Box::new(MaybeUninit::<libc::regex_t>::zeroed());
        // SAFETY: regcomp(3) reads a string that ends in NUL and fills the structure, which stays where it is. Only one
        // that it has filled is used.
        unsafe {
            (libc::regcomp(compiled.as_mut_ptr(), expression.as_ptr(), flags) == 0)
                .then(|| Regex(Box::from_raw(Box::into_raw(compiled).cast())))
        }
    }

    /// Whether it fits a part of the text.
    pub fn fits(&self, text: &CStr) -> bool {
        // SAFETY: regexec(3) reads the structure and a string that ends in NUL, and is to write nothing.
        unsafe { libc::regexec(&raw const *self.0, text.as_ptr(), 0, ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was filled by regcomp(3), and is not used again.
        unsafe { libc::regfree(&raw mut *self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_extended_ones() {
        let fits = |expression: &CStr, text| Regex::new(expression).expect("an expression").fits(text);
        assert!(fits(c"^a+(b|c)[[:digit:]]$", c"aac7") && !fits(c"^a+(b|c)[[:digit:]]$", c"aad7"));
        assert!(fits(c"", c"x") && fits(c"b", c"abc"));
        assert!(Regex::new(c"(").is_none() && Regex::new(c"[").is_none());
    }
}
