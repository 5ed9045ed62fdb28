//! `phasebench setup torch`: an environment, or an image, in which the torch worker runs.
//!
//! ```text
//! <cache>/torch/wheels/            every wheel, fetched once, for environments and images
//! <cache>/torch/<id>/venv/         an environment; <id> is of the locked requirements and the Python
//! <cache>/torch/<id>/worker-<h>/   the worker's sources, as this program carries them
//! <cache>/torch/versions/<V>-py…/  an environment of another version of torch
//! <cache>/torch/beside/            what the worker needs beside a torch that is somebody's own
//! <cache>/torch/selected.json      the environment in use
//! <cache>/torch/image.json         the image in use
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use self::environment::Place;
use self::error::{check_space, say};
use self::pip::Python;
use self::wheels::{Missing, Target};
use crate::backend::worker::launch::installed::{self, Image, Record as _};
use crate::backend::worker::launch::package;
use crate::backend::worker::torch::Environment;
use crate::backend::worker::torch::beside::Packages;
use crate::cli::SetupTorchArgs;
use crate::lock::Held;
use crate::units::Bytes;

mod base;
mod beside;
mod environment;
mod error;
mod file_server;
mod image;
mod pip;
mod requirements;
mod wheels;

pub use error::TorchError;

/// What the environment takes. Unit: bytes.
const ENVIRONMENT: Bytes = Bytes(5_700_000_000);

/// What is in use from now on.
#[derive(Debug)]
pub enum Ready {
    /// An environment.
    Environment(Environment),
    /// An image.
    Image(Image),
    /// An environment of another version of torch, by its interpreter.
    Version(String, PathBuf),
    /// Packages for somebody's own environment.
    Beside(Packages),
}

/// Sets torch up; tells what is ready, and whether it was before.
///
/// # Errors
/// See [`TorchError`].
pub fn setup(args: &SetupTorchArgs, cache: &Path, progress: &mut dyn Write) -> Result<(Ready, bool), TorchError> {
    let python = Python::find(&args.python)?;
    let torch = installed::folder(cache);
    fs::create_dir_all(&torch).map_err(|error| TorchError::io("create", &torch, &error))?;
    let _one_at_a_time = lock(&torch, progress)?;
    if let Some(version) = &args.version {
        let (interpreter, before) = beside::version(version, &python, cache, progress)?;
        return Ok((Ready::Version(version.clone(), interpreter), before));
    }
    if let Some(asked) = &args.beside {
        let (packages, before) = beside::packages(asked, &python, cache, progress)?;
        return Ok((Ready::Beside(packages), before));
    }
    if args.docker {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| TorchError::io("use", &torch, &error))?;
        runtime.block_on(image(args, &python, cache, progress))
    } else {
        environment(&python, cache, progress)
    }
}

fn environment(python: &Python, cache: &Path, progress: &mut dyn Write) -> Result<(Ready, bool), TorchError> {
    let torch = installed::folder(cache);
    let place = Place::new(&torch, package::REQUIREMENTS, python);
    let before = place.is_complete();
    if !before {
        let requirements = requirements::parse(package::REQUIREMENTS)?;
        let target = Target::same(python);
        let wheels = fetch(&requirements, &target, python, &torch, ENVIRONMENT, progress)?;
        say(progress, &format!("making the environment {}", place.folder.display()));
        let list = torch.join("requirements.lock");
        fs::write(&list, package::REQUIREMENTS).map_err(|error| TorchError::io("write", &list, &error))?;
        place.make(python, &wheels, &list)?;
    }
    let package = package::write(&place.folder).map_err(|error| TorchError::io("write", &place.folder, &error))?;
    let version = package.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let environment = Environment { python: place.python(), id: format!("{}-{version}", place.id), package };
    let same = Environment::read(cache).as_ref() == Some(&environment);
    if !same {
        environment.write(cache).map_err(|error| TorchError::io("write", &torch, &error))?;
    }
    Ok((Ready::Environment(environment), before && same))
}

async fn image(
    args: &SetupTorchArgs,
    python: &Python,
    cache: &Path,
    progress: &mut dyn Write,
) -> Result<(Ready, bool), TorchError> {
    let engine = image::connect().await?;
    let base = args.base.as_deref();
    if let Some(image) = image::existing(&engine, cache, base).await {
        return Ok((Ready::Image(image), true));
    }
    let near = image::is_near(&engine).await?;
    let from = base.unwrap_or_else(|| base::default());
    base::fetch(&engine, from, progress).await?;
    let wheels = match base::python(&engine, from).await {
        Some(version) if !pip::is_new_enough(&version) => {
            return Err(TorchError::OldBase { base: from.to_owned(), version, usable: base::default() });
        }
        Some(version) if near => {
            let requirements = requirements::parse(package::REQUIREMENTS)?;
            let target = Target::version(&version, python);
            Some(fetch(&requirements, &target, python, &installed::folder(cache), Bytes(0), progress)?)
        }
        _ => {
            say(progress, "the builder cannot be given wheels of this machine's cache; it fetches its own");
            None
        }
    };
    say(progress, &format!("building the image with docker {} at {}", engine.version, engine.host));
    let order = image::ImageOrder { cache, wheels: wheels.as_deref(), base, python };
    let image = image::build(&engine, order, progress).await?;
    Ok((Ready::Image(image), false))
}

/// Makes sure that every wheel is there, with room for `more` beside them; returns their folder.
fn fetch(
    requirements: &[requirements::Requirement],
    target: &Target,
    python: &Python,
    torch: &Path,
    more: Bytes,
    progress: &mut dyn Write,
) -> Result<PathBuf, TorchError> {
    let wheels = torch.join("wheels");
    let missing = Missing::look(requirements, target, &wheels)?;
    let download = match missing.bytes() {
        Bytes(0) => "nothing to download".to_owned(),
        bytes => format!("about {bytes} to download"),
    };
    let mut what = vec![download];
    if more > Bytes(0) {
        what.push(format!("{more} for the environment"));
    }
    say(progress, &format!("{}, in {}", what.join(", "), torch.display()));
    check_space(torch, Bytes(missing.bytes().0 + more.0))?;
    missing.fetch(python, target, &wheels, progress)?;
    Ok(wheels)
}

/// Held while a setup works; a second one waits for it, and then finds everything there.
fn lock(torch: &Path, progress: &mut dyn Write) -> Result<Held, TorchError> {
    let path = torch.join("lock");
    let fault = |error: io::Error| TorchError::io("lock", &path, &error);
    let file = File::create(&path).map_err(fault)?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => {
            say(progress, "waiting for another phasebench setup torch");
            file.lock().map_err(fault)?;
        }
        Err(fs::TryLockError::Error(error)) => return Err(fault(error)),
        Ok(()) => {}
    }
    Ok(Held::new(file))
}
