//! A deleted principal turns into its unique id in every trust policy that names it, as in AWS.
use fakecloud_core::service::AwsRequest;
use fakecloud_iam::SharedIamState;

/// ARN and unique id of a principal.
pub struct Gone {
    arn: String,
    id: String,
}

/// The principal that this request deletes.
pub fn about_to_go(iam: &SharedIamState, req: &AwsRequest) -> Option<Gone> {
    let g = iam.read();
    let state = g.get(&req.account_id)?;
    match req.action.as_str() {
        "DeleteRole" => {
            let role = state.roles.get(req.query_params.get("RoleName")?)?;
            Some(Gone {
                arn: role.arn.clone(),
                id: role.role_id.clone(),
            })
        }
        "DeleteUser" => {
            let user = state.users.get(req.query_params.get("UserName")?)?;
            Some(Gone {
                arn: user.arn.clone(),
                id: user.user_id.clone(),
            })
        }
        _ => None,
    }
}

/// Call once the deletion has gone through.
pub fn replace_by_id(iam: &SharedIamState, gone: &Gone) {
    let (from, to) = (format!("\"{}\"", gone.arn), format!("\"{}\"", gone.id));
    for (_, state) in iam.write().iter_mut() {
        for role in state.roles.values_mut() {
            role.assume_role_policy_document = role.assume_role_policy_document.replace(&from, &to);
        }
    }
}
