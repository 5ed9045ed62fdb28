//! What a scenario file can measure of a workload that was not.

use crate::cost::request::ENOUGH;

use super::money::percent;
use super::rows::RequestRow;

/// The longest of the lacking engines' contexts, to which the proposed scenario file goes: a prompt that is too long for one of the
/// models is skipped for that one when the file is planned. Unit: tokens. `None`: one of them is not known.
pub(super) fn longest_of(contexts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    contexts.collect::<Option<Vec<u64>>>()?.into_iter().max()
}

/// What the proposed scenario file does, for the end of a sentence: it may not reach enough of the workload either, where requests are
/// longer than the models' contexts.
pub(super) fn measures(requests: &[RequestRow]) -> String {
    let lacking = requests.iter().filter(|row| !row.coverage.is_enough());
    let most = lacking.map(|row| row.coverage.within_contexts()).fold(0.0, f64::max);
    if most < ENOUGH {
        let (most, enough) = (percent(most), percent(ENOUGH));
        return format!(
            "measures what the models' contexts hold of the workload, at most {most} of it; for a decision {enough} are needed, which \
             no run of these models reaches"
        );
    }
    let whole = most > 1.0 - 1e-9;
    let at_most = (!whole).then(|| format!(", of which at most {} fit into the models' contexts", percent(most)));
    format!("measures what the workload lacks{}", at_most.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::longest_of;

    #[test]
    fn the_longest_context_counts_wherever_it_stands() {
        for (contexts, longest) in [
            (&[Some(128), Some(2048)][..], Some(2048)),
            (&[Some(2048), Some(128)][..], Some(2048)),
            (&[Some(128), None][..], None),
            (&[][..], None),
        ] {
            assert_eq!(longest_of(contexts.iter().copied()), longest, "{contexts:?}");
        }
    }
}
