//! The dialect of CEL that the configuration speaks: the standard language, in which what is absent is
//! null and null is forgiving.
//!
//! In plain CEL, `user.department == "SALES"` is an error for a person without a department. Directories
//! are full of such gaps, so here a member that is not there is `null`, a member of `null` is `null`, an
//! element past a list's end is `null`, a list that is absent has no elements, and an absent text neither
//! contains, begins, ends nor matches anything. Everything else done with `null` stays the error that it is.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::{
    CelBool, CelInt, CelList, CelNull, CelString, DYN_TYPE, INT_TYPE, NULL_TYPE, STRING_TYPE, UINT_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::extensions;
use cel::{Context, Env, ExecutionError};

/// Functions that no source text can name; the compiler puts them where the language forgives.
const MEMBER: &str = "@relay_member";
const PRESENT: &str = "@relay_present";
const ELEMENTS: &str = "@relay_elements";
const AMONG: &str = "@relay_among";

/// The functions that an expression may call.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(environment().expect("the functions' names and arguments are distinct")));

fn environment() -> Result<Env, cel::DeclarationError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)?;
    env.add_overload(MEMBER, "relay_member", vec![DYN_TYPE, DYN_TYPE], member)?;
    env.add_overload(PRESENT, "relay_present", vec![DYN_TYPE, DYN_TYPE], present)?;
    env.add_overload(ELEMENTS, "relay_elements", vec![DYN_TYPE], elements)?;
    env.add_overload(AMONG, "relay_among", vec![DYN_TYPE, DYN_TYPE], among)?;
    for test in ["contains", "startsWith", "endsWith", "matches"] {
        env.add_member_overload(test, &format!("relay_null_{test}"), NULL_TYPE, vec![STRING_TYPE], no)?;
    }
    for change in ["lowerAscii", "upperAscii", "trim"] {
        env.add_member_overload(change, &format!("relay_null_{change}"), NULL_TYPE, vec![], nothing)?;
    }
    env.add_overload("size", "relay_size_null", vec![NULL_TYPE], zero)?;
    env.add_member_overload("size", "relay_null_size", NULL_TYPE, vec![], zero)?;
    Ok(env)
}

/// How many operations are inside each other at most. Walks without recursion, since what it measures
/// may be too deep for that.
pub(super) fn depth(node: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(node, 1)];
    while let Some((node, depth)) = open.pop() {
        deepest = deepest.max(depth);
        open.extend(children(node).into_iter().map(|child| (child, depth + 1)));
    }
    deepest
}

/// The expressions right inside one.
pub(super) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Struct(object) => object.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(comprehension) => vec![
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ],
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// Puts the forgiving functions in place of the strict operations.
pub(super) fn forgive(node: &mut IdedExpr) {
    match &mut node.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::List(list) => list.elements.iter_mut().for_each(forgive),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| forgive_entry(&mut entry.expr)),
        Expr::Struct(object) => object.entries.iter_mut().for_each(|entry| forgive_entry(&mut entry.expr)),
        Expr::Comprehension(comprehension) => {
            for part in [
                &mut comprehension.iter_range,
                &mut comprehension.accu_init,
                &mut comprehension.loop_cond,
                &mut comprehension.loop_step,
                &mut comprehension.result,
            ] {
                forgive(part);
            }
            let range = std::mem::take(&mut comprehension.iter_range);
            comprehension.iter_range = IdedExpr { id: range.id, expr: call(ELEMENTS, vec![range]) };
        }
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| forgive(target));
            call.args.iter_mut().for_each(forgive);
            match call.func_name.as_str() {
                operators::INDEX => MEMBER.clone_into(&mut call.func_name),
                operators::IN => AMONG.clone_into(&mut call.func_name),
                _ => {}
            }
        }
        Expr::Select(select) => {
            forgive(&mut select.operand);
            let function = if select.test { PRESENT } else { MEMBER };
            let field = LiteralValue::String(CelString::from(std::mem::take(&mut select.field)));
            let field = IdedExpr { id: node.id, expr: Expr::Literal(field) };
            let operand = std::mem::take(&mut *select.operand);
            node.expr = call(function, vec![operand, field]);
        }
    }
}

