//! What a worker's container is made of, and above all what it may not do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits,
};

use super::leftovers::{OURS, OWNER, RUN, WORKER};
use super::owner::Owner;
use crate::scenario::{Resources, TorchDevice};

/// Where the container sees the model folder; it cannot write there.
pub const MODEL: &str = "/model";
/// Where it sees the worker's own folder, with the socket in it.
pub const FOLDER: &str = "/run/phasebench";
/// Where its compiler keeps its cache: in memory, and gone with the container.
pub const CACHE: &str = "/cache";
/// Where it sees what is brought into an image of somebody's own; it cannot write there.
const BROUGHT: [&str; 2] = ["/opt/phasebench/worker", "/opt/phasebench/packages"];
/// Name of the socket in [`FOLDER`].
pub const SOCKET: &str = "worker.sock";

/// Most processes and threads where the scenario names no number: torch starts one per core, its compiler a pool.
const PIDS: u32 = 512;

/// Who a container's processes are where the caller is root. No account has this number on common systems.
const UNPRIVILEGED: User = User { uid: 10_001, gid: 10_001 };

/// Most memory for `/tmp`, where the compiler keeps what it is working on.
const TMP_BYTES: u64 = 512 << 20;

/// Most memory for [`CACHE`]: headers that are compiled once, and libraries of some 100 KB for each graph.
const CACHE_BYTES: u64 = 2 << 30;

/// After how many seconds without a request the worker exits by itself. It ends with its owner, since the engine then
/// closes its standard input; this is for an engine that does not. A loaded model may wait long for its next call.
const EXIT_IDLE: &str = "3600";

/// User and group of a container's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl User {
    /// The caller, who then owns what the worker writes; somebody without rights where the caller is root.
    #[must_use]
    pub fn for_caller() -> Self {
        // SAFETY: both take nothing, cannot fail and touch no memory of ours.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        if uid == 0 { UNPRIVILEGED } else { Self { uid, gid } }
    }
}

/// Everything a container is made from.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint<'a> {
    /// Image, by its id.
    pub image: &'a str,
    /// Folder of the worker on the host.
    pub folder: &'a Path,
    /// Model folder on the host. `None`: the worker is only asked what it is.
    pub model: Option<&'a Path>,
    /// Who its processes are.
    pub user: User,
    /// What it may use.
    pub resources: Resources,
    /// Where the model must run.
    pub device: TorchDevice,
    /// Name of the run.
    pub run: &'a str,
    /// What is brought into an image of somebody's own. `None`: the image has all of it.
    pub brought: Option<&'a Brought>,
}

/// The worker and what it needs beside torch, for an image that has neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Folder of the worker's sources on the host.
    pub worker: PathBuf,
    /// Folder of its packages on the host.
    pub packages: PathBuf,
}

