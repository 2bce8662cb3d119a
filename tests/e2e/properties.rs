//! Every property of a role: set, changed, mended and taken away, as an outsider sees it in AWS.

use anyhow::{Context as _, Result, ensure};
use rolectl_crds::OWNER_TAG;
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const READ_ONLY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

async fn scenario() -> Result<Scenario<'static>> {
    Scenario::shared(crate::world().await?, "properties", 1).await
}

/// Applies the role and waits until it is right.
async fn apply(s: &Scenario<'_>, name: &str, spec: Value) -> Result<()> {
    s.apply(&s.role(name, spec)).await?;
    s.role_is(name, "True", "InSync").await?;
    Ok(())
}

async fn role(s: &Scenario<'_>, name: &str) -> Result<aws_sdk_iam::types::Role> {
    let answer = s.hands(0).await?.get_role().role_name(name).send().await?;
    answer.role.context("no role")
}

async fn trust(s: &Scenario<'_>, name: &str) -> Result<Value> {
    let text = role(s, name)
        .await?
        .assume_role_policy_document
        .context("no document")?;
    let text = percent_encoding::percent_decode_str(&text)
        .decode_utf8()?
        .into_owned();
    Ok(serde_json::from_str(&text)?)
}

async fn inline(s: &Scenario<'_>, name: &str) -> Result<Vec<String>> {
    Ok(s.hands(0)
        .await?
        .list_role_policies()
        .role_name(name)
        .send()
        .await?
        .policy_names)
}

async fn profiles(s: &Scenario<'_>, name: &str) -> Result<Vec<String>> {
    let answer = s
        .hands(0)
        .await?
        .list_instance_profiles_for_role()
        .role_name(name)
        .send()
        .await?;
    Ok(answer
        .instance_profiles
        .into_iter()
        .map(|p| p.instance_profile_name)
        .collect())
}

async fn has_profile(s: &Scenario<'_>, name: &str) -> Result<bool> {
    Ok(s.hands(0)
        .await?
        .get_instance_profile()
        .instance_profile_name(name)
        .send()
        .await
        .is_ok())
}

