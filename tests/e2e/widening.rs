//! Plans, differences and the log of writes show whether a change gives a role more power.

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::Scenario;
use serde_json::{Value, json};

use crate::once::write_files;

const NO_CLUSTER: [(&str, &str); 1] = [("KUBECONFIG", "/nowhere")];

/// Runs `rolectl` as the operator, and shows that it ends with this code. Returns what it printed to stdout.
async fn ends(s: &Scenario<'_>, args: &[&str], env: &[(&str, &str)], code: i32) -> Result<String> {
    let output = s.rolectl_as("operator", args, env).await?;
    let (out, error) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.code() == Some(code),
        "{args:?}: wanted {code}, got {:?}: {out}{error}",
        output.status
    );
    for text in [&out, error.as_ref()] {
        ensure!(!text.contains(['\u{1b}', '\u{202e}']), "{args:?}: {text:?}");
        s.assert_no_secret("the output", text)?;
    }
    Ok(out)
}

/// A role whose inline policy allows these actions, with other fields.
fn allows(s: &Scenario<'_>, actions: &[&str], more: Value) -> Value {
    let mut spec = json!({"inlinePolicies": {"reader": {"Version": "2012-10-17", "Statement": [
        {"Sid": "Read", "Effect": "Allow", "Action": actions, "Resource": "*"}]}}});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    s.role("app", spec)
}

#[tokio::test]
async fn a_plan_says_what_narrows_and_what_widens_and_fails_on_a_widening_if_asked() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "widening-plan", 1).await?;
    let files = write_files(&s, &[allows(&s, &["s3:GetObject", "s3:PutObject"], json!({}))])?;
    let plan = |more: &[&'static str]| {
        let mut args = vec!["plan", &files];
        args.extend(more);
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = async |more: &[&'static str], code: i32| -> Result<String> {
        let args = plan(more);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        ends(&s, &args, &NO_CLUSTER, code).await
    };

    // The creation of a role is a widening, once for all that it is created with.
    let code = s.operator.code().await?;
    let created = ends(&s, &["plan", &files, "--mfa", &code], &NO_CLUSTER, 0).await?;
    ensure!(
        created.matches("widens: ").count() == 1
            && created.contains("          widens: creates the role\n")
            && created.ends_with(".\n1 role widens.\n"),
        "{created}"
    );
    run(&["--fail-on", "widening"], 3).await?;
    run(&["--fail-on", "widening-existing"], 0).await?;
    run(&["--fail-on", "power"], 2).await?;
    ends(&s, &["apply", &files, "--yes"], &NO_CLUSTER, 0).await?;

    write_files(&s, &[allows(&s, &["s3:GetObject"], json!({}))])?;
    let narrower = run(&["--fail-on", "widening"], 0).await?;
    ensure!(
        narrower.contains("      ~ inline policy reader (narrows)\n")
            && !narrower.contains("widens")
            && narrower.ends_with(".\n1 role narrows.\n"),
        "{narrower}"
    );

    // One change narrows, and another widens.
    let edited = allows(
        &s,
        &["s3:GetObject", "s3:DeleteObject"],
        json!({"maxSessionDuration": 7200, "description": "edited"}),
    );
    write_files(&s, &[edited])?;
    let mixed = run(&["--fail-on", "widening-existing"], 3).await?;
    ensure!(
        mixed.contains("widens: inline policy reader, statement Read: s3:DeleteObject on *: ")
            && mixed.contains("widens: maximum session duration: 7200 seconds instead of 3600\n")
            && mixed.ends_with(".\n1 role widens.\n"),
        "{mixed}"
    );
    let detailed = ["--detailed-exitcode", "--fail-on", "widening"];
    run(&detailed, 3).await?;
    run(&detailed[..1], 2).await?;
    let short = run(&["--summary", "--fail-on", "widening"], 3).await?;
    ensure!(
        short.lines().count() == 2 && short.ends_with("1 role widens.\n"),
        "{short}"
    );
    let json: Value = serde_json::from_str(&run(&["-o", "json", "--fail-on", "widening"], 3).await?)?;
    let role = &json["accounts"][0]["roles"][0];
    let of = |operation: &str| {
        let mut changes = role["changes"].as_array().into_iter().flatten();
        let found = changes.find(|change| change["operation"] == operation);
        found.cloned().with_context(|| format!("{operation}: {json:#}"))
    };
    let put = of("PutRolePolicy")?;
    ensure!(
        put["verdict"] == "Widens"
            && put["widensCount"] == 1
            && put["widens"][0]["part"] == "InlinePolicy"
            && put["widens"][0]["statement"] == "Read"
            && put["widens"][0]["action"] == "s3:DeleteObject",
        "{put:#}"
    );
    ensure!(
        json["summary"]["widen"] == 1
            && json["summary"]["widenExisting"] == 1
            && json["summary"]["narrow"] == 0,
        "{json:#}"
    );

    // What is only reported is not made.
    let reported = allows(&s, &["s3:*"], json!({"drift": "Report"}));
    write_files(&s, &[reported])?;
    let told = run(&["--fail-on", "widening"], 0).await?;
    ensure!(
        told.contains("widens: ") && !told.contains("role widens"),
        "{told}"
    );

    // A failure takes precedence.
    let foreign = s.role("rolectl", json!({}));
    write_files(&s, &[allows(&s, &["s3:*"], json!({})), foreign])?;
    run(&["--fail-on", "widening"], 1).await?;

    // No text of a role moves the cursor.
    let odd = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "Read", "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::a\u{1b}[2K\u{202e}b"}]});
    write_files(&s, &[s.role("app", json!({"inlinePolicies": {"odd": odd}}))])?;
    let odd = run(&["--fail-on", "widening"], 1).await?;
    ensure!(odd.contains("InvalidSpec") && odd.contains("\\u{1b}[2K"), "{odd}");
    Ok(())
}

