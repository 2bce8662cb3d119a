//! The parts of the schemas that the derive cannot express.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Pattern of a name of a role, a policy or an instance profile in IAM.
pub const IAM_NAME: &str = r"^[\w+=,.@-]+$";
/// Pattern of an IAM path: `/`, or segments between slashes.
pub const IAM_PATH: &str = r"^/([!-~]+/)?$";
/// Pattern of a reference to a managed policy: a name, a path and name, or an ARN, which may have `$(...)` variables.
pub const POLICY_REF: &str = r"^(arn:\S+:policy/\S+|[\w+=,.@-]+(/[\w+=,.@-]+)*)$";
/// Pattern of the name of a Kubernetes object.
pub const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// Length of the longest string in a document, in characters. It is twice the length of a document in IAM, so that for most documents
/// beyond a quota the controller reports which quota they exceed.
const TEXT: u32 = 20_480;
/// Number of statements that a document may have. IAM allows fewer.
const STATEMENTS: u32 = 400;
/// Number of strings that one list may have.
const STRINGS: u32 = 1_000;
/// Number of operators that a condition may have, and of keys that an operator may have.
const KEYS: u32 = 64;

/// Returns the schema of a policy document in IAM's JSON grammar. Unknown elements are preserved, so that the controller can refuse them
/// by name: an element that the API server drops, such as a misspelled `Condition`, could widen a policy.
///
/// IAM accepts one statement in place of a list, and a string in place of a list of strings. A structural schema has no type
/// for this choice, so such a node has no type, and its limits replace the type: `maxProperties: 0` refuses objects,
/// `maxItems: 0` lists, and `maxLength: 0` strings.
///
/// Every node inside a statement is nullable. The API server silently drops a null from a node that is not nullable, and a condition
/// without its key widens a policy. The controller refuses a null.
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

/// Returns the schema of a string or a list of strings. Numbers and booleans are valid, so that the controller can refuse them by name.
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

/// Returns the schema of `*` or of principals by kind.
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

/// Returns the schema of inline policies by name.
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

/// Returns the schema of the tags in a spec. IAM allows 50 tags on a role, and one of them is the owner tag.
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

/// Returns the schema of conditions: a list with `type` as its key, so that server-side apply merges the entries.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// Replaces the formats of unsigned numbers, which Kubernetes does not have and about which the API server prints a warning when the
/// definitions are installed. The minimum of 0 stays.
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

/// Returns the schema of a list of unique names.
pub fn name_set(max_items: u32, max_length: u32, pattern: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": max_items,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": max_length, "pattern": pattern},
    })
}

/// Returns the schema of a list of references to managed policies.
pub fn policy_refs(_: &mut SchemaGenerator) -> Schema {
    name_set(50, 2048, POLICY_REF)
}

/// Returns the schema of a list of names of Kubernetes objects.
pub fn object_names(_: &mut SchemaGenerator) -> Schema {
    name_set(1000, 253, DNS_NAME)
}
