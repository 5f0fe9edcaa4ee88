//! `cargo xtask dist`: the C library as a folder that other build systems can use.
//!
//! ```text
//! include/                lemmy.h, lemmy.hpp with lemmy/, module.modulemap
//! lib/                    liblemmy.so -> liblemmy.so.MAJOR, liblemmy.a
//! lib/pkgconfig/          lemmy.pc
//! lib/cmake/lemmy/        lemmyConfig.cmake, lemmyConfigVersion.cmake
//! share/doc/lemmy/        LICENSE
//! ```
//!
//! The folder may be moved: all paths in it are relative.

mod texts;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use self::texts::Version;
use crate::{Result, root};

const HEADERS: [&str; 5] = ["lemmy.h", "lemmy.hpp", "lemmy/base.hpp", "lemmy/options.hpp", "module.modulemap"];

/// Builds the library and writes the folder `out`.
pub(crate) fn run(out: &Path, flags: &[String]) -> Result<()> {
    let include = root().join("include");
    let version = Version::read(&fs::read_to_string(include.join("lemmy.h"))?)?;
    let soname = format!("liblemmy.so.{}", version.abi_major);
    let [shared, archive] = build(flags, &soname)?;

    for folder in ["include/lemmy", "lib/pkgconfig", "lib/cmake/lemmy", "share/doc/lemmy"] {
        fs::create_dir_all(out.join(folder))?;
    }
    for header in HEADERS {
        fs::copy(include.join(header), out.join("include").join(header))?;
    }
    fs::copy(root().join("LICENSE"), out.join("share/doc/lemmy/LICENSE"))?;
    let lib = out.join("lib");
    share(&shared, &lib, &soname)?;
    localise(&archive, &lib.join("liblemmy.a"), &include.join("lemmy.symbols"))?;
    fs::write(lib.join("pkgconfig/lemmy.pc"), texts::pkg_config(&version))?;
    fs::write(lib.join("cmake/lemmy/lemmyConfig.cmake"), texts::cmake(&soname))?;
    fs::write(lib.join("cmake/lemmy/lemmyConfigVersion.cmake"), texts::cmake_version(&version))?;

    println!("{}", out.display());
    for file in [soname.as_str(), "liblemmy.a"] {
        let size = fs::metadata(lib.join(file))?.len();
        println!("{:>8.1} MB  lib/{file}", size as f64 / 1e6);
    }
    Ok(())
}

/// Has Cargo build both libraries; returns the shared one and the archive. Cargo itself says where they lie.
fn build(flags: &[String], soname: &str) -> Result<[PathBuf; 2]> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["rustc", "--package", "lemmy-ffi", "--lib"]);
    if flags.is_empty() {
        cargo.arg("--release");
    }
    cargo.args(flags).arg("--message-format=json-render-diagnostics");
    cargo.arg("--").arg(format!("-Clink-arg=-Wl,-soname,{soname}"));
    let messages = output(&mut cargo)?;
    let built: Vec<PathBuf> = messages.lines().flat_map(|line| libraries(line).unwrap_or_default()).collect();
    let find = |name: &str| {
        let found = built.iter().find(|file| file.ends_with(name)).cloned();
        found.ok_or_else(|| format!("Cargo built no {name}, but {built:?}; this chore is for ELF systems only"))
    };
    Ok([find("liblemmy.so")?, find("liblemmy.a")?])
}

/// The files that one message of Cargo names, if it speaks of the library.
fn libraries(message: &str) -> Option<Vec<PathBuf>> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message.get("reason")? == "compiler-artifact" && message.get("target")?.get("name")? == "lemmy";
    let files = message.get("filenames")?.as_array().filter(|_| ours)?;
    Some(files.iter().filter_map(Value::as_str).map(PathBuf::from).collect())
}

/// The shared library under its soname, and the name that linkers look for as a link to it.
fn share(built: &Path, lib: &Path, soname: &str) -> Result<()> {
    let file = lib.join(soname);
    output(tool("OBJCOPY", "objcopy").arg("--strip-unneeded").arg(built).arg(&file))?;
    let link = lib.join("liblemmy.so");
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link)?;
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(soname, &link)?;
    #[cfg(not(unix))]
    fs::copy(&file, &link)?;
    Ok(())
}

/// The static library as one object whose only global names are those of the header.
///
/// Rust's archive has the names of its standard library and of compiler built-ins as well; two such libraries, of
/// different compilers, in one program would clash.
fn localise(archive: &Path, out: &Path, symbols: &Path) -> Result<()> {
    let object = out.with_extension("o");
    output(tool("LD", "ld").args(["-r", "--whole-archive"]).arg(archive).arg("-o").arg(&object))?;
    let keep = format!("--keep-global-symbols={}", symbols.display());
    // The standard library comes with its bitcode, which no linker of C programs reads.
    let drop = ["--remove-section=.llvmbc", "--remove-section=.llvmcmd"];
    output(tool("OBJCOPY", "objcopy").arg(keep).args(drop).arg("--strip-unneeded").arg(&object))?;
    if out.exists() {
        fs::remove_file(out)?; // `ar` would add to it
    }
    output(tool("AR", "ar").arg("rcs").arg(out).arg(&object))?;
    fs::remove_file(object)?;
    Ok(())
}

/// A tool of the system, or the one that the environment names.
fn tool(variable: &str, name: &str) -> Command {
    Command::new(env::var_os(variable).unwrap_or_else(|| OsString::from(name)))
}

/// Runs a command; its stdout, if it succeeded.
fn output(command: &mut Command) -> Result<String> {
    let ran = command.stderr(Stdio::inherit()).output();
    let ran = ran.map_err(|error| format!("cannot run {:?}: {error}", command.get_program()))?;
    if !ran.status.success() {
        return Err(format!("{command:?}: {}", ran.status).into());
    }
    Ok(String::from_utf8(ran.stdout)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_messages_about_the_library_name_files() {
        let message = |reason: &str, name: &str| {
            format!(r#"{{"reason":"{reason}","target":{{"name":"{name}"}},"filenames":["/t/liblemmy.so"]}}"#)
        };
        assert_eq!(libraries(&message("compiler-artifact", "lemmy")), Some(vec![PathBuf::from("/t/liblemmy.so")]));
        assert_eq!(libraries(&message("compiler-artifact", "half")), None);
        assert_eq!(libraries(&message("build-script-executed", "lemmy")), None);
        assert_eq!(libraries("   Compiling lemmy"), None);
    }

    #[test]
    fn a_failing_tool_is_named() {
        let error = output(Command::new("false").arg("x")).unwrap_err().to_string();
        assert!(error.starts_with("\"false\" \"x\": ") && error.contains('1'), "{error}");
        let error = output(&mut Command::new("no-such-tool")).unwrap_err().to_string();
        assert!(error.starts_with("cannot run \"no-such-tool\""), "{error}");
    }
}
