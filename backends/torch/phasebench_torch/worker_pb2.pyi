from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Procedure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROCEDURE_UNSPECIFIED: _ClassVar[Procedure]
    PREFILL: _ClassVar[Procedure]
    PREFILL_DECODE: _ClassVar[Procedure]
    UNCACHED: _ClassVar[Procedure]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_PREFILL: _ClassVar[Phase]
    PHASE_KV_DECODE: _ClassVar[Phase]
    PHASE_GENERATE_UNCACHED: _ClassVar[Phase]
PROCEDURE_UNSPECIFIED: Procedure
PREFILL: Procedure
PREFILL_DECODE: Procedure
UNCACHED: Procedure
PHASE_UNSPECIFIED: Phase
PHASE_PREFILL: Phase
PHASE_KV_DECODE: Phase
PHASE_GENERATE_UNCACHED: Phase

class Error(_message.Message):
    __slots__ = ("kind", "message")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Error.Kind]
        OOM: _ClassVar[Error.Kind]
        UNSUPPORTED: _ClassVar[Error.Kind]
        COMPILE_FAILED: _ClassVar[Error.Kind]
        INVALID: _ClassVar[Error.Kind]
        INTERNAL: _ClassVar[Error.Kind]
        CANCELLED: _ClassVar[Error.Kind]
        FALLBACK: _ClassVar[Error.Kind]
        RECOMPILE: _ClassVar[Error.Kind]
    KIND_UNSPECIFIED: Error.Kind
    OOM: Error.Kind
    UNSUPPORTED: Error.Kind
    COMPILE_FAILED: Error.Kind
    INVALID: Error.Kind
    INTERNAL: Error.Kind
    CANCELLED: Error.Kind
    FALLBACK: Error.Kind
    RECOMPILE: Error.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: Error.Kind
    message: str
    def __init__(self, kind: _Optional[_Union[Error.Kind, str]] = ..., message: _Optional[str] = ...) -> None: ...

class HelloRequest(_message.Message):
    __slots__ = ("protocol_version", "client")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    client: str
    def __init__(self, protocol_version: _Optional[int] = ..., client: _Optional[str] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("protocol_version", "worker", "worker_version", "pid", "capabilities", "clock")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    WORKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    worker: str
    worker_version: str
    pid: int
    capabilities: Capabilities
    clock: ClockSource
    def __init__(self, protocol_version: _Optional[int] = ..., worker: _Optional[str] = ..., worker_version: _Optional[str] = ..., pid: _Optional[int] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ..., clock: _Optional[_Union[ClockSource, _Mapping]] = ...) -> None: ...

class Capabilities(_message.Message):
    __slots__ = ("procedures", "step_times", "repeat", "compiles", "logprobs")
    PROCEDURES_FIELD_NUMBER: _ClassVar[int]
    STEP_TIMES_FIELD_NUMBER: _ClassVar[int]
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    COMPILES_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    procedures: _containers.RepeatedScalarFieldContainer[Procedure]
    step_times: bool
    repeat: bool
    compiles: bool
    logprobs: bool
    def __init__(self, procedures: _Optional[_Iterable[_Union[Procedure, str]]] = ..., step_times: _Optional[bool] = ..., repeat: _Optional[bool] = ..., compiles: _Optional[bool] = ..., logprobs: _Optional[bool] = ...) -> None: ...

class ClockSource(_message.Message):
    __slots__ = ("kind", "boot_id", "namespace_offset_ns")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ClockSource.Kind]
        MONOTONIC: _ClassVar[ClockSource.Kind]
        OTHER: _ClassVar[ClockSource.Kind]
    KIND_UNSPECIFIED: ClockSource.Kind
    MONOTONIC: ClockSource.Kind
    OTHER: ClockSource.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_OFFSET_NS_FIELD_NUMBER: _ClassVar[int]
    kind: ClockSource.Kind
    boot_id: str
    namespace_offset_ns: int
    def __init__(self, kind: _Optional[_Union[ClockSource.Kind, str]] = ..., boot_id: _Optional[str] = ..., namespace_offset_ns: _Optional[int] = ...) -> None: ...

class ReadClockRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadClockReply(_message.Message):
    __slots__ = ("now_ns",)
    NOW_NS_FIELD_NUMBER: _ClassVar[int]
    now_ns: int
    def __init__(self, now_ns: _Optional[int] = ...) -> None: ...