#[tokio::test]
async fn policy_diff_says_whether_the_second_document_allows_more() -> Result<()> {
    let world = crate::world().await?;
    let dir = tempfile::tempdir()?;
    let document = |actions: Value, sid: &str| {
        let statement = json!({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": "*"});
        json!({"Version": "2012-10-17", "Statement": [statement]})
    };
    let trust = |arn: &str| {
        let statement = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": arn}});
        json!({"Version": "2012-10-17", "Statement": [statement]})
    };
    let odd = json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "\u{1b}[2Kx", "Effect": "Allow", "Action": "s3:\u{202e}x", "Resource": "\u{1b}]0;x"}]});
    for (name, document) in [
        ("get", document(json!("s3:GetObject"), "Read")),
        ("named", document(json!("s3:GetObject"), "Other")),
        ("both", document(json!(["s3:GetObject", "s3:PutObject"]), "Read")),
        ("root", trust("arn:aws:iam::333333333333:root")),
        ("user", trust("arn:aws:iam::333333333333:user/a")),
        ("odd", odd),
    ] {
        std::fs::write(dir.path().join(name), document.to_string())?;
    }
    let run = async |args: &[&str], code: i32| -> Result<String> {
        let output = tokio::process::Command::new(&world.tools.rolectl)
            .args(["policy", "diff"])
            .args(args)
            .current_dir(dir.path())
            .env_clear()
            .output()
            .await?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.code() == Some(code), "{args:?}: {output:?}");
        ensure!(!out.contains(['\u{1b}', '\u{202e}']), "{args:?}: {out:?}");
        Ok(out)
    };
    let fail = ["--fail-on", "widening"];
    let widening = "widens: statement Read: s3:PutObject on *: no statement of the first document is shown to allow it\n";
    for (pair, code, last) in [
        (["get", "get"], 0, "equal\n"),
        (
            ["get", "named"],
            1,
            "same: neither document allows more than the other\n",
        ),
        (["both", "get"], 1, "narrows: the second document allows less\n"),
        (["get", "both"], 3, widening),
        (["get", "odd"], 3, "\n"),
    ] {
        let out = run(&[&pair[..], &fail].concat(), code).await?;
        ensure!(out.ends_with(last), "{pair:?}: {out}");
    }
    run(&["get", "both"], 1).await?;
    run(&["get", "missing", "--fail-on", "widening"], 2).await?;
    // An account as a whole includes its users, unless it is the role's own.
    let other = [&["root", "user", "--trust-of", "222222222222"][..], &fail].concat();
    ensure!(run(&other, 1).await?.contains("\nnarrows: "));
    let own = [&["root", "user", "--trust-of", "333333333333"][..], &fail].concat();
    ensure!(run(&own, 3).await?.contains("\nwidens: "));
    let json: Value = serde_json::from_str(&run(&["get", "both", "-o", "json"], 1).await?)?;
    ensure!(
        json["kind"] == "PolicyDiff"
            && json["verdict"] == "Widens"
            && json["widensCount"] == 1
            && json["widens"][0]["action"] == "s3:PutObject",
        "{json:#}"
    );
    Ok(())
}

