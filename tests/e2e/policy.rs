//! `rolectl policy` and `rolectl lint`, and AWS's own policies as their examples.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use rolectl_core::policy::MAX_BYTES;
use rolectl_core::policy::inclusion::{Attached, Budget, Parsed, Policies, includes, inclusion};
use rolectl_core::policy::lint::{Place, Severity, lint_value};
use rolectl_core::policy::{Document, Effect};
use rolectl_core::role::managed_policy::{catalogue, may_allow, may_deny};
use rolectl_tests::scenario::Scenario;
use serde_json::json;
use tokio::sync::OnceCell;

const ONE: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Read","Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}]}"#;

/// Runs `rolectl` on files of these texts, named `a`, `b`, ...; returns exit code, output and error.
async fn rolectl(args: &[&str], texts: &[&str]) -> Result<(Option<i32>, String, String)> {
    let world = crate::world().await?;
    let dir = tempfile::tempdir()?;
    for (name, text) in ["a", "b", "c.yaml"].iter().zip(texts) {
        std::fs::write(dir.path().join(name), text)?;
    }
    let output = tokio::process::Command::new(&world.tools.rolectl)
        .args(args)
        .current_dir(dir.path())
        .env_clear()
        .stdin(std::process::Stdio::null())
        .output()
        .await?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

/// Every AWS managed policy, as the double has it: its ARN, its document URL-encoded, and the document. They are read once for all tests.
async fn aws_managed_policies() -> Result<&'static [(String, String, Document)]> {
    static POLICIES: OnceCell<Vec<(String, String, Document)>> = OnceCell::const_new();
    Ok(POLICIES.get_or_try_init(read_aws_managed_policies).await?)
}

async fn read_aws_managed_policies() -> Result<Vec<(String, String, Document)>> {
    let world = crate::world().await?;
    let iam = world.double.iam(world.double.root("100000000000").await?);
    let mut pages = iam
        .list_policies()
        .scope(aws_sdk_iam::types::PolicyScopeType::Aws)
        .into_paginator()
        .page_size(1000)
        .send();
    let mut all = vec![];
    while let Some(page) = pages.next().await {
        for policy in page?.policies.unwrap_or_default() {
            let (arn, version) = (
                policy.arn.unwrap_or_default(),
                policy.default_version_id.unwrap_or_default(),
            );
            let request = iam.get_policy_version().policy_arn(&arn).version_id(version);
            let version = request.send().await?.policy_version;
            let text = version.and_then(|version| version.document).unwrap_or_default();
            let document = Document::parse(&text).map_err(|e| anyhow::anyhow!("{arn}: {e}"))?;
            all.push((arn, text, document));
        }
    }
    Ok(all)
}

#[tokio::test]
async fn every_aws_managed_policy_parses_stays_itself_and_lints_without_an_error() -> Result<()> {
    let (mut seen, mut large, mut warned) = (0, 0, vec![]);
    let everything = Document::parse(
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#,
    )?;
    let mut listed: Vec<&str> = catalogue().collect();
    listed.sort_unstable();
    for (arn, text, document) in aws_managed_policies().await? {
        let again = Document::parse(&document.canonical().pretty())?;
        ensure!(*document == again, "{arn} changes on its way");
        ensure!(
            document.canonical().diff(again.canonical()).is_empty(),
            "{arn} differs from itself"
        );
        let by_all = inclusion(everything.canonical(), document.canonical(), None);
        // A variable of the newer version is text in the older one.
        let is_comparable = document.canonical().version == "2012-10-17" || !text.contains("%24%7B");
        ensure!(by_all.is_shown() || !is_comparable, "{arn}: {by_all:?}");
        let value = serde_json::from_str(document.as_str())?;
        // No author's policy may be as large as the largest of AWS's.
        let too_large = document.as_str().len() > MAX_BYTES;
        large += usize::from(too_large);
        let findings = lint_value(&value, Place::Identity);
        for finding in findings.into_iter().filter(|_| !too_large) {
            ensure!(finding.severity == Severity::Warning, "{arn}: {finding}");
            if finding.to_string().contains("no global condition key") {
                warned.push(format!("{arn}: {finding}"));
            }
        }
        let name = arn.split_once(":policy/").map_or("", |(_, name)| name);
        ensure!(
            listed.binary_search(&name).is_ok(),
            "{name} is missing in aws_managed_policies.txt"
        );
        seen += 1;
    }
    ensure!(
        seen > 1000 && large < 10,
        "{seen}, of them {large} too large to lint"
    );
    ensure!(
        warned.is_empty(),
        "keys that AWS uses and we do not know: {warned:?}"
    );
    Ok(())
}

