//! Messages, client and server of the worker protocol, made from `worker.proto` beside this file.
//!
//! What is made is kept in `generated.rs`, so that nobody who builds the program waits for a compiler of the protocol. After
//! an edit to `worker.proto`: `UPDATE=1 cargo test -p phasebench-proto`.
#![expect(missing_docs, clippy::allow_attributes, reason = "generated; documented in worker.proto")]

include!("generated.rs");

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, error, fs};

    /// Made without `protoc`.
    #[test]
    fn what_is_kept_is_made_from_the_protocol() -> Result<(), Box<dyn error::Error>> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = tempfile::tempdir()?;
        let descriptors = protox::compile([own.join("worker.proto")], [own])?;
        tonic_prost_build::configure().out_dir(made.path()).compile_fds(descriptors)?;
        let made = fs::read_to_string(made.path().join("phasebench.worker.v1.rs"))?;
        let kept = own.join("generated.rs");
        if env::var_os("UPDATE").is_some() {
            fs::write(&kept, &made)?;
        }
        assert!(
            fs::read_to_string(&kept)? == made,
            "`UPDATE=1 cargo test -p phasebench-proto` makes generated.rs again"
        );
        Ok(())
    }
}
