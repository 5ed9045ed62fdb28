//! The few calls into ONNX Runtime's C interface that have no safe wrapper. All unsafe code of this backend, with
//! [`super::api`].

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;

use ort::AsPointer;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::sys::{OrtApi, OrtApiBase, OrtEpAssignedNode, OrtEpAssignedSubgraph, OrtStatusPtr};

use super::api;
use crate::scenario::Provider;

/// What a shared library says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Version of the runtime, e.g. `1.31.1`.
    pub version: String,
    /// Version of the interface that it is asked for. `None`: it has none that this program can use.
    pub api: Option<u32>,
    /// Build flags and commit. `None`: it does not tell.
    pub build_info: Option<String>,
    /// Execution providers that were compiled in. Empty: it does not tell.
    pub providers: Vec<String>,
}

/// Why a shared library could not be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The system's loader refused it; its own words.
    #[error("{0}")]
    NotLoadable(String),
    /// It does not export `OrtGetApiBase`, or what that returns is unusable.
    #[error("it exports no OrtGetApiBase")]
    NotOnnxRuntime,
}

/// A node of a graph and where it was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Execution provider, e.g. `CPUExecutionProvider`.
    pub provider: String,
    /// Its name in the graph. Empty: the runtime made it.
    pub name: String,
    /// Operator, e.g. `MatMul`.
    pub operator: String,
}

/// Loads a shared library and asks it who it is. It stays loaded unless it is refused.
///
/// # Errors
/// See [`ProbeError`].
pub fn probe(path: &Path) -> Result<Probe, ProbeError> {
    let (library, base) = base(path)?;
    // SAFETY: returns a null-terminated string that lives as long as the library.
    let version = unsafe { string((base.GetVersionString)().cast()) };
    let version = version.ok_or(ProbeError::NotOnnxRuntime)?;
    let api = api::version(&version);
    // SAFETY: the library offers this version; its table begins with the functions used here.
    let table = api.and_then(|api| unsafe { (base.GetApi)(api).as_ref() });
    let probe = Probe {
        version,
        api: api.filter(|_| table.is_some()),
        // SAFETY: a static null-terminated string.
        build_info: table.and_then(|table| unsafe { string((table.GetBuildInfoString)().cast()) }),
        providers: table.map(providers).unwrap_or_default(),
    };
    // The runtime keeps threads and static state: unloading it again is not safe.
    std::mem::forget(library);
    Ok(probe)
}

/// Makes a probed library the one that the `ort` crate calls. Once per process.
///
/// # Errors
/// See [`ProbeError`]; another one is in use.
pub fn adopt(path: &Path, api: u32) -> Result<(), ProbeError> {
    let (library, base) = base(path)?;
    // SAFETY: takes a version and returns a pointer to static data or null, which is looked at next.
    let offered = unsafe { (base.GetApi)(api) };
    if offered.is_null() {
        return Err(ProbeError::NotOnnxRuntime);
    }
    // SAFETY: what the library returned for this version.
    let table = unsafe { api::completed(offered, api) };
    std::mem::forget(library);
    if ort::set_api(table) { Ok(()) } else { Err(ProbeError::NotLoadable("another library is in use".to_owned())) }
}

/// A library and where its interface begins.
fn base(path: &Path) -> Result<(libloading::Library, &'static OrtApiBase), ProbeError> {
    // SAFETY: loading runs the library's initialisers. The user named this file as the runtime to execute,
    // so running its code is what was asked for; nothing is called before its entry point is found.
    let library = unsafe { libloading::Library::new(path) }.map_err(|e| ProbeError::NotLoadable(e.to_string()))?;
    // SAFETY: the symbol's C signature is fixed by ONNX Runtime's stable interface.
    let entry: libloading::Symbol<'_, unsafe extern "C" fn() -> *const OrtApiBase> =
        unsafe { library.get(b"OrtGetApiBase\0") }.map_err(|_| ProbeError::NotOnnxRuntime)?;
    // SAFETY: takes no argument and returns a pointer to static data or null, which `as_ref` checks.
    let base = unsafe { entry().as_ref() }.ok_or(ProbeError::NotOnnxRuntime)?;
    Ok((library, base))
}

