//! Which library this is.

use std::ffi::{CStr, c_char};

use crate::guard::guard_value;

/// Changes when something that C programs rely on changes.
const ABI_MAJOR: u32 = 0;
/// Changes when something is added.
const ABI_MINOR: u32 = 2;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// Major number of the ABI times 65536, plus the minor one.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_abi_version() -> u32 {
    guard_value(0, || ABI_MAJOR << 16 | ABI_MINOR)
}

/// Version of the library, for instance `0.1.0`. Static.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_version() -> *const c_char {
    guard_value(c"".as_ptr(), || VERSION.as_ptr())
}

const FEATURES: &CStr = match (cfg!(feature = "grammar"), cfg!(feature = "vision")) {
    (false, false) => c"cpu",
    (true, false) => c"cpu,grammar",
    (false, true) => c"cpu,vision",
    (true, true) => c"cpu,grammar,vision",
};

/// What was built in, separated by commas. Static.
#[unsafe(no_mangle)]
pub extern "C" fn lemmy_features() -> *const c_char {
    guard_value(c"".as_ptr(), || FEATURES.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_packages() {
        assert_eq!(VERSION.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}
