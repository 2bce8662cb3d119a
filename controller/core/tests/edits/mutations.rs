//! Mutations of a role, each of which allows more.

use serde_json::{Value, json};

use super::notation::Role;

type Mutation = fn(&Role) -> Vec<Role>;

pub const ALL: &[(&str, Mutation)] = &[
    ("drop a Deny", |role| {
        without(role, |statement| statement["Effect"] == "Deny")
    }),
    ("a condition also holds without its key", |role| {
        edited(role, |statement, all| {
            for_each_key(statement, &mut |operator, key, conditions| {
                let is_strict = [
                    "StringEquals",
                    "StringLike",
                    "Bool",
                    "IpAddress",
                    "ArnLike",
                    "ArnEquals",
                ]
                .contains(&operator);
                if is_strict {
                    let mut more = conditions.clone();
                    let values = more[operator].as_object_mut().unwrap().remove(key).unwrap();
                    more[format!("{operator}IfExists")][key] = values;
                    all.push(with(statement, "Condition", more));
                }
            });
        })
    }),
    ("drop a condition key", |role| {
        edited(role, |statement, all| {
            for_each_key(statement, &mut |operator, key, conditions| {
                let mut fewer = conditions.clone();
                fewer[operator].as_object_mut().unwrap().remove(key);
                if fewer[operator].as_object().unwrap().is_empty() {
                    fewer.as_object_mut().unwrap().remove(operator);
                }
                all.push(with(statement, "Condition", fewer));
            });
        })
    }),
    ("widen a network", |role| {
        edited(role, |statement, all| {
            for_each_key(statement, &mut |operator, key, conditions| {
                if operator == "IpAddress" {
                    let mut wider = conditions.clone();
                    wider[operator][key] = json!("10.0.0.0/4");
                    all.push(with(statement, "Condition", wider));
                }
            });
        })
    }),
    ("drop a value of a negated operator", |role| {
        edited(role, |statement, all| {
            for_each_key(statement, &mut |operator, key, conditions| {
                let values = conditions[operator][key].as_array().unwrap();
                if operator.contains("Not") && values.len() > 1 {
                    let mut fewer = conditions.clone();
                    fewer[operator][key].as_array_mut().unwrap().remove(0);
                    all.push(with(statement, "Condition", fewer));
                }
            });
        })
    }),
    ("widen a pattern", |role| {
        edited(role, |statement, all| {
            for (at, value) in statement["Resource"].as_array().into_iter().flatten().enumerate() {
                let text = value.as_str().unwrap();
                let wider = match text.strip_suffix("/*") {
                    Some(folder) => format!("{folder}*"),
                    None if text.ends_with('*') => continue,
                    None => format!("{text}*"),
                };
                let mut more = statement.clone();
                more["Resource"][at] = json!(wider);
                all.push(more);
            }
        })
    }),
    ("NotAction minus one", |role| {
        edited(role, |statement, all| {
            let values = statement["NotAction"].as_array();
            for at in 0..values.map_or(0, Vec::len) {
                let mut more = statement.clone();
                more["NotAction"].as_array_mut().unwrap().remove(at);
                if more["NotAction"].as_array().is_some_and(|left| !left.is_empty()) {
                    all.push(more);
                }
            }
        })
    }),
    (
        "the account's root becomes a role of the role's own account",
        |role| {
            edited(role, |statement, all| {
                if statement["Principal"]["AWS"] == json!(["222222222222"]) {
                    all.push(with(
                        statement,
                        "Principal",
                        json!({"AWS": "arn:aws:iam::222222222222:role/ci"}),
                    ));
                }
            })
        },
    ),
    ("a principal becomes everybody", |role| {
        edited(role, |statement, all| {
            if statement["Principal"]["AWS"].is_array() {
                all.push(with(statement, "Principal", json!("*")));
            }
        })
    }),
];

fn with(statement: &Value, key: &str, value: Value) -> Value {
    let mut statement = statement.clone();
    statement[key] = value;
    statement
}

fn without(role: &Role, is_meant: impl Fn(&Value) -> bool) -> Vec<Role> {
    let count = role.clone().statements().len();
    let mut all = vec![];
    for at in 0..count {
        let mut other = role.clone();
        if is_meant(other.statements()[at]) {
            other.remove(at);
            all.push(other);
        }
    }
    all
}

/// Returns the role with each Allow replaced by each of its mutants.
fn edited(role: &Role, mutants: impl Fn(&Value, &mut Vec<Value>)) -> Vec<Role> {
    let mut all = vec![];
    for at in 0..role.clone().statements().len() {
        let statement = role.clone().statements()[at].clone();
        let mut found = vec![];
        if statement["Effect"] == "Allow" {
            mutants(&statement, &mut found);
        }
        for mutant in found {
            let mut other = role.clone();
            *other.statements()[at] = mutant;
            all.push(other);
        }
    }
    all
}

fn for_each_key(statement: &Value, look: &mut dyn FnMut(&str, &str, &Value)) {
    let conditions = &statement["Condition"];
    for (operator, keys) in conditions.as_object().into_iter().flatten() {
        for key in keys.as_object().unwrap().keys() {
            look(operator, key, conditions);
        }
    }
}
