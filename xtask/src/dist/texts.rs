//! The files that tell other build systems how to use the library.

use crate::Result;

/// What the static library needs of the system, beside libc.
const SYSTEM_LIBRARIES: [&str; 3] = ["pthread", "dl", "m"];

/// Versions of the library: the crate's, and the ABI's.
pub(super) struct Version {
    pub(super) abi_major: u32,
    pub(super) abi_minor: u32,
    /// Three numbers, as Cargo has them.
    pub(super) package: &'static str,
}

impl Version {
    /// The ABI from the text of the header, the rest from this workspace.
    pub(super) fn read(header: &str) -> Result<Self> {
        let number = |name: &str| {
            let find =
                |line: &str| line.strip_prefix("#define ")?.strip_prefix(name)?.trim().strip_suffix('u')?.parse().ok();
            header.lines().find_map(find).ok_or_else(|| format!("lemmy.h: no line `#define {name} NUMBERu`"))
        };
        Ok(Self {
            abi_major: number("LEMMY_ABI_MAJOR")?,
            abi_minor: number("LEMMY_ABI_MINOR")?,
            package: env!("CARGO_PKG_VERSION"),
        })
    }
}

pub(super) fn pkg_config(version: &Version) -> String {
    let system = SYSTEM_LIBRARIES.map(|name| format!("-l{name}")).join(" ");
    format!(
        "\
prefix=${{pcfiledir}}/../..
includedir=${{prefix}}/include
libdir=${{prefix}}/lib
abi={}.{}

Name: lemmy
Description: Runs Lemmy / Gemma 4 26B-A4B from its GGUF files
Version: {}
Cflags: -I${{includedir}}
Libs: -L${{libdir}} -llemmy
Libs.private: {system}
",
        version.abi_major, version.abi_minor, version.package
    )
}

/// Two imported targets: `lemmy::lemmy` (shared) and `lemmy::static`.
pub(super) fn cmake(soname: &str) -> String {
    let system = SYSTEM_LIBRARIES.join(";");
    format!(
        r#"# find_package(lemmy REQUIRED); target_link_libraries(program PRIVATE lemmy::lemmy), or lemmy::static
get_filename_component(_lemmy_prefix "${{CMAKE_CURRENT_LIST_DIR}}/../../.." ABSOLUTE)
if(NOT TARGET lemmy::lemmy)
  add_library(lemmy::lemmy SHARED IMPORTED)
  set_target_properties(lemmy::lemmy PROPERTIES
    IMPORTED_LOCATION "${{_lemmy_prefix}}/lib/{soname}"
    IMPORTED_SONAME "{soname}"
    INTERFACE_INCLUDE_DIRECTORIES "${{_lemmy_prefix}}/include")
  add_library(lemmy::static STATIC IMPORTED)
  set_target_properties(lemmy::static PROPERTIES
    IMPORTED_LOCATION "${{_lemmy_prefix}}/lib/liblemmy.a"
    INTERFACE_INCLUDE_DIRECTORIES "${{_lemmy_prefix}}/include"
    INTERFACE_LINK_LIBRARIES "{system}")
endif()
unset(_lemmy_prefix)
"#
    )
}

/// A version serves requests up to itself with the same first number; while that is 0, the second must be the same too.
pub(super) fn cmake_version(version: &Version) -> String {
    let mut numbers = version.package.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let same = if major == "0" { format!("{major}.{minor}.") } else { format!("{major}.") };
    format!(
        r#"set(PACKAGE_VERSION "{package}")
set(PACKAGE_VERSION_COMPATIBLE FALSE)
string(FIND "${{PACKAGE_FIND_VERSION}}." "{same}" _lemmy_same)
if(_lemmy_same EQUAL 0 AND NOT PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
unset(_lemmy_same)
"#,
        package = version.package
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_abi_is_read_from_the_header() {
        let version = Version::read("x\n#define LEMMY_ABI_MAJOR 3u\n#define LEMMY_ABI_MINOR 14u\n").unwrap();
        assert_eq!((version.abi_major, version.abi_minor), (3, 14));
        let error = Version::read("#define LEMMY_ABI_MAJOR 3u").err().unwrap().to_string();
        assert!(error.contains("LEMMY_ABI_MINOR"), "{error}");
    }

    #[test]
    fn the_header_of_this_repository_has_an_abi() {
        let header = std::fs::read_to_string(crate::root().join("include/lemmy.h")).unwrap();
        assert!(Version::read(&header).is_ok());
    }
}