#[tokio::test]
async fn every_two_aws_managed_policies_are_compared_and_those_that_deny_are_listed() -> Result<()> {
    let mut all: Vec<(&str, &Document)> = vec![];
    for (arn, _, document) in aws_managed_policies().await? {
        let has = |effect| document.canonical().has(effect);
        ensure!(
            may_deny(arn) == has(Effect::Deny),
            "{arn}: a Deny that is not listed, or none"
        );
        ensure!(
            may_allow(arn) || !has(Effect::Allow),
            "{arn} is said to deny only, and allows"
        );
        all.push((arn, document));
    }
    let policies: Vec<Policies<'_>> = all
        .iter()
        .map(|(_, document)| Policies {
            called: "the outer policy",
            documents: vec![(None, document.canonical())],
            unread: vec![],
        })
        .collect();
    let parsed: Vec<Parsed<'_>> = policies.iter().map(Policies::parsed).collect();
    let start = Instant::now();
    let mut included = BTreeSet::new();
    for (&(outer, _), of_outer) in all.iter().zip(&parsed) {
        for (&(inner, _), of_inner) in all.iter().zip(&parsed) {
            if includes(of_outer, of_inner, Attached::Alone, &Budget::default()) {
                included.insert((name(outer), name(inner)));
            }
        }
    }
    let took = start.elapsed();
    let pairs = all.len() * all.len();
    println!("{pairs} pairs in {took:.1?}, {} included", included.len());
    let document = |wanted: &str| {
        all.iter()
            .find(|(arn, _)| name(arn) == wanted)
            .map(|(_, document)| document)
    };
    let everything = document("AdministratorAccess");
    for (arn, of_it) in &all {
        let name = name(arn);
        ensure!(included.contains(&(name, name)), "{name} does not include itself");
        let of_all = included.contains(&("AdministratorAccess", name));
        // A variable of the newer version is text in the older one.
        ensure!(
            of_all || !of_it.as_str().contains("${"),
            "AdministratorAccess does not include {name}"
        );
        let is_all = everything.is_some_and(|all| {
            let actions = |document: &Document| {
                let statements = document.canonical().statements.iter();
                statements
                    .map(|s| {
                        (
                            s.effect,
                            s.action.clone(),
                            s.resource.clone(),
                            s.condition.clone(),
                        )
                    })
                    .collect::<BTreeSet<_>>()
            };
            actions(all) == actions(of_it)
        });
        let includes_all = included.contains(&(name, "AdministratorAccess"));
        ensure!(
            includes_all == is_all,
            "{name} includes AdministratorAccess: {includes_all}"
        );
    }
    for (outer, inner, is_included) in [
        ("AmazonS3FullAccess", "AmazonS3ReadOnlyAccess", true),
        ("AmazonS3ReadOnlyAccess", "AmazonS3FullAccess", false),
        ("AmazonSQSFullAccess", "AmazonSQSReadOnlyAccess", true),
        ("AmazonSNSFullAccess", "AmazonSNSReadOnlyAccess", true),
        ("IAMFullAccess", "IAMReadOnlyAccess", true),
        ("IAMReadOnlyAccess", "IAMFullAccess", false),
        ("AmazonS3ReadOnlyAccess", "AWSDenyAll", true),
        ("AWSDenyAll", "AmazonS3ReadOnlyAccess", false),
        ("ReadOnlyAccess", "PowerUserAccess", false),
        ("PowerUserAccess", "AmazonSQSFullAccess", true),
        ("PowerUserAccess", "IAMFullAccess", false),
    ] {
        let found = included.contains(&(outer, inner));
        ensure!(found == is_included, "{outer} includes {inner}: {found}");
    }
    Ok(())
}

