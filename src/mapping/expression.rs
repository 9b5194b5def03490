//! One expression of the configuration: compiled once, evaluated for each user.

mod names;

use std::fmt;
use std::sync::Arc;

use cel::common::ast::IdedExpr;
use cel::parser::PrattParser;
use cel::{Context, ExecutionError, ParseErrors, Value as Cel};
use serde_json::Value;

use crate::mapping::language::{self, ENVIRONMENT};
use crate::mapping::{Subject, value};

/// Longest expression that is compiled, in bytes.
const SOURCE_BYTES_MAX: usize = 4 * 1024;
/// Most operations inside each other: the interpreter keeps a large frame for each on the thread's stack.
const DEPTH_MAX: usize = 24;
/// The same for the parser, whose frames are small, and which counts brackets too.
const PARSER_DEPTH_MAX: u16 = 48;
/// Longest text that an expression may make, in bytes.
const RESULT_BYTES_MAX: usize = 64 * 1024;

/// A compiled expression over `user`.
#[derive(Clone)]
pub struct Expression {
    source: String,
    code: Arc<IdedExpr>,
}

/// What is wrong with an expression's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the expression, from 1.
    pub line: usize,
    /// Column in the line, in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

/// Why an expression gives no usable result for one user. Never holds a value of the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// An operator or function does not take what it was given.
    #[error("{0}")]
    Mismatch(String),
    /// The result is of another type than is needed.
    #[error("the result is {given}, where {wanted} is needed")]
    Result {
        /// What came out.
        given: &'static str,
        /// What the place takes.
        wanted: &'static str,
    },
    /// The user, or the result, is larger than expressions are evaluated over.
    #[error("{0}")]
    TooLarge(String),
}

impl Fault {
    fn whole(reason: String) -> Self {
        Self { line: 1, column: 1, reason, remedy: "write it shorter and flatter".to_owned() }
    }
}

impl Expression {
    /// Compiles the text; tells every fault that can be told without a user.
    pub fn compile(source: &str) -> Result<Self, Vec<Fault>> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(vec![Fault::whole(format!("the expression is over {SOURCE_BYTES_MAX} bytes long"))]);
        }
        // The crate's other parser, its default, runs out of stack on a dozen brackets.
        let mut code = PrattParser::new()
            .max_recursion_depth(PARSER_DEPTH_MAX)
            .parse(source)
            .map_err(|errors| vec![syntax_fault(&errors)])?;
        if language::depth(&code) > DEPTH_MAX {
            return Err(vec![Fault::whole(format!("over {DEPTH_MAX} operations are inside each other"))]);
        }
        names::check(source, &code)?;
        language::forgive(&mut code);
        Ok(Self { source: source.to_owned(), code: Arc::new(code) })
    }

    /// The text, as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The result for one user, as JSON; null is "absent".
    pub fn evaluate(&self, subject: &Subject) -> Result<Value, EvaluationError> {
        let result = self.run(subject)?;
        let json = value::to_json(&result)
            .ok_or(EvaluationError::Result { given: kind_of(&result), wanted: "a JSON value" })?;
        if size_of(&json) > RESULT_BYTES_MAX {
            let reason = format!("the result is over {RESULT_BYTES_MAX} bytes long");
            return Err(EvaluationError::TooLarge(reason));
        }
        Ok(json)
    }

    /// The answer for one user to an expression that is a condition.
    pub fn holds(&self, subject: &Subject) -> Result<bool, EvaluationError> {
        match self.run(subject)? {
            Cel::Bool(answer) => Ok(answer),
            other => Err(EvaluationError::Result { given: kind_of(&other), wanted: "true or false" }),
        }
    }

    fn run(&self, subject: &Subject) -> Result<Cel, EvaluationError> {
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_from_value("user", subject.value()?);
        Cel::resolve(&self.code, &context).map_err(|error| without_values(&error))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

/// The first fault: those after it are what the parser makes of the rest.
fn syntax_fault(errors: &ParseErrors) -> Fault {
    let number = |position: isize| usize::try_from(position).unwrap_or(1).max(1);
    let first = errors.errors.first();
    let (line, column) = first.map_or((1, 1), |error| error.pos);
    let reason = first.map_or("it cannot be read", |error| &error.msg);
    Fault {
        line: number(line),
        column: number(column),
        reason: reason.trim_start_matches("Syntax error: ").to_owned(),
        remedy: "write an expression of the Common Expression Language, such as user.department == \"SALES\""
            .to_owned(),
    }
}

/// The reason in words that hold no value: the interpreter's own may repeat the user's data.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the interpreter's errors are not ours to list, and most carry values"
)]
fn without_values(error: &ExecutionError) -> EvaluationError {
    EvaluationError::Mismatch(match error {
        ExecutionError::NoSuchOverload(mismatch) => format!(
            "`{}` cannot be applied to ({}); an absent attribute is null_type",
            mismatch.function(),
            mismatch.argument_types().join(", ")
        ),
        ExecutionError::UnexpectedType { got, want } => format!("{want} is needed where {got} is given"),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => format!(
            "`{operator}` cannot be applied to {} and {}; an absent attribute is null",
            kind_of(left),
            kind_of(right)
        ),
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} cannot be compared to {}", kind_of(left), kind_of(right))
        }
        ExecutionError::FunctionError { function, .. } => format!("`{function}` fails on its arguments"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(operator, ..) => format!("`{operator}` leaves the range of numbers"),
        ExecutionError::IndexOutOfBounds(_) => "a list's index is not a place in it".to_owned(),
        ExecutionError::DuplicateKey(_) => "a map has a key twice".to_owned(),
        _ => "an operation does not fit its values".to_owned(),
    })
}

fn kind_of(value: &Cel) -> &'static str {
    match value {
        Cel::List(_) => "a list",
        Cel::Map(_) => "an object",
        Cel::Function(..) => "a function",
        Cel::Int(_) | Cel::UInt(_) | Cel::Float(_) => "a number",
        Cel::String(_) => "a text",
        Cel::Bytes(_) => "bytes",
        Cel::Bool(_) => "true or false",
        Cel::Opaque(_) | Cel::Struct(_) => "an optional value",
        Cel::Null => "null",
    }
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size_of).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + size_of(value)).sum(),
    }
}

#[cfg(test)]
mod tests;
