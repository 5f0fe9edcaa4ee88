//! Models of the hub: their names, the cache that other tools share, and (with the feature `pull`) the way there.

#[cfg(feature = "pull")]
mod api;
#[cfg(feature = "pull")]
mod blob;
mod cache;
mod choice;
#[cfg(feature = "pull")]
mod endpoint;
#[cfg(feature = "pull")]
mod fetch;
mod name;
mod settings;
#[cfg(feature = "pull")]
mod stream;

use std::path::PathBuf;

use super::failure::{Failure, Result};
#[cfg(feature = "pull")]
pub(crate) use api::{Hub, RemoteFile, Trouble};
#[cfg(feature = "pull")]
pub(crate) use blob::{Manner, Step, free_space};
pub(crate) use cache::{Cache, RepoFolder};
pub(crate) use choice::{Found, choose, models};
#[cfg(feature = "pull")]
pub(crate) use endpoint::{Endpoint, Token};
#[cfg(feature = "pull")]
pub(crate) use fetch::{Companion, Plan, Watcher};
pub(crate) use name::{HubName, Pick, is_commit};
pub(crate) use settings::{HubArgs, PlaceArgs, is_offline};

/// Downloads above this are asked about first.
#[cfg(feature = "pull")]
const LARGE: u64 = 1 << 30;

/// The file of the model that a name means; one that is not there is downloaded, if wanted with its vision tower.
pub(crate) fn model(name: &HubName, args: &HubArgs, with_tower: bool) -> Result<PathBuf> {
    let mut name = name.clone();
    if let Some(file) = &args.hf_file {
        name.pick = Pick::File(file.clone());
    }
    let folder = Cache::open(args.cache_dir.as_deref())?.repo(&name.repo);
    let cached = cached(&folder, &name);
    match cached {
        Ok(Some(path)) if !args.update => return Ok(path),
        Err(failure) if args.offline || is_offline() => return Err(failure),
        _ => {}
    }
    let cached = cached.ok().flatten();
    if args.offline || is_offline() {
        let failure = Failure::not_found(format!("{name}: not downloaded, and --offline asks no hub"));
        return cached.ok_or_else(|| failure.hint(format!("lemmy pull {name}")));
    }
    download(&name, args, &folder, with_tower, cached)
}

/// The file of a model that is in the cache with all of its parts.
pub(crate) fn cached(folder: &RepoFolder, name: &HubName) -> Result<Option<PathBuf>> {
    let Some(commit) = folder.commit(&name.revision) else { return Ok(None) };
    let entries = folder.files(&commit)?;
    match choose(name, &entries) {
        Ok(found) => Ok(Some(folder.snapshot(&commit).join(found.path()))),
        Err(failure) if failure.is_usage() => Err(failure),
        Err(_) => Ok(None),
    }
}

#[cfg(not(feature = "pull"))]
fn download(name: &HubName, _: &HubArgs, _: &RepoFolder, _: bool, cached: Option<PathBuf>) -> Result<PathBuf> {
    let message = format!("{name}: not downloaded, and this build cannot (expected the cargo feature `pull`)");
    cached.ok_or_else(|| Failure::not_found(message).hint("download the .gguf file yourself and give its path"))
}

#[cfg(feature = "pull")]
fn download(
    name: &HubName,
    args: &HubArgs,
    folder: &RepoFolder,
    with_tower: bool,
    cached: Option<PathBuf>,
) -> Result<PathBuf> {
    use super::output::note;
    use super::question::ask;
    use super::units::bytes;

    let hub = std::sync::Arc::new(Hub::new(Endpoint::from_environment()?, Token::find(args.hf_token.as_deref())?));
    let get = || -> Result<PathBuf, Trouble> {
        let companion = if with_tower { Companion::Usual } else { Companion::None };
        let plan = Plan::new(&hub, folder, name, &companion, false)?;
        if plan.missing > LARGE && !args.yes {
            let size = bytes(plan.missing);
            match ask(format_args!("{name}: not downloaded yet. Download {size}?")) {
                Some(true) => {}
                Some(false) => return Err(Failure::not_found(format!("{name}: not downloaded")).into()),
                None => {
                    let message =
                        format!("{name}: not downloaded yet: {size} (expected --yes, where nobody can be asked)");
                    return Err(Failure::usage(message).hint(format!("lemmy pull {name}")).into());
                }
            }
        }
        if plan.missing > 0 {
            note(format_args!("downloading {name}, {} to {}", bytes(plan.missing), folder.root().display()));
        }
        plan.execute(&hub, folder, &Manner::default(), &mut super::pull::Shown::lines())
    };
    match (get(), cached) {
        (Ok(path), _) => Ok(path),
        (Err(Trouble::Unreachable(_)), Some(path)) => {
            note(format_args!("using the cached copy of {name}: the hub cannot be reached"));
            Ok(path)
        }
        (Err(trouble), _) => Err(trouble.into()),
    }
}
