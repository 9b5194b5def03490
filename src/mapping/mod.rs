//! What the configuration decides about each user by expression: who is in a target's scope, and which
//! attributes go out under which names.
//!
//! Pure: from a directory's user to an answer. Expressions are the operator's and trusted to be meant;
//! the attributes that they read are not, so no attribute can make one run long or fail in another way
//! than by an error that holds no value.

mod expression;
#[cfg(test)]
mod fixture;
mod language;
mod subject;
mod value;

pub use expression::{EvaluationError, Expression, Fault};
pub use subject::Subject;