fn name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[tokio::test]
async fn policy_includes_shows_that_a_document_allows_no_more_or_names_what_may_be_more() -> Result<()> {
    let includes = ["policy", "includes", "a", "b"];
    let fewer = ONE.replace(r#""s3:ListBucket""#, r#""s3:GetObject""#);
    ensure!(rolectl(&includes, &[ONE, &fewer]).await? == (Some(0), "included\n".into(), String::new()));
    let (code, out, _) = rolectl(&includes, &[&fewer, ONE]).await?;
    ensure!(
        code == Some(1)
            && out
                == "statement Read: s3:ListBucket on *: no statement of the outer document is shown to allow it\n",
        "{out}"
    );
    let json = [&includes[..], &["-o", "json"]].concat();
    let (code, out, _) = rolectl(&json, &[&fewer, ONE]).await?;
    let json: serde_json::Value = serde_json::from_str(&out)?;
    ensure!(
        code == Some(1)
            && json["kind"] == "PolicyInclusion"
            && json["included"] == false
            && json["excess"][0]["action"] == "s3:ListBucket",
        "{json}"
    );
    ensure!(rolectl(&includes, &[ONE, "[]"]).await?.0 == Some(2));
    ensure!(rolectl(&["policy", "includes", "-", "-"], &[]).await?.0 == Some(2));
    let trust = |principal: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"AWS":"arn:aws:iam::111111111111:{principal}"}}}}}}"#
        )
    };
    for (account, code) in [("222222222222", 0), ("111111111111", 1)] {
        let of = [&includes[..], &["--trust-of", account]].concat();
        ensure!(
            rolectl(&of, &[&trust("root"), &trust("role/ci")]).await?.0 == Some(code),
            "{account}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn policy_equal_tells_the_same_from_the_other_and_from_no_policy() -> Result<()> {
    let same = "Version: '2012-10-17'\nStatement: {Effect: allow, Resource: ['*'], Action: [S3:listbucket, s3:GetObject], Sid: Read}\n";
    ensure!(
        rolectl(&["policy", "equal", "a", "b"], &[ONE, same]).await?
            == (Some(0), "equal\n".into(), String::new())
    );
    let url = percent_encoding::utf8_percent_encode(ONE, percent_encoding::NON_ALPHANUMERIC).to_string();
    ensure!(
        rolectl(&["policy", "equal", "a", "b"], &[ONE, &url]).await?.0 == Some(0),
        "URL-encoded as AWS gives it"
    );
    let other = ONE.replace("s3:ListBucket", "s3:PutObject");
    let (code, out, _) = rolectl(&["policy", "equal", "a", "b"], &[ONE, &other]).await?;
    ensure!(code == Some(1));
    insta::assert_snapshot!("policy_equal_diff", out);
    let (code, out, _) = rolectl(&["policy", "diff", "-o", "json", "a", "b"], &[ONE, &other]).await?;
    let parsed: serde_json::Value = serde_json::from_str(&out)?;
    ensure!(
        code == Some(1) && parsed["equal"] == false && parsed["diff"].as_array().map(Vec::len) == Some(3)
    );
    for (bad, says) in [
        ("{", "EOF while parsing an object"),
        ("[]", "is not a JSON object"),
        ("", "it is empty"),
        (
            r#"{"Statement":{"Effct":"Allow","Action":"a:b"}}"#,
            "did you mean Effect?",
        ),
        (
            r#"{"Version":"2012-10-17","Version":"2008-10-17"}"#,
            "is written twice",
        ),
    ] {
        let (code, out, error) = rolectl(&["policy", "equal", "a", "b"], &[ONE, bad]).await?;
        ensure!(
            code == Some(2) && out.is_empty() && error.contains(says) && error.contains("next: "),
            "{bad}: {code:?} {error}"
        );
    }
    ensure!(rolectl(&["policy", "equal", "a", "nowhere"], &[ONE]).await?.0 == Some(2));
    Ok(())
}

#[tokio::test]
async fn policy_fmt_writes_the_canonical_form_and_that_again() -> Result<()> {
    let wild = r#"{"Statement":[{"Resource":["b","a","a"],"Effect":"deny","Action":["s3:Get*"]},{"Principal":{"AWS":["arn:aws:iam::111111111111:root"]},"Action":"sts:AssumeRole","Effect":"Allow","Sid":"A"}],"Version":"2012-10-17"}"#;
    let (code, once, _) = rolectl(&["policy", "fmt", "a"], &[wild]).await?;
    ensure!(code == Some(0));
    insta::assert_snapshot!("policy_fmt", once);
    ensure!(rolectl(&["policy", "fmt", "a"], &[&once]).await?.1 == once);
    let (_, yaml, _) = rolectl(&["policy", "fmt", "-o", "yaml", "a"], &[wild]).await?;
    ensure!(rolectl(&["policy", "equal", "a", "b"], &[wild, &yaml]).await?.0 == Some(0));
    Ok(())
}

#[tokio::test]
async fn lint_finds_at_the_desk_what_the_controller_would_stall_on() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "desk", 0).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*"}]});
    let pass = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "*"}});
    let account = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "prod"},
        "spec": {"accountId": "222222222222", "guardrails": {"roleNamePattern": "team-*"}}});
    let to = |names: &[&str]| json!({"names": names});
    let mut unknown = s.role("unknown", json!({"accounts": to(&["dev"])}));
    unknown["spec"]["managedPolicy"] = json!("x");
    let documents = [
        account,
        s.role("open", json!({"accounts": to(&["dev"]), "assumeRolePolicy": trust})),
        s.role("passes", json!({"accounts": to(&["dev"]), "inlinePolicies": {"p": pass}})),
        s.role("outside", json!({"accounts": to(&["prod"])})),
        s.role("labelled", json!({"accounts": to(&["dev"]), "tags": {"t": "$(account.labels.team)"}, "description": "$(account.nmae)"})),
        s.role("good", json!({"accounts": to(&["dev"]), "tags": {"t": "$(account.labels.team)"}})),
        unknown,
    ];
    let text = documents.map(|d| d.to_string()).join("\n---\n");
    let (code, out, _) = rolectl(&["lint", "c.yaml"], &["", "", &text]).await?;
    ensure!(code == Some(1), "{out}");
    insta::assert_snapshot!("lint", out);
    let (code, out, _) = rolectl(&["lint", "-o", "json", "c.yaml"], &["", "", &text]).await?;
    let result: serde_json::Value = serde_json::from_str(&out)?;
    ensure!(
        code == Some(1)
            && result["findings"]
                .as_array()
                .is_some_and(|l| l.iter().any(|l| l["severity"] == "warning"))
    );
    // One document that cannot be read hides no other, and a slip in a selector is told.
    let account = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
        "metadata": {"name": "prod", "labels": {"tier": "prod"}}, "spec": {"accountId": "222222222222"}});
    let slip = s.role(
        "slip",
        json!({"accounts": {"selector": {"matchLabels": {"teir": "prod"}}}, "maxSessionDuration": "long"}),
    );
    let mut read = slip.clone();
    read["spec"]["maxSessionDuration"] = json!(7200);
    let text = format!(
        "{account}\n---\na: [\n---\n{slip}\n---\n{}\n",
        read.to_string().replace("7200", "7200.0")
    );
    let (code, out, _) = rolectl(&["lint", "c.yaml"], &["", "", &text]).await?;
    for words in [
        "c.yaml:3: error: not readable: ",
        "error: IamRole desk/slip: spec.maxSessionDuration: is the string \"long\": write an integer",
        "warning: IamRole desk/slip: spec.accounts.selector: matches none of the 1 AwsAccount here: no AwsAccount has the label teir; did you mean tier?",
        "3 checked: 3 errors, 1 warning",
    ] {
        ensure!(code == Some(2) && out.contains(words), "{words}: {out}");
    }
    let (code, out, _) = rolectl(&["lint", "a"], &[ONE]).await?;
    ensure!(
        code == Some(0) && out == "1 checked: 0 errors, 0 warnings\n",
        "{out}"
    );
    Ok(())
}