/// Asks for a look, and waits until what was broken by hand is as it should be again.
async fn mended<F: Future<Output = Result<bool>>>(
    s: &Scenario<'_>,
    name: &str,
    right: impl Fn() -> F,
) -> Result<()> {
    s.look_again(name).await?;
    until(&format!("{name} to be mended"), || async {
        match right().await {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    s.role_is(name, "True", "InSync").await?;
    Ok(())
}

fn trusting(account: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": account}}]})
}

fn reads(bucket: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{bucket}/*")}]})
}

#[tokio::test]
async fn a_changed_trust_policy_is_updated_in_place() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "trust", json!({"assumeRolePolicy": trusting("111111111111")})).await?;
    let id = role(&s, "trust").await?.role_id;
    apply(&s, "trust", json!({"assumeRolePolicy": trusting("222222222222")})).await?;
    ensure!(trust(&s, "trust").await?.to_string().contains("222222222222"));
    ensure!(role(&s, "trust").await?.role_id == id, "the role is the same one");
    Ok(())
}

#[tokio::test]
async fn a_trust_policy_opened_by_hand_is_closed_again() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "opened",
        json!({"assumeRolePolicy": trusting("111111111111")}),
    )
    .await?;
    let open = trusting("*").to_string();
    s.hands(0)
        .await?
        .update_assume_role_policy()
        .role_name("opened")
        .policy_document(open)
        .send()
        .await?;
    mended(&s, "opened", || async {
        Ok(trust(&s, "opened").await?.to_string().contains("111111111111"))
    })
    .await
}

#[tokio::test]
async fn a_trust_policy_that_says_the_same_in_other_words_is_left_alone() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "words", json!({"assumeRolePolicy": trusting("111111111111")})).await?;
    let other = r#"{"Version":"2012-10-17","Statement":{"Principal":{"AWS":["arn:aws:iam::111111111111:root"]},"Effect":"Allow","Action":["sts:AssumeRole"]}}"#;
    s.hands(0)
        .await?
        .update_assume_role_policy()
        .role_name("words")
        .policy_document(other)
        .send()
        .await?;
    // A change beside it is mended, so the whole role was looked at.
    s.hands(0)
        .await?
        .attach_role_policy()
        .role_name("words")
        .policy_arn(ADMIN)
        .send()
        .await?;
    mended(&s, "words", || async {
        Ok(s.attached(0, "words").await?.is_empty())
    })
    .await?;
    ensure!(
        trust(&s, "words").await?["Statement"].is_object(),
        "still in the other words"
    );
    Ok(())
}

#[tokio::test]
async fn description_and_duration_change_together() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "text",
        json!({"description": "first", "maxSessionDuration": 7200}),
    )
    .await?;
    apply(
        &s,
        "text",
        json!({"description": "second: ü, 1 %", "maxSessionDuration": 43200}),
    )
    .await?;
    let role = role(&s, "text").await?;
    ensure!(
        role.description.as_deref() == Some("second: ü, 1 %") && role.max_session_duration == Some(43200)
    );
    Ok(())
}

#[tokio::test]
async fn an_emptied_description_is_cleared_and_the_duration_stays() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "cleared",
        json!({"description": "first", "maxSessionDuration": 7200}),
    )
    .await?;
    apply(&s, "cleared", json!({"maxSessionDuration": 7200})).await?;
    let role = role(&s, "cleared").await?;
    ensure!(
        role.description.as_deref().unwrap_or_default().is_empty() && role.max_session_duration == Some(7200)
    );
    Ok(())
}

#[tokio::test]
async fn tags_are_added_changed_and_removed() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "tags", json!({"tags": {"a": "1", "b": "1"}})).await?;
    apply(&s, "tags", json!({"tags": {"b": "2", "c": ""}})).await?;
    let tags = s.tags(0, "tags").await?;
    ensure!(
        tags.get("b").map(String::as_str) == Some("2") && tags.contains_key("c") && !tags.contains_key("a"),
        "{tags:?}"
    );
    ensure!(tags[OWNER_TAG] == "test/properties/tags", "{tags:?}");
    Ok(())
}

#[tokio::test]
async fn tags_beside_the_list_stay_where_tags_are_not_exclusive() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "addtags",
        json!({"exclusive": {"tags": false}, "tags": {"a": "1"}}),
    )
    .await?;
    let tag = aws_sdk_iam::types::Tag::builder()
        .key("by-hand")
        .value("1")
        .build()?;
    let iam = s.hands(0).await?;
    iam.tag_role().role_name("addtags").tags(tag).send().await?;
    iam.untag_role().role_name("addtags").tag_keys("a").send().await?;
    mended(&s, "addtags", || async {
        Ok(s.tags(0, "addtags").await?.contains_key("a"))
    })
    .await?;
    ensure!(s.tags(0, "addtags").await?.contains_key("by-hand"));
    Ok(())
}

#[tokio::test]
async fn an_owner_tag_taken_off_by_hand_is_put_back() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "untagged", json!({})).await?;
    s.hands(0)
        .await?
        .untag_role()
        .role_name("untagged")
        .tag_keys(OWNER_TAG)
        .send()
        .await?;
    mended(&s, "untagged", || async {
        Ok(s.tags(0, "untagged").await?.contains_key(OWNER_TAG))
    })
    .await
}

#[tokio::test]
async fn a_permissions_boundary_is_put_changed_and_removed() -> Result<()> {
    let s = scenario().await?;
    let boundary = async || {
        let bound = role(&s, "bound").await?.permissions_boundary;
        anyhow::Ok(bound.and_then(|b| b.permissions_boundary_arn))
    };
    apply(&s, "bound", json!({"permissionsBoundary": "ReadOnlyAccess"})).await?;
    ensure!(boundary().await?.as_deref() == Some(READ_ONLY));
    apply(&s, "bound", json!({"permissionsBoundary": ADMIN})).await?;
    ensure!(boundary().await?.as_deref() == Some(ADMIN));
    // It restricts the role, so it stays until the spec says otherwise.
    apply(&s, "bound", json!({})).await?;
    ensure!(boundary().await?.as_deref() == Some(ADMIN));
    apply(&s, "bound", json!({"exclusive": {"boundary": true}})).await?;
    ensure!(boundary().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_boundary_taken_off_by_hand_is_put_back() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "unbound", json!({"permissionsBoundary": "ReadOnlyAccess"})).await?;
    s.hands(0)
        .await?
        .delete_role_permissions_boundary()
        .role_name("unbound")
        .send()
        .await?;
    mended(&s, "unbound", || async {
        Ok(role(&s, "unbound").await?.permissions_boundary.is_some())
    })
    .await
}

#[tokio::test]
async fn managed_policies_are_attached_and_detached_with_the_list() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "managed",
        json!({"managedPolicies": ["ReadOnlyAccess", "PowerUserAccess"]}),
    )
    .await?;
    apply(
        &s,
        "managed",
        json!({"managedPolicies": ["AdministratorAccess", "ReadOnlyAccess"]}),
    )
    .await?;
    let mut attached = s.attached(0, "managed").await?;
    attached.sort();
    ensure!(attached == [ADMIN, READ_ONLY], "{attached:?}");
    Ok(())
}

#[tokio::test]
async fn a_policy_attached_by_hand_goes_where_the_list_is_exclusive() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "exclusive", json!({"managedPolicies": ["ReadOnlyAccess"]})).await?;
    s.hands(0)
        .await?
        .attach_role_policy()
        .role_name("exclusive")
        .policy_arn(ADMIN)
        .send()
        .await?;
    mended(&s, "exclusive", || async {
        Ok(s.attached(0, "exclusive").await? == [READ_ONLY])
    })
    .await
}

#[tokio::test]
async fn a_policy_attached_by_hand_stays_where_the_list_is_additive() -> Result<()> {
    let s = scenario().await?;
    let spec = json!({"exclusive": {"managedPolicies": false}, "managedPolicies": ["ReadOnlyAccess"]});
    apply(&s, "additive", spec).await?;
    let iam = s.hands(0).await?;
    iam.attach_role_policy()
        .role_name("additive")
        .policy_arn(ADMIN)
        .send()
        .await?;
    iam.detach_role_policy()
        .role_name("additive")
        .policy_arn(READ_ONLY)
        .send()
        .await?;
    mended(&s, "additive", || async {
        Ok(s.attached(0, "additive").await?.len() == 2)
    })
    .await
}

#[tokio::test]
async fn aws_managed_policies_are_found_by_name_with_or_without_their_path() -> Result<()> {
    let s = scenario().await?;
    let names = [
        "Billing",
        "job-function/ViewOnlyAccess",
        "AWSLambdaBasicExecutionRole",
        "ReadOnlyAccess",
    ];
    apply(&s, "names", json!({"managedPolicies": names})).await?;
    let mut attached = s.attached(0, "names").await?;
    attached.sort();
    let arn = |name: &str| format!("arn:aws:iam::aws:policy/{name}");
    let wanted = [
        "ReadOnlyAccess",
        "job-function/Billing",
        "job-function/ViewOnlyAccess",
        "service-role/AWSLambdaBasicExecutionRole",
    ];
    ensure!(attached == wanted.map(arn), "{attached:?}");
    Ok(())
}

#[tokio::test]
async fn a_misspelt_policy_stalls_with_the_name_that_was_meant() -> Result<()> {
    let s = scenario().await?;
    s.apply(&s.role("misspelt", json!({"managedPolicies": ["ReadOnlyAcess"]})))
        .await?;
    let role = s.role_is("misspelt", "False", "InvalidSpec").await?;
    ensure!(
        format!("{:?}", role.status).contains("Did you mean ReadOnlyAccess?"),
        "{:?}",
        role.status
    );
    apply(&s, "misspelt", json!({"managedPolicies": ["ReadOnlyAccess"]})).await
}

#[tokio::test]
async fn a_policy_of_the_account_itself_is_named_by_a_variable() -> Result<()> {
    let s = scenario().await?;
    let iam = s.hands(0).await?;
    let made = iam
        .create_policy()
        .policy_name("own")
        .policy_document(reads("own").to_string())
        .send()
        .await?;
    apply(
        &s,
        "own",
        json!({"managedPolicies": ["arn:$(aws.partition):iam::$(account.id):policy/own"]}),
    )
    .await?;
    ensure!(s.attached(0, "own").await? == [made.policy.and_then(|p| p.arn).unwrap_or_default()]);
    Ok(())
}

#[tokio::test]
async fn inline_policies_are_put_changed_and_deleted_with_the_map() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "inline",
        json!({"inlinePolicies": {"a": reads("a"), "b": reads("b")}}),
    )
    .await?;
    apply(
        &s,
        "inline",
        json!({"inlinePolicies": {"b": reads("other"), "c": reads("c")}}),
    )
    .await?;
    ensure!(inline(&s, "inline").await? == ["b", "c"]);
    let b = s
        .hands(0)
        .await?
        .get_role_policy()
        .role_name("inline")
        .policy_name("b")
        .send()
        .await?;
    ensure!(b.policy_document.contains("other"));
    Ok(())
}

#[tokio::test]
async fn an_inline_policy_widened_by_hand_is_narrowed_again() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "widened", json!({"inlinePolicies": {"a": reads("a")}})).await?;
    let iam = s.hands(0).await?;
    iam.put_role_policy()
        .role_name("widened")
        .policy_name("a")
        .policy_document(reads("*").to_string())
        .send()
        .await?;
    iam.put_role_policy()
        .role_name("widened")
        .policy_name("more")
        .policy_document(reads("*").to_string())
        .send()
        .await?;
    mended(&s, "widened", || async {
        let a = s
            .hands(0)
            .await?
            .get_role_policy()
            .role_name("widened")
            .policy_name("a")
            .send()
            .await?;
        Ok(!a.policy_document.contains("*/*")
            && !a.policy_document.contains("%2A%2F%2A")
            && inline(&s, "widened").await? == ["a"])
    })
    .await
}