/// Loads a library that another one will need, for everyone in this process, and keeps it.
///
/// # Errors
/// The system loader's own words.
pub fn preload(path: &Path) -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: as for `probe`: a library of the runtime's own vendor set, from the folder the user set up.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|e| e.to_string())?;
    std::mem::forget(library);
    Ok(())
}

/// Appends a provider whose options have a type of their own: made, set by name, appended, released.
macro_rules! append_typed {
    ($builder:ident, $pairs:ident, $create:ident, $update:ident, $append:ident, $release:ident) => {{
        let api = ort::api();
        let mut made = ptr::null_mut();
        // SAFETY: the out-pointer is valid.
        check(unsafe { (api.$create)(&raw mut made) })?;
        let (keys, values) = ($pairs.keys.as_ptr(), $pairs.values.as_ptr());
        // SAFETY: `made` was made above; as many keys as values, null-terminated and alive.
        let updated = check(unsafe { (api.$update)(made, keys, values, $pairs.keys.len()) });
        let appended = updated.and_then(|()| {
            // SAFETY: the builder's options are ours alone; `made` is valid, and copied.
            check(unsafe { (api.$append)($builder.ptr_mut(), made) })
        });
        // SAFETY: released once.
        unsafe { (api.$release)(made) };
        appended
    }};
}

/// Options of a provider as C wants them.
struct Pairs {
    keys: Vec<*const c_char>,
    values: Vec<*const c_char>,
    _texts: Vec<(CString, CString)>,
}

impl Pairs {
    fn of(options: &[(String, String)]) -> Result<Self, String> {
        let text = |text: &String| CString::new(text.as_str()).map_err(|_| format!("`{text}` holds a zero byte"));
        let pair = |(key, value): &(String, String)| Ok((text(key)?, text(value)?));
        let texts: Vec<(CString, CString)> = options.iter().map(pair).collect::<Result<_, String>>()?;
        let (keys, values) = texts.iter().map(|(key, value)| (key.as_ptr(), value.as_ptr())).unzip();
        Ok(Self { keys, values, _texts: texts })
    }
}

/// Has sessions of a builder use a provider, before the CPU's own.
///
/// # Errors
/// The runtime's own words: it does not have the provider, or cannot start it.
pub fn append(
    builder: &mut SessionBuilder,
    provider: Provider,
    options: &[(String, String)],
    api: u32,
) -> Result<(), String> {
    let pairs = Pairs::of(options)?;
    match provider {
        Provider::Cuda => append_typed!(
            builder,
            pairs,
            CreateCUDAProviderOptions,
            UpdateCUDAProviderOptions,
            SessionOptionsAppendExecutionProvider_CUDA_V2,
            ReleaseCUDAProviderOptions
        ),
        Provider::Tensorrt => append_typed!(
            builder,
            pairs,
            CreateTensorRTProviderOptions,
            UpdateTensorRTProviderOptions,
            SessionOptionsAppendExecutionProvider_TensorRT_V2,
            ReleaseTensorRTProviderOptions
        ),
        Provider::Rocm => append_typed!(
            builder,
            pairs,
            CreateROCMProviderOptions,
            UpdateROCMProviderOptions,
            SessionOptionsAppendExecutionProvider_ROCM,
            ReleaseROCMProviderOptions
        ),
        _ => {
            let name = if api < 22 { provider.short_name() } else { provider.name() };
            let name = CString::new(name).map_err(|e| e.to_string())?;
            let (keys, values) = (pairs.keys.as_ptr(), pairs.values.as_ptr());
            // SAFETY: the builder's options are ours alone; all texts are null-terminated and alive, as many keys as values.
            check(unsafe {
                (ort::api().SessionOptionsAppendExecutionProvider)(
                    builder.ptr_mut(),
                    name.as_ptr(),
                    keys,
                    values,
                    pairs.keys.len(),
                )
            })
        }
    }
}

