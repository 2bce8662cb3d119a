//! The double is as strict as AWS where it matters to us.

use anyhow::{Result, ensure};
use aws_credential_types::Credentials;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use rolectl_tests::double::Double;
use rolectl_tests::scenario::{Operator, enroll_target};
use serde_json::json;

fn code<T, E: ProvideErrorMetadata, R>(result: Result<T, SdkError<E, R>>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().unwrap_or("no code").to_owned(),
    }
}

async fn session(double: &Double, operator: &Operator) -> Result<Credentials> {
    let answer = double
        .sts(operator.key.clone())
        .get_session_token()
        .serial_number(&operator.serial)
        .token_code(operator.code().await?)
        .duration_seconds(900)
        .send()
        .await?;
    let c = answer.credentials.unwrap();
    Ok(Credentials::new(
        c.access_key_id,
        c.secret_access_key,
        Some(c.session_token),
        None,
        "session",
    ))
}

#[tokio::test]
async fn sessions_need_a_fresh_code_and_are_limited_as_in_aws() -> Result<()> {
    let double = &crate::world().await?.double;
    let (main, target) = ("900000000001", "900000000002");
    let operator = Operator::enroll(double, main, "op").await?;
    enroll_target(double, main, target).await?;
    let sts = double.sts(operator.key.clone());
    let with = |code: String| {
        sts.get_session_token()
            .serial_number(&operator.serial)
            .token_code(code)
    };
    let fresh = operator.code().await?;
    let wrong = format!("{:06}", (fresh.parse::<u32>()? + 1) % 1_000_000);
    ensure!(code(with(wrong).send().await) == "AccessDenied");
    ensure!(code(with(fresh.clone()).duration_seconds(899).send().await) == "ValidationError");
    ensure!(code(with(fresh.clone()).send().await) == "ok");
    ensure!(
        code(with(fresh).send().await) == "AccessDenied",
        "a code works once"
    );
    ensure!(
        code(
            double
                .sts(Credentials::new("AKIAZZZZZZZZZZZZZZZZ", "x", None, None, "t"))
                .get_caller_identity()
                .send()
                .await
        ) == "InvalidClientTokenId"
    );
    ensure!(
        code(
            double
                .sts(Credentials::new(
                    operator.key.access_key_id(),
                    "x",
                    None,
                    None,
                    "t"
                ))
                .get_caller_identity()
                .send()
                .await
        ) == "SignatureDoesNotMatch"
    );

    let role = format!("arn:aws:iam::{target}:role/rolectl");
    let assume = |sts: &aws_sdk_sts::Client| sts.assume_role().role_arn(&role).role_session_name("s1");
    ensure!(
        code(assume(&sts).send().await) == "AccessDenied",
        "the trust policy wants MFA"
    );
    let mfa = session(double, &operator).await?;
    let with_mfa = double.sts(mfa.clone());
    ensure!(
        code(with_mfa.get_session_token().send().await) == "AccessDenied",
        "a session buys no session"
    );
    let assumed = assume(&with_mfa).send().await?;
    ensure!(assumed.assumed_role_user.is_some_and(|u| u.arn.contains(target)));
    let c = assumed.credentials.unwrap();
    let there = double.iam(Credentials::new(
        &c.access_key_id,
        &c.secret_access_key,
        Some(c.session_token.clone()),
        None,
        "assumed",
    ));
    ensure!(code(there.list_roles().send().await) == "ok");
    let tampered = double.iam(Credentials::new(
        &c.access_key_id,
        &c.secret_access_key,
        Some("x".into()),
        None,
        "assumed",
    ));
    ensure!(code(tampered.list_roles().send().await) == "InvalidClientTokenId");
    double.expire(&c.access_key_id, Some(-1), None).await?;
    ensure!(code(there.list_roles().send().await) == "ExpiredToken");
    Ok(())
}

