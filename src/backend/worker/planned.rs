//! The shapes of all planned calls, as our own worker is told them: an option beside the engine's own, for the protocol's load
//! tells the longest sequence alone, and an engine may build for rows, too.

use super::protocol::Settings;
use crate::backend::CallShape;

/// The option. Its value is JSON.
pub const OPTION: &str = "planned_calls";

/// Adds shapes to settings; none are not told.
pub fn tell(shapes: &[CallShape], settings: &mut Settings) {
    if let (false, Ok(text)) = (shapes.is_empty(), serde_json::to_string(shapes)) {
        settings.options.insert(OPTION.to_owned(), text);
    }
}

/// Takes them out of settings, which then are the engine's alone. Empty: they were not told.
///
/// # Errors
/// What of the option is no shape.
pub fn take(settings: &mut Settings) -> Result<Vec<CallShape>, String> {
    let told = settings.options.remove(OPTION);
    told.map_or(Ok(Vec::new()), |text| serde_json::from_str(&text).map_err(|error| format!("option {OPTION}: {error}")))
}