class Settings(_message.Message):
    __slots__ = ("device", "dtype", "threads", "options")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    device: str
    dtype: str
    threads: int
    options: _containers.ScalarMap[str, str]
    def __init__(self, device: _Optional[str] = ..., dtype: _Optional[str] = ..., threads: _Optional[int] = ..., options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: Settings
    def __init__(self, settings: _Optional[_Union[Settings, _Mapping]] = ...) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ("error", "fix", "engine", "engine_version", "facts", "boundary")
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class BoundaryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ERROR_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    error: Error
    fix: str
    engine: str
    engine_version: str
    facts: _containers.ScalarMap[str, str]
    boundary: _containers.ScalarMap[str, str]
    def __init__(self, error: _Optional[_Union[Error, _Mapping]] = ..., fix: _Optional[str] = ..., engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., facts: _Optional[_Mapping[str, str]] = ..., boundary: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PrepareRequest(_message.Message):
    __slots__ = ("settings", "path", "weights_id")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_ID_FIELD_NUMBER: _ClassVar[int]
    settings: Settings
    path: str
    weights_id: str
    def __init__(self, settings: _Optional[_Union[Settings, _Mapping]] = ..., path: _Optional[str] = ..., weights_id: _Optional[str] = ...) -> None: ...

class PrepareReply(_message.Message):
    __slots__ = ("error", "parameters", "bytes")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    error: Error
    parameters: int
    bytes: int
    def __init__(self, error: _Optional[_Union[Error, _Mapping]] = ..., parameters: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class LoadRequest(_message.Message):
    __slots__ = ("longest_sequence",)
    LONGEST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    longest_sequence: int
    def __init__(self, longest_sequence: _Optional[int] = ...) -> None: ...

class LoadReply(_message.Message):
    __slots__ = ("error", "parts", "attribution", "before", "after")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    error: Error
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    attribution: Attribution
    before: Memory
    after: Memory
    def __init__(self, error: _Optional[_Union[Error, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., attribution: _Optional[_Union[Attribution, _Mapping]] = ..., before: _Optional[_Union[Memory, _Mapping]] = ..., after: _Optional[_Union[Memory, _Mapping]] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("name", "duration_ns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    name: str
    duration_ns: int
    def __init__(self, name: _Optional[str] = ..., duration_ns: _Optional[int] = ...) -> None: ...

class Attribution(_message.Message):
    __slots__ = ("requested", "actual", "evidence")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    requested: str
    actual: str
    evidence: _containers.ScalarMap[str, str]
    def __init__(self, requested: _Optional[str] = ..., actual: _Optional[str] = ..., evidence: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Memory(_message.Message):
    __slots__ = ("host_rss_bytes", "host_peak_bytes", "device_used_bytes", "kv_bytes")
    HOST_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOST_PEAK_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    KV_BYTES_FIELD_NUMBER: _ClassVar[int]
    host_rss_bytes: int
    host_peak_bytes: int
    device_used_bytes: int
    kv_bytes: int
    def __init__(self, host_rss_bytes: _Optional[int] = ..., host_peak_bytes: _Optional[int] = ..., device_used_bytes: _Optional[int] = ..., kv_bytes: _Optional[int] = ...) -> None: ...

class Shape(_message.Message):
    __slots__ = ("procedure", "batch", "prompt_tokens", "steps")
    PROCEDURE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    procedure: Procedure
    batch: int
    prompt_tokens: int
    steps: int
    def __init__(self, procedure: _Optional[_Union[Procedure, str]] = ..., batch: _Optional[int] = ..., prompt_tokens: _Optional[int] = ..., steps: _Optional[int] = ...) -> None: ...

class CompileRequest(_message.Message):
    __slots__ = ("shape",)
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    shape: Shape
    def __init__(self, shape: _Optional[_Union[Shape, _Mapping]] = ...) -> None: ...

class CompileReply(_message.Message):
    __slots__ = ("error", "phases")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    error: Error
    phases: _containers.RepeatedCompositeFieldContainer[PhaseEvidence]
    def __init__(self, error: _Optional[_Union[Error, _Mapping]] = ..., phases: _Optional[_Iterable[_Union[PhaseEvidence, _Mapping]]] = ...) -> None: ...

class PhaseEvidence(_message.Message):
    __slots__ = ("phase", "requested", "actual", "calls", "executions", "unique_graphs", "graph_breaks", "recompiles", "guard_failures", "cache_hits", "cache_misses", "compile_ns", "duration_ns", "reasons", "bucket")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_GRAPHS_FIELD_NUMBER: _ClassVar[int]
    GRAPH_BREAKS_FIELD_NUMBER: _ClassVar[int]
    RECOMPILES_FIELD_NUMBER: _ClassVar[int]
    GUARD_FAILURES_FIELD_NUMBER: _ClassVar[int]
    CACHE_HITS_FIELD_NUMBER: _ClassVar[int]
    CACHE_MISSES_FIELD_NUMBER: _ClassVar[int]
    COMPILE_NS_FIELD_NUMBER: _ClassVar[int]
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    phase: Phase
    requested: str
    actual: str
    calls: int
    executions: int
    unique_graphs: int
    graph_breaks: int
    recompiles: int
    guard_failures: int
    cache_hits: int
    cache_misses: int
    compile_ns: int
    duration_ns: int
    reasons: _containers.RepeatedScalarFieldContainer[str]
    bucket: int
    def __init__(self, phase: _Optional[_Union[Phase, str]] = ..., requested: _Optional[str] = ..., actual: _Optional[str] = ..., calls: _Optional[int] = ..., executions: _Optional[int] = ..., unique_graphs: _Optional[int] = ..., graph_breaks: _Optional[int] = ..., recompiles: _Optional[int] = ..., guard_failures: _Optional[int] = ..., cache_hits: _Optional[int] = ..., cache_misses: _Optional[int] = ..., compile_ns: _Optional[int] = ..., duration_ns: _Optional[int] = ..., reasons: _Optional[_Iterable[str]] = ..., bucket: _Optional[int] = ...) -> None: ...

class CallRequest(_message.Message):
    __slots__ = ("call_id", "procedure", "prompts", "padded_to", "steps", "repeat", "top_logprobs")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    PROCEDURE_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    PADDED_TO_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    procedure: Procedure
    prompts: _containers.RepeatedCompositeFieldContainer[Prompt]
    padded_to: int
    steps: int
    repeat: Repeat
    top_logprobs: int
    def __init__(self, call_id: _Optional[int] = ..., procedure: _Optional[_Union[Procedure, str]] = ..., prompts: _Optional[_Iterable[_Union[Prompt, _Mapping]]] = ..., padded_to: _Optional[int] = ..., steps: _Optional[int] = ..., repeat: _Optional[_Union[Repeat, _Mapping]] = ..., top_logprobs: _Optional[int] = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class RowLogprobs(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[TokenLogprobs]
    def __init__(self, tokens: _Optional[_Iterable[_Union[TokenLogprobs, _Mapping]]] = ...) -> None: ...

class TokenLogprobs(_message.Message):
    __slots__ = ("ids", "logprobs")
    IDS_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    logprobs: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., logprobs: _Optional[_Iterable[float]] = ...) -> None: ...

class Repeat(_message.Message):
    __slots__ = ("duration_ns", "gap_ns")
    DURATION_NS_FIELD_NUMBER: _ClassVar[int]
    GAP_NS_FIELD_NUMBER: _ClassVar[int]
    duration_ns: int
    gap_ns: int
    def __init__(self, duration_ns: _Optional[int] = ..., gap_ns: _Optional[int] = ...) -> None: ...

class CallReply(_message.Message):
    __slots__ = ("error", "session_usable", "spans", "steps_timed", "tokens", "prompt_tokens", "step_ends_ns", "durations_ns", "memory", "attribution", "phases", "logprobs")
    class DurationsNsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ERROR_FIELD_NUMBER: _ClassVar[int]
    SESSION_USABLE_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    STEPS_TIMED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STEP_ENDS_NS_FIELD_NUMBER: _ClassVar[int]
    DURATIONS_NS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    PHASES_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    error: Error
    session_usable: bool
    spans: _containers.RepeatedCompositeFieldContainer[Span]
    steps_timed: int
    tokens: _containers.RepeatedCompositeFieldContainer[Prompt]
    prompt_tokens: _containers.RepeatedScalarFieldContainer[int]
    step_ends_ns: _containers.RepeatedScalarFieldContainer[int]
    durations_ns: _containers.ScalarMap[str, int]
    memory: Memory
    attribution: Attribution
    phases: _containers.RepeatedCompositeFieldContainer[PhaseEvidence]
    logprobs: _containers.RepeatedCompositeFieldContainer[RowLogprobs]
    def __init__(self, error: _Optional[_Union[Error, _Mapping]] = ..., session_usable: _Optional[bool] = ..., spans: _Optional[_Iterable[_Union[Span, _Mapping]]] = ..., steps_timed: _Optional[int] = ..., tokens: _Optional[_Iterable[_Union[Prompt, _Mapping]]] = ..., prompt_tokens: _Optional[_Iterable[int]] = ..., step_ends_ns: _Optional[_Iterable[int]] = ..., durations_ns: _Optional[_Mapping[str, int]] = ..., memory: _Optional[_Union[Memory, _Mapping]] = ..., attribution: _Optional[_Union[Attribution, _Mapping]] = ..., phases: _Optional[_Iterable[_Union[PhaseEvidence, _Mapping]]] = ..., logprobs: _Optional[_Iterable[_Union[RowLogprobs, _Mapping]]] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("phase", "begin_ns", "end_ns", "device_ns")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    BEGIN_NS_FIELD_NUMBER: _ClassVar[int]
    END_NS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_NS_FIELD_NUMBER: _ClassVar[int]
    phase: Phase
    begin_ns: int
    end_ns: int
    device_ns: int
    def __init__(self, phase: _Optional[_Union[Phase, str]] = ..., begin_ns: _Optional[int] = ..., end_ns: _Optional[int] = ..., device_ns: _Optional[int] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("call_id",)
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    call_id: int
    def __init__(self, call_id: _Optional[int] = ...) -> None: ...

class CancelReply(_message.Message):
    __slots__ = ("in_flight",)
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    in_flight: bool
    def __init__(self, in_flight: _Optional[bool] = ...) -> None: ...

class UnloadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnloadReply(_message.Message):
    __slots__ = ("error",)
    ERROR_FIELD_NUMBER: _ClassVar[int]
    error: Error
    def __init__(self, error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ShutdownReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