#[tokio::test]
async fn the_age_of_mfa_can_shut_a_session_out_before_its_end() -> Result<()> {
    let double = &crate::world().await?.double;
    let (main, target) = ("900000000011", "900000000012");
    let operator = Operator::enroll(double, main, "op").await?;
    let root = double.iam(double.root(target).await?);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": main}, "Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}}]});
    root.create_role()
        .role_name("aged")
        .assume_role_policy_document(trust.to_string())
        .send()
        .await?;
    let mfa = session(double, &operator).await?;
    let sts = double.sts(mfa.clone());
    let assume = || {
        sts.assume_role()
            .role_arn(format!("arn:aws:iam::{target}:role/aged"))
            .role_session_name("s1")
    };
    let assumed = assume().send().await?.credentials.unwrap();
    let there = double.sts(Credentials::new(
        assumed.access_key_id,
        assumed.secret_access_key,
        Some(assumed.session_token),
        None,
        "t",
    ));
    ensure!(
        code(there.get_caller_identity().send().await) == "ok",
        "the credentials work"
    );
    double.expire(mfa.access_key_id(), None, Some(3601)).await?;
    ensure!(code(assume().send().await) == "AccessDenied");
    ensure!(
        code(
            double
                .sts(operator.key.clone())
                .assume_role()
                .role_arn(format!("arn:aws:iam::{target}:role/aged"))
                .role_session_name("s1")
                .send()
                .await
        ) == "AccessDenied",
        "no MFA, no age"
    );
    Ok(())
}

#[tokio::test]
async fn roles_are_checked_as_in_aws() -> Result<()> {
    let double = &crate::world().await?.double;
    let account = "900000000021";
    let iam = double.iam(double.root(account).await?);
    let trust = |principal: &str| {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": principal}}]}).to_string()
    };
    let create = |name: &str, doc: String| iam.create_role().role_name(name).assume_role_policy_document(doc);
    ensure!(code(create("app", trust(account)).send().await) == "ok");
    let stored = iam
        .get_role()
        .role_name("app")
        .send()
        .await?
        .role
        .unwrap()
        .assume_role_policy_document
        .unwrap();
    ensure!(
        stored.contains("root"),
        "a bare account id becomes the ARN of its root: {stored}"
    );
    ensure!(
        code(create("APP", trust(account)).send().await) == "EntityAlreadyExists",
        "names are unique without case"
    );
    ensure!(code(create("b", "{".into()).send().await) == "MalformedPolicyDocument");
    ensure!(code(create("b", trust("garbage")).send().await) == "MalformedPolicyDocument");
    ensure!(code(create("has space", trust(account)).send().await) == "ValidationError");
    let admin = "arn:aws:iam::aws:policy/AdministratorAccess";
    ensure!(
        code(
            iam.attach_role_policy()
                .role_name("app")
                .policy_arn(admin)
                .send()
                .await
        ) == "ok"
    );
    ensure!(
        code(
            iam.attach_role_policy()
                .role_name("app")
                .policy_arn("arn:aws:iam::aws:policy/Nope")
                .send()
                .await
        ) == "NoSuchEntity"
    );
    ensure!(code(iam.delete_role().role_name("app").send().await) == "DeleteConflict");
    iam.create_service_linked_role()
        .aws_service_name("autoscaling.amazonaws.com")
        .send()
        .await?;
    ensure!(
        code(
            iam.delete_role()
                .role_name("AWSServiceRoleForAutoScaling")
                .send()
                .await
        ) == "UnmodifiableEntity"
    );

    // A deleted principal turns into its id.
    let id = create("friend", trust(account))
        .send()
        .await?
        .role
        .unwrap()
        .role_id;
    create("app2", trust(&format!("arn:aws:iam::{account}:role/friend")))
        .send()
        .await?;
    iam.delete_role().role_name("friend").send().await?;
    let stored = iam
        .get_role()
        .role_name("app2")
        .send()
        .await?
        .role
        .unwrap()
        .assume_role_policy_document
        .unwrap();
    ensure!(stored.contains(&id), "{stored}");

    // Reads that trail writes.
    double.lag(account, 60_000).await?;
    create("late", trust(account)).send().await?;
    ensure!(code(iam.get_role().role_name("late").send().await) == "NoSuchEntity");
    double.lag(account, 0).await?;
    ensure!(code(iam.get_role().role_name("late").send().await) == "ok");

    // The call log.
    let calls = double.calls(account, 0).await?;
    ensure!(calls.by_action().get("DeleteRole") == Some(&3), "{calls:?}");
    Ok(())
}