#[tokio::test]
async fn an_inline_policy_made_by_hand_stays_where_the_map_is_additive() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "addinline",
        json!({"exclusive": {"inlinePolicies": false}, "inlinePolicies": {"a": reads("a")}}),
    )
    .await?;
    let iam = s.hands(0).await?;
    iam.put_role_policy()
        .role_name("addinline")
        .policy_name("hand")
        .policy_document(reads("x").to_string())
        .send()
        .await?;
    iam.delete_role_policy()
        .role_name("addinline")
        .policy_name("a")
        .send()
        .await?;
    mended(&s, "addinline", || async {
        Ok(inline(&s, "addinline").await? == ["a", "hand"])
    })
    .await
}

#[tokio::test]
async fn variables_of_iam_itself_reach_aws_untouched() -> Result<()> {
    let s = scenario().await?;
    apply(
        &s,
        "iamvars",
        json!({"inlinePolicies": {"home": reads("homes/${aws:username}")}}),
    )
    .await?;
    let home = s
        .hands(0)
        .await?
        .get_role_policy()
        .role_name("iamvars")
        .policy_name("home")
        .send()
        .await?;
    let text = percent_encoding::percent_decode_str(&home.policy_document)
        .decode_utf8()?
        .into_owned();
    ensure!(text.contains("${aws:username}"), "{text}");
    Ok(())
}