fn forgive_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => forgive(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            forgive(&mut entry.key);
            forgive(&mut entry.value);
        }
    }
}

fn call(function: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: function.to_owned(), target: None, args })
}

/// Whether some function of this name exists, called with a receiver or without.
pub(super) fn knows_function(call: &CallExpr) -> bool {
    let null = || IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Null) };
    let probe = CallExpr {
        func_name: call.func_name.clone(),
        // The receiver stays where it spells a namespace, as in `strings.quote(…)`.
        target: call.target.as_ref().map(|target| match &target.expr {
            Expr::Ident(_) => target.clone(),
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Select(_)
            | Expr::Struct(_) => Box::new(null()),
        }),
        args: call.args.iter().map(|_| null()).collect(),
    };
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.add_variable_from_value("user", cel::Value::Null);
    let probe = IdedExpr { id: 0, expr: Expr::Call(probe) };
    match cel::Value::resolve(&probe, &context) {
        Err(ExecutionError::UndeclaredReference(name)) => *name != call.func_name,
        Ok(_) | Err(_) => true,
    }
}

type Evaluated<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn is_null(value: &dyn Val) -> bool {
    value.get_type() == &NULL_TYPE
}

fn null<'b, 'v>() -> CowVal<'b, 'v> {
    CowVal::owned(CelNull)
}

/// The member of an object or the element of a list; null where there is none.
fn member<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<'b, 'v> {
    let [holder, key] = pair(args)?;
    if is_null(holder.as_ref()) {
        return Ok(null());
    }
    let mismatch = mismatch("_[_]", [holder.as_ref(), key.as_ref()]);
    let found = match holder {
        CowVal::Borrowed(held) => held.as_indexer().ok_or(mismatch)?.get(key.as_ref()),
        CowVal::Owned(held) => held.into_indexer().ok_or(mismatch)?.steal(key.as_ref()).map(CowVal::Owned),
    };
    match found {
        Err(ExecutionError::NoSuchKey(_)) => Ok(null()),
        Err(ExecutionError::IndexOutOfBounds(_)) if is_index(key.as_ref()) => Ok(null()),
        other => other,
    }
}

fn is_index(key: &dyn Val) -> bool {
    [INT_TYPE, UINT_TYPE].contains(key.get_type())
}

/// `has(…)`: whether the member is there and is not null.
fn present<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<'b, 'v> {
    member(args).map(|value| truth(!is_null(value.as_ref())))
}

/// What a macro such as `exists` goes through.
fn elements<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Evaluated<'b, 'v> {
    let range = args.pop().ok_or(ExecutionError::MissingArgumentOrTarget)?;
    Ok(if is_null(range.as_ref()) { CowVal::owned(CelList::from(Vec::<Box<dyn Val>>::new())) } else { range })
}

/// `in`, where nothing is in an absent list.
fn among<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<'b, 'v> {
    let [value, list] = pair(args)?;
    if is_null(list.as_ref()) {
        return Ok(truth(false));
    }
    let mismatch = mismatch("in", [value.as_ref(), list.as_ref()]);
    list.as_container().ok_or(mismatch)?.contains(value.as_ref()).map(truth)
}

fn no<'b, 'v>(_: Vec<CowVal<'b, 'v>>) -> Evaluated<'b, 'v> {
    Ok(truth(false))
}

fn nothing<'b, 'v>(_: Vec<CowVal<'b, 'v>>) -> Evaluated<'b, 'v> {
    Ok(null())
}

fn zero<'b, 'v>(_: Vec<CowVal<'b, 'v>>) -> Evaluated<'b, 'v> {
    Ok(CowVal::owned(CelInt::from(0)))
}

fn truth<'b, 'v>(value: bool) -> CowVal<'b, 'v> {
    CowVal::owned(CelBool::from(value))
}

fn pair<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<[CowVal<'b, 'v>; 2], ExecutionError> {
    let given = args.len();
    args.try_into().map_err(|_| ExecutionError::invalid_argument_count(2, given))
}

fn mismatch(operator: &str, operands: [&dyn Val; 2]) -> ExecutionError {
    let types = operands.map(|operand| operand.get_type().name().to_owned());
    ExecutionError::no_such_overload(operator, types.into())
}
