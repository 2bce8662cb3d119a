//! Pieces of schema that the derive cannot express.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};

/// A name that IAM takes for a role, a policy or an instance profile.
pub const IAM_NAME: &str = r"^[\w+=,.@-]+$";
/// An IAM path: `/`, or segments between slashes.
pub const IAM_PATH: &str = r"^/([!-~]+/)?$";
/// A managed policy: a name, a path and name, or an ARN (which may hold `$(...)` variables).
pub const POLICY_REF: &str = r"^(arn:\S+:policy/\S+|[\w+=,.@-]+(/[\w+=,.@-]+)*)$";
/// A name of a Kubernetes object.
pub const DNS_NAME: &str = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// A policy document in IAM's JSON grammar. Unknown elements are kept, so that they can be refused by name.
pub fn policy_document(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["Statement"],
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "Version": {"type": "string", "enum": ["2012-10-17", "2008-10-17"]},
            "Id": {"type": "string"},
            "Statement": {"x-kubernetes-preserve-unknown-fields": true},
        },
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
