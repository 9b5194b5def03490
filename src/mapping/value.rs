//! JSON to the expression language's values, and back.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::{Key, Map};
use serde_json::{Number, Value as Json};

/// Deepest nesting of a result.
const DEPTH_MAX: usize = 16;

/// The value as expressions see it. Whole numbers are `int` where they fit.
pub(super) fn from_json(value: &Json) -> Cel {
    match value {
        Json::Null => Cel::Null,
        Json::Bool(flag) => Cel::Bool(*flag),
        Json::Number(number) => from_number(number),
        Json::String(text) => Cel::String(Arc::new(text.clone())),
        Json::Array(items) => Cel::List(Arc::new(items.iter().map(from_json).collect())),
        Json::Object(members) => {
            let members: HashMap<Key, Cel> = members
                .iter()
                .map(|(name, value)| (Key::String(Arc::new(name.clone())), from_json(value)))
                .collect();
            Cel::Map(Map { map: Arc::new(members) })
        }
    }
}

fn from_number(number: &Number) -> Cel {
    let whole = number.as_i64().map(Cel::Int).or_else(|| number.as_u64().map(Cel::UInt));
    whole.unwrap_or_else(|| number.as_f64().map_or(Cel::Null, Cel::Float))
}

/// The result as JSON. `None` for what JSON cannot say: bytes, optional values, types, infinity, or
/// a nesting that no attribute has.
pub(super) fn to_json(value: &Cel) -> Option<Json> {
    convert(value, DEPTH_MAX)
}

fn convert(value: &Cel, depth: usize) -> Option<Json> {
    let inner = depth.checked_sub(1)?;
    match value {
        Cel::Null => Some(Json::Null),
        Cel::Bool(flag) => Some(Json::Bool(*flag)),
        Cel::Int(number) => Some(Json::from(*number)),
        Cel::UInt(number) => Some(Json::from(*number)),
        Cel::Float(number) => Number::from_f64(*number).map(Json::Number),
        Cel::String(text) => Some(Json::String(text.to_string())),
        Cel::List(items) => items.iter().map(|item| convert(item, inner)).collect(),
        Cel::Map(map) => map
            .map
            .iter()
            .map(|(key, value)| match key {
                Key::String(name) => Some((name.to_string(), convert(value, inner)?)),
                Key::Int(_) | Key::Uint(_) | Key::Bool(_) => None,
            })
            .collect::<Option<serde_json::Map<_, _>>>()
            .map(Json::Object),
        Cel::Function(..) | Cel::Bytes(_) | Cel::Opaque(_) | Cel::Struct(_) => None,
    }
}