/// Every node of a committed session with the execution provider it was assigned to.
///
/// # Errors
/// The runtime's own words, e.g. when the session was not told to keep a record.
pub fn placement(session: &Session) -> Result<Vec<Node>, String> {
    let api = ort::api();
    let mut placed = Vec::new();
    let (mut graphs, mut count) = (ptr::null::<*const OrtEpAssignedSubgraph>(), 0);
    // SAFETY: the session pointer is valid while `session` is borrowed; both out-pointers are.
    check(unsafe { (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut graphs, &raw mut count) })?;
    // SAFETY: the runtime returned an array of this length that the session owns.
    for &graph in unsafe { slice(graphs, count) } {
        let mut name = ptr::null();
        // SAFETY: `graph` is an element of the session's array.
        check(unsafe { (api.EpAssignedSubgraph_GetEpName)(graph, &raw mut name) })?;
        // SAFETY: a null-terminated string that the session owns.
        let provider = unsafe { string(name.cast()) }.unwrap_or_default();
        let (mut nodes, mut count) = (ptr::null::<*const OrtEpAssignedNode>(), 0);
        // SAFETY: as above.
        check(unsafe { (api.EpAssignedSubgraph_GetNodes)(graph, &raw mut nodes, &raw mut count) })?;
        // SAFETY: the runtime returned an array of this length that the session owns.
        for &node in unsafe { slice(nodes, count) } {
            let (mut name, mut operator) = (ptr::null(), ptr::null());
            // SAFETY: `node` is an element of the session's array.
            check(unsafe { (api.EpAssignedNode_GetName)(node, &raw mut name) })?;
            // SAFETY: as above.
            check(unsafe { (api.EpAssignedNode_GetOperatorType)(node, &raw mut operator) })?;
            // SAFETY: null-terminated strings that the session owns.
            let (name, operator) = unsafe { (string(name.cast()), string(operator.cast())) };
            placed.push(Node {
                provider: provider.clone(),
                name: name.unwrap_or_default(),
                operator: operator.unwrap_or_default(),
            });
        }
    }
    Ok(placed)
}

/// Execution providers compiled into the library.
fn providers(api: &OrtApi) -> Vec<String> {
    let (mut names, mut count) = (ptr::null_mut(), 0);
    // SAFETY: both out-pointers are valid.
    if check(unsafe { (api.GetAvailableProviders)(&raw mut names, &raw mut count) }).is_err() {
        return Vec::new();
    }
    let length = usize::try_from(count).unwrap_or(0);
    // SAFETY: an array of `count` null-terminated strings, ours until it is released.
    let list = unsafe { slice(names.cast_const(), length) }
        .iter()
        // SAFETY: see above.
        .filter_map(|&name| unsafe { string(name.cast_const().cast()) })
        .collect();
    // SAFETY: released once, with what `GetAvailableProviders` returned. A failure to free is not ours to act on.
    let _ = check(unsafe { (api.ReleaseAvailableProviders)(names, count) });
    list
}

/// Turns a status into a result and frees it.
fn check(status: OrtStatusPtr) -> Result<(), String> {
    // SAFETY: the status comes straight from a call of the interface and is consumed here once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|e| e.message().to_owned())
}

/// A copy of a C string. `None`: null.
///
/// # Safety
/// `text` is null or points to a null-terminated string.
unsafe fn string(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller promises it.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// A slice that may come as null when it is empty.
///
/// # Safety
/// `data` is null, or points to `length` values that live as long as `'a`.
unsafe fn slice<'a, T>(data: *const T, length: usize) -> &'a [T] {
    if data.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: the caller promises it.
    unsafe { std::slice::from_raw_parts(data, length) }
}
