//! What the standard library calls to walk a stack, for a program without the tables that this takes (`static.ld`): its
//! message of a panic has no frames, and the program not the library that would look for their names, a tenth of it.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`, of unwind.h.
const END_OF_STACK: c_int = 5;

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_frame: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Linked to, but never called: a panic aborts before.
macro_rules! never {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> ! {
                std::process::abort()
            }
        )*
    };
}

never! {
    _Unwind_GetDataRelBase _Unwind_GetIP _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart
    _Unwind_GetTextRelBase _Unwind_Resume _Unwind_SetGR _Unwind_SetIP
}
