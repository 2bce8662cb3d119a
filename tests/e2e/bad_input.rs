//! Bad input is refused at admission where the schema can, else stalls with what to change; others go on.

use anyhow::{Result, ensure};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::tools::root;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

#[tokio::test]
async fn the_schema_refuses_what_it_can_with_a_message_that_says_what_to_write() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "admission", 1).await?;
    s.apply(&s.role("app", json!({"roleName": "app", "path": "/a/"})))
        .await?;
    let long = "x".repeat(65);
    let no_statement = json!({"Version": "2012-10-17"});
    for (what, object, says) in [
        (
            "a bad role name",
            s.role("bad", json!({"roleName": "has space"})),
            "spec.roleName in body should match",
        ),
        (
            "a long role name",
            s.role("bad", json!({"roleName": long})),
            "spec.roleName: Too long",
        ),
        (
            "a long object name",
            s.role(&long, json!({})),
            "at most 64 characters: set spec.roleName",
        ),
        (
            "a bad path",
            s.role("bad", json!({"path": "team"})),
            "spec.path in body should match",
        ),
        (
            "no account",
            s.role("bad", json!({"accounts": {}})),
            "name at least one account",
        ),
        (
            "a document without Statement",
            s.role("bad", json!({"assumeRolePolicy": no_statement})),
            "assumeRolePolicy.Statement: Required value",
        ),
        (
            "a wrong Version",
            s.role(
                "bad",
                json!({"assumeRolePolicy": {"Version": "2012", "Statement": []}}),
            ),
            "Unsupported value: \"2012\"",
        ),
        (
            "no trust policy",
            s.role("bad", json!({"assumeRolePolicy": null})),
            "assumeRolePolicy is required unless ensure is Absent",
        ),
        (
            "a short session",
            s.role("bad", json!({"maxSessionDuration": 60})),
            "spec.maxSessionDuration",
        ),
        (
            "a reserved tag",
            s.role("bad", json!({"tags": {"AWS:x": "1"}})),
            "reserved by AWS",
        ),
        (
            "our own tag",
            s.role("bad", json!({"tags": {"iam.rolectl.dev/owner": "me"}})),
            "rolectl's own",
        ),
        (
            "a bad inline policy name",
            s.role("bad", json!({"inlinePolicies": {"a b": {"Statement": []}}})),
            "an inline policy's name has",
        ),
        (
            "an unknown field",
            s.role("bad", json!({"managedPolicy": "x"})),
            "unknown field \"spec.managedPolicy\"",
        ),
        (
            "another role name",
            s.role("app", json!({"roleName": "other", "path": "/a/"})),
            "roleName cannot change",
        ),
        (
            "another path",
            s.role("app", json!({"roleName": "app", "path": "/b/"})),
            "path cannot change",
        ),
        (
            "an account id of 11 digits",
            account(json!({"accountId": "12345678901"})),
            "spec.accountId in body",
        ),
        (
            "a role of another account",
            account(
                json!({"accountId": "123456789012", "assumeRole": {"arn": "arn:aws:iam::210987654321:role/x"}}),
            ),
            "assumeRole.arn must be a role of this accountId",
        ),
        (
            "name and arn",
            account(json!({"accountId": "123456789012", "assumeRole": {}})),
            "give either name or arn",
        ),
        (
            "a user of another account",
            session(json!({"accountId": "123456789012", "userArn": "arn:aws:iam::210987654321:user/x"})),
            "userArn must be a user of accountId",
        ),
        (
            "a session of a week",
            session(json!({"accountId": "123456789012", "durationSeconds": 604_800})),
            "spec.durationSeconds",
        ),
    ] {
        let output = s
            .world
            .plane
            .kubectl_with(&["apply", "--validate=strict", "-f", "-"], &object.to_string())
            .await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && error.contains(says),
            "{what}: {error}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_definitions_cause_no_warning_when_they_are_installed() -> Result<()> {
    let plane = &crate::world().await?.plane;
    let crds = root().join("deploy/crd").display().to_string();
    // Of another group, since ours are installed already.
    let copy = plane
        .kubectl(&["kustomize", &crds])
        .await?
        .replace("iam.rolectl.dev", "warnings.rolectl.dev");
    let output = plane.kubectl_with(&["create", "-f", "-"], &copy).await?;
    let (made, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success() && made.lines().count() == 3 && said.is_empty(),
        "{made}{said}"
    );
    Ok(())
}