#[tokio::test]
async fn each_account_gets_its_own_values_of_the_variables() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "variables", 2, |a| {
        let name = a["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        a["metadata"]["labels"]["stage"] = json!(format!("stage-of-{name}"));
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    let tags = json!({"account": "$(account.name)", "id": "$(account.id)", "stage": "$(account.labels.stage)", "main": "$(session.accountId)"});
    apply(
        &s,
        "app",
        json!({"tags": tags, "description": "in $(account.name)"}),
    )
    .await?;
    for (n, (name, id)) in s.targets.iter().enumerate() {
        let tags = s.tags(n, "app").await?;
        let right = tags["account"] == *name
            && tags["id"] == *id
            && tags["stage"] == format!("stage-of-{name}")
            && tags["main"] == s.main;
        ensure!(right, "{tags:?}");
        let role = s
            .hands(n)
            .await?
            .get_role()
            .role_name("app")
            .send()
            .await?
            .role
            .context("no role")?;
        ensure!(role.description == Some(format!("in {name}")));
    }
    Ok(())
}

#[tokio::test]
async fn a_role_stands_at_the_path_that_it_names() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "deep", json!({"path": "/team/a/"})).await?;
    ensure!(role(&s, "deep").await?.path == "/team/a/");
    let status = s
        .role_is("deep", "True", "InSync")
        .await?
        .status
        .unwrap_or_default();
    ensure!(
        status.accounts[0]
            .arn
            .as_deref()
            .is_some_and(|arn| arn.ends_with(":role/team/a/deep"))
    );
    Ok(())
}

