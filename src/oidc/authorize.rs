//! Who may pass beyond lists of names: claim expressions, and logins that must be strong or recent.

mod expression;
mod parse;
mod step_up;

pub use expression::{Expression, ExpressionError};
pub use step_up::{Level, StepUp};