/// The values of one line of the audit log.
fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let found = line.split_once(&format!(" {key}=")).map(|(_, rest)| rest);
    let quoted = found.and_then(|rest| rest.strip_prefix('"'));
    match quoted {
        Some(rest) => rest.split('"').next(),
        None => found.and_then(|rest| rest.split(' ').next()),
    }
    .unwrap_or_default()
}

#[tokio::test]
async fn each_write_is_logged_with_its_verdict_its_operator_and_the_role_before_and_after() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "widening-log", 1).await?;
    let name = s.name.clone();
    s.apply(&allows(&s, &["s3:GetObject"], json!({}))).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&allows(&s, &["s3:GetObject", "s3:PutObject"], json!({})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.apply(&allows(&s, &["s3:PutObject"], json!({"description": "narrower"})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    // AWS refuses a policy that does not exist.
    let missing = format!("arn:aws:iam::{}:policy/missing", s.targets[0].1);
    s.apply(&allows(
        &s,
        &["s3:PutObject"],
        json!({"description": "narrower", "managedPolicies": [missing]}),
    ))
    .await?;
    s.role_is("app", "False", "InvalidSpec").await?;
    s.end_controller("TERM").await?;

    let log = std::fs::read_to_string(s.log())?;
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" INFO rolectl::audit: write "))
        .collect();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                value(line, "operation"),
                value(line, "verdict"),
                value(line, "outcome"),
            )
        })
        .collect();
    let made = [
        ("CreateRole", "Widens", "ok"),
        ("PutRolePolicy", "Same", "ok"),
        ("PutRolePolicy", "Widens", "ok"),
        ("PutRolePolicy", "Narrows", "ok"),
        ("UpdateRole", "Same", "ok"),
    ];
    let sorted = |mut all: Vec<_>| {
        all.sort_unstable();
        all
    };
    let (done, failed) = seen.split_at_checked(made.len()).context("too few lines")?;
    // The two changes of one plan come in the order that the plan chooses.
    ensure!(sorted(done.to_vec()) == sorted(made.to_vec()), "{lines:#?}");
    ensure!(
        !failed.is_empty()
            && failed
                .iter()
                .all(|line| *line == ("AttachRolePolicy", "Widens", "failed")),
        "{lines:#?}"
    );
    let mut state = "-";
    for line in &lines {
        ensure!(value(line, "before") == state, "{state}: {lines:#?}");
        state = value(line, "after");
        ensure!(
            state.len() == 16 && state.chars().all(|c| c.is_ascii_hexdigit()),
            "{line}"
        );
        ensure!(
            value(line, "role") == format!("{name}/app")
                && value(line, "account") == s.targets[0].0
                && value(line, "account_id") == s.targets[0].1
                && value(line, "operator") == "operator",
            "{line}"
        );
        let is_wider = value(line, "verdict") == "Widens";
        ensure!(is_wider == line.contains(" widens="), "{line}");
        ensure!(
            !line.contains("Statement") && !line.contains("2012-10-17"),
            "{line}"
        );
    }
    ensure!(
        lines.iter().any(|line| value(line, "widens")
            .starts_with("inline policy reader, statement Read: s3:PutObject on *: ")),
        "{lines:#?}"
    );

    // The difference of a role of the cluster fails on a widening, too.
    let diff = ["diff", "role/app", "-n", name.as_str(), "--fail-on", "widening"];
    s.apply(&allows(
        &s,
        &["s3:*"],
        json!({"description": "narrower", "managedPolicies": []}),
    ))
    .await?;
    let wider = ends(&s, &diff, &[], 3).await?;
    ensure!(
        wider.contains("widens: inline policy reader, statement Read: s3:"),
        "{wider}"
    );
    ends(&s, &diff[..4], &[], 1).await?;
    s.apply(&allows(
        &s,
        &["s3:PutObject"],
        json!({"description": "other", "managedPolicies": []}),
    ))
    .await?;
    ends(&s, &diff, &[], 1).await?;
    Ok(())
}
