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

/// A role that the main account may assume, with these permissions, and IAM on it.
async fn limited(
    double: &Double,
    main: &Operator,
    account: &str,
    name: &str,
    may: &serde_json::Value,
) -> Result<aws_sdk_iam::Client> {
    let root = double.iam(double.root(account).await?);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": format!("arn:aws:iam::{}:root", rolectl_core::arn::arn_account(&main.serial))}}]});
    root.create_role()
        .role_name(name)
        .assume_role_policy_document(trust.to_string())
        .send()
        .await?;
    let policy = json!({"Version": "2012-10-17", "Statement": may}).to_string();
    root.put_role_policy()
        .role_name(name)
        .policy_name("p")
        .policy_document(policy)
        .send()
        .await?;
    let sts = double.sts(main.key.clone());
    let c = sts
        .assume_role()
        .role_arn(format!("arn:aws:iam::{account}:role/{name}"))
        .role_session_name("s1")
        .send()
        .await?;
    let c = c.credentials.unwrap();
    Ok(double.iam(Credentials::new(
        c.access_key_id,
        c.secret_access_key,
        Some(c.session_token),
        None,
        "limited",
    )))
}

#[tokio::test]
async fn policies_are_enforced_with_their_conditions() -> Result<()> {
    let double = &crate::world().await?.double;
    let (main, target) = ("900000000031", "900000000032");
    let operator = Operator::enroll(double, main, "op").await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]}).to_string();
    let create = |iam: &aws_sdk_iam::Client, name: &str| {
        iam.create_role()
            .role_name(name)
            .assume_role_policy_document(&trust)
    };
    let root = double.iam(double.root(target).await?);
    create(&root, "full").send().await?;

    let reader = limited(
        double,
        &operator,
        target,
        "reader",
        &json!([{"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}]),
    )
    .await?;
    ensure!(code(reader.list_roles().send().await) == "ok");
    ensure!(code(create(&reader, "x").send().await) == "AccessDenied");

    let deny = json!([{"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:DeleteRole", "Resource": format!("arn:aws:iam::{target}:role/full")}]);
    let denied = limited(double, &operator, target, "denied", &deny).await?;
    ensure!(
        code(denied.delete_role().role_name("full").send().await) == "AccessDenied",
        "an explicit deny wins"
    );
    ensure!(code(create(&denied, "y").send().await) == "ok");

    let tagged = json!([{"Effect": "Allow", "Action": "iam:TagRole", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestTag/owner": "me"}}}]);
    let tagger = limited(double, &operator, target, "tagger", &tagged).await?;
    let tag = |value: &str| {
        aws_sdk_iam::types::Tag::builder()
            .key("owner")
            .value(value)
            .build()
    };
    ensure!(code(tagger.tag_role().role_name("full").tags(tag("you")?).send().await) == "AccessDenied");
    ensure!(code(tagger.tag_role().role_name("full").tags(tag("me")?).send().await) == "ok");

    let boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    let bound = json!([{"Effect": "Allow", "Action": "iam:CreateRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PermissionsBoundary": boundary}}}]);
    let bounder = limited(double, &operator, target, "bounder", &bound).await?;
    ensure!(code(create(&bounder, "z").send().await) == "AccessDenied");
    ensure!(code(create(&bounder, "z").permissions_boundary(boundary).send().await) == "ok");

    // An external id, and the operator's own explicit deny.
    let wants = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": main},
        "Condition": {"StringEquals": {"sts:ExternalId": "s3cret"}}}]});
    root.create_role()
        .role_name("ext")
        .assume_role_policy_document(wants.to_string())
        .send()
        .await?;
    let sts = double.sts(operator.key.clone());
    let assume = || {
        sts.assume_role()
            .role_arn(format!("arn:aws:iam::{target}:role/ext"))
            .role_session_name("s1")
    };
    ensure!(code(assume().send().await) == "AccessDenied");
    ensure!(code(assume().external_id("nope").send().await) == "AccessDenied");
    ensure!(code(assume().external_id("s3cret").send().await) == "ok");
    let never = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*"}]});
    let main_root = double.iam(double.root(main).await?);
    main_root
        .put_user_policy()
        .user_name("op")
        .policy_name("deny")
        .policy_document(never.to_string())
        .send()
        .await?;
    ensure!(code(assume().external_id("s3cret").send().await) == "AccessDenied");
    Ok(())
}

#[tokio::test]
async fn the_two_lists_of_roles_are_complete_only_together_and_come_in_pages() -> Result<()> {
    let double = &crate::world().await?.double;
    let iam = double.iam(double.root("900000000041").await?);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]}).to_string();
    for n in 0..5 {
        iam.create_role()
            .role_name(format!("r{n}"))
            .assume_role_policy_document(&trust)
            .description("d")
            .permissions_boundary("arn:aws:iam::aws:policy/ReadOnlyAccess")
            .tags(aws_sdk_iam::types::Tag::builder().key("a").value("1").build()?)
            .send()
            .await?;
    }
    let (mut marker, mut pages, mut details) = (None, 0, vec![]);
    loop {
        let page = iam
            .get_account_authorization_details()
            .filter(aws_sdk_iam::types::EntityType::Role)
            .max_items(2)
            .set_marker(marker)
            .send()
            .await?;
        pages += 1;
        details.extend(
            page.role_detail_list
                .unwrap_or_default()
                .into_iter()
                .filter(|d| d.path.as_deref() == Some("/")),
        );
        if !page.is_truncated {
            break;
        }
        marker = page.marker;
    }
    ensure!(
        pages >= 3 && details.len() == 5,
        "{pages} pages, {} roles",
        details.len()
    );
    ensure!(
        details
            .iter()
            .all(|d| d.permissions_boundary.is_some() && d.tags.iter().flatten().count() == 1)
    );
    ensure!(
        details[0]
            .assume_role_policy_document
            .as_deref()
            .is_some_and(|d| d.starts_with("%7B")),
        "documents come URL-encoded"
    );
    let mut listed = iam.list_roles().send().await?.roles;
    listed.retain(|role| role.path == "/");
    ensure!(listed.iter().all(|r| r.description.as_deref() == Some("d")
        && r.permissions_boundary.is_none()
        && r.tags.is_none()));
    let quotas = iam
        .get_account_summary()
        .send()
        .await?
        .summary_map
        .unwrap_or_default();
    ensure!(
        quotas
            .iter()
            .any(|(key, n)| key.as_str() == "RolesQuota" && *n == 1000),
        "{quotas:?}"
    );
    Ok(())
}

