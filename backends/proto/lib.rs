//! Messages, client and server of the worker protocol, made from `worker.proto` beside this file.
#![expect(missing_docs, clippy::allow_attributes, reason = "generated; documented in worker.proto")]

tonic::include_proto!("phasebench.worker.v1");
