//! Pieces of schema that the derive cannot express.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A name that IAM takes for a role, a policy or an instance profile.
pub const IAM_NAME: &str = r"^[\w+=,.@-]+$";
/// An IAM path: `/`, or segments between slashes.
pub const IAM_PATH: &str = r"^/([!-~]+/)?$";
/// A managed policy: a name, a path and name, or an ARN (which may hold `$(...)` variables).
pub const POLICY_REF: &str = r"^(arn:\S+:policy/\S+|[\w+=,.@-]+(/[\w+=,.@-]+)*)$";
/// A name of a Kubernetes object.
pub const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// Most characters of one string of a document, twice what IAM takes in a document: beyond its own quotas the controller says which.
const TEXT: u32 = 20_480;
/// Most statements of a document. IAM has room for fewer.
const STATEMENTS: u32 = 400;
/// Most strings of one list.
const STRINGS: u32 = 1_000;
/// Most keys of an operator, and operators of a condition.
const KEYS: u32 = 64;

/// A policy document in IAM's JSON grammar. Unknown elements are kept, so that they can be refused by name: an element that
/// the API server drops, such as a misspelled `Condition`, could widen a policy.
///
/// IAM takes one statement in place of a list, and a string in place of a list of strings. A structural schema has no type
/// for this choice, so such a node has no type, and its limits do what the type would: `maxProperties: 0` refuses objects,
/// `maxItems: 0` lists, and `maxLength: 0` strings.
///
/// Every node inside a statement is nullable. The API server silently drops a null from a node that is not, and a condition
/// without its key widens a policy; a null that arrives is refused by the controller.
pub fn policy_document(_: &mut SchemaGenerator) -> Schema {
    let statement = json!({
        "Sid": {"type": "string", "maxLength": TEXT, "nullable": true},
        "Effect": {"type": "string", "maxLength": 32, "nullable": true},
        "Principal": principals(),
        "NotPrincipal": principals(),
        "Action": strings(),
        "NotAction": strings(),
        "Resource": strings(),
        "NotResource": strings(),
        "Condition": {
            "type": "object",
            "nullable": true,
            "maxProperties": KEYS,
            "additionalProperties": {
                "type": "object",
                "nullable": true,
                "maxProperties": KEYS,
                "additionalProperties": strings(),
            },
        },
    });
    json_schema!({
        "type": "object",
        "required": ["Statement"],
        "maxProperties": 8,
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "Version": {"type": "string", "enum": ["2012-10-17", "2008-10-17"]},
            "Id": {"type": "string", "maxLength": TEXT},
            "Statement": {
                "x-kubernetes-preserve-unknown-fields": true,
                "nullable": true,
                "maxLength": 0,
                "maxItems": STATEMENTS,
                "items": {
                    "type": "object",
                    "nullable": true,
                    "maxProperties": 16,
                    "x-kubernetes-preserve-unknown-fields": true,
                    "properties": statement,
                },
                "maxProperties": 16,
                "properties": statement,
            },
        },
    })
}

/// A string or a list of strings. Numbers and booleans pass, so that they can be refused by name.
fn strings() -> Value {
    json!({
        "x-kubernetes-preserve-unknown-fields": true,
        "nullable": true,
        "maxLength": TEXT,
        "maxProperties": 0,
        "maxItems": STRINGS,
        "items": {
            "x-kubernetes-preserve-unknown-fields": true,
            "nullable": true,
            "maxLength": TEXT,
            "maxProperties": 0,
            "maxItems": 0,
        },
    })
}

/// `*`, or principals by their kind.
fn principals() -> Value {
    json!({
        "x-kubernetes-preserve-unknown-fields": true,
        "nullable": true,
        "maxLength": TEXT,
        "maxItems": 0,
        "maxProperties": 8,
        "additionalProperties": strings(),
    })
}

/// Inline policies by name.
pub fn policy_documents(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 50,
        "additionalProperties": policy_document(generator),
        "x-kubernetes-validations": [{
            "rule": r"self.all(name, size(name) <= 128 && name.matches('^[\\w+=,.@-]+$'))",
            "message": "an inline policy's name has 1 to 128 characters out of letters, digits and _+=,.@-",
        }],
    })
}

/// Tags that a user may set. One of IAM's 50 is the owner's.
pub fn tags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 49,
        "additionalProperties": {"type": "string", "maxLength": 256},
        "x-kubernetes-validations": [
            {
                "rule": "self.all(key, size(key) >= 1 && size(key) <= 128)",
                "message": "a tag's key has 1 to 128 characters",
            },
            {
                "rule": "self.all(key, !key.lowerAscii().startsWith('aws:'))",
                "message": "tag keys that begin with aws: are reserved by AWS",
            },
            {
                "rule": "self.all(key, !key.lowerAscii().startsWith('iam.rolectl.dev/'))",
                "message": "tag keys that begin with iam.rolectl.dev/ are rolectl's own",
            },
        ],
    })
}

/// Conditions as a list keyed by type, so that server-side apply merges them by entry.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// Replaces the formats of unsigned numbers, which Kubernetes does not have: the API server warns everybody of them who
/// installs the definitions. The minimum of 0 stays.
pub fn without_unsigned_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value.as_str()) {
                    ("format", Some("uint" | "uint8" | "uint16" | "uint32" | "uint64")) => {
                        *value = json!("int64");
                    }
                    _ => without_unsigned_formats(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_unsigned_formats),
        _ => {}
    }
}

/// Names, each once.
pub fn name_set(max_items: u32, max_length: u32, pattern: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": max_items,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": max_length, "pattern": pattern},
    })
}

/// Managed policies.
pub fn policy_refs(_: &mut SchemaGenerator) -> Schema {
    name_set(50, 2048, POLICY_REF)
}

/// Names of Kubernetes objects.
pub fn object_names(_: &mut SchemaGenerator) -> Schema {
    name_set(1000, 253, DNS_NAME)
}
