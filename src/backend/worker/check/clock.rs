//! The worker's clock: its pace, that it never goes back, and that it is the one that it says.

use std::time::Duration;

use super::bench::Bench;
use crate::backend::SpanClock;
use crate::backend::worker::clock::Pace;
use crate::backend::worker::connection::{promptly, status_text};
use crate::backend::worker::protocol::{ReadClockRequest, clock_source};
use crate::units::Nanos;

/// Time between the first and the last reading. In it a clock that is a thousandth off gains a millisecond.
const WATCHED: Duration = Duration::from_millis(1000);

/// Readings meanwhile.
const READINGS: u32 = 20;

/// It goes forward, at this machine's pace, and is this kernel's where it says so.
pub async fn clock(bench: &Bench) -> Result<String, String> {
    let (clock, mut client) = (&bench.start.clock, bench.client());
    let first = bench.start.map(&mut client, &bench.live.who).await?;
    let begin = clock.now();
    let mut last = 0;
    for _ in 0..READINGS {
        let read = promptly(client.read_clock(ReadClockRequest {})).await.map_err(|status| status_text(&status))?;
        if read.now_ns < last {
            return Err(format!("it went back by {}", Nanos(last - read.now_ns)));
        }
        last = read.now_ns;
        tokio::time::sleep(WATCHED / READINGS).await;
    }
    let later = bench.start.map(&mut client, &bench.live.who).await?;
    if let Some(pace) = Pace::new(first, begin).wrong(later, clock.now()) {
        return Err(format!("it runs at {pace:.3} of this machine's pace: no time of it would be believed"));
    }
    let says = bench.live.who.clock.as_ref().map(clock_source_kind);
    match (says, later.clock) {
        (Some(clock_source::Kind::Monotonic), SpanClock::Reconstructed) if later.disagrees => Err(
            "it says that it is this kernel's monotonic clock, and its readings lie outside their round trips: its spans \
             would count as reconstructed"
                .to_owned(),
        ),
        (_, SpanClock::Exact) => Ok(format!("this kernel's monotonic clock, to {}", later.uncertainty)),
        (_, SpanClock::Reconstructed) => {
            Ok(format!("its own clock at this machine's pace, mapped by round trips to {}", later.uncertainty))
        }
    }
}

fn clock_source_kind(source: &crate::backend::worker::protocol::ClockSource) -> clock_source::Kind {
    source.kind()
}
