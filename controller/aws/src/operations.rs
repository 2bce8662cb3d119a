//! The operations of AWS that the controller calls.

/// Every call that the controller makes, by service. What it may need to be allowed is here, and nothing else.
pub const OPERATIONS: &[(&str, &[&str])] = &[
    (
        "iam",
        &[
            // To look.
            "ListRoles",
            "GetAccountAuthorizationDetails",
            "GetAccountSummary",
            "GetRole",
            "GetInstanceProfile",
            // To change.
            "CreateRole",
            "DeleteRole",
            "UpdateRole",
            "UpdateAssumeRolePolicy",
            "TagRole",
            "UntagRole",
            "PutRolePermissionsBoundary",
            "DeleteRolePermissionsBoundary",
            "AttachRolePolicy",
            "DetachRolePolicy",
            "PutRolePolicy",
            "DeleteRolePolicy",
            "CreateInstanceProfile",
            "DeleteInstanceProfile",
            "AddRoleToInstanceProfile",
            "RemoveRoleFromInstanceProfile",
            "UntagInstanceProfile",
            // CreateInstanceProfile with a tag needs the right to tag, too.
            "TagInstanceProfile",
        ],
    ),
    ("sts", &["AssumeRole", "GetCallerIdentity"]),
];

/// The AWS service that an operation is of, as its SDK names it.
pub fn service_of(operation: &str) -> &'static str {
    let has = |(_, operations): &&(&str, &[&str])| operations.contains(&operation);
    match OPERATIONS.iter().find(has) {
        Some((service, _)) if *service == "sts" => "STS",
        _ => "IAM",
    }
}