#[tokio::test]
async fn an_instance_profile_is_made_with_the_role_in_it_and_goes_with_it() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "machine", json!({"instanceProfile": {}})).await?;
    ensure!(profiles(&s, "machine").await? == ["machine"]);
    s.delete("machine").await?;
    ensure!(s.in_aws(0, "machine").await?.is_none() && !has_profile(&s, "machine").await?);
    Ok(())
}

#[tokio::test]
async fn a_renamed_instance_profile_replaces_the_old_one() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "renamed", json!({"instanceProfile": {"name": "renamed-a"}})).await?;
    apply(&s, "renamed", json!({"instanceProfile": {"name": "renamed-b"}})).await?;
    ensure!(profiles(&s, "renamed").await? == ["renamed-b"] && !has_profile(&s, "renamed-a").await?);
    Ok(())
}

#[tokio::test]
async fn an_instance_profile_of_somebody_else_is_refused_and_untouched() -> Result<()> {
    let s = scenario().await?;
    s.hands(0)
        .await?
        .create_instance_profile()
        .instance_profile_name("theirs")
        .send()
        .await?;
    s.apply(&s.role("profiled", json!({"instanceProfile": {"name": "theirs"}})))
        .await?;
    let role = s.role_is("profiled", "False", "InvalidSpec").await?;
    ensure!(format!("{:?}", role.status).contains("instance profile theirs exists and is not ours"));
    s.delete("profiled").await?;
    ensure!(
        has_profile(&s, "theirs").await?,
        "it outlives the object that wanted it"
    );
    Ok(())
}

#[tokio::test]
async fn an_instance_profile_that_hands_gave_the_role_is_left_alone() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "given", json!({})).await?;
    let iam = s.hands(0).await?;
    iam.create_instance_profile()
        .instance_profile_name("by-hand")
        .send()
        .await?;
    iam.add_role_to_instance_profile()
        .instance_profile_name("by-hand")
        .role_name("given")
        .send()
        .await?;
    iam.attach_role_policy()
        .role_name("given")
        .policy_arn(ADMIN)
        .send()
        .await?;
    mended(&s, "given", || async {
        Ok(s.attached(0, "given").await?.is_empty())
    })
    .await?;
    ensure!(profiles(&s, "given").await? == ["by-hand"]);
    s.delete("given").await?;
    ensure!(
        has_profile(&s, "by-hand").await?,
        "the role left it, and it stays"
    );
    Ok(())
}

#[tokio::test]
async fn ensure_absent_removes_role_policies_and_profile() -> Result<()> {
    let s = scenario().await?;
    let full = json!({"instanceProfile": {}, "managedPolicies": ["ReadOnlyAccess"], "inlinePolicies": {"a": reads("a")}});
    apply(&s, "absent", full).await?;
    apply(&s, "absent", json!({"ensure": "Absent"})).await?;
    ensure!(s.in_aws(0, "absent").await?.is_none() && !has_profile(&s, "absent").await?);
    apply(&s, "absent", json!({"ensure": "Present"})).await?;
    ensure!(s.in_aws(0, "absent").await?.is_some(), "and it can come back");
    Ok(())
}