#[tokio::test]
async fn the_schema_bounds_documents_and_takes_every_form_that_iam_takes() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "structure", 0).await?;
    let allow = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-1", "o-2"]}, "Bool": {"aws:MultiFactorAuthPresent": true}}});
    let with = |key: &str, value: Value| {
        let mut statement = allow.clone();
        statement[key] = value;
        statement
    };
    let mut deep = json!("x");
    for _ in 0..100 {
        deep = json!({"a": deep});
    }
    let takes = [
        json!(allow),
        json!([
            allow,
            with("Principal", json!({"AWS": ["a", "b"], "Service": "c"}))
        ]),
        json!([
            with("Action", json!(["a:b", "c:d"])),
            with("NotResource", json!("*"))
        ]),
        // For the controller to refuse by name.
        json!([with("Resources", json!("*"))]),
        json!([with("Principal", json!({"Aws": "*"}))]),
        json!([with("Action", json!(5))]),
        json!([with("Condition", json!({"Bool": {"a": [true, 1, "x"]}}))]),
    ];
    // A null that the API server drops takes a condition away.
    let nulls = [
        with("Condition", json!({"StringLike": {"a": null, "b": "x"}})),
        with("Condition", json!({"StringLike": null, "Bool": {"a": "true"}})),
        with("Condition", json!(null)),
        with("Resource", json!([null])),
        with("Principal", json!({"AWS": null, "Service": "x"})),
        with("Sid", json!(null)),
    ];
    let refuses = [
        (json!("x"), "Statement: Too long"),
        (json!(["x"]), "must be of type object"),
        (json!([[]]), "must be of type object"),
        (
            with("Action", json!({"a": "b"})),
            "Statement.Action: Too many: 1: must have at most 0 items",
        ),
        (
            json!([with("Action", json!([["a"]]))]),
            "Statement[0].Action[0]: Too many",
        ),
        (
            json!([with("Resource", json!([{"a": "b"}]))]),
            "Statement[0].Resource[0]: Too many",
        ),
        (
            json!([with("Principal", json!(["a"]))]),
            "Statement[0].Principal: Too many",
        ),
        (
            json!([with("Principal", json!({"AWS": {"a": "b"}}))]),
            "Statement[0].Principal.AWS: Too many",
        ),
        (
            json!([with("Condition", json!({"StringLike": "x"}))]),
            "must be of type object",
        ),
        (
            json!([with("Condition", json!({"StringLike": {"a": deep}}))]),
            "StringLike.a: Too many",
        ),
        (json!([with("Sid", json!(["a"]))]), "must be of type string"),
        (json!(vec![allow.clone(); 401]), "must have at most 400 items"),
        (
            json!([with("Action", json!("x".repeat(20_481)))]),
            "Statement[0].Action: Too long",
        ),
    ];
    let apply = ["apply", "--dry-run=server", "-f", "-"];
    let role = |statement: &Value| {
        let document = json!({"Version": "2012-10-17", "Statement": statement});
        let spec = json!({"accounts": {"names": ["x"]}, "assumeRolePolicy": document, "inlinePolicies": {"p": document}});
        s.role("app", spec).to_string()
    };
    for statement in takes {
        let output = s.world.plane.kubectl_with(&apply, &role(&statement)).await?;
        ensure!(output.status.success(), "{statement}: {output:?}");
    }
    for statement in nulls {
        for how in [&["create"][..], &["apply", "--server-side"]] {
            let args = [how, &["--dry-run=server", "-o", "json", "-f", "-"]].concat();
            let output = s
                .world
                .plane
                .kubectl_with(&args, &role(&json!([statement])))
                .await?;
            let kept: Value = serde_json::from_slice(&output.stdout)?;
            ensure!(
                kept["spec"]["assumeRolePolicy"]["Statement"] == json!([statement]),
                "{how:?}: {kept}"
            );
        }
    }
    for (statement, says) in refuses {
        let output = s.world.plane.kubectl_with(&apply, &role(&statement)).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && error.contains(says),
            "{says}: {error}"
        );
    }
    Ok(())
}

fn account(spec: Value) -> Value {
    json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "bad"}, "spec": spec})
}

fn session(spec: Value) -> Value {
    json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": "bad"}, "spec": spec})
}

