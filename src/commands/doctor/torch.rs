//! Whether the torch worker can run: in its environment, and in its container.

use std::path::Path;
use std::time::Duration;

use super::finding::{Finding, Kind};
use crate::backend::worker::launch::docker::engine;
use crate::backend::worker::launch::installed::{Image, Record as _};
use crate::backend::worker::launch::package;
use crate::backend::worker::torch::{self, beside};

const SETUP_DOCKER: &str = "phasebench setup torch --docker";

/// Longest wait for an engine that neither answers nor refuses.
const ENGINE_ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Both ways of starting it, and the environments of other versions.
pub fn findings(cache: &Path) -> Vec<Finding> {
    let versions = beside::versions(cache).into_iter().map(|(version, _)| {
        let name = format!("torch, version {version}");
        Finding::ready(Kind::Backend, name, format!("torch: {{ version: {version} }}"))
    });
    [environment(cache), docker(cache)].into_iter().chain(versions).collect()
}

fn environment(cache: &Path) -> Finding {
    const NAME: &str = "torch, launch process";
    let missing = |why: String| Finding::missing(Kind::Backend, NAME, why, Some(torch::FIX.to_owned()));
    match torch::find(cache) {
        Err(error) => missing(error.to_string()),
        Ok(found) if !package::is_whole(&found.package) => {
            missing(format!("the worker in environment {} is not this version's", found.id))
        }
        Ok(found) => Finding::ready(Kind::Backend, NAME, format!("environment {}", found.id)),
    }
}

fn docker(cache: &Path) -> Finding {
    const NAME: &str = "torch, launch docker";
    let missing = |why: String, fix: &str| Finding::missing(Kind::Backend, NAME, why, Some(fix.to_owned()));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Finding::missing(Kind::Backend, NAME, error.to_string(), None),
    };
    runtime.block_on(async {
        let engine = match tokio::time::timeout(ENGINE_ANSWERS_WITHIN, engine::connect()).await {
            Ok(Ok(engine)) => engine,
            Ok(Err(error)) => return missing(error.to_string(), &error.fix()),
            Err(_) => return missing("the docker engine does not answer".to_owned(), "docker version"),
        };
        let has = |why: &str| format!("docker {} has {why}", engine.version);
        let Some(image) = Image::read(cache) else { return missing(has("no image of the worker"), SETUP_DOCKER) };
        if engine.docker.inspect_image(&image.image).await.is_err() {
            return missing(has(&format!("no image {}", image.tag)), SETUP_DOCKER);
        }
        if image.sources != package::hash() {
            return missing(format!("the worker in {} is not this version's", image.tag), SETUP_DOCKER);
        }
        Finding::ready(Kind::Backend, NAME, format!("{}, docker {}", image.tag, engine.version))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_environment_is_ready_only_with_this_version_s_worker() {
        let cache = tempfile::tempdir().unwrap();
        let found = environment(cache.path());
        assert_eq!((found.ready, found.fix.as_deref()), (false, Some(torch::FIX)));
        let python = cache.path().join("python");
        let package = package::write(cache.path()).unwrap();
        let record = torch::Environment { python: python.clone(), package, id: "some".to_owned() };
        record.write(cache.path()).unwrap();
        assert!(environment(cache.path()).detail.ends_with("python is gone"));
        fs::write(&python, "").unwrap();
        assert!(environment(cache.path()).ready);
        let older = torch::Environment { package: cache.path().to_owned(), ..record };
        older.write(cache.path()).unwrap();
        assert_eq!(environment(cache.path()).detail, "the worker in environment some is not this version's");
    }
}