#[tokio::test]
async fn ensure_absent_of_a_role_that_never_was_is_in_sync_without_a_write() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "never", json!({"ensure": "Absent", "assumeRolePolicy": null})).await?;
    let status = s
        .role_is("never", "True", "InSync")
        .await?
        .status
        .unwrap_or_default();
    ensure!(status.accounts[0].arn.is_none());
    Ok(())
}

#[tokio::test]
async fn drift_report_shows_what_differs_and_never_writes() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "report", json!({})).await?;
    s.apply(&s.role(
        "report",
        json!({"drift": "Report", "managedPolicies": ["ReadOnlyAccess"], "description": "new"}),
    ))
    .await?;
    let role = s.role_is("report", "False", "Drifted").await?;
    let changes = role.status.unwrap_or_default().accounts[0].changes.clone();
    ensure!(
        changes
            == [
                "~ description \"\" -> \"new\"",
                &format!("+ managed policy {READ_ONLY}")
            ],
        "{changes:?}"
    );
    ensure!(s.attached(0, "report").await?.is_empty());
    apply(
        &s,
        "report",
        json!({"managedPolicies": ["ReadOnlyAccess"], "description": "new"}),
    )
    .await?;
    ensure!(
        s.attached(0, "report").await? == [READ_ONLY],
        "Correct makes what Report showed"
    );
    Ok(())
}

#[tokio::test]
async fn drift_report_makes_no_role_and_removes_none() -> Result<()> {
    let s = scenario().await?;
    s.apply(&s.role("unmade", json!({"drift": "Report"}))).await?;
    let role = s.role_is("unmade", "False", "Drifted").await?;
    ensure!(role.status.unwrap_or_default().accounts[0].changes == ["+ role /unmade"]);
    ensure!(s.in_aws(0, "unmade").await?.is_none());
    apply(&s, "unmade", json!({})).await?;
    s.apply(&s.role("unmade", json!({"drift": "Report", "ensure": "Absent"})))
        .await?;
    s.role_is("unmade", "False", "Drifted").await?;
    s.delete("unmade").await?;
    ensure!(
        s.in_aws(0, "unmade").await?.is_some(),
        "not even a deletion writes"
    );
    let told = s.event_reasons("properties", "unmade").await?;
    ensure!(told.iter().any(|reason| reason == "Left"), "{told:?}");
    Ok(())
}