#[tokio::test]
async fn what_only_the_controller_can_tell_stalls_and_the_other_roles_go_on() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "stalled", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    let statement =
        |statement: Value| json!({"assumeRolePolicy": {"Version": "2012-10-17", "Statement": [statement]}});
    let allow = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "$(account.id)"}});
    let mut unknown_element = allow.clone();
    unknown_element["Principals"] = json!("*");
    let mut nobody = allow.clone();
    nobody["Principal"] = json!({"AWS": "arn:aws:iam::$(account.id):role/nobody"});
    let cases = [
        (
            "variable",
            json!({"description": "$(account.nmae)"}),
            "InvalidSpec",
            "spec.description: unknown variable $(account.nmae)",
        ),
        (
            "element",
            statement(unknown_element),
            "InvalidSpec",
            "Statement[0] has the unknown element Principals: did you mean Principal?",
        ),
        (
            "account",
            json!({"accounts": {"names": ["nowhere"]}}),
            "AccountNotFound",
            "there is no AwsAccount nowhere",
        ),
        (
            "policy",
            json!({"managedPolicies": ["AdministratorAcces"]}),
            "InvalidSpec",
            "AdministratorAcces",
        ),
        (
            "resource",
            json!({"inlinePolicies": {"x": {"Statement": {"Effect": "Allow", "Action": "a:b"}}}}),
            "InvalidSpec",
            "has no Resource",
        ),
    ];
    for (name, spec, _, _) in &cases {
        s.apply(&s.role(name, spec.clone())).await?;
    }
    s.apply(&s.role("principal", statement(nobody))).await?;
    s.apply(&s.role("good", json!({}))).await?;
    s.role_is("good", "True", "InSync").await?;
    for (name, _, reason, says) in cases {
        let role = s.role_is(name, "False", reason).await?;
        let conditions = role.status.unwrap_or_default().conditions;
        ensure!(
            conditions
                .iter()
                .any(|c| c.type_ == "Stalled" && c.status == "True" && c.message.contains(says)),
            "{name}: {conditions:?}"
        );
    }
    // May be made at any moment by somebody else, so it is tried again for a while.
    s.role_is("principal", "False", "AwaitingPrincipal").await?;
    // Mended by its author, it goes on.
    s.apply(&s.role("policy", json!({"managedPolicies": ["AdministratorAccess"]})))
        .await?;
    s.role_is("policy", "True", "InSync").await?;
    let reasons = s.event_reasons("stalled", "variable").await?;
    ensure!(reasons == ["InvalidSpec"], "told once: {reasons:?}");
    Ok(())
}

#[tokio::test]
async fn an_account_that_refuses_us_stalls_alone() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "denied", 2).await?;
    let iam = s.hands(1).await?;
    let closed = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]});
    iam.update_assume_role_policy()
        .role_name("rolectl")
        .policy_document(closed.to_string())
        .send()
        .await?;
    s.start_controller()?;
    let out = s.unlock().await?;
    ensure!(
        out.contains("denied-0") && out.contains("AssumeRole: AccessDenied"),
        "{out}"
    );
    s.apply(&s.role("app", json!({}))).await?;
    s.account_is(1, "AccessDenied").await?;
    until("the other account to be right", || async {
        let role = s
            .role_is("app", "False", "AccessDenied")
            .await
            .map_err(|e| e.to_string())?;
        match role.status.unwrap_or_default().summary.as_deref() {
            Some("1/2") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    ensure!(s.owned_roles(0).await? == ["app"]);
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_when_the_credentials_lead_to_another_account() -> Result<()> {
    // No assumeRole, so the session's own account is used; accountId says another one.
    let s = Scenario::with(crate::world().await?, "mismatch", 1, |a| {
        if let Some(spec) = a["spec"].as_object_mut() {
            spec.remove("assumeRole");
        }
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    let role = s.role_is("app", "False", "AccountMismatch").await?;
    let message = format!("{:?}", role.status);
    ensure!(
        message.contains(&s.main) && message.contains(&s.targets[0].1),
        "{message}"
    );
    let calls = s.world.double.calls(&s.main, 0).await?;
    ensure!(
        !calls.by_action().contains_key("CreateRole") && !calls.by_action().contains_key("ListRoles"),
        "{calls:?}"
    );
    Ok(())
}
