//! Compiling for the calls to come: a phase of its own between a load and the first call.

use crate::backend::{CallShape, CancelToken, Deadline, Session};
use crate::clock::Clock;
use crate::plan::{Plan, SessionKey};
use crate::record::CompileRecord;
use crate::run::Prompts;
use crate::terms::Status;

/// Shapes of a session's planned calls, each once, in plan order.
#[must_use]
pub fn shapes(plan: &Plan, prompts: &Prompts, session: &SessionKey) -> Vec<CallShape> {
    let mut shapes = Vec::new();
    for cell in plan.cells.iter().filter(|cell| cell.session == *session) {
        let shape = prompts.call(cell).shape();
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    shapes
}

/// Compiles for every shape. An engine that has nothing to compile leaves no record. Ends early where someone cancels.
pub fn compile(
    session: &mut dyn Session,
    shapes: &[CallShape],
    by: Deadline,
    clock: &dyn Clock,
    cancel: &CancelToken,
) -> Vec<CompileRecord> {
    let mut records = Vec::new();
    for &shape in shapes {
        if cancel.is_cancelled() {
            break;
        }
        let begin = clock.now();
        let compiled = session.compile(shape, by, cancel);
        let end = clock.now();
        let (status, detail, phases) = match compiled {
            Ok(phases) if phases.is_empty() => continue,
            Ok(phases) => (Status::Ok, None, phases),
            Err(failure) => (Status::Degraded(failure.kind), Some(failure.message), Vec::new()),
        };
        records.push(CompileRecord {
            procedure: shape.procedure,
            batch: shape.batch,
            prompt_tokens: shape.prompt_tokens,
            steps: shape.steps,
            status,
            detail,
            begin_ns: begin,
            duration_ns: end.since(begin),
            phases,
        });
    }
    records
}
