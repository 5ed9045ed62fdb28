//! Compiling for the calls to come: a phase of its own between a load and the first call.

use crate::backend::{CallShape, CancelToken, CompileFailure, Deadline, Failure, Session};
use crate::clock::Clock;
use crate::record::CompileRecord;
use crate::record::plan::{Plan, SessionKey};
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

/// What compiling came to.
#[derive(Debug, Default)]
pub struct Compiled {
    /// One entry per shape that was compiled, or was to be.
    pub records: Vec<CompileRecord>,
    /// Why the session was lost over it. `None`: it was not.
    pub lost: Option<Failure>,
}

/// Compiles for every shape. An engine that has nothing to compile, or compiles inside its calls, leaves no record. Ends
/// early where someone cancels or the session is lost.
pub fn compile(
    session: &mut dyn Session,
    shapes: &[CallShape],
    by: Deadline,
    clock: &dyn Clock,
    cancel: &CancelToken,
) -> Compiled {
    let mut done = Compiled::default();
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
            Err(CompileFailure { failure, phases, session_usable }) => {
                if !session_usable {
                    done.lost = Some(of_shape(shape, &failure));
                }
                (Status::Degraded(failure.kind), Some(failure.message), phases)
            }
        };
        done.records.push(CompileRecord {
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
        if done.lost.is_some() {
            break;
        }
    }
    done
}

/// A failure with the shape it belongs to.
fn of_shape(shape: CallShape, failure: &Failure) -> Failure {
    let CallShape { procedure, batch, prompt_tokens, steps } = shape;
    let shape = format!("{procedure}, {batch} × {prompt_tokens} tokens, {steps} steps");
    Failure::new(failure.kind, &format!("compiling for {shape} ended the session: {}", failure.message))
}
