//! Variables and functions that do not exist: they would fail for every user, and are told at once.

use cel::common::ast::{Expr, IdedExpr};

use crate::mapping::expression::Fault;
use crate::mapping::language;

/// Finds every name that means nothing.
pub(super) fn check(source: &str, code: &IdedExpr) -> Result<(), Vec<Fault>> {
    let mut names = Names { source, bound: Vec::new(), faults: Vec::new() };
    names.visit(code);
    if names.faults.is_empty() { Ok(()) } else { Err(names.faults) }
}

struct Names<'a> {
    source: &'a str,
    bound: Vec<&'a str>,
    faults: Vec<Fault>,
}

impl<'a> Names<'a> {
    fn visit(&mut self, node: &'a IdedExpr) {
        let outside = self.bound.len();
        match &node.expr {
            Expr::Ident(name) => self.visit_variable(name),
            Expr::Struct(object) => {
                let reason = format!("there is no type `{}` to make an object of", object.type_name);
                self.fault(&object.type_name, reason, "write a map, such as {\"value\": user.userName}");
            }
            Expr::Call(call) => {
                if !language::knows_function(call) {
                    let reason = format!("there is no function `{}`", call.func_name);
                    self.fault(&call.func_name, reason, "use a function of CEL or of its strings extension");
                }
            }
            Expr::Comprehension(comprehension) => {
                self.bound.extend([comprehension.iter_var.as_str(), &comprehension.accu_var]);
                self.bound.extend(comprehension.iter_var2.as_deref());
            }
            Expr::Unspecified | Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Select(_) => {}
        }
        for child in language::children(node) {
            if !is_namespace(node, child) {
                self.visit(child);
            }
        }
        self.bound.truncate(outside);
    }

    fn visit_variable(&mut self, name: &str) {
        if name != "user" && !self.bound.contains(&name) {
            let remedy = format!("write user.{name}, or \"{name}\" in quotes if it is a text");
            self.fault(name, format!("there is no variable `{name}`"), &remedy);
        }
    }

    /// The parser keeps no places, so the name is looked for as a whole word; one that is wrong twice
    /// is told once.
    fn fault(&mut self, name: &str, reason: String, remedy: &str) {
        let before = word(self.source, name).map_or("", |at| &self.source[..at]);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let fault = Fault {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            reason,
            remedy: remedy.to_owned(),
        };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }
}

/// Whether a call's target is not a value but the first part of the function's name.
fn is_namespace(node: &IdedExpr, child: &IdedExpr) -> bool {
    let Expr::Call(call) = &node.expr else { return false };
    let is_target = call.target.as_deref().is_some_and(|target| std::ptr::eq(target, child));
    is_target && matches!(&child.expr, Expr::Ident(name) if name == "strings" || name == "optional")
}

/// Where a name stands by itself, and is not a member of something.
fn word(source: &str, name: &str) -> Option<usize> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |at: usize| {
        !source[..at].ends_with(part_of_name) && !source[at + name.len()..].starts_with(part_of_name)
    };
    let found = || source.match_indices(name).map(|(at, _)| at).filter(|at| stands_alone(*at));
    found().find(|at| !source[..*at].ends_with('.')).or_else(|| found().next())
}