#[tokio::test]
async fn a_suspended_role_is_neither_mended_nor_deleted_until_it_goes_on() -> Result<()> {
    let s = scenario().await?;
    apply(&s, "paused", json!({})).await?;
    s.apply(&s.role(
        "paused",
        json!({"suspend": true, "managedPolicies": ["ReadOnlyAccess"]}),
    ))
    .await?;
    s.role_is("paused", "True", "Suspended").await?;
    s.look_again("paused").await?;
    let delete = ["delete", "iamrole", "paused", "-n", "properties", "--wait=false"];
    s.world.plane.kubectl(&delete).await?;
    s.role_tells("paused", "deletion waits: suspended").await?;
    ensure!(s.attached(0, "paused").await?.is_empty() && s.in_aws(0, "paused").await?.is_some());
    let resume = [
        "patch",
        "iamrole",
        "paused",
        "-n",
        "properties",
        "--type=merge",
        "-p",
        r#"{"spec":{"suspend":false}}"#,
    ];
    s.world.plane.kubectl(&resume).await?;
    s.world
        .plane
        .kubectl(&[
            "wait",
            "--for=delete",
            "iamrole/paused",
            "-n",
            "properties",
            "--timeout=60s",
        ])
        .await?;
    ensure!(s.in_aws(0, "paused").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_suspended_account_gets_no_call_and_goes_on_where_it_was() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "asleep", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    apply(&s, "app", json!({})).await?;
    s.change_account(0, json!({"suspend": true})).await?;
    s.account_is(0, "Suspended").await?;
    let before = s.calls(0, 0).await?.total;
    s.apply(&s.role("app", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.role_is("app", "True", "Suspended").await?;
    let after = s.calls(0, 0).await?.total;
    // The outsider's own calls of this test count, too: none was made in between.
    ensure!(after == before, "{before} calls, then {after}");
    s.change_account(0, json!({"suspend": false})).await?;
    s.role_is("app", "True", "InSync").await?;
    ensure!(s.attached(0, "app").await? == [READ_ONLY]);
    Ok(())
}

#[tokio::test]
async fn tags_of_an_organisation_stay_and_no_role_may_set_them() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "orgtags", 1, |a| {
        a["spec"]["ignoreTags"] = json!(["org:*"])
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    apply(&s, "app", json!({})).await?;
    let iam = s.hands(0).await?;
    for (key, value) in [("org:cost-centre", "1"), ("other", "1")] {
        let tag = aws_sdk_iam::types::Tag::builder().key(key).value(value).build()?;
        iam.tag_role().role_name("app").tags(tag).send().await?;
    }
    mended(&s, "app", || async {
        let tags = s.tags(0, "app").await?;
        Ok(!tags.contains_key("other") && tags.contains_key("org:cost-centre"))
    })
    .await?;
    s.apply(&s.role("sets", json!({"tags": {"org:unit": "spec"}})))
        .await?;
    s.role_is("sets", "False", "InvalidSpec").await?;
    Ok(())
}

#[tokio::test]
async fn a_warning_is_told_once_in_an_event_and_stops_nothing() -> Result<()> {
    let s = scenario().await?;
    let pass = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}});
    apply(&s, "warned", json!({"inlinePolicies": {"pass": pass}})).await?;
    s.look_again("warned").await?;
    until("the event", || async {
        let told = s
            .event_reasons("properties", "warned")
            .await
            .map_err(|e| e.to_string())?;
        let n = told.iter().filter(|reason| *reason == "PolicyWarning").count();
        if n == 1 { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn kubectl_wait_and_the_printed_columns_work() -> Result<()> {
    let s = scenario().await?;
    s.apply(&s.role("waited", json!({}))).await?;
    let plane = &s.world.plane;
    plane
        .kubectl(&[
            "wait",
            "--for=condition=Ready",
            "iamrole/waited",
            "-n",
            "properties",
            "--timeout=60s",
        ])
        .await?;
    let row = plane
        .kubectl(&["get", "iamr", "waited", "-n", "properties", "--no-headers"])
        .await?;
    let columns: Vec<&str> = row.split_whitespace().take(4).collect();
    ensure!(columns == ["waited", "True", "1/1", "InSync"], "{row}");
    Ok(())
}

#[tokio::test]
async fn a_profile_and_a_refused_account_beside_it_write_the_status_once() -> Result<()> {
    let s = Scenario::with(crate::world().await?, "steady", 2, |a| {
        if a["metadata"]["name"] == "steady-1" {
            a["spec"]["allowedNamespaces"] = json!({"from": "None"});
        }
    })
    .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({"instanceProfile": {}}))).await?;
    let settled = || async {
        let role = s.role_is("app", "False", "NamespaceNotAllowed").await?;
        let status = role.status.clone().unwrap_or_default();
        anyhow::Ok((status.summary == Some("1/2".to_owned())).then_some(role))
    };
    until("one account to be right and one refused", || async {
        settled()
            .await
            .map_err(|e| e.to_string())?
            .ok_or("not yet".to_owned())
    })
    .await?;
    let status = async || anyhow::Ok(s.roles().get("app").await?.status);
    let before = status().await?;
    for _ in 0..3 {
        let calls = s.calls(0, 0).await?.by_action().get("ListRoles").copied();
        s.look_again("app").await?;
        until("the sweep that was asked for", || async {
            let now = s
                .calls(0, 0)
                .await
                .map_err(|e| e.to_string())?
                .by_action()
                .get("ListRoles")
                .copied();
            if now > calls {
                Ok(())
            } else {
                Err("no sweep yet".to_owned())
            }
        })
        .await?;
        ensure!(status().await? == before, "the status stays as it is");
    }
    let log = std::fs::read_to_string(s.log())?;
    ensure!(!log.contains("panicked"), "the controller lives");
    Ok(())
}
