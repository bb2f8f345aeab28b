//! What the supervisor says to `onit mux`, which makes one stream of what services say: a letter, and the name of a
//! service. With the first two comes the pipe.

/// Its standard output is read from this pipe.
pub const OUTPUT: u8 = b'o';
/// Its standard error is.
pub const ERRORS: u8 = b'e';
/// A process of it has ended: what it has said is complete, whatever its last line looks like.
pub const ENDED: u8 = b'f';
/// These were all pipes that there are. No name.
pub const ALL: u8 = b'a';

/// Words of the memory that is handed on from one to the next.
pub const MEMORY: usize = 4096;