#[tokio::test]
async fn faults_hit_as_often_as_they_are_told_to() -> Result<()> {
    let double = &crate::world().await?.double;
    let account = "900000000051";
    let iam = double.iam(double.root(account).await?);
    double
        .faults(
            account,
            json!([{"action": "ListRoles", "times": 1, "code": "Throttling", "status": 400}]),
        )
        .await?;
    ensure!(code(iam.list_roles().send().await) == "Throttling");
    ensure!(code(iam.list_roles().send().await) == "ok");
    double
        .faults(
            account,
            json!([{"action": "ListRoles", "rate": 1, "burst": 3, "code": "Throttling", "status": 400}]),
        )
        .await?;
    let mut throttled = 0;
    for _ in 0..12 {
        throttled += usize::from(code(iam.list_roles().send().await) == "Throttling");
    }
    ensure!(
        (1..=9).contains(&throttled),
        "a bucket of 3 throttled {throttled} of 12"
    );
    double.faults(account, json!([])).await?;
    ensure!(code(iam.list_roles().send().await) == "ok");
    Ok(())
}

#[tokio::test]
async fn documents_descriptions_and_tags_are_refused_as_in_aws() -> Result<()> {
    let double = &crate::world().await?.double;
    let iam = double.iam(double.root("900000000029").await?);
    let trust = |more: serde_json::Value| {
        let mut statement = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}});
        for (key, value) in more.as_object().into_iter().flatten() {
            statement[key] = value.clone();
        }
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    };
    let create = |doc: String| {
        iam.create_role()
            .role_name("strict")
            .assume_role_policy_document(doc)
    };
    let github = "arn:aws:iam::900000000029:oidc-provider/token.actions.githubusercontent.com";
    for bad in [
        json!({"Effect": "allow"}),
        json!({"NotPrincipal": {"AWS": "900000000029"}}),
        json!({"Principal": {"AWS": "90000000002"}}),
        json!({"Principal": {"AWS": "arn:aws:iam::90000000002:role/x"}}),
        json!({"Principal": {"AWS": "arn:aws-cn:iam::900000000030:role/x"}}),
        json!({"Principal": {"AWS": "arn:aws:iam::900000000029:group/x"}}),
        json!({"Principal": {"Service": "https://ec2.amazonaws.com"}}),
        json!({"Principal": {"Federated": "arn:aws:iam::900000000029:role/x"}}),
        json!({"Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": github}}),
        json!({"Sid": "has space"}),
        json!({"Condition": {"NullIfExists": {"aws:x": "true"}}}),
        json!({"Condition": {"DateLessThan": {"aws:CurrentTime": "tomorrow"}}}),
        json!({"Condition": {"StringEquals": {"sts:ExternalId": null}}}),
    ] {
        let answer = code(create(trust(bad.clone())).send().await);
        ensure!(answer == "MalformedPolicyDocument", "{bad}: {answer}");
    }
    let dash = json!({"Condition": {"StringEquals": {"sts:ExternalId": "a \u{2014} b"}}});
    ensure!(code(create(trust(dash)).send().await) == "ValidationError");
    ensure!(code(create(trust(json!({}))).description("\u{4f1a}").send().await) == "ValidationError");
    let tag = aws_sdk_iam::types::Tag::builder()
        .key("a")
        .value("\u{1f680}")
        .build()?;
    ensure!(code(create(trust(json!({}))).tags(tag).send().await) == "ValidationError");
    let sub = json!({"StringLike": {"token.actions.githubusercontent.com:sub": "repo:acme/*"}});
    let fine = json!({"Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": github}, "Condition": sub});
    ensure!(code(create(trust(fine)).description("Für das Büro").send().await) == "ok");

    let put = |statement: serde_json::Value| {
        iam.put_role_policy()
            .role_name("strict")
            .policy_name("p")
            .policy_document(json!({"Version": "2012-10-17", "Statement": statement}).to_string())
    };
    for bad in [
        json!({"Effect": "Allow", "Action": "s3:", "Resource": "*"}),
        json!({"Effect": "Allow", "Action": "s3:Get Object", "Resource": "*"}),
        json!({"Effect": "Allow", "Action": "s3:a:b", "Resource": "*"}),
        json!({"Effect": "Allow", "Action": "s3:*"}),
        json!({"Effect": "Allow", "Action": "s3:*", "Resource": "bucket"}),
        json!({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws-cn:s3:::a"}),
        json!({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:iam:eu-west-1:900000000029:role/x"}),
        json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Principal": "*"}),
    ] {
        let answer = code(put(bad.clone()).send().await);
        ensure!(answer == "MalformedPolicyDocument", "{bad}: {answer}");
    }
    // IAM takes an operator without keys, which restricts nothing.
    let empty = json!({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::a", "Condition": {"StringLike": {}}});
    ensure!(code(put(empty).send().await) == "ok");
    Ok(())
}
