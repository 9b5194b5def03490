//! Posted forms, in the JSON that BambooHR would have sent: `employees[12][First+name]=Ada` and
//! `data[employeeId]=12`.

use serde_json::{Map, Value};

use crate::source::json::Malformed;

/// Most pairs of one form.
const PAIRS_MAX: usize = 100_000;

/// Members of an employee that are no fields.
const OWN: [&str; 3] = ["action", "timestamp", "id"];

/// Reads a form.
pub fn read(body: &[u8]) -> Result<Value, Malformed> {
    let mut root = Map::new();
    let mut employees: Map<String, Value> = Map::new();
    for (count, (key, value)) in url::form_urlencoded::parse(body).enumerate() {
        if count == PAIRS_MAX {
            return Err(Malformed::new("", format!("holds over {PAIRS_MAX} pairs")));
        }
        let path: Vec<&str> = key.split(['[', ']']).filter(|part| !part.is_empty()).collect();
        match path.as_slice() {
            // Which fields have changed: they are all sent.
            ["employees", _, "changedFields", ..] => {}
            ["employees", id, "fields", field] | ["employees", id, field] => {
                put(employee(&mut employees, id), field, &value);
            }
            ["data", name] => {
                let data = root.entry("data").or_insert_with(|| Value::Object(Map::new()));
                data.as_object_mut().map(|data| data.insert((*name).to_owned(), value.as_ref().into()));
            }
            ["employees" | "data", ..] | [] | [_, _, ..] => {}
            [name] => {
                root.insert((*name).to_owned(), value.as_ref().into());
            }
        }
    }
    if !employees.is_empty() {
        root.insert("employees".to_owned(), employees.into_iter().map(|(_, employee)| employee).collect());
    }
    if root.is_empty() {
        return Err(Malformed::new("", "neither a JSON object nor a form is there"));
    }
    Ok(Value::Object(root))
}

fn employee<'a>(employees: &'a mut Map<String, Value>, id: &str) -> &'a mut Map<String, Value> {
    let new = || serde_json::json!({"id": id, "fields": {}});
    employees
        .entry(id.to_owned())
        .or_insert_with(new)
        .as_object_mut()
        .expect("employees are made as objects above")
}

fn put(employee: &mut Map<String, Value>, field: &str, value: &str) {
    if OWN.contains(&field) {
        employee.insert(field.to_owned(), value.into());
    } else if let Some(fields) = employee.get_mut("fields").and_then(Value::as_object_mut) {
        fields.insert(field.to_owned(), value.into());
    }
}
