//! A short notation for roles, so that a table of edits can be read.
//!
//! A role is a list of parts, with ` ; ` between them:
//!
//! ```text
//! trust AWS=111111111111|222222222222 do sts:AssumeRole if Bool aws:MultiFactorAuthPresent=true
//! allow s3:GetObject|s3:List* on arn:aws:s3:::logs/* if StringEquals aws:SourceVpc=vpc-1|vpc-2 if ...
//! deny not iam:* on not arn:aws:s3:::logs
//! policy NAME        (of the statements that follow)
//! managed NAME|NAME
//! boundary NAME
//! session SECONDS
//! profile NAME
//! tag KEY=VALUE
//! ```
//!
//! `untrust` is a Deny of a trust policy. Without `trust` the role trusts the account 111111111111.

use std::collections::BTreeMap;

use rolectl_core::role::{ObservedDocument, ObservedRole};
use serde_json::{Value, json};

/// A role whose documents are values, so that they can be changed.
#[derive(Clone, Debug, Default)]
pub struct Role {
    pub trust: Vec<Value>,
    pub inline: BTreeMap<String, Vec<Value>>,
    managed: Vec<String>,
    boundary: Option<String>,
    session: Option<i32>,
    profiles: Vec<String>,
    tags: BTreeMap<String, String>,
}

pub fn role(text: &str) -> Role {
    let mut role = Role::default();
    let mut name = "p".to_owned();
    for part in text.split(" ; ").filter(|part| !part.trim().is_empty()) {
        let words: Vec<&str> = part.split_whitespace().collect();
        let (kind, rest) = words.split_first().unwrap();
        let list = || rest[0].split('|').map(str::to_owned);
        match *kind {
            "allow" | "deny" => role
                .inline
                .entry(name.clone())
                .or_default()
                .push(statement(kind, rest)),
            "trust" | "untrust" => role.trust.push(trust(kind, rest)),
            "policy" => rest[0].clone_into(&mut name),
            "managed" => {
                role.managed = list()
                    .map(|name| format!("arn:aws:iam::aws:policy/{name}"))
                    .collect();
            }
            "boundary" => role.boundary = Some(format!("arn:aws:iam::aws:policy/{}", rest[0])),
            "session" => role.session = Some(rest[0].parse().unwrap()),
            "profile" => role.profiles = list().collect(),
            "tag" => {
                let (key, value) = rest[0].split_once('=').unwrap();
                role.tags.insert(key.to_owned(), value.to_owned());
            }
            other => panic!("{other} in {text}"),
        }
    }
    if role.trust.is_empty() {
        role.trust.push(trust("trust", &["AWS=111111111111"]));
    }
    role
}

fn statement(kind: &str, words: &[&str]) -> Value {
    let mut statement = json!({"Effect": if kind == "allow" { "Allow" } else { "Deny" }});
    let mut rest = words.iter().copied();
    let mut element = |rest: &mut dyn Iterator<Item = &str>, only: &str, all_but: &str| {
        let mut value = rest.next().unwrap().to_owned();
        let key = if value == "not" {
            rest.next().unwrap().clone_into(&mut value);
            all_but
        } else {
            only
        };
        statement[key] = value.split('|').collect();
    };
    element(&mut rest, "Action", "NotAction");
    assert_eq!(rest.next(), Some("on"), "{words:?}");
    element(&mut rest, "Resource", "NotResource");
    statement["Condition"] = conditions(&mut rest);
    statement
}

fn trust(kind: &str, words: &[&str]) -> Value {
    let mut rest = words.iter().copied().peekable();
    let who = rest.next().unwrap();
    let principal = match who.split_once('=') {
        None => json!("*"),
        Some((kind, names)) => json!({kind: names.split('|').collect::<Vec<_>>()}),
    };
    let action = match rest.next_if_eq(&"do") {
        Some(_) => rest.next().unwrap(),
        None => "sts:AssumeRole",
    };
    json!({"Effect": if kind == "trust" { "Allow" } else { "Deny" }, "Principal": principal,
        "Action": action.split('|').collect::<Vec<_>>(), "Condition": conditions(&mut rest)})
}

fn conditions(rest: &mut dyn Iterator<Item = &str>) -> Value {
    let mut all = json!({});
    while let Some(word) = rest.next() {
        assert_eq!(word, "if");
        let operator = rest.next().unwrap();
        let (key, values) = rest.next().unwrap().split_once('=').unwrap();
        all[operator][key] = values.split('|').collect();
    }
    all
}

impl Role {
    /// Returns all statements, of the trust policy and of the inline policies.
    pub fn statements(&mut self) -> Vec<&mut Value> {
        self.trust
            .iter_mut()
            .chain(self.inline.values_mut().flatten())
            .collect()
    }

    /// Removes a statement, by its position in [`Self::statements`].
    pub fn remove(&mut self, mut at: usize) {
        for list in std::iter::once(&mut self.trust).chain(self.inline.values_mut()) {
            if at < list.len() {
                list.remove(at);
                return;
            }
            at -= list.len();
        }
    }

    pub fn observed(&self) -> ObservedRole {
        let document = |statements: &[Value]| {
            let value = json!({"Version": "2012-10-17", "Statement": statements});
            let document = ObservedDocument::read(&value.to_string());
            assert!(document.parsed().is_some(), "{value}");
            document
        };
        let kept = self
            .inline
            .iter()
            .filter(|(_, statements)| !statements.is_empty());
        ObservedRole {
            name: "app".to_owned(),
            arn: "arn:aws:iam::222222222222:role/app".to_owned(),
            role_id: "AROA1".to_owned(),
            path: "/".to_owned(),
            description: String::new(),
            max_session_duration: self.session.unwrap_or(3600),
            trust: document(&self.trust),
            managed_policies: self.managed.iter().cloned().collect(),
            inline_policies: kept.map(|(name, all)| (name.clone(), document(all))).collect(),
            permissions_boundary: self.boundary.clone(),
            tags: self.tags.clone(),
            instance_profiles: self.profiles.iter().cloned().collect(),
        }
    }
}