impl Blueprint<'_> {
    /// The request that makes the container of a worker.
    #[must_use]
    pub fn request(&self) -> ContainerCreateBody {
        let text = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        let labels = [(OURS, WORKER.to_owned()), (RUN, self.run.to_owned()), (OWNER, Owner::this().to_string())];
        let listen = format!("unix:{FOLDER}/{SOCKET}");
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            user: Some(format!("{}:{}", self.user.uid, self.user.gid)),
            cmd: text(&["--listen", &listen, "--exit-on-stdin-close", "--exit-idle", EXIT_IDLE]),
            entrypoint: self.brought.and_then(|_| text(&["python3", "-m", "phasebench_torch"])),
            env: Some(self.environment()),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            // Closed as soon as we are gone, however that came.
            stdin_once: Some(true),
            network_disabled: Some(true),
            stop_timeout: Some(1),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    fn environment(&self) -> Vec<String> {
        // Python asks for the user's name, and this user has none.
        let mut environment = vec![
            "HOME=/tmp".to_owned(),
            "USER=phasebench".to_owned(),
            format!("TORCHINDUCTOR_CACHE_DIR={CACHE}"),
            format!("TRITON_CACHE_DIR={CACHE}/triton"),
        ];
        if self.brought.is_some() {
            environment.push(format!("PYTHONPATH={}", BROUGHT.join(":")));
            environment.push("PYTHONDONTWRITEBYTECODE=1".to_owned());
        }
        environment
    }

    /// The container's limits and what it sees of the host.
    #[must_use]
    pub fn host_config(&self) -> HostConfig {
        let memory = self.resources.memory.map(|bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX));
        HostConfig {
            network_mode: Some("none".to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            privileged: Some(false),
            pids_limit: Some(i64::from(self.pids())),
            memory,
            // As much as the memory: none of it may be swapped out under a measurement.
            memory_swap: memory,
            nano_cpus: self.resources.cpus.map(|cpus| i64::from(cpus) * 1_000_000_000),
            // What the compiler makes is mapped as code, which Docker's default for a tmpfs forbids.
            tmpfs: Some(HashMap::from([
                ("/tmp".to_owned(), format!("rw,exec,nosuid,nodev,mode=1777,size={TMP_BYTES}")),
                (CACHE.to_owned(), self.cache_options()),
            ])),
            mounts: Some(self.mounts()),
            device_requests: self.gpus(),
            // A worker that writes without end must not fill the engine's disk.
            log_config: Some(HostConfigLogConfig {
                typ: Some("json-file".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), "4m".to_owned()),
                    ("max-file".to_owned(), "2".to_owned()),
                ])),
            }),
            ulimits: Some(vec![ResourcesUlimits { name: Some("core".to_owned()), soft: Some(0), hard: Some(0) }]),
            ..HostConfig::default()
        }
    }

    /// Most processes and threads at once.
    #[must_use]
    pub fn pids(&self) -> u32 {
        self.resources.pids.unwrap_or(PIDS)
    }

    fn cache_options(&self) -> String {
        let User { uid, gid } = self.user;
        format!("rw,exec,nosuid,nodev,mode=0700,uid={uid},gid={gid},size={CACHE_BYTES}")
    }

    fn mounts(&self) -> Vec<Mount> {
        let bind = |source: &Path, target: &str, read_only: bool| Mount {
            source: Some(source.display().to_string()),
            target: Some(target.to_owned()),
            typ: Some(MountType::BIND),
            read_only: Some(read_only),
            ..Mount::default()
        };
        let mut mounts = vec![bind(self.folder, FOLDER, false)];
        mounts.extend(self.model.map(|model| bind(model, MODEL, true)));
        if let Some(Brought { worker, packages }) = self.brought {
            mounts
                .extend([worker, packages].into_iter().zip(BROUGHT).map(|(source, target)| bind(source, target, true)));
        }
        mounts
    }

    /// The one GPU that is asked for and no other; inside it is the first.
    fn gpus(&self) -> Option<Vec<DeviceRequest>> {
        match self.device {
            TorchDevice::Cpu => None,
            TorchDevice::Cuda(index) => Some(vec![DeviceRequest {
                device_ids: Some(vec![index.to_string()]),
                capabilities: Some(vec![vec!["gpu".to_owned()]]),
                ..DeviceRequest::default()
            }]),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn blueprint() -> Blueprint<'static> {
        Blueprint {
            image: "sha256:1",
            folder: Path::new("/a/worker"),
            model: Some(Path::new("/a/model")),
            user: UNPRIVILEGED,
            resources: Resources { memory: Some(Bytes(1 << 30)), cpus: Some(2), pids: None },
            device: TorchDevice::Cpu,
            run: "a-run",
            brought: None,
        }
    }

    #[test]
    fn what_is_brought_cannot_be_written_and_comes_before_what_the_image_has() {
        let brought = Brought { worker: "/cache/worker".into(), packages: "/cache/packages".into() };
        let request = Blueprint { brought: Some(&brought), ..blueprint() }.request();
        assert_eq!(request.entrypoint.unwrap(), ["python3", "-m", "phasebench_torch"]);
        let path = "PYTHONPATH=/opt/phasebench/worker:/opt/phasebench/packages".to_owned();
        assert!(request.env.unwrap().contains(&path));
        let mounts = request.host_config.unwrap().mounts.unwrap();
        let brought: Vec<_> = mounts.iter().filter(|mount| mount.target.as_ref().unwrap().contains("/opt/")).collect();
        assert!(brought.len() == 2 && brought.iter().all(|mount| mount.read_only == Some(true)), "{mounts:?}");
        assert_eq!(blueprint().request().entrypoint, None);
    }

    #[test]
    fn nothing_is_granted_that_is_not_needed() {
        let request = blueprint().request();
        let host = request.host_config.unwrap();
        assert_eq!(request.user.as_deref(), Some("10001:10001"));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!((host.readonly_rootfs, host.privileged), (Some(true), Some(false)));
        assert_eq!((host.cap_add, host.devices, host.device_requests), (None, None, None));
        let writable = host.mounts.unwrap().into_iter().filter(|mount| mount.read_only != Some(true));
        let writable: Vec<_> = writable.filter_map(|mount| mount.source).collect();
        assert_eq!(writable, ["/a/worker"]);
    }

    #[test]
    fn the_compiler_has_bounded_memory_to_run_code_from() {
        let tmpfs = blueprint().host_config().tmpfs.unwrap();
        let cache: Vec<_> = tmpfs[CACHE].split(',').collect();
        for option in ["exec", "nosuid", "nodev", "mode=0700", "uid=10001", "gid=10001", "size=2147483648"] {
            assert!(cache.contains(&option), "{option}: {cache:?}");
        }
        let request = blueprint().request();
        assert!(request.env.unwrap().contains(&"TRITON_CACHE_DIR=/cache/triton".to_owned()));
    }

    #[test]
    fn limits_are_the_scenario_s() {
        let host = blueprint().host_config();
        assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(2_000_000_000), Some(i64::from(PIDS))));
        let unlimited = Blueprint { resources: Resources { pids: Some(9), ..Resources::default() }, ..blueprint() };
        let host = unlimited.host_config();
        assert_eq!((host.memory, host.memory_swap, host.nano_cpus, host.pids_limit), (None, None, None, Some(9)));
    }

    #[test]
    fn gpus_come_only_where_asked() {
        let requests = Blueprint { device: TorchDevice::Cuda(1), ..blueprint() }.host_config().device_requests.unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].capabilities, Some(vec![vec!["gpu".to_owned()]]));
        assert_eq!((requests[0].device_ids.as_deref(), requests[0].count), (Some(&["1".to_owned()][..]), None));
    }
}
